//! Answers about custom orders, in full.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::quote;
use crate::support::images::jpeg;
use crate::support::{Client, Shop, Snapshots, card};

const REQUESTS: &str = "/api/custom-orders/";

const ORDER: &str = "/api/admin/custom-orders/CO-1001/";

#[tokio::test]
async fn answers_about_custom_orders_are_as_they_were_reviewed() {
    let shop = Shop::open().await;
    let mut snapshots = Snapshots::of("custom_orders").hiding(&["thumbhash", "html"]);
    let admin = shop.admin(&[Scope::CustomOrders, Scope::Catalog]).await;
    let call = format!("POST {REQUESTS}");
    let answer = shop.client.asks_with(&jpeg(90, 60)).await;
    snapshots.answer("requested", &call, &answer);
    let id = answer.json["request_id"].as_str().expect("an id");
    let refused = shop.client.asks_with(b"no image").await;
    snapshots.answer("error_image", &call, &refused);
    let page = shop.status_page(id);
    snapshots.get("status_pending", &shop.client, &page).await;
    let unsigned = format!("{REQUESTS}{id}/status/?token=x");
    snapshots.get("error_token", &shop.client, &unsigned).await;
    for (name, body) in [
        ("error_missing_field", json!({"name": "Ann"})),
        (
            "error_short",
            json!({"name": "Ann", "email": "ann@example.com", "description": "Blue"}),
        ),
    ] {
        snapshots.post(name, &shop.client, REQUESTS, &body).await;
    }

    is_quoted(&mut snapshots, &admin).await;
    shop.run_jobs().await;
    snapshots.get("detail_quoted", &admin, ORDER).await;
    snapshots.get("status_quoted", &shop.client, &page).await;
    is_paid_and_shipped(&mut snapshots, &shop, &admin).await;
    snapshots.get("status_shipped", &shop.client, &page).await;

    shop.asks_for_a_piece("ben@example.com").await;
    for (name, path) in [
        ("list", "/api/admin/custom-orders/"),
        ("board", "/api/admin/custom-orders/board/"),
        ("error_not_found", "/api/admin/custom-orders/CO-9/"),
    ] {
        snapshots.get(name, &admin, path).await;
    }
    let (path, reason) = (
        "/api/admin/custom-orders/CO-1002/reject/",
        json!({"reason": "Too fine"}),
    );
    snapshots.post("rejected", &admin, path, &reason).await;
    shop.run_jobs().await;
}

async fn is_quoted(snapshots: &mut Snapshots, admin: &Client) {
    let approve = format!("{ORDER}approve/");
    snapshots
        .post("error_no_quote", admin, &approve, &Value::Null)
        .await;
    let (notes, note) = (format!("{ORDER}notes/"), json!({"text": "Likes herons"}));
    snapshots.post("noted", admin, &notes, &note).await;
    let path = format!("{ORDER}quote/");
    for (name, body) in [
        ("error_fields", json!({"amount": 0, "description": ""})),
        ("quoted", quote(9000)),
    ] {
        snapshots.send(name, admin, Method::PUT, &path, &body).await;
    }
    let path = format!("{ORDER}email/");
    snapshots.get("email_of_the_quote", admin, &path).await;
    snapshots
        .post("approved", admin, &approve, &Value::Null)
        .await;
}

async fn is_paid_and_shipped(snapshots: &mut Snapshots, shop: &Shop, admin: &Client) {
    let link = admin.get(ORDER).await.json["quotes"][0]["payment_link_id"].clone();
    let link = link.as_str().expect("a link");
    let session = shop.stripe.open_link(link).await.expect("a page");
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    let path = format!("{ORDER}payments/");
    snapshots.get("payments", admin, &path).await;
    let image = shop.keeps(&jpeg(60, 90)).await;
    let shipment = json!({"carrier": "USPS", "tracking_number": "9400 1000", "images": [image]});
    for (name, what, body) in [
        ("started", "start", Value::Null),
        ("shipped", "ship", shipment),
    ] {
        let path = format!("{ORDER}{what}/");
        snapshots.post(name, admin, &path, &body).await;
    }
}
