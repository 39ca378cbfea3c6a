//! A shop whose webhooks were off for a day ends in the same state as one whose were not.

use std::time::Duration;

use serde_json::{Value, json};
use stripe_sandbox::Fault;

use crate::support::{Shop, card, delayed, session_of};

const DAY: Duration = Duration::from_secs(24 * 3600);
const LIST: &str = "GET /v1/events";

/// Way by which a shop hears of what happened at Stripe.
#[derive(Clone, Copy, PartialEq)]
enum Hears {
    /// By webhooks, each when it happens.
    AtOnce,
    /// By reconciliation, a day later.
    Later,
    /// By both, some events lost.
    Partly,
}

/// Everything that can happen to checkouts in a day; what is left of it, and of the stock, and of the refunds.
async fn a_day(hears: Hears) -> Value {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 20).await;
    shop.run_jobs().await;
    let sessions: Vec<String> = {
        let mut sessions = Vec::new();
        for _ in 0..9 {
            sessions.push(session_of(&shop.client.check_out(&[(&piece, 1)]).await));
        }
        sessions
    };
    let hear = async || match hears {
        Hears::AtOnce => assert!(shop.deliver().await > 0),
        Hears::Later => {}
        Hears::Partly => {
            sqlx::query("update stripe_sandbox.deliveries set delivered = now() where seq % 2 = 0")
                .execute(&shop.db)
                .await
                .expect("lost events");
            shop.deliver().await;
        }
    };
    let [
        paid,
        expired,
        slow_paid,
        slow_failed,
        slow,
        refunded,
        partly,
        disputed,
        _open,
    ] = sessions.first_chunk().expect("nine");
    for session in [paid, refunded, partly, disputed] {
        shop.stripe.pay(session, card()).await.expect("a payment");
    }
    for session in [slow_paid, slow_failed, slow] {
        shop.stripe
            .pay(session, delayed())
            .await
            .expect("a payment");
    }
    hear().await;
    shop.stripe
        .expire(expired)
        .await
        .expect("its time has come");
    shop.stripe
        .settle_delayed(slow_paid, true)
        .await
        .expect("the money");
    shop.stripe
        .settle_delayed(slow_failed, false)
        .await
        .expect("no money");
    hear().await;
    shop.stripe
        .refund(&shop.payment_of(refunded).await, None)
        .await
        .expect("a refund");
    let lost = shop
        .stripe
        .refund(&shop.payment_of(partly).await, Some(100))
        .await
        .expect("a refund");
    shop.stripe
        .refund(&shop.payment_of(partly).await, Some(200))
        .await
        .expect("a refund");
    shop.stripe
        .dispute(&shop.payment_of(disputed).await)
        .await
        .expect("a dispute");
    hear().await;
    shop.stripe.fail_refund(&lost).await.expect("a failure");
    shop.stripe
        .close_dispute(&shop.payment_of(disputed).await, true)
        .await
        .expect("a decision");
    hear().await;

    shop.wait(DAY).await;
    if hears != Hears::AtOnce {
        shop.reconcile().await;
    }
    shop.sweep().await;
    shop.run_jobs().await;
    shop.audit().await;
    let again = shop.reconcile().await;
    assert_eq!(again.failed, 0);
    let orders: Vec<Value> = sqlx::query_scalar(
        "select jsonb_build_object('number', number, 'status', status, 'refunded', refunded, 'dispute', dispute,
                                   'email', email, 'address', shipping_address)
         from orders order by number",
    )
    .fetch_all(&shop.db)
    .await
    .expect("the orders");
    json!([
        orders,
        shop.stock(&piece).await,
        shop.at_stripe("refund").await.len()
    ])
}

#[tokio::test]
async fn a_day_without_webhooks_ends_as_a_day_with_them() {
    let with = a_day(Hears::AtOnce).await;
    let statuses: Vec<&str> = with[0]
        .as_array()
        .expect("orders")
        .iter()
        .map(|order| order["status"].as_str().expect("a status"))
        .collect();
    assert_eq!(
        statuses,
        [
            "paid", "expired", "paid", "failed", "pending", "refunded", "paid", "paid", "expired"
        ]
    );
    assert_eq!(with[1], json!([15, 1]));
    assert_eq!(with[0][6]["refunded"], 200);
    assert_eq!(with[0][7]["dispute"], "won");
    assert_eq!(a_day(Hears::Later).await, with);
    assert_eq!(a_day(Hears::Partly).await, with);
}

#[tokio::test]
async fn a_payment_that_no_webhook_told_of_is_found() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let done = shop.reconcile().await;
    assert_eq!((done.processed, done.failed), (1, 0));
    assert_eq!(shop.status_of(&session).await, "paid");
    assert_eq!(shop.reconcile().await.processed, 0, "once");
    shop.deliver().await;
    assert_eq!(shop.stock(&piece).await, (0, 0));
    shop.audit().await;
}

