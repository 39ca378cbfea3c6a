//! Refunds that we owe stay planned until Stripe has made them.

use std::time::Duration;

use serde_json::{Value, json};
use stripe_sandbox::Fault;

use super::{ORDER, REFUND, act, money, one_sold, refund_lines, refused};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_refund_that_stripe_does_not_take_now_stays_planned_until_it_does() {
    let (shop, session, admin) = one_sold().await;
    let faults = [
        (Fault::CardError402, "402"),
        (Fault::RateLimited, "429"),
        (refused(""), "Not now."),
        (refused("insufficient_funds"), "insufficient_funds"),
        (Fault::Unauthorized, "401"),
        (Fault::BadGateway, "unknown"),
        (Fault::Drop, "unknown"),
    ];
    for (made, (fault, why)) in faults.into_iter().enumerate() {
        shop.stripe.fail_next(REFUND, fault, 100);
        let body = json!({"amount": 500, "reason": format!("round {made}")});
        let asked = admin.post(&format!("{ORDER}refund/"), &body).await;
        assert_eq!(asked.status, 202, "{}", asked.text);
        for _ in 0..3 {
            let left = shop.run_failing_jobs().await;
            assert_eq!(left.len(), 1, "{left:?}");
            assert_eq!(left[0].0["job"], "send_refund");
            shop.hurry_jobs().await;
        }
        let refund = money(&admin).await["refunds"][made].clone();
        assert_eq!(refund["state"], "planned", "{why}: {refund}");
        assert_eq!(refund["attempts"], 3);
        assert!(refund["next_try_at"].is_string(), "{refund}");
        let error = refund["last_error"].as_str().expect("why");
        assert!(error.contains(why), "{error}");
        assert_eq!(
            shop.review_text(&session).await,
            "",
            "nobody has to do anything"
        );
        shop.stripe.clear_faults();
        shop.hears().await;
        let refund = money(&admin).await["refunds"][made].clone();
        assert_eq!(refund["state"], "succeeded", "{why}: {refund}");
        assert_eq!(refund["last_error"], Value::Null);
        assert_eq!(shop.at_stripe("refund").await.len(), made + 1, "{why}");
    }
    assert_eq!(shop.order(&session).await["refunded"], 3500);
    assert_eq!(refund_lines(&admin, ORDER).await.len(), 7);
    assert_eq!(shop.emails_of("order_refunded").await, 7);
    shop.audit().await;
}

#[tokio::test]
async fn a_failure_that_stripe_keeps_under_a_key_does_not_hold_a_refund_for_a_day() {
    let (shop, session, admin) = one_sold().await;
    let retry = async || {
        let id = money(&admin).await["refunds"][0]["id"].clone();
        let path = format!("/api/admin/refunds/{}/retry/", id.as_str().expect("an id"));
        assert_eq!(act(&admin, &path).await.status, 202);
    };
    // Nothing is done, and the answer is repeated under its key from now on; after it the line drops.
    shop.stripe.fail_next(REFUND, Fault::ServerError, 1);
    shop.stripe.fail_next(REFUND, Fault::Drop, 2);
    admin.post(&format!("{ORDER}refund/"), &json!({})).await;
    assert_eq!(shop.run_failing_jobs().await.len(), 1);
    // The line dropped last: Stripe may be at it, so the same key is asked again, and its failure is heard.
    retry().await;
    assert_eq!(shop.run_failing_jobs().await.len(), 1);
    assert_eq!(shop.refund_keys().len(), 1);
    retry().await;
    shop.hears().await;
    assert_eq!(shop.refund_keys().len(), 2);
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert_eq!(shop.status_of(&session).await, "refunded");
    shop.audit().await;
}

