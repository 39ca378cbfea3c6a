//! Stripe's products and prices follow ours.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use spirit_beads::products;
use spirit_beads::types::ids::ProductId;
use stripe_sandbox::Fault;

use crate::support::{Client, Shop, card, session_of};

const SUNRISE: &str = "/api/products/sunrise/";

/// A shop with one piece of which Stripe has heard, and its user.
async fn one_synced_piece() -> (Shop, String, Client) {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 5).await;
    shop.run_jobs().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    (shop, piece, admin)
}

/// State of the sync as the owner sees it.
async fn view(admin: &Client) -> Value {
    let answer = admin.get("/api/admin/products/sunrise/").await;
    answer.json["stripe"].clone()
}

/// Objects at Stripe: the product, and its prices as (amount, active).
async fn list(shop: &Shop) -> (Value, Vec<(i64, bool)>) {
    list_of(shop, "sunrise").await
}

async fn list_of(shop: &Shop, id: &str) -> (Value, Vec<(i64, bool)>) {
    let products = shop.at_stripe("product").await;
    let mut ours = products
        .into_iter()
        .filter(|product| product["metadata"]["product_id"] == id);
    let product = ours.next().expect("a product");
    assert!(
        ours.next().is_none(),
        "there is one product for one of ours"
    );
    let prices = shop.at_stripe("price").await;
    let prices = prices
        .iter()
        .filter(|price| price["product"] == product["id"])
        .map(|price| {
            let amount = price["unit_amount"].as_i64().expect("an amount");
            (amount, price["active"] == true)
        })
        .collect();
    (product, prices)
}

