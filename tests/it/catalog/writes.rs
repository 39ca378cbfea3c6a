//! The catalog as an owner's program writes it: products, categories, stock, and what Stripe is to hear.

use std::collections::HashSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use spirit_beads::products;
use spirit_beads::types::ids::ProductId;
use spirit_beads::types::money::Currency;
use stripe_sandbox::Fault;

use crate::support::{Answer, Client, Shop, card, session_of};

/// An empty shop, and a program that may do all that is done here.
async fn shop_and_admin() -> (Shop, Client) {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog, Scope::Stock]).await;
    (shop, admin)
}

fn sunrise() -> Value {
    json!({"id": "sunrise", "name": "Sunrise", "lighter_type": 1, "price": 4700})
}

/// The product as the owner reads it.
async fn read(admin: &Client, id: &str) -> Value {
    let answer = admin.get(&format!("/api/admin/products/{id}/")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json
}

async fn patch(admin: &Client, id: &str, body: &Value) -> Answer {
    admin
        .send_json(Method::PATCH, &format!("/api/products/{id}/"), body)
        .await
}

async fn delete(admin: &Client, path: &str) -> Answer {
    admin.send(Method::DELETE, path, &[], None::<String>).await
}

fn expect_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (status, &json!(code)),
        "{}",
        answer.text
    );
    assert!(answer.json["error"].is_string() && answer.json["detail"].is_string());
}

/// Empties the queue of jobs, and says which products were to be synced.
async fn queued(shop: &Shop) -> Vec<String> {
    let mut ids: Vec<String> = sqlx::query_scalar(
        "delete from graphile_worker._private_jobs
         where payload ->> 'job' = 'sync_product'
         returning payload ->> 'product'",
    )
    .fetch_all(&shop.db)
    .await
    .expect("the queue");
    ids.sort();
    ids
}