#[tokio::test]
async fn a_refund_that_was_made_although_stripe_failed_is_made_once() {
    for is_list_down in [false, true] {
        let (shop, session, admin) = one_sold().await;
        shop.stripe.fail_next(REFUND, Fault::ActThenServerError, 3);
        if is_list_down {
            shop.stripe
                .fail_next("GET /v1/refunds", Fault::ServerError, 3);
        }
        let body = json!({"amount": 2000});
        admin.post(&format!("{ORDER}refund/"), &body).await;
        let left = shop.run_failing_jobs().await;
        assert_eq!(left.len(), usize::from(is_list_down), "{left:?}");
        shop.hurry_jobs().await;
        shop.hears().await;
        assert_eq!(shop.at_stripe("refund").await.len(), 1);
        assert_eq!(shop.refund_keys().len(), 1);
        assert_eq!(shop.order(&session).await["refunded"], 2000);
        shop.audit().await;
    }
}

#[tokio::test]
async fn a_refund_without_an_answer_keeps_its_key() {
    let (shop, session, admin) = one_sold().await;
    admin.post(&format!("{ORDER}refund/"), &json!({})).await;
    for fault in [Fault::Drop, Fault::BadGateway, Fault::ActThenDrop] {
        shop.stripe.fail_next(REFUND, fault, 3);
        shop.run_failing_jobs().await;
        shop.stripe.clear_faults();
        shop.hurry_jobs().await;
    }
    shop.hears().await;
    assert_eq!(shop.refund_keys().len(), 1);
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert_eq!(shop.status_of(&session).await, "refunded");
    shop.audit().await;
}

