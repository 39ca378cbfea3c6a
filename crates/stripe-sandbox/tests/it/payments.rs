//! Payments, refunds, disputes and reviews.

use serde_json::{Value, json};
use stripe_sandbox::{Buyer, Error, NewDispute, Payment};

use crate::support::{Answer, SESSIONS, Stripe, card, session_form};

/// Refunds a payment through the API, in full without an amount.
async fn refund(stripe: &Stripe, intent: &str, amount: Option<&str>) -> Answer {
    let mut form = vec![("payment_intent", intent)];
    form.extend(amount.map(|amount| ("amount", amount)));
    stripe.post("/v1/refunds", &form, None).await
}

#[tokio::test]
async fn paying_and_expiring_at_once_has_one_winner() {
    let stripe = Stripe::start().await;
    for round in 0..12 {
        let session = stripe.open_session().await;
        let path = format!("{SESSIONS}/{session}/expire");
        let expiring = async {
            // Each has its chance to be first.
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            stripe.post(&path, &[], None).await
        };
        let (paid, expired) = tokio::join!(stripe.sandbox.pay(&session, card()), expiring);
        assert!(
            paid.is_ok() != (expired.status == 200),
            "{paid:?} {expired:?}"
        );
        let expected = if paid.is_ok() { "complete" } else { "expired" };
        assert_eq!(stripe.session(&session).await["status"], expected);
    }
    let ends = stripe.event_types().await;
    let ends = ends.iter().filter(|kind| kind.starts_with("checkout."));
    assert_eq!(ends.count(), 12);
}

#[tokio::test]
async fn money_goes_back_and_forth() {
    let stripe = Stripe::start().await;
    let intent = stripe.pay_session().await;
    let part = stripe.sandbox.refund(&intent, Some(300)).await;
    let part = part.expect("a refund");
    let more_than_left = refund(&stripe, &intent, Some("4501")).await;
    assert_eq!(more_than_left.status, 400);
    assert_eq!(refund(&stripe, &intent, Some("4500")).await.status, 200);
    let again = refund(&stripe, &intent, Some("1")).await;
    assert_eq!(again.error(), (400, "charge_already_refunded"));
    let failed = stripe.sandbox.fail_refund(&part).await;
    failed.expect("the bank says no");
    assert!(stripe.sandbox.fail_refund(&part).await.is_err());
    stripe.sandbox.dispute(&intent).await.expect("a dispute");
    let disputed = refund(&stripe, &intent, Some("300")).await;
    assert_eq!(disputed.error(), (400, "charge_disputed"));
    let won = stripe.sandbox.close_dispute(&intent, true).await;
    won.expect("a decision");
    assert_eq!(refund(&stripe, &intent, None).await.json["amount"], 300);
    assert_eq!(
        stripe.event_types().await,
        [
            "charge.succeeded",
            "payment_intent.succeeded",
            "checkout.session.completed",
            "refund.created",
            "charge.refunded",
            "refund.created",
            "charge.refunded",
            "refund.updated",
            "refund.failed",
            "charge.refund.updated",
            "charge.dispute.created",
            "charge.dispute.funds_withdrawn",
            "charge.dispute.closed",
            "charge.dispute.funds_reinstated",
            "refund.created",
            "charge.refunded",
        ]
    );
}

#[tokio::test]
async fn a_declined_session_stays_open_and_a_delayed_payment_is_settled_once() {
    let stripe = Stripe::start().await;
    let session = stripe.open_session().await;
    let pay = async |payment| stripe.sandbox.pay(&session, payment).await;
    let declined = pay(Payment::Declined(Buyer::default())).await;
    declined.expect("an attempt");
    let open = stripe.session(&session).await;
    assert_eq!(open["status"], "open");
    let delayed = pay(Payment::Delayed(Buyer::default())).await;
    delayed.expect("a payment");
    let waiting = stripe.session(&session).await;
    assert_eq!(
        (&waiting["status"], &waiting["payment_status"]),
        (&json!("complete"), &json!("unpaid"))
    );
    assert_eq!(waiting["payment_intent"], open["payment_intent"]);
    let settle = async |succeeds| stripe.sandbox.settle_delayed(&session, succeeds).await;
    settle(true).await.expect("paid");
    assert!(settle(false).await.is_err());
    assert_eq!(stripe.session(&session).await["payment_status"], "paid");
}

