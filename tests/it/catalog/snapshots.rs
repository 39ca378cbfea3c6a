//! Answers of the catalog, in full.

use reqwest::Method;
use serde_json::json;
use spirit_beads::auth::Scope;

use crate::support::images::jpeg;
use crate::support::{Client, Shop, Snapshots};

#[tokio::test]
async fn answers_of_the_catalog_are_as_they_were_reviewed() {
    let shop = Shop::open().await;
    let mut snapshots = Snapshots::of("catalog").hiding(&["thumbhash"]);
    let admin = shop.admin(&[Scope::Catalog, Scope::Stock]).await;
    snapshots.get("list_empty", &admin, "/api/products/").await;
    writes(&mut snapshots, &admin, &shop).await;
    reads(&mut snapshots, &shop.client).await;
    admin_reads(&mut snapshots, &admin).await;
    errors(&mut snapshots, &admin, &shop).await;
    let (path, few) = (
        "/api/products/",
        json!({"name": "  Ámber Arrow ", "lighter_type": 2, "price": 50}),
    );
    let name = "created_with_defaults";
    snapshots.post(name, &admin, path, &few).await;
    shop.run_jobs().await;
    let (name, path) = ("admin_detail_synced", "/api/admin/products/sunrise/");
    snapshots.get(name, &admin, path).await;
}

/// Makes two categories, a product with all fields and one with few, and changes them.
async fn writes(snapshots: &mut Snapshots, admin: &Client, shop: &Shop) {
    for (name, body) in [
        (
            "category_created",
            json!({"name": "Suns", "description": "Warm colors"}),
        ),
        ("category_of_few_fields", json!({"name": "Moons"})),
    ] {
        snapshots.post(name, admin, "/api/categories/", &body).await;
    }
    let answer = admin.uploads(&[&jpeg(90, 60)]).await;
    snapshots.answer("image_uploaded", "POST /api/admin/images/", &answer);
    let image = answer.json[0]["id"].clone();
    let answer = admin.uploads(&[b"no image"]).await;
    snapshots.answer("error_image", "POST /api/admin/images/", &answer);
    let sunrise = json!({
        "id": "sunrise", "name": "Sunrise “I”", "slug": "sunrise-1", "lighter_type": 1, "price": 4700,
        "category": 1, "description": "A <red> sun.\nTwo lines.", "inventory_count": 3, "weight_ounces": "1.50",
        "images": [image],
    });
    snapshots
        .post("created", admin, "/api/products/", &sunrise)
        .await;
    shop.stocks_with("Dusk", 0, json!({"lighter_type": 2}))
        .await;
    let lost = json!({"delta": -1, "reason": "lost", "note": "On the market"});
    let path = "/api/products/sunrise/stock/";
    snapshots.post("stock_changed", admin, path, &lost).await;
    for (name, path, body) in [
        ("changed", "/api/products/sunrise/", json!({"price": 4800})),
        (
            "many_changed",
            "/api/admin/products/",
            json!({"action": "restore", "ids": ["sunrise"]}),
        ),
    ] {
        snapshots
            .send(name, admin, Method::PATCH, path, &body)
            .await;
    }
    let another = admin.uploads(&[&jpeg(91, 60)]).await.json[0]["id"].clone();
    let file = json!({"name": "mini/Blue-Jay_Earths-Hue_47.5-1.png", "image": another});
    let lighters = json!({"files": [file], "draft": true, "dry_run": true});
    let path = "/api/admin/lighters/";
    snapshots.post("lighters", admin, path, &lighters).await;
}

async fn reads(snapshots: &mut Snapshots, client: &Client) {
    for (name, path) in [
        ("list", "/api/products/"),
        (
            "list_second_page",
            "/api/products/?page=2&page_size=1&ordering=-price",
        ),
        ("detail", "/api/products/sunrise-1/"),
        ("detail_of_few_fields", "/api/products/dusk/"),
        ("availability", "/api/products/sunrise/check_availability/"),
        ("batch", "/api/products/batch/?ids=sunrise,%20dusk,gone"),
        ("categories", "/api/categories/"),
        ("category", "/api/categories/1/"),
    ] {
        snapshots.get(name, client, path).await;
    }
}

async fn admin_reads(snapshots: &mut Snapshots, admin: &Client) {
    for (name, path) in [
        ("admin_list", "/api/admin/products/"),
        ("admin_detail", "/api/admin/products/sunrise/"),
        ("admin_categories", "/api/admin/categories/"),
        ("ledger", "/api/products/sunrise/stock/"),
    ] {
        snapshots.get(name, admin, path).await;
    }
}

async fn errors(snapshots: &mut Snapshots, admin: &Client, shop: &Shop) {
    for (name, path) in [
        ("error_no_product", "/api/products/gone/"),
        ("error_no_page", "/api/products/?page=9"),
        (
            "error_filters",
            "/api/products/?lighter_type=3&category=x&lighter_type__in=a",
        ),
        ("error_no_ids", "/api/products/batch/"),
        ("error_no_token", "/api/admin/products/"),
        ("error_no_path", "/api/nothing/"),
    ] {
        snapshots.get(name, &shop.client, path).await;
    }
    let path = "/api/products/";
    let taken = json!({"name": "Sunrise", "slug": "sunrise-1", "lighter_type": 1, "price": 4700});
    let wrong = json!({"name": " ", "lighter_type": 7, "price": -1, "odd": true});
    for (name, body) in [("error_fields", wrong), ("error_slug_taken", taken.clone())] {
        snapshots.post(name, admin, path, &body).await;
    }
    let reader = shop.admin(&[Scope::Audit]).await;
    snapshots
        .post("error_no_scope", &reader, path, &taken)
        .await;
    let kind = ("content-type", "application/json");
    for (name, method, path, headers, body) in [
        ("error_no_json", Method::POST, path, &[kind][..], "{\"a\""),
        ("error_method", Method::PUT, path, &[kind], "{}"),
        (
            "error_version",
            Method::PATCH,
            "/api/products/sunrise/",
            &[kind, ("if-match", "\"1\"")],
            "{\"price\": 4900}",
        ),
    ] {
        let call = format!("{method} {path}");
        let answer = admin.send(method, path, headers, Some(body)).await;
        snapshots.answer(name, &call, &answer);
    }
}
