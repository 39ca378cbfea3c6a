//! What is done with orders in the admin: shipping, giving money back, selling by hand, the table for the bookkeeper.

use serde_json::{Value, json};
use spirit_beads::audit::Actor;
use spirit_beads::auth::Scope;
use spirit_beads::review_items::{Kind, NewItem};
use spirit_beads::types::ids::ReviewItemId;
use spirit_beads::{orders, review_items};
use stripe_sandbox::Fault;
use uuid::Uuid;

use crate::admin::{Browser, OWNER, STAFF, audited, signed_in, staffed};
use crate::support::images::{Part, jpeg};
use crate::support::{Shop, at_once, card, form_of, session_of};

const ORDER: &str = "/admin/orders/SB-1001";
const REFUND: &str = "/admin/orders/SB-1001/refund";
const AT_STRIPE: &str = "POST /v1/refunds";

/// A shop that sold two of three pieces through the storefront: $94 and $5 shipping.
pub async fn two_sold() -> (Shop, String, String) {
    let shop = staffed().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 2)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    (shop, piece, session)
}

impl Shop {
    /// Sends what is to be sent, hears of it, and looks whether the books add up.
    pub async fn settles(&self) {
        self.run_jobs().await;
        self.deliver().await;
        self.run_jobs().await;
        self.audit().await;
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        let count = sqlx::query_scalar(sql).fetch_one(&self.db).await;
        count.expect("a count")
    }

    async fn returned(&self) -> i64 {
        self.count("select coalesce(sum(delta), 0)::bigint from stock_movements where reason = 'returned' and order_id is not null")
            .await
    }
}

/// The refund that the page's form asks for.
fn refund_on(page: &str) -> String {
    let (_, rest) = page
        .split_once("name=\"refund\" value=\"")
        .unwrap_or_else(|| panic!("no refund: {page}"));
    rest.split('"').next().expect("its end").to_owned()
}

async fn refunds(browser: &Browser, id: &str, amount: &str, restock: &str) -> u16 {
    let fields = [
        ("refund", id),
        ("amount", amount),
        ("reason", "Broken"),
        ("restock.sunrise", restock),
    ];
    browser.submit(ORDER, REFUND, &fields).await.status
}

#[tokio::test]
async fn an_order_is_packed_shipped_with_an_image_and_delivered() {
    let (shop, _, session) = two_sold().await;
    let staff = signed_in(&shop, STAFF).await;
    let slip = staff.get("/admin/orders/SB-1001/packing-slip").await;
    assert_eq!(slip.status, 200);
    assert!(
        slip.text.contains("<td>Sunrise</td><td>2</td>") && !slip.text.contains("$"),
        "{}",
        slip.text
    );

    // What is wrong is told beside its field, and nothing typed is lost.
    let ship = format!("{ORDER}/ship");
    let parts = [
        Part::text("carrier", "USPS"),
        Part::text("tracking_number", "94<00"),
    ];
    let answer = staff.submit_parts(ORDER, &ship, &parts).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("id=\"ship-tracking_number-error\""));
    assert!(
        answer.text.contains("value=\"94&#60;00\""),
        "{}",
        answer.text
    );
    let parts = [
        Part::text("carrier", "USPS"),
        Part::file("images", b"no image"),
    ];
    let answer = staff.submit_parts(ORDER, &ship, &parts).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("This is not an image."));
    assert_eq!(shop.status_of(&session).await, "paid");

    let image = jpeg(80, 60);
    let parts = [
        Part::text("carrier", "USPS"),
        Part::text("tracking_number", "9400 1234"),
        Part::file("images", &image),
        Part::file("images", &image),
    ];
    let answer = staff.submit_parts(ORDER, &ship, &parts).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, ORDER),
        "{}",
        answer.text
    );
    shop.run_jobs().await;
    let page = staff.get(ORDER).await.text;
    for part in [
        "SB-1001 is shipped; an email goes to",
        "tLabels=94001234\"",
        "The shipment, photo 1",
        "Mark delivered",
        "Order shipped</strong>",
        "Send again",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(shop.count("select count(*) from shipment_images").await, 1);
    assert_eq!(shop.emails_of("order_shipped").await, 1);
    // It is shipped once.
    let again = staff.submit(ORDER, &ship, &[("carrier", "UPS")]).await;
    assert_eq!(again.status, 409, "{}", again.text);

    let answer = staff.submit(ORDER, &format!("{ORDER}/deliver"), &[]).await;
    assert_eq!(answer.status, 303);
    assert_eq!(shop.status_of(&session).await, "delivered");
    let entries: Vec<String> = sqlx::query_scalar(
        "select action from audit_log where object = 'order:SB-1001' order by id",
    )
    .fetch_all(&shop.db)
    .await
    .expect("the log");
    assert_eq!(entries, ["order.ship", "order.deliver"]);
    shop.audit().await;
}

