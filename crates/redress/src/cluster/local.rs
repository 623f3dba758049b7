//! Ports of one's own on this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context as _;

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
