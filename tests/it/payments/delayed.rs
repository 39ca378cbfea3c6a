//! Payments that take days: both sides know how they stand, and what is held for them has bounds.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use crate::admin::{OWNER, signed_in, staffed};
use crate::support::{Answer, Client, Shop, card, delayed, session_of};

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOLDS: &str = "/api/admin/holds/";
const ORDER: &str = "/api/admin/orders/SB-1001/";

/// A shop whose only piece waits for a delayed payment that it has heard of.
async fn one_on_its_way() -> (Shop, String, String) {
    let shop = staffed().await;
    let (piece, session) = shop.sells_by_debit("Sunrise").await;
    shop.run_jobs().await;
    (shop, piece, session)
}

impl Shop {
    /// Somebody buys the only piece of this name by bank debit; returns piece and session.
    async fn sells_by_debit(&self, name: &str) -> (String, String) {
        let piece = self.stocks(name, 1).await;
        let session = session_of(&self.shopper().check_out(&[(&piece, 1)]).await);
        self.stripe
            .pay(&session, delayed())
            .await
            .expect("a payment");
        self.deliver().await;
        (piece, session)
    }

    async fn decides(&self, session: &str, succeeds: bool) {
        self.stripe
            .settle_delayed(session, succeeds)
            .await
            .expect("a decision");
        self.deliver().await;
        self.run_jobs().await;
        self.deliver().await;
        self.run_jobs().await;
    }

    async fn clerk(&self) -> Client {
        self.admin(&[Scope::OrdersRead, Scope::System, Scope::CustomOrders])
            .await
    }

    /// The subjects of the emails to the customer, oldest first, and their texts in one.
    fn emails_to(&self, customer: &str) -> (Vec<String>, String) {
        let mail = self.mail();
        let own: Vec<_> = mail.iter().filter(|mail| mail.to == [customer]).collect();
        let subjects = own.iter().map(|mail| mail.subject.clone()).collect();
        let texts: Vec<String> = own
            .iter()
            .map(|mail| mail.text.replace('\n', " "))
            .collect();
        (subjects, texts.join(" "))
    }
}

async fn act(admin: &Client, path: &str) -> Answer {
    admin.send(Method::POST, path, &[], None::<String>).await
}

#[tokio::test]
async fn a_delayed_shopper_is_told_at_each_turn() {
    for succeeds in [true, false] {
        let (shop, piece, session) = one_on_its_way().await;
        let admin = shop.clerk().await;
        let order = admin.get(ORDER).await.json;
        assert_eq!(order["status"], "pending");
        for (name, value) in [
            ("email", json!("jane@example.com")),
            ("customer_name", json!("Jane Shopper")),
            ("shipping_name", json!("Jane Shopper")),
        ] {
            assert_eq!(order[name], value, "{name}");
        }
        assert_eq!(order["shipping_address"]["city"], "Portland");
        assert!(order["processing_since"].is_string(), "{order}");
        let by_session = format!("/api/orders/by-session/{session}/");
        let public = shop.client.get(&by_session).await.json;
        assert_eq!(
            (&public["status"], &public["is_processing"]),
            (&json!("pending"), &json!(true))
        );
        let holds = admin.get(HOLDS).await.json;
        assert_eq!(holds["results"][0]["customer_name"], "Jane Shopper");
        assert!(holds["results"][0]["processing_since"].is_string());
        let owner = signed_in(&shop, OWNER).await;
        for page in ["/admin/orders/SB-1001", "/admin/system/holds"] {
            let text = owner.get(page).await.text;
            assert!(
                text.contains("Payment on its way") && text.contains("Jane Shopper"),
                "{text}"
            );
        }
        let (subjects, text) = shop.emails_to("jane@example.com");
        assert_eq!(subjects, ["Your Payment Is on Its Way - Spirit Beads"]);
        assert!(
            text.contains("$52.00") && text.contains("We keep your pieces"),
            "{text}"
        );

        // Days later.
        shop.wait(4 * DAY).await;
        shop.sweep_all().await;
        shop.reconcile().await;
        shop.decides(&session, succeeds).await;
        let order = admin.get(ORDER).await.json;
        assert_eq!(order["processing_since"], Value::Null);
        assert_eq!(order["customer_name"], "Jane Shopper");
        let public = shop.client.get(&by_session).await.json;
        assert_eq!(public["is_processing"], false);
        let (subjects, text) = shop.emails_to("jane@example.com");
        if succeeds {
            assert_eq!(order["status"], "paid");
            assert_eq!(subjects[1..], ["Order Confirmation - Spirit Beads"]);
            assert_eq!(order["review_items"][0]["text"], Value::Null);
        } else {
            assert_eq!(order["status"], "failed");
            assert_eq!(
                subjects[1..],
                ["Your Payment Did Not Go Through - Spirit Beads"]
            );
            assert!(text.contains("Nothing was taken"), "{text}");
            let why = order["review_items"][0]["text"]
                .as_str()
                .expect("a word to the owner");
            assert!(
                why.contains("Jane Shopper")
                    && why.contains("$52.00")
                    && why.contains("the pieces are free again"),
                "{why}"
            );
            assert_eq!(shop.stock(&piece).await, (1, 0));
        }
        shop.audit().await;
    }
}

