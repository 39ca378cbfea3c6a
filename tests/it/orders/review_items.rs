//! P10: nothing needs a person in silence. Each trouble is a review item of its own, emailed once, and resolved by itself
//! only.

use reqwest::Method;
use serde_json::Value;
use spirit_beads::auth::Scope;

use crate::admin::{STAFF, signed_in, staffed};
use crate::support::{Client, MailServer, Shop, Trouble, card, session_of};

const ALL: [Scope; 3] = [Scope::OrdersRead, Scope::OrdersWrite, Scope::CustomOrders];

impl Shop {
    /// A shop in which a refund of SB-1001 failed, and then its confirmation could not be delivered.
    async fn with_two_troubles() -> Shop {
        let shop = staffed().await;
        let piece = shop.stocks("Sunrise", 1).await;
        let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop.deliver().await;
        let payment = shop.payment_of(&session).await;
        shop.stripe
            .refund(&payment, Some(500))
            .await
            .expect("a refund");
        shop.deliver().await;
        let refund = &shop.at_stripe("refund").await[0];
        let refund = refund["id"].as_str().expect("an id");
        shop.stripe.fail_refund(refund).await.expect("a failure");
        shop.deliver().await;
        sqlx::query("update emails set recipient = 'nobody' where kind = 'order_confirmation'")
            .execute(&shop.db)
            .await
            .expect("a wrong address");
        shop.run_jobs().await;
        shop
    }

    async fn open_items(&self, client: &Client) -> Vec<Value> {
        let page = client.get("/api/admin/review-items/").await;
        assert_eq!(page.status, 200, "{}", page.text);
        page.json["results"].as_array().cloned().expect("items")
    }
}

fn kinds(items: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = items
        .iter()
        .filter_map(|item| item["kind"].as_str())
        .collect();
    kinds.sort_unstable();
    kinds
}

#[tokio::test]
async fn a_later_trouble_overwrites_no_earlier_one_and_each_is_resolved_by_itself() {
    let shop = Shop::with_two_troubles().await;
    let admin = shop.admin(&ALL).await;
    let items = shop.open_items(&admin).await;
    let email = items
        .iter()
        .find(|item| item["kind"] == "email_undelivered");
    let email = email.unwrap_or_else(|| panic!("{items:#?}"));
    assert_eq!(email["order_number"], "SB-1001");
    assert!(kinds(&items).contains(&"refund_failed"), "{items:#?}");

    let order = admin.get("/api/admin/orders/SB-1001/").await.json;
    let shown = order["review_items"].as_array().expect("items");
    assert_eq!(shown.len(), items.len());
    let listed = admin.get("/api/admin/orders/?to_review=true").await.json;
    assert_eq!(listed["results"][0]["review_items"], order["review_items"]);

    // The owner and staff see both, on the order's page, on Today and on a page of their own.
    let staff = signed_in(&shop, STAFF).await;
    for page in [
        "/admin/orders/SB-1001",
        "/admin",
        "/admin/review-items",
        "/admin/orders?tab=review",
    ] {
        let page = staff.get(page).await.text;
        for item in &items {
            let text = item["text"].as_str().expect("a text");
            assert!(page.contains(text), "{text}: {page}");
        }
    }

    // One call that means them all does nothing: each is resolved by itself.
    let both = admin
        .post("/api/admin/orders/SB-1001/resolve/", &Value::Null)
        .await;
    assert_eq!(
        (both.status, both.json["code"].as_str()),
        (409, Some("several_review_items"))
    );
    let path = format!(
        "/api/admin/review-items/{}/resolve/",
        email["id"].as_str().expect("an id")
    );
    for _ in 0..2 {
        let resolved = admin.post(&path, &Value::Null).await;
        assert_eq!(resolved.status, 200, "{}", resolved.text);
        assert_eq!(resolved.json["resolved_by"], "token:test");
    }
    let left = shop.open_items(&admin).await;
    assert_eq!(left.len(), items.len() - 1);
    assert!(!kinds(&left).contains(&"email_undelivered"));
    let entries: i64 = sqlx::query_scalar(
        "select count(*) from audit_log where action = 'review_item.resolve' and object = 'order:SB-1001'",
    )
    .fetch_one(&shop.db)
    .await
    .expect("the log");
    assert_eq!(entries, 1, "a repeat resolves nothing");
}

