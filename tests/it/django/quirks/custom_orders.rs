//! Requests and their orders.

use serde_json::{Value, json};

use super::{expect, id, order, request};
use crate::django::Takeover;

#[tokio::test]
async fn requests_in_every_state_become_custom_orders() {
    let takeover = Takeover::begin().await;
    let status = |word: &'static str| ("status", word);
    let price = ("quoted_price", "339.5");
    let link = ("stripe_payment_link", "'https://buy.example.com/1'");
    let linked = |order: u32| format!("'{order:032}'");
    let custom = [("is_custom_order", "1"), ("amount_total", "40000")];
    let (one, two, three, four) = (linked(1), linked(2), linked(3), linked(4));
    let changes = [
        order(1, &custom),
        order(
            2,
            &[
                custom[0],
                custom[1],
                status("'shipped'"),
                ("shipped_at", "'2026-05-09 12:00:00'"),
            ],
        ),
        order(
            3,
            &[
                custom[0],
                status("'pending'"),
                ("stripe_payment_intent", "null"),
            ],
        ),
        order(4, &custom),
        request(1, &[status("'Quoted'"), price]),
        request(
            2,
            &[
                status("'declined'"),
                ("admin_notes", "'Too big.'"),
                link,
                price,
            ],
        ),
        request(3, &[status("'thinking'")]),
        request(4, &[status("'approved'"), link, price]),
        request(5, &[status("'approved'"), price]),
        request(6, &[status("'approved'"), link]),
        request(
            7,
            &[status("'rejected'"), ("related_order_id", &one), price],
        ),
        request(
            8,
            &[status("'in_production'"), ("related_order_id", &two), price],
        ),
        request(
            9,
            &[
                status("'approved'"),
                ("related_order_id", &three),
                link,
                price,
            ],
        ),
        request(
            10,
            &[status("'completed'"), ("admin_notes", "'Cash.'"), price],
        ),
        request(11, &[status("'pending'"), ("quoted_price", "0.3")]),
        request(
            12,
            &[status("'completed'"), ("related_order_id", &four), price],
        ),
        request(13, &[status("'shipped'")]),
    ];
    takeover.change(&changes.concat()).await;
    takeover.import(&[]).await;
    let review =
        |number: u32, what: &str| json!(format!("takeover:custom_order:{}:{what}", id(number)));
    for (number, fields) in [
        (
            1,
            json!({"status": "pending", "review": null, "way": ["pending"]}),
        ),
        (
            2,
            json!({"status": "rejected", "review": null, "way": ["pending", "rejected"]}),
        ),
        (
            3,
            json!({"status": "pending", "review": review(3, "status"), "quote": null}),
        ),
        (
            4,
            json!({"status": "approved", "review": null, "way": ["pending", "approved"]}),
        ),
        (5, json!({"status": "pending", "review": review(5, "link")})),
        (
            6,
            json!({"status": "pending", "review": review(6, "link"), "quote": null}),
        ),
        (
            7,
            json!({"status": "paid", "review": review(7, "paid"), "order_id": id(1)}),
        ),
        (
            8,
            json!({"status": "shipped", "review": null, "order_id": id(2)}),
        ),
        (9, json!({"status": "approved", "order_id": null})),
        (
            10,
            json!({"status": "completed", "way": ["pending", "approved", "paid", "in_production", "shipped", "completed"]}),
        ),
        (11, json!({"status": "pending", "quote": null})),
        (12, json!({"status": "completed", "order_id": id(4)})),
        (13, json!({"status": "shipped", "quote": null})),
    ] {
        expect(&takeover.custom_order(number).await, &fields);
    }
    for (number, quote) in [
        (
            1,
            json!({"state": "draft", "amount": 33950, "is_copied": false, "link_url": null}),
        ),
        (
            2,
            json!({"state": "closed", "amount": 33950, "is_copied": true, "link_url": "https://buy.example.com/1"}),
        ),
        (
            4,
            json!({"state": "live", "amount": 33950, "shipping": 0, "valid_days": 60, "link_id": null}),
        ),
        (5, json!({"state": "draft", "amount": 33950})),
        // What was taken, not what was quoted.
        (7, json!({"state": "paid", "amount": 40000})),
        (9, json!({"state": "live"})),
        (10, json!({"state": "paid", "amount": 33950})),
    ] {
        expect(&takeover.custom_order(number).await["quote"], &quote);
    }
    for (number, note) in [
        (2, "Too big."),
        (10, "Cash."),
        (11, "$0.30 is none that a quote may have"),
        (1, "Quoted"),
    ] {
        let notes = takeover.custom_order(number).await["notes"].to_string();
        assert!(notes.contains(note), "{notes}");
    }
    let shown = takeover.custom_order(2).await["quote"]["description"].to_string();
    assert!(
        !shown.contains("Too big"),
        "private notes are on no page of the customer: {shown}"
    );
    let order = format!(
        "select jsonb_build_array(o.status, o.total, o.payment_unrecorded, r.cause = 'takeover:order:' || o.id || ':payment',
                s.carrier)
         from custom_orders c join orders o on o.id = c.order_id join review_items r on r.order_id = o.id
         join shipments s on s.order_id = o.id where c.id = '{}'",
        id(10)
    );
    assert_eq!(
        takeover.one::<Value>(&order).await,
        json!(["delivered", 0, true, true, "USPS"])
    );
    let delivered = format!("select status from orders where id = '{}'", id(4));
    assert_eq!(
        takeover.one::<String>(&delivered).await,
        "paid",
        "it was never shipped there"
    );
}

#[tokio::test]
async fn a_request_linked_twice_and_an_overwritten_one() {
    let takeover = Takeover::begin().await;
    takeover
        .change(
            "create table copy as select * from custom_orders_customorderrequest;
             drop table custom_orders_customorderrequest;
             alter table copy rename to custom_orders_customorderrequest;",
        )
        .await;
    let linked = ("related_order_id", "'00000000000000000000000000000001'");
    let changes = [
        order(1, &[("is_custom_order", "1")]),
        // A second payment of the link overwrote the first, whose order belongs to no request now.
        order(2, &[("is_custom_order", "1")]),
        request(1, &[("status", "'paid'"), linked]),
        request(
            2,
            &[
                ("status", "'paid'"),
                linked,
                ("created_at", "'2026-05-08 12:00:00'"),
            ],
        ),
    ];
    takeover.change(&changes.concat()).await;
    takeover.import(&[]).await;
    expect(
        &takeover.custom_order(1).await,
        &json!({"status": "paid", "order_id": id(1)}),
    );
    let second = takeover.custom_order(2).await;
    assert_ne!(second["order_id"], json!(id(1)));
    expect(
        &takeover.order(2).await,
        &json!({"status": "paid", "channel": "custom_order", "payment": "pi_odd_2"}),
    );
}
