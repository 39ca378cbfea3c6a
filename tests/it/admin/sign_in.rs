//! Access to the admin: who gets in, and the headers and form tokens of its pages.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;
use spirit_beads::admin::{self, Access};

use super::{Browser, OWNER, PASSWORD, STAFF, path_of, signed_in, staffed, staffed_with, token_on};
use crate::support::{Shop, form_of};

/// All that a route could change.
async fn state(shop: &Shop) -> Value {
    sqlx::query_scalar(
        "select jsonb_build_array(
             (select jsonb_agg(to_jsonb(u) order by id) from users u),
             (select jsonb_agg(to_jsonb(t) order by id) from api_tokens t),
             (select jsonb_agg(s.id order by id) from sessions s),
             (select count(*) from recovery_codes),
             (select count(*) from audit_log))",
    )
    .fetch_one(&shop.db)
    .await
    .expect("the state")
}

#[tokio::test]
async fn no_page_but_sign_in_opens_without_signing_in() {
    let shop = staffed().await;
    let before = state(&shop).await;
    let stranger = Browser::new(&shop);
    let mut open = BTreeSet::new();
    for route in admin::routes() {
        let path = path_of(&shop, &route).await;
        let answer = if route.method == Method::GET {
            stranger.get(&path).await
        } else {
            stranger
                .submit(
                    "/admin/sign-in",
                    &path,
                    &[("email", "x@y"), ("role", "owner")],
                )
                .await
        };
        let what = format!("{} {}: {}", route.method, route.path, answer.text);
        if route.access == Access::Anyone {
            open.insert(format!("{} {}", route.method, route.path));
            continue;
        }
        assert_eq!(answer.status, 303, "{what}");
        let to = answer.header("location");
        assert!(to.starts_with("/admin/sign-in"), "{to}: {what}");
        // A cookie that somebody made up is no session either.
        let form = (route.method == Method::POST).then_some("csrf=0123&email=x@y&role=owner");
        let headers = [
            ("cookie", "admin_session=0123"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", shop.address.as_str()),
        ];
        let invented = shop
            .client
            .send(
                route.method.clone(),
                &path,
                &headers,
                form.map(str::to_owned),
            )
            .await;
        assert_eq!(invented.status, 303, "{what}");
    }
    assert_eq!(
        open.iter().map(String::as_str).collect::<Vec<_>>(),
        [
            "GET /admin/assets/{name}",
            "GET /admin/sign-in",
            "POST /admin/sign-in",
            "POST /admin/sign-out",
        ]
    );
    assert_eq!(state(&shop).await, before);
}

#[tokio::test]
async fn staff_is_kept_out_of_the_owners_pages() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let before = state(&shop).await;
    for route in admin::routes() {
        if route.access != Access::Owner {
            continue;
        }
        let path = path_of(&shop, &route).await;
        let answer = if route.method == Method::GET {
            staff.get(&path).await
        } else {
            staff
                .submit(
                    "/admin/account",
                    &path,
                    &[("role", "owner"), ("email", "x@y")],
                )
                .await
        };
        assert_eq!(answer.status, 403, "{} {path}", route.method);
        assert!(
            answer.text.contains("This page is for owners.")
                || answer.text.contains("This page is for owners."),
            "{}",
            answer.text
        );
    }
    let page = staff.get("/admin").await.text;
    assert!(page.contains("/admin/orders") && !page.contains("/admin/users"));
    assert_eq!(state(&shop).await, before);
}

