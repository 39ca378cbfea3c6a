//! A private PostgreSQL for development, tests and applications on one machine.
//!
//! [`Cluster::start`] finds PostgreSQL's programs (or downloads them), makes a data folder, starts
//! the server and returns once it accepts connections. The server listens on a Unix socket only, in
//! a folder that nobody else can enter, so neither a port nor a password has to be chosen.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use embedded_postgres::{Cluster, Settings};
//! use sqlx::{Connection, PgConnection};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::start(Settings {
//!     app_name: "my-app".to_owned(),
//!     ..Settings::new("data/postgres")
//! })
//! .await?;
//! let mut conn = PgConnection::connect_with(&cluster.connect_options("postgres")).await?;
//! let answer: i32 = sqlx::query_scalar("select 6 * 7").fetch_one(&mut conn).await?;
//! assert_eq!(answer, 42);
//! conn.close().await?;
//! cluster.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Sharing
//!
//! Any number of processes can start the same cluster. They share one server, and the last one to
//! leave stops it. A process that is killed leaves as well: a watchdog stops the server some seconds
//! after its last user is gone.
//!
//! File locks alone say who is there, because the kernel releases them whatever kills a process, and
//! a child process keeps those it inherits:
//! - `start.lock` is held while the server is started or stopped, and by an `initdb` that outlives
//!   the process that ran it;
//! - `users.lock` is shared by every [`Cluster`];
//! - `server.lock` is held by every process of the server: while it is free, no server runs;
//! - `watchdog.lock` is held by the shell that stops a server whose users were killed.
//!
//! # Root
//!
//! PostgreSQL refuses to run as root. Started by root, the server runs as the owner of the data
//! folder, else as `postgres`, else as `nobody`. If that user cannot enter [`Settings::dir`], the
//! cluster lies below `/var/lib` instead: [`Cluster::dir`] says where.
#![warn(missing_docs)]

mod error;
mod home;
mod programs;
mod runner;
mod server;

pub use error::{Error, Result};

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

use home::{Home, acquire};

/// Location and behavior of a cluster.
///
/// A server that runs already keeps the settings it was started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of the cluster. It is created if it is missing.
    pub dir: PathBuf,
    /// The name for what lies elsewhere: a folder below `/var/lib`, and one below `/tmp` for the socket
    /// of a long path. ASCII letters, digits, `-` and `_`.
    pub app_name: String,
    /// The superuser, fixed when the data folder is made.
    pub superuser: String,
    /// True if committed data must survive a power cut. Tests are faster without.
    pub durable: bool,
    /// Time that the server stays after its last user has left. With some seconds, one test process
    /// after another finds it running.
    pub linger: Duration,
    /// The number of connections that the server accepts, those of all users together.
    pub max_connections: u16,
}

impl Settings {
    /// Durable, up to 100 connections, stopped at once when its last user leaves, superuser
    /// `postgres`.
    pub fn new(dir: impl Into<PathBuf>) -> Settings {
        Settings {
            dir: dir.into(),
            app_name: "embedded-postgres".to_owned(),
            superuser: "postgres".to_owned(),
            durable: true,
            linger: Duration::ZERO,
            max_connections: 100,
        }
    }
}

/// A running cluster, with this process as one of its users.
///
/// Call [`Cluster::stop`] to leave it. Dropping it leaves as well; if no other user is left then,
/// the watchdog stops the server some seconds later.
#[derive(Debug)]
pub struct Cluster {
    home: Home,
    linger: Duration,
    users: File,
}

impl Cluster {
    /// Joins the cluster in the folder. Makes it and starts its server as needed.
    ///
    /// Any number of processes may call this at any time.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] says how to install PostgreSQL, [`Error::DidNotStart`] quotes the
    /// server's log; the other variants name the file that is in the way.
    pub async fn start(settings: Settings) -> Result<Cluster> {
        let home = Home::open(&settings).await?;
        let starting = home.lock("start.lock").await?;
        let users = home.open_file("users.lock")?;
        acquire(|| users.try_lock_shared()).await?;
        home.spawn_watchdog(&settings)?;
        home.finish_stop(&starting).await?;
        home.start_server(&settings, &starting).await?;
        Ok(Cluster {
            home,
            linger: settings.linger,
            users,
        })
    }

    /// The options to connect to a database of this cluster, as its superuser.
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        self.home.connect_options(database)
    }

    /// The folder of the cluster: that of the settings, or one below `/var/lib` where root starts a
    /// server whose user cannot enter that one.
    pub fn dir(&self) -> &Path {
        &self.home.dir
    }

    /// Leaves the cluster. The last user stops the server and waits until it is gone, unless it is
    /// to linger.
    ///
    /// # Errors
    /// [`Error::DoesNotStop`] after 30 seconds.
    pub async fn stop(self) -> Result<()> {
        let stopping = self.home.lock("start.lock").await?;
        drop(self.users);
        if self.linger.is_zero() && self.home.is_deserted().await? {
            self.home.stop_server(&stopping).await?;
        }
        Ok(())
    }
}
