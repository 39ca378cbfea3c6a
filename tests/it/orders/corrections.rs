//! A shipment that was recorded wrongly is corrected after it is sent, from the order's page and by the API.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use crate::admin::orders::two_sold;
use crate::admin::{STAFF, audited, signed_in};
use crate::support::forms::Form;
use crate::support::images::jpeg;
use crate::support::{Answer, Client};

const ORDER: &str = "/admin/orders/SB-1001";

const FORM: &str = "/admin/orders/SB-1001/shipment";

const API: &str = "/api/admin/orders/SB-1001";

async fn ship(admin: &Client, shipment: &Value) {
    let answer = admin.post(&format!("{API}/ship/"), shipment).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

async fn correct(admin: &Client, correction: &Value) -> Answer {
    let path = format!("{API}/shipment/");
    admin.send_json(Method::PATCH, &path, correction).await
}

/// The notes of the timeline's corrections.
async fn corrections(admin: &Client) -> Vec<String> {
    let order = admin.get(&format!("{API}/")).await.json;
    let timeline = order["timeline"].as_array().expect("a timeline");
    let entries = timeline.iter().filter(|entry| entry["kind"] == "shipment");
    let notes = entries.map(|entry| entry["note"].as_str().expect("a note").to_owned());
    notes.collect()
}

#[tokio::test]
async fn a_wrong_tracking_number_is_corrected_on_the_page_and_the_customer_told() {
    let (shop, _, _) = two_sold().await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let staff = signed_in(&shop, STAFF).await;
    assert!(!staff.get(ORDER).await.text.contains(FORM));
    let (first, second) = (jpeg(80, 60), jpeg(60, 80));
    let first = shop.keeps(&first).await;
    let shipment = json!({"carrier": "USPS", "tracking_number": "9400 1", "images": [first]});
    ship(&admin, &shipment).await;
    shop.run_jobs().await;

    // A fault is told beside its field, and nothing typed is lost.
    let form = Form::to(&staff.get(ORDER).await.text, FORM);
    assert_eq!(form.get("tracking_url"), "", "it follows the number");
    let refused = form.with(&[("carrier", "UPS"), ("tracking_number", "1Z<")]);
    let refused = refused.send(&staff.client).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(
        refused
            .text
            .contains("id=\"shipment-tracking_number-error\"")
    );
    assert!(
        refused
            .text
            .contains("<details id=\"correct-shipment\" open>")
    );

    let mut form = Form::to(&refused.text, FORM)
        .with(&[("tracking_number", "1Z 999"), ("send_email", "true")]);
    assert_eq!(form.get("carrier"), "UPS");
    form.files.push(("images".to_owned(), second));
    let done = form.send(&staff.client).await;
    assert_eq!((done.status, done.header("location")), (303, ORDER));
    shop.run_jobs().await;
    let page = staff.get(ORDER).await.text;
    for part in [
        "The shipment is corrected; an email goes to jane@example.com.",
        "https://www.ups.com/track?tracknum=1Z999",
        "Shipment corrected: carrier USPS → UPS, tracking number 9400 1 → 1Z 999, photos 1 → 2",
        "The shipment, photo 2",
        "user:ben@example.com",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let mail = shop.mail();
    let mail = mail.last().expect("an email");
    assert_eq!(
        mail.subject,
        "Corrected Tracking for Your Order - Spirit Beads"
    );
    assert_eq!(mail.to, ["jane@example.com"]);
    assert!(mail.text.contains("1Z 999") && !mail.text.contains("9400"));
    assert!(mail.text.contains("had the wrong shipping details"));
    assert_eq!(mail.inside.len(), 2, "the photos are inside");
    assert_eq!(shop.emails_of("order_shipped").await, 1);
    let log = audited(&shop).await;
    let (actor, action, object, before, after) = log.last().expect("an entry");
    assert_eq!(actor, "user:ben@example.com");
    assert_eq!(
        (action.as_str(), object.as_str()),
        ("order.correct_shipment", "order:SB-1001")
    );
    assert_eq!(
        before.as_ref().expect("it was")["tracking_number"],
        "9400 1"
    );
    assert_eq!(after.as_ref().expect("it is")["tracking_number"], "1Z 999");

    // Sent as it is rendered, nothing happens: no entry, no email.
    let again = Form::to(&page, FORM).send(&staff.client).await;
    assert_eq!(again.status, 303);
    assert!(staff.get(ORDER).await.text.contains("Nothing was changed."));
    assert_eq!(audited(&shop).await.len(), log.len());
    // A box that is off takes its photograph away.
    let mut form = Form::to(&staff.get(ORDER).await.text, FORM);
    let mut boxes = form.fields.iter_mut();
    let photo = boxes.find(|field| field.name == "image" && field.value == first);
    photo.expect("the photograph").is_on = false;
    assert_eq!(form.send(&staff.client).await.status, 303);
    let notes = corrections(&admin).await;
    assert_eq!(notes.last().expect("a note"), "photos 2 → 1");
    assert_eq!(shop.emails_of("shipment_corrected").await, 1);
    shop.settles().await;
}

#[tokio::test]
async fn programs_correct_only_what_they_name() {
    let (shop, _, session) = two_sold().await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let early = correct(&admin, &json!({"carrier": "UPS"})).await;
    assert_eq!(
        (early.status, &early.json["code"]),
        (409, &json!("not_shipped"))
    );
    ship(
        &admin,
        &json!({"carrier": "USPS", "tracking_number": "9400"}),
    )
    .await;
    for (correction, fields) in [
        (json!({"carrier": " "}), ["carrier"]),
        (json!({"tracking_number": "1/2"}), ["tracking_number"]),
        (json!({"tracking_url": "ftp://x"}), ["tracking_url"]),
        (json!({"images": ["0".repeat(64)]}), ["images[0]"]),
    ] {
        assert_eq!(correct(&admin, &correction).await.field_errors(), fields);
    }
    for field in ["carrier", "images"] {
        let none = correct(&admin, &json!({ field: null })).await;
        assert_eq!(none.field_errors(), [field], "{}", none.text);
    }
    // Nothing was ever corrected, so there is nothing to tell.
    let same = json!({"carrier": "USPS", "send_email": true});
    assert_eq!(correct(&admin, &same).await.status, 200);
    assert_eq!(corrections(&admin).await, Vec::<String>::new());
    assert_eq!(shop.emails_of("shipment_corrected").await, 0);

    let usps = "https://tools.usps.com/go/TrackConfirmAction?tLabels=";
    let own = "https://example.com/track/1";
    for (correction, number, url) in [
        (
            json!({"tracking_number": "9401"}),
            json!("9401"),
            json!(format!("{usps}9401")),
        ),
        (json!({"tracking_url": own}), json!("9401"), json!(own)),
        (json!({"carrier": "USPS"}), json!("9401"), json!(own)),
        (json!({"carrier": " USPS "}), json!("9401"), json!(own)),
        (
            json!({"tracking_number": " 9401"}),
            json!("9401"),
            json!(own),
        ),
        (
            json!({"tracking_url": ""}),
            json!("9401"),
            json!(format!("{usps}9401")),
        ),
        (json!({"tracking_number": ""}), json!(null), json!(null)),
        (
            json!({"tracking_number": "9402"}),
            json!("9402"),
            json!(format!("{usps}9402")),
        ),
        (json!({"carrier": "A friend"}), json!("9402"), json!(null)),
        (json!({"tracking_number": null}), json!(null), json!(null)),
    ] {
        let answer = correct(&admin, &correction).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let shipment = &answer.json["shipment"];
        assert_eq!(
            (&shipment["tracking_number"], &shipment["tracking_url"]),
            (&number, &url),
            "{correction}"
        );
    }
    assert_eq!(
        corrections(&admin).await,
        [
            "tracking number 9400 → 9401",
            "tracking page the usual one → https://example.com/track/1",
            "tracking page https://example.com/track/1 → the usual one",
            "tracking number 9401 → none",
            "tracking number none → 9402",
            "carrier USPS → A friend",
            "tracking number 9402 → none",
        ]
    );
    // One email per correction, however often it is asked for; and after the delivery, too.
    assert_eq!(
        admin
            .post(&format!("{API}/deliver/"), &json!({}))
            .await
            .status,
        200
    );
    let told = json!({"carrier": "UPS", "tracking_number": "1Z", "send_email": true});
    for _ in 0..2 {
        assert_eq!(correct(&admin, &told).await.status, 200);
    }
    assert_eq!(shop.emails_of("shipment_corrected").await, 1);
    let back = json!({"tracking_number": "1Y", "send_email": true});
    assert_eq!(correct(&admin, &back).await.status, 200);
    assert_eq!(correct(&admin, &told).await.status, 200);
    assert_eq!(shop.emails_of("shipment_corrected").await, 3);
    assert_eq!(shop.status_of(&session).await, "delivered");
    shop.run_jobs().await;
    let mail = shop.mail();
    assert!(mail.last().expect("an email").text.contains("1Z"));

    // A writer is told nothing of the shipment, and a reader changes nothing.
    let writer = shop.admin(&[Scope::OrdersWrite]).await;
    let answer = correct(&writer, &json!({"tracking_number": "1X999"})).await;
    assert_eq!(answer.status, 200);
    assert!(answer.json["shipment"].is_null() && !answer.text.contains("1X999"));
    let reader = shop.admin(&[Scope::OrdersRead]).await;
    assert_eq!(correct(&reader, &told).await.status, 403);
    shop.settles().await;
}
