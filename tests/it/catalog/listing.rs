//! The catalog as shoppers read it: docs/compatibility.md A0 to A5, B0 to B3 and B8.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Shop};

/// A row of a catalog file, with what the test cares about.
fn piece(id: &str, name: &str, fields: Value) -> Value {
    let mut row = json!({
        "id": id, "name": name, "lighter_type": 1, "price": 4700, "inventory_count": 1,
    });
    for (key, value) in fields.as_object().expect("an object") {
        row[key] = value.clone();
    }
    row
}

fn category(id: i64, name: &str) -> Value {
    json!({"id": id, "name": name})
}

/// A shop with these products and three categories: 1 Infinite Path, 3 Ancestral Motifs, 7 Seasons.
async fn shop_with(products: &[Value]) -> Shop {
    let shop = Shop::open().await;
    let categories = [
        category(1, "Infinite Path"),
        category(3, "Ancestral Motifs"),
        category(7, "Seasons"),
    ];
    let file = json!({"categories": categories, "products": products});
    shop.imports(&file).await.expect("a catalog");
    shop
}

/// `count` products that differ in nothing but id and slug.
async fn shop_with_twins(count: usize) -> Shop {
    let twin = |n| {
        // Numbered so that neither the order of insertion nor that of the file is the order of ids.
        let id = format!("p{:03}", (n * 37) % count);
        piece(
            &id,
            "Twin",
            json!({"slug": id, "category_id": 1, "created_at": "2026-01-03T21:49:29Z"}),
        )
    };
    let twins: Vec<Value> = (0..count).map(twin).collect();
    shop_with(&twins).await
}

async fn expect_detail(client: &Client, path: &str, status: u16, detail: &str) {
    let answer = client.get(path).await;
    assert_eq!(
        (answer.status, answer.json["detail"].as_str()),
        (status, Some(detail)),
        "{path}: {}",
        answer.text
    );
    assert!(
        answer.json["code"].is_string() && answer.json["error"].is_string(),
        "{path}: {}",
        answer.text
    );
    assert_eq!(answer.header("content-type"), "application/json", "{path}");
}

async fn expect_invalid_page(client: &Client, path: &str) {
    expect_detail(client, path, 404, "Invalid page.").await;
}

const NO_PRODUCT: &str = "No Product matches the given query.";

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
async fn filters_narrow_the_list() {
    let shop = shop_with(&[
        piece("a", "A", json!({"category_id": 1, "lighter_type": 1})),
        piece("b", "B", json!({"category_id": 1, "lighter_type": 2})),
        piece(
            "c",
            "C",
            json!({"category_id": 3, "lighter_type": 1, "inventory_count": 0}),
        ),
        piece(
            "d",
            "D",
            json!({"category_id": 3, "lighter_type": 2, "is_sold_out": true}),
        ),
        piece("e", "E", json!({"lighter_type": 2})),
        piece("off", "Off", json!({"category_id": 1, "is_active": false})),
    ])
    .await;
    for (query, found) in [
        ("", "abcde"),
        ("lighter_type=1", "ac"),
        ("lighter_type=2", "bde"),
        ("lighter_type=", "abcde"),
        ("lighter_type__in=1", "ac"),
        ("lighter_type__in=1,2", "abcde"),
        ("lighter_type__in=2,99,-1", "bde"),
        ("lighter_type__in=99", ""),
        ("lighter_type__in=2.0", "bde"),
        ("lighter_type__in=", "abcde"),
        ("category=1", "ab"),
        ("category=infinite-path", "ab"),
        ("category=7", ""),
        ("category=", "abcde"),
        ("category__in=1,3", "abcd"),
        ("category__in=1%2C3", "abcd"),
        ("category__in=ancestral-motifs,7", "cd"),
        ("category__in=1,1,infinite-path", "ab"),
        ("category__in=", "abcde"),
        ("category=1&lighter_type=2", "b"),
        ("category=1&category__in=1,3", "ab"),
        ("category=1&category__in=3", ""),
        ("is_sold_out=true", "cd"),
        ("is_sold_out=True", "cd"),
        ("is_sold_out=1", "cd"),
        ("is_sold_out=false", "abe"),
        ("is_sold_out=False", "abe"),
        ("is_sold_out=0", "abe"),
        ("is_sold_out=maybe", "abcde"),
        ("is_sold_out=TRUE", "abcde"),
        ("is_sold_out=", "abcde"),
        ("is_active=true", "abcde"),
        ("is_active=1", "abcde"),
        ("is_active=false", ""),
        ("is_active=False", ""),
        ("is_active=0", ""),
        ("is_active=maybe", "abcde"),
        ("lighter_type=2&lighter_type=1", "ac"),
        ("colour=red&price=1&slug=a", "abcde"),
    ] {
        let answer = shop.client.get(&format!("/api/products/?{query}")).await;
        let ids: String = answer.ids().iter().filter_map(Value::as_str).collect();
        assert_eq!(ids, found, "{query}");
        assert_eq!(answer.json["count"], found.len(), "{query}");
    }
    // A filter that finds nothing still has its page 1, and no other.
    expect_invalid_page(&shop.client, "/api/products/?category=7&page=2").await;
}

