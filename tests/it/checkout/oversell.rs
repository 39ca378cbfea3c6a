//! P1: never oversold, whoever comes at once.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::json;
use spirit_beads::auth::Scope;

use crate::support::{Answer, Client, PATIENT, Shop, at_once, card, session_of};

/// Checks out, and comes back when told so: on a busy machine a crowd waits longer for the database than one may.
async fn insists(shopper: &Client, cart: &[(&str, i32)]) -> Answer {
    loop {
        let answer = shopper.check_out(cart).await;
        if answer.json["code"] != "database_unavailable" {
            return answer;
        }
        assert_eq!((answer.status, answer.header("retry-after")), (503, "5"));
    }
}

#[tokio::test]
async fn of_two_hundred_shoppers_at_once_one_gets_the_piece() {
    let shop = Shop::open_with(&[PATIENT]).await;
    let piece = shop.stocks("Sunrise", 1).await;
    let shoppers = (0..200).map(|_| {
        let (shopper, piece) = (shop.client.clone(), piece.clone());
        async move { insists(&shopper, &[(&piece, 1)]).await }
    });
    let (won, lost): (Vec<Answer>, Vec<Answer>) = at_once(shoppers)
        .await
        .into_iter()
        .partition(|answer| answer.status == 200);

    assert_eq!((won.len(), lost.len()), (1, 199));
    for answer in &lost {
        assert_eq!(answer.line_errors(), ["product_sold_out"]);
    }
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.stripe
        .pay(&session_of(&won[0]), card())
        .await
        .expect("a payment");
    shop.deliver().await;
    assert_eq!(shop.stock(&piece).await, (0, 0));
    shop.audit().await;
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

const BEADS: [&str; 6] = ["amber", "birch", "coral", "dusk", "ember", "fern"];

/// One to four lines in any order, some of the same product.
fn random_cart(dice: &mut Dice) -> Vec<(&'static str, i32)> {
    (0..=dice.roll(4))
        .map(|_| (BEADS[dice.roll(6) as usize], 1 + dice.roll(2) as i32))
        .collect()
}

/// Every answer is a page to pay or names what is sold out; what pending orders hold is what is reserved.
async fn assert_fair(shop: &Shop, answers: &[Answer]) {
    for answer in answers {
        if answer.status != 200 {
            for error in answer.line_errors() {
                let fair = ["product_sold_out", "insufficient_inventory"];
                assert!(fair.contains(&error), "{}", answer.text);
            }
        }
    }
    shop.audit().await;
}

#[tokio::test]
async fn carts_in_clashing_orders_neither_wait_forever_nor_oversell() {
    let shop = Shop::open_with(&[PATIENT]).await;
    for name in BEADS {
        shop.stocks(name, 12).await;
    }
    let mut dice = Dice(0x5b1a_11e5);
    let shoppers: Vec<(Client, Vec<_>, Vec<_>)> = (0..60)
        .map(|_| {
            let (first, second) = (random_cart(&mut dice), random_cart(&mut dice));
            (shop.shopper(), first, second)
        })
        .collect();
    let first = at_once(
        shoppers
            .clone()
            .into_iter()
            .map(|(shopper, cart, _)| async move { insists(&shopper, &cart).await }),
    )
    .await;
    assert_fair(&shop, &first).await;
    let bought = first.iter().filter(|answer| answer.status == 200).count();
    assert!(
        (10..60).contains(&bought),
        "{bought} of 60 got what they wanted"
    );

    // Some pay, some go back and change their minds, and Stripe reports it all at the same time.
    let (mut paying, mut changing) = (Vec::new(), Vec::new());
    for (answer, shopper) in first.iter().zip(shoppers) {
        match answer.status {
            200 if paying.len() < bought / 2 => paying.push(session_of(answer)),
            _ => changing.push(shopper),
        }
    }
    for session in &paying {
        shop.stripe.pay(session, card()).await.expect("a payment");
    }
    let reporting = tokio::spawn({
        let stripe = shop.stripe.clone();
        async move { stripe.deliver_due().await }
    });
    let second = at_once(
        changing
            .into_iter()
            .map(|(shopper, _, cart)| async move { insists(&shopper, &cart).await }),
    )
    .await;
    reporting.await.expect("no panic").expect("a delivery");
    shop.deliver().await;
    assert_fair(&shop, &second).await;
    for session in &paying {
        assert_eq!(shop.status_of(session).await, "paid");
    }
    let mut on_hand = BTreeMap::new();
    for name in BEADS {
        on_hand.insert(name, shop.stock(name).await);
    }
    let sold: i32 = on_hand.values().map(|(on_hand, _)| 12 - on_hand).sum();
    let paid: i64 = sqlx::query_scalar(
        "select sum(l.quantity) from orders o join order_lines l on l.order_id = o.id where o.status = 'paid'",
    )
    .fetch_one(&shop.db)
    .await
    .expect("the lines");
    assert_eq!(i64::from(sold), paid, "{on_hand:?}");
}

#[tokio::test]
async fn two_lines_of_one_product_count_together() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 3).await;
    let answer = shop.client.check_out(&[(&piece, 2), (&piece, 2)]).await;
    assert_eq!(
        answer.line_errors(),
        ["insufficient_inventory", "insufficient_inventory"]
    );
    let message = "Only 3 items available, but you requested 4";
    assert_eq!(answer.json["details"][0]["message"], message);
    assert_eq!(shop.stock(&piece).await, (3, 0));

    let session = session_of(&shop.client.check_out(&[(&piece, 1), (&piece, 2)]).await);
    assert_eq!(shop.stock(&piece).await, (3, 3));
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(shop.stock(&piece).await, (0, 0));
    shop.audit().await;
}

