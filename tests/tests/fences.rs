//! The fences hold: a pure crate cannot reach the outer world, and nobody passes the crates that may.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic like tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The crates that decide and never look at the world.
const PURE: [&str; 6] = ["model", "sources", "nlp", "detect", "paging", "casework"];
/// What would let them.
const WORLD: [&str; 14] = [
    "tokio",
    "mio",
    "socket2",
    "hyper",
    "reqwest",
    "tonic",
    "axum",
    "rdkafka",
    "rdkafka-sys",
    "sqlx",
    "rusqlite",
    "libsqlite3-sys",
    "opentelemetry",
    "tracing-subscriber",
];
/// Each of these is used by one crate of ours alone.
const DOORS: [(&str, &str); 3] = [("rdkafka", "bus"), ("rusqlite", "bus"), ("sqlx", "store")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

struct Graph {
    /// Package name to the names of its normal (not build, not dev) dependencies.
    normal: BTreeMap<String, BTreeSet<String>>,
    ours: BTreeSet<String>,
}

fn graph() -> Graph {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let names: BTreeMap<String, String> =
        metadata["packages"].as_array().unwrap().iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    let ours =
        metadata["workspace_members"].as_array().unwrap().iter().map(|id| names[&text(id)].clone()).collect();
    let mut normal: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let of = normal.entry(names[&text(&node["id"])].clone()).or_default();
        for dependency in node["deps"].as_array().unwrap() {
            let is_normal = dependency["dep_kinds"].as_array().unwrap().iter().any(|k| k["kind"].is_null());
            if is_normal {
                of.insert(names[&text(&dependency["pkg"])].clone());
            }
        }
    }
    Graph { normal, ours }
}

fn reachable(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(name) = open.pop() {
        for next in graph.normal.get(&name).into_iter().flatten() {
            if seen.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    seen
}

#[test]
fn a_pure_crate_reaches_nothing_of_the_world() {
    let graph = graph();
    for pure in PURE {
        let reached = reachable(&graph, pure);
        let forbidden: Vec<_> = WORLD.iter().filter(|w| reached.contains(**w)).collect();
        assert!(forbidden.is_empty(), "crate {pure} reaches {forbidden:?}");
    }
}

#[test]
fn the_world_is_reached_through_one_door_each() {
    let graph = graph();
    for (dependency, door) in DOORS {
        let users: Vec<_> =
            graph.ours.iter().filter(|c| graph.normal[*c].contains(dependency)).map(String::as_str).collect();
        let strangers: Vec<_> = users.iter().filter(|u| **u != door && **u != "testkit").collect();
        assert!(strangers.is_empty(), "{dependency} belongs to {door}, but {strangers:?} use it too");
    }
}

#[test]
fn no_service_depends_on_another() {
    let graph = graph();
    let services = ["ingest", "classify", "alert", "response", "console"];
    for service in services {
        let reached = reachable(&graph, service);
        let others: Vec<_> = services.iter().filter(|s| **s != service && reached.contains(**s)).collect();
        assert!(
            others.is_empty(),
            "{service} depends on {others:?}: they meet in contracts, over topics and gRPC"
        );
    }
}

#[test]
fn every_pure_crate_keeps_the_same_rules() {
    let rules =
        |name: &str| std::fs::read_to_string(root().join("crates").join(name).join("clippy.toml")).unwrap();
    for pure in PURE {
        assert_eq!(
            rules(pure),
            rules("model"),
            "crates/{pure}/clippy.toml differs from crates/model/clippy.toml"
        );
        let manifest = std::fs::read_to_string(root().join("crates").join(pure).join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "crates/{pure} does not take the workspace's lints"
        );
    }
}

/// The rule is not only written down: clippy refuses a crate that breaks it.
#[test]
fn a_clock_in_a_pure_crate_is_refused() {
    let crate_dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(crate_dir.path().join(name), text).unwrap();
    write(
        "Cargo.toml",
        "[package]\nname = \"probe\"\nedition = \"2024\"\n[workspace]\n[lints.clippy]\ndisallowed_methods = \"deny\"\ndisallowed_types = \"deny\"\n",
    );
    write("clippy.toml", &std::fs::read_to_string(root().join("crates/model/clippy.toml")).unwrap());
    std::fs::create_dir(crate_dir.path().join("src")).unwrap();
    write("src/lib.rs", "pub fn now() -> std::time::SystemTime { std::time::SystemTime::now() }\n");
    let output = Command::new(env!("CARGO"))
        .args(["clippy", "--offline", "--quiet"])
        .env("CARGO_TARGET_DIR", crate_dir.path().join("target"))
        .current_dir(crate_dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("no such command: `clippy`") {
        println!("skipped: clippy is not installed");
        return;
    }
    assert!(!output.status.success() && said.contains("pass `now` as an argument"), "{said}");
}
