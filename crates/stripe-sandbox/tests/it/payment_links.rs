//! Payment links.

use serde_json::{Value, json};

use crate::support::{Stripe, card};

/// Makes a link that takes one payment of 80 dollars; returns its id.
async fn create(stripe: &Stripe) -> String {
    let form = [
        ("line_items[0][quantity]", "1"),
        ("line_items[0][price_data][currency]", "usd"),
        ("line_items[0][price_data][unit_amount]", "8000"),
        ("line_items[0][price_data][product_data][name]", "Raven"),
        ("restrictions[completed_sessions][limit]", "1"),
        ("inactive_message", "This offer has ended."),
        ("metadata[quote]", "17"),
    ];
    stripe.post("/v1/payment_links", &form, None).await.id()
}

async fn link(stripe: &Stripe, id: &str) -> Value {
    stripe.get(&format!("/v1/payment_links/{id}")).await.json
}

#[tokio::test]
async fn of_a_links_open_sessions_as_many_complete_as_its_limit_allows() {
    let stripe = Stripe::start().await;
    let id = create(&stripe).await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(stripe.sandbox.open_link(&id).await.expect("a session"));
    }
    let pay = |session| stripe.sandbox.pay(session, card());
    let [a, b, c, d] = [0, 1, 2, 3].map(|index| pay(&sessions[index]));
    let outcomes = tokio::join!(a, b, c, d);
    let outcomes = [outcomes.0, outcomes.1, outcomes.2, outcomes.3];
    let paid = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(paid, 1, "{outcomes:?}");
    let used_up = link(&stripe, &id).await;
    assert_eq!(used_up["active"], false);
    assert_eq!(
        used_up["restrictions"],
        json!({"completed_sessions": {"count": 1, "limit": 1}})
    );
    let refused = stripe.sandbox.open_link(&id).await;
    let message = refused.expect_err("no more sessions").to_string();
    assert_eq!(message, "This offer has ended.");
    let session = stripe.session(&sessions[0]).await;
    assert_eq!(session["metadata"], json!({"quote": "17"}));
    assert_eq!(session["payment_link"], json!(id));
}

#[tokio::test]
async fn the_links_page_leads_to_a_payment_page_until_it_is_closed() {
    let stripe = Stripe::start().await;
    let id = create(&stripe).await;
    let page = format!("/sandbox/link/{id}");
    let opened = stripe.visit(&page).await;
    assert_eq!(opened.status, 303);
    let payment_page = opened.header("location");
    assert!(payment_page.starts_with("/sandbox/pay/cs_test_"));
    assert!(stripe.visit(payment_page).await.text.contains("$80.00"));
    stripe
        .sandbox
        .deactivate_link(&id)
        .await
        .expect("a closed link");
    let closed = stripe.visit(&page).await;
    assert_eq!(closed.status, 410);
    assert!(closed.text.contains("This offer has ended."));
    // A session that is open stays so.
    assert_eq!(stripe.visit(payment_page).await.status, 200);
    for odd in ["plink_no", "%00"] {
        let none = stripe.visit(&format!("/sandbox/link/{odd}")).await;
        assert_eq!(none.status, 404, "{odd}");
    }
}

#[tokio::test]
async fn looking_at_a_links_head_opens_no_session() {
    let stripe = Stripe::start().await;
    let id = create(&stripe).await;
    let page = format!("/sandbox/link/{id}");
    let head = stripe
        .send(axum::http::Method::HEAD, &page, &[], String::new())
        .await
        .expect("an answer");
    assert_eq!((head.status, stripe.count_sessions().await), (200, 0));
}

#[tokio::test]
async fn a_link_is_changed_but_its_lines_are_not() {
    let stripe = Stripe::start().await;
    let id = create(&stripe).await;
    let path = format!("/v1/payment_links/{id}");
    let form = [
        ("restrictions[completed_sessions][limit]", "2"),
        ("metadata[quote]", ""),
    ];
    let changed = stripe.post(&path, &form, None).await.json;
    assert_eq!(changed["restrictions"]["completed_sessions"]["limit"], 2);
    assert_eq!(changed["metadata"], json!({}));
    let line = link(&stripe, &id).await["line_items"].clone();
    assert_eq!(line, Value::Null);
    let refused = stripe
        .post(
            &path,
            &[("restrictions[completed_sessions][limit]", "0")],
            None,
        )
        .await;
    assert_eq!(refused.error(), (400, "parameter_invalid_integer"));
}