#[tokio::test]
async fn the_same_refund_with_something_else_in_it_is_refused() {
    let (shop, _, admin) = one_sold().await;
    let id = "0193a000-0000-7000-8000-00000000000b";
    let path = format!("{ORDER}refund/");
    let asked = json!({"id": id, "amount": 2000, "reason": "Late"});
    for _ in 0..2 {
        assert_eq!(admin.post(&path, &asked).await.status, 202);
    }
    let restock = json!([{"product_id": "sunrise", "quantity": 1}]);
    for other in [
        json!({"id": id, "amount": 2000, "reason": "Late", "restock": restock}),
        json!({"id": id, "amount": 2000, "reason": "Broken"}),
        json!({"id": id, "amount": 2000}),
        json!({"id": id, "reason": "Late"}),
        json!({"id": id, "amount": 2001, "reason": "Late"}),
        json!({"id": id, "amount": 2000, "reason": "Late", "payment_id": "pi_other"}),
    ] {
        let answer = admin.post(&path, &other).await;
        assert_eq!(
            (answer.status, &answer.json["code"]),
            (409, &json!("refund_differs")),
            "{other}: {}",
            answer.text
        );
    }
    shop.hears().await;
    assert_eq!(admin.post(&path, &asked).await.status, 202);
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert_eq!(shop.stock("sunrise").await, (0, 0));

    // All that is left, and then the same by its amount.
    let id = "0193a000-0000-7000-8000-00000000000c";
    let all = json!({"id": id, "restock": restock});
    let named = json!({"id": id, "amount": 3200, "restock": restock});
    for body in [&all, &named, &all] {
        let answer = admin.post(&path, body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    shop.hears().await;
    assert_eq!(shop.at_stripe("refund").await.len(), 2);
    assert_eq!(shop.stock("sunrise").await, (1, 0));
    shop.audit().await;
}

#[tokio::test]
async fn a_refund_that_fails_for_long_is_shown_once_and_tried_on() {
    let (shop, session, admin) = one_sold().await;
    shop.stripe.fail_next(REFUND, Fault::CardError402, 100);
    admin.post(&format!("{ORDER}refund/"), &json!({})).await;
    shop.run_failing_jobs().await;
    assert_eq!(shop.review_text(&session).await, "");
    shop.wait(2 * HOUR).await;
    for _ in 0..2 {
        shop.hurry_jobs().await;
        assert_eq!(shop.run_failing_jobs().await.len(), 1);
    }
    let why = shop.review_text(&session).await;
    assert!(
        why.contains("$52.00") && why.contains("does not go through"),
        "{why}"
    );
    let shown: i64 = sqlx::query_scalar(
        "select count(*) from order_events where note like '%does not go through%'",
    )
    .fetch_one(&shop.db)
    .await
    .expect("the timeline");
    assert_eq!(shown, 1);

    // The queue gives its job up after days: it comes again by the sweep.
    sqlx::query("update graphile_worker._private_jobs set attempts = max_attempts")
        .execute(&shop.db)
        .await
        .expect("a job given up");
    shop.sweep().await;
    assert_eq!(
        shop.run_failing_jobs().await.len(),
        1,
        "not before its time"
    );
    assert!(shop.at_stripe("refund").await.is_empty());
    shop.stripe.clear_faults();
    shop.wait(7 * HOUR).await;
    shop.sweep().await;
    let left = shop.run_failing_jobs().await;
    assert_eq!(left.len(), 1, "only the one that was given up: {left:?}");
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    sqlx::query("delete from graphile_worker._private_jobs where attempts >= max_attempts")
        .execute(&shop.db)
        .await
        .expect("somebody deletes it");
    shop.hears().await;
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert_eq!(shop.status_of(&session).await, "refunded");
    shop.audit().await;
}

#[tokio::test]
async fn a_refund_that_waited_long_is_looked_at_no_more_once_stripe_has_answered() {
    for (answer, is_made) in [(None, true), (Some("charge_disputed"), false)] {
        let (shop, session, admin) = one_sold().await;
        shop.stripe.fail_next(REFUND, Fault::ServerError, 100);
        admin.post(&format!("{ORDER}refund/"), &json!({})).await;
        sqlx::query("update refunds set created_at = now() - interval '2 hours'")
            .execute(&shop.db)
            .await
            .expect("an old refund");
        assert_eq!(shop.run_failing_jobs().await.len(), 1);
        let why = shop.review_text(&session).await;
        assert!(why.contains("does not go through yet"), "{why}");

        shop.stripe.clear_faults();
        if let Some(code) = answer {
            shop.stripe.fail_next(REFUND, refused(code), 1);
        }
        shop.hurry_jobs().await;
        shop.hears().await;
        let items = shop.order(&session).await["review_items"].clone();
        let left = items.as_array().expect("a list");
        assert_eq!(left.len(), usize::from(!is_made), "{items}");
        assert!(!items.to_string().contains("go through yet"), "{items}");
    }
}

#[tokio::test]
async fn a_refusal_that_is_final_is_shown_and_can_be_tried_again_once() {
    for code in [
        "charge_disputed",
        "refund_disputed_payment",
        "charge_not_refundable",
        "charge_already_refunded",
        "resource_missing",
    ] {
        let (shop, session, admin) = one_sold().await;
        shop.stripe.fail_next(REFUND, refused(code), 1);
        admin
            .post(&format!("{ORDER}refund/"), &json!({"amount": 2000}))
            .await;
        shop.run_jobs().await;
        let refund = money(&admin).await["refunds"][0].clone();
        assert_eq!(
            (&refund["state"], &refund["is_retryable"]),
            (&json!("failed"), &json!(true))
        );
        let why = shop.review_text(&session).await;
        assert!(why.contains("$20.00") && why.contains(code), "{why}");
        assert_eq!(money(&admin).await["refundable"], 5200);

        let path = format!(
            "/api/admin/refunds/{}/retry/",
            refund["id"].as_str().expect("an id")
        );
        let again = act(&admin, &path).await;
        assert_eq!(again.status, 202, "{}", again.text);
        assert_ne!(again.json["id"], refund["id"]);
        assert_eq!(
            act(&admin, &path).await.json["id"],
            again.json["id"],
            "twice is once"
        );
        shop.hears().await;
        assert_eq!(act(&admin, &path).await.json["id"], again.json["id"]);
        assert_eq!(shop.at_stripe("refund").await.len(), 1);
        assert_eq!(shop.order(&session).await["refunded"], 2000);
        let id = again.json["id"].as_str().expect("an id");
        let made = act(&admin, &format!("/api/admin/refunds/{id}/retry/")).await;
        assert_eq!(
            (made.status, &made.json["code"]),
            (409, &json!("refund_is_made"))
        );
        assert_eq!(shop.refund_keys().len(), 2, "a key of its own");
        assert_eq!(shop.review_text(&session).await, "", "it was made again");
        shop.audit().await;
    }
    let (_shop, _, admin) = one_sold().await;
    let nobody = "/api/admin/refunds/0193a000-0000-7000-8000-00000000000b/retry/";
    assert_eq!(act(&admin, nobody).await.status, 404);
}

#[tokio::test]
async fn a_refund_that_waits_is_tried_at_once_on_demand() {
    let (shop, session, admin) = one_sold().await;
    shop.stripe.fail_next(REFUND, Fault::RateLimited, 3);
    admin.post(&format!("{ORDER}refund/"), &json!({})).await;
    assert_eq!(shop.run_failing_jobs().await.len(), 1);
    let id = money(&admin).await["refunds"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let asked = act(&admin, &format!("/api/admin/refunds/{id}/retry/")).await;
    assert_eq!(
        (asked.status, asked.json["id"].as_str()),
        (202, Some(id.as_str()))
    );
    shop.hears().await;
    assert_eq!(shop.status_of(&session).await, "refunded");
    assert_eq!(
        shop.refund_keys().len(),
        1,
        "the same request has the same key"
    );
}

#[tokio::test]
async fn the_amount_due_is_counted_again_when_a_refund_is_sent() {
    for (elsewhere, made, refunds) in [(Some(1200), Some(4000), 2), (None, None, 1)] {
        for is_down_first in [false, true] {
            let (shop, session, admin) = one_sold().await;
            let payment = shop.payment_of(&session).await;
            admin
                .post(
                    &format!("{ORDER}refund/"),
                    &json!({"reason": "Lost in the mail"}),
                )
                .await;
            if is_down_first {
                shop.stripe.fail_next(REFUND, Fault::RateLimited, 100);
                assert_eq!(shop.run_failing_jobs().await.len(), 1);
                shop.stripe.clear_faults();
                shop.hurry_jobs().await;
            }
            // At the dashboard, and nobody has told us.
            shop.stripe
                .refund(&payment, elsewhere)
                .await
                .expect("a refund");
            shop.run_jobs().await;
            let at_stripe = shop.at_stripe("refund").await;
            assert_eq!(at_stripe.len(), refunds);
            if let Some(amount) = made {
                assert_eq!(at_stripe[1]["amount"], amount);
                let keys = shop.refund_keys();
                assert_eq!(keys.len(), 2, "another amount has another key: {keys:?}");
            }
            shop.hears().await;
            let refund = money(&admin).await["refunds"][0].clone();
            assert_eq!(refund["state"], "succeeded");
            assert_eq!(shop.status_of(&session).await, "refunded");
            assert_eq!(shop.order(&session).await["refunded"], 5200);
            let told = refund_lines(&admin, ORDER).await;
            let lines: Vec<&str> = told.iter().map(|(_, line)| line.as_str()).collect();
            let expected: &[&str] = match made {
                Some(_) => &[
                    "Refunded $12.00 at Stripe.",
                    "Refunded $40.00: Lost in the mail.",
                ],
                None => &[
                    "Refunded $52.00 at Stripe.",
                    "Nothing was left to refund: $52.00 had been refunded at Stripe already.",
                ],
            };
            for line in expected {
                assert!(lines.contains(line), "{line}: {lines:?}");
            }
            assert_eq!(lines.len(), expected.len(), "{lines:?}");
            assert_eq!(shop.emails_of("order_refunded").await, refunds as i64);
            shop.audit().await;
        }
    }
}
