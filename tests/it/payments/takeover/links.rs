//! Payment links that the old shop made: many payments, no address, and an id that nobody knows.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::{asks_stripe, open_items, settles};
use crate::support::{Leftover, Shop, at_once, card};

/// A shop with a copied custom order.
struct OldLinks {
    shop: Shop,
    id: String,
}

impl OldLinks {
    /// A custom order that waits, as the old shop had it.
    async fn open() -> OldLinks {
        let shop = Shop::open().await;
        let id = shop.asks_for_a_piece("ann@example.com").await;
        shop.run_jobs().await;
        OldLinks { shop, id }
    }

    /// Makes a link as the old shop makes it. Returns it.
    async fn link(&self, amount: i64) -> Value {
        let amount = amount.to_string();
        let params = [
            ("line_items[0][quantity]", "1"),
            ("line_items[0][price_data][currency]", "usd"),
            ("line_items[0][price_data][unit_amount]", &amount),
            ("line_items[0][price_data][product_data][name]", "Custom"),
            ("metadata[custom_request_id]", &self.id),
        ];
        asks_stripe(&self.shop, "payment_links", &params).await
    }

    /// Copies a quote of 90 dollars with a link whose id is not known. It may be `live`, `closed` or `paid`.
    async fn copies_quote(&self, state: &str, link: &Value) {
        sqlx::query(
            "insert into custom_order_quotes (id, custom_order_id, state, amount, shipping, shipping_zone, description,
                                              valid_days, valid_until, link_url, actor, is_copied)
             values (gen_random_uuid(), $1::uuid, $2, 9000, 0, 'us', 'A custom piece', 60, now() + interval '60 days', $3,
                     'import', true)",
        )
        .bind(&self.id)
        .bind(state)
        .bind(link["url"].as_str())
        .execute(&self.shop.db)
        .await
        .expect("the quote");
    }

    async fn sets_status(&self, status: &str) {
        sqlx::query("update custom_orders set status = $2 where id = $1::uuid")
            .bind(&self.id)
            .bind(status)
            .execute(&self.shop.db)
            .await
            .expect("the status");
    }

    /// A custom order with a live quote of 90 dollars, and its link.
    async fn quoted() -> (OldLinks, Value) {
        let old = OldLinks::open().await;
        let link = old.link(9000).await;
        old.copies_quote("live", &link).await;
        old.sets_status("approved").await;
        (old, link)
    }

    async fn pays(&self, link: &Value) -> String {
        let link = link["id"].as_str().expect("an id");
        let session = self.shop.stripe.open_link(link).await.expect("a page");
        self.shop.stripe.pay(&session, card()).await.expect("paid");
        session
    }

    async fn status(&self) -> String {
        sqlx::query_scalar("select status from custom_orders where id = $1::uuid")
            .bind(&self.id)
            .fetch_one(&self.shop.db)
            .await
            .expect("the status")
    }

    async fn is_active(&self, link: &Value) -> bool {
        let links = self.shop.at_stripe("payment_link").await;
        let found = links.iter().find(|known| known["id"] == link["id"]);
        found.expect("the link")["active"] == true
    }

    async fn refunded(&self) -> Vec<i64> {
        let refunds = self.shop.at_stripe("refund").await;
        let amounts = refunds.iter().map(|refund| refund["amount"].as_i64());
        amounts.map(|amount| amount.expect("an amount")).collect()
    }
}

#[tokio::test]
async fn an_old_link_pays_its_quote_and_is_closed() {
    let (old, link) = OldLinks::quoted().await;
    old.pays(&link).await;
    settles(&old.shop).await;
    assert_eq!(old.status().await, "paid");
    assert_eq!(old.shop.statuses().await, ["paid"]);
    assert_eq!(old.shop.emails_of("payment_received").await, 1);
    assert!(old.refunded().await.is_empty());
    assert!(
        !old.is_active(&link).await,
        "it would take a second payment"
    );
    assert_eq!(open_items(&old.shop).await, ["address_missing"]);
}

