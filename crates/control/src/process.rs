//! The process: background, pid file, identity, limits of the system.

pub mod account;
pub mod handover;

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::api::Token;
use gate::conf::Config;
use gate::identity::random_id;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;

/// Descriptors that the server needs beside those of connections: logs, listeners, files.
const SPARE_FILES: u64 = 128;

/// Why the process cannot be what the configuration wants.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// Another one runs with this pid file.
    #[error("{path} is locked: millrace runs already with this pid file{}", pid_text(.pid))]
    AlreadyRunning {
        /// The pid file.
        path: PathBuf,
        /// What stands in it.
        pid: String,
    },
    /// A file or directory cannot be used.
    #[error("cannot {what} {path}: {error}")]
    File {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The process cannot leave the terminal.
    #[error("cannot go to the background: {0}")]
    Daemon(#[from] nix::Error),
    /// Fewer files may be open than the configuration needs.
    #[error(
        "max_connections {wanted} needs {} open files and the system allows {allowed}; raise it (ulimit -n) or lower max_connections",
        .wanted + SPARE_FILES
    )]
    OpenFiles {
        /// Connections wanted.
        wanted: u64,
        /// Files allowed.
        allowed: u64,
    },
}

impl ProcessError {
    /// The status that the process ends with: SRS's error number, its low byte.
    pub fn exit_status(&self) -> u8 {
        let code: u16 = match self {
            Self::AlreadyRunning { .. } => 1035,
            _ => 1023,
        };
        code.to_le_bytes()[0]
    }
}

fn pid_text(pid: &str) -> String {
    if pid.is_empty() { String::new() } else { format!(" (pid {pid})") }
}

