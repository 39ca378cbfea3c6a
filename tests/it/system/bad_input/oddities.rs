//! Bytes, headers and webhooks that no client sends.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;
use spirit_beads::auth::Scope;

use super::{CHECKOUT, EVENTS, JSON, SALES, WEBHOOK, assert_told, assert_untouched};
use crate::support::{Shop, WEBHOOK_SECRET, send_raw, sign};

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
