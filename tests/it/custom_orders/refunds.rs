//! Refunds of custom orders.

use serde_json::json;
use spirit_beads::auth::Scope;

use super::{Workshop, text};
use crate::support::card;

#[tokio::test]
async fn a_refund_of_a_custom_order_is_its_order_s_like_any_other() {
    let (workshop, link) = Workshop::quoted().await;
    let session = workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    let payment = workshop.shop.payment_of(&session).await;
    workshop
        .shop
        .stripe
        .refund(&payment, None)
        .await
        .expect("a refund");
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    let view = workshop.view().await;
    assert_eq!(view["order"]["status"], "refunded");
    assert_eq!(view["status"], "refunded");
    let page = workshop.shop.status_page(&workshop.id);
    let page = workshop.shop.client.get(&page).await;
    assert_eq!(page.json["message"], "Your payment was refunded in full.");
    let shipment = json!({"carrier": "USPS"});
    let refused = workshop.post_with("ship", &shipment).await;
    assert_eq!(
        (refused.status, &refused.json["code"]),
        (409, &json!("not_shippable"))
    );
    for (what, code) in [("start", "not_paid"), ("complete", "not_shipped")] {
        let refused = workshop.post(what).await;
        assert_eq!((refused.status, &refused.json["code"]), (409, &json!(code)));
    }
    assert_eq!(
        workshop.moves().await,
        ["pending→approved", "approved→paid", "paid→refunded"]
    );
    assert_eq!(workshop.emails("order_refunded").await, 1);
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_refund_in_full_ends_a_piece_wherever_it_stands() {
    let steps = ["start", "ship", "complete"];
    for done in 0..=steps.len() {
        let (workshop, link) = Workshop::quoted().await;
        let shop = &workshop.shop;
        workshop.pays(&link, card()).await;
        shop.deliver().await;
        for step in &steps[..done] {
            let body = match *step {
                "ship" => json!({"carrier": "USPS"}),
                _ => json!({}),
            };
            let answer = workshop.post_with(step, &body).await;
            assert_eq!(answer.status, 200, "{step}: {}", answer.text);
        }
        let admin = shop
            .admin(&[Scope::Refunds, Scope::CustomOrders, Scope::OrdersRead])
            .await;
        let order = text(&workshop.view().await["order"]["number"]);
        let path = format!("/api/admin/orders/{order}/refund/");
        assert_eq!(admin.post(&path, &json!({})).await.status, 202);
        // Planned, and Stripe has not heard of it: nothing is begun or sent.
        if done < 2 {
            let shipment = json!({"carrier": "USPS"});
            for (what, body) in [("start", json!({})), ("ship", shipment)] {
                let refused = workshop.post_with(what, &body).await;
                let is_repeat = done == 1 && what == "start";
                assert_eq!(refused.status, if is_repeat { 200 } else { 409 });
                if !is_repeat {
                    assert_eq!(refused.json["code"], "refunded_in_full", "{what}");
                }
            }
        }
        shop.run_jobs().await;
        shop.deliver().await;
        shop.run_jobs().await;
        assert_eq!(workshop.status().await, "refunded", "after {done} steps");
        let board = admin.get("/api/admin/custom-orders/board/").await.json;
        let columns = board["columns"].as_array().expect("columns").iter();
        let going_on: i64 = columns.filter_map(|column| column["count"].as_i64()).sum();
        assert_eq!(going_on, 0, "{board}");
        let today = admin.get("/api/admin/dashboard/").await.json;
        assert_eq!(today["to_do"]["custom_orders_to_make"], 0);
        assert_eq!(today["to_do"]["orders_to_pack"], 0);
        let page = shop.client.get(&shop.status_page(&workshop.id)).await.json;
        assert_eq!(page["status"], "refunded");
        assert_eq!(page["message"], "Your payment was refunded in full.");
        for what in steps {
            let body = match what {
                "ship" => json!({"carrier": "USPS"}),
                _ => json!({}),
            };
            assert_eq!(workshop.post_with(what, &body).await.status, 409, "{what}");
        }
        shop.audit().await;
    }
}

#[tokio::test]
async fn a_piece_whose_refund_in_full_failed_is_where_it_was() {
    let states = ["paid", "in_production", "shipped", "completed"];
    let steps = ["start", "ship", "complete"];
    let body = |step: &str| match step {
        "ship" => json!({"carrier": "USPS", "ship_anyway": true}),
        _ => json!({}),
    };
    for (done, state) in states.into_iter().enumerate() {
        let (workshop, link) = Workshop::quoted().await;
        let shop = &workshop.shop;
        let session = workshop.pays(&link, card()).await;
        shop.deliver().await;
        for step in steps[..done].iter().copied() {
            let answer = workshop.post_with(step, &body(step)).await;
            assert_eq!(answer.status, 200, "{step}: {}", answer.text);
        }
        let payment = shop.payment_of(&session).await;
        let refund = shop.stripe.refund(&payment, None).await.expect("a refund");
        shop.settles().await;
        assert_eq!(workshop.status().await, "refunded");
        shop.stripe.fail_refund(&refund).await.expect("a failure");
        shop.settles().await;
        let view = workshop.view().await;
        assert_eq!(
            (&view["status"], &view["order"]["refunded"]),
            (&json!(state), &json!(0))
        );
        assert_eq!(view["review_items"][0]["kind"], "refund_failed");
        if done < 3 {
            let board = workshop
                .admin
                .get("/api/admin/custom-orders/board/")
                .await
                .json;
            let columns = board["columns"].as_array().expect("columns");
            let column = columns.iter().find(|column| column["status"] == state);
            assert_eq!(column.expect("its column")["count"], 1, "{board}");
        }
        if done < 2 {
            let unasked = json!({"carrier": "USPS"});
            let refused = workshop.post_with("ship", &unasked).await;
            assert_eq!(refused.json["code"], "confirm_shipping", "{}", refused.text);
            assert!(
                refused.text.contains("work on the piece may have stopped"),
                "{}",
                refused.text
            );
        }
        let why = view["review_items"][0]["text"].as_str().expect("a text");
        assert!(!why.contains("back into stock"), "{why}");
        for step in steps[done..].iter().copied() {
            let answer = workshop.post_with(step, &body(step)).await;
            assert_eq!(answer.status, 200, "{step}: {}", answer.text);
        }
        assert_eq!(workshop.status().await, "completed");
        shop.settles().await;
    }
}
