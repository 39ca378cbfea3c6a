//! Typed text is kept: over the end of a session, over a refusal, and when somebody is about to leave.

use serde_json::json;
use spirit_beads::auth::Scope;
use thirtyfour::prelude::*;

use super::{Driver, LAPTOP, PHONE, Window};
use crate::admin::{OWNER, PASSWORD, STAFF, set_up_second_factor, signed_in, staffed};
use crate::support::images::jpeg;
use crate::support::{Shop, card, session_of};

const KEPT: &str = "What you typed is filled in again. It is not saved yet.";

/// Ends all sessions, as time does.
async fn ends_sessions(shop: &Shop) {
    sqlx::query("update sessions set last_seen_at = now() - interval '13 hours'")
        .execute(&shop.db)
        .await
        .expect("time passes");
}

/// Signs in on the sign-in page that is open.
async fn gives_password(window: &Window, email: &str) {
    window.fills("Email", email).await;
    window.fills("Password", PASSWORD).await;
    window.clicks("Sign in").await;
}

/// Reports whether the browser would ask before it leaves this page.
async fn asks_before_leaving(window: &Window) -> bool {
    let asked = window
        .asks(
            "const event = new Event('beforeunload', { cancelable: true });
             window.dispatchEvent(event);
             return event.defaultPrevented;",
        )
        .await;
    asked.as_bool().expect("yes or no")
}

async fn drafts(window: &Window) -> String {
    let kept = window
        .asks("return sessionStorage.getItem('drafts') ?? '';")
        .await;
    kept.as_str().expect("text").to_owned()
}

#[tokio::test]
async fn what_was_typed_outlives_the_session() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    let id = shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    let path = format!("/admin/products/{id}");
    let ben = driver.opens(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    ben.goes_to(&path).await;
    ben.fills("Name", "Sundown").await;
    ben.fills("Description", "Typed for half an hour\non a telephone")
        .await;
    ben.chooses("Size", "Mini BIC").await;
    ends_sessions(&shop).await;
    ben.clicks("Save").await;
    ben.sees("You were signed out").await;
    ben.sees("What you typed is kept in this window").await;
    ben.shot("sign-in-session-over-360-light").await;
    // A wrong password loses nothing.
    ben.fills("Email", STAFF).await;
    ben.fills("Password", "wrong").await;
    ben.clicks("Sign in").await;
    ben.sees("The email address or the password is wrong.")
        .await;
    assert!(!drafts(&ben).await.contains("wrong"));
    gives_password(&ben, STAFF).await;
    ben.sees(KEPT).await;
    assert_eq!(ben.path().await, path);
    assert_eq!(ben.value("Name").await, "Sundown");
    let typed = ben.value("Description").await;
    assert_eq!(typed, "Typed for half an hour\non a telephone");
    assert_eq!(ben.value("Size").await, "2");
    assert!(asks_before_leaving(&ben).await);
    ben.shot("product-kept-360-light").await;
    ben.clicks("Save").await;
    ben.sees("Sundown is saved.").await;
    assert!(!ben.shows(KEPT).await);
    assert_eq!(drafts(&ben).await, "");
    let saved = shop.client.get(&format!("/api/products/{id}/")).await.json;
    assert_eq!(saved["description"], typed);

    // The same without sending the form: a link is tapped after the end of the session.
    ben.fills("Description", "Second thoughts").await;
    ends_sessions(&shop).await;
    ben.goes_to("/admin/orders").await;
    ben.sees("What you typed is kept in this window").await;
    gives_password(&ben, STAFF).await;
    ben.sees("Orders").await;
    ben.goes_to(&path).await;
    ben.sees(KEPT).await;
    assert_eq!(ben.value("Description").await, "Second thoughts");

    // What is left on purpose is gone.
    ben.goes_to("/admin/orders").await;
    assert_eq!(drafts(&ben).await, "");
    shop.run_jobs().await;
}

