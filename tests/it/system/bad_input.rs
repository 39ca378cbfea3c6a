//! P8: bad input gets a clear 4xx that names the field, nothing is half done, and no request of any shape gets a 5xx.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use crate::support::{Answer, Shop, WEBHOOK_SECRET, send_raw, sign};

const CHECKOUT: &str = "/api/payments/create-checkout-session/";
const WEBHOOK: &str = "/api/payments/webhook/";
const SALES: &str = "/api/admin/orders/";
const PRODUCTS: &str = "/api/products/";
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// Nothing is ordered, nothing held, nothing taken.
async fn assert_untouched(shop: &Shop) {
    assert_eq!(shop.statuses().await, [""; 0]);
    let odd: i64 = sqlx::query_scalar("select count(*) from products where reserved <> 0")
        .fetch_one(&shop.db)
        .await
        .expect("the products");
    assert_eq!(odd, 0, "products with a hold");
    shop.audit().await;
}

/// A failure tells itself as JSON: a sentence for people, a word for programs.
fn assert_told(answer: &Answer, what: &str) {
    assert!(answer.status < 500, "{what}: {answer:?}");
    if answer.status >= 400 && answer.header("content-encoding").is_empty() {
        assert!(answer.json["code"].is_string(), "{what}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/json", "{what}");
    }
}

