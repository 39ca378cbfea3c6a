//! Orders: statuses, sessions, payments, lines, totals and addresses.

use serde_json::json;

use super::{expect, id, item, order};
use crate::django::Takeover;

#[tokio::test]
async fn statuses_written_by_hand_are_understood_or_flagged() {
    let takeover = Takeover::begin().await;
    let shipped = ("shipped_at", "'2026-05-09 12:00:00'");
    let none = ("stripe_payment_intent", "null");
    let changes = [
        order(1, &[("status", "'Paid'")]),
        order(2, &[("status", "' DELIVERED '")]),
        order(3, &[("status", "'refunded'")]),
        order(4, &[("status", "'refunded'"), shipped]),
        order(5, &[("status", "'canceled'"), none]),
        order(6, &[("status", "'expired'"), none]),
        order(7, &[("status", "'lost in the post'"), shipped]),
        order(8, &[("status", "'on hold'")]),
        order(9, &[("status", "'who knows'"), none]),
        order(10, &[("amount_total", "-5")]),
        order(11, &[none, ("stripe_session_id", "'test_session_9'")]),
        order(12, &[none, ("stripe_session_id", "''")]),
        order(13, &[("stripe_payment_intent", "'pi_odd_1'")]),
        order(
            14,
            &[
                ("shipping_carrier", "''"),
                ("status", "'shipped'"),
                ("tracking_number", "'<b>&1'"),
            ],
        ),
        order(15, &[("currency", "'dollars'")]),
        order(
            16,
            &[
                ("status", "'pending'"),
                ("created_at", "'2026-05-07 12:00:00'"),
                none,
            ],
        ),
    ];
    takeover.change(&changes.concat()).await;
    let report = takeover.import(&[]).await;
    for (number, fields) in [
        (
            1,
            json!({"status": "paid", "review": null, "payment": "pi_odd_1"}),
        ),
        (2, json!({"status": "delivered"})),
        (
            3,
            json!({"status": "refunded", "refunded": 5000, "shipment": null}),
        ),
        (4, json!({"status": "refunded", "refunded": 5000})),
        (
            5,
            json!({"status": "cancelled", "paid_at": null, "payment": null}),
        ),
        (6, json!({"status": "expired"})),
        (
            7,
            json!({"status": "shipped", "review": format!("takeover:order:{}:status", id(7))}),
        ),
        (
            8,
            json!({"status": "paid", "review": format!("takeover:order:{}:status", id(8))}),
        ),
        (
            9,
            json!({"status": "failed", "review": format!("takeover:order:{}:status", id(9))}),
        ),
        (
            10,
            json!({"total": 0, "review": format!("takeover:order:{}:total", id(10))}),
        ),
        (
            11,
            json!({"channel": "manual", "checkout": null, "payment_unrecorded": false}),
        ),
        (12, json!({"channel": "manual", "checkout": null})),
        (
            13,
            json!({"payment": null, "review": format!("takeover:order:{}:payment_twice", id(13))}),
        ),
        (15, json!({"currency": "usd"})),
        (
            16,
            json!({"status": "expired", "checkout": "expired cs_odd_16"}),
        ),
    ] {
        expect(&takeover.order(number).await, &fields);
    }
    let word = takeover.order(2).await["notes"].to_string();
    assert!(
        word.contains("The old shop's status was \\\"DELIVERED\\\"."),
        "{word}"
    );
    assert!(
        !takeover.order(4).await["shipment"].is_null(),
        "it was shipped before"
    );
    let shipment = takeover.order(14).await["shipment"].clone();
    expect(
        &shipment,
        &json!({"carrier": "USPS", "tracking_number": "<b>&1", "tracking_url": null}),
    );
    assert!(
        report["findings"]["to_review"]
            .to_string()
            .contains("on hold")
    );
    let (code, said, _) = takeover.beside.run(&["stock", "check"]).await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn two_orders_with_one_session_in_a_copy_without_constraints() {
    let takeover = Takeover::begin().await;
    takeover
        .change(
            "create table copy as select * from orders_order;
             drop table orders_order;
             alter table copy rename to orders_order;",
        )
        .await;
    let twins = [
        order(
            1,
            &[
                ("status", "'pending'"),
                ("stripe_session_id", "'cs_twin'"),
                ("stripe_payment_intent", "null"),
            ],
        ),
        order(
            2,
            &[
                ("stripe_session_id", "'cs_twin'"),
                ("created_at", "'2026-05-07 12:00:01'"),
            ],
        ),
        order(
            3,
            &[
                ("stripe_session_id", "'cs_twin'"),
                ("created_at", "'2026-05-07 12:00:02'"),
            ],
        ),
        order(4, &[("stripe_session_id", "null")]),
    ];
    takeover.change(&twins.concat()).await;
    takeover.import(&[]).await;
    for (number, fields) in [
        (
            1,
            json!({"checkout": null, "review": format!("takeover:order:{}:session_twice", id(1))}),
        ),
        (2, json!({"checkout": "complete cs_twin", "review": null})),
        (
            3,
            json!({"checkout": null, "payment": "pi_odd_3", "review": format!("takeover:order:{}:session_twice", id(3))}),
        ),
        (
            4,
            json!({"checkout": null, "payment": "pi_odd_4", "review": null}),
        ),
    ] {
        expect(&takeover.order(number).await, &fields);
    }
}

#[tokio::test]
async fn lines_and_totals_come_to_what_was_taken() {
    let takeover = Takeover::begin().await;
    let changes = [
        order(1, &[("amount_total", "14000")]),
        item(1, "odd-steady", 4500, 1),
        item(1, "odd-steady", 4500, 2),
        order(2, &[("amount_total", "9500")]),
        item(2, "odd-steady", 4500, 1),
        item(2, "odd-steady", 5000, 1),
        item(2, "odd-emoji", 100, 0),
        order(3, &[("amount_total", "9000")]),
        item(3, "gone", 3500, 1),
        item(3, "odd-steady", 4500, 1),
        order(4, &[("amount_total", "4800")]),
        item(4, "odd-steady", 4500, 1),
        order(
            5,
            &[
                ("amount_total", "6500"),
                ("shipping_address", r#"'{"country": "de"}'"#),
            ],
        ),
        item(5, "odd-steady", 4500, 1),
        order(
            6,
            &[
                ("amount_total", "5000"),
                ("shipping_address", r#"'{"country": "DE"}'"#),
            ],
        ),
        item(6, "odd-steady", 4500, 1),
        order(
            7,
            &[
                ("amount_total", "4500"),
                ("status", "'pending'"),
                ("stripe_payment_intent", "null"),
            ],
        ),
        item(7, "odd-steady", 4500, 1),
        order(
            8,
            &[
                ("amount_total", "12345"),
                ("is_custom_order", "1"),
                ("shipping_address", "null"),
            ],
        ),
        item(999, "odd-steady", 4500, 1),
    ];
    takeover.change(&changes.concat()).await;
    let report = takeover.import(&[]).await;
    let steady = |quantity: i64, price: i64| json!(["odd-steady", "Odd steady", quantity, price]);
    for (number, fields) in [
        (
            1,
            json!({"subtotal": 13500, "shipping": 500, "lines": [steady(3, 4500)]}),
        ),
        (
            2,
            json!({"subtotal": 9500, "shipping": 0, "lines": [steady(1, 4500), [null, "Odd steady", 1, 5000]]}),
        ),
        (
            3,
            json!({"subtotal": 8500, "shipping": 500, "lines":
            [[null, "gone", 1, 3500], steady(1, 4500), [null, "Not in the old shop's lines", 1, 500]]}),
        ),
        (
            4,
            json!({"subtotal": 4800, "shipping": 0, "lines":
            [steady(1, 4500), [null, "Not in the old shop's lines", 1, 300]]}),
        ),
        (
            5,
            json!({"shipping": 2000, "shipping_zone": "international", "outside_zone": false}),
        ),
        (
            6,
            json!({"shipping": 500, "shipping_zone": "international", "outside_zone": true,
            "review": format!("takeover:order:{}:zone", id(6))}),
        ),
        (
            7,
            json!({"status": "expired", "shipping": 0, "subtotal": 4500}),
        ),
        (
            8,
            json!({"channel": "custom_order", "shipping": 0, "lines": [[null, "Custom piece", 1, 12345]]}),
        ),
    ] {
        expect(&takeover.order(number).await, &fields);
    }
    assert!(
        report["findings"]["left_out"]
            .to_string()
            .contains("orders_orderitem"),
        "{report}"
    );
    let odd = takeover.order(3).await["notes"].to_string();
    assert!(
        odd.contains("The old shop took $90.00, and its lines come to $80.00."),
        "{odd}"
    );
}

#[tokio::test]
async fn addresses_may_be_any_json() {
    let takeover = Takeover::begin().await;
    let address = |number, json: &str| order(number, &[("shipping_address", &format!("'{json}'"))]);
    let changes = [
        address(
            1,
            r#"{"name": "Kit", "line1": "1 St", "line2": "", "postal_code": 97000, "country": "us", "door": "red"}"#,
        ),
        address(
            2,
            r#""{\"name\": \"Kit\", \"city\": \"Ashton\", \"country\": \"Canada\"}""#,
        ),
        address(3, r#""12 Main St, Ashton""#),
        address(4, r#"["12 Main St"]"#),
        address(5, "{}"),
        address(6, r#"{"country": "Atlantis"}"#),
        order(
            7,
            &[("shipping_address", "null"), ("customer_email", "null")],
        ),
    ];
    takeover.change(&changes.concat()).await;
    let report = takeover.import(&[]).await;
    let whole = json!({"line1": "1 St", "line2": null, "city": null, "state": null, "postal_code": "97000", "country": "us"});
    for (number, fields) in [
        (
            1,
            json!({"shipping_name": "Kit", "customer_name": "Kit", "shipping_zone": "us", "shipping_address": whole}),
        ),
        (
            2,
            json!({"shipping_name": "Kit", "shipping_zone": "north_america"}),
        ),
        (4, json!({"shipping_address": null})),
        (5, json!({"shipping_address": null})),
        (6, json!({"shipping_zone": null})),
        (7, json!({"shipping_address": null, "email": null})),
    ] {
        expect(&takeover.order(number).await, &fields);
    }
    assert_eq!(
        takeover.order(3).await["shipping_address"]["line1"],
        "12 Main St, Ashton"
    );
    for (number, note) in [(1, "door"), (4, "12 Main St")] {
        let notes = takeover.order(number).await["notes"].to_string();
        assert!(notes.contains(note), "{notes}");
    }
    assert!(!report.to_string().contains("Main St"));
}

#[tokio::test]
async fn an_old_number_finds_its_order_in_the_admin() {
    let takeover = Takeover::begin().await;
    takeover.import(&[]).await;
    let admin = takeover
        .shop
        .admin(&[spirit_beads::auth::Scope::OrdersRead])
        .await;
    for text in [
        "c65ae89d-5417-40a3-b10b-b138611f4dc3",
        "C65AE89D541740A3B10BB138611F4DC3",
    ] {
        let found = admin
            .get(&format!("/api/admin/orders/?search={text}"))
            .await;
        assert_eq!(found.json["count"], 1, "{text}: {}", found.text);
    }
}
