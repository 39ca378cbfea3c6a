//! Settings that change while the shop runs: what is saved holds at once, for shoppers, emails and the admin.

use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use crate::admin::{Browser, OWNER, STAFF, audited, signed_in, staffed, staffed_with};
use crate::support::forms::Form;
use crate::support::{Shop, card, session_of};

const HERE: &str = "/admin/settings";

/// The form as the page has it, with some fields changed.
const NOTHING: [(&str, &str); 3] = [
    ("shop_name", ""),
    ("quote_valid_days", ""),
    ("low_stock", ""),
];

async fn saves(owner: &Browser, fields: &[(&str, &str)]) {
    let answer = owner.submit(HERE, HERE, fields).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
}

/// Cost of a shipment in a session, and the days it takes.
async fn shipping(shop: &Shop, product: &str) -> (String, Value) {
    let answer = shop.shopper().check_out(&[(product, 1)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let session = session_of(&answer);
    let rate = shop.session(&session).await["shipping_options"][0].clone();
    (session, rate)
}

#[tokio::test]
async fn a_shipment_costs_the_rate_that_is_set_now() {
    let shop = staffed_with(&[("SHIPPING_US", "500,3,5")]).await;
    let owner = signed_in(&shop, OWNER).await;
    let piece = shop.stocks("Sunrise", 5).await;
    let (old, rate) = shipping(&shop, &piece).await;
    assert_eq!(rate["shipping_amount"], 500, "{rate}");

    let zone = [
        ("shipping_us.price", "6.25"),
        ("shipping_us.min_days", "2"),
        ("shipping_us.max_days", "4"),
    ];
    saves(&owner, &zone).await;
    let (new, rate) = shipping(&shop, &piece).await;
    assert_eq!(rate["shipping_amount"], 625, "{rate}");
    // A checkout that was under way keeps its price, and both are paid as they were offered.
    for (session, total) in [(old, 5200), (new, 5325)] {
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop.deliver().await;
        assert_eq!(shop.order(&session).await["total"], total);
    }

    saves(&owner, &NOTHING).await;
    let (_, rate) = shipping(&shop, &piece).await;
    assert_eq!(rate["shipping_amount"], 500, "{rate}");
    shop.audit().await;
}

#[tokio::test]
async fn the_name_is_on_emails_pages_and_the_admin() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    saves(&owner, &[("shop_name", "Beads & Sons")]).await;
    assert!(owner.get("/admin").await.text.contains("Beads &#38; Sons"));
    let route = shop.shopper().get("/admin/sign-in").await.text;
    assert!(route.contains("Beads &#38; Sons"), "{route}");

    let request = shop.asks_for_a_piece("ann@example.com").await;
    shop.run_jobs().await;
    let mail = shop.mail();
    assert!(!mail.is_empty());
    for email in mail {
        assert!(email.raw.contains("Beads & Sons"), "{}", email.raw);
        assert!(!email.raw.contains("Spirit Beads"), "{}", email.raw);
    }
    let page = shop.status_page(&request);
    let shopper = shop.shopper();
    let page = shopper
        .send(
            reqwest::Method::GET,
            &page,
            &[("accept", "text/html")],
            None::<String>,
        )
        .await;
    assert!(page.text.contains("Beads &#38; Sons"), "{}", page.text);
}

#[tokio::test]
async fn times_are_those_of_the_zone_that_is_chosen() {
    let shop = staffed_with(&[("SHOP_TIME_ZONE", "Etc/GMT+5")]).await;
    let owner = signed_in(&shop, OWNER).await;
    shop.sells_one("Sunrise").await;
    sqlx::query("update orders set paid_at = '2026-11-24T03:15:00Z', created_at = paid_at")
        .execute(&shop.db)
        .await
        .expect("an old order");
    let time = async |expected: &str| {
        let page = owner.get("/admin/orders/SB-1001").await.text;
        assert!(page.contains(expected), "{expected}: {page}");
    };
    time("Nov 23, 2026, 10:15 PM").await;
    // A zone that is offered nowhere else stays when the form is saved as it is.
    let page = owner.get(HERE).await.text;
    assert_eq!(Form::to(&page, HERE).send(&owner.client).await.status, 303);
    time("Nov 23, 2026, 10:15 PM").await;

    saves(&owner, &[("time_zone", "America/Los_Angeles")]).await;
    time("Nov 23, 2026, 7:15 PM").await;
    let page = owner.get(HERE).await.text;
    assert!(
        page.contains("<option value=\"America/Los_Angeles\" selected>Pacific Time (Los Angeles)"),
        "{page}"
    );
    let programs = shop.admin(&[Scope::OrdersRead, Scope::Settings]).await;
    let dashboard = programs.get("/api/admin/dashboard/").await.json;
    assert_eq!(dashboard["time_zone"], "America/Los_Angeles", "{dashboard}");
    let of_day = async |day: &str| {
        let path = format!("/api/admin/orders/?from={day}&to={day}");
        programs.get(&path).await.json["count"].clone()
    };
    assert_eq!(
        (of_day("2026-11-23").await, of_day("2026-11-24").await),
        (json!(1), json!(0))
    );
    saves(&owner, &[("time_zone", "Asia/Tokyo")]).await;
    assert_eq!(
        (of_day("2026-11-23").await, of_day("2026-11-24").await),
        (json!(0), json!(1))
    );
    time("Nov 24, 2026, 12:15 PM").await;

    // What only one of the two knows, or knows under another name, is refused.
    for unknown in ["America/Atlantis", "asia/tokyo", "EST5EDT4", "' or 1=1"] {
        let answer = owner.submit(HERE, HERE, &[("time_zone", unknown)]).await;
        assert_eq!(answer.status, 400, "{unknown}");
        assert!(
            answer
                .text
                .contains("Time zone must be the name of a time zone"),
            "{}",
            answer.text
        );
        let body = json!({"chosen": {"time_zone": unknown}});
        let path = "/api/admin/settings/";
        let answer = programs.send_json(reqwest::Method::PUT, path, &body).await;
        assert_eq!(answer.field_errors(), ["time_zone"]);
    }
    time("Nov 24, 2026, 12:15 PM").await;
    saves(&owner, &[("time_zone", "Etc/GMT+5")]).await;
    let chosen = programs.get("/api/admin/settings/").await.json["chosen"]["time_zone"].clone();
    assert_eq!(chosen, Value::Null, "as the configuration has it");
}

#[tokio::test]
async fn quotes_and_low_stock_follow() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let few = shop.stocks("Tidewalk", 4).await;
    assert!(!owner.get("/admin").await.text.contains("Tidewalk"));
    let fields = [
        ("quote_valid_days", "30"),
        ("low_stock", "4"),
        ("shipping_international.price", "31"),
        ("shipping_international.min_days", "10"),
        ("shipping_international.max_days", "20"),
    ];
    saves(&owner, &fields).await;
    // Of 4 there never were more than 4: raise the stock, then lower it.
    for delta in [2, -2] {
        let admin = shop.admin(&[Scope::Stock]).await;
        let body = json!({"delta": delta, "reason": "correction"});
        let answer = admin
            .post(&format!("/api/products/{few}/stock/"), &body)
            .await;
        assert!(answer.status < 300, "{}", answer.text);
    }
    let page = owner.get("/admin").await.text;
    assert!(page.contains("Tidewalk"), "{page}");

    let request = shop.asks_for_a_piece("ann@example.com").await;
    let admin = shop.admin(&[Scope::CustomOrders]).await;
    let quote = json!({"amount": 14500, "description": "A case", "shipping_zone": "international"});
    let path = format!("/api/admin/custom-orders/{request}/quote/");
    let answer = admin.send_json(reqwest::Method::PUT, &path, &quote).await;
    let drafted = &answer.json["quotes"][0];
    assert_eq!(
        (&drafted["valid_days"], &drafted["shipping"]),
        (&json!(30), &json!(3100)),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn bad_values_are_told_beside_their_fields_and_nothing_is_saved() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let long = "x".repeat(101);
    for (fields, said) in [
        (
            vec![("shop_name", long.as_str())],
            "Name must have 1 to 100 characters",
        ),
        (
            vec![("quote_valid_days", "0")],
            "must be from 1 to 365 days",
        ),
        (vec![("quote_valid_days", "soon")], "must be a whole number"),
        (vec![("low_stock", "-1")], "must be from 0 to 1000 pieces"),
        (
            vec![("shipping_us.min_days", "a few")],
            "must be a whole number of days",
        ),
        (
            vec![
                ("shipping_us.price", "-5"),
                ("shipping_us.min_days", "1"),
                ("shipping_us.max_days", "2"),
            ],
            "in dollars",
        ),
        (
            vec![
                ("shipping_us.price", "1000000"),
                ("shipping_us.min_days", "1"),
                ("shipping_us.max_days", "2"),
            ],
            "must be from $0 to $999,999.99",
        ),
        (
            vec![
                ("shipping_us.price", "5"),
                ("shipping_us.min_days", "4"),
                ("shipping_us.max_days", "2"),
            ],
            "must be at least the minimum",
        ),
    ] {
        let mut all = vec![("shop_name", "Typed before")];
        all.retain(|(name, _)| fields.iter().all(|(other, _)| other != name));
        all.extend(&fields);
        let answer = owner.submit(HERE, HERE, &all).await;
        assert_eq!(answer.status, 400, "{fields:?}");
        assert!(answer.text.contains(said), "{fields:?}: {}", answer.text);
        for (_, typed) in &all {
            assert!(answer.text.contains(typed), "{typed} is lost");
        }
    }
    let log = audited(&shop).await;
    assert!(
        log.iter().all(|entry| entry.1 != "settings.change"),
        "{log:?}"
    );
}

#[tokio::test]
async fn one_price_is_changed_alone_and_every_field_shows_its_value() {
    let shop = staffed_with(&[("SHIPPING_US", "500,3,5"), ("SHOP_NAME", "Beads")]).await;
    let owner = signed_in(&shop, OWNER).await;
    let page = owner.get(HERE).await.text;
    for shown in [
        "name=\"shop_name\" value=\"Beads\"",
        "name=\"shipping_us.price\" value=\"5.00\"",
        "name=\"shipping_us.min_days\" value=\"3\"",
        "name=\"low_stock\" value=\"2\"",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(
        !page.contains("placeholder") && !page.contains("Default:"),
        "{page}"
    );

    saves(&owner, &[("shipping_us.price", "6.25")]).await;
    let programs = shop.admin(&[Scope::Settings]).await;
    let chosen = async || programs.get("/api/admin/settings/").await.json["chosen"].clone();
    let expected = json!({"price": 625, "min_days": 3, "max_days": 5});
    assert_eq!(chosen().await["shipping_us"], expected);
    assert_eq!(chosen().await["shop_name"], Value::Null);
    let page = owner.get(HERE).await.text;
    assert!(
        page.contains("value=\"6.25\"") && page.contains("Default: 5.00"),
        "{page}"
    );

    // The form as it is rendered changes nothing; with the default typed, the configuration counts again.
    let form = Form::to(&page, HERE);
    assert_eq!(form.send(&owner.client).await.status, 303);
    assert_eq!(chosen().await["shipping_us"], expected);
    let form = Form::to(&page, HERE).with(&[("shipping_us.price", "5.00")]);
    assert_eq!(form.send(&owner.client).await.status, 303);
    assert_eq!(chosen().await["shipping_us"], Value::Null);
}

#[tokio::test]
async fn what_cannot_be_read_and_what_is_out_of_range_are_told_together() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let typed = [
        ("quote_valid_days", "soon"),
        ("low_stock", "2000"),
        ("shipping_us.price", "1000000"),
        ("shipping_us.max_days", "-1"),
        ("shipping_international.price", "much"),
    ];
    let answer = owner.submit(HERE, HERE, &typed).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    for said in [
        "must be a whole number.",
        "must be from 0 to 1000 pieces",
        "must be from $0 to $999,999.99",
        "must be at least the minimum",
        "must be an amount in dollars",
    ] {
        assert!(answer.text.contains(said), "{said}: {}", answer.text);
    }
}

#[tokio::test]
async fn two_owners_do_not_overwrite_each_other_and_the_log_has_both() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let named = [("shop_name", "One"), ("version", "0")];
    assert_eq!(owner.submit(HERE, HERE, &named).await.status, 303);
    let named = [("shop_name", "Two"), ("version", "0")];
    let answer = owner.submit(HERE, HERE, &named).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    let again = [("shop_name", "One"), ("version", "1")];
    assert_eq!(owner.submit(HERE, HERE, &again).await.status, 303);
    let log: Vec<_> = audited(&shop)
        .await
        .into_iter()
        .filter(|entry| entry.1 == "settings.change")
        .collect();
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(log[0].3, Some(json!({"shop_name": null})));
    assert_eq!(log[0].4, Some(json!({"shop_name": "One"})));
    let staff = signed_in(&shop, STAFF).await;
    assert_eq!(staff.get(HERE).await.status, 403);
}

