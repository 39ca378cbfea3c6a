//! Answers of the API about orders, in full.

use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use crate::support::{Client, Shop, Snapshots, card, session_of, zone_at_noon};

const ORDERS: &str = "/api/admin/orders/";

/// Sells these pieces by card.
async fn sell(shop: &Shop, cart: &[(&str, i32)]) {
    let session = session_of(&shop.shopper().check_out(cart).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
}

#[tokio::test]
async fn answers_about_orders_are_as_they_were_reviewed() {
    let shop = Shop::open_with(&[("SHOP_TIME_ZONE", &zone_at_noon())]).await;
    let mut snapshots = Snapshots::of("orders").hiding(&["time_zone"]);
    let admin = shop.admin(&Scope::ALL).await;
    for (name, on_hand) in [("Sunrise", 5), ("Dusk", 3)] {
        shop.stocks(name, on_hand).await;
    }
    sell(&shop, &[("sunrise", 2), ("dusk", 1)]).await;
    is_refunded_and_shipped(&mut snapshots, &shop, &admin).await;
    for (name, path) in [
        ("list", ORDERS),
        ("detail", "/api/admin/orders/SB-1001/"),
        ("payments", "/api/admin/orders/SB-1001/payments/"),
        ("packing_slip", "/api/admin/orders/SB-1001/packing-slip/"),
        ("error_not_found", "/api/admin/orders/SB-9/"),
        ("error_query", "/api/admin/orders/?to_review=perhaps&page=0"),
        ("dashboard", "/api/admin/dashboard/?days=2"),
    ] {
        snapshots.get(name, &admin, path).await;
    }
    // Without `orders:read` nothing is said of the customer.
    let writer = shop.admin(&[Scope::OrdersWrite]).await;
    let deliver = "/api/admin/orders/SB-1001/deliver/";
    let name = "delivered_by_a_writer";
    snapshots.post(name, &writer, deliver, &Value::Null).await;

    let path = "/api/admin/review-items/";
    let items = snapshots.get("review_items", &admin, path).await;
    let id = items.json["results"][0]["id"].as_str().expect("an id");
    let path = format!("{path}{id}/");
    snapshots.get("review_item", &admin, &path).await;
    let (name, path) = ("review_item_resolved", format!("{path}resolve/"));
    snapshots.post(name, &admin, &path, &Value::Null).await;
}

/// The first order, up to a shipment and a refund that its bank sends back; then two others.
async fn is_refunded_and_shipped(snapshots: &mut Snapshots, shop: &Shop, admin: &Client) {
    let refund = json!({
        "amount": 4700, "reason": "Broken", "restock": [{"product_id": "sunrise", "quantity": 1}],
    });
    let shipment = json!({"carrier": "USPS", "tracking_number": "9400 1000"});
    for (name, what, body) in [
        ("error_not_deliverable", "deliver", Value::Null),
        (
            "error_fields",
            "refund",
            json!({"amount": 0, "restock": [{"product_id": "gone", "quantity": 0}]}),
        ),
        ("error_type", "refund", json!({"amount": "x"})),
        ("noted", "notes", json!({"text": "A gift"})),
        ("shipped", "ship", shipment.clone()),
        ("error_not_shippable", "ship", shipment),
        ("refund_planned", "refund", refund),
    ] {
        let path = format!("{ORDERS}SB-1001/{what}/");
        snapshots.post(name, admin, &path, &body).await;
    }
    shop.settles().await;
    let refund = shop.at_stripe("refund").await[0]["id"].clone();
    let refund = refund.as_str().expect("an id");
    shop.stripe.fail_refund(refund).await.expect("a failure");
    shop.deliver().await;

    let sale = json!({
        "lines": [{"product_id": "dusk", "quantity": 1, "unit_price": 4000}], "email": "ben@example.com",
        "customer_name": "Ben", "note": "At the market",
    });
    snapshots.post("sold_by_hand", admin, ORDERS, &sale).await;
    sell(shop, &[("dusk", 1)]).await;
    let many = json!({"shipments": [
        {"order": "SB-1003", "carrier": "USPS"},
        {"order": "SB-1001", "carrier": "", "tracking_number": "?"},
        {"order": "SB-9", "carrier": "USPS"},
    ]});
    let path = "/api/admin/orders/ship/";
    snapshots.post("many_shipped", admin, path, &many).await;
}
