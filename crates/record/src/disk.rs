//! Recordings as files.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use container::flv::{FileMuxer, RESUME_HEAD};
use gate::path::{PathError, check};

/// What stands behind a file's name until it is finished.
const UNFINISHED: &str = ".tmp";

/// Files of a crash that are kept beside each other under one name.
const LEFT_MAX: usize = 1000;

/// Why a recording cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The stream's name makes no file's name.
    #[error("refused to touch a file: {0}")]
    Path(#[from] PathError),
    /// SRS's error 3082.
    #[error("the file is there already (3082); put [timestamp] into dvr_path")]
    Exists,
    /// Another recording has it open.
    #[error("another recording is written to it (3082); put [stream] into dvr_path")]
    Taken,
    /// It is to be gone on with, and is no FLV file.
    #[error("it is no FLV file that could be gone on with")]
    NoFlv,
    /// No space, or no quota, is left.
    #[error("the disk is full")]
    Full,
    /// The file system does not take writes, or does not let us write.
    #[error("the folder cannot be written to: {0}")]
    Denied(ErrorKind),
    /// Anything else.
    #[error("{step}: {source}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What came of it.
        source: io::Error,
    },
}

impl FileError {
    fn at(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            kind @ (ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
                Self::Denied(kind)
            }
            _ => Self::Io { step, source },
        }
    }

    /// To try again later would be of no use.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Path(_) | Self::Exists | Self::Taken | Self::NoFlv)
    }
}

/// Where a recording's file is written: a folder, or what a test puts in its place. One file at a
/// time.
pub trait Files: Send {
    /// Begins a file under its temporary name.
    ///
    /// # Errors
    /// [`FileError`]: nothing was begun.
    fn begin(&mut self, path: &str) -> Result<(), FileError>;

    /// Goes on in the file of that name, if it is there: gives what writes it.
    ///
    /// # Errors
    /// [`FileError`]: nothing was begun.
    fn resume(&mut self, path: &str) -> Result<Option<FileMuxer>, FileError>;

    /// Writes behind what is there.
    ///
    /// # Errors
    /// [`FileError`]: some of it may have been written; see [`cut`](Self::cut).
    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError>;

    /// Writes over what is there.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<(), FileError>;

    /// Takes away what an append that failed has written.
    ///
    /// # Errors
    /// The file stays as it is.
    fn cut(&mut self) -> Result<(), FileError>;

    /// Bytes that are in the file.
    fn len(&self) -> u64;

    /// Nothing is in the file.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// It keeps its temporary one.
    fn finish(&mut self) -> Result<(), FileError>;

    /// Deletes the file.
    fn discard(&mut self);
}

/// The files that are open, of all recordings.
#[derive(Clone, Debug, Default)]
pub struct Taken(Arc<Mutex<HashSet<PathBuf>>>);

impl Taken {
    fn take(&self, path: &Path) -> Option<Hold> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(path.to_owned()).then(|| Hold { all: self.clone(), path: path.to_owned() })
    }
}

#[derive(Debug)]
struct Hold {
    all: Taken,
    path: PathBuf,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
    }
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    temp: PathBuf,
    len: u64,
    _hold: Hold,
}

/// Writes beneath one folder and nowhere else.
///
/// Symbolic links under the folder are followed, because that is how people put recordings on
/// another disk; only the operator can make them.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    taken: Taken,
    open: Option<Open>,
}

impl Disk {
    /// For files under `root`, which is made when the first file is. No two disks with the same
    /// `taken` write to one file.
    pub fn new(root: impl Into<PathBuf>, taken: Taken) -> Self {
        Self { root: root.into(), taken, open: None }
    }

    /// The file's place. Absolute paths and those with `..` are refused.
    fn locate(&self, path: &str) -> Result<(PathBuf, PathBuf), FileError> {
        if path.starts_with('/') {
            return Err(PathError::Escape.into());
        }
        let path = self.root.join(check(path)?);
        let mut temp = path.clone().into_os_string();
        temp.push(UNFINISHED);
        Ok((path, temp.into()))
    }

    fn file(&mut self) -> Result<&mut Open, FileError> {
        let none = || FileError::at("write")(ErrorKind::NotConnected.into());
        self.open.as_mut().ok_or_else(none)
    }
}

