//! From photographs to drafts, and back.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Batch, list, middle, photograph, piece, text};
use crate::support::Shop;

/// Whose piece lies at a place, by the truth of a scene: its name, the same on both sides.
fn owner(scene: &str, side: &str, (x, y): (f64, f64)) -> String {
    let truth: Value =
        serde_json::from_slice(&photograph(&format!("{scene}.truth.json"))).expect("JSON");
    let photos = list(&truth, "photos").iter();
    let pieces = photos.filter(|photo| photo["side"] == side);
    let distance = |piece: &&Value| {
        let at = |axis: &str| piece["box"][axis].as_f64().expect("a number");
        ((at("cx") - x).hypot(at("cy") - y) * 1000.0) as i64
    };
    let nearest = pieces
        .flat_map(|photo| list(photo, "pieces"))
        .min_by_key(distance)
        .expect("a piece");
    text(&nearest["id"]).to_owned()
}

#[tokio::test]
async fn photographs_of_a_table_become_drafts() {
    let shop = Shop::open().await;
    let batch = Batch::of_scene(&shop, "s210-kin").await;
    let shown = batch.shows().await;
    assert_eq!(shown["is_working"], false, "{shown}");
    assert_eq!(list(&shown, "items").len(), 8);
    assert_eq!(list(&shown, "remarks").len(), 0, "{}", shown["remarks"]);
    let mut right = 0;
    for item in list(&shown, "items") {
        let (front, back) = (piece(&shown, &item["front"]), piece(&shown, &item["back"]));
        assert_eq!(
            (&front["side"], &back["side"]),
            (&json!("front"), &json!("back"))
        );
        let of_front = owner("s210-kin", "front", middle(front));
        right += usize::from(of_front == owner("s210-kin", "back", middle(back)));
        // A staged image of each.
        for staged in [front, back] {
            assert_eq!(staged["image"]["width"], 1200);
            assert_eq!(staged["image"]["height"], 1500);
        }
    }
    assert!(right >= 7, "{right} of 8 pairs are right");

    // Prices are asked for while the catalog tells none, and names while none is typed.
    let refused = batch.changes(Method::POST, "create", &json!({})).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(
        refused
            .field_errors()
            .iter()
            .any(|field| field.starts_with("items[1].price"))
    );
    batch.types_names_and_prices().await;
    let made = batch.creates().await;
    assert_eq!(made["status"], "done");
    let products = batch
        .admin
        .get("/api/admin/products/?page_size=50")
        .await
        .json;
    let products = list(&products, "results");
    assert_eq!(products.len(), 8);
    for product in products {
        assert_eq!(product["is_draft"], true);
        assert_eq!(product["on_hand"], 1);
        assert_eq!(list(product, "images").len(), 2);
        assert_eq!(product["lighter_type"], 1);
    }
    // A second call makes nothing.
    let again = batch.changes(Method::POST, "create", &json!({})).await;
    assert_eq!(
        (again.status, &again.json["code"]),
        (409, &json!("intake_is_closed"))
    );
}

#[tokio::test]
async fn taking_back_leaves_what_was_ordered_held_or_edited() {
    let shop = Shop::open().await;
    let batch = Batch::of_scene(&shop, "s210-kin").await;
    batch.types_names_and_prices().await;
    let sale = batch
        .changes(Method::POST, "create", &json!({"draft": false}))
        .await;
    assert_eq!(sale.status, 201, "{}", sale.text);
    shop.run_jobs().await;
    let ids: BTreeMap<String, String> = list(&sale.json, "items")
        .iter()
        .map(|item| {
            (
                text(&item["name"]).to_owned(),
                text(&item["product_id"]).to_owned(),
            )
        })
        .collect();
    // One is held by a shopper, one was sold in person, one was edited, one got more stock, one is gone already.
    shop.shopper().check_out(&[(&ids["Typed 0"], 1)]).await;
    let lines = json!([{"product_id": ids["Typed 1"], "quantity": 1}]);
    let seller = shop.admin(&spirit_beads::auth::Scope::ALL).await;
    let sold = seller
        .post("/api/admin/orders/", &json!({"lines": lines}))
        .await;
    assert_eq!(sold.status, 201, "{}", sold.text);
    let path = |name: &str| format!("/api/products/{}/", ids[name]);
    let edited = json!({"description": "My best one"});
    let edited = seller
        .send_json(Method::PATCH, &path("Typed 2"), &edited)
        .await;
    assert_eq!(edited.status, 200, "{}", edited.text);
    let more = json!({"delta": 1, "reason": "made"});
    let more = seller
        .post(&format!("{}stock/", path("Typed 3")), &more)
        .await;
    assert_eq!(more.status, 200, "{}", more.text);
    let gone = seller
        .send_json(Method::DELETE, &path("Typed 4"), &Value::Null)
        .await;
    assert_eq!(gone.status, 204, "{}", gone.text);

    let taken = batch.changes(Method::POST, "take-back", &Value::Null).await;
    assert_eq!(taken.status, 200, "{}", taken.text);
    let mut kept: Vec<(&str, &str)> = list(&taken.json, "kept")
        .iter()
        .map(|kept| (text(&kept["name"]), text(&kept["why"])))
        .collect();
    kept.sort_unstable();
    assert_eq!(
        kept,
        [
            ("Typed 0", "was ordered"),
            ("Typed 1", "was ordered"),
            ("Typed 2", "was edited"),
            ("Typed 3", "has other stock"),
        ]
    );
    assert_eq!(taken.json["removed"], 4);
    assert_eq!(taken.json["intake"]["status"], "open");
    let left = seller.get("/api/admin/products/?page_size=50").await.json;
    assert_eq!(list(&left, "results").len(), 4);

    // A piece whose product stays is not made twice, and not changed.
    let done = piece_with_product(&taken.json["intake"]);
    let change = batch
        .changes(
            Method::PATCH,
            &format!("pieces/{done}"),
            &json!({"left_out": true}),
        )
        .await;
    assert_eq!(
        change.json["code"], "piece_has_a_product",
        "{}",
        change.text
    );
    let again = batch.creates().await;
    assert_eq!(again["status"], "done");
    let all = seller.get("/api/admin/products/?page_size=50").await.json;
    assert_eq!(list(&all, "results").len(), 8);
}

