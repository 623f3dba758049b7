//! Places of one's own on this machine: a folder that goes away, a port.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A folder among the temporary files that is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes the folder `redress-NAME`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn new(name: &str) -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("redress-{name}"));
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        Ok(Self(dir))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left-overs of a run that was killed are the system's temporary files anyway.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The usual port of a service, or any free one when somebody uses that; between this and its use somebody
/// could take it, which the service then says.
///
/// # Errors
/// When no port is free.
pub(super) fn port(usual: u16) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, usual))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .context("no free port on this machine")?;
    Ok(listener.local_addr()?)
}