#[tokio::test]
async fn what_is_no_json_is_refused_in_the_old_words() {
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

#[tokio::test]
async fn a_body_too_large_is_413() {
    let shop = Shop::open().await;
    let admin = shop.admin(&Scope::ALL).await;
    let body = format!(
        "{{\"items\":[],\"success_url\":\"{}\"}}",
        "x".repeat(1024 * 1024)
    );
    for path in [CHECKOUT, SALES, PRODUCTS] {
        let answer = admin
            .send(Method::POST, path, JSON, Some(body.clone()))
            .await;
        assert_eq!(answer.status, 413, "{path}");
        assert_eq!(answer.json["code"], "payload_too_large");
        assert!(answer.json["detail"].is_string());
    }
    // In chunks, its size is not known before.
    let head = format!(
        "POST {CHECKOUT} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let chunked = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let (status, _, text) = send_raw(&shop.address, chunked.as_bytes()).await;
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("payload_too_large"), "{text}");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408() {
    let shop = Shop::open_with(&[("REQUEST_TIMEOUT_SECONDS", "1")]).await;
    let request = format!(
        "POST {CHECKOUT} HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{{\"items\":"
    );
    let (status, _, text) = send_raw(&shop.address, request.as_bytes()).await;
    assert_eq!(status, 408, "{text}");
    assert!(text.contains("request_timeout"), "{text}");
}

#[tokio::test]
async fn other_methods_are_405_and_say_which_are_allowed() {
    let shop = Shop::open().await;
    for (path, allowed) in [
        ("/api/products/", "GET,HEAD,POST"),
        ("/api/products/batch/", "GET,HEAD"),
        ("/api/products/sunrise/", "DELETE,GET,HEAD,PATCH,PUT"),
        ("/api/products/sunrise/check_availability/", "GET,HEAD"),
        ("/api/products/sunrise/archive/", "POST"),
        ("/api/categories/", "GET,HEAD,POST"),
        ("/api/categories/1/", "DELETE,GET,HEAD,PATCH,PUT"),
        (CHECKOUT, "POST"),
        (WEBHOOK, "POST"),
        ("/api/payments/cancel/x/", "GET,HEAD,POST"),
        ("/api/orders/by-session/cs_1/", "GET,HEAD"),
        (SALES, "GET,HEAD,POST"),
        ("/api/admin/orders/SB-1/", "GET,HEAD"),
        ("/healthz", "GET,HEAD"),
        ("/readyz", "GET,HEAD"),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
            if allowed.split(',').any(|known| known == method) {
                continue;
            }
            let verb = Method::from_bytes(method.as_bytes()).expect("a method");
            let answer = shop.client.send(verb, path, JSON, Some("{}")).await;
            assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text);
            let detail = format!("Method \"{method}\" not allowed.");
            assert_eq!(answer.json["detail"], detail, "{method} {path}");
            assert_eq!(answer.json["code"], "method_not_allowed");
            let mut said: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
            said.sort_unstable();
            assert_eq!(said.join(","), allowed, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn other_content_types_are_415_in_the_old_words() {
    let shop = Shop::open().await;
    let admin = shop.admin(&Scope::ALL).await;
    let long = format!("text/{}", "x".repeat(500));
    for path in [CHECKOUT, SALES, PRODUCTS] {
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonp",
            "json",
            "",
            long.as_str(),
        ] {
            let answer = admin
                .send(
                    Method::POST,
                    path,
                    &[("content-type", kind)],
                    Some("{\"items\":[]}"),
                )
                .await;
            assert_eq!(answer.status, 415, "{path} {kind}: {}", answer.text);
            let detail = format!("Unsupported media type \"{kind}\" in request.");
            assert_eq!(answer.json["detail"], detail);
            assert_eq!(answer.json["code"], "unsupported_media_type");
        }
        let charset = [("content-type", "Application/JSON; charset=utf-8")];
        let answer = admin
            .send(Method::POST, path, &charset, Some("{\"items\":[]}"))
            .await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn reads_do_not_look_at_a_body() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 3).await;
    for path in [
        PRODUCTS,
        "/api/products/sunrise/",
        "/api/products/batch/?ids=sunrise",
        "/api/products/sunrise/check_availability/",
        "/api/categories/",
        "/healthz",
    ] {
        let plain = shop.client.get(path).await;
        assert_eq!(plain.status, 200, "{path}");
        for body in [None, Some(""), Some("{"), Some("\0")] {
            let answer = shop.client.send(Method::GET, path, JSON, body).await;
            assert_eq!(
                (answer.status, &answer.json),
                (200, &plain.json),
                "{path} {body:?}"
            );
        }
    }
}

#[tokio::test]
async fn paths_that_name_nothing_are_404() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let admin = shop.admin(&Scope::ALL).await;
    let long = "x".repeat(10_000);
    for odd in [
        "%00",
        "sunrise%00",
        "%FF",
        "%C3%28",
        "a%2F..%2Fb",
        "..%2F..%2Fetc%2Fpasswd",
        "%2e%2e%2f",
        "%",
        "%zz",
        "'%20or%201=1--",
        "%F0%9F%94%A5",
        "-1",
        "0",
        "1e9",
        "99999999999999999999999",
        &long,
    ] {
        for path in [
            format!("/api/products/{odd}/"),
            format!("/api/products/{odd}/check_availability/"),
            format!("/api/categories/{odd}/"),
            format!("/api/orders/by-session/{odd}/"),
            format!("/api/payments/cancel/{odd}/"),
            format!("/api/admin/products/{odd}/"),
            format!("/api/admin/orders/{odd}/"),
            format!("/api/admin/orders/SB-{odd}/"),
            format!("/media/{odd}"),
            format!("/{odd}"),
        ] {
            let answer = admin.get(&path).await;
            assert_eq!(answer.status, 404, "{path}: {}", answer.text);
            assert_eq!(answer.json["code"], "not_found", "{path}");
            assert!(answer.json["detail"].is_string(), "{path}");
        }
        for (method, path) in [
            (Method::PATCH, format!("/api/products/{odd}/")),
            (Method::DELETE, format!("/api/products/{odd}/")),
            (Method::POST, format!("/api/products/{odd}/archive/")),
            (Method::PATCH, format!("/api/categories/{odd}/")),
        ] {
            let answer = admin.send_json(method, &path, &json!({})).await;
            assert_eq!(answer.status, 404, "{path}: {}", answer.text);
            assert_told(&answer, &path);
        }
    }
    assert_eq!(shop.stock(&piece).await, (3, 0));
}

#[tokio::test]
async fn unknown_routes_are_404_json() {
    let shop = Shop::open().await;
    for path in [
        "/",
        "//",
        "/api",
        "/api/",
        "/api//products/",
        "/api/nothing/",
        "/admins/",
        "/.env",
        "/.git/config",
        "/products/",
        "/api/products/sunrise/nothing/",
        "/media",
        "/media/",
        "/media/nothing.png",
        "/api/payments/",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = shop
                .client
                .send(method.clone(), path, JSON, Some("{}"))
                .await;
            if method != Method::GET && path.starts_with("/media") {
                assert_told(&answer, path);
                continue;
            }
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
            assert_eq!(answer.json["code"], "not_found", "{method} {path}");
        }
    }
    assert_eq!(
        shop.client.get("/api/nothing/").await.json["detail"],
        "Not found."
    );
}

#[tokio::test]
async fn bytes_that_no_client_sends_are_no_server_error() {
    let shop = Shop::open().await;
    let rest = "host: shop\r\nconnection: close\r\n";
    let head = |line: &[u8], headers: &[u8]| -> Vec<u8> {
        [line, b" HTTP/1.1\r\n", rest.as_bytes(), headers, b"\r\n"].concat()
    };
    let cookie = [b"cookie: sb_checkout=".as_slice(), &[0xff; 40], b"\r\n"].concat();
    let crowded = "x-many: y\r\n".repeat(200);
    for request in [
        head(b"GET /api/products/\xff/", b""),
        head(b"GET /api/products/\0/", b""),
        head(b"GET /api/products/?search=\xff\xfe", b""),
        head(b"GET /api/products/?page=\0", b""),
        head(b"GET /api/products/?a=<>\"{}|^`", b""),
        head(b"GET /api/products/../products/", b""),
        head(b"GET /media/../../../../etc/passwd", b""),
        head(b"GET http://elsewhere.example/api/products/", b""),
        head(b"GET *", b""),
        head(b"OPTIONS *", b""),
        head(b"CONNECT shop:443", b""),
        head(b"GET", b""),
        head(b"\x16\x03\x01", b""),
        head(b"GET /api/products/", &cookie),
        head(b"GET /api/products/", b"host: other\r\n"),
        head(b"GET /api/products/", b"if-none-match: \xff\r\n"),
        head(b"GET /api/products/", b"authorization: Bearer \xff\r\n"),
        head(b"GET /api/products/", b"x-request-id: \xff\r\n"),
        head(b"GET /api/products/", b"accept-encoding: \xff, gzip;q=9\r\n"),
        head(b"GET /api/products/", b"content-length: -1\r\n"),
        head(b"GET /api/products/", crowded.as_bytes()),
        head(b"GET /api/admin/orders/", b"authorization: Bearer \0\r\n"),
        head(b"POST /api/payments/create-checkout-session/", b"content-type: \xff\r\ncontent-length: 2\r\n\r\n{}"),
        head(b"POST /api/payments/create-checkout-session/", b"idempotency-key: \xff\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"),
        head(b"POST /api/payments/webhook/", b"stripe-signature: \xff\r\ncontent-length: 2\r\n\r\n{}"),
        head(b"POST /api/payments/webhook/", b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        head(format!("GET /api/products/?search={}", "x".repeat(70_000)).as_bytes(), b""),
        b"GET /api/products/ HTTP/1.0\r\n\r\n".to_vec(),
        b"GET /api/products/ HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec(),
        b"\r\n\r\n\r\nGET / HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec(),
    ] {
        let (status, ..) = send_raw(&shop.address, &request).await;
        let shown = String::from_utf8_lossy(&request[..request.len().min(120)]).into_owned();
        assert!((200..500).contains(&status), "{shown}: {status}");
    }
}

#[tokio::test]
async fn odd_headers_are_refused_by_name() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 3).await;
    let admin = shop.admin(&Scope::ALL).await;
    let long = "k".repeat(256);
    let cart = json!({"items": [{"product_id": "sunrise", "quantity": 1}]}).to_string();
    let sale = json!({"lines": [{"product_id": "sunrise", "quantity": 1}]}).to_string();
    for (path, body) in [(CHECKOUT, cart), (SALES, sale)] {
        for key in ["", &long, "k\u{e9}"] {
            let headers = [
                ("content-type", "application/json"),
                ("idempotency-key", key),
            ];
            let answer = admin
                .send(Method::POST, path, &headers, Some(body.clone()))
                .await;
            assert_eq!(answer.status, 400, "{path} {key:?}: {}", answer.text);
            assert_eq!(answer.json["details"][0]["field"], "Idempotency-Key");
        }
    }
    for version in ["", "\"\"", "one", "W/\"1\"", "99999999999999999999"] {
        let headers = [("content-type", "application/json"), ("if-match", version)];
        let answer = admin
            .send(
                Method::PATCH,
                "/api/products/sunrise/",
                &headers,
                Some("{}"),
            )
            .await;
        assert_eq!(answer.status, 400, "{version:?}: {}", answer.text);
        assert_eq!(answer.json["details"][0]["field"], "If-Match");
    }
    assert_untouched(&shop).await;
}

