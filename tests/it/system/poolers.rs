//! A shop behind a pooler: in transaction mode it sells, works and is administered as without one; what loses statements
//! is refused at the start.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::process::{Home, until};
use crate::support::{
    Database, Mail, Pooler, STRIPE_KEY, Shop, WEBHOOK_SECRET, at_once, card, database, session_of,
};
use crate::system::database_checks::address;
use crate::system::database_outages::as_owner_of;

/// Sells, pays, works and looks after a shop, much of it at once.
async fn trade(shop: &Shop) {
    let piece = shop.stocks("Sunrise", 40).await;
    shop.run_jobs().await;
    let address = shop.address.clone();
    let mut sold = Vec::new();
    for round in 0..6 {
        sold.extend(
            at_once((0..5).map(|n| {
                let client = crate::support::Client::to(&address).with_cookies();
                let piece = piece.clone();
                async move {
                    let path = format!("/api/products/batch/?ids={piece},other{round}{n}");
                    let ids = client.get(&path).await;
                    assert_eq!(ids.json["count"], 1, "{}", ids.text);
                    session_of(&client.check_out(&[(&piece, 1)]).await)
                }
            }))
            .await,
        );
    }
    for _ in 0..4 {
        let list = shop.client.get("/api/products/?search=sunrse").await;
        assert_eq!(list.json["count"], 1, "{}", list.text);
    }
    for session in &sold[..20] {
        shop.stripe.pay(session, card()).await.expect("a payment");
    }
    assert!(shop.deliver().await >= 20);
    for session in &sold[..20] {
        assert_eq!(shop.status_of(session).await, "paid");
    }
    assert_eq!(shop.stock(&piece).await, (20, 10));
    shop.run_jobs().await;
    shop.sweep_all().await;
    shop.reconcile().await;
    shop.run_jobs().await;
    assert_eq!(shop.emails_of("order_confirmation").await, 20);
    let ready = shop.client.get("/readyz").await;
    assert_eq!(
        (&ready.json["database"], &ready.json["writable"]),
        (&json!(true), &json!(true))
    );
    shop.audit().await;
}