#[tokio::test]
async fn notes_are_kept_attention_is_seen_to_and_emails_go_again() {
    let (shop, _, _) = two_sold().await;
    let staff = signed_in(&shop, STAFF).await;
    let note = format!("{ORDER}/note");
    let long = "x".repeat(2001);
    for text in ["", "  ", &long] {
        let answer = staff.submit(ORDER, &note, &[("text", text)]).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text.contains("id=\"note-text-error\""));
    }
    let answer = staff
        .submit(ORDER, &note, &[("text", "Gift wrap <3")])
        .await;
    assert_eq!(answer.status, 303);
    sqlx::query(
        "insert into review_items (order_id, kind, cause, text) select id, 'other', 'test:' || id, 'look here' from orders",
    )
        .execute(&shop.db)
        .await
        .expect("an order");
    let page = staff.get(ORDER).await.text;
    assert!(page.contains("Note: Gift wrap &#60;3") && page.contains("look here"));
    assert!(page.contains("user:ben@example.com"), "{page}");
    let item: String = sqlx::query_scalar("select id::text from review_items")
        .fetch_one(&shop.db)
        .await
        .expect("an item");
    let resolve = format!("/admin/review-items/{item}/resolve");
    let answer = staff.submit(ORDER, &resolve, &[]).await;
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("location"), ORDER);
    assert!(!staff.get(ORDER).await.text.contains("class=\"alert"));

    let email: String =
        sqlx::query_scalar("select id::text from emails where kind = 'order_confirmation'")
            .fetch_one(&shop.db)
            .await
            .expect("an email");
    let resend = format!("{ORDER}/resend");
    let answer = staff.submit(ORDER, &resend, &[("email", &email)]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let again = staff.submit(ORDER, &resend, &[("email", &email)]).await;
    assert_eq!(again.status, 409, "it is on its way");
    for other in ["", "x", "00000000-0000-0000-0000-000000000000"] {
        let answer = staff.submit(ORDER, &resend, &[("email", other)]).await;
        assert_eq!(answer.status, 404, "{other}");
    }
    shop.run_jobs().await;
}

