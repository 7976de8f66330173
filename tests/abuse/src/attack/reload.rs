//! Configurations, good and bad, while everything runs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::{Cx, Running};
use crate::{Context, Result};

/// Pause between two signals.
const PAUSE: Duration = Duration::from_millis(400);
/// What the file was before is kept beside it for as long as it is being rewritten.
const SUFFIX: &str = "before-abuse";

fn hang_up(pid: u32) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process id")?;
    kill_process(pid, Signal::HUP).context("SIGHUP")
}

/// Puts the file back and has it read once more, if it was ever changed.
pub(crate) fn restore(path: &Path, pid: u32) -> Result<()> {
    let kept = path.with_extension(SUFFIX);
    if kept.exists() {
        std::fs::rename(&kept, path)?;
        // If the server has died, that is told elsewhere.
        let _ = hang_up(pid);
    }
    Ok(())
}

/// The file, made another or made bad.
fn variant(good: &str, choice: u32) -> String {
    match choice {
        0 => format!("{good}\nvhost abuse-{choice}.example {{ }}\n"),
        1 => format!("{good}\nvhost other.example {{ hls {{ enabled on; }} tcp_nodelay on; }}\n"),
        2 => format!("{good}\nvhost {{ {{ ;;\n"),
        3 => format!("{good}\nno_such_directive yes;\n"),
        4 => format!("{good}\nlisten 99999;\n"),
        5 => String::from("\u{0}\u{1}\u{ffff}"),
        6 => format!("{good}\nvhost {} {{ }}\n", "x".repeat(100_000)),
        _ => good.to_owned(),
    }
}

/// Rewrites the configuration and sends SIGHUP, good and bad in turn.
pub(crate) fn reload(cx: Arc<Cx>) -> Running {
    Box::pin(async move {
        let Some(path) = cx.config.clone() else { return };
        let kept = path.with_extension(SUFFIX);
        if !kept.exists() && std::fs::copy(&path, &kept).is_err() {
            cx.tally.refused.fetch_add(1, Relaxed);
            return;
        }
        let Ok(good) = std::fs::read_to_string(&kept) else { return };
        let mut rng = cx.rng();
        while !cx.over() {
            let text = variant(&good, rng.random_range(0..9));
            let done =
                std::fs::write(&path, text).map_err(Into::into).and_then(|()| hang_up(cx.pid));
            cx.tally.tried();
            cx.tally.result(&done);
            sleep(PAUSE).await;
        }
        let _ = std::fs::write(&path, &good);
        let _ = hang_up(cx.pid);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_comes_back_as_it_was() {
        let dir = std::env::temp_dir().join(format!("abuse-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (path, kept) = (dir.join("a.conf"), dir.join("a.before-abuse"));
        std::fs::write(&path, "bad").unwrap();
        std::fs::write(&kept, "good").unwrap();
        // No process has this number.
        restore(&path, i32::MAX as u32).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "good");
        assert!(!kept.exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