#[tokio::test]
async fn an_expired_session_cancels_what_a_declined_card_left_behind() {
    let stripe = Stripe::start().await;
    let session = stripe.open_session().await;
    let declined = Payment::Declined(Buyer::default());
    stripe
        .sandbox
        .pay(&session, declined)
        .await
        .expect("an attempt");
    stripe.sandbox.expire(&session).await.expect("an end");
    assert_eq!(
        stripe.event_types().await,
        [
            "payment_intent.payment_failed",
            "payment_intent.canceled",
            "checkout.session.expired",
        ]
    );
    let refused = stripe.sandbox.pay(&session, card()).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_session_ships_where_and_how_it_says() {
    let stripe = Stripe::start().await;
    let form = session_form(&[
        ("shipping_address_collection[allowed_countries][0]", "US"),
        (
            "shipping_options[0][shipping_rate_data][display_name]",
            "Mail",
        ),
        (
            "shipping_options[0][shipping_rate_data][type]",
            "fixed_amount",
        ),
        (
            "shipping_options[0][shipping_rate_data][fixed_amount][amount]",
            "500",
        ),
        (
            "shipping_options[0][shipping_rate_data][fixed_amount][currency]",
            "usd",
        ),
        (
            "shipping_options[1][shipping_rate_data][display_name]",
            "Air",
        ),
        (
            "shipping_options[1][shipping_rate_data][type]",
            "fixed_amount",
        ),
        (
            "shipping_options[1][shipping_rate_data][fixed_amount][amount]",
            "900",
        ),
        (
            "shipping_options[1][shipping_rate_data][fixed_amount][currency]",
            "usd",
        ),
    ]);
    let session = stripe.post(SESSIONS, &form, None).await;
    assert_eq!(session.json["amount_total"], 5300);
    let session = session.id();
    let pay = async |country: &str, option| {
        let mut buyer = Buyer::default();
        buyer.address.country = country.to_owned();
        buyer.shipping_option = option;
        stripe.sandbox.pay(&session, Payment::Card(buyer)).await
    };
    assert!(pay("CA", 1).await.is_err());
    assert!(pay("US", 2).await.is_err());
    pay("US", 1).await.expect("a payment");
    let paid = stripe.session(&session).await;
    assert_eq!(paid["amount_total"], 5700);
    assert_eq!(paid["shipping_cost"]["amount_total"], 900);
    let shipping = &paid["collected_information"]["shipping_details"];
    assert_eq!(shipping["address"]["country"], "US");
}

#[tokio::test]
async fn an_inquiry_leaves_the_money_until_it_becomes_a_dispute() {
    let stripe = Stripe::start().await;
    let intent = stripe.pay_session().await;
    let sandbox = &stripe.sandbox;
    let inquiry = NewDispute {
        is_inquiry: true,
        reason: "unrecognized".to_owned(),
    };
    sandbox
        .dispute_as(&intent, &inquiry)
        .await
        .expect("an inquiry");
    assert!(sandbox.dispute(&intent).await.is_err(), "one is open");
    assert_eq!(refund(&stripe, &intent, Some("100")).await.status, 200);
    sandbox
        .escalate_dispute(&intent)
        .await
        .expect("an escalation");
    assert!(sandbox.escalate_dispute(&intent).await.is_err());
    let refused = refund(&stripe, &intent, Some("100")).await;
    assert_eq!(refused.error(), (400, "charge_disputed"));
    sandbox.answer_dispute(&intent).await.expect("evidence");
    sandbox.close_dispute(&intent, false).await.expect("lost");
    assert!(sandbox.close_dispute(&intent, true).await.is_err());
    let disputes = sandbox.events().await.expect("the events");
    let statuses: Vec<&Value> = disputes
        .iter()
        .filter(|event| event["data"]["object"]["object"] == "dispute")
        .map(|event| &event["data"]["object"]["status"])
        .collect();
    assert_eq!(
        statuses,
        [
            "warning_needs_response",
            "needs_response",
            "needs_response",
            "under_review",
            "lost",
        ]
    );
}

#[tokio::test]
async fn a_payment_has_one_open_review_and_any_number_of_warnings() {
    let stripe = Stripe::start().await;
    let intent = stripe.pay_session().await;
    let sandbox = &stripe.sandbox;
    for _ in 0..2 {
        sandbox.warn_of_fraud(&intent).await.expect("a warning");
    }
    sandbox.open_review(&intent).await.expect("a review");
    assert!(sandbox.open_review(&intent).await.is_err());
    sandbox.approve_review(&intent).await.expect("an approval");
    assert!(sandbox.approve_review(&intent).await.is_err());
    sandbox.open_review(&intent).await.expect("another review");
    assert!(sandbox.dispute("pi_no").await.is_err());
}
