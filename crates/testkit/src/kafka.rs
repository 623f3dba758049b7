//! A real Kafka for tests: the brokers named by `REDRESS_TEST_KAFKA`, or one broker started from its
//! published jars, which Maven fetches once into the target folder.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::OnceCell;

/// Names brokers on which topics may be made, for example `localhost:9092`.
pub const ADDRESS_VARIABLE: &str = "REDRESS_TEST_KAFKA";

/// How long a fresh broker may take to be ready.
const START_WITHIN: Duration = Duration::from_secs(90);
const START_LOOK: Duration = Duration::from_millis(50);
/// The broker logs this once it serves.
const READY_LINE: &str = "Kafka Server started";
/// Where Maven puts the jars, in the target folder.
const JARS_FOLDER: &str = "kafka-libs";

static SHARED: OnceCell<Result<Kafka, String>> = OnceCell::const_new();
static PREFIXES: AtomicU32 = AtomicU32::new(0);

/// A running broker, or the address of some.
#[derive(Debug)]
pub struct Kafka {
    brokers: String,
    /// Its standard input is open as long as we live; the shell behind it then kills the broker and
    /// removes its folder, however we ended.
    keeper: Option<Child>,
}

/// The broker all tests of this process share, started at the first call. When there is none, prints one
/// line and gives nothing.
///
/// # Panics
/// When there is none and [`crate::REQUIRE_VARIABLE`] lists `kafka`.
pub async fn shared() -> Option<&'static Kafka> {
    match SHARED.get_or_init(Kafka::start).await {
        Ok(broker) => Some(broker),
        Err(why) => {
            assert!(!crate::is_required("kafka"), "kafka is needed here: {why}");
            eprintln!("skipped on kafka: {why}");
            None
        }
    }
}

impl Kafka {
    /// Finds brokers, or starts one of our own.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn start() -> Result<Self, String> {
        match std::env::var(ADDRESS_VARIABLE) {
            Ok(brokers) => Ok(Self { brokers, keeper: None }),
            Err(_) => tokio::task::spawn_blocking(launch).await.map_err(|e| e.to_string())?,
        }
    }

    /// Addresses for clients.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Whether it was started here, with quick retention and compaction.
    pub fn is_own(&self) -> bool {
        self.keeper.is_some()
    }

    /// A prefix for topics and groups that no one else has.
    pub fn prefix(&self) -> String {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let number = PREFIXES.fetch_add(1, Ordering::Relaxed);
        format!("test-{}-{}-{number}.", std::process::id(), started % 1_000_000_000)
    }

    /// Ends the broker at once, as a power cut would its process.
    pub fn kill(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            // Nothing is left to do when it has ended by itself.
            let _ = keeper.wait();
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch() -> Result<Kafka, String> {
    let jars = jars()?;
    let folder = tempfile::Builder::new()
        .prefix("redress-kafka-")
        .tempdir()
        .map_err(|e| format!("cannot make a temporary folder: {e}"))?;
    let (port, controller) = free_ports()?;
    let settings = folder.path().join("server.properties");
    write(&settings, &server_settings(folder.path(), port, controller))?;
    let logging = folder.path().join("log4j2.properties");
    write(&logging, LOGGING)?;
    let java = |class: &str| {
        let mut words = vec!["java".to_owned(), "-Xms256m".to_owned(), "-Xmx512m".to_owned()];
        words.push(format!("-Dlog4j2.configurationFile={}", logging.display()));
        words.extend(["-cp".to_owned(), format!("{}/*", jars.display()), class.to_owned()]);
        words
    };
    let format = java("kafka.tools.StorageTool");
    let formatted = Command::new(&format[0])
        .args(&format[1..])
        .args(["format", "-t", CLUSTER_ID, "--standalone", "-c"])
        .arg(&settings)
        .output()
        .map_err(|e| format!("cannot run java: {e}"))?;
    if !formatted.status.success() {
        return Err(format!("formatting failed: {}", String::from_utf8_lossy(&formatted.stderr)));
    }
    let log = folder.path().join("log");
    let output = File::create(&log).map_err(|e| format!("cannot write a log: {e}"))?;
    // The shell holds the broker; when our end of its standard input closes it kills it and removes the
    // folder.
    let script = "folder=$1; shift; \"$@\" </dev/null & broker=$!; cat >/dev/null; \
                  kill -KILL $broker; wait $broker; rm -rf \"$folder\"";
    let mut keeper = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(folder.path())
        .args(java("kafka.Kafka"))
        .arg(&settings)
        .stdin(Stdio::piped())
        .stdout(output.try_clone().map_err(|e| e.to_string())?)
        .stderr(output)
        .spawn()
        .map_err(|e| format!("cannot start a broker: {e}"))?;
    // From here on the shell removes the folder.
    let _ = folder.keep();
    if let Err(why) = wait_until_ready(&log) {
        drop(keeper.stdin.take());
        let _ = keeper.wait();
        return Err(why);
    }
    Ok(Kafka { brokers: format!("127.0.0.1:{port}"), keeper: Some(keeper) })
}

fn wait_until_ready(log: &Path) -> Result<(), String> {
    let mut waited = Duration::ZERO;
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        if text.contains(READY_LINE) {
            return Ok(());
        }
        if waited >= START_WITHIN || text.contains("Exiting Kafka") {
            let end: Vec<&str> = text.lines().rev().take(20).collect();
            let end: Vec<&str> = end.into_iter().rev().collect();
            return Err(format!("the broker is not ready; its log ends with:\n{}", end.join("\n")));
        }
        std::thread::sleep(START_LOOK);
        waited += START_LOOK;
    }
}