#[tokio::test]
async fn a_change_without_our_own_forms_token_changes_nothing() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let other = signed_in(&shop, STAFF).await;
    let stale = token_on(&owner.get("/admin/account").await.text);
    let foreign = token_on(&other.get("/admin/account").await.text);
    let visitors = token_on(&Browser::new(&shop).get("/admin/sign-in").await.text);
    // Signing in again is another session, and its forms have another token.
    let again = owner
        .submit(
            "/admin/account",
            "/admin/sign-in",
            &[("email", OWNER), ("password", PASSWORD)],
        )
        .await;
    assert_eq!(again.status, 303, "{}", again.text);
    let good = token_on(&owner.get("/admin/account").await.text);
    let before = state(&shop).await;
    for route in admin::routes() {
        if route.method == Method::GET {
            continue;
        }
        let path = path_of(&shop, &route).await;
        let fields = [
            ("email", "new@example.com"),
            ("role", "staff"),
            ("name", "x"),
            ("scope", "stock"),
        ];
        for token in ["", "junk", &stale, &foreign, &visitors, &format!("{good}0")] {
            let answer = owner.send(&path, token, &fields, &[]).await;
            let shut =
                answer.status == 403 || answer.status == 303 && route.access == Access::MfaPending;
            assert!(shut, "{path} {token}: {} {}", answer.status, answer.text);
        }
        for headers in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("origin", ""), ("sec-fetch-site", "")],
        ] {
            let answer = owner.send(&path, &good, &fields, headers).await;
            assert_eq!(answer.status, 403, "{path} {headers:?}");
        }
    }
    assert_eq!(state(&shop).await, before);
    // An upload has it as its first field: this one comes as far as to lack a name.
    let upload = async |first: &str| {
        let body = format!(
            "--x\r\nContent-Disposition: form-data; name=\"{first}\"\r\n\r\n{good}\r\n--x--\r\n"
        );
        let headers = [
            ("content-type", "multipart/form-data; boundary=x"),
            ("origin", owner.origin.as_str()),
        ];
        let sent = owner
            .client
            .send(Method::POST, "/admin/tokens", &headers, Some(body));
        sent.await.status
    };
    assert_eq!((upload("csrf").await, upload("other").await), (400, 403));
    // The same token in the header, as htmx sends it, is as good as in a form.
    let answer = owner
        .send(
            "/admin/tokens",
            "",
            &[
                ("name", "x"),
                ("scope", "stock"),
                ("your_password", PASSWORD),
            ],
            &[("x-csrf-token", &good)],
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn pages_are_not_drawn_into_other_sites() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let get = async |headers: &[(&str, &str)]| {
        owner
            .client
            .send(Method::GET, "/admin/orders", headers, None::<String>)
            .await
    };
    let linked = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    assert_eq!(get(&linked).await.status, 200);
    let script = [
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-mode", "cors"),
        ("origin", "http://localhost:8080"),
    ];
    let answer = get(&script).await;
    assert_eq!(answer.status, 403);
    // The storefront, which may call the API with credentials, may not read the admin.
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let asked = owner
        .client
        .send(
            Method::OPTIONS,
            "/admin/users",
            &[
                ("origin", "http://localhost:8080"),
                ("access-control-request-method", "POST"),
            ],
            None::<String>,
        )
        .await;
    assert_eq!(
        (asked.status, asked.header("access-control-allow-origin")),
        (405, "")
    );
}

#[tokio::test]
async fn every_page_has_its_headers_and_nothing_inline() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let scanning = [
        "/admin/orders/ship",
        "/admin/orders/{id}",
        "/admin/custom-orders/{id}",
    ];
    let mut pages = vec![
        ("/admin/nothing".to_owned(), false),
        ("/admin/sign-in".to_owned(), false),
    ];
    for route in admin::routes()
        .iter()
        .filter(|route| route.method == Method::GET)
    {
        pages.push((path_of(&shop, route).await, scanning.contains(&route.path)));
    }
    let stranger = Browser::new(&shop);
    for (path, scans) in pages {
        for browser in [&owner, &stranger] {
            let answer = browser.get(&path).await;
            let policy = answer.header("content-security-policy");
            assert!(
                policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
                "{path}: {policy}"
            );
            assert!(
                policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
                "{path}"
            );
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "same-origin"),
                ("cross-origin-opener-policy", "same-origin"),
                ("cross-origin-resource-policy", "same-origin"),
                ("strict-transport-security", ""),
            ] {
                assert_eq!(answer.header(name), value, "{path} {name}");
            }
            let camera = match scans && answer.status == 200 {
                true => "camera=(self), ",
                false => "camera=(), ",
            };
            let features = answer.header("permissions-policy");
            assert!(features.starts_with(camera), "{path}: {features}");
            if path.contains("/assets/") {
                assert_eq!(
                    answer.header("cache-control"),
                    "public, max-age=31536000, immutable"
                );
                continue;
            }
            assert_eq!(answer.header("cache-control"), "no-store", "{path}");
            assert_eq!(answer.header("content-encoding"), "", "{path}");
            let page = answer.text.to_lowercase();
            for inline in [
                "<style",
                " style=",
                "onclick=",
                "onload=",
                "javascript:",
                "<script>",
                "://fonts",
            ] {
                assert!(!page.contains(inline), "{path}: {inline}");
            }
            for cookie in answer.headers.get_all("set-cookie") {
                let cookie = cookie.to_str().expect("text");
                assert!(
                    cookie.contains("; HttpOnly; SameSite=Lax") && cookie.contains("Path=/;"),
                    "{cookie}"
                );
            }
        }
    }
    let missing = owner.get("/admin/assets/admin.0000000000000000.css").await;
    assert_eq!(
        (missing.status, missing.header("cache-control")),
        (404, "no-store")
    );
    let wrong = owner
        .client
        .send(Method::DELETE, "/admin/users", &[], None::<String>)
        .await;
    assert_eq!(wrong.status, 405);
    assert!(wrong.text.contains("<h1>"), "{}", wrong.text);
}

