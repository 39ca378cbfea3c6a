//! Refunds of refused money, of dead links and after a failure.

use serde_json::json;

use super::{ORDER, REFUND, act, refund_lines, refused};
use crate::admin::{Browser, OWNER, STAFF, signed_in, staffed};
use crate::support::{Shop, card, form_of, session_of};

#[tokio::test]
async fn money_that_was_refused_can_be_refunded_again_when_its_refund_failed() {
    let shop = Shop::open().await;
    let admin = shop.refunder().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let late = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    let mut event = json!({"id": "evt_early", "object": "event", "type": "checkout.session.expired", "created": 1});
    event["data"]["object"] = shop.session(&late).await;
    assert_eq!(shop.webhook(&event).await.status, 200);
    session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&late, card()).await.expect("a payment");
    shop.hears().await;
    let payment = shop.payment_of(&late).await;
    let made = shop.at_stripe("refund").await.remove(0);
    shop.stripe
        .fail_refund(made["id"].as_str().expect("an id"))
        .await
        .expect("a failure");
    shop.hears().await;
    assert!(shop.review_text(&late).await.contains("failed"));
    let money = admin.get(&format!("{ORDER}payments/")).await.json;
    assert_eq!(money["payments"][0]["refundable"], 5200, "{money}");

    // In part by its name, then what is left without.
    let restock = json!([{"product_id": piece, "quantity": 1}]);
    for (body, field) in [
        (json!({"payment_id": "pi_other"}), "payment_id"),
        (json!({"restock": restock}), "restock"),
        (json!({"amount": 5201}), "amount"),
    ] {
        let answer = admin.post(&format!("{ORDER}refund/"), &body).await;
        assert_eq!(
            (answer.status, answer.field_errors()),
            (400, vec![field.to_owned()]),
            "{body}"
        );
    }
    for body in [json!({"payment_id": payment, "amount": 1200}), json!({})] {
        let answer = admin.post(&format!("{ORDER}refund/"), &body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    let answer = admin.post(&format!("{ORDER}refund/"), &json!({})).await;
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (409, &json!("nothing_left"))
    );
    shop.hears().await;
    let refunds = shop.at_stripe("refund").await;
    let mut amounts: Vec<i64> = refunds
        .iter()
        .filter_map(|refund| refund["amount"].as_i64())
        .collect();
    // Both were planned before the first was sent, and jobs are done side by side.
    amounts.sort_unstable();
    assert_eq!(amounts, [1200, 4000, 5200]);
    assert_eq!(
        shop.order(&late).await["refunded"],
        0,
        "it never was this order's money"
    );
    assert_eq!(shop.emails_of("order_refunded").await, 0);
    shop.audit().await;
}