#[tokio::test]
async fn raising_emails_the_owner_once_and_says_where_to_look() {
    let shop = Shop::with_two_troubles().await;
    for event in shop.stripe.events().await.expect("the events") {
        assert_eq!(shop.webhook(&event).await.status, 200);
    }
    shop.run_jobs().await;
    let admin = shop.admin(&ALL).await;
    let items = shop.open_items(&admin).await;
    let mails: Vec<_> = shop
        .mail()
        .into_iter()
        .filter(|mail| mail.subject.starts_with("Please Look: SB-1001: "))
        .collect();
    assert_eq!(mails.len(), items.len(), "one email per item");
    for item in items {
        let text = item["text"].as_str().expect("a text");
        let found = mails
            .iter()
            .filter(|mail| mail.text.replace('\n', " ").contains(text));
        assert!(found.count() >= 1, "{text}");
    }
    assert!(
        mails[0].text.contains("/admin/orders/SB-1001"),
        "{}",
        mails[0].text
    );
    assert_eq!(mails[0].to, [shop.app.config.shop.email.as_str()]);
}

#[tokio::test]
async fn an_item_goes_away_by_itself_when_its_cause_does() {
    let server = MailServer::start().await;
    let url = server.url();
    let shop = Shop::open_with(&[
        ("SMTP_URL", url.as_str()),
        ("SMTP_TIMEOUT_SECONDS", "1"),
        ("MAIL_FROM", "hello@beads.example"),
        ("SHOP_EMAIL", "owner@beads.example"),
    ])
    .await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    server.misbehave(Trouble::Recipient(550, "jane@example.com"));
    shop.run_jobs().await;
    let admin = shop.admin(&ALL).await;
    assert_eq!(kinds(&shop.open_items(&admin).await), ["email_undelivered"]);

    server.mend();
    let emails = admin
        .get("/api/admin/emails/?kind=order_confirmation")
        .await
        .json;
    let email = emails["results"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let again = format!("/api/admin/emails/{email}/resend/");
    assert_eq!(admin.post(&again, &Value::Null).await.status, 202);
    shop.run_jobs().await;
    assert!(shop.open_items(&admin).await.is_empty());
    let resolved = admin
        .get("/api/admin/review-items/?state=resolved")
        .await
        .json;
    assert_eq!(resolved["results"][0]["resolution"], "the email was sent");

    // It is another trouble when it happens again, and not one less.
    server.misbehave(Trouble::Recipient(550, "jane@example.com"));
    assert_eq!(admin.post(&again, &Value::Null).await.status, 202);
    shop.run_jobs().await;
    assert_eq!(kinds(&shop.open_items(&admin).await), ["email_undelivered"]);
}

#[tokio::test]
async fn an_email_to_the_owner_that_cannot_arrive_causes_no_other() {
    let server = MailServer::start().await;
    let url = server.url();
    let shop = Shop::open_with(&[
        ("SMTP_URL", url.as_str()),
        ("SMTP_TIMEOUT_SECONDS", "1"),
        ("MAIL_FROM", "hello@beads.example"),
        ("SHOP_EMAIL", "owner@beads.example"),
    ])
    .await;
    server.misbehave(Trouble::Spam);
    shop.asks_for_a_piece("ann@example.com").await;
    shop.run_jobs().await;
    let admin = shop.admin(&ALL).await;
    let items = shop.open_items(&admin).await;
    assert_eq!(
        kinds(&items),
        [
            "email_undelivered",
            "shop_email_undelivered",
            "shop_email_undelivered"
        ],
        "the customer's, the shop's, and the one about the customer's"
    );
    assert_eq!(shop.emails_of("review_item").await, 1);
}

#[tokio::test]
async fn items_of_custom_orders_need_their_scope() {
    let shop = Shop::open().await;
    shop.asks_for_a_piece("ann@example.com").await;
    sqlx::query(
        "insert into review_items (custom_order_id, kind, cause, text)
         select id, 'other', 'test:' || id, 'look' from custom_orders",
    )
    .execute(&shop.db)
    .await
    .expect("a trouble");
    let reader = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    assert!(shop.open_items(&reader).await.is_empty());
    let maker = shop.admin(&[Scope::CustomOrders]).await;
    let refused = maker.get("/api/admin/review-items/").await;
    assert_eq!(refused.status, 403);
    let view = maker.get("/api/admin/custom-orders/CO-1001/").await.json;
    let item = view["review_items"][0]["id"].as_str().expect("an item");
    let path = format!("/api/admin/review-items/{item}/resolve/");
    assert_eq!(reader.post(&path, &Value::Null).await.status, 403);
    assert_eq!(maker.post(&path, &Value::Null).await.status, 200);
    let nowhere = "/api/admin/review-items/0193a000-0000-7000-8000-00000000000f/resolve/";
    let missing = maker.send(Method::POST, nowhere, &[], None::<String>).await;
    assert_eq!(missing.status, 404);
}
