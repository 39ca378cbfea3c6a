//! Exports that come back, and products that a file finds again.

use reqwest::Method;
use serde_json::json;
use spirit_beads::auth::Scope;
use spirit_beads::products::{self, ImportSummary};
use spirit_beads::types::money::Currency;

use super::{export, product, queued, row};
use crate::support::{Shop, card, session_of};

#[tokio::test]
async fn slugs_may_be_swapped_in_one_file() {
    let shop = Shop::open().await;
    let file = |slugs: [&str; 3]| {
        json!({
            "categories": [
                {"id": 1, "name": "One", "slug": slugs[0]},
                {"id": 2, "name": "Two", "slug": slugs[1]},
                {"id": 3, "name": "Three", "slug": slugs[2]},
            ],
            "products": [
                row("a", json!({"slug": slugs[0]})),
                row("b", json!({"slug": slugs[1]})),
                row("c", json!({"slug": slugs[2]})),
            ],
        })
    };
    shop.imports(&file(["x", "y", "z"]))
        .await
        .expect("an import");
    let summary = shop
        .imports(&file(["y", "z", "x"]))
        .await
        .expect("an import");
    assert_eq!(
        (summary.categories_updated, summary.products_updated),
        (3, 3)
    );
    assert_eq!(shop.client.get("/api/products/x/").await.json["id"], "c");
    assert_eq!(shop.client.get("/api/categories/x/").await.json["id"], 3);
}

#[tokio::test]
async fn an_export_comes_back_as_it_went() {
    let shop = Shop::open().await;
    let demo = products::demo::catalog(Currency::USD);
    shop.imports(&serde_json::from_str(&demo).expect("a file"))
        .await
        .expect("an import");
    shop.stocks_with(
        "Elsewhere",
        2,
        json!({"primary_image": "https://cdn.test/x.png", "is_sold_out": true}),
    )
    .await;
    shop.stocks("Deleted", 2).await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    admin
        .send(
            Method::DELETE,
            "/api/products/deleted/",
            &[],
            None::<String>,
        )
        .await;
    shop.run_jobs().await;
    shop.shopper().check_out(&[("elsewhere", 1)]).await;
    let state = async || -> Vec<(String, i64, i32, i32, String, Option<String>)> {
        sqlx::query_as("select id, version, on_hand, reserved, updated_at::text, stripe_price_id from products order by id")
            .fetch_all(&shop.db)
            .await
            .expect("the rows")
    };
    let (exported, before) = (export(&shop).await, state().await);
    assert_eq!(exported["products"].as_array().map(Vec::len), Some(25));
    let rows = (
        exported["products"].as_array().expect("a list").len(),
        exported["categories"].as_array().map_or(0, Vec::len),
    );
    let summary = shop.imports(&exported).await.expect("an import");
    assert_eq!(
        summary,
        ImportSummary {
            unchanged: rows.0 + rows.1,
            ..ImportSummary::default()
        }
    );
    assert_eq!(state().await, before);
    assert_eq!(export(&shop).await, exported);
    assert_eq!(queued(&shop).await, 0);
    shop.audit().await;

    // Another shop becomes the same one.
    let other = Shop::open().await;
    let summary = other.imports(&exported).await.expect("an import");
    assert_eq!((summary.products_created, summary.unchanged), (25, 0));
    assert_eq!(export(&other).await, exported);
    let keys: Vec<&String> = exported["products"][0]
        .as_object()
        .expect("an object")
        .keys()
        .collect();
    assert!(
        keys.contains(&&"category_id".to_owned()) && keys.contains(&&"stripe_price_id".to_owned()),
        "{keys:?}"
    );
    assert!(
        exported["products"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|row| {
                row["primary_image"]
                    .as_str()
                    .is_some_and(|path| !path.starts_with("/media/"))
            })
    );
}

