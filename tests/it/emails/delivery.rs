//! Emails: what they say, that each arrives once, and what happens when one does not.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::audit::Actor;
use spirit_beads::auth::Scope;
use spirit_beads::config::Config;
use spirit_beads::emails::{self, About, Addressed, CustomOrderEmailData, Email, ImageRef, Images};
use spirit_beads::jobs::Job;
use spirit_beads::mail::{self, Branding, ImageFile};
use spirit_beads::types::ids::{EmailId, ImageId};
use spirit_beads::worker;
use stripe_sandbox::{Buyer, Payment};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::process::until;
use crate::support::{Mail, MailServer, Safety, Shop, Trouble, at_once, card, session_of};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

impl Shop {
    /// Sells a piece by card; the webhooks are delivered, the emails wait in the queue. Returns the session.
    async fn sells_one(&self, name: &str) -> String {
        let piece = self.stocks(name, 1).await;
        let session = session_of(&self.client.check_out(&[(&piece, 1)]).await);
        self.stripe.pay(&session, card()).await.expect("a payment");
        self.deliver().await;
        session
    }

    /// Queues an email to this address about the order of a session.
    async fn queues(&self, email: &Email, recipient: &str, session: &str) {
        let order = self.order(session).await;
        let order = order["id"].as_str().and_then(|id| id.parse().ok());
        let mut tx = self.db.begin().await.expect("a transaction");
        let about = About::order(spirit_beads::types::ids::OrderId(order.expect("an id")));
        let cause = Uuid::new_v4().to_string();
        emails::queue(&mut tx, email, &cause, recipient, None, about)
            .await
            .expect("an email");
        tx.commit().await.expect("a commit");
    }

    /// Every email as the database has it, oldest first.
    async fn emails(&self) -> Vec<Value> {
        sqlx::query_scalar("select to_jsonb(l) from emails l order by created_at, id")
            .fetch_all(&self.db)
            .await
            .expect("the emails")
    }

    /// The one email there is: its state, attempts, and what was said last.
    async fn email(&self) -> (String, i64, String) {
        let mut emails = self.emails().await;
        emails.retain(|email| email["kind"] != "review_item");
        assert_eq!(emails.len(), 1, "{emails:#?}");
        let text = |field: &str| emails[0][field].as_str().unwrap_or_default().to_owned();
        let attempts = emails[0]["attempts"].as_i64().expect("a number");
        (text("state"), attempts, text("last_error"))
    }

    async fn sends(&self, email: EmailId) {
        worker::perform(&self.app, Job::SendEmail { email })
            .await
            .expect("an attempt");
    }

    async fn clock(&self) {
        worker::perform(&self.app, Job::Sweep)
            .await
            .expect("a sweep");
    }

    async fn loses_its_jobs(&self) {
        sqlx::query("delete from graphile_worker._private_jobs")
            .execute(&self.db)
            .await
            .expect("a loss");
    }
}

