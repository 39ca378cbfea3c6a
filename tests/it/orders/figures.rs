//! Sales figures: the money that stayed, on the shop's days.

use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use crate::support::{Client, Shop, card, session_of, zone_at_noon};

/// Orders of $47 and $5 shipping.
struct Stall {
    shop: Shop,
    admin: Client,
    piece: String,
}

impl Stall {
    async fn open() -> Stall {
        let shop = Shop::open_with(&[("SHOP_TIME_ZONE", &zone_at_noon())]).await;
        let piece = shop.stocks("Sunrise", 50).await;
        let admin = shop
            .admin(&[Scope::OrdersRead, Scope::OrdersWrite, Scope::Refunds])
            .await;
        Stall { shop, admin, piece }
    }

    /// Sells a piece through the storefront. Returns the payment.
    async fn sells(&self) -> String {
        let cart = self.shop.shopper().check_out(&[(&self.piece, 1)]).await;
        let session = session_of(&cart);
        let paid = self.shop.stripe.pay(&session, card()).await;
        paid.expect("a payment");
        self.hears().await;
        self.shop.payment_of(&session).await
    }

    /// Sells two pieces in person. Returns the order's number.
    async fn sells_in_person(&self) -> String {
        let sale = json!({"lines": [{"product_id": self.piece, "quantity": 2}]});
        let sold = self.admin.post("/api/admin/orders/", &sale).await;
        assert_eq!(sold.status, 201, "{}", sold.text);
        sold.json["number"].as_str().expect("a number").to_owned()
    }

    async fn hears(&self) {
        self.shop.deliver().await;
        self.shop.run_jobs().await;
        self.shop.deliver().await;
        self.shop.run_jobs().await;
    }

    /// Has the latest order be paid at this time of day, so many days ago, where the shop is.
    async fn was(&self, days: i32, time: &str) {
        sqlx::query(
            "update orders
             set paid_at = ((now() at time zone $1)::date - $2 + $3::time) at time zone $1
             where number = (select max(number) from orders)",
        )
        .bind(zone_at_noon())
        .bind(days)
        .bind(time)
        .execute(&self.shop.db)
        .await
        .expect("another time");
    }

    async fn refund(&self, number: &str, body: &Value) {
        let path = format!("/api/admin/orders/{number}/refund/");
        let refund = self.admin.post(&path, body).await;
        assert_eq!(refund.status, 202, "{}", refund.text);
        self.hears().await;
    }

    async fn disputes(&self, payment: &str, amount: Option<i64>, won: bool) {
        let stripe = &self.shop.stripe;
        stripe.dispute(payment).await.expect("a dispute");
        self.hears().await;
        stripe.close_dispute(payment, won).await.expect("an end");
        self.hears().await;
        if let Some(amount) = amount {
            // The sandbox disputes the whole payment.
            sqlx::query("update disputes set amount = $2 where payment_id = $1")
                .bind(payment)
                .bind(amount)
                .execute(&self.shop.db)
                .await
                .expect("another amount");
        }
    }

    async fn today(&self, days: i32) -> Value {
        let path = format!("/api/admin/dashboard/?days={days}");
        let answer = self.admin.get(&path).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json
    }

    /// Orders and revenue of each day: days ago, orders, cents.
    async fn days(&self) -> Vec<(i64, i64, i64)> {
        let view = self.today(90).await;
        let day = |value: &Value| -> chrono::NaiveDate {
            let text = value.as_str().expect("a day");
            text.parse().expect("a day")
        };
        let today = day(&view["today"]);
        let sales = view["sales"].as_array().expect("days").iter();
        let mut days: Vec<(i64, i64, i64)> = sales
            .map(|sold| {
                let ago = (today - day(&sold["day"])).num_days();
                let number = |field: &str| sold[field].as_i64().expect("a number");
                (ago, number("orders"), number("takings"))
            })
            .collect();
        days.sort_unstable();
        days
    }

    /// Pieces sold in the last days.
    async fn pieces(&self, days: i32) -> Value {
        self.today(days).await["best_sellers"][0]["pieces"].clone()
    }
}

#[tokio::test]
async fn revenue_leaves_out_refunded_money_and_orders_that_kept_none() {
    let stall = Stall::open().await;
    stall.sells().await;
    stall.was(2, "23:59:59").await;
    stall.sells().await;
    stall.was(1, "00:00").await;
    stall.sells().await;
    assert_eq!(
        stall.days().await,
        [(0, 1, 5200), (1, 1, 5200), (2, 1, 5200)]
    );

    // On the day of the payment, whenever the money goes back.
    stall.refund("SB-1001", &json!({"amount": 1000})).await;
    stall.refund("SB-1002", &json!({})).await;
    assert_eq!(stall.days().await, [(0, 1, 5200), (2, 1, 4200)]);
    stall.refund("SB-1001", &json!({"amount": 4200})).await;
    assert_eq!(stall.days().await, [(0, 1, 5200)]);
    let view = stall.today(30).await;
    assert_eq!(
        view["takings"][2]["takings"],
        json!([{"currency": "usd", "orders": 1, "amount": 5200}])
    );
    assert_eq!(stall.pieces(30).await, 1);
}

