//! Emails as the owner finds, reads and resends them.

use serde_json::json;
use spirit_beads::auth::Scope;
use spirit_beads::emails;
use uuid::Uuid;

use super::{id_of, sample, shop_at};
use crate::support::{Mail, MailServer, Shop, Trouble};

#[tokio::test]
async fn the_owner_finds_emails_and_reads_them() {
    let shop = Shop::open_with(&[("SHOP_EMAIL", "owner@beads.example")]).await;
    let session = shop.sells_one("Sunrise").await;
    shop.sells_one("Moonrise").await;
    shop.queues(&sample("order_shipped"), "nowhere", &session)
        .await;
    shop.queues(&sample("new_custom_order"), emails::SHOP, &session)
        .await;
    shop.queues(&sample("you_sold"), emails::SHOP, &session)
        .await;
    shop.run_jobs().await;
    let admin = shop.admin(&[Scope::OrdersRead]).await;
    let list = async |query: &str| {
        let answer = admin.get(&format!("/api/admin/emails/?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer
    };
    let all = list("").await;
    assert_eq!(
        (&all.json["count"], &all.json["page_size"]),
        (&json!(6), &json!(24))
    );
    let kinds = [
        "review_item",
        "you_sold",
        "new_custom_order",
        "order_shipped",
        "order_confirmation",
        "order_confirmation",
    ];
    assert_eq!(all.each("results", "kind"), kinds);
    assert_eq!(all.each("results", "recipient")[0], "owner@beads.example");
    for (query, count) in [
        ("state=failed", 1),
        ("state=sent&kind=order_confirmation", 2),
        ("order=SB-1001", 5),
        ("order=SB-1002&state=sent", 1),
        ("recipient=JANE@", 2),
        ("recipient=owner%40beads", 3),
        ("search=not+delivered", 1),
        ("search=you+sold%3A+lantern+star", 1),
        // Accents, case and the form of a letter do not count.
        ("search=request+from+M%C3%81YA", 1),
        ("search=request+from+maya%CC%81", 1),
        ("recipient=100%25", 0),
        ("kind=nothing", 0),
        ("page=2&page_size=3", 6),
    ] {
        assert_eq!(list(query).await.json["count"], count, "{query}");
    }
    for query in [
        "state=lost",
        "page=0",
        "page_size=101",
        "order=SB-x",
        "order=SB-9",
        "kind=%00",
    ] {
        let answer = admin.get(&format!("/api/admin/emails/?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text);
    }

    let failed = list("state=failed").await.json["results"][0].clone();
    let path = format!("/api/admin/emails/{}/", id_of(&failed));
    let email = admin.get(&path).await.json;
    assert_eq!(email["attempts"], 1);
    assert!(
        email["last_error"]
            .as_str()
            .is_some_and(|text| text.contains("no address"))
    );
    assert_eq!(email["subject"], "Your Order Has Shipped! - Spirit Beads");
    assert!(
        email["text"]
            .as_str()
            .is_some_and(|text| text.contains("SB-1042"))
    );
    assert!(
        email["html"]
            .as_str()
            .is_some_and(|html| !html.contains("cid:"))
    );

    for path in [
        "/api/admin/emails/7/".to_owned(),
        format!("/api/admin/emails/{}/", Uuid::new_v4()),
    ] {
        assert_eq!(admin.get(&path).await.status, 404);
    }
    assert_eq!(shop.client.get("/api/admin/emails/").await.status, 401);
    let other = shop.admin(&[Scope::Catalog]).await;
    assert_eq!(other.get("/api/admin/emails/").await.status, 403);
    assert_eq!(other.get(&path).await.status, 403);
}

#[tokio::test]
async fn an_email_is_sent_again_on_purpose_as_an_email_of_its_own() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    let session = shop.sells_one("Sunrise").await;
    let path = format!(
        "/api/admin/emails/{}/resend/",
        id_of(&shop.emails().await[0])
    );
    let reader = shop.admin(&[Scope::OrdersRead]).await;
    let admin = shop.admin(&[Scope::OrdersWrite]).await;
    assert_eq!(reader.post(&path, &json!({})).await.status, 403);
    let early = admin.post(&path, &json!({})).await;
    assert_eq!(
        (early.status, &early.json["code"]),
        (409, &json!("email_on_its_way"))
    );
    server.misbehave(Trouble::Recipient(550, "jane@example.com"));
    shop.run_jobs().await;
    assert_eq!(shop.email().await.0, "failed");
    server.mend();
    for _ in 0..2 {
        let answer = admin.post(&path, &json!({})).await;
        assert_eq!(
            (answer.status, &answer.json["state"]),
            (202, &json!("queued")),
            "{}",
            answer.text
        );
        shop.run_jobs().await;
    }
    let mail: Vec<Mail> = server
        .received()
        .iter()
        .filter(|email| email.recipients[0] == "jane@example.com")
        .map(|email| email.mail())
        .collect();
    assert_eq!(mail.len(), 2);
    assert_ne!(mail[0].message_id, mail[1].message_id);
    assert!(mail[0].message_id.contains(".2@") && mail[1].message_id.contains(".3@"));
    assert_eq!(shop.status_of(&session).await, "paid");
    let missing = format!("/api/admin/emails/{}/resend/", Uuid::new_v4());
    assert_eq!(admin.post(&missing, &json!({})).await.status, 404);
}