#[tokio::test]
async fn a_shop_sells_through_a_pooler_that_changes_the_session_with_every_transaction() {
    let pooler = Pooler::open(true).await;
    let database = Database::create().await;
    let pools = pooler.pools(database.name());
    let shop = Shop::open_on(database, pools, &[("LIMIT_HELD_PIECES", "1000")]).await;
    trade(&shop).await;
    // Everything that an admin looks at, twice: the second time each statement is one that was prepared before.
    let scopes: Vec<_> = spirit_beads::auth::Scope::ALL.into_iter().collect();
    let admin = shop.admin(&scopes).await;
    for _ in 0..2 {
        for path in [
            "/api/admin/products/?search=sun",
            "/api/admin/orders/?search=ann&status=paid",
            "/api/admin/emails/?search=order",
            "/api/admin/events/?search=checkout",
            "/api/admin/audit/?search=product",
            "/api/admin/jobs/",
            "/api/admin/custom-orders/",
            "/api/admin/dashboard/",
            "/api/admin/health/",
        ] {
            let answer = admin.get(path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        }
    }
    assert!(
        pooler.moves() > 300,
        "{} moves: nothing was tried",
        pooler.moves()
    );
}

#[tokio::test]
async fn the_program_sells_a_piece_through_a_pooler_in_transaction_mode() {
    let pooler = Pooler::open(true).await;
    let database = Database::empty().await;
    let direct = address(database.name(), "spirit_beads");
    let pooled = pooler.address(database.name());
    sells_a_piece(&[("DATABASE_URL", &pooled), ("DATABASE_DIRECT_URL", &direct)]).await;
    assert!(
        pooler.moves() > 20,
        "{} moves: nothing was tried",
        pooler.moves()
    );
}

/// The program from an empty database to the email of an order.
async fn sells_a_piece(settings: &[(&str, &str)]) {
    let home = Home::new();
    let program = home.start_with(settings, "Sandbox ").await;
    let client = crate::support::Client::to(&program.address).with_cookies();
    let making = [
        "token", "create", "--name", "laptop", "--scope", "catalog", "--scope", "stock",
    ];
    let (code, token, told) = home.run(&making, settings).await;
    assert_eq!(code, 0, "{told}");
    let body = json!({"id": "sunrise", "name": "Sunrise", "lighter_type": 1, "price": 4700, "inventory_count": 2});
    let made = client
        .with_token(token.trim())
        .post("/api/products/", &body)
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let answer = client.check_out(&[("sunrise", 1)]).await;
    let session = session_of(&answer);
    let url = answer.json["checkout_url"].as_str().expect("an address");
    let path = url.strip_prefix(&program.address).expect("a page of ours");
    let (action, mut fields) = crate::support::form_of(&client.get(path).await.text);
    fields.push(("how".to_owned(), "card".to_owned()));
    assert_eq!(client.submit(&action, &fields).await.status, 303);
    let order = format!("/api/orders/by-session/{session}/");
    until("the order is paid", async || {
        client.get(&order).await.json["status"] == "paid"
    })
    .await;
    let emails = home.dir.join("data/mail");
    until("the email is written", async || {
        !Mail::in_folder(&emails).is_empty()
    })
    .await;
    until("all is well", async || {
        client.get("/readyz").await.status == 200
    })
    .await;
    program.terminate().await;
    assert_eq!(program.end().await, Some(0));
}

#[tokio::test]
async fn a_pooler_that_loses_statements_or_hides_the_server_is_refused() {
    let database = Database::empty().await;
    let direct = address(database.name(), "spirit_beads");
    let old = Pooler::open(false).await;
    let new = Pooler::open(true).await;
    let (old_url, new_url) = (old.address(database.name()), new.address(database.name()));
    for (settings, words) in [
        (
            vec![("DATABASE_URL", &old_url), ("DATABASE_DIRECT_URL", &direct)],
            ["prepared statements", "max_prepared_statements"],
        ),
        (
            vec![("DATABASE_URL", &old_url)],
            ["prepared statements", "pool_mode = session"],
        ),
        (
            vec![("DATABASE_URL", &new_url)],
            ["transaction mode", "DATABASE_DIRECT_URL"],
        ),
        (
            vec![("DATABASE_URL", &direct), ("DATABASE_DIRECT_URL", &new_url)],
            ["transaction mode", "DATABASE_DIRECT_URL"],
        ),
    ] {
        let settings: Vec<(&str, &str)> = settings
            .iter()
            .map(|(name, url)| (*name, url.as_str()))
            .collect();
        let (code, _, told) = Home::new().run(&["migrate"], &settings).await;
        assert_eq!(code, 1, "{settings:?}: {told}");
        for word in words {
            assert!(
                told.contains(word),
                "{settings:?} does not say {word:?}: {told}"
            );
        }
    }
}

/// The package's PgBouncer before the tests' own server.
struct PgBouncer {
    child: Child,
    port: u16,
    folder: PathBuf,
}

/// Path of the program. Where it is not installed, the tests that need it say so; in CI they fail.
fn pgbouncer() -> Option<&'static Path> {
    let found = [
        "/usr/sbin/pgbouncer",
        "/usr/bin/pgbouncer",
        "/usr/local/bin/pgbouncer",
        "/opt/homebrew/bin/pgbouncer",
    ]
    .map(Path::new)
    .into_iter()
    .find(|path| path.exists());
    if found.is_none() {
        assert!(
            std::env::var_os("POOLER_TESTS").is_none_or(|value| value != "required"),
            "pgbouncer is not installed"
        );
        eprintln!("NOT TESTED: pgbouncer is not installed (apt-get install pgbouncer)");
    }
    found
}

/// Its version: major and minor.
async fn version(program: &Path) -> (u32, u32) {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .await
        .expect("its version");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_whitespace().nth(1).expect("a number");
    let mut parts = number
        .split('.')
        .map(|part| part.parse().expect("a number"));
    (parts.next().expect("major"), parts.next().expect("minor"))
}

