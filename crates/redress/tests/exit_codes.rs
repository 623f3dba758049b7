//! What scripts rely on, at the command itself: exit codes, and where a refusal is.

// Helpers of tests may panic like tests; clippy exempts only functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

/// A folder in which `redress` is run, with nothing of the caller's environment that could set anything.
struct Folder(tempfile::TempDir);

struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn with(self, name: &str, text: &str) -> Self {
        std::fs::write(self.path().join(name), text).unwrap();
        self
    }

    fn redress(&self, line: &str) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_redress"));
        command.args(line.split(' ')).current_dir(self.path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("REDRESS") {
                command.env_remove(name);
            }
        }
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

#[test]
fn a_refused_line_is_named_by_file_and_line_and_the_rest_goes_on() {
    let folder = Folder::new()
        .with("posts.jsonl", "{\"id\":1,\"text\":\"a\"}\n\nrubbish\n{\"id\":2,\"text\":\"b\"}\n");
    let ended = folder.redress("decode --as ndjson posts.jsonl");
    assert_eq!((ended.code, ended.out.lines().count()), (1, 2), "{}", ended.err);
    assert!(ended.err.starts_with("posts.jsonl:3: "), "{}", ended.err);
    assert_eq!(folder.redress("decode --as nonsense posts.jsonl").code, 2);
}

#[cfg(feature = "cluster")]
#[test]
fn wrong_settings_are_named_once_by_file_and_line_with_whom_they_stop() {
    let folder = Folder::new()
        .with("right.toml", "[bus]\nkafka = 'broker:9092'\n[store]\nurl = 'sqlite://rows.db'\n")
        .with(
            "wrong.toml",
            "[bus]\nkafka = 'broker:9092'\n[alert.severe]\nlevl = 3\n[response]\nmembr = 'x'\n",
        );
    assert_eq!(folder.redress("check-config right.toml").code, 0);
    let ended = folder.redress("check-config wrong.toml");
    assert_eq!(ended.code, 1);
    for refusal in [
        "wrong.toml:4: unknown setting 'alert.severe.levl'",
        "wrong.toml:6: unknown setting 'response.membr'",
    ] {
        let found = ended.err.lines().filter(|line| line.starts_with(refusal)).count();
        assert_eq!(found, 1, "{}", ended.err);
    }
    assert_eq!(
        folder.redress("check-config wrong.toml --service ingest").code,
        0,
        "no setting of its own is wrong"
    );
}

#[cfg(feature = "cluster")]
#[test]
fn a_difference_is_exit_code_one_until_it_is_gone() {
    let folder = Folder::new().with(
        "redress.toml",
        "[bus]\nembedded = 'log.db'\npartitions = 2\n[store]\nurl = 'sqlite://rows.db'\n",
    );
    for (check, apply) in [
        ("topics check --config redress.toml", "topics apply --config redress.toml"),
        ("migrate --check --config redress.toml", "migrate --config redress.toml"),
    ] {
        let before = folder.redress(check);
        assert_eq!(before.code, 1, "{}", before.err);
        assert!(before.out.contains("missing"), "{}", before.out);
        assert_eq!(folder.redress(apply).code, 0);
        let after = folder.redress(check);
        assert_eq!(after.code, 0, "{}", after.out);
        assert!(!after.out.is_empty(), "it says what it looked at");
    }
}

#[cfg(feature = "cluster")]
#[test]
fn routes_are_tried_and_compared_with_what_was_expected() {
    let folder = Folder::new().with(
        "alert.toml",
        "[alert.destinations.slack]\nkind = 'slack'\nurl = 'https://slack.example/x'\n\
         [[alert.paging.routes]]\nwhen = { brand = 'acme' }\nto = ['slack']\n",
    );
    for (labels, code, out) in [
        ("brand=acme", 0, "slack\n"),
        ("brand=acme topic=refund --expect slack", 0, "slack\n"),
        ("brand=globex", 0, ""),
        ("brand=globex --expect slack", 1, ""),
        ("brand=acme --expect slack,pager", 1, "slack\n"),
        ("colour=red", 2, ""),
        ("brand", 2, ""),
    ] {
        let ended = folder.redress(&format!("routes test --config alert.toml {labels}"));
        assert_eq!((ended.code, ended.out.as_str()), (code, out), "{labels}: {}", ended.err);
    }
}

#[cfg(feature = "cluster")]
#[test]
fn a_service_or_a_log_that_is_not_there_is_no_wrong_usage() {
    let folder = Folder::new().with("rules.toml", "");
    let ended = folder.redress("alerts list --to http://127.0.0.1:1");
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("does not answer"), "{}", ended.err);
    let ended = folder.redress("backtest --rules rules.toml --data nowhere");
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("nowhere"), "{}", ended.err);
    assert!(!folder.path().join("nowhere").exists(), "looking makes nothing");
    assert_eq!(folder.redress("backtest --rules rules.toml").code, 2);
}
