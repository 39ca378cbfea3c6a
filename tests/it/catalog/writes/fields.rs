//! Products as they are created and changed, with every invalid field named.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::{delete, expect_refused, patch, queued, read, shop_and_admin, slugs, sunrise};
use crate::support::{Client, Shop};

// Who may write.

#[tokio::test]
async fn writes_ask_for_a_token_with_the_scope() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 3).await;
    shop.imports(&json!({"categories": [{"id": 1, "name": "One"}]}))
        .await
        .expect("a category");
    let before = shop.client.get("/api/products/sunrise/").await.text;
    let (catalog, stock, orders) = (
        shop.admin(&[Scope::Catalog, Scope::OrdersRead, Scope::OrdersWrite])
            .await,
        shop.admin(&[Scope::Stock]).await,
        shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await,
    );
    for (method, path, scope) in [
        (Method::POST, "/api/products/", Scope::Catalog),
        (Method::PUT, "/api/products/sunrise/", Scope::Catalog),
        (Method::PATCH, "/api/products/sunrise/", Scope::Catalog),
        (Method::DELETE, "/api/products/sunrise/", Scope::Catalog),
        (
            Method::POST,
            "/api/products/sunrise/archive/",
            Scope::Catalog,
        ),
        (
            Method::POST,
            "/api/products/sunrise/restore/",
            Scope::Catalog,
        ),
        (Method::POST, "/api/products/sunrise/sync/", Scope::Catalog),
        (Method::POST, "/api/products/sunrise/stock/", Scope::Stock),
        (Method::GET, "/api/products/sunrise/stock/", Scope::Stock),
        (Method::GET, "/api/admin/products/", Scope::Catalog),
        (Method::GET, "/api/admin/products/sunrise/", Scope::Catalog),
        (Method::POST, "/api/categories/", Scope::Catalog),
        (Method::PUT, "/api/categories/1/", Scope::Catalog),
        (Method::PATCH, "/api/categories/1/", Scope::Catalog),
        (Method::DELETE, "/api/categories/1/", Scope::Catalog),
    ] {
        // The body is nobody's business before that: this one is no JSON, nor said to be.
        let ask = async |client: &Client, headers: &[(&str, &str)]| {
            client.send(method.clone(), path, headers, Some("{")).await
        };
        for authorization in [
            "",
            "Bearer ",
            "Bearer sbt_wrong",
            "Basic c2J0OnNidA==",
            "sbt_x",
            "Bearer %00",
        ] {
            let answer = ask(&shop.client, &[("authorization", authorization)]).await;
            expect_refused(&answer, 401, "not_authenticated");
            assert_eq!(
                answer.json["detail"],
                "Authentication credentials were not provided."
            );
            assert_eq!(
                answer.header("www-authenticate"),
                "Bearer",
                "{method} {path}"
            );
        }
        let lacking = if scope == Scope::Stock {
            &catalog
        } else {
            &stock
        };
        expect_refused(&ask(lacking, &[]).await, 403, "permission_denied");
        expect_refused(&ask(&orders, &[]).await, 403, "permission_denied");
    }
    sqlx::query("update api_tokens set revoked_at = now()")
        .execute(&shop.db)
        .await
        .expect("a revocation");
    expect_refused(
        &catalog.post("/api/products/", &sunrise()).await,
        401,
        "not_authenticated",
    );
    assert_eq!(shop.client.get("/api/products/sunrise/").await.text, before);
}

// Products.

#[tokio::test]
async fn a_product_is_created_with_defaults() {
    let (shop, admin) = shop_and_admin().await;
    let answer = admin
        .post(
            "/api/products/",
            &json!({"name": "  Ámber Arrow ", "lighter_type": 2, "price": 50}),
        )
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let id = answer.json["id"].as_str().expect("an id");
    assert!(uuid::Uuid::parse_str(id).is_ok(), "{id}");
    assert_eq!(
        answer.header("location"),
        format!("{}/api/products/{id}/", shop.address)
    );
    assert_eq!(answer.header("etag"), "\"1\"");
    assert_eq!(answer.header("cache-control"), "no-store");
    // The whole body is in ../snapshots/created_with_defaults.snap.
    assert_eq!(read(&admin, id).await, answer.json);
    let path = answer.header("location").replacen(&shop.address, "", 1);
    assert_eq!(shop.client.get(&path).await.json["name"], "Ámber Arrow");
}

