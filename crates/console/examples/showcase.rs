//! The console before services that tell a story: `cargo run -p console --example showcase [ADDRESS] [quiet]`.
//! For whoever works on how the pages look.

#[path = "../tests/fake/mod.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]
mod fake;

use std::sync::Arc;

use console::ConsoleConfig;
use runtime::process::Parts;
use runtime::{Clock as _, RealClock, Shutdown};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let listen = words.next().unwrap_or_else(|| "127.0.0.1:7700".into()).parse()?;
    let now = RealClock.now();
    let world = if words.next().is_some() { fake::World::quiet(now) } else { fake::World::at(now) };
    let shutdown = Shutdown::immediate();
    let uri = format!("http://{}", world.serve(&shutdown).await);
    let config = ConsoleConfig {
        listen,
        alert: uri.clone(),
        response: uri.clone(),
        ingest: Some(uri),
        ..ConsoleConfig::default()
    };
    println!("http://{listen}/ until Ctrl-C");
    let parts = Parts { shutdown, ..Parts::alone(Arc::new(RealClock)) };
    console::run(config, parts).await
}