async fn patch(admin: &Client, body: Value) {
    let answer = admin.send_json(Method::PATCH, SUNRISE, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn a_failure_that_stripe_keeps_under_a_key_does_not_hold_a_product_for_a_day() {
    for operation in ["POST /v1/products", "POST /v1/prices"] {
        for fault in [Fault::ServerError, Fault::ActThenServerError] {
            let shop = Shop::open().await;
            shop.stocks("Sunrise", 5).await;
            shop.stripe.fail_next(operation, fault.clone(), 3);
            assert_eq!(
                shop.run_failing_jobs().await.len(),
                1,
                "{operation} {fault:?}"
            );
            shop.stripe.clear_faults();
            shop.hurry_jobs().await;
            shop.run_jobs().await;
            let admin = shop.admin(&[Scope::Catalog]).await;
            assert_eq!(view(&admin).await["status"], "synced");
            list(&shop).await;
        }
    }
}

#[tokio::test]
async fn a_new_product_gets_a_product_and_a_price() {
    let (shop, _, admin) = one_synced_piece().await;
    let (product, prices) = list(&shop).await;
    assert_eq!(prices, [(4700, true)]);
    assert_eq!(
        (&product["name"], &product["active"]),
        (&json!("Sunrise"), &json!(true))
    );
    let view = view(&admin).await;
    assert_eq!(view["status"], "synced");
    assert_eq!(view["product_id"], product["id"]);
    assert_eq!(view["price_id"], product["default_price"]);
}

#[tokio::test]
async fn a_new_price_becomes_the_default_and_the_old_one_is_archived() {
    let (shop, _, admin) = one_synced_piece().await;
    patch(&admin, json!({"price": 5900})).await;
    assert_eq!(view(&admin).await["status"], "pending");
    shop.run_jobs().await;
    let (product, prices) = list(&shop).await;
    assert_eq!(prices, [(4700, false), (5900, true)]);
    assert_eq!(view(&admin).await["price_id"], product["default_price"]);
    assert_eq!(view(&admin).await["status"], "synced");
    // There and back again, with and without Stripe hearing of what lay between.
    patch(&admin, json!({"price": 4700})).await;
    patch(&admin, json!({"price": 5900})).await;
    shop.run_jobs().await;
    assert_eq!(list(&shop).await.1, [(4700, false), (5900, true)]);
    patch(&admin, json!({"price": 4700})).await;
    shop.run_jobs().await;
    let (_, prices) = list(&shop).await;
    let active: Vec<_> = prices.iter().filter(|(_, active)| *active).collect();
    assert_eq!(active, [&(4700, true)]);
}

#[tokio::test]
async fn the_price_asked_is_ours_even_before_stripe_has_heard_of_it() {
    let (shop, piece, admin) = one_synced_piece().await;
    let total = async |price: i64| {
        let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
        assert_eq!(shop.session(&session).await["amount_total"], price + 500);
        session
    };
    let line = || {
        let requests = shop.stripe.requests();
        let last = requests
            .iter()
            .rfind(|request| request.operation == "POST /v1/checkout/sessions");
        let params = &last.expect("a request").params;
        params
            .iter()
            .any(|(name, _)| name == "line_items[0][price]")
    };
    total(4700).await;
    assert!(line(), "Stripe's own price is used");
    patch(&admin, json!({"price": 5900})).await;
    let session = total(5900).await;
    assert!(!line(), "no price of Stripe's is used");
    shop.run_jobs().await;
    total(5900).await;
    assert!(line(), "Stripe's own price is used again");
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(shop.status_of(&session).await, "paid");
    shop.audit().await;
}

#[tokio::test]
async fn a_name_and_an_image_follow() {
    let (shop, _, admin) = one_synced_piece().await;
    patch(
        &admin,
        json!({"name": "Sunset", "primary_image": "https://img.example/a.png"}),
    )
    .await;
    shop.run_jobs().await;
    let (product, prices) = list(&shop).await;
    assert_eq!(product["name"], "Sunset");
    assert_eq!(product["images"], json!(["https://img.example/a.png"]));
    assert_eq!(prices, [(4700, true)]);
    patch(&admin, json!({"primary_image": null})).await;
    shop.run_jobs().await;
    assert_eq!(list(&shop).await.0["images"], json!([]));
}

#[tokio::test]
async fn pieces_not_for_sale_are_not_for_sale_at_stripe() {
    let (shop, _, admin) = one_synced_piece().await;
    let archive = format!("{SUNRISE}archive/");
    assert_eq!(admin.post(&archive, &json!({})).await.status, 200);
    shop.run_jobs().await;
    assert_eq!(list(&shop).await.0["active"], false);
    let restore = format!("{SUNRISE}restore/");
    assert_eq!(admin.post(&restore, &json!({})).await.status, 200);
    shop.run_jobs().await;
    assert_eq!(list(&shop).await.0["active"], true);
    let deleted = admin.send_json(Method::DELETE, SUNRISE, &json!({})).await;
    assert_eq!(deleted.status, 204);
    shop.run_jobs().await;
    assert_eq!(list(&shop).await.0["active"], false);
}

#[tokio::test]
async fn a_refusal_is_shown_and_can_be_tried_again() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 5).await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let refused = Fault::Refused {
        code: "parameter_invalid".to_owned(),
        message: "Invalid name".to_owned(),
        param: Some("name".to_owned()),
    };
    shop.stripe.fail_next("POST /v1/products", refused, 1);
    shop.run_jobs().await;
    let shown = view(&admin).await;
    assert_eq!(shown["status"], "error");
    assert!(
        shown["error"]
            .as_str()
            .is_some_and(|error| error.contains("Invalid name"))
    );
    // A sale is not lost to it.
    session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    let again = admin.post(&format!("{SUNRISE}sync/"), &json!({})).await;
    assert_eq!(again.status, 202);
    shop.run_jobs().await;
    let shown = view(&admin).await;
    assert_eq!(
        (&shown["status"], &shown["error"]),
        (&json!("synced"), &Value::Null)
    );
    assert_eq!(list(&shop).await.1, [(4700, true)]);
}