fn id_of(email: &Value) -> EmailId {
    EmailId(
        email["id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .expect("an id"),
    )
}

/// A shop whose emails go to this server.
async fn shop_at(server: &MailServer) -> Shop {
    shop_with(server, &[]).await
}

async fn shop_with(server: &MailServer, more: &[(&str, &str)]) -> Shop {
    let url = server.url();
    let mut settings = vec![
        ("SMTP_URL", url.as_str()),
        ("SMTP_TIMEOUT_SECONDS", "1"),
        ("MAIL_FROM", "Spirit Beads <hello@beads.example>"),
        ("SHOP_EMAIL", "owner@beads.example"),
    ];
    settings.extend_from_slice(more);
    Shop::open_with(&settings).await
}

fn branding(settings: &[(&str, &str)]) -> Branding {
    let settings: HashMap<&str, &str> = settings.iter().copied().collect();
    let config = Config::read(|name| settings.get(name).map(|value| (*value).to_owned()));
    Branding::new(&config.expect("valid settings")).expect("a house")
}

/// Every image is this one, and no product has an image.
struct OneImage(Vec<u8>);

impl Images for OneImage {
    async fn read(&self, image: ImageRef<'_>, _: u32) -> anyhow::Result<Option<ImageFile>> {
        Ok(match image {
            ImageRef::Kept(_) => Some(ImageFile {
                bytes: self.0.clone(),
                mime: "image/jpeg".to_owned(),
            }),
            ImageRef::Path(_) => None,
        })
    }
}

fn sample(kind: &str) -> Email {
    let mut preview = emails::samples().into_iter();
    preview.find(|(name, _)| *name == kind).expect("a sample").1
}

/// An email as it arrives, with every image 100 bytes long.
async fn arrived(email: &Email, branding: &Branding) -> Mail {
    let composed = emails::render(email, branding, &OneImage(vec![7; 100]), "id").await;
    let addressed = Addressed {
        to: mail::parse_address("ann@example.com").expect("an address"),
        copy: None,
        reply_to: None,
        message_id: "<id@beads.example>",
    };
    let message = composed.expect("an email").message(branding, addressed);
    Mail::read(&message.expect("a message"))
}

#[tokio::test]
async fn a_paid_order_is_confirmed_with_its_image_and_its_whole_total() {
    let shop = Shop::open_with(&[
        ("MAIL_FROM", "hello@beads.example"),
        ("SHOP_EMAIL", "owner@beads.example"),
        ("SHOP_NAME", "Bead & Thread"),
    ])
    .await;
    let image = image::RgbImage::from_pixel(300, 500, image::Rgb([200, 30, 30]));
    image
        .save(shop.media_folder().join("sunrise.png"))
        .expect("an image");
    let admin = shop.admin(&[Scope::Catalog]).await;
    let path = json!({"name": "Infinite Path"});
    let category = admin.post("/api/categories/", &path).await.json["id"].clone();
    let fields = json!({"category": category, "primary_image": "/media/sunrise.png"});
    let piece = shop.stocks_with("Sunrise <1>", 2, fields).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 2)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;

    let mail = shop.mail().pop().expect("an email");
    assert_eq!(mail.subject, "Order Confirmation - Bead & Thread");
    assert_eq!(mail.from, "Bead & Thread <hello@beads.example>");
    assert_eq!(mail.to, ["jane@example.com"]);
    assert_eq!(mail.copies, ["owner@beads.example"]);
    assert_eq!(mail.reply_to, ["owner@beads.example"]);
    let paid: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select paid_at from orders")
        .fetch_one(&shop.db)
        .await
        .expect("a paid order");
    let paid = paid.format("%B %-d, %Y");
    let text = format!(
        "\
Bead & Thread

THANK YOU FOR YOUR ORDER

Hello Jane Shopper,

Thank you: your order is paid, and we are getting it ready to ship. You will
hear from us again as soon as it is on its way.

Order: SB-1001
Paid: {paid}

Sunrise <1>
  Infinite Path · Classic BIC
  2 × $47.00 = $94.00

Subtotal: $94.00
Shipping: $5.00
Total: $99.00

Ships to:
Jane Shopper
123 Main Street
Portland, OR 97205

-- 
Any questions? Just answer this email, and a person will read it.
Bead & Thread, http://localhost:8080
"
    );
    assert_eq!(mail.text.trim_end(), text.trim_end());
    assert!(mail.html.contains("Sunrise &#60;1&#62;") && mail.html.contains("$99.00"));
    let [(id, kind)] = &mail.inside[..] else {
        panic!("{:?}", mail.inside);
    };
    assert_eq!(kind, "image/jpeg");
    assert!(
        mail.html.contains(&format!("src=\"cid:{id}\"")),
        "{}",
        mail.html
    );
    assert!(mail.attached.is_empty());
    assert!(mail.raw.len() < 40_000, "{} bytes", mail.raw.len());
}

#[tokio::test]
async fn an_email_has_the_headers_that_are_due_and_no_others() {
    let shop = Shop::open().await;
    shop.sells_one("Sunrise").await;
    shop.run_jobs().await;
    let mail = shop.mail().remove(0);
    let mut headers = mail.headers();
    headers.sort();
    // From and Reply-To are the same here, and nobody can unsubscribe from what they bought.
    let due = [
        "auto-submitted",
        "cc",
        "content-type",
        "date",
        "from",
        "message-id",
        "mime-version",
        "subject",
        "to",
    ];
    assert_eq!(headers, due);
    assert!(mail.raw.contains("Auto-Submitted: auto-generated\r\n"));
    let (name, domain) = mail.message_id.split_once('@').expect("an id");
    assert!(name.starts_with("order_confirmation."), "{name}");
    assert_eq!(domain, "localhost");
}

