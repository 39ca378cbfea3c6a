//! The payment page and the dashboard, as a browser without scripts uses them.

use crate::support::{SESSIONS, Stripe, session_form};

/// The first form that contains a text: its address, and its fields with their values.
fn form_with(page: &str, text: &str) -> (String, Vec<(String, String)>) {
    let form = page
        .split("<form")
        .skip(1)
        .find(|form| form.contains(text))
        .unwrap_or_else(|| panic!("no form with {text}: {page}"));
    let (form, _) = form.split_once("</form>").expect("its end");
    let attribute = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        Some(rest.split('"').next()?.to_owned())
    };
    let mut fields = Vec::new();
    for input in form.split('<').filter(|tag| tag.starts_with("input ")) {
        // Of several choices a browser sends the one that is chosen.
        if input.contains("type=\"radio\"") && !input.contains(" checked") {
            continue;
        }
        let name = attribute(input, "name").expect("a name");
        fields.push((name, attribute(input, "value").unwrap_or_default()));
    }
    for select in form.split("<select").skip(1) {
        let chosen = select.split('<').find(|tag| tag.contains(" selected"));
        let chosen = chosen.and_then(|tag| attribute(tag, "value"));
        fields.push((
            attribute(select, "name").expect("a name"),
            chosen.expect("a choice"),
        ));
    }
    (attribute(form, "action").expect("an action"), fields)
}

fn changed(fields: &[(String, String)], changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut fields = fields.to_vec();
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        fields.push(((*name).to_owned(), (*value).to_owned()));
    }
    fields
}

#[tokio::test]
async fn the_payment_page_works_without_a_script() {
    let stripe = Stripe::start().await;
    let form = session_form(&[
        ("line_items[0][price_data][product_data][name]", "<b>Sun"),
        ("customer_email", "ann@example.com"),
        (
            "success_url",
            "http://shop.test/thanks?session_id={CHECKOUT_SESSION_ID}",
        ),
        ("shipping_address_collection[allowed_countries][0]", "US"),
    ]);
    let session = stripe.post(SESSIONS, &form, None).await.id();
    let path = format!("/sandbox/pay/{session}");
    let page = stripe.visit(&path).await;
    assert_eq!(page.status, 200);
    for text in [
        "$48.00",
        "width=device-width",
        "ann@example.com",
        "Pay — Bead &#38; Co sandbox",
    ] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    assert!(!page.text.contains("<b>Sun") && !page.text.contains("<script"));
    let (action, fields) = form_with(&page.text, "card");
    assert_eq!(action, path);
    let submit = async |changes: &[(&str, &str)]| {
        let fields = changed(&fields, changes);
        stripe.submit(&action, &fields).await
    };
    let wrong = submit(&[
        ("how", "card"),
        ("email", "\"><script>"),
        ("name", ""),
        ("country", "XX"),
    ])
    .await;
    assert_eq!(wrong.status, 422);
    for field in ["email-error", "name-error", "country-error"] {
        assert!(wrong.text.contains(field), "{field}");
    }
    assert!(!wrong.text.contains("<script>"));
    assert_eq!(submit(&[("how", "declined")]).await.status, 402);
    // A second click follows the first.
    for _ in 0..2 {
        let paid = submit(&[("how", "card"), ("city", "Salem")]).await;
        assert_eq!(paid.status, 303);
        let target = format!("http://shop.test/thanks?session_id={session}");
        assert_eq!(paid.header("location"), target);
    }
    assert!(stripe.visit(&path).await.text.contains("All done"));
    let paid = stripe.session(&session).await;
    assert_eq!(paid["customer_details"]["address"]["city"], "Salem");
    for odd in ["cs_nothing", "%00"] {
        let none = stripe.visit(&format!("/sandbox/pay/{odd}")).await;
        assert_eq!(none.status, 404, "{odd}");
    }
}

