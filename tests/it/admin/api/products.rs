//! Products and categories by the API.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::{act, delete, forget_log, logged, ok, put};
use crate::support::Shop;
use crate::support::images::jpeg;

#[tokio::test]
async fn a_product_and_a_change_of_stock_that_come_twice_under_one_key_are_one() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog, Scope::Stock]).await;
    let headers = [
        ("idempotency-key", "one"),
        ("content-type", "application/json"),
    ];
    let post = async |path: &str, body: &Value| {
        admin
            .send(Method::POST, path, &headers, Some(body.to_string()))
            .await
    };
    let product =
        json!({"name": "Sunrise", "lighter_type": 1, "price": 4700, "inventory_count": 2});
    let first = post("/api/products/", &product).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let again = post("/api/products/", &product).await;
    assert_eq!((again.status, &again.json), (201, &first.json));
    let mut other = product.clone();
    other["price"] = json!(4800);
    assert_eq!(post("/api/products/", &other).await.status, 422);

    let id = first.json["id"].as_str().expect("an id");
    let path = format!("/api/products/{id}/stock/");
    let change = json!({"delta": 3, "reason": "made"});
    let first = post(&path, &change).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let again = post(&path, &change).await;
    assert_eq!((again.status, &again.json), (200, &first.json));
    assert_eq!(shop.stock(id).await, (5, 0));
    let other = json!({"delta": 4, "reason": "made"});
    assert_eq!(post(&path, &other).await.status, 422);
    let bare = admin.post(&path, &change).await;
    assert_eq!(bare.status, 200, "{}", bare.text);
    assert_eq!(shop.stock(id).await, (8, 0));
}

