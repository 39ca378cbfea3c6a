//! Connections that a firewall has forgotten.

use std::time::{Duration, Instant};

use serde_json::json;
use spirit_beads::worker;

use crate::process::{Home, until};
use crate::support::{Database, Lines, Shop, at_once, card, session_of};

/// The longest that any request may take while the database is there.
const SOON: Duration = Duration::from_secs(2);

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
