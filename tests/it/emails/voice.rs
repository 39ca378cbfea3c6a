//! The owner's own words in emails to customers, from the settings page to the mailbox.

use serde_json::json;
use spirit_beads::auth::Scope;
use spirit_beads::emails;

use crate::admin::orders::two_sold;
use crate::admin::{OWNER, signed_in, staffed};
use crate::support::forms::Form;
use crate::support::{Mail, Shop};

const HERE: &str = "/admin/settings";

fn email(shop: &Shop, subject: &str) -> Mail {
    let found = shop.mail().into_iter().rev();
    let mut found = found.filter(|mail| mail.subject.starts_with(subject));
    found.next().unwrap_or_else(|| panic!("no email {subject}"))
}

#[tokio::test]
async fn the_owners_words_are_in_every_email_to_a_customer_and_in_none_to_the_shop() {
    let (shop, _, _) = two_sold().await;
    let plain = email(&shop, "Order Confirmation").text;
    assert!(plain.contains("Hello Jane Shopper,"), "{plain}");

    let owner = signed_in(&shop, OWNER).await;
    let words = [
        ("email_greeting", "Boozhoo {name}!"),
        ("email_closing", "With gratitude,\r\nmiigwech"),
        ("email_signature", "Mary"),
        (
            "care_advice",
            "Keep it dry.\r\n\r\nBeads <love> soft cloth.",
        ),
    ];
    let saved = owner.submit(HERE, HERE, &words).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let form = Form::to(&owner.get(HERE).await.text, HERE);
    assert_eq!(
        form.get("care_advice").replace("\r\n", "\n"),
        "Keep it dry.\n\nBeads <love> soft cloth."
    );

    let admin = shop.admin(&[Scope::OrdersRead, Scope::OrdersWrite]).await;
    let shipment = json!({"carrier": "UPS", "tracking_number": "1Z 999"});
    admin
        .post("/api/admin/orders/SB-1001/ship/", &shipment)
        .await;
    shop.asks_for_a_piece("ann@example.com").await;
    shop.run_jobs().await;

    let shipped = email(&shop, "Your Order Has Shipped");
    let end = shipped.text.replace("\r\n", "\n");
    for told in [
        "Boozhoo Jane Shopper!",
        "> Keep it dry.",
        "With gratitude,\nmiigwech\nMary\n",
    ] {
        assert!(end.contains(told), "{told}: {end}");
    }
    for told in [
        "Boozhoo Jane Shopper!",
        "Beads &#60;love&#62; soft cloth.",
        "miigwech<br>Mary",
    ] {
        assert!(shipped.html.contains(told), "{told}: {}", shipped.html);
    }
    // The address of a request may belong to somebody else, so nobody is named.
    let received = email(&shop, "We Have Your Custom Order Request");
    assert!(received.text.contains("Boozhoo!"), "{}", received.text);
    assert!(received.text.contains("Mary"), "{}", received.text);
    assert!(!received.text.contains("Keep it dry."), "{}", received.text);
    let notice = email(&shop, "New Custom Order Request");
    assert!(
        !notice.text.contains("Mary") && !notice.text.contains("Boozhoo"),
        "{}",
        notice.text
    );
}

#[tokio::test]
async fn words_that_are_too_long_are_named_and_kept_in_the_form() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let long = "word ".repeat(101);
    let words = [
        ("email_closing", long.as_str()),
        ("email_greeting", "Hi\u{7}"),
        ("low_stock", "many"),
    ];
    let refused = owner.submit(HERE, HERE, &words).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    for told in [
        "Closing words must have at most 500 characters",
        "Greeting must have at most 100 characters, without control characters",
        "Low-stock level must be a whole number",
        long.trim(),
    ] {
        assert!(refused.text.contains(told), "{told}: {}", refused.text);
    }
    let programs = shop.admin(&[Scope::Settings]).await;
    let chosen = json!({"chosen": {"email_greeting": " ", "care_advice": "x".repeat(2001), "email_signature": "  "}});
    let refused = programs
        .send_json(reqwest::Method::PUT, "/api/admin/settings/", &chosen)
        .await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let fields = refused.json["errors"].clone();
    assert!(
        refused.text.contains("email_greeting") && refused.text.contains("care_advice"),
        "{fields}"
    );
    let settings = programs.get("/api/admin/settings/").await.json;
    assert_eq!(settings["version"], 0, "{settings}");
}

#[tokio::test]
async fn every_email_can_be_seen_in_the_present_words() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    owner
        .submit(HERE, HERE, &[("email_signature", "Mary of the lake")])
        .await;
    let programs = shop.admin(&[Scope::Settings]).await;
    let samples = programs.get("/api/admin/email-samples/").await.json;
    let samples = samples.as_array().expect("samples");
    assert_eq!(samples.len(), emails::samples().len());
    for sample in samples {
        let name = sample["name"].as_str().expect("a name");
        let drawn = programs
            .get(&format!("/api/admin/email-samples/{name}/"))
            .await;
        assert_eq!(drawn.status, 200, "{}", drawn.text);
        assert_eq!(drawn.json["subject"], sample["subject"]);
        let page = owner
            .get(&format!("/admin/settings/emails?sample={name}"))
            .await;
        let frame = format!("src=\"/admin/settings/emails/{name}\" sandbox");
        assert!(
            page.status == 200 && page.text.contains(&frame),
            "{}",
            page.text
        );
        let shown = owner.get(&format!("/admin/settings/emails/{name}")).await;
        let is_to_shop = sample["is_to_shop"] == true;
        assert_eq!(
            shown.text.contains("Mary of the lake"),
            !is_to_shop,
            "{name}"
        );
        let text = drawn.json["text"].as_str().expect("a text");
        assert_eq!(text.contains("Mary of the lake"), !is_to_shop, "{name}");
    }
    for path in [
        "/admin/settings/emails?sample=none",
        "/admin/settings/emails/none",
    ] {
        assert_eq!(owner.get(path).await.status, 404, "{path}");
    }
    assert_eq!(
        programs.get("/api/admin/email-samples/none/").await.status,
        404
    );
}