#[tokio::test]
async fn an_order_is_confirmed_once_however_often_and_by_whomever_it_is_reported() {
    let shop = Shop::open_with(&[crate::support::PATIENT]).await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let events = shop.stripe.events().await.expect("the events");
    let mut reports: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
    for _ in 0..3 {
        let (app, client) = (shop.app.clone(), shop.client.clone());
        for event in events.clone() {
            let (client, payload) = (client.clone(), event.to_string());
            let signature = shop.stripe.sign(&payload);
            reports.push(Box::pin(async move {
                let headers = [("stripe-signature", signature.as_str())];
                let path = "/api/payments/webhook/";
                client
                    .send(Method::POST, path, &headers, Some(payload))
                    .await;
            }));
        }
        reports.push(Box::pin(async move {
            worker::perform(&app, Job::Reconcile)
                .await
                .expect("a reconciliation");
            worker::perform(&app, Job::Sweep).await.expect("a sweep");
        }));
    }
    at_once(reports).await;
    shop.run_jobs().await;
    let subjects: Vec<String> = shop.mail().into_iter().map(|mail| mail.subject).collect();
    assert_eq!(subjects, ["Order Confirmation - Spirit Beads"]);
    shop.audit().await;
}

#[tokio::test]
async fn without_a_shoppers_address_the_shop_alone_is_told() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    for mut event in shop.stripe.events().await.expect("the events") {
        event["data"]["object"]["customer_details"]["email"] = Value::Null;
        event["data"]["object"]["customer_email"] = Value::Null;
        shop.webhook(&event).await;
    }
    shop.run_jobs().await;
    let mail = shop.mail().remove(0);
    assert_eq!(
        (mail.to, mail.copies),
        (vec!["shop@localhost".to_owned()], Vec::new())
    );
}

#[tokio::test]
async fn a_payment_that_finds_no_piece_is_explained_to_the_shopper_and_to_the_shop() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    let mut early = json!({"id": "evt_early", "object": "event", "type": "checkout.session.expired", "created": 1});
    early["data"]["object"] = shop.session(&session).await;
    shop.webhook(&early).await;
    session_of(&shop.client.check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    for _ in 0..2 {
        for event in shop.stripe.events().await.expect("the events") {
            shop.webhook(&event).await;
        }
        shop.run_jobs().await;
    }
    let mail = shop.mail();
    let read: Vec<(&str, &str)> = mail
        .iter()
        .map(|mail| (mail.to[0].as_str(), mail.subject.as_str()))
        .collect();
    assert_eq!(
        read,
        [
            ("shop@localhost", "Payment Given Back: SB-1001"),
            ("jane@example.com", "About Your Payment - Spirit Beads"),
        ]
    );
    for mail in &mail {
        assert!(mail.text.contains("$52.00"), "{}", mail.text);
    }
    assert!(
        mail[1].text.contains("somebody else bought them"),
        "{}",
        mail[1].text
    );
}

#[tokio::test]
async fn each_refund_is_told_once_with_what_it_adds() {
    let shop = Shop::open().await;
    let session = shop.sells_one("Sunrise").await;
    let payment = shop.payment_of(&session).await;
    for amount in [Some(1200), None] {
        shop.stripe
            .refund(&payment, amount)
            .await
            .expect("a refund");
        shop.deliver().await;
        shop.reconcile().await;
        shop.run_jobs().await;
    }
    for event in shop.stripe.events().await.expect("the events") {
        shop.webhook(&event).await;
    }
    shop.run_jobs().await;
    let mail = shop.mail();
    assert_eq!(mail.len(), 3, "{mail:#?}");
    for (mail, told) in mail[1..].iter().zip([
        [
            "given you back $12.00 of",
            "The rest of your order stands",
            "Given back now: $12.00",
        ],
        [
            "given you back $40.00 of",
            "all that you had paid",
            "Given back before: $12.00",
        ],
    ]) {
        assert_eq!(mail.subject, "Your Refund - Spirit Beads");
        assert_eq!(mail.to, ["jane@example.com"]);
        let text = mail.text.replace('\n', " ");
        for words in told {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}

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
        let all = ["ann@example.com", "jane@example.com", "owner@beads.example"];
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
async fn a_refused_copy_does_not_keep_the_email_from_its_reader() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    let session = shop.sells_one("Sunrise").await;
    server.misbehave(Trouble::Recipient(550, "owner@beads.example"));
    shop.run_jobs().await;
    let received = server.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].recipients, ["jane@example.com"]);
    assert_eq!(shop.email().await.0, "sent");
    let order = shop.order(&session).await;
    let told = order["review_items"][0]["text"]
        .as_str()
        .expect("a word to the owner");
    assert!(told.contains("copy refused"), "{told}");
}

