//! The emails about a shipment that is undone go no further.

use serde_json::{Value, json};

use super::{API, ORDER, program, ship};
use crate::admin::orders::two_sold;
use crate::admin::{OWNER, audited, signed_in};
use crate::emails::shop_at;
use crate::support::forms::Form;
use crate::support::{Client, MailServer, Shop, Trouble};

const UNSHIP: &str = "/admin/orders/SB-1001/unship";

pub(super) async fn unship(admin: &Client) {
    let told = json!({"send_email": true});
    let undone = admin.post(&format!("{API}/unship/"), &told).await;
    assert_eq!(undone.status, 200, "{}", undone.text);
}

/// Id of the newest email that an order is shipped.
pub(super) async fn told_of_shipment(admin: &Client) -> String {
    let path = "/api/admin/emails/?kind=order_shipped";
    let emails = admin.get(path).await.json;
    emails["results"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

/// The subjects of all emails that were delivered, oldest first.
fn subjects(shop: &Shop) -> Vec<String> {
    let mail = shop.mail().into_iter();
    mail.map(|mail| mail.subject).collect()
}

/// Number of emails that the customer received.
fn to_customer(server: &MailServer) -> usize {
    let customer = "jane@example.com".to_owned();
    let received = server.received().into_iter();
    received
        .filter(|mail| mail.recipients.contains(&customer))
        .count()
}

/// Facts of the latest audit entry.
pub(super) async fn last_entry(shop: &Shop) -> Value {
    let log = audited(shop).await;
    let (_, action, _, _, after) = log.last().expect("an entry").clone();
    assert_eq!(action, "order.unship");
    after.expect("what is so now")
}

#[tokio::test]
async fn an_email_that_waits_is_withdrawn_with_its_shipment_and_nobody_is_told() {
    let (shop, _, _) = two_sold().await;
    let (owner, admin) = (signed_in(&shop, OWNER).await, program(&shop).await);
    shop.run_jobs().await;
    let before = subjects(&shop);
    assert_eq!(ship(&admin).await.status, 200);
    let form = Form::to(&owner.get(ORDER).await.text, UNSHIP);
    let done = form
        .with(&[("send_email", "true")])
        .send(&owner.client)
        .await;
    assert_eq!(done.status, 303, "{}", done.text);
    let page = owner.get(ORDER).await.text;
    assert!(
        page.contains("No email goes out, because the customer was not told of the shipment."),
        "{page}"
    );
    let entry = last_entry(&shop).await;
    assert_eq!(
        (&entry["was_told"], &entry["is_emailed"]),
        (&json!(false), &json!(false))
    );
    shop.run_jobs().await;
    assert_eq!(subjects(&shop), before);

    // The correction of a shipment goes with it as well.
    assert_eq!(ship(&admin).await.status, 200);
    let correction = json!({"tracking_number": "9401", "send_email": true});
    let path = format!("{API}/shipment/");
    let corrected = admin.send_json(reqwest::Method::PATCH, &path, &correction);
    assert_eq!(corrected.await.status, 200);
    assert_eq!(shop.emails_of("shipment_corrected").await, 1);
    unship(&admin).await;
    shop.run_jobs().await;
    assert_eq!(subjects(&shop), before);
    shop.settles().await;
}

#[tokio::test]
async fn an_email_about_an_undone_shipment_is_not_sent_again() {
    let (shop, _, _) = two_sold().await;
    let (owner, admin) = (signed_in(&shop, OWNER).await, program(&shop).await);
    assert_eq!(ship(&admin).await.status, 200);
    shop.run_jobs().await;
    let id = told_of_shipment(&admin).await;
    assert!(owner.get(ORDER).await.text.contains(&id));
    unship(&admin).await;
    let path = format!("/api/admin/emails/{id}/");
    assert!(admin.get(&path).await.json["withdrawn_at"].is_string());
    let again = admin.post(&format!("{path}resend/"), &json!({})).await;
    assert_eq!(
        (again.status, &again.json["code"]),
        (409, &json!("email_withdrawn"))
    );
    assert!(
        !owner
            .get(ORDER)
            .await
            .text
            .contains(&format!("value=\"{id}\""))
    );
    let page = owner.get(&format!("/admin/system/emails/{id}")).await.text;
    assert!(page.contains("It is not sent again."), "{page}");
    shop.run_jobs().await;
    let sent = subjects(&shop);
    assert!(sent.last().expect("an email").contains("Not Shipped Yet"));
    assert_eq!(last_entry(&shop).await["was_told"], true);
    shop.settles().await;
}

#[tokio::test]
async fn an_email_sent_again_or_being_sent_ends_with_its_shipment() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    shop.sells_one("Sunrise").await;
    let admin = program(&shop).await;
    shop.run_jobs().await;
    let confirmed = to_customer(&server);

    // A worker crashed during an attempt.
    assert_eq!(ship(&admin).await.status, 200);
    sqlx::query("update emails set state = 'sending', tried_at = now() - interval '1 hour', attempts = 1 where kind = 'order_shipped'")
        .execute(&shop.db)
        .await
        .expect("an attempt");
    unship(&admin).await;
    assert_eq!(
        last_entry(&shop).await["was_told"],
        true,
        "it may have arrived"
    );
    shop.run_jobs().await;
    assert_eq!(shop.emails_of("order_shipped").await, 0);
    assert_eq!(
        to_customer(&server),
        confirmed + 1,
        "that it is not shipped yet"
    );

    // Given up, it was never sent: nobody is to look at it any more.
    server.misbehave(Trouble::Recipient(550, "jane@example.com"));
    assert_eq!(ship(&admin).await.status, 200);
    shop.run_jobs().await;
    let items = async || admin.get(&format!("{API}/")).await.json["review_items"].clone();
    assert_eq!(items().await[0]["kind"], "email_undelivered");
    unship(&admin).await;
    assert_eq!(items().await, json!([]));
    server.mend();
    shop.run_jobs().await;
    assert_eq!(to_customer(&server), confirmed + 1);

    // One that arrived and was to be sent again stays sent, once.
    assert_eq!(ship(&admin).await.status, 200);
    shop.run_jobs().await;
    let id = told_of_shipment(&admin).await;
    let path = format!("/api/admin/emails/{id}/");
    assert_eq!(
        admin
            .post(&format!("{path}resend/"), &json!({}))
            .await
            .status,
        202
    );
    unship(&admin).await;
    assert_eq!(admin.get(&path).await.json["state"], "sent");
    shop.run_jobs().await;
    assert_eq!(
        to_customer(&server),
        confirmed + 3,
        "shipped, and not shipped yet"
    );
    shop.audit().await;
}

#[tokio::test]
async fn a_correction_belongs_to_its_shipment() {
    let (shop, _, _) = two_sold().await;
    let (owner, admin) = (signed_in(&shop, OWNER).await, program(&shop).await);
    let correct = async |correction: &Value| {
        let path = format!("{API}/shipment/");
        let corrected = admin.send_json(reqwest::Method::PATCH, &path, correction);
        assert_eq!(corrected.await.status, 200);
    };
    let count = async || shop.emails_of("shipment_corrected").await;
    assert_eq!(ship(&admin).await.status, 200);
    let correction = json!({"tracking_number": "9401", "send_email": true});
    correct(&correction).await;
    shop.run_jobs().await;
    assert_eq!(count().await, 1);
    let entries = audited(&shop).await.len();
    // Sent once already: the answer and the log claim no other email.
    let page = owner.get(ORDER).await.text;
    let form = Form::to(&page, "/admin/orders/SB-1001/shipment");
    let again = form.with(&[("send_email", "true")]);
    assert_eq!(again.send(&owner.client).await.status, 303);
    assert!(owner.get(ORDER).await.text.contains("Nothing was changed."));
    assert_eq!(audited(&shop).await.len(), entries);
    unship(&admin).await;
    shop.run_jobs().await;

    // The next shipment was never corrected; then it is, and that is told.
    assert_eq!(ship(&admin).await.status, 200);
    let carrier = json!({"send_email": true});
    correct(&carrier).await;
    assert_eq!(count().await, 1);
    correct(&correction).await;
    assert_eq!(count().await, 2);
    shop.settles().await;
}

#[tokio::test]
async fn without_an_address_no_form_offers_an_email() {
    let (shop, _, _) = two_sold().await;
    let (owner, admin) = (signed_in(&shop, OWNER).await, program(&shop).await);
    assert_eq!(ship(&admin).await.status, 200);
    let boxes = async || {
        owner
            .get(ORDER)
            .await
            .text
            .matches("name=\"send_email\"")
            .count()
    };
    assert_eq!(boxes().await, 2);
    let path = format!("{API}/customer/");
    let nobody = json!({"email": ""});
    let corrected = admin.send_json(reqwest::Method::PATCH, &path, &nobody);
    assert_eq!(corrected.await.status, 200);
    assert_eq!(boxes().await, 0);
    shop.settles().await;
}
