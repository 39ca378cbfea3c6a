//! The customer's page in a browser: what it tells, and what a damaged link leads to.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Workshop, text};
use crate::support::images::{Part, jpeg};
use crate::support::{Answer, Client};

/// The `Accept` header of a browser.
const BROWSER: [(&str, &str); 1] = [(
    "accept",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
)];

async fn opens(client: &Client, path: &str) -> Answer {
    client
        .send(Method::GET, path, &BROWSER, None::<String>)
        .await
}

#[tokio::test]
async fn the_page_shows_what_was_asked_for_and_ways_to_answer() {
    let workshop = Workshop::open().await;
    let shop = &workshop.shop;
    let image = jpeg(60, 40);
    let asked = [
        Part::text("name", "Cy Young"),
        Part::text("email", "cy@example.com"),
        Part::text("description", "A raven <b>in flight</b>, please."),
        Part::text("colors", "Black & silver"),
        Part::file("images", &image),
    ];
    let asked = shop.client.send_form("/api/custom-orders/", &asked).await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    let address = shop.status_page(&text(&asked.json["request_id"]));

    let view = shop.client.get(&address).await.json;
    let request = &view["request"];
    assert_eq!(request["description"], "A raven <b>in flight</b>, please.");
    assert_eq!(request["colors"], "Black & silver");
    let image = text(&request["images"][0]["url"]);
    assert_eq!(view["rejection_reason"], Value::Null);

    let page = opens(&shop.client, &address).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let shop_link = format!("href=\"{}\"", shop.app.config.server.frontend_url);
    for told in [
        "A raven &#60;b&#62;in flight&#60;/b&#62;, please.",
        "Colors: Black &#38; silver",
        &format!("<img src=\"{image}\""),
        "href=\"mailto:shop@localhost?subject=Custom%20order%20CO-1002\"",
        &shop_link,
    ] {
        assert!(page.text.contains(told), "{told}: {}", page.text);
    }
    assert!(!page.text.contains("<h2>Why</h2>"), "{}", page.text);
    for secret in ["cy@example.com", "Cy Young"] {
        assert!(!page.text.contains(secret), "{secret} is told");
    }
    shop.run_jobs().await;
}

#[tokio::test]
async fn the_page_tells_why_a_request_was_rejected() {
    let workshop = Workshop::open().await;
    let reason = json!({"reason": "The beads are not made any more."});
    let rejected = workshop.post_with("reject", &reason).await;
    assert_eq!(rejected.status, 200, "{}", rejected.text);
    let shop = &workshop.shop;
    let address = shop.status_page(&workshop.id);
    let view = shop.client.get(&address).await.json;
    assert_eq!(view["rejection_reason"], reason["reason"]);
    let page = opens(&shop.client, &address).await;
    assert!(
        page.text.contains("The beads are not made any more."),
        "{}",
        page.text
    );
    shop.run_jobs().await;
}

#[tokio::test]
async fn a_damaged_link_is_a_page_for_people_and_json_for_programs() {
    let workshop = Workshop::open().await;
    let shop = &workshop.shop;
    let address = shop.status_page(&workshop.id);
    let (path, token) = address.split_once("/status/?token=").expect("a token");
    let nobody = "/api/custom-orders/01890a5d-ac96-774b-bcce-b302099a8057";
    let cut = &address[..address.len() - 5];
    let damaged = [
        cut.to_owned(),
        format!("{address}%3E"),
        format!("{path}/status/?tok"),
        format!("{path}/status/"),
        format!("{path}/status"),
        format!("{path}/sta"),
        format!("{path}/"),
        path[..path.len() - 4].to_owned(),
        format!("{nobody}/status/?token={token}"),
        format!("/api/custom-orders/%ff/status/?token={token}"),
    ];
    let mut pages = Vec::new();
    for link in &damaged {
        let page = opens(&shop.client, link).await;
        assert_eq!(page.status, 404, "{link}");
        assert!(
            page.header("content-type").starts_with("text/html"),
            "{link}"
        );
        assert_eq!(page.header("cache-control"), "no-store", "{link}");
        assert_eq!(page.header("referrer-policy"), "no-referrer", "{link}");
        pages.push(page.text);
        let json = shop.client.get(link).await;
        assert_eq!(
            (json.status, &json.json["code"]),
            (404, &json!("not_found")),
            "{link}"
        );
    }
    assert!(pages.windows(2).all(|two| two[0] == two[1]), "{pages:#?}");
    let shop_link = format!("href=\"{}\"", shop.app.config.server.frontend_url);
    for told in [
        "This link does not work",
        "Find the email about your custom order",
        "href=\"mailto:shop@localhost?subject=The%20link",
        &shop_link,
    ] {
        assert!(pages[0].contains(told), "{told}: {}", pages[0]);
    }
    // Nothing but reading has a page.
    let posted = shop
        .client
        .send(Method::POST, &format!("{path}/x"), &BROWSER, None::<String>)
        .await;
    assert_eq!(posted.status, 404);
    assert_eq!(posted.json["code"], "not_found");
    shop.run_jobs().await;
}
