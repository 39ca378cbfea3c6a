//! The sandbox's own interface over HTTP.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, KEY, SESSIONS, Stripe, session_form};

async fn command(stripe: &Stripe, method: Method, name: &str, body: &Value) -> Answer {
    let headers = [("authorization", format!("Bearer {KEY}"))];
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    stripe
        .send(method, &format!("/_sandbox/{name}"), &headers, body)
        .await
        .expect("an answer")
}

#[tokio::test]
async fn every_command_has_its_effect() {
    let stripe = Stripe::start().await;
    let session = stripe.open_session().await;
    let post = async |name: &str, body: Value| {
        let answer = command(&stripe, Method::POST, name, &body).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        answer.json
    };
    post("pay", json!({"session": session, "how": "delayed"})).await;
    post("settle", json!({"session": session, "succeeds": true})).await;
    let intent = &stripe.session(&session).await["payment_intent"];
    let part = post("refund", json!({"payment_intent": intent, "amount": 300})).await;
    post("fail_refund", json!({"refund": part["id"]})).await;
    let inquiry = json!({"payment_intent": intent, "is_inquiry": true});
    let dispute = post("dispute", inquiry).await;
    assert!(dispute["id"].as_str().expect("an id").starts_with("dp_"));
    for name in ["escalate_dispute", "answer_dispute"] {
        post(name, json!({"payment_intent": intent})).await;
    }
    post(
        "close_dispute",
        json!({"payment_intent": intent, "won": true}),
    )
    .await;
    for name in ["warn_of_fraud", "open_review", "approve_review"] {
        post(name, json!({"payment_intent": intent})).await;
    }
    let other = stripe.open_session().await;
    post("expire", json!({"session": other})).await;
    let delivered = post("deliver", Value::Null).await;
    let events = command(&stripe, Method::GET, "events", &Value::Null)
        .await
        .json;
    let events = events.as_array().expect("a list");
    assert_eq!(delivered["delivered"], events.len());
    let types: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().expect("a type"))
        .collect();
    for kind in [
        "checkout.session.async_payment_succeeded",
        "refund.failed",
        "charge.dispute.closed",
        "radar.early_fraud_warning.created",
        "review.closed",
        "checkout.session.expired",
    ] {
        assert!(types.contains(&kind), "{kind}");
    }
}

#[tokio::test]
async fn faults_are_planned_and_requests_read_from_another_process() {
    let stripe = Stripe::start().await;
    let slow = json!({"operation": "*", "fault": {"slow": 1}, "times": 2});
    for fault in [
        json!({"operation": "POST /v1/checkout/sessions", "fault": "card_error"}),
        slow,
    ] {
        let planned = command(&stripe, Method::POST, "faults", &fault).await;
        assert_eq!(planned.status, 200, "{}", planned.text);
    }
    for status in [402, 200] {
        let answer = stripe.post(SESSIONS, &session_form(&[]), None).await;
        assert_eq!(answer.status, status);
    }
    let drop = json!({"operation": "*", "fault": "drop", "times": 9});
    command(&stripe, Method::POST, "faults", &drop).await;
    let cleared = command(&stripe, Method::DELETE, "faults", &Value::Null).await;
    assert_eq!(cleared.status, 200);
    stripe.open_session().await;
    let requests = command(&stripe, Method::GET, "requests", &Value::Null).await;
    let requests = requests.json;
    assert_eq!(requests[0]["status"], 402);
    assert_eq!(requests[0]["operation"], "POST /v1/checkout/sessions");
    assert_eq!(requests[0]["params"][0], json!(["mode", "payment"]));
}

#[tokio::test]
async fn a_wrong_command_is_refused_and_so_is_a_caller_without_the_key() {
    let stripe = Stripe::start().await;
    for (method, name, body, status) in [
        (Method::POST, "pay", json!({}), 400),
        (Method::POST, "nothing", json!({}), 400),
        (Method::POST, "expire", json!([]), 400),
        (Method::POST, "expire", json!({"session": "cs_no"}), 409),
        (Method::GET, "nothing", Value::Null, 404),
    ] {
        let answer = command(&stripe, method, name, &body).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text);
        assert!(answer.json["error"]["message"].is_string(), "{name}");
    }
    assert_eq!(stripe.visit("/_sandbox/events").await.status, 401);
}
