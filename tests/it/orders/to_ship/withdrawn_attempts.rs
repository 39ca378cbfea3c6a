//! Emails that are being sent, or may have arrived, while the shipment that they are about is undone or made after all.

use serde_json::json;
use spirit_beads::jobs::Job;
use spirit_beads::types::ids::EmailId;
use spirit_beads::worker;
use sqlx::{Postgres, Transaction};
use tokio::task::JoinHandle;

use super::withdrawn::{last_entry, told_of_shipment, unship};
use super::{API, program, ship};
use crate::emails::shop_at;
use crate::support::{Client, MailServer, Shop, Trouble};

/// A shop with an order to pack whose customer has the confirmation, with its mail server and a program.
async fn at_a_mail_server() -> (Shop, MailServer, Client) {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    shop.sells_one("Sunrise").await;
    let admin = program(&shop).await;
    shop.run_jobs().await;
    (shop, server, admin)
}

/// Subjects of the emails that the mail server took for the customer since so many, oldest first.
fn subjects(server: &MailServer, since: usize) -> Vec<String> {
    let customer = "jane@example.com".to_owned();
    let received = server.received().into_iter();
    let to_customer = received.filter(|email| email.recipients.contains(&customer));
    let subjects = to_customer.map(|email| email.mail().subject);
    subjects.skip(since).collect()
}

/// Begins to send an email, which the mail server has read and not taken yet.
async fn being_sent(shop: &Shop, server: &MailServer, id: &str) -> JoinHandle<()> {
    server.misbehave(Trouble::HoldBeforeReply);
    let (app, email) = (shop.app.clone(), EmailId(id.parse().expect("an id")));
    let sending = tokio::spawn(async move {
        worker::perform(&app, Job::SendEmail { email })
            .await
            .expect("an attempt");
    });
    server.holds_an_email().await;
    sending
}

/// Holds the order, as somebody does who undoes its shipment.
async fn order_held(shop: &Shop) -> Transaction<'static, Postgres> {
    let mut tx = shop.db.begin().await.expect("a transaction");
    sqlx::query("select from orders for update")
        .execute(&mut *tx)
        .await
        .expect("the order");
    tx
}

async fn waits_for_a_lock(shop: &Shop) {
    while !shop.has_a_waiting_lock().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_email_that_leaves_while_its_shipment_is_undone_was_told() {
    let (shop, server, admin) = at_a_mail_server().await;
    assert_eq!(ship(&admin).await.status, 200);
    let id = told_of_shipment(&admin).await;
    let sending = being_sent(&shop, &server, &id).await;
    unship(&admin).await;
    assert_eq!(last_entry(&shop).await["was_told"], true);
    server.mend();
    sending.await.expect("no panic");

    let path = format!("/api/admin/emails/{id}/");
    let email = admin.get(&path).await.json;
    assert_eq!(email["state"], "sent", "{email}");
    assert!(email["withdrawn_at"].is_string(), "{email}");
    shop.run_jobs().await;
    let told = subjects(&server, 1);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("Not Shipped Yet"), "{told:?}");
    let again = admin.post(&format!("{path}resend/"), &json!({})).await;
    assert_eq!(again.json["code"], "email_withdrawn", "{}", again.text);
}

#[tokio::test]
async fn an_email_that_may_have_arrived_was_told_and_one_that_was_refused_was_not() {
    let (shop, server, admin) = at_a_mail_server().await;
    // The email is taken, and the line cut before that is said.
    server.misbehave(Trouble::DropAfterData);
    assert_eq!(ship(&admin).await.status, 200);
    shop.run_failing_jobs().await;
    server.mend();
    unship(&admin).await;
    assert_eq!(last_entry(&shop).await["was_told"], true);
    shop.hurry_jobs().await;
    shop.run_jobs().await;
    let told = subjects(&server, 1);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("Not Shipped Yet"), "{told:?}");

    server.misbehave(Trouble::Recipient(550, "jane@example.com"));
    assert_eq!(ship(&admin).await.status, 200);
    shop.run_jobs().await;
    server.mend();
    unship(&admin).await;
    assert_eq!(last_entry(&shop).await["was_told"], false);
    shop.run_jobs().await;
    assert_eq!(subjects(&server, 1), told);
}

