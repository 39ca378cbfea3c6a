//! The database misbehaves: read-only, demoted, gone for a moment, forgotten by a firewall. What lasts is told with 503,
//! and the first request after it works.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use embedded_postgres::{Cluster, Settings};
use serde_json::{Value, json};
use spirit_beads::db;
use spirit_beads::worker;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::process::{Home, until};
use crate::support::{Answer, Client, Database, Lines, Shop, at_once, card, database, session_of};

/// The longest that any request may take while the database is there.
const SOON: Duration = Duration::from_secs(2);

/// A connection past the shop's, to the same server.
async fn admin() -> PgConnection {
    let options = database::options("postgres").application_name("admin");
    PgConnection::connect_with(&options)
        .await
        .expect("the server")
}

/// Runs a statement on the shop's database as a whole; the name is ours.
async fn alter(shop: &Shop, change: &str) {
    let sql = format!("alter database {} {change}", shop.database());
    sqlx::query(AssertSqlSafe(sql))
        .execute(&mut admin().await)
        .await
        .expect("a change");
}

/// Ends every session on the shop's database.
async fn end_sessions(shop: &Shop) {
    sqlx::query(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity
         where datname = $1 and pid <> pg_backend_pid()",
    )
    .bind(shop.database())
    .execute(&mut admin().await)
    .await
    .expect("an end of sessions");
}

/// Waits until all sessions on the shop's database have lain idle for so long that they are not trusted unasked.
async fn lie_idle(shop: &Shop) {
    let mut admin = admin().await;
    until("the sessions lie idle", async || {
        sqlx::query_scalar(
            "select coalesce(bool_and(state = 'idle' and state_change < now() - interval '400 milliseconds'), true)
             from pg_stat_activity
             where datname = $1 and backend_type = 'client backend'",
        )
        .bind(shop.database())
        .fetch_one(&mut admin)
        .await
        .expect("the sessions")
    })
    .await;
}

fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(answer.json["code"], "database_unavailable");
    assert!(!answer.header("retry-after").is_empty());
}

fn event(id: &str) -> Value {
    json!({"id": id, "type": "price.created", "data": {"object": {}}})
}

#[tokio::test]
async fn a_read_only_spell_is_503_and_the_first_checkout_after_it_works() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 50).await;
    let shopper = shop.shopper();
    session_of(&shopper.check_out(&[(&piece, 1)]).await);
    for spell in 1..=3 {
        alter(&shop, "set default_transaction_read_only = on").await;
        end_sessions(&shop).await;
        for _ in 0..5 {
            assert_unavailable(&shop.shopper().check_out(&[(&piece, 1)]).await);
            assert_unavailable(&shop.webhook(&event("evt_1")).await);
            // Shoppers may look on.
            assert_eq!(shop.client.get("/api/products/").await.status, 200);
        }
        let ready = shop.client.get("/readyz").await;
        assert_eq!(
            (ready.status, &ready.json["writable"]),
            (503, &json!(false))
        );
        assert_eq!(ready.json["database"], true);

        alter(&shop, "reset default_transaction_read_only").await;
        let answer = shop.shopper().check_out(&[(&piece, 1)]).await;
        assert_eq!(answer.status, 200, "spell {spell}: {}", answer.text);
        // Every pool, however many sessions it made in the spell.
        let reads = at_once((0..30).map(|_| {
            let client = shop.client.clone();
            async move { client.get("/api/products/").await.status }
        }));
        assert_eq!(reads.await, [200; 30]);
        for n in 0..12 {
            let answer = shop.webhook(&event(&format!("evt_{spell}_{n}"))).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        }
        let ready = shop.client.get("/readyz").await;
        assert_eq!(ready.json["writable"], true, "{}", ready.text);
    }
    shop.audit().await;
}

#[tokio::test]
async fn a_spell_that_nobody_wrote_in_leaves_no_session_that_cannot_write() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 50).await;
    alter(&shop, "set default_transaction_read_only = on").await;
    end_sessions(&shop).await;
    let reads = at_once((0..40).map(|_| {
        let client = shop.client.clone();
        async move { client.get("/api/products/").await.status }
    }));
    assert_eq!(reads.await, [200; 40]);
    alter(&shop, "reset default_transaction_read_only").await;
    for _ in 0..20 {
        session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    }
}

