//! Origins, countries and zones: where a payment page leads, and where it ships to.

use serde_json::json;
use stripe_sandbox::{Address, Buyer, Payment};

use super::way_back;
use crate::support::{Leftover, Shop, card, session_of};

/// The addresses to which Stripe sends a shopper who checked out from an origin: after paying, and after going back.
async fn addresses(shop: &Shop, piece: &str, headers: &[(&str, &str)]) -> (String, String) {
    let session = session_of(&shop.client.check_out_with(&[(piece, 1)], headers).await);
    let back = way_back(shop, &session).await;
    let back = shop
        .client
        .follow(&back)
        .await
        .header("location")
        .to_owned();
    let success = shop.session(&session).await["success_url"]
        .as_str()
        .expect("an address")
        .to_owned();
    (success, back)
}

#[tokio::test]
async fn shoppers_return_to_the_origin_they_came_from_if_it_is_ours() {
    let shop = Shop::open_with(&[
        ("FRONTEND_URL", "https://shop.example"),
        ("CORS_ALLOWED_ORIGINS", "https://beta.shop.example"),
    ])
    .await;
    let piece = shop.stocks("Sunrise", 1).await;
    let to = |origin: &str| {
        let success = format!("{origin}/success?session_id={{CHECKOUT_SESSION_ID}}");
        (success, format!("{origin}/cancel"))
    };
    let beta = [("origin", "https://beta.shop.example")];
    assert_eq!(
        addresses(&shop, &piece, &beta).await,
        to("https://beta.shop.example")
    );
    for foreign in [
        "https://evil.example",
        "https://beta.shop.example.evil.example",
        "http://beta.shop.example",
        "null",
        "https://beta.shop.example@evil.example",
        "javascript:alert(1)",
    ] {
        let origin = [("origin", foreign)];
        assert_eq!(
            addresses(&shop, &piece, &origin).await,
            to("https://shop.example"),
            "{foreign}"
        );
    }
    assert_eq!(
        addresses(&shop, &piece, &[]).await,
        to("https://shop.example")
    );
}

#[tokio::test]
async fn the_country_that_a_trusted_proxy_names_decides_the_shipping() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 9).await;
    for (country, price) in [
        ("US", 500),
        ("CA", 1500),
        ("mx", 1500),
        ("DE", 2000),
        ("XX", 500),
        ("?", 500),
    ] {
        let headers = [("cf-ipcountry", country)];
        let session = session_of(&shop.client.check_out_with(&[(&piece, 1)], &headers).await);
        assert_eq!(shop.order(&session).await["shipping"], price, "{country}");
        assert_eq!(
            shop.session(&session).await["amount_total"],
            4700 + price,
            "{country}"
        );
    }
}

#[tokio::test]
async fn the_country_that_a_stranger_names_decides_nothing() {
    let shop = Shop::open_with(&[("TRUSTED_PROXIES", "10.0.0.0/8")]).await;
    let piece = shop.stocks("Sunrise", 9).await;
    let headers = [("cf-ipcountry", "DE"), ("x-forwarded-for", "10.0.0.1")];
    let session = session_of(&shop.client.check_out_with(&[(&piece, 1)], &headers).await);
    assert_eq!(shop.order(&session).await["shipping"], 500);
}

#[tokio::test]
async fn an_address_outside_the_zone_that_was_paid_is_flagged() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 9).await;
    for (country, outside) in [("DE", true), ("CA", true), ("US", false)] {
        let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
        let address = Address {
            country: country.to_owned(),
            ..Address::default()
        };
        let buyer = Buyer {
            address,
            ..Buyer::default()
        };
        shop.stripe
            .pay(&session, Payment::Card(buyer))
            .await
            .expect("a payment");
        shop.deliver().await;
        let order = shop.order(&session).await;
        assert_eq!(order["status"], "paid");
        assert_eq!(order["outside_zone"], outside, "{country}");
        assert_eq!(
            order["review_items"][0]["text"].is_string(),
            outside,
            "{country}"
        );
    }
    shop.audit().await;
}

#[tokio::test]
async fn a_payment_page_leaves_five_minutes_for_clocks_that_differ() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let id = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    let session = shop.session(&id).await;
    let lasts = session["expires_at"].as_i64().expect("a time")
        - session["created"].as_i64().expect("a time");
    // Stripe refuses less than 30 minutes by its own clock.
    assert!((34 * 60..=35 * 60).contains(&lasts), "{lasts}");
    let outlives: f64 = sqlx::query_scalar(
        "select extract(epoch from hold_until - to_timestamp($1))::float8 from checkouts",
    )
    .bind(session["expires_at"].as_f64())
    .fetch_one(&shop.db)
    .await
    .expect("the hold");
    assert!(
        outlives > 300.0,
        "the session outlives the hold: {outlives}"
    );
}