#[tokio::test]
async fn that_it_is_not_shipped_yet_is_not_said_once_it_is() {
    let (shop, server, admin) = at_a_mail_server().await;
    assert_eq!(ship(&admin).await.status, 200);
    shop.run_jobs().await;
    // The mail server is away for a while.
    server.misbehave(Trouble::Busy);
    unship(&admin).await;
    shop.run_failing_jobs().await;
    assert_eq!(shop.emails_of("not_shipped_yet").await, 1);
    assert_eq!(ship(&admin).await.status, 200);
    assert_eq!(shop.emails_of("not_shipped_yet").await, 0);
    server.mend();
    shop.hurry_jobs().await;
    shop.run_jobs().await;
    let told = subjects(&server, 1);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], told[1], "that it is shipped, twice");

    // One that was sent is not sent again.
    unship(&admin).await;
    shop.run_jobs().await;
    let path = "/api/admin/emails/?kind=not_shipped_yet";
    let notice = admin.get(path).await.json["results"][0]["id"].clone();
    assert_eq!(ship(&admin).await.status, 200);
    shop.run_jobs().await;
    let notice = notice.as_str().expect("an id");
    let path = format!("/api/admin/emails/{notice}/resend/");
    let again = admin.post(&path, &json!({})).await;
    assert_eq!(again.json["code"], "email_withdrawn", "{}", again.text);
}

#[tokio::test]
async fn an_undo_and_the_end_of_an_attempt_wait_for_each_other_in_order() {
    let (shop, server, admin) = at_a_mail_server().await;
    server.misbehave(Trouble::Recipient(550, "jane@example.com"));
    assert_eq!(ship(&admin).await.status, 200);
    shop.run_jobs().await;
    let id = told_of_shipment(&admin).await;
    server.mend();
    let path = format!("/api/admin/emails/{id}/");
    let again = admin.post(&format!("{path}resend/"), &json!({})).await;
    assert_eq!(again.status, 202, "{}", again.text);
    let sending = being_sent(&shop, &server, &id).await;

    let mut undoing = order_held(&shop).await;
    server.mend();
    waits_for_a_lock(&shop).await;
    sqlx::query("update emails set last_error = last_error")
        .execute(&mut *undoing)
        .await
        .expect("no deadlock");
    undoing.commit().await.expect("a commit");
    sending.await.expect("no panic");
    assert_eq!(admin.get(&path).await.json["state"], "sent");
    let order = admin.get(&format!("{API}/")).await.json;
    assert_eq!(order["review_items"], json!([]));
}

#[tokio::test]
async fn an_undo_and_somebody_who_resolves_its_item_wait_for_each_other_in_order() {
    let (shop, server, admin) = at_a_mail_server().await;
    server.misbehave(Trouble::Recipient(550, "jane@example.com"));
    assert_eq!(ship(&admin).await.status, 200);
    shop.run_jobs().await;
    let order = admin.get(&format!("{API}/")).await.json;
    let item = order["review_items"][0]["id"].as_str().expect("an item");
    let path = format!("/api/admin/review-items/{item}/resolve/");

    let mut undoing = order_held(&shop).await;
    let resolving = tokio::spawn(async move { admin.post(&path, &json!({})).await });
    waits_for_a_lock(&shop).await;
    sqlx::query("update review_items set text = text")
        .execute(&mut *undoing)
        .await
        .expect("no deadlock");
    undoing.commit().await.expect("a commit");
    let resolved = resolving.await.expect("no panic");
    assert_eq!(resolved.status, 200, "{}", resolved.text);
}
