//! Carts that are none.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::{CHECKOUT, JSON, PRODUCTS, SALES, assert_untouched};
use crate::support::Shop;

#[tokio::test]
async fn malformed_json_is_refused_in_the_old_words() {
    let shop = Shop::open().await;
    let admin = shop.admin(&Scope::ALL).await;
    let deep = |open: &str, close: &str| {
        [open.repeat(100_000), "1".to_owned(), close.repeat(100_000)].concat()
    };
    let bodies: [Vec<u8>; 12] = [
        b"{".to_vec(),
        b"{\"items\":[}".to_vec(),
        b"{\"items\":[],}".to_vec(),
        b"{\"items\":NaN}".to_vec(),
        b"{\"items\":[]} {}".to_vec(),
        b"{'items':[]}".to_vec(),
        b"{\"items\":\"\0\"}".to_vec(),
        b"{\"items\":\"\xff\xfe\"}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"{\"items\":\"\\ud800\"}".to_vec(),
        deep("[", "]").into_bytes(),
        deep("{\"items\":", "}").into_bytes(),
    ];
    for path in [CHECKOUT, SALES, PRODUCTS, "/api/categories/"] {
        for body in &bodies {
            let answer = admin
                .send(Method::POST, path, JSON, Some(body.clone()))
                .await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]);
            assert_eq!(answer.status, 400, "{path} {shown}: {}", answer.text);
            if path != CHECKOUT && answer.json["code"] == "invalid" {
                // Others are read field by field, and what is wrong first is told first.
                assert!(answer.json["details"][0]["field"].is_string(), "{shown}");
                continue;
            }
            assert_eq!(answer.json["code"], "parse_error", "{path} {shown}");
            let detail = answer.json["detail"].as_str().expect("a sentence");
            assert!(detail.starts_with("JSON parse error - "), "{detail}");
        }
    }
    assert_untouched(&shop).await;
}

#[tokio::test]
async fn an_empty_cart_has_no_items() {
    let shop = Shop::open().await;
    let expected = json!({
        "error": "Validation failed", "message": "No items provided", "details": [], "code": "no_items",
    });
    for body in [
        "",
        "{}",
        "{\"items\":null}",
        "{\"items\":[]}",
        "{\"items\":{}}",
    ] {
        let answer = shop
            .client
            .send(Method::POST, CHECKOUT, JSON, Some(body))
            .await;
        assert_eq!((answer.status, &answer.json), (400, &expected), "{body}");
    }
    let bare = shop
        .client
        .send(Method::POST, CHECKOUT, &[], None::<String>)
        .await;
    assert_eq!((bare.status, bare.json), (400, expected));
}

#[tokio::test]
async fn a_body_that_is_no_cart_names_its_field() {
    let shop = Shop::open().await;
    let many: Vec<Value> = (0..10_000)
        .map(|n| json!({"product_id": n.to_string(), "quantity": 1}))
        .collect();
    let different: Vec<Value> = (0..101)
        .map(|n| json!({"product_id": n.to_string(), "quantity": 1}))
        .collect();
    for body in [
        json!({"items": "sunrise"}),
        json!({"items": 7}),
        json!({"items": true}),
        json!({"items": {"product_id": "sunrise", "quantity": 1}}),
        json!({ "items": many }),
        json!({ "items": different }),
    ] {
        let answer = shop.client.post(CHECKOUT, &body).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.json["code"], "invalid");
        assert_eq!(answer.json["details"][0]["field"], "items");
    }
    for body in [
        json!([]),
        json!("items"),
        json!(7),
        json!(null),
        json!([{"items": []}]),
    ] {
        let answer = shop.client.post(CHECKOUT, &body).await;
        assert_eq!(
            (answer.status, &answer.json["code"]),
            (400, &json!("no_items")),
            "{body}"
        );
    }
    assert_untouched(&shop).await;
}

