//! `redress bench`: how fast the pipeline, understanding and detection are on this machine, each beside the
//! plainest thing that does comparable work, in the same run. Only such ratios can be compared: machines drift.

mod latency;
mod library;
mod load;
mod measure;
mod page;
mod pipeline;
mod rig;

use std::process::ExitCode;

use clap::Subcommand;

pub(crate) use self::library::{ClassifyArgs, DetectArgs};
pub(crate) use self::pipeline::PipelineArgs;

/// What is to be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// From mention to verdict, exactly once, beside a bare transactional copy of the same records
    Pipeline(PipelineArgs),
    /// Texts understood per second, beside a plain hash of their bytes
    Classify(ClassifyArgs),
    /// Tallies taken in per second over many subjects, beside a rolling three-sigma rule
    Detect(DetectArgs),
}

/// Runs `redress bench`.
///
/// # Errors
/// When something cannot be started, or what came out is not what went in.
pub(crate) fn run(bench: Bench) -> anyhow::Result<ExitCode> {
    match bench {
        Bench::Pipeline(args) => super::block_on(pipeline::run(args)),
        Bench::Classify(args) => library::classify(&args),
        Bench::Detect(args) => library::detect(&args),
    }
}
