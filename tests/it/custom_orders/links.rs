//! Payment links of quotes: made once, through every failure.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use stripe_sandbox::Fault;

use super::{CLOSING, LINKS, Workshop, current, quote, text};
use crate::support::at_once;

#[tokio::test]
async fn fifty_approvals_at_once_make_one_link_and_one_email() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    let path = workshop.path("approve");
    let answers = at_once((0..50).map(|_| {
        let (admin, path) = (workshop.admin.clone(), path.clone());
        async move {
            admin
                .send(Method::POST, &path, &[], None::<String>)
                .await
                .status
        }
    }))
    .await;
    assert_eq!(answers, vec![202; 50]);
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.post("approve").await.status, 200, "safe to repeat");
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.shop.at_stripe("payment_link").await.len(), 1);
    assert_eq!(workshop.emails("custom_order_approved").await, 1);
    assert_eq!(workshop.moves().await, ["pending→approved"]);
}

#[tokio::test]
async fn a_crash_between_making_a_link_and_recording_it_leaves_one_link() {
    for fault in [
        Fault::ActThenDrop,
        Fault::ActThenServerError,
        Fault::ActThenHang,
    ] {
        let workshop = Workshop::open().await;
        assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
        assert_eq!(workshop.post("approve").await.status, 202);
        // Every try of the first run is answered by nothing, and the search for what it made fails as well: as if the
        // worker had died.
        workshop.shop.stripe.fail_next(LINKS, fault, 3);
        workshop
            .shop
            .stripe
            .fail_next("GET /v1/payment_links", Fault::ServerError, 9);
        let left = workshop.shop.run_failing_jobs().await;
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(workshop.status().await, "pending");

        workshop.shop.stripe.clear_faults();
        workshop.shop.hurry_jobs().await;
        workshop.shop.run_jobs().await;
        assert_eq!(workshop.status().await, "approved");
        assert_eq!(workshop.shop.at_stripe("payment_link").await.len(), 1);
        assert_eq!(workshop.emails("custom_order_approved").await, 1);
    }
}

#[tokio::test]
async fn a_link_whose_answer_was_lost_for_longer_than_stripe_knows_its_key_is_found() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    assert_eq!(workshop.post("approve").await.status, 202);
    let stripe = &workshop.shop.stripe;
    stripe.fail_next(LINKS, Fault::ActThenDrop, 3);
    stripe.fail_next("GET /v1/payment_links", Fault::ServerError, 9);
    assert_eq!(workshop.shop.run_failing_jobs().await.len(), 1);

    stripe.clear_faults();
    workshop.shop.wait(Duration::from_secs(25 * 3600)).await;
    workshop.shop.hurry_jobs().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "approved");
    assert_eq!(workshop.shop.at_stripe("payment_link").await.len(), 1);
}

#[tokio::test]
async fn a_quote_that_was_drafted_days_ago_gets_its_link_without_a_search() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    workshop.shop.wait(Duration::from_secs(72 * 3600)).await;
    // Stripe's list may be longer than we look through.
    let stripe = &workshop.shop.stripe;
    stripe.fail_next("GET /v1/payment_links", Fault::ServerError, 9);
    assert_eq!(workshop.post("approve").await.status, 202);
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "approved");
    let asked = stripe.requests();
    assert!(
        asked
            .iter()
            .all(|asked| asked.operation != "GET /v1/payment_links")
    );
}

#[tokio::test]
async fn a_link_that_could_not_be_looked_for_is_not_made_under_another_key() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    assert_eq!(workshop.post("approve").await.status, 202);
    let stripe = &workshop.shop.stripe;
    for _ in 0..4 {
        stripe.fail_next(LINKS, Fault::ActThenDrop, 3);
        stripe.fail_next("GET /v1/payment_links", Fault::BadGateway, 3);
        assert_eq!(workshop.shop.run_failing_jobs().await.len(), 1);
        stripe.clear_faults();
        workshop.shop.hurry_jobs().await;
    }
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "approved");
    assert_eq!(workshop.shop.at_stripe("payment_link").await.len(), 1);
}