#[tokio::test]
async fn countries_have_names_in_their_order() {
    let stripe = Stripe::start().await;
    let form = session_form(&[
        ("shipping_address_collection[allowed_countries][0]", "US"),
        ("shipping_address_collection[allowed_countries][1]", "GB"),
        ("shipping_address_collection[allowed_countries][2]", "CI"),
        ("shipping_address_collection[allowed_countries][3]", "AX"),
        ("shipping_address_collection[allowed_countries][4]", "CR"),
    ]);
    let session = stripe.post(SESSIONS, &form, None).await.id();
    let page = stripe.visit(&format!("/sandbox/pay/{session}")).await;
    let (_, list) = page.text.split_once("<select").expect("countries");
    let (list, _) = list.split_once("</select>").expect("their end");
    let shown: Vec<&str> = list
        .split("</option>")
        .filter_map(|option| Some(option.rsplit_once('>')?.1.trim()))
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(
        shown,
        [
            "Åland Islands",
            "Costa Rica",
            "Côte d’Ivoire",
            "United Kingdom",
            "United States"
        ]
    );
    assert!(list.contains("value=\"US\" selected"), "{list}");
}

#[tokio::test]
async fn a_declined_card_can_be_tried_and_then_another_pays() {
    let stripe = Stripe::start().await;
    let session = stripe.post(SESSIONS, &session_form(&[]), None).await.id();
    let page = stripe.visit(&format!("/sandbox/pay/{session}")).await;
    let button = "<button name=\"how\" value=\"declined\">Try a declined card</button>";
    assert!(page.text.contains(button), "{}", page.text);
    let (action, fields) = form_with(&page.text, button);
    let typed = changed(&fields, &[("how", "declined"), ("name", "Ann Lee")]);
    let declined = stripe.submit(&action, &typed).await;
    assert_eq!(declined.status, 402);
    assert!(declined.text.contains("nothing was charged"));
    let open = stripe.session(&session).await;
    assert_eq!(
        (&open["status"], &open["payment_status"]),
        (&"open".into(), &"unpaid".into())
    );
    // The page that says so has the form again, with what was typed.
    let (action, fields) = form_with(&declined.text, button);
    let name = fields.iter().find(|(name, _)| name == "name");
    assert_eq!(name.map(|(_, value)| value.as_str()), Some("Ann Lee"));
    let paid = stripe
        .submit(&action, &changed(&fields, &[("how", "card")]))
        .await;
    assert_eq!(paid.status, 303);
    assert_eq!(stripe.session(&session).await["payment_status"], "paid");
}

#[tokio::test]
async fn the_dashboard_acts_on_payments() {
    let stripe = Stripe::start().await;
    let intent = stripe.pay_session().await;
    let press = async |button: &str, amount: &str| {
        let page = stripe.visit("/sandbox").await;
        let (action, fields) = form_with(&page.text, button);
        let fields = changed(&fields, &[("amount", amount)]);
        stripe.submit(&action, &fields).await
    };
    assert_eq!(press("Refund part", "8.50").await.status, 303);
    let refused = press("Refund part", "ten").await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("Enter an amount such as 10.00."));
    let page = stripe.visit("/sandbox").await.text;
    for text in [&intent, "partly refunded", "Refund $39.50", "Bead &#38; Co"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    for (button, event) in [
        ("Refund of $8.50 fails", "refund.failed"),
        ("Inquiry<", "charge.dispute.created"),
        ("Inquiry becomes", "charge.dispute.funds_withdrawn"),
        ("Dispute won", "charge.dispute.closed"),
        ("Fraud warning", "radar.early_fraud_warning.created"),
        ("Review<", "review.opened"),
        ("Approve the review", "review.closed"),
        ("Refund $48.00", "charge.refunded"),
    ] {
        assert_eq!(press(button, "").await.status, 303, "{button}");
        let events = stripe.event_types().await;
        assert!(events.iter().any(|kind| kind == event), "{event}");
    }
}
