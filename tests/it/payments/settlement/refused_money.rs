//! Late money without stock: its refund, through every failure.

use std::time::Duration;

use serde_json::json;
use spirit_beads::auth::Scope;
use stripe_sandbox::Fault;

use super::{MINUTE, late_money_without_stock, note_of};
use crate::support::{Leftover, Shop, card, session_of};

const REFUND: &str = "POST /v1/refunds";

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
    shop.leaves(Leftover::UnsettledMoney);
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
