//! A database for each test, copied from one migrated template in a throw-away cluster that all test processes share.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock, mpsc};
use std::time::Duration;

use embedded_postgres::{Cluster, Settings};
use sha2::{Digest, Sha256};
use spirit_beads::db::{self, Pools, Route};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use stripe_sandbox::Sandbox;
use tokio::sync::OnceCell;
use uuid::Uuid;

pub struct Database {
    name: String,
    folder: PathBuf,
    data_folder: PathBuf,
}

impl Database {
    pub async fn create() -> Database {
        static TEMPLATE: OnceCell<String> = OnceCell::const_new();
        Database::copied_from(TEMPLATE.get_or_init(make_template).await).await
    }

    /// One without any migration.
    pub async fn empty() -> Database {
        Database::copied_from("template1").await
    }

    /// A copy of this one. Nobody may be connected to it.
    pub async fn copy(&self) -> Database {
        Database::copied_from(&self.name).await
    }

    async fn copied_from(template: &str) -> Database {
        let now = chrono::Utc::now().timestamp();
        let name = format!("test_{now}_{}", Uuid::new_v4().simple());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("media")
            .join(&name);
        std::fs::create_dir_all(&folder).expect("a folder for images");
        let data_folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("data")
            .join(&name);
        static TABLESPACE: OnceCell<&'static str> = OnceCell::const_new();
        let tablespace = TABLESPACE.get_or_init(tablespace).await;
        // The names are ours, of letters and digits.
        let sql = format!(
            "create database {name} template {template} strategy file_copy tablespace {tablespace}"
        );
        Admin::run(Task::Create(sql)).expect("a database");
        Database {
            name,
            folder,
            data_folder,
        }
    }

    /// The pools of a shop on it, as large as a shop's are by default.
    pub fn pools(&self) -> Pools {
        pools(&self.name)
    }

    /// A pool for the test itself.
    pub fn connect(&self) -> PgPool {
        self.pools().beside(16)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Folder of the images.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Folder of the emails, once there are any.
    pub fn data_folder(&self) -> &Path {
        &self.data_folder
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A database that stays behind harms nobody; a panic here would hide the test's own.
        let _ = Admin::run(Task::Drop(self.name.clone()));
        let _ = std::fs::remove_dir_all(&self.folder);
        let _ = std::fs::remove_dir_all(&self.data_folder);
    }
}

/// The one who makes and drops databases: a thread with one connection, since a connection costs as much as a database.
struct Admin;

enum Task {
    /// The statement that makes a database.
    Create(String),
    /// The name of one.
    Drop(String),
}

type Reply = mpsc::SyncSender<Result<(), sqlx::Error>>;

impl Admin {
    /// Waits for it, whatever runtime the caller is in.
    fn run(task: Task) -> Result<(), sqlx::Error> {
        static TASKS: LazyLock<mpsc::Sender<(Task, Reply)>> = LazyLock::new(|| {
            let (tasks, waiting) = mpsc::channel();
            std::thread::spawn(move || Admin::work(&waiting));
            tasks
        });
        let (reply, done) = mpsc::sync_channel(1);
        TASKS.send((task, reply)).expect("a thread at work");
        done.recv().expect("a thread at work")
    }

    fn work(waiting: &mpsc::Receiver<(Task, Reply)>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let mut conn = runtime.block_on(admin());
        for (task, reply) in waiting {
            let done = runtime.block_on(async {
                let sql = match task {
                    Task::Create(sql) => sql,
                    Task::Drop(name) => {
                        empty(&mut conn, &name).await;
                        format!("drop database if exists {name} with (force)")
                    }
                };
                sqlx::query(AssertSqlSafe(sql)).execute(&mut conn).await
            });
            // A caller that is gone wants no answer.
            let _ = reply.send(done.map(drop));
        }
    }
}

/// Ends a database's connections. Dropping it by force does that, too, but looks only every 100 ms whether they are gone.
async fn empty(admin: &mut PgConnection, name: &str) {
    for _ in 0..100 {
        let left: Result<Vec<bool>, _> = sqlx::query_scalar(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1",
        )
        .bind(name)
        .fetch_all(&mut *admin)
        .await;
        if left.is_ok_and(|left| left.is_empty()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The options to reach a database of the tests' cluster.
pub fn options(name: &str) -> PgConnectOptions {
    cluster().connect_options(name)
}

/// The pools of a shop on a database, as large as a shop's are by default.
pub fn pools(name: &str) -> Pools {
    let direct = options(name).application_name("spirit-beads");
    Pools::new(&direct, Route::Straight, direct.clone(), 20)
}

async fn admin() -> PgConnection {
    PgConnection::connect_with(&options("postgres"))
        .await
        .expect("the cluster")
}

/// One cluster for all test processes. It outlives the last of them by a few seconds and is stopped by its watchdog.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let starting = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(Cluster::start(Settings {
                durable: false,
                linger: Duration::from_secs(5),
                max_connections: 300,
                ..db::embedded_settings(Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres"))
            }))
        });
        starting
            .join()
            .expect("the starting thread")
            .expect("PostgreSQL for the tests")
    })
}

