//! The texts, images and headers of emails.

use std::collections::HashMap;

use serde_json::Value;
use spirit_beads::auth::Scope;
use spirit_beads::config::Config;
use spirit_beads::emails::{self, Addressed, CustomOrderEmailData, Email, ImageRef, Images};
use spirit_beads::mail::{self, Branding, ImageFile};
use spirit_beads::types::ids::ImageId;
use stripe_sandbox::{Buyer, Payment};
use uuid::Uuid;

use super::{id_of, sample, shop_at};
use crate::support::{Mail, MailServer, Shop, session_of};

pub fn branding(settings: &[(&str, &str)]) -> Branding {
    let mut all = HashMap::from([("FRONTEND_URL", "http://localhost:8080")]);
    all.extend(settings.iter().copied());
    let settings = all;
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

/// An email as it arrives, with every image 100 bytes long.
async fn arrived(email: &Email, branding: &Branding) -> Mail {
    arrived_with(email, branding, &OneImage(vec![7; 100])).await
}

/// An email as it arrives, with these images.
pub async fn arrived_with(email: &Email, branding: &Branding, images: &impl Images) -> Mail {
    let composed = emails::render(email, branding, images, "id").await;
    let addressed = Addressed {
        to: mail::parse_address("ann@example.com").expect("an address"),
        reply_to: None,
        message_id: "<id@beads.example>",
    };
    let message = composed.expect("an email").message(branding, addressed);
    Mail::read(&message.expect("a message"))
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
    assert_eq!(mail.attached[0].1, vec![7; 100]);
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