#[tokio::test]
async fn a_product_is_created_as_told() {
    let (shop, admin) = shop_and_admin().await;
    let category = admin
        .post("/api/categories/", &json!({"name": "Rain Songs"}))
        .await
        .json;
    let body = json!({
        "id": "a b&c?ü", "name": "Sunrise", "slug": "first-light", "lighter_type": 1, "price": 4750,
        "currency": "usd", "category": "rain-songs", "description": "A\nB", "is_sold_out": true, "is_active": false,
        "primary_image": format!("{}/media/a.png", shop.address), "secondary_image": "https://cdn.test/b.png",
        "weight_ounces": 1.5, "inventory_count": 7,
    });
    let answer = admin.post("/api/products/", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    for (field, value) in [
        ("id", json!("a b&c?ü")),
        ("slug", json!("first-light")),
        ("price", json!(4750)),
        ("currency", json!("usd")),
        ("category", category["id"].clone()),
        ("category_name", json!("Rain Songs")),
        ("description", json!("A\nB")),
        ("is_sold_out", json!(true)),
        ("is_active", json!(false)),
        (
            "primary_image",
            json!(format!("{}/media/a.png", shop.address)),
        ),
        ("secondary_image", json!("https://cdn.test/b.png")),
        ("weight_ounces", json!("1.50")),
        ("inventory_count", json!(7)),
        ("on_hand", json!(7)),
    ] {
        assert_eq!(answer.json[field], value, "{field}");
    }
    let kept: String = sqlx::query_scalar("select primary_image from products")
        .fetch_one(&shop.db)
        .await
        .expect("a row");
    assert_eq!(kept, "/media/a.png");
    // The id is encoded in its address, which leads to it.
    assert_eq!(
        answer.header("location"),
        format!("{}/api/products/a%20b%26c%3F%C3%BC/", shop.address)
    );
    let restored = admin
        .post("/api/products/a%20b%26c%3F%C3%BC/restore/", &json!({}))
        .await;
    assert_eq!(restored.status, 200, "{}", restored.text);
    let path = answer.header("location").replacen(&shop.address, "", 1);
    assert_eq!(shop.client.get(&path).await.json["id"], "a b&c?ü");
    shop.audit().await;
}

#[tokio::test]
async fn every_invalid_field_is_named_at_once() {
    let (shop, admin) = shop_and_admin().await;
    let faulty = json!({
        "id": "a/b", "name": "", "slug": "A b", "lighter_type": "1", "price": 49.5, "currency": "dollars",
        "category": 99, "description": 7, "primary_image": "javascript:x", "secondary_image": "/media/../x",
        "is_sold_out": 1, "is_active": "yes", "weight_ounces": "1e3", "inventory_count": 1.5, "version": "1",
        "colour": "red", "stripe_price_id": "price_x",
    });
    let all = [
        "category",
        "colour",
        "currency",
        "description",
        "id",
        "inventory_count",
        "is_active",
        "is_sold_out",
        "lighter_type",
        "name",
        "price",
        "primary_image",
        "secondary_image",
        "slug",
        "stripe_price_id",
        "version",
        "weight_ounces",
    ];
    let answer = admin.post("/api/products/", &faulty).await;
    assert_eq!(answer.field_errors(), all);
    let details = answer.json["details"].as_array().expect("a list");
    assert!(details.iter().all(|error| {
        error["message"]
            .as_str()
            .is_some_and(|text| text.ends_with('.'))
    }));

    assert_eq!(
        admin
            .post("/api/products/", &json!({}))
            .await
            .field_errors(),
        ["lighter_type", "name", "price"]
    );
    assert_eq!(
        admin
            .post(
                "/api/categories/",
                &json!({"slug": "7", "description": null, "id": 3, "x": 1})
            )
            .await
            .field_errors(),
        ["description", "name", "slug", "x"]
    );
    for body in [json!([]), json!("x"), json!(null)] {
        assert_eq!(
            admin.post("/api/products/", &body).await.status,
            400,
            "{body}"
        );
    }
    assert!(slugs(&shop).await.is_empty() && queued(&shop).await.is_empty());

    // The same in a change; an id of the body is only an echo there, and nothing changes if anything is wrong.
    shop.stocks("Sunrise", 1).await;
    let before = read(&admin, "sunrise").await;
    let answer = patch(&admin, "sunrise", &faulty).await;
    let mut expected: Vec<&str> = all.iter().copied().filter(|field| *field != "id").collect();
    expected.insert(5, "expected_inventory_count");
    expected.sort_unstable();
    assert_eq!(answer.field_errors(), expected);
    let half = json!({"name": "Changed", "price": 1});
    assert_eq!(
        patch(&admin, "sunrise", &half).await.field_errors(),
        ["price"]
    );
    assert_eq!(read(&admin, "sunrise").await, before);
}

#[tokio::test]
async fn bounds_are_kept_on_both_sides() {
    let (_shop, admin) = shop_and_admin().await;
    let with = |field: &str, value: Value| {
        let mut body = json!({"name": "N", "lighter_type": 1, "price": 100});
        body[field] = value;
        body
    };
    for (field, good, bad) in [
        (
            "price",
            vec![json!(50), json!(99_999_999)],
            vec![json!(49), json!(100_000_000), json!("100"), json!(null)],
        ),
        (
            "name",
            vec![json!("x".repeat(255)), json!("ü".repeat(255))],
            vec![json!("x".repeat(256)), json!("a\nb"), json!(" ")],
        ),
        (
            "slug",
            vec![json!("x".repeat(200)), json!("7")],
            vec![
                json!("x".repeat(201)),
                json!("a--b"),
                json!("batch"),
                json!(""),
            ],
        ),
        (
            "description",
            vec![json!("x".repeat(10_000))],
            vec![json!("x".repeat(10_001)), json!("a\u{0}")],
        ),
        (
            "id",
            vec![json!("x".repeat(100)), json!("日本")],
            vec![
                json!("x".repeat(101)),
                json!("a,b"),
                json!("batch"),
                json!(7),
                json!(""),
            ],
        ),
        (
            "weight_ounces",
            vec![json!(0), json!("99999.99")],
            vec![json!(-1), json!("100000"), json!("1.005")],
        ),
        (
            "inventory_count",
            vec![json!(0), json!(1_000_000)],
            vec![json!(-1), json!(1_000_001)],
        ),
        (
            "currency",
            vec![json!("usd")],
            vec![json!("cad"), json!("CAD"), json!("us")],
        ),
        (
            "category",
            vec![json!(null)],
            vec![
                json!("no-such"),
                json!(0),
                json!(1.5),
                json!(true),
                json!(""),
            ],
        ),
    ] {
        for value in good {
            let answer = admin
                .post("/api/products/", &with(field, value.clone()))
                .await;
            assert_eq!(answer.status, 201, "{field} {value}: {}", answer.text);
            let id = answer.json["id"].as_str().expect("an id");
            let path = format!(
                "/api/products/{}/",
                if id.is_ascii() {
                    id
                } else {
                    "%E6%97%A5%E6%9C%AC"
                }
            );
            assert_eq!(delete(&admin, &path).await.status, 204);
        }
        for value in bad {
            let answer = admin
                .post("/api/products/", &with(field, value.clone()))
                .await;
            assert_eq!(answer.field_errors(), [field], "{value}");
        }
    }
}

#[tokio::test]
async fn put_replaces_and_patch_changes_what_is_given() {
    let (shop, admin) = shop_and_admin().await;
    admin
        .post("/api/categories/", &json!({"name": "Rain"}))
        .await;
    let fields = json!({
        "category": "rain", "description": "D", "primary_image": "/media/a.png", "slug": "first-light",
        "weight_ounces": "1.25", "is_sold_out": true,
    });
    shop.stocks_with("Sunrise", 5, fields).await;
    let patched = patch(
        &admin,
        "sunrise",
        &json!({"name": "Dawn", "primary_image": null}),
    )
    .await
    .json;
    assert_eq!(
        (
            &patched["name"],
            &patched["slug"],
            &patched["primary_image"],
            &patched["description"]
        ),
        (
            &json!("Dawn"),
            &json!("first-light"),
            &json!(null),
            &json!("D")
        )
    );
    let body = json!({"name": "Noon", "lighter_type": 2, "price": 5100});
    let put = admin
        .send_json(Method::PUT, "/api/products/sunrise/", &body)
        .await
        .json;
    for (field, value) in [
        ("name", json!("Noon")),
        ("slug", json!("first-light")),
        ("lighter_type", json!(2)),
        ("price", json!(5100)),
        ("category", json!(null)),
        ("description", json!("")),
        ("weight_ounces", json!("2.00")),
        ("is_sold_out", json!(false)),
        ("inventory_count", json!(5)),
    ] {
        assert_eq!(put[field], value, "{field}");
    }
    let missing = admin
        .send_json(Method::PUT, "/api/products/sunrise/", &json!({"name": "X"}))
        .await;
    assert_eq!(missing.field_errors(), ["lighter_type", "price"]);
    for path in ["/api/products/nothing/", "/api/products/%00/"] {
        expect_refused(
            &admin.send_json(Method::PATCH, path, &json!({})).await,
            404,
            "not_found",
        );
        expect_refused(
            &admin.send_json(Method::PUT, path, &sunrise()).await,
            404,
            "not_found",
        );
        expect_refused(&delete(&admin, path).await, 404, "not_found");
    }
}
