//! Events that Stripe sent before the rows that they name, and what the first reconciliation tells nobody.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use spirit_beads::jobs::Job;
use spirit_beads::payments::{self, Takeover};
use spirit_beads::types::ids::ProductId;
use spirit_beads::{products, worker};
use sqlx::PgConnection;

use super::{Copied, copy_order, open_items, page, settles};
use crate::support::{Leftover, Shop, card};

/// The end of an import that copied one session and its payment.
async fn finish(shop: &Shop, conn: &mut PgConnection, session: &str, payment: &str) -> u64 {
    let takeover = Takeover {
        snapshot: Utc::now(),
        sessions: &[session.to_owned()],
        custom_orders: &[],
        payments: &[payment.to_owned()],
    };
    payments::finish_takeover(conn, &shop.app, &takeover)
        .await
        .expect("taken up")
}

/// A page of the old shop that was paid, and whose event came before its order.
async fn paid_before_its_order() -> (Shop, String, String) {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    let session = page(&shop, 4700, 500, "usd").await;
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    (shop, piece, session)
}

async fn statuses_of_events(shop: &Shop) -> Vec<String> {
    let kind = "checkout.session.completed";
    sqlx::query_scalar("select status from stripe_events where type = $1")
        .bind(kind)
        .fetch_all(&shop.db)
        .await
        .expect("the events")
}

#[tokio::test]
async fn an_event_that_came_before_its_order_is_taken_up_once() {
    let (shop, piece, session) = paid_before_its_order().await;
    assert_eq!(statuses_of_events(&shop).await, ["ignored"]);
    copy_order(&shop, &session, &piece, Copied::Expired).await;
    let mut tx = shop.db.begin().await.expect("a transaction");
    payments::begin_takeover(&mut tx).await.expect("begun");
    assert_eq!(finish(&shop, &mut tx, &session, "pi_none").await, 1);
    tx.commit().await.expect("committed");
    settles(&shop).await;
    assert_eq!(shop.status_of(&session).await, "paid");
    assert_eq!(statuses_of_events(&shop).await, ["processed"]);
    let mut conn = shop.db.acquire().await.expect("a connection");
    assert_eq!(finish(&shop, &mut conn, &session, "pi_none").await, 0);
    drop(conn);
    settles(&shop).await;
    assert_eq!(shop.emails_of("order_confirmation").await, 1);
    assert_eq!(shop.stock(&piece).await, (0, 0));
}

#[tokio::test]
async fn an_event_of_nothing_that_was_copied_stays_ignored() {
    let (shop, _, _) = paid_before_its_order().await;
    shop.leaves(Leftover::UnsettledMoney);
    let mut conn = shop.db.acquire().await.expect("a connection");
    assert_eq!(finish(&shop, &mut conn, "cs_another", "pi_none").await, 0);
    drop(conn);
    assert_eq!(statuses_of_events(&shop).await, ["ignored"]);
}

#[tokio::test]
async fn an_event_that_comes_while_its_order_is_copied_waits_for_it() {
    let shop = Arc::new(Shop::open().await);
    let piece = shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    let session = page(&shop, 4700, 500, "usd").await;
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let event = shop.event("checkout.session.completed").await;
    let mut tx = shop.db.begin().await.expect("a transaction");
    payments::begin_takeover(&mut tx).await.expect("begun");
    assert_eq!(finish(&shop, &mut tx, &session, "pi_none").await, 0);
    let told = tokio::spawn({
        let (shop, event) = (shop.clone(), event.clone());
        async move { shop.webhook(&event).await.status }
    });
    while !shop.has_a_waiting_lock().await {
        tokio::task::yield_now().await;
    }
    // Written beside the transaction, for the sake of the helper: what counts is what the event sees after it.
    copy_order(&shop, &session, &piece, Copied::Expired).await;
    tx.commit().await.expect("committed");
    assert_eq!(told.await.expect("no panic"), 200);
    assert_eq!(shop.status_of(&session).await, "paid");
}

#[tokio::test]
async fn the_first_reconciliation_begins_where_the_old_shop_was_read() {
    let shop = Shop::open().await;
    let mut conn = shop.db.acquire().await.expect("a connection");
    let before = Utc::now();
    finish(&shop, &mut conn, "cs_1", "pi_1").await;
    finish(&shop, &mut conn, "cs_2", "pi_2").await;
    let cursor: DateTime<Utc> = sqlx::query_scalar("select read_until from stripe_cursor")
        .fetch_one(&mut *conn)
        .await
        .expect("the cursor");
    let lag = before - cursor;
    assert!(
        lag > Duration::minutes(59) && lag <= Duration::hours(1),
        "{lag}"
    );
}