#[tokio::test]
async fn every_invalid_line_is_reported_in_its_place_and_its_words() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 3).await;
    shop.stocks("Good", 9).await;
    shop.stocks_with("Archived", 3, json!({"is_active": false}))
        .await;
    shop.stocks_with("Flagged", 3, json!({"is_sold_out": true}))
        .await;
    shop.stocks("Empty", 0).await;
    let long = "x".repeat(101);
    let gone = "This product is no longer available";
    let missing = "Missing product_id or quantity";
    let table = [
        (
            json!({"product_id": "nowhere", "quantity": 1}),
            json!("nowhere"),
            "product_not_found",
            gone,
        ),
        (
            json!({"product_id": "sunrise"}),
            json!("sunrise"),
            "invalid_item_data",
            missing,
        ),
        (
            json!({"product_id": "sunrise", "quantity": null}),
            json!("sunrise"),
            "invalid_item_data",
            missing,
        ),
        (
            json!({"product_id": "sunrise", "quantity": 0}),
            json!("sunrise"),
            "invalid_item_data",
            missing,
        ),
        (
            json!({"product_id": "sunrise", "quantity": ""}),
            json!("sunrise"),
            "invalid_item_data",
            missing,
        ),
        (
            json!({"quantity": 1}),
            json!("unknown"),
            "invalid_item_data",
            missing,
        ),
        (
            json!({"product_id": null, "quantity": 1}),
            json!("unknown"),
            "invalid_item_data",
            missing,
        ),
        (
            json!({"product_id": "", "quantity": 1}),
            json!("unknown"),
            "invalid_item_data",
            missing,
        ),
        (
            json!({"product_id": 42, "quantity": 1}),
            json!(42),
            "product_not_found",
            gone,
        ),
        (
            json!({"product_id": 4.5, "quantity": 1}),
            json!(4.5),
            "product_not_found",
            gone,
        ),
        (
            json!({"product_id": "archived", "quantity": 1}),
            json!("archived"),
            "product_not_active",
            gone,
        ),
        (
            json!({"product_id": "flagged", "quantity": 1}),
            json!("flagged"),
            "product_sold_out",
            "This product is currently sold out",
        ),
        (
            json!({"product_id": "empty", "quantity": 1}),
            json!("empty"),
            "product_sold_out",
            "This product is currently sold out",
        ),
        (
            json!({"product_id": "sunrise", "quantity": 4}),
            json!("sunrise"),
            "insufficient_inventory",
            "Only 3 items available, but you requested 4",
        ),
        (
            json!({"product_id": "SUNRISE", "quantity": 1}),
            json!("SUNRISE"),
            "product_not_found",
            gone,
        ),
        (
            json!({"product_id": "sun\u{0}rise", "quantity": 1}),
            json!("sun\u{0}rise"),
            "product_not_found",
            gone,
        ),
        (
            json!({"product_id": long, "quantity": 1}),
            json!(long),
            "product_not_found",
            gone,
        ),
    ];
    let mut items = vec![json!({"product_id": "good", "quantity": 2})];
    items.extend(table.iter().map(|(line, ..)| line.clone()));
    items.push(json!({"product_id": "good", "quantity": 1.0}));
    let answer = shop.client.post(CHECKOUT, &json!({ "items": items })).await;
    let details: Vec<Value> = table
        .iter()
        .map(
            |(_, id, error, message)| json!({"product_id": id, "error": error, "message": message}),
        )
        .collect();
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.json,
        json!({
            "error": "Validation failed",
            "message": "Some items in your cart are no longer available",
            "details": details,
            "code": "cart_not_available",
        })
    );
    for (line, id, error, message) in &table {
        let answer = shop.client.post(CHECKOUT, &json!({"items": [line]})).await;
        assert_eq!(answer.status, 400, "{line}");
        let detail = json!([{"product_id": id, "error": error, "message": message}]);
        assert_eq!(answer.json["details"], detail, "{line}");
    }
    assert_untouched(&shop).await;
}

#[tokio::test]
async fn quantities_are_whole_numbers_from_1_to_999() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 2000).await;
    let admin = shop.admin(&[Scope::OrdersWrite]).await;
    let bad = [
        "-1",
        "-999999999999999999999",
        "1.5",
        "1e-9",
        "1000",
        "2147483648",
        "4294967297",
        "18446744073709551617",
        "1e300",
        "true",
        "false",
        "\"2\"",
        "\"\\u0000\"",
        "[]",
        "[1]",
        "{}",
    ];
    for quantity in bad {
        let body =
            format!("{{\"items\":[{{\"product_id\":\"sunrise\",\"quantity\":{quantity}}}]}}");
        let answer = shop
            .client
            .send(Method::POST, CHECKOUT, JSON, Some(body))
            .await;
        assert_eq!(answer.status, 400, "{quantity}: {}", answer.text);
        let detail = &answer.json["details"][0];
        assert_eq!(detail["product_id"], "sunrise", "{quantity}");
        assert_eq!(detail["error"], "invalid_item_data", "{quantity}");

        let body =
            format!("{{\"lines\":[{{\"product_id\":\"sunrise\",\"quantity\":{quantity}}}]}}");
        let answer = admin.send(Method::POST, SALES, JSON, Some(body)).await;
        assert_eq!(answer.status, 400, "{quantity}: {}", answer.text);
        assert_eq!(
            answer.json["details"][0]["field"], "lines[0].quantity",
            "{quantity}"
        );
    }
    // Each line is allowed, and together they are too many.
    let line = json!({"product_id": "sunrise", "quantity": 999});
    let answer = shop
        .client
        .post(CHECKOUT, &json!({"items": vec![line; 1000]}))
        .await;
    assert_eq!(answer.json["details"][0]["error"], "insufficient_inventory");
    assert_eq!(
        answer.json["details"][0]["message"],
        "Only 2000 items available, but you requested 999000"
    );
    assert_untouched(&shop).await;
}