/// What a crash has left under a temporary name is kept under another.
fn keep_left(temp: &Path) -> io::Result<()> {
    if !temp.exists() {
        return Ok(());
    }
    for n in 1..=LEFT_MAX {
        let mut other = temp.as_os_str().to_owned();
        other.push(format!(".{n}"));
        if !Path::new(&other).exists() {
            return fs::rename(temp, other);
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

impl Files for Disk {
    fn begin(&mut self, path: &str) -> Result<(), FileError> {
        let (path, temp) = self.locate(path)?;
        let hold = self.taken.take(&temp).ok_or(FileError::Taken)?;
        if path.exists() {
            return Err(FileError::Exists);
        }
        if let Some(folder) = temp.parent() {
            fs::create_dir_all(folder).map_err(FileError::at("make folder"))?;
        }
        keep_left(&temp).map_err(FileError::at("keep what a crash has left"))?;
        let file = File::create_new(&temp).map_err(FileError::at("create"))?;
        self.open = Some(Open { file, path, temp, len: 0, _hold: hold });
        Ok(())
    }

    fn resume(&mut self, path: &str) -> Result<Option<FileMuxer>, FileError> {
        let (path, temp) = self.locate(path)?;
        let hold = self.taken.take(&temp).ok_or(FileError::Taken)?;
        if !path.exists() {
            drop(hold);
            return Ok(None);
        }
        let mut file =
            File::options().read(true).write(true).open(&path).map_err(FileError::at("open"))?;
        let (muxer, len) =
            read_flv(&mut file).map_err(FileError::at("read"))?.ok_or(FileError::NoFlv)?;
        keep_left(&temp).map_err(FileError::at("keep what a crash has left"))?;
        fs::rename(&path, &temp).map_err(FileError::at("rename"))?;
        self.open = Some(Open { file, path, temp, len, _hold: hold });
        Ok(Some(muxer))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let open = self.file()?;
        open.file.write_all(bytes).map_err(FileError::at("write"))?;
        open.len = open.len.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<(), FileError> {
        let open = self.file()?;
        let mut write = || {
            open.file.seek(SeekFrom::Start(at))?;
            open.file.write_all(bytes)?;
            open.file.seek(SeekFrom::Start(open.len))
        };
        write().map(|_| ()).map_err(FileError::at("write"))
    }

    fn cut(&mut self) -> Result<(), FileError> {
        let open = self.file()?;
        open.file.set_len(open.len).map_err(FileError::at("cut"))?;
        open.file.seek(SeekFrom::Start(open.len)).map(|_| ()).map_err(FileError::at("cut"))
    }

    fn len(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.len)
    }

    fn finish(&mut self) -> Result<(), FileError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        if open.path.exists() {
            return Err(FileError::Exists);
        }
        fs::rename(&open.temp, &open.path).map_err(FileError::at("rename"))
    }

    fn discard(&mut self) {
        if let Some(open) = self.open.take() {
            let _ = fs::remove_file(&open.temp);
        }
    }
}

/// What goes on in an FLV file; the file stands at its end then.
fn read_flv(file: &mut File) -> io::Result<Option<(FileMuxer, u64)>> {
    let mut head = Vec::with_capacity(RESUME_HEAD);
    io::Read::by_ref(file).take(RESUME_HEAD as u64).read_to_end(&mut head)?;
    let len = file.seek(SeekFrom::End(0))?;
    let Some(at) = len.checked_sub(4) else { return Ok(None) };
    let mut size = [0; 4];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut size)?;
    // A tag, or nothing behind the head.
    let mut last = [0; 11];
    match u64::from(u32::from_be_bytes(size)) {
        0 => {}
        size => {
            let Some(at) = at.checked_sub(size).filter(|_| size >= 11) else { return Ok(None) };
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut last)?;
        }
    }
    file.seek(SeekFrom::Start(len))?;
    Ok(FileMuxer::resume(&head, last).map(|muxer| (muxer, len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_name_when_it_is_finished() {
        let root = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(root.path().join("not/yet"), Taken::default());
        disk.begin("live/s.flv").unwrap();
        disk.append(b"one").unwrap();
        disk.append(b"two").unwrap();
        disk.patch(0, b"T").unwrap();
        let folder = root.path().join("not/yet/live");
        assert_eq!(fs::read(folder.join("s.flv.tmp")).unwrap(), b"Tnetwo");
        assert_eq!(disk.len(), 6);
        disk.finish().unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert!(matches!(disk.begin("live/s.flv"), Err(FileError::Exists)));
        assert_eq!(fs::read(folder.join("s.flv")).unwrap(), b"Tnetwo");
    }

    #[test]
    fn two_recordings_do_not_write_to_one_file_and_a_crash_loses_none() {
        let root = tempfile::tempdir().unwrap();
        let taken = Taken::default();
        let [mut one, mut two] = [(); 2].map(|()| Disk::new(root.path(), taken.clone()));
        one.begin("s.flv").unwrap();
        one.append(b"x").unwrap();
        assert!(matches!(two.begin("s.flv"), Err(FileError::Taken)));
        // As a crash would leave it.
        drop(one);
        two.begin("s.flv").unwrap();
        assert_eq!(fs::read(root.path().join("s.flv.tmp.1")).unwrap(), b"x");
        two.discard();
        assert!(!root.path().join("s.flv.tmp").exists());
    }

    #[test]
    fn paths_that_lead_out_of_the_root_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(root.path().join("in"), Taken::default());
        for path in ["../x", "a/../../x", "/tmp/x", "", "a/"] {
            assert!(matches!(disk.begin(path), Err(FileError::Path(_))), "{path}");
            assert!(matches!(disk.resume(path), Err(FileError::Path(_))), "{path}");
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_flv_file_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(root.path(), Taken::default());
        assert!(disk.resume("s.flv").unwrap().is_none());
        for bytes in [&b""[..], b"abc", b"something that is no film at all"] {
            fs::write(root.path().join("s.flv"), bytes).unwrap();
            assert!(matches!(disk.resume("s.flv"), Err(FileError::NoFlv)));
            assert_eq!(fs::read(root.path().join("s.flv")).unwrap(), bytes);
        }
    }
}
