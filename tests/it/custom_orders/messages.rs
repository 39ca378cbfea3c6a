//! Messages that the owner writes to the customer of a custom order.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::Workshop;
use crate::admin::{STAFF, audited, signed_in, staff, staffed};
use crate::support::{Mail, Shop, card};

const PAGE: &str = "/admin/custom-orders/CO-1001";
const API: &str = "/api/admin/custom-orders/CO-1001/messages/";
const TEXT: &str = "Here is a first drawing.\r\n\r\nWater in <turquoise>?";

/// The messages that the customer has.
fn messages(shop: &Shop) -> Vec<Mail> {
    let mut mails = shop.mail();
    mails.retain(|mail| mail.subject.starts_with("About Your Custom Order"));
    mails
}

#[tokio::test]
async fn the_owner_writes_from_the_page_and_the_customer_answers_to_the_shop() {
    let shop = Shop::open_with(&[
        ("MAIL_FROM", "hello@beads.example"),
        ("SHOP_EMAIL", "owner@beads.example"),
    ])
    .await;
    staff(&shop).await;
    shop.asks_for_a_piece("cy@example.com").await;
    let staff = signed_in(&shop, STAFF).await;
    let path = format!("{PAGE}/message");
    let refused = staff.submit(PAGE, &path, &[("text", " ")]).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(refused.text.contains("Message must"), "{}", refused.text);
    let sent = staff.submit(PAGE, &path, &[("text", TEXT)]).await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    shop.run_jobs().await;

    let mails = messages(&shop);
    let [mail] = &mails[..] else {
        panic!("{mails:#?}");
    };
    assert_eq!(mail.to, ["cy@example.com"]);
    assert_eq!(mail.reply_to, ["owner@beads.example"]);
    let text = "Here is a first drawing.\n\nWater in <turquoise>?\n\nRequest: CO-1001\n";
    assert!(mail.text.contains(text), "{}", mail.text);
    assert!(mail.html.contains("Water in &#60;turquoise&#62;?"));
    let page = staff.get(PAGE).await.text;
    assert!(
        page.contains("Message to the customer: Here is a first drawing."),
        "{page}"
    );
    assert!(
        page.contains("Custom order message"),
        "among the emails: {page}"
    );
    let (.., action, _, _, after) = audited(&shop).await.pop().expect("an entry");
    assert_eq!(action, "custom_order.message");
    let after: Value = after.expect("what was written");
    assert!(
        after["message"]
            .as_str()
            .is_some_and(|text| text.contains("<turquoise>"))
    );
}

#[tokio::test]
async fn an_email_is_sent_again_from_its_custom_orders_page_alone() {
    let shop = staffed().await;
    for customer in ["cy@example.com", "di@example.com"] {
        shop.asks_for_a_piece(customer).await;
    }
    shop.run_jobs().await;
    let staff = signed_in(&shop, STAFF).await;
    let reader = shop.admin(&[Scope::OrdersRead]).await;
    let emails = async |query: &str| {
        let path = format!("/api/admin/emails/?kind=custom_order_received&{query}");
        reader.get(&path).await
    };
    let mine = emails("custom_order=CO-1001").await.json;
    assert_eq!(mine["count"], 1);
    let email = mine["results"][0]["id"].as_str().expect("an id");
    assert_eq!(emails("custom_order=CO-9").await.status, 400);
    let resends = async |page: &str| {
        let path = format!("{page}/resend");
        staff.submit(page, &path, &[("email", email)]).await.status
    };
    assert_eq!(resends("/admin/custom-orders/CO-1002").await, 404);
    assert_eq!(resends(PAGE).await, 303);
    shop.run_jobs().await;
    let received = shop.mail();
    let received = received.iter().filter(|mail| mail.to == ["cy@example.com"]);
    assert_eq!(received.count(), 2);
}

#[tokio::test]
async fn a_program_writes_once_per_key() {
    let shop = Shop::open().await;
    shop.asks_for_a_piece("cy@example.com").await;
    let admin = shop.admin(&[Scope::CustomOrders]).await;
    let send = async |key: &str, text: &str| {
        let body = json!({"text": text}).to_string();
        let headers = [
            ("idempotency-key", key),
            ("content-type", "application/json"),
        ];
        admin.send(Method::POST, API, &headers, Some(body)).await
    };
    let first = send("1", "Hello").await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(send("1", "Hello").await.json, first.json);
    assert_eq!(send("1", "Goodbye").await.status, 422);
    assert_eq!(send("2", "Hello").await.status, 200);
    assert_eq!(admin.post(API, &json!({"text": ""})).await.status, 400);
    let nobody = shop.admin(&[Scope::OrdersWrite]).await;
    assert_eq!(
        nobody.post(API, &json!({"text": "Hello"})).await.status,
        403
    );
    shop.run_jobs().await;
    assert_eq!(messages(&shop).len(), 2);
}

#[tokio::test]
async fn the_page_of_a_paid_piece_has_its_address_and_its_packing_slip() {
    let (workshop, link) = Workshop::quoted().await;
    workshop.pays(&link, card()).await;
    let shop = &workshop.shop;
    shop.deliver().await;
    staff(shop).await;
    let staff = signed_in(shop, STAFF).await;
    let page = staff.get(PAGE).await.text;
    assert!(
        page.contains("123 Main Street<br>Portland, OR 97205"),
        "{page}"
    );
    let slip = staff.get("/admin/orders/SB-1001/packing-slip").await.text;
    assert!(
        page.contains("/admin/orders/SB-1001/packing-slip"),
        "{page}"
    );
    assert!(slip.contains("Custom piece CO-1001"), "{slip}");
    let (next, wish) = (page.find("id=\"next\""), page.find("id=\"wish\""));
    assert!(next < wish, "the next step is on top");
    shop.run_jobs().await;
}
