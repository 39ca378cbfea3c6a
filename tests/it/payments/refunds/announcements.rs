//! Refunds as orders and emails tell them, in whatever order Stripe reports them.

use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use super::{ORDER, act, money, one_sold, refund_lines};
use crate::support::{Shop, card, session_of};

#[tokio::test]
async fn a_refund_is_one_line_in_money_and_words() {
    let (shop, _, admin) = one_sold().await;
    let restock = json!([{"product_id": "sunrise", "quantity": 1}]);
    let body = json!({"amount": 2000, "reason": "a bead came loose", "restock": restock});
    assert_eq!(
        admin.post(&format!("{ORDER}refund/"), &body).await.status,
        202
    );
    assert!(
        refund_lines(&admin, ORDER).await.is_empty(),
        "nothing is refunded yet"
    );
    shop.hears().await;
    shop.reconcile().await;
    shop.hears().await;
    assert_eq!(
        refund_lines(&admin, ORDER).await,
        [(
            "token:test".to_owned(),
            "Refunded $20.00: a bead came loose. 1 piece back in stock.".to_owned()
        )]
    );
    let view = admin.get(ORDER).await.text;
    assert!(
        !view.contains("is being refunded") && !view.contains("2000 refunded"),
        "{view}"
    );
}

/// The events that Stripe has told of since so many.
async fn events_since(shop: &Shop, known: &mut usize) -> Vec<Value> {
    let mut events = shop.stripe.events().await.expect("the events");
    let news = events.split_off(*known);
    *known += news.len();
    news
}

#[tokio::test]
async fn a_failed_refund_and_a_newer_one_are_told_apart_in_any_order() {
    // All in one second, and by each kind of account: one that hears of refunds by each name that Stripe has for them,
    // and ones that hear of them by the charge alone and one of those.
    let accounts: [&[&str]; 3] = [
        &[
            "refund.created",
            "charge.refunded",
            "refund.updated",
            "refund.failed",
            "charge.refund.updated",
        ],
        &["charge.refunded", "charge.refund.updated"],
        &["charge.refunded", "refund.updated"],
    ];
    let shop = Shop::open().await;
    let admin = shop.refunder().await;
    let mut known = 0;
    let mut orders = 0;
    for account in accounts {
        for turn in 0..6 {
            orders += 1;
            let session = shop.sells_only(&format!("Piece {orders}")).await;
            let payment = shop.payment_of(&session).await;
            events_since(&shop, &mut known).await;
            let lost = shop.stripe.refund(&payment, None).await.expect("a refund");
            shop.stripe.fail_refund(&lost).await.expect("a failure");
            shop.stripe.refund(&payment, None).await.expect("a refund");
            let mut events = events_since(&shop, &mut known).await;
            events.retain(|event| account.iter().any(|kind| event["type"] == *kind));
            for event in &mut events {
                event["created"] = json!(1_800_000_000);
            }
            if turn % 2 == 1 {
                events.reverse();
            }
            let middle = turn / 2 % events.len();
            events.rotate_left(middle);
            for event in &events {
                assert_eq!(shop.webhook(event).await.status, 200);
                let order = shop.order(&session).await;
                let is_odd = order["status"] == "refunded" && order["refunded"] == 0;
                assert!(!is_odd, "{account:?} {turn}: {order}");
            }
            shop.run_jobs().await;
            let order = shop.order(&session).await;
            assert_eq!(
                (&order["status"], &order["refunded"]),
                (&json!("refunded"), &json!(5200)),
                "{account:?} {turn}"
            );
            assert_eq!(shop.review_text(&session).await, "", "all of it went back");
            let path = format!(
                "/api/admin/orders/{}/",
                order["id"].as_str().expect("an id")
            );
            let lines = refund_lines(&admin, &path).await;
            let emails: i64 = sqlx::query_scalar(
                "select count(*) from emails where kind = 'order_refunded' and order_id = $1::uuid",
            )
            .bind(order["id"].as_str())
            .fetch_one(&shop.db)
            .await
            .expect("the emails");
            assert_eq!(lines.len() as i64, emails, "{lines:?}");
            assert!((1..=2).contains(&emails), "{account:?} {turn}: {emails}");
            // The rest of what Stripe has to tell, and all of it once more.
            shop.hears().await;
            for event in shop
                .stripe
                .events()
                .await
                .expect("the events")
                .iter()
                .rev()
                .take(12)
            {
                assert_eq!(shop.webhook(event).await.status, 200);
            }
            shop.run_jobs().await;
            let again = shop.order(&session).await;
            assert_eq!(
                (&again["status"], &again["refunded"]),
                (&json!("refunded"), &json!(5200))
            );
            assert_eq!(refund_lines(&admin, &path).await, lines);
        }
    }
    shop.audit().await;
}