#[tokio::test]
async fn an_outage_at_any_step_ends_in_one_product_and_one_price() {
    let shop = Shop::open().await;
    let steps = [
        ("POST /v1/products", Fault::RateLimited),
        ("POST /v1/products", Fault::ActThenDrop),
        ("POST /v1/prices", Fault::ActThenDrop),
        ("POST /v1/products/{id}", Fault::ActThenDrop),
    ];
    for (n, (operation, fault)) in steps.into_iter().enumerate() {
        let id = shop.stocks(&format!("Bead {n}"), 5).await;
        shop.stripe.fail_next(operation, fault, 3);
        let left = shop.run_failing_jobs().await;
        assert_eq!(left.len(), 1, "{n}");
        shop.hurry_jobs().await;
        shop.run_jobs().await;
        let (product, prices) = list_of(&shop, &id).await;
        assert_eq!(prices, [(4700, true)], "{n}");
        assert!(product["default_price"].is_string(), "{n}");
    }
}

#[tokio::test]
async fn an_outage_while_a_price_is_archived_is_made_up_for() {
    let (shop, _, admin) = one_synced_piece().await;
    patch(&admin, json!({"price": 5900})).await;
    shop.stripe
        .fail_next("POST /v1/prices/{id}", Fault::BadGateway, 3);
    assert_eq!(shop.run_failing_jobs().await.len(), 1);
    shop.hurry_jobs().await;
    shop.run_jobs().await;
    assert_eq!(list(&shop).await.1, [(4700, false), (5900, true)]);
}

/// Makes the piece one that was imported with these ids of Stripe's, which nobody has verified.
async fn import(shop: &Shop, product: &Value, price: &Value) {
    sqlx::query(
        "update products
         set stripe_product_id = $1, stripe_price_id = $2, stripe_price_amount = null,
             stripe_price_currency = null, stripe_status = 'pending'",
    )
    .bind(product.as_str())
    .bind(price.as_str())
    .execute(&shop.db)
    .await
    .expect("an import");
}

#[tokio::test]
async fn imported_ids_are_believed_when_stripe_confirms_them() {
    let (shop, piece, admin) = one_synced_piece().await;
    let before = view(&admin).await;
    import(&shop, &before["product_id"], &before["price_id"]).await;
    // Until then the price is told, not named.
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    assert_eq!(shop.session(&session).await["amount_total"], 5200);
    admin.post(&format!("{SUNRISE}sync/"), &json!({})).await;
    shop.run_jobs().await;
    let after = view(&admin).await;
    assert_eq!(after["status"], "synced");
    assert_eq!(after["price_id"], before["price_id"]);
    assert_eq!(list(&shop).await.1, [(4700, true)]);
}

#[tokio::test]
async fn an_imported_price_that_is_not_ours_is_replaced() {
    let (shop, piece, admin) = one_synced_piece().await;
    let before = view(&admin).await;
    import(&shop, &before["product_id"], &before["price_id"]).await;
    patch(&admin, json!({"price": 5900})).await;
    shop.run_jobs().await;
    assert_eq!(view(&admin).await["status"], "synced");
    assert_eq!(list(&shop).await.1, [(4700, false), (5900, true)]);
    import(&shop, &before["product_id"], &json!("price_unheard_of")).await;
    admin.post(&format!("{SUNRISE}sync/"), &json!({})).await;
    shop.run_jobs().await;
    assert_eq!(view(&admin).await["status"], "synced");
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    assert_eq!(shop.session(&session).await["amount_total"], 6400);
}

#[tokio::test]
async fn an_imported_product_that_stripe_does_not_know_is_made_anew() {
    let (shop, piece, admin) = one_synced_piece().await;
    import(&shop, &json!("prod_unheard_of"), &json!("price_unheard_of")).await;
    admin.post(&format!("{SUNRISE}sync/"), &json!({})).await;
    shop.run_jobs().await;
    let shown = view(&admin).await;
    assert_eq!(shown["status"], "synced");
    assert!(
        shown["product_id"]
            .as_str()
            .is_some_and(|id| id.starts_with("sb_"))
    );
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    let line = shop.stripe.requests().pop().expect("a request").params;
    assert!(
        line.iter().any(|(name, _)| name == "line_items[0][price]"),
        "{line:?}"
    );
    assert_eq!(shop.session(&session).await["amount_total"], 5200);
}