#[tokio::test]
async fn bad_filters_are_told_under_their_names_all_at_once() {
    let shop = shop_with(&[piece("a", "A", json!({}))]).await;
    let choice = |value: &str| {
        format!("Select a valid choice. {value} is not one of the available choices.")
    };
    let unknown = choice("That choice");
    for (query, field, sentence) in [
        ("lighter_type=3", "lighter_type", choice("3")),
        ("lighter_type=abc", "lighter_type", choice("abc")),
        ("lighter_type=0", "lighter_type", choice("0")),
        (
            "lighter_type__in=1,x",
            "lighter_type__in",
            "Enter a number.".to_owned(),
        ),
        (
            "lighter_type__in=nan",
            "lighter_type__in",
            "Enter a number.".to_owned(),
        ),
        ("category=99", "category", unknown.clone()),
        ("category=abc", "category", unknown.clone()),
        ("category=-1", "category", unknown.clone()),
        ("category=1.5", "category", unknown.clone()),
        ("category=%00", "category", unknown.clone()),
        ("category=99999999999999999999", "category", unknown.clone()),
        ("category__in=1,99", "category__in", unknown.clone()),
        (
            "category__in=1,no-such-slug",
            "category__in",
            unknown.clone(),
        ),
        ("category__in=1,%00", "category__in", unknown.clone()),
    ] {
        let answer = shop.client.get(&format!("/api/products/?{query}")).await;
        let expected = json!({"code": "invalid_filter", field: [sentence]});
        assert_eq!((answer.status, &answer.json), (400, &expected), "{query}");
    }
    // Two at once, known before and after the database is asked; the page is judged after them.
    let answer = shop
        .client
        .get("/api/products/?lighter_type=3&category=99&category__in=1,98&lighter_type__in=x&page=77")
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.json,
        json!({
            "code": "invalid_filter",
            "lighter_type": [choice("3")],
            "lighter_type__in": ["Enter a number."],
            "category": [unknown],
            "category__in": [unknown],
        })
    );
}

