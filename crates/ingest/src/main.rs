//! Ingest as a process of its own.

use ingest::{Deps, File};
use store::{Store, StoreOptions};

fn main() -> std::process::ExitCode {
    runtime::process::main("ingest", env!("CARGO_PKG_VERSION"), |file: File, parts| async move {
        let options = StoreOptions { connections_max: file.store.connections_max, ..StoreOptions::default() };
        let store = Store::open(file.store.url.expose(), options).await?;
        let log = file.bus.open("ingest")?;
        let deps = Deps { log, store, tenant: file.tenant, brands: file.brands, parts };
        ingest::run(file.ingest, deps).await
    })
}
