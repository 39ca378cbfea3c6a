//! The catalog as an owner's program writes it: products, categories, stock, and what Stripe is to hear.

mod categories;
mod copied_slugs;
mod fields;
mod life;
mod stripe;
mod versions;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use crate::support::{Answer, Client, Shop};

/// An empty shop, and a program that may do all that is done here.
async fn shop_and_admin() -> (Shop, Client) {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog, Scope::Stock]).await;
    (shop, admin)
}

fn sunrise() -> Value {
    json!({"id": "sunrise", "name": "Sunrise", "lighter_type": 1, "price": 4700})
}

/// The product as the owner reads it.
async fn read(admin: &Client, id: &str) -> Value {
    let answer = admin.get(&format!("/api/admin/products/{id}/")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json
}

pub(super) async fn patch(admin: &Client, id: &str, body: &Value) -> Answer {
    admin
        .send_json(Method::PATCH, &format!("/api/products/{id}/"), body)
        .await
}

pub(super) async fn delete(admin: &Client, path: &str) -> Answer {
    admin.send(Method::DELETE, path, &[], None::<String>).await
}

pub(super) fn expect_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (status, &json!(code)),
        "{}",
        answer.text
    );
    assert!(answer.json["error"].is_string() && answer.json["detail"].is_string());
}

/// Empties the queue of jobs, and says which products were to be synced.
async fn queued(shop: &Shop) -> Vec<String> {
    let mut ids: Vec<String> = sqlx::query_scalar(
        "delete from graphile_worker._private_jobs
         where payload ->> 'job' = 'sync_product'
         returning payload ->> 'product'",
    )
    .fetch_all(&shop.db)
    .await
    .expect("the queue");
    ids.sort();
    ids
}

async fn slugs(shop: &Shop) -> Vec<String> {
    sqlx::query_scalar(
        "select slug from products where deleted_at is null order by length(slug), slug",
    )
    .fetch_all(&shop.db)
    .await
    .expect("the slugs")
}