#[tokio::test]
async fn two_reconciliations_at_once_process_each_event_once() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 9).await;
    for _ in 0..4 {
        let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
    }
    tokio::join!(shop.reconcile(), shop.reconcile(), shop.deliver());
    assert_eq!(shop.stock(&piece).await, (5, 0));
    assert_eq!(shop.statuses().await, ["paid"; 4]);
    shop.run_jobs().await;
    shop.audit().await;
}

#[tokio::test]
async fn a_reconciliation_that_stripe_interrupts_loses_nothing() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.stripe.fail_next(LIST, Fault::BadGateway, 100);
    let failed = spirit_beads::payments::reconcile(&shop.app, &|_, _| {}).await;
    assert!(failed.is_err());
    shop.stripe.clear_faults();
    assert_eq!(shop.reconcile().await.processed, 1);
    assert_eq!(shop.status_of(&session).await, "paid");
    shop.audit().await;
}

#[tokio::test]
async fn more_events_than_fit_a_page_are_all_processed_the_oldest_first() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 9).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    // Stripe lists the newest first: the payment stands on the last page.
    sqlx::query(
        "insert into stripe_sandbox.objects (id, object, created, data)
         select id, 'event', created, jsonb_build_object(
                    'id', id, 'object', 'event', 'type', 'charge.refunded', 'created', created,
                    'data', jsonb_build_object('object', jsonb_build_object('payment_intent', null)))
         from (select 'evt_filler_' || n as id, extract(epoch from now())::bigint as created
               from generate_series(1, 230) as n) as filler",
    )
    .execute(&shop.db)
    .await
    .expect("other events");
    let done = shop.reconcile().await;
    assert_eq!((done.listed, done.processed), (231, 231));
    assert_eq!(shop.status_of(&session).await, "paid");
    let kept: Vec<String> = sqlx::query_scalar("select id from stripe_events order by received_at")
        .fetch_all(&shop.db)
        .await
        .expect("the events");
    let oldest_first: Vec<String> = (1..=230).map(|n| format!("evt_filler_{n}")).collect();
    assert_eq!(kept[1..], oldest_first);
    let again = shop.reconcile().await;
    assert_eq!((again.processed, again.failed), (0, 0));
    shop.audit().await;
}

#[tokio::test]
async fn pieces_of_sessions_that_stripe_has_forgotten_are_free() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    sqlx::query("delete from stripe_sandbox.objects where object = 'checkout.session'")
        .execute(&shop.db)
        .await
        .expect("another account");
    shop.wait(DAY).await;
    shop.reconcile().await;
    shop.sweep().await;
    assert_eq!(shop.status_of(&session).await, "expired");
    assert_eq!(shop.stock(&piece).await, (1, 0));
    shop.audit().await;
}

/// Stripe's list as it came, with odd bytes in one of its events: the others are processed all the same, and so is that one.
#[tokio::test]
async fn an_event_with_odd_text_keeps_no_other_away() {
    for odd in [
        b"\\ud800".to_vec(),
        b"\xff\xfe".to_vec(),
        [
            b"\", \"deep\": ".to_vec(),
            b"[".repeat(3_000),
            b"]".repeat(3_000),
            b", \"x\": \"".to_vec(),
        ]
        .concat(),
    ] {
        let shop = Shop::open().await;
        let piece = shop.stocks("Sunrise", 3).await;
        let mut sessions = Vec::new();
        for _ in 0..3 {
            let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
            shop.stripe.pay(&session, card()).await.expect("a payment");
            sessions.push(session);
        }
        let mut events = shop.stripe.events().await.expect("the events");
        events.retain(|event| event["type"] == "checkout.session.completed");
        events.reverse();
        events[1]["data"]["object"]["customer_details"]["name"] = json!("@odd@");
        let list =
            json!({"object": "list", "url": "/v1/events", "has_more": false, "data": events})
                .to_string();
        let (before, after) = list.split_once("@odd@").expect("a name");
        let list = [before.as_bytes(), &odd, after.as_bytes()].concat();
        let address = answers_always(list).await;
        let stripe = spirit_beads::stripe::Stripe::new(
            &spirit_beads::config::Secret::new(crate::support::STRIPE_KEY),
            Some(&address),
            Duration::from_secs(4),
        )
        .expect("a client");
        let mut app = shop.app.clone();
        app.stripe = stripe;
        let done = spirit_beads::payments::reconcile(&app, &|_, _| {})
            .await
            .expect("a reconciliation");
        assert_eq!(
            (done.listed, done.processed, done.failed),
            (3, 3, 0),
            "{done}"
        );
        for session in &sessions {
            assert_eq!(shop.status_of(session).await, "paid");
        }
        shop.deliver().await;
        shop.run_jobs().await;
        shop.audit().await;
    }
}

/// A server that answers every request with this JSON; its address.
async fn answers_always(body: Vec<u8>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let headers = [(axum::http::header::CONTENT_TYPE, "application/json")];
    let router = axum::Router::new().fallback(move || async move { (headers, body) });
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}
