//! The state of the synchronization with Stripe.

use serde_json::{Value, json};
use spirit_beads::products;
use spirit_beads::types::ids::ProductId;
use stripe_sandbox::Fault;

use super::{delete, patch, queued, read, shop_and_admin};

// What Stripe is to hear.

#[tokio::test]
async fn only_changes_that_matter_to_stripe_are_queued() {
    let (shop, admin) = shop_and_admin().await;
    admin
        .post("/api/categories/", &json!({"name": "Rain"}))
        .await;
    shop.stocks("Sunrise", 3).await;
    assert_eq!(queued(&shop).await, ["sunrise"]);
    for (body, matters) in [
        (json!({"description": "New"}), false),
        (json!({"category": "rain"}), false),
        (json!({"lighter_type": 2}), false),
        (json!({"slug": "dawn"}), false),
        (json!({"weight_ounces": 3}), false),
        (json!({"is_sold_out": true}), false),
        (json!({"secondary_image": "/media/b.png"}), false),
        (
            json!({"inventory_count": 9, "expected_inventory_count": 3}),
            false,
        ),
        (
            json!({"name": "Sunrise", "price": 4700, "currency": "usd"}),
            false,
        ),
        (json!({"name": "Dawn"}), true),
        (json!({"price": 4800}), true),
        (json!({"primary_image": "/media/a.png"}), true),
        (json!({"is_active": false}), true),
        (json!({"is_active": true}), true),
    ] {
        sqlx::query("update products set stripe_status = 'synced'")
            .execute(&shop.db)
            .await
            .expect("a state");
        let answer = patch(&admin, "sunrise", &body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text);
        let status = if matters { "pending" } else { "synced" };
        assert_eq!(answer.json["stripe"]["status"], status, "{body}");
        assert_eq!(queued(&shop).await.len(), usize::from(matters), "{body}");
    }
    let post = async |path: &str| admin.post(path, &json!({})).await.status;
    assert_eq!(post("/api/products/sunrise/archive/").await, 200);
    assert_eq!(queued(&shop).await, ["sunrise"]);
    assert_eq!(post("/api/products/sunrise/archive/").await, 200);
    assert!(queued(&shop).await.is_empty());
    assert_eq!(post("/api/products/sunrise/restore/").await, 200);
    assert_eq!(post("/api/products/sunrise/restore/").await, 200);
    // Asked twice, done once.
    assert_eq!(post("/api/products/sunrise/sync/").await, 202);
    assert_eq!(queued(&shop).await, ["sunrise"]);
    // A refused change queues nothing.
    patch(&admin, "sunrise", &json!({"name": "X", "version": 99})).await;
    assert!(queued(&shop).await.is_empty());
    delete(&admin, "/api/products/sunrise/").await;
    assert_eq!(queued(&shop).await, ["sunrise"]);
}

#[tokio::test]
async fn the_state_of_the_sync_is_shown() {
    let (shop, admin) = shop_and_admin().await;
    shop.stocks("Sunrise", 3).await;
    let filtered = async |status: &str| {
        admin
            .get(&format!("/api/admin/products/?stripe_status={status}"))
            .await
            .ids()
            .len()
    };
    assert_eq!(
        (filtered("pending").await, filtered("synced").await),
        (1, 0)
    );
    shop.run_jobs().await;
    let stripe = read(&admin, "sunrise").await["stripe"].clone();
    assert_eq!(
        (&stripe["status"], &stripe["error"]),
        (&json!("synced"), &json!(null))
    );
    assert!(stripe["product_id"].is_string() && stripe["price_id"].is_string());
    assert_eq!(
        (filtered("pending").await, filtered("synced").await),
        (0, 1)
    );

    // What Stripe refuses, the owner reads; and can have tried again.
    let refusal = Fault::Refused {
        code: "parameter_invalid".to_owned(),
        message: "That amount is not for us".to_owned(),
        param: None,
    };
    shop.stripe.fail_next("POST /v1/prices", refusal, 1);
    patch(&admin, "sunrise", &json!({"price": 4800})).await;
    shop.run_jobs().await;
    let failed = read(&admin, "sunrise").await["stripe"].clone();
    assert_eq!(failed["status"], "error");
    assert!(
        failed["error"]
            .as_str()
            .is_some_and(|text| text.contains("not for us")),
        "{failed}"
    );
    assert_eq!(filtered("error").await, 1);
    let answer = admin.post("/api/products/sunrise/sync/", &json!({})).await;
    assert_eq!(
        (answer.status, &answer.json["stripe"]["status"]),
        (202, &json!("pending"))
    );
    assert_eq!(answer.json["stripe"]["error"], Value::Null);
    shop.run_jobs().await;
    let mended = read(&admin, "sunrise").await["stripe"].clone();
    assert_eq!(mended["status"], "synced");
    assert_ne!(mended["price_id"], stripe["price_id"]);

    let unknown = admin.get("/api/admin/products/?stripe_status=lost").await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.json["stripe_status"][0].is_string());
}

#[tokio::test]
async fn an_edit_during_a_sync_does_not_leave_it_pending_for_ever() {
    let (shop, admin) = shop_and_admin().await;
    shop.stocks("Sunrise", 3).await;
    queued(&shop).await;
    let mut conn = shop.db.acquire().await.expect("a connection");
    let id = ProductId("sunrise".to_owned());
    for edit in [json!({"description": "New"}), json!({"name": "Dawn"})] {
        // A sync has read the row and talks to Stripe. Meanwhile somebody edits; then the sync has done what it could.
        let row = products::find_for_sync(&mut conn, &id)
            .await
            .expect("a read")
            .expect("the row");
        assert_eq!(patch(&admin, "sunrise", &edit).await.status, 200);
        products::record_stripe_product(&mut conn, &id, "prod_x")
            .await
            .expect("a record");
        products::record_synced(&mut conn, &id, row.version)
            .await
            .expect("a record");
        assert_eq!(
            read(&admin, "sunrise").await["stripe"]["product_id"],
            "prod_x"
        );
        sqlx::query("update products set stripe_product_id = null")
            .execute(&mut *conn)
            .await
            .expect("as before");
        shop.run_jobs().await;
        assert_eq!(
            read(&admin, "sunrise").await["stripe"]["status"],
            "synced",
            "{edit}"
        );
    }
}
