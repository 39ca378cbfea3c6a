//! P2: each payment ends as one paid order or as a refund in full, however late, twice, slow or wrong it is.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use stripe_sandbox::Fault;

use crate::support::{Answer, Shop, card, delayed, session_of};

const REFUND: &str = "POST /v1/refunds";
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
    assert!(
        note_of(&shop, &session)
            .await
            .contains("given back in full")
    );
    (shop, piece, session)
}

#[tokio::test]
async fn late_money_without_stock_is_given_back_in_full_once() {
    let (shop, piece, session) = late_money_without_stock().await;
    shop.audit_after_refunds().await;
    for _ in 0..2 {
        for event in shop.stripe.events().await.expect("the events") {
            assert_eq!(shop.webhook(&event).await.status, 200);
        }
        shop.run_jobs().await;
    }
    let refunds = shop.at_stripe("refund").await;
    assert_eq!(refunds.len(), 1);
    assert_eq!(refunds[0]["amount"], 5200);
    assert_eq!(
        refunds[0]["payment_intent"],
        shop.payment_of(&session).await.as_str()
    );
    assert_eq!(shop.status_of(&session).await, "expired");
    assert_eq!(
        shop.order(&session).await["refunded"],
        0,
        "it never was this order's money"
    );
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.audit().await;
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

#[tokio::test]
async fn a_refund_is_tried_through_an_outage_and_made_once() {
    let (shop, _, _) = late_money_without_stock().await;
    for fault in [Fault::RateLimited, Fault::ActThenDrop] {
        shop.stripe.fail_next(REFUND, fault, 100);
        let left = shop.run_failing_jobs().await;
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].0["job"], "send_refund");
        assert!(left[0].1.is_some(), "its failure is kept");
        shop.stripe.clear_faults();
        shop.hurry_jobs().await;
    }
    shop.audit_after_refunds().await;
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    let states: Vec<String> = sqlx::query_scalar("select state from refunds")
        .fetch_all(&shop.db)
        .await
        .expect("the refunds");
    assert_eq!(states, ["succeeded"]);
}

#[tokio::test]
async fn a_refund_whose_answer_was_lost_for_longer_than_stripe_knows_its_key_is_found() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    let admin = shop.admin(&[Scope::Refunds]).await;
    let asked = admin
        .post("/api/admin/orders/SB-1001/refund/", &json!({"amount": 500}))
        .await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    shop.stripe.fail_next(REFUND, Fault::ActThenDrop, 3);
    assert_eq!(shop.run_failing_jobs().await.len(), 1);

    shop.stripe.clear_faults();
    shop.wait(Duration::from_secs(25 * 3600)).await;
    shop.hurry_jobs().await;
    shop.run_jobs().await;
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    shop.deliver().await;
    shop.run_jobs().await;
    assert_eq!(shop.order(&session).await["refunded"], 500);
}

#[tokio::test]
async fn a_refund_whose_job_was_lost_is_sent_by_the_sweep() {
    let (shop, _, _) = late_money_without_stock().await;
    sqlx::query("delete from graphile_worker._private_jobs")
        .execute(&shop.db)
        .await
        .expect("a loss");
    shop.sweep().await;
    shop.run_jobs().await;
    assert!(
        shop.at_stripe("refund").await.is_empty(),
        "it may be under way yet"
    );
    shop.wait(6 * MINUTE).await;
    shop.sweep().await;
    shop.audit_after_refunds().await;
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
}

#[tokio::test]
async fn a_refund_that_stripe_refuses_for_good_is_shown_to_the_owner() {
    let (shop, _, session) = late_money_without_stock().await;
    let refused = Fault::Refused {
        code: "charge_disputed".to_owned(),
        message: "The charge has been charged back.".to_owned(),
        param: None,
    };
    shop.stripe.fail_next(REFUND, refused, 1);
    shop.run_jobs().await;
    assert!(note_of(&shop, &session).await.contains("by hand"));
    let (state, error): (String, String) = sqlx::query_as("select state, last_error from refunds")
        .fetch_one(&shop.db)
        .await
        .expect("the refund");
    assert_eq!(state, "failed");
    assert!(error.contains("charge_disputed"), "{error}");
}

