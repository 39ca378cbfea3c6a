//! Quotes: replaced, withdrawn, lapsed, checked.

use std::time::Duration;

use serde_json::{Value, json};
use stripe_sandbox::Fault;

use super::{CLOSING, Workshop, current, quote, text};
use crate::support::{card, delayed};

#[tokio::test]
async fn a_new_quote_closes_the_old_link_first() {
    let (workshop, old) = Workshop::quoted().await;
    let waiting = workshop.opens(&old).await;
    let planned = workshop.post_with("requote", &quote(12_000)).await;
    assert_eq!(planned.status, 202, "{}", planned.text);
    workshop.shop.run_jobs().await;
    assert!(!workshop.is_active(&old).await);
    assert_eq!(workshop.shop.session(&waiting).await["status"], "expired");
    let view = workshop.view().await;
    assert_eq!(view["status"], "approved");
    let new = text(&current(&view)["payment_link_id"]);
    assert_ne!(new, old);
    assert_eq!(current(&view)["amount"], 12_000);
    assert_eq!(workshop.emails("custom_order_approved").await, 2);
    assert!(workshop.shop.stripe.open_link(&old).await.is_err());
    assert!(workshop.shop.stripe.pay(&waiting, card()).await.is_err());

    workshop.pays(&new, card()).await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.view().await["order"]["total"], 12_500);
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_new_quote_is_one_line_of_the_timeline_with_both_amounts() {
    let (workshop, _) = Workshop::quoted().await;
    let told = async || {
        let view = workshop.view().await;
        let timeline = view["timeline"].as_array().expect("a timeline").iter();
        let lines: Vec<String> = timeline
            .map(|entry| format!("{}: {}", text(&entry["kind"]), text(&entry["note"])))
            .collect();
        lines
    };
    let first = told().await;
    assert_eq!(
        first,
        [
            "submitted: ",
            "quote: $90.00 and $5.00 shipping, for 14 days",
            "quote: approved: $90.00 and $5.00 shipping, for 14 days",
            "status: ",
        ]
    );
    // A draft beside the customer's quote is nobody's business yet.
    let drafted = workshop.put("quote", &quote(11_000)).await;
    assert_eq!(drafted.status, 200, "{}", drafted.text);
    assert_eq!(told().await, first);
    let changed = workshop.post_with("requote", &quote(12_000)).await;
    assert_eq!(changed.status, 202, "{}", changed.text);
    workshop.shop.run_jobs().await;
    let line =
        "quote: changed from $90.00 and $5.00 shipping to $120.00 and $5.00 shipping, for 14 days";
    let second = told().await;
    assert_eq!(second[..4], first);
    assert_eq!(second[4..], [line]);
}

#[tokio::test]
async fn a_quote_is_not_replaced_while_stripe_cannot_close_its_link() {
    let (workshop, old) = Workshop::quoted().await;
    workshop
        .shop
        .stripe
        .fail_next(CLOSING, Fault::RateLimited, 3);
    assert_eq!(
        workshop.post_with("requote", &quote(12_000)).await.status,
        202
    );
    assert_eq!(workshop.shop.run_failing_jobs().await.len(), 1);
    let view = workshop.view().await;
    assert_eq!(current(&view)["payment_link_id"], old.as_str());
    assert_eq!(current(&view)["state"], "closing");
    let changed = workshop.put("quote", &quote(1)).await;
    assert_eq!(changed.field_errors(), ["amount"]);
    let changed = workshop.put("quote", &quote(1000)).await;
    assert_eq!(changed.json["code"], "quote_closing");
    for what in ["requote", "withdraw", "approve"] {
        let body = if what == "requote" {
            quote(1000)
        } else {
            json!({})
        };
        let refused = workshop.post_with(what, &body).await;
        assert_eq!(refused.status, 409, "{what}");
        assert_eq!(refused.json["code"], "quote_closing", "{what}");
    }
    workshop.shop.hurry_jobs().await;
    workshop.shop.run_jobs().await;
    assert_eq!(current(&workshop.view().await)["amount"], 12_000);
    assert!(!workshop.is_active(&old).await);
}

#[tokio::test]
async fn a_withdrawn_quote_cannot_be_paid() {
    let (workshop, link) = Workshop::quoted().await;
    let waiting = workshop.opens(&link).await;
    let reason = json!({"reason": "The beads are sold out for good."});
    assert_eq!(workshop.post_with("withdraw", &reason).await.status, 202);
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "pending");
    assert!(!workshop.is_active(&link).await);
    assert!(workshop.shop.stripe.pay(&waiting, card()).await.is_err());
    assert_eq!(
        workshop.post_with("withdraw", &reason).await.status,
        200,
        "safe to repeat"
    );
    workshop.shop.run_jobs().await;
    assert_eq!(
        workshop.moves().await,
        ["pending→approved", "approved→pending"]
    );
}

