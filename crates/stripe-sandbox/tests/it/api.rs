//! Keys, idempotency, faults and parameters.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use stripe_sandbox::Fault;

use crate::support::{KEY, SESSIONS, Stripe, session_form};

#[tokio::test]
async fn a_key_gives_the_same_answer_and_no_other_request_may_use_it() {
    let stripe = Stripe::start().await;
    let first = stripe.post(SESSIONS, &session_form(&[]), Some("k1")).await;
    let again = stripe.post(SESSIONS, &session_form(&[]), Some("k1")).await;
    assert_eq!((again.status, &again.json["id"]), (200, &first.json["id"]));
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.header("original-request"), first.header("request-id"));
    for (path, form) in [
        (SESSIONS, session_form(&[("client_reference_id", "x")])),
        ("/v1/products", vec![("name", "x")]),
    ] {
        let other = stripe.post(path, &form, Some("k1")).await;
        assert_eq!(
            (other.status, &other.json["error"]["type"]),
            (400, &json!("idempotency_error"))
        );
    }
    for key in ["", &"k".repeat(256)] {
        let refused = stripe.post(SESSIONS, &session_form(&[]), Some(key)).await;
        assert_eq!(refused.json["error"]["type"], "idempotency_error", "{key}");
    }
    // A parameter refused is not kept under the key; a 500 is.
    let refused = stripe
        .post(SESSIONS, &session_form(&[("mode", "-")]), Some("k2"))
        .await;
    assert_eq!(refused.status, 400);
    let accepted = stripe.post(SESSIONS, &session_form(&[]), Some("k2")).await;
    assert_eq!(accepted.status, 200);
    stripe
        .sandbox
        .fail_next("POST /v1/checkout/sessions", Fault::ServerError, 1);
    for replayed in ["", "true"] {
        let failed = stripe.post(SESSIONS, &session_form(&[]), Some("k3")).await;
        assert_eq!(
            (failed.status, failed.header("idempotent-replayed")),
            (500, replayed)
        );
    }
    stripe.sandbox.fail_next("*", Fault::RateLimited, 1);
    for status in [429, 200] {
        let answer = stripe.post(SESSIONS, &session_form(&[]), Some("k4")).await;
        assert_eq!(answer.status, status);
    }
    assert_eq!(stripe.count_sessions().await, 3);
}

#[tokio::test]
async fn a_fault_answers_as_its_name_says() {
    let stripe = Stripe::start().await;
    for (fault, status, kind) in [
        (Fault::CardError402, 402, json!("card_error")),
        (Fault::Unauthorized, 401, json!("invalid_request_error")),
        (Fault::BadGateway, 502, Value::Null),
        (
            Fault::Refused {
                code: "x".into(),
                message: "No.".into(),
                param: None,
            },
            400,
            json!("invalid_request_error"),
        ),
    ] {
        stripe.sandbox.fail_next("*", fault, 1);
        let answer = stripe.post(SESSIONS, &session_form(&[]), None).await;
        assert_eq!(
            (answer.status, &answer.json["error"]["type"]),
            (status, &kind)
        );
        let logged = stripe.sandbox.requests().pop().expect("a request");
        assert_eq!(logged.status, Some(status));
    }
    assert_eq!(stripe.count_sessions().await, 0);

    stripe.sandbox.fail_next("*", Fault::Drop, 3);
    stripe.sandbox.clear_faults();
    stripe.open_session().await;
}

#[tokio::test]
async fn the_key_tells_whether_a_lost_request_was_carried_out() {
    let stripe = Stripe::start().await;
    for (key, fault, made) in [
        ("act, 500", Fault::ActThenServerError, 1),
        ("drop", Fault::Drop, 0),
        ("act, drop", Fault::ActThenDrop, 1),
        ("hang", Fault::Hang, 0),
        ("act, hang", Fault::ActThenHang, 1),
    ] {
        let before = stripe.count_sessions().await;
        stripe
            .sandbox
            .fail_next("POST /v1/checkout/sessions", fault, 1);
        let patience = Duration::from_millis(300);
        let answer = stripe
            .try_post(SESSIONS, &session_form(&[]), Some(key), patience)
            .await;
        assert!(answer.is_none_or(|answer| answer.status == 500), "{key}");
        assert_eq!(stripe.count_sessions().await, before + made, "{key}");
        let answer = stripe.post(SESSIONS, &session_form(&[]), Some(key)).await;
        assert_eq!(
            (answer.status, stripe.count_sessions().await),
            (200, before + 1),
            "{key}"
        );
    }
}

#[tokio::test]
async fn while_a_request_runs_another_under_its_key_is_refused() {
    let stripe = Stripe::start().await;
    stripe
        .sandbox
        .fail_next("*", Fault::Slow(Duration::from_millis(300)), 1);
    let form = session_form(&[]);
    let (one, two) = tokio::join!(stripe.post(SESSIONS, &form, Some("slow")), async {
        while stripe.sandbox.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        stripe.post(SESSIONS, &form, Some("slow")).await
    });
    let (slow, busy) = if one.status == 200 {
        (one, two)
    } else {
        (two, one)
    };
    assert_eq!(slow.status, 200);
    assert_eq!(busy.error(), (409, "idempotency_key_in_use"));
}