#[tokio::test]
async fn a_payment_on_a_dead_link_is_refunded_from_its_custom_order() {
    let shop = Shop::open().await;
    let admin = shop.refunder().await;
    shop.asks_for_a_piece("ann@example.com").await;
    let custom = "/api/admin/custom-orders/CO-1001/";
    let quote =
        json!({"amount": 9000, "description": "A case.", "shipping_zone": "us", "shipping": 500});
    let quoted = admin.post(&format!("{custom}requote/"), &quote).await;
    assert!(quoted.status < 300, "{}", quoted.text);
    shop.run_jobs().await;
    let view = admin.get(custom).await.json;
    let link = view["quotes"][0]["payment_link_id"]
        .as_str()
        .expect("a link");
    let session = shop.stripe.open_link(link).await.expect("a page");
    shop.stripe.pay(&session, card()).await.expect("a payment");
    for sql in [
        "update custom_order_quotes set state = 'closed'",
        "update custom_orders set status = 'expired'",
    ] {
        sqlx::query(sql).execute(&shop.db).await.expect("a change");
    }
    shop.stripe.fail_next(REFUND, refused("charge_disputed"), 1);
    shop.hears().await;
    let money = admin.get(&format!("{custom}payments/")).await.json;
    assert_eq!(
        (&money["refundable"], &money["refunds"][0]["state"]),
        (&json!(9500), &json!("failed")),
        "{money}"
    );
    let body =
        json!({"id": "0193a000-0000-7000-8000-00000000000b", "amount": 1000, "reason": "Sorry"});
    for _ in 0..2 {
        let answer = admin.post(&format!("{custom}refund/"), &body).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    let other = json!({"id": body["id"], "amount": 1001});
    let differs = admin.post(&format!("{custom}refund/"), &other).await;
    assert_eq!(differs.json["code"], "refund_differs");
    shop.hears().await;
    assert_eq!(
        refund_lines(&admin, custom).await,
        [(
            "token:test".to_owned(),
            "Refunded $10.00: Sorry.".to_owned()
        )]
    );
    let id = money["refunds"][0]["id"].as_str().expect("an id");
    assert_eq!(
        act(&admin, &format!("/api/admin/refunds/{id}/retry/"))
            .await
            .status,
        202
    );
    shop.hears().await;
    let money = admin.get(&format!("{custom}payments/")).await.json;
    assert_eq!(money["refundable"], 0);
    assert_eq!(shop.at_stripe("refund").await.len(), 2);
    shop.audit().await;
    assert_eq!(
        admin
            .get("/api/admin/custom-orders/CO-9/payments/")
            .await
            .status,
        404
    );
}

/// The form of a page that goes to this address, with what stands in its fields.
fn form_to(page: &str, path: &str) -> Vec<(String, String)> {
    let at = page
        .find(&format!("action=\"{path}\""))
        .unwrap_or_else(|| panic!("no form to {path}: {page}"));
    let begin = page[..at].rfind("<form").expect("its beginning");
    let (to, fields) = form_of(&page[begin..]);
    assert_eq!(to, path);
    fields
}

async fn sends(owner: &Browser, on: &str, path: &str) -> u16 {
    let page = owner.get(on).await.text;
    let fields = form_to(&page, path);
    let own = ["csrf", "once"];
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    owner.submit(on, path, &fields).await.status
}

#[tokio::test]
async fn the_admin_refunds_whatever_has_money_left_and_tries_again_what_was_refused() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let staff = signed_in(&shop, STAFF).await;
    let session = shop.sells_only("Sunrise").await;
    let page = "/admin/orders/SB-1001";
    shop.stripe.fail_next(REFUND, refused("charge_disputed"), 1);
    assert_eq!(sends(&owner, page, &format!("{page}/refund")).await, 303);
    shop.hears().await;
    let shown = owner.get(page).await.text;
    assert!(
        shown.contains("badge bad\">failed") && shown.contains("charge_disputed"),
        "{shown}"
    );
    let id: String = sqlx::query_scalar("select id::text from refunds")
        .fetch_one(&shop.db)
        .await
        .expect("the refund");
    let again = format!("/admin/refunds/{id}/retry");
    assert!(!staff.get(page).await.text.contains(&again));
    assert_eq!(sends(&owner, page, &again).await, 303);
    shop.hears().await;
    assert_eq!(shop.status_of(&session).await, "refunded");
    let shown = owner.get(page).await.text;
    assert!(
        !shown.contains(&again) && !shown.contains(&format!("{page}/refund")),
        "{shown}"
    );

    // A custom order whose payment came too late, and whose refund was refused for good.
    shop.asks_for_a_piece("ann@example.com").await;
    let admin = shop.refunder().await;
    let quote =
        json!({"amount": 9000, "description": "A case.", "shipping_zone": "us", "shipping": 500});
    let requote = "/api/admin/custom-orders/CO-1001/requote/";
    assert!(admin.post(requote, &quote).await.status < 300);
    shop.run_jobs().await;
    let view = admin.get("/api/admin/custom-orders/CO-1001/").await.json;
    let link = view["quotes"][0]["payment_link_id"]
        .as_str()
        .expect("a link");
    let session = shop.stripe.open_link(link).await.expect("a page");
    shop.stripe.pay(&session, card()).await.expect("a payment");
    for sql in [
        "update custom_order_quotes set state = 'closed'",
        "update custom_orders set status = 'expired'",
    ] {
        sqlx::query(sql).execute(&shop.db).await.expect("a change");
    }
    shop.stripe.fail_next(REFUND, refused("charge_disputed"), 1);
    shop.hears().await;
    let page = "/admin/custom-orders/CO-1001";
    assert_eq!(sends(&owner, page, &format!("{page}/refund")).await, 303);
    shop.hears().await;
    let refunds = shop.at_stripe("refund").await;
    assert_eq!((refunds.len(), &refunds[1]["amount"]), (2, &json!(9500)));
    assert!(owner.get(page).await.text.contains("Refunded $95.00."));
    shop.audit().await;
}
