//! A folder for the length of one command.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;

/// A folder that is gone when this is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one of its own; `name` says what for.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("redress-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        Ok(Self(dir))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left-overs of a run that was killed are the system's temporary files anyway.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