#[tokio::test]
async fn of_many_payments_of_an_old_link_one_counts_and_the_others_are_refunded() {
    let (old, link) = OldLinks::quoted().await;
    for _ in 0..3 {
        old.pays(&link).await;
    }
    let events = old.shop.stripe.events().await.expect("the events");
    let old = Arc::new(old);
    let posts = (0..4).flat_map(|_| events.clone()).map(|event| {
        let old = old.clone();
        async move { old.shop.webhook(&event).await.status }
    });
    for status in at_once(posts.collect::<Vec<_>>()).await {
        assert_eq!(status, 200);
    }
    settles(&old.shop).await;
    assert_eq!(old.shop.statuses().await, ["paid"]);
    assert_eq!(old.refunded().await, [9000, 9000]);
    let refused = open_items(&old.shop).await;
    assert_eq!(
        refused,
        ["address_missing", "payment_refused", "payment_refused"]
    );
}

#[tokio::test]
async fn an_old_link_of_a_rejected_custom_order_is_refunded_and_closed() {
    let old = OldLinks::open().await;
    let link = old.link(9000).await;
    old.copies_quote("closed", &link).await;
    old.sets_status("rejected").await;
    old.pays(&link).await;
    settles(&old.shop).await;
    assert_eq!(old.status().await, "rejected");
    assert_eq!(old.refunded().await, [9000]);
    assert_eq!(open_items(&old.shop).await, ["payment_refused"]);
    assert!(!old.is_active(&link).await);
}

#[tokio::test]
async fn an_old_link_of_a_custom_order_without_a_quote_is_refunded() {
    let old = OldLinks::open().await;
    let link = old.link(9000).await;
    old.pays(&link).await;
    settles(&old.shop).await;
    assert_eq!(old.status().await, "pending");
    assert_eq!(old.refunded().await, [9000]);
    assert_eq!(open_items(&old.shop).await, ["payment_refused"]);
}

#[tokio::test]
async fn an_earlier_link_of_another_price_is_refunded_and_the_quote_stays() {
    let (old, link) = OldLinks::quoted().await;
    let earlier = old.link(7000).await;
    old.pays(&earlier).await;
    settles(&old.shop).await;
    assert_eq!(old.status().await, "approved");
    assert_eq!(old.refunded().await, [7000]);
    assert!(old.is_active(&link).await);
    old.pays(&link).await;
    settles(&old.shop).await;
    assert_eq!(old.status().await, "paid");
    assert_eq!(old.refunded().await, [7000]);
    assert!(!old.is_active(&link).await && !old.is_active(&earlier).await);
}

#[tokio::test]
async fn a_link_that_asks_another_amount_than_its_own_quote_is_refunded_and_the_quote_closed() {
    let (old, link) = OldLinks::quoted().await;
    sqlx::query("update custom_order_quotes set link_id = $1, amount = 9500")
        .bind(link["id"].as_str())
        .execute(&old.shop.db)
        .await
        .expect("a change");
    old.pays(&link).await;
    settles(&old.shop).await;
    assert_eq!(old.status().await, "expired");
    assert_eq!(old.refunded().await, [9000]);
    assert!(!old.is_active(&link).await);
}