impl PgBouncer {
    async fn start(program: &Path, mode: &str, is_new: bool) -> PgBouncer {
        PgBouncer::start_with(program, mode, is_new, 40).await
    }

    /// One that lends so many connections to the server.
    async fn start_with(program: &Path, mode: &str, is_new: bool, size: u32) -> PgBouncer {
        let folder = std::env::temp_dir().join(format!("pgbouncer-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let options = database::options("postgres");
        let socket = options.get_socket().expect("a socket");
        let statements = if is_new {
            "max_prepared_statements = 200"
        } else {
            ""
        };
        std::fs::write(folder.join("pgbouncer.ini"), format!(
            "[databases]\n* = host={} port=5432 user=spirit_beads\n[pgbouncer]\npool_mode = {mode}\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\ndefault_pool_size = {size}\nmax_client_conn = 200\n{statements}\n",
            socket.display()
        ))
        .expect("its settings");
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        // It does not run as root; the owner of the server's socket may enter its folder.
        let child = as_owner_of(socket, program)
            .arg(folder.join("pgbouncer.ini"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("pgbouncer");
        until("pgbouncer listens", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
        })
        .await;
        PgBouncer {
            child,
            port,
            folder,
        }
    }

    fn address(&self, database: &str) -> String {
        format!(
            "postgres://spirit_beads@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        )
    }

    async fn stop(mut self) {
        let _ = self.child.kill().await;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn the_program_sells_a_piece_through_pgbouncer_in_session_mode() {
    let Some(program) = pgbouncer() else { return };
    let pooler = PgBouncer::start(program, "session", version(program).await >= (1, 21)).await;
    let database = Database::empty().await;
    sells_a_piece(&[("DATABASE_URL", &pooler.address(database.name()))]).await;
    pooler.stop().await;
}

/// Before 1.21 it loses prepared statements, and is refused; since then a piece is sold.
#[tokio::test]
async fn pgbouncer_in_transaction_mode_is_used_or_refused_by_what_it_can() {
    let Some(program) = pgbouncer() else { return };
    let is_new = version(program).await >= (1, 21);
    let pooler = PgBouncer::start(program, "transaction", is_new).await;
    let database = Database::empty().await;
    let (pooled, direct) = (
        pooler.address(database.name()),
        address(database.name(), "spirit_beads"),
    );
    let settings = [
        ("DATABASE_URL", pooled.as_str()),
        ("DATABASE_DIRECT_URL", direct.as_str()),
    ];
    if is_new {
        sells_a_piece(&settings).await;
    } else {
        let (code, _, told) = Home::new().run(&["migrate"], &settings).await;
        assert_eq!(code, 1, "{told}");
        assert!(
            told.contains("max_prepared_statements") && told.contains("1.21"),
            "{told}"
        );
    }
    pooler.stop().await;
}

#[tokio::test]
async fn a_pool_that_is_smaller_than_what_the_shop_may_open_is_refused() {
    let Some(program) = pgbouncer() else { return };
    let is_new = version(program).await >= (1, 21);
    let pooler = PgBouncer::start_with(program, "session", is_new, 10).await;
    let database = Database::empty().await;
    let pooled = pooler.address(database.name());
    for command in [vec![], vec!["worker"]] {
        let settings = [
            ("DATABASE_URL", pooled.as_str()),
            ("DATABASE_MAX_CONNECTIONS", "12"),
            // Without the sandbox, which would take one of them.
            ("STRIPE_SECRET_KEY", STRIPE_KEY),
            ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET),
            ("STRIPE_API_URL", "http://127.0.0.1:1"),
        ];
        let (code, _, told) = Home::new().run(&command, &settings).await;
        assert_eq!(code, 1, "{told}");
        for word in [
            "DATABASE_MAX_CONNECTIONS is 12",
            " connections could be had at once",
            "default_pool_size",
        ] {
            assert!(
                told.contains(word),
                "{command:?} does not say {word:?}: {told}"
            );
        }
    }
    pooler.stop().await;
}
