//! Giving up root: `user` and `group`.
//!
//! Ports are opened and files are made as root, then the whole process becomes somebody who may
//! do little. There is no way back, so a later reload opens files and ports as that user.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};

use gate::conf::Config;
use nix::unistd::{
    Gid, Group, Uid, User, getegid, geteuid, getgrouplist, setgid, setgroups, setuid,
};

use crate::log::{Options, Tank};

/// Why root cannot be given up. The configuration is at fault, but for [`AccountError::Change`].
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The system knows no such user.
    #[error(
        "user `{0}` is not known here; create it (useradd --system {0}) or write another in `user`"
    )]
    NoUser(String),
    /// The system knows no such group.
    #[error(
        "group `{0}` is not known here; create it (groupadd --system {0}) or write another in `group`"
    )]
    NoGroup(String),
    /// A number without an entry in the list of users has no group of its own.
    #[error("user {0} has no entry in the system's list of users; write its `group`, too")]
    NoPrimary(Uid),
    /// A file or folder cannot be given to the user.
    #[error("cannot give {path} to user {user}: {error}")]
    Own {
        /// Which.
        path: PathBuf,
        /// To whom.
        user: String,
        /// What the system said.
        error: io::Error,
    },
    /// The system refuses, as it does where a container has taken the right to.
    #[error("cannot become user {user}: {error}; the process needs CAP_SETUID and CAP_SETGID")]
    Change {
        /// Whom.
        user: String,
        /// What the system said.
        error: nix::Error,
    },
}