#[tokio::test]
async fn a_copy_that_was_put_off_is_sent_again_to_its_reader_alone() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    let session = shop.sells_one("Sunrise").await;
    server.misbehave(Trouble::Recipient(452, "owner@beads.example"));
    for attempt in 1..=3 {
        shop.run_failing_jobs().await;
        assert_eq!(server.received().len(), 1, "the customer has it once");
        let (state, attempts, said) = shop.email().await;
        assert_eq!((state.as_str(), attempts), ("queued", attempt));
        assert!(said.contains("452"), "{said}");
        shop.hurry_jobs().await;
    }
    server.mend();
    shop.run_jobs().await;
    let received = server.received();
    let readers: Vec<&[String]> = received.iter().map(|one| &one.recipients[..]).collect();
    assert_eq!(readers, [["jane@example.com"], ["owner@beads.example"]]);
    assert_eq!(
        received[0].mail().message_id,
        received[1].mail().message_id,
        "it is the same message"
    );
    assert_eq!(shop.email().await.0, "sent");
    assert_eq!(
        shop.order(&session).await["review_items"][0]["text"],
        Value::Null
    );

    // Sent again on purpose it goes to both.
    let email = id_of(&shop.emails().await[0]);
    let mut conn = shop.db.acquire().await.expect("a connection");
    emails::send_again(&mut conn, &Actor::console(), email)
        .await
        .expect("an email");
    drop(conn);
    shop.run_jobs().await;
    assert_eq!(
        server.received()[2].recipients,
        ["jane@example.com", "owner@beads.example"]
    );
}

#[tokio::test]
async fn a_copy_that_is_put_off_for_days_is_given_up_and_the_email_stays_sent() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    let session = shop.sells_one("Sunrise").await;
    server.misbehave(Trouble::Recipient(452, "owner@beads.example"));
    shop.run_failing_jobs().await;
    shop.wait(5 * 24 * HOUR).await;
    shop.hurry_jobs().await;
    // The owner's email about it is put off, too.
    shop.run_failing_jobs().await;
    assert_eq!(shop.email().await.0, "sent");
    assert_eq!(server.received().len(), 1);
    let order = shop.order(&session).await;
    let told = order["review_items"][0]["text"]
        .as_str()
        .expect("a word to the owner");
    assert!(
        told.contains("copy refused") && told.contains("452"),
        "{told}"
    );
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
async fn nothing_that_a_visitor_types_becomes_a_header_or_a_command() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    let session = shop.sells_one("Sunrise").await;
    let attacks = [
        "Ann\r\nBcc: evil@example.com",
        "Ann\nBcc: evil@example.com",
        "Ann\rBcc: evil@example.com",
        "Ann\r\n\r\n<script>alert(1)</script>",
        "Ann\r\n.\r\nMAIL FROM:<evil@example.com>",
        "Ann\u{2028}Bcc: evil@example.com\u{85}X: y",
        "\" <evil@example.com>, \"",
        "=?utf-8?q?=0D=0ABcc:_evil@example.com?=",
        "Zoë 🪡 Łódź 你好 مرحبا",
        &"Very Long Name ".repeat(500),
        &"ÄÖÜ".repeat(2000),
        "\u{202e}moc.elpmaxe",
    ];
    let Email::NewCustomOrder {
        custom_order,
        email,
    } = sample("new_custom_order")
    else {
        panic!("a request");
    };
    for attack in attacks {
        let email = Email::NewCustomOrder {
            custom_order: CustomOrderEmailData {
                customer_name: attack.to_owned(),
                description: format!("{attack}\r\n.\r\nQUIT\r\n<b>bold</b>"),
                colors: Some(attack.to_owned()),
                ..custom_order.clone()
            },
            email: email.clone(),
        };
        shop.queues(&email, "owner@beads.example", &session).await;
        let wrong = Email::NewCustomOrder {
            custom_order: custom_order.clone(),
            email: attack.to_owned(),
        };
        shop.queues(&wrong, "owner@beads.example", &session).await;
    }
    shop.run_jobs().await;
    let received = server.received();
    assert_eq!(received.len(), 1 + 2 * attacks.len());
    for email in &received[1..] {
        assert_eq!(email.recipients, ["owner@beads.example"]);
        let mail = email.mail();
        let allowed = [
            "auto-submitted",
            "content-type",
            "date",
            "from",
            "message-id",
            "mime-version",
            "reply-to",
            "subject",
            "to",
        ];
        for header in mail.headers() {
            assert!(
                allowed.contains(&header.as_str()),
                "{header} in {}",
                mail.raw
            );
        }
        assert!(mail.subject.starts_with("New Custom Order Request from "));
        assert!(mail.subject.chars().count() <= 200 && !mail.subject.contains(['\r', '\n']));
        assert!(mail.raw.is_ascii() && mail.raw.lines().all(|line| line.len() <= 998));
        assert!(!mail.html.contains("<script") && !mail.html.contains("<b>"));
        let answers: &[&str] = match mail.text.contains("Email: maya.tallchief@") {
            true => &["maya.tallchief@example.com"],
            false => &[],
        };
        assert_eq!(mail.reply_to, answers, "{}", mail.raw);
    }
    let names: Vec<String> = received
        .iter()
        .map(|email| email.mail().subject)
        .filter(|subject| subject.contains("🪡"))
        .collect();
    assert_eq!(
        names,
        ["New Custom Order Request from Zoë 🪡 Łódź 你好 مرحبا"]
    );
}

