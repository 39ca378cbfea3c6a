//! Sales and products with invalid fields.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::{PRODUCTS, SALES, assert_untouched};
use crate::support::Shop;

#[tokio::test]
async fn an_invalid_sale_names_each_field() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 3).await;
    shop.stocks("Euro", 3).await;
    sqlx::query("update products set currency = 'eur' where id = 'euro'")
        .execute(&shop.db)
        .await
        .expect("a product of before");
    let admin = shop.admin(&[Scope::OrdersWrite]).await;
    let line = json!({"product_id": "sunrise", "quantity": 1});
    let many: Vec<Value> = (0..10_000).map(|_| line.clone()).collect();
    for (body, field) in [
        (json!([]), "body"),
        (json!(7), "body"),
        (json!({}), "body"),
        (json!({"lines": {}}), "lines"),
        (json!({"lines": []}), "lines"),
        (json!({ "lines": many }), "lines"),
        (json!({"lines": [7]}), "lines[0]"),
        (json!({"lines": [line, {"quantity": 1}]}), "lines[1]"),
        (
            json!({"lines": [{"product_id": 7, "quantity": 1}]}),
            "lines[0].product_id",
        ),
        (
            json!({"lines": [{"product_id": "", "quantity": 1}]}),
            "lines[0].product_id",
        ),
        (
            json!({"lines": [{"product_id": "a\u{0}", "quantity": 1}]}),
            "lines[0].product_id",
        ),
        (
            json!({"lines": [line, {"product_id": "nowhere", "quantity": 1}]}),
            "lines[1].product_id",
        ),
        (json!({"lines": [line, line]}), "lines[1].product_id"),
        (
            json!({"lines": [line, {"product_id": "euro", "quantity": 1}]}),
            "lines[1].product_id",
        ),
        (
            json!({"lines": [{"product_id": "sunrise", "quantity": 1, "unit_price": -1}]}),
            "lines[0].unit_price",
        ),
        (
            json!({"lines": [{"product_id": "sunrise", "quantity": 1, "unit_price": 1e99}]}),
            "lines[0].unit_price",
        ),
        (json!({"lines": [line], "email": "nobody"}), "email"),
        (json!({"lines": [line], "email": "@"}), "email"),
        (
            json!({"lines": [line], "email": format!("{}@example.com", "x".repeat(250))}),
            "email",
        ),
        (
            json!({"lines": [line], "customer_name": "a\u{0}b"}),
            "customer_name",
        ),
        (
            json!({"lines": [line], "customer_name": "x".repeat(201)}),
            "customer_name",
        ),
        (json!({"lines": [line], "note": "x".repeat(2001)}), "note"),
        (json!({"lines": [line], "note": {}}), "note"),
        (json!({"lines": [line], "colour": "red"}), "colour"),
    ] {
        let answer = admin.post(SALES, &body).await;
        assert_eq!(answer.status, 400, "{field}: {}", answer.text);
        assert_eq!(answer.json["details"][0]["field"], field, "{}", answer.text);
        assert!(
            answer.json["error"]
                .as_str()
                .expect("a sentence")
                .starts_with(field)
        );
    }
    let short = json!({"lines": [{"product_id": "sunrise", "quantity": 4}]});
    let answer = admin.post(SALES, &short).await;
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (409, &json!("insufficient_inventory"))
    );
    assert_untouched(&shop).await;
    assert_eq!(shop.stock("sunrise").await, (3, 0));
}

#[tokio::test]
async fn an_invalid_product_names_each_field() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 3).await;
    let admin = shop.admin(&Scope::ALL).await;
    let before = admin.get("/api/admin/products/sunrise/").await.json;
    for (field, values) in [
        (
            "name",
            vec![
                json!(""),
                json!("x".repeat(256)),
                json!("a\u{0}b"),
                json!(7),
                json!(null),
            ],
        ),
        (
            "price",
            vec![
                json!(-1),
                json!(0),
                json!(49),
                json!(4700.5),
                json!(1e300),
                json!("4700"),
                json!(true),
                json!(null),
            ],
        ),
        (
            "lighter_type",
            vec![json!(0), json!(3), json!("1"), json!(null)],
        ),
        (
            "category",
            vec![
                json!("nowhere"),
                json!(-1),
                json!(9_999_999),
                json!([]),
                json!("a\u{0}b"),
            ],
        ),
        (
            "description",
            vec![json!("x".repeat(10_001)), json!("a\u{0}b"), json!(null)],
        ),
        ("is_active", vec![json!("true"), json!(1), json!(null)]),
        (
            "weight_ounces",
            vec![json!("heavy"), json!(-1), json!("1.234"), json!(1e300)],
        ),
        ("colour", vec![json!("red")]),
    ] {
        for value in values {
            let answer = admin
                .send_json(
                    Method::PATCH,
                    "/api/products/sunrise/",
                    &json!({ field: value }),
                )
                .await;
            assert_eq!(answer.status, 400, "{field} {value}: {}", answer.text);
            assert_eq!(answer.json["details"][0]["field"], field, "{}", answer.text);
        }
    }
    let answer = admin.post(PRODUCTS, &json!({})).await;
    let fields: Vec<&str> = answer.json["details"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|error| error["field"].as_str())
        .collect();
    assert_eq!(fields, ["name", "lighter_type", "price"]);
    for body in [json!([]), json!(7), json!("sunrise")] {
        let answer = admin.post(PRODUCTS, &body).await;
        assert_eq!(
            (answer.status, &answer.json["details"][0]["field"]),
            (400, &json!("body"))
        );
    }
    assert_eq!(admin.get("/api/admin/products/sunrise/").await.json, before);
}

/// Left to itself, serde reads an object's fields from a list by their places.
#[tokio::test]
async fn a_list_is_no_object() {
    let shop = Shop::open().await;
    let admin = shop.admin(&Scope::ALL).await;
    let piece = shop.stocks("Sunrise", 3).await;
    let chosen = json!({"chosen": {"shop_name": "Beads"}});
    let settings = "/api/admin/settings/";
    let set = async |body: Value| admin.send_json(Method::PUT, settings, &body).await;
    assert_eq!(set(chosen).await.status, 200);

    for (answer, field) in [
        (set(json!({"chosen": [null, null]})).await, "chosen"),
        (set(json!([null, {}])).await, "body"),
        (
            admin
                .post(SALES, &json!({"lines": [[piece, 1, 500]]}))
                .await,
            "lines[0]",
        ),
    ] {
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.json["details"][0]["field"], field, "{}", answer.text);
    }
    let now = admin.get(settings).await;
    assert_eq!(now.json["current"]["shop_name"], "Beads", "{}", now.text);
    assert_untouched(&shop).await;
}
