//! One product, its availability, batches and categories.

use serde_json::{Value, json};

use super::{category, expect_detail, expect_invalid_page, piece, shop_with};
use crate::support::{Client, Shop};

const NO_PRODUCT: &str = "No Product matches the given query.";

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
async fn pieces_held_by_others_are_sold_out_and_my_own_are_not() {
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
