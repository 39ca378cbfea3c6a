//! Mail servers of all kinds, and their replies.

use serde_json::Value;
use spirit_beads::emails;

use super::{MINUTE, shop_at, shop_with};
use crate::process::until;
use crate::support::{MailServer, Safety, Shop, Trouble};

#[tokio::test]
async fn every_email_arrives_whole_by_every_kind_of_line() {
    for (safety, url) in [
        (Safety::None, "smtp://ann:s%3Acret@"),
        (Safety::StartTls, "smtp://ann:s%3Acret@"),
        (Safety::Tls, "smtps://ann:s%3Acret@"),
    ] {
        let server = MailServer::start_with(safety, Some(("ann", "s:cret"))).await;
        let query = if safety == Safety::StartTls {
            "?tls=required"
        } else {
            ""
        };
        let url = format!("{url}localhost:{}{query}", server.address.port());
        let ca_file = server.ca_file.display().to_string();
        let shop = shop_with(&server, &[("SMTP_URL", &url), ("SMTP_CA_FILE", &ca_file)]).await;
        let session = shop.sells_one("Sunrise").await;
        for (_, email) in emails::samples() {
            shop.queues(&email, "ann@example.com", &session).await;
        }
        shop.run_jobs().await;

        let received = server.received();
        assert_eq!(received.len(), 1 + emails::samples().len(), "{safety:?}");
        let mut ids: Vec<String> = Vec::new();
        for email in &received {
            assert_eq!(email.from, "hello@beads.example");
            let mail = email.mail();
            assert!(!mail.text.is_empty() && mail.html.contains("</html>"));
            assert!(!mail.html.contains("cid:") || !mail.inside.is_empty());
            ids.push(mail.message_id);
        }
        let mut to: Vec<&String> = received
            .iter()
            .flat_map(|email| &email.recipients)
            .collect();
        to.sort();
        to.dedup();
        let all = ["ann@example.com", "jane@example.com"];
        assert_eq!(to, all);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), received.len(), "ids are unique");
    }
}

#[tokio::test]
async fn a_line_that_is_not_safe_carries_no_email() {
    // Neither certificate is known; the second server cannot even encrypt.
    for (safety, query) in [
        (Safety::StartTls, "?tls=required"),
        (Safety::None, "?tls=required"),
    ] {
        let server = MailServer::start_with(safety, None).await;
        let url = format!("smtp://localhost:{}{query}", server.address.port());
        let shop = shop_with(&server, &[("SMTP_URL", &url)]).await;
        shop.sells_one("Sunrise").await;
        shop.run_failing_jobs().await;
        let (state, attempts, _) = shop.email().await;
        assert_eq!((state.as_str(), attempts), ("queued", 1));
        assert!(server.received().is_empty());
    }
}

#[tokio::test]
async fn a_wrong_password_delays_emails_and_is_not_shown() {
    let server = MailServer::start_with(Safety::None, Some(("ann", "right"))).await;
    let url = format!("smtp://ann:wr0ng-pass@{}", server.address);
    let shop = shop_with(&server, &[("SMTP_URL", &url)]).await;
    let session = shop.sells_one("Sunrise").await;
    shop.run_failing_jobs().await;
    let (state, attempts, said) = shop.email().await;
    assert_eq!((state.as_str(), attempts), ("queued", 1));
    assert!(said.contains("535") && !said.contains("wr0ng"), "{said}");
    assert_eq!(
        shop.order(&session).await["review_items"][0]["text"],
        Value::Null
    );
    assert!(!format!("{:?}", shop.app.config).contains("wr0ng"));
}

#[tokio::test]
async fn a_reply_is_judged_by_its_code_whatever_the_charset_of_its_words() {
    for (at, words) in [
        (".", &b"250 2.0.0 \xd2\xd1\xbd\xd3\xca\xd5\r\n"[..]),
        ("EHLO", b"250-caf\xe9\r\n250 8BITMIME\r\n"),
        ("MAIL", b"250 2.1.0 \xc4r gut\r\n"),
        ("RCPT", b"250 \xff\xfe\x00\r\n"),
        ("DATA", b"354 \x83\x66\x81\x5b\x83\x5e\r\n"),
    ] {
        let server = MailServer::start().await;
        let shop = shop_at(&server).await;
        shop.sells_one("Sunrise").await;
        server.misbehave(Trouble::Words(at, words));
        shop.run_jobs().await;
        assert_eq!(shop.email().await.0, "sent", "{at}");
        assert_eq!(server.received().len(), 1, "{at}");
    }
}

