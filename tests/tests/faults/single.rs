//! The whole in one process, its folder, and its violent end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bus::{EmbeddedLog, EmbeddedSettings};
use runtime::Net;
use runtime::net::Link;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::cluster::{binary, build, free_port};
use crate::receiver::Receiver;

/// After this the test gives up: a bound, not a measurement.
const GIVE_UP: Duration = Duration::from_secs(240);

/// A folder on which `redress dev` runs again and again.
pub(crate) struct Single {
    folder: tempfile::TempDir,
    /// Of the console, the same after each death: notices link to it, and a repeat must say the same.
    port: u16,
}

/// `redress dev`, running.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// gRPC, by service.
    addresses: BTreeMap<String, String>,
    said: PathBuf,
}

impl Single {
    pub(crate) fn new(recording: &[String], receiver: &Receiver) -> Self {
        build();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("recording.ndjson"), recording.concat()).unwrap();
        let settings = format!(
            r#"
[[brands]]
id = "acme"
words = ["acme"]
accounts = ["ndjson::acme-care"]
[alert.destinations.hook]
kind = "webhook"
url = "{}"
secrets = ["{}"]
allow_private = true
"#,
            receiver.url, receiver.secret
        );
        std::fs::write(folder.path().join("redress.toml"), settings).unwrap();
        Self { folder, port: free_port() }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts it; it goes on where it was.
    pub(crate) async fn start(&self) -> Running {
        let said = self.folder.path().join("said.log");
        let errors = std::fs::File::options().create(true).append(true).open(&said).unwrap();
        let mut child = Command::new(binary("redress"))
            .current_dir(self.folder.path())
            .args(["dev", "--replay", "recording.ndjson", "--as", "ndjson", "--speed", "max"])
            .args(["--config", "redress.toml", "--data", "data", "--listen"])
            .arg(format!("127.0.0.1:{}", self.port))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(errors))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut running = Running { child, lines, addresses: BTreeMap::new(), said };
        let line = running.line_with("gRPC: ").await;
        for pair in line["gRPC: ".len()..].split(", ") {
            let (name, url) = pair.split_once(' ').unwrap();
            running.addresses.insert(name.to_owned(), url.to_owned());
        }
        running
    }

    /// Starts it and kills it `moment` after so many records of the recording are confirmed.
    pub(crate) async fn kill_after(&self, confirmed: u64, moment: Duration) {
        let mut running = self.start().await;
        let begun = tokio::time::Instant::now();
        while self.confirmed() < confirmed {
            assert!(running.child.try_wait().unwrap().is_none(), "it ended: {}", running.log());
            assert!(begun.elapsed() < GIVE_UP, "stands still at {}: {}", self.confirmed(), running.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(moment).await;
        println!("killed after {} of the records were confirmed", self.confirmed());
        // SIGKILL: no destructor runs, nothing is flushed.
        running.child.kill().await.unwrap();
    }

    /// How far the replay got, as its own note says.
    fn confirmed(&self) -> u64 {
        let Ok(found) = std::fs::read_dir(self.data()) else { return 0 };
        let notes = found.filter_map(|entry| Some(entry.ok()?.path()));
        let note = notes.filter(|path| path.extension().is_some_and(|e| e == "json"));
        let read = |path: PathBuf| -> Option<u64> {
            let note: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
            note["records"].as_u64()
        };
        note.filter_map(read).max().unwrap_or(0)
    }

    /// The log, once the process is gone.
    pub(crate) fn log(&self) -> EmbeddedLog {
        EmbeddedLog::open(&self.data().join("log.db"), EmbeddedSettings::default()).unwrap()
    }
}

impl Running {
    pub(crate) fn link(&self, service: &str) -> Link {
        Net::default().channel(&self.addresses[service]).unwrap()
    }

    /// Waits until the rest of the recording is worked through; each hop's account must balance.
    pub(crate) async fn heard_everything(&mut self) {
        self.line_with("Everything has been heard").await;
        self.line_with("The page stays up").await;
    }

    /// A polite end.
    pub(crate) async fn stop(mut self) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        let status = std::process::Command::new("kill").arg(id.to_string()).status().unwrap();
        assert!(status.success());
        let ended = tokio::time::timeout(GIVE_UP, self.child.wait()).await.expect("it ends").unwrap();
        assert!(ended.success(), "{ended}: {}", self.log());
    }

    async fn line_with(&mut self, words: &str) -> String {
        let reading = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.contains(words) {
                    return line;
                }
            }
            String::new()
        };
        let line = tokio::time::timeout(GIVE_UP, reading).await.expect("it says so in time");
        assert!(!line.is_empty(), "it ended without '{words}': {}", self.log());
        line
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap_or_default()
    }
}
