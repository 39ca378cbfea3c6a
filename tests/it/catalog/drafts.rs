//! Drafts: seen by nobody but the owner, until they are put on sale or their time has come.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::writes::{delete, expect_refused, patch};
use crate::support::{Client, Shop};

/// A shop with one piece for sale and a draft, which is also a rare find for the search.
async fn shop_with_a_draft() -> (Shop, Client) {
    let shop = Shop::open().await;
    shop.stocks("Sunrise", 1).await;
    shop.stocks_with("Heron", 2, json!({"is_draft": true}))
        .await;
    let admin = shop.admin(&[Scope::Catalog, Scope::Stock]).await;
    (shop, admin)
}

/// Asserts whether shoppers see and can buy the heron, wherever they look.
async fn expect_on_sale(shop: &Shop, is_on_sale: bool) {
    let ids = async |path: &str| {
        let answer = shop.client.get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let list = if path.contains("batch") {
            "products"
        } else {
            "results"
        };
        answer.each(list, "id").contains(&json!("heron"))
    };
    for list in [
        "/api/products/",
        "/api/products/?search=heron",
        "/api/products/?search=herron",
        "/api/products/?lighter_type=1&ordering=price",
        "/api/products/batch/?ids=heron,sunrise",
    ] {
        assert_eq!(ids(list).await, is_on_sale, "{list}");
    }
    let status = if is_on_sale { 200 } else { 404 };
    for path in [
        "/api/products/heron/",
        "/api/products/heron/check_availability/",
    ] {
        assert_eq!(shop.client.get(path).await.status, status, "{path}");
    }
    let cart = shop.shopper().check_out(&[("heron", 1)]).await;
    if is_on_sale {
        assert_eq!(cart.status, 200, "{}", cart.text);
    } else {
        assert_eq!(cart.line_errors(), ["product_not_active"], "{}", cart.text);
    }
}

/// Lets the time of the draft come.
async fn comes(shop: &Shop) {
    let sql =
        "update products set on_sale_at = now() - interval '1 second' where on_sale_at > now()";
    let moved = sqlx::query(sql).execute(&shop.db).await.expect("the draft");
    assert_eq!(moved.rows_affected(), 1);
}

async fn drafts(admin: &Client) -> Vec<Value> {
    let listed = admin.get("/api/admin/products/?is_draft=true").await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    listed.each("results", "id")
}

#[tokio::test]
async fn a_draft_is_for_nobody_but_the_owner_until_it_is_put_on_sale() {
    let (shop, admin) = shop_with_a_draft().await;
    expect_on_sale(&shop, false).await;
    assert_eq!(drafts(&admin).await, ["heron"]);
    let seen = admin.get("/api/admin/products/heron/").await.json;
    assert_eq!(
        (&seen["is_active"], &seen["is_draft"], &seen["on_sale_at"]),
        (&json!(true), &json!(true), &Value::Null)
    );
    // A program that knows nothing of drafts sends the rest of the product, and it stays one.
    let whole = json!({"name": "Heron", "lighter_type": 1, "price": 5000});
    let put = admin
        .send_json(reqwest::Method::PUT, "/api/products/heron/", &whole)
        .await;
    assert_eq!((put.status, &put.json["is_draft"]), (200, &json!(true)));

    let put = admin.post("/api/products/heron/restore/", &json!({})).await;
    assert_eq!((put.status, &put.json["is_draft"]), (200, &json!(false)));
    expect_on_sale(&shop, true).await;
    assert!(drafts(&admin).await.is_empty());
}

