//! The catalog as shoppers read it: docs/compatibility.md A0 to A5, B0 to B3 and B8.

mod details;
mod filters;
mod http;
mod lists;

use serde_json::{Value, json};

use crate::support::{Client, Shop};

/// A row of a catalog file, with what the test cares about.
fn piece(id: &str, name: &str, fields: Value) -> Value {
    let mut row = json!({
        "id": id, "name": name, "lighter_type": 1, "price": 4700, "inventory_count": 1,
    });
    for (key, value) in fields.as_object().expect("an object") {
        row[key] = value.clone();
    }
    row
}

fn category(id: i64, name: &str) -> Value {
    json!({"id": id, "name": name})
}

/// A shop with these products and three categories: 1 Infinite Path, 3 Ancestral Motifs, 7 Seasons.
async fn shop_with(products: &[Value]) -> Shop {
    let shop = Shop::open().await;
    let categories = [
        category(1, "Infinite Path"),
        category(3, "Ancestral Motifs"),
        category(7, "Seasons"),
    ];
    let file = json!({"categories": categories, "products": products});
    shop.imports(&file).await.expect("a catalog");
    shop
}

/// `count` products that differ in nothing but id and slug.
async fn shop_with_twins(count: usize) -> Shop {
    let twin = |n| {
        // Numbered so that neither the order of insertion nor that of the file is the order of ids.
        let id = format!("p{:03}", (n * 37) % count);
        piece(
            &id,
            "Twin",
            json!({"slug": id, "category_id": 1, "created_at": "2026-01-03T21:49:29Z"}),
        )
    };
    let twins: Vec<Value> = (0..count).map(twin).collect();
    shop_with(&twins).await
}

async fn expect_detail(client: &Client, path: &str, status: u16, detail: &str) {
    let answer = client.get(path).await;
    assert_eq!(
        (answer.status, answer.json["detail"].as_str()),
        (status, Some(detail)),
        "{path}: {}",
        answer.text
    );
    assert!(
        answer.json["code"].is_string() && answer.json["error"].is_string(),
        "{path}: {}",
        answer.text
    );
    assert_eq!(answer.header("content-type"), "application/json", "{path}");
}

async fn expect_invalid_page(client: &Client, path: &str) {
    expect_detail(client, path, 404, "Invalid page.").await;
}
