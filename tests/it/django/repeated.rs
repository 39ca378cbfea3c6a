//! Imports repeated while the old shop sells on and the new one is tried out.

use serde_json::{Value, json};
use spirit_beads::orders;
use spirit_beads::types::ids::OrderId;

use super::Takeover;

const STEADY: &str = "odd-steady";

/// An order of the sample that waits to be packed, and one whose cart was left.
const PAID: &str = "c65ae89d-5417-40a3-b10b-b138611f4dc3";
const LEFT: &str = "f99af41b-5060-4d99-9906-1c0bd8a0425c";

fn plain(id: &str) -> String {
    id.replace('-', "")
}

fn counts(report: &Value, kind: &str) -> (u64, u64, u64) {
    let count = &report["counts"][kind];
    let number = |name: &str| count[name].as_u64().expect("a number");
    (number("created"), number("updated"), number("kept"))
}

fn texts(report: &Value, list: &str) -> String {
    report["findings"][list].to_string()
}

#[tokio::test]
async fn what_changed_in_the_old_shop_is_followed() {
    let takeover = Takeover::begin().await;
    takeover.import(&[]).await;
    takeover
        .change(&format!(
            "update products_product set name = 'Renamed', price = 4700, inventory_count = 47 where id = '{STEADY}';
             update products_category set slug = 'tmp' where id = 1;
             update products_category set slug = 'infinite-path' where id = 2;
             update products_category set slug = 'earths-hue' where id = 1;
             update orders_order set status = 'shipped', tracking_number = '9400 1', shipped_at = '2026-06-15 13:00:00'
             where id = '{}';
             update orders_order set status = 'paid', amount_total = 5000, stripe_payment_intent = 'pi_late',
                    customer_email = 'late@example.com', shipping_address = '{{\"line1\": \"1 St\", \"country\": \"US\"}}'
             where id = '{}';
             insert into orders_order (id, stripe_session_id, stripe_payment_intent, amount_total, currency, status,
                                       created_at, is_custom_order, shipping_carrier)
             values ('00000000000000000000000000000001', 'cs_new', 'pi_new', 5000, 'usd', 'paid', '2026-06-15 13:00:00', 0,
                     'USPS');
             insert into orders_orderitem (unit_price, quantity, order_id, product_id)
             values (4500, 1, '00000000000000000000000000000001', '{STEADY}');
             update custom_orders_customorderrequest set status = 'rejected', admin_notes = 'Sorry.'
             where id = 'cb016c92f6b94f679294840184a97523';
             update auth_user set is_active = 0 where id = 2;",
            plain(PAID),
            plain(LEFT)
        ))
        .await;
    let report = takeover.import(&[]).await;
    assert_eq!(counts(&report, "product"), (0, 1, 0));
    assert_eq!(counts(&report, "category"), (0, 2, 0));
    assert_eq!(counts(&report, "order"), (1, 2, 0));
    assert_eq!(counts(&report, "custom_order"), (0, 1, 0));
    assert_eq!(counts(&report, "user"), (0, 1, 0));

    let product = "select jsonb_build_array(name, price, on_hand, stripe_paused) from products where id = 'odd-steady'";
    assert_eq!(
        takeover.one::<Value>(product).await,
        json!(["Renamed", 4700, 47, true])
    );
    let ledger =
        "select jsonb_agg(jsonb_build_array(delta, reason) order by id) from stock_movements
                  where product_id = 'odd-steady'";
    assert_eq!(
        takeover.one::<Value>(ledger).await,
        json!([[50, "import"], [-3, "import"]])
    );
    let shipped = format!(
        "select jsonb_build_array(o.status, s.tracking_number,
                (select jsonb_agg(e.to_status order by e.id) from order_events e
                 where e.order_id = o.id and e.kind in ('placed', 'status')),
                (select sum(shipped) from order_lines l where l.order_id = o.id))
         from orders o join shipments s on s.order_id = o.id where o.id = '{PAID}'"
    );
    assert_eq!(
        takeover.one::<Value>(&shipped).await,
        json!(["shipped", "9400 1", ["pending", "paid", "shipped"], 3])
    );
    let late = format!(
        "select jsonb_build_array(o.status, o.total, o.shipping, o.email, o.shipping_zone, p.id, c.state)
         from orders o join payments p on p.order_id = o.id join checkouts c on c.order_id = o.id where o.id = '{LEFT}'"
    );
    assert_eq!(
        takeover.one::<Value>(&late).await,
        json!([
            "paid",
            5000,
            500,
            "late@example.com",
            "us",
            "pi_late",
            "complete"
        ])
    );
    // It is newer than all others.
    let newest = "select id::text from orders order by number desc limit 1";
    assert_eq!(
        takeover.one::<String>(newest).await,
        "00000000-0000-0000-0000-000000000001"
    );
    let reason = "select note from custom_order_events where to_status = 'rejected'
                  and custom_order_id = 'cb016c92-f6b9-4f67-9294-840184a97523'";
    assert_eq!(takeover.one::<String>(reason).await, "Sorry.");
    let before = takeover.everything().await;
    takeover.import(&[]).await;
    assert_eq!(takeover.everything().await, before);
}