#[tokio::test]
async fn a_deleted_product_comes_back_by_its_id() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog, Scope::Stock]).await;
    for name in ["Sunrise", "Sunset"] {
        shop.stocks(name, 3).await;
        admin
            .send(
                Method::DELETE,
                &format!("/api/products/{}/", name.to_lowercase()),
                &[],
                None::<String>,
            )
            .await;
    }
    shop.run_jobs().await;
    // Meanwhile another has taken one of their slugs.
    shop.stocks_with("Other", 1, json!({"slug": "sunset"}))
        .await;
    let file = json!({"products": [
        row("sunrise", json!({"name": "Sunrise"})),
        row("sunset", json!({"name": "Sunset", "inventory_count": 5})),
    ]});
    let summary = shop.imports(&file).await.expect("an import");
    assert_eq!(summary.products_created + summary.products_updated, 2);
    let sunrise = shop.client.get("/api/products/sunrise/").await.json;
    assert_eq!(
        (&sunrise["slug"], &sunrise["inventory_count"]),
        (&json!("sunrise"), &json!(3))
    );
    assert_eq!(product(&shop, "sunset").await["slug"], "sunset-2");
    assert_eq!(shop.stock("sunset").await, (5, 0));
    shop.run_jobs().await;
    assert_eq!(
        product(&shop, "sunrise").await["stripe"]["status"],
        "synced"
    );
    shop.audit().await;
}

#[tokio::test]
async fn held_pieces_stay_held() {
    let shop = Shop::open().await;
    shop.imports(&json!({"products": [row("a", json!({"inventory_count": 5}))]}))
        .await
        .expect("an import");
    let session = session_of(&shop.client.check_out(&[("a", 2)]).await);
    // The file says what is available; none of it is what is held.
    shop.imports(&json!({"products": [row("a", json!({"inventory_count": 0}))]}))
        .await
        .expect("an import");
    assert_eq!(shop.stock("a").await, (2, 2));
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(shop.stock("a").await, (0, 0));
    shop.audit().await;
}

#[tokio::test]
async fn stripes_ids_are_kept_but_charged_only_once_confirmed() {
    let shop = Shop::open().await;
    let ids = json!({"inventory_count": 5, "stripe_product_id": "prod_old", "stripe_price_id": "price_old"});
    let file = json!({"products": [row("a", ids)]});
    shop.imports(&file).await.expect("an import");
    let stripe = product(&shop, "a").await["stripe"].clone();
    assert_eq!(
        stripe,
        json!({"status": "pending", "error": null, "product_id": "prod_old", "price_id": "price_old"})
    );
    // Nobody has confirmed what that price charges: the checkout states the amount itself.
    session_of(&shop.client.check_out(&[("a", 1)]).await);
    let request = shop
        .stripe
        .requests()
        .into_iter()
        .rev()
        .find(|request| request.path == "/v1/checkout/sessions");
    let params = request.expect("a checkout").params;
    let param = |name: &str| {
        params
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(param("line_items[0][price]"), None, "{params:?}");
    assert_eq!(
        param("line_items[0][price_data][unit_amount]"),
        Some("4700")
    );

    // A second import says nothing new, and a product that has been confirmed keeps its ids, whatever an old file says.
    assert_eq!(
        shop.imports(&file).await.expect("an import").unchanged,
        0,
        "one is held: there are 4"
    );
    let keep = json!({"products": [row("b", json!({"inventory_count": 1}))]});
    shop.imports(&keep).await.expect("an import");
    sqlx::query("delete from graphile_worker._private_jobs where payload ->> 'product' = 'a'")
        .execute(&shop.db)
        .await
        .expect("the queue");
    shop.run_jobs().await;
    let synced = product(&shop, "b").await["stripe"].clone();
    assert_eq!(synced["status"], "synced");
    let old = json!({"products": [row("b", json!({"stripe_product_id": "prod_x", "stripe_price_id": "price_x"}))]});
    let summary = shop.imports(&old).await.expect("an import");
    assert_eq!(summary.unchanged, 1);
    assert_eq!(product(&shop, "b").await["stripe"], synced);
}
