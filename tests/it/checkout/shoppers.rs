//! Shoppers as they are: they go back, open a second tab, click twice, change their minds.

use std::time::Duration;

use serde_json::{Value, json};
use stripe_sandbox::Fault;

use super::{CREATE, MINUTE, way_back};
use crate::support::{Answer, Client, PATIENT, Shop, at_once, card, delayed, session_of};

const EXPIRE: &str = "POST /v1/checkout/sessions/{id}/expire";

#[tokio::test]
async fn going_back_and_checking_out_again_takes_the_place_of_the_first() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    let second = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    assert_ne!(first, second);
    assert_eq!(shop.session(&first).await["status"], "expired");
    assert_eq!(shop.status_of(&first).await, "cancelled");
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.stripe.pay(&second, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(shop.status_of(&first).await, "cancelled");
    assert_eq!(shop.status_of(&second).await, "paid");
    assert_eq!(shop.stock(&piece).await, (0, 0));
    shop.audit().await;
}

#[tokio::test]
async fn a_changed_cart_that_cannot_be_bought_leaves_the_first_to_be_paid() {
    let shop = Shop::open().await;
    let (piece, gone) = (
        shop.stocks("Sunrise", 1).await,
        shop.stocks("Sunset", 0).await,
    );
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    let answer = shopper.check_out(&[(&piece, 1), (&gone, 1)]).await;
    assert_eq!(answer.line_errors(), ["product_sold_out"]);
    assert_eq!(shop.status_of(&first).await, "pending");
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.stripe.pay(&first, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(shop.status_of(&first).await, "paid");
    shop.audit().await;
}

#[tokio::test]
async fn a_first_checkout_paid_meanwhile_is_respected() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 2).await;
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&first, card()).await.expect("a payment");
    // Its webhook is still on the way.
    let second = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    assert_eq!(shop.status_of(&first).await, "paid");
    assert_eq!(shop.status_of(&second).await, "pending");
    shop.deliver().await;
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.audit().await;
}

#[tokio::test]
async fn a_first_checkout_whose_money_is_on_its_way_keeps_its_pieces() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&first, delayed()).await.expect("a payment");
    let answer = shopper.check_out(&[(&piece, 1)]).await;
    assert_eq!(answer.line_errors(), ["product_sold_out"]);
    assert_eq!(shop.status_of(&first).await, "pending");
    shop.stripe
        .settle_delayed(&first, true)
        .await
        .expect("the money");
    shop.deliver().await;
    assert_eq!(shop.status_of(&first).await, "paid");
    shop.audit().await;
}

#[tokio::test]
async fn of_two_tabs_at_once_one_holds_the_last_piece() {
    let shop = Shop::open_with(&[PATIENT]).await;
    let piece = shop.stocks("Sunrise", 1).await;
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    let tabs = (0..6).map(|_| {
        let (tab, piece) = (shopper.clone(), piece.clone());
        async move { tab.check_out(&[(&piece, 1)]).await }
    });
    let answers = at_once(tabs).await;
    let pages: Vec<&Answer> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .collect();
    for answer in &answers {
        assert!([200, 400, 503].contains(&answer.status), "{}", answer.text);
    }
    assert!(!pages.is_empty());
    assert_eq!(shop.stock(&piece).await, (1, 1));
    assert_eq!(shop.session(&first).await["status"], "expired");
    let open = shop.at_stripe("checkout.session").await;
    let open = open
        .iter()
        .filter(|session| session["status"] == "open")
        .count();
    assert_eq!(open, 1, "one page can be paid");
    shop.deliver().await;
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.audit().await;
}

#[tokio::test]
async fn a_forged_cookie_supersedes_nothing() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let first = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    let order = shop.order(&first).await["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let back = way_back(&shop, &first).await;
    let cancel_token = back
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .expect("a token")
        .to_owned();
    for forged in [
        order.clone(),
        format!("{order}.{}", "0".repeat(32)),
        cancel_token,
    ] {
        let cookie = format!("sb_checkout={forged}");
        let headers = [("cookie", cookie.as_str())];
        let answer = shop.client.check_out_with(&[(&piece, 1)], &headers).await;
        assert_eq!(answer.line_errors(), ["product_sold_out"]);
        let seen = shop
            .client
            .send(
                reqwest::Method::GET,
                "/api/products/sunrise/",
                &headers,
                None::<String>,
            )
            .await;
        assert_eq!(seen.json["inventory_count"], 0);
    }
    assert_eq!(shop.status_of(&first).await, "pending");
}

#[tokio::test]
async fn the_cookie_is_for_our_eyes_only() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let answer = shop.shopper().check_out(&[(&piece, 1)]).await;
    let cookie = answer.header("set-cookie");
    for part in [
        "sb_checkout=",
        "HttpOnly",
        "SameSite=Lax",
        "Path=/",
        "Max-Age=",
    ] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// Views of a piece that a caller gets, in every kind of read.