fn fail(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ProcessError {
    move |error| ProcessError::File { what, path: path.to_owned(), error }
}

/// Goes to the background. Call it before any thread is started.
///
/// # Errors
/// When the system cannot fork.
pub fn daemonize() -> Result<(), ProcessError> {
    Ok(nix::unistd::daemon(true, false)?)
}

/// Makes `work_dir` the current directory.
///
/// # Errors
/// When it cannot be entered.
pub fn enter(dir: &Path) -> Result<(), ProcessError> {
    std::env::set_current_dir(dir).map_err(fail("enter work_dir", dir))
}

/// The pid file, locked as long as this lives and removed with it.
pub struct PidFile {
    path: PathBuf,
    locked: File,
}

impl PidFile {
    /// Creates and locks it and writes our pid.
    ///
    /// # Errors
    /// [`ProcessError::AlreadyRunning`] when another process holds the lock.
    pub fn create(path: &Path) -> Result<Self, ProcessError> {
        if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            std::fs::create_dir_all(dir).map_err(fail("create", dir))?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fail("open the pid file", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = Read::by_ref(&mut file).take(32).read_to_string(&mut pid);
                let pid = pid.trim().to_owned();
                return Err(ProcessError::AlreadyRunning { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(e)) => return Err(fail("lock", path)(e)),
        }
        let mut made = Self { path: path.to_owned(), locked: file };
        made.write()?;
        Ok(made)
    }

    /// Writes our pid: again after going to the background, which keeps the lock and changes
    /// the pid.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self) -> Result<(), ProcessError> {
        let file = &mut self.locked;
        let result = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        result.map_err(fail("write", &self.path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What a service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// All ports are open.
    Ready,
    /// No new sessions; the end is near.
    Stopping,
    /// The process of that id is the service now.
    HandedTo(u32),
}

/// Tells the service manager, if one wants to know (`NOTIFY_SOCKET`, as of systemd's `Type=notify`).
pub fn notify(phase: Phase) {
    let state = match phase {
        Phase::Ready => NotifyState::Ready,
        Phase::Stopping => NotifyState::Stopping,
        Phase::HandedTo(pid) => NotifyState::MainPid(pid),
    };
    if let Err(e) = sd_notify::notify(&[state]) {
        tracing::warn!("cannot tell the service manager ({phase:?}): {e}");
    }
}

/// The server's id: configured, or kept beside the pid file over restarts, or new.
pub fn server_id(config: &Config, keep: bool) -> String {
    let configured = config.root().str("server_id");
    if !configured.is_empty() {
        return configured.to_owned();
    }
    let path = Path::new(config.root().str("pid")).with_extension("id");
    if keep
        && let Ok(text) = std::fs::read_to_string(&path)
        && text.trim().starts_with("vid-")
        && text.trim().len() <= 32
    {
        return text.trim().to_owned();
    }
    let id = format!("vid-{}", random_id(7));
    if keep && let Err(e) = std::fs::write(&path, &id) {
        tracing::warn!("cannot keep the server id in {}: {e}", path.display());
    }
    id
}

/// The token that opens the API: kept beside the pid file, readable for its owner alone, and made
/// at the first start; or new for this process when nothing is kept.
///
/// A file that cannot be used is left as it is; the token then ends with the process, and the
/// second value says why, for the log.
pub fn api_token(config: &Config, keep: bool) -> (Token, Option<String>) {
    let fresh = || Token { text: random_id(TOKEN_LEN), file: None, is_new: true };
    if !keep {
        return (fresh(), None);
    }
    let path = Path::new(config.root().str("pid")).with_extension("token");
    match kept_token(&path) {
        Ok(token) => (token, None),
        Err(e) => {
            let told = format!(
                "cannot keep the token of the API in {}: {e}; a new one holds until the server stops",
                path.display()
            );
            (fresh(), Some(told))
        }
    }
}

/// 165 bits of chance.
const TOKEN_LEN: usize = 32;
/// Longest token that a file may hold; shortest that is not guessed.
const TOKEN_MAX: usize = 256;
const TOKEN_MIN: usize = 16;

fn kept_token(path: &Path) -> io::Result<Token> {
    let is_open = |mode: u32| mode & 0o077 != 0;
    match File::open(path) {
        Ok(file) => {
            if is_open(file.metadata()?.permissions().mode()) {
                file.set_permissions(Permissions::from_mode(0o600))?;
            }
            let mut text = String::new();
            file.take(TOKEN_MAX as u64 + 1).read_to_string(&mut text)?;
            let text = text.trim();
            let fits = (TOKEN_MIN..=TOKEN_MAX).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_graphic());
            if !fits {
                return Err(io::Error::other(format!(
                    "it holds no token ({TOKEN_MIN} to {TOKEN_MAX} visible characters); remove it"
                )));
            }
            Ok(Token { text: text.to_owned(), file: Some(path.to_owned()), is_new: false })
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let text = random_id(TOKEN_LEN);
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            writeln!(file, "{text}")?;
            Ok(Token { text, file: Some(path.to_owned()), is_new: true })
        }
        Err(e) => Err(e),
    }
}

/// Raises the limit of open files as far as the system allows; tells what it is now.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _ =
            setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Checks that as many files may be open as `max_connections` needs.
///
/// # Errors
/// [`ProcessError::OpenFiles`].
pub fn check_open_files(max_connections: usize, allowed: u64) -> Result<(), ProcessError> {
    let wanted = max_connections as u64;
    if wanted.saturating_add(SPARE_FILES) > allowed {
        return Err(ProcessError::OpenFiles { wanted, allowed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_told_who_holds_the_pid_file() {
        let dir = std::env::temp_dir().join(format!("millrace-pid-{}", random_id(8)));
        let path = dir.join("a.pid");
        let first = PidFile::create(&path).unwrap();
        let text = PidFile::create(&path).err().map(|e| e.to_string()).unwrap();
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        drop(first);
        assert!(!path.exists());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_token_is_made_once_and_for_its_owner_alone() {
        let dir = std::env::temp_dir().join(format!("millrace-token-{}", random_id(8)));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("srs.token");
        let first = kept_token(&path).unwrap();
        assert!(first.is_new && first.text.len() == TOKEN_LEN);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let again = kept_token(&path).unwrap();
        assert_eq!((again.is_new, &again.text), (false, &first.text));
        assert_eq!(mode(&path), 0o600);
        std::fs::write(&path, "short\n").unwrap();
        assert!(kept_token(&path).unwrap_err().to_string().contains("16 to 256"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "short\n");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn too_few_open_files_are_told_before_the_first_connection_fails() {
        assert!(check_open_files(1000, 1128).is_ok());
        let text = check_open_files(1000, 1024).err().map(|e| e.to_string()).unwrap();
        assert!(text.contains("1128") && text.contains("ulimit"), "{text}");
    }
}
