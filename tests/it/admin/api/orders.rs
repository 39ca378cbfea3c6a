//! Orders by the API.

use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::{forget_log, logged, ok};
use crate::support::{Shop, card, session_of};

#[tokio::test]
async fn orders_are_found_by_day_exported_and_shipped_many_at_once() {
    let shop = Shop::open_with(&[("SHOP_TIME_ZONE", "America/Los_Angeles")]).await;
    let admin = shop
        .admin(&[Scope::OrdersRead, Scope::OrdersWrite, Scope::Refunds])
        .await;
    let piece = shop.stocks("Sunrise", 9).await;
    for name in ["Ann", "=Ben", "Cy"] {
        let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop.deliver().await;
        sqlx::query(
            "update orders set customer_name = $1 where number = (select max(number) from orders)",
        )
        .bind(name)
        .execute(&shop.db)
        .await
        .expect("a name");
    }
    // The last of June in Los Angeles, and the first of July.
    for (number, paid) in [
        (1001, "2026-07-01T06:59:59Z"),
        (1002, "2026-07-01T07:00:00Z"),
    ] {
        sqlx::query(
            "with old as (update orders set paid_at = $2::timestamptz where number = $1 returning id)
             insert into review_items (order_id, kind, cause, text) select id, 'other', 'test:' || id, 'look' from old",
        )
        .bind(number)
        .bind(paid)
        .execute(&shop.db)
        .await
        .expect("an order");
    }
    let numbers = async |query: &str| {
        admin
            .get(&format!("/api/admin/orders/?{query}"))
            .await
            .each("results", "number")
    };
    assert_eq!(numbers("from=2026-06-30&to=2026-06-30").await, ["SB-1001"]);
    assert_eq!(numbers("to=2026-07-01").await, ["SB-1002", "SB-1001"]);
    assert_eq!(numbers("from=2026-07-02").await, ["SB-1003"]);
    assert_eq!(numbers("to_review=true&search=ben").await, ["SB-1002"]);
    assert_eq!(numbers("to_review=false").await, ["SB-1003"]);
    for (query, fields) in [
        ("from=1.7.2026", vec!["from"]),
        ("from=2026-07-02&to=2026-07-01", vec!["to"]),
        ("to_review=perhaps&to=x", vec!["to", "to_review"]),
    ] {
        assert_eq!(
            admin
                .get(&format!("/api/admin/orders/?{query}"))
                .await
                .field_errors(),
            fields,
            "{query}"
        );
    }
    let table = admin
        .get("/api/admin/orders.csv?from=2026-07-01&to=2026-07-01")
        .await;
    assert_eq!(table.header("content-type"), "text/csv; charset=utf-8");
    let rows: Vec<&str> = table.text.lines().collect();
    assert_eq!(rows.len(), 2, "{}", table.text);
    assert!(
        rows[1].starts_with("SB-1002,2026-07-01 00:00,paid,storefront,,USD,1 × Sunrise,47.00")
            && rows[1].contains(",'=Ben,")
    );
    assert_eq!(
        admin.get("/api/admin/orders.csv?to=x").await.field_errors(),
        ["to"]
    );

    let slip = admin
        .get("/api/admin/orders/SB-1001/packing-slip/")
        .await
        .json;
    assert_eq!(slip["lines"], json!([{"name": "Sunrise", "quantity": 1}]));
    assert_eq!(
        (&slip["number"], &slip["address"][0]),
        (&json!("SB-1001"), &json!("Jane Shopper"))
    );

    let ship = "/api/admin/orders/ship/";
    let many = json!({"shipments": [
        {"order": "SB-1001", "carrier": "USPS", "tracking_number": "9400 1"},
        {"order": "SB-1002", "carrier": "", "tracking_number": "?"},
        {"order": "SB-9999", "carrier": "USPS"},
        {"order": "SB-1003", "carrier": "UPS", "tracking_number": "1Z"},
    ]});
    let before = forget_log(&shop).await;
    let shipped = ok(admin.post(ship, &many).await).await;
    assert_eq!(shipped["shipped"], 2, "{shipped}");
    let codes: Vec<&Value> = shipped["results"]
        .as_array()
        .expect("four")
        .iter()
        .map(|one| &one["code"])
        .collect();
    assert_eq!(
        codes,
        [
            &Value::Null,
            &json!("invalid"),
            &json!("not_found"),
            &Value::Null
        ]
    );
    assert_eq!(
        shipped["results"][1]["details"].as_array().map(Vec::len),
        Some(2),
        "{shipped}"
    );
    assert_eq!(shop.statuses().await, ["shipped", "paid", "shipped"]);
    shop.run_jobs().await;
    assert_eq!(shop.emails_of("order_shipped").await, 2);
    assert_eq!(numbers("search=9400").await, ["SB-1001"]);
    // Once more: nothing is shipped twice.
    let again = ok(admin.post(ship, &many).await).await;
    assert_eq!(
        (&again["shipped"], &again["results"][0]["code"]),
        (&json!(0), &json!("not_shippable"))
    );
    let log = logged(&shop).await.split_off(before);
    assert_eq!(
        log,
        [
            ("order.ship".to_owned(), "order:SB-1001".to_owned()),
            ("order.ship".to_owned(), "order:SB-1003".to_owned())
        ]
    );
    let twice = json!({"shipments": [{"order": "SB-1002", "carrier": "UPS"}, {"order": "SB-1002", "carrier": "UPS"}]});
    for (body, fields) in [
        (json!({"shipments": []}), vec!["shipments"]),
        (twice, vec!["shipments[1].order"]),
        (
            json!({"shipments": [{"carrier": "UPS"}]}),
            vec!["shipments[0]"],
        ),
        (
            json!({"shipments": [{"order": "SB-1002", "carrier": "UPS", "odd": 1}]}),
            vec!["shipments[0].odd"],
        ),
    ] {
        assert_eq!(
            admin.post(ship, &body).await.field_errors(),
            fields,
            "{body}"
        );
    }
}

#[tokio::test]
async fn the_payments_of_an_order_are_listed() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::OrdersRead, Scope::Refunds]).await;
    let piece = shop.stocks("Sunrise", 3).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 2)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let path = "/api/admin/orders/SB-1001/payments/";
    let money = admin.get(path).await.json;
    assert_eq!(
        (&money["refundable"], &money["payments"][0]["outcome"]),
        (&json!(9900), &json!("settled"))
    );
    assert_eq!(
        money["returnable"],
        json!([{"product_id": "sunrise", "quantity": 2}])
    );
    let back = json!({"amount": 4700, "reason": "Broken", "restock": [{"product_id": "sunrise", "quantity": 1}]});
    let before = forget_log(&shop).await;
    assert_eq!(
        admin
            .post("/api/admin/orders/SB-1001/refund/", &back)
            .await
            .status,
        202
    );
    let money = admin.get(path).await.json;
    assert_eq!(
        (&money["refundable"], &money["refunds"][0]["state"]),
        (&json!(5200), &json!("planned"))
    );
    assert_eq!(money["returnable"][0]["quantity"], 1);
    assert_eq!(
        logged(&shop).await[before..],
        [("order.refund".to_owned(), "order:SB-1001".to_owned())]
    );
    for id in ["SB-9999", "00000000-0000-0000-0000-000000000000", "x"] {
        assert_eq!(
            admin
                .get(&format!("/api/admin/orders/{id}/payments/"))
                .await
                .status,
            404
        );
    }
}
