//! Limits for one client: nobody empties the shelves without paying, and the others shop on.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, PATIENT, Shop, at_once, card, session_of};

const BOT: &str = "203.0.113.7";

async fn check_out(from: &Client, address: &str, lines: &[(&str, i32)]) -> Answer {
    from.check_out_with(lines, &[("x-forwarded-for", address)])
        .await
}

/// A shop with so many one-of-a-kind pieces, and their ids.
async fn stocked(settings: &[(&str, &str)], pieces: usize) -> (Shop, Vec<String>) {
    let shop = Shop::open_with(settings).await;
    let mut ids = Vec::new();
    for number in 0..pieces {
        ids.push(shop.stocks(&format!("Piece {number}"), 1).await);
    }
    (shop, ids)
}

async fn held(shop: &Shop) -> i64 {
    sqlx::query_scalar("select coalesce(sum(reserved), 0) from products")
        .fetch_one(&shop.db)
        .await
        .expect("the holds")
}

/// Forty pieces, and a bot that checks each out at the same moment, without cookies. Returns how many it holds.
async fn attack(settings: &[(&str, &str)]) -> (Shop, i64) {
    let (shop, ids) = stocked(settings, 40).await;
    let client = shop.client.clone();
    let answers = at_once(ids.into_iter().map(|id| {
        let client = client.clone();
        async move { check_out(&client, BOT, &[(&id, 1)]).await }
    }))
    .await;
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(answer.status, 429, "{}", answer.text);
        assert_eq!(answer.json["code"], "too_many_requests");
        assert!(
            answer.json["message"]
                .as_str()
                .is_some_and(|text| text.contains("not paid"))
        );
        let wait: u64 = answer.header("retry-after").parse().expect("seconds");
        assert!((1..=3600).contains(&wait), "{wait}");
    }
    let held = held(&shop).await;
    let let_in = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(held, let_in as i64);
    shop.audit().await;
    (shop, held)
}

