//! Credentials, origins and security headers.

use std::collections::BTreeSet;

use reqwest::Method;

use super::furnished;
use crate::support::Shop;

#[tokio::test]
async fn public_reads_ignore_credentials_they_do_not_need() {
    let shop = furnished().await;
    for path in [
        "/api/products/",
        "/api/products/sunrise/",
        "/api/products/batch/?ids=sunrise",
        "/api/products/sunrise/check_availability/",
        "/api/categories/",
        "/api/categories/1/",
        "/healthz",
    ] {
        let plain = shop.client.get(path).await;
        assert_eq!(plain.status, 200, "{path}");
        for value in ["Basic d3Jvbmc6d3Jvbmc=", "Bearer wrong", "junk", ""] {
            let answer = shop
                .client
                .send(
                    Method::GET,
                    path,
                    &[("authorization", value)],
                    None::<String>,
                )
                .await;
            assert_eq!(
                (answer.status, &answer.json),
                (200, &plain.json),
                "{path} {value:?}"
            );
        }
    }
}

#[tokio::test]
async fn allowed_origins_may_read_and_others_are_told_nothing() {
    let shop = Shop::open_with(&[("CORS_ALLOWED_ORIGINS", "https://shop.example")]).await;
    for origin in [
        "http://localhost:8080",
        "https://shop.example",
        &shop.address,
    ] {
        for path in ["/api/products/", "/api/nothing/", "/api/admin/orders/"] {
            let answer = shop
                .client
                .send(Method::GET, path, &[("origin", origin)], None::<String>)
                .await;
            assert_eq!(
                answer.header("access-control-allow-origin"),
                origin,
                "{path}"
            );
            assert_eq!(
                answer.header("access-control-allow-credentials"),
                "true",
                "{path}"
            );
            let vary = answer.headers.get_all("vary").iter();
            assert!(vary.into_iter().any(|value| value == "origin"), "{path}");
        }
        let asking = [
            ("origin", origin),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "content-type"),
        ];
        let answer = shop
            .client
            .send(Method::OPTIONS, "/api/products/", &asking, None::<String>)
            .await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""));
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
        assert_eq!(answer.header("access-control-max-age"), "86400");
        let listed = |name: &str| -> BTreeSet<String> {
            let list = answer.header(name).to_ascii_lowercase();
            list.split(',').map(|item| item.trim().to_owned()).collect()
        };
        let methods = ["delete", "get", "options", "patch", "post", "put"].map(str::to_owned);
        assert_eq!(
            listed("access-control-allow-methods"),
            BTreeSet::from(methods)
        );
        for header in [
            "accept",
            "authorization",
            "content-type",
            "user-agent",
            "x-csrftoken",
            "x-requested-with",
        ] {
            assert!(
                listed("access-control-allow-headers").contains(header),
                "{header}"
            );
        }
    }
    for origin in [
        "https://evil.example",
        "http://shop.example",
        "https://shop.example.evil.example",
        "https://shop.example:8443",
        "https://sub.shop.example",
        "http://localhost:8081",
        "null",
        "",
    ] {
        let asking = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
        ];
        for (method, headers) in [(Method::GET, &asking[..1]), (Method::OPTIONS, &asking[..])] {
            let answer = shop
                .client
                .send(method, "/api/products/", headers, None::<String>)
                .await;
            assert_eq!(answer.status, 200, "{origin}");
            let told: Vec<&str> = answer
                .headers
                .keys()
                .map(|name| name.as_str())
                .filter(|name| name.starts_with("access-control-"))
                .collect();
            assert!(told.is_empty(), "{origin}: {told:?}");
        }
    }
}

#[tokio::test]
async fn every_answer_has_the_security_headers_and_a_request_id() {
    let shop = furnished().await;
    for path in [
        "/api/products/",
        "/api/nothing/",
        "/api/admin/orders/",
        "/healthz",
        "/media/nothing.png",
        "/api/openapi.json",
        "/api/docs/",
        "/sandbox/",
    ] {
        let answer = shop.client.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path} {name}");
        }
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
    }
    let ids: BTreeSet<String> = [
        shop.client.get("/healthz").await,
        shop.client.get("/healthz").await,
    ]
    .iter()
    .map(|answer| answer.header("x-request-id").to_owned())
    .collect();
    assert_eq!(ids.len(), 2, "each request has its own");
    let answer = shop
        .client
        .send(
            Method::GET,
            "/healthz",
            &[("x-request-id", "from-the-proxy")],
            None::<String>,
        )
        .await;
    assert_eq!(answer.header("x-request-id"), "from-the-proxy");
    for odd in ["two words", &"x".repeat(65)] {
        let odd = [("x-request-id", odd)];
        let answer = shop
            .client
            .send(Method::GET, "/healthz", &odd, None::<String>)
            .await;
        assert_eq!(answer.header("x-request-id").len(), 36, "ours, not {odd:?}");
    }
}