#[tokio::test]
async fn no_route_answers_any_odd_request_with_a_server_error() {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 3).await;
    // It lives as long as the test, however many routes there are.
    let heartbeat = "insert into worker_heartbeats (worker, last_seen_at)
                     values (gen_random_uuid(), now() + interval '1 hour')";
    sqlx::query(heartbeat)
        .execute(&shop.db)
        .await
        .expect("a heartbeat");
    let admin = shop.admin(&Scope::ALL).await;
    let document = shop.client.get("/api/openapi.json").await.json;
    let mut routes: BTreeSet<String> = document["paths"]
        .as_object()
        .expect("paths")
        .keys()
        .cloned()
        .collect();
    assert!(routes.len() >= 15, "{routes:?}");
    routes.extend(["/healthz", "/readyz", "/media/x.png", "/nothing"].map(str::to_owned));
    let fill = |route: &str, with: &str| {
        let mut path = String::new();
        let mut rest = route;
        while let Some((before, after)) = rest.split_once('{') {
            path.push_str(before);
            path.push_str(with);
            rest = after.split_once('}').map_or("", |(_, rest)| rest);
        }
        path + rest
    };
    let headers: [&[(&str, &str)]; 7] = [
        &[],
        JSON,
        &[("content-type", "text/plain"), ("accept", "text/html")],
        &[
            ("accept-encoding", "gzip"),
            ("range", "bytes=9-1"),
            ("if-none-match", "*"),
        ],
        &[
            ("content-type", "application/json"),
            ("idempotency-key", "k"),
            ("if-match", "\"1\""),
        ],
        &[
            ("origin", "null"),
            ("cookie", "sb_checkout=x; ;=;a"),
            ("cf-ipcountry", "\u{e9}"),
        ],
        &[
            ("transfer-encoding", "chunked"),
            ("content-type", "application/json"),
        ],
    ];
    let mut paths = BTreeSet::new();
    for route in &routes {
        paths.extend(["sunrise", "%00", "%FF"].map(|with| fill(route, with)));
    }
    // DELETE comes last, or the others would find nothing.
    for method in [
        "GET", "HEAD", "OPTIONS", "BREW", "PUT", "PATCH", "POST", "DELETE",
    ] {
        let verb = Method::from_bytes(method.as_bytes()).expect("a method");
        for path in &paths {
            for (at, headers) in headers.iter().enumerate() {
                let path = match at % 2 {
                    0 => path.clone(),
                    _ => format!("{path}/?page=%FF&ids=%00&page_size=x&search=%27&format=json"),
                };
                let body = (at > 0).then_some("{\"a\":[null]}");
                let answer = admin.send(verb.clone(), &path, headers, body).await;
                let what = format!("{method} {path} {headers:?}");
                assert!(answer.status < 500, "{what}: {answer:?}");
                if !matches!(method, "HEAD" | "OPTIONS") {
                    assert_told(&answer, &what);
                }
            }
        }
    }
    shop.audit().await;
}

