//! Refunds in the admin.

use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use stripe_sandbox::Fault;

use super::{ORDER, two_sold};
use crate::admin::{Browser, OWNER, STAFF, signed_in};
use crate::support::at_once;

const REFUND: &str = "/admin/orders/SB-1001/refund";

const AT_STRIPE: &str = "POST /v1/refunds";

/// The refund that the page's form asks for.
fn refund_on(page: &str) -> String {
    let (_, rest) = page
        .split_once("name=\"refund\" value=\"")
        .unwrap_or_else(|| panic!("no refund: {page}"));
    rest.split('"').next().expect("its end").to_owned()
}

async fn refunds(browser: &Browser, id: &str, amount: &str, restock: &str) -> u16 {
    let fields = [
        ("refund", id),
        ("amount", amount),
        ("reason", "Broken"),
        ("restock.sunrise", restock),
    ];
    browser.submit(ORDER, REFUND, &fields).await.status
}

#[tokio::test]
async fn money_is_given_back_in_part_then_whole_and_pieces_return_once() {
    let (shop, piece, session) = two_sold().await;
    let owner = signed_in(&shop, OWNER).await;
    let staff = signed_in(&shop, STAFF).await;
    assert!(!staff.get(ORDER).await.text.contains("Refund"));
    let page = owner.get(ORDER).await.text;
    assert!(page.contains("name=\"amount\" type=\"text\" autocomplete=\"off\" value=\"99.00\""));
    let id = refund_on(&page);

    // More than was paid, nothing, junk, and more pieces than were sold: told beside the field.
    for (amount, restock, field) in [
        ("99.01", "0", "refund-amount-error"),
        ("0", "0", "refund-amount-error"),
        ("many", "0", "refund-amount-error"),
        ("10", "3", "restock-error"),
        ("10", "-1", "restock-error"),
        ("10", "x", "restock-error"),
    ] {
        let fields = [
            ("refund", id.as_str()),
            ("amount", amount),
            ("restock.sunrise", restock),
        ];
        let answer = owner.submit(ORDER, REFUND, &fields).await;
        assert_eq!(answer.status, 400, "{amount} {restock}");
        assert!(answer.text.contains(field), "{amount}: {}", answer.text);
        assert_eq!(refund_on(&answer.text), id);
    }
    assert_eq!(shop.count("select count(*) from refunds").await, 0);
    assert_eq!(shop.stock(&piece).await, (1, 0));

    // A double click is one refund.
    for _ in 0..2 {
        assert_eq!(refunds(&owner, &id, "12.50", "1").await, 303);
    }
    assert_eq!(refunds(&owner, &id, "13", "1").await, 409);
    assert_eq!(shop.stock(&piece).await, (2, 0));
    // It is planned, so it cannot be refunded again.
    let page = owner.get(ORDER).await.text;
    assert!(page.contains("value=\"86.50\""), "{page}");
    shop.settles().await;
    let order = shop.order(&session).await;
    assert_eq!(
        (&order["status"], &order["refunded"]),
        (&json!("paid"), &json!(1250))
    );
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert_eq!(shop.emails_of("order_refunded").await, 1);

    // The rest; the second piece comes back, a third does not.
    let next = refund_on(&owner.get(ORDER).await.text);
    assert_ne!(next, id);
    assert_eq!(refunds(&owner, &next, "86.50", "2").await, 400);
    assert_eq!(refunds(&owner, &next, "86.51", "1").await, 400);
    assert_eq!(refunds(&owner, &next, "86.50", "1").await, 303);
    shop.settles().await;
    assert_eq!(shop.status_of(&session).await, "refunded");
    assert_eq!(shop.stock(&piece).await, (3, 0));
    assert_eq!(shop.returned().await, 2);
    let third = "0193a000-0000-7000-8000-00000000000a";
    assert_eq!(refunds(&owner, third, "1", "0").await, 409);
    let logged = "select count(*) from audit_log where action = 'order.refund'";
    assert_eq!(shop.count(logged).await, 2);
}

