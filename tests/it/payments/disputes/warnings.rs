//! Fraud warnings, reviews, missing addresses, and events of the other mode.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ALL, dispute_event, kinds, order_of, paid};
use crate::admin::{signed_in, staffed};
use crate::support::forms::Form;
use crate::support::{Shop, card, session_of};

#[tokio::test]
async fn a_fraud_warning_and_a_review_say_not_to_ship_yet() {
    let (shop, payment) = paid().await;
    let admin = shop.admin(&ALL).await;
    shop.stripe
        .warn_of_fraud(&payment)
        .await
        .expect("a warning");
    shop.stripe.open_review(&payment).await.expect("a review");
    shop.deliver().await;
    shop.takes_all().await;
    let order = order_of(&admin).await;
    assert_eq!(kinds(&order), ["fraud_warning", "payment_review"]);
    shop.run_jobs().await;
    assert!(
        shop.mail()
            .iter()
            .any(|mail| mail.text.contains("Don't ship yet"))
    );
    let shipment = json!({"carrier": "USPS"});
    let ship = "/api/admin/orders/SB-1001/ship/";
    assert_eq!(
        admin.post(ship, &shipment).await.json["code"],
        "confirm_shipping"
    );

    shop.stripe
        .approve_review(&payment)
        .await
        .expect("an approval");
    shop.deliver().await;
    let order = order_of(&admin).await;
    assert_eq!(
        kinds(&order),
        ["fraud_warning"],
        "the review ended, and the warning stays"
    );
    let warning = order["review_items"][0]["id"].as_str().expect("an id");
    let resolve = format!("/api/admin/review-items/{warning}/resolve/");
    assert_eq!(admin.post(&resolve, &Value::Null).await.status, 200);
    assert_eq!(
        admin.post(ship, &shipment).await.status,
        200,
        "a person has looked"
    );
}

#[tokio::test]
async fn a_review_whose_end_is_heard_first_raises_nothing() {
    let (shop, payment) = paid().await;
    shop.stripe.open_review(&payment).await.expect("a review");
    shop.stripe
        .approve_review(&payment)
        .await
        .expect("an approval");
    for event in shop
        .stripe
        .events()
        .await
        .expect("the events")
        .into_iter()
        .rev()
    {
        shop.takes(event).await;
    }
    let admin = shop.admin(&ALL).await;
    assert_eq!(kinds(&order_of(&admin).await), [] as [&str; 0]);
    shop.run_jobs().await;
    assert_eq!(shop.emails_of("review_item").await, 0);
}

#[tokio::test]
async fn a_paid_order_without_an_address_is_a_review_item() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 2).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let mut event = shop.event("checkout.session.completed").await;
    event["data"]["object"]["collected_information"] = Value::Null;
    event["data"]["object"]["shipping_details"] = Value::Null;
    shop.takes(event).await;
    let admin = shop.admin(&ALL).await;
    let order = order_of(&admin).await;
    assert_eq!(
        (order["status"].as_str(), kinds(&order)),
        (Some("paid"), vec!["address_missing"])
    );
    shop.wait(Duration::from_secs(3 * 86_400)).await;
    shop.sweep_all().await;
    assert_eq!(
        kinds(&order_of(&admin).await),
        ["address_missing"],
        "resolved by itself only"
    );

    let other = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&other, card()).await.expect("a payment");
    shop.deliver().await;
    let order = admin.get("/api/admin/orders/SB-1002/").await.json;
    assert_eq!(kinds(&order), [] as [&str; 0]);
}

#[tokio::test]
async fn an_event_of_the_other_mode_is_kept_and_changes_nothing() {
    let shop = staffed().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let mut event = shop.event("checkout.session.completed").await;
    assert_eq!(event["livemode"], false);
    event["id"] = json!("evt_live");
    event["livemode"] = json!(true);
    for _ in 0..2 {
        shop.takes(event.clone()).await;
    }
    assert_eq!(
        shop.statuses().await,
        ["pending"],
        "money of another mode is none here"
    );
    let admin = shop.admin(&ALL).await;
    let events = admin.get("/api/admin/events/?state=wrong_mode").await.json;
    assert_eq!(events["count"], 1);
    assert!(
        events["results"][0]["last_error"]
            .as_str()
            .is_some_and(|why| why.contains("live mode"))
    );
    assert_eq!(
        admin.get("/api/admin/health/").await.json["wrong_mode_events"],
        1
    );
    let items = admin
        .get("/api/admin/review-items/?kind=wrong_mode")
        .await
        .json;
    assert_eq!(items["count"], 1, "one email, however many events");
    let owner = signed_in(&shop, crate::admin::OWNER).await;
    let page = owner.get("/admin/system").await.text;
    assert!(page.contains("other mode, not applied"), "{page}");
    // It can be run again, once the key is that of its mode.
    let page = owner.get("/admin/system/events/evt_live").await.text;
    let form = Form::to(&page, "/admin/system/events/evt_live/run");
    assert_eq!(form.send(&owner.client).await.status, 303);
    shop.run_jobs().await;
    let events = admin.get("/api/admin/events/?state=wrong_mode").await.json;
    assert_eq!(events["results"][0]["attempts"], 3);

    // What Stripe sends of the right mode counts.
    shop.deliver().await;
    assert_eq!(shop.statuses().await, ["paid"]);
}

#[tokio::test]
async fn a_live_key_takes_live_events_alone() {
    let shop = Shop::open_with(&[("STRIPE_SECRET_KEY", "rk_live_0123456789abcdef")]).await;
    let event = |id: &str, is_live: bool| {
        let mut event = dispute_event(1, "created", "pi_x", id, "needs_response", 1_796_000_000);
        event["livemode"] = json!(is_live);
        event
    };
    shop.takes(event("dp_test", false)).await;
    shop.takes(event("dp_live", true)).await;
    let known: Vec<String> = sqlx::query_scalar("select id from disputes")
        .fetch_all(&shop.db)
        .await
        .expect("the disputes");
    assert_eq!(known, ["dp_live"]);
}