#[tokio::test]
async fn money_is_given_back_in_part_then_whole_and_pieces_return_once() {
    let (shop, piece, session) = two_sold().await;
    let owner = signed_in(&shop, OWNER).await;
    let staff = signed_in(&shop, STAFF).await;
    assert!(!staff.get(ORDER).await.text.contains("Give money back"));
    let page = owner.get(ORDER).await.text;
    assert!(page.contains("name=\"amount\" type=\"text\" autocomplete=\"off\" value=\"99.00\""));
    let id = refund_on(&page);

    // More than was paid, nothing, junk, and more pieces than were sold: told beside the field.
    for (amount, restock, field) in [
        ("99.01", "0", "refund-amount-error"),
        ("0", "0", "refund-amount-error"),
        ("many", "0", "refund-amount-error"),
        ("10", "3", "restock-error"),
        ("10", "-1", "restock-error"),
        ("10", "x", "restock-error"),
    ] {
        let fields = [
            ("refund", id.as_str()),
            ("amount", amount),
            ("restock.sunrise", restock),
        ];
        let answer = owner.submit(ORDER, REFUND, &fields).await;
        assert_eq!(answer.status, 400, "{amount} {restock}");
        assert!(answer.text.contains(field), "{amount}: {}", answer.text);
        assert_eq!(refund_on(&answer.text), id);
    }
    assert_eq!(shop.count("select count(*) from refunds").await, 0);
    assert_eq!(shop.stock(&piece).await, (1, 0));

    // A double click is one refund.
    for _ in 0..2 {
        assert_eq!(refunds(&owner, &id, "12.50", "1").await, 303);
    }
    assert_eq!(refunds(&owner, &id, "13", "1").await, 409);
    assert_eq!(shop.stock(&piece).await, (2, 0));
    // It is planned, so it cannot be given back again.
    let page = owner.get(ORDER).await.text;
    assert!(page.contains("value=\"86.50\""), "{page}");
    shop.settles().await;
    let order = shop.order(&session).await;
    assert_eq!(
        (&order["status"], &order["refunded"]),
        (&json!("paid"), &json!(1250))
    );
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert_eq!(shop.emails_of("order_refunded").await, 1);

    // The rest; the second piece comes back, a third does not.
    let next = refund_on(&owner.get(ORDER).await.text);
    assert_ne!(next, id);
    assert_eq!(refunds(&owner, &next, "86.50", "2").await, 400);
    assert_eq!(refunds(&owner, &next, "86.51", "1").await, 400);
    assert_eq!(refunds(&owner, &next, "86.50", "1").await, 303);
    shop.settles().await;
    assert_eq!(shop.status_of(&session).await, "refunded");
    assert_eq!(shop.stock(&piece).await, (3, 0));
    assert_eq!(shop.returned().await, 2);
    let third = "0193a000-0000-7000-8000-00000000000a";
    assert_eq!(refunds(&owner, third, "1", "0").await, 409);
    let logged = "select count(*) from audit_log where action = 'order.refund'";
    assert_eq!(shop.count(logged).await, 2);
}

#[tokio::test]
async fn refunds_at_the_same_time_never_give_back_more_than_was_paid() {
    let (shop, piece, session) = two_sold().await;
    let admin = shop.admin(&[Scope::Refunds]).await;
    let body = json!({"amount": 6000, "restock": [{"product_id": piece, "quantity": 2}]});
    let tasks = (0..4).map(|_| {
        let (admin, body) = (admin.clone(), body.clone());
        async move {
            let path = "/api/admin/orders/SB-1001/refund/";
            admin.post(path, &body).await.status
        }
    });
    let mut answers = at_once(tasks).await;
    answers.sort_unstable();
    assert_eq!(answers, [202, 400, 400, 400]);
    shop.settles().await;
    assert_eq!(shop.order(&session).await["refunded"], 6000);
    assert_eq!(shop.stock(&piece).await, (3, 0));
    assert_eq!(shop.returned().await, 2);
}