#[tokio::test]
async fn money_given_back_by_hand_meanwhile_is_not_given_back_again() {
    let (shop, _, session) = late_money_without_stock().await;
    let payment = shop.payment_of(&session).await;
    shop.stripe.refund(&payment, None).await.expect("a refund");
    shop.audit_after_refunds().await;
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert!(!note_of(&shop, &session).await.contains("by hand"));
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
async fn refunds_by_the_owner_add_up_on_the_order() {
    let (shop, piece, session) = one_piece_paid().await;
    let payment = shop.payment_of(&session).await;
    shop.stripe
        .refund(&payment, Some(1200))
        .await
        .expect("a refund");
    shop.deliver().await;
    let order = shop.order(&session).await;
    assert_eq!(
        (&order["status"], &order["refunded"]),
        (&json!("paid"), &json!(1200))
    );
    shop.stripe.refund(&payment, None).await.expect("a refund");
    shop.deliver().await;
    let order = shop.order(&session).await;
    assert_eq!(
        (&order["status"], &order["refunded"]),
        (&json!("refunded"), &json!(5200))
    );
    assert_eq!(
        shop.stock(&piece).await,
        (0, 0),
        "the piece is with the shopper yet"
    );
    shop.audit_after_refunds().await;
}

#[tokio::test]
async fn a_refund_that_fails_is_the_shops_money_again() {
    let (shop, _, session) = one_piece_paid().await;
    let payment = shop.payment_of(&session).await;
    shop.stripe
        .refund(&payment, Some(1200))
        .await
        .expect("a refund");
    let lost = shop
        .stripe
        .refund(&payment, Some(700))
        .await
        .expect("a refund");
    shop.deliver().await;
    assert_eq!(shop.order(&session).await["refunded"], 1900);
    shop.stripe.fail_refund(&lost).await.expect("a failure");
    shop.deliver().await;
    let order = shop.order(&session).await;
    assert_eq!(
        (&order["status"], &order["refunded"]),
        (&json!("paid"), &json!(1200))
    );
    assert!(note_of(&shop, &session).await.contains("by hand"));
    shop.audit_after_refunds().await;
}

#[tokio::test]
async fn a_failed_refund_of_refused_money_is_flagged() {
    let (shop, _, session) = late_money_without_stock().await;
    shop.audit_after_refunds().await;
    let refund = shop.at_stripe("refund").await.remove(0);
    let id = refund["id"].as_str().expect("an id");
    shop.stripe.fail_refund(id).await.expect("a failure");
    shop.deliver().await;
    assert!(note_of(&shop, &session).await.contains("by hand"));
    let state: String = sqlx::query_scalar("select state from refunds")
        .fetch_one(&shop.db)
        .await
        .expect("the refund");
    assert_eq!(state, "failed");
    // The same reports once more change nothing.
    for event in shop.stripe.events().await.expect("the events") {
        shop.webhook(&event).await;
    }
    let state: String = sqlx::query_scalar("select state from refunds")
        .fetch_one(&shop.db)
        .await
        .expect("the refund");
    assert_eq!(state, "failed");
}

#[tokio::test]
async fn disputes_are_shown_with_the_order_whatever_comes_first() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 4).await;
    let mut known = 0;
    for (backwards, won) in [(false, true), (false, false), (true, true), (true, false)] {
        let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        let payment = shop.payment_of(&session).await;
        shop.stripe.dispute(&payment).await.expect("a dispute");
        shop.stripe
            .close_dispute(&payment, won)
            .await
            .expect("a decision");
        let mut events = shop
            .stripe
            .events()
            .await
            .expect("the events")
            .split_off(known);
        known += events.len();
        if backwards {
            events.reverse();
        }
        for event in events {
            assert_eq!(shop.webhook(&event).await.status, 200);
        }
        let order = shop.order(&session).await;
        assert_eq!(order["status"], "paid");
        assert_eq!(order["dispute"], if won { "won" } else { "lost" });
        let told: Vec<String> = sqlx::query_scalar(
            "select e.note from order_events e join checkouts c on c.order_id = e.order_id
             where c.session_id = $1 and e.kind = 'dispute'",
        )
        .bind(&session)
        .fetch_all(&shop.db)
        .await
        .expect("the timeline");
        let word = if won { "was won" } else { "was lost" };
        assert!(told.iter().any(|note| note.contains(word)), "{told:?}");
    }
    shop.audit().await;
}

