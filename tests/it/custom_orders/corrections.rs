//! Corrections of custom orders: the shipment, and the customer's data.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::{Workshop, text};
use crate::admin::{STAFF, audited, signed_in, staff};
use crate::support::forms::Form;
use crate::support::{Answer, card};

async fn correct(workshop: &Workshop, correction: &Value) -> Answer {
    let path = workshop.path("shipment");
    workshop
        .admin
        .send_json(Method::PATCH, &path, correction)
        .await
}

#[tokio::test]
async fn the_tracking_of_a_piece_is_corrected() {
    let (workshop, link) = Workshop::quoted().await;
    let early = correct(&workshop, &json!({"carrier": "UPS"})).await;
    assert_eq!(
        (early.status, &early.json["code"]),
        (409, &json!("not_shipped"))
    );
    workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    let early = correct(&workshop, &json!({"carrier": "UPS"})).await;
    assert_eq!(
        (early.status, &early.json["code"]),
        (409, &json!("not_shipped"))
    );
    let shipment = json!({"carrier": "USPS", "tracking_number": "9400"});
    assert_eq!(workshop.post_with("ship", &shipment).await.status, 200);
    let correction = json!({"tracking_number": "9401", "send_email": true});
    let answer = correct(&workshop, &correction).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["shipment"]["tracking_number"], "9401");
    assert_eq!(answer.json["status"], "shipped");
    let timeline = answer.json["timeline"].as_array().expect("a timeline");
    let entry = timeline.last().expect("an entry");
    assert_eq!(entry["kind"], "shipment");
    assert_eq!(entry["note"], "tracking number 9400 → 9401");

    // The page does the same.
    staff(&workshop.shop).await;
    let browser = signed_in(&workshop.shop, STAFF).await;
    let page = format!("/admin/custom-orders/{}", text(&answer.json["number"]));
    let action = format!("{page}/shipment");
    let form = Form::to(&browser.get(&page).await.text, &action);
    let refused = form.with(&[("carrier", " ")]).send(&browser.client).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(refused.text.contains("id=\"shipment-carrier-error\""));
    let form = Form::to(&refused.text, &action);
    let done = form.with(&[("carrier", "UPS")]).send(&browser.client).await;
    assert_eq!((done.status, done.header("location")), (303, page.as_str()));
    let shown = browser.get(&page).await.text;
    assert!(
        shown.contains("Shipment corrected: carrier USPS → UPS"),
        "{shown}"
    );

    workshop.shop.run_jobs().await;
    assert_eq!(workshop.emails("custom_order_shipped").await, 1);
    assert_eq!(workshop.emails("custom_order_shipment_corrected").await, 1);
    let mail = workshop.shop.mail();
    let mail = mail.iter().find(|mail| mail.subject.contains("Corrected"));
    let mail = mail.expect("the email");
    assert_eq!(mail.to, ["ann@example.com"]);
    assert!(mail.text.contains("9401") && !mail.text.contains("9400"));
    let log = audited(&workshop.shop).await;
    let entries = log.iter().filter(|entry| {
        entry.1 == "custom_order.correct_shipment" && entry.2 == "custom_order:CO-1001"
    });
    assert_eq!(entries.count(), 2);
    workshop.shop.audit().await;
}

async fn correct_customer(workshop: &Workshop, correction: &Value) -> Answer {
    let path = workshop.path("customer");
    workshop
        .admin
        .send_json(Method::PATCH, &path, correction)
        .await
}