#[tokio::test]
async fn events_of_a_delayed_payment_end_the_same_in_any_order_and_however_often() {
    let shop = Shop::open().await;
    let mut known = 0;
    let mut turn = 0;
    for succeeds in [true, false] {
        for backwards in [false, true] {
            turn += 1;
            let name = format!("Piece {turn}");
            let piece = shop.stocks(&name, 1).await;
            let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
            shop.stripe
                .pay(&session, delayed())
                .await
                .expect("a payment");
            shop.stripe
                .settle_delayed(&session, succeeds)
                .await
                .expect("a decision");
            let mut events = shop
                .stripe
                .events()
                .await
                .expect("the events")
                .split_off(known);
            known += events.len();
            if backwards {
                events.reverse();
            }
            for round in 0..3 {
                for event in &events {
                    // Stripe may tell of one thing by two events, too.
                    let mut event = event.clone();
                    if round == 2 {
                        event["id"] =
                            json!(format!("{}_again", event["id"].as_str().expect("an id")));
                    }
                    assert_eq!(shop.webhook(&event).await.status, 200);
                }
                shop.run_jobs().await;
                let order = shop.order(&session).await;
                assert_eq!(
                    order["status"],
                    if succeeds { "paid" } else { "failed" },
                    "{turn}"
                );
                assert_eq!(order["processing_since"], Value::Null);
                assert_eq!(order["email"], "jane@example.com");
                let emails: Vec<(String, i64)> = sqlx::query_as(
                    "select kind, count(*) from emails where order_id = $1::uuid and recipient <> 'shop' group by kind order by kind",
                )
                .bind(order["id"].as_str())
                .fetch_all(&shop.db)
                .await
                .expect("the emails");
                let last = if succeeds {
                    "order_confirmation"
                } else {
                    "payment_failed"
                };
                let mut expected = vec![(last.to_owned(), 1)];
                if !backwards {
                    expected.push(("payment_processing".to_owned(), 1));
                    expected.sort();
                }
                assert_eq!(emails, expected, "{turn} {round}");
            }
        }
    }
    shop.audit().await;
}

