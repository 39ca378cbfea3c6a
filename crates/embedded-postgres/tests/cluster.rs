//! Clusters as their users see them. Needs PostgreSQL's programs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use embedded_postgres::{Cluster, Error, Settings};
use sqlx::{Connection, PgConnection};

/// Time that a busy machine may need.
const PATIENCE: Duration = Duration::from_secs(60);

/// The name under which the tests' clusters lie in `/var/lib` where the server's user cannot enter
/// our folders.
const APP_NAME: &str = "embedded-postgres-test";

/// A folder for one cluster, removed with the test, wherever the cluster lies in the end.
struct Folder {
    dir: PathBuf,
    home: OnceLock<PathBuf>,
}

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("cluster-{}-{name}", std::process::id());
        Folder::at(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    fn at(dir: PathBuf) -> Folder {
        let home = OnceLock::new();
        Folder { dir, home }
    }

    fn settings(&self) -> Settings {
        Settings {
            app_name: APP_NAME.to_owned(),
            durable: false,
            ..Settings::new(&self.dir)
        }
    }

    async fn start(&self) -> Cluster {
        self.start_with(self.settings()).await
    }

    async fn start_with(&self, settings: Settings) -> Cluster {
        let cluster = Cluster::start(settings).await.expect("a cluster");
        self.home.get_or_init(|| cluster.dir().to_owned());
        cluster
    }

    /// The folder where the cluster lies.
    fn home(&self) -> &Path {
        self.home.get().expect("a cluster that was started")
    }

    /// The process of the server, as its own file says.
    fn server_pid(&self) -> Option<String> {
        let file = fs::read_to_string(self.home().join("data/postmaster.pid")).ok()?;
        file.lines().next().map(str::to_owned)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Of a failed test, any of these may be missing.
        let _ = fs::remove_dir_all(&self.dir);
        let system_dir = Path::new("/var/lib").join(APP_NAME);
        if let Some(home) = self.home.get().filter(|home| home.starts_with(&system_dir)) {
            let _ = fs::remove_dir_all(home);
            // The last test's, for it removes nothing but an empty folder.
            let _ = fs::remove_dir(system_dir);
        }
    }
}

async fn connect(cluster: &Cluster) -> PgConnection {
    let options = cluster.connect_options("postgres");
    PgConnection::connect_with(&options)
        .await
        .expect("a connection")
}

async fn number(cluster: &Cluster, sql: &'static str) -> i32 {
    let mut conn = connect(cluster).await;
    let number = sqlx::query_scalar(sql).fetch_one(&mut conn).await;
    conn.close().await.expect("an end of the connection");
    number.expect("a number")
}

async fn execute(cluster: &Cluster, sql: &'static str) {
    let mut conn = connect(cluster).await;
    sqlx::query(sql).execute(&mut conn).await.expect(sql);
    conn.close().await.expect("an end of the connection");
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_cluster_keeps_its_data_from_one_start_to_the_next() {
    let folder = Folder::new("keeps");
    let cluster = folder.start_with(durable(&folder)).await;
    execute(&cluster, "create table kept as select 42 as number").await;
    cluster.stop().await.expect("a stop");
    assert_eq!(folder.server_pid(), None, "its only user has left");

    let cluster = folder.start().await;
    assert_eq!(number(&cluster, "select number from kept").await, 42);
    cluster.stop().await.expect("a stop");
}

fn durable(folder: &Folder) -> Settings {
    Settings {
        durable: true,
        ..folder.settings()
    }
}

#[tokio::test]
async fn a_new_cluster_has_what_its_settings_say() {
    let folder = Folder::new("settings");
    let settings = Settings {
        superuser: "somebody".to_owned(),
        max_connections: 17,
        ..folder.settings()
    };
    let cluster = folder.start_with(settings).await;
    let mut conn = connect(&cluster).await;
    let found: String = sqlx::query_scalar(
        "select concat_ws(' ', current_user, rolsuper, current_setting('server_encoding'),
                current_setting('max_connections'), current_setting('fsync'))
         from pg_roles where rolname = current_user",
    )
    .fetch_one(&mut conn)
    .await
    .expect("a row");
    assert_eq!(found, "somebody t UTF8 17 off");
    let listens: String = sqlx::query_scalar("show listen_addresses")
        .fetch_one(&mut conn)
        .await
        .expect("a setting");
    assert_eq!(listens, "", "on the socket alone");
    conn.close().await.expect("an end of the connection");
    cluster.stop().await.expect("a stop");
}

#[tokio::test]
async fn users_share_one_server_and_the_last_one_stops_it() {
    let folder = Folder::new("shared");
    // At once: one of them makes the data folder, and the others wait for it.
    let (first, second, third) = tokio::join!(folder.start(), folder.start(), folder.start());
    let pid = folder.server_pid().expect("a server");
    first.stop().await.expect("a stop");
    second.stop().await.expect("a stop");
    assert_eq!(number(&third, "select 1").await, 1);
    assert_eq!(folder.server_pid(), Some(pid), "still the same server");
    third.stop().await.expect("a stop");
    assert_eq!(folder.server_pid(), None);
}

#[tokio::test]
async fn the_watchdog_stops_the_server_of_a_user_that_did_not() {
    let folder = Folder::new("watchdog");
    let cluster = folder.start().await;
    // The kernel releases the locks of a killed process in the same way.
    drop(cluster);
    assert!(folder.server_pid().is_some(), "the watchdog waits first");
    until("the server stops", || folder.server_pid().is_none()).await;
    let cluster = folder.start().await;
    assert_eq!(number(&cluster, "select 1").await, 1);
    cluster.stop().await.expect("a stop");
}

