//! A fail-over to a standby: read-only until the promotion, then as before.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use embedded_postgres::{Cluster, Settings};
use serde_json::json;
use spirit_beads::db;
use sqlx::{Connection, PgConnection};
use tokio::process::Child;
use uuid::Uuid;

use super::{as_owner_of, assert_unavailable, event};
use crate::process::until;
use crate::support::{Client, Database, Lines, Shop, session_of};

/// A PostgreSQL with a standby that follows it.
struct Pair {
    primary: Cluster,
    primary_dir: PathBuf,
    standby_dir: PathBuf,
    standby: Child,
}

impl Pair {
    async fn start() -> Pair {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("pair-{}", Uuid::new_v4().simple()));
        let primary = Cluster::start(Settings {
            max_connections: 60,
            ..db::embedded_settings(dir)
        })
        .await
        .expect("a primary");
        let options = primary.connect_options("postgres");
        let mut conn = PgConnection::connect_with(&options)
            .await
            .expect("the primary");
        let (data, bin): (String, String) = sqlx::query_as(
            "select current_setting('data_directory'), (select setting from pg_config where name = 'BINDIR')",
        )
        .fetch_one(&mut conn)
        .await
        .expect("its folders");
        let primary_dir = PathBuf::from(data)
            .parent()
            .expect("the cluster's folder")
            .to_owned();
        let standby_dir = primary_dir.join("standby");
        let bin = Path::new(&bin);
        let socket = options.get_socket().expect("a socket").clone();
        let mut backup = as_owner_of(&primary_dir.join("data"), &bin.join("pg_basebackup"));
        // The owner may not write beside its data.
        std::fs::create_dir(&standby_dir).expect("a folder");
        let owner = std::fs::metadata(primary_dir.join("data")).expect("the data");
        std::os::unix::fs::chown(&standby_dir, Some(owner.uid()), Some(owner.gid()))
            .expect("its owner");
        let made = backup
            .args([
                "--checkpoint=fast",
                "--wal-method=stream",
                "--write-recovery-conf",
                "--no-sync",
                "--username=spirit_beads",
            ])
            .arg("--host")
            .arg(&socket)
            .arg("--pgdata")
            .arg(standby_dir.join("data"))
            .output()
            .await
            .expect("pg_basebackup");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let log = std::fs::File::create(primary_dir.join("standby.log")).expect("a log");
        let standby = as_owner_of(&primary_dir.join("data"), &bin.join("postgres"))
            .arg("-D")
            .arg(standby_dir.join("data"))
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "port=5432",
                "-c",
                "max_connections=60",
            ])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", standby_dir.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("a standby");
        let pair = Pair {
            primary,
            primary_dir,
            standby_dir,
            standby,
        };
        until("the standby follows", async || {
            pair.standby_socket().exists()
        })
        .await;
        pair
    }

    fn standby_socket(&self) -> PathBuf {
        self.standby_dir.join(".s.PGSQL.5432")
    }

    fn primary_socket(&self) -> PathBuf {
        let options = self.primary.connect_options("postgres");
        options
            .get_socket()
            .expect("a socket")
            .join(".s.PGSQL.5432")
    }

    async fn ask_standby(&self, sql: &'static str) -> Option<bool> {
        let options = self
            .primary
            .connect_options("postgres")
            .socket(&self.standby_dir);
        let mut conn = PgConnection::connect_with(&options).await.ok()?;
        sqlx::query_scalar(sql).fetch_one(&mut conn).await.ok()
    }

    async fn stop(mut self) {
        let _ = self.standby.kill().await;
        self.primary.stop().await.expect("an end of the primary");
        let _ = std::fs::remove_dir_all(&self.primary_dir);
    }
}

/// Puts a migrated shop onto a server of its own.
async fn shop_on(lines: &Lines) -> Shop {
    let options = lines.options("postgres");
    let pools = spirit_beads::db::open(options, None, 20)
        .await
        .expect("a database");
    Shop::open_on(Database::create().await, pools, &[]).await
}

#[tokio::test]
async fn a_fail_over_to_a_standby_loses_nothing_and_is_over_with_the_promotion() {
    let pair = Pair::start().await;
    let lines = Lines::open_to(pair.primary_socket()).await;
    let shop = shop_on(&lines).await;
    // Through the API alone: the test's own pool is on another server.
    let mut conn = shop.app.db.acquire().await.expect("a connection");
    let scopes = [
        spirit_beads::auth::Scope::Catalog,
        spirit_beads::auth::Scope::Stock,
    ];
    let new = spirit_beads::auth::TokenRequest {
        name: "test",
        scopes: &scopes,
        expires_at: None,
    };
    let actor = spirit_beads::audit::Actor::console();
    let (_, token) = spirit_beads::auth::create_token(&mut conn, &actor, &new)
        .await
        .expect("a token");
    drop(conn);
    let admin = shop.client.with_token(&token);
    let body = json!({"id": "sunrise", "name": "Sunrise", "lighter_type": 1, "price": 4700, "inventory_count": 9});
    assert_eq!(admin.post("/api/products/", &body).await.status, 201);
    session_of(&shop.shopper().check_out(&[("sunrise", 1)]).await);
    let left = async |client: &Client| {
        client.get("/api/products/sunrise/").await.json["inventory_count"].clone()
    };
    assert_eq!(left(&shop.client).await, 8);
    until("the standby has it", async || {
        pair.ask_standby("select exists (select from orders)").await == Some(true)
    })
    .await;

    // The address leads to the standby before that is promoted.
    lines.lead_to(pair.standby_socket());
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(shop.shopper().check_out(&[("sunrise", 1)]).await);
    }
    for answer in &answers {
        assert_unavailable(answer);
    }
    let ready = shop.client.get("/readyz").await;
    assert_eq!(
        (ready.status, &ready.json["writable"]),
        (503, &json!(false)),
        "{}",
        ready.text
    );
    assert_eq!(left(&shop.client).await, 8, "reads go on");

    assert_eq!(pair.ask_standby("select pg_promote()").await, Some(true));
    session_of(&shop.shopper().check_out(&[("sunrise", 1)]).await);
    assert_eq!(left(&shop.client).await, 7);
    for n in 0..6 {
        let event = event(&format!("evt_{n}"));
        assert_eq!(shop.webhook(&event).await.status, 200);
        session_of(&shop.shopper().check_out(&[("sunrise", 1)]).await);
    }
    let ready = shop.client.get("/readyz").await;
    assert_eq!(ready.json["writable"], true, "{}", ready.text);
    shop.app.pools.close().await;
    drop(lines);
    pair.stop().await;
}
