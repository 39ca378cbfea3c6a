//! The folder of a cluster: its location, its locks and its watchdog.

use std::fs::{self, File, TryLockError};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::time::sleep;
use tracing::debug;

use crate::Settings;
use crate::error::{Error, Result};
use crate::runner::{Runner, make_public_dir};

/// Part of the socket's name. No TCP port is opened.
pub(crate) const PORT: u16 = 5432;
/// Pause between two looks at something that another process will do.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(4);
/// Time for which a dropped lock may live on in a child that this process starts at that moment: from
/// its fork until it executes its program, the child has all open files.
const FORK_LIMIT: Duration = Duration::from_millis(250);
/// In bytes. `/.s.PGSQL.5432` makes it 100; the kernel accepts 107 (macOS 103).
const MAX_SOCKET_DIR: usize = 86;
/// Stops the server some seconds after its last user has gone, if that user was killed.
const WATCHDOG: &str = include_str!("watchdog.sh");

/// The folder of a cluster, and the user that runs its server.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) dir: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) log: PathBuf,
    /// The folder for data and programs that the server's user could not reach in root's folders.
    pub(crate) system_dir: PathBuf,
    pub(crate) runner: Runner,
    pub(crate) superuser: String,
}

impl Home {
    /// Makes the folder, and finds another place if the server's user cannot enter it.
    pub(crate) async fn open(settings: &Settings) -> Result<Home> {
        let app_name = &settings.app_name;
        let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if app_name.is_empty() || !app_name.chars().all(is_valid) {
            return Err(Error::InvalidAppName(app_name.clone()));
        }
        let system_dir = Path::new("/var/lib").join(app_name);

        let failed = || Error::io(format!("creating {}", settings.dir.display()));
        fs::create_dir_all(&settings.dir).map_err(failed())?;
        let mut dir = settings.dir.canonicalize().map_err(failed())?;
        let hash = Sha256::digest(dir.as_os_str().as_bytes());
        let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let mut runner = Runner::for_data(&dir.join("data")).await?;
        if !runner.can_enter(&dir)? {
            let moved = system_dir.join(&hash);
            debug!(
                "the server's user cannot enter {}: using {}",
                dir.display(),
                moved.display()
            );
            make_public_dir(&system_dir)?;
            make_public_dir(&moved)?;
            runner = Runner::for_data(&moved.join("data")).await?;
            dir = moved;
        }

        let mut socket = dir.join("socket");
        if socket.as_os_str().len() > MAX_SOCKET_DIR {
            socket = Path::new("/tmp").join(format!("{app_name}-{hash}"));
        }
        runner.make_private_dir(&socket)?;
        Ok(Home {
            data: dir.join("data"),
            log: dir.join("postgres.log"),
            dir,
            socket,
            system_dir,
            runner,
            superuser: settings.superuser.clone(),
        })
    }

    pub(crate) fn connect_options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket)
            .port(PORT)
            .ssl_mode(PgSslMode::Disable)
            .username(&self.superuser)
            .database(database)
    }

    pub(crate) fn open_file(&self, name: &str) -> Result<File> {
        let path = self.dir.join(name);
        self.runner.open(&path).map_err(Error::io(format!(
            "opening {} (does another user run it?)",
            path.display()
        )))
    }

    /// Waits for a lock.
    pub(crate) async fn lock(&self, name: &str) -> Result<File> {
        let file = self.open_file(name)?;
        acquire(|| file.try_lock()).await?;
        Ok(file)
    }

    /// The lock, unless somebody holds it.
    pub(crate) fn try_lock(&self, name: &str) -> Result<Option<File>> {
        let file = self.open_file(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::io(format!("locking {name}"))(error)),
        }
    }

    /// Reports whether no user is left. With other users, that takes [`FORK_LIMIT`].
    pub(crate) async fn is_deserted(&self) -> Result<bool> {
        let began = Instant::now();
        loop {
            let users = self.open_file("users.lock")?;
            if users.try_lock().is_ok() {
                return Ok(true);
            }
            // Shared with another user, or with a child of this process. Otherwise the watchdog holds
            // the lock, for a moment after the last user has left.
            let is_shared = users.try_lock_shared().is_ok();
            if is_shared && began.elapsed() >= FORK_LIMIT {
                return Ok(users.try_lock().is_ok());
            }
            drop(users);
            sleep(POLL_INTERVAL / 4).await;
        }
    }

    /// Starts the watchdog unless one runs. A running one cannot end now: it would need
    /// `start.lock`, which the caller holds.
    pub(crate) fn spawn_watchdog(&self, settings: &Settings) -> Result<()> {
        let Some(lock) = self.try_lock("watchdog.lock")? else {
            return Ok(());
        };
        // The script opens it at once, and would end if it were missing: the server that makes it
        // starts later.
        self.open_file("server.lock")?;
        let name = format!("{}-watchdog", settings.app_name);
        let seconds = (settings.linger.as_secs() + 2).to_string();
        let mut shell = self.runner.command(Path::new("sh"));
        shell
            .args(["-c", WATCHDOG, &name, &seconds])
            .current_dir(&self.dir)
            .stdin(lock)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        shell.spawn().map_err(Error::io("starting the watchdog"))?;
        Ok(())
    }
}

/// Tries to lock until it succeeds. The file locks of the standard library would block the thread.
pub(crate) async fn acquire(attempt: impl Fn() -> Result<(), TryLockError>) -> Result<()> {
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => sleep(POLL_INTERVAL).await,
            Err(TryLockError::Error(error)) => {
                return Err(Error::io("locking the data folder")(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_lock_that_lives_on_in_a_child_for_a_moment_is_no_user() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::open(&Settings::new(dir.path()))
            .await
            .expect("a home");
        let user = || {
            let users = home.open_file("users.lock").expect("a file");
            users.try_lock_shared().expect("a shared lock");
            users
        };

        // As between fork and exec, only longer: the child has the file until it ends.
        let mut child = Command::new("sleep")
            .arg("0.05")
            .stdin(user())
            .spawn()
            .expect("a child");
        assert!(home.is_deserted().await.expect("locks"));
        child.wait().expect("its end");

        let other = user();
        assert!(!home.is_deserted().await.expect("locks"));
        drop(other);
        assert!(home.is_deserted().await.expect("locks"));
    }
}
