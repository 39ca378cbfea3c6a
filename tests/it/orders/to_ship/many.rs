//! Many orders shipped at once, and the counts of their lines.

use serde_json::{Value, json};

use super::{program, sends};
use crate::admin::{Browser, OWNER, signed_in, staffed};
use crate::support::{Client, Database, Shop, card, session_of};

/// A shop with three paid orders, of which the second cannot be shipped: the database fails at it, in this way.
async fn three_of_which_one_fails(code: &str) -> (Shop, Browser, Client) {
    let shop = staffed().await;
    let piece = shop.stocks("Sunrise", 3).await;
    for _ in 0..3 {
        let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop.deliver().await;
    }
    shop.run_jobs().await;
    let fails = format!(
        "create function fails() returns trigger language plpgsql as $$
         begin
             if new.order_id = (select id from orders where number = 1002) then
                 raise exception 'on purpose' using errcode = '{code}';
             end if;
             return new;
         end $$;
         create trigger fails before insert on shipments for each row execute function fails()"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(fails))
        .execute(&shop.db)
        .await
        .expect("a trigger");
    let owner = signed_in(&shop, OWNER).await;
    let admin = program(&shop).await;
    (shop, owner, admin)
}

#[tokio::test]
async fn shipping_many_that_fails_midway_says_which_were_shipped() {
    let on = "/admin/orders/ship?order=SB-1001&order=SB-1002&order=SB-1003";
    // A fault with one keeps no other back.
    let (shop, owner, _) = three_of_which_one_fails("P0001").await;
    let answer = sends(&owner, on, "/admin/orders/ship", &[("carrier", "USPS")]).await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    assert!(
        answer
            .text
            .contains("2 orders are shipped: SB-1001, SB-1003; the others are below."),
        "{}",
        answer.text
    );
    assert!(
        answer.text.contains("value=\"SB-1002\"") && !answer.text.contains("value=\"SB-1003\"")
    );
    assert_eq!(shop.statuses().await, ["shipped", "paid", "shipped"]);
    shop.settles().await;

    // An outage ends it: the rest is not tried.
    let (shop, owner, admin) = three_of_which_one_fails("57P03").await;
    let answer = sends(&owner, on, "/admin/orders/ship", &[("carrier", "USPS")]).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(
        answer
            .text
            .contains("SB-1001 is shipped; the others are below."),
        "{}",
        answer.text
    );
    assert!(answer.text.contains("Not tried yet"), "{}", answer.text);
    assert_eq!(shop.statuses().await, ["shipped", "paid", "paid"]);
    let many = json!({"shipments": [
        {"order": "SB-1003", "carrier": "USPS"},
        {"order": "SB-1002", "carrier": "USPS"},
        {"order": "SB-1001", "carrier": "USPS"},
    ]});
    let answer = admin.post("/api/admin/orders/ship/", &many).await;
    assert_eq!(
        (answer.status, &answer.json["shipped"]),
        (200, &json!(1)),
        "{}",
        answer.text
    );
    let codes = answer.each("results", "code");
    assert_eq!(
        codes,
        [
            Value::Null,
            json!("database_unavailable"),
            json!("not_tried")
        ]
    );
    // Where none was shipped, the whole call failed.
    let one = json!({"shipments": [{"order": "SB-1002", "carrier": "USPS"}]});
    assert_eq!(
        admin.post("/api/admin/orders/ship/", &one).await.status,
        503
    );
    shop.settles().await;
}

#[tokio::test]
async fn lines_are_counted_whichever_statement_ships_or_restocks() {
    let database = Database::create().await;
    let db = database.connect();
    sqlx::raw_sql(
        "insert into products (id, name, slug, lighter_type, price) values ('p', 'Piece', 'piece', 1, 4700);
         insert into orders (id, status, channel, currency, subtotal, shipping, total, paid_at)
         values (gen_random_uuid(), 'paid', 'storefront', 'usd', 9400, 0, 9400, now());
         insert into order_lines (order_id, position, product_id, name, unit_price, quantity)
         select id, 1, 'p', 'Piece', 4700, 2 from orders",
    )
    .execute(&db)
    .await
    .expect("an order");
    let restock = "insert into stock_movements (product_id, delta, reason, order_id, actor)
                   select 'p', 1, 'returned', id, 'test' from orders";
    let ship = "insert into shipments (order_id, carrier) select id, 'USPS' from orders";
    for (sql, counted) in [
        (restock, (1, 0, 0)),
        (ship, (1, 1, 0)),
        (restock, (1, 1, 1)),
    ] {
        sqlx::query(sql).execute(&db).await.expect(sql);
        let line: (i32, i32, i32) =
            sqlx::query_as("select restocked, shipped, returned from order_lines")
                .fetch_one(&db)
                .await
                .expect("a line");
        assert_eq!(line, counted, "{sql}");
    }
    // One was shipped and one is back in stock: neither can be both.
    for sql in [
        "update order_lines set quantity = 1",
        "update order_lines set shipped = 2",
        "update order_lines set returned = 2",
    ] {
        assert!(sqlx::query(sql).execute(&db).await.is_err(), "{sql}");
    }
}