#[tokio::test]
async fn a_list_is_ordered_as_asked() {
    let shop = shop_with(&[
        piece(
            "1",
            "beta",
            json!({"price": 300, "lighter_type": 2, "created_at": "2026-01-01T00:00:00Z"}),
        ),
        piece(
            "2",
            "Alpha",
            json!({"price": 100, "lighter_type": 1, "created_at": "2026-01-03T00:00:00Z"}),
        ),
        piece(
            "3",
            "Älpha",
            json!({"price": 200, "lighter_type": 2, "created_at": "2026-01-02T00:00:00Z"}),
        ),
        piece(
            "4",
            "alpha",
            json!({"price": 100, "lighter_type": 2, "created_at": "2026-01-04T00:00:00Z"}),
        ),
    ])
    .await;
    for (ordering, ids) in [
        // By code points: capitals before small letters before accents.
        ("", "2413"),
        ("name", "2413"),
        ("-name", "3142"),
        ("price", "2431"),
        ("-price", "1342"),
        ("created_at", "1324"),
        ("-created_at", "4231"),
        ("lighter_type", "2134"),
        ("-lighter_type", "4312"),
        ("-lighter_type,price", "4312"),
        ("price,-name", "4231"),
        ("lighter_type,-created_at", "2431"),
        // What is unknown or not allowed is dropped.
        ("inventory_count", "2413"),
        ("-inventory_count,price", "2431"),
        ("nonsense,;drop table products", "2413"),
        ("--price", "2413"),
        (" price , -name ", "4231"),
        ("price,price,-price", "2431"),
        ("%00", "2413"),
    ] {
        let answer = shop
            .client
            .get(&format!("/api/products/?ordering={ordering}"))
            .await;
        let found: String = answer.ids().iter().filter_map(Value::as_str).collect();
        assert_eq!(found, ids, "{ordering}");
    }
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

// A2, A3: one product.

#[tokio::test]
async fn a_detail_shows_eighteen_keys_in_their_order() {
    let shop = shop_with(&[
        piece(
            "478cfd87-30e6-5096-be20-c9b012f01c61",
            "Northern Lattice",
            json!({"slug": "northern-lattice-020", "price": 4500, "category_id": 1, "inventory_count": 12,
                "description": "Hand-beaded case no. 20. “Loom” work,\n1513 glass beads.",
                "primary_image": "products/bench-020-a.webp", "created_at": "2026-01-03T21:49:29.931790Z"}),
        ),
        piece(
            "bare",
            "Bare",
            json!({"lighter_type": 2, "weight_ounces": 1.5, "created_at": "2026-01-03T21:49:29Z",
                "primary_image": "https://cdn.test/a.png"}),
        ),
    ])
    .await;
    sqlx::query("update products set updated_at = '2026-01-06T19:59:29.9317Z'")
        .execute(&shop.db)
        .await
        .expect("a time");
    let base = &shop.address;
    let expected = [
        r#"{"id":"478cfd87-30e6-5096-be20-c9b012f01c61","name":"Northern Lattice","#,
        r#""slug":"northern-lattice-020","lighter_type":1,"lighter_type_display":"Classic BIC","price":4500,"#,
        r#""category":1,"category_name":"Infinite Path","#,
        r#""description":"Hand-beaded case no. 20. “Loom” work,\n1513 glass beads.","#,
        r#""primary_image":"BASE/media/products/bench-020-a.webp","secondary_image":null,"#,
        r#""is_sold_out":false,"is_active":true,"inventory_count":12,"weight_ounces":"2.00","#,
        r#""is_in_stock":true,"created_at":"2026-01-03T21:49:29.931790Z","#,
        r#""updated_at":"2026-01-06T19:59:29.931700Z","images":[],"currency":"usd"}"#,
    ];
    let expected = expected.concat().replace("BASE", base);
    for key in [
        "478cfd87-30e6-5096-be20-c9b012f01c61",
        "northern-lattice-020",
    ] {
        let answer = shop.client.get(&format!("/api/products/{key}/")).await;
        assert_eq!(answer.text, expected);
        assert_eq!(answer.header("content-type"), "application/json");
    }
    let bare = shop.client.get("/api/products/bare/").await.json;
    assert_eq!(bare["category"], Value::Null);
    assert!(
        bare.as_object()
            .expect("an object")
            .contains_key("category_name")
    );
    assert_eq!(bare["category_name"], Value::Null);
    assert_eq!(bare["weight_ounces"], "1.50");
    assert_eq!(bare["created_at"], "2026-01-03T21:49:29Z");
    // An address elsewhere stays what it is.
    assert_eq!(bare["primary_image"], "https://cdn.test/a.png");
}

#[tokio::test]
async fn a_product_is_found_by_id_before_slug() {
    let shop = shop_with(&[
        piece("one", "One", json!({"slug": "two"})),
        piece("two", "Two", json!({"slug": "one"})),
        piece("UPPER", "Upper", json!({"slug": "upper-case"})),
        piece("a b&c?ü", "Odd", json!({"slug": "odd"})),
        piece(
            "off",
            "Off",
            json!({"slug": "off-slug", "is_active": false}),
        ),
    ])
    .await;
    let name = async |path: &str| shop.client.get(path).await.json["name"].clone();
    assert_eq!(name("/api/products/one/").await, "One");
    assert_eq!(name("/api/products/two/").await, "Two");
    assert_eq!(name("/api/products/UPPER/").await, "Upper");
    assert_eq!(name("/api/products/upper-case/").await, "Upper");
    assert_eq!(name("/api/products/a%20b%26c%3F%C3%BC/").await, "Odd");
    let long = "x".repeat(101);
    for key in [
        "nothing",
        "upper",
        "Upper-Case",
        "off",
        "off-slug",
        "%00",
        "a%00b",
        long.as_str(),
        "%20",
        "-",
        "00000000-0000-0000-0000-000000000000",
        "one%2F..%2Ftwo",
        "'%20or%201=1--",
    ] {
        expect_detail(
            &shop.client,
            &format!("/api/products/{key}/"),
            404,
            NO_PRODUCT,
        )
        .await;
        let availability = format!("/api/products/{key}/check_availability/");
        expect_detail(&shop.client, &availability, 404, NO_PRODUCT).await;
    }
}

#[tokio::test]
async fn availability_has_three_keys() {
    let shop = shop_with(&[
        piece(
            "there",
            "There",
            json!({"inventory_count": 12, "slug": "there-slug"}),
        ),
        piece("gone", "Gone", json!({"inventory_count": 0})),
        piece(
            "switched",
            "Switched",
            json!({"inventory_count": 5, "is_sold_out": true}),
        ),
    ])
    .await;
    for (key, text) in [
        (
            "there",
            r#"{"is_in_stock":true,"inventory_count":12,"is_sold_out":false}"#,
        ),
        (
            "there-slug",
            r#"{"is_in_stock":true,"inventory_count":12,"is_sold_out":false}"#,
        ),
        (
            "gone",
            r#"{"is_in_stock":false,"inventory_count":0,"is_sold_out":true}"#,
        ),
        (
            "switched",
            r#"{"is_in_stock":false,"inventory_count":5,"is_sold_out":true}"#,
        ),
    ] {
        let answer = shop
            .client
            .get(&format!("/api/products/{key}/check_availability/"))
            .await;
        assert_eq!((answer.status, answer.text.as_str()), (200, text), "{key}");
    }
}

#[tokio::test]
async fn what_others_hold_is_sold_out_and_what_i_hold_is_not() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 2).await;
    let (mine, other) = (shop.shopper(), shop.shopper());
    assert_eq!(mine.check_out(&[(&piece, 2)]).await.status, 200);
    let seen = async |client: &Client| -> Vec<(Value, Value, Value)> {
        let list = client.get("/api/products/").await.json["results"][0].clone();
        let batch =
            client.get("/api/products/batch/?ids=sunrise").await.json["products"][0].clone();
        let detail = client.get("/api/products/sunrise/").await.json;
        let available = client
            .get("/api/products/sunrise/check_availability/")
            .await
            .json;
        let facts = |view: Value| {
            (
                view["inventory_count"].clone(),
                view["is_sold_out"].clone(),
                view["is_in_stock"].clone(),
            )
        };
        [list, batch, detail, available].map(facts).to_vec()
    };
    assert_eq!(
        seen(&other).await,
        vec![(json!(0), json!(true), json!(false)); 4]
    );
    assert_eq!(
        seen(&mine).await,
        vec![(json!(2), json!(false), json!(true)); 4]
    );
    let sold_out = other.get("/api/products/?is_sold_out=true").await;
    assert_eq!(sold_out.ids(), [json!("sunrise")]);
}

