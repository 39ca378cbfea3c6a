//! Days that people read, and promises that hold to the end of one: in the shop's time zone.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use reqwest::Method;
use serde_json::json;
use spirit_beads::auth::Scope;
use spirit_beads::{db, types::calendar};

use crate::support::{Database, Shop, card, program, session_of};

/// Zones that never have the same day as UTC at the same time all day long; between the first two lie 26 hours.
const ZONES: [&str; 3] = ["Pacific/Kiritimati", "Etc/GMT+12", "America/Los_Angeles"];

fn spelled(day: NaiveDate) -> String {
    day.format("%B %-d, %Y").to_string()
}

async fn timestamp(shop: &Shop, sql: &'static str) -> DateTime<Utc> {
    sqlx::query_scalar(sql)
        .fetch_one(&shop.db)
        .await
        .expect("a time")
}

/// A shop in this zone: by its configuration, or by a setting that differs from it.
async fn in_zone(name: &str) -> Shop {
    let configured = if name == ZONES[0] { name } else { "Asia/Tokyo" };
    let shop = Shop::open_with(&[("SHOP_TIME_ZONE", configured)]).await;
    if name != configured {
        let owner = shop.admin(&[Scope::Settings]).await;
        let body = json!({"chosen": {"time_zone": name}});
        let answer = owner
            .send_json(Method::PUT, "/api/admin/settings/", &body)
            .await;
        assert_eq!(answer.json["current"]["time_zone"], name);
    }
    shop
}

/// Quotes for a new custom order, for so many days, and approves. Returns its id.
async fn quoted(shop: &Shop, days: i32) -> String {
    let admin = shop.admin(&[Scope::CustomOrders]).await;
    let id = shop.asks_for_a_piece("ann@example.com").await;
    let path = format!("/api/admin/custom-orders/{id}");
    let quote = json!({"amount": 9000, "description": "A case", "valid_days": days});
    let answer = admin
        .send_json(Method::PUT, &format!("{path}/quote/"), &quote)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let approve = format!("{path}/approve/");
    let answer = admin
        .send(Method::POST, &approve, &[], None::<String>)
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    shop.run_jobs().await;
    id
}

#[tokio::test]
async fn an_order_was_paid_on_the_shops_day_in_every_email_and_table() {
    for name in ZONES {
        let zone: Tz = name.parse().expect("a zone");
        let shop = in_zone(name).await;
        let piece = shop.stocks("Sunrise", 1).await;
        let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop.deliver().await;
        shop.run_jobs().await;
        let paid = timestamp(&shop, "select paid_at from orders").await;
        let day = paid.with_timezone(&zone).date_naive();
        let mail = shop.mail();
        let said = format!("Paid: {}", spelled(day));
        assert!(mail[0].text.contains(&said), "{name}: {}", mail[0].text);
        let admin = shop.admin(&[Scope::OrdersRead]).await;
        let table = admin
            .get(&format!("/api/admin/orders.csv?from={day}&to={day}"))
            .await;
        assert!(table.text.contains(&format!(",{day} ")), "{}", table.text);
    }
}

#[tokio::test]
async fn a_quote_can_be_paid_to_the_end_of_its_last_day_where_the_shop_is() {
    for name in ZONES {
        let zone: Tz = name.parse().expect("a zone");
        let shop = in_zone(name).await;
        let id = quoted(&shop, 14).await;
        let approved = timestamp(&shop, "select updated_at from custom_order_quotes").await;
        let last = approved.with_timezone(&zone).date_naive() + Days::new(14);
        let until = timestamp(&shop, "select valid_until from custom_order_quotes").await;
        let next = calendar::start_of(last + Days::new(1), zone);
        assert_eq!(next - until, TimeDelta::microseconds(1), "{name}");

        // The email, the customer's page, its JSON and the shop's list name that day.
        let mail = shop.mail();
        let email = mail.iter().find(|mail| mail.text.contains("open until"));
        let email = &email.expect("the quote").text;
        assert!(
            email.contains(&format!("open until {}", spelled(last))),
            "{name}: {email}"
        );
        let page = shop
            .client
            .send(
                Method::GET,
                &shop.status_page(&id),
                &[("accept", "text/html")],
                None::<String>,
            )
            .await;
        assert!(
            page.text.contains(&format!("Good until {}", spelled(last))),
            "{}",
            page.text
        );
        let json = shop.client.get(&shop.status_page(&id)).await.json;
        let told: DateTime<Utc> = json["quote"]["valid_until"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a time");
        assert_eq!(told, until);
    }
}

#[tokio::test]
async fn a_quote_lapses_when_its_day_is_over_in_the_shop_and_not_before() {
    for name in ZONES {
        let zone: Tz = name.parse().expect("a zone");
        let shop = in_zone(name).await;
        let id = quoted(&shop, 1).await;
        let admin = shop.admin(&[Scope::CustomOrders]).await;
        // In the midst of a day, as after a change of the zone: the day still holds to its end.
        let today = calendar::start_of(calendar::day(Utc::now(), zone), zone);
        for (until, status) in [
            (today + TimeDelta::microseconds(1), "approved"),
            (today - TimeDelta::microseconds(1), "expired"),
        ] {
            sqlx::query("update custom_order_quotes set valid_until = $1")
                .bind(until)
                .execute(&shop.db)
                .await
                .expect("another time");
            shop.sweep_all().await;
            shop.run_jobs().await;
            let view = admin.get(&format!("/api/admin/custom-orders/{id}/")).await;
            assert_eq!(view.json["status"], status, "{name}");
        }
    }
}

#[tokio::test]
async fn a_time_zone_that_postgresql_does_not_know_is_refused_at_the_start() {
    let database = Database::create().await;
    let mut conn = database.connect().acquire().await.expect("a connection");
    db::check_time_zone(&mut conn, "America/Los_Angeles")
        .await
        .expect("a known one");
    let refused = db::check_time_zone(&mut conn, "America/Atlantis").await;
    let words = refused.expect_err("unknown").to_string();
    assert!(
        words.contains("SHOP_TIME_ZONE") && words.contains("America/Atlantis"),
        "{words}"
    );
    // One that nobody knows does not even get so far.
    let output = std::process::Command::new(program())
        .env_clear()
        .env("SHOP_TIME_ZONE", "America/Atlantis")
        .current_dir(database.folder())
        .output()
        .expect("the program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("SHOP_TIME_ZONE"),
        "{said}"
    );
}
