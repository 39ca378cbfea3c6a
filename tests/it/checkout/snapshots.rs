//! Answers of the checkout, in full.

use serde_json::{Value, json};
use stripe_sandbox::Fault;

use super::CREATE;
use crate::support::{Shop, Snapshots, card, session_of};

const CHECKOUT: &str = "/api/payments/create-checkout-session/";

#[tokio::test]
async fn answers_of_the_checkout_are_as_they_were_reviewed() {
    let shop = Shop::open_with(&[("LIMIT_HELD_PIECES", "4")]).await;
    let mut snapshots = Snapshots::of("checkout");
    let (shopper, call) = (shop.shopper(), format!("POST {CHECKOUT}"));
    let piece = shop.stocks("Sunrise", 50).await;
    let answer = shopper.check_out_once("k1", &[(&piece, 1)]).await;
    snapshots.answer("created", &call, &answer);
    let session = session_of(&answer);
    let again = shopper.check_out_once("k1", &[(&piece, 2)]).await;
    snapshots.answer("error_key_reused", &call, &again);
    let status = format!("/api/orders/by-session/{session}/");
    snapshots.get("order_pending", &shopper, &status).await;
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    snapshots.get("order_paid", &shopper, &status).await;
    let unknown = "/api/orders/by-session/unknown/";
    snapshots.get("error_no_session", &shopper, unknown).await;
    let event = json!({"id": "evt_1", "type": "invoice.paid", "data": {"object": {"id": "in_1"}}});
    let (hook, answer) = ("/api/payments/webhook/", shop.webhook(&event).await);
    snapshots.answer("webhook_received", &format!("POST {hook}"), &answer);
    snapshots
        .post("error_signature", &shopper, hook, &event)
        .await;

    carts(&mut snapshots, &shop).await;
    let cart = json!({"items": [{"product_id": piece, "quantity": 1}]});
    let refused = Fault::Refused {
        code: "parameter_invalid".to_owned(),
        message: "No such price".to_owned(),
        param: None,
    };
    for (name, fault) in [
        ("error_refused_by_stripe", refused),
        ("error_stripe_is_out", Fault::RateLimited),
    ] {
        shop.stripe.fail_next(CREATE, fault, 100);
        snapshots.post(name, &shopper, CHECKOUT, &cart).await;
        shop.stripe.clear_faults();
    }
}

/// Carts that cannot be bought.
async fn carts(snapshots: &mut Snapshots, shop: &Shop) {
    for (name, on_hand) in [("Sold", 0), ("Archived", 1), ("Foreign", 1), ("Few", 2)] {
        shop.stocks(name, on_hand).await;
    }
    sqlx::query(
        "update products
         set is_active = id <> 'archived', currency = case id when 'foreign' then 'eur' else currency end",
    )
    .execute(&shop.db)
    .await
    .expect("the products");
    let one = |id: &str| json!({"product_id": id, "quantity": 1});
    let mut items: Vec<Value> = ["sold", "archived", "foreign", "gone"].map(one).into();
    items.push(json!({"product_id": "few", "quantity": 3}));
    items.push(json!({"product_id": "few", "quantity": 0}));
    items.push(json!({"product_id": 42}));
    for (name, cart) in [
        ("error_cart", json!({ "items": items })),
        ("error_no_items", json!({})),
    ] {
        snapshots.post(name, &shop.client, CHECKOUT, &cart).await;
    }
    // The limits are for clients whose address is known.
    let stranger = [("x-forwarded-for", "203.0.113.1")];
    let client = &shop.client;
    session_of(&client.check_out_with(&[("sunrise", 3)], &stranger).await);
    let call = format!("POST {CHECKOUT}");
    for (name, quantity) in [("error_too_many_held", 2), ("error_too_many_pieces", 5)] {
        let cart = [("sunrise", quantity)];
        let answer = client.check_out_with(&cart, &stranger).await;
        snapshots.answer(name, &call, &answer);
    }
}
