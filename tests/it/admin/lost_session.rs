//! A form whose session is over, and the way back to the page that it was sent from.

use reqwest::Method;
use spirit_beads::admin;

use super::{
    Browser, OWNER, PASSWORD, STAFF, code, path_of, set_up_second_factor, signed_in, staffed,
    token_on,
};
use crate::support::forms::Form;
use crate::support::{Answer, Shop, card, session_of};

const TOLD: &str = "You were signed out, after a while without use";

/// Sends a form as it was rendered, from a page at this address.
async fn sends(browser: &Browser, path: &str, token: &str, page: &str) -> Answer {
    let referer = match page.starts_with('/') {
        true => format!("{}{page}", browser.origin),
        false => page.to_owned(),
    };
    let headers = [("referer", referer.as_str())];
    browser.send(path, token, &[("note", "x")], &headers).await
}

/// Signs in on the page that somebody was led to.
async fn signs_in_at(browser: &Browser, at: &str) -> Answer {
    let page = browser.get(at).await.text;
    let form = Form::to(&page, "/admin/sign-in").with(&[("email", OWNER), ("password", PASSWORD)]);
    form.send(&browser.client).await
}

async fn ends_sessions(shop: &Shop) {
    sqlx::query("update sessions set last_seen_at = now() - interval '13 hours'")
        .execute(&shop.db)
        .await
        .expect("time passes");
}

#[tokio::test]
async fn a_form_whose_session_is_over_leads_to_sign_in_and_back_to_its_page() {
    let shop = staffed().await;
    let page = "/admin/orders?tab=all&search=cy";
    let back = "/admin/sign-in?next=%2Fadmin%2Forders%3Ftab%3Dall%26search%3Dcy&why=session-over";
    let owner = signed_in(&shop, OWNER).await;
    let token = token_on(&owner.get("/admin").await.text);
    ends_sessions(&shop).await;
    let answer = sends(&owner, "/admin/orders/SB-1001/note", &token, page).await;
    assert_eq!((answer.status, answer.header("location")), (303, back));
    let shown = owner.get(back).await.text;
    assert!(shown.contains(TOLD), "{shown}");
    let answer = signs_in_at(&owner, back).await;
    assert_eq!((answer.status, answer.header("location")), (303, page));

    // Signed out in another tab: the cookie is gone as well.
    let token = token_on(&owner.get("/admin").await.text);
    owner.send("/admin/sign-out", &token, &[], &[]).await;
    assert_eq!(owner.cookie("admin_session"), None);
    let answer = sends(&owner, "/admin/orders/SB-1001/note", &token, page).await;
    assert_eq!((answer.status, answer.header("location")), (303, back));

    // A browser that does not say where it was is led to the page of the form.
    let note = "/admin/orders/SB-1001/note";
    let answer = owner.send(note, &token, &[("note", "x")], &[]).await;
    let to = "/admin/sign-in?next=%2Fadmin%2Forders%2FSB-1001%2Fnote&why=session-over";
    assert_eq!((answer.status, answer.header("location")), (303, to));
    assert_eq!(signs_in_at(&owner, to).await.header("location"), note);
    let answer = owner.get(note).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/admin/orders/SB-1001")
    );

    // Somebody who opens a page for the first time lost no session.
    let stranger = Browser::new(&shop);
    let to = stranger.get("/admin/orders").await;
    assert_eq!(
        to.header("location"),
        "/admin/sign-in?next=%2Fadmin%2Forders"
    );
    let shown = stranger.get(to.header("location")).await.text;
    assert!(!shown.contains(TOLD), "{shown}");
}

#[tokio::test]
async fn the_second_factor_leads_back_as_well() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let (secret, ..) = set_up_second_factor(&shop, &owner).await;
    let token = token_on(&owner.get("/admin").await.text);
    ends_sessions(&shop).await;
    let page = "/admin/products?show=all";
    let answer = sends(&owner, "/admin/products/sunrise", &token, page).await;
    let answer = signs_in_at(&owner, answer.header("location")).await;
    let halfway = "/admin/second-factor?next=%2Fadmin%2Fproducts%3Fshow%3Dall";
    assert_eq!((answer.status, answer.header("location")), (303, halfway));

    // Nothing is forgotten by whoever needs too long for the code, or opens another page.
    let answer = owner.get("/admin/orders").await;
    assert_eq!(
        answer.header("location"),
        "/admin/second-factor?next=%2Fadmin%2Forders"
    );
    let form = Form::to(&owner.get(halfway).await.text, "/admin/second-factor");
    sqlx::query("update sessions set created_at = now() - interval '11 minutes'")
        .execute(&shop.db)
        .await
        .expect("time passes");
    let token = form.get("csrf");
    let answer = sends(&owner, "/admin/second-factor", token, halfway).await;
    let again = "/admin/sign-in?next=%2Fadmin%2Fproducts%3Fshow%3Dall&why=session-over";
    assert_eq!((answer.status, answer.header("location")), (303, again));
    let answer = signs_in_at(&owner, again).await;
    let shown = owner.get(answer.header("location")).await.text;
    let code = code(&shop, &secret, 1).await;
    let form = Form::to(&shown, "/admin/second-factor").with(&[("code", &code)]);
    let answer = form.send(&owner.client).await;
    assert_eq!((answer.status, answer.header("location")), (303, page));
}

