//! P3: an event takes effect once and is never lost, however often, in whatever order, and whatever it says.

use serde_json::{Value, json};

use crate::support::{Shop, at_once, card, session_of};

/// The three reports that contradict each other, in the order they are named.
const REPORTS: [&str; 3] = [
    "checkout.session.completed",
    "checkout.session.expired",
    "charge.refunded",
];

/// A piece paid for and refunded, of which nothing was delivered; and the reports.
async fn paid_and_refunded(shop: &Shop) -> (String, Vec<Value>) {
    let session = session_of(&shop.client.check_out(&[("sunrise", 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let completed = shop.event(REPORTS[0]).await;
    let mut expired = completed.clone();
    expired["id"] = json!(format!("evt_expired_{session}"));
    expired["type"] = json!(REPORTS[1]);
    let payment = shop.payment_of(&session).await;
    shop.stripe.refund(&payment, None).await.expect("a refund");
    let refunded = shop.event(REPORTS[2]).await;
    (session, vec![completed, expired, refunded])
}

async fn assert_refunded(shop: &Shop, session: &str, how: &str) {
    let order = shop.order(session).await;
    assert_eq!(order["status"], "refunded", "{how}");
    assert_eq!(order["refunded"], 5200, "{how}");
}

#[tokio::test]
async fn every_order_of_the_reports_ends_the_same() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 20).await;
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for (sold, order) in (1..).zip(orders.into_iter().chain(orders)) {
        let (session, reports) = paid_and_refunded(&shop).await;
        let [a, b, c] = order;
        // First each once, then some again in between.
        let posts = if sold <= 6 {
            vec![a, b, c]
        } else {
            vec![a, b, a, c, b, c, a]
        };
        for at in posts {
            assert_eq!(shop.webhook(&reports[at]).await.status, 200);
        }
        assert_refunded(&shop, &session, &format!("{order:?}")).await;
        assert_eq!(shop.stock("sunrise").await, (20 - sold, 0), "{order:?}");
    }
    shop.run_jobs().await;
    assert_eq!(shop.at_stripe("refund").await.len(), 12, "none of our own");
    shop.audit().await;
}

#[tokio::test]
async fn the_reports_all_at_once_end_the_same() {
    let shop = std::sync::Arc::new(Shop::open().await);
    shop.stocks("Sunrise", 3).await;
    let (session, reports) = paid_and_refunded(&shop).await;
    let posts = (0..24).map(|n| {
        let (shop, report) = (shop.clone(), reports[n % 3].clone());
        async move { shop.webhook(&report).await.status }
    });
    assert_eq!(at_once(posts).await, [200; 24]);
    assert_refunded(&shop, &session, "at once").await;
    assert_eq!(shop.stock("sunrise").await, (2, 0));
    shop.run_jobs().await;
    shop.audit().await;
}

#[tokio::test]
async fn one_event_fifty_times_at_once_takes_effect_once() {
    let shop = std::sync::Arc::new(Shop::open().await);
    let piece = shop.stocks("Sunrise", 60).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let event = shop.event("checkout.session.completed").await;
    let posts = (0..50).map(|_| {
        let (shop, event) = (shop.clone(), event.clone());
        async move { shop.webhook(&event).await.status }
    });
    assert_eq!(at_once(posts).await, [200; 50]);
    assert_eq!(shop.stock(&piece).await, (59, 0));
    assert_eq!(shop.status_of(&session).await, "paid");
    let attempts: Vec<i32> = sqlx::query_scalar("select attempts from stripe_events")
        .fetch_all(&shop.db)
        .await
        .expect("the events");
    assert_eq!(attempts, [1]);
    shop.audit().await;
}

#[tokio::test]
async fn one_payment_in_many_events_takes_effect_once() {
    let shop = std::sync::Arc::new(Shop::open().await);
    let piece = shop.stocks("Sunrise", 60).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let event = shop.event("checkout.session.completed").await;
    let posts = (0..20).map(|n| {
        let (shop, mut event) = (shop.clone(), event.clone());
        event["id"] = json!(format!("evt_{n}"));
        async move { shop.webhook(&event).await.status }
    });
    assert_eq!(at_once(posts).await, [200; 20]);
    assert_eq!(shop.stock(&piece).await, (59, 0));
    shop.run_jobs().await;
    assert!(shop.at_stripe("refund").await.is_empty());
    shop.audit().await;
}

/// (status, attempts, last error) of the one event that failed or was processed after it had failed.
async fn kept(shop: &Shop, event: &Value) -> (String, i32, Option<String>) {
    sqlx::query_as("select status, attempts, last_error from stripe_events where id = $1")
        .bind(event["id"].as_str())
        .fetch_one(&shop.db)
        .await
        .expect("the event is kept")
}

/// A paid session whose event cannot be processed, because the order's table is broken.
async fn a_failing_event() -> (Shop, String, Value) {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let event = shop.event("checkout.session.completed").await;
    sqlx::raw_sql(
        "create function broken() returns trigger language plpgsql as $$ begin raise 'out of order'; end $$;
         create trigger broken before update on orders for each row execute function broken()",
    )
    .execute(&shop.db)
    .await
    .expect("a broken table");
    let answer = shop.webhook(&event).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(!answer.text.contains("out of order"), "{}", answer.text);
    let (status, attempts, error) = kept(&shop, &event).await;
    assert_eq!((status.as_str(), attempts), ("failed", 1));
    assert!(error.is_some_and(|error| error.contains("out of order")));
    assert_eq!(shop.stock(&piece).await, (1, 1), "nothing is half done");
    let payments: i64 = sqlx::query_scalar("select count(*) from payments")
        .fetch_one(&shop.db)
        .await
        .expect("the payments");
    assert_eq!(payments, 0);
    (shop, session, event)
}

async fn mend(shop: &Shop) {
    sqlx::raw_sql("drop trigger broken on orders")
        .execute(&shop.db)
        .await
        .expect("a mended table");
}

async fn assert_processed(shop: &Shop, session: &str, event: &Value) {
    assert_eq!(kept(shop, event).await.0, "processed");
    assert_eq!(kept(shop, event).await.2, None);
    assert_eq!(shop.status_of(session).await, "paid");
    assert_eq!(shop.stock("sunrise").await, (0, 0));
    shop.run_jobs().await;
    shop.deliver().await;
    assert_eq!(shop.stock("sunrise").await, (0, 0));
    shop.audit().await;
}

#[tokio::test]
async fn an_event_that_failed_is_processed_by_a_job() {
    let (shop, session, event) = a_failing_event().await;
    for attempts in [2, 3] {
        assert_eq!(shop.run_failing_jobs().await.len(), 1);
        assert_eq!(kept(&shop, &event).await.1, attempts);
        shop.hurry_jobs().await;
    }
    mend(&shop).await;
    shop.hurry_jobs().await;
    shop.run_jobs().await;
    assert_processed(&shop, &session, &event).await;
}

#[tokio::test]
async fn an_event_that_failed_is_processed_when_stripe_sends_it_again() {
    let (shop, session, event) = a_failing_event().await;
    assert_eq!(shop.webhook(&event).await.status, 503);
    mend(&shop).await;
    shop.hurry_webhooks().await;
    shop.deliver().await;
    assert_processed(&shop, &session, &event).await;
}

#[tokio::test]
async fn an_event_that_failed_is_processed_by_reconciliation() {
    let (shop, session, event) = a_failing_event().await;
    assert!(shop.reconcile().await.failed > 0);
    mend(&shop).await;
    assert!(shop.reconcile().await.processed > 0);
    assert_processed(&shop, &session, &event).await;
}

#[tokio::test]
async fn events_of_other_integrations_are_kept_and_acknowledged() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    let event = |id: &str, kind: &str, object: Value| json!({"id": id, "object": "event", "type": kind, "created": 1_700_000_000, "data": {"object": object}});
    let strange = json!({"id": "cs_other", "status": "complete", "payment_status": "paid", "client_reference_id": "0b7c3a52-6d0c-4a8b-a8e6-111111111111"});
    let events = [
        event("evt_1", "invoice.paid", json!({"id": "in_1"})),
        event("evt_2", "some.type.of.the.future", json!(null)),
        event("evt_3", "checkout.session.completed", strange),
        event(
            "evt_4",
            "checkout.session.completed",
            json!({"id": "cs_x", "client_reference_id": "not ours"}),
        ),
        event("evt_5", "checkout.session.completed", json!({})),
        event(
            "evt_6",
            "checkout.session.expired",
            json!({"id": "cs_other"}),
        ),
        event(
            "evt_7",
            "checkout.session.async_payment_failed",
            json!({"id": "cs_other"}),
        ),
        event(
            "evt_8",
            "charge.refunded",
            json!({"id": "ch_1", "payment_intent": null}),
        ),
        event(
            "evt_9",
            "charge.refunded",
            json!({"payment_intent": "pi_other", "amount_refunded": 100}),
        ),
        event(
            "evt_10",
            "charge.dispute.created",
            json!({"payment_intent": "pi_other", "status": "needs_response"}),
        ),
        event(
            "evt_11",
            "refund.failed",
            json!({"id": "re_1", "payment_intent": "pi_other", "status": "failed", "amount": 100}),
        ),
        event("evt_12", "refund.updated", json!([])),
        json!({"id": "evt_13", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered",
               "created": "2026-01-01T00:00:00.000Z", "related_object": {"id": "mtr_1"}, "data": null}),
        json!({"id": "evt_14", "type": "charge.refunded"}),
    ];
    let all = events.len() as i64;
    for event in events {
        let answer = shop.webhook(&event).await;
        assert_eq!(answer.status, 200, "{event}: {}", answer.text);
    }
    let (kept, failed): (i64, i64) = sqlx::query_as(
        "select count(*), count(*) filter (where status = 'failed') from stripe_events",
    )
    .fetch_one(&shop.db)
    .await
    .expect("the events");
    assert_eq!((kept, failed), (all, 0));
    assert_eq!(shop.statuses().await, ["pending"]);
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.run_jobs().await;
    shop.audit().await;
}

#[tokio::test]
async fn characters_that_the_database_refuses_do_not_lose_an_event() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let payment = shop.payment_of(&session).await;
    let mut completed = shop.event("checkout.session.completed").await;
    let object = &mut completed["data"]["object"];
    object["customer_details"]["name"] = json!("Jane\u{0}");
    object["customer_details"]["email"] = json!("\u{0}");
    object["collected_information"]["shipping_details"]["address"]["city"] = json!("Port\u{0}land");
    object["metadata"] = json!({"\u{0}": "\u{0}"});
    let events = [
        completed,
        json!({"id": "evt_1", "type": "invoice.paid", "data": {"object": {"id": "\u{0}"}}}),
        json!({"id": "evt_2", "type": "charge.dispute.created", "data": {"object": {
            "payment_intent": payment, "status": "needs\u{0}response", "reason": "\u{0}"}}}),
        json!({"id": "evt_3", "type": "refund.failed", "data": {"object": {
            "id": "re_\u{0}1", "payment_intent": payment, "status": "failed", "amount": 1}}}),
        json!({"id": "evt_4", "type": "refund.updated", "data": {"object": {
            "id": "re_\u{0}1", "payment_intent": payment, "status": "suc\u{0}ceeded", "amount": 1}}}),
        json!({"id": "evt_5", "type": "charge.refunded", "data": {"object": {
            "payment_intent": "pi_\u{0}", "amount_refunded": 1}}}),
        json!({"id": "evt_6", "type": "checkout.session.expired", "data": {"object": {
            "id": "cs_\u{0}", "client_reference_id": "\u{0}"}}}),
    ];
    for event in events {
        let answer = shop.webhook(&event).await;
        assert_eq!(answer.status, 200, "{event}: {}", answer.text);
    }
    assert_eq!(shop.status_of(&session).await, "paid");
    let order = shop.order(&session).await;
    assert_eq!(order["customer_name"], "Jane");
    assert_eq!(order["shipping_address"]["city"], "Portland");
    shop.audit().await;
}

