//! Recorded conversations with the door: every byte of an answer.
//!
//! Each file of `testdata/door` is one: what it shows, what the server is configured with, the
//! request with its body, a line of `=`, the answer. `UPDATE_SAMPLES=1` writes the answers anew;
//! read the difference. The desk is a fake whose answers tell what it was asked.

use std::path::{Path, PathBuf};

use crate::rig::{Rig, ask};

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/door");
const BORDER: &str = "====";

/// The request as it goes over the wire: `content-length` is counted where there is a body.
fn wire(request: &str) -> Vec<u8> {
    let (head, body) = request.split_once("\n\n").unwrap_or((request.trim_end(), ""));
    let body = body.trim_end().replace('\n', "\r\n");
    let mut wire = head.replace('\n', "\r\n");
    if !body.is_empty() {
        wire.push_str(&format!("\r\ncontent-length: {}", body.len()));
    }
    wire.push_str("\r\nconnection: close\r\n\r\n");
    wire.push_str(&body);
    wire.into_bytes()
}

/// The answer without its date, line ends without CR.
fn plain(answer: &str) -> String {
    let text = answer.replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let head: Vec<&str> = head.lines().filter(|line| !line.starts_with("date: ")).collect();
    format!("{}\n\n{body}", head.join("\n")).trim_end().to_owned()
}

async fn speak(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).unwrap();
    let (asked, wanted) = text.split_once(BORDER).unwrap_or((&text, ""));
    let notes: Vec<&str> = asked.lines().filter(|line| line.starts_with('#')).collect();
    let note = |line: &&'_ str| line.strip_prefix("# with ").map(str::to_owned);
    let with: Vec<String> = notes.iter().filter_map(note).collect();
    let pairs: Vec<(&str, &str)> = with.iter().map(|l| l.split_once(' ').unwrap()).collect();
    let rig = Rig::start(&pairs).await;
    let at = if notes.contains(&"# at the port of http_server") { rig.web } else { rig.api };
    let request: Vec<&str> = asked.lines().filter(|line| !line.starts_with('#')).collect();
    let request = request.join("\n");
    let got = plain(&ask(at, &wire(&request)).await);
    if std::env::var_os("UPDATE_SAMPLES").is_some() {
        let text = format!("{}\n{}\n{BORDER}\n{got}\n", notes.join("\n"), request.trim_end());
        std::fs::write(path, text).unwrap();
        return Ok(());
    }
    let wanted = wanted.trim();
    if got == wanted {
        Ok(())
    } else {
        Err(format!("{}:\n{got}\nwanted\n{wanted}", path.display()))
    }
}

#[tokio::test]
async fn recorded_conversations_go_as_they_went() {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(DIR).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 30, "{}", files.len());
    let mut faults = Vec::new();
    for path in &files {
        faults.extend(speak(path).await.err());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}
