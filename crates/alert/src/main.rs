//! Alert as a process of its own.

use alert::{Deps, File};
use std::sync::Arc;

use store::{Store, StoreOptions};

fn main() -> std::process::ExitCode {
    runtime::process::main("alert", env!("CARGO_PKG_VERSION"), |file: File, parts| async move {
        let options = StoreOptions { connections_max: file.store.connections_max, ..StoreOptions::default() };
        let store = Store::open(file.store.url.expose(), options).await?;
        let log = file.bus.open("alert")?;
        let deps = Deps { log, store, brands: Arc::new(file.brands), parts };
        alert::run(file.alert, deps).await
    })
}