#[tokio::test]
async fn programs_give_money_back_as_well() {
    let (shop, piece, session) = two_sold().await;
    let admin = shop.admin(&[Scope::Refunds]).await;
    let path = "/api/admin/orders/SB-1001/refund/";
    let refund = async |body: Value| admin.post(path, &body).await;
    for (body, fields) in [
        (json!({"amount": 9901}), vec!["amount"]),
        (json!({"amount": 0}), vec!["amount"]),
        (json!({"amount": -1}), vec!["amount"]),
        (json!({"reason": "x".repeat(201)}), vec!["reason"]),
        (
            json!({"restock": [{"product_id": piece, "quantity": 0}, {"product_id": "x\u{0}", "quantity": 1}]}),
            vec!["restock[0]", "restock[1]"],
        ),
        (
            json!({"restock": [{"product_id": piece, "quantity": 1}, {"product_id": piece, "quantity": 1}]}),
            vec!["restock[1]"],
        ),
    ] {
        let answer = refund(body.clone()).await;
        assert_eq!(
            (answer.status, answer.field_errors()),
            (400, fields.iter().map(|f| (*f).to_owned()).collect()),
            "{body}"
        );
    }
    let whole = json!({"id": "0193a000-0000-7000-8000-00000000000b", "reason": "Lost in the mail"});
    // Stripe is down, then up: one refund.
    shop.stripe.fail_next(AT_STRIPE, Fault::Drop, 100);
    for _ in 0..2 {
        let answer = refund(whole.clone()).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    let left = shop.run_failing_jobs().await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(shop.at_stripe("refund").await.is_empty());
    assert_eq!(refund(json!({})).await.json["code"], "nothing_left");
    shop.stripe.clear_faults();
    shop.hurry_jobs().await;
    shop.settles().await;
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    assert_eq!(shop.status_of(&session).await, "refunded");
    // Nothing was said of the pieces: they stay where they are.
    assert_eq!(shop.stock(&piece).await, (1, 0));
}

#[tokio::test]
async fn a_refund_that_fails_is_shown_and_can_be_made_again() {
    let (shop, _, session) = two_sold().await;
    let owner = signed_in(&shop, OWNER).await;
    let id = refund_on(&owner.get(ORDER).await.text);
    assert_eq!(refunds(&owner, &id, "20", "0").await, 303);
    shop.settles().await;
    let at_stripe = shop.at_stripe("refund").await.remove(0);
    let lost = at_stripe["id"].as_str().expect("an id");
    shop.stripe.fail_refund(lost).await.expect("a failure");
    shop.settles().await;
    let page = owner.get(ORDER).await.text;
    assert!(
        page.contains("given back by hand") && page.contains("badge bad\">failed"),
        "{page}"
    );
    assert!(page.contains("value=\"99.00\""), "all of it is here again");
    let id = refund_on(&page);
    assert_eq!(refunds(&owner, &id, "99", "0").await, 303);
    shop.settles().await;
    assert_eq!(shop.status_of(&session).await, "refunded");
}

#[tokio::test]
async fn a_piece_is_sold_by_hand_with_two_taps_and_undone_with_one() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let empty = staff.get("/admin/sell").await.text;
    assert!(
        empty.contains("There is nothing in stock to sell."),
        "{empty}"
    );
    let piece = shop.stocks("Sunrise", 2).await;
    shop.stocks("Turtle", 1).await;
    let found = staff.get("/admin/sell?search=sunr").await.text;
    assert!(
        found.contains("piece=sunrise") && !found.contains("piece=turtle"),
        "{found}"
    );
    assert!(
        staff
            .get("/admin/sell?search=%25")
            .await
            .text
            .contains("No piece in stock")
    );

    let page = staff.get("/admin/sell?piece=sunrise").await.text;
    let (_, form) = page.split_once("action=\"/admin/sell\"").expect("a form");
    let (to, fields) = form_of(&format!(
        "<form method=\"post\" action=\"/admin/sell\"{form}"
    ));
    assert_eq!(to, "/admin/sell");
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .filter(|(name, _)| name != "csrf" && name != "once")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert!(
        fields.contains(&("quantity", "1")) && fields.contains(&("price", "47.00")),
        "{fields:?}"
    );
    let mut last = String::new();
    for _ in 0..2 {
        let answer = staff.submit("/admin/sell", "/admin/sell", &fields).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        answer.header("location").clone_into(&mut last);
    }
    assert_eq!(last, "/admin/sell?sold=SB-1001");
    assert_eq!(shop.stock(&piece).await, (1, 0), "two taps are one sale");
    let page = staff.get(&last).await.text;
    assert!(page.contains("1 × Sunrise for <strong>$47.00"), "{page}");
    let undo = "/admin/orders/SB-1001/undo";
    for _ in 0..2 {
        let answer = staff.submit(&last, undo, &[("back", "sell")]).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/admin/sell")
        );
    }
    assert_eq!(shop.stock(&piece).await, (2, 0));
    assert_eq!(shop.returned().await, 1);
    assert_eq!(shop.statuses().await, ["refunded"]);
    shop.audit().await;

    // More than there is, and what is no number: told on the page, and what was typed is there still.
    for (quantity, price, error) in [
        ("3", "40", "Only 2 of Sunrise available"),
        ("0", "40", "must be a whole number"),
        ("1", "-4", "must be an amount such as 47.00"),
        ("1", "9999999999", "must be an amount such as 47.00"),
    ] {
        let sale = [
            ("sale", "0193a000-0000-7000-8000-00000000000c"),
            ("piece", "sunrise"),
            ("quantity", quantity),
            ("price", price),
        ];
        let answer = staff.submit("/admin/sell", "/admin/sell", &sale).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.text.contains(error), "{error}: {}", answer.text);
        assert!(answer.text.contains(&format!("value=\"{price}\"")));
    }
    let gone = [
        ("sale", "0193a000-0000-7000-8000-00000000000d"),
        ("piece", "nothing"),
    ];
    let answer = staff.submit("/admin/sell", "/admin/sell", &gone).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("Choose another"));
}

