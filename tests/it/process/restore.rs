//! A copy of yesterday: the database is lost, and one that is an hour older takes its place. What was sold meanwhile is
//! known to Stripe, and the shop finds out from there.

use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::Command;
use uuid::Uuid;

use crate::process::Beside;
use crate::support::{Leftover, Shop, card, session_of};

/// Time limit for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs one of PostgreSQL's programs on a database of the tests' cluster.
async fn run(program: &str, options: &PgConnectOptions, arguments: &[&str]) {
    let output = Command::new(program)
        .arg("--host")
        .arg(options.get_socket().expect("a socket"))
        .args(["--port", &options.get_port().to_string()])
        .args(["--username", options.get_username()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect(program);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
}

/// Another database of the same cluster, gone with the test.
struct Restored {
    name: String,
    options: PgConnectOptions,
}

impl Restored {
    /// An empty one.
    async fn new(shop: &Shop) -> Restored {
        let name = format!("restored_{}", Uuid::new_v4().simple());
        let options = (*shop.db.connect_options()).clone();
        run("createdb", &options, &[&name]).await;
        Restored {
            options: options.database(&name),
            name,
        }
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect_with(&self.options)
            .await
            .expect("the restored database")
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        let (name, options) = (self.name.clone(), self.options.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let mut admin = PgConnection::connect_with(&options.database("postgres")).await?;
                // The name is ours, of letters and digits.
                let sql = format!("drop database if exists {name} with (force)");
                sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await
            })
        });
        let _ = dropping.join();
    }
}

/// Fate of a payment: its order's number and status, its outcome, and the amount refunded.
async fn fate(conn: &mut PgConnection, payment: &str) -> (String, String, String, i64) {
    sqlx::query_as(
        "select 'SB-' || o.number, o.status, p.outcome,
                coalesce((select sum(amount) from refunds r where r.payment_id = p.id), 0)::bigint
         from payments p
         join orders o on o.id = p.order_id
         where p.id = $1",
    )
    .bind(payment)
    .fetch_one(conn)
    .await
    .expect(payment)
}

