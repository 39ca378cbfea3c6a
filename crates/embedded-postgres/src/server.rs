//! The server of a cluster: making its data, starting and stopping it.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Connection};
use tokio::time::{sleep, timeout};

use crate::Settings;
use crate::error::{Error, Result};
use crate::home::{Home, POLL_INTERVAL, PORT};
use crate::programs::Search;

/// Time that a server may take to answer, or to stop.
const SERVER_TIMEOUT: Duration = Duration::from_secs(30);
/// Options of every server. They come before those of the settings.
const COMMON_OPTIONS: [&str; 5] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "shared_buffers=64MB",
    "jit=off",
    // The details of an error quote the row, and rows may hold personal data.
    "log_error_verbosity=terse",
];
/// Options of a server that need not be durable: throw-away databases live too briefly to be worth
/// cleaning or writing back.
const FAST_OPTIONS: [&str; 7] = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "log_checkpoints=off",
];

impl Home {
    /// Starts the server unless it runs, and waits until it answers.
    pub(crate) async fn start_server(&self, settings: &Settings, starting: &File) -> Result<()> {
        let mut since = Instant::now();
        let mut attempts = Vec::new();
        while !self.answers().await? {
            if let Some(lock) = self.try_lock("server.lock")? {
                // One death may be somebody's `kill -9`; two are a reason to give up.
                if let [first, _] = attempts[..] {
                    return Err(Error::DidNotStart {
                        log: self.log.clone(),
                        tail: self.log_tail(first)?,
                    });
                }
                let bin = self.find_programs().await?;
                if !self.has_data()? {
                    self.create_data(&bin, settings.durable, starting).await?;
                }
                since = Instant::now();
                attempts.push(self.spawn_server(&bin, settings, lock)?);
            }
            if since.elapsed() > SERVER_TIMEOUT {
                return Err(Error::NoAnswer {
                    data: self.data.clone(),
                    socket: self.socket.clone(),
                    log: self.log.clone(),
                });
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Reports whether the server accepts connections.
    async fn answers(&self) -> Result<bool> {
        let options = self.connect_options("postgres").disable_statement_logging();
        match timeout(SERVER_TIMEOUT / 10, PgConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => {
                connection.close().await.ok();
                Ok(true)
            }
            Ok(Err(sqlx::Error::Database(error))) => match error.code().as_deref() {
                // All connections are taken: the server does answer.
                Some("53300") => Ok(true),
                // It starts, recovers or shuts down.
                Some(code) if code.starts_with("57P") => Ok(false),
                _ => Err(Error::Refused {
                    data: self.data.clone(),
                    source: sqlx::Error::Database(error),
                }),
            },
            Ok(Err(_)) | Err(_) => Ok(false),
        }
    }

    async fn find_programs(&self) -> Result<PathBuf> {
        let search = Search {
            runner: self.runner,
            major: self.major()?,
            system_dir: &self.system_dir,
        };
        let found = search.run().await;
        found.map_err(|missing| Error::NotInstalled {
            data: self.data.clone(),
            needed: missing.needed,
            reason: missing.reason,
        })
    }

    fn has_data(&self) -> Result<bool> {
        let action = format!("looking at {}", self.data.display());
        fs::exists(&self.data).map_err(Error::io(action))
    }

    /// The major version that made the data, if there is data.
    fn major(&self) -> Result<Option<u32>> {
        if !self.has_data()? {
            return Ok(None);
        }
        let path = self.data.join("PG_VERSION");
        let text = fs::read_to_string(&path).map_err(Error::io(format!(
            "no PostgreSQL data: cannot read {}",
            path.display()
        )))?;
        match text.trim().parse() {
            Ok(major) => Ok(Some(major)),
            Err(_) => Err(Error::InvalidVersion { path, text }),
        }
    }

    /// Makes the data folder, under another name until it is complete.
    async fn create_data(&self, bin: &Path, durable: bool, starting: &File) -> Result<()> {
        let new = self.dir.join("data.new");
        let failed = || Error::io(format!("creating {}", self.data.display()));
        let mut complaint = String::new();
        // C sorts by code point; C.UTF-8 knows the letters of all languages, where a system has it.
        for ctype in ["C.UTF-8", "C"] {
            if fs::exists(&new).map_err(failed())? {
                let action = format!("removing {}", new.display());
                fs::remove_dir_all(&new).map_err(Error::io(action))?;
            }
            self.runner.make_private_dir(&new)?;
            let mut initdb = self.runner.command(&bin.join("initdb"));
            initdb.arg("--pgdata").arg(&new);
            initdb.args(["--username", &self.superuser]);
            initdb.args(["--encoding=UTF8", "--locale=C", "--lc-ctype", ctype]);
            initdb.args(["--auth-local=trust", "--auth-host=reject"]);
            initdb.arg("--no-instructions");
            if !durable {
                initdb.arg("--no-sync");
            }
            // The child keeps our lock: if we are killed, the next start waits for it to end before
            // it removes its work.
            initdb.stdin(starting.try_clone().map_err(failed())?);
            let output = initdb.output().await;
            let output = output.map_err(Error::io("running initdb"))?;
            if output.status.success() {
                fs::rename(&new, &self.data).map_err(failed())?;
                if durable {
                    let dir = File::open(&self.dir).map_err(failed())?;
                    dir.sync_all().map_err(failed())?;
                }
                return Ok(());
            }
            complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        }
        Err(Error::InitDb(complaint.trim().to_owned()))
    }

    /// Starts the server, which keeps the lock. Returns the length of its log before.
    fn spawn_server(&self, bin: &Path, settings: &Settings, lock: File) -> Result<u64> {
        // Nothing of the old server runs, but another process may have its number by now, and
        // PostgreSQL would take that process for the server.
        let socket_lock = self.socket.join(format!(".s.PGSQL.{PORT}.lock"));
        for stale in [self.data.join("postmaster.pid"), socket_lock] {
            match fs::remove_file(&stale) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io(format!("removing {}", stale.display()))(error));
                }
                _ => {}
            }
        }
        // The setting is a list, and only quotes keep a comma in a folder's name from dividing it.
        let socket = self.socket.to_str().ok_or(Error::NotUtf8)?;
        let socket = socket.replace('"', "\"\"");
        let mut options = COMMON_OPTIONS.map(str::to_owned).to_vec();
        options.extend([
            format!("port={PORT}"),
            format!("unix_socket_directories=\"{socket}\""),
            format!("max_connections={}", settings.max_connections),
        ]);
        if !settings.durable {
            options.extend(FAST_OPTIONS.map(str::to_owned));
        }
        let failed = || Error::io("starting postgres");
        let log = self.open_file("postgres.log")?;
        let logged = log.metadata().map_err(failed())?.len();
        let mut postgres = self.runner.command(&bin.join("postgres"));
        postgres.arg("-D").arg(&self.data);
        postgres.args(options.iter().flat_map(|option| ["-c", option]));
        postgres.stdin(lock);
        postgres.stdout(log.try_clone().map_err(failed())?);
        postgres.stderr(log);
        postgres.spawn().map_err(failed())?;
        Ok(logged)
    }

