//! Bytes of the sources into mention events.
