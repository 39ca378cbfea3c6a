//! Versions, slugs and names: nothing is overwritten blindly.

use std::collections::HashSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{delete, expect_refused, patch, queued, read, shop_and_admin, slugs, sunrise};
use crate::support::{card, session_of};

#[tokio::test]
async fn a_change_of_an_old_version_is_refused() {
    let (shop, admin) = shop_and_admin().await;
    shop.stocks("Sunrise", 3).await;
    let path = "/api/products/sunrise/";
    let answer = patch(&admin, "sunrise", &json!({"price": 4800, "version": 1})).await;
    assert_eq!(
        (answer.status, answer.header("etag")),
        (200, "\"2\""),
        "{}",
        answer.text
    );
    assert_eq!(
        (&answer.json["version"], &answer.json["price"]),
        (&json!(2), &json!(4800))
    );
    expect_refused(
        &patch(&admin, "sunrise", &json!({"price": 1000, "version": 1})).await,
        409,
        "version_conflict",
    );
    expect_refused(
        &patch(&admin, "sunrise", &json!({"price": 1000, "version": 3})).await,
        409,
        "version_conflict",
    );
    let mut whole = sunrise();
    whole["version"] = json!(1);
    expect_refused(
        &admin.send_json(Method::PUT, path, &whole).await,
        409,
        "version_conflict",
    );

    let matching = async |method: Method, path: &str, tag: &str, body: Value| {
        let headers = [("content-type", "application/json"), ("if-match", tag)];
        admin
            .send(method, path, &headers, Some(body.to_string()))
            .await
    };
    for (method, path, body) in [
        (Method::PATCH, path, json!({"price": 1000})),
        (Method::PUT, path, sunrise()),
        (Method::DELETE, path, json!({})),
        (Method::POST, "/api/products/sunrise/archive/", json!({})),
        (Method::POST, "/api/products/sunrise/restore/", json!({})),
    ] {
        expect_refused(
            &matching(method.clone(), path, "\"1\"", body.clone()).await,
            409,
            "version_conflict",
        );
        assert_eq!(
            matching(method, path, "W/\"x\"", body).await.field_errors(),
            ["If-Match"]
        );
    }
    assert_eq!(read(&admin, "sunrise").await["price"], 4800);
    assert_eq!(
        matching(Method::PATCH, path, "\"2\"", json!({"price": 4900}))
            .await
            .json["version"],
        3
    );
    assert_eq!(
        matching(Method::PATCH, path, "*", json!({"price": 5000}))
            .await
            .json["version"],
        4
    );
    // Sales and holds are no edits.
    let session = session_of(&shop.client.check_out(&[("sunrise", 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(read(&admin, "sunrise").await["version"], 4);
    let answer = matching(Method::DELETE, path, "\"4\"", json!({})).await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));

    // Ten edits of one version at once: one is made.
    shop.stocks("Sunset", 1).await;
    let edits = (0..10).map(|n| {
        let admin = admin.clone();
        async move {
            patch(&admin, "sunset", &json!({"price": 5000 + n, "version": 1}))
                .await
                .status
        }
    });
    let mut statuses = join_all(edits).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn a_number_of_pieces_is_never_overwritten_blindly() {
    let (shop, admin) = shop_and_admin().await;
    shop.stocks("Sunrise", 5).await;
    let answer = patch(&admin, "sunrise", &json!({"inventory_count": 9})).await;
    assert_eq!(answer.field_errors(), ["expected_inventory_count"]);
    let stale = json!({"inventory_count": 9, "expected_inventory_count": 4, "price": 1000});
    expect_refused(
        &patch(&admin, "sunrise", &stale).await,
        409,
        "inventory_changed",
    );
    assert_eq!(read(&admin, "sunrise").await["price"], 4700);

    // Two are held: three are available, and that is the number meant on both sides.
    shop.shopper().check_out(&[("sunrise", 2)]).await;
    let right = json!({"inventory_count": 4, "expected_inventory_count": 3});
    let answer = patch(&admin, "sunrise", &right).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for (field, value) in [("inventory_count", 4), ("on_hand", 6), ("reserved", 2)] {
        assert_eq!(answer.json[field], value, "{field}");
    }
    let none = json!({"inventory_count": 0, "expected_inventory_count": 4});
    assert_eq!(patch(&admin, "sunrise", &none).await.json["on_hand"], 2);
    assert_eq!(shop.stock("sunrise").await, (2, 2));
    let ledger = admin.get("/api/products/sunrise/stock/").await;
    assert_eq!(ledger.each("results", "delta"), [-4, 1, 5]);
    assert_eq!(
        ledger.each("results", "reason"),
        ["correction", "correction", "initial"]
    );
    shop.audit().await;
}

#[tokio::test]
async fn a_product_put_back_as_it_was_read_changes_nothing() {
    let (shop, admin) = shop_and_admin().await;
    admin
        .post("/api/categories/", &json!({"name": "Rain"}))
        .await;
    let fields = json!({
        "category": "rain", "description": "D", "primary_image": "/media/a.png", "slug": "first-light",
        "secondary_image": "https://cdn.test/b.png", "weight_ounces": "1.25", "currency": "usd",
    });
    shop.stocks_with("Sunrise", 5, fields).await;
    shop.run_jobs().await;
    shop.shopper().check_out(&[("sunrise", 2)]).await;
    let before = read(&admin, "sunrise").await;
    assert_eq!(before["stripe"]["status"], "synced");
    for method in [Method::PUT, Method::PATCH] {
        let mut body = before.clone();
        if method == Method::PATCH {
            body["expected_inventory_count"] = before["inventory_count"].clone();
        }
        let answer = admin
            .send_json(method, "/api/products/sunrise/", &body)
            .await;
        assert_eq!(
            (answer.status, &answer.json),
            (200, &before),
            "{}",
            answer.text
        );
        assert_eq!(read(&admin, "sunrise").await, before);
    }
    // Nobody sold anything meanwhile, or else what was read is old.
    shop.shopper().check_out(&[("sunrise", 1)]).await;
    let answer = admin
        .send_json(Method::PUT, "/api/products/sunrise/", &before)
        .await;
    expect_refused(&answer, 409, "inventory_changed");
    assert_eq!(
        patch(&admin, "sunrise", &json!({})).await.json["version"],
        1
    );
    // Switched off by hand, it is put back switched off; sold out by stock, it is not switched off for that.
    let none = json!({"inventory_count": 0, "expected_inventory_count": 2});
    assert_eq!(
        patch(&admin, "sunrise", &none).await.json["is_sold_out"],
        false
    );
    assert_eq!(
        shop.client.get("/api/products/sunrise/").await.json["is_sold_out"],
        true
    );
    assert!(queued(&shop).await.is_empty());
}

// Slugs.

#[tokio::test]
async fn slugs_are_made_from_names_and_unique() {
    let (shop, admin) = shop_and_admin().await;
    let create = async |name: &str| {
        let body = json!({"name": name, "lighter_type": 1, "price": 100});
        admin.post("/api/products/", &body).await.json["slug"].clone()
    };
    assert_eq!(create("Ámber & Arrow!").await, "amber-arrow");
    assert_eq!(create("amber arrow").await, "amber-arrow-2");
    assert_eq!(create("Amber Arrow 2").await, "amber-arrow-2-2");
    assert_eq!(create("Amber").await, "amber");
    assert_eq!(create("Batch").await, "batch-2");
    assert_eq!(create("!!!").await, "product");
    assert_eq!(create("2024").await, "product-2024");
    let long = create(&"é".repeat(200)).await;
    assert!(
        long.as_str()
            .is_some_and(|slug| slug.len() > 100 && slug.len() <= 200),
        "{long}"
    );

    let taken = json!({"name": "X", "lighter_type": 1, "price": 100, "slug": "amber"});
    expect_refused(
        &admin.post("/api/products/", &taken).await,
        409,
        "slug_taken",
    );
    shop.stocks("Sunrise", 1).await;
    expect_refused(
        &patch(&admin, "sunrise", &json!({"slug": "amber"})).await,
        409,
        "slug_taken",
    );
    // A new name does not move the page.
    assert_eq!(
        patch(&admin, "sunrise", &json!({"name": "Dawn"}))
            .await
            .json["slug"],
        "sunrise"
    );
    // An archived product keeps its slug, a deleted one gives it back.
    admin
        .post("/api/products/sunrise/archive/", &json!({}))
        .await;
    assert_eq!(create("Sunrise").await, "sunrise-2");
    assert_eq!(delete(&admin, "/api/products/sunrise/").await.status, 204);
    assert_eq!(create("Sunrise").await, "sunrise");
}

#[tokio::test]
async fn twenty_of_one_name_at_once_get_twenty_slugs() {
    let (shop, admin) = shop_and_admin().await;
    let creations = (0..20).map(|_| {
        let admin = admin.clone();
        async move {
            let body = json!({"name": "Twin", "lighter_type": 1, "price": 100});
            admin.post("/api/products/", &body).await
        }
    });
    let answers = join_all(creations).await;
    assert!(
        answers.iter().all(|answer| answer.status == 201),
        "{answers:#?}"
    );
    let mut expected: Vec<String> = (2..=20).map(|n| format!("twin-{n}")).collect();
    expected.insert(0, "twin".to_owned());
    assert_eq!(slugs(&shop).await, expected);

    // Categories have names of their own; these ask for one slug.
    let categories = (0..10).map(|n| {
        let admin = admin.clone();
        let name = format!("Twin{}", "!".repeat(n));
        async move {
            let answer = admin.post("/api/categories/", &json!({"name": name})).await;
            assert_eq!(answer.status, 201, "{}", answer.text);
            answer.json["slug"].clone()
        }
    });
    let different: HashSet<String> = join_all(categories)
        .await
        .iter()
        .map(Value::to_string)
        .collect();
    assert_eq!(different.len(), 10);
}