// A4: the batch.

#[tokio::test]
async fn a_batch_gives_what_is_for_sale_by_name() {
    let shop = shop_with(&[
        piece(
            "z",
            "Aardvark",
            json!({"category_id": 3, "primary_image": "a.png"}),
        ),
        piece("m", "Mole", json!({})),
        piece("a", "Zebra", json!({"lighter_type": 2})),
        piece("off", "Off", json!({"is_active": false})),
    ])
    .await;
    let answer = shop.client.get("/api/products/batch/?ids=a,z").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.text,
        concat!(
            r#"{"products":[{"id":"z","name":"Aardvark","slug":"aardvark","lighter_type":1,"#,
            r#""lighter_type_display":"Classic BIC","price":4700,"category":3,"#,
            r#""category_name":"Ancestral Motifs","is_sold_out":false,"inventory_count":1,"#,
            r#""primary_image":"/media/a.png","secondary_image":null,"is_in_stock":true,"images":[],"currency":"usd"},"#,
            r#"{"id":"a","name":"Zebra","slug":"zebra","lighter_type":2,"#,
            r#""lighter_type_display":"Mini BIC","price":4700,"category":null,"category_name":null,"#,
            r#""is_sold_out":false,"inventory_count":1,"primary_image":null,"secondary_image":null,"#,
            r#""is_in_stock":true,"images":[],"currency":"usd"}],"count":2,"requested_ids":["a","z"],"found_ids":["z","a"]}"#,
        )
    );
    for (ids, requested, found) in [
        // As the storefront asks: the comma encoded.
        ("a%2Cz", json!(["a", "z"]), json!(["z", "a"])),
        ("%20a%20,%20,,m,", json!(["a", "m"]), json!(["m", "a"])),
        (
            "a,a,nothing,a",
            json!(["a", "a", "nothing", "a"]),
            json!(["a"]),
        ),
        ("off", json!(["off"]), json!([])),
        ("nothing", json!(["nothing"]), json!([])),
        // Slugs are not ids.
        ("zebra", json!(["zebra"]), json!([])),
        ("a%00,m", json!(["a\u{0}", "m"]), json!(["m"])),
        ("A,%C3%BC", json!(["A", "ü"]), json!([])),
        ("a&ids=m", json!(["m"]), json!(["m"])),
        // Filters, ordering and page do not apply.
        (
            "a,z&lighter_type=9&ordering=-name&page=7&category=x",
            json!(["a", "z"]),
            json!(["z", "a"]),
        ),
    ] {
        let answer = shop
            .client
            .get(&format!("/api/products/batch/?ids={ids}"))
            .await;
        assert_eq!(answer.status, 200, "{ids}: {}", answer.text);
        assert_eq!(answer.json["requested_ids"], requested, "{ids}");
        assert_eq!(answer.json["found_ids"], found, "{ids}");
        assert_eq!(json!(answer.each("products", "id")), found, "{ids}");
        assert_eq!(
            answer.json["count"],
            found.as_array().map_or(0, Vec::len),
            "{ids}"
        );
    }
}

