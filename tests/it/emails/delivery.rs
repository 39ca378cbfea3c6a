//! Each email arrives once, or somebody hears that it did not.

use std::time::Duration;

use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use spirit_beads::emails;
use spirit_beads::jobs::Job;
use spirit_beads::worker;
use tokio::net::TcpListener;

use super::{MINUTE, id_of, sample, shop_at};
use crate::process::until;
use crate::support::{MailServer, Safety, Shop, Trouble};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn passing_trouble_delays_an_email_which_then_arrives_once() {
    for trouble in [
        Trouble::HangUp,
        Trouble::Busy,
        Trouble::Silence,
        Trouble::Recipient(451, "jane@example.com"),
        Trouble::Recipient(450, "jane@example.com"),
    ] {
        let server = MailServer::start().await;
        let shop = shop_at(&server).await;
        let session = shop.sells_one("Sunrise").await;
        server.misbehave(trouble.clone());
        for attempt in 1..=3 {
            let left = shop.run_failing_jobs().await;
            assert_eq!(left.len(), 1, "{trouble:?}: it waits");
            let (state, attempts, said) = shop.email().await;
            assert_eq!(
                (state.as_str(), attempts),
                ("queued", attempt),
                "{trouble:?}"
            );
            assert!(!said.is_empty());
            shop.hurry_jobs().await;
        }
        server.mend();
        shop.run_jobs().await;
        assert_eq!(shop.email().await, ("sent".to_owned(), 4, String::new()));
        assert_eq!(server.received().len(), 1, "{trouble:?}");
        assert_eq!(
            shop.order(&session).await["review_items"][0]["text"],
            Value::Null
        );
    }
}

#[tokio::test]
async fn an_email_waits_longer_after_each_attempt() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    shop.sells_one("Sunrise").await;
    server.misbehave(Trouble::Busy);
    let mut waits = Vec::new();
    for _ in 0..9 {
        shop.run_failing_jobs().await;
        let wait: f64 = sqlx::query_scalar(
            "select extract(epoch from run_at - now())::float8 from graphile_worker._private_jobs",
        )
        .fetch_one(&shop.db)
        .await
        .expect("the job");
        waits.push(wait.ceil());
        shop.hurry_jobs().await;
    }
    let expected = [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 900.0, 900.0];
    for (wait, expected) in waits.iter().zip(expected) {
        assert!((wait - expected).abs() <= 2.0, "{waits:?}");
    }
}

#[tokio::test]
async fn a_mail_server_away_for_an_hour_delays_emails_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener");
    drop(listener);
    let url = format!("smtp://{address}");
    let shop = Shop::open_with(&[("SMTP_URL", &url)]).await;
    let first = shop.sells_one("Sunrise").await;
    let second = shop.sells_one("Moonrise").await;
    for session in [&first, &second] {
        assert_eq!(shop.status_of(session).await, "paid");
        assert_eq!(
            shop.order(session).await["review_items"][0]["text"],
            Value::Null
        );
    }
    for _ in 0..6 {
        shop.run_failing_jobs().await;
        shop.wait(10 * MINUTE).await;
        shop.clock().await;
    }
    let listener = TcpListener::bind(address).await.expect("the same port");
    let server = MailServer::on(listener, Safety::None, None);
    shop.hurry_jobs().await;
    shop.run_jobs().await;
    assert_eq!(server.received().len(), 2);
    shop.audit().await;
}

#[tokio::test]
async fn an_email_that_is_refused_for_good_is_given_up_and_the_owner_told() {
    for trouble in [Trouble::Recipient(550, "jane@example.com"), Trouble::Spam] {
        let server = MailServer::start().await;
        let shop = shop_at(&server).await;
        let session = shop.sells_one("Sunrise").await;
        server.misbehave(trouble.clone());
        shop.run_jobs().await;
        let (state, attempts, said) = shop.email().await;
        assert_eq!((state.as_str(), attempts), ("failed", 1), "{trouble:?}");
        let order = shop.order(&session).await;
        assert_eq!(order["status"], "paid");
        let told = order["review_items"][0]["text"]
            .as_str()
            .expect("a word to the owner");
        assert!(told.contains("order confirmation") && told.contains(&said));
        let admin = shop.admin(&[Scope::OrdersRead]).await;
        let order = admin.get("/api/admin/orders/SB-1001/").await.json;
        let last = order["timeline"]
            .as_array()
            .and_then(|all| all.last())
            .expect("an entry");
        assert_eq!(
            (&last["actor"], &last["note"]),
            (&json!("mail"), &json!(told))
        );
        // Nobody tries again.
        server.mend();
        shop.wait(HOUR).await;
        shop.clock().await;
        shop.run_jobs().await;
        let received = server.received();
        assert!(
            received
                .iter()
                .all(|email| email.recipients == ["owner@beads.example"]),
            "only the owner hears of it: {trouble:?}"
        );
    }
}

