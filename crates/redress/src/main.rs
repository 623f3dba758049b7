//! `redress`: the command people and scripts type.
//!
//! This file only names the commands; each lives in a module of its own and returns its exit code:
//! 0 all went well, 1 something in the input was refused, 2 wrong usage (clap's own).

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[cfg(feature = "cluster")]
mod cluster;
mod decode;
mod detection;
mod lines;
#[cfg(feature = "cluster")]
mod scenario;
mod text;

/// Everything in one process allocates in bursts on many threads; what a burst needed is given back.
#[cfg(feature = "cluster")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Debug, Parser)]
#[command(name = "redress", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what the bytes of a source become: one mention event per line
    Decode(decode::Args),
    /// Understand texts: language, sentiment, complaint, severity, topics, and why
    Classify(text::classify::Args),
    /// Train a model from labelled lines, or a thread forecast from finished threads
    Train(text::train::Args),
    /// Score a model on labelled lines
    Evaluate(text::evaluate::Args),
    /// Find bursts in a series, or forecast how far a thread will spread
    #[command(subcommand)]
    Detect(detection::Detect),
    /// Run the whole system in one process, on a story, a recording or a live source
    #[cfg(feature = "cluster")]
    Dev(cluster::dev::DevArgs),
    /// Send a recording, or a built-in story, into a running ingest
    #[cfg(feature = "cluster")]
    Replay(cluster::replay::ReplayArgs),
    /// What is open, who has it, and why
    #[cfg(feature = "cluster")]
    Alerts(cluster::alerts::AlertsArgs),
    /// Whom we have not answered yet, and what we promised
    #[cfg(feature = "cluster")]
    Cases(cluster::cases::CasesArgs),
    /// How quickly people were answered, and which promises were kept
    #[cfg(feature = "cluster")]
    Report(cluster::cases::ReportArgs),
    /// Create the topics, or say what differs
    #[cfg(feature = "cluster")]
    Topics(cluster::operate::TopicsArgs),
    /// Bring every service's tables up to date, or say what is missing
    #[cfg(feature = "cluster")]
    Migrate(cluster::operate::MigrateArgs),
    /// Read a settings file as the services do, and say what is wrong
    #[cfg(feature = "cluster")]
    CheckConfig(cluster::operate::CheckConfigArgs),
    /// Measure the pipeline, understanding and detection on this machine
    #[cfg(feature = "cluster")]
    #[command(subcommand)]
    Bench(cluster::bench::Bench),
    /// Try the routing table
    #[cfg(feature = "cluster")]
    Routes(cluster::operate::RoutesArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Decode(args) => decode::run(args),
        Command::Classify(args) => text::classify::run(args),
        Command::Train(args) => text::train::run(args),
        Command::Evaluate(args) => text::evaluate::run(args),
        Command::Detect(command) => detection::run(command),
        #[cfg(feature = "cluster")]
        Command::Dev(args) => cluster::block_on(cluster::dev::run(args)),
        #[cfg(feature = "cluster")]
        Command::Replay(args) => cluster::block_on(cluster::replay::run(args)),
        #[cfg(feature = "cluster")]
        Command::Alerts(args) => cluster::block_on(cluster::alerts::run(args)),
        #[cfg(feature = "cluster")]
        Command::Cases(args) => cluster::block_on(cluster::cases::run(args)),
        #[cfg(feature = "cluster")]
        Command::Report(args) => cluster::block_on(cluster::cases::report(args)),
        #[cfg(feature = "cluster")]
        Command::Topics(args) => cluster::block_on(cluster::operate::topics(args)),
        #[cfg(feature = "cluster")]
        Command::Migrate(args) => cluster::block_on(cluster::operate::migrate(args)),
        #[cfg(feature = "cluster")]
        Command::CheckConfig(args) => cluster::operate::check_config(args),
        #[cfg(feature = "cluster")]
        Command::Bench(bench) => cluster::bench::run(bench),
        #[cfg(feature = "cluster")]
        Command::Routes(args) => cluster::operate::routes(args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("redress: {error:#}");
        ExitCode::from(1)
    })
}
