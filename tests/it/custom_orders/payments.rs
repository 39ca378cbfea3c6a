//! Payments of quotes: early, late, twice, of another amount.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use stripe_sandbox::Fault;

use super::{LINKS, Workshop, quote, text};
use crate::support::{at_once, card, delayed};

#[tokio::test]
async fn a_webhook_repeated_fifty_times_makes_one_order() {
    let (workshop, link) = Workshop::quoted().await;
    workshop.pays(&link, card()).await;
    let event = workshop.shop.event("checkout.session.completed").await;
    let payload = event.to_string();
    let signature = workshop.shop.stripe.sign(&payload);
    let statuses = at_once((0..50).map(|_| {
        let (client, payload) = (workshop.shop.client.clone(), payload.clone());
        let signature = signature.clone();
        async move {
            let headers = [("stripe-signature", signature.as_str())];
            let path = "/api/payments/webhook/";
            client
                .send(Method::POST, path, &headers, Some(payload))
                .await
                .status
        }
    }))
    .await;
    assert_eq!(statuses, vec![200; 50]);
    workshop.shop.run_jobs().await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.shop.statuses().await, ["paid"]);
    assert_eq!(
        workshop.moves().await,
        ["pending→approved", "approved→paid"]
    );
    assert_eq!(workshop.emails("payment_received").await, 1);
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_payment_on_a_closed_quote_is_given_back_in_full() {
    let (workshop, link) = Workshop::quoted().await;
    let session = workshop.pays(&link, card()).await;
    // Closed meanwhile, whatever the reason: the payment comes too late.
    for sql in [
        "update custom_order_quotes set state = 'closed'",
        "update custom_orders set status = 'expired'",
    ] {
        sqlx::query(sql)
            .execute(&workshop.shop.db)
            .await
            .expect("a change");
    }
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    let payment = workshop.shop.payment_of(&session).await;
    let refunds = workshop.shop.at_stripe("refund").await;
    assert_eq!(refunds.len(), 1);
    assert_eq!(refunds[0]["payment_intent"], payment.as_str());
    assert_eq!(refunds[0]["amount"], 9500);
    let view = workshop.view().await;
    assert_eq!(view["status"], "expired");
    assert!(text(&view["review_items"][0]["text"]).contains("refunded in full"));
    assert!(workshop.shop.statuses().await.is_empty());
    assert_eq!(workshop.emails("could_not_fulfill").await, 1);
    assert_eq!(workshop.emails("could_not_fulfill_notice").await, 1);
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_second_payment_is_impossible_or_given_back() {
    let (workshop, link) = Workshop::quoted().await;
    let (first, second) = (workshop.opens(&link).await, workshop.opens(&link).await);
    workshop
        .shop
        .stripe
        .pay(&first, card())
        .await
        .expect("a payment");
    assert!(workshop.shop.stripe.pay(&second, card()).await.is_err());
    assert!(workshop.shop.stripe.open_link(&link).await.is_err());
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;

    // Should Stripe take one all the same, it is refunded.
    let mut event = workshop.shop.event("checkout.session.completed").await;
    event["id"] = json!("evt_second");
    event["data"]["object"]["id"] = json!("cs_second");
    event["data"]["object"]["payment_intent"] = json!("pi_second");
    assert_eq!(workshop.shop.webhook(&event).await.status, 200);
    let planned: Vec<(String, i64)> =
        sqlx::query_as("select payment_id, amount from refunds where state = 'planned'")
            .fetch_all(&workshop.shop.db)
            .await
            .expect("the refunds");
    assert_eq!(planned, [("pi_second".to_owned(), 9500)]);
    assert_eq!(workshop.shop.statuses().await, ["paid"]);
    // Stripe does not know this payment, so the refund fails: the owner is told where they look.
    workshop.shop.run_jobs().await;
    assert!(text(&workshop.view().await["review_items"][0]["text"]).contains("by hand"));
}

#[tokio::test]
async fn a_payment_of_another_amount_is_given_back_and_the_quote_is_closed() {
    let (workshop, link) = Workshop::quoted().await;
    sqlx::query("update custom_order_quotes set amount = amount + 100")
        .execute(&workshop.shop.db)
        .await
        .expect("a change");
    workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    let view = workshop.view().await;
    assert_eq!(view["status"], "expired");
    assert_eq!(workshop.shop.at_stripe("refund").await[0]["amount"], 9500);
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_delayed_payment_keeps_its_quote_until_it_is_decided() {
    for succeeds in [true, false] {
        let (workshop, link) = Workshop::quoted().await;
        let session = workshop.pays(&link, delayed()).await;
        workshop.shop.deliver().await;
        workshop.shop.run_jobs().await;
        assert_eq!(workshop.status().await, "approved");
        workshop
            .shop
            .wait(Duration::from_secs(15 * 24 * 3600))
            .await;
        workshop.shop.sweep_all().await;
        workshop.shop.run_jobs().await;
        assert_eq!(
            workshop.status().await,
            "approved",
            "it does not lapse meanwhile"
        );
        let refused = workshop.post_with("withdraw", &json!({})).await;
        assert_eq!(refused.json["code"], "payment_in_progress");

        let settled = workshop
            .shop
            .stripe
            .settle_delayed(&session, succeeds)
            .await;
        settled.expect("a decision");
        workshop.shop.deliver().await;
        workshop.shop.run_jobs().await;
        let view = workshop.view().await;
        if succeeds {
            assert_eq!(view["status"], "paid");
        } else {
            assert_eq!(view["status"], "expired");
            assert!(text(&view["review_items"][0]["text"]).contains("delayed payment failed"));
            workshop.quotes(9000).await;
        }
        workshop.shop.audit().await;
    }
}

#[tokio::test]
async fn reconciliation_finds_the_payment_of_a_quote_whose_webhook_never_came() {
    let (workshop, link) = Workshop::quoted().await;
    workshop.pays(&link, card()).await;
    workshop.shop.reconcile().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "paid");
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_payment_before_the_link_s_answer_has_reached_us_is_an_order() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    assert_eq!(workshop.post("approve").await.status, 202);
    workshop.shop.stripe.fail_next(LINKS, Fault::ActThenDrop, 3);
    workshop
        .shop
        .stripe
        .fail_next("GET /v1/payment_links", Fault::ServerError, 9);
    assert_eq!(workshop.shop.run_failing_jobs().await.len(), 1);
    let link = text(&workshop.shop.at_stripe("payment_link").await[0]["id"]);
    workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    assert_eq!(workshop.status().await, "paid");
    workshop.shop.stripe.clear_faults();
    workshop.shop.hurry_jobs().await;
    workshop.shop.run_jobs().await;
    assert_eq!(
        workshop.moves().await,
        ["pending→approved", "approved→paid"]
    );
    assert_eq!(workshop.emails("custom_order_approved").await, 0);
    assert_eq!(workshop.emails("payment_received").await, 1);
    workshop.shop.audit().await;
}

#[tokio::test]
async fn should_stripe_take_a_second_payment_all_the_same_it_is_given_back() {
    let (workshop, link) = Workshop::quoted().await;
    let first = workshop.pays(&link, card()).await;
    // As if the limit did not hold.
    sqlx::query(
        "update stripe_sandbox.objects
         set data = data || '{\"active\": true, \"restrictions\": null}'
         where id = $1",
    )
    .bind(&link)
    .execute(&workshop.shop.db)
    .await
    .expect("a change");
    let second = workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.shop.statuses().await, ["paid"]);
    let refunds = workshop.shop.at_stripe("refund").await;
    assert_eq!(refunds.len(), 1);
    assert_eq!(refunds[0]["status"], "succeeded");
    let given_back = text(&refunds[0]["payment_intent"]);
    let payments = [
        workshop.shop.payment_of(&first).await,
        workshop.shop.payment_of(&second).await,
    ];
    assert!(payments.contains(&given_back), "{given_back}");
    assert_eq!(workshop.emails("could_not_fulfill").await, 1);
    workshop.shop.audit().await;
}
