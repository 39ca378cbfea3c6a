//! Sales without Stripe, and returns of deleted products.

use serde_json::{Value, json};

use super::{API, is_refused, pieces, program, refund, waits};
use crate::admin::orders::two_sold;
use crate::admin::{OWNER, signed_in, staffed};
use crate::support::{card, session_of};

#[tokio::test]
async fn a_returned_piece_of_a_deleted_product_is_in_the_catalog_again_archived() {
    let (shop, piece, _) = two_sold().await;
    let admin = program(&shop).await;
    let product = format!("/api/products/{piece}/");
    let gone = admin
        .send_json(reqwest::Method::DELETE, &product, &json!({}))
        .await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    // Its slug has another by now.
    shop.stocks_with("Sunset", 1, json!({"slug": "sunrise"}))
        .await;
    let back = json!({"amount": 4700, "restock": [{"product_id": piece, "quantity": 1}]});
    assert_eq!(refund(&admin, &back).await.status, 202);
    shop.settles().await;
    assert_eq!(shop.stock(&piece).await, (2, 0));
    let path = format!("/api/admin/products/?search={piece}&page_size=100");
    let found = admin.get(&path).await.json;
    let found = found["results"].as_array().expect("products").iter();
    let found: Vec<&Value> = found.filter(|product| product["id"] == piece).collect();
    assert_eq!(found.len(), 1, "it can be found");
    assert_eq!(found[0]["is_active"], false, "and is not on sale");
    assert_ne!(found[0]["slug"], "sunrise");
    let order = admin.get(&format!("{API}/")).await.json;
    let told = order["timeline"].to_string();
    assert!(told.contains("Sunrise had been deleted"), "{told}");
    // The second one finds it there.
    let rest = json!({"restock": [{"product_id": piece, "quantity": 1}]});
    assert_eq!(refund(&admin, &rest).await.status, 202);
    shop.settles().await;
    assert_eq!(shop.stock(&piece).await, (3, 0));
}

#[tokio::test]
async fn an_undone_sale_of_a_deleted_product_brings_it_back_as_well() {
    let shop = staffed().await;
    let admin = program(&shop).await;
    let piece = shop.stocks("Sunrise", 1).await;
    let sale = json!({"lines": [{"product_id": piece, "quantity": 1}]});
    assert_eq!(admin.post("/api/admin/orders/", &sale).await.status, 201);
    let product = format!("/api/products/{piece}/");
    admin
        .send_json(reqwest::Method::DELETE, &product, &json!({}))
        .await;
    let undone = admin.post(&format!("{API}/undo/"), &json!({})).await;
    assert_eq!(undone.status, 200, "{}", undone.text);
    let found = admin.get("/api/admin/products/?search=sunrise").await.json;
    assert_eq!(found["count"], 1, "{found}");
    assert_eq!(found["results"][0]["slug"], "sunrise", "its own again");
    shop.settles().await;
}

#[tokio::test]
async fn an_order_that_never_took_stock_has_nothing_to_restock() {
    let shop = staffed().await;
    let admin = program(&shop).await;
    let piece = shop.stocks("Sunrise", 2).await;
    let returnable = async |number: &str| {
        let path = format!("/api/admin/orders/{number}/payments/");
        admin.get(&path).await.json["returnable"].clone()
    };
    // Being paid; then its time is over, and what comes late finds the pieces sold.
    let late = session_of(&shop.shopper().check_out(&[(&piece, 2)]).await);
    assert_eq!(returnable("SB-1001").await, json!([]));
    shop.stripe.pay(&late, card()).await.expect("a payment");
    for sql in [
        "update orders set status = 'expired'",
        "update products set reserved = 0",
    ] {
        sqlx::query(sql).execute(&shop.db).await.expect("a change");
    }
    let sale = json!({"lines": [{"product_id": piece, "quantity": 2}]});
    assert_eq!(admin.post("/api/admin/orders/", &sale).await.status, 201);
    shop.settles().await;
    assert_eq!(shop.statuses().await, ["expired", "delivered"]);
    assert_eq!(returnable("SB-1001").await, json!([]), "refused");
    assert_eq!(
        returnable("SB-1002").await,
        json!([{"product_id": piece, "quantity": 2}])
    );
}

#[tokio::test]
async fn an_in_person_sale_is_delivered_at_once_and_waits_for_nobody() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let admin = program(&shop).await;
    let piece = shop.stocks("Sunrise", 2).await;
    let sale = json!({"lines": [{"product_id": piece, "quantity": 1}]});
    let sold = admin.post("/api/admin/orders/", &sale).await;
    assert_eq!(sold.status, 201, "{}", sold.text);
    assert_eq!(sold.json["status"], "delivered");
    assert_eq!(pieces(&admin).await, [[1, 0, 0, 1, 0]]);
    assert!(!waits(&owner, &admin).await);
    is_refused(&owner, &admin, "not_shippable", "is delivered").await;
    let undone = admin.post(&format!("{API}/undo/"), &json!({})).await;
    assert_eq!(undone.json["status"], "refunded", "{}", undone.text);
    assert_eq!(pieces(&admin).await, [[1, 0, 0, 1, 1]]);
    assert_eq!(shop.stock(&piece).await, (2, 0));
    shop.settles().await;
}
