//! Lines to PostgreSQL over TCP that can be forgotten, as a firewall does, or lead to another server, as after a fail-over.

use std::path::PathBuf;
use std::sync::Arc;

use spirit_beads::db::{Pools, Route};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::database;

/// A forwarder on TCP. Lines that are open when it forgets stay open, and nothing passes on them any more.
pub struct Lines {
    port: u16,
    state: Arc<watch::Sender<State>>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct State {
    /// Raised by one each time the lines are forgotten.
    age: u32,
    /// Raised by one each time the lines are cut.
    cuts: u32,
    socket: PathBuf,
}

impl Lines {
    /// Lines to the tests' own server.
    pub async fn open() -> Lines {
        let options = database::options("postgres");
        let folder = options.get_socket().expect("a socket");
        Lines::open_to(folder.join(".s.PGSQL.5432")).await
    }

    /// Lines to the server behind this socket.
    pub async fn open_to(socket: PathBuf) -> Lines {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound listener").port();
        let (state, _) = watch::channel(State {
            age: 0,
            cuts: 0,
            socket,
        });
        let state = Arc::new(state);
        let watched = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let watched = watched.clone();
                tokio::spawn(async move {
                    let born = watched.borrow().clone();
                    let Ok(far) = UnixStream::connect(&born.socket).await else {
                        return;
                    };
                    let (near_in, near_out) = near.into_split();
                    let (far_in, far_out) = far.into_split();
                    let mut cut = watched.subscribe();
                    tokio::select! {
                        () = pump(near_in, far_out, born.age, watched.subscribe()) => {}
                        () = pump(far_in, near_out, born.age, watched.subscribe()) => {}
                        _ = cut.wait_for(|now| now.cuts != born.cuts) => {}
                    }
                });
            }
        });
        Lines { port, state, task }
    }

    /// Options to reach a database through them.
    pub fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("spirit_beads")
            .database(database)
            .ssl_mode(PgSslMode::Disable)
            .application_name("spirit-beads")
            .extra_float_digits(None)
    }

    /// The pools of a shop that reaches a database through them.
    pub fn pools(&self, database: &str) -> Pools {
        let options = self.options(database);
        Pools::new(&options, Route::Straight, options.clone(), 20)
    }

    pub fn forget(&self) {
        self.state.send_modify(|state| state.age += 1);
    }

    /// New lines lead to the server behind this socket; those that are open end.
    pub fn lead_to(&self, socket: PathBuf) {
        self.state.send_modify(|state| {
            state.socket = socket;
            state.cuts += 1;
        });
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Hands on what arrives, until its line is forgotten: then what arrives is swallowed.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    born: u32,
    state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        let read = from.read(&mut buffer).await;
        if state.borrow().age != born {
            std::future::pending::<()>().await;
        }
        match read {
            Ok(length @ 1..) if to.write_all(&buffer[..length]).await.is_ok() => {}
            _ => return,
        }
    }
}