#[tokio::test]
async fn a_wrong_email_of_a_request_is_corrected_and_what_it_missed_sent_again() {
    let workshop = Workshop::open().await;
    for (correction, field) in [
        (json!({"email": ""}), "email"),
        (json!({"customer_name": " "}), "customer_name"),
        (json!({"phone": "1"}), "phone"),
    ] {
        let refused = correct_customer(&workshop, &correction).await;
        assert_eq!(refused.field_errors(), [field], "{}", refused.text);
    }
    let correction = json!({"email": "anna@example.com", "send_confirmation": true});
    let answer = correct_customer(&workshop, &correction).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["email"], "anna@example.com");
    let timeline = answer.json["timeline"].as_array().expect("a timeline");
    let entry = timeline.last().expect("an entry");
    assert_eq!(
        (&entry["kind"], &entry["note"]),
        (&json!("customer"), &json!("email"))
    );
    // Sent already: asking again sends nothing, and nothing is recorded.
    let entries = audited(&workshop.shop).await.len();
    assert_eq!(correct_customer(&workshop, &correction).await.status, 200);
    assert_eq!(audited(&workshop.shop).await.len(), entries);
    let link = workshop.quotes(9000).await;
    let correction = json!({"email": "anne@example.com", "send_confirmation": true});
    assert_eq!(correct_customer(&workshop, &correction).await.status, 200);
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.emails("custom_order_received").await, 2);
    assert_eq!(workshop.emails("custom_order_approved").await, 2);
    let mail = workshop.shop.mail();
    let quotes: Vec<_> = mail
        .iter()
        .filter(|mail| mail.subject.contains("Approved"))
        .collect();
    assert_eq!(
        (&quotes[0].to[..], &quotes[1].to[..]),
        (
            &["anna@example.com".to_owned()][..],
            &["anne@example.com".to_owned()][..]
        )
    );

    // Once it is paid, the data of its order is corrected with it.
    workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    staff(&workshop.shop).await;
    let browser = signed_in(&workshop.shop, STAFF).await;
    let page = format!("/admin/custom-orders/{}", text(&answer.json["number"]));
    let action = format!("{page}/customer");
    let form = Form::to(&browser.get(&page).await.text, &action);
    let refused = form.with(&[("line1", "")]).send(&browser.client).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(refused.text.contains("id=\"customer-line1-error\""));
    let form = Form::to(&refused.text, &action);
    let form = form.with(&[("line1", "9 Oak Street"), ("send_confirmation", "true")]);
    let done = form.send(&browser.client).await;
    assert_eq!((done.status, done.header("location")), (303, page.as_str()));
    let view = workshop.view().await;
    assert_eq!(view["order"]["shipping_address"]["line1"], "9 Oak Street");
    assert_eq!(
        view["order"]["email"], "jane@example.com",
        "as Stripe was given it"
    );
    // What the custom order has already is no correction of its order, by the API neither.
    let same = json!({"email": "anne@example.com"});
    let answer = correct_customer(&workshop, &same).await;
    assert_eq!(answer.json["order"]["email"], "jane@example.com");
    let both = json!({"customer_name": "Anne", "email": "ann@example.com"});
    let answer = correct_customer(&workshop, &both).await;
    for customer in [&answer.json, &answer.json["order"]] {
        assert_eq!(customer["email"], "ann@example.com");
    }
    assert_eq!(
        (&answer.json["name"], &answer.json["order"]["customer_name"]),
        (&json!("Anne"), &json!("Anne"))
    );
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.emails("payment_received").await, 2);
    // Tokens without the right to custom orders have nothing sent to an address of theirs, from its order neither.
    let number = text(&answer.json["order"]["number"]);
    let scopes = [Scope::OrdersRead, Scope::OrdersWrite];
    let (path, token) = (format!("/api/admin/orders/{number}/customer/"), scopes);
    let clerk = workshop.shop.admin(&token).await;
    let stolen = json!({"email": "secret@example.com", "send_confirmation": true});
    let refused = clerk.send_json(Method::PATCH, &path, &stolen).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert_eq!(workshop.emails("payment_received").await, 2);
    let log = audited(&workshop.shop).await;
    let entries = log
        .iter()
        .filter(|entry| entry.1.ends_with(".correct_customer"));
    let entries: Vec<_> = entries
        .map(|entry| [entry.1.as_str(), entry.2.as_str()])
        .collect();
    assert_eq!(
        entries,
        [["custom_order.correct_customer", "custom_order:CO-1001"]; 4]
    );
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_piece_that_was_shipped_by_mistake_is_being_made_again() {
    let (workshop, link) = Workshop::quoted().await;
    let nothing = json!({});
    let early = workshop.post_with("unship", &nothing).await;
    assert_eq!(
        (early.status, &early.json["code"]),
        (409, &json!("not_shipped"))
    );
    workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    let early = workshop.post_with("unship", &nothing).await;
    assert_eq!(
        (early.status, &early.json["code"]),
        (409, &json!("not_unshippable"))
    );
    let shipment = json!({"carrier": "USPS"});
    assert_eq!(workshop.post_with("ship", &shipment).await.status, 200);
    workshop.shop.run_jobs().await;
    let told = json!({"send_email": true});
    let undone = workshop.post_with("unship", &told).await;
    assert_eq!(undone.status, 200, "{}", undone.text);
    assert_eq!(undone.json["status"], "in_production");
    assert_eq!(undone.json["order"]["status"], "paid");
    assert!(undone.json["shipment"].is_null());
    assert_eq!(workshop.post_with("ship", &shipment).await.status, 200);

    staff(&workshop.shop).await;
    let browser = signed_in(&workshop.shop, STAFF).await;
    let page = format!("/admin/custom-orders/{}", text(&undone.json["number"]));
    let action = format!("{page}/unship");
    let form = Form::to(&browser.get(&page).await.text, &action);
    let done = form.send(&browser.client).await;
    assert_eq!((done.status, done.header("location")), (303, page.as_str()));
    assert_eq!(workshop.status().await, "in_production");
    assert_eq!(workshop.post_with("ship", &shipment).await.status, 200);
    assert_eq!(workshop.post("complete").await.status, 200);
    let late = workshop.post_with("unship", &nothing).await;
    assert_eq!(
        (late.status, &late.json["code"]),
        (409, &json!("not_unshippable"))
    );
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.emails("custom_order_shipped").await, 2);
    assert_eq!(workshop.emails("custom_order_not_shipped_yet").await, 1);
    let log = audited(&workshop.shop).await;
    let entries: Vec<_> = log
        .iter()
        .filter(|entry| entry.1.ends_with(".unship"))
        .collect();
    assert_eq!(entries.len(), 2);
    for (_, action, object, before, after) in entries {
        assert_eq!(
            (action.as_str(), object.as_str()),
            ("custom_order.unship", "custom_order:CO-1001")
        );
        let (before, after) = (before.as_ref(), after.as_ref());
        assert_eq!(before.expect("it was")["status"], "shipped");
        assert_eq!(after.expect("it is")["status"], "in_production");
    }
    workshop.shop.audit().await;
}
