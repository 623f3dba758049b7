//! The pages that people on call and care agents look at: what is said now, what rises, which alerts are
//! open, which customers wait and since when.
//!
//! It decides and keeps nothing: every page is rendered from gRPC answers, works without scripts, and is
//! kept fresh by server-sent events where scripts run. What customers wrote is data, never markup. A service
//! that does not answer is shown as such; silence is never shown as calm.

mod actions;
mod alert;
mod backend;
mod case;
mod config;
mod file;
mod guard;
mod lists;
mod live;
mod now;
mod page;
mod parts;
mod routes;
mod silences;
mod timeline;
mod when;
mod words;

use std::sync::Arc;

use anyhow::Context as _;
use runtime::process::Parts;
use tokio::net::TcpListener;

pub use config::ConsoleConfig;
pub use file::File;

/// The name under which readiness is told.
pub const COMPONENT: &str = "console";

/// Listens and serves until the end begins.
///
/// # Errors
/// When the settings are no good or the address is taken.
pub async fn run(config: ConsoleConfig, parts: Parts) -> anyhow::Result<()> {
    let listener = parts.net.bind(config.listen).await.context("console")?;
    serve(listener, config, parts).await
}

/// As [`run`], on a listener that is open already, so that a caller knows its address first.
///
/// # Errors
/// When the settings are no good or the listener breaks.
pub async fn serve(listener: TcpListener, config: ConsoleConfig, parts: Parts) -> anyhow::Result<()> {
    config.check()?;
    let desk = Arc::new(routes::Desk::new(&config, &parts)?);
    // A page that says which service is away is worth more than no page, so only our own listener counts.
    parts.health.set_ready(COMPONENT, true, "listening");
    tracing::info!(address = %listener.local_addr()?, "console is up");
    parts.net.serve_http(listener, routes::router(desk), &parts.shutdown).await
}