#[tokio::test]
async fn what_was_typed_outlives_a_second_factor_and_nobody_else_sees_it() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let (_, _, codes) = set_up_second_factor(&shop, &owner).await;
    let ann = driver.opens(&shop, LAPTOP).await;
    let passes = async |code: &str| {
        gives_password(&ann, OWNER).await;
        ann.fills("Code", code).await;
        ann.clicks("Continue").await;
    };
    ann.goes_to("/admin/new-product").await;
    passes(&codes[0]).await;
    ann.fills("Name", "Élan Vital").await;
    ann.fills("Price", "47.50").await;
    ann.fills("Weight", "1.5").await;
    ends_sessions(&shop).await;
    ann.clicks("Save as draft").await;
    ann.sees("You were signed out").await;
    // Somebody else at the same browser.
    gives_password(&ann, STAFF).await;
    ann.sees("What it is").await;
    assert_eq!(ann.value("Name").await, "");
    assert_eq!(drafts(&ann).await, "");
    assert!(!ann.shows(KEPT).await);

    ann.clicks("Sign out").await;
    ann.sees("You are signed out.").await;
    ann.goes_to("/admin/new-product").await;
    passes(&codes[1]).await;
    ann.fills("Name", "Élan Vital").await;
    ends_sessions(&shop).await;
    ann.fills("Price", "47.50").await;
    ann.fills("Weight", "1.5").await;
    ann.clicks("Save as draft").await;
    ann.sees("You were signed out").await;
    gives_password(&ann, OWNER).await;
    ann.sees("What you typed is kept in this window").await;
    ann.fills("Code", &codes[2]).await;
    ann.clicks("Continue").await;
    ann.sees(KEPT).await;
    assert_eq!(ann.value("Name").await, "Élan Vital");
    assert_eq!(ann.value("Price").await, "47.50");

    // Whoever signs out leaves nothing.
    ann.clicks("Sign out").await;
    ann.sees("You are signed out.").await;
    assert_eq!(drafts(&ann).await, "");
    assert!(!ann.shows("What you typed is kept").await);
}

#[tokio::test]
async fn an_upload_after_the_end_of_the_session_says_to_sign_in() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("raven.jpg");
    std::fs::write(&file, jpeg(500, 400)).expect("a file");
    let ben = driver.opens(&shop, LAPTOP).await;
    ben.signs_in(STAFF).await;
    ben.goes_to("/admin/products/sunrise").await;
    ends_sessions(&shop).await;
    ben.drops("[data-images]", &[file.as_path()]).await;
    ben.sees("You were signed out.").await;
    assert!(!ben.shows("online").await);
    ben.clicks("Sign in again to upload").await;
    ben.sees("You were signed out, after a while").await;
    gives_password(&ben, STAFF).await;
    ben.finds("the images", By::Css("[data-images]")).await;
    assert_eq!(ben.path().await, "/admin/products/sunrise");
    ben.drops("[data-images]", &[file.as_path()]).await;
    ben.sees("The image is added.").await;

    // Files that the server does not wait for: it has answered, and closes the connection.
    let mut large = jpeg(500, 400);
    large.resize(60 << 20, 0);
    std::fs::write(&file, large).expect("a file");
    ends_sessions(&shop).await;
    ben.drops("[data-images]", &[file.as_path()]).await;
    ben.control("Sign in again to upload").await;
    assert!(!ben.shows("online").await);
    ben.clicks("Sign in again to upload").await;
    gives_password(&ben, STAFF).await;
    ben.finds("the images", By::Css("[data-images]")).await;
    ben.drops("[data-images]", &[file.as_path()]).await;
    ben.sees("raven.jpg: This file is larger than").await;

    // A part of a page that htmx asks for: the whole page goes to sign-in, and leads back to the list.
    ben.goes_to("/admin/products?show=all").await;
    ends_sessions(&shop).await;
    ben.fills("Search", "sun").await;
    ben.sees("You were signed out").await;
    gives_password(&ben, STAFF).await;
    ben.finds("the products", By::Css("#found")).await;
    assert!(ben.path().await.starts_with("/admin/products?show=all"));
}

