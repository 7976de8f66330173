//! Foreign programs: started in a process group of their own, never outliving their limit.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::{Context, Result, bail, ensure};

/// A running program. Dropped, it is killed with everything that it started.
#[derive(Debug)]
pub struct Program {
    child: Child,
    name: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// What a program left behind.
#[derive(Debug)]
pub struct Run {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Run {
    /// Fails, with what the program said, unless it ended well.
    pub fn well(self) -> Result<Self> {
        ensure!(
            self.status.success(),
            "{}: {}{}",
            self.status,
            tail(&self.stderr),
            tail(&self.stdout)
        );
        Ok(self)
    }
}

impl Program {
    /// Starts `command`, with its output in `dir` under `name`.
    pub fn start(mut command: Command, dir: &Path, name: &str) -> Result<Self> {
        let stdout = dir.join(format!("{name}.out"));
        let stderr = dir.join(format!("{name}.err"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child, name: name.to_owned(), stdout, stderr })
    }

    /// What it wrote so far, both streams.
    pub fn output(&self) -> String {
        let read = |path| std::fs::read(path).unwrap_or_default();
        let both = [read(&self.stdout), read(&self.stderr)].concat();
        String::from_utf8_lossy(&both).into_owned()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal to it alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid()?, signal)?;
        Ok(())
    }

    /// Waits for its end; kills it and fails when `limit` is over.
    pub fn finish(mut self, limit: Duration) -> Result<Run> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return self.run(status);
            }
            if Instant::now() > end {
                self.kill();
                bail!("{} was still running after {limit:?}: {}", self.name, tail(&self.output()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it and everything that it started.
    pub fn kill(&mut self) {
        if let Ok(pid) = self.pid() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }

    fn run(&self, status: ExitStatus) -> Result<Run> {
        let text = |path: &Path| -> Result<String> {
            Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
        };
        Ok(Run { status, stdout: text(&self.stdout)?, stderr: text(&self.stderr)? })
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(i32::try_from(self.child.id())?).context("a process has a number")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `command` to its end.
pub fn run(command: Command, dir: &Path, name: &str, limit: Duration) -> Result<Run> {
    Program::start(command, dir, name)?.finish(limit)
}

/// A command with its arguments.
pub fn command<S: AsRef<std::ffi::OsStr>>(
    program: &str,
    args: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// Whether `program` is there. If it is not: an error in strict mode, else a line on stderr.
pub fn present(program: &str) -> Result<bool> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = match program {
        "newer ffmpeg" => std::env::var_os("MILLRACE_NEWER_FFMPEG").is_some(),
        "aiortc" => std::env::var_os("MILLRACE_AIORTC").is_some(),
        "webrtcbin" => has_webrtcbin(),
        "schemathesis" => std::env::var_os("MILLRACE_SCHEMATHESIS").is_some(),
        _ => std::env::split_paths(&path).any(|dir| dir.join(program).is_file()),
    };
    if !there {
        let strict = std::env::var_os("MILLRACE_STRICT").is_some();
        ensure!(!strict, "this test needs {program}: `cargo xtask test` installs it");
        eprintln!("PASSED OVER: this test needs {program}");
    }
    Ok(there)
}

/// Whether Debian's Python can drive webrtcbin, and that has its ICE.
fn has_webrtcbin() -> bool {
    let imports =
        "import gi; [gi.require_version(n, '1.0') for n in ('Gst', 'GstWebRTC', 'GstSdp')]";
    let well = |program: &str, args: &[&str]| {
        let mut command = command(program, args);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        status.status().is_ok_and(|status| status.success())
    };
    well("/usr/bin/python3", &["-c", imports])
        && well("gst-inspect-1.0", &["--exists", "webrtcbin"])
        // `--exists` asks for version 1.0, too, which libnice does not have.
        && well("gst-inspect-1.0", &["nicesink"])
}

/// The end of a long text, where programs put the reason.
pub fn tail(text: &str) -> &str {
    let start = text.char_indices().rev().nth(3000).map_or(0, |(at, _)| at);
    text.get(start..).unwrap_or(text)
}
