//! The detection commands: bursts in a series, forecasts of a thread, and fitting them.

use std::process::ExitCode;

use clap::Subcommand;

pub(crate) mod cascade;
pub(crate) mod series;
mod times;

/// `redress detect ...`.
#[derive(Debug, Subcommand)]
pub(crate) enum Detect {
    Series(series::Args),
    Cascade(cascade::Args),
}

/// Runs a detection command.
pub(crate) fn run(command: Detect) -> anyhow::Result<ExitCode> {
    match command {
        Detect::Series(args) => series::run(args),
        Detect::Cascade(args) => cascade::run(args),
    }
}

/// Hands bytes to standard output; answers false when nobody reads it any more, which ends a command quietly.
fn hand_over(bytes: &mut Vec<u8>) -> anyhow::Result<bool> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let result = out.write_all(bytes).and_then(|()| out.flush());
    bytes.clear();
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        other => other
            .map(|()| true)
            .map_err(|error| anyhow::Error::new(error).context("cannot write to standard output")),
    }
}