#[tokio::test]
async fn a_refusal_leads_back_to_the_page_with_what_was_typed() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    let ben = driver.opens(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    ben.goes_to("/admin/categories").await;
    let field = By::Css("form[action='/admin/categories'] input[name=name]");
    let name = ben.finds("the name", field.clone()).await;
    name.send_keys("Winter").await.expect("keys");
    // Signed out and in again in another tab.
    let tab = ben.driver.window().await.expect("this tab");
    let other = ben.driver.new_tab().await.expect("another tab");
    ben.driver.switch_to_window(other).await.expect("there");
    ben.goes_to("/admin").await;
    ben.clicks("Menu").await;
    ben.clicks("Sign out").await;
    ben.sees("You are signed out.").await;
    gives_password(&ben, STAFF).await;
    ben.sees("To do").await;
    ben.driver.switch_to_window(tab).await.expect("back");

    ben.clicks_at("form[action='/admin/categories'] button")
        .await;
    ben.sees("Somebody signed in or out in this browser").await;
    ben.sees("What you typed is kept in this window").await;
    ben.shot("refused-way-back-360-light").await;
    ben.clicks("Back to the categories").await;
    ben.sees(KEPT).await;
    let name = ben.finds("the name", field).await;
    let typed = name.prop("value").await.expect("a value");
    assert_eq!(typed.as_deref(), Some("Winter"));
    ben.clicks_at("form[action='/admin/categories'] button")
        .await;
    ben.waits_for("the category", async || {
        let shown = ben.driver.find(By::Css("main")).await.ok()?;
        let html = shown.inner_html().await.ok()?;
        html.contains("value=\"Winter\"").then_some(())
    })
    .await;
    assert!(!ben.shows(KEPT).await);
}

#[tokio::test]
async fn what_was_typed_is_shown_where_its_form_is_gone() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    let piece = shop.stocks("Sunrise", 2).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    let ben = driver.opens(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    ben.goes_to("/admin/orders/SB-1001").await;
    ben.picks("USPS").await;
    ben.fills("Tracking number", "9400 1000").await;
    // Somebody else is faster.
    let admin = shop.admin(&Scope::ALL).await;
    let shipment = json!({"carrier": "UPS", "tracking_number": "1Z 999"});
    let shipped = admin
        .post("/api/admin/orders/SB-1001/ship/", &shipment)
        .await;
    assert_eq!(shipped.status, 200, "{}", shipped.text);
    ben.clicks("Mark shipped").await;
    ben.clicks("Back to order SB-1001").await;
    ben.sees("What you typed is not saved, and its form is not here any more.")
        .await;
    ben.sees("Tracking number: 9400 1000").await;
    assert_eq!(drafts(&ben).await, "");
    shop.run_jobs().await;
}

#[tokio::test]
async fn unsaved_text_asks_before_it_is_left_and_a_search_does_not() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    shop.stocks("Sunrise", 1).await;
    shop.run_jobs().await;
    let ben = driver.opens(&shop, LAPTOP).await;
    ben.signs_in(STAFF).await;
    ben.goes_to("/admin/products").await;
    ben.fills("Search", "sun").await;
    ben.clicks_at("#found input[name=id]").await;
    assert!(!asks_before_leaving(&ben).await);
    ben.goes_to("/admin/products/sunrise").await;
    assert!(!asks_before_leaving(&ben).await);
    ben.fills("Description", "Red & gold").await;
    assert!(asks_before_leaving(&ben).await);
    // Typed back to what it was.
    ben.fills("Description", "").await;
    assert!(!asks_before_leaving(&ben).await);

    // The form beside the one that is sent keeps its text, and nobody is asked.
    ben.fills("Description", "Red & gold").await;
    ben.fills("Pieces", "3").await;
    ben.clicks("Record it").await;
    ben.waits_for("the stock", async || {
        let found = ben.driver.find(By::Css(".ledger li:nth-child(2)")).await;
        found.is_ok().then_some(())
    })
    .await;
    assert_eq!(ben.value("Description").await, "Red & gold");
    assert!(!ben.shows(KEPT).await);
    assert!(asks_before_leaving(&ben).await);
    ben.clicks("Save").await;
    ben.sees("Sunrise is saved.").await;
    assert!(!asks_before_leaving(&ben).await);
    shop.run_jobs().await;
}