#[tokio::test]
async fn a_bot_does_not_empty_the_shelves() {
    let without = [
        PATIENT,
        ("LIMIT_HELD_PIECES", "1000000"),
        ("LIMIT_CHECKOUTS_PER_HOUR", "1000000"),
    ];
    let (_, before) = attack(&without).await;
    let (shop, after) = attack(&[PATIENT]).await;
    assert_eq!((before, after), (40, 10));
    // Others buy what is left, from another address.
    let left: String = sqlx::query_scalar("select id from products where reserved = 0 limit 1")
        .fetch_one(&shop.db)
        .await
        .expect("a piece");
    let answer = check_out(&shop.shopper(), "203.0.113.8", &[(&left, 1)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn paying_or_going_back_frees_the_way() {
    let (shop, ids) = stocked(&[("LIMIT_HELD_PIECES", "2")], 4).await;
    let shopper = shop.shopper();
    let cart = [(ids[0].as_str(), 1), (ids[1].as_str(), 1)];
    // Checking out again takes the place of one's own hold, as often as one likes.
    for _ in 0..3 {
        let answer = check_out(&shopper, BOT, &cart).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let other = shop.shopper();
    let answer = check_out(&other, BOT, &[(&ids[2], 1)]).await;
    assert_eq!(answer.status, 429, "{}", answer.text);
    // What was refused left nothing behind.
    assert_eq!(held(&shop).await, 2);
    let paid = check_out(&shopper, BOT, &cart).await;
    shop.stripe
        .pay(&session_of(&paid), card())
        .await
        .expect("a payment");
    shop.deliver().await;
    let answer = check_out(&other, BOT, &[(&ids[2], 1)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    shop.audit().await;
}

#[tokio::test]
async fn a_refused_checkout_leaves_the_page_that_it_was_to_replace() {
    let (shop, ids) = stocked(&[("LIMIT_HELD_PIECES", "3")], 6).await;
    let (shopper, other) = (shop.shopper(), shop.shopper());
    let first = check_out(&shopper, BOT, &[(&ids[0], 1)]).await;
    assert_eq!(first.status, 200, "{}", first.text);
    // A cart that never fits leaves the page that is open as it is.
    let four: Vec<(&str, i32)> = ids[..4].iter().map(|id| (id.as_str(), 1)).collect();
    let answer = check_out(&shopper, BOT, &four).await;
    assert_eq!(answer.json["code"], "too_many_pieces");
    assert_eq!(shop.stock(&ids[0]).await, (1, 1));
    assert_eq!(shop.session(&session_of(&first)).await["status"], "open");
    // Neither does one that does not fit beside what a neighbour holds.
    let neighbours = check_out(&other, BOT, &[(&ids[4], 1), (&ids[5], 1)]).await;
    assert_eq!(neighbours.status, 200, "{}", neighbours.text);
    let answer = check_out(&shopper, BOT, &[(&ids[1], 1), (&ids[2], 1)]).await;
    assert_eq!(answer.status, 429, "{}", answer.text);
    assert!(answer.text.contains("2 pieces are held"), "{}", answer.text);
    assert_eq!(shop.session(&session_of(&first)).await["status"], "open");
    for (id, held) in ids[..3].iter().zip([1, 0, 0]) {
        assert_eq!(shop.stock(id).await, (1, held), "{id}");
    }
    // What fits is taken, and ends the former page.
    let again = check_out(&shopper, BOT, &[(&ids[1], 1)]).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(shop.session(&session_of(&first)).await["status"], "expired");
    assert_eq!(shop.stock(&ids[0]).await, (1, 0));
    shop.deliver().await;
    shop.audit().await;
}

#[tokio::test]
async fn a_cart_that_is_too_large_is_told_so_at_once() {
    let (shop, ids) = stocked(&[("LIMIT_HELD_PIECES", "2")], 3).await;
    let cart: Vec<(&str, i32)> = ids.iter().map(|id| (id.as_str(), 1)).collect();
    let answer = check_out(&shop.shopper(), BOT, &cart).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert_eq!(answer.json["code"], "too_many_pieces");
    assert_eq!(held(&shop).await, 0);
    assert_eq!(shop.statuses().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_network_of_ipv6_is_one_client_and_so_is_a_private_address() {
    let (shop, ids) = stocked(&[("LIMIT_HELD_PIECES", "1")], 6).await;
    for (at, address, status) in [
        (0, "2001:db8:1:2::1", 200),
        (1, "2001:db8:1:2:ffff::9", 429),
        (1, "2001:db8:1:3::1", 200),
        // A proxy that TRUSTED_PROXIES does not name stands for many, who are not told apart.
        (2, "10.0.0.9", 200),
        (3, "10.0.0.9", 429),
        (3, "10.0.0.10", 200),
        // A developer on this machine is not in the way.
        (4, "127.0.0.1", 200),
        (5, "::1", 200),
    ] {
        let answer = check_out(&shop.shopper(), address, &[(&ids[at], 1)]).await;
        assert_eq!(answer.status, status, "{address}: {}", answer.text);
    }
    // Whom we do not trust speaks for themselves alone: the peer is this machine, and not counted.
    let (shop, ids) = stocked(
        &[("LIMIT_HELD_PIECES", "1"), ("TRUSTED_PROXIES", "192.0.2.1")],
        2,
    )
    .await;
    for id in &ids {
        let answer = check_out(&shop.shopper(), BOT, &[(id, 1)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

#[tokio::test]
async fn clients_whom_no_proxy_names_readably_are_one_client() {
    let (shop, ids) = stocked(&[("LIMIT_HELD_PIECES", "1")], 3).await;
    for (at, address, status) in [
        (0, "unknown", 200),
        (1, "unknown", 429),
        (1, "", 429),
        (1, "198.51.100.1, _hidden", 429),
        (1, "[2001:db8::1", 429),
        // Those who are named are counted by themselves, however they are written.
        (1, "[2001:db8:1:2::1]:4711", 200),
        (2, "2001:db8:1:2::7", 429),
        (2, "\"[2001:db8:1:2::7]\"", 429),
        (2, "198.51.100.1:80", 200),
    ] {
        let answer = check_out(&shop.shopper(), address, &[(&ids[at], 1)]).await;
        assert_eq!(answer.status, status, "{address}: {}", answer.text);
    }
    // Nor do the requests of an hour go uncounted.
    let shop = Shop::open_with(&[("LIMIT_CHECKOUTS_PER_HOUR", "3")]).await;
    let mut statuses = Vec::new();
    for _ in 0..7 {
        let answer = check_out(&shop.client, "unknown", &[("none", 1)]).await;
        statuses.push(answer.status);
    }
    assert_counted(&statuses, 400);
}

/// Of an hour's three and one, whatever the clock says: of seven in a row some are refused, and the first three are not.
fn assert_counted(statuses: &[u16], let_in: u16) {
    assert_eq!(&statuses[..3], &[let_in; 3], "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn checkouts_and_custom_orders_are_counted_by_the_hour() {
    let settings = [
        ("LIMIT_CHECKOUTS_PER_HOUR", "3"),
        ("LIMIT_CUSTOM_ORDERS_PER_HOUR", "3"),
    ];
    let shop = Shop::open_with(&settings).await;
    let mut statuses = Vec::new();
    for _ in 0..7 {
        let answer = check_out(&shop.client, BOT, &[("none", 1)]).await;
        if answer.status == 429 {
            assert!(!answer.header("retry-after").is_empty());
        }
        statuses.push(answer.status);
    }
    assert_counted(&statuses, 400);

    let request =
        json!({"name": "Ann", "email": "a@b.example", "description": "A case with a raven."});
    let mut statuses = Vec::new();
    for _ in 0..7 {
        let headers = [
            ("x-forwarded-for", BOT),
            ("content-type", "application/json"),
        ];
        let body = Some(request.to_string());
        let answer = shop
            .client
            .send(Method::POST, "/api/custom-orders/", &headers, body)
            .await;
        statuses.push(answer.status);
    }
    assert_counted(&statuses, 201);
    // The emails of those that were refused were not written.
    let taken = statuses.iter().filter(|status| **status == 201).count();
    assert_eq!(shop.emails_of("custom_order_received").await, taken as i64);

    // An address is a hash, and forgotten after a day.
    let kept: Vec<(Vec<u8>, Value)> =
        sqlx::query_as("select client, to_jsonb(rate_limit_counters) from rate_limit_counters")
            .fetch_all(&shop.db)
            .await
            .expect("the counts");
    assert!(
        kept.iter()
            .all(|(hash, row)| hash.len() == 16 && !row.to_string().contains(BOT))
    );
    sqlx::query("update rate_limit_counters set began_at = began_at - interval '25 hours'")
        .execute(&shop.db)
        .await
        .expect("a day");
    shop.sweep_all().await;
    let left: i64 = sqlx::query_scalar("select count(*) from rate_limit_counters")
        .fetch_one(&shop.db)
        .await
        .expect("the counts");
    assert_eq!(left, 0);
}