/// A change by the owner.
async fn admin_sends(shop: &Shop, method: Method, path: &str, body: Value) -> Answer {
    let admin = shop.admin(&[Scope::Catalog, Scope::Stock]).await;
    admin.send_json(method, path, &body).await
}

#[tokio::test]
async fn what_changes_between_cart_and_payment_does_not_touch_the_order() {
    let shop = Shop::open().await;
    let changes = [
        ("Priced", Method::PATCH, "", json!({"price": 9900})),
        ("Switched", Method::PATCH, "", json!({"is_sold_out": true})),
        ("Archived", Method::POST, "archive/", json!({})),
        ("Deleted", Method::DELETE, "", json!({})),
    ];
    for (name, ..) in &changes {
        shop.stocks(name, 1).await;
    }
    shop.run_jobs().await;
    let mut sessions = Vec::new();
    for (name, method, path, body) in changes {
        let piece = name.to_lowercase();
        let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
        let path = format!("/api/products/{piece}/{path}");
        let answer = admin_sends(&shop, method, &path, body).await;
        assert!(answer.status < 300, "{}", answer.text);
        sessions.push((piece, session));
    }
    shop.run_jobs().await;
    for (piece, session) in sessions {
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop.deliver().await;
        let order = shop.order(&session).await;
        assert_eq!(
            (&order["status"], &order["total"]),
            (&json!("paid"), &json!(5200)),
            "{piece}"
        );
        assert_eq!(shop.stock(&piece).await, (0, 0), "{piece}");
    }
    shop.run_jobs().await;
    assert!(shop.at_stripe("refund").await.is_empty());
    shop.audit().await;
}

#[tokio::test]
async fn late_money_for_a_deleted_product_is_given_back() {
    let (shop, piece, session) = one_piece_held().await;
    release_too_early(&shop, &session).await;
    let answer = admin_sends(&shop, Method::DELETE, "/api/products/sunrise/", json!({})).await;
    assert_eq!(answer.status, 204);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.audit_after_refunds().await;
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert_eq!(shop.stock(&piece).await, (1, 0));
}

#[tokio::test]
async fn a_stock_correction_stops_at_what_is_held() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 2)]).await);
    let stock = "/api/products/sunrise/stock/";
    let lost = |delta: i32| json!({"delta": delta, "reason": "lost"});
    let answer = admin_sends(&shop, Method::POST, stock, lost(-2)).await;
    assert_eq!(
        (answer.status, answer.json["code"].as_str()),
        (409, Some("stock_is_held"))
    );
    assert_eq!(shop.stock(&piece).await, (3, 2));
    let answer = admin_sends(&shop, Method::POST, stock, lost(-1)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(shop.status_of(&session).await, "paid");
    assert_eq!(shop.stock(&piece).await, (0, 0));
    shop.audit().await;
}

#[tokio::test]
async fn what_is_no_longer_for_sale_is_named_at_the_checkout() {
    let shop = Shop::open().await;
    for name in ["Archived", "Deleted", "Switched"] {
        shop.stocks(name, 5).await;
    }
    admin_sends(
        &shop,
        Method::POST,
        "/api/products/archived/archive/",
        json!({}),
    )
    .await;
    admin_sends(&shop, Method::DELETE, "/api/products/deleted/", json!({})).await;
    admin_sends(
        &shop,
        Method::PATCH,
        "/api/products/switched/",
        json!({"is_sold_out": true}),
    )
    .await;
    let cart = [("archived", 1), ("deleted", 1), ("switched", 1)];
    let faults = [
        "product_not_active",
        "product_not_found",
        "product_sold_out",
    ];
    assert_eq!(shop.client.check_out(&cart).await.line_errors(), faults);
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