#[tokio::test]
async fn the_owner_releases_a_hold_and_late_money_takes_what_is_there_or_goes_back() {
    for (by_page, is_sold, succeeds) in [
        (true, false, true),
        (false, true, true),
        (false, false, false),
    ] {
        let (shop, piece, session) = one_on_its_way().await;
        let admin = shop.clerk().await;
        if by_page {
            let owner = signed_in(&shop, OWNER).await;
            let path = "/admin/system/holds/SB-1001/release";
            let answer = owner.submit("/admin/system/holds", path, &[]).await;
            assert_eq!(answer.status, 303, "{}", answer.text);
            let page = owner.get("/admin/system/holds").await.text;
            assert!(page.contains("Should the payment still come"), "{page}");
        } else {
            let answer = act(&admin, &format!("{HOLDS}SB-1001/release/")).await;
            assert_eq!(
                (answer.status, &answer.json["status"]),
                (200, &json!("cancelled")),
                "{}",
                answer.text
            );
        }
        assert_eq!(shop.stock(&piece).await, (1, 0));
        let again = act(&admin, &format!("{HOLDS}SB-1001/release/")).await;
        assert_eq!(
            (again.status, &again.json["code"]),
            (409, &json!("not_held"))
        );
        if is_sold {
            let other = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
            shop.stripe.pay(&other, card()).await.expect("a payment");
            shop.deliver().await;
        }
        // The first report once more, late and new: it changes nothing.
        let mut event = shop.event("checkout.session.completed").await;
        event["id"] = json!("evt_again");
        event["data"]["object"] = shop.session(&session).await;
        assert_eq!(shop.webhook(&event).await.status, 200);
        assert_eq!(shop.status_of(&session).await, "cancelled");
        shop.decides(&session, succeeds).await;
        let (status, refunds, stock) = match (succeeds, is_sold) {
            (true, false) => ("paid", 0, (0, 0)),
            (true, true) => ("cancelled", 1, (0, 0)),
            (false, _) => ("cancelled", 0, (1, 0)),
        };
        assert_eq!(shop.status_of(&session).await, status);
        assert_eq!(shop.at_stripe("refund").await.len(), refunds);
        assert_eq!(shop.stock(&piece).await, stock);
        if !succeeds {
            assert_eq!(shop.emails_of("payment_failed").await, 1);
            let order = admin.get(ORDER).await.json;
            let why = order["review_items"][0]["text"].as_str().expect("a text");
            assert!(why.ends_with("Nothing was charged."), "{why}");
        }
        shop.audit().await;
    }
}

#[tokio::test]
async fn the_client_of_a_hold_is_forgotten_a_day_after_its_release_though_its_money_may_still_come()
{
    let shop = staffed().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let answer = check_out(&shop.shopper(), BOT, &piece).await;
    let session = session_of(&answer);
    shop.stripe
        .pay(&session, delayed())
        .await
        .expect("a payment");
    shop.deliver().await;
    let known = "select count(*) from checkouts where client is not null";
    shop.wait(2 * DAY).await;
    shop.sweep().await;
    assert_eq!(shop.count(known).await, 1, "it is held for them");
    let admin = shop.clerk().await;
    let released = act(&admin, &format!("{HOLDS}SB-1001/release/")).await;
    assert_eq!(released.status, 200, "{}", released.text);
    shop.wait(2 * DAY).await;
    shop.sweep().await;
    assert_eq!(shop.count(known).await, 0);
    shop.decides(&session, true).await;
    assert_eq!(shop.status_of(&session).await, "paid");
}

const BOT: &str = "203.0.113.7";

async fn check_out(from: &Client, address: &str, piece: &str) -> Answer {
    from.check_out_with(&[(piece, 1)], &[("x-forwarded-for", address)])
        .await
}

