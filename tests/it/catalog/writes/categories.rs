//! The owner's list, and categories.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::audit::Actor;
use spirit_beads::auth::Scope;
use spirit_beads::types::money::Currency;

use super::{delete, expect_refused, queued, read, shop_and_admin};
use crate::support::Shop;

#[tokio::test]
async fn the_owners_list_has_the_shoppers_filters() {
    let (shop, admin) = shop_and_admin().await;
    admin
        .post("/api/categories/", &json!({"name": "Rain"}))
        .await;
    shop.stocks_with("Apple", 1, json!({"category": "rain", "price": 9000}))
        .await;
    shop.stocks_with("Berry", 0, json!({"lighter_type": 2, "is_active": false}))
        .await;
    shop.stocks("Cherry", 2).await;
    for (query, ids) in [
        ("", vec!["apple", "berry", "cherry"]),
        ("is_active=true", vec!["apple", "cherry"]),
        ("is_active=false", vec!["berry"]),
        ("is_sold_out=true", vec!["berry"]),
        ("category=rain", vec!["apple"]),
        ("lighter_type=2", vec!["berry"]),
        ("ordering=-price", vec!["apple", "cherry", "berry"]),
        ("search=berry", vec!["berry"]),
        ("page_size=2&page=last", vec!["cherry"]),
    ] {
        assert_eq!(
            admin
                .get(&format!("/api/admin/products/?{query}"))
                .await
                .ids(),
            ids,
            "{query}"
        );
    }
    let answer = admin
        .get("/api/admin/products/?category=99&lighter_type=3")
        .await;
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (400, &json!("invalid_filter"))
    );
    let page = admin.get("/api/admin/products/?page_size=1").await;
    assert_eq!(
        page.json["next"],
        json!(format!(
            "{}/api/admin/products/?page=2&page_size=1",
            shop.address
        ))
    );
    assert_eq!(page.json["results"][0], read(&admin, "apple").await);
    assert_eq!(page.header("cache-control"), "no-store");
}

// Categories.