#[tokio::test]
async fn a_batch_without_ids_or_with_too_many_is_refused() {
    let shop = Shop::open().await;
    let many = |count: usize| vec!["x"; count].join(",");
    let (hundred, hundred_and_one) = (many(100), many(101));
    for (query, sentence) in [
        ("", "ids parameter is required"),
        ("?ids=", "ids parameter is required"),
        ("?id=a", "ids parameter is required"),
        ("?ids=a&ids=", "ids parameter is required"),
        ("?ids=,", "No valid IDs provided"),
        ("?ids=%20,%20%20,", "No valid IDs provided"),
        (
            &format!("?ids={hundred_and_one}"),
            "Maximum 100 IDs allowed per request",
        ),
    ] {
        let answer = shop
            .client
            .get(&format!("/api/products/batch/{query}"))
            .await;
        assert_eq!(
            (answer.status, &answer.json["error"]),
            (400, &json!(sentence)),
            "{query}"
        );
        assert!(answer.json["code"].is_string(), "{query}");
    }
    let answer = shop
        .client
        .get(&format!("/api/products/batch/?ids={hundred}"))
        .await;
    assert_eq!(answer.status, 200);
}

// A5: categories.

#[tokio::test]
async fn categories_come_by_name_and_all_in_one_answer() {
    let shop = Shop::open().await;
    let file = json!({"categories": [
        {"id": 9, "name": "Zigzag", "slug": "zigzag", "description": "Back and “forth”."},
        {"id": 4, "name": "ancestral"},
        {"id": 3, "name": "Ancestral Motifs", "slug": "ancestral-motifs"},
        {"id": 5, "name": "Émaux"},
    ]});
    shop.imports(&file).await.expect("a catalog");
    let answer = shop.client.get("/api/categories/").await;
    assert_eq!(
        answer.text,
        concat!(
            r#"{"count":4,"next":null,"previous":null,"results":["#,
            r#"{"id":3,"name":"Ancestral Motifs","slug":"ancestral-motifs","description":"","position":0},"#,
            r#"{"id":9,"name":"Zigzag","slug":"zigzag","description":"Back and “forth”.","position":0},"#,
            r#"{"id":4,"name":"ancestral","slug":"ancestral","description":"","position":0},"#,
            r#"{"id":5,"name":"Émaux","slug":"emaux","description":"","position":0}]}"#,
        )
    );
    // Ordering and filters are ignored.
    let other = shop
        .client
        .get("/api/categories/?ordering=-name&slug=zigzag&lighter_type=9")
        .await;
    assert_eq!(other.ids(), answer.ids());
    expect_invalid_page(&shop.client, "/api/categories/?page=2").await;
    expect_invalid_page(&shop.client, "/api/categories/?page=abc").await;

    let second = shop
        .client
        .get("/api/categories/?page_size=3&page=last")
        .await;
    assert_eq!(second.ids(), [json!(5)]);
    assert_eq!(second.json["next"], Value::Null);
    assert_eq!(
        second.json["previous"],
        json!(format!("{}/api/categories/?page_size=3", shop.address))
    );

    // The storefront asks for this one answer only, however many there are.
    let many: Vec<Value> = (100..230)
        .map(|id| category(id, &format!("Category {id}")))
        .collect();
    shop.imports(&json!({ "categories": many }))
        .await
        .expect("a catalog");
    let all = shop.client.get("/api/categories/").await;
    assert_eq!((all.ids().len(), &all.json["next"]), (134, &Value::Null));
}

#[tokio::test]
async fn a_category_is_found_by_id_or_slug() {
    let shop = shop_with(&[]).await;
    let text = r#"{"id":3,"name":"Ancestral Motifs","slug":"ancestral-motifs","description":"","position":0}"#;
    for key in ["3", "ancestral-motifs"] {
        assert_eq!(
            shop.client
                .get(&format!("/api/categories/{key}/"))
                .await
                .text,
            text
        );
    }
    let none = "No Category matches the given query.";
    for key in ["99", "0", "-1", "9223372036854775807", "no-such-slug"] {
        expect_detail(&shop.client, &format!("/api/categories/{key}/"), 404, none).await;
    }
    for key in ["Not%20A%20Slug", "1.5", "%00", "3%20"] {
        expect_detail(
            &shop.client,
            &format!("/api/categories/{key}/"),
            404,
            "Not found.",
        )
        .await;
    }
}

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
        "/",
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
