//! The allocator of every process: what is allocated on one thread is given back on another all the time, and what
//! a burst needed once must not stay for ever.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Few arenas, and what lies idle for half a second goes back.
#[expect(unsafe_code, reason = "jemalloc reads its settings from a symbol of this name")]
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: &[u8] = b"background_thread:true,narenas:2,dirty_decay_ms:500,muzzy_decay_ms:0\0";
