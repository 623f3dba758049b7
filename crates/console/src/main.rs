//! The console as a process of its own.

use console::File;

fn main() -> std::process::ExitCode {
    runtime::process::main("console", env!("CARGO_PKG_VERSION"), |file: File, parts| {
        console::run(file.console, parts)
    })
}