/// A copied, shipped order with its payment, copied an hour after it was made.
async fn shipped_and_paid(shop: &Shop, copied_at: DateTime<Utc>) -> (String, String) {
    let piece = shop.stocks("Sunrise", 0).await;
    shop.run_jobs().await;
    let session = page(shop, 4700, 0, "usd").await;
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let payment = shop.payment_of(&session).await;
    let order = copy_order(shop, &session, &piece, Copied::Shipped).await;
    for sql in [
        "update orders set payment_unrecorded = false, email = 'ann@example.com' where id = $1 and $2 <> '' and $3 is not null",
        "insert into payments (id, order_id, outcome, amount, copied_at) values ($2, $1, 'settled', 4700, $3)
         on conflict (id) do update set order_id = excluded.order_id, outcome = 'settled', amount = 4700,
                                        copied_at = excluded.copied_at",
    ] {
        let done = sqlx::query(sql).bind(order).bind(&payment).bind(copied_at);
        done.execute(&shop.db).await.expect(sql);
    }
    (session, payment)
}

#[tokio::test]
async fn a_refund_from_before_the_copy_moves_its_order_and_is_told_to_nobody() {
    let shop = Shop::open().await;
    let later = Utc::now() + Duration::minutes(1);
    let (session, payment) = shipped_and_paid(&shop, later).await;
    shop.stripe.refund(&payment, None).await.expect("a refund");
    shop.reconcile().await;
    settles(&shop).await;
    assert_eq!(shop.status_of(&session).await, "refunded");
    for kind in ["order_refunded", "order_confirmation", "review_item"] {
        assert_eq!(shop.emails_of(kind).await, 0, "{kind}");
    }
}

#[tokio::test]
async fn a_refund_after_the_copy_is_told_to_the_customer() {
    let shop = Shop::open().await;
    let earlier = Utc::now() - Duration::minutes(1);
    let (session, payment) = shipped_and_paid(&shop, earlier).await;
    shop.stripe.refund(&payment, None).await.expect("a refund");
    settles(&shop).await;
    assert_eq!(shop.status_of(&session).await, "refunded");
    assert_eq!(shop.emails_of("order_refunded").await, 1);
}

#[tokio::test]
async fn a_refund_that_was_reported_before_its_payment_was_copied_is_applied() {
    let shop = Shop::open().await;
    let later = Utc::now() + Duration::minutes(1);
    let (session, payment) = shipped_and_paid(&shop, later).await;
    sqlx::query("update payments set order_id = null, outcome = null")
        .execute(&shop.db)
        .await
        .expect("not copied yet");
    shop.stripe.refund(&payment, None).await.expect("a refund");
    let refunded = shop.event("charge.refunded").await;
    assert_eq!(shop.webhook(&refunded).await.status, 200);
    sqlx::query(
        "update payments set outcome = 'settled', order_id = (select order_id from checkouts)",
    )
    .execute(&shop.db)
    .await
    .expect("copied");
    let mut tx = shop.db.begin().await.expect("a transaction");
    finish(&shop, &mut tx, &session, &payment).await;
    tx.commit().await.expect("committed");
    assert_eq!(shop.status_of(&session).await, "refunded");
    settles(&shop).await;
    assert_eq!(shop.emails_of("order_refunded").await, 0);
    assert_eq!(open_items(&shop).await, [""; 0]);
}

#[tokio::test]
async fn a_paused_product_is_not_told_to_stripe_until_it_is_released() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    let ids = "select stripe_product_id || ' ' || stripe_price_id from products";
    let known: String = sqlx::query_scalar(ids)
        .fetch_one(&shop.db)
        .await
        .expect("ids");
    // The other shop sells it for what Stripe's price says, and here it costs more.
    sqlx::raw_sql(
        "update products
         set stripe_paused = true, stripe_status = 'pending', stripe_price_amount = null, stripe_price_currency = null,
             price = 5000, price_version = price_version + 1, updated_at = now() - interval '2 hours'",
    )
    .execute(&shop.db)
    .await
    .expect("paused");
    let before = shop.stripe.requests().len();
    let job = Job::SyncProduct {
        product: ProductId(piece.clone()),
    };
    worker::perform(&shop.app, job)
        .await
        .expect("nothing to do");
    let mut conn = shop.db.acquire().await.expect("a connection");
    assert!(
        products::pending_syncs(&mut conn)
            .await
            .expect("syncs")
            .is_empty()
    );
    assert!(
        products::stalled_syncs(&mut conn)
            .await
            .expect("syncs")
            .is_empty()
    );
    assert_eq!(shop.stripe.requests().len(), before);
    let answer = shop.client.check_out(&[(&piece, 1)]).await;
    assert_eq!(
        answer.status, 200,
        "it is sold all the same: {}",
        answer.text
    );

    let released = products::release_copied(&mut conn).await.expect("released");
    assert_eq!(released.len(), 1);
    drop(conn);
    shop.run_jobs().await;
    let now: String = sqlx::query_scalar(ids)
        .fetch_one(&shop.db)
        .await
        .expect("ids");
    let product = |ids: &str| ids.split(' ').next().map(str::to_owned);
    assert_eq!(product(&now), product(&known), "the product stays");
    assert_ne!(now, known, "its price is another");
}