/// The tablespace for the tests' databases: in memory where the machine has room for it, for each test makes and removes
/// six hundred files. On ext4 without a journal, that was half of the whole run's CPU time (`recently_deleted`).
async fn tablespace() -> &'static str {
    const MEMORY: &str = "/dev/shm";
    const ROOM: u64 = 512 << 20;
    let room = rustix::fs::statvfs(MEMORY).map_or(0, |fs| fs.f_bavail * fs.f_frsize);
    if room < ROOM {
        return "pg_default";
    }
    let cluster = cluster().dir().to_str().expect("a path in UTF-8");
    let digest = hex::encode(&Sha256::digest(cluster)[..8]);
    let folder = format!("{MEMORY}/spirit-beads-tests-{digest}");
    let mut admin = admin().await;
    let lock = "select pg_advisory_lock(43)";
    sqlx::query(lock).execute(&mut admin).await.expect("a lock");
    remove_leftovers(&mut admin).await;
    let known: bool =
        sqlx::query_scalar("select exists (select from pg_tablespace where spcname = 'memory')")
            .fetch_one(&mut admin)
            .await
            .expect("the list of tablespaces");
    // The folder goes when the machine starts anew, the cluster with `cargo clean`.
    if !known || !Path::new(&folder).exists() {
        let _ = std::fs::remove_dir_all(&folder);
        sqlx::query("drop tablespace if exists memory")
            .execute(&mut admin)
            .await
            .expect("no tablespace");
        std::fs::create_dir(&folder).expect("a folder in memory");
        let owner = std::fs::metadata(Path::new(cluster).join("data")).expect("the cluster's data");
        chown(&folder, Some(owner.uid()), Some(owner.gid())).expect("PostgreSQL's own folder");
        let sql = format!("create tablespace memory location '{folder}'");
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut admin)
            .await
            .expect("a tablespace");
    }
    "memory"
}

/// Drops databases of runs that were killed: made over an hour ago, and nobody is connected.
async fn remove_leftovers(admin: &mut PgConnection) {
    let names: Vec<String> = sqlx::query_scalar(
        "select datname from pg_database d where datname ~ '^test_[0-9]+_' \
         and split_part(datname, '_', 2)::bigint < extract(epoch from now()) - 3600 \
         and not exists (select from pg_stat_activity a where a.datname = d.datname)",
    )
    .fetch_all(&mut *admin)
    .await
    .expect("the list of databases");
    for name in names {
        let sql = format!("drop database if exists {name}");
        // Another run may have connected, or have dropped it.
        let _ = sqlx::query(AssertSqlSafe(sql)).execute(&mut *admin).await;
    }
}

/// Makes the template of this set of migrations, once for all processes.
async fn make_template() -> String {
    let mut digest = Sha256::new();
    for migration in db::MIGRATOR.iter() {
        // A migration that was given another number is another one.
        digest.update(migration.version.to_be_bytes());
        digest.update(&migration.checksum);
    }
    digest.update(include_bytes!("../../../Cargo.lock"));
    digest.update(stripe_sandbox::SCHEMA);
    let checksum = hex::encode(&digest.finalize()[..8]);
    let name = format!("template_{checksum}");
    let mut admin = admin().await;
    sqlx::query("select pg_advisory_lock(42)")
        .execute(&mut admin)
        .await
        .expect("the lock");
    let there: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
            .bind(&name)
            .fetch_one(&mut admin)
            .await
            .expect("the list of databases");
    if !there {
        // Made under another name first: a run that is killed here leaves no half template.
        let draft = format!("draft_{}", Uuid::new_v4().simple());
        sqlx::query(AssertSqlSafe(format!("create database {draft}")))
            .execute(&mut admin)
            .await
            .expect("a database");
        let pool = db::connect(options(&draft), 4).await.expect("a pool");
        db::migrate(&pool).await.expect("the migrations");
        let settings = stripe_sandbox::Settings {
            business_name: String::new(),
            secret_key: String::new(),
            webhook_secret: String::new(),
            webhook_url: String::new(),
            pages_url: String::new(),
        };
        Sandbox::open(pool.clone(), settings)
            .await
            .expect("the sandbox's schema");
        pool.close().await;
        sqlx::query(AssertSqlSafe(format!(
            "alter database {draft} rename to {name}"
        )))
        .execute(&mut admin)
        .await
        .expect("the template");
    }
    sqlx::query("select pg_advisory_unlock(42)")
        .execute(&mut admin)
        .await
        .expect("the lock");
    name
}