#[tokio::test]
async fn an_image_that_cannot_be_read_is_left_out_and_the_email_goes() {
    let shop = Shop::open().await;
    let folder = shop.media_folder();
    std::fs::write(folder.join("broken.png"), b"\x89PNG\r\n\x1a\nno more").expect("a file");
    std::fs::write(folder.join("words.png"), b"no image").expect("a file");
    std::fs::write(folder.join("../outside.png"), b"secret").expect("a file");
    let huge = std::fs::File::create(folder.join("huge.png")).expect("a file");
    huge.set_len(21 * 1024 * 1024).expect("a size");
    let image = image::RgbaImage::from_pixel(40, 90, image::Rgba([0, 90, 90, 128]));
    image.save(folder.join("a b.png")).expect("an image");
    let session = shop.sells_one("Sunrise").await;
    let Email::OrderConfirmation { mut order } = sample("order_confirmation") else {
        panic!("an order");
    };
    let line = order.lines[0].clone();
    order.lines = [
        "/media/broken.png",
        "/media/words.png",
        "/media/huge.png",
        "/media/missing.png",
        "/media/../outside.png",
        "/media/%2e%2e/outside.png",
        "/media//etc/passwd",
        "/etc/passwd",
        "/media/",
        "javascript:alert(1)",
        "http://elsewhere.example/x.png",
        "/media/a%20b.png",
        "https://elsewhere.example/x.png",
    ]
    .map(|image| spirit_beads::emails::LineEmailData {
        image: Some(image.to_owned()),
        ..line.clone()
    })
    .into();
    shop.queues(
        &Email::OrderConfirmation { order },
        "ann@example.com",
        &session,
    )
    .await;
    shop.run_jobs().await;
    let mail = shop.mail().pop().expect("an email");
    assert_eq!(mail.to, ["ann@example.com"]);
    assert_eq!(mail.inside.len(), 1, "{:?}", mail.inside);
    assert_eq!(mail.html.matches("<img ").count(), 2);
    assert!(
        mail.html
            .contains("src=\"https://elsewhere.example/x.png\"")
    );
    let _ = std::fs::remove_file(folder.join("../outside.png"));
}