#[tokio::test]
async fn a_request_says_so_when_its_customer_cannot_be_reached() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    let custom_order = shop.asks_for_a_piece("nobody@example.com").await;
    server.misbehave(Trouble::Recipient(550, "nobody@example.com"));
    shop.run_jobs().await;
    let admin = shop.admin(&[Scope::CustomOrders]).await;
    let path = format!("/api/admin/custom-orders/{custom_order}/");
    let custom_order = admin.get(&path).await.json;
    let told = custom_order["review_items"][0]["text"]
        .as_str()
        .expect("a word");
    assert!(told.contains("custom order received"), "{told}");
    assert!(told.contains("nobody@example.com"), "{told}");
    let recipients: Vec<_> = server
        .received()
        .into_iter()
        .map(|email| email.recipients)
        .collect();
    assert_eq!(
        recipients,
        [["owner@beads.example"], ["owner@beads.example"]],
        "the shop has its own email, and one about this"
    );
}

#[tokio::test]
async fn an_email_whose_copy_a_previous_version_put_off_is_not_sent_again() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    shop.sells_one("Sunrise").await;
    sqlx::query(
        "update emails
         set state = 'queued', attempts = 1, sent_at = now(), copy_to = 'shop', copy_only = true",
    )
    .execute(&shop.db)
    .await
    .expect("the email of a previous version");
    shop.run_jobs().await;
    assert!(server.received().is_empty());
    assert_eq!(shop.email().await.0, "sent");
}

#[tokio::test]
async fn two_workers_never_send_one_email_at_once() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    shop.sells_one("Sunrise").await;
    let email = id_of(&shop.emails().await[0]);
    server.misbehave(Trouble::HoldBeforeReply);
    let app = shop.app.clone();
    let first = tokio::spawn(async move {
        worker::perform(&app, Job::SendEmail { email })
            .await
            .expect("an attempt");
    });
    server.holds_an_email().await;
    let state = shop.email().await;
    assert_eq!(
        (state.0.as_str(), state.1),
        ("sending", 1),
        "recorded before it is sent"
    );
    for _ in 0..3 {
        shop.sends(email).await;
    }
    shop.clock().await;
    shop.run_jobs().await;
    assert_eq!(server.connections(), 1);
    server.mend();
    first.await.expect("no panic");
    shop.sends(email).await;
    assert_eq!((server.connections(), server.received().len()), (1, 1));
    assert_eq!(shop.email().await.0, "sent");
}

#[tokio::test]
async fn an_email_whose_sender_was_killed_is_sent_again_after_a_while() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    shop.sells_one("Sunrise").await;
    let email = id_of(&shop.emails().await[0]);
    server.misbehave(Trouble::HoldBeforeReply);
    let app = shop.app.clone();
    let killed = tokio::spawn(async move { worker::perform(&app, Job::SendEmail { email }).await });
    server.holds_an_email().await;
    killed.abort();
    assert!(killed.await.is_err());
    shop.loses_its_jobs().await;
    server.mend();

    shop.clock().await;
    shop.run_jobs().await;
    assert_eq!(server.connections(), 1, "the sender may be alive yet");
    shop.wait(11 * MINUTE).await;
    shop.clock().await;
    shop.run_jobs().await;
    let ids: Vec<String> = server
        .received()
        .iter()
        .map(|email| email.mail().message_id)
        .collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(shop.email().await, ("sent".to_owned(), 2, String::new()));
}

#[tokio::test]
async fn an_attempt_that_ends_after_its_time_has_no_say() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    shop.sells_one("Sunrise").await;
    let email = id_of(&shop.emails().await[0]);
    server.misbehave(Trouble::HoldBeforeReply);
    let app = shop.app.clone();
    let slow = tokio::spawn(async move { worker::perform(&app, Job::SendEmail { email }).await });
    server.holds_an_email().await;
    // Another one takes over, and learns that the address is wrong.
    shop.wait(11 * MINUTE).await;
    sqlx::query("update emails set recipient = 'nowhere'")
        .execute(&shop.db)
        .await
        .expect("a change");
    shop.sends(email).await;
    assert_eq!(shop.email().await.0, "failed");
    server.mend();
    slow.await.expect("no panic").expect("an attempt");
    let (state, attempts, _) = shop.email().await;
    assert_eq!((state.as_str(), attempts), ("failed", 2));
}

