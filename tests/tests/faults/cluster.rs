//! The services as processes, and their violent end.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bus::{KafkaLog, KafkaSettings, Log};
use runtime::Net;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::receiver::Receiver;

/// How long a service may take to answer after its start.
const READY_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    pub(crate) ingest: String,
    pub(crate) alert: String,
    pub(crate) response: String,
    pub(crate) log: Arc<dyn Log>,
    config: PathBuf,
    services: Vec<(&'static str, u16, Mutex<Child>)>,
    _dir: tempfile::TempDir,
}

impl Cluster {
    pub(crate) async fn start(brokers: &str, prefix: &str, database: &str, receiver: &Receiver) -> Self {
        build();
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("redress.toml");
        let [ingest, ingest_http, classify, alert, response] = [(); 5].map(|()| free_port());
        let text = format!(
            r#"
tenant = "test"
[[brands]]
id = "acme"
words = ["acme"]
accounts = ["ndjson::acme-care"]
[process.shutdown]
lame_duck_ms = 0
drain_ms = 5000
[bus]
kafka = "{brokers}"
prefix = "{prefix}"
partitions = 4
[store]
url = "{database}"
[ingest]
listen = "127.0.0.1:{ingest}"
listen_http = "127.0.0.1:{ingest_http}"
[classify]
listen = "127.0.0.1:{classify}"
[alert]
listen = "127.0.0.1:{alert}"
[alert.destinations.hook]
kind = "webhook"
url = "{}"
secrets = ["{}"]
allow_private = true
[response]
listen = "127.0.0.1:{response}"
"#,
            receiver.url, receiver.secret
        );
        std::fs::write(&config, text).unwrap();
        for words in [["topics", "apply"].as_slice(), ["migrate"].as_slice()] {
            let output = Command::new(binary("redress"))
                .args(words)
                .arg("--config")
                .arg(&config)
                .output()
                .await
                .unwrap();
            assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let mut services = Vec::new();
        for name in crate::SERVICES {
            let admin = free_port();
            services.push((name, admin, Mutex::new(spawn(name, &config, admin))));
        }
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let cluster = Self {
            ingest: url(ingest),
            alert: url(alert),
            response: url(response),
            log: Arc::new(KafkaLog::connect(KafkaSettings::new(brokers, prefix)).unwrap()),
            config,
            services,
            _dir: dir,
        };
        for (name, admin, _) in &cluster.services {
            cluster.ready(name, *admin).await;
        }
        cluster
    }

    /// Kills and restarts as planned; the number of kills.
    pub(crate) async fn kill_at(&self, plan: Vec<(Duration, &str)>) -> usize {
        let begun = tokio::time::Instant::now();
        let mut killed = 0;
        for (after, name) in plan {
            tokio::time::sleep_until(begun + after).await;
            let (_, admin, child) = self.services.iter().find(|(n, ..)| *n == name).unwrap();
            let mut child = child.lock().await;
            // SIGKILL: no destructor runs, nothing is flushed.
            child.kill().await.unwrap();
            *child = spawn(name, &self.config, *admin);
            killed += 1;
        }
        killed
    }

    pub(crate) fn link(&self, url: &str) -> runtime::net::Link {
        Net::default().channel(url).unwrap()
    }

    async fn ready(&self, name: &str, admin: u16) {
        let begun = tokio::time::Instant::now();
        let probe = || async {
            let output = Command::new(binary(name))
                .args(["healthcheck", "--config"])
                .arg(&self.config)
                .env("REDRESS__PROCESS__ADMIN", format!("127.0.0.1:{admin}"))
                .output()
                .await
                .unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        loop {
            let (is_ready, said) = probe().await;
            if is_ready {
                return;
            }
            let log = || {
                std::fs::read_to_string(self.config.with_file_name(format!("{name}.log"))).unwrap_or_default()
            };
            assert!(begun.elapsed() < READY_WITHIN, "{name} did not become ready: {said}\n{}", log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

fn spawn(name: &str, config: &PathBuf, admin: u16) -> Child {
    let log = config.with_file_name(format!("{name}.log"));
    let file = std::fs::File::options().create(true).append(true).open(log).unwrap();
    Command::new(binary(name))
        .arg("--config")
        .arg(config)
        .env("REDRESS__PROCESS__ADMIN", format!("127.0.0.1:{admin}"))
        .stdin(Stdio::null())
        .stdout(Stdio::from(file.try_clone().unwrap()))
        .stderr(Stdio::from(file))
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {name}: {e}"))
}

/// The folder of this test's own build, where the other binaries are too.
fn bin_dir() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(std::path::Path::parent).unwrap().to_owned()
}

pub(crate) fn binary(name: &str) -> PathBuf {
    bin_dir().join(name)
}

/// A test run builds libraries first; the binaries of other packages are asked for here.
pub(crate) fn build() {
    let target = bin_dir();
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args([
        "build", "--quiet", "--locked", "--bins", "-p", "redress", "-p", "ingest", "-p", "classify", "-p",
        "alert", "-p", "response",
    ]);
    if target.file_name().is_some_and(|profile| profile == "release") {
        cargo.arg("--release");
    }
    // What Cargo says about this test is part of what some build scripts depend on: with it in its environment
    // the inner build would build half of everything anew, and so would the next outer one.
    let about_us = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| about_us.iter().any(|prefix| name.starts_with(prefix))) {
            cargo.env_remove(&name);
        }
    }
    let status = cargo
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .env("CARGO_TARGET_DIR", target.parent().unwrap())
        .status()
        .unwrap();
    assert!(status.success(), "the services must build");
}

/// A port below those that the system gives to outgoing connections: a killed service must get it back.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = 20_000 + (std::process::id() % 1_000) as u16 * 10;
    loop {
        let port = begin + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