#[tokio::test]
async fn a_draft_appears_to_the_second_and_the_job_ends_it_once() {
    let (shop, admin) = shop_with_a_draft().await;
    let friday = Utc::now() + TimeDelta::days(3);
    let answer = patch(&admin, "heron", &json!({"on_sale_at": friday})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let told: DateTime<Utc> = answer.json["on_sale_at"]
        .as_str()
        .and_then(|at| at.parse().ok())
        .expect("a time");
    assert_eq!(told.timestamp_micros(), friday.timestamp_micros());
    shop.sweep_all().await;
    expect_on_sale(&shop, false).await;

    comes(&shop).await;
    expect_on_sale(&shop, true).await;
    assert!(drafts(&admin).await.is_empty());
    // What is read can be sent back, although its time is past by now.
    let read = admin.get("/api/admin/products/heron/").await.json;
    let same =
        json!({"is_draft": read["is_draft"], "on_sale_at": read["on_sale_at"], "price": 5100});
    assert_eq!(patch(&admin, "heron", &same).await.status, 200);

    shop.sweep_all().await;
    shop.sweep_all().await;
    expect_on_sale(&shop, true).await;
    let seen = admin.get("/api/admin/products/heron/").await.json;
    assert_eq!(
        (&seen["is_draft"], &seen["on_sale_at"]),
        (&json!(false), &Value::Null)
    );
    let auditor = shop.admin(&[Scope::Audit]).await;
    let log = auditor
        .get("/api/admin/audit/?search=product.put_on_sale")
        .await;
    assert_eq!(log.each("results", "actor"), ["system"], "{}", log.text);
}

#[tokio::test]
async fn a_schedule_ends_with_what_makes_it_void() {
    let (shop, admin) = shop_with_a_draft().await;
    let friday = json!({"on_sale_at": Utc::now() + TimeDelta::days(3)});
    for (path, body) in [
        ("/api/products/heron/", json!({"on_sale_at": null})),
        ("/api/products/heron/", json!({"is_draft": false})),
        ("/api/products/heron/", json!({"is_active": false})),
        ("/api/products/heron/archive/", json!({})),
        ("/api/products/heron/restore/", json!({})),
    ] {
        let back = json!({"is_active": true, "is_draft": true});
        assert_eq!(patch(&admin, "heron", &back).await.status, 200);
        assert_eq!(patch(&admin, "heron", &friday).await.status, 200);
        let method = if body == json!({}) {
            reqwest::Method::POST
        } else {
            reqwest::Method::PATCH
        };
        let answer = admin.send_json(method, path, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json["on_sale_at"], Value::Null, "{body}");
    }
    // A product that is on sale goes back behind its time.
    assert_eq!(patch(&admin, "heron", &friday).await.json["is_draft"], true);
    expect_on_sale(&shop, false).await;
    assert_eq!(delete(&admin, "/api/products/heron/").await.status, 204);
    shop.sweep_all().await;
}

#[tokio::test]
async fn a_time_that_makes_no_sense_is_refused_by_name() {
    let (_shop, admin) = shop_with_a_draft().await;
    let later = Utc::now() + TimeDelta::days(3);
    for body in [
        json!({"on_sale_at": Utc::now() - TimeDelta::seconds(1)}),
        json!({"on_sale_at": "2026-12-04T18:00"}),
        json!({"on_sale_at": "99999-12-04T18:00:00Z"}),
        json!({"on_sale_at": 7}),
        json!({"on_sale_at": later, "is_draft": false}),
        json!({"on_sale_at": later, "is_active": false}),
    ] {
        let answer = patch(&admin, "heron", &body).await;
        expect_refused(&answer, 400, "invalid");
        assert_eq!(answer.field_errors(), ["on_sale_at"], "{body}");
    }
    assert_eq!(drafts(&admin).await, ["heron"]);
    // Nor is it dropped in silence because of what the product is already.
    let archived = patch(&admin, "heron", &json!({"is_active": false})).await;
    assert_eq!(archived.status, 200, "{}", archived.text);
    let answer = patch(&admin, "heron", &json!({"on_sale_at": later})).await;
    assert_eq!(
        (answer.status, answer.field_errors()),
        (400, vec!["on_sale_at".to_owned()])
    );
}

#[tokio::test]
async fn a_draft_whose_time_has_come_can_be_made_one_again() {
    let (shop, admin) = shop_with_a_draft().await;
    let friday = json!({"on_sale_at": Utc::now() + TimeDelta::days(3)});
    assert_eq!(patch(&admin, "heron", &friday).await.status, 200);
    comes(&shop).await;
    let again = patch(&admin, "heron", &json!({"is_draft": true})).await;
    assert_eq!(
        (again.status, &again.json["on_sale_at"]),
        (200, &Value::Null),
        "{}",
        again.text
    );
    shop.sweep_all().await;
    expect_on_sale(&shop, false).await;
}

#[tokio::test]
async fn a_category_counts_its_drafts_apart() {
    let (shop, admin) = shop_with_a_draft().await;
    let category = admin
        .post("/api/categories/", &json!({"name": "Birds"}))
        .await;
    for piece in ["heron", "sunrise"] {
        let moved = patch(&admin, piece, &json!({"category": category.json["id"]})).await;
        assert_eq!(moved.status, 200, "{}", moved.text);
    }
    let listed = admin.get("/api/admin/categories/").await;
    let birds = &listed.json["results"][0];
    assert_eq!(
        (
            &birds["active_products"],
            &birds["draft_products"],
            &birds["archived_products"]
        ),
        (&json!(1), &json!(1), &json!(0)),
        "{}",
        listed.text
    );
    shop.run_jobs().await;
}

#[tokio::test]
async fn a_copy_is_a_draft_and_a_file_carries_drafts_along() {
    let (shop, admin) = shop_with_a_draft().await;
    let copy = admin
        .post("/api/admin/products/sunrise/duplicate/", &json!({}))
        .await;
    assert_eq!(
        (copy.status, &copy.json["is_draft"], &copy.json["is_active"]),
        (201, &json!(true), &json!(true)),
        "{}",
        copy.text
    );
    let later = json!({"on_sale_at": "2126-12-04T18:00:00.250-08:00"});
    assert_eq!(patch(&admin, "heron", &later).await.status, 200);
    let exported = async |shop: &Shop| {
        let mut conn = shop.db.acquire().await.expect("a connection");
        spirit_beads::products::export(&mut conn)
            .await
            .expect("a catalog")
    };
    let file = exported(&shop).await;
    let other = Shop::open().await;
    other.imports(&file).await.expect("an import");
    let heron = other.admin(&[Scope::Catalog]).await;
    let heron = heron.get("/api/admin/products/heron/").await.json;
    assert_eq!(heron["is_draft"], true);
    assert_eq!(heron["on_sale_at"], "2126-12-05T02:00:00.250000Z");
    assert_eq!(exported(&other).await["products"], file["products"]);
}
