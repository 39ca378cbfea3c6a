//! From cart to paid order.

use crate::support::{Shop, card, session_of};

#[tokio::test]
async fn a_piece_is_bought_and_its_stock_is_gone() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let shopper = shop.shopper();
    let session = session_of(&shopper.check_out(&[(&piece, 2)]).await);
    assert_eq!(shop.stock(&piece).await, (3, 2));
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;

    assert_eq!(shop.status_of(&session).await, "paid");
    assert_eq!(shop.stock(&piece).await, (1, 0));
    assert_eq!(
        shop.client.get("/api/products/sunrise/").await.json["inventory_count"],
        1
    );
    let order = shop
        .client
        .get(&format!("/api/orders/by-session/{session}/"))
        .await
        .json;
    assert_eq!(order["status"], "paid");
    assert_eq!(order["total"], 2 * 4700 + 500);
    shop.audit().await;
}

#[tokio::test]
async fn a_payment_reported_twice_takes_the_stock_once() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 2)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    for event in shop.stripe.events().await.expect("the events") {
        assert_eq!(shop.webhook(&event).await.status, 200);
        assert_eq!(shop.webhook(&event).await.status, 200);
    }
    assert_eq!(shop.stock(&piece).await, (1, 0));
    shop.run_jobs().await;
    shop.audit().await;
}