#[tokio::test]
async fn a_withdrawn_quote_is_told_and_another_may_follow_or_a_no() {
    for reason in ["The beads are sold out.", ""] {
        let (workshop, _) = Workshop::quoted().await;
        let body = json!({ "reason": reason });
        assert_eq!(workshop.post_with("withdraw", &body).await.status, 202);
        workshop.shop.run_jobs().await;
        // With a reason or without, the customer hears of it, and nothing says that we cannot make the piece.
        assert_eq!(workshop.emails("quote_withdrawn").await, 1);
        assert_eq!(workshop.emails("custom_order_rejected").await, 0);
        let mail = workshop.shop.mail();
        let told = mail.iter().rfind(|mail| mail.subject.contains("Quote"));
        let told = &told.expect("an email").text;
        assert!(told.contains("taken back the quote") && told.contains(reason));
        let page = workshop.shop.status_page(&workshop.id);
        let page = workshop.shop.client.get(&page).await.json;
        assert_eq!(
            (&page["status"], &page["quote"]),
            (&json!("pending"), &Value::Null)
        );
        assert_eq!(
            page["message"],
            "We have taken our quote back. You will hear from us again soon."
        );
        match reason {
            "" => {
                let no = json!({"reason": "We cannot make it after all."});
                assert_eq!(workshop.post_with("reject", &no).await.status, 200);
                workshop.shop.run_jobs().await;
                assert_eq!(workshop.status().await, "rejected");
                assert_eq!(workshop.emails("custom_order_rejected").await, 1);
            }
            _ => {
                let link = workshop.quotes(7000).await;
                assert_eq!(workshop.status().await, "approved");
                workshop.pays(&link, card()).await;
                workshop.shop.deliver().await;
                workshop.shop.run_jobs().await;
                assert_eq!(workshop.status().await, "paid");
            }
        }
        workshop.shop.audit().await;
    }
}

#[tokio::test]
async fn a_request_with_a_quote_is_rejected_once_its_link_is_closed() {
    let (workshop, link) = Workshop::quoted().await;
    let reason = json!({"reason": "The beads are sold out for good."});
    assert_eq!(workshop.post_with("reject", &reason).await.status, 202);
    let meanwhile = workshop.post_with("reject", &reason).await;
    assert_eq!(meanwhile.json["code"], "quote_closing");
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "rejected");
    assert!(!workshop.is_active(&link).await);
    assert_eq!(
        workshop.moves().await,
        ["pending→approved", "approved→pending", "pending→rejected"]
    );
    assert_eq!(workshop.post_with("reject", &reason).await.status, 200);
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.emails("custom_order_rejected").await, 1);
    assert_eq!(workshop.emails("quote_withdrawn").await, 0);
}

#[tokio::test]
async fn a_payment_that_is_faster_than_the_withdrawal_stands() {
    let (workshop, link) = Workshop::quoted().await;
    workshop.pays(&link, card()).await;
    assert_eq!(workshop.post_with("withdraw", &json!({})).await.status, 202);
    workshop.shop.run_jobs().await;
    let view = workshop.view().await;
    assert_eq!(view["status"], "approved", "the payment decides");
    assert!(text(&view["review_items"][0]["text"]).contains("the quote stays"));
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "paid");
    assert_eq!(workshop.emails("custom_order_rejected").await, 0);
    workshop.shop.audit().await;
}

#[tokio::test]
async fn withdrawals_and_payments_at_once_end_in_an_order_or_in_none() {
    for round in 0..8 {
        let (workshop, link) = Workshop::quoted().await;
        let session = workshop.opens(&link).await;
        assert_eq!(workshop.post_with("withdraw", &json!({})).await.status, 202);
        let stripe = workshop.shop.stripe.clone();
        let paying = tokio::spawn(async move { stripe.pay(&session, card()).await.is_ok() });
        if round % 2 == 0 {
            workshop.shop.run_failing_jobs().await;
        }
        let paid = paying.await.expect("no panic");
        workshop.shop.run_jobs().await;
        workshop.shop.deliver().await;
        workshop.shop.run_jobs().await;
        let status = workshop.status().await;
        assert_eq!(
            status,
            if paid { "paid" } else { "pending" },
            "round {round}"
        );
        workshop.shop.audit().await;
    }
}

