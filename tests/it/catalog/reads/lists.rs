//! The list of products: its keys, pages, links and formats.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::{expect_detail, expect_invalid_page, piece, shop_with, shop_with_twins};
use crate::support::Shop;

// A1: the list.

#[tokio::test]
async fn a_list_shows_thirteen_keys_in_their_order() {
    let shop = shop_with(&[
        piece(
            "342b8d27-c5ca-56d5-8ed6-c3a4ed959135",
            "Amber Arrow",
            json!({"slug": "amber-arrow-330", "price": 4710, "category_id": 1, "inventory_count": 3,
                "primary_image": "products/bench-330-a.jpg", "secondary_image": "products/bench-330-b.jpg"}),
        ),
        piece(
            "b",
            "Émaux “Ünïq” ✨",
            json!({"slug": "emaux", "lighter_type": 2, "inventory_count": 0, "primary_image": ""}),
        ),
    ])
    .await;
    let answer = shop.client.get("/api/products/").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(
        answer.text,
        concat!(
            r#"{"count":2,"next":null,"previous":null,"results":["#,
            r#"{"id":"342b8d27-c5ca-56d5-8ed6-c3a4ed959135","name":"Amber Arrow","slug":"amber-arrow-330","#,
            r#""lighter_type":1,"lighter_type_display":"Classic BIC","price":4710,"category":1,"#,
            r#""category_name":"Infinite Path","is_sold_out":false,"inventory_count":3,"#,
            r#""primary_image":"/media/products/bench-330-a.jpg","#,
            r#""secondary_image":"/media/products/bench-330-b.jpg","is_in_stock":true,"images":[],"currency":"usd"},"#,
            r#"{"id":"b","name":"Émaux “Ünïq” ✨","slug":"emaux","lighter_type":2,"#,
            r#""lighter_type_display":"Mini BIC","price":4700,"category":null,"category_name":null,"#,
            r#""is_sold_out":true,"inventory_count":0,"primary_image":null,"secondary_image":null,"#,
            r#""is_in_stock":false,"images":[],"currency":"usd"}]}"#,
        )
    );
}

#[tokio::test]
async fn an_empty_shop_has_one_page() {
    let shop = Shop::open().await;
    let empty = r#"{"count":0,"next":null,"previous":null,"results":[]}"#;
    for path in [
        "/api/products/",
        "/api/products/?page=1",
        "/api/products/?page=last",
        "/api/products/?page=&search=x",
        "/api/categories/",
        "/api/categories/?page=last",
    ] {
        let answer = shop.client.get(path).await;
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (200, empty),
            "{path}"
        );
    }
    expect_invalid_page(&shop.client, "/api/products/?page=2").await;
    expect_invalid_page(&shop.client, "/api/categories/?page=2").await;
}

#[tokio::test]
async fn pages_hold_24_and_those_that_are_not_there_are_404() {
    let shop = shop_with_twins(60).await;
    for (page, size, first) in [
        ("", 24, "p000"),
        ("?page=1", 24, "p000"),
        ("?page=", 24, "p000"),
        ("?page=2", 24, "p024"),
        ("?page=3", 12, "p048"),
        ("?page=last", 12, "p048"),
        ("?page=%201%20", 24, "p000"),
    ] {
        let answer = shop.client.get(&format!("/api/products/{page}")).await;
        let ids = answer.ids();
        assert_eq!((ids.len(), &ids[0]), (size, &json!(first)), "{page}");
        assert_eq!(answer.json["count"], 60);
    }
    for page in [
        "0",
        "-1",
        "4",
        "abc",
        "1.5",
        "2147483648",
        "9223372036854775807",
        "99999999999999999999999999",
        "Last",
        "%00",
        "1%002",
        "0x1",
        "1e0",
        "last,last",
    ] {
        expect_invalid_page(&shop.client, &format!("/api/products/?page={page}")).await;
    }
}

#[tokio::test]
async fn page_size_is_1_to_100_or_else_24() {
    let shop = shop_with_twins(120).await;
    for (asked, size) in [
        ("1", 1),
        ("5", 5),
        ("24", 24),
        ("100", 100),
        ("0", 24),
        ("-5", 24),
        ("101", 24),
        ("100000", 24),
        ("abc", 24),
        ("", 24),
        ("1.5", 24),
        ("99999999999999999999", 24),
        ("%00", 24),
    ] {
        let path = format!("/api/products/?page_size={asked}");
        assert_eq!(shop.client.get(&path).await.ids().len(), size, "{asked}");
    }
    let last = shop
        .client
        .get("/api/products/?page_size=50&page=last")
        .await;
    assert_eq!(last.ids().len(), 20);
    expect_invalid_page(&shop.client, "/api/products/?page_size=50&page=4").await;
}

