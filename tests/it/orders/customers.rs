//! A customer's data is corrected before and after shipping, and stays corrected whatever Stripe reports.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use crate::admin::orders::two_sold;
use crate::admin::{STAFF, audited, signed_in};
use crate::support::forms::Form;
use crate::support::{Answer, Client, Shop, delayed, session_of};

const ORDER: &str = "/admin/orders/SB-1001";

const FORM: &str = "/admin/orders/SB-1001/customer";

const API: &str = "/api/admin/orders/SB-1001";

async fn correct(admin: &Client, correction: &Value) -> Answer {
    let path = format!("{API}/customer/");
    admin.send_json(Method::PATCH, &path, correction).await
}

/// Subtotal, shipping, total and refunded.
fn money(order: &Value) -> [&Value; 4] {
    ["subtotal", "shipping", "total", "refunded"].map(|name| &order[name])
}

/// Kinds of the open review items.
fn open_items(order: &Value) -> Vec<&str> {
    let items = order["review_items"].as_array().expect("items");
    let kinds = items.iter().map(|item| item["kind"].as_str());
    kinds.map(|kind| kind.expect("a kind")).collect()
}

#[tokio::test]
async fn a_typo_in_the_address_is_corrected_on_the_page() {
    let (shop, _, _) = two_sold().await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let staff = signed_in(&shop, STAFF).await;
    let before = admin.get(&format!("{API}/")).await.json;

    let form = Form::to(&staff.get(ORDER).await.text, FORM);
    assert_eq!(form.get("email"), "jane@example.com");
    assert_eq!((form.get("city"), form.get("country")), ("Portland", "US"));
    // A fault is told beside its field, and nothing typed is lost.
    let faults = [("email", "jane"), ("line1", ""), ("city", "Salem")];
    let refused = form.with(&faults).send(&staff.client).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    for part in [
        "id=\"customer-email-error\"",
        "id=\"customer-line1-error\"",
        "<details id=\"correct-customer\" open>",
    ] {
        assert!(refused.text.contains(part), "{part}: {}", refused.text);
    }
    let form = Form::to(&refused.text, FORM);
    assert_eq!(form.get("city"), "Salem");
    let good = [
        ("email", "janet@example.com"),
        ("line1", "9 Oak Street"),
        ("send_confirmation", "true"),
    ];
    let done = form.with(&good).send(&staff.client).await;
    assert_eq!((done.status, done.header("location")), (303, ORDER));
    shop.run_jobs().await;
    let page = staff.get(ORDER).await.text;
    for part in [
        "the confirmation goes to janet@example.com.",
        "9 Oak Street",
        "Salem, OR 97205",
        "Customer corrected: email, shipping address",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let slip = staff.get(&format!("{ORDER}/packing-slip")).await.text;
    assert!(slip.contains("9 Oak Street") && !slip.contains("123 Main"));
    let mail = shop.mail();
    let mail = mail.last().expect("an email");
    assert_eq!(mail.to, ["janet@example.com"]);
    assert_eq!(mail.subject, "Order Confirmation - Spirit Beads");
    assert!(mail.text.contains("9 Oak Street") && mail.copies.is_empty());
    assert_eq!(shop.emails_of("order_confirmation").await, 2);
    let after = admin.get(&format!("{API}/")).await.json;
    assert_eq!(money(&after), money(&before));

    // The audit log names the fields, and nothing of the customer.
    let log = audited(&shop).await;
    let (_, action, object, _, entry) = log.last().expect("an entry");
    assert_eq!(
        (action.as_str(), object.as_str()),
        ("order.correct_customer", "order:SB-1001")
    );
    let entry = entry.as_ref().expect("what is so now");
    assert_eq!(entry["corrected"], json!(["email", "shipping_address"]));
    assert!(!entry.to_string().contains("janet"), "{entry}");
    // Sent as it is rendered, nothing happens; and a correction is confirmed once.
    for boxes in [&[][..], &[("send_confirmation", "true")]] {
        let form = Form::to(&staff.get(ORDER).await.text, FORM).with(boxes);
        assert_eq!(form.send(&staff.client).await.status, 303);
        let page = staff.get(ORDER).await.text;
        assert!(page.contains("Nothing was changed."), "{page}");
        assert_eq!(audited(&shop).await.len(), log.len());
    }
    shop.settles().await;
}

#[tokio::test]
async fn programs_correct_the_fields_that_they_name_before_and_after_shipping() {
    let (shop, _, _) = two_sold().await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let abroad = json!({"line1": "1 King St", "city": "Toronto", "country": "ca"});
    for (correction, field) in [
        (json!({"email": "x"}), "email"),
        (json!({"customer_name": "a\nb"}), "customer_name"),
        (json!({"phone": "1".repeat(51)}), "phone"),
        (
            json!({"shipping_address": {"line1": "1 Oak"}}),
            "shipping_address.country",
        ),
        (
            json!({"shipping_address": {"country": "US"}}),
            "shipping_address.line1",
        ),
        (
            json!({"shipping_address": {"line1": "x".repeat(201), "country": "US"}}),
            "shipping_address.line1",
        ),
        (
            json!({"shipping_address": {"line1": "1 Oak", "country": "ZZ"}}),
            "shipping_address.country",
        ),
    ] {
        let refused = correct(&admin, &correction).await;
        assert_eq!(refused.field_errors(), [field], "{}", refused.text);
    }
    let phone = correct(&admin, &json!({"phone": "+1 503 555 0100"})).await;
    assert_eq!(phone.status, 200, "{}", phone.text);
    assert_eq!(phone.json["phone"], "+1 503 555 0100");
    assert_eq!(phone.json["email"], "jane@example.com");
    // An address outside of the zone that was paid is flagged, and settled once it is right again.
    let outside = correct(&admin, &json!({"shipping_address": abroad})).await;
    assert_eq!(outside.json["outside_zone"], true);
    assert_eq!(outside.json["shipping_address"]["country"], "CA");
    assert_eq!(open_items(&outside.json), ["outside_zone"]);
    let home = json!({"line1": "9 Oak Street", "city": "Salem", "country": "US"});
    let inside = correct(&admin, &json!({"shipping_address": home})).await;
    assert_eq!(inside.json["outside_zone"], false);
    assert_eq!(open_items(&inside.json), [] as [&str; 0]);
    let shipment = json!({"carrier": "USPS"});
    assert_eq!(
        admin.post(&format!("{API}/ship/"), &shipment).await.status,
        200
    );
    let late = json!({"shipping_name": "", "customer_name": "Janet", "send_confirmation": true});
    for _ in 0..2 {
        let late = correct(&admin, &late).await;
        assert_eq!(late.status, 200, "{}", late.text);
        assert_eq!(late.json["status"], "shipped");
        assert_eq!(
            (&late.json["shipping_name"], &late.json["customer_name"]),
            (&json!(null), &json!("Janet"))
        );
    }
    assert_eq!(
        shop.emails_of("order_confirmation").await,
        2,
        "one per correction"
    );
    // Tokens without the right to see the customer have nothing sent to an address of theirs.
    let emails = async || shop.count("select count(*) from emails").await;
    let before = emails().await;
    let writer = shop.admin(&[Scope::OrdersWrite]).await;
    let stolen = json!({"email": "secret@example.com", "send_confirmation": true});
    let answer = correct(&writer, &stolen).await;
    assert_eq!((answer.status, emails().await), (403, before));
    assert!(answer.text.contains("orders:read"), "{}", answer.text);
    let order = admin.get(&format!("{API}/")).await.json;
    assert_eq!(order["email"], "jane@example.com");
    let reader = shop.admin(&[Scope::OrdersRead]).await;
    assert_eq!(correct(&reader, &late).await.status, 403);
    shop.settles().await;
}

/// A shop that waits for a delayed payment.
async fn waiting() -> (Shop, String) {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let early = correct(&admin, &json!({"email": "janet@example.com"})).await;
    assert_eq!(
        (early.status, &early.json["code"]),
        (409, &json!("not_paid"))
    );
    shop.stripe
        .pay(&session, delayed())
        .await
        .expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    (shop, session)
}

#[tokio::test]
async fn a_late_or_repeated_event_does_not_change_a_correction_back() {
    let (shop, session) = waiting().await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let home = json!({"line1": "1 King St", "city": "Toronto", "country": "CA"});
    let correction = json!({"email": "janet@example.com", "shipping_address": home});
    let corrected = correct(&admin, &correction).await;
    assert_eq!(corrected.status, 200, "{}", corrected.text);
    assert!(corrected.json["processing_since"].is_string());
    let stays = async || {
        let order = admin.get(&format!("{API}/")).await.json;
        assert_eq!(order["email"], "janet@example.com");
        assert_eq!(order["shipping_address"]["city"], "Toronto");
        assert_eq!(order["outside_zone"], true);
        assert_eq!(
            order["customer_name"], "Jane Shopper",
            "it was not corrected"
        );
        assert_eq!(open_items(&order), ["outside_zone"], "said once");
        order
    };
    shop.stripe
        .settle_delayed(&session, true)
        .await
        .expect("a decision");
    shop.deliver().await;
    assert_eq!(stays().await["status"], "paid");
    let event = shop.event("checkout.session.async_payment_succeeded").await;
    assert_eq!(shop.webhook(&event).await.status, 200);
    // The same, as a new event.
    let mut again = event.clone();
    again["id"] = json!("evt_again");
    assert_eq!(shop.webhook(&again).await.status, 200);
    shop.run_jobs().await;
    stays().await;
    let mail = shop.mail();
    let confirmation = mail
        .iter()
        .find(|mail| mail.subject.contains("Confirmation"));
    assert_eq!(confirmation.expect("an email").to, ["janet@example.com"]);
    shop.settles().await;
}

#[tokio::test]
async fn a_refused_late_payment_is_told_to_the_corrected_address() {
    let (shop, session) = waiting().await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let correction = json!({"email": "janet@example.com", "customer_name": "Janet"});
    let corrected = correct(&admin, &correction).await;
    assert_eq!(corrected.status, 200, "{}", corrected.text);
    // Another amount than the order's is refunded.
    sqlx::query("update orders set shipping = shipping + 100, total = total + 100")
        .execute(&shop.db)
        .await
        .expect("another total");
    shop.stripe
        .settle_delayed(&session, true)
        .await
        .expect("a decision");
    shop.deliver().await;
    shop.run_jobs().await;
    let recipient: (String, String) = sqlx::query_as(
        "select recipient, contents #>> '{refusal,customer_name}' from emails where kind = 'could_not_fulfill'",
    )
    .fetch_one(&shop.db)
    .await
    .expect("an email");
    assert_eq!(recipient, ("janet@example.com".into(), "Janet".into()));
    shop.settles().await;
}

#[tokio::test]
async fn an_address_goes_only_when_it_is_removed_on_purpose_and_that_is_said() {
    let (shop, _, _) = two_sold().await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let order = async || admin.get(&format!("{API}/")).await.json;
    let before = order().await;
    let unknown = json!({"shipping_address": {"street": "1 Oak Street"}});
    assert_eq!(correct(&admin, &unknown).await.status, 400);
    let empty = correct(&admin, &json!({"shipping_address": {"city": " "}})).await;
    assert_eq!(
        empty.field_errors(),
        ["shipping_address.country", "shipping_address.line1"]
    );
    assert_eq!(order().await, before);
    for _ in 0..2 {
        let removed = correct(&admin, &json!({"shipping_address": null, "phone": null})).await;
        assert_eq!(removed.status, 200, "{}", removed.text);
        assert!(removed.json["shipping_address"].is_null() && removed.json["phone"].is_null());
        assert_eq!(open_items(&removed.json), ["address_missing"]);
        let text = &removed.json["review_items"][0]["text"];
        assert_eq!(
            text,
            "its address was removed, and nobody said where to ship it"
        );
        let home = json!({"line1": "9 Oak Street", "city": "Salem", "country": "US"});
        let known = correct(&admin, &json!({"shipping_address": home})).await;
        assert_eq!(open_items(&known.json), [] as [&str; 0]);
    }
    shop.settles().await;
}

#[tokio::test]
async fn what_is_known_against_the_rules_stands_in_no_way() {
    let (shop, _, _) = two_sold().await;
    let staff = signed_in(&shop, STAFF).await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    // Stripe has rules of its own, and a wallet may name a country alone.
    sqlx::query(
        "update orders
         set customer_name = ' ' || repeat('x', 300), shipping_address = '{\"country\": \"ZZ\", \"po_box\": \"1\"}'",
    )
    .execute(&shop.db)
    .await
    .expect("other data");
    let form = Form::to(&staff.get(ORDER).await.text, FORM);
    let done = form.with(&[("email", "janet@example.com")]);
    let done = done.send(&staff.client).await;
    assert_eq!(done.status, 303, "{}", done.text);
    let page = staff.get(ORDER).await.text;
    assert!(page.contains("Customer corrected: email"), "{page}");
    let order = admin.get(&format!("{API}/")).await.json;
    assert_eq!(order["email"], "janet@example.com");
    assert_eq!(
        order["shipping_address"],
        json!({"country": "ZZ", "po_box": "1"})
    );
    // What changes is checked.
    let form = Form::to(&page, FORM);
    let refused = form.with(&[("city", "Salem")]).send(&staff.client).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(refused.text.contains("id=\"customer-line1-error\""));
    assert!(!refused.text.contains("id=\"customer-country-error\""));
}

#[tokio::test]
async fn an_address_inside_the_zone_that_was_paid_needs_nobody() {
    let (shop, session) = waiting().await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let abroad = json!({"line1": "1 King St", "city": "Toronto", "country": "CA"});
    let outside = correct(&admin, &json!({"shipping_address": abroad})).await;
    assert_eq!(open_items(&outside.json), ["outside_zone"]);
    // As if the shopper had chosen that zone's rate.
    sqlx::query("update orders set shipping_zone = 'north_america'")
        .execute(&shop.db)
        .await
        .expect("another zone");
    shop.stripe
        .settle_delayed(&session, true)
        .await
        .expect("a decision");
    shop.deliver().await;
    let order = admin.get(&format!("{API}/")).await.json;
    assert_eq!(
        (&order["status"], &order["outside_zone"]),
        (&json!("paid"), &json!(false))
    );
    assert_eq!(open_items(&order), [] as [&str; 0]);
    shop.settles().await;
}