#[tokio::test]
async fn categories_are_written() {
    let (shop, admin) = shop_and_admin().await;
    let created = admin
        .post(
            "/api/categories/",
            &json!({"name": "Rain Songs", "description": "D"}),
        )
        .await;
    assert_eq!(created.status, 201, "{}", created.text);
    let id = created.json["id"].as_i64().expect("a number");
    let path = format!("/api/categories/{id}/");
    assert_eq!(
        created.text,
        format!(
            r#"{{"id":{id},"name":"Rain Songs","slug":"rain-songs","description":"D","position":0}}"#
        )
    );
    assert_eq!(
        created.header("location"),
        format!("{}{path}", shop.address)
    );
    assert_eq!(shop.client.get(&path).await.json, created.json);
    let second = admin
        .post("/api/categories/", &json!({"name": "Rain Songs!"}))
        .await
        .json;
    assert_eq!(second["slug"], "rain-songs-2");
    let taken = json!({"name": "X", "slug": "rain-songs"});
    expect_refused(
        &admin.post("/api/categories/", &taken).await,
        409,
        "slug_taken",
    );
    let second_path = format!("/api/categories/{}/", second["id"]);
    expect_refused(
        &admin
            .send_json(Method::PATCH, &second_path, &json!({"slug": "rain-songs"}))
            .await,
        409,
        "slug_taken",
    );

    // A product of it follows its name, in what is shown and in what is found.
    shop.stocks_with("Sunrise", 3, json!({"category": id}))
        .await;
    queued(&shop).await;
    let found = async |word: &str| {
        shop.client
            .get(&format!("/api/products/?search={word}"))
            .await
            .json["count"]
            .clone()
    };
    assert_eq!(
        (found("songs").await, found("thunder").await),
        (json!(1), json!(0))
    );
    let renamed = admin
        .send_json(Method::PATCH, &path, &json!({"name": "Thunder"}))
        .await;
    assert_eq!(
        (renamed.status, &renamed.json["slug"]),
        (200, &json!("rain-songs"))
    );
    assert_eq!(
        (found("songs").await, found("thunder").await),
        (json!(0), json!(1))
    );
    assert_eq!(
        shop.client.get("/api/products/").await.json["results"][0]["category_name"],
        "Thunder"
    );
    assert_eq!(read(&admin, "sunrise").await["version"], 1);
    assert!(queued(&shop).await.is_empty());

    let put = admin
        .send_json(Method::PUT, &path, &json!({"name": "Storm"}))
        .await;
    assert_eq!(
        put.text,
        format!(
            r#"{{"id":{id},"name":"Storm","slug":"rain-songs","description":"","position":0}}"#
        )
    );
    let back = admin.send_json(Method::PUT, &path, &put.json).await;
    assert_eq!(back.json, put.json);
    assert_eq!(
        admin
            .send_json(Method::PUT, &path, &json!({}))
            .await
            .field_errors(),
        ["name"]
    );

    assert_eq!(delete(&admin, &path).await.status, 204);
    assert_eq!(shop.client.get(&path).await.status, 404);
    let product = shop.client.get("/api/products/sunrise/").await.json;
    assert_eq!(
        (&product["category"], &product["category_name"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(found("storm").await, 0);
    for path in [
        path.as_str(),
        "/api/categories/nonsense/",
        "/api/categories/99999999999999999999/",
    ] {
        expect_refused(
            &admin.send_json(Method::PATCH, path, &json!({})).await,
            404,
            "not_found",
        );
        expect_refused(&delete(&admin, path).await, 404, "not_found");
    }
    shop.run_jobs().await;
}

#[tokio::test]
async fn no_two_categories_get_one_name() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let make = async |name: &str| {
        let made = admin.post("/api/categories/", &json!({"name": name})).await;
        let errors = match made.status {
            201 => Vec::new(),
            _ => made.field_errors(),
        };
        (made.status, errors, made.json["id"].as_i64())
    };
    let (status, _, first) = make("Été  Bleu").await;
    assert_eq!(status, 201);
    for same in [
        "Été Bleu",
        "été bleu",
        "ETE BLEU",
        "E\u{301}te\u{301} bleu",
        " Été Bleu ",
    ] {
        let (status, errors, _) = make(same).await;
        assert_eq!((status, errors), (400, vec!["name".to_owned()]), "{same}");
    }
    let (_, _, second) = make("Hiver").await;
    let address = |id: Option<i64>| format!("/api/categories/{}/", id.expect("an id"));
    let patch = async |address: &str, body: &Value| {
        let json = [("content-type", "application/json")];
        let body = body.to_string();
        admin.send(Method::PATCH, address, &json, Some(body)).await
    };
    let rename = json!({"name": "ÉTÉ BLEU"});
    assert_eq!(
        patch(&address(second), &rename).await.field_errors(),
        ["name"]
    );
    // Its own name it may write otherwise.
    let renamed = patch(&address(first), &rename).await;
    assert_eq!(renamed.status, 200, "{}", renamed.text);
    assert_eq!(make("été bleu").await.0, 400);
    // Of two at once one gets it.
    let (one, other) = tokio::join!(make("Nuit"), make("nuit"));
    let mut statuses = [one.0, other.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 400]);

    // Two of one name from before keep it, and may be changed otherwise; nobody joins them.
    sqlx::query("insert into categories (name, slug) values ('Old', 'old'), ('Old', 'old-2')")
        .execute(&shop.db)
        .await
        .expect("an older shop");
    let ids: Vec<i64> =
        sqlx::query_scalar("select id from categories where name = 'Old' order by id")
            .fetch_all(&shop.db)
            .await
            .expect("both");
    for id in &ids {
        let body = json!({"name": "Old", "description": "as ever"});
        let changed = patch(&address(Some(*id)), &body).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
    }
    assert_eq!(make("old").await.0, 400);
    // The catalog as one file: what is there comes back as it was, and a new one of the same name does not.
    let mut conn = shop.db.acquire().await.expect("a connection");
    let mut file = spirit_beads::products::export(&mut conn)
        .await
        .expect("a catalog");
    let file_text = file.to_string();
    let actor = Actor::system("test");
    spirit_beads::products::import(&mut conn, &actor, &file_text, None, Currency::USD)
        .await
        .expect("the same again");
    let rows = file["categories"].as_array_mut().expect("categories");
    rows.push(json!({"id": 900, "name": "HIVER"}));
    rows.push(json!({"id": 901, "name": "Neu"}));
    rows.push(json!({"id": 902, "name": "neu"}));
    let last = rows.len() - 1;
    let refused =
        spirit_beads::products::import(&mut conn, &actor, &file.to_string(), None, Currency::USD)
            .await;
    let Err(spirit_beads::error::Error::Invalid(errors)) = refused else {
        panic!("{refused:?}");
    };
    let fields: Vec<String> = errors.into_iter().map(|error| error.field).collect();
    assert_eq!(
        fields,
        [
            format!("categories[{}].name", last - 2),
            format!("categories[{last}].name")
        ]
    );
}
