//! Emails of orders and refunds.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use spirit_beads::jobs::Job;
use spirit_beads::types::calendar::business_day_after;
use spirit_beads::worker;

use crate::support::{Shop, at_once, card, session_of};

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

    let mut mail = shop.mail();
    mail.retain(|mail| mail.subject.starts_with("Order Confirmation"));
    let mail = mail.pop().expect("an email");
    assert_eq!(mail.subject, "Order Confirmation - Bead & Thread");
    assert_eq!(mail.from, "Bead & Thread <hello@beads.example>");
    assert_eq!(mail.to, ["jane@example.com"]);
    assert!(mail.copies.is_empty(), "the shop gets an email of its own");
    assert_eq!(mail.reply_to, ["owner@beads.example"]);
    let paid: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select paid_at from orders")
        .fetch_one(&shop.db)
        .await
        .expect("a paid order");
    let [earliest, latest] = [3, 5].map(|days| business_day_after(paid.date_naive(), days));
    let (earliest, latest) = (earliest.format("%B %-d"), latest.format("%B %-d, %Y"));
    let page = shop.order_page(&shop.order(&session).await["id"]);
    let host = &shop.app.config.server.public_url;
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
Estimated delivery: {earliest} to {latest}

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

View your order:
{host}{page}

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
    let mut subjects: Vec<String> = shop.mail().into_iter().map(|mail| mail.subject).collect();
    subjects.sort();
    let once = [
        "Order Confirmation - Spirit Beads",
        "You Sold: Sunrise - SB-1001",
    ];
    assert_eq!(subjects, once);
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
    let mails = shop.mail();
    let [mail] = &mails[..] else {
        panic!("{mails:#?}");
    };
    assert_eq!(mail.subject, "You Sold: Sunrise - SB-1001");
    assert_eq!(mail.to, ["shop@localhost"]);
    assert!(mail.reply_to.is_empty() && !mail.text.contains("Answer this email"));
}

#[tokio::test]
async fn the_owner_is_told_of_a_sale_and_answers_to_the_customer() {
    let shop = Shop::open_with(&[
        ("MAIL_FROM", "hello@beads.example"),
        ("SHOP_EMAIL", "owner@beads.example"),
        ("PUBLIC_URL", "https://api.beads.example"),
    ])
    .await;
    let sunrise = shop.stocks("Sunrise", 2).await;
    let tide = shop.stocks("Tidewalk", 1).await;
    let bought = shop.client.check_out(&[(&sunrise, 2), (&tide, 1)]).await;
    let session = session_of(&bought);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    let mut mails = shop.mail();
    mails.retain(|mail| mail.to == ["owner@beads.example"]);
    let [mail] = &mails[..] else {
        panic!("{mails:#?}");
    };
    assert_eq!(mail.subject, "You Sold: Sunrise and 2 more - SB-1001");
    assert_eq!(mail.reply_to, ["jane@example.com"]);
    for words in [
        "Jane Shopper paid $146.00.",
        "Email: jane@example.com",
        "123 Main Street",
        "https://api.beads.example/admin/orders/SB-1001",
        "Answer this email to write to Jane Shopper.",
    ] {
        assert!(mail.text.contains(words), "{words}: {}", mail.text);
    }
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
            ("shop@localhost", "Payment Refunded: SB-1001"),
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
            "Refunded now: $12.00",
        ],
        [
            "given you back $40.00 of",
            "all that you had paid",
            "Refunded before: $12.00",
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
