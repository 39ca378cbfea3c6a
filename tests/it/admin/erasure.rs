//! A customer's data is deleted on request: no table has it any more, and what tax law needs stays.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use stripe_sandbox::{Buyer, Payment};

use super::{OWNER, STAFF, audited, signed_in, staffed};
use crate::support::images::{Part, jpeg};
use crate::support::{Answer, Client, Shop, card, session_of};

/// Texts that belong to Jane.
const HERS: [&str; 13] = [
    "jane@example.com",
    "jane@home.example",
    "Jane Shopper",
    "Jane Doe",
    "123 Main Street",
    "97205",
    "+1 503",
    "1Z111",
    "1Z999",
    "raven for grandmother",
    "rings twice",
    "likes turquoise",
    "too long for her",
];

const API: &str = "/api/admin/customers/SB-1001";

async fn post(admin: &Client, path: &str, body: &Value) {
    let answer = admin.post(path, body).await;
    assert!(answer.status < 300, "{path}: {}", answer.text);
}

async fn deletes(admin: &Client) -> Answer {
    admin
        .send(Method::DELETE, &format!("{API}/"), &[], None::<String>)
        .await
}

fn pays() -> Payment {
    Payment::Card(Buyer {
        phone: Some("+1 503 555 0100".to_owned()),
        ..Buyer::default()
    })
}

/// Asks for a piece from another address, with a photograph. Returns its hash.
async fn asks(shop: &Shop) -> String {
    let image = jpeg(60, 40);
    let asked = [
        Part::text("name", "Jane Doe"),
        Part::text("email", "Jane@Home.example"),
        Part::text("description", "A raven for grandmother, please."),
        Part::file("images", &image),
    ];
    let asked = shop.client.send_form("/api/custom-orders/", &asked).await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    sqlx::query_scalar(
        "select image_id from custom_order_images order by custom_order_id desc limit 1",
    )
    .fetch_one(&shop.db)
    .await
    .expect("an image")
}

/// Quotes CO-1001, has it paid under the address of the storefront, and ships it.
async fn makes_a_piece(shop: &Shop, admin: &Client) {
    let path = |what: &str| format!("/api/admin/custom-orders/CO-1001/{what}/");
    let quote = json!({"amount": 9000, "description": "A raven for Jane Doe"});
    let quoted = admin.send_json(Method::PUT, &path("quote"), &quote).await;
    assert!(quoted.status < 300, "{}", quoted.text);
    post(admin, &path("approve"), &Value::Null).await;
    shop.run_jobs().await;
    let links = shop.at_stripe("payment_link").await;
    let link = links[0]["id"].as_str().expect("an id");
    let session = shop.stripe.open_link(link).await.expect("a page");
    shop.stripe.pay(&session, pays()).await.expect("a payment");
    shop.deliver().await;
    let message = json!({"text": "Dear Jane Doe, which raven?"});
    post(admin, &path("messages"), &message).await;
    post(admin, &path("start"), &Value::Null).await;
    let image = shop.keeps(&jpeg(80, 60)).await;
    let shipment = json!({"carrier": "UPS", "tracking_number": "1Z999", "images": [image]});
    post(admin, &path("ship"), &shipment).await;
}

/// A shop in which Jane bought a piece that was shipped twice and refunded in part, and had one made; and Ben bought one,
/// too. Her orders are over, except for the piece that is on its way: CO-1001.
async fn with_jane() -> (Shop, Client, String) {
    let shop = staffed().await;
    let admin = shop.admin(&Scope::ALL).await;
    shop.stocks("Sunrise", 5).await;
    let session = session_of(&shop.shopper().check_out(&[("sunrise", 2)]).await);
    shop.stripe.pay(&session, pays()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    let image = asks(&shop).await;
    let sale = json!({
        "lines": [{"product_id": "sunrise", "quantity": 1}], "email": "ben@example.com", "customer_name": "Ben Buyer",
        "receipt": true,
    });
    post(&admin, "/api/admin/orders/", &sale).await;
    let hers = json!({
        "lines": [{"product_id": "sunrise", "quantity": 1}], "email": "jane@example.com", "customer_name": "Jane Shopper",
    });
    let headers = [
        ("idempotency-key", "stall"),
        ("content-type", "application/json"),
    ];
    let sold = admin
        .send(
            Method::POST,
            "/api/admin/orders/",
            &headers,
            Some(hers.to_string()),
        )
        .await;
    assert_eq!(sold.status, 201, "{}", sold.text);
    let path = |what: &str| format!("/api/admin/orders/SB-1001/{what}/");
    let restock = json!({"restock": [{"product_id": "sunrise", "quantity": 1}], "reason": "too long for her"});
    post(&admin, &path("restock"), &restock).await;
    let label = shop.keeps(&jpeg(80, 60)).await;
    let shipment = json!({"carrier": "UPS", "tracking_number": "1Z111", "images": [label]});
    post(&admin, &path("ship"), &shipment).await;
    post(&admin, &path("unship"), &json!({})).await;
    let shipment = json!({"carrier": "UPS", "tracking_number": "1Z999"});
    post(&admin, &path("ship"), &shipment).await;
    post(
        &admin,
        &path("notes"),
        &json!({"text": "Jane Shopper rings twice"}),
    )
    .await;
    post(&admin, &path("deliver"), &json!({})).await;
    post(
        &admin,
        &path("refund"),
        &json!({"amount": 1000, "reason": "too long for her"}),
    )
    .await;
    shop.settles().await;
    let note = json!({"text": "likes turquoise"});
    let noted = admin
        .send_json(Method::PUT, &format!("{API}/note/"), &note)
        .await;
    assert_eq!(noted.json["note"], "likes turquoise", "{}", noted.text);
    makes_a_piece(&shop, &admin).await;
    shop.settles().await;
    (shop, admin, image)
}

/// Places of texts in the database, as `table: text: row`.
async fn traces_of(shop: &Shop, texts: &[&str]) -> Vec<String> {
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
        for text in texts {
            let is_in = |row: &&String| row.to_lowercase().contains(&text.to_lowercase());
            if let Some(row) = rows.iter().find(is_in) {
                found.push(format!("{table}: {text}: {row}"));
            }
        }
    }
    found
}

