//! Delivery of events.

use axum::http::StatusCode;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::support::{Stripe, WEBHOOK_SECRET, card};

#[tokio::test]
async fn a_webhook_is_delivered_until_it_is_accepted_and_by_one_of_two() {
    let stripe = Stripe::start().await;
    stripe.pay_session().await;
    let deliver = async || stripe.sandbox.deliver_due().await.expect("a delivery");
    stripe.endpoint.answer(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(deliver().await, 0);
    assert_eq!(stripe.endpoint.received().len(), 3);
    stripe.endpoint.answer(StatusCode::OK);
    assert_eq!(deliver().await, 0, "not due yet");
    sqlx::query("update stripe_sandbox.deliveries set due = now()")
        .execute(&stripe.db)
        .await
        .expect("due");
    let (one, two) = tokio::join!(deliver(), deliver());
    assert_eq!(one + two, 3);
    assert_eq!(stripe.endpoint.received().len(), 6);
    let events = stripe.sandbox.events().await.expect("the events");
    assert!(events.iter().all(|event| event["pending_webhooks"] == 0));
    assert_eq!(deliver().await, 0);
}

#[tokio::test]
async fn a_webhook_is_the_event_signed() {
    let stripe = Stripe::start().await;
    stripe.pay_session().await;
    stripe.sandbox.deliver_due().await.expect("a delivery");
    let events = stripe.sandbox.events().await.expect("the events");
    let received = stripe.endpoint.received();
    assert_eq!(received.len(), events.len());
    for (webhook, event) in received.iter().zip(&events) {
        let payload: serde_json::Value = serde_json::from_str(&webhook.payload).expect("an event");
        assert_eq!(payload["id"], event["id"], "oldest first");
        let (time, signature) = webhook.signature.split_once(",v1=").expect("a signature");
        let time = time.strip_prefix("t=").expect("a time");
        let mut mac =
            Hmac::<Sha256>::new_from_slice(WEBHOOK_SECRET.as_bytes()).expect("any length");
        mac.update(format!("{time}.{}", webhook.payload).as_bytes());
        assert_eq!(signature, hex::encode(mac.finalize().into_bytes()));
    }
}

#[tokio::test]
async fn run_delivers_without_being_asked_until_it_is_stopped() {
    let stripe = Stripe::start().await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let sandbox = stripe.sandbox.clone();
    let running = tokio::spawn(async move {
        sandbox
            .run(async {
                let _ = stopped.await;
            })
            .await;
    });
    let session = stripe.open_session().await;
    stripe.sandbox.pay(&session, card()).await.expect("paid");
    while stripe.endpoint.received().len() < 3 {
        tokio::task::yield_now().await;
    }
    stop.send(()).expect("it runs");
    running.await.expect("no panic");
}

#[tokio::test]
async fn sessions_expire_when_their_time_has_come() {
    let stripe = Stripe::start().await;
    let [old, new] = [stripe.open_session().await, stripe.open_session().await];
    sqlx::query(
        "update stripe_sandbox.objects set data = jsonb_set(data, '{expires_at}', '1') where id = $1",
    )
    .bind(&old)
    .execute(&stripe.db)
    .await
    .expect("an old session");
    assert!(stripe.sandbox.pay(&old, card()).await.is_err());
    assert_eq!(stripe.session(&old).await["status"], "expired");
    assert_eq!(stripe.session(&new).await["status"], "open");
    assert_eq!(stripe.event_types().await, ["checkout.session.expired"]);
}