#[tokio::test]
async fn over_https_cookies_are_this_hosts_alone() {
    let shop = staffed_with(&[("PUBLIC_URL", "https://shop.example")]).await;
    let browser = Browser {
        client: shop.shopper(),
        origin: "https://shop.example".to_owned(),
    };
    let answer = browser.sign_in(OWNER, PASSWORD).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert!(browser.cookie("__Host-admin_session").is_some());
    let cookies = answer.headers.get_all("set-cookie");
    for cookie in cookies {
        let cookie = cookie.to_str().expect("text");
        assert!(
            cookie.starts_with("__Host-") && cookie.contains("; Secure"),
            "{cookie}"
        );
    }
    let page = browser.get("/admin").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("strict-transport-security"), "max-age=31536000");
}

#[tokio::test]
async fn after_signing_in_the_page_that_was_asked_for_opens() {
    let shop = staffed().await;
    let browser = Browser::new(&shop);
    let answer = browser.get("/admin/orders?tab=all").await;
    let route = answer.header("location").to_owned();
    assert_eq!(route, "/admin/sign-in?next=%2Fadmin%2Forders%3Ftab%3Dall");
    let (action, mut fields) = form_of(&browser.get(&route).await.text);
    for (name, value) in &mut fields {
        match name.as_str() {
            "email" => *value = OWNER.to_owned(),
            "password" => *value = PASSWORD.to_owned(),
            _ => {}
        }
    }
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    let token = fields
        .iter()
        .find(|(name, _)| *name == "csrf")
        .expect("a token")
        .1;
    let answer = browser.send(&action, token, &fields, &[]).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/admin/orders?tab=all")
    );
    // Over htmx the whole page goes there, not a part of it.
    let part = shop
        .client
        .send(
            Method::GET,
            "/admin/orders",
            &[("hx-request", "true")],
            None::<String>,
        )
        .await;
    assert_eq!(
        (part.status, part.header("hx-redirect")),
        (401, "/admin/sign-in?next=%2Fadmin%2Forders")
    );
}

#[tokio::test]
async fn the_owner_is_told_where_nobody_names_the_country() {
    for (proxies, is_told) in [(",", true), ("", true), ("127.0.0.0/8", false)] {
        let shop = staffed_with(&[("TRUSTED_PROXIES", proxies)]).await;
        let owner = signed_in(&shop, OWNER).await;
        let page = owner.get("/admin/system").await.text;
        assert_eq!(page.contains("default zone"), is_told, "{proxies}");
    }
}

#[tokio::test]
async fn the_owner_is_told_where_the_trusted_proxies_name_no_country() {
    for (proxies, is_told) in [("192.0.2.1", true), ("127.0.0.0/8", false)] {
        let shop = staffed_with(&[("TRUSTED_PROXIES", proxies)]).await;
        let owner = signed_in(&shop, OWNER).await;
        let piece = shop.stocks("Sunrise", 3).await;
        let is_warned = async || {
            let page = owner.get("/admin/system").await.text;
            page.contains("default zone") && page.contains("TRUSTED_PROXIES")
        };
        assert!(!is_warned().await, "nobody has checked out");
        let headers = [("cf-ipcountry", "DE")];
        let answer = shop.client.check_out_with(&[(&piece, 1)], &headers).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(is_warned().await, is_told, "{proxies}");
    }
}