/// Tables that name an image, besides its own.
async fn uses(shop: &Shop, image: &str) -> Vec<String> {
    let mut found = traces_of(shop, &[image]).await;
    found.retain(|trace| !trace.starts_with("images: "));
    found
}

#[tokio::test]
async fn no_table_keeps_a_customer_who_was_deleted() {
    let (shop, admin, image) = with_jane().await;
    for text in HERS {
        assert!(
            !traces_of(&shop, &[text]).await.is_empty(),
            "{text}: nothing to delete"
        );
    }
    assert!(uses(&shop, &image).await.len() > 1);
    let order = shop.order_page(&admin.get("/api/admin/orders/SB-1001/").await.json["id"]);
    let asked = admin.get("/api/admin/custom-orders/CO-1001/").await.json;
    let asked = shop.status_page(asked["id"].as_str().expect("an id"));
    assert_eq!(shop.client.get(&order).await.status, 200);

    // The piece is on its way.
    let refused = deletes(&admin).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert_eq!(refused.json["code"], "customer_active");
    assert!(refused.text.contains("CO-1001"), "{}", refused.text);
    let done = json!({});
    post(&admin, "/api/admin/custom-orders/CO-1001/complete/", &done).await;
    shop.settles().await;

    // The page shows all that goes, whoever's address it is under.
    let owner = signed_in(&shop, OWNER).await;
    let (page, erase) = ("/admin/customers/CO-1001", "/admin/customers/CO-1001/erase");
    for key in ["SB-1001", "CO-1001"] {
        let shown = owner.get(&format!("/admin/customers/{key}")).await.text;
        assert!(
            shown.contains("SB-1004") && shown.contains("CO-1001"),
            "{key}: {shown}"
        );
    }
    let refused = owner.submit(page, erase, &[]).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(
        refused.text.contains("Tick the box: it cannot be undone."),
        "{}",
        refused.text
    );
    // By the storefront's address: the piece that was made for it goes along.
    let done = deletes(&admin).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_eq!(
        done.json,
        json!({"orders": ["SB-1001", "SB-1003", "SB-1004"], "custom_orders": ["CO-1001"]})
    );

    let left = traces_of(&shop, &HERS).await;
    assert!(left.is_empty(), "{left:#?}");
    let left = uses(&shop, &image).await;
    assert!(left.is_empty(), "{left:#?}");
    // Nothing of hers opens any more, and nothing of Ben's is gone.
    for path in [&order, &asked] {
        assert_eq!(shop.client.get(path).await.status, 404, "{path}");
    }
    for key in ["SB-1001", "CO-1001"] {
        assert_eq!(
            owner.get(&format!("/admin/customers/{key}")).await.status,
            404
        );
    }
    assert_eq!(deletes(&admin).await.status, 404);
    let found = owner.get("/admin/search?search=jane").await.text;
    assert!(!found.contains("1001"), "{found}");
    let ben = admin.get("/api/admin/customers/SB-1002/").await.json;
    assert_eq!(ben["email"], "ben@example.com");
    assert_eq!(ben["orders"][0]["customer_name"], "Ben Buyer");

    // For the taxes.
    let kept = admin.get("/api/admin/orders/SB-1001/").await.json;
    assert_eq!(
        (&kept["total"], &kept["refunded"]),
        (&json!(9900), &json!(1000))
    );
    let place = json!({"state": "OR", "country": "US"});
    assert_eq!(kept["shipping_address"], place);
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
    nothing_new_is_added(&admin).await;
    // A repeat of the sale has no effect, and what Stripe tells once more brings nothing back.
    let headers = [
        ("idempotency-key", "stall"),
        ("content-type", "application/json"),
    ];
    let hers = json!({
        "lines": [{"product_id": "sunrise", "quantity": 1}], "email": "jane@example.com", "customer_name": "Jane Shopper",
    });
    let again = admin
        .send(
            Method::POST,
            "/api/admin/orders/",
            &headers,
            Some(hers.to_string()),
        )
        .await;
    assert_eq!(again.status, 201, "{}", again.text);
    assert!(!again.text.contains("jane"), "{}", again.text);
    shop.reconcile().await;
    shop.settles().await;
    let left = traces_of(&shop, &HERS).await;
    assert!(left.is_empty(), "{left:#?}");
}