#[tokio::test]
async fn revenue_leaves_out_the_money_of_lost_disputes() {
    let stall = Stall::open().await;
    let [whole, part, won, refunded] = [
        stall.sells().await,
        stall.sells().await,
        stall.sells().await,
        stall.sells().await,
    ];
    assert_eq!(stall.days().await, [(0, 4, 20_800)]);
    stall.disputes(&won, None, true).await;
    assert_eq!(stall.days().await, [(0, 4, 20_800)]);
    stall.disputes(&whole, None, false).await;
    assert_eq!(stall.days().await, [(0, 3, 15_600)]);
    stall.disputes(&part, Some(2000), false).await;
    assert_eq!(stall.days().await, [(0, 3, 13_600)]);
    // Whatever is lost beside a refund: an order never costs more than it brought.
    stall.refund("SB-1004", &json!({"amount": 5000})).await;
    stall.disputes(&refunded, Some(200), false).await;
    assert_eq!(stall.days().await, [(0, 2, 8400)]);
}

#[tokio::test]
async fn an_undone_sale_is_no_sale() {
    let stall = Stall::open().await;
    let kept = stall.sells_in_person().await;
    stall.was(1, "23:30").await;
    let undone = stall.sells_in_person().await;
    stall.was(1, "00:30").await;
    assert_eq!(stall.days().await, [(1, 2, 18_800)]);
    assert_eq!(stall.pieces(30).await, 4);
    let path = format!("/api/admin/orders/{undone}/undo/");
    let answer = stall.admin.post(&path, &json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(stall.days().await, [(1, 1, 9400)]);
    assert_eq!(stall.pieces(30).await, 2);
    assert_ne!(kept, undone);
}

#[tokio::test]
async fn a_period_begins_with_its_first_day_where_the_shop_is() {
    let stall = Stall::open().await;
    stall.sells_in_person().await;
    stall.was(6, "00:00").await;
    stall.sells().await;
    stall.was(7, "23:59:59.999999").await;
    assert_eq!(stall.days().await, [(6, 1, 9400), (7, 1, 5200)]);
    let view = stall.today(7).await;
    assert_eq!(view["takings"][1]["days"], 7);
    assert_eq!(
        view["takings"][1]["takings"],
        json!([{"currency": "usd", "orders": 1, "amount": 9400}])
    );
    // Best sellers have the days of the revenue.
    assert_eq!(stall.pieces(7).await, 2);
    assert_eq!(stall.pieces(8).await, 3);
    assert_eq!(stall.pieces(6).await, Value::Null);
}

#[tokio::test]
async fn a_period_tells_how_many_checkouts_were_paid_what_was_refunded_and_which_categories_sold() {
    let stall = Stall::open().await;
    let category = stall.shop.admin(&[Scope::Catalog]).await;
    let category = category
        .post("/api/categories/", &json!({"name": "Rain"}))
        .await;
    let id = category.json["id"].as_i64().expect("an id");
    sqlx::query("update products set category_id = $1")
        .bind(id)
        .execute(&stall.shop.db)
        .await
        .expect("a category");
    let nothing = stall.today(30).await;
    assert_eq!(nothing["conversion"], json!({"checkouts": 0, "paid": 0}));
    assert_eq!(
        (&nothing["refunds"], &nothing["best_categories"]),
        (&json!([]), &json!([]))
    );
    stall.sells().await;
    stall.sells().await;
    // Begun, and not paid; a sale in person is no checkout.
    stall.shop.shopper().check_out(&[(&stall.piece, 1)]).await;
    stall.sells_in_person().await;
    stall.refund("SB-1001", &json!({"amount": 1000})).await;
    stall.refund("SB-1001", &json!({"amount": 500})).await;
    let view = stall.today(30).await;
    assert_eq!(view["conversion"], json!({"checkouts": 3, "paid": 2}));
    assert_eq!(
        view["refunds"],
        json!([{"currency": "usd", "refunds": 2, "amount": 1500}])
    );
    assert_eq!(
        view["best_categories"],
        json!([{"name": "Rain", "pieces": 4}])
    );

    // Both are counted on the shop's days.
    sqlx::raw_sql(
        "update stripe_refunds set created_at = now() - interval '9 days';
         update orders set created_at = now() - interval '9 days' where number = 1001;",
    )
    .execute(&stall.shop.db)
    .await
    .expect("another time");
    let week = stall.today(7).await;
    assert_eq!(week["conversion"], json!({"checkouts": 2, "paid": 1}));
    assert_eq!(week["refunds"], json!([]));
}
