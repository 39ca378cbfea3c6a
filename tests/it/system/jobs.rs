//! The queue under load: floods in one lane keep no other waiting.
//!
//! `cargo test --test it jobs:: -- --nocapture` tells the figures.

use std::time::{Duration, Instant};

use serde_json::json;
use spirit_beads::auth::Scope;

use crate::process::until;
use crate::support::{Shop, card, session_of};

/// Far more than a job needs to start, and far less than a flood takes.
const SOON: Duration = Duration::from_secs(8);

impl Shop {
    /// Queues a job of this kind about each of so many objects that are not there.
    async fn floods(&self, identifier: &str, job: &str, field: &str, count: i32) {
        sqlx::query(
            "select count(*)
             from graphile_worker.add_jobs((
                 select array_agg((
                     $1, json_build_object('job', $2, $3, gen_random_uuid()),
                     null, null, null, null, $5, null)::graphile_worker.job_spec)
                 from generate_series(1, $4)))",
        )
        .bind(identifier)
        .bind(job)
        .bind(field)
        .bind(count)
        .bind(if identifier == "sync" { 40 } else { 50 })
        .execute(&self.db)
        .await
        .expect("a flood");
    }

    /// Number of jobs of this kind that wait or are being done.
    async fn waiting(&self, job: &str) -> i64 {
        sqlx::query_scalar(
            "select count(*) from graphile_worker._private_jobs where payload ->> 'job' like $1",
        )
        .bind(job)
        .fetch_one(&self.db)
        .await
        .expect("the queue")
    }

    async fn sells(&self, piece: &str) -> String {
        let session = session_of(&self.shopper().check_out(&[(piece, 1)]).await);
        self.stripe.pay(&session, card()).await.expect("a payment");
        self.deliver().await;
        session
    }
}

#[tokio::test]
async fn with_ten_thousand_renditions_and_syncs_waiting_a_refund_and_an_email_start_at_once() {
    let shop = Shop::open().await;
    let moon = shop.stocks("Moon", 2).await;
    shop.stocks("Sunrise", 1).await;
    shop.sells(&moon).await;
    shop.run_jobs().await;
    let emails = shop.mail().len();
    shop.floods("image", "render_image", "image", 5000).await;
    // These are not done at once: each waits for the row of its product.
    sqlx::query(
        "select count(*) from graphile_worker.add_jobs((
             select array_agg(('sync', '{\"job\": \"sync_product\", \"product\": \"sunrise\"}',
                               null, null, null, null, 40, null)::graphile_worker.job_spec)
             from generate_series(1, 5000)))",
    )
    .execute(&shop.db)
    .await
    .expect("a flood");
    let mut lock = shop.db.begin().await.expect("a transaction");
    sqlx::query("select id from products where id = 'sunrise' for update")
        .execute(&mut *lock)
        .await
        .expect("a lock");
    let at_work = shop.works();
    until("the syncs are under way", async || {
        sqlx::query_scalar(
            "select count(*) > 0 from graphile_worker._private_jobs
             where locked_at is not null and payload ->> 'job' = 'sync_product'",
        )
        .fetch_one(&shop.db)
        .await
        .expect("the queue")
    })
    .await;

    let admin = shop.admin(&[Scope::Refunds]).await;
    let asked = admin
        .post("/api/admin/orders/SB-1001/refund/", &json!({"amount": 500}))
        .await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    let began = Instant::now();
    until("the refund is made", async || {
        shop.at_stripe("refund").await.len() == 1
    })
    .await;
    let refunded = began.elapsed();
    let began = Instant::now();
    shop.sells(&moon).await;
    until("the confirmation is sent", async || {
        shop.mail().len() > emails
    })
    .await;
    let confirmed = began.elapsed();
    println!("refund after {refunded:?}, email after {confirmed:?}, behind 10,000 others");
    assert!(
        refunded < SOON && confirmed < SOON,
        "{refunded:?} {confirmed:?}"
    );
    assert!(
        shop.waiting("sync_product").await >= 4990,
        "it was no flood"
    );
    lock.rollback().await.expect("the end");
    sqlx::query("delete from graphile_worker._private_jobs where locked_at is null")
        .execute(&shop.db)
        .await
        .expect("the end of the flood");
    at_work.stop().await;
}

#[tokio::test]
async fn a_backlog_is_worked_off_as_fast_as_the_machine_can() {
    let shop = Shop::open().await;
    for (lane, job, field) in [
        ("money", "send_refund", "refund"),
        ("email", "send_email", "email"),
        ("sync", "sync_product", "product"),
        ("image", "remove_image", "storage_key"),
    ] {
        shop.floods(lane, job, field, 250).await;
    }
    let began = Instant::now();
    let at_work = shop.works();
    until("the backlog is gone", async || shop.waiting("%").await == 0).await;
    let rate = 1000.0 / began.elapsed().as_secs_f64();
    println!("{rate:.0} trivial jobs a second");
    // Once it was four.
    assert!(rate > 40.0, "{rate}");
    at_work.stop().await;
}

#[tokio::test]
async fn a_job_alone_is_done_at_once() {
    let shop = Shop::open().await;
    let moon = shop.stocks("Moon", 1).await;
    let at_work = shop.works();
    until("the product is known to Stripe", async || {
        shop.waiting("%").await == 0
    })
    .await;
    let began = Instant::now();
    shop.sells(&moon).await;
    until("the confirmation is sent", async || shop.mail().len() == 2).await;
    println!("confirmed {:?} after checkout and payment", began.elapsed());
    assert!(began.elapsed() < SOON);
    at_work.stop().await;
}