#[tokio::test]
async fn products_are_copied_changed_by_many_and_their_images_moved() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    shop.stocks_with("Sunrise", 3, json!({"description": "Red"}))
        .await;
    shop.stocks("Turtle", 9).await;
    let copy = |key: &'static str| {
        let headers = [("idempotency-key", key)];
        let admin = admin.clone();
        async move {
            admin
                .send(
                    Method::POST,
                    "/api/admin/products/sunrise/duplicate/",
                    &headers,
                    None::<String>,
                )
                .await
        }
    };
    let first = copy("one").await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert_eq!(
        (
            &first.json["name"],
            &first.json["is_draft"],
            &first.json["on_hand"],
            &first.json["description"]
        ),
        (
            &json!("Sunrise (copy)"),
            &json!(true),
            &json!(0),
            &json!("Red")
        )
    );
    assert_eq!(
        copy("one").await.json["id"],
        first.json["id"],
        "the same copy"
    );
    assert_ne!(copy("two").await.json["id"], first.json["id"]);
    let path = "/api/admin/products/sunrise/duplicate/";
    let key = [("idempotency-key", "one")];
    let another = shop.admin(&[Scope::Catalog]).await;
    rename_newest_token(&shop).await;
    let theirs = another.send(Method::POST, path, &key, None::<String>).await;
    assert_eq!(theirs.status, 201, "{}", theirs.text);
    assert_ne!(
        theirs.json["id"], first.json["id"],
        "another's key is another"
    );
    let other = admin
        .send(
            Method::POST,
            "/api/admin/products/turtle/duplicate/",
            &[("idempotency-key", "one")],
            None::<String>,
        )
        .await;
    assert_eq!(other.status, 422, "{}", other.text);
    assert_eq!(
        act(&admin, "/api/admin/products/none/duplicate/")
            .await
            .status,
        404
    );

    // All or none.
    let many = |action: &str, ids: &[&str]| {
        let (admin, body) = (admin.clone(), json!({"action": action, "ids": ids}));
        async move {
            admin
                .send_json(Method::PATCH, "/api/admin/products/", &body)
                .await
        }
    };
    assert_eq!(many("archive", &["sunrise", "none"]).await.status, 404);
    assert_eq!(shop.client.get("/api/products/sunrise/").await.status, 200);
    let archived = ok(many("archive", &["turtle", "sunrise", "turtle"]).await).await;
    assert_eq!(
        (&archived["count"], &archived["results"][0]["is_active"]),
        (&json!(2), &json!(false))
    );
    assert_eq!(shop.client.get("/api/products/").await.json["count"], 0);
    ok(many("restore", &["turtle", "sunrise"]).await).await;
    shop.run_jobs().await;
    assert_eq!(
        ok(many("sync", &["turtle"]).await).await["results"][0]["stripe"]["status"],
        "pending"
    );
    assert_eq!(many("sell", &[]).await.field_errors(), ["action", "ids"]);

    assert_eq!(
        admin.get("/api/admin/products/?running_out=3").await.ids(),
        [] as [Value; 0]
    );
    let stock = shop.admin(&[Scope::Stock]).await;
    let lost = json!({"delta": -2, "reason": "lost"});
    ok(stock.post("/api/products/sunrise/stock/", &lost).await).await;
    assert_eq!(
        admin.get("/api/admin/products/?running_out=2").await.ids(),
        ["sunrise"]
    );
    assert_eq!(
        admin
            .get("/api/admin/products/?is_active=true&is_draft=false&ordering=-available")
            .await
            .ids(),
        ["turtle", "sunrise"]
    );
    assert_eq!(
        admin.get("/api/admin/products/?running_out=x").await.json["code"],
        "invalid_filter"
    );

    let (a, b) = (
        shop.keeps(&jpeg(40, 30)).await,
        shop.keeps(&jpeg(30, 40)).await,
    );
    let path = "/api/admin/products/sunrise/images/";
    let images = |answer: Value| -> Vec<Value> {
        answer["images"]
            .as_array()
            .expect("images")
            .iter()
            .map(|image| image["url"].clone())
            .collect()
    };
    let before = forget_log(&shop).await;
    for _ in 0..2 {
        let added = ok(admin.post(path, &json!({"images": [a, b]})).await).await;
        assert_eq!(images(added).len(), 2);
    }
    let order = images(ok(admin.get("/api/admin/products/sunrise/").await).await);
    let turned: Vec<Value> = order.iter().rev().cloned().collect();
    assert_eq!(
        images(ok(put(&admin, path, &json!({"images": [b]})).await).await),
        turned
    );
    assert_eq!(
        images(ok(act(&admin, &format!("{path}{a}/up/")).await).await),
        order
    );
    assert_eq!(
        images(ok(act(&admin, &format!("{path}{a}/up/")).await).await),
        order,
        "the first stays"
    );
    assert_eq!(
        images(ok(act(&admin, &format!("{path}{a}/down/")).await).await),
        turned
    );
    assert_eq!(
        images(ok(delete(&admin, &format!("{path}{a}/")).await).await).len(),
        1
    );
    assert_eq!(
        images(ok(delete(&admin, &format!("{path}{a}/")).await).await).len(),
        1,
        "safe to repeat"
    );
    let log: Vec<String> = logged(&shop)
        .await
        .drain(before..)
        .map(|entry| entry.0)
        .collect();
    assert_eq!(log, ["product.images"; 5]);
    for (body, fields) in [
        (json!({"images": []}), vec!["images"]),
        (json!({"images": ["x", "0".repeat(64)]}), vec!["images[0]"]),
        (json!({"images": ["0".repeat(64)]}), vec!["images"]),
    ] {
        assert_eq!(
            admin.post(path, &body).await.field_errors(),
            fields,
            "{body}"
        );
    }
    assert_eq!(
        put(&admin, path, &json!({"images": [b, a]}))
            .await
            .field_errors(),
        ["images[1]"]
    );
    assert_eq!(delete(&admin, &format!("{path}x/")).await.status, 404);
    assert_eq!(
        act(&admin, &format!("/api/admin/products/none/images/{a}/up/"))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn categories_have_an_order_and_shoppers_see_them_by_name() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let make = async |name: &str| {
        ok(admin.post("/api/categories/", &json!({"name": name})).await).await["id"].clone()
    };
    let (suns, moons, stars) = (make("Suns").await, make("Moons").await, make("Stars").await);
    shop.stocks_with("Sunrise", 3, json!({"category": suns}))
        .await;
    let names = async || {
        admin
            .get("/api/admin/categories/")
            .await
            .each("results", "name")
    };
    assert_eq!(
        names().await,
        ["Moons", "Stars", "Suns"],
        "by name, until somebody puts them in order"
    );
    let ordered = ok(put(
        &admin,
        "/api/admin/categories/",
        &json!({"ids": [suns, moons]}),
    )
    .await)
    .await;
    assert_eq!(ordered["results"][0]["name"], "Suns");
    assert_eq!(names().await, ["Suns", "Moons", "Stars"]);
    ok(act(&admin, &format!("/api/admin/categories/{stars}/up/")).await).await;
    ok(act(&admin, &format!("/api/admin/categories/{suns}/up/")).await).await;
    ok(act(&admin, &format!("/api/admin/categories/{suns}/down/")).await).await;
    assert_eq!(names().await, ["Stars", "Suns", "Moons"]);
    make("Ants").await;
    assert_eq!(
        names().await,
        ["Stars", "Suns", "Moons", "Ants"],
        "a new one comes last"
    );
    let list = admin.get("/api/admin/categories/").await.json;
    assert_eq!(
        (&list["count"], &list["results"][1]["active_products"]),
        (&json!(4), &json!(1))
    );
    let shown = shop.client.get("/api/categories/").await;
    assert_eq!(
        shown.each("results", "name"),
        ["Ants", "Moons", "Stars", "Suns"]
    );
    assert_eq!(shown.each("results", "position"), [4, 3, 1, 2]);
    // What was read comes back, and moves nothing.
    let one = shop
        .client
        .get(&format!("/api/categories/{suns}/"))
        .await
        .json;
    assert_eq!(
        put(&admin, &format!("/api/categories/{suns}/"), &one)
            .await
            .status,
        200
    );
    assert_eq!(names().await, ["Stars", "Suns", "Moons", "Ants"]);
    for (ids, fields) in [
        (json!([99]), vec!["ids[0]"]),
        (json!([suns, suns]), vec!["ids[1]"]),
        (json!(["x"]), vec!["ids[0]"]),
    ] {
        assert_eq!(
            put(&admin, "/api/admin/categories/", &json!({"ids": ids}))
                .await
                .field_errors(),
            fields
        );
    }
    assert_eq!(
        act(&admin, "/api/admin/categories/99/up/").await.status,
        404
    );
    // The order goes along with the file.
    let mut conn = shop.db.acquire().await.expect("a connection");
    let file = spirit_beads::products::export(&mut conn)
        .await
        .expect("a file");
    let other = Shop::open().await;
    other.imports(&file).await.expect("an import");
    let admin = other.admin(&[Scope::Catalog]).await;
    assert_eq!(
        admin
            .get("/api/admin/categories/")
            .await
            .each("results", "name"),
        ["Stars", "Suns", "Moons", "Ants"]
    );
}

/// Tokens of the tests share a name. This one's is its own.
async fn rename_newest_token(shop: &Shop) {
    sqlx::query(
        "update api_tokens set name = 'another' where id = (select max(id) from api_tokens)",
    )
    .execute(&shop.db)
    .await
    .expect("the token");
}
