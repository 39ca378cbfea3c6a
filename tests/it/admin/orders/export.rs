//! The tables of orders for the bookkeeper.

use serde_json::json;
use spirit_beads::auth::Scope;

use crate::admin::{STAFF, signed_in, staffed};
use crate::support::{card, session_of};

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
        rows[1].contains(",delivered,manual,,USD,1 × Sunrise,47.00,0.00,0.00,0.00,47.00,0.00,a@example.com,\"'=HYPERLINK(\"\"http://evil\"\")\""),
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
        ("refunded", "47.00"),
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
async fn orders_to_pack_are_exported_for_the_sites_that_sell_labels() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let sun = shop
        .stocks_with("Sunrise", 3, json!({"weight_ounces": "7.25"}))
        .await;
    let owl = shop
        .stocks_with("Owl", 1, json!({"weight_ounces": "2.5"}))
        .await;
    shop.run_jobs().await;
    assert!(!staff.get("/admin/orders").await.text.contains("labels.csv"));
    let session = session_of(&shop.shopper().check_out(&[(&sun, 2), (&owl, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    // Handed over: it needs no label.
    let sale = json!({"lines": [{"product_id": sun, "quantity": 1}]});
    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    assert_eq!(admin.post("/api/admin/orders/", &sale).await.status, 201);
    let address = async |country: &str| {
        sqlx::query(
            "update orders
             set shipping_name = 'Zoë M. Müller', email = '=1+1@example.com', phone = '+1 (503) 555-0100',
                 shipping_address = jsonb_build_object('line1', '-5 Elm St', 'line2', 'Apt 2, rear', 'city', 'Boston',
                     'state', 'MA', 'postal_code', '02134', 'country', $1::text)
             where channel = 'storefront'",
        )
        .bind(country)
        .execute(&shop.db)
        .await
        .expect("an address");
    };
    address("US").await;
    let page = staff.get("/admin/orders").await.text;
    assert!(
        page.contains("/admin/orders/labels.csv?site=click-n-ship"),
        "{page}"
    );
    let answer = staff.get("/admin/orders/labels.csv").await;
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    let table = cells(&answer.text);
    assert_eq!(table.len(), 2, "{table:?}");
    assert_eq!(
        table[1],
        [
            "SB-1001",
            "Zoë M. Müller",
            "'-5 Elm St",
            "Apt 2, rear",
            "Boston",
            "MA",
            "02134",
            "US",
            "'=1+1@example.com",
            "5035550100",
            "1 × Owl; 2 × Sunrise",
            "1",
            "1.00",
            "141.00"
        ]
    );
    let path = "/api/admin/orders/labels.csv?site=click-n-ship";
    for (country, state, service) in [
        ("US", ["MA", ""], "USPS Ground Advantage"),
        (
            "CA",
            ["", "MA"],
            "First-Class Package International Service",
        ),
    ] {
        address(country).await;
        let text = admin.get(path).await.text;
        assert!(text.starts_with("Reference ID,"), "{text}");
        let table = cells(&text);
        let under = |name: &str| {
            let at = table[0].iter().position(|head| head == name);
            table[1][at.unwrap_or_else(|| panic!("no {name}"))].as_str()
        };
        assert_eq!((table[0].len(), table[1].len()), (59, 59));
        for (name, value) in [
            ("Reference ID", "SB-1001"),
            ("Recipient First Name", "Zoë M."),
            ("Recipient Last Name", "Müller"),
            ("Recipient Country", country),
            ("Recipient State", state[0]),
            ("Recipient Province", state[1]),
            ("Service Type", service),
            ("Package Weight (lb)", "1"),
            ("Package Weight (oz)", "1.00"),
            ("Sender ZIP Code", ""),
        ] {
            assert_eq!(under(name), value, "{name}");
        }
    }
    let odd = admin.get("/api/admin/orders/labels.csv?site=ups").await;
    assert_eq!(odd.field_errors(), ["site"]);
}
