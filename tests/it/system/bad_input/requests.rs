//! Bodies, methods, content types and paths that no route takes.

use reqwest::Method;
use serde_json::json;
use spirit_beads::auth::Scope;

use super::{CHECKOUT, JSON, PRODUCTS, SALES, WEBHOOK, assert_told};
use crate::support::{Shop, send_raw};

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
