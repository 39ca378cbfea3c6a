//! Archived, sold and deleted products, and their stock.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::{delete, expect_refused, patch, queued, read, shop_and_admin, sunrise};
use crate::support::{Shop, card, session_of};

// Archive, restore, delete.

#[tokio::test]
async fn an_archived_product_is_gone_for_shoppers_until_it_is_restored() {
    let (shop, admin) = shop_and_admin().await;
    shop.stocks("Sunrise", 3).await;
    let answer = admin
        .post("/api/products/sunrise/archive/", &json!({}))
        .await;
    assert_eq!(
        (
            answer.status,
            &answer.json["is_active"],
            &answer.json["version"]
        ),
        (200, &json!(false), &json!(2))
    );
    let again = admin
        .post("/api/products/sunrise/archive/", &json!({}))
        .await;
    assert_eq!(again.json, answer.json);
    assert_eq!(shop.client.get("/api/products/sunrise/").await.status, 404);
    assert_eq!(
        shop.client
            .get("/api/products/sunrise/check_availability/")
            .await
            .status,
        404
    );
    assert_eq!(shop.client.get("/api/products/").await.json["count"], 0);
    assert_eq!(
        shop.client.get("/api/products/?search=sunrise").await.json["count"],
        0
    );
    assert_eq!(
        shop.client
            .get("/api/products/batch/?ids=sunrise")
            .await
            .json["count"],
        0
    );
    let refused = shop.client.check_out(&[("sunrise", 1)]).await;
    assert_eq!(refused.json["details"][0]["error"], "product_not_active");
    // The owner sees it.
    assert_eq!(read(&admin, "sunrise").await["is_active"], false);
    assert_eq!(
        admin
            .get("/api/admin/products/?is_active=false&search=sunrise")
            .await
            .ids(),
        ["sunrise"]
    );

    // No body is needed.
    let restored = admin
        .send(
            Method::POST,
            "/api/products/sunrise/restore",
            &[],
            None::<String>,
        )
        .await;
    assert_eq!(
        (restored.status, &restored.json["is_active"]),
        (200, &json!(true))
    );
    assert_eq!(shop.client.get("/api/products/sunrise/").await.status, 200);
    for action in ["archive", "restore", "sync"] {
        let path = format!("/api/products/nothing/{action}/");
        expect_refused(&admin.post(&path, &json!({})).await, 404, "not_found");
    }
}