/// The folder with the broker's jars; fetched when it is not there yet.
fn jars() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().map_err(|e| format!("the sources are gone: {e}"))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    fs::create_dir_all(&target).map_err(|e| format!("cannot make {}: {e}", target.display()))?;
    let folder = target.join(JARS_FOLDER);
    // Test programs may run side by side; one fetches.
    let lock = File::create(target.join("kafka-libs.lock")).map_err(|e| e.to_string())?;
    lock.lock().map_err(|e| format!("cannot lock the jars' folder: {e}"))?;
    let complete = folder.join(".complete");
    if complete.exists() {
        return Ok(folder);
    }
    let fetched = Command::new("mvn")
        .args(["-q", "-B", "dependency:copy-dependencies"])
        .arg(format!("-DoutputDirectory={}", folder.display()))
        .current_dir(root.join("tests/kafka"))
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("no Maven to fetch the broker with ({e}); set {ADDRESS_VARIABLE}"))?;
    if !fetched.status.success() {
        return Err(format!("fetching the broker failed: {}", String::from_utf8_lossy(&fetched.stdout)));
    }
    write(&complete, "")?;
    Ok(folder)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

fn free_ports() -> Result<(u16, u16), String> {
    let bind = || TcpListener::bind(("127.0.0.1", 0)).map_err(|e| format!("no free port: {e}"));
    let (one, two) = (bind()?, bind()?);
    let port = |l: &TcpListener| l.local_addr().map(|a| a.port()).map_err(|e| e.to_string());
    Ok((port(&one)?, port(&two)?))
}

/// Any 16 bytes in base64 will do.
const CLUSTER_ID: &str = "cmVkcmVzcy10ZXN0cy0wMQ";

const LOGGING: &str = "\
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1}: %m%n
logger.server.name = kafka.server
logger.server.level = INFO
";

/// One node that is broker and controller, and does soon what a real one does every few minutes.
fn server_settings(folder: &Path, port: u16, controller: u16) -> String {
    let data = folder.join("data");
    format!(
        "\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
log.dirs={}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.initial.task.delay.ms=500
log.retention.check.interval.ms=500
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=8388608
",
        data.display()
    )
}
