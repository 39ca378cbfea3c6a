//! SIGTERM: what was begun is finished, within a bound.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::{Beside, until};
use crate::support::{Client, Shop, card, read_answer, session_of};

/// A request whose head is read, and whose body is still to come.
async fn begins(host: &str, path: &str, headers: &str, length: usize) -> TcpStream {
    let mut line = TcpStream::connect(host).await.expect("a connection");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nexpect: 100-continue\r\n\
         content-type: application/json\r\n{headers}content-length: {length}\r\n\r\n"
    );
    line.write_all(head.as_bytes()).await.expect("sent");
    let mut go_on = [0; 25];
    line.read_exact(&mut go_on)
        .await
        .expect("it reads the body");
    line
}

#[tokio::test]
async fn a_request_a_webhook_and_a_job_are_finished_however_often_it_is_told_to_stop() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    shop.run_jobs().await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let event = shop.event("checkout.session.completed").await.to_string();
    let signature = format!("stripe-signature: {}\r\n", shop.stripe.sign(&event));

    let beside = Beside::new(&shop);
    let program = beside.home.start_with(&beside.settings(), "Metrics ").await;
    let host = program.address.trim_start_matches("http://").to_owned();
    let metrics = Client::to(&program.metrics_address());
    let answer = metrics.get("/metrics").await;
    assert!(
        answer.text.contains("shop_database_up 1"),
        "{}",
        answer.text
    );

    // A checkout and a webhook are on their way, and a job that a locked row holds up.
    let cart = json!({"items": [{"product_id": piece, "quantity": 1}]}).to_string();
    let path = "/api/payments/create-checkout-session/";
    let mut checkout = begins(&host, path, "", cart.len()).await;
    let mut webhook = begins(&host, "/api/payments/webhook/", &signature, event.len()).await;
    until("the worker has nothing to do", async || {
        let text = metrics.get("/metrics").await.text;
        text.contains("shop_workers_alive 1") && text.contains("shop_jobs{state=\"running\"} 0")
    })
    .await;
    let mut lock = shop.db.begin().await.expect("a transaction");
    sqlx::query("select id from products for update")
        .execute(&mut *lock)
        .await
        .expect("a lock");
    sqlx::query("select graphile_worker.add_job('sync', $1::json)")
        .bind(json!({"job": "sync_product", "product": piece}))
        .execute(&shop.db)
        .await
        .expect("a job");
    until("the job is under way", async || {
        metrics
            .get("/metrics")
            .await
            .text
            .contains("shop_jobs{state=\"running\"} 1")
    })
    .await;

    for _ in 0..3 {
        program.terminate().await;
    }
    until("no one new is let in", async || {
        TcpStream::connect(&host).await.is_err()
    })
    .await;
    program.terminate().await;
    lock.rollback().await.expect("the end");
    checkout.write_all(cart.as_bytes()).await.expect("sent");
    webhook.write_all(event.as_bytes()).await.expect("sent");
    let (status, _, text) = read_answer(&mut checkout).await;
    assert_eq!(status, 200, "{text}");
    let (status, _, text) = read_answer(&mut webhook).await;
    assert_eq!(status, 200, "{text}");
    assert_eq!(program.end().await, Some(0));
    assert_eq!(shop.status_of(&session).await, "paid");
    let left: Vec<String> = sqlx::query_scalar(
        "select payload ->> 'job' from graphile_worker._private_jobs
         where locked_at is not null or (payload ->> 'job' = 'sync_product')",
    )
    .fetch_all(&shop.db)
    .await
    .expect("the queue");
    assert!(left.is_empty(), "left over: {left:?}");
    shop.audit().await;
}

#[tokio::test]
async fn a_request_that_never_finishes_is_dropped_after_a_while() {
    let shop = Shop::open().await;
    let beside = Beside::new(&shop);
    let mut settings = beside.settings();
    settings.push(("REQUEST_TIMEOUT_SECONDS", "60"));
    let program = beside.home.start_with(&settings, "Metrics ").await;
    let host = program.address.trim_start_matches("http://").to_owned();
    let _never = begins(&host, "/api/payments/webhook/", "", 100).await;
    let began = Instant::now();
    program.terminate().await;
    assert_eq!(program.end().await, Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(28),
        "{:?}",
        began.elapsed()
    );
}
