//! The contracts: Rust code generated from `proto/`, and the checked conversions to and from `model`.
//!
//! Wire types are loose (anything may be missing), model types are strict; the conversions are the one
//! place where a bad field is named. Nothing here decides or performs input and output.

mod carried;
mod classified;
pub mod envelope;
mod fields;
mod glance;
pub mod json;
mod mention;
mod timeline;
mod verdict;

pub use carried::carried_verdict;
pub use classified::{CLASSIFIED_TEXT_CHARS_MAX, Classified};
pub use glance::{Glance, Subject, Unreadable, Words};

/// `redress.ingest.v1`: mentions, raw bytes, dead letters, erasures, coverage; the ingest service.
pub mod ingest {
    /// Version 1.
    #[allow(missing_docs, unreachable_pub, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("redress.ingest.v1");
    }
}

/// `redress.classify.v1`: verdicts and feedback; the classify service.
pub mod classify {
    /// Version 1.
    #[allow(missing_docs, unreachable_pub, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("redress.classify.v1");
    }
}

/// `redress.alert.v1`: tallies and episodes; the alert service.
pub mod alert {
    /// Version 1.
    #[allow(missing_docs, unreachable_pub, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("redress.alert.v1");
    }
}

/// `redress.response.v1`: cases, clocks, promises; the response service.
pub mod response {
    /// Version 1.
    #[allow(missing_docs, unreachable_pub, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("redress.response.v1");
    }
}

/// The descriptors of everything in `proto/`, for gRPC reflection and compatibility checks.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/redress.binpb"));

/// The 16 bytes of an id, as messages and record keys carry them.
pub fn id(bytes: &[u8; 16]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(bytes)
}
