//! Filters and orders of the list.

use serde_json::{Value, json};

use super::{expect_invalid_page, piece, shop_with};

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