#[tokio::test]
async fn an_email_whose_job_was_lost_is_found_by_the_sweep() {
    let shop = Shop::open().await;
    shop.sells_one("Sunrise").await;
    shop.loses_its_jobs().await;
    shop.clock().await;
    shop.run_jobs().await;
    assert!(shop.mail().is_empty(), "it may be in the queue yet");
    shop.wait(6 * MINUTE).await;
    shop.clock().await;
    shop.run_jobs().await;
    assert_eq!(shop.mail().len(), 1);
}

#[tokio::test]
async fn after_days_of_trying_an_email_is_given_up_and_the_owner_told() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    let session = shop.sells_one("Sunrise").await;
    server.misbehave(Trouble::Busy);
    for days in [0, 1, 2] {
        shop.wait(days * 24 * HOUR).await;
        shop.clock().await;
        shop.hurry_jobs().await;
        shop.run_failing_jobs().await;
        assert_eq!(
            shop.email().await.0,
            "queued",
            "a day's outage loses nothing"
        );
    }
    shop.wait(2 * 24 * HOUR).await;
    shop.clock().await;
    shop.run_failing_jobs().await;
    let (state, _, said) = shop.email().await;
    assert_eq!(state, "failed");
    assert!(
        said.contains("tried for days") && said.contains("421"),
        "{said}"
    );
    let order = shop.order(&session).await;
    assert!(
        order["review_items"][0]["text"]
            .as_str()
            .is_some_and(|text| text.contains("tried for days"))
    );
}

#[tokio::test]
async fn an_email_to_what_is_no_address_is_given_up_unsent() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    let session = shop.sells_one("Sunrise").await;
    shop.run_jobs().await;
    for address in [
        "",
        "ann",
        "ann@example.com, bob@example.com",
        "ann@example.com>\r\nRCPT TO:<bob@example.com",
        "ann@example.com\r\nBcc: bob@example.com",
        "Ann <ann@example.com>",
        "ann@[127.0.0.1]",
        "änn@example.com",
    ] {
        shop.queues(&sample("order_shipped"), address, &session)
            .await;
    }
    shop.run_jobs().await;
    for email in &shop.emails().await[1..] {
        let state = match email["kind"] == "review_item" {
            true => "sent",
            false => "failed",
        };
        assert_eq!(email["state"], state, "{email}");
    }
    // The customer's first, and one to the owner about each of the others.
    let received = server.received();
    assert_eq!(received.len(), 1 + 8);
    for email in &received[1..] {
        assert_eq!(email.recipients, ["owner@beads.example"]);
    }
}

#[tokio::test]
async fn a_customers_emails_are_sent_in_their_order_and_another_customers_beside_them() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    let session = shop.sells_one("Sunrise").await;
    shop.run_jobs().await;
    let before = server.connections();
    server.misbehave(Trouble::HoldBeforeReply);
    let (_, email) = emails::samples().remove(0);
    for recipient in ["ann@example.com", "ann@example.com", "bob@example.com"] {
        shop.queues(&email, recipient, &session).await;
    }
    let at_work = shop.works();
    until("the second email to Ann waits for its turn", async || {
        sqlx::query_scalar(
            "select exists (select from graphile_worker._private_jobs
                            where payload ->> 'job' = 'send_email' and revision = 0
                              and run_at > created_at + interval '0.5 seconds')",
        )
        .fetch_one(&shop.db)
        .await
        .expect("the queue")
    })
    .await;
    until("Bob's email is on its way", async || {
        server.connections() - before == 2
    })
    .await;
    let sending: Vec<String> = sqlx::query_scalar(
        "select recipient from emails where state = 'sending' order by created_at",
    )
    .fetch_all(&shop.db)
    .await
    .expect("the emails");
    assert_eq!(sending, ["ann@example.com", "bob@example.com"]);
    server.mend();
    until("all are sent", async || {
        shop.emails().await.iter().all(|one| one["state"] == "sent")
    })
    .await;
    at_work.stop().await;
    let sent: Vec<Value> = shop.emails().await;
    let of_ann: Vec<&str> = sent
        .iter()
        .filter(|one| one["recipient"] == "ann@example.com")
        .map(|one| one["sent_at"].as_str().expect("a time"))
        .collect();
    assert!(of_ann.len() == 2 && of_ann[0] < of_ann[1], "{of_ann:?}");
}
