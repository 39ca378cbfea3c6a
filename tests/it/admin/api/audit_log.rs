//! Changes by tokens in the audit log.

use reqwest::Method;
use serde_json::json;
use spirit_beads::auth::Scope;

use super::{act, delete, forget_log, logged, ok};
use crate::support::{Shop, card, session_of};

#[tokio::test]
async fn changes_by_a_token_are_in_the_audit_log() {
    let shop = Shop::open().await;
    let admin = shop.admin(&Scope::ALL).await;
    let piece = shop.stocks("Sunrise", 5).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let before = forget_log(&shop).await;
    let sale = json!({"lines": [{"product_id": piece, "quantity": 1}], "email": "ann@example.com"});
    ok(admin.post("/api/admin/orders/", &sale).await).await;
    ok(admin
        .post("/api/admin/orders/SB-1001/notes/", &json!({"text": "Gift"}))
        .await)
    .await;
    ok(admin
        .post(
            "/api/admin/orders/SB-1001/ship/",
            &json!({"carrier": "USPS"}),
        )
        .await)
    .await;
    ok(act(&admin, "/api/admin/orders/SB-1001/deliver/").await).await;
    ok(act(&admin, "/api/admin/orders/SB-1001/deliver/").await).await;
    ok(act(&admin, "/api/admin/orders/SB-1002/undo/").await).await;
    shop.asks_for_a_piece("ann@example.com").await;
    let request = "/api/admin/custom-orders/CO-1001";
    ok(admin
        .post(&format!("{request}/notes/"), &json!({"text": "Nice"}))
        .await)
    .await;
    ok(admin
        .post(
            &format!("{request}/reject/"),
            &json!({"reason": "No beads"}),
        )
        .await)
    .await;
    ok(admin
        .send_json(
            Method::PATCH,
            "/api/products/sunrise/",
            &json!({"price": 4800}),
        )
        .await)
    .await;
    ok(admin
        .send_json(
            Method::PATCH,
            "/api/products/sunrise/",
            &json!({"price": 4800}),
        )
        .await)
    .await;
    let count = json!({"inventory_count": 7, "expected_inventory_count": 4});
    ok(admin
        .send_json(Method::PATCH, "/api/products/sunrise/", &count)
        .await)
    .await;
    ok(admin
        .post(
            "/api/products/sunrise/stock/",
            &json!({"delta": 1, "reason": "made"}),
        )
        .await)
    .await;
    ok(act(&admin, "/api/products/sunrise/archive/").await).await;
    ok(delete(&admin, "/api/products/sunrise/").await).await;
    let log: Vec<String> = logged(&shop)
        .await
        .drain(before..)
        .map(|entry| entry.0)
        .collect();
    assert_eq!(
        log,
        [
            "order.sell",
            "order.note",
            "order.ship",
            "order.deliver",
            "order.undo",
            "custom_order.note",
            "custom_order.reject",
            "product.change",
            "product.stock",
            "product.stock",
            "product.archive",
            "product.delete",
        ]
    );
    // A change that is refused leaves nothing there.
    assert_eq!(
        admin
            .post("/api/admin/orders/SB-1001/notes/", &json!({"text": " "}))
            .await
            .field_errors(),
        ["text"]
    );
    assert_eq!(logged(&shop).await.len(), before + log.len());
    shop.audit().await;
}