#[tokio::test]
async fn the_payment_of_a_custom_order_marked_as_paid_by_hand_is_not_paid_twice() {
    let old = OldLinks::open().await;
    let link = old.link(9000).await;
    let order = uuid::Uuid::now_v7();
    sqlx::query(
        "insert into orders (id, status, channel, is_custom_order, currency, subtotal, shipping, total, paid_at,
                             payment_unrecorded)
         values ($1, 'paid', 'custom_order', true, 'usd', 0, 0, 0, now(), true)",
    )
    .bind(order)
    .execute(&old.shop.db)
    .await
    .expect("the order");
    for sql in [
        "insert into order_lines (order_id, position, name, unit_price, quantity) values ($1, 1, 'Custom piece', 0, 1)",
        "update custom_orders set status = 'in_production', order_id = $1",
    ] {
        let done = sqlx::query(sql).bind(order).execute(&old.shop.db).await;
        done.expect(sql);
    }
    old.copies_quote("paid", &link).await;
    old.pays(&link).await;
    let event = old.shop.event("checkout.session.completed").await;
    let old = Arc::new(old);
    let posts = (0..9).map(|n| {
        let (old, mut event) = (old.clone(), event.clone());
        event["id"] = json!(format!("evt_{}", n % 3));
        async move { old.shop.webhook(&event).await.status }
    });
    assert_eq!(at_once(posts).await, [200; 9]);
    settles(&old.shop).await;
    assert!(old.refunded().await.is_empty());
    let total: (i64, i64) = sqlx::query_as("select total, unit_price from orders, order_lines")
        .fetch_one(&old.shop.db)
        .await
        .expect("the order");
    assert_eq!(total, (9000, 9000));
    assert_eq!(old.shop.emails_of("payment_received").await, 0);
    assert_eq!(open_items(&old.shop).await, [""; 0]);
    assert!(!old.is_active(&link).await);
    let session = sqlx::query_scalar::<_, String>("select session_id from payments")
        .fetch_one(&old.shop.db)
        .await
        .expect("the payment");
    assert_eq!(old.shop.session(&session).await["payment_link"], link["id"]);
}

#[tokio::test]
async fn a_copied_quote_that_is_withdrawn_closes_a_link_whose_id_nobody_knew() {
    let (old, link) = OldLinks::quoted().await;
    let admin = old.shop.admin(&[Scope::CustomOrders]).await;
    let path = format!("/api/admin/custom-orders/{}/withdraw", old.id);
    let answer = admin
        .send_json(Method::POST, &path, &json!({"reason": "no beads"}))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    settles(&old.shop).await;
    assert_eq!(old.status().await, "pending");
    assert!(!old.is_active(&link).await);
}

#[tokio::test]
async fn a_copied_quote_is_withdrawn_though_an_earlier_link_of_another_price_was_paid() {
    let (old, link) = OldLinks::quoted().await;
    let earlier = old.link(7000).await;
    old.pays(&earlier).await;
    settles(&old.shop).await;
    assert_eq!(old.refunded().await, [7000]);
    let admin = old.shop.admin(&[Scope::CustomOrders]).await;
    let path = format!("/api/admin/custom-orders/{}/withdraw", old.id);
    let answer = admin.post(&path, &json!({"reason": "no beads"})).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    settles(&old.shop).await;
    assert_eq!(old.status().await, "pending");
    assert!(!old.is_active(&link).await && !old.is_active(&earlier).await);
}

#[tokio::test]
async fn a_copied_quote_that_is_paid_while_it_is_withdrawn_stays_paid() {
    let (old, link) = OldLinks::quoted().await;
    let admin = old.shop.admin(&[Scope::CustomOrders]).await;
    let path = format!("/api/admin/custom-orders/{}/withdraw", old.id);
    let answer = admin.post(&path, &json!({"reason": ""})).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    old.pays(&link).await;
    settles(&old.shop).await;
    assert_eq!(old.status().await, "paid");
    assert!(old.refunded().await.is_empty());
    assert!(!old.is_active(&link).await);
}

#[tokio::test]
async fn an_old_link_of_an_unknown_custom_order_is_flagged() {
    let mut old = OldLinks::open().await;
    old.shop.leaves(Leftover::UnsettledMoney);
    old.id = uuid::Uuid::now_v7().to_string();
    let link = old.link(9000).await;
    old.pays(&link).await;
    settles(&old.shop).await;
    assert_eq!(open_items(&old.shop).await, ["custom_order_missing"]);
    assert_eq!(old.shop.emails_of("review_item").await, 1);
}