#[tokio::test]
async fn delayed_payments_count_as_unpaid_holds_of_their_client_however_long() {
    let shop = Shop::open_with(&[("LIMIT_HELD_PIECES", "2")]).await;
    let mut pieces = Vec::new();
    for number in 0..4 {
        pieces.push(shop.stocks(&format!("Piece {number}"), 1).await);
    }
    let mut sessions = Vec::new();
    for piece in &pieces[..2] {
        let session = session_of(&check_out(&shop.shopper(), BOT, piece).await);
        shop.stripe
            .pay(&session, delayed())
            .await
            .expect("a payment");
        shop.deliver().await;
        sessions.push(session);
    }
    for _ in 0..2 {
        let answer = check_out(&shop.shopper(), BOT, &pieces[2]).await;
        assert_eq!(answer.status, 429, "{}", answer.text);
        let wait: u64 = answer.header("retry-after").parse().expect("seconds");
        assert!((1..=3600).contains(&wait), "{wait}");
        shop.wait(2 * DAY).await;
        shop.sweep_all().await;
    }
    assert_eq!(
        check_out(&shop.shopper(), "203.0.113.8", &pieces[3])
            .await
            .status,
        200
    );
    shop.decides(&sessions[0], true).await;
    let answer = check_out(&shop.shopper(), BOT, &pieces[2]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    shop.audit().await;
}

#[tokio::test]
async fn delayed_payments_hold_so_many_pieces_in_all_and_the_others_are_late_money() {
    let shop = Shop::open_with(&[("LIMIT_DELAYED_PIECES", "2")]).await;
    let mut sold = Vec::new();
    for name in ["Sunrise", "Turtle", "Heron", "Raven"] {
        sold.push(shop.sells_by_debit(name).await);
    }
    shop.run_jobs().await;
    let mut reserved = 0;
    for (piece, _) in &sold {
        reserved += shop.stock(piece).await.1;
    }
    assert_eq!(reserved, 2);
    assert_eq!(
        shop.statuses().await,
        ["pending", "pending", "expired", "expired"]
    );
    let (subjects, text) = shop.emails_to("jane@example.com");
    assert_eq!(subjects, ["Your Payment Is on Its Way - Spirit Beads"; 4]);
    assert!(text.contains("We cannot keep your pieces"), "{text}");
    // One of the two is sold to somebody else meanwhile.
    let (piece, _) = &sold[3];
    let other = session_of(&shop.shopper().check_out(&[(piece, 1)]).await);
    shop.stripe.pay(&other, card()).await.expect("a payment");
    shop.deliver().await;
    for (_, session) in &sold {
        shop.decides(session, true).await;
    }
    assert_eq!(
        shop.statuses().await,
        ["paid", "paid", "paid", "expired", "paid"]
    );
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    // What was decided makes room.
    let (_, session) = shop.sells_by_debit("Otter").await;
    assert_eq!(shop.status_of(&session).await, "pending");
    shop.audit().await;
}

#[tokio::test]
async fn the_customer_of_a_custom_order_is_told_as_well() {
    for succeeds in [true, false] {
        let shop = Shop::open().await;
        let admin = shop.clerk().await;
        shop.asks_for_a_piece("ann@example.com").await;
        let custom = "/api/admin/custom-orders/CO-1001/";
        let quote = json!({"amount": 9000, "description": "A case.", "shipping_zone": "us", "shipping": 500});
        let quoted = admin.post(&format!("{custom}requote/"), &quote).await;
        assert!(quoted.status < 300, "{}", quoted.text);
        shop.run_jobs().await;
        let view = admin.get(custom).await.json;
        let link = view["quotes"][0]["payment_link_id"]
            .as_str()
            .expect("a link");
        let session = shop.stripe.open_link(link).await.expect("a page");
        shop.stripe
            .pay(&session, delayed())
            .await
            .expect("a payment");
        shop.deliver().await;
        shop.run_jobs().await;
        let view = admin.get(custom).await.json;
        assert_eq!(
            (&view["status"], &view["quotes"][0]["payment_in_progress"]),
            (&json!("approved"), &json!(true))
        );
        let on_its_way = "Your Payment Is on Its Way - Spirit Beads".to_owned();
        let (subjects, text) = shop.emails_to("ann@example.com");
        assert_eq!(subjects.last(), Some(&on_its_way));
        assert!(
            text.contains("$95.00") && text.contains("CO-1001"),
            "{text}"
        );
        shop.decides(&session, succeeds).await;
        // The first report once more, late.
        let mut event = shop.event("checkout.session.completed").await;
        event["id"] = json!("evt_again");
        assert_eq!(shop.webhook(&event).await.status, 200);
        shop.run_jobs().await;
        let view = admin.get(custom).await.json;
        let (subjects, text) = shop.emails_to("ann@example.com");
        assert_eq!(
            subjects
                .iter()
                .filter(|subject| **subject == on_its_way)
                .count(),
            1
        );
        let last = subjects.last().expect("an email");
        if succeeds {
            assert_eq!(view["status"], "paid");
            assert!(last.starts_with("Payment Received"), "{last}");
        } else {
            assert_eq!(view["status"], "expired");
            assert_eq!(last, "Your Payment Did Not Go Through - Spirit Beads");
            assert!(text.contains("Nothing was taken"), "{text}");
            assert!(
                view["review_items"][0]["text"]
                    .as_str()
                    .is_some_and(|why| why.contains("failed"))
            );
        }
        shop.audit().await;
    }
}
