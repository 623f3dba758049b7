//! A real Postgres for tests: the server named by `REDRESS_TEST_POSTGRES`, or one started from the installed
//! binaries in a temporary folder.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::sync::OnceCell;

/// Names a server whose user may create databases, for example `postgres://postgres@localhost/postgres`.
pub const ADDRESS_VARIABLE: &str = "REDRESS_TEST_POSTGRES";

/// How long a fresh server may take to answer.
const START_WITHIN: Duration = Duration::from_secs(60);

static SHARED: OnceCell<Result<Postgres, String>> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    /// With some database in its path.
    address: String,
    /// Its standard input is open as long as we live; the shell behind it then stops the server and
    /// removes its folder, however we ended.
    _keeper: Option<Child>,
}

/// The server all tests of this process share, started at the first call. When there is none, prints one
/// line and gives nothing.
///
/// # Panics
/// When there is none and [`crate::REQUIRE_VARIABLE`] lists `postgres`.
pub async fn shared() -> Option<&'static Postgres> {
    match SHARED.get_or_init(Postgres::start).await {
        Ok(server) => Some(server),
        Err(why) => {
            assert!(!crate::is_required("postgres"), "postgres is needed here: {why}");
            eprintln!("skipped on postgres: {why}");
            None
        }
    }
}

impl Postgres {
    /// Finds or starts a server.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn start() -> Result<Self, String> {
        if let Ok(address) = std::env::var(ADDRESS_VARIABLE) {
            return Ok(Self { address, _keeper: None });
        }
        let (address, keeper) = tokio::task::spawn_blocking(launch).await.map_err(|e| e.to_string())??;
        let server = Self { address, _keeper: Some(keeper) };
        server.answers().await?;
        Ok(server)
    }

    /// A fresh, empty database; gives its address.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn database(&self) -> String {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("redress_test_{}_{}_{number}", std::process::id(), started % 1_000_000_000);
        let mut connection = self.options().connect().await.expect("the server answered before");
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut connection)
            .await
            .expect("the user may create databases");
        connection.close().await.expect("nothing is open");
        let mut address = url::Url::parse(&self.address).expect("checked at start");
        address.set_path(&name);
        address.into()
    }

    fn options(&self) -> PgConnectOptions {
        self.address.parse().expect("checked at start")
    }

    async fn answers(&self) -> Result<(), String> {
        let mut waited = Duration::ZERO;
        loop {
            match self.options().connect().await {
                Ok(connection) => return connection.close().await.map_err(|e| e.to_string()),
                Err(e) if waited >= START_WITHIN => return Err(format!("the server does not answer: {e}")),
                Err(_) => {}
            }
            let pause = Duration::from_millis(50);
            tokio::time::sleep(pause).await;
            waited += pause;
        }
    }
}

/// Makes a data folder and starts a server on it, as somebody who is not root.
fn launch() -> Result<(String, Child), String> {
    let binaries = binaries().ok_or("no initdb found; install Postgres or set REDRESS_TEST_POSTGRES")?;
    let folder = tempfile::Builder::new()
        .prefix("redress-postgres-")
        .tempdir()
        .map_err(|e| format!("cannot make a temporary folder: {e}"))?;
    let become_user = become_user(folder.path())?;
    let data = folder.path().join("data");

    let initdb = command(&become_user, &binaries.join("initdb"))
        .arg("-D")
        .arg(&data)
        .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
        .current_dir(folder.path())
        .output()
        .map_err(|e| format!("cannot run initdb: {e}"))?;
    if !initdb.status.success() {
        return Err(format!("initdb failed: {}", String::from_utf8_lossy(&initdb.stderr)));
    }

    let port = free_port()?;
    let log = fs::File::create(folder.path().join("log")).map_err(|e| format!("cannot write a log: {e}"))?;
    // The shell holds the server; when our end of its standard input closes it stops it, without waiting
    // for clients, and removes the folder.
    let script = "folder=$1; shift; \"$@\" </dev/null & server=$!; cat >/dev/null; \
                  kill -QUIT $server; wait $server; rm -rf \"$folder\"";
    let mut keeper = Command::new("sh");
    keeper.args(["-c", script, "sh"]).arg(folder.path()).args(&become_user);
    keeper.arg(binaries.join("postgres")).arg("-D").arg(&data).args(["-p", &port.to_string()]);
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "full_page_writes=off",
        "max_connections=200",
        "shared_buffers=32MB",
    ] {
        keeper.args(["-c", setting]);
    }
    let keeper = keeper
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(log.try_clone().map_err(|e| e.to_string())?)
        .stderr(log)
        .spawn()
        .map_err(|e| format!("cannot start postgres: {e}"))?;
    // From here on the shell removes the folder.
    let _ = folder.keep();
    Ok((format!("postgres://postgres@127.0.0.1:{port}/postgres"), keeper))
}

fn command(become_user: &[String], program: &Path) -> Command {
    let mut words = become_user.iter();
    let Some(first) = words.next() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(words).arg(program);
    command
}

/// The folder with `initdb` and `postgres`: on the path, or where Debian puts them (newest first).
fn binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("initdb"));
    let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|e| e.path().join("bin/initdb")).collect())
        .unwrap_or_default();
    debian.sort();
    on_path
        .chain(debian.into_iter().rev())
        // A link leads to the folder that has both.
        .filter_map(|initdb| fs::canonicalize(initdb).ok())
        .filter_map(|initdb| initdb.parent().map(Path::to_path_buf))
        .find(|folder| folder.join("postgres").exists())
}

/// The words before a command that make it run as an ordinary user, who then owns `folder`; none when we
/// are one. Postgres refuses to run as root.
fn become_user(folder: &Path) -> Result<Vec<String>, String> {
    let owner = fs::metadata(folder).map_err(|e| e.to_string())?.uid();
    if owner != 0 {
        return Ok(Vec::new());
    }
    let passwd = fs::read_to_string("/etc/passwd").map_err(|e| format!("cannot read users: {e}"))?;
    let ids = |name: &str| {
        passwd.lines().find_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            (fields.len() > 3 && fields[0] == name)
                .then(|| Some((fields[2].parse::<u32>().ok()?, fields[3].parse::<u32>().ok()?)))
                .flatten()
        })
    };
    let (user, group) = ids("postgres")
        .or_else(|| ids("nobody"))
        .ok_or("we are root, and there is neither a user 'postgres' nor 'nobody'")?;
    chown(folder, Some(user), Some(group)).map_err(|e| format!("cannot hand over the folder: {e}"))?;
    let words = ["setpriv", &format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups", "--"];
    Ok(words.map(str::to_owned).to_vec())
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| format!("no free port: {e}"))?;
    listener.local_addr().map(|a| a.port()).map_err(|e| e.to_string())
}