#[tokio::test]
async fn an_order_line_outlives_its_product() {
    let shop = Shop::open().await;
    let admin = shop
        .admin(&[Scope::Catalog, Scope::Stock, Scope::OrdersRead])
        .await;
    shop.stocks("Sunrise", 3).await;
    let session = session_of(&shop.client.check_out(&[("sunrise", 2)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let orders = admin.get("/api/admin/orders/").await;
    let path = format!(
        "/api/admin/orders/{}/",
        orders.ids()[0].as_str().expect("an id")
    );
    let before = admin.get(&path).await.json;
    assert_eq!(before["lines"][0]["product_id"], "sunrise");

    patch(
        &admin,
        "sunrise",
        &json!({"name": "Renamed", "price": 9900}),
    )
    .await;
    assert_eq!(delete(&admin, "/api/products/sunrise/").await.status, 204);
    assert_eq!(admin.get(&path).await.json, before);
    assert_eq!(shop.client.get("/api/products/sunrise/").await.status, 404);
    assert_eq!(admin.get("/api/admin/products/sunrise/").await.status, 404);
    assert_eq!(admin.get("/api/admin/products/").await.json["count"], 0);
    for (method, path) in [
        (Method::DELETE, "/api/products/sunrise/"),
        (Method::PATCH, "/api/products/sunrise/"),
        (Method::POST, "/api/products/sunrise/restore/"),
        (Method::POST, "/api/products/sunrise/stock/"),
        (Method::GET, "/api/products/sunrise/stock/"),
    ] {
        expect_refused(
            &admin.send_json(method, path, &json!({})).await,
            404,
            "not_found",
        );
    }
    expect_refused(
        &admin.post("/api/products/", &sunrise()).await,
        409,
        "id_taken",
    );
    shop.run_jobs().await;
    shop.audit().await;
}

// Stock.

#[tokio::test]
async fn stock_is_changed_for_a_reason_that_the_ledger_keeps() {
    let (shop, admin) = shop_and_admin().await;
    shop.stocks("Sunrise", 10).await;
    let path = "/api/products/sunrise/stock/";
    for (delta, reason, on_hand) in [
        (5, "received", 15),
        (2, "made", 17),
        (1, "returned", 18),
        (-3, "damaged", 15),
        (-1, "lost", 14),
        (4, "correction", 18),
        (-8, "correction", 10),
    ] {
        let answer = admin
            .post(
                path,
                &json!({"delta": delta, "reason": reason, "note": "n"}),
            )
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let expected = format!(
            r#"{{"product_id":"sunrise","on_hand":{on_hand},"reserved":0,"inventory_count":{on_hand}}}"#
        );
        assert_eq!(answer.text, expected);
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    for (body, errors) in [
        (json!({}), vec!["delta", "reason"]),
        (json!({"delta": 0, "reason": "made"}), vec!["delta"]),
        (json!({"delta": -1, "reason": "made"}), vec!["delta"]),
        (json!({"delta": 1, "reason": "lost"}), vec!["delta"]),
        (json!({"delta": 1, "reason": "sale"}), vec!["reason"]),
        (json!({"delta": 1, "reason": "initial"}), vec!["reason"]),
        (
            json!({"delta": 1.5, "reason": 7, "note": null, "order_id": "x"}),
            vec!["delta", "note", "order_id", "reason"],
        ),
        (json!({"delta": 1_000_001, "reason": "made"}), vec!["delta"]),
        (
            json!({"delta": 1, "reason": "made", "note": "x".repeat(501)}),
            vec!["note"],
        ),
    ] {
        assert_eq!(
            admin.post(path, &body).await.field_errors(),
            errors,
            "{body}"
        );
    }
    let stale = json!({"delta": 1, "reason": "made", "expected_inventory_count": 9});
    expect_refused(&admin.post(path, &stale).await, 409, "inventory_changed");
    let right = json!({"delta": 1, "reason": "made", "expected_inventory_count": 10});
    assert_eq!(admin.post(path, &right).await.json["on_hand"], 11);

    // Nine of eleven are held: two may go, not three.
    shop.shopper().check_out(&[("sunrise", 9)]).await;
    expect_refused(
        &admin
            .post(path, &json!({"delta": -3, "reason": "lost"}))
            .await,
        409,
        "stock_is_held",
    );
    let answer = admin
        .post(path, &json!({"delta": -2, "reason": "lost"}))
        .await;
    assert_eq!(
        answer.text,
        r#"{"product_id":"sunrise","on_hand":9,"reserved":9,"inventory_count":0}"#
    );
    expect_refused(
        &admin
            .post(path, &json!({"delta": -1, "reason": "lost"}))
            .await,
        409,
        "stock_is_held",
    );

    let ledger = admin.get(path).await;
    assert_eq!(
        ledger.each("results", "delta"),
        [-2, 1, -8, 4, -1, -3, 1, 2, 5, 10]
    );
    assert_eq!(ledger.json["results"][9]["reason"], "initial");
    assert_eq!(ledger.json["results"][2]["note"], "n");
    assert_eq!(ledger.json["results"][0]["actor"], "token:test");
    assert_eq!(ledger.json["results"][0]["order_id"], Value::Null);
    let sum: i64 = ledger
        .each("results", "delta")
        .iter()
        .filter_map(Value::as_i64)
        .sum();
    assert_eq!(sum, 9);
    // Paged like every list.
    let last = admin
        .get("/api/products/sunrise/stock/?page_size=4&page=last")
        .await;
    assert_eq!(
        (last.json["count"].clone(), last.each("results", "delta")),
        (json!(10), vec![json!(5), json!(10)])
    );
    assert_eq!(
        last.json["previous"],
        json!(format!(
            "{}/api/products/sunrise/stock/?page=2&page_size=4",
            shop.address
        ))
    );
    assert_eq!(
        admin.get("/api/products/sunrise/stock/?page=9").await.json["detail"],
        "Invalid page."
    );
    expect_refused(
        &admin.get("/api/products/nothing/stock/").await,
        404,
        "not_found",
    );
    // Stock is no edit, and nothing to tell Stripe.
    queued(&shop).await;
    admin
        .post(path, &json!({"delta": 1, "reason": "made"}))
        .await;
    assert_eq!(read(&admin, "sunrise").await["version"], 1);
    assert!(queued(&shop).await.is_empty());
    shop.audit().await;
}

#[tokio::test]
async fn many_hands_change_one_stock() {
    let (shop, admin) = shop_and_admin().await;
    shop.stocks("Sunrise", 5).await;
    let change = |body: Value| {
        let admin = admin.clone();
        async move {
            admin
                .post("/api/products/sunrise/stock/", &body)
                .await
                .status
        }
    };
    let counts = |mut statuses: Vec<u16>| {
        statuses.sort_unstable();
        (
            statuses.iter().filter(|s| **s == 200).count(),
            statuses.iter().filter(|s| **s == 409).count(),
        )
    };
    let losses = (0..20).map(|_| change(json!({"delta": -1, "reason": "lost"})));
    assert_eq!(counts(join_all(losses).await), (5, 15));
    let gains = (0..20).map(|n| change(json!({"delta": n + 1, "reason": "made"})));
    assert_eq!(counts(join_all(gains).await), (20, 0));
    assert_eq!(shop.stock("sunrise").await, (210, 0));
    // All saw 210: one is right.
    let seen = json!({"delta": 1, "reason": "made", "expected_inventory_count": 210});
    let claims = (0..10).map(|_| change(seen.clone()));
    assert_eq!(counts(join_all(claims).await), (1, 9));
    shop.audit().await;
}