#[tokio::test]
async fn one_sold_out_line_leaves_the_others_on_the_shelf() {
    let shop = Shop::open().await;
    let (piece, gone) = (
        shop.stocks("Sunrise", 1).await,
        shop.stocks("Sunset", 0).await,
    );
    let cart = [(piece.as_str(), 1), (gone.as_str(), 1), ("nothing", 1)];
    let answer = shop.client.check_out(&cart).await;
    assert_eq!(
        answer.line_errors(),
        ["product_sold_out", "product_not_found"]
    );
    assert_eq!(shop.stock(&piece).await, (1, 0));
    assert!(shop.statuses().await.is_empty());
}

/// A sale at the market stall of one piece.
async fn sell(admin: &Client, key: &str, piece: &str) -> Answer {
    let body = json!({"lines": [{"product_id": piece, "quantity": 1}], "note": "market"});
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    admin
        .send(
            Method::POST,
            "/api/admin/orders/",
            &headers,
            Some(body.to_string()),
        )
        .await
}

#[tokio::test]
async fn the_last_piece_goes_to_the_stall_or_to_a_shopper_never_to_both() {
    let shop = Shop::open_with(&[PATIENT]).await;
    let piece = shop.stocks("Sunrise", 1).await;
    let admin = shop.admin(&[Scope::OrdersWrite]).await;
    let callers = (0..24).map(|n| {
        let (shopper, admin, piece) = (shop.client.clone(), admin.clone(), piece.clone());
        async move {
            match n % 2 {
                0 => shopper.check_out(&[(&piece, 1)]).await.status,
                _ => sell(&admin, &n.to_string(), &piece).await.status,
            }
        }
    });
    let answers = at_once(callers).await;
    let won = answers.iter().filter(|status| **status < 300).count();
    assert_eq!(won, 1, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|status| [200, 201, 400, 409].contains(status)),
        "{answers:?}"
    );
    shop.audit().await;
}

#[tokio::test]
async fn a_sale_at_the_stall_sent_twice_is_one_sale() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 5).await;
    let admin = shop.admin(&[Scope::OrdersWrite]).await;
    let callers = (0..8).map(|_| {
        let (admin, piece) = (admin.clone(), piece.clone());
        async move { sell(&admin, "stall-1", &piece).await }
    });
    let answers = at_once(callers).await;
    for answer in &answers {
        assert_eq!(answer.status, 201, "{}", answer.text);
        assert_eq!(answer.json, answers[0].json);
    }
    assert_eq!(shop.stock(&piece).await, (4, 0));
    assert_eq!(shop.statuses().await, ["delivered"]);
    let other = shop.stocks("Sunset", 5).await;
    assert_eq!(sell(&admin, "stall-1", &other).await.status, 422);
    shop.audit().await;
}

#[tokio::test]
async fn pieces_held_by_a_shopper_are_not_sold_at_the_stall() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    let admin = shop.admin(&[Scope::OrdersWrite]).await;
    let answer = sell(&admin, "stall-1", &piece).await;
    assert_eq!(answer.status, 409);
    assert_eq!(answer.json["code"], "insufficient_inventory");
    shop.audit().await;
}