async fn slugs(shop: &Shop) -> Vec<String> {
    sqlx::query_scalar(
        "select slug from products where deleted_at is null order by length(slug), slug",
    )
    .fetch_all(&shop.db)
    .await
    .expect("the slugs")
}

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
    let (created, updated) = (&answer.json["created_at"], &answer.json["updated_at"]);
    assert_eq!(
        answer.text,
        format!(
            concat!(
                r#"{{"id":"{}","name":"Ámber Arrow","slug":"amber-arrow","lighter_type":2,"#,
                r#""lighter_type_display":"Mini BIC","price":50,"category":null,"category_name":null,"#,
                r#""description":"","primary_image":null,"secondary_image":null,"is_sold_out":false,"#,
                r#""is_active":true,"inventory_count":0,"weight_ounces":"2.00","is_in_stock":false,"#,
                r#""created_at":{},"updated_at":{},"images":[],"currency":"usd","on_hand":0,"reserved":0,"version":1,"#,
                r#""stripe":{{"status":"pending","error":null,"product_id":null,"price_id":null}}}}"#,
            ),
            id, created, updated
        )
    );
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
async fn what_was_read_can_be_put_back_and_changes_nothing() {
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
async fn what_was_sold_outlives_its_product() {
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

#[tokio::test]
async fn the_owners_list_has_the_shoppers_filters() {
    let (shop, admin) = shop_and_admin().await;
    admin
        .post("/api/categories/", &json!({"name": "Rain"}))
        .await;
    shop.stocks_with("Apple", 1, json!({"category": "rain", "price": 9000}))
        .await;
    shop.stocks_with("Berry", 0, json!({"lighter_type": 2, "is_active": false}))
        .await;
    shop.stocks("Cherry", 2).await;
    for (query, ids) in [
        ("", vec!["apple", "berry", "cherry"]),
        ("is_active=true", vec!["apple", "cherry"]),
        ("is_active=false", vec!["berry"]),
        ("is_sold_out=true", vec!["berry"]),
        ("category=rain", vec!["apple"]),
        ("lighter_type=2", vec!["berry"]),
        ("ordering=-price", vec!["apple", "cherry", "berry"]),
        ("search=berry", vec!["berry"]),
        ("page_size=2&page=last", vec!["cherry"]),
    ] {
        assert_eq!(
            admin
                .get(&format!("/api/admin/products/?{query}"))
                .await
                .ids(),
            ids,
            "{query}"
        );
    }
    let answer = admin
        .get("/api/admin/products/?category=99&lighter_type=3")
        .await;
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (400, &json!("invalid_filter"))
    );
    let page = admin.get("/api/admin/products/?page_size=1").await;
    assert_eq!(
        page.json["next"],
        json!(format!(
            "{}/api/admin/products/?page=2&page_size=1",
            shop.address
        ))
    );
    assert_eq!(page.json["results"][0], read(&admin, "apple").await);
    assert_eq!(page.header("cache-control"), "no-store");
}

// Categories.

#[tokio::test]
async fn categories_are_written() {
    let (shop, admin) = shop_and_admin().await;
    let created = admin
        .post(
            "/api/categories/",
            &json!({"name": "Rain Songs", "description": "D"}),
        )
        .await;
    assert_eq!(created.status, 201, "{}", created.text);
    let id = created.json["id"].as_i64().expect("a number");
    let path = format!("/api/categories/{id}/");
    assert_eq!(
        created.text,
        format!(
            r#"{{"id":{id},"name":"Rain Songs","slug":"rain-songs","description":"D","position":0}}"#
        )
    );
    assert_eq!(
        created.header("location"),
        format!("{}{path}", shop.address)
    );
    assert_eq!(shop.client.get(&path).await.json, created.json);
    let second = admin
        .post("/api/categories/", &json!({"name": "Rain Songs!"}))
        .await
        .json;
    assert_eq!(second["slug"], "rain-songs-2");
    let taken = json!({"name": "X", "slug": "rain-songs"});
    expect_refused(
        &admin.post("/api/categories/", &taken).await,
        409,
        "slug_taken",
    );
    let second_path = format!("/api/categories/{}/", second["id"]);
    expect_refused(
        &admin
            .send_json(Method::PATCH, &second_path, &json!({"slug": "rain-songs"}))
            .await,
        409,
        "slug_taken",
    );

    // A product of it follows its name, in what is shown and in what is found.
    shop.stocks_with("Sunrise", 3, json!({"category": id}))
        .await;
    queued(&shop).await;
    let found = async |word: &str| {
        shop.client
            .get(&format!("/api/products/?search={word}"))
            .await
            .json["count"]
            .clone()
    };
    assert_eq!(
        (found("songs").await, found("thunder").await),
        (json!(1), json!(0))
    );
    let renamed = admin
        .send_json(Method::PATCH, &path, &json!({"name": "Thunder"}))
        .await;
    assert_eq!(
        (renamed.status, &renamed.json["slug"]),
        (200, &json!("rain-songs"))
    );
    assert_eq!(
        (found("songs").await, found("thunder").await),
        (json!(0), json!(1))
    );
    assert_eq!(
        shop.client.get("/api/products/").await.json["results"][0]["category_name"],
        "Thunder"
    );
    assert_eq!(read(&admin, "sunrise").await["version"], 1);
    assert!(queued(&shop).await.is_empty());

    let put = admin
        .send_json(Method::PUT, &path, &json!({"name": "Storm"}))
        .await;
    assert_eq!(
        put.text,
        format!(
            r#"{{"id":{id},"name":"Storm","slug":"rain-songs","description":"","position":0}}"#
        )
    );
    let back = admin.send_json(Method::PUT, &path, &put.json).await;
    assert_eq!(back.json, put.json);
    assert_eq!(
        admin
            .send_json(Method::PUT, &path, &json!({}))
            .await
            .field_errors(),
        ["name"]
    );

    assert_eq!(delete(&admin, &path).await.status, 204);
    assert_eq!(shop.client.get(&path).await.status, 404);
    let product = shop.client.get("/api/products/sunrise/").await.json;
    assert_eq!(
        (&product["category"], &product["category_name"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(found("storm").await, 0);
    for path in [
        path.as_str(),
        "/api/categories/nonsense/",
        "/api/categories/99999999999999999999/",
    ] {
        expect_refused(
            &admin.send_json(Method::PATCH, path, &json!({})).await,
            404,
            "not_found",
        );
        expect_refused(&delete(&admin, path).await, 404, "not_found");
    }
    shop.run_jobs().await;
}

#[tokio::test]
async fn no_two_categories_get_one_name() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let make = async |name: &str| {
        let made = admin.post("/api/categories/", &json!({"name": name})).await;
        let errors = match made.status {
            201 => Vec::new(),
            _ => made.field_errors(),
        };
        (made.status, errors, made.json["id"].as_i64())
    };
    let (status, _, first) = make("Été  Bleu").await;
    assert_eq!(status, 201);
    for same in [
        "Été Bleu",
        "été bleu",
        "ETE BLEU",
        "E\u{301}te\u{301} bleu",
        " Été Bleu ",
    ] {
        let (status, errors, _) = make(same).await;
        assert_eq!((status, errors), (400, vec!["name".to_owned()]), "{same}");
    }
    let (_, _, second) = make("Hiver").await;
    let address = |id: Option<i64>| format!("/api/categories/{}/", id.expect("an id"));
    let patch = async |address: &str, body: &Value| {
        let json = [("content-type", "application/json")];
        let body = body.to_string();
        admin.send(Method::PATCH, address, &json, Some(body)).await
    };
    let rename = json!({"name": "ÉTÉ BLEU"});
    assert_eq!(
        patch(&address(second), &rename).await.field_errors(),
        ["name"]
    );
    // Its own name it may write otherwise.
    let renamed = patch(&address(first), &rename).await;
    assert_eq!(renamed.status, 200, "{}", renamed.text);
    assert_eq!(make("été bleu").await.0, 400);
    // Of two at once one gets it.
    let (one, other) = tokio::join!(make("Nuit"), make("nuit"));
    let mut statuses = [one.0, other.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 400]);

    // Two of one name from before keep it, and may be changed otherwise; nobody joins them.
    sqlx::query("insert into categories (name, slug) values ('Old', 'old'), ('Old', 'old-2')")
        .execute(&shop.db)
        .await
        .expect("an older shop");
    let ids: Vec<i64> =
        sqlx::query_scalar("select id from categories where name = 'Old' order by id")
            .fetch_all(&shop.db)
            .await
            .expect("both");
    for id in &ids {
        let body = json!({"name": "Old", "description": "as ever"});
        let changed = patch(&address(Some(*id)), &body).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
    }
    assert_eq!(make("old").await.0, 400);
    // The catalog as one file: what is there comes back as it was, and a new one of the same name does not.
    let mut conn = shop.db.acquire().await.expect("a connection");
    let mut file = spirit_beads::products::export(&mut conn)
        .await
        .expect("a catalog");
    let file_text = file.to_string();
    spirit_beads::products::import(&mut conn, &file_text, None, Currency::USD, "test")
        .await
        .expect("the same again");
    let rows = file["categories"].as_array_mut().expect("categories");
    rows.push(json!({"id": 900, "name": "HIVER"}));
    rows.push(json!({"id": 901, "name": "Neu"}));
    rows.push(json!({"id": 902, "name": "neu"}));
    let last = rows.len() - 1;
    let refused =
        spirit_beads::products::import(&mut conn, &file.to_string(), None, Currency::USD, "test")
            .await;
    let Err(spirit_beads::error::Error::Invalid(errors)) = refused else {
        panic!("{refused:?}");
    };
    let fields: Vec<String> = errors.into_iter().map(|error| error.field).collect();
    assert_eq!(
        fields,
        [
            format!("categories[{}].name", last - 2),
            format!("categories[{last}].name")
        ]
    );
}
