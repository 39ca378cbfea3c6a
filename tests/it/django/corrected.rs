//! Rows that somebody corrected in the old shop after an import.

use serde_json::{Value, json};

use super::Takeover;
use super::quirks::{id, item, order, request};

const STEADY: &str = "odd-steady";

fn plain(id: &str) -> String {
    id.replace('-', "")
}

#[tokio::test]
async fn lines_that_the_old_shop_wrote_after_an_import_come_with_the_next() {
    let takeover = Takeover::begin().await;
    let pending = [("status", "'pending'"), ("stripe_payment_intent", "null")];
    takeover.change(&order(1, &pending)).await;
    takeover.change(&order(2, &pending)).await;
    takeover.change(&item(2, STEADY, 4500, 1)).await;
    takeover.import(&[]).await;
    let later = [
        item(1, STEADY, 4500, 1),
        item(2, STEADY, 4500, 1),
        item(2, "odd-emoji", 4500, 1),
        format!(
            "update orders_order set amount_total = 13500 where id = '{}';",
            plain(&id(2))
        ),
        "update products_product set name = 'Renamed' where id = 'odd-emoji';".to_owned(),
    ];
    takeover.change(&later.concat()).await;
    takeover.import(&[]).await;
    let lines = async |number: u32| -> Value {
        let sql = format!(
            "select jsonb_agg(jsonb_build_array(position, product_id, quantity) order by position)
             from order_lines where order_id = '{}'",
            id(number)
        );
        takeover.one(&sql).await
    };
    assert_eq!(lines(1).await, json!([[1, STEADY, 1]]));
    assert_eq!(lines(2).await, json!([[1, STEADY, 2], [2, "odd-emoji", 1]]));
    let before = takeover.everything().await;
    takeover.import(&[]).await;
    assert_eq!(takeover.everything().await, before);
}

#[tokio::test]
async fn lines_that_changed_in_the_old_shop_stay_as_they_came_in() {
    let takeover = Takeover::begin().await;
    takeover.change(&order(1, &[])).await;
    takeover.change(&item(1, STEADY, 4500, 1)).await;
    takeover.import(&[]).await;
    takeover
        .change(&format!(
            "update orders_orderitem set unit_price = 4800 where order_id = '{}'",
            plain(&id(1))
        ))
        .await;
    let report = takeover.import(&[]).await;
    let noted = report["findings"]["noted"].to_string();
    assert!(noted.contains("those that came in first stay"), "{noted}");
    let price = format!(
        "select sum(unit_price)::bigint from order_lines where order_id = '{}' and product_id is not null",
        id(1)
    );
    assert_eq!(takeover.one::<i64>(&price).await, 4500);
}

#[tokio::test]
async fn what_somebody_corrected_in_an_order_there_is_followed() {
    let takeover = Takeover::begin().await;
    takeover.change(&order(1, &[])).await;
    takeover.import(&[]).await;
    takeover
        .change(&format!(
            "update orders_order
             set amount_total = 4000, stripe_payment_intent = 'pi_corrected', created_at = '2026-05-08 12:00:00'
             where id = '{}'",
            plain(&id(1))
        ))
        .await;
    takeover.import(&[]).await;
    let facts = format!(
        "select jsonb_agg(jsonb_build_array(o.total, p.id, p.amount, o.created_at::date))
         from orders o join payments p on p.order_id = o.id where o.id = '{}'",
        id(1)
    );
    assert_eq!(
        takeover.one::<Value>(&facts).await,
        json!([[4000, "pi_corrected", 4000, "2026-05-08"]])
    );
}

#[tokio::test]
async fn an_order_that_was_linked_to_another_request_moves() {
    let takeover = Takeover::begin().await;
    let linked = ("related_order_id", "'00000000000000000000000000000001'");
    let paid = ("status", "'paid'");
    let changes = [
        order(1, &[("is_custom_order", "1")]),
        request(1, &[paid]),
        request(2, &[paid, linked]),
    ];
    takeover.change(&changes.concat()).await;
    takeover.import(&[]).await;
    let (first, second) = (plain(&id(1)), plain(&id(2)));
    takeover
        .change(&format!(
            "update custom_orders_customorderrequest set related_order_id = null where id = '{second}';
             update custom_orders_customorderrequest set related_order_id = '{first}' where id = '{first}';"
        ))
        .await;
    takeover.import(&[]).await;
    let owner = format!(
        "select id::text from custom_orders where order_id = '{}'",
        id(1)
    );
    assert_eq!(takeover.one::<String>(&owner).await, id(1));
}