#[tokio::test]
async fn numbers_beyond_belief_do_not_lose_an_event() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let payment = shop.payment_of(&session).await;
    for (n, amount) in [i64::MAX, i64::MIN, -1, 0].into_iter().enumerate() {
        let kinds = ["charge.refunded", "refund.failed"];
        for (m, kind) in kinds.into_iter().enumerate() {
            let event = json!({"id": format!("evt_{n}{m}"), "type": kind, "created": i64::MAX - n as i64, "data": {"object": {
                "id": format!("re_{n}"), "payment_intent": payment, "status": "failed", "amount": amount, "amount_refunded": amount}}});
            let answer = shop.webhook(&event).await;
            assert_eq!(answer.status, 200, "{event}: {}", answer.text);
        }
    }
    shop.audit().await;
}

#[tokio::test]
async fn amounts_and_times_that_nobody_can_count_with_do_not_lose_an_event() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 2).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let payment = shop.payment_of(&session).await;
    let open = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    let least = i64::MIN;
    let events = [
        // Together these are more than there is.
        json!({"type": "refund.failed", "data": {"object": {
            "id": "re_1", "payment_intent": payment, "status": "failed", "amount": i64::MAX}}}),
        json!({"type": "refund.failed", "data": {"object": {
            "id": "re_2", "payment_intent": payment, "status": "failed", "amount": i64::MAX}}}),
        json!({"type": "charge.refunded", "created": 1, "data": {"object": {
            "payment_intent": payment, "amount_refunded": 100}}}),
        // A payment that cannot settle its order, less what was refunded of it.
        json!({"type": "charge.refunded", "data": {"object": {"payment_intent": "pi_1", "amount_refunded": least}}}),
        json!({"type": "checkout.session.completed", "data": {"object": {
            "id": open, "payment_intent": "pi_1", "payment_status": "paid", "currency": "usd", "amount_total": 1,
            "total_details": {"amount_tax": least, "amount_shipping": least}}}}),
        // Before the first year that the database knows.
        json!({"type": "refund.failed", "created": -8_000_000_000_000_i64, "data": {"object": {
            "id": "re_3", "payment_intent": payment, "status": "failed", "amount": 1}}}),
    ];
    for (n, mut event) in events.into_iter().enumerate() {
        event["id"] = json!(format!("evt_{n}"));
        let answer = shop.webhook(&event).await;
        assert_eq!(answer.status, 200, "{event}: {}", answer.text);
    }
    shop.run_jobs().await;
    assert_eq!(shop.status_of(&open).await, "failed");
    shop.audit().await;
}