/// Whom the process becomes once all that needs root is done.
#[derive(Debug)]
pub struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Account {
    /// Whom `user` and `group` name. `None` when the process is to stay who it is; the second
    /// value is then what the log has to say about that, if anything.
    ///
    /// # Errors
    /// [`AccountError`] for names that the system does not know.
    pub fn wanted(config: &Config) -> Result<(Option<Self>, Option<String>), AccountError> {
        let (user, group) = (config.root().str("user"), config.root().str("group"));
        if user.is_empty() {
            let lonely = || "`group` has no effect without `user`".to_owned();
            return Ok((None, (!group.is_empty()).then(lonely)));
        }
        let account = Self::named(user, group)?;
        if geteuid().is_root() {
            let stays = || "`user` names root: nothing is given up".to_owned();
            return Ok(match account.uid.is_root() {
                true => (None, Some(stays())),
                false => (Some(account), None),
            });
        }
        // After an upgrade the process is that user already.
        let is_it = (geteuid(), getegid()) == (account.uid, account.gid);
        let told = format!(
            "`user {user}` has no effect: the server was not started as root and stays user {}",
            geteuid()
        );
        Ok((None, (!is_it).then_some(told)))
    }

    fn named(user: &str, group: &str) -> Result<Self, AccountError> {
        let entry = User::from_name(user).ok().flatten();
        let uid = match (&entry, user.parse()) {
            (Some(entry), _) => entry.uid,
            (None, Ok(number)) => Uid::from_raw(number),
            (None, Err(_)) => return Err(AccountError::NoUser(user.to_owned())),
        };
        let entry = entry.or_else(|| User::from_uid(uid).ok().flatten());
        let gid = match (Group::from_name(group).ok().flatten(), group.parse(), &entry) {
            (_, _, Some(entry)) if group.is_empty() => entry.gid,
            (_, _, None) if group.is_empty() => return Err(AccountError::NoPrimary(uid)),
            (Some(group), ..) => group.gid,
            (None, Ok(number), _) => Gid::from_raw(number),
            (None, Err(_), _) => return Err(AccountError::NoGroup(group.to_owned())),
        };
        let name = entry.map_or_else(|| user.to_owned(), |entry| entry.name);
        let groups = CString::new(name.as_str()).ok().and_then(|n| getgrouplist(&n, gid).ok());
        Ok(Self { name, uid, gid, groups: groups.unwrap_or_else(|| vec![gid]) })
    }

    /// Makes the folders that the server writes to where they are missing, and gives them to the
    /// user. One that is there belongs to somebody, and stays as it is.
    ///
    /// # Errors
    /// [`AccountError::Own`].
    pub fn make_folders(&self, config: &Config) -> Result<(), AccountError> {
        let parent = |path: &Path| path.parent().map(Path::to_owned);
        let mut wanted: Vec<PathBuf> =
            log_file(config).as_deref().and_then(parent).into_iter().collect();
        wanted.extend(parent(Path::new(config.root().str("pid"))));
        for vhost in config.vhosts() {
            let hls = vhost.section("hls");
            if hls.bool("enabled") && hls.str("hls_storage") != "memory" {
                wanted.push(PathBuf::from(hls.str("hls_path")));
            }
            wanted.extend(recordings(&vhost).map(PathBuf::from));
        }
        for folder in wanted {
            self.make(&folder)?;
        }
        Ok(())
    }

    fn make(&self, folder: &Path) -> Result<(), AccountError> {
        let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let mut missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
        missing.reverse();
        for path in missing {
            let made = std::fs::create_dir(path).and_then(|()| self.own(path));
            made.map_err(|error| self.fail(path, error))?;
        }
        Ok(())
    }

    /// Gives the files that were made so far to the user, then becomes the user, with all
    /// threads. There is no way back.
    ///
    /// # Errors
    /// [`AccountError::Own`], [`AccountError::Change`]; then the process must not go on.
    pub fn become_it(self, config: &Config, kept: bool) -> Result<(), AccountError> {
        let pid = Path::new(config.root().str("pid"));
        let beside = ["pid", "id", "token"].map(|ending| match ending {
            "pid" => pid.to_owned(),
            ending => pid.with_extension(ending),
        });
        let files = beside.into_iter().filter(|_| kept).chain(log_file(config));
        for path in files {
            self.give_file(&path).map_err(|error| self.fail(&path, error))?;
        }
        let change = |error| AccountError::Change { user: self.name.clone(), error };
        // The order matters: the user may change neither of the groups.
        setgroups(&self.groups).map_err(change)?;
        setgid(self.gid).map_err(change)?;
        setuid(self.uid).map_err(change)?;
        tracing::info!(
            "root is given up: the server is user {} ({}), group {} from now on",
            self.name,
            self.uid,
            self.gid
        );
        Ok(())
    }

    /// A link is not followed, nor a file given that has a second name: in a folder of the user
    /// either could stand for somebody else's file.
    fn give_file(&self, path: &Path) -> io::Result<()> {
        match path.symlink_metadata() {
            Ok(file) if file.is_file() && file.nlink() == 1 => self.own(path),
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn own(&self, path: &Path) -> io::Result<()> {
        lchown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
    }

    fn fail(&self, path: &Path, error: io::Error) -> AccountError {
        AccountError::Own { path: path.to_owned(), user: self.name.clone(), error }
    }
}

/// What the user will fail at later, found while there is somebody to read it: one line each.
/// Call it after root was given up.
pub fn troubles(config: &Config, file: Option<&str>) -> Vec<String> {
    let unreadable = file.filter(|file| is_denied(file)).map(|file| {
        format!("{file} cannot be read without root: a reload and an upgrade will fail; let the user's group read it")
    });
    let hls = config.vhosts().into_iter().filter_map(|vhost| {
        let hls = vhost.section("hls");
        let folder = Path::new(hls.str("hls_path"));
        let writes = hls.bool("enabled") && hls.str("hls_storage") != "memory";
        let bad = writes && nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK).is_err();
        bad.then(|| {
            format!("HLS of vhost {} cannot write to {} without root; give the folder to the user (chown -R)", vhost.name(), folder.display())
        })
    });
    let dvr = config.vhosts().into_iter().filter_map(|vhost| {
        let folder = recordings(&vhost)?;
        let bad = nix::unistd::access(&*folder, nix::unistd::AccessFlags::W_OK).is_err();
        bad.then(|| {
            format!("DVR of vhost {} cannot write to {folder} without root; give the folder to the user (chown -R)", vhost.name())
        })
    });
    unreadable.into_iter().chain(hls).chain(dvr).collect()
}

/// The folder that recordings of a virtual host lie in, if there are any.
fn recordings(vhost: &gate::conf::VhostSection<'_>) -> Option<String> {
    let dvr = vhost.section("dvr");
    dvr.bool("enabled").then(|| gate::path::recording(dvr.str("dvr_path")).0)
}

fn is_denied(file: &str) -> bool {
    File::open(file).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
}

fn log_file(config: &Config) -> Option<PathBuf> {
    match Options::new(config).tank {
        Tank::File(path) => Some(path),
        Tank::Console => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_system_does_not_know_are_told_with_a_way_out() {
        let told = |user, group| Account::named(user, group).unwrap_err().to_string();
        assert!(told("no-such-user", "").contains("useradd --system no-such-user"));
        assert!(told("root", "no-such-group").contains("groupadd --system no-such-group"));
        assert!(told("3999999999", "").contains("`group`"));
    }

    #[test]
    fn a_number_is_a_user_where_no_entry_is() {
        let account = Account::named("3999999999", "3999999998").unwrap();
        assert_eq!((account.uid.as_raw(), account.gid.as_raw()), (3_999_999_999, 3_999_999_998));
        assert_eq!(account.groups.iter().map(|g| g.as_raw()).collect::<Vec<_>>(), [3_999_999_998]);
    }

    #[test]
    fn a_user_without_a_group_has_its_own() {
        let account = Account::named("0", "").unwrap();
        assert_eq!((account.name.as_str(), account.gid.as_raw()), ("root", 0));
    }
}