#[tokio::test]
async fn what_changed_here_stays_and_is_named_until_both_agree() {
    let takeover = Takeover::begin().await;
    takeover.import(&[]).await;
    let ours = format!(
        "update products set name = 'Ours' where id = '{STEADY}';
         update custom_orders set colors = 'ours' where id = 'cb016c92-f6b9-4f67-9294-840184a97523';
         update orders set email = 'ours@example.com' where id = '{PAID}';
         insert into order_events (order_id, kind, actor, note) values ('{PAID}', 'note', 'user:a@b', 'Ours.');"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(ours))
        .execute(&takeover.shop.db)
        .await
        .expect("changes");
    let calm = takeover.import(&[]).await;
    assert_eq!(
        calm["findings"]["conflicts"],
        json!([]),
        "a change here alone is none"
    );
    takeover
        .change(&format!(
            "update products_product set name = 'Theirs' where id = '{STEADY}';
             update custom_orders_customorderrequest set colors = 'theirs' where id = 'cb016c92f6b94f679294840184a97523';
             update orders_order set status = 'shipped', shipped_at = '2026-06-15 13:00:00' where id = '{}';",
            plain(PAID)
        ))
        .await;
    let report = takeover.import(&[]).await;
    let conflicts = texts(&report, "conflicts");
    for row in [STEADY, "cb016c92-f6b9-4f67-9294-840184a97523", PAID] {
        assert!(conflicts.contains(row), "{row}: {conflicts}");
    }
    // A forward move is applied all the same, and our notes stay.
    let order = format!(
        "select jsonb_build_array(status, email, (select count(*) from order_events e
                where e.order_id = o.id and e.note = 'Ours.')) from orders o where id = '{PAID}'"
    );
    assert_eq!(
        takeover.one::<Value>(&order).await,
        json!(["shipped", "ours@example.com", 1])
    );
    assert_eq!(
        takeover
            .one::<String>("select name from products where id = 'odd-steady'")
            .await,
        "Ours"
    );

    let before = takeover.everything().await;
    let again = takeover.import(&[]).await;
    assert!(
        texts(&again, "conflicts").contains(STEADY),
        "a conflict is named again"
    );
    assert_eq!(takeover.everything().await, before);
    let (code, _, complaint) = takeover.run(&["--strict"]).await;
    assert_eq!(code, 1);
    assert!(complaint.contains("--strict"), "{complaint}");
}

#[tokio::test]
async fn data_of_a_customer_that_was_deleted_here_does_not_come_back() {
    let takeover = Takeover::begin().await;
    let set = |status: &str| {
        format!(
            "update orders_order
             set status = '{status}', shipped_at = '2026-06-15 13:00:00', tracking_number = '1Z999'
             where id = '{}'",
            plain(PAID)
        )
    };
    takeover.change(&set("delivered")).await;
    takeover.import(&[]).await;
    let facts = format!(
        "select jsonb_build_array(o.status, o.email, o.shipping_name, s.tracking_number)
         from orders o join shipments s on s.order_id = o.id where o.id = '{PAID}'"
    );
    let there = takeover.one::<Value>(&facts).await;
    assert_eq!(
        (&there[0], &there[3]),
        (&json!("delivered"), &json!("1Z999"))
    );
    let mut conn = takeover.shop.db.acquire().await.expect("a connection");
    let id = PAID.parse().map(OrderId).expect("an id");
    orders::erase_customer(&mut conn, &[id])
        .await
        .expect("deleted");
    drop(conn);
    for status in ["delivered", "refunded"] {
        takeover.change(&set(status)).await;
        takeover.import(&[]).await;
        assert_eq!(
            takeover.one::<Value>(&facts).await,
            json!([status, null, null, null])
        );
    }
}