#[tokio::test]
async fn after_an_outage_of_a_moment_one_request_fails_at_most() {
    let shop = Shop::open().await;
    for is_idle in [false, true] {
        at_once((0..40).map(|n| {
            let client = shop.client.clone();
            let path = if n % 2 == 0 {
                "/api/products/"
            } else {
                "/readyz"
            };
            async move { client.get(path).await.status }
        }))
        .await;
        for n in 0..4 {
            shop.webhook(&event(&format!("evt_{is_idle}_{n}"))).await;
        }
        if is_idle {
            lie_idle(&shop).await;
        }
        end_sessions(&shop).await;
        let mut failed = 0;
        for n in 0..20 {
            let answer = shop.client.get("/api/products/").await;
            failed += u32::from(answer.status != 200);
            let answer = shop
                .webhook(&event(&format!("evt_after_{is_idle}_{n}")))
                .await;
            failed += u32::from(answer.status != 200);
        }
        assert!(
            failed <= u32::from(!is_idle),
            "{failed} failed; idle: {is_idle}"
        );
    }
}

/// Jobs that are due or being done.
async fn due_jobs(shop: &Shop) -> i64 {
    sqlx::query_scalar("select count(*) from graphile_worker._private_jobs where run_at <= now()")
        .fetch_one(&shop.db)
        .await
        .expect("the queue")
}