/// Whatever needs or adds data of a customer who was deleted is refused.
async fn nothing_new_is_added(admin: &Client) {
    let text = json!({"text": "Jane Doe called"});
    for (method, path, body) in [
        (Method::POST, "orders/SB-1001/notes", &text),
        (Method::POST, "custom-orders/CO-1001/notes", &text),
        (Method::POST, "custom-orders/CO-1001/messages", &text),
        (
            Method::PATCH,
            "orders/SB-1001/customer",
            &json!({"email": "jane@example.com"}),
        ),
        (
            Method::PATCH,
            "custom-orders/CO-1001/customer",
            &json!({"customer_name": "Jane Doe"}),
        ),
        (
            Method::PATCH,
            "orders/SB-1001/shipment",
            &json!({"tracking_number": "1Z999"}),
        ),
        (
            Method::PATCH,
            "custom-orders/CO-1001/shipment",
            &json!({"tracking_number": "1Z999"}),
        ),
        (Method::POST, "orders/SB-1001/unship", &json!({})),
    ] {
        let path = format!("/api/admin/{path}/");
        let refused = admin.send_json(method, &path, body).await;
        let code = (refused.status, refused.json["code"].as_str());
        assert_eq!(
            code,
            (409, Some("customer_erased")),
            "{path}: {}",
            refused.text
        );
    }
}

#[tokio::test]
async fn a_quote_that_ran_out_is_deleted_and_its_late_payment_names_nobody() {
    let shop = staffed().await;
    let admin = shop.admin(&Scope::ALL).await;
    asks(&shop).await;
    let path = |what: &str| format!("/api/admin/custom-orders/CO-1001/{what}/");
    let quote = json!({"amount": 9000, "description": "A raven for Jane Doe"});
    admin.send_json(Method::PUT, &path("quote"), &quote).await;
    post(&admin, &path("approve"), &Value::Null).await;
    shop.run_jobs().await;
    let links = shop.at_stripe("payment_link").await;
    let link = links[0]["id"].as_str().expect("an id");
    let session = shop.stripe.open_link(link).await.expect("a page");
    shop.stripe.pay(&session, pays()).await.expect("a payment");
    // It ran out meanwhile, and the payment was not reported yet.
    for sql in [
        "update custom_order_quotes set state = 'closed'",
        "update custom_orders set status = 'expired'",
    ] {
        sqlx::query(sql).execute(&shop.db).await.expect("a change");
    }
    let key = "/api/admin/customers/CO-1001/";
    let done = admin.send(Method::DELETE, key, &[], None::<String>).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let quoted = admin.send_json(Method::PUT, &path("quote"), &quote).await;
    assert_eq!(quoted.json["code"], "customer_erased", "{}", quoted.text);

    shop.settles().await;
    let refunded = shop
        .count("select count(*) from refunds where state = 'succeeded'")
        .await;
    assert_eq!(refunded, 1);
    let mut left = traces_of(&shop, &HERS).await;
    // The events of the payment keep theirs until they are redacted by their age.
    left.retain(|trace| !trace.starts_with("stripe_events: "));
    assert!(left.is_empty(), "{left:#?}");
}

#[tokio::test]
async fn a_customer_with_an_order_to_pack_is_not_deleted_and_only_owners_delete() {
    let shop = staffed().await;
    let admin = shop.admin(&Scope::ALL).await;
    shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.shopper().check_out(&[("sunrise", 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let staff = signed_in(&shop, STAFF).await;
    let (page, note) = ("/admin/customers/SB-1001", "/admin/customers/SB-1001/note");
    let noted = staff.submit(page, note, &[("text", "likes red")]).await;
    assert_eq!(noted.status, 303, "{}", noted.text);
    let refused = deletes(&admin).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(
        refused.text.contains("SB-1001 is not over yet"),
        "{}",
        refused.text
    );
    let shown = staff.get(page).await.text;
    assert!(
        shown.contains("likes red") && !shown.contains("Delete their data"),
        "{shown}"
    );
    staff.submit(page, note, &[("text", "")]).await;
    assert_eq!(
        admin.get(&format!("{API}/")).await.json["note"],
        Value::Null
    );
    shop.run_jobs().await;
}
