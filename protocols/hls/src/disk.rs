//! Playlists and segments as files.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::packager::Output;
use crate::path::{PathError, check};

/// Why a file could not be written or deleted. The packager may go on: the next segment is
/// another try.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The path is not one that a packager makes.
    #[error("refused to touch a file: {0}")]
    Path(#[from] PathError),
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
        source: std::io::Error,
    },
}

impl DiskError {
    fn at(step: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            kind @ (ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
                Self::Denied(kind)
            }
            _ => Self::Io { step, source },
        }
    }
}

/// Writes beneath one folder and nowhere else.
///
/// Blocks on the disk: it belongs on a thread of its own. Symbolic links under the folder are
/// followed, because that is how people put segments on another disk; only the operator can
/// make them.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// For files under `root`, which is made when the first file is.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Carries out what concerns the disk. Deleting what is not there is no error.
    pub fn apply(&self, output: &Output) -> Result<(), DiskError> {
        match output {
            Output::Write { path, temp, bytes } => self.write(path, temp, bytes),
            Output::Remove { path, on_disk: true } => self.remove(path),
            Output::Remove { .. } | Output::Done(_) => Ok(()),
        }
    }

    fn write(&self, path: &str, temp: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let (path, temp) = (self.locate(path)?, self.locate(temp)?);
        let result = write_and_rename(&path, &temp, bytes);
        if result.is_err() {
            // Half a file helps nobody and takes space that may be what was missing.
            let _ = fs::remove_file(&temp);
        }
        result
    }

    fn remove(&self, path: &str) -> Result<(), DiskError> {
        match fs::remove_file(self.locate(path)?) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result.map_err(DiskError::at("delete")),
        }
    }

    /// The file's place. Absolute paths and those with `..` are refused.
    fn locate(&self, path: &str) -> Result<PathBuf, DiskError> {
        if path.starts_with('/') {
            return Err(PathError::Escape.into());
        }
        Ok(self.root.join(check(path)?))
    }
}

fn write_and_rename(path: &Path, temp: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let mut file = match fs::File::create(temp) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(folder) = temp.parent() {
                fs::create_dir_all(folder).map_err(DiskError::at("make folder"))?;
            }
            fs::File::create(temp)
        }
        created => created,
    }
    .map_err(DiskError::at("create"))?;
    file.write_all(bytes).map_err(DiskError::at("write"))?;
    drop(file);
    fs::rename(temp, path).map_err(DiskError::at("rename"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn write(path: &str, temp: &str, bytes: &'static [u8]) -> Output {
        let bytes = Bytes::from_static(bytes);
        Output::Write { path: path.into(), temp: temp.into(), bytes }
    }

    fn remove(path: &str, on_disk: bool) -> Output {
        Output::Remove { path: path.into(), on_disk }
    }

    #[test]
    fn files_are_written_replaced_and_deleted_and_nothing_temporary_stays() {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::new(root.path().join("not/yet"));
        disk.apply(&write("live/s.m3u8", "live/s.m3u8.temp", b"one")).unwrap();
        disk.apply(&write("live/s.m3u8", "live/s.m3u8.temp", b"two")).unwrap();
        let folder = root.path().join("not/yet/live");
        assert_eq!(fs::read(folder.join("s.m3u8")).unwrap(), b"two");
        disk.apply(&remove("live/s.m3u8", false)).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        disk.apply(&remove("live/s.m3u8", true)).unwrap();
        disk.apply(&remove("live/s.m3u8", true)).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn paths_that_lead_out_of_the_root_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::new(root.path().join("in"));
        for path in ["../x", "a/../../x", "/tmp/x", "", "a/"] {
            assert!(
                matches!(disk.apply(&write(path, "t", b"")), Err(DiskError::Path(_))),
                "{path}"
            );
            assert!(
                matches!(disk.apply(&write("t", path, b"")), Err(DiskError::Path(_))),
                "{path}"
            );
            assert!(matches!(disk.apply(&remove(path, true)), Err(DiskError::Path(_))), "{path}");
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_where_a_folder_should_be_is_a_typed_error_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("live"), b"").unwrap();
        let disk = Disk::new(root.path());
        let result = disk.apply(&write("live/s.ts", "live/s.ts.tmp", b"x"));
        assert!(matches!(result, Err(DiskError::Io { .. })));
        fs::create_dir_all(root.path().join("dir.ts")).unwrap();
        assert!(disk.apply(&write("dir.ts", "dir.ts.tmp", b"x")).is_err());
        assert!(!root.path().join("dir.ts.tmp").exists());
    }
}
