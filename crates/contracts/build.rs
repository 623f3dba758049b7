//! Compiles `proto/` without protoc and keeps the descriptor set for reflection and compatibility checks.

use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.join("redress").display());
    let mut files = Vec::new();
    for area in ["ingest", "classify", "alert", "response"] {
        for file in ["events.proto", "service.proto"] {
            files.push(root.join("redress").join(area).join("v1").join(file));
        }
    }
    let descriptors = protox::compile(&files, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("redress.binpb"), descriptors.encode_to_vec())?;

    let mut config = tonic_prost_build::Config::new();
    // Messages know their own full names: they travel as `ce_type`.
    config.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".")
        // In order, so that the same value always has the same bytes.
        .btree_map(".")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}