#[tokio::test]
async fn a_dump_that_is_an_hour_old_heals_itself_from_stripe() {
    let shop = Shop::open().await;
    // What is paid after the loss, the copy alone hears of.
    shop.leaves(Leftover::UnsettledMoney);
    let admin = shop.admin(&Scope::ALL).await;
    let sunrise = shop.stocks("Sunrise", 9).await;
    let turtle = shop.stocks("Turtle", 1).await;
    let moon = shop.stocks("Moon", 1).await;
    shop.run_jobs().await;
    let buys = async |piece: &str, count: i32| {
        session_of(&shop.shopper().check_out(&[(piece, count)]).await)
    };
    let pays = async |session: &str| {
        shop.stripe.pay(session, card()).await.expect("a payment");
        shop.deliver().await;
        shop.payment_of(session).await
    };
    let before = pays(&buys(&sunrise, 1).await).await;
    let begun = buys(&sunrise, 2).await;

    // The copy is made while the shop is open. Stripe's own books, which the sandbox keeps beside ours, are not in it.
    let beside = Beside::new(&shop);
    let file = beside.home.dir.join("shop.dump").display().to_string();
    let options = shop.db.connect_options();
    let name = options.get_database().expect("a database").to_owned();
    let dumping = [
        "--format=custom",
        "--exclude-schema=stripe_sandbox",
        "--file",
        &file,
        &name,
    ];
    run("pg_dump", &options, &dumping).await;

    // An hour of business.
    let finished = pays(&begun).await;
    let sold = pays(&buys(&turtle, 1).await).await;
    let mut conn = shop.db.acquire().await.expect("a connection");
    let number = fate(&mut conn, &sold).await.0;
    drop(conn);
    let given_back = buys(&sunrise, 1).await;
    let returned = pays(&given_back).await;
    let orders = admin.get("/api/admin/orders/").await.json;
    let newest = orders["results"][0]["id"]
        .as_str()
        .expect("an order")
        .to_owned();
    let refund = admin
        .post(
            &format!("/api/admin/orders/{newest}/refund/"),
            &json!({"reason": "changed their mind"}),
        )
        .await;
    assert!(refund.status < 300, "{}", refund.text);
    shop.run_jobs().await;
    shop.deliver().await;
    let late = shop.stocks("Late", 1).await;
    let unknown = pays(&buys(&late, 1).await).await;
    let request = shop.asks_for_a_piece("ann@example.com").await;
    let path = format!("/api/admin/custom-orders/{request}");
    let quote = json!({"amount": 9000, "description": "A case"});
    let quoted = admin
        .send_json(Method::PUT, &format!("{path}/quote/"), &quote)
        .await;
    assert_eq!(quoted.status, 200, "{}", quoted.text);
    admin
        .send(
            Method::POST,
            &format!("{path}/approve/"),
            &[],
            None::<String>,
        )
        .await;
    shop.run_jobs().await;
    let link = shop.at_stripe("payment_link").await.remove(0);
    let made = shop
        .stripe
        .open_link(link["id"].as_str().expect("an id"))
        .await
        .expect("a page");
    let made = pays(&made).await;
    let open = buys(&moon, 1).await;
    let never = buys(&sunrise, 1).await;

    // The disk is lost. The copy comes up in its place.
    let restored = Restored::new(&shop).await;
    run(
        "pg_restore",
        &options,
        &[
            "--exit-on-error",
            "--no-owner",
            "--dbname",
            &restored.name,
            &file,
        ],
    )
    .await;
    let mut beside = beside;
    for (setting, value) in &mut beside.settings {
        if *setting == "DATABASE_URL" {
            *value = value.replace(&name, &restored.name);
        }
    }
    let (code, said, told) = beside.run(&["stripe", "reconcile"]).await;
    assert_eq!(code, 0, "{said}{told}");
    let (code, said, _) = beside.run(&["stock", "check"]).await;
    assert_eq!(code, 0, "{said}");

    let mut conn = restored.connect().await;
    let status =
        |status: &str, outcome: &str, back: i64| (status.to_owned(), outcome.to_owned(), back);
    for (what, payment, expected) in [
        ("paid before", &before, status("paid", "settled", 0)),
        (
            "begun before, paid after",
            &finished,
            status("paid", "settled", 0),
        ),
        ("bought after", &sold, status("paid", "settled", 0)),
        (
            "bought and refunded after",
            &returned,
            status("refunded", "settled", 0),
        ),
        (
            "a piece that the copy does not know",
            &unknown,
            status("expired", "refused", 5200),
        ),
        (
            "a custom order that the copy does not know",
            &made,
            status("paid", "settled", 0),
        ),
    ] {
        let (_, status, outcome, back) = fate(&mut conn, payment).await;
        assert_eq!((status, outcome, back), expected, "{what}");
    }
    assert_eq!(
        fate(&mut conn, &sold).await.0,
        number,
        "the shopper knows it by its number"
    );
    let stock: Vec<(String, i32, i32)> =
        sqlx::query_as("select id, on_hand, reserved from products order by id")
            .fetch_all(&mut conn)
            .await
            .expect("the stock");
    // Of nine suns one was sold, two that were begun, and one that was refunded, which stays out until it is put back.
    let left = |id: &str, on_hand| (id.to_owned(), on_hand, 0);
    assert_eq!(
        stock,
        [left("moon", 1), left("sunrise", 5), left("turtle", 0)]
    );
    let told: String =
        sqlx::query_scalar("select text from review_items where kind = 'custom_order_missing'")
            .fetch_one(&mut conn)
            .await
            .expect("the custom order");
    assert!(told.contains("request is not in this database"), "{told}");

    // A page that was open all the while is paid now, and another ends unpaid.
    shop.stripe.pay(&open, card()).await.expect("a payment");
    let opened = shop.payment_of(&open).await;
    shop.stripe.expire(&never).await.expect("an end");
    let (code, said, told) = beside.run(&["stripe", "reconcile"]).await;
    assert_eq!(code, 0, "{said}{told}");
    assert_eq!(fate(&mut conn, &opened).await.1, "paid");
    let again = beside.run(&["stripe", "reconcile"]).await.1;
    assert!(again.contains(" 0 processed, 0 failed"), "{again}");
    assert_eq!(beside.run(&["stock", "check"]).await.0, 0);

    // The refund that was decided on is sent by the worker.
    let settings = beside.settings();
    let mut working = beside.home.command(&["worker"], &settings);
    let mut worker = working
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a worker");
    let began = Instant::now();
    loop {
        let intents = shop.at_stripe("charge").await;
        let charge = intents
            .iter()
            .find(|charge| charge["payment_intent"] == unknown.as_str());
        if charge.expect("the charge")["refunded"] == true {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "never refunded");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.kill().await.expect("killed");

    // P2, for every payment that Stripe has.
    for charge in shop.at_stripe("charge").await {
        let payment = charge["payment_intent"].as_str().expect("a payment");
        let (_, status, outcome, _) = fate(&mut conn, payment).await;
        let is_order = outcome == "settled" && status == "paid";
        assert!(
            is_order || charge["refunded"] == true,
            "{payment} {status} {outcome}"
        );
        assert!(!(is_order && charge["refunded"] == true), "{payment}");
    }
}

#[tokio::test]
async fn money_of_other_shops_is_left_alone() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let event = shop.event("checkout.session.completed").await;
    sqlx::raw_sql("update products set reserved = 0; delete from orders")
        .execute(&shop.db)
        .await
        .expect("forgotten");
    let changed = |what: &dyn Fn(&mut Value)| {
        let mut other = event.clone();
        other["id"] = json!(format!("evt_{}", Uuid::new_v4().simple()));
        what(&mut other["data"]["object"]);
        other
    };
    for other in [
        // Signed by nobody, or for another order.
        changed(&|session| session["cancel_url"] = Value::Null),
        changed(&|session| session["cancel_url"] = json!("https://other.example/cancel")),
        changed(&|session| session["client_reference_id"] = json!(Uuid::new_v4())),
        changed(&|session| session["client_reference_id"] = Value::Null),
        changed(&|session| {
            session["cancel_url"] = Value::Null;
            session["metadata"] = json!({"quote_id": Uuid::new_v4(), "quote_signature": "x"});
        }),
        // Nothing was paid.
        changed(&|session| session["payment_status"] = json!("unpaid")),
    ] {
        assert_eq!(shop.webhook(&other).await.status, 200);
    }
    let orders: i64 = sqlx::query_scalar("select count(*) from orders")
        .fetch_one(&shop.db)
        .await
        .expect("the orders");
    assert_eq!(orders, 0);
    // Pieces by a price that is not what was paid: then the payment is refunded.
    let cheap = changed(&|session| session["metadata"]["piece_0"] = json!(format!("1 5 {piece}")));
    assert_eq!(shop.webhook(&cheap).await.status, 200);
    let payment = shop.payment_of(&session).await;
    let mut conn = shop.db.acquire().await.expect("a connection");
    let (_, status, outcome, back) = fate(&mut conn, &payment).await;
    assert_eq!(
        (status.as_str(), outcome.as_str(), back),
        ("expired", "refused", 5200)
    );
    assert_eq!(shop.stock(&piece).await, (3, 0));
}
