//! Writes the clip into the file that is named: `cargo run -p testcard --example write -- card.flv`.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let path = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("card.flv"), PathBuf::from);
    std::fs::write(path, testcard::flv())
}
