//! Handing over to another process while the ports stay open: to a new binary in an upgrade, and
//! from the system's service manager at a start.
//!
//! Sockets travel as `systemd` passes them: descriptors from 3 on, their number in `LISTEN_FDS`
//! (sd_listen_fds(3)). In an upgrade the last of them is one end of a pair of datagram sockets, on
//! which the two processes agree:
//!
//! ```text
//! old  starts new with its listening sockets, and goes on accepting
//! new  binds nothing, prepares all it needs, begins to accept      -> "ready"
//! old  stops accepting, lets go of the pid file                    -> "yours"
//! new  takes the pid file; old serves those it has until they leave
//! ```
//!
//! A new process that fails or says nothing in [`PATIENCE`] is ended, and nothing has changed.

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use gate::Inherited;
use gate::conf::Config;
use listenfd::ListenFd;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep, timeout};

/// How long the new process may take until it is ready, and the old one until it has let go.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The new process is looked after this often while it starts.
const LOOK: Duration = Duration::from_millis(50);
/// The first descriptor that is passed on.
const FIRST: i32 = 3;

const READY: &[u8] = b"ready";
const YOURS: &[u8] = b"yours";

/// Why the old process serves on as if nothing had been asked.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// Whoever watches this process would take its end for the end of the service.
    #[error("{0}")]
    Watched(&'static str),
    /// It could not be started.
    #[error("cannot start {}: {error}", .program.display())]
    Start {
        /// What should have run.
        program: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It ended before it was ready.
    #[error(
        "the new process ended before it was ready ({0}); what it said stands in its log or on the terminal"
    )]
    Ended(ExitStatus),
    /// It said nothing.
    #[error("the new process was not ready in {} s and was ended", PATIENCE.as_secs())]
    Silent,
    /// The sockets between the two do not work.
    #[error("cannot talk to the new process: {0}")]
    Talk(#[from] io::Error),
}

/// How this process was started, to be told to the next one.
#[derive(Clone, Debug)]
pub struct Origin {
    program: PathBuf,
    args: Vec<OsString>,
    folder: PathBuf,
}

impl Origin {
    /// Of this process; ask before the current directory changes or the binary is replaced.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn here() -> io::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            args: std::env::args_os().skip(1).collect(),
            folder: std::env::current_dir()?,
        })
    }

    /// The binary, by the path that it had at the start.
    pub fn program(&self) -> &Path {
        &self.program
    }
}

/// What a process was given at its start.
#[derive(Default)]
pub struct Inheritance {
    /// Listening sockets.
    pub sockets: Inherited,
    /// The process that waits to be relieved, if this is an upgrade.
    pub predecessor: Option<Predecessor>,
}

/// Takes what was given. Call it once, before any thread is started: the environment is cleared
/// of it, so that no child of ours takes our sockets for its own.
pub fn inherit() -> Inheritance {
    let mut given = ListenFd::from_env();
    let mut sockets = Vec::new();
    let mut predecessor = None;
    for index in 0..given.len() {
        if let Ok(Some(socket)) = given.take_tcp_listener(index) {
            sockets.push(socket);
        } else if let Ok(Some(line)) = given.take_unix_datagram(index) {
            predecessor = Some(Predecessor(line));
        }
    }
    Inheritance { sockets: Inherited::new(sockets), predecessor }
}

/// The process before this one.
pub struct Predecessor(UnixDatagram);

impl Predecessor {
    /// Says that this process accepts, and waits until the other has let go. Should it have died,
    /// there is nothing to wait for.
    pub async fn relieve(self) {
        let told = async {
            self.0.set_nonblocking(true)?;
            let line = tokio::net::UnixDatagram::from_std(self.0)?;
            line.send(READY).await?;
            let mut word = [0; 16];
            line.recv(&mut word).await
        };
        match timeout(PATIENCE, told).await {
            Ok(Ok(_)) => {}
            Ok(Err(e)) => tracing::warn!("the process before this one has gone: {e}"),
            Err(_) => tracing::warn!("the process before this one does not let go"),
        }
    }
}

/// The process after this one, which accepts already.
pub struct Successor {
    child: Child,
    line: tokio::net::UnixDatagram,
}

impl Successor {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it that the pid file is free. From here on it lives on its own.
    ///
    /// # Errors
    /// When it has died by now.
    pub async fn release(mut self) -> io::Result<()> {
        self.line.send(YOURS).await?;
        // Somebody must take its last status when it ends before us.
        std::thread::Builder::new().name("successor".into()).spawn(move || self.child.wait())?;
        Ok(())
    }
}

/// Whether an upgrade can be made at all.
///
/// # Errors
/// [`HandoverError::Watched`].
pub fn check(config: &Config) -> Result<(), HandoverError> {
    if std::process::id() == 1 {
        return Err(HandoverError::Watched(
            "process 1 of a container cannot be replaced from within: start a new container",
        ));
    }
    if config.root().bool("asprocess") {
        return Err(HandoverError::Watched(
            "with `asprocess on` the parent process decides: let it start the new binary",
        ));
    }
    Ok(())
}

/// Starts the binary again with `sockets`, and waits until it accepts.
///
/// # Errors
/// [`HandoverError`]; then it has been ended, and nothing has changed.
pub async fn start(origin: &Origin, sockets: Vec<TcpListener>) -> Result<Successor, HandoverError> {
    let (ours, theirs) = UnixDatagram::pair()?;
    ours.set_nonblocking(true)?;
    let line = tokio::net::UnixDatagram::from_std(ours)?;
    let passed: Vec<OwnedFd> =
        sockets.into_iter().map(OwnedFd::from).chain([OwnedFd::from(theirs)]).collect();
    let count = passed.len();
    let mapped = (FIRST..).zip(passed);
    let mapped = mapped.map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd }).collect();
    let failed = |error: io::Error| HandoverError::Start { program: origin.program.clone(), error };
    let mut command = Command::new(&origin.program);
    command
        .args(&origin.args)
        .current_dir(&origin.folder)
        .stdin(Stdio::null())
        .env("LISTEN_FDS", count.to_string())
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDS_FIRST_FD")
        .env_remove("LISTEN_FDNAMES")
        .fd_mappings(mapped)
        .map_err(|e| failed(io::Error::other(e.to_string())))?;
    let mut child = command.spawn().map_err(failed)?;
    // The child's ends must not stay open here, or its death would go unnoticed.
    drop(command);
    match ready(&mut child, &line).await {
        Ok(()) => Ok(Successor { child, line }),
        Err(e) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(e)
        }
    }
}

async fn ready(child: &mut Child, line: &tokio::net::UnixDatagram) -> Result<(), HandoverError> {
    let end = Instant::now() + PATIENCE;
    let mut word = [0; 16];
    loop {
        tokio::select! {
            said = line.recv(&mut word) => {
                let said = said?;
                if word.get(..said) == Some(READY) {
                    return Ok(());
                }
            }
            () = sleep(LOOK) => {
                if let Some(status) = child.try_wait()? {
                    return Err(HandoverError::Ended(status));
                }
                if Instant::now() >= end {
                    return Err(HandoverError::Silent);
                }
            }
        }
    }
}

/// Asks the process `pid` to upgrade.
///
/// # Errors
/// When there is no such process, or it is not ours to ask.
pub fn ask(pid: u32) -> io::Result<()> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = raw.ok_or_else(|| io::Error::other("no process id"))?;
    Ok(kill_process(pid, Signal::USR2)?)
}