fn piece_with_product(batch: &Value) -> String {
    let mut items = list(batch, "items").iter();
    let item = items.find(|item| item["product_id"].is_string());
    text(&item.expect("an item with a product")["front"]).to_owned()
}

#[tokio::test]
async fn the_catalog_tells_prices_and_the_batch_tells_the_rest() {
    let shop = Shop::open().await;
    for (name, price) in [("One", 4000), ("Two", 4700), ("Three", 5500)] {
        shop.stocks_with(name, 1, json!({"price": price})).await;
    }
    let admin = super::program(&shop).await;
    let category = admin
        .post("/api/categories/", &json!({"name": "Suns"}))
        .await;
    let choices = json!({
        "lighter_type": 1, "category": category.json["id"], "weight_ounces": "1.5", "inventory_count": 3,
    });
    let batch = Batch::begin(&shop, &choices).await;
    let photo = photograph("s210-kin-front.jpg");
    batch.sends("front", &[("table.jpg", &photo)]).await;
    shop.run_jobs().await;
    let shown = batch.shows().await;
    for item in list(&shown, "items") {
        assert_eq!(item["price"], 4700);
        assert_eq!(item["category"], category.json["id"]);
        assert_eq!(item["pairing"], "no_back");
    }
    batch.types_names_and_prices().await;
    batch.creates().await;
    let products = admin.get("/api/admin/products/?search=typed").await.json;
    for product in list(&products, "results") {
        assert_eq!(product["weight_ounces"], "1.50");
        assert_eq!(product["on_hand"], 3);
        assert_eq!(product["category_name"], "Suns");
        assert_eq!(list(product, "images").len(), 1);
    }
}

#[tokio::test]
async fn photographs_are_let_go_when_nobody_needs_them_any_more() {
    let shop = Shop::open().await;
    let batch = Batch::of_scene(&shop, "s210-kin").await;
    batch.types_names_and_prices().await;
    batch.creates().await;
    let begun = Batch::begin(&shop, &json!({})).await;
    let photo = photograph("s202-mixed-front.jpg");
    begun.sends("front", &[("table.jpg", &photo)]).await;
    shop.run_jobs().await;
    let sweeps = async |days: i32| {
        let sql = "update intakes set changed_at = changed_at - make_interval(days => $1)";
        let aged = sqlx::query(sql).bind(days).execute(&shop.db).await;
        aged.expect("time passes");
        let sweep = spirit_beads::jobs::Job::SweepImages;
        let swept = spirit_beads::worker::perform(&shop.app, sweep).await;
        swept.expect("a sweep");
    };
    sweeps(29).await;
    assert!(batch.shows().await["photos"][0]["image"].is_object());
    sweeps(2).await;
    let done = batch.shows().await;
    assert!(done["photos"][0]["image"].is_null());
    assert_eq!(done["status"], "done");
    let open = begun.shows().await;
    assert!(open["photos"][0]["image"].is_object());
    assert_eq!(open["status"], "open");
    sweeps(60).await;
    let discarded = begun.shows().await;
    assert_eq!(discarded["status"], "discarded");
    assert!(discarded["photos"][0]["image"].is_null());
    // The products keep their images.
    let products = batch.admin.get("/api/admin/products/").await.json;
    assert_eq!(list(&products["results"][0], "images").len(), 2);
    shop.run_jobs().await;
}