#[tokio::test]
async fn a_quote_lapses_and_another_may_follow() {
    let (workshop, link) = Workshop::quoted().await;
    let waiting = workshop.opens(&link).await;
    workshop.shop.sweep_all().await;
    assert_eq!(
        workshop.status().await,
        "approved",
        "it holds for two weeks"
    );
    workshop
        .shop
        .wait(Duration::from_secs(15 * 24 * 3600))
        .await;
    workshop.shop.sweep_all().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "expired");
    assert!(!workshop.is_active(&link).await);
    assert!(workshop.shop.stripe.pay(&waiting, card()).await.is_err());
    assert_eq!(workshop.post("approve").await.json["code"], "no_quote");

    let again = workshop.quotes(8500).await;
    workshop.pays(&again, card()).await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    assert_eq!(
        workshop.moves().await,
        [
            "pending→approved",
            "approved→expired",
            "expired→approved",
            "approved→paid"
        ]
    );
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_quote_is_checked_and_each_error_names_its_field() {
    let workshop = Workshop::open().await;
    for (body, fields) in [
        (json!({"amount": 49, "description": "x"}), vec!["amount"]),
        (
            json!({"amount": 100_000_000, "description": "x"}),
            vec!["amount", "shipping"],
        ),
        (
            json!({"amount": 99_999_999, "description": "x"}),
            vec!["shipping"],
        ),
        (
            json!({"amount": 5000, "description": " "}),
            vec!["description"],
        ),
        (
            json!({"amount": 5000, "description": "x\u{0}"}),
            vec!["description"],
        ),
        (
            json!({"amount": 5000, "description": "x".repeat(2001)}),
            vec!["description"],
        ),
        (
            json!({"amount": 5000, "description": "x", "shipping": -1}),
            vec!["shipping"],
        ),
        (
            json!({"amount": 5000, "description": "x", "valid_days": 0}),
            vec!["valid_days"],
        ),
        (
            json!({"amount": 5000, "description": "x", "valid_days": 366}),
            vec!["valid_days"],
        ),
        (
            json!({"amount": "5000", "description": "x"}),
            vec!["amount"],
        ),
        (
            json!({"amount": 5000, "description": "x", "shipping_zone": "mars"}),
            vec!["shipping_zone"],
        ),
        (
            json!({"amount": 1, "description": "", "valid_days": -1}),
            vec!["amount", "description", "valid_days"],
        ),
    ] {
        assert_eq!(
            workshop.put("quote", &body).await.field_errors(),
            fields,
            "{body}"
        );
    }
    let zone = json!({"amount": 5000, "description": "x", "shipping_zone": "international", "valid_days": 30});
    let quoted = workshop.put("quote", &zone).await;
    assert_eq!(quoted.json["quotes"][0]["shipping"], 2000);
    let shipment = json!({"carrier": "", "tracking_number": "a<b", "tracking_url": "javascript:alert(1)", "images": ["x"]});
    assert_eq!(
        workshop.post_with("ship", &shipment).await.status,
        409,
        "what may not be shipped is not looked at"
    );
    assert_eq!(
        workshop
            .post_with("notes", &json!({"text": ""}))
            .await
            .field_errors(),
        ["text"]
    );
    assert_eq!(
        workshop
            .post_with("reject", &json!({"reason": ""}))
            .await
            .field_errors(),
        ["reason"]
    );
}

#[tokio::test]
async fn a_planned_withdrawal_happens_though_a_delayed_payment_fails_meanwhile() {
    let (workshop, link) = Workshop::quoted().await;
    let session = workshop.pays(&link, delayed()).await;
    let reason = json!({"reason": "The beads are gone."});
    // The owner withdraws before Stripe has told of the delayed payment, and it fails before the link is closed.
    assert_eq!(workshop.post_with("withdraw", &reason).await.status, 202);
    let settled = workshop.shop.stripe.settle_delayed(&session, false).await;
    settled.expect("a decision");
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "pending");
    assert_eq!(workshop.emails("quote_withdrawn").await, 1);
}

#[tokio::test]
async fn a_page_that_cannot_be_ended_keeps_its_quote_until_it_can() {
    let (workshop, link) = Workshop::quoted().await;
    let waiting = workshop.opens(&link).await;
    assert_eq!(workshop.post_with("withdraw", &json!({})).await.status, 202);
    // As while a payment is under way: Stripe will not expire it, and says that it is open.
    let refusal = Fault::Refused {
        code: "payment_in_progress".to_owned(),
        message: "A payment is being processed.".to_owned(),
        param: None,
    };
    let expiring = "POST /v1/checkout/sessions/{id}/expire";
    workshop.shop.stripe.fail_next(expiring, refusal, 1);
    assert_eq!(workshop.shop.run_failing_jobs().await.len(), 1);
    assert_eq!(current(&workshop.view().await)["state"], "closing");
    let paid = workshop.shop.stripe.pay(&waiting, card()).await;
    paid.expect("a payment");
    workshop.shop.hurry_jobs().await;
    workshop.shop.run_jobs().await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "paid");
    workshop.shop.audit().await;
}
