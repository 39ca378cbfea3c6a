//! One currency in a shop, and amounts of it that Stripe takes: whatever it is, and at every route.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use spirit_beads::error::Error;

use crate::support::{Database, Shop, card, database, program, session_of};

/// A currency, a price of it, the price as people write it and as they type it, and prices that it does not have.
const CURRENCIES: [(&str, i64, &str, &str, &[i64]); 5] = [
    ("usd", 4_705, "$47.05", "47.05", &[49, 0, 100_000_000]),
    ("jpy", 5_300, "5,300 JPY", "5300", &[49]),
    ("kwd", 14_750, "14.750 KWD", "14.75", &[14_755, 40]),
    (
        "ugx",
        17_500_000,
        "175,000 UGX",
        "175000",
        &[17_500_050, 50],
    ),
    ("isk", 650_000, "6,500 ISK", "6500", &[650_010]),
];

#[tokio::test]
async fn each_currency_is_typed_shown_charged_and_mailed_as_its_people_write_it() {
    for (code, price, shown, _, bad) in CURRENCIES {
        let settings = [("SHOP_CURRENCY", code), ("SHIPPING_US", "1000,3,5")];
        let shop = Shop::open_with(&settings).await;
        let admin = shop
            .admin(&[Scope::Catalog, Scope::Stock, Scope::OrdersRead])
            .await;
        for amount in bad {
            let body = json!({"name": "Sunrise", "lighter_type": 1, "price": amount});
            let answer = admin.post("/api/products/", &body).await;
            assert_eq!(answer.status, 400, "{code} {amount}: {}", answer.text);
            assert_eq!(answer.field_errors(), ["price"], "{code} {amount}");
        }
        let piece = shop
            .stocks_with("Sunrise", 1, json!({"price": price}))
            .await;
        for path in ["/api/products/", "/api/products/batch/?ids=sunrise"] {
            let answer = shop.client.get(path).await.json;
            let list = if answer["results"].is_array() {
                "results"
            } else {
                "products"
            };
            assert_eq!(answer[list][0]["currency"], code, "{answer}");
        }
        let detail = shop.client.get("/api/products/sunrise/").await.json;
        assert_eq!(
            (&detail["price"], &detail["currency"]),
            (&json!(price), &json!(code))
        );

        let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
        let asked = shop.session(&session).await;
        assert_eq!(
            (&asked["amount_total"], &asked["currency"]),
            (&json!(price + 1000), &json!(code))
        );
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop.deliver().await;
        shop.run_jobs().await;
        let mail = shop.mail();
        assert!(mail[0].text.contains(shown), "{code}: {}", mail[0].text);
        let table = admin.get("/api/admin/orders.csv").await.text;
        assert!(
            table.contains(&format!(",{},", code.to_uppercase())),
            "{table}"
        );
        shop.audit().await;
    }
}

#[tokio::test]
async fn sales_quotes_refunds_and_shipping_take_amounts_of_the_currency_alone() {
    let shop = Shop::open_with(&[("SHOP_CURRENCY", "kwd")]).await;
    let scopes = [
        Scope::OrdersWrite,
        Scope::OrdersRead,
        Scope::CustomOrders,
        Scope::Settings,
        Scope::Refunds,
    ];
    let admin = shop.admin(&scopes).await;
    let piece = shop
        .stocks_with("Sunrise", 3, json!({"price": 14_750}))
        .await;
    let sale = |price: i64| json!({"lines": [{"product_id": "sunrise", "quantity": 1, "unit_price": price}]});
    let refused = admin.post("/api/admin/orders/", &sale(14_755)).await;
    assert_eq!(
        refused.field_errors(),
        ["lines[0].unit_price"],
        "{}",
        refused.text
    );
    let sold = admin.post("/api/admin/orders/", &sale(14_000)).await;
    assert_eq!(
        (sold.status, &sold.json["currency"]),
        (201, &json!("kwd")),
        "{}",
        sold.text
    );

    let id = shop.asks_for_a_piece("ann@example.com").await;
    let path = format!("/api/admin/custom-orders/{id}/quote/");
    for (amount, shipping, field) in [
        (90_005, 0, Some("amount")),
        (90_000, 505, Some("shipping")),
        (90_000, 500, None),
    ] {
        let body = json!({"amount": amount, "shipping": shipping, "description": "A case"});
        let answer = admin.send_json(Method::PUT, &path, &body).await;
        match field {
            Some(field) => assert_eq!(answer.field_errors(), [field], "{}", answer.text),
            None => assert_eq!(answer.status, 200, "{}", answer.text),
        }
    }
    let quoted: String = sqlx::query_scalar("select currency from custom_order_quotes")
        .fetch_one(&shop.db)
        .await
        .expect("the quote");
    assert_eq!(quoted, "kwd");

    let rate = |price: i64| json!({"chosen": {"shipping_us": {"price": price, "min_days": 1, "max_days": 2}}});
    let refused = admin
        .send_json(Method::PUT, "/api/admin/settings/", &rate(1_005))
        .await;
    assert_eq!(
        refused.field_errors(),
        ["shipping_us.price"],
        "{}",
        refused.text
    );
    let chosen = admin
        .send_json(Method::PUT, "/api/admin/settings/", &rate(1_000))
        .await;
    assert_eq!(chosen.status, 200, "{}", chosen.text);

    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    assert_eq!(shop.session(&session).await["amount_total"], 15_750);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let order: i64 = sqlx::query_scalar("select number from orders where channel = 'storefront'")
        .fetch_one(&shop.db)
        .await
        .expect("the order");
    let path = format!("/api/admin/orders/SB-{order}/refund/");
    let refused = admin.post(&path, &json!({"amount": 1_005})).await;
    assert_eq!(refused.field_errors(), ["amount"], "{}", refused.text);
    shop.audit().await;
}