#[tokio::test]
async fn lines_that_a_firewall_has_forgotten_are_given_up_together() {
    let lines = Lines::open().await;
    let database = Database::create().await;
    let pools = lines.pools(database.name());
    let shop = Shop::open_on(database, pools, &[]).await;
    let piece = shop.stocks("Sunrise", 50).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let working = tokio::spawn(worker::run(shop.app.clone(), async {
        let _ = stopped.await;
    }));
    let is_ready = async || shop.client.get("/readyz").await.status == 200;
    until("the worker is alive", is_ready).await;

    for round in 0..2 {
        let reads = at_once((0..40).map(|_| {
            let client = shop.client.clone();
            async move { client.get("/api/products/").await.status }
        }));
        assert_eq!(reads.await, [200; 40]);
        // What a firewall forgets lies idle: no request is answered and no job is done. (The worker's sessions are never quite
        // idle, as it looks for jobs.)
        let requests = &shop.app.pools.requests;
        until("requests and jobs are over", async || {
            requests.num_idle() == requests.size() as usize && due_jobs(&shop).await == 0
        })
        .await;
        let began = Instant::now();
        until("a while passes", async || {
            began.elapsed() > Duration::from_millis(400)
        })
        .await;
        lines.forget();
        let forgotten: chrono::DateTime<chrono::Utc> =
            sqlx::query_scalar("select clock_timestamp()")
                .fetch_one(&shop.db)
                .await
                .expect("the time");

        for path in [
            "/api/products/",
            "/api/products/sunrise/",
            "/api/categories/",
            "/admin/sign-in/",
        ]
        .repeat(10)
        {
            let began = Instant::now();
            let answer = shop.client.get(path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            assert!(began.elapsed() < SOON, "{path} took {:?}", began.elapsed());
        }
        let began = Instant::now();
        let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        assert!(shop.deliver().await > 0, "round {round}");
        assert_eq!(shop.status_of(&session).await, "paid");
        assert!(began.elapsed() < 3 * SOON, "{:?}", began.elapsed());

        // The worker's own lines come back, too: it says that it lives, and does what is to be done.
        until("the worker is heard of again", async || {
            sqlx::query_scalar(
                "select exists (select from worker_heartbeats where last_seen_at > $1)",
            )
            .bind(forgotten)
            .fetch_one(&shop.db)
            .await
            .expect("the heartbeats")
        })
        .await;
        until("its jobs are done", async || due_jobs(&shop).await == 0).await;
        until("all is well", is_ready).await;
    }
    drop(stop);
    working.await.expect("an end of the worker");
}

/// A PostgreSQL with a standby that follows it.
struct Pair {
    primary: Cluster,
    primary_dir: PathBuf,
    standby_dir: PathBuf,
    standby: Child,
}

/// A command that runs as the owner of a folder, as PostgreSQL does not run as root.
pub fn as_owner_of(folder: &Path, program: &Path) -> Command {
    let uid = std::fs::metadata(folder).expect("a folder").uid();
    let mut command = Command::new(program);
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if is_root {
        command
            .uid(uid)
            .gid(std::fs::metadata(folder).expect("a folder").gid());
    }
    command.current_dir("/");
    command
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
    let new = spirit_beads::auth::NewToken {
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

/// As in `pg_restore --clean`, and where somebody took rights away by mistake: it passes, and nobody is told of a bug.
#[tokio::test]
async fn tables_that_are_gone_for_a_moment_are_an_outage() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 9).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let event = shop.event("checkout.session.completed").await;
    let (gone, back) = (
        "alter schema public rename to away",
        "alter schema away rename to public",
    );
    sqlx::query(gone).execute(&shop.db).await.expect("gone");
    for path in [
        "/api/products/",
        "/api/products/sunrise/",
        "/api/categories/",
    ] {
        let answer = shop.client.get(path).await;
        assert_eq!(
            (answer.status, &answer.json["code"]),
            (503, &json!("database_unavailable")),
            "{path}: {}",
            answer.text
        );
    }
    let checkout = shop.shopper().check_out(&[(&piece, 1)]).await;
    assert_eq!(checkout.status, 503, "{}", checkout.text);
    let webhook = shop.webhook(&event).await;
    assert_eq!(webhook.status, 503, "{}", webhook.text);
    sqlx::query(back).execute(&shop.db).await.expect("back");
    assert_eq!(shop.client.get("/api/products/").await.status, 200);
    assert_eq!(shop.webhook(&event).await.status, 200);
    assert_eq!(shop.status_of(&session).await, "paid");
    shop.deliver().await;
    shop.run_jobs().await;
    shop.audit().await;
}

#[tokio::test]
async fn the_sandbox_gives_up_forgotten_lines_as_the_shop_does() {
    let lines = Lines::open().await;
    let database = Database::empty().await;
    let options = lines.options(database.name());
    let url = format!(
        "postgres://spirit_beads@127.0.0.1:{}/{}?sslmode=disable",
        options.get_port(),
        database.name()
    );
    let settings = [("DATABASE_URL", url.as_str())];
    let home = Home::new();
    let program = home.start_with(&settings, "Sandbox ").await;
    let client = crate::support::Client::to(&program.address).with_cookies();
    let arguments = [
        "token", "create", "--name", "outage", "--scope", "catalog", "--scope", "stock",
    ];
    let (code, token, told) = home.run(&arguments, &settings).await;
    assert_eq!(code, 0, "{told}");
    let body = json!({"id": "sunrise", "name": "Sunrise", "lighter_type": 1, "price": 4700, "inventory_count": 2});
    let made = client
        .with_token(token.trim())
        .post("/api/products/", &body)
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let answer = client.check_out(&[("sunrise", 1)]).await;
    let page = answer.json["checkout_url"].as_str().expect("an address");
    let page = page
        .strip_prefix(&program.address)
        .expect("a page of ours")
        .to_owned();
    // As many of its connections as it may have are open, and lie idle.
    let looks = at_once((0..8).map(|_| {
        let (client, page) = (client.clone(), page.clone());
        async move { client.get(&page).await.status }
    }));
    assert_eq!(looks.await, [200; 8]);
    for _ in 0..2 {
        let began = Instant::now();
        until("a while passes", async || {
            began.elapsed() > Duration::from_millis(400)
        })
        .await;
        lines.forget();
        let began = Instant::now();
        let answer = client.get(&page).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
    }
    program.terminate().await;
    assert_eq!(program.end().await, Some(0));
}
