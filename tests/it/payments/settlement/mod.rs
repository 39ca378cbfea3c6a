//! P2: each payment ends as one paid order or as a refund in full, however late, twice, slow or wrong it is.

mod cart_changes;
mod refunds;
mod refused_money;

use std::time::Duration;

use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use crate::support::{Shop, card, delayed, session_of};

const MINUTE: Duration = Duration::from_secs(60);

/// A shop with one piece, held by a checkout.
async fn one_piece_held() -> (Shop, String, String) {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    (shop, piece, session)
}

/// A shop with one piece, paid for.
async fn one_piece_paid() -> (Shop, String, String) {
    let (shop, piece, session) = one_piece_held().await;
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(shop.status_of(&session).await, "paid");
    (shop, piece, session)
}

/// Lets the shop give up a hold whose session is still open at Stripe: what must never happen, and costs nothing.
async fn release_too_early(shop: &Shop, session: &str) {
    let mut event = json!({
        "id": format!("evt_early_{session}"), "object": "event", "type": "checkout.session.expired", "created": 1,
    });
    event["data"]["object"] = shop.session(session).await;
    assert_eq!(shop.webhook(&event).await.status, 200);
    assert_eq!(shop.status_of(session).await, "expired");
}

async fn note_of(shop: &Shop, session: &str) -> String {
    let order = shop.order(session).await;
    order["review_items"][0]["text"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn late_money_gets_its_pieces_if_they_are_there() {
    let (shop, piece, session) = one_piece_held().await;
    release_too_early(&shop, &session).await;
    assert_eq!(shop.stock(&piece).await, (1, 0));
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    assert_eq!(shop.status_of(&session).await, "paid");
    assert_eq!(shop.stock(&piece).await, (0, 0));
    assert!(shop.at_stripe("refund").await.is_empty());
    shop.audit().await;
}

/// Late money whose piece somebody else has bought, or holds, meanwhile.
async fn late_money_without_stock() -> (Shop, String, String) {
    let (shop, piece, session) = one_piece_held().await;
    release_too_early(&shop, &session).await;
    session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(shop.status_of(&session).await, "expired");
    assert_eq!(shop.stock(&piece).await, (1, 1));
    assert!(note_of(&shop, &session).await.contains("refunded in full"));
    (shop, piece, session)
}

impl Shop {
    /// Sends the refunds that were decided on, and hears of them.
    async fn audit_after_refunds(&self) {
        self.run_jobs().await;
        self.deliver().await;
        self.run_jobs().await;
        self.audit().await;
    }
}

/// Makes and pays another session at Stripe for the order of this one, as no shop should.
async fn pay_again(shop: &Shop, session: &str) -> String {
    let first = shop.session(session).await;
    let order = first["client_reference_id"].as_str().expect("an order");
    let body = [
        ("mode", "payment"),
        ("client_reference_id", order),
        ("success_url", "http://localhost:8080/success"),
        ("line_items[0][price_data][currency]", "usd"),
        ("line_items[0][price_data][unit_amount]", "5200"),
        ("line_items[0][price_data][product_data][name]", "Sunrise"),
        ("line_items[0][quantity]", "1"),
    ];
    let body: Vec<String> = body
        .iter()
        .map(|(name, value)| format!("{name}={}", value.replace(':', "%3A").replace('/', "%2F")))
        .collect();
    let key = shop.app.config.stripe.secret_key.as_ref().expect("a key");
    let answer = reqwest::Client::new()
        .post(format!(
            "{}/v1/checkout/sessions",
            shop.app.config.stripe.api_url.as_deref().expect("set")
        ))
        .header("authorization", format!("Bearer {}", key.reveal()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.join("&"))
        .send()
        .await
        .expect("an answer");
    let text = answer.text().await.expect("a body");
    let second: Value = serde_json::from_str(&text).expect("a session");
    let second = second["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned();
    shop.stripe.pay(&second, card()).await.expect("a payment");
    second
}

#[tokio::test]
async fn a_second_payment_of_one_order_is_given_back_in_full() {
    let (shop, piece, session) = one_piece_paid().await;
    let second = pay_again(&shop, &session).await;
    shop.deliver().await;
    shop.audit_after_refunds().await;
    assert_eq!(
        shop.status_of(&session).await,
        "paid",
        "its session is the one that paid it"
    );
    assert!(note_of(&shop, &session).await.contains("paid twice"));
    let refunds = shop.at_stripe("refund").await;
    assert_eq!(refunds.len(), 1);
    assert_eq!(
        refunds[0]["payment_intent"],
        shop.payment_of(&second).await.as_str()
    );
    assert_eq!(refunds[0]["amount"], 5200);
    assert_eq!(shop.order(&session).await["refunded"], 0);
    assert_eq!(shop.stock(&piece).await, (0, 0));
}

#[tokio::test]
async fn a_payment_of_another_amount_is_given_back_in_full() {
    let (shop, piece, session) = one_piece_held().await;
    sqlx::query("update orders set subtotal = 9900, total = 9900 + shipping")
        .execute(&shop.db)
        .await
        .expect("another amount");
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.audit_after_refunds().await;
    assert_eq!(shop.status_of(&session).await, "failed");
    assert!(note_of(&shop, &session).await.contains("amount"));
    assert_eq!(shop.stock(&piece).await, (1, 0));
    let refunds = shop.at_stripe("refund").await;
    assert_eq!((refunds.len(), &refunds[0]["amount"]), (1, &json!(5200)));
}

#[tokio::test]
async fn a_payment_in_another_currency_is_given_back_in_full() {
    let (shop, piece, session) = one_piece_held().await;
    sqlx::query("update orders set currency = 'eur'")
        .execute(&shop.db)
        .await
        .expect("another currency");
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.audit_after_refunds().await;
    assert_eq!(shop.status_of(&session).await, "failed");
    assert_eq!(shop.stock(&piece).await, (1, 0));
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
}

#[tokio::test]
async fn a_delayed_payment_keeps_its_pieces_until_it_is_decided() {
    for succeeds in [true, false] {
        let (shop, piece, session) = one_piece_held().await;
        shop.stripe
            .pay(&session, delayed())
            .await
            .expect("a payment");
        shop.deliver().await;
        assert_eq!(shop.status_of(&session).await, "pending");
        shop.wait(5 * 24 * 60 * MINUTE).await;
        shop.sweep().await;
        shop.reconcile().await;
        assert_eq!(shop.status_of(&session).await, "pending");
        assert_eq!(shop.stock(&piece).await, (1, 1));
        shop.stripe
            .settle_delayed(&session, succeeds)
            .await
            .expect("a decision");
        shop.deliver().await;
        let (status, stock) = if succeeds {
            ("paid", (0, 0))
        } else {
            ("failed", (1, 0))
        };
        assert_eq!(shop.status_of(&session).await, status);
        assert_eq!(shop.stock(&piece).await, stock);
        shop.audit_after_refunds().await;
    }
}

#[tokio::test]
async fn a_delayed_payment_reported_backwards_ends_the_same() {
    for succeeds in [true, false] {
        let (shop, piece, session) = one_piece_held().await;
        shop.stripe
            .pay(&session, delayed())
            .await
            .expect("a payment");
        shop.stripe
            .settle_delayed(&session, succeeds)
            .await
            .expect("a decision");
        for event in shop.stripe.events().await.expect("the events").iter().rev() {
            assert_eq!(shop.webhook(event).await.status, 200);
        }
        let (status, stock) = if succeeds {
            ("paid", (0, 0))
        } else {
            ("failed", (1, 0))
        };
        assert_eq!(shop.status_of(&session).await, status);
        shop.wait(60 * MINUTE).await;
        shop.sweep().await;
        assert_eq!(shop.status_of(&session).await, status);
        assert_eq!(shop.stock(&piece).await, stock);
        shop.audit_after_refunds().await;
    }
}

#[tokio::test]
async fn a_declined_card_leaves_the_page_open_for_another() {
    let (shop, piece, session) = one_piece_held().await;
    let declined = stripe_sandbox::Payment::Declined(Default::default());
    shop.stripe.pay(&session, declined).await.expect("a try");
    shop.deliver().await;
    assert_eq!(shop.status_of(&session).await, "pending");
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(shop.status_of(&session).await, "paid");
    assert_eq!(shop.stock(&piece).await, (0, 0));
    shop.audit().await;
}

#[tokio::test]
async fn an_order_keeps_who_paid_and_where_it_goes_and_tells_it_to_the_owner_alone() {
    let (shop, _, session) = one_piece_paid().await;
    let order = shop.order(&session).await;
    assert_eq!(order["email"], "jane@example.com");
    assert_eq!(order["shipping_name"], "Jane Shopper");
    assert_eq!(order["shipping_address"]["city"], "Portland");
    let public = shop
        .client
        .get(&format!("/api/orders/by-session/{session}/"))
        .await;
    assert_eq!(public.json["number"], "SB-1001");
    for secret in ["jane", "Jane", "Portland", "97205"] {
        assert!(!public.text.contains(secret), "{}", public.text);
    }
    assert_eq!(
        shop.client.get("/api/admin/orders/SB-1001/").await.status,
        401
    );
    let admin = shop.admin(&[Scope::OrdersRead]).await;
    let whole = admin.get("/api/admin/orders/SB-1001/").await.json;
    assert_eq!(whole["email"], "jane@example.com");
    let moves: Vec<&Value> = whole["timeline"]
        .as_array()
        .expect("a timeline")
        .iter()
        .map(|entry| &entry["to_status"])
        .collect();
    assert_eq!(moves, [&json!("pending"), &json!("paid")]);
}
