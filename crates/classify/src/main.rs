//! Classify as a process of its own.

use classify::{Deps, File};

fn main() -> std::process::ExitCode {
    runtime::process::main("classify", env!("CARGO_PKG_VERSION"), |file: File, parts| async move {
        let log = file.bus.open("classify")?;
        classify::run(file.classify, Deps { log, parts }).await
    })
}
