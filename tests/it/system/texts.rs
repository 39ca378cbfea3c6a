//! Text that looks the same is the same: composed at every route, and found however it is accented.

use reqwest::Method;
use serde_json::json;
use spirit_beads::auth::Scope;

use crate::support::images::Part;
use crate::support::{Shop, card, session_of};

/// As a Mac's file dialog or a dead key may send it, and as it is kept.
const APART: &str = "Ame\u{301}lie Zoe\u{308}";
const WHOLE: &str = "Am\u{e9}lie Zo\u{eb}";

async fn kept(shop: &Shop, sql: &'static str) -> String {
    sqlx::query_scalar(sql)
        .fetch_one(&shop.db)
        .await
        .expect("a text")
}

#[tokio::test]
async fn text_is_composed_everywhere() {
    let shop = Shop::open().await;
    let admin = shop
        .admin(&[
            Scope::Catalog,
            Scope::Stock,
            Scope::OrdersRead,
            Scope::OrdersWrite,
        ])
        .await;
    shop.stocks_with("Plain", 5, json!({"name": APART, "description": APART}))
        .await;
    let name = kept(&shop, "select name || description from products").await;
    assert_eq!(name, WHOLE.to_owned() + WHOLE);
    // As programs in Python write it.
    let escaped = r#"{"name": "\u0041me\u0301lie"}"#;
    let headers = [("content-type", "application/json")];
    let answer = admin
        .send(
            Method::PATCH,
            "/api/products/plain/",
            &headers,
            Some(escaped),
        )
        .await;
    assert_eq!(answer.json["name"], "Am\u{e9}lie", "{}", answer.text);
    shop.imports(
        &json!({"products": [{"id": "other", "name": APART, "lighter_type": 1, "price": 4700}]}),
    )
    .await
    .expect("an import");
    assert_eq!(
        kept(&shop, "select name from products where id = 'other'").await,
        WHOLE
    );
    let sale = json!({"lines": [{"product_id": "plain", "quantity": 1}], "customer_name": APART});
    let sold = admin.post("/api/admin/orders/", &sale).await;
    assert_eq!(sold.json["customer_name"], WHOLE, "{}", sold.text);

    let asked =
        json!({"name": APART, "email": "a@b.example", "description": "A case for me, please."});
    let answer = shop.client.post("/api/custom-orders/", &asked).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(kept(&shop, "select name from custom_orders").await, WHOLE);
    let form = [
        Part::text("name", "Bo"),
        Part::text("email", "a@b.example"),
        Part::text("description", APART),
    ];
    let answer = shop.client.send_form("/api/custom-orders/", &form).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(
        kept(
            &shop,
            "select description from custom_orders where name = 'Bo'"
        )
        .await,
        WHOLE
    );
}

#[tokio::test]
async fn a_name_is_found_without_its_accents_in_the_shop_and_in_the_admin() {
    let shop = Shop::open().await;
    let admin = shop
        .admin(&[
            Scope::Catalog,
            Scope::OrdersRead,
            Scope::OrdersWrite,
            Scope::CustomOrders,
        ])
        .await;
    // Each as it may be typed, for one name.
    let names = [
        ("Zo\u{eb}", ["zoe", "ZO\u{cb}", "zoe\u{308}"]),
        ("S\u{f8}ren", ["soren", "s\u{f8}ren", "SOREN"]),
        (
            "Nguy\u{1ec5}n",
            ["nguyen", "nguye\u{302}\u{303}n", "NGUY\u{1ec4}N"],
        ),
    ];
    for (name, typed) in names {
        shop.stocks_with(name, 5, json!({"id": name.to_lowercase()}))
            .await;
        let sale = json!({"lines": [{"product_id": name.to_lowercase(), "quantity": 1}], "customer_name": name});
        assert_eq!(admin.post("/api/admin/orders/", &sale).await.status, 201);
        let asked =
            json!({"name": name, "email": "a@b.example", "description": "A case for me, please."});
        assert_eq!(
            shop.client.post("/api/custom-orders/", &asked).await.status,
            201
        );
        for typed in typed {
            let query: String = url::form_urlencoded::byte_serialize(typed.as_bytes()).collect();
            for (client, path) in [
                (&shop.client, "/api/products/"),
                (&admin, "/api/admin/products/"),
                (&admin, "/api/admin/orders/"),
                (&admin, "/api/admin/custom-orders/"),
            ] {
                let found = client.get(&format!("{path}?search={query}")).await;
                assert_eq!(found.json["count"], 1, "{path} {typed}: {}", found.text);
            }
        }
    }
}

#[tokio::test]
async fn a_customers_name_from_stripe_is_composed_too() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let mut event = shop.event("checkout.session.completed").await;
    event["data"]["object"]["customer_details"]["name"] = json!(APART);
    let answer = shop.webhook(&event).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(kept(&shop, "select customer_name from orders").await, WHOLE);
}