#[tokio::test]
async fn a_refusal_in_another_charset_is_a_refusal() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    let session = shop.sells_one("Sunrise").await;
    server.misbehave(Trouble::Words(
        "RCPT",
        b"550 5.1.1 Empf\xe4nger unbekannt\r\n",
    ));
    shop.run_jobs().await;
    let (state, attempts, said) = shop.email().await;
    assert_eq!((state.as_str(), attempts), ("failed", 1));
    assert!(said.contains("550 5.1.1 Empf"), "{said}");
    let order = shop.order(&session).await;
    let told = order["review_items"][0]["text"]
        .as_str()
        .expect("a word to the owner");
    assert!(told.contains("550"), "{told}");
}

#[tokio::test]
async fn an_email_cut_off_after_it_was_taken_is_sent_again_under_its_own_id() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    shop.sells_one("Sunrise").await;
    server.misbehave(Trouble::DropAfterData);
    shop.run_failing_jobs().await;
    assert_eq!(shop.email().await.0, "queued");
    server.mend();
    shop.hurry_jobs().await;
    shop.run_jobs().await;
    let ids: Vec<String> = server
        .received()
        .iter()
        .map(|email| email.mail().message_id)
        .collect();
    assert_eq!(ids.len(), 2, "SMTP cannot know better");
    assert_eq!(ids[0], ids[1], "whoever reads both is shown one");
}

#[tokio::test]
async fn a_mail_server_that_says_nothing_keeps_few_connections_busy_and_no_other_job_waiting() {
    let server = MailServer::start().await;
    let shop = shop_with(&server, &[("SMTP_TIMEOUT_SECONDS", "30")]).await;
    // Different customers: emails to one go one after another.
    for name in ["one", "two", "three", "four", "five"] {
        shop.asks_for_a_piece(&format!("{name}@example.com")).await;
    }
    shop.stocks("Last", 1).await;
    server.misbehave(Trouble::Silence);
    let at_work = shop.works();
    until("all emails that may be are on their way", async || {
        server.connections() == 3
    })
    .await;
    until("all products are known to Stripe", async || {
        sqlx::query_scalar("select bool_and(stripe_status = 'synced') from products")
            .fetch_one(&shop.db)
            .await
            .expect("the products")
    })
    .await;
    assert_eq!(server.connections(), 3);
    server.mend();
    drop(at_work);
}

#[tokio::test]
async fn in_a_folder_an_email_that_is_sent_twice_lies_there_once() {
    let shop = Shop::open().await;
    shop.sells_one("Sunrise").await;
    shop.run_jobs().await;
    let first = shop.mail();
    // As if its sender had been killed before it could say so.
    sqlx::query("update emails set state = 'sending'")
        .execute(&shop.db)
        .await
        .expect("a kill");
    shop.wait(11 * MINUTE).await;
    shop.clock().await;
    shop.run_jobs().await;
    assert_eq!(shop.email().await, ("sent".to_owned(), 2, String::new()));
    let second = shop.mail();
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!(first[0].message_id, second[0].message_id);
    assert_ne!(first[0].raw, second[0].raw, "it was written anew");
}

#[tokio::test]
async fn a_server_that_knows_no_ehlo_gets_its_emails_all_the_same() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    for (at, code) in [
        &b"500 what?\r\n"[..],
        b"502 not implemented\r\n",
        b"504 no\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        server.misbehave(Trouble::Words("EHLO", code));
        shop.asks_for_a_piece("jane@example.com").await;
        shop.run_jobs().await;
        assert!(
            server.received().len() > at,
            "{}",
            String::from_utf8_lossy(code)
        );
    }
    // A server that does not let us in is another thing.
    server.misbehave(Trouble::Words("EHLO", b"550 go away\r\n"));
    let before = server.received().len();
    shop.asks_for_a_piece("jane@example.com").await;
    shop.run_failing_jobs().await;
    assert_eq!(server.received().len(), before);
    server.mend();
    shop.hurry_jobs().await;
    shop.run_jobs().await;
}
