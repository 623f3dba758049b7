//! Writes the tiny model of the tests into a folder, with lines to try it on:
//! `cargo run -p transformer --features tiny --example make_tiny -- FOLDER`.

use std::error::Error;
use std::path::PathBuf;

use transformer::tiny;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("which folder?")?);
    std::fs::create_dir_all(&folder)?;
    tiny::make(&folder)?;
    let lines = tiny::lines(1, 200).into_iter().enumerate().map(|(id, line)| {
        let row = serde_json::json!({"id": id, "text": line.text, "sentiment": tiny::CLASSES[line.class]});
        format!("{row}\n")
    });
    std::fs::write(folder.join("lines.jsonl"), lines.collect::<String>())?;
    Ok(())
}
