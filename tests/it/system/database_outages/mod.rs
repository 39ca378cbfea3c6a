//! The database misbehaves: read-only, demoted, gone for a moment, forgotten by a firewall. What lasts is told with 503,
//! and the first request after it works.

mod failover;
mod lines;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::Command;

use crate::process::until;
use crate::support::{Answer, Shop, at_once, card, database, session_of};

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