#[tokio::test]
async fn a_request_is_told_to_the_shop_with_its_images_and_answered_to_the_visitor() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    let session = shop.sells_one("Sunrise").await;
    shop.run_jobs().await;
    shop.queues(&sample("new_custom_order"), emails::SHOP, &session)
        .await;
    shop.run_jobs().await;
    let mail = server.received().pop().expect("an email").mail();
    assert_eq!(mail.to, ["owner@beads.example"]);
    assert_eq!(mail.reply_to, ["maya.tallchief@example.com"]);

    let branding = branding(&[]);
    let mail = arrived(&sample("new_custom_order"), &branding).await;
    assert_eq!(mail.subject, "New Custom Order Request from Maya Tallchief");
    let names: Vec<&str> = mail
        .attached
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["photo-1.jpg", "photo-2.jpg"]);
    assert_eq!(mail.attached[0].1, vec![7; 100]);
    assert!(mail.text.contains("Attached: 2 photos."));
    assert!(
        mail.text.contains("> A case for my brother's birthday"),
        "{}",
        mail.text
    );
    assert!(
        mail.html.contains("by the water.<br><br>He fishes"),
        "breaks are kept"
    );
}

#[tokio::test]
async fn an_email_stays_within_its_size_and_says_what_it_left_out() {
    let Email::NewCustomOrder {
        mut custom_order,
        email,
    } = sample("new_custom_order")
    else {
        panic!("a request");
    };
    custom_order.images = vec![ImageId("a".repeat(64)); 10];
    let email = Email::NewCustomOrder {
        custom_order,
        email,
    };
    let images = OneImage(vec![7; 4 * 1024 * 1024]);
    let composed = emails::render(&email, &branding(&[]), &images, "id").await;
    let text = composed.expect("an email").text.replace('\n', " ");
    assert!(text.contains("Attached: 3 photos."), "{text}");
    assert!(text.contains("could not be read: 7 photos."), "{text}");
}

#[tokio::test]
async fn emails_wear_the_shops_name_colour_and_logo() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let logo = folder.join(format!("logo-{}.png", Uuid::new_v4().simple()));
    let image = image::RgbImage::from_pixel(4, 4, image::Rgb([1, 2, 3]));
    image.save(&logo).expect("a logo");
    let path = logo.display().to_string();
    let branding = branding(&[
        ("SHOP_NAME", "Łuna \"Beads\" <&>"),
        ("SHOP_COLOR", "#FFDD00"),
        ("SHOP_LOGO", &path),
        ("FRONTEND_URL", "https://luna.example"),
    ]);
    let mail = arrived(&sample("custom_order_approved"), &branding).await;
    assert!(mail.from.starts_with("Łuna \"Beads\" <&>"), "{}", mail.from);
    let button = "background-color:#ffdd00;border-radius:9px\"><a href=";
    assert!(mail.html.contains(button));
    assert!(
        mail.html.contains("color:#1d1916;text-decoration:none"),
        "dark on yellow"
    );
    assert!(mail.html.contains("https://luna.example"));
    let [(id, kind)] = &mail.inside[..] else {
        panic!("{:?}", mail.inside);
    };
    assert_eq!(kind, "image/png");
    assert!(mail.html.contains(&format!("src=\"cid:{id}\"")));
    std::fs::remove_file(&logo).expect("our file");
    let wrong = Config::read(|name| (name == "SHOP_LOGO").then(|| path.clone()));
    let error = Branding::new(&wrong.expect("valid settings")).expect_err("no file");
    assert!(format!("{error:#}").contains("SHOP_LOGO"), "{error:#}");
}

#[tokio::test]
async fn links_lead_to_web_pages_only() {
    for (url, leads) in [
        ("javascript:alert(1)", false),
        ("data:text/html,x", false),
        ("not an address", false),
        ("https://track.example/?a=1&b=\"2\"", true),
    ] {
        let Email::OrderShipped {
            order,
            mut shipment,
        } = sample("order_shipped")
        else {
            panic!("a shipment");
        };
        shipment.tracking_url = Some(url.to_owned());
        let mail = arrived(&Email::OrderShipped { order, shipment }, &branding(&[])).await;
        assert_eq!(mail.text.contains("Follow the shipment"), leads, "{url}");
        assert!(!mail.html.contains("javascript") && !mail.html.contains("b=\"2\""));
    }
}