/// The rates and the countries that a session offers.
async fn offered(
    shop: &Shop,
    piece: &str,
    headers: &[(&str, &str)],
) -> (String, Vec<i64>, Vec<String>) {
    let id = session_of(&shop.shopper().check_out_with(&[(piece, 1)], headers).await);
    let session = shop.session(&id).await;
    let options = session["shipping_options"].as_array().expect("options");
    let prices = options
        .iter()
        .map(|option| option["shipping_amount"].as_i64().expect("a price"));
    let countries = session["shipping_address_collection"]["allowed_countries"]
        .as_array()
        .expect("countries");
    let countries = countries
        .iter()
        .map(|code| code.as_str().expect("a code").to_owned());
    (id.clone(), prices.collect(), countries.collect())
}

#[tokio::test]
async fn a_session_ships_to_the_countries_of_the_zone_that_was_priced() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 9).await;
    for (country, price, count, inside, outside) in [
        ("US", 500, 1, "US", "CA"),
        ("CA", 1500, 2, "MX", "US"),
        ("DE", 2000, 57, "JP", "US"),
    ] {
        let (id, prices, countries) = offered(&shop, &piece, &[("cf-ipcountry", country)]).await;
        assert_eq!((prices, countries.len()), (vec![price], count), "{country}");
        let pay = async |country: &str| {
            let address = Address {
                country: country.to_owned(),
                ..Address::default()
            };
            let buyer = Buyer {
                address,
                ..Buyer::default()
            };
            shop.stripe.pay(&id, Payment::Card(buyer)).await
        };
        assert!(pay(outside).await.is_err(), "{country}: to {outside}");
        pay(inside).await.expect("a payment");
        shop.deliver().await;
        assert_eq!(shop.order(&id).await["outside_zone"], false);
    }
    shop.audit().await;
}

#[tokio::test]
async fn a_chosen_zone_is_paid_at_its_rate_and_a_wrong_one_is_flagged() {
    // Nobody is believed to know the country.
    let shop = Shop::open_with(&[("TRUSTED_PROXIES", "192.0.2.1")]).await;
    let piece = shop.stocks("Sunrise", 9).await;
    for (option, country, shipping, zone, outside) in [
        (0, "US", 500, "us", false),
        (1, "CA", 1500, "north_america", false),
        (2, "DE", 2000, "international", false),
        (0, "DE", 500, "us", true),
    ] {
        let (id, prices, countries) = offered(&shop, &piece, &[("cf-ipcountry", "DE")]).await;
        assert_eq!((prices, countries.len()), (vec![500, 1500, 2000], 60));
        let address = Address {
            country: country.to_owned(),
            ..Address::default()
        };
        let buyer = Buyer {
            address,
            shipping_option: option,
            ..Buyer::default()
        };
        shop.stripe
            .pay(&id, Payment::Card(buyer))
            .await
            .expect("a payment");
        shop.deliver().await;
        let order = shop.order(&id).await;
        assert_eq!(order["status"], "paid", "{country} {option}");
        assert_eq!(order["shipping"], shipping, "{country} {option}");
        assert_eq!(order["total"], 4700 + shipping, "{country} {option}");
        assert_eq!(order["shipping_zone"], zone, "{country} {option}");
        assert_eq!(order["outside_zone"], outside, "{country} {option}");
    }
    shop.audit().await;
}

#[tokio::test]
async fn a_rate_that_was_not_offered_pays_for_nothing() {
    let shop = Shop::open().await;
    shop.leaves(Leftover::UnsettledMoney);
    let piece = shop.stocks("Sunrise", 1).await;
    let (id, _, _) = offered(&shop, &piece, &[]).await;
    shop.stripe.pay(&id, card()).await.expect("a payment");
    let mut event = shop.event("checkout.session.completed").await;
    event["data"]["object"]["amount_total"] = json!(4701);
    event["data"]["object"]["total_details"]["amount_shipping"] = json!(1);
    assert_eq!(shop.webhook(&event).await.status, 200);
    assert_eq!(shop.order(&id).await["status"], "failed");
}