#[tokio::test]
async fn an_order_whose_refund_in_full_failed_is_paid_again_and_the_second_refund_is_told_too() {
    let (shop, session, admin) = one_sold().await;
    let refund = json!({"reason": "Broken"});
    admin.post(&format!("{ORDER}refund/"), &refund).await;
    shop.hears().await;
    assert_eq!(shop.status_of(&session).await, "refunded");
    let made = shop.at_stripe("refund").await.remove(0);
    shop.stripe
        .fail_refund(made["id"].as_str().expect("an id"))
        .await
        .expect("a failure");
    shop.hears().await;
    let order = shop.order(&session).await;
    assert_eq!(
        (&order["status"], &order["refunded"]),
        (&json!("paid"), &json!(0))
    );
    let why = shop.review_text(&session).await;
    assert!(why.contains("$52.00") && why.contains("failed"), "{why}");
    let shown: i64 = sqlx::query_scalar("select count(*) from order_events where note = $1")
        .bind(&why)
        .fetch_one(&shop.db)
        .await
        .expect("the timeline");
    assert_eq!(shown, 1, "Stripe says it under three names");

    let id = money(&admin).await["refunds"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(
        act(&admin, &format!("/api/admin/refunds/{id}/retry/"))
            .await
            .status,
        202
    );
    shop.hears().await;
    let order = shop.order(&session).await;
    assert_eq!(
        (&order["status"], &order["refunded"]),
        (&json!("refunded"), &json!(5200))
    );
    assert_eq!(shop.emails_of("order_refunded").await, 2);
    let lines: Vec<String> = refund_lines(&admin, ORDER)
        .await
        .into_iter()
        .map(|(_, line)| line)
        .collect();
    assert_eq!(lines, ["Refunded $52.00: Broken."; 2]);
    assert_eq!(shop.review_text(&session).await, "", "it was made again");
    shop.audit().await;
}

#[tokio::test]
async fn a_failure_that_is_heard_of_before_its_payment_is_shown_with_it() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let payment = shop.payment_of(&session).await;
    let lost = shop
        .stripe
        .refund(&payment, Some(700))
        .await
        .expect("a refund");
    shop.stripe.fail_refund(&lost).await.expect("a failure");
    for event in shop.stripe.events().await.expect("the events").iter().rev() {
        assert_eq!(shop.webhook(event).await.status, 200);
    }
    shop.run_jobs().await;
    assert_eq!(shop.status_of(&session).await, "paid");
    assert_eq!(shop.order(&session).await["refunded"], 0);
    assert!(shop.review_text(&session).await.contains("$7.00"));
    assert_eq!(
        shop.emails_of("order_refunded").await,
        0,
        "it never was made"
    );
}

#[tokio::test]
async fn emails_promise_what_is_planned_and_nothing_else() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let late = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    let mut event = json!({"id": "evt_early", "object": "event", "type": "checkout.session.expired", "created": 1});
    event["data"]["object"] = shop.session(&late).await;
    assert_eq!(shop.webhook(&event).await.status, 200);
    session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&late, card()).await.expect("a payment");
    // Refunded at the dashboard before we hear of the payment: nothing is planned.
    let payment = shop.payment_of(&late).await;
    shop.stripe.refund(&payment, None).await.expect("a refund");
    for event in shop.stripe.events().await.expect("the events").iter().rev() {
        assert_eq!(shop.webhook(event).await.status, 200);
    }
    shop.run_jobs().await;
    assert_eq!(shop.at_stripe("refund").await.len(), 1);
    let mail = shop.mail();
    let told = mail
        .iter()
        .find(|mail| mail.to == ["jane@example.com"])
        .expect("an email");
    let text = told.text.replace('\n', " ");
    assert!(text.contains("has been refunded to you already"), "{text}");
    assert!(!text.contains("is being refunded"), "{text}");
    assert!(
        shop.review_text(&late)
            .await
            .contains("refunded in full already")
    );
}

#[tokio::test]
async fn a_checkout_over_nothing_promises_no_refund_and_no_email() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    let mut event = json!({
        "id": "evt_free", "object": "event", "type": "checkout.session.completed", "created": 1, "livemode": false,
    });
    event["data"]["object"] = shop.session(&session).await;
    let free = &mut event["data"]["object"];
    free["status"] = json!("complete");
    free["payment_status"] = json!("no_payment_required");
    free["amount_total"] = json!(0);
    free["customer_details"] = json!({"email": "jane@example.com", "name": "Jane"});
    assert_eq!(shop.webhook(&event).await.status, 200);
    shop.run_jobs().await;
    let mail = shop.mail();
    assert!(mail.iter().all(|mail| mail.to != ["jane@example.com"]));
    let [notice] = &mail[..] else {
        panic!("{} emails", mail.len());
    };
    let text = notice.text.replace('\n', " ");
    assert!(
        text.contains("Nothing was paid, so nothing is refunded"),
        "{text}"
    );
    assert!(
        notice.subject.starts_with("Nothing Was Paid: "),
        "{}",
        notice.subject
    );
    for (search, found) in [("nothing+was+paid", 1), ("payment+given+back", 0)] {
        let staff = shop.admin(&[Scope::OrdersRead]).await;
        let list = staff
            .get(&format!("/api/admin/emails/?search={search}"))
            .await;
        assert_eq!(list.json["count"], found, "{}", list.text);
    }
    assert!(
        text.contains("The customer gets no email about it"),
        "{text}"
    );
    assert!(!text.contains("refunded in full"), "{text}");
}
