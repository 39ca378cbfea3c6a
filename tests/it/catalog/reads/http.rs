//! Slashes, HEAD, entity tags, compression, methods and headers of the catalog.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::json;

use super::{expect_detail, piece, shop_with, shop_with_twins};
use crate::support::{Answer, Shop};

// A0: what holds everywhere.

const READS: [&str; 6] = [
    "/api/products",
    "/api/products/a",
    "/api/products/a/check_availability",
    "/api/products/batch",
    "/api/categories",
    "/api/categories/1",
];

/// A path of [`READS`] with what it needs to answer 200.
fn whole(path: &str, slash: &str) -> String {
    let query = if path.ends_with("batch") {
        "?ids=a"
    } else {
        ""
    };
    format!("{path}{slash}{query}")
}

#[tokio::test]
async fn paths_answer_with_and_without_their_last_slash() {
    let shop = shop_with(&[piece("a", "A", json!({}))]).await;
    for path in READS {
        let with = shop.client.get(&whole(path, "/")).await;
        let without = shop.client.get(&whole(path, "")).await;
        assert_eq!((with.status, without.status), (200, 200), "{path}");
        assert_eq!(with.text, without.text, "{path}");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let shop = shop_with(&[piece("a", "A", json!({}))]).await;
    for path in READS {
        let path = whole(path, "/");
        let get = shop.client.get(&path).await;
        let head = shop
            .client
            .send(Method::HEAD, &path, &[], None::<String>)
            .await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        for name in ["content-type", "etag", "cache-control", "content-length"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
    }
    let head = shop
        .client
        .send(Method::HEAD, "/api/products/x/", &[], None::<String>)
        .await;
    assert_eq!(head.status, 404);
}

#[tokio::test]
async fn a_tag_saves_the_body_until_something_changes() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let ask = async |path: &str, tag: &str| -> Answer {
        shop.client
            .send(Method::GET, path, &[("if-none-match", tag)], None::<String>)
            .await
    };
    let paths = [
        "/api/products/",
        "/api/products/sunrise/",
        "/api/products/sunrise/check_availability/",
        "/api/products/batch/?ids=sunrise",
        "/api/categories/",
    ];
    let mut tags = Vec::new();
    for path in paths {
        let answer = shop.client.get(path).await;
        let tag = answer.header("etag").to_owned();
        assert!(tag.len() > 10, "{path}: {tag}");
        assert_eq!(
            answer.header("cache-control"),
            "private, no-cache",
            "{path}"
        );
        let vary: Vec<_> = answer
            .headers
            .get_all("vary")
            .iter()
            .filter_map(|v| v.to_str().ok())
            .collect();
        assert!(
            vary.join(",").to_lowercase().contains("cookie"),
            "{path}: {vary:?}"
        );
        let strong = tag.trim_start_matches("W/").to_owned();
        for known in [&tag, &strong, &format!("\"x\", {tag}"), "*"] {
            let same = ask(path, known).await;
            assert_eq!(
                (same.status, same.text.as_str()),
                (304, ""),
                "{path} {known}"
            );
            assert_eq!(same.header("etag"), tag);
            assert_eq!(same.header("cache-control"), "private, no-cache");
        }
        assert_eq!(ask(path, "\"x\"").await.status, 200);
        tags.push(tag);
    }
    // Another shopper holds a piece: what is available has changed.
    assert_eq!(shop.shopper().check_out(&[(&piece, 1)]).await.status, 200);
    for (path, tag) in paths.iter().zip(&tags).take(4) {
        let changed = ask(path, tag).await;
        assert_eq!(changed.status, 200, "{path}");
        assert_ne!(changed.header("etag"), tag, "{path}");
    }
    assert_eq!(ask(paths[4], &tags[4]).await.status, 304);
    // Who is refused is told so, tag or not, and nobody keeps it.
    let missing = ask("/api/products/nothing/", "*").await;
    assert_eq!(
        (missing.status, missing.header("cache-control")),
        (404, "no-store")
    );
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_can_read_it() {
    let shop = shop_with_twins(60).await;
    let ask = async |encoding: &str| {
        let headers = [("accept-encoding", encoding)];
        shop.client
            .send(Method::GET, "/api/products/", &headers, None::<String>)
            .await
    };
    let (plain, packed) = (ask("identity").await, ask("gzip, deflate, br").await);
    assert_eq!(
        (
            plain.header("content-encoding"),
            packed.header("content-encoding")
        ),
        ("", "gzip")
    );
    assert_eq!(plain.header("etag"), packed.header("etag"));
    let vary: Vec<_> = packed
        .headers
        .get_all("vary")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .collect();
    assert!(
        vary.join(",").to_lowercase().contains("accept-encoding"),
        "{vary:?}"
    );
}

#[tokio::test]
async fn reads_ignore_what_they_do_not_need() {
    let shop = shop_with(&[piece("a", "A", json!({}))]).await;
    for path in READS {
        let path = whole(path, "/");
        let plain = shop.client.get(&path).await;
        for headers in [
            // As the storefront sends it: a content type, and no content.
            &[("content-type", "application/json"), ("accept", "*/*")][..],
            &[("authorization", "Basic d3Jvbmc6d3Jvbmc=")],
            &[("authorization", "Bearer sbt_wrong")],
            &[("authorization", "nonsense")],
            &[("cookie", "sessionid=x; csrftoken=y; sb_checkout=forged")],
            &[("accept", "text/html")],
        ] {
            let answer = shop
                .client
                .send(Method::GET, &path, headers, None::<String>)
                .await;
            assert_eq!(
                (answer.status, &answer.text),
                (200, &plain.text),
                "{path} {headers:?}"
            );
        }
        let headers = [("content-type", "application/json")];
        let answer = shop
            .client
            .send(Method::GET, &path, &headers, Some("{nonsense"))
            .await;
        assert_eq!(
            (answer.status, &answer.text),
            (200, &plain.text),
            "{path} with a body"
        );
    }
}

#[tokio::test]
async fn wrong_methods_and_unknown_paths_are_json_too() {
    let shop = shop_with(&[piece("a", "A", json!({}))]).await;
    for (method, path, allowed) in [
        (Method::PUT, "/api/products/", &["GET", "HEAD", "POST"][..]),
        (Method::PATCH, "/api/products/", &["GET", "HEAD", "POST"]),
        (Method::DELETE, "/api/products/", &["GET", "HEAD", "POST"]),
        (
            Method::POST,
            "/api/products/a/",
            &["GET", "HEAD", "PUT", "PATCH", "DELETE"],
        ),
        (Method::POST, "/api/products/batch/", &["GET", "HEAD"]),
        (Method::DELETE, "/api/products/batch/", &["GET", "HEAD"]),
        (
            Method::POST,
            "/api/products/a/check_availability/",
            &["GET", "HEAD"],
        ),
        (Method::GET, "/api/products/a/archive/", &["POST"]),
        (Method::PUT, "/api/categories/", &["GET", "HEAD", "POST"]),
        (
            Method::POST,
            "/api/categories/1/",
            &["GET", "HEAD", "PUT", "PATCH", "DELETE"],
        ),
    ] {
        let answer = shop
            .client
            .send(method.clone(), path, &[], None::<String>)
            .await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(
            answer.json["detail"],
            format!("Method \"{method}\" not allowed.")
        );
        assert_eq!(answer.json["code"], "method_not_allowed");
        let told: HashSet<&str> = answer.header("allow").split(',').map(str::trim).collect();
        assert_eq!(told, allowed.iter().copied().collect(), "{method} {path}");
    }
    for path in [
        "/api/",
        "/api/nothing/",
        "/api/products/a/b/",
        "/api/products/a/b/c/",
        "/products/",
    ] {
        expect_detail(&shop.client, path, 404, "Not found.").await;
    }
}

#[tokio::test]
async fn answers_carry_the_old_services_headers() {
    let shop = shop_with(&[]).await;
    for path in ["/api/products/", "/api/products/x/", "/nothing/"] {
        let answer = shop.client.get(path).await;
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        assert!(answer.headers.get("set-cookie").is_none(), "{path}");
    }
}

// B0 to B3: the storefront's calls, email by email.

#[tokio::test]
async fn the_storefront_gets_what_it_reads() {
    let shop = shop_with(&[
        piece(
            "a",
            "A",
            json!({"category_id": 3, "price": 4799, "primary_image": "a.png"}),
        ),
        piece("b", "B", json!({"category_id": 3, "lighter_type": 2})),
        piece("c", "C", json!({"category_id": 1})),
    ])
    .await;
    let get = async |path: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("accept", "*/*"),
            ("origin", "http://localhost:8080"),
        ];
        let answer = shop
            .client
            .send(Method::GET, path, &headers, None::<String>)
            .await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            "http://localhost:8080"
        );
        answer
    };
    let page = get("/api/products/?page=1&page_size=24").await;
    assert_eq!(page.ids(), [json!("a"), json!("b"), json!("c")]);
    assert!(page.text.contains(r#""next":null"#));
    let page = get("/api/products/?page=1&page_size=24&lighter_type=1&category=3").await;
    assert_eq!(page.ids(), [json!("a")]);
    let entry = &page.json["results"][0];
    assert_eq!(
        (&entry["price"], &entry["primary_image"]),
        (&json!(4799), &json!("/media/a.png"))
    );
    assert_eq!(entry["lighter_type_display"], "Classic BIC");

    // Past the end: 404, with a text that holds "Invalid page".
    let past = get("/api/products/?page=2&page_size=24&lighter_type=1&category=3").await;
    assert_eq!(past.status, 404);
    assert!(past.text.contains("Invalid page"));

    let categories = get("/api/categories/").await;
    assert_eq!(
        categories.each("results", "slug"),
        ["ancestral-motifs", "infinite-path", "seasons"]
    );
    let batch = get("/api/products/batch/?ids=a%2Cb%2Cgone").await;
    assert_eq!(batch.status, 200);
    assert_eq!(batch.each("products", "inventory_count"), [1, 1]);
}

#[tokio::test]
async fn a_page_on_another_port_may_ask() {
    let shop = Shop::open().await;
    let preflight = async |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "content-type"),
        ];
        shop.client
            .send(Method::OPTIONS, "/api/products/", &headers, None::<String>)
            .await
    };
    let answer = preflight("http://localhost:8080").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "http://localhost:8080"
    );
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    assert!(
        answer
            .header("access-control-allow-headers")
            .contains("content-type")
    );
    assert!(
        answer
            .header("access-control-allow-methods")
            .contains("GET")
    );
    assert_eq!(answer.header("access-control-max-age"), "86400");
    let answer = preflight("http://evil.test").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .headers
            .keys()
            .all(|name| !name.as_str().starts_with("access-control-"))
    );
}
