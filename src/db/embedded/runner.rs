//! The user who runs the server, and files that are that user's.
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown,
};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// The user who runs the server: ourselves or, since PostgreSQL refuses root, somebody else.
#[derive(Clone, Copy, Debug)]
pub struct Runner {
    uid: u32,
    /// The group to take with the user; none if the user is ourselves.
    pub gid: Option<u32>,
}

impl Runner {
    /// Whoever owns the data if we may choose, else the user `postgres`, else `nobody`.
    pub async fn of(data: &Path) -> Result<Runner> {
        let us = id("-u", None).await?;
        let owner = data
            .symlink_metadata()
            .ok()
            .map(|data| (data.uid(), data.gid()));
        if us != 0 {
            let ours = owner.is_none_or(|(uid, _)| uid == us);
            ensure!(
                ours,
                "{} belongs to another user: run as that user, or move DATA_DIR",
                data.display()
            );
            return Ok(Runner { uid: us, gid: None });
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

    /// A program run as this user, in a process group of its own, where the Ctrl-C meant for us
    /// does not reach it.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // Knowing locale and zone, PostgreSQL need not search the system's files for them.
        command
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .current_dir("/")
            .stdin(Stdio::null())
            .process_group(0);
        if let Some(gid) = self.gid {
            // With the user, the standard library drops root's supplementary groups.
            command.uid(self.uid).gid(gid);
        }
        command
    }

    /// Whether this user gets into the folder, as far as the permission bits tell.
    pub fn can_enter(&self, dir: &Path) -> Result<bool> {
        let Some(gid) = self.gid else {
            return Ok(true);
        };
        for dir in dir.ancestors() {
            let meta = dir.metadata()?;
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

    /// Makes a folder for this user alone, or accepts one that is so already.
    pub fn make_private_dir(&self, dir: &Path) -> Result<()> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).context(format!("creating {}", dir.display()));
            }
            _ => {}
        }
        let meta = dir.symlink_metadata()?;
        // Root's own, if it was killed before it could give the folder away.
        let trusted = meta.uid() == self.uid || (meta.uid() == 0 && self.gid.is_some());
        ensure!(
            meta.is_dir() && trusted && meta.mode() & 0o077 == 0,
            "{} is not a folder private to the user of PostgreSQL: remove it and try again",
            dir.display()
        );
        if self.gid.is_some() {
            lchown(dir, Some(self.uid), self.gid)?;
        }
        Ok(())
    }

    /// Opens a file of this user's, creating it if missing.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        if self.gid.is_some() {
            fchown(&file, Some(self.uid), self.gid)?;
        }
        Ok(file)
    }
}

/// A folder anybody may enter, whatever our umask.
pub fn make_public_dir(dir: &Path) -> Result<()> {
    let make = || {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o755))
    };
    make().with_context(|| format!("creating {}", dir.display()))
}

/// The number of a user or group: safe Rust has no other way to ask.
async fn id(which: &str, user: Option<&str>) -> Result<u32> {
    let output = Command::new("id")
        .arg(which)
        .args(user)
        .stdin(Stdio::null())
        .output()
        .await
        .context("running id")?;
    let text = String::from_utf8(output.stdout)?;
    text.trim()
        .parse()
        .with_context(|| format!("id {which} {} says {text:?}", user.unwrap_or_default()))
}
