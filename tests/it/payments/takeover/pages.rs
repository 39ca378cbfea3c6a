//! Pages of the old shop, paid after the switch.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Copied, copy_order, open_items, page, settles};
use crate::support::{Shop, at_once, card};

/// A shop with one piece, and a page that the old shop opened for it.
async fn one_page(how: Copied, amount: i64, shipping: i64) -> (Shop, String, String) {
    let shop = Shop::open().await;
    let on_hand = i32::from(how != Copied::Shipped);
    let piece = shop.stocks("Sunrise", on_hand).await;
    shop.run_jobs().await;
    let session = page(&shop, amount, shipping, "usd").await;
    copy_order(&shop, &session, &piece, how).await;
    (shop, piece, session)
}

#[tokio::test]
async fn a_page_of_the_old_shop_is_settled_for_what_it_asked() {
    let (shop, piece, session) = one_page(Copied::Held, 4700, 500).await;
    shop.stripe.pay(&session, card()).await.expect("a payment");
    settles(&shop).await;
    let order = shop.order(&session).await;
    assert_eq!(order["status"], "paid");
    assert_eq!(order["subtotal"], 4700);
    assert_eq!(order["shipping"], 500);
    assert_eq!(order["total"], 5200);
    assert_eq!(order["shipping_zone"], "us");
    assert_eq!(order["email"], "jane@example.com");
    assert_eq!(order["review_items"], json!([]));
    assert_eq!(shop.stock(&piece).await, (0, 0));
    assert_eq!(shop.emails_of("order_confirmation").await, 1);
    assert!(shop.at_stripe("refund").await.is_empty());
}

#[tokio::test]
async fn the_page_of_an_expired_order_gets_its_piece_if_it_is_there() {
    let (shop, piece, session) = one_page(Copied::Expired, 4700, 1500).await;
    shop.stripe.pay(&session, card()).await.expect("a payment");
    settles(&shop).await;
    let order = shop.order(&session).await;
    assert_eq!(order["status"], "paid");
    assert_eq!(order["total"], 6200);
    assert_eq!(order["shipping_zone"], "north_america");
    assert_eq!(order["outside_zone"], true, "the rate was another zone's");
    assert_eq!(open_items(&shop).await, ["outside_zone"]);
    assert_eq!(shop.stock(&piece).await, (0, 0));
}

#[tokio::test]
async fn the_page_of_an_expired_order_is_refunded_if_its_piece_was_sold() {
    let (shop, piece, session) = one_page(Copied::Expired, 4700, 500).await;
    shop.client.check_out(&[(&piece, 1)]).await;
    shop.stripe.pay(&session, card()).await.expect("a payment");
    settles(&shop).await;
    assert_eq!(shop.status_of(&session).await, "expired");
    let refunds = shop.at_stripe("refund").await;
    assert_eq!(refunds.len(), 1);
    assert_eq!(refunds[0]["amount"], 5200);
    assert_eq!(shop.stock(&piece).await, (1, 1));
    assert_eq!(open_items(&shop).await, ["payment_refused"]);
}

#[tokio::test]
async fn a_page_with_an_older_price_is_paid_and_flagged() {
    let (shop, _, session) = one_page(Copied::Held, 4200, 500).await;
    shop.stripe.pay(&session, card()).await.expect("a payment");
    settles(&shop).await;
    let order = shop.order(&session).await;
    assert_eq!(order["status"], "paid");
    assert_eq!(order["subtotal"], 4200);
    assert_eq!(order["total"], 4700);
    assert_eq!(
        order["review_items"][0]["text"],
        "$42.00 was paid for the pieces, and its lines come to $47.00"
    );
    assert_eq!(open_items(&shop).await, ["total_differs"]);
    assert!(shop.at_stripe("refund").await.is_empty());
}

#[tokio::test]
async fn a_page_in_another_currency_is_refunded() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    let session = page(&shop, 4700, 500, "eur").await;
    copy_order(&shop, &session, &piece, Copied::Held).await;
    shop.stripe.pay(&session, card()).await.expect("a payment");
    settles(&shop).await;
    assert_eq!(shop.status_of(&session).await, "failed");
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert_eq!(shop.stock(&piece).await, (1, 0));
}

#[tokio::test]
async fn a_page_reported_many_times_while_the_sweep_runs_is_settled_once() {
    let (shop, piece, session) = one_page(Copied::Held, 4700, 500).await;
    let shop = Arc::new(shop);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.wait(Duration::from_secs(3600)).await;
    let event = shop.event("checkout.session.completed").await;
    let posts = (0..20).map(|n| {
        let (shop, mut event) = (shop.clone(), event.clone());
        async move {
            if n % 4 == 0 {
                shop.sweep().await;
                return 200;
            }
            event["id"] = json!(format!("evt_{}", n % 7));
            shop.webhook(&event).await.status
        }
    });
    assert_eq!(at_once(posts).await, [200; 20]);
    settles(&shop).await;
    assert_eq!(shop.status_of(&session).await, "paid");
    assert_eq!(shop.stock(&piece).await, (0, 0));
    assert_eq!(shop.emails_of("order_confirmation").await, 1);
    assert!(shop.at_stripe("refund").await.is_empty());
}

#[tokio::test]
async fn a_page_whose_hold_ran_out_is_ended_at_stripe() {
    let (shop, piece, session) = one_page(Copied::Held, 4700, 500).await;
    shop.wait(Duration::from_secs(3600)).await;
    shop.sweep().await;
    assert_eq!(shop.session(&session).await["status"], "expired");
    assert_eq!(shop.status_of(&session).await, "expired");
    assert_eq!(shop.stock(&piece).await, (1, 0));
}

#[tokio::test]
async fn the_payment_of_an_order_marked_as_paid_by_hand_is_not_paid_twice() {
    let (shop, _, session) = one_page(Copied::Shipped, 4700, 500).await;
    let raised = "insert into review_items (order_id, kind, cause, text)
                  select order_id, 'takeover', 'takeover:order:' || order_id || ':payment', 'paid by hand' from checkouts";
    sqlx::raw_sql(raised)
        .execute(&shop.db)
        .await
        .expect("an item");
    // Somebody took the name out since.
    sqlx::query("update orders set customer_name = null, corrected = '{customer_name}'")
        .execute(&shop.db)
        .await
        .expect("a correction");
    let shop = Arc::new(shop);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let event = shop.event("checkout.session.completed").await;
    let posts = (0..12).map(|n| {
        let (shop, mut event) = (shop.clone(), event.clone());
        event["id"] = json!(format!("evt_{}", n % 3));
        async move { shop.webhook(&event).await.status }
    });
    assert_eq!(at_once(posts).await, [200; 12]);
    settles(&shop).await;
    let order = shop.order(&session).await;
    assert_eq!(order["status"], "shipped");
    assert_eq!(order["total"], 5200);
    assert_eq!(order["email"], "jane@example.com");
    assert_eq!(order["customer_name"], Value::Null, "it was corrected");
    assert_eq!(order["payment_unrecorded"], false);
    assert_eq!(open_items(&shop).await, [""; 0]);
    assert_eq!(shop.emails_of("order_confirmation").await, 0);
    assert_eq!(shop.emails_of("could_not_fulfill").await, 0);
    assert!(shop.at_stripe("refund").await.is_empty());
    let payment = shop.payment_of(&session).await;
    let settled: Option<String> = sqlx::query_scalar("select outcome from payments where id = $1")
        .bind(&payment)
        .fetch_one(&shop.db)
        .await
        .expect("the payment");
    assert_eq!(settled.as_deref(), Some("settled"));
}