#[tokio::test]
async fn another_currency_is_refused_at_every_route_by_name() {
    let shop = Shop::open_with(&[("SHOP_CURRENCY", "eur")]).await;
    let admin = shop.admin(&[Scope::Catalog, Scope::Stock]).await;
    shop.stocks("Sunrise", 1).await;
    let whole = json!({"name": "Sunset", "lighter_type": 1, "price": 4700, "currency": "usd"});
    for (method, path, body) in [
        (Method::POST, "/api/products/", whole.clone()),
        (Method::PUT, "/api/products/sunrise/", whole.clone()),
        (
            Method::PATCH,
            "/api/products/sunrise/",
            json!({"currency": "usd"}),
        ),
        (
            Method::PATCH,
            "/api/products/sunrise/",
            json!({"currency": "EUR"}),
        ),
        (
            Method::PATCH,
            "/api/products/sunrise/",
            json!({"currency": null}),
        ),
    ] {
        let answer = admin.send_json(method, path, &body).await;
        assert_eq!(
            (answer.status, answer.field_errors()),
            (400, vec!["currency".to_owned()]),
            "{path} {body}"
        );
    }
    let mut row = whole;
    row["id"] = json!("sunset");
    match shop.imports(&json!({"products": [row]})).await {
        Err(Error::Invalid(errors)) => assert_eq!(errors[0].field, "products[0].currency"),
        other => panic!("{other:?}"),
    }
    let fine = admin
        .send_json(
            Method::PATCH,
            "/api/products/sunrise/",
            &json!({"currency": "eur"}),
        )
        .await;
    assert_eq!(fine.status, 200, "{}", fine.text);
    // One that is there all the same is not sold.
    sqlx::query("update products set currency = 'usd'")
        .execute(&shop.db)
        .await
        .expect("a product of before");
    let cart = shop.client.check_out(&[("sunrise", 1)]).await;
    assert_eq!(cart.line_errors(), ["currency_mismatch"], "{}", cart.text);
}

/// Starts the program on this database until it ends or serves; returns what it said.
fn started(database: &Database, currency: &str, command: &[&str]) -> (bool, String) {
    let options = database::options(database.name());
    let socket = options
        .get_socket()
        .expect("a socket")
        .display()
        .to_string();
    let host: String = url::form_urlencoded::byte_serialize(socket.as_bytes()).collect();
    let url = format!(
        "postgres://{}@localhost:{}/{}?host={host}",
        options.get_username(),
        options.get_port(),
        database.name()
    );
    let output = std::process::Command::new(program())
        .args(command)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("DATABASE_URL", url)
        .env("DATA_DIR", database.data_folder())
        .env("BIND_ADDR", "127.0.0.1:0")
        .env("SHOP_CURRENCY", currency)
        .current_dir(database.folder())
        .output()
        .expect("the program");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + String::from_utf8_lossy(&output.stdout).as_ref();
    (output.status.success(), said)
}

#[tokio::test]
async fn a_shop_with_prices_in_another_currency_does_not_start_and_says_what_to_do() {
    let database = Database::create().await;
    let db = database.connect();
    sqlx::query(
        "insert into products (id, name, slug, lighter_type, price)
         select 'p' || n, 'Piece ' || n, 'piece-' || n, 1, 4700 from generate_series(1, 3) n",
    )
    .execute(&db)
    .await
    .expect("products");
    for command in ["serve", "worker"] {
        let (fine, said) = started(&database, "jpy", &[command]);
        assert!(!fine, "{said}");
        for part in [
            "SHOP_CURRENCY is jpy",
            "3 products in usd",
            "catalog import",
        ] {
            assert!(said.contains(part), "{command}: {said}");
        }
    }
    // The way that it names.
    let (_, file) = started(&database, "jpy", &["catalog", "export"]);
    let start = file.find('{').expect("a file");
    let mut file: Value = serde_json::from_str(&file[start..]).expect("JSON");
    for product in file["products"].as_array_mut().expect("products") {
        product["currency"] = json!("jpy");
        product["price"] = json!(6_800);
    }
    let path = database.folder().join("catalog.json");
    std::fs::write(&path, file.to_string()).expect("a file");
    let (fine, said) = started(
        &database,
        "jpy",
        &["catalog", "import", path.to_str().expect("a path")],
    );
    assert!(fine, "{said}");
    let left: i64 = sqlx::query_scalar(
        "select count(*) from products where (currency, price) <> ('jpy', 6800)",
    )
    .fetch_one(&db)
    .await
    .expect("the products");
    assert_eq!(left, 0);
    // No such currency at all.
    let (fine, said) = started(&database, "btc", &["serve"]);
    assert!(!fine && said.contains("SHOP_CURRENCY"), "{said}");
}