#[tokio::test]
async fn programs_read_and_set_them_as_the_admin_does() {
    let shop = Shop::open_with(&[("SHIPPING_US", "500,3,5")]).await;
    let admin = shop.admin(&[Scope::Settings]).await;
    let path = "/api/admin/settings/";
    let found = admin.get(path).await.json;
    assert_eq!(
        (
            &found["version"],
            &found["chosen"]["shipping_us"],
            &found["current"]["shipping_us"]
        ),
        (
            &json!(0),
            &Value::Null,
            &json!({"price": 500, "min_days": 3, "max_days": 5})
        ),
        "{found}"
    );
    let put = async |body: Value| admin.send_json(reqwest::Method::PUT, path, &body).await;
    let rate = json!({"price": 625, "min_days": 2, "max_days": 4});
    let set = put(json!({"version": 0, "chosen": {"shipping_us": rate}})).await;
    assert_eq!(
        (set.status, &set.json["version"]),
        (200, &json!(1)),
        "{}",
        set.text
    );
    assert_eq!(set.json["current"]["shipping_us"], rate);
    // A repeat of what is so already is no conflict; another change by the old version is.
    let again = put(json!({"version": 0, "chosen": {"shipping_us": rate}})).await;
    assert_eq!((again.status, &again.json["version"]), (200, &json!(1)));
    assert_eq!(put(json!({"version": 0, "chosen": {}})).await.status, 409);
    for (chosen, field) in [
        (json!({"shop_name": ""}), "shop_name"),
        (json!({"low_stock": 1001}), "low_stock"),
        (json!({"quote_valid_days": 0}), "quote_valid_days"),
        (
            json!({"shipping_us": {"price": -1, "min_days": 1, "max_days": 1}}),
            "shipping_us.price",
        ),
        (
            json!({"shipping_us": {"price": 1, "min_days": 9, "max_days": 1}}),
            "shipping_us.max_days",
        ),
    ] {
        let refused = put(json!({"chosen": chosen})).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert_eq!(refused.field_errors(), [field], "{}", refused.text);
    }
    for odd in [
        json!({}),
        json!({"chosen": {"color": "red"}}),
        json!({"chosen": {"low_stock": "2"}}),
        json!([]),
    ] {
        let refused = put(odd).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
    }
    assert_eq!(
        put(json!({"chosen": {}})).await.json["chosen"]["shipping_us"],
        Value::Null
    );
    let log = audited(&shop).await;
    assert_eq!(
        log.iter()
            .filter(|entry| entry.0 == "token:test" && entry.1 == "settings.change")
            .count(),
        2
    );
}
