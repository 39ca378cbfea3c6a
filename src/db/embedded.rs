//! A PostgreSQL of our own, for development, tests and a shop on one machine: found or fetched,
//! started, shared and stopped. Its databases and their tables are the business of others.
//!
//! A cluster lives in one folder. Several processes share it, and the last one out stops it. Who is
//! there is told by file locks alone, because the kernel gives those back whatever kills a process,
//! and a child keeps what it inherits:
//! - `start.lock` is held by who starts or stops the server, and by an `initdb` that outlives us;
//! - `users.lock` is shared by every [`Cluster`];
//! - `server.lock` is held by each process of the server: when it is free, nothing of it runs;
//! - `watchdog.lock` is held by the shell that stops a server whose users were killed.
mod programs;
mod runner;

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use tokio::time::{sleep, timeout};
use tracing::info;

use runner::{Runner, make_public_dir};

/// The superuser of every cluster, whatever the name of the user who runs it.
const SUPERUSER: &str = "spirit_beads";
/// Nobody listens on it: it is only a part of the socket's name.
const PORT: u16 = 5432;
/// Where root keeps what the server's user could not reach in root's own folders.
const SYSTEM_DIR: &str = "/var/lib/spirit-beads";
/// In bytes; with `/.s.PGSQL.5432` it makes 100, and the kernel takes 107 (macOS 103).
const LONGEST_SOCKET_DIR: usize = 86;
/// How long a server may take to answer, or to go.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often we look whether something has happened.
const TICK: Duration = Duration::from_millis(4);

/// Stops the server some seconds after its last user has gone, if that user was killed.
const WATCHDOG: &str = include_str!("embedded/watchdog.sh");

/// Where a cluster lives and how it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The home of the cluster; created if missing.
    pub dir: PathBuf,
    /// Whether what is committed must survive a power cut. Tests say no, and are faster for it.
    pub durable: bool,
    /// How long the server stays after its last user left: zero, or some seconds so that one test
    /// process after another finds it running.
    pub linger: Duration,
    /// How many connections the server takes, all users together.
    pub max_connections: u16,
}

/// This process's registration as a user of a cluster.
///
/// Dropped without [`Cluster::stop`], it ends as well, and if it was the last the server stops some
/// seconds later.
#[derive(Debug)]
pub struct Cluster {
    home: Home,
    linger: Duration,
    users: File,
}

impl Cluster {
    /// Joins the cluster in the folder, making it and starting its server if need be.
    ///
    /// Safe to call at any time from any number of processes; a server that runs already keeps its
    /// settings.
    ///
    /// # Errors
    /// Says what to install if there is no PostgreSQL, and quotes the log if it does not start.
    pub async fn start(settings: Settings) -> Result<Cluster> {
        let home = Home::open(&settings.dir).await?;
        let starting = home.lock("start.lock").await?;
        let users = home.open_file("users.lock")?;
        patiently(|| users.try_lock_shared()).await?;
        home.spawn_watchdog(settings.linger)?;
        if starting.metadata()?.len() > 0 {
            home.stop_server(&starting).await?;
        }
        home.bring_up(&settings, &starting).await?;
        Ok(Cluster {
            home,
            linger: settings.linger,
            users,
        })
    }

    /// How to connect to a database of this cluster, as its superuser.
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        self.home.connect_options(database)
    }

    /// Leaves the cluster. The last one out stops the server, unless it is to linger, and waits
    /// until it is gone.
    pub async fn stop(self) -> Result<()> {
        let stopping = self.home.lock("start.lock").await?;
        drop(self.users);
        if self.linger.is_zero() && self.home.is_deserted().await? {
            self.home.stop_server(&stopping).await?;
        }
        Ok(())
    }
}

/// The folder of a cluster, and who runs its server.
#[derive(Debug)]
struct Home {
    dir: PathBuf,
    data: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    runner: Runner,
}

impl Home {
    async fn open(dir: &Path) -> Result<Home> {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let mut dir = dir.canonicalize()?;
        let hash = Sha256::digest(dir.as_os_str().as_bytes());
        let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let mut runner = Runner::of(&dir.join("data")).await?;
        if !runner.can_enter(&dir)? {
            let moved = Path::new(SYSTEM_DIR).join(&hash);
            info!(
                "PostgreSQL does not run as root, and the user it runs as cannot enter {}: the \
                 data is in {} instead (DATA_DIR moves it)",
                dir.display(),
                moved.display()
            );
            make_public_dir(Path::new(SYSTEM_DIR))?;
            make_public_dir(&moved)?;
            runner = Runner::of(&moved.join("data")).await?;
            dir = moved;
        }

        let mut socket = dir.join("socket");
        if socket.as_os_str().len() > LONGEST_SOCKET_DIR {
            socket = Path::new("/tmp").join(format!("spirit-beads-{hash}"));
        }
        runner.make_private_dir(&socket)?;
        Ok(Home {
            data: dir.join("data"),
            log: dir.join("postgres.log"),
            dir,
            socket,
            runner,
        })
    }

