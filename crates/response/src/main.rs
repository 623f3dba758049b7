//! Response as a process of its own.

use response::{Deps, File};
use store::{Store, StoreOptions};

fn main() -> std::process::ExitCode {
    runtime::process::main("response", env!("CARGO_PKG_VERSION"), |file: File, parts| async move {
        let options = StoreOptions { connections_max: file.store.connections_max, ..StoreOptions::default() };
        let store = Store::open(file.store.url.expose(), options).await?;
        let log = file.bus.open("response")?;
        response::run(file.response, Deps { log, store, parts, brands: file.brands }).await
    })
}