#[tokio::test]
async fn what_was_paid_through_stripe_is_not_undone_by_hand() {
    let (shop, _, session) = two_sold().await;
    let staff = signed_in(&shop, STAFF).await;
    let answer = staff.submit(ORDER, &format!("{ORDER}/undo"), &[]).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    let admin = shop.admin(&[Scope::OrdersWrite, Scope::Refunds]).await;
    let answer = admin
        .post("/api/admin/orders/SB-1001/undo/", &json!({}))
        .await;
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (409, &json!("not_by_hand"))
    );
    assert_eq!(shop.status_of(&session).await, "paid");
    // Nor is a sale by hand refunded through Stripe.
    let sale = json!({"lines": [{"product_id": "sunrise", "quantity": 1}]});
    assert_eq!(admin.post("/api/admin/orders/", &sale).await.status, 201);
    let answer = admin
        .post("/api/admin/orders/SB-1002/refund/", &json!({}))
        .await;
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (409, &json!("not_refundable"))
    );
}

#[tokio::test]
async fn several_orders_are_shipped_at_once() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let piece = shop.stocks("Sunrise", 9).await;
    for _ in 0..3 {
        let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop.deliver().await;
    }
    let list = staff.get("/admin/orders").await.text;
    assert_eq!(list.matches("type=\"checkbox\"").count(), 3);
    let none = staff.get("/admin/orders/ship").await.text;
    assert!(none.contains("No order was chosen."));
    let on = "/admin/orders/ship?order=SB-1001&order=SB-1002&order=SB-9&order=SB-1001";
    let page = staff.get(on).await.text;
    assert_eq!(page.matches("name=\"order\"").count(), 2);
    let fields = [
        ("order", "SB-1001"),
        ("order", "SB-1002"),
        ("carrier", "USPS"),
        ("tracking.SB-1001", "94001"),
        ("tracking.SB-1002", "bad!"),
    ];
    let answer = staff.submit(on, "/admin/orders/ship", &fields).await;
    assert_eq!(answer.status, 400);
    for part in [
        "SB-1001 is shipped; the others are below.",
        "value=\"SB-1002\"",
        "value=\"bad!\"",
        "tracking.SB-1002-error",
    ] {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
    assert!(!answer.text.contains("value=\"SB-1001\""));
    assert_eq!(shop.statuses().await, ["shipped", "paid", "paid"]);
    let fields = [
        ("order", "SB-1002"),
        ("order", "SB-1003"),
        ("carrier", "DHL"),
    ];
    let answer = staff.submit(on, "/admin/orders/ship", &fields).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/admin/orders")
    );
    assert_eq!(shop.statuses().await, ["shipped", "shipped", "shipped"]);
}