#[tokio::test]
async fn a_failure_that_stripe_keeps_under_a_key_does_not_hold_a_quote_for_a_day() {
    let workshop = Workshop::open().await;
    // Nor in a shop that has made many links before.
    sqlx::query(
        "insert into stripe_sandbox.objects (id, object, created, data)
         select id, 'payment_link', 0,
                jsonb_build_object('id', id, 'object', 'payment_link', 'active', false,
                                   'url', 'https://buy.stripe.com/' || id, 'metadata', '{}'::jsonb)
         from (select 'plink_old' || n from generate_series(1, 700) as n) as old (id)",
    )
    .execute(&workshop.shop.db)
    .await
    .expect("many links");
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    assert_eq!(workshop.post("approve").await.status, 202);
    // Nothing is done, and the answer is repeated under its key from now on.
    workshop.shop.stripe.fail_next(LINKS, Fault::ServerError, 1);
    for _ in 0..4 {
        workshop.shop.run_failing_jobs().await;
        workshop.shop.hurry_jobs().await;
    }
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "approved");
    assert_eq!(workshop.shop.at_stripe("payment_link").await.len(), 701);
}

#[tokio::test]
async fn an_outage_of_stripe_delays_an_approval_and_loses_nothing() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    workshop.shop.stripe.fail_next(LINKS, Fault::RateLimited, 3);
    let planned = workshop.post("approve").await;
    assert_eq!(planned.status, 202);
    assert_eq!(current(&planned.json)["state"], "asking");
    assert_eq!(workshop.shop.run_failing_jobs().await.len(), 1);
    let waiting = workshop.view().await;
    assert!(current(&waiting)["last_error"].is_string(), "{waiting:#}");
    workshop.shop.hurry_jobs().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "approved");
}

#[tokio::test]
async fn a_link_that_stripe_refuses_is_shown_and_can_be_quoted_again() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    let refusal = Fault::Refused {
        code: "parameter_invalid".to_owned(),
        message: "No".to_owned(),
        param: None,
    };
    workshop.shop.stripe.fail_next(LINKS, refusal, 1);
    assert_eq!(workshop.post("approve").await.status, 202);
    workshop.shop.run_jobs().await;
    let view = workshop.view().await;
    assert_eq!(view["status"], "pending");
    assert_eq!(view["quotes"][0]["state"], "refused");
    assert!(text(&view["review_items"][0]["text"]).contains("parameter_invalid"));
    workshop.quotes(8000).await;
    let seen_to = workshop.post("resolve").await;
    assert_eq!(seen_to.status, 200);
    assert_eq!(seen_to.json["review_items"][0]["text"], Value::Null);
    assert_eq!(workshop.post("resolve").await.status, 200, "safe to repeat");
}

#[tokio::test]
async fn a_link_whose_answer_was_lost_is_found_again_at_once() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    assert_eq!(workshop.post("approve").await.status, 202);
    workshop
        .shop
        .stripe
        .fail_next(LINKS, Fault::ActThenServerError, 3);
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "approved");
    assert_eq!(workshop.shop.at_stripe("payment_link").await.len(), 1);
}

#[tokio::test]
async fn a_link_that_stripe_will_not_close_is_shown_to_the_owner_once() {
    let (workshop, _) = Workshop::quoted().await;
    assert_eq!(workshop.post_with("withdraw", &json!({})).await.status, 202);
    for _ in 0..3 {
        let refusal = Fault::Refused {
            code: "resource_locked".to_owned(),
            message: "No".to_owned(),
            param: None,
        };
        workshop.shop.stripe.fail_next(CLOSING, refusal, 1);
        workshop.shop.run_failing_jobs().await;
        workshop.shop.hurry_jobs().await;
    }
    let view = workshop.view().await;
    assert!(text(&view["review_items"][0]["text"]).contains("could not be closed"));
    let told = view["timeline"].as_array().expect("a timeline").iter();
    let told = told.filter(|entry| text(&entry["note"]).contains("could not be closed"));
    assert_eq!(told.count(), 1);
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "pending");
}

#[tokio::test]
async fn a_lost_job_is_queued_again_by_the_clock() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    for (what, status) in [("approve", "approved"), ("withdraw", "pending")] {
        assert_eq!(workshop.post_with(what, &json!({})).await.status, 202);
        sqlx::query("delete from graphile_worker._private_jobs")
            .execute(&workshop.shop.db)
            .await
            .expect("the queue");
        workshop.shop.sweep_all().await;
        workshop.shop.run_jobs().await;
        assert_ne!(workshop.status().await, status, "it may still be under way");
        workshop.shop.wait(Duration::from_secs(11 * 60)).await;
        workshop.shop.sweep_all().await;
        workshop.shop.run_jobs().await;
        assert_eq!(workshop.status().await, status);
    }
}
