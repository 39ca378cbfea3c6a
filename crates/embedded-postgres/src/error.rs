//! Failures of a cluster.

use std::io;
use std::path::PathBuf;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A reason why a cluster cannot be started, joined or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// [`Settings::app_name`](crate::Settings::app_name) cannot be part of a path.
    #[error("{0:?} cannot name an application: use ASCII letters, digits, `-` and `_`")]
    InvalidAppName(String),

    /// No usable PostgreSQL is installed, and none could be downloaded.
    #[error(
        "no PostgreSQL for {data}: PostgreSQL {needed} is not installed and could not be \
         downloaded ({reason}). To install it: `apt-get install postgresql` (Debian, Ubuntu), \
         `dnf install postgresql-server` (Fedora), `brew install postgresql@17` (macOS)"
    )]
    NotInstalled {
        /// The data folder that needs it.
        data: PathBuf,
        /// The version that is needed, in words.
        needed: String,
        /// Why the download failed.
        reason: String,
    },

    /// The data folder belongs to another user, and only root can run a server for somebody else.
    #[error("{0} belongs to another user: run as that user, or choose another folder")]
    ForeignOwner(PathBuf),

    /// A folder that only the server's user may enter is open to others, or is not a folder.
    #[error("{0} is not a folder private to the user of PostgreSQL: remove it and try again")]
    NotPrivate(PathBuf),

    /// The data folder does not say which version made it.
    #[error("{path} says {text:?}")]
    InvalidVersion {
        /// The file `PG_VERSION`.
        path: PathBuf,
        /// The content of the file.
        text: String,
    },

    /// The path of the socket's folder is not UTF-8, so PostgreSQL cannot be given it.
    #[error("the name of the data folder is not UTF-8")]
    NotUtf8,

    /// `initdb` failed with this message.
    #[error("initdb failed: {0}")]
    InitDb(String),

    /// The server ended twice before it accepted a connection.
    #[error("PostgreSQL did not start. The end of {log}:\n{tail}")]
    DidNotStart {
        /// The server's log file.
        log: PathBuf,
        /// The last lines that this start has logged.
        tail: String,
    },

    /// A server runs but does not accept connections.
    #[error(
        "a PostgreSQL runs on {data} but does not answer in {socket}: see {log}, or stop it by hand"
    )]
    NoAnswer {
        /// The server's data folder.
        data: PathBuf,
        /// The folder of its socket.
        socket: PathBuf,
        /// The server's log file.
        log: PathBuf,
    },

    /// The server answered with an error, such as a missing role.
    #[error("the PostgreSQL on {data} refuses us")]
    Refused {
        /// The server's data folder.
        data: PathBuf,
        /// The server's answer.
        source: sqlx::Error,
    },

    /// The server still runs, 30 seconds after it was told to stop.
    #[error("PostgreSQL does not stop: see {0}")]
    DoesNotStop(PathBuf),

    /// A file or another program could not be used.
    #[error("{action}")]
    Io {
        /// The action that failed.
        action: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    /// Wraps an I/O error with the action that failed: `.map_err(Error::io("running id"))`.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let action = action.into();
        move |source| Error::Io { action, source }
    }
}
