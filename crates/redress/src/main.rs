//! `redress`: the command people and scripts type.
//!
//! This file only names the commands; each lives in a module of its own and returns its exit code:
//! 0 all went well, 1 something in the input was refused, 2 wrong usage (clap's own).

use std::io::Write as _;
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
    /// Say which pages, breaches and cases other rules would have made of what was heard
    #[cfg(feature = "cluster")]
    Backtest(cluster::backtest::BacktestArgs),
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
        Command::Backtest(args) => cluster::block_on(cluster::backtest::run(args)),
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
    match outcome {
        Ok(code) => code,
        Err(error) if lines::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may hear it; the exit code says so too.
            let _ = writeln!(std::io::stderr(), "redress: {error:#}");
            ExitCode::from(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_is_put_together_soundly_and_has_help() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }

    #[test]
    fn what_scripts_rely_on_is_taken_and_wrong_usage_is_exit_code_two() {
        let lines = [
            ("decode --as ndjson -", true),
            ("decode --as nosuch -", false),
            ("detect series", true),
            ("detect cascade --model m FILE", true),
            ("train --task sentiment --train a --dev b --out m", true),
            ("evaluate --model m --task topic a b --format json", true),
            ("classify --model m -", true),
        ];
        #[cfg(feature = "cluster")]
        let of_cluster = [
            ("dev", true),
            ("dev --scenario broken-guitar --speed 2 --exit-when-done", true),
            ("dev --replay f --as csv --map a=id", true),
            ("dev --replay f", false),
            ("dev --source bluesky-jetstream --match word", true),
            ("dev --source bluesky-jetstream", false),
            ("replay f --as ndjson --to http://localhost:1 --speed max", true),
            ("replay f --to http://localhost:1", false),
            ("replay --scenario broken-guitar", true),
            ("backtest --rules r --data d --from 2026-01-01 --to 2026-01-02T03:04:05Z", true),
            ("backtest --rules r --data d --from noon", false),
            ("alerts list --all --format jsonl", true),
            ("alerts ack 0b7c6a7e-55c1-5a0e-8f5e-3d2f6f1d2a10 --owner d", true),
            ("alerts ack x --owner d", false),
            ("alerts silence --brand acme --for 60 --by d", true),
            ("alerts silences", true),
            ("alerts explain 0b7c6a7e-55c1-5a0e-8f5e-3d2f6f1d2a10", true),
            (
                "alerts explain 0b7c6a7e-55c1-5a0e-8f5e-3d2f6f1d2a10 --what-if threshold=2.5 --format json",
                true,
            ),
            ("alerts explain 0b7c6a7e-55c1-5a0e-8f5e-3d2f6f1d2a10 --what-if 2.5", false),
            ("alerts watch --from-start", true),
            ("cases list --overdue", true),
            ("cases show 0b7c6a7e-55c1-5a0e-8f5e-3d2f6f1d2a10", true),
            ("cases promise 0b7c6a7e-55c1-5a0e-8f5e-3d2f6f1d2a10 --what w --due 2026-01-01 --by d", true),
            ("cases promise 0b7c6a7e-55c1-5a0e-8f5e-3d2f6f1d2a10 --what w --due soon --by d", false),
            ("report --from 2026-01-01", true),
            ("bench pipeline --brokers a:1 --rate 5000 --format json", true),
            ("bench pipeline --to page --rate 2000", true),
            ("bench pipeline --rate 0", false),
            ("bench pipeline --file f", false),
            ("bench pipeline --file f --as ndjson", true),
            ("bench classify --texts 100", true),
            ("bench detect --subjects 10", true),
            ("bench", false),
            ("topics apply", true),
            ("topics check", true),
            ("migrate --check", true),
            ("check-config f --service alert", true),
            ("routes test --config f brand=acme topic=refund", true),
            ("routes test --config f brand", false),
            ("routes test --config f colour=red", false),
        ];
        #[cfg(not(feature = "cluster"))]
        let of_cluster: [(&str, bool); 0] = [];
        for (line, is_right) in lines.into_iter().chain(of_cluster) {
            match Cli::try_parse_from(["redress"].into_iter().chain(line.split(' '))) {
                Ok(_) => assert!(is_right, "{line}"),
                Err(error) => {
                    assert!(!is_right, "{line}: {error}");
                    assert_eq!(error.exit_code(), 2, "{line}");
                }
            }
        }
    }
}