/// Such an id would make an address that cannot be sent, or that of something else.
#[tokio::test]
async fn an_id_that_none_can_be_is_told_and_not_tried_for_ever() {
    let (shop, piece, admin) = one_synced_piece().await;
    let before = view(&admin).await;
    let asked = shop.stripe.requests().len();
    for id in [
        "prod 1",
        "../refunds",
        "prod_1?x",
        "prod/1/..",
        "prod_é",
        "",
    ] {
        import(&shop, &json!(id), &before["price_id"]).await;
        admin.post(&format!("{SUNRISE}sync/"), &json!({})).await;
        shop.run_jobs().await;
        let shown = view(&admin).await;
        assert_eq!(shown["status"], "error", "{id}");
        let error = shown["error"].as_str().expect("a reason");
        assert!(error.contains("an id has characters"), "{error}");
    }
    assert_eq!(shop.stripe.requests().len(), asked);
    // A sale is not lost to it.
    session_of(&shop.client.check_out(&[(&piece, 1)]).await);
}

/// A price archived in Stripe's dashboard, or another account's: the sale goes on by its amount, the sync mends the rest.
#[tokio::test]
async fn a_price_that_stripe_would_not_have_loses_no_sale() {
    let (shop, piece, admin) = one_synced_piece().await;
    let before = view(&admin).await;
    sqlx::query("update products set stripe_price_id = 'price_of_another_account'")
        .execute(&shop.db)
        .await
        .expect("another account's price");
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    assert_eq!(shop.session(&session).await["amount_total"], 5200);
    assert_eq!(shop.statuses().await, ["failed", "pending"]);
    shop.run_jobs().await;
    let after = view(&admin).await;
    assert_eq!(after["status"], "synced");
    assert_eq!(after["product_id"], before["product_id"]);
    assert_ne!(after["price_id"], "price_of_another_account");
    shop.audit().await;
}

#[tokio::test]
async fn a_sync_that_was_overtaken_does_not_undo_the_newer_one() {
    let (shop, _, admin) = one_synced_piece().await;
    patch(&admin, json!({"price": 5900})).await;
    let mut conn = shop.db.acquire().await.expect("a connection");
    let id = ProductId("sunrise".to_owned());
    let old = products::find_for_sync(&mut conn, &id)
        .await
        .expect("a read")
        .expect("the row");
    patch(&admin, json!({"price": 6900})).await;
    shop.run_jobs().await;
    let newer = view(&admin).await;
    // The overtaken run made its price in between, and ends now.
    products::record_price(&mut conn, &old, "price_of_the_old_run")
        .await
        .expect("a record");
    assert!(
        !products::record_synced(&mut conn, &id, old.version)
            .await
            .expect("a record")
    );
    products::record_sync_error(&mut conn, &id, old.version, "old news")
        .await
        .expect("a record");
    assert_eq!(view(&admin).await, newer);
    let row = products::find_for_sync(&mut conn, &id)
        .await
        .expect("a read")
        .expect("the row");
    assert_eq!(row.stripe_retired_prices, ["price_of_the_old_run"]);
}

#[tokio::test]
async fn a_price_changed_while_the_sync_runs_is_synced_after_it() {
    let (shop, _, admin) = one_synced_piece().await;
    patch(&admin, json!({"price": 5900})).await;
    shop.stripe.fail_next(
        "POST /v1/prices",
        Fault::Slow(std::time::Duration::from_millis(300)),
        1,
    );
    let changing = async {
        while shop
            .stripe
            .requests()
            .iter()
            .filter(|r| r.operation == "POST /v1/prices")
            .count()
            < 2
        {
            tokio::task::yield_now().await;
        }
        patch(&admin, json!({"price": 6900})).await;
    };
    tokio::join!(shop.run_failing_jobs(), changing);
    shop.run_jobs().await;
    let shown = view(&admin).await;
    assert_eq!(shown["status"], "synced");
    let (product, prices) = list(&shop).await;
    assert_eq!(prices, [(4700, false), (5900, false), (6900, true)]);
    assert_eq!(shown["price_id"], product["default_price"]);
}
