//! The user that runs the server, and that user's files and processes.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown,
};
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::error::{Error, Result};

/// The user that runs the server: the current one or, since PostgreSQL refuses root, another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runner {
    uid: u32,
    /// The group to switch to together with the user; none for the current user.
    gid: Option<u32>,
}

impl Runner {
    /// Picks the user for a data folder: the current one or, for root, the folder's owner, else
    /// `postgres`, else `nobody`.
    pub(crate) async fn for_data(data: &Path) -> Result<Runner> {
        let current = id("-u", None).await?;
        let owner = data
            .symlink_metadata()
            .ok()
            .map(|data| (data.uid(), data.gid()));
        if current != 0 {
            return match owner {
                Some((uid, _)) if uid != current => Err(Error::ForeignOwner(data.to_owned())),
                _ => Ok(Runner {
                    uid: current,
                    gid: None,
                }),
            };
        }
        if let Some((uid, gid)) = owner.filter(|(uid, _)| *uid != 0) {
            return Ok(Runner {
                uid,
                gid: Some(gid),
            });
        }
        let name = if id("-u", Some("postgres")).await.is_ok() {
            "postgres"
        } else {
            "nobody"
        };
        Ok(Runner {
            uid: id("-u", Some(name)).await?,
            gid: Some(id("-g", Some(name)).await?),
        })
    }

    /// Reports whether the server runs as another user than the current one.
    pub(crate) fn is_other_user(&self) -> bool {
        self.gid.is_some()
    }

    /// Prepares a program to run as this user.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            // With locale and time zone given, PostgreSQL need not search the system's files.
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .current_dir("/")
            .stdin(Stdio::null())
            // In a process group of its own, Ctrl-C at the terminal does not reach the program.
            .process_group(0);
        if let Some(gid) = self.gid {
            // With the user, the standard library drops root's supplementary groups.
            command.uid(self.uid).gid(gid);
        }
        command
    }

    /// Reports whether this user can enter the folder, judged by the permission bits alone.
    pub(crate) fn can_enter(&self, dir: &Path) -> Result<bool> {
        let Some(gid) = self.gid else {
            return Ok(true);
        };
        for dir in dir.ancestors() {
            let meta = dir
                .metadata()
                .map_err(Error::io(format!("looking at {}", dir.display())))?;
            let bit = match (meta.uid() == self.uid, meta.gid() == gid) {
                (true, _) => 0o100,
                (_, true) => 0o010,
                _ => 0o001,
            };
            if meta.mode() & bit == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes a folder that only this user can enter, or accepts an existing one.
    pub(crate) fn make_private_dir(&self, dir: &Path) -> Result<()> {
        let failed = || Error::io(format!("creating {}", dir.display()));
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed()(error)),
            _ => {}
        }
        let meta = dir.symlink_metadata().map_err(failed())?;
        // Root owns it if an earlier start was killed before it could give the folder away.
        let trusted = meta.uid() == self.uid || (meta.uid() == 0 && self.is_other_user());
        if !(meta.is_dir() && trusted && meta.mode() & 0o077 == 0) {
            return Err(Error::NotPrivate(dir.to_owned()));
        }
        if self.is_other_user() {
            lchown(dir, Some(self.uid), self.gid).map_err(failed())?;
        }
        Ok(())
    }

    /// Opens a file of this user to read and append, creating it if it is missing.
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        if self.is_other_user() {
            fchown(&file, Some(self.uid), self.gid)?;
        }
        Ok(file)
    }
}

/// Makes a folder that everybody can enter, whatever the umask.
pub(crate) fn make_public_dir(dir: &Path) -> Result<()> {
    let make = || {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o755))
    };
    make().map_err(Error::io(format!("creating {}", dir.display())))
}

/// The number of a user or group. Safe Rust's standard library has no other way to ask.
async fn id(which: &str, user: Option<&str>) -> Result<u32> {
    let run = async || {
        let output = Command::new("id")
            .arg(which)
            .args(user)
            .stdin(Stdio::null())
            .output()
            .await?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim()
            .parse()
            .map_err(|_| io::Error::other(format!("it says {text:?}")))
    };
    let action = format!("running id {which} {}", user.unwrap_or_default());
    run().await.map_err(Error::io(action.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(dir: &Path, mode: u32) {
        fs::set_permissions(dir, Permissions::from_mode(mode)).expect("permissions");
    }

    /// The current user, as the owner of a folder that it has just made.
    fn current(dir: &Path) -> Runner {
        let uid = dir.metadata().expect("a folder").uid();
        Runner { uid, gid: None }
    }

    #[test]
    fn a_private_folder_is_made_and_accepted_again() {
        let parent = tempfile::tempdir().expect("a folder");
        let (runner, dir) = (current(parent.path()), parent.path().join("private"));
        for _ in ["made", "accepted"] {
            runner.make_private_dir(&dir).expect("a private folder");
            assert_eq!(dir.metadata().expect("a folder").mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn a_folder_open_to_others_a_file_and_a_link_are_not_private() {
        let parent = tempfile::tempdir().expect("a folder");
        let runner = current(parent.path());
        let [open, file, link] = ["open", "file", "link"].map(|name| parent.path().join(name));
        fs::create_dir(&open).expect("a folder");
        mode(&open, 0o750);
        fs::write(&file, "").expect("a file");
        mode(&file, 0o700);
        std::os::unix::fs::symlink(parent.path(), &link).expect("a link");
        for path in [open, file, link] {
            let refused = runner.make_private_dir(&path);
            assert!(
                matches!(&refused, Err(Error::NotPrivate(named)) if *named == path),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn another_user_needs_the_execute_bit_of_every_folder_on_the_way() {
        let parent = tempfile::tempdir().expect("a folder");
        let inner = parent.path().join("inner");
        fs::create_dir(&inner).expect("a folder");
        mode(&inner, 0o755);
        let owner = current(parent.path());
        let stranger = Runner {
            uid: owner.uid + 4321,
            gid: Some(u32::MAX - 1),
        };
        mode(parent.path(), 0o755);
        assert!(stranger.can_enter(&inner).expect("an answer"));
        mode(parent.path(), 0o700);
        assert!(!stranger.can_enter(&inner).expect("an answer"));
        assert!(owner.can_enter(&inner).expect("an answer"));
    }

    #[tokio::test]
    async fn data_of_another_user_is_refused_unless_root_asks() {
        let parent = tempfile::tempdir().expect("a folder");
        let uid = parent.path().metadata().expect("a folder").uid();
        let runner = Runner::for_data(Path::new("/")).await;
        if uid == 0 {
            // Root's own data is run by a user that is not root.
            assert!(runner.expect("a user").is_other_user());
        } else {
            assert!(matches!(runner, Err(Error::ForeignOwner(_))));
            let own = Runner::for_data(parent.path()).await.expect("a user");
            assert_eq!((own.uid, own.is_other_user()), (uid, false));
        }
    }
}
