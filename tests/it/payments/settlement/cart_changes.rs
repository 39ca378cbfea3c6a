//! Products that change between cart and payment.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::{one_piece_held, release_too_early};
use crate::support::{Answer, Shop, card, session_of};

/// A change by the owner.
async fn admin_sends(shop: &Shop, method: Method, path: &str, body: Value) -> Answer {
    let admin = shop.admin(&[Scope::Catalog, Scope::Stock]).await;
    admin.send_json(method, path, &body).await
}

#[tokio::test]
async fn changes_between_cart_and_payment_do_not_touch_the_order() {
    let shop = Shop::open().await;
    let changes = [
        ("Priced", Method::PATCH, "", json!({"price": 9900})),
        ("Switched", Method::PATCH, "", json!({"is_sold_out": true})),
        ("Archived", Method::POST, "archive/", json!({})),
        ("Deleted", Method::DELETE, "", json!({})),
    ];
    for (name, ..) in &changes {
        shop.stocks(name, 1).await;
    }
    shop.run_jobs().await;
    let mut sessions = Vec::new();
    for (name, method, path, body) in changes {
        let piece = name.to_lowercase();
        let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
        let path = format!("/api/products/{piece}/{path}");
        let answer = admin_sends(&shop, method, &path, body).await;
        assert!(answer.status < 300, "{}", answer.text);
        sessions.push((piece, session));
    }
    shop.run_jobs().await;
    for (piece, session) in sessions {
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop.deliver().await;
        let order = shop.order(&session).await;
        assert_eq!(
            (&order["status"], &order["total"]),
            (&json!("paid"), &json!(5200)),
            "{piece}"
        );
        assert_eq!(shop.stock(&piece).await, (0, 0), "{piece}");
    }
    shop.run_jobs().await;
    assert!(shop.at_stripe("refund").await.is_empty());
    shop.audit().await;
}

#[tokio::test]
async fn late_money_for_a_deleted_product_is_given_back() {
    let (shop, piece, session) = one_piece_held().await;
    release_too_early(&shop, &session).await;
    let answer = admin_sends(&shop, Method::DELETE, "/api/products/sunrise/", json!({})).await;
    assert_eq!(answer.status, 204);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.audit_after_refunds().await;
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert_eq!(shop.stock(&piece).await, (1, 0));
}

#[tokio::test]
async fn a_stock_correction_stops_at_what_is_held() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 2)]).await);
    let stock = "/api/products/sunrise/stock/";
    let lost = |delta: i32| json!({"delta": delta, "reason": "lost"});
    let answer = admin_sends(&shop, Method::POST, stock, lost(-2)).await;
    assert_eq!(
        (answer.status, answer.json["code"].as_str()),
        (409, Some("stock_is_held"))
    );
    assert_eq!(shop.stock(&piece).await, (3, 2));
    let answer = admin_sends(&shop, Method::POST, stock, lost(-1)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(shop.status_of(&session).await, "paid");
    assert_eq!(shop.stock(&piece).await, (0, 0));
    shop.audit().await;
}

#[tokio::test]
async fn pieces_no_longer_for_sale_are_named_at_the_checkout() {
    let shop = Shop::open().await;
    for name in ["Archived", "Deleted", "Switched"] {
        shop.stocks(name, 5).await;
    }
    admin_sends(
        &shop,
        Method::POST,
        "/api/products/archived/archive/",
        json!({}),
    )
    .await;
    admin_sends(&shop, Method::DELETE, "/api/products/deleted/", json!({})).await;
    admin_sends(
        &shop,
        Method::PATCH,
        "/api/products/switched/",
        json!({"is_sold_out": true}),
    )
    .await;
    let cart = [("archived", 1), ("deleted", 1), ("switched", 1)];
    let faults = [
        "product_not_active",
        "product_not_found",
        "product_sold_out",
    ];
    assert_eq!(shop.client.check_out(&cart).await.line_errors(), faults);
}
