//! The admin for programs: each of its routes has a twin below `/api/`, with the same effect.

mod audit_log;
mod custom_orders;
mod orders;
mod products;
mod system;
mod twins;

use reqwest::Method;
use serde_json::Value;

use crate::support::{Answer, Client, Shop};

/// Audit entries of tokens, oldest first, without those of the preparation.
async fn logged(shop: &Shop) -> Vec<(String, String)> {
    sqlx::query_as(
        "select action, object from audit_log where actor like 'token:%' and request_id is not null order by id",
    )
    .fetch_all(&shop.db)
    .await
    .expect("the log")
}

async fn forget_log(shop: &Shop) -> usize {
    logged(shop).await.len()
}

async fn ok(answer: Answer) -> Value {
    assert!(answer.status < 300, "{} {}", answer.status, answer.text);
    answer.json
}

async fn delete(admin: &Client, path: &str) -> Answer {
    admin.send(Method::DELETE, path, &[], None::<String>).await
}

async fn put(admin: &Client, path: &str, body: &Value) -> Answer {
    admin.send_json(Method::PUT, path, body).await
}

async fn act(admin: &Client, path: &str) -> Answer {
    admin.send(Method::POST, path, &[], None::<String>).await
}