#[tokio::test]
async fn the_texts_of_emails_about_custom_orders_say_what_their_reader_needs() {
    let branding = branding(&[]);
    for (kind, subject, words) in [
        (
            "custom_order_approved",
            "Your Custom Order Request Has Been Approved!",
            &[
                "Your piece: $145.00",
                "Total: $150.00",
                "Pay $150.00:\nhttps://buy.stripe.com/test_14k5mBd0qf2x",
                "open until December 8, 2026",
                "https://shop.example.com/requests/01936b2e",
            ][..],
        ),
        (
            "custom_order_rejected",
            "Update on Your Custom Order Request",
            &["> The drawing has finer lines", "another idea"],
        ),
        (
            "payment_received",
            "Payment Received - Your Custom Order is in Production!",
            &["in production", "Order: SB-1058", "Total: $150.00"],
        ),
        (
            "custom_order_shipped",
            "Your Custom Order Has Shipped! - Spirit Beads",
            &[
                "Tracking number: 9400",
                "Follow the shipment:",
                "shows a photo of it",
            ],
        ),
        (
            "order_shipped",
            "Your Order Has Shipped! - Spirit Beads",
            &[
                "Carrier: USPS",
                "Shipped: November 26, 2026",
                "Lantern Star",
            ],
        ),
    ] {
        let mail = arrived(&sample(kind), &branding).await;
        assert_eq!(mail.subject, subject);
        for words in words {
            assert!(mail.text.contains(words), "{kind}, {words}: {}", mail.text);
        }
        assert!(
            mail.text
                .lines()
                .all(|line| line.chars().count() <= 78 || line.starts_with("http"))
        );
    }
}

#[tokio::test]
async fn an_email_queued_before_an_upgrade_is_read_or_given_up_but_never_stuck() {
    let shop = Shop::open().await;
    let session = shop.sells_one("Sunrise").await;
    sqlx::query("update emails set contents = '{\"email\": \"forgotten\"}'")
        .execute(&shop.db)
        .await
        .expect("an old email");
    shop.run_jobs().await;
    assert_eq!(shop.email().await.0, "failed");
    assert!(shop.order(&session).await["review_items"][0]["text"].is_string());
    let admin = shop.admin(&[Scope::OrdersRead]).await;
    let id = id_of(&shop.emails().await[0]);
    let answer = admin.get(&format!("/api/admin/emails/{id}/")).await;
    assert_eq!((answer.status, &answer.json["html"]), (200, &Value::Null));
}

