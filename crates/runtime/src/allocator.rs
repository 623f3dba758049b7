//! The allocator of every process: what is allocated on one thread is given back on another all the time, and what
//! a burst needed once must not stay for ever.

use std::time::Duration;

use tikv_jemalloc_ctl::raw;
use tikv_jemallocator::Jemalloc;
use tracing::warn;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Few arenas, and what lies idle for half a second goes back.
#[expect(unsafe_code, reason = "jemalloc reads its settings from a symbol of this name")]
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: &[u8] = b"background_thread:true,narenas:2,dirty_decay_ms:500,muzzy_decay_ms:0\0";

/// How long a service keeps memory that lies idle: it takes batch after batch, and pages given back between two of
/// them are cleared by the kernel each time, a twentieth of classify's processor time.
const SERVICE_KEEPS: Duration = Duration::from_secs(5);
/// How long idle memory is kept, of arenas yet to come and of those there are (4096 stands for all).
const DECAY: [&[u8]; 2] = [b"arenas.dirty_decay_ms\0", b"arena.4096.dirty_decay_ms\0"];

/// Keeps idle memory as long as suits a service under steady load, not a command on a person's machine.
pub fn suit_a_service() {
    let ms = SERVICE_KEEPS.as_millis() as isize;
    for name in DECAY {
        #[expect(unsafe_code, reason = "the settings of jemalloc have names, not types")]
        // SAFETY: both names end in a zero byte and are of settings of type `ssize_t`, as is `ms`.
        if let Err(error) = unsafe { raw::write(name, ms) } {
            warn!(%error, "idle memory goes back sooner than meant");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_keeps_idle_memory_longer() {
        #[expect(unsafe_code, reason = "the settings of jemalloc have names, not types")]
        // SAFETY: the name ends in a zero byte and is of a setting of type `ssize_t`.
        let read = || unsafe { raw::read::<isize>(b"arenas.dirty_decay_ms\0") }.unwrap();
        assert_eq!(read(), 500);
        suit_a_service();
        assert_eq!(read(), 5_000);
    }
}