    /// The last lines that were logged after the first `logged` bytes.
    fn log_tail(&self, logged: u64) -> Result<String> {
        let read = || {
            let mut log = File::open(&self.log)?;
            log.seek(SeekFrom::Start(logged))?;
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let action = format!("reading {}", self.log.display());
        let bytes = read().map_err(Error::io(action))?;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        Ok(lines[lines.len().saturating_sub(12)..].join("\n"))
    }

    /// Finishes a stop whose process was killed: its server may still answer, but will not stay.
    pub(crate) async fn finish_stop(&self, starting: &File) -> Result<()> {
        let action = Error::io("reading start.lock");
        if starting.metadata().map_err(action)?.len() > 0 {
            self.stop_server(starting).await?;
        }
        Ok(())
    }

    /// Stops the server and waits until nothing of it runs. Safe to repeat.
    ///
    /// The lock file is not empty meanwhile. That tells the next start of a stop that was killed:
    /// see [`Home::finish_stop`].
    pub(crate) async fn stop_server(&self, mut lock: &File) -> Result<()> {
        let failed = || Error::io("writing start.lock");
        lock.write_all(b"stopping").map_err(failed())?;
        let began = Instant::now();
        let mut signaled = None::<Instant>;
        while self.try_lock("server.lock")?.is_none() {
            if began.elapsed() > SERVER_TIMEOUT {
                return Err(Error::DoesNotStop(self.log.clone()));
            }
            // Repeated every second: a server that has only just begun may have missed the signal.
            if signaled.is_none_or(|at| at.elapsed() > Duration::from_secs(1))
                && let Ok(text) = fs::read_to_string(self.data.join("postmaster.pid"))
                && let Some(pid) = text.lines().next()
            {
                let mut shell = self.runner.command(Path::new("sh"));
                shell.args(["-c", "kill -INT \"$0\"", pid]);
                let output = shell.output().await;
                output.map_err(Error::io("stopping PostgreSQL"))?;
                signaled = Some(Instant::now());
            }
            sleep(POLL_INTERVAL / 2).await;
        }
        lock.set_len(0).map_err(failed())
    }
}