#[tokio::test]
async fn the_owner_finds_emails_and_reads_them() {
    let shop = Shop::open_with(&[("SHOP_EMAIL", "owner@beads.example")]).await;
    let session = shop.sells_one("Sunrise").await;
    shop.sells_one("Moonrise").await;
    shop.queues(&sample("order_shipped"), "nowhere", &session)
        .await;
    shop.queues(&sample("new_custom_order"), emails::SHOP, &session)
        .await;
    shop.run_jobs().await;
    let admin = shop.admin(&[Scope::OrdersRead]).await;
    let list = async |query: &str| {
        let answer = admin.get(&format!("/api/admin/emails/?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer
    };
    let all = list("").await;
    assert_eq!(
        (&all.json["count"], &all.json["page_size"]),
        (&json!(5), &json!(24))
    );
    let kinds = [
        "review_item",
        "new_custom_order",
        "order_shipped",
        "order_confirmation",
        "order_confirmation",
    ];
    assert_eq!(all.each("results", "kind"), kinds);
    assert_eq!(all.each("results", "recipient")[0], "owner@beads.example");
    for (query, count) in [
        ("state=failed", 1),
        ("state=sent&kind=order_confirmation", 2),
        ("order=SB-1001", 4),
        ("order=SB-1002&state=sent", 1),
        ("recipient=JANE@", 2),
        ("recipient=owner%40beads", 4),
        ("search=not+delivered", 1),
        // Accents, case and the form of a letter do not count.
        ("search=request+from+M%C3%81YA", 1),
        ("search=request+from+maya%CC%81", 1),
        ("recipient=100%25", 0),
        ("kind=nothing", 0),
        ("page=2&page_size=3", 5),
    ] {
        assert_eq!(list(query).await.json["count"], count, "{query}");
    }
    for query in [
        "state=lost",
        "page=0",
        "page_size=101",
        "order=SB-x",
        "order=SB-9",
        "kind=%00",
    ] {
        let answer = admin.get(&format!("/api/admin/emails/?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text);
    }

    let failed = list("state=failed").await.json["results"][0].clone();
    let path = format!("/api/admin/emails/{}/", id_of(&failed));
    let email = admin.get(&path).await.json;
    assert_eq!(email["attempts"], 1);
    assert!(
        email["last_error"]
            .as_str()
            .is_some_and(|text| text.contains("no address"))
    );
    assert_eq!(email["subject"], "Your Order Has Shipped! - Spirit Beads");
    assert!(
        email["text"]
            .as_str()
            .is_some_and(|text| text.contains("SB-1042"))
    );
    assert!(
        email["html"]
            .as_str()
            .is_some_and(|html| !html.contains("cid:"))
    );

    for path in [
        "/api/admin/emails/7/".to_owned(),
        format!("/api/admin/emails/{}/", Uuid::new_v4()),
    ] {
        assert_eq!(admin.get(&path).await.status, 404);
    }
    assert_eq!(shop.client.get("/api/admin/emails/").await.status, 401);
    let other = shop.admin(&[Scope::Catalog]).await;
    assert_eq!(other.get("/api/admin/emails/").await.status, 403);
    assert_eq!(other.get(&path).await.status, 403);
}

#[tokio::test]
async fn an_email_is_sent_again_on_purpose_as_an_email_of_its_own() {
    let server = MailServer::start().await;
    let shop = shop_at(&server).await;
    let session = shop.sells_one("Sunrise").await;
    let path = format!(
        "/api/admin/emails/{}/resend/",
        id_of(&shop.emails().await[0])
    );
    let reader = shop.admin(&[Scope::OrdersRead]).await;
    let admin = shop.admin(&[Scope::OrdersWrite]).await;
    assert_eq!(reader.post(&path, &json!({})).await.status, 403);
    let early = admin.post(&path, &json!({})).await;
    assert_eq!(
        (early.status, &early.json["code"]),
        (409, &json!("email_on_its_way"))
    );
    server.misbehave(Trouble::Recipient(550, "jane@example.com"));
    shop.run_jobs().await;
    assert_eq!(shop.email().await.0, "failed");
    server.mend();
    for _ in 0..2 {
        let answer = admin.post(&path, &json!({})).await;
        assert_eq!(
            (answer.status, &answer.json["state"]),
            (202, &json!("queued")),
            "{}",
            answer.text
        );
        shop.run_jobs().await;
    }
    let mail: Vec<Mail> = server
        .received()
        .iter()
        .filter(|email| email.recipients[0] == "jane@example.com")
        .map(|email| email.mail())
        .collect();
    assert_eq!(mail.len(), 2);
    assert_ne!(mail[0].message_id, mail[1].message_id);
    assert!(mail[0].message_id.contains(".2@") && mail[1].message_id.contains(".3@"));
    assert_eq!(shop.status_of(&session).await, "paid");
    let missing = format!("/api/admin/emails/{}/resend/", Uuid::new_v4());
    assert_eq!(admin.post(&missing, &json!({})).await.status, 404);
}

#[tokio::test]
async fn an_address_abroad_is_written_as_its_post_wants_it() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let headers = [("cf-ipcountry", "DE"), ("origin", "http://localhost:8080")];
    let session = session_of(&shop.client.check_out_with(&[(&piece, 1)], &headers).await);
    let mut buyer = Buyer {
        name: "Jörg\r\nBcc: x@example.com".to_owned(),
        ..Buyer::default()
    };
    buyer.address.line1 = "Hauptstraße 5".to_owned();
    buyer.address.city = "Köln".to_owned();
    buyer.address.state = None;
    buyer.address.postal_code = "50667".to_owned();
    buyer.address.country = "DE".to_owned();
    shop.stripe
        .pay(&session, Payment::Card(buyer))
        .await
        .expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    let mail = shop.mail().remove(0);
    let address = "Hauptstraße 5\n50667 Köln\nGERMANY\n";
    assert!(mail.text.contains(address), "{}", mail.text);
    assert!(!mail.headers().contains(&"bcc".to_owned()));
}

#[tokio::test]
async fn a_mail_server_that_says_nothing_keeps_few_connections_busy_and_no_other_job_waiting() {
    let server = MailServer::start().await;
    let shop = shop_with(&server, &[("SMTP_TIMEOUT_SECONDS", "30")]).await;
    for name in ["One", "Two", "Three", "Four", "Five"] {
        shop.sells_one(name).await;
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
