//! A customer's data is deleted on request: no table has it any more, and what tax law needs stays.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::{OWNER, STAFF, audited, signed_in, staffed};
use crate::support::images::{Part, jpeg};
use crate::support::{Client, Shop, card, session_of};

/// Texts that belong to Jane.
const HERS: [&str; 10] = [
    "jane@example.com",
    "Jane Shopper",
    "Jane Doe",
    "123 Main Street",
    "97205",
    "1Z999",
    "1Z 999",
    "raven for grandmother",
    "rings twice",
    "likes turquoise",
];

const API: &str = "/api/admin/customers/SB-1001";

async fn post(admin: &Client, path: &str, body: &Value) {
    let answer = admin.post(path, body).await;
    assert!(answer.status < 300, "{path}: {}", answer.text);
}

/// A shop in which Jane bought a piece that was shipped, and asked for one that was declined; and Ben bought one, too.
async fn with_jane() -> (Shop, Client) {
    let shop = staffed().await;
    let admin = shop.admin(&Scope::ALL).await;
    shop.stocks("Sunrise", 3).await;
    let session = session_of(&shop.shopper().check_out(&[("sunrise", 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    let image = jpeg(60, 40);
    let asked = [
        Part::text("name", "Jane Doe"),
        Part::text("email", "Jane@Example.com"),
        Part::text("description", "A raven for grandmother, please."),
        Part::file("images", &image),
    ];
    let asked = shop.client.send_form("/api/custom-orders/", &asked).await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    let sale = json!({
        "lines": [{"product_id": "sunrise", "quantity": 1}], "email": "ben@example.com", "customer_name": "Ben Buyer",
        "receipt": true,
    });
    post(&admin, "/api/admin/orders/", &sale).await;
    let label = shop.keeps(&jpeg(80, 60)).await;
    let shipment = json!({"carrier": "UPS", "tracking_number": "1Z 999", "images": [label]});
    post(&admin, "/api/admin/orders/SB-1001/ship/", &shipment).await;
    let note = json!({"text": "Jane Shopper rings twice"});
    post(&admin, "/api/admin/orders/SB-1001/notes/", &note).await;
    let message = json!({"text": "Dear Jane Doe, which raven?"});
    post(
        &admin,
        "/api/admin/custom-orders/CO-1001/messages/",
        &message,
    )
    .await;
    let note = json!({"text": "likes turquoise"});
    let noted = admin
        .send_json(Method::PUT, &format!("{API}/note/"), &note)
        .await;
    assert_eq!(noted.json["note"], "likes turquoise", "{}", noted.text);
    shop.run_jobs().await;
    (shop, admin)
}

/// Where a text of hers is in the database, as `table: text`.
async fn traces(shop: &Shop) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text
         from information_schema.tables
         where table_schema = 'public' and table_type = 'BASE TABLE'",
    )
    .fetch_all(&shop.db)
    .await
    .expect("tables");
    assert!(tables.len() > 20, "{tables:?}");
    let mut found = Vec::new();
    for table in tables {
        let sql = format!("select to_jsonb(t)::text from \"{table}\" t");
        let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_all(&shop.db)
            .await
            .expect("rows");
        for text in HERS {
            let is_in = |row: &&String| row.to_lowercase().contains(&text.to_lowercase());
            if let Some(row) = rows.iter().find(is_in) {
                found.push(format!("{table}: {text}: {row}"));
            }
        }
    }
    found
}

#[tokio::test]
async fn no_table_keeps_a_customer_who_was_deleted() {
    let (shop, admin) = with_jane().await;
    assert!(
        traces(&shop).await.len() > 10,
        "there is something to delete"
    );
    let order = shop.order_page(&admin.get("/api/admin/orders/SB-1001/").await.json["id"]);
    let asked = admin.get("/api/admin/custom-orders/CO-1001/").await.json;
    let asked = shop.status_page(asked["id"].as_str().expect("an id"));
    assert_eq!(shop.client.get(&order).await.status, 200);

    // The request waits for an answer.
    let delete = async || {
        admin
            .send(Method::DELETE, &format!("{API}/"), &[], None::<String>)
            .await
    };
    let refused = delete().await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert_eq!(refused.json["code"], "customer_active");
    assert!(refused.text.contains("CO-1001"), "{}", refused.text);
    let reason = json!({"reason": "Dear Jane Doe, no."});
    post(&admin, "/api/admin/custom-orders/CO-1001/reject/", &reason).await;
    shop.run_jobs().await;

    let owner = signed_in(&shop, OWNER).await;
    let (page, erase) = ("/admin/customers/CO-1001", "/admin/customers/CO-1001/erase");
    let refused = owner.submit(page, erase, &[]).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(
        refused.text.contains("Tick the box: it cannot be undone."),
        "{}",
        refused.text
    );
    let done = owner.submit(page, erase, &[("sure", "true")]).await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, "/admin/search")
    );
    let said = owner.get("/admin/search").await.text;
    assert!(
        said.contains("SB-1001, CO-1001 stay with their amounts."),
        "{said}"
    );

    let left = traces(&shop).await;
    assert!(left.is_empty(), "{left:#?}");
    // Nothing of hers opens any more, and nothing of Ben's is gone.
    for path in [&order, &asked] {
        assert_eq!(shop.client.get(path).await.status, 404, "{path}");
    }
    for path in ["SB-1001", "CO-1001"] {
        let path = format!("/admin/customers/{path}");
        assert_eq!(owner.get(&path).await.status, 404);
    }
    assert_eq!(delete().await.status, 404);
    let found = owner.get("/admin/search?search=jane").await.text;
    assert!(!found.contains("1001"), "{found}");
    let ben = admin.get("/api/admin/customers/SB-1002/").await.json;
    assert_eq!(ben["email"], "ben@example.com");
    assert_eq!(ben["orders"][0]["customer_name"], "Ben Buyer");

    // For the taxes.
    let kept = admin.get("/api/admin/orders/SB-1001/").await.json;
    assert_eq!(kept["total"], 5200);
    assert_eq!(
        kept["shipping_address"],
        json!({"state": "OR", "country": "US"})
    );
    assert!(kept["erased_at"].is_string(), "{kept}");
    let log = audited(&shop).await;
    assert!(
        log.iter().any(|entry| entry.1 == "customer.erase"),
        "{log:?}"
    );
    for path in [
        "/admin/orders/SB-1001",
        "/admin/custom-orders/CO-1001",
        "/admin/system/emails",
        "/admin/audit",
    ] {
        let page = owner.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        let is_order = path.contains("orders/");
        assert_eq!(
            page.text.contains("Their data was deleted"),
            is_order,
            "{path}"
        );
    }
    // What Stripe tells once more brings nothing back.
    shop.reconcile().await;
    shop.settles().await;
    let left = traces(&shop).await;
    let elsewhere: Vec<&String> = left
        .iter()
        .filter(|trace| !trace.starts_with("stripe_events"))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

#[tokio::test]
async fn a_customer_with_an_order_to_pack_is_not_deleted_and_only_owners_delete() {
    let (shop, admin) = with_jane().await;
    let session = session_of(&shop.shopper().check_out(&[("sunrise", 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let reason = json!({"reason": "no"});
    post(&admin, "/api/admin/custom-orders/CO-1001/reject/", &reason).await;
    let refused = admin
        .send(Method::DELETE, &format!("{API}/"), &[], None::<String>)
        .await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(
        refused.text.contains("SB-1003 is not over yet"),
        "{}",
        refused.text
    );
    let staff = signed_in(&shop, STAFF).await;
    let page = staff.get("/admin/customers/SB-1001").await.text;
    assert!(
        page.contains("likes turquoise") && !page.contains("Delete their data"),
        "{page}"
    );
    let noted = staff
        .submit(
            "/admin/customers/SB-1001",
            "/admin/customers/SB-1001/note",
            &[("text", "")],
        )
        .await;
    assert_eq!(noted.status, 303, "{}", noted.text);
    assert_eq!(
        admin.get(&format!("{API}/")).await.json["note"],
        Value::Null
    );
    shop.run_jobs().await;
}