#[tokio::test]
async fn an_order_never_goes_back() {
    let takeover = Takeover::begin().await;
    takeover.import(&[]).await;
    let set = |status: &str| {
        format!(
            "update orders_order set status = '{status}', shipped_at = null where id = '{}'",
            plain(PAID)
        )
    };
    takeover.change(&set("pending")).await;
    let report = takeover.import(&[]).await;
    assert!(
        texts(&report, "conflicts").contains("went back from paid to expired"),
        "{report}"
    );
    let status = format!("select status from orders where id = '{PAID}'");
    assert_eq!(takeover.one::<String>(&status).await, "paid");
    takeover.change(&set("paid")).await;
    let report = takeover.import(&[]).await;
    assert_eq!(report["findings"]["conflicts"], json!([]));
}

#[tokio::test]
async fn stock_that_both_shops_sold_is_taken_as_far_as_it_goes() {
    let takeover = Takeover::begin().await;
    takeover.import(&[]).await;
    let sold = "update products set on_hand = 1 where id = 'odd-one-of-a-kind';
                update products set on_hand = 40 where id = 'odd-steady';
                insert into stock_movements (product_id, delta, reason, actor) values ('odd-steady', -10, 'lost', 'x');
                update products set on_hand = 0 where id = 'odd-one-of-a-kind';
                insert into stock_movements (product_id, delta, reason, actor) values ('odd-one-of-a-kind', -1, 'lost', 'x')";
    sqlx::raw_sql(sold)
        .execute(&takeover.shop.db)
        .await
        .expect("sales");
    takeover
        .change(
            "update products_product set inventory_count = 45 where id = 'odd-steady';
             update products_product set inventory_count = 0 where id = 'odd-one-of-a-kind';",
        )
        .await;
    let report = takeover.import(&[]).await;
    assert_eq!(takeover.shop.stock("odd-steady").await, (35, 0));
    assert_eq!(takeover.shop.stock("odd-one-of-a-kind").await, (0, 0));
    let to_review = texts(&report, "to_review");
    assert!(
        to_review.contains("1 of odd-one-of-a-kind pieces that left the old shop"),
        "{to_review}"
    );
    let items = "select count(*) from review_items where kind = 'takeover' and text like '%both shops may have sold%'";
    assert_eq!(takeover.one::<i64>(items).await, 1);
    let (code, said, _) = takeover.beside.run(&["stock", "check"]).await;
    assert_eq!(code, 0, "{said}");
    let before = takeover.everything().await;
    takeover.import(&[]).await;
    assert_eq!(takeover.everything().await, before);
}