#[tokio::test]
async fn parameters_are_refused_as_stripe_refuses_them() {
    let stripe = Stripe::start().await;
    for (change, code, param) in [
        (("shop", "1"), "parameter_unknown", "shop"),
        (("mode", "-"), "parameter_missing", "mode"),
        (("success_url", "-"), "parameter_missing", "success_url"),
        (
            ("success_url", "javascript:alert(1)"),
            "url_invalid",
            "success_url",
        ),
        (("expires_at", "1"), "", "expires_at"),
        (("expires_at", "9999999999"), "", "expires_at"),
        (
            ("expires_at", "x"),
            "parameter_invalid_integer",
            "expires_at",
        ),
        (
            ("line_items[0][quantity]", "0"),
            "parameter_invalid_integer",
            "line_items[0][quantity]",
        ),
        (
            ("line_items[0][price_data][unit_amount]", "40"),
            "amount_too_small",
            "line_items",
        ),
        (
            ("line_items[0][price_data][unit_amount]", "100000000"),
            "amount_too_large",
            "line_items[0][price_data][unit_amount]",
        ),
        (
            ("line_items[1][price]", "price_no"),
            "resource_missing",
            "line_items[1][price]",
        ),
    ] {
        let mut form = session_form(&[change]);
        if change.1 == "price_no" {
            form.push(("line_items[1][quantity]", "1"));
        }
        let answer = stripe.post(SESSIONS, &form, None).await;
        let error = &answer.json["error"];
        assert_eq!(answer.error(), (400, code), "{error}");
        assert_eq!(error["param"], param, "{error}");
    }
    assert_eq!(stripe.get("/v1/products/prod_no").await.status, 404);
    assert_eq!(stripe.get("/v1/nothing").await.status, 404);
}

#[tokio::test]
async fn only_the_secret_key_is_accepted_in_either_form() {
    let stripe = Stripe::start().await;
    let basic = base64(&format!("{KEY}:"));
    for (authorization, status) in [
        (format!("Bearer {KEY}"), 200),
        (format!("Basic {basic}"), 200),
        ("Bearer sk_other".to_owned(), 401),
        (format!("Basic {}", base64("sk_other:")), 401),
        (KEY.to_owned(), 401),
    ] {
        let headers = [("authorization", authorization.clone())];
        let answer = stripe
            .send(Method::GET, "/v1/events", &headers, String::new())
            .await
            .expect("an answer");
        assert_eq!(answer.status, status, "{authorization}");
    }
    assert_eq!(stripe.visit("/v1/events").await.status, 401);
}

#[tokio::test]
async fn a_default_price_is_not_archived_and_an_archived_one_not_sold() {
    let stripe = Stripe::start().await;
    let id = stripe.post("/v1/products", &[("name", "Sun")], None).await;
    let id = &id.id();
    let mut prices = Vec::new();
    for amount in ["900", "800"] {
        let form = [
            ("product", id.as_str()),
            ("currency", "usd"),
            ("unit_amount", amount),
        ];
        prices.push(stripe.post("/v1/prices", &form, None).await.id());
    }
    let price = format!("/v1/prices/{}", prices[0]);
    let product = format!("/v1/products/{id}");
    let change =
        async |path: &str, name: &str, value: &str| stripe.post(path, &[(name, value)], None).await;
    let sell = async |price: &str| {
        let form = [
            ("mode", "payment"),
            ("success_url", "http://shop.test/"),
            ("line_items[0][price]", price),
            ("line_items[0][quantity]", "1"),
        ];
        stripe.post(SESSIONS, &form, None).await.status
    };
    change(&product, "default_price", &prices[0]).await;
    assert_eq!(sell(&prices[0]).await, 200);
    assert_eq!(change(&price, "active", "false").await.status, 400);
    let amount = change(&price, "unit_amount", "5").await;
    assert_eq!(amount.error(), (400, "parameter_unknown"));
    change(&product, "default_price", &prices[1]).await;
    assert_eq!(change(&price, "active", "false").await.status, 200);
    assert_eq!((sell(&prices[0]).await, sell(&prices[1]).await), (400, 200));
    change(&product, "active", "false").await;
    assert_eq!(sell(&prices[1]).await, 400);
}

#[tokio::test]
async fn metadata_is_merged_key_by_key() {
    let stripe = Stripe::start().await;
    let form = [("name", "Sun"), ("metadata[a]", "1"), ("metadata[b]", "2")];
    let id = stripe.post("/v1/products", &form, None).await.id();
    let path = format!("/v1/products/{id}");
    let form = [("metadata[b]", ""), ("metadata[c]", "3")];
    let changed = stripe.post(&path, &form, None).await;
    assert_eq!(changed.json["metadata"], json!({"a": "1", "c": "3"}));
    let cleared = stripe.post(&path, &[("metadata", "")], None).await;
    assert_eq!(cleared.json["metadata"], json!({}));
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}