#[tokio::test]
async fn a_lingering_server_is_found_running_and_stops_in_the_end() {
    let folder = Folder::new("lingering");
    let settings = Settings {
        linger: Duration::from_secs(1),
        ..folder.settings()
    };
    let cluster = folder.start_with(settings.clone()).await;
    let pid = folder.server_pid().expect("a server");
    cluster.stop().await.expect("a stop");
    let cluster = folder.start_with(settings).await;
    assert_eq!(folder.server_pid(), Some(pid), "the server is the same");
    cluster.stop().await.expect("a stop");
    until("the server stops", || folder.server_pid().is_none()).await;
}

#[tokio::test]
async fn a_crashed_server_is_started_again_with_what_it_committed() {
    let folder = Folder::new("crashed");
    let cluster = folder.start_with(durable(&folder)).await;
    execute(&cluster, "create table kept as select 7 as number").await;
    let pid = folder.server_pid().expect("a server");
    let killed = Command::new("kill").args(["-QUIT", &pid]).status();
    assert!(killed.expect("kill").success());
    let socket = folder.home().join("socket/.s.PGSQL.5432");
    until("the server dies", || UnixStream::connect(&socket).is_err()).await;

    let again = folder.start_with(durable(&folder)).await;
    assert_eq!(number(&again, "select number from kept").await, 7);
    cluster.stop().await.expect("a stop");
    again.stop().await.expect("a stop");
}

#[tokio::test]
async fn what_a_killed_start_or_stop_leaves_behind_is_cleared_away() {
    let folder = Folder::new("interrupted");
    let cluster = folder.start().await;
    cluster.stop().await.expect("a stop");
    let home = folder.home();
    // Half-made data.
    fs::remove_dir_all(home.join("data")).expect("no data");
    fs::create_dir(home.join("data.new")).expect("a folder");
    fs::write(home.join("data.new/PG_VERSION"), "15\n").expect("a file");
    // The mark of a stop that has begun.
    fs::write(home.join("start.lock"), "stopping").expect("a mark");

    let cluster = folder.start().await;
    assert_eq!(number(&cluster, "select 1").await, 1);
    assert!(!home.join("data.new").exists());
    assert_eq!(fs::read(home.join("start.lock")).expect("a file"), b"");
    cluster.stop().await.expect("a stop");
}

#[tokio::test]
async fn a_folder_may_have_any_name() {
    for name in ["a, \"b\" ü".to_owned(), "long-".repeat(30)] {
        let folder = Folder::new(&name);
        let cluster = folder.start().await;
        assert_eq!(number(&cluster, "select 1").await, 1);
        let options = cluster.connect_options("postgres");
        let socket = options.get_socket().expect("a socket").to_owned();
        cluster.stop().await.expect("a stop");
        if !socket.starts_with(folder.home()) {
            assert!(socket.starts_with("/tmp"), "{}", socket.display());
            fs::remove_dir_all(socket).expect("the socket's folder");
        }
    }
}

#[tokio::test]
async fn a_folder_that_the_servers_user_cannot_enter_is_left_for_another() {
    let private = tempfile::tempdir().expect("a folder");
    let owner_alone = fs::Permissions::from_mode(0o700);
    fs::set_permissions(private.path(), owner_alone).expect("permissions");
    let folder = Folder::at(private.path().join("postgres"));
    let cluster = folder.start().await;
    assert_eq!(number(&cluster, "select 1").await, 1);
    cluster.stop().await.expect("a stop");

    let home = folder.home();
    let owner = |path: &Path| path.metadata().expect("a folder").uid();
    if owner(private.path()) == 0 {
        assert!(home.starts_with(Path::new("/var/lib").join(APP_NAME)));
        assert_ne!(owner(&home.join("data")), 0, "PostgreSQL refuses root");
    } else {
        assert_eq!(home, folder.dir.canonicalize().expect("a folder"));
    }
}

#[tokio::test]
async fn a_start_that_cannot_work_says_why() {
    let folder = Folder::new("refused");
    let refusal = async || {
        Cluster::start(folder.settings())
            .await
            .expect_err("no start")
    };
    for app_name in ["", "../elsewhere", "a b"] {
        let settings = Settings {
            app_name: app_name.to_owned(),
            ..folder.settings()
        };
        let refused = Cluster::start(settings).await;
        assert!(
            matches!(&refused, Err(Error::InvalidAppName(name)) if name == app_name),
            "{refused:?}"
        );
    }

    let cluster = folder.start().await;
    cluster.stop().await.expect("a stop");
    let data = folder.home().join("data");
    fs::write(data.join("postgresql.conf"), "no_such_setting = 1\n").expect("a file");
    let refused = refusal().await;
    assert!(
        matches!(&refused, Error::DidNotStart { tail, .. } if tail.contains("no_such_setting")),
        "{refused:?}"
    );
    fs::write(data.join("PG_VERSION"), "bread\n").expect("a file");
    let refused = refusal().await;
    assert!(
        matches!(&refused, Error::InvalidVersion { text, .. } if text == "bread\n"),
        "{refused:?}"
    );
    fs::remove_file(data.join("PG_VERSION")).expect("a file");
    let refused = refusal().await.to_string();
    assert!(refused.starts_with("no PostgreSQL data: "), "{refused}");
}