#[tokio::test]
async fn links_keep_every_parameter_sorted_and_encoded() {
    let shop = shop_with_twins(60).await;
    let base = &shop.address;
    for (query, next, previous) in [
        ("", Some("?page=2"), None),
        ("?page=1", Some("?page=2"), None),
        ("?page=2", Some("?page=3"), Some("")),
        ("?page=3", None, Some("?page=2")),
        ("?page=last", None, Some("?page=2")),
        (
            "?page=2&lighter_type__in=1,2&category__in=1",
            Some("?category__in=1&lighter_type__in=1%2C2&page=3"),
            Some("?category__in=1&lighter_type__in=1%2C2"),
        ),
        // The storefront's own form.
        (
            "?page=1&page_size=24&lighter_type=1&category=1",
            Some("?category=1&lighter_type=1&page=2&page_size=24"),
            None,
        ),
        // A parameter given twice stays twice, unknown ones stay, too.
        (
            "?lighter_type=2&utm=a+b%26&lighter_type=1&%C3%A9=%E2%9C%A8&empty=",
            Some("?empty=&lighter_type=2&lighter_type=1&page=2&utm=a+b%26&%C3%A9=%E2%9C%A8"),
            None,
        ),
        ("?page_size=100000", Some("?page=2&page_size=100000"), None),
        ("?format=json", Some("?format=json&page=2"), None),
    ] {
        let answer = shop.client.get(&format!("/api/products/{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text);
        let link = |query: Option<&str>| match query {
            Some(query) => json!(format!("{base}/api/products/{query}")),
            None => Value::Null,
        };
        assert_eq!(answer.json["next"], link(next), "{query}");
        assert_eq!(answer.json["previous"], link(previous), "{query}");
    }
    // A link leads where it says.
    let next = shop.client.get("/api/products/?page_size=25").await.json["next"].clone();
    let path = next.as_str().expect("a link").strip_prefix(base.as_str());
    let second = shop.client.get(path.expect("our own address")).await;
    assert_eq!(second.ids()[0], "p025");
    assert_eq!(
        second.json["previous"],
        json!(format!("{base}/api/products/?page_size=25"))
    );
    // Without its last slash the address is the same.
    let bare = shop.client.get("/api/products?page=2").await;
    assert_eq!(
        bare.json["previous"],
        json!(format!("{base}/api/products/"))
    );
}

#[tokio::test]
async fn addresses_are_built_from_the_host_header_alone() {
    let shop = shop_with_twins(30).await;
    let ask = async |headers: &[(&str, &str)]| {
        let answer = shop
            .client
            .send(Method::GET, "/api/products/", headers, None::<String>)
            .await;
        answer.json["next"].as_str().expect("a link").to_owned()
    };
    assert_eq!(
        ask(&[("host", "beads.test:81")]).await,
        "http://beads.test:81/api/products/?page=2"
    );
    let own = format!("{}/api/products/?page=2", shop.address);
    assert_eq!(ask(&[("x-forwarded-host", "evil.test")]).await, own);
    assert_eq!(ask(&[("forwarded", "host=evil.test")]).await, own);
}

#[tokio::test]
async fn addresses_have_the_scheme_that_a_trusted_proxy_names() {
    let ask = async |shop: &Shop, headers: &[(&str, &str)]| {
        let path = "/api/products/?page_size=1";
        let answer = shop.client.send(Method::GET, path, headers, None::<String>);
        answer.await.json["next"]
            .as_str()
            .expect("a link")
            .to_owned()
    };
    let shop = shop_with_twins(2).await;
    for (scheme, expected) in [
        ("https", "https://beads.test/"),
        ("HTTPS, http", "https://beads.test/"),
        ("http", "http://beads.test/"),
        ("javascript", "http://beads.test/"),
    ] {
        let headers = [("host", "beads.test"), ("x-forwarded-proto", scheme)];
        let next = ask(&shop, &headers).await;
        assert!(next.starts_with(expected), "{scheme}: {next}");
    }
    // A stranger's word counts for nothing.
    let shop = Shop::open_with(&[("TRUSTED_PROXIES", "192.0.2.1")]).await;
    shop.stocks("Sunrise", 1).await;
    shop.stocks("Sunset", 1).await;
    let next = ask(&shop, &[("x-forwarded-proto", "https")]).await;
    assert!(next.starts_with("http://"), "{next}");
}

#[tokio::test]
async fn walking_all_pages_meets_every_product_once_in_every_order() {
    let shop = shop_with_twins(60).await;
    for ordering in [
        "",
        "name",
        "-name",
        "price",
        "-price",
        "created_at",
        "-created_at",
        "lighter_type",
        "-lighter_type",
        "price,-name",
        "-price,created_at,lighter_type",
        "nonsense",
    ] {
        let mut seen: Vec<Value> = Vec::new();
        let mut path = format!("/api/products/?ordering={ordering}&page_size=13");
        loop {
            let answer = shop.client.get(&path).await;
            seen.extend(answer.ids());
            match answer.json["next"].as_str() {
                Some(next) => path = next.replacen(&shop.address, "", 1),
                None => break,
            }
        }
        let different: HashSet<&str> = seen.iter().filter_map(Value::as_str).collect();
        assert_eq!((seen.len(), different.len()), (60, 60), "{ordering}");
        // All else being equal, it is the id that decides, one way or the other.
        let mut sorted = seen.clone();
        sorted.sort_by_key(|id| id.as_str().map(str::to_owned));
        let descending: Vec<Value> = sorted.iter().rev().cloned().collect();
        assert!(seen == sorted || seen == descending, "{ordering}");
    }
}

#[tokio::test]
async fn json_is_the_only_format() {
    let shop = shop_with(&[piece("a", "A", json!({}))]).await;
    for path in [
        "/api/products/",
        "/api/products/a/",
        "/api/products/a/check_availability/",
        "/api/categories/",
        "/api/categories/1/",
    ] {
        assert_eq!(
            shop.client.get(&format!("{path}?format=json")).await.status,
            200,
            "{path}"
        );
        expect_detail(
            &shop.client,
            &format!("{path}?format=xml"),
            404,
            "Not found.",
        )
        .await;
        expect_detail(
            &shop.client,
            &format!("{path}?format=api"),
            404,
            "Not found.",
        )
        .await;
    }
}
