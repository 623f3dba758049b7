//! The commands that talk to services, or run them.

pub(crate) mod alerts;
pub(crate) mod backtest;
pub(crate) mod bench;
pub(crate) mod cases;
pub(crate) mod dev;
mod explain;
mod feed;
mod follow;
mod local;
pub(crate) mod operate;
pub(crate) mod replay;
mod scratch;
mod wire;

use std::process::ExitCode;

use anyhow::Context as _;

/// Runs `work` on a runtime of its own.
///
/// # Errors
/// What `work` says, or when no runtime can be started.
pub(crate) fn block_on(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(work)
}