#[tokio::test]
async fn a_sale_that_both_shops_heard_of_takes_its_pieces_once() {
    let takeover = Takeover::begin().await;
    takeover.import(&[]).await;
    // Its event reached the new shop first, which took the piece.
    let here = format!(
        "update orders set status = 'paid', paid_at = now() where id = '{LEFT}';
         update products set on_hand = 49 where id = 'odd-steady';
         insert into stock_movements (product_id, delta, reason, order_id, actor)
         values ('odd-steady', -1, 'sale', '{LEFT}', 'stripe')"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(here))
        .execute(&takeover.shop.db)
        .await
        .expect("a sale");
    takeover
        .change(&format!(
            "update products_product set inventory_count = 49 where id = 'odd-steady';
             update orders_order set status = 'paid', stripe_payment_intent = 'pi_both' where id = '{}'",
            plain(LEFT)
        ))
        .await;
    takeover.import(&[]).await;
    assert_eq!(takeover.shop.stock("odd-steady").await, (49, 0));
    let before = takeover.everything().await;
    takeover.import(&[]).await;
    assert_eq!(takeover.everything().await, before);
}

#[tokio::test]
async fn what_vanished_there_leaves_the_shop_or_is_named() {
    let takeover = Takeover::begin().await;
    takeover.import(&[]).await;
    let lines: i64 = takeover.one("select count(*) from order_lines").await;
    takeover
        .change(&format!(
            "delete from orders_orderitem where product_id = 'odd-steady';
             delete from products_product where id = 'odd-steady';
             delete from orders_order where id = '{}';
             delete from auth_user where id = 2;",
            plain(LEFT)
        ))
        .await;
    let report = takeover.import(&[]).await;
    let gone = texts(&report, "gone");
    for row in ["product odd-steady", LEFT, "user 2"] {
        assert!(gone.contains(row), "{row}: {gone}");
    }
    assert_eq!(
        takeover
            .one::<i64>("select count(*) from order_lines")
            .await,
        lines,
        "lines stay"
    );
    let state =
        "select deleted_at is not null and not is_active from products where id = 'odd-steady'";
    assert!(takeover.one::<bool>(state).await);
    assert_eq!(
        takeover
            .one::<i64>(&format!("select count(*) from orders where id = '{LEFT}'"))
            .await,
        1
    );
    let before = takeover.everything().await;
    takeover.import(&[]).await;
    assert_eq!(takeover.everything().await, before);

    // It comes back.
    std::fs::copy(super::sample().join("shop.sqlite3"), &takeover.sqlite).expect("a copy");
    takeover.import(&[]).await;
    let state = "select deleted_at is null and is_active from products where id = 'odd-steady'";
    assert!(takeover.one::<bool>(state).await);
}

#[tokio::test]
async fn young_carts_are_held_as_far_as_the_pieces_go() {
    let takeover = Takeover::begin().await;
    let at = |minutes: i64| {
        let at = chrono::Utc::now() - chrono::TimeDelta::minutes(minutes);
        at.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
    };
    let cart = |id: &str, minutes: i64| {
        format!(
            "update orders_order set created_at = '{}' where id = '{}';",
            at(minutes),
            plain(id)
        )
    };
    let (first, second) = (
        "5875c9bc-32c8-4f0b-9a75-3d6b0b039935",
        "d1cdaf2f-9bed-439f-b3c2-d4647839adb7",
    );
    takeover
        .change(&format!(
            "{}{}{}",
            cart(first, 20),
            cart(second, 10),
            cart(LEFT, 32)
        ))
        .await;
    takeover.import(&[]).await;
    let status = async |id: &str| {
        takeover
            .one::<String>(&format!("select status from orders where id = '{id}'"))
            .await
    };
    assert_eq!(status(first).await, "pending");
    assert_eq!(status(second).await, "expired", "there is one piece");
    assert_eq!(status(LEFT).await, "expired", "it is too old");
    assert_eq!(takeover.shop.stock("odd-one-of-a-kind").await, (1, 1));
    let checkout = format!(
        "select state || ' ' || extract(epoch from hold_until - o.created_at)::integer || ' '
                || extract(epoch from expires_at - o.created_at)::integer
         from checkouts c join orders o on o.id = c.order_id where o.id = '{first}'"
    );
    assert_eq!(takeover.one::<String>(&checkout).await, "open 2460 86400");
    let before = takeover.everything().await;
    takeover.import(&[]).await;
    assert_eq!(
        takeover.everything().await,
        before,
        "a hold is not made twice"
    );

    // The old shop is told that it was paid.
    takeover
        .change(&format!(
            "update orders_order set status = 'paid', amount_total = 5000, stripe_payment_intent = 'pi_x' where id = '{}';
             update products_product set inventory_count = 0, is_sold_out = 1 where id = 'odd-one-of-a-kind'",
            plain(first)
        ))
        .await;
    takeover.import(&[]).await;
    assert_eq!(status(first).await, "paid");
    assert_eq!(takeover.shop.stock("odd-one-of-a-kind").await, (0, 0));
}