#[tokio::test]
async fn orders_are_exported_by_day_without_formulas() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let piece = shop.stocks("Sunrise", 1200).await;
    let admin = shop.admin(&[Scope::OrdersWrite]).await;
    let sale = json!({
        "lines": [{"product_id": piece, "quantity": 1}],
        "customer_name": "=HYPERLINK(\"http://evil\")",
        "email": "a@example.com",
    });
    assert_eq!(admin.post("/api/admin/orders/", &sale).await.status, 201);
    let answer = staff.get("/admin/orders.csv").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    assert!(
        answer
            .header("content-disposition")
            .starts_with("attachment; filename=\"orders-")
    );
    let rows: Vec<&str> = answer.text.split("\r\n").collect();
    assert_eq!(rows.len(), 3, "{rows:?}");
    // As Excel wants it of a file that is opened by a double click.
    assert_eq!(answer.bytes[..3], [0xEF, 0xBB, 0xBF]);
    assert!(rows[1].starts_with("SB-1001,"), "{}", rows[1]);
    assert!(
        rows[1].contains(",delivered,manual,USD,1 × Sunrise,47.00,0.00,0.00,47.00,0.00,a@example.com,\"'=HYPERLINK(\"\"http://evil\"\")\""),
        "{}",
        rows[1]
    );
    // More than are read at a time, each once.
    sqlx::query(
        "insert into orders (id, status, channel, currency, subtotal, shipping, total, paid_at)
         select gen_random_uuid(), 'paid', 'manual', 'usd', 0, 0, 0, '2026-07-01T12:00:00Z' from generate_series(1, 1100)",
    )
    .execute(&shop.db)
    .await
    .expect("orders");
    let answer = staff
        .get("/admin/orders.csv?from=2026-07-01&to=2026-07-01")
        .await;
    let mut numbers: Vec<&str> = answer
        .text
        .lines()
        .skip(1)
        .filter_map(|row| row.split(',').next())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 1100);
    let none = staff
        .get("/admin/orders.csv?from=2026-07-02&to=2026-07-02")
        .await;
    assert_eq!(none.text.lines().count(), 1);
    for bad in [
        "from=x",
        "to=2026-13-01",
        "from=2026-07-02&to=2026-07-01",
        "to=999999-01-01",
        "from=%00",
    ] {
        let answer = staff.get(&format!("/admin/orders.csv?{bad}")).await;
        assert_eq!(answer.status, 400, "{bad}");
    }
}

/// The cells of a table, by row. No cell of these tests has a line break.
fn cells(csv: &str) -> Vec<Vec<String>> {
    let rows = csv.trim_start_matches('\u{feff}').split_terminator("\r\n");
    let cells = |row: &str| {
        let (mut cells, mut cell, mut is_quoted) = (Vec::new(), String::new(), false);
        let mut chars = row.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if is_quoted && chars.next_if_eq(&'"').is_some() => cell.push('"'),
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => cells.push(std::mem::take(&mut cell)),
                c => cell.push(c),
            }
        }
        cells.push(cell);
        cells
    };
    rows.map(cells).collect()
}

