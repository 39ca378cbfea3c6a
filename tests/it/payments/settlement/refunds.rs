//! Refunds and disputes of settled payments.

use serde_json::json;

use super::{late_money_without_stock, note_of, one_piece_paid};
use crate::support::{Leftover, Shop, card, session_of};

#[tokio::test]
async fn refunds_by_the_owner_add_up_on_the_order() {
    let (shop, piece, session) = one_piece_paid().await;
    let payment = shop.payment_of(&session).await;
    shop.stripe
        .refund(&payment, Some(1200))
        .await
        .expect("a refund");
    shop.deliver().await;
    let order = shop.order(&session).await;
    assert_eq!(
        (&order["status"], &order["refunded"]),
        (&json!("paid"), &json!(1200))
    );
    shop.stripe.refund(&payment, None).await.expect("a refund");
    shop.deliver().await;
    let order = shop.order(&session).await;
    assert_eq!(
        (&order["status"], &order["refunded"]),
        (&json!("refunded"), &json!(5200))
    );
    assert_eq!(
        shop.stock(&piece).await,
        (0, 0),
        "the piece is with the shopper yet"
    );
    shop.audit_after_refunds().await;
}

#[tokio::test]
async fn a_refund_that_fails_is_the_shops_money_again() {
    let (shop, _, session) = one_piece_paid().await;
    let payment = shop.payment_of(&session).await;
    shop.stripe
        .refund(&payment, Some(1200))
        .await
        .expect("a refund");
    let lost = shop
        .stripe
        .refund(&payment, Some(700))
        .await
        .expect("a refund");
    shop.deliver().await;
    assert_eq!(shop.order(&session).await["refunded"], 1900);
    shop.stripe.fail_refund(&lost).await.expect("a failure");
    shop.deliver().await;
    let order = shop.order(&session).await;
    assert_eq!(
        (&order["status"], &order["refunded"]),
        (&json!("paid"), &json!(1200))
    );
    assert!(note_of(&shop, &session).await.contains("by hand"));
    shop.audit_after_refunds().await;
}

#[tokio::test]
async fn a_failed_refund_of_refused_money_is_flagged() {
    let (shop, _, session) = late_money_without_stock().await;
    shop.leaves(Leftover::UnsettledMoney);
    shop.audit_after_refunds().await;
    let refund = shop.at_stripe("refund").await.remove(0);
    let id = refund["id"].as_str().expect("an id");
    shop.stripe.fail_refund(id).await.expect("a failure");
    shop.deliver().await;
    assert!(note_of(&shop, &session).await.contains("by hand"));
    let state: String = sqlx::query_scalar("select state from refunds")
        .fetch_one(&shop.db)
        .await
        .expect("the refund");
    assert_eq!(state, "failed");
    // The same reports once more change nothing.
    for event in shop.stripe.events().await.expect("the events") {
        shop.webhook(&event).await;
    }
    let state: String = sqlx::query_scalar("select state from refunds")
        .fetch_one(&shop.db)
        .await
        .expect("the refund");
    assert_eq!(state, "failed");
}

#[tokio::test]
async fn disputes_are_shown_with_the_order_whatever_comes_first() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 4).await;
    let mut known = 0;
    for (backwards, won) in [(false, true), (false, false), (true, true), (true, false)] {
        let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        let payment = shop.payment_of(&session).await;
        shop.stripe.dispute(&payment).await.expect("a dispute");
        shop.stripe
            .close_dispute(&payment, won)
            .await
            .expect("a decision");
        let mut events = shop
            .stripe
            .events()
            .await
            .expect("the events")
            .split_off(known);
        known += events.len();
        if backwards {
            events.reverse();
        }
        for event in events {
            assert_eq!(shop.webhook(&event).await.status, 200);
        }
        let order = shop.order(&session).await;
        assert_eq!(order["status"], "paid");
        assert_eq!(order["dispute"], if won { "won" } else { "lost" });
        let told: Vec<String> = sqlx::query_scalar(
            "select e.note from order_events e join checkouts c on c.order_id = e.order_id
             where c.session_id = $1 and e.kind = 'dispute'",
        )
        .bind(&session)
        .fetch_all(&shop.db)
        .await
        .expect("the timeline");
        let word = if won { "was won" } else { "was lost" };
        assert!(told.iter().any(|note| note.contains(word)), "{told:?}");
    }
    shop.audit().await;
}