    fn open_file(&self, name: &str) -> Result<File> {
        let path = self.dir.join(name);
        self.runner
            .open(&path)
            .with_context(|| format!("opening {} (does another user run it?)", path.display()))
    }

    async fn lock(&self, name: &str) -> Result<File> {
        let file = self.open_file(name)?;
        patiently(|| file.try_lock()).await?;
        Ok(file)
    }

    /// The lock, unless somebody has it.
    fn try_lock(&self, name: &str) -> Result<Option<File>> {
        let file = self.open_file(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).context(format!("locking {name}")),
        }
    }

    /// Whether no user is left.
    async fn is_deserted(&self) -> Result<bool> {
        loop {
            let users = self.open_file("users.lock")?;
            if users.try_lock().is_ok() {
                return Ok(true);
            }
            // The watchdog has it for a moment when the last user has left. If that moment falls
            // between our looks, nobody but us shares it now.
            if users.try_lock_shared().is_ok() {
                return Ok(users.try_lock().is_ok());
            }
            sleep(TICK / 4).await;
        }
    }

    fn connect_options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket)
            .port(PORT)
            .ssl_mode(PgSslMode::Disable)
            .username(SUPERUSER)
            .database(database)
    }

    /// Starts the server unless it runs, and waits until it answers.
    async fn bring_up(&self, settings: &Settings, starting: &File) -> Result<()> {
        let mut since = Instant::now();
        let mut attempts = Vec::new();
        while !self.answers().await? {
            if let Some(lock) = self.try_lock("server.lock")? {
                // One death may be somebody's `kill -9`; two are a reason to give up.
                if let [first, _] = attempts[..] {
                    bail!(
                        "PostgreSQL did not start. The end of {}:\n{}",
                        self.log.display(),
                        self.tail(first)?
                    );
                }
                let bin = programs::find(self.runner, self.major()?)
                    .await
                    .with_context(|| format!("no PostgreSQL for {}", self.data.display()))?;
                if !fs::exists(&self.data)? {
                    self.create_data(&bin, settings.durable, starting).await?;
                }
                since = Instant::now();
                attempts.push(self.spawn_server(&bin, settings, lock)?);
            }
            ensure!(
                since.elapsed() < PATIENCE,
                "a PostgreSQL runs on {} but does not answer in {}: see {}, or stop it by hand",
                self.data.display(),
                self.socket.display(),
                self.log.display()
            );
            sleep(TICK).await;
        }
        Ok(())
    }

    /// Whether the server takes connections.
    async fn answers(&self) -> Result<bool> {
        let options = self.connect_options("postgres").disable_statement_logging();
        match timeout(PATIENCE / 10, PgConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => {
                connection.close().await.ok();
                Ok(true)
            }
            Ok(Err(sqlx::Error::Database(error))) => match error.code().as_deref() {
                // Every connection is taken: it does answer.
                Some("53300") => Ok(true),
                // It starts, recovers or shuts down.
                Some(code) if code.starts_with("57P") => Ok(false),
                _ => Err(error).context(format!(
                    "the PostgreSQL on {} refuses us",
                    self.data.display()
                )),
            },
            Ok(Err(_)) | Err(_) => Ok(false),
        }
    }

    /// The major version that made the data, if there is data.
    fn major(&self) -> Result<Option<u32>> {
        if !fs::exists(&self.data)? {
            return Ok(None);
        }
        let path = self.data.join("PG_VERSION");
        let text = fs::read_to_string(&path)
            .with_context(|| format!("no PostgreSQL data: cannot read {}", path.display()))?;
        let major = text.trim().parse();
        Ok(Some(major.with_context(|| {
            format!("{} says {text:?}", path.display())
        })?))
    }

    /// Makes the data folder, under another name until it is whole.
    async fn create_data(&self, bin: &Path, durable: bool, starting: &File) -> Result<()> {
        let new = self.dir.join("data.new");
        let mut complaint = String::new();
        // C sorts by code point; C.UTF-8 knows the letters of all languages, where a system has it.
        for letters in ["C.UTF-8", "C"] {
            if fs::exists(&new)? {
                fs::remove_dir_all(&new).with_context(|| format!("removing {}", new.display()))?;
            }
            self.runner.make_private_dir(&new)?;
            let mut initdb = self.runner.command(&bin.join("initdb"));
            initdb
                .arg("--pgdata")
                .arg(&new)
                .args(["--username", SUPERUSER]);
            initdb.args(["--encoding=UTF8", "--locale=C", "--lc-ctype", letters]);
            initdb.args([
                "--auth-local=trust",
                "--auth-host=reject",
                "--no-instructions",
            ]);
            if !durable {
                initdb.arg("--no-sync");
            }
            // It keeps our lock: if we are killed, the next to start waits for it to end before
            // removing its work.
            let output = initdb.stdin(starting.try_clone()?).output().await?;
            if output.status.success() {
                fs::rename(&new, &self.data)?;
                if durable {
                    File::open(&self.dir)?.sync_all()?;
                }
                return Ok(());
            }
            complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        }
        bail!("initdb failed: {}", complaint.trim())
    }

    /// Starts the server, which keeps the lock; returns how long its log was before.
    fn spawn_server(&self, bin: &Path, settings: &Settings, lock: File) -> Result<u64> {
        // Nothing of the old server runs, but another process may have its number by now, and
        // PostgreSQL would take that for the server.
        let socket_lock = self.socket.join(format!(".s.PGSQL.{PORT}.lock"));
        for stale in [self.data.join("postmaster.pid"), socket_lock] {
            match fs::remove_file(&stale) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error)?,
                _ => {}
            }
        }
        // The setting is a list, and only quotes keep a comma in a folder's name from dividing it.
        let socket = self
            .socket
            .to_str()
            .context("the name of the data folder is not UTF-8")?
            .replace('"', "\"\"");
        let mut options = vec![
            "listen_addresses=".to_owned(),
            format!("port={PORT}"),
            format!("unix_socket_directories=\"{socket}\""),
            "unix_socket_permissions=0700".to_owned(),
            format!("max_connections={}", settings.max_connections),
            "shared_buffers=64MB".to_owned(),
            "jit=off".to_owned(),
            // The details of an error quote the row, and rows hold people's addresses.
            "log_error_verbosity=terse".to_owned(),
        ];
        if !settings.durable {
            // Throw-away databases live too briefly to be worth cleaning or writing back.
            let fast = [
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
                "autovacuum=off",
                "wal_level=minimal",
                "max_wal_senders=0",
                "log_checkpoints=off",
            ];
            options.extend(fast.map(str::to_owned));
        }
        let log = self.open_file("postgres.log")?;
        let logged = log.metadata()?.len();
        let mut postgres = self.runner.command(&bin.join("postgres"));
        postgres.arg("-D").arg(&self.data);
        postgres.args(options.iter().flat_map(|option| ["-c", option]));
        postgres.stdin(lock).stdout(log.try_clone()?).stderr(log);
        postgres.spawn().context("starting postgres")?;
        Ok(logged)
    }

    /// The last lines of what was logged after the first so many bytes.
    fn tail(&self, logged: u64) -> Result<String> {
        let mut log = File::open(&self.log)?;
        log.seek(SeekFrom::Start(logged))?;
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        Ok(lines[lines.len().saturating_sub(12)..].join("\n"))
    }

    /// Stops the server and waits until nothing of it runs. Safe to repeat.
    ///
    /// The lock file is not empty meanwhile: if we are killed, the next to start must not join a
    /// server that was told to stop but still answers.
    async fn stop_server(&self, mut lock: &File) -> Result<()> {
        lock.write_all(b"stopping")?;
        let began = Instant::now();
        let mut told = None::<Instant>;
        while self.try_lock("server.lock")?.is_none() {
            ensure!(
                began.elapsed() < PATIENCE,
                "PostgreSQL does not stop: see {}",
                self.log.display()
            );
            // Told again every second, since a server that has only just begun may not have heard.
            if told.is_none_or(|told| told.elapsed() > Duration::from_secs(1))
                && let Ok(text) = fs::read_to_string(self.data.join("postmaster.pid"))
                && let Some(pid) = text.lines().next()
            {
                let mut shell = self.runner.command(Path::new("sh"));
                shell.args(["-c", "kill -INT \"$0\"", pid]).output().await?;
                told = Some(Instant::now());
            }
            sleep(TICK / 2).await;
        }
        Ok(lock.set_len(0)?)
    }

    /// Starts the watchdog unless one runs, which cannot end just now: for that it takes our lock.
    fn spawn_watchdog(&self, linger: Duration) -> Result<()> {
        let Some(lock) = self.try_lock("watchdog.lock")? else {
            return Ok(());
        };
        let seconds = (linger.as_secs() + 2).to_string();
        let mut shell = self.runner.command(Path::new("sh"));
        shell.args(["-c", WATCHDOG, "spirit-beads-watchdog", &seconds]);
        shell.current_dir(&self.dir);
        shell
            .stdin(lock)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        shell.spawn().context("starting the watchdog")?;
        Ok(())
    }
}

/// Tries for a lock until it is had, leaving the thread to others meanwhile.
async fn patiently(attempt: impl Fn() -> Result<(), TryLockError>) -> Result<()> {
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => sleep(TICK).await,
            Err(TryLockError::Error(error)) => {
                return Err(error).context("locking the data folder");
            }
        }
    }
}