#[tokio::test]
async fn a_table_has_the_address_in_columns_and_a_row_for_each_line_on_request() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let (sun, owl) = (shop.stocks("Sunrise", 3).await, shop.stocks("Owl", 1).await);
    let session = session_of(&shop.shopper().check_out(&[(&sun, 2), (&owl, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    sqlx::query(
        "update orders
         set shipping_name = 'Zoë Müller', shipping_address =
             '{\"line1\": \"-5 Elm St\", \"line2\": \"Apt 2, rear\", \"city\": \"Boston\", \"state\": \"MA\",
               \"postal_code\": \"02134\", \"country\": \"US\"}'",
    )
    .execute(&shop.db)
    .await
    .expect("an address");
    let admin = shop.admin(&[Scope::OrdersRead, Scope::Refunds]).await;
    let back = json!({"amount": 4700, "restock": [{"product_id": sun, "quantity": 1}]});
    let path = "/api/admin/orders/SB-1001/refund/";
    assert_eq!(admin.post(path, &back).await.status, 202);
    shop.settles().await;
    let shipping = shop.admin(&[Scope::OrdersWrite]).await;
    let shipment = json!({"carrier": "USPS", "tracking_number": "9400111899223345678901"});
    let shipped = shipping
        .post("/api/admin/orders/SB-1001/ship/", &shipment)
        .await;
    assert_eq!(shipped.status, 200, "{}", shipped.text);

    let answer = staff.get("/admin/orders.csv").await;
    assert_eq!(answer.bytes[..3], [0xEF, 0xBB, 0xBF]);
    let table = cells(&answer.text);
    assert_eq!(table.len(), 2, "{table:?}");
    let under = |row: &[String], name: &str| {
        let at = table[0].iter().position(|head| head == name);
        row[at.unwrap_or_else(|| panic!("no {name}: {table:?}"))].clone()
    };
    for (name, value) in [
        ("number", "SB-1001"),
        ("pieces", "1 × Owl; 2 × Sunrise"),
        ("total", "146.00"),
        ("given back", "47.00"),
        ("recipient", "Zoë Müller"),
        ("address line 1", "'-5 Elm St"),
        ("address line 2", "Apt 2, rear"),
        ("city", "Boston"),
        ("state", "MA"),
        // So that a spreadsheet leaves them alone.
        ("postal code", "=\"02134\""),
        ("tracking", "=\"9400111899223345678901\""),
        ("country", "US"),
    ] {
        assert_eq!(under(&table[1], name), value, "{name}");
    }

    for caller in [
        staff.get("/admin/orders.csv?rows=lines").await,
        admin.get("/api/admin/orders.csv?rows=lines").await,
    ] {
        let table = cells(&caller.text);
        let head = &table[0];
        let at = |name: &str| {
            head.iter()
                .position(|known| known == name)
                .expect("a column")
        };
        let told: Vec<Vec<&str>> = table[1..]
            .iter()
            .map(|row| {
                [
                    "number",
                    "piece",
                    "quantity",
                    "unit price",
                    "back in stock",
                    "total",
                    "state",
                ]
                .map(|name| row[at(name)].as_str())
                .into()
            })
            .collect();
        assert_eq!(
            told,
            [
                ["SB-1001", "Owl", "1", "47.00", "0", "146.00", "MA"],
                ["SB-1001", "Sunrise", "2", "47.00", "1", "", "MA"],
            ]
        );
        assert!(table.iter().all(|row| row.len() == head.len()));
    }
    let odd = admin.get("/api/admin/orders.csv?rows=all").await;
    assert_eq!(odd.field_errors(), ["rows"]);
}

#[tokio::test]
async fn the_log_does_not_say_of_one_what_another_did_meanwhile() {
    let shop = staffed().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let answer = shop.shopper().check_out(&[(&piece, 1)]).await;
    let session = session_of(&answer);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let number = format!("SB-{}", shop.order(&session).await["number"]);
    let number = number.as_str();

    let flags = async || {
        let mut tx = shop.db.begin().await.expect("a transaction");
        let id = orders::resolve(&mut tx, number).await.expect("an order");
        let item = NewItem::new(Kind::OutsideZone, "test", "look");
        orders::flag(&mut tx, id, &item).await.expect("flagged");
        tx.commit().await.expect("a commit");
    };
    let begins = async || {
        let actor = Actor::console();
        orders::Change::begin(&shop.db, actor, number)
            .await
            .expect("an order")
    };
    let mut change = begins().await;
    flags().await;
    let id = change.before.id;
    orders::note(&mut change.tx, id, "note", "console", "Ann called")
        .await
        .expect("noted");
    change
        .end("order.note", json!({"note": "Ann called"}))
        .await
        .expect("a commit");

    // Two press the button at once; the second has nothing to do.
    let item: Uuid = sqlx::query_scalar("select id from review_items")
        .fetch_one(&shop.db)
        .await
        .expect("an item");
    let resolves = async || {
        let mut tx = shop.db.begin().await.expect("a transaction");
        let resolved = review_items::resolve(&mut tx, &Actor::console(), ReviewItemId(item)).await;
        assert!(resolved.expect("an item").resolved_at.is_some());
        tx.commit().await.expect("a commit");
    };
    tokio::join!(resolves(), resolves());

    let log: Vec<_> = audited(&shop)
        .await
        .into_iter()
        .filter(|entry| entry.1.starts_with("order.") || entry.1.starts_with("review_item."))
        .map(|entry| (entry.1, entry.3.expect("before"), entry.4.expect("after")))
        .collect();
    let facts = json!({"status": "paid", "refunded": 0});
    let mut noted = facts.clone();
    noted["note"] = json!("Ann called");
    let item = |is_open: bool| json!({"review_item": item, "kind": "outside_zone", "text": "look", "is_open": is_open});
    assert_eq!(
        log,
        [
            ("order.note".to_owned(), facts, noted),
            ("review_item.resolve".to_owned(), item(true), item(false)),
        ]
    );
}