#[tokio::test]
async fn the_way_back_leads_to_no_other_site_and_out_of_no_admin() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let token = token_on(&owner.get("/admin").await.text);
    ends_sessions(&shop).await;
    let own = "/admin/sign-in?next=%2Fadmin%2Forders%2FSB-1001%2Fnote&why=session-over";
    for page in [
        "https://evil.example/sign-in",
        "/api/orders",
        "/",
        "/adminevil",
        "/admin/../api",
        "/admin/%2e%2e/api",
        "javascript:alert(1)",
        "not a URL",
        "/admin/sign-in?next=https://evil.example",
        "/admin/sign-out",
    ] {
        let answer = sends(&owner, "/admin/orders/SB-1001/note", &token, page).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, own),
            "{page}"
        );
    }
    for next in [
        "https://evil.example/admin",
        "//evil.example/admin",
        "/admin/../../evil",
        "/admin/%2E%2e/evil",
        "/\\evil.example",
        "/admin/sign-in?next=//evil.example",
    ] {
        let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let stranger = Browser::new(&shop);
        let at = format!("/admin/sign-in?next={next}");
        let answer = signs_in_at(&stranger, &at).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/admin"),
            "{next}"
        );
        let answer = stranger.get(&at).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/admin"),
            "{next}"
        );
    }
    // htmx names the page that it runs on, which is not the part that it asks for.
    for (page, next) in [
        ("/admin/orders?tab=all", "%2Fadmin%2Forders%3Ftab%3Dall"),
        ("https://evil.example/", "%2Fadmin%2Fproducts"),
    ] {
        let page = match page.starts_with('/') {
            true => format!("{}{page}", shop.address),
            false => page.to_owned(),
        };
        let headers = [("hx-request", "true"), ("hx-current-url", page.as_str())];
        let answer = owner
            .client
            .send(Method::GET, "/admin/products", &headers, None::<String>)
            .await;
        let to = format!("/admin/sign-in?next={next}&why=session-over");
        assert_eq!(
            (answer.status, answer.header("hx-redirect")),
            (401, to.as_str())
        );
    }
}

#[tokio::test]
async fn a_form_of_an_earlier_session_says_why_and_leads_back_to_its_page() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let stale = token_on(&owner.get("/admin").await.text);
    owner.send("/admin/sign-out", &stale, &[], &[]).await;
    assert_eq!(owner.sign_in(OWNER, PASSWORD).await.status, 303);
    let answer = sends(&owner, "/admin/categories/1", &stale, "/admin/categories").await;
    assert_eq!(answer.status, 403);
    for told in [
        "Somebody signed in or out in this browser",
        "href=\"/admin/categories\">Back to the categories</a>",
        " data-failed>",
    ] {
        assert!(answer.text.contains(told), "{told}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_conflict_leads_back_to_its_order() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    let token = token_on(&owner.get("/admin").await.text);
    let (order, deliver) = ("/admin/orders/SB-1001", "/admin/orders/SB-1001/deliver");
    // From its page, and by a browser that does not say from where.
    for (answer, back) in [
        (sends(&owner, deliver, &token, order).await, order),
        (owner.send(deliver, &token, &[], &[]).await, deliver),
    ] {
        assert_eq!(answer.status, 409, "{}", answer.text);
        let link = format!("href=\"{back}\">Back to order SB-1001</a>");
        assert!(answer.text.contains(&link), "{}", answer.text);
    }
    // A page that is not there leads nowhere back.
    let missing = owner.get("/admin/orders/SB-9999").await;
    assert_eq!(missing.status, 404);
    assert!(!missing.text.contains("Back to order"), "{}", missing.text);
}

#[tokio::test]
async fn a_page_names_its_user_after_the_last_step_of_sign_in_alone() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let staff = signed_in(&shop, STAFF).await;
    let named = |page: &str| {
        let (_, rest) = page.split_once("data-user=\"").expect("a user or nobody");
        rest.split('"').next().expect("its end").to_owned()
    };
    let (ann, ben) = (
        named(&owner.get("/admin").await.text),
        named(&staff.get("/admin").await.text),
    );
    assert!(!ann.is_empty() && !ben.is_empty() && ann != ben);
    assert_eq!(
        named(&Browser::new(&shop).get("/admin/sign-in").await.text),
        ""
    );
    set_up_second_factor(&shop, &owner).await;
    let halfway = Browser::new(&shop);
    halfway.sign_in(OWNER, PASSWORD).await;
    assert_eq!(named(&halfway.get("/admin/second-factor").await.text), "");
}

#[tokio::test]
async fn the_address_of_every_form_opens_a_page() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let (stranger, staff) = (Browser::new(&shop), signed_in(&shop, STAFF).await);
    let routes = admin::routes();
    let pages: Vec<&str> = routes
        .iter()
        .filter(|route| route.method == Method::GET)
        .map(|route| route.path)
        .collect();
    for route in routes.iter().filter(|route| route.method == Method::POST) {
        let path = path_of(&shop, route).await;
        let answer = owner.get(&path).await;
        assert_ne!(answer.status, 405, "{path}");
        if pages.contains(&route.path) || route.path == "/admin/refunds/{id}/retry" {
            continue;
        }
        let to = answer.header("location");
        assert_eq!(answer.status, 303, "{path}");
        assert!(
            path.starts_with(to) && to.starts_with("/admin"),
            "{path}: {to}"
        );
        let is_page = pages.iter().any(|page| {
            page.split('/').count() == to.split('/').count()
                && page
                    .split('/')
                    .zip(to.split('/'))
                    .all(|(part, given)| part.starts_with('{') || part == given)
        });
        assert!(is_page, "{path}: {to}");
        assert_eq!(staff.get(&path).await.header("location"), to);
        let answer = stranger.get(&path).await;
        assert!(
            answer.header("location").starts_with("/admin/sign-in"),
            "{path}"
        );
    }
}