#[tokio::test]
async fn odd_webhooks_are_no_server_error() {
    let shop = Shop::open().await;
    let now = chrono::Utc::now().timestamp();
    let deep = [
        "{\"id\":\"evt_deep\",\"type\":\"a\",\"data\":".to_owned(),
        "[".repeat(100_000),
        "]".repeat(100_000),
        "}".to_owned(),
    ]
    .concat();
    let long = "x".repeat(256);
    // Signed, and an event by its envelope, however deep the rest is: kept, and of no interest to a shop.
    let signature = sign(WEBHOOK_SECRET, now, deep.as_bytes());
    let headers = [("stripe-signature", signature.as_str())];
    let taken = shop
        .client
        .send(Method::POST, WEBHOOK, &headers, Some(deep))
        .await;
    assert_eq!((taken.status, &taken.json["received"]), (200, &json!(true)));

    for (at, body) in [
        json!({"id": 7, "type": "a"}).to_string(),
        json!({"id": "", "type": "a"}).to_string(),
        json!({"id": "evt\u{0}", "type": "a"}).to_string(),
        json!({"id": long, "type": "a"}).to_string(),
        json!({"id": "evt_1", "type": long}).to_string(),
        json!({"id": "evt_1"}).to_string(),
    ]
    .iter()
    .enumerate()
    {
        let signature = sign(WEBHOOK_SECRET, now, body.as_bytes());
        let headers = [("stripe-signature", signature.as_str())];
        let answer = shop
            .client
            .send(Method::POST, WEBHOOK, &headers, Some(body.clone()))
            .await;
        assert_eq!(answer.status, 400, "{at}: {}", answer.text);
        assert_told(&answer, WEBHOOK);
    }
    // An event is one by its envelope; what else it holds may be anything.
    for kind in EVENTS {
        for (at, object) in [
            json!(null),
            json!(7),
            json!([]),
            json!({}),
            json!({"id": 7, "payment_intent": 7, "status": {}, "metadata": null}),
            json!({"id": "cs_\u{0}", "payment_intent": {"id": ""}, "amount_total": 1e300, "client_reference_id": "\u{0}"}),
            json!({"id": "x".repeat(100_000), "payment_intent": "x".repeat(100_000), "status": "failed", "amount": -1}),
            json!({"id": "re_1", "payment_intent": "pi_1", "status": "failed", "amount": i64::MAX}),
            json!({"id": "ch_1", "payment_intent": "pi_1", "amount_refunded": i64::MIN}),
            json!({"id": "dp_1", "payment_intent": "pi_1", "status": "\u{0}", "reason": "\u{0}"}),
        ].into_iter().enumerate() {
            let id = format!("evt_{}", uuid::Uuid::new_v4().simple());
            let created = [json!(null), json!(i64::MAX), json!("now")][at % 3].clone();
            let event =
                json!({"id": id, "type": kind, "created": created, "data": {"object": object}});
            let answer = shop.webhook(&event).await;
            assert_eq!(answer.status, 200, "{event}: {}", answer.text);
        }
    }
    assert_untouched(&shop).await;
}

/// The types that we act on, and one that nobody knows.
pub const EVENTS: [&str; 19] = [
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "charge.refunded",
    "charge.refund.updated",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "radar.early_fraud_warning.created",
    "radar.early_fraud_warning.updated",
    "review.opened",
    "review.closed",
    "a.type.of.next.year",
];
