//! `redress`: the command people and scripts type.
//!
//! This file only names the commands; each lives in a module of its own and returns its exit code:
//! 0 all went well, 1 something in the input was refused, 2 wrong usage (clap's own).

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod detection;
mod lines;
mod text;

#[derive(Debug, Parser)]
#[command(name = "redress", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Understand texts: language, sentiment, complaint, severity, topics, and why
    Classify(text::classify::Args),
    /// Train a model from labelled lines, or a thread forecast from finished threads
    Train(text::train::Args),
    /// Score a model on labelled lines
    Evaluate(text::evaluate::Args),
    /// Find bursts in a series, or forecast how far a thread will spread
    #[command(subcommand)]
    Detect(detection::Detect),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Classify(args) => text::classify::run(args),
        Command::Train(args) => text::train::run(args),
        Command::Evaluate(args) => text::evaluate::run(args),
        Command::Detect(command) => detection::run(command),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("redress: {error:#}");
        ExitCode::from(1)
    })
}
