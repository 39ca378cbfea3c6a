//! The PostgreSQL of the storm: durable, crashed at will, and reached through lines that can be cut.

use std::path::{Path, PathBuf};
use std::time::Duration;

use embedded_postgres::{Cluster, Settings};
use spirit_beads::db;
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::net::{TcpListener, UnixStream};
use tokio::process::Command;
use tokio::sync::{Mutex, broadcast};
use tokio::task::JoinHandle;

/// A server with its data on disk and `fsync` on, so that what it committed outlives its crash.
pub struct Database {
    settings: Settings,
    cluster: Mutex<Option<Cluster>>,
    data: PathBuf,
    options: PgConnectOptions,
}

impl Database {
    pub async fn start(dir: &Path) -> Database {
        let settings = Settings {
            max_connections: 200,
            ..db::embedded_settings(dir.to_owned())
        };
        let cluster = Cluster::start(settings.clone()).await.expect("PostgreSQL");
        let options = cluster.connect_options("postgres");
        let pool = sqlx::PgPool::connect_with(options.clone())
            .await
            .expect("a connection");
        let data: String = sqlx::query_scalar("show data_directory")
            .fetch_one(&pool)
            .await
            .expect("its folder");
        pool.close().await;
        Database {
            settings,
            cluster: Mutex::new(Some(cluster)),
            data: data.into(),
            options,
        }
    }

    /// Past the lines that are cut, and past read-only spells.
    pub fn options(&self) -> PgConnectOptions {
        let always = [("default_transaction_read_only", "off")];
        self.options.clone().options(always)
    }

    /// Lets the shop's sessions write, or forbids it. Present ones end, so that all hear of it.
    pub async fn take_changes(&self, takes: bool) {
        let change = match takes {
            false => "alter database postgres set default_transaction_read_only = on",
            true => "alter database postgres reset default_transaction_read_only",
        };
        let mut conn = PgConnection::connect_with(&self.options())
            .await
            .expect("a server that runs");
        sqlx::query(change)
            .execute(&mut conn)
            .await
            .expect("a change");
        if !takes {
            sqlx::query(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'spirit-beads'",
            )
            .execute(&mut conn)
            .await
            .expect("an end of sessions");
        }
    }

    pub fn socket(&self) -> PathBuf {
        let folder = self.options.get_socket().expect("a socket");
        folder.join(".s.PGSQL.5432")
    }

    /// Stops as `pg_ctl stop -m immediate` does: the server drops everything and leaves its recovery to the next start.
    pub async fn crash(&self) {
        let file = std::fs::read_to_string(self.data.join("postmaster.pid"));
        let file = file.expect("a server that runs");
        let pid = file.lines().next().expect("its process").to_owned();
        let told = Command::new("kill").args(["-QUIT", &pid]).status().await;
        assert!(told.expect("kill").success());
        // Another start waits until nothing of the old server runs.
        while self.socket().exists() && UnixStream::connect(self.socket()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts it again, and waits until it has recovered.
    pub async fn restart(&self) {
        let mut cluster = self.cluster.lock().await;
        let again = Cluster::start(self.settings.clone()).await;
        *cluster = Some(again.expect("PostgreSQL after its crash"));
    }

    pub async fn stop(&self) {
        if let Some(cluster) = self.cluster.lock().await.take() {
            cluster.stop().await.expect("an end of PostgreSQL");
        }
        // Where its user could not enter ours, the data lies in a folder of the system's.
        let home = self.data.parent().expect("the cluster's folder");
        let _ = std::fs::remove_dir_all(home);
    }
}

/// An address to the database on TCP whose lines can be cut all at once, in the middle of a word.
pub struct Lines {
    pub port: u16,
    cut: broadcast::Sender<()>,
    task: JoinHandle<()>,
}

impl Lines {
    pub async fn open(socket: PathBuf) -> Lines {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound listener").port();
        let (cut, _) = broadcast::channel(1);
        let scissors = cut.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let (socket, mut cut) = (socket.clone(), scissors.subscribe());
                tokio::spawn(async move {
                    let Ok(mut server) = UnixStream::connect(socket).await else {
                        return;
                    };
                    let talk = tokio::io::copy_bidirectional(&mut caller, &mut server);
                    tokio::select! {
                        _ = talk => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Lines { port, cut, task }
    }

    pub fn cut(&self) {
        // Nobody listens: there was no line to cut.
        let _ = self.cut.send(());
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.task.abort();
    }
}