async fn counts(caller: &Client) -> Vec<Value> {
    let list = caller.get("/api/products/").await.json;
    let batch = caller.get("/api/products/batch/?ids=sunrise").await.json;
    let detail = caller.get("/api/products/sunrise/").await.json;
    let availability = caller
        .get("/api/products/sunrise/check_availability/")
        .await
        .json;
    [
        &list["results"][0],
        &batch["products"][0],
        &detail,
        &availability,
    ]
    .map(|view| {
        json!([
            view["inventory_count"],
            view["is_sold_out"],
            view["is_in_stock"]
        ])
    })
    .to_vec()
}

#[tokio::test]
async fn held_pieces_look_sold_to_others_and_not_to_their_shopper() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let (holder, other) = (shop.shopper(), shop.shopper());
    let (there, gone) = (json!([1, false, true]), json!([0, true, false]));
    assert_eq!(counts(&other).await, vec![there.clone(); 4]);
    let session = session_of(&holder.check_out(&[(&piece, 1)]).await);
    assert_eq!(counts(&other).await, vec![gone.clone(); 4]);
    assert_eq!(counts(&holder).await, vec![there.clone(); 4]);
    shop.stripe
        .expire(&session)
        .await
        .expect("its time has come");
    shop.deliver().await;
    assert_eq!(counts(&other).await, vec![there.clone(); 4]);
    assert_eq!(counts(&holder).await, vec![there; 4]);
    let session = session_of(&other.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(
        counts(&other).await,
        vec![gone.clone(); 4],
        "bought is not held"
    );
    assert_eq!(counts(&holder).await, vec![gone; 4]);
}

#[tokio::test]
async fn two_tabs_at_once_are_not_told_that_their_own_piece_is_sold_out() {
    let shop = Shop::open_with(&[PATIENT]).await;
    let piece = shop.stocks("Sunrise", 1).await;
    let shopper = shop.shopper();
    session_of(&shopper.check_out(&[(&piece, 1)]).await);
    shop.stripe
        .fail_next(CREATE, Fault::Slow(Duration::from_millis(300)), 2);
    let tabs = (0..4).map(|_| {
        let (shopper, piece) = (shopper.clone(), piece.clone());
        async move { shopper.check_out(&[(&piece, 1)]).await }
    });
    let pages: Vec<String> = at_once(tabs).await.iter().map(session_of).collect();
    let mut open = Vec::new();
    for page in &pages {
        if shop.session(page).await["status"] == "open" {
            open.push(page.clone());
        }
    }
    assert_eq!(open.len(), 1, "one of them can be paid: {pages:?}");
    assert_eq!(shop.status_of(&open[0]).await, "pending");
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.run_jobs().await;
    assert_eq!(shop.status_of(&open[0]).await, "pending");
    shop.stripe.pay(&open[0], card()).await.expect("a payment");
    shop.deliver().await;
    assert_eq!(shop.stock(&piece).await, (0, 0));
    shop.audit().await;
}

#[tokio::test]
async fn a_cart_with_an_invalid_line_leaves_the_former_payment_page_alone() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 2).await;
    shop.stocks("Empty", 0).await;
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    for (cart, error) in [
        (&[("sunrise", 1), ("empty", 1)][..], "product_sold_out"),
        (&[("sunrise", 1), ("gone", 1)], "product_not_found"),
        (&[("sunrise", 3)], "insufficient_inventory"),
    ] {
        let answer = shopper.check_out(cart).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.line_errors(), [error]);
        let once = shopper.check_out_once(error, cart).await;
        assert_eq!(once.line_errors(), [error]);
        assert_eq!(shop.session(&first).await["status"], "open");
        assert_eq!(shop.status_of(&first).await, "pending");
        assert_eq!(shop.stock(&piece).await, (2, 1));
    }
    // Both pieces, of which one is the shopper's own.
    let second = session_of(&shopper.check_out(&[(&piece, 2)]).await);
    assert_eq!(shop.session(&first).await["status"], "expired");
    assert_eq!(shop.status_of(&second).await, "pending");
    shop.audit().await;
}

#[tokio::test]
async fn a_former_checkout_that_cannot_be_ended_is_not_replaced() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 2).await;
    let shopper = shop.shopper();
    let first = session_of(&shopper.check_out(&[(&piece, 1)]).await);
    shop.stripe.fail_next(EXPIRE, Fault::Drop, 100);
    let answer = shopper.check_out(&[(&piece, 1)]).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json["code"], "payment_unavailable");
    assert_eq!(shop.status_of(&first).await, "pending");
    assert_eq!(shop.stock(&piece).await, (2, 1));
    shop.audit().await;
}

#[tokio::test]
async fn an_expired_hold_is_free_by_its_webhook() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe
        .expire(&session)
        .await
        .expect("its time has come");
    assert_eq!(shop.stock(&piece).await, (1, 1));
    shop.deliver().await;
    assert_eq!(shop.status_of(&session).await, "expired");
    assert_eq!(shop.stock(&piece).await, (1, 0));
    shop.wait(60 * MINUTE).await;
    shop.sweep().await;
    assert_eq!(shop.stock(&piece).await, (1, 0));
    shop.audit().await;
}