#[tokio::test]
async fn refunds_at_the_same_time_never_give_back_more_than_was_paid() {
    let (shop, piece, session) = two_sold().await;
    let admin = shop.admin(&[Scope::Refunds]).await;
    let body = json!({"amount": 6000, "restock": [{"product_id": piece, "quantity": 2}]});
    let tasks = (0..4).map(|_| {
        let (admin, body) = (admin.clone(), body.clone());
        async move {
            let path = "/api/admin/orders/SB-1001/refund/";
            admin.post(path, &body).await.status
        }
    });
    let mut answers = at_once(tasks).await;
    answers.sort_unstable();
    assert_eq!(answers, [202, 400, 400, 400]);
    shop.settles().await;
    assert_eq!(shop.order(&session).await["refunded"], 6000);
    assert_eq!(shop.stock(&piece).await, (3, 0));
    assert_eq!(shop.returned().await, 2);
}

#[tokio::test]
async fn programs_give_money_back_as_well() {
    let (shop, piece, session) = two_sold().await;
    let admin = shop.admin(&[Scope::Refunds]).await;
    let path = "/api/admin/orders/SB-1001/refund/";
    let refund = async |body: Value| admin.post(path, &body).await;
    for (body, fields) in [
        (json!({"amount": 9901}), vec!["amount"]),
        (json!({"amount": 0}), vec!["amount"]),
        (json!({"amount": -1}), vec!["amount"]),
        (json!({"reason": "x".repeat(201)}), vec!["reason"]),
        (
            json!({"restock": [{"product_id": piece, "quantity": 0}, {"product_id": "x\u{0}", "quantity": 1}]}),
            vec!["restock[0]", "restock[1]"],
        ),
        (
            json!({"restock": [{"product_id": piece, "quantity": 1}, {"product_id": piece, "quantity": 1}]}),
            vec!["restock[1]"],
        ),
    ] {
        let answer = refund(body.clone()).await;
        assert_eq!(
            (answer.status, answer.field_errors()),
            (400, fields.iter().map(|f| (*f).to_owned()).collect()),
            "{body}"
        );
    }
    let whole = json!({"id": "0193a000-0000-7000-8000-00000000000b", "reason": "Lost in the mail"});
    // Stripe is down, then up: one refund.
    shop.stripe.fail_next(AT_STRIPE, Fault::Drop, 100);
    for _ in 0..2 {
        let answer = refund(whole.clone()).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    let left = shop.run_failing_jobs().await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(shop.at_stripe("refund").await.is_empty());
    assert_eq!(refund(json!({})).await.json["code"], "nothing_left");
    shop.stripe.clear_faults();
    shop.hurry_jobs().await;
    shop.settles().await;
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert_eq!(shop.status_of(&session).await, "refunded");
    // Nothing was said of the pieces: they stay where they are.
    assert_eq!(shop.stock(&piece).await, (1, 0));
}

#[tokio::test]
async fn a_refund_that_fails_is_shown_and_can_be_made_again() {
    let (shop, _, session) = two_sold().await;
    let owner = signed_in(&shop, OWNER).await;
    let id = refund_on(&owner.get(ORDER).await.text);
    assert_eq!(refunds(&owner, &id, "20", "0").await, 303);
    shop.settles().await;
    let at_stripe = shop.at_stripe("refund").await.remove(0);
    let lost = at_stripe["id"].as_str().expect("an id");
    shop.stripe.fail_refund(lost).await.expect("a failure");
    shop.settles().await;
    let page = owner.get(ORDER).await.text;
    assert!(
        page.contains("money by hand") && page.contains("badge bad\">failed"),
        "{page}"
    );
    assert!(page.contains("value=\"99.00\""), "all of it is here again");
    let id = refund_on(&page);
    assert_eq!(refunds(&owner, &id, "99", "0").await, 303);
    shop.settles().await;
    assert_eq!(shop.status_of(&session).await, "refunded");
}
