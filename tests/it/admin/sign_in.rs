//! The owner's admin: who gets in, what everybody else is told, and that each change is asked for by our own pages and
//! written down.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha1::Sha1;
use spirit_beads::admin::{self, Access, AdminRoute};
use spirit_beads::audit::Actor;
use spirit_beads::auth::{self, Role};
use spirit_beads::config::Secret;
use uuid::Uuid;

use crate::support::forms::Form;
use crate::support::images::{self, Part};
use crate::support::{Answer, Client, Shop, at_once, form_of};

pub const OWNER: &str = "ann@example.com";
pub const STAFF: &str = "ben@example.com";
pub const PASSWORD: &str = "correct horse battery";

/// Somebody with a browser that is open in the admin.
#[derive(Clone)]
pub struct Browser {
    pub client: Client,
    pub origin: String,
}

impl Browser {
    pub fn new(shop: &Shop) -> Browser {
        Browser {
            client: shop.shopper(),
            origin: shop.address.clone(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.client.get(path).await
    }

    /// Sends a form as our pages do: with the token of the page it stands on.
    pub async fn submit(&self, on: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = token_on(&self.get(on).await.text);
        let mut fields = fields.to_vec();
        // What an owner is asked for before what would outlive their session.
        if ["/admin/users", "/admin/tokens"]
            .iter()
            .any(|item| path.starts_with(item))
        {
            fields.push(("your_password", PASSWORD));
        }
        self.send(path, &token, &fields, &[]).await
    }

    async fn send(
        &self,
        path: &str,
        token: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut all = vec![
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", self.origin.as_str()),
            ("sec-fetch-site", "same-origin"),
        ];
        // Theirs replace ours.
        all.retain(|(name, _)| headers.iter().all(|(other, _)| other != name));
        all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("csrf", token)
            .append_pair("once", &Uuid::new_v4().to_string())
            .extend_pairs(fields)
            .finish();
        self.client.send(Method::POST, path, &all, Some(body)).await
    }

    /// Sends images by a form as it stands on a page.
    pub async fn upload(&self, on: &str, path: &str, files: &[&[u8]]) -> Answer {
        let parts: Vec<Part<'_>> = files.iter().map(|file| Part::file("image", file)).collect();
        self.submit_parts(on, path, &parts).await
    }

    /// Sends a form with files as our pages do: the token is its first field.
    pub async fn submit_parts(&self, on: &str, path: &str, parts: &[Part<'_>]) -> Answer {
        let token = token_on(&self.get(on).await.text);
        let once = Uuid::new_v4().to_string();
        let mut all = vec![Part::text("csrf", &token), Part::text("once", &once)];
        all.extend(parts.iter().map(|part| Part { ..*part }));
        let headers = [
            ("content-type", images::FORM),
            ("origin", self.origin.as_str()),
            ("sec-fetch-site", "same-origin"),
        ];
        let body = Some(images::form(&all));
        self.client.send(Method::POST, path, &headers, body).await
    }

    pub async fn sign_in(&self, email: &str, password: &str) -> Answer {
        let fields = [("email", email), ("password", password)];
        self.submit("/admin/sign-in", "/admin/sign-in", &fields)
            .await
    }

    /// As [`Browser::sign_in`], from another address.
    async fn sign_in_from(&self, address: &str, email: &str, password: &str) -> Answer {
        let token = token_on(&self.get("/admin/sign-in").await.text);
        let fields = [("email", email), ("password", password)];
        let headers = [("x-forwarded-for", address)];
        self.send("/admin/sign-in", &token, &fields, &headers).await
    }

    fn cookie(&self, name: &str) -> Option<String> {
        self.client.cookie(name)
    }
}

/// The token in a page's first form.
pub fn token_on(page: &str) -> String {
    let (_, rest) = page
        .split_once("name=\"csrf\" value=\"")
        .unwrap_or_else(|| panic!("no token: {page}"));
    rest.split('"').next().expect("its end").to_owned()
}

/// A shop with an owner and a member of staff.
pub async fn staffed() -> Shop {
    staffed_with(&[]).await
}

pub async fn staffed_with(settings: &[(&str, &str)]) -> Shop {
    let shop = Shop::open_with(settings).await;
    let hashed = auth::hash_password(
        &Secret::new(PASSWORD),
        "password",
        &auth::Holder::new(OWNER, "Spirit Beads"),
    )
    .await;
    let hashed = hashed.expect("a good password");
    let mut tx = shop.db.begin().await.expect("a transaction");
    for (email, role) in [(OWNER, Role::Owner), (STAFF, Role::Staff)] {
        auth::create_user(&mut tx, &Actor::console(), email, role, &hashed)
            .await
            .expect("a user");
    }
    tx.commit().await.expect("a commit");
    shop
}

pub async fn signed_in(shop: &Shop, email: &str) -> Browser {
    let browser = Browser::new(shop);
    let answer = browser.sign_in(email, PASSWORD).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/admin"),
        "{}",
        answer.text
    );
    browser
}

pub async fn user_id(shop: &Shop, email: &str) -> String {
    let id: Uuid = sqlx::query_scalar("select id from users where email = $1")
        .bind(email)
        .fetch_one(&shop.db)
        .await
        .expect("the user");
    id.to_string()
}

/// A path that a route opens to.
async fn path_of(shop: &Shop, route: &AdminRoute) -> String {
    let id = match route.path {
        path if path.contains("/users/") => user_id(shop, STAFF).await,
        path if path.contains("/orders/") => "SB-1001".to_owned(),
        _ => "1".to_owned(),
    };
    let page = shop.client.get("/admin/sign-in").await.text;
    let (_, asset) = page.split_once("/admin/assets/").expect("an asset");
    let asset = asset.split('"').next().expect("its end");
    route.path.replace("{id}", &id).replace("{name}", asset)
}

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

/// What the audit log has, oldest first.
pub async fn audited(shop: &Shop) -> Vec<(String, String, String, Option<Value>, Option<Value>)> {
    sqlx::query_as("select actor, action, object, before, after from audit_log order by id")
        .fetch_all(&shop.db)
        .await
        .expect("the log")
}

/// What an app on the phone shows this many periods from now.
pub async fn code(shop: &Shop, secret: &str, later: i64) -> String {
    let now: i64 = sqlx::query_scalar("select floor(extract(epoch from now()))::bigint")
        .fetch_one(&shop.db)
        .await
        .expect("the time");
    let (mut bytes, mut buffer, mut bits) = (Vec::new(), 0_u32, 0);
    for email in secret.bytes().filter(|email| *email != b' ') {
        let value = match email {
            b'A'..=b'Z' => email - b'A',
            _ => email - b'2' + 26,
        };
        buffer = buffer << 5 | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits & 255) as u8);
        }
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(&bytes).expect("a key");
    mac.update(&(now / 30 + later).to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = usize::from(hash[19] & 15);
    let number = u32::from_be_bytes(hash[at..at + 4].try_into().expect("four bytes"));
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

/// Sets up the second factor of whoever is signed in: the secret, the code that confirmed it, and the recovery codes.
pub async fn set_up_second_factor(shop: &Shop, browser: &Browser) -> (String, String, Vec<String>) {
    let path = "/admin/account/second-factor";
    let answer = browser
        .submit("/admin/account", path, &[("password", PASSWORD)])
        .await;
    assert_eq!(answer.header("location"), path, "{}", answer.text);
    let page = browser.get(path).await.text;
    assert!(page.contains("<svg class=\"qr\""), "{page}");
    let (_, rest) = page
        .split_once("<code class=\"secret select\">")
        .expect("the secret");
    let secret = rest.split('<').next().expect("its end").to_owned();
    let wrong = browser
        .submit(
            path,
            "/admin/account/second-factor/confirm",
            &[("code", "000")],
        )
        .await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong
            .text
            .contains("Code is not the one that the app shows now."),
        "{}",
        wrong.text
    );
    let first = code(shop, &secret, 0).await;
    let answer = browser
        .submit(
            path,
            "/admin/account/second-factor/confirm",
            &[("code", &first)],
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let codes: Vec<String> = answer
        .text
        .split("<li><code>")
        .skip(1)
        .map(|rest| rest.split('<').next().expect("its end").to_owned())
        .collect();
    assert_eq!(codes.len(), 10);
    (secret, first, codes)
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
async fn a_session_is_new_at_each_sign_in_and_its_old_token_is_worthless() {
    let shop = staffed().await;
    let browser = Browser::new(&shop);
    // Planted by somebody who hopes that it will be signed in.
    browser.client.set_cookie("admin_session", "planted");
    assert_eq!(browser.sign_in(OWNER, PASSWORD).await.status, 303);
    let first = browser.cookie("admin_session").expect("a session");
    assert_ne!(first, "planted");
    assert_eq!(first.len(), 64, "256 bits");
    let again = browser
        .submit(
            "/admin/account",
            "/admin/sign-in",
            &[("email", OWNER), ("password", PASSWORD)],
        )
        .await;
    assert_eq!(again.status, 303);
    let second = browser.cookie("admin_session").expect("a session");
    assert_ne!(first, second);
    let with = async |token: &str| {
        let cookie = format!("admin_session={token}");
        shop.client
            .send(
                Method::GET,
                "/admin",
                &[("cookie", &cookie)],
                None::<String>,
            )
            .await
            .status
    };
    assert_eq!(
        (
            with("planted").await,
            with(&first).await,
            with(&second).await
        ),
        (303, 303, 200)
    );
    let kept: String = sqlx::query_scalar("select string_agg(s::text, ' ') from sessions s")
        .fetch_one(&shop.db)
        .await
        .expect("the sessions");
    assert!(!kept.contains(&second), "only its hash is kept");

    // What everybody knows of the shop and of its owner is none.
    for known in [
        "ann@example.com",
        "Ann@Example.com-1",
        "spiritbeads 2026!",
        "Spirit Beads 7",
    ] {
        let fields = [("current", PASSWORD), ("new", known)];
        let refused = browser
            .submit("/admin/account", "/admin/account/password", &fields)
            .await;
        assert_eq!(refused.status, 400, "{known}: {}", refused.text);
    }

    // A new password gives this session a new token, and ends the others.
    let elsewhere = signed_in(&shop, OWNER).await;
    let fields = [("current", PASSWORD), ("new", "another fine password")];
    let changed = browser
        .submit("/admin/account", "/admin/account/password", &fields)
        .await;
    assert_eq!(changed.status, 303, "{}", changed.text);
    assert_eq!(
        (with(&second).await, browser.get("/admin").await.status),
        (303, 200)
    );
    assert_eq!(elsewhere.get("/admin").await.status, 303);
    assert_eq!(
        Browser::new(&shop).sign_in(OWNER, PASSWORD).await.status,
        422
    );
}

#[tokio::test]
async fn signing_out_everywhere_ends_every_session_and_being_shut_out_too() {
    let shop = staffed().await;
    let (phone, laptop) = (signed_in(&shop, STAFF).await, signed_in(&shop, STAFF).await);
    let page = laptop.get("/admin/account").await.text;
    assert_eq!(page.matches("last seen").count(), 2, "{page}");
    let out = phone
        .submit("/admin/account", "/admin/account/sign-out-everywhere", &[])
        .await;
    assert_eq!(out.header("location"), "/admin/sign-in");
    assert_eq!(
        (
            phone.get("/admin").await.status,
            laptop.get("/admin").await.status
        ),
        (303, 303)
    );

    let (staff, owner) = (signed_in(&shop, STAFF).await, signed_in(&shop, OWNER).await);
    let path = format!("/admin/users/{}", user_id(&shop, STAFF).await);
    let shut = owner.submit(&path, &format!("{path}/disable"), &[]).await;
    assert_eq!(shut.status, 303, "{}", shut.text);
    assert!(
        owner
            .get("/admin/users")
            .await
            .text
            .contains("ben@example.com is shut out.")
    );
    assert_eq!(staff.get("/admin").await.status, 303);
    assert_eq!(staff.sign_in(STAFF, PASSWORD).await.status, 422);
    let enabled = owner.submit(&path, &format!("{path}/enable"), &[]).await;
    assert_eq!(enabled.status, 303);
    let staff = signed_in(&shop, STAFF).await;
    // A new password by the owner ends their sessions as well.
    let reset = owner.submit(&path, &format!("{path}/password"), &[]).await;
    assert_eq!(reset.status, 200);
    assert_eq!(staff.get("/admin").await.status, 303);
    let (_, rest) = reset
        .text
        .split_once("<code class=\"secret select\">")
        .expect("a password");
    let password = rest.split('<').next().expect("its end");
    assert_eq!(staff.sign_in(STAFF, password).await.status, 303);
    assert_eq!(
        staff
            .submit("/admin/account", "/admin/sign-out", &[])
            .await
            .status,
        303
    );
    assert_eq!(staff.get("/admin").await.status, 303);
}

#[tokio::test]
async fn sessions_end_by_themselves() {
    let shop = staffed().await;
    let browser = signed_in(&shop, OWNER).await;
    let age = async |sql: &'static str| {
        sqlx::query(sql)
            .execute(&shop.db)
            .await
            .expect("time passes");
        browser.get("/admin").await.status
    };
    assert_eq!(
        age("update sessions set last_seen_at = now() - interval '11 hours 59 minutes'").await,
        200
    );
    assert_eq!(
        age("update sessions set last_seen_at = now() - interval '12 hours 1 minute'").await,
        303
    );
    assert_eq!(
        age("update sessions set last_seen_at = now(), created_at = now() - interval '13 days'")
            .await,
        200
    );
    assert_eq!(
        age("update sessions set created_at = now() - interval '14 days 1 minute'").await,
        303
    );
    auth::sweep(&mut shop.db.acquire().await.expect("a connection"))
        .await
        .expect("swept");
    let left: i64 = sqlx::query_scalar("select count(*) from sessions")
        .fetch_one(&shop.db)
        .await
        .expect("a count");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn the_second_factor_is_asked_for_and_each_code_counts_once() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let (secret, used, codes) = set_up_second_factor(&shop, &owner).await;
    assert!(
        owner
            .get("/admin/account")
            .await
            .text
            .contains("10 recovery codes are left")
    );

    let browser = Browser::new(&shop);
    let answer = browser.sign_in(OWNER, PASSWORD).await;
    assert_eq!(answer.header("location"), "/admin/second-factor");
    // Halfway is not in.
    for route in admin::routes() {
        if matches!(route.access, Access::Staff | Access::Owner) && route.method == Method::GET {
            let answer = browser.get(&path_of(&shop, &route).await).await;
            assert_eq!(
                (answer.status, answer.header("location")),
                (303, "/admin/second-factor"),
                "{}",
                route.path
            );
        }
    }
    let mfa_pending = browser.cookie("admin_session").expect("half a session");
    let give = async |browser: &Browser, code: &str| {
        browser
            .submit(
                "/admin/second-factor",
                "/admin/second-factor",
                &[("code", code)],
            )
            .await
    };
    // The code that confirmed the set-up was used by it.
    assert_eq!(give(&browser, &used).await.status, 422);
    let next = code(&shop, &secret, 1).await;
    let answer = give(&browser, &format!("{} {}", &next[..3], &next[3..])).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/admin"),
        "{}",
        answer.text
    );
    assert_ne!(
        browser.cookie("admin_session").expect("a session"),
        mfa_pending
    );
    assert_eq!(browser.get("/admin").await.status, 200);

    let browser = Browser::new(&shop);
    browser.sign_in(OWNER, PASSWORD).await;
    assert_eq!(
        give(&browser, &next).await.status,
        422,
        "a code seen over the shoulder"
    );
    let typed = codes[3].to_uppercase().replace('-', " ");
    assert_eq!(give(&browser, &typed).await.status, 303);
    let browser = Browser::new(&shop);
    browser.sign_in(OWNER, PASSWORD).await;
    assert_eq!(give(&browser, &codes[3]).await.status, 422, "each once");

    // New recovery codes make the old ones worthless; turning it off asks for the password.
    let renewed = owner
        .submit(
            "/admin/account",
            "/admin/account/recovery-codes",
            &[("password", PASSWORD)],
        )
        .await;
    assert_eq!(renewed.text.matches("<li><code>").count(), 10);
    assert_eq!(give(&browser, &codes[4]).await.status, 422);
    let path = "/admin/account/second-factor/turn-off";
    assert_eq!(
        owner
            .submit("/admin/account", path, &[("password", "wrong")])
            .await
            .status,
        400
    );
    assert_eq!(
        owner
            .submit("/admin/account", path, &[("password", PASSWORD)])
            .await
            .status,
        303
    );
    signed_in(&shop, OWNER).await;

    // Neither the secret nor a code is written down anywhere.
    let kept: String = sqlx::query_scalar(
        "select (select string_agg(a::text, ' ') from audit_log a) || (select string_agg(u::text, ' ') from users u)",
    )
    .fetch_one(&shop.db)
    .await
    .expect("what is kept");
    for secret in [
        secret.replace(' ', ""),
        codes[3].clone(),
        PASSWORD.to_owned(),
    ] {
        assert!(!kept.contains(&secret), "{kept}");
    }
    let actions: Vec<String> = audited(&shop)
        .await
        .into_iter()
        .map(|entry| entry.1)
        .collect();
    assert_eq!(
        actions,
        [
            "user.create",
            "user.create",
            "user.set_second_factor",
            "user.use_recovery_code",
            "user.renew_recovery_codes",
            "user.turn_off_second_factor",
        ]
    );
}

#[tokio::test]
async fn one_code_sent_many_times_at_once_lets_one_in() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let (secret, _, codes) = set_up_second_factor(&shop, &owner).await;
    for once in [code(&shop, &secret, 1).await, codes[0].clone()] {
        let mut browsers = Vec::new();
        for _ in 0..4 {
            let browser = Browser::new(&shop);
            browser.sign_in(OWNER, PASSWORD).await;
            browsers.push(browser);
        }
        let answers = at_once(browsers.into_iter().map(|browser| {
            let once = once.clone();
            let path = "/admin/second-factor";
            async move { browser.submit(path, path, &[("code", &once)]).await }
        }))
        .await;
        let let_in = answers.iter().filter(|answer| answer.status == 303);
        assert_eq!(let_in.count(), 1, "{once}");
    }
}

#[tokio::test]
async fn half_a_session_ends_after_ten_minutes() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let (secret, ..) = set_up_second_factor(&shop, &owner).await;
    let browser = Browser::new(&shop);
    browser.sign_in(OWNER, PASSWORD).await;
    let path = "/admin/second-factor";
    let age = async |minutes: f64| {
        sqlx::query(
            "update sessions set created_at = now() - make_interval(mins => $1::int) where mfa_pending",
        )
        .bind(minutes)
        .execute(&shop.db)
        .await
        .expect("time passes");
    };
    age(9.0).await;
    assert_eq!(browser.get(path).await.status, 200);
    age(11.0).await;
    let answer = browser.get(path).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/admin/sign-in?next=%2Fadmin%2Fsecond-factor")
    );
    let next = code(&shop, &secret, 1).await;
    let answer = browser
        .submit("/admin/sign-in", path, &[("code", &next)])
        .await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, "/admin/sign-in")
    );
    assert_eq!(browser.get("/admin").await.status, 303);
}

#[tokio::test]
async fn signing_out_twice_ends_at_sign_in() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let token = token_on(&owner.get("/admin").await.text);
    for _ in 0..2 {
        let answer = owner.send("/admin/sign-out", &token, &[], &[]).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/admin/sign-in"),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn a_password_that_is_asked_for_again_is_not_guessed() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let fields = [("current", "a guess"), ("new", "another good password")];
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let answer = owner
            .submit("/admin/account", "/admin/account/password", &fields)
            .await;
        if answer.status == 429 {
            assert!(answer.text.contains("Too many tries"), "{}", answer.text);
            assert!(!answer.header("retry-after").is_empty());
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [400, 400, 400, 400, 400, 429]);
}

#[tokio::test]
async fn known_and_unknown_accounts_get_the_same_answer_and_are_both_hashed() {
    let shop = staffed().await;
    let page = |answer: &Answer| {
        assert_eq!(answer.status, 422, "{}", answer.text);
        let token = token_on(&answer.text);
        let form = &Form::all(&answer.text)[0];
        answer
            .text
            .replace(&token, "TOKEN")
            .replace(form.get("once"), "ONCE")
            .replace("nobody@example.com", OWNER)
    };
    let browser = Browser::new(&shop);
    let known = page(&browser.sign_in(OWNER, "a wrong password").await);
    let unknown = page(
        &browser
            .sign_in("nobody@example.com", "a wrong password")
            .await,
    );
    assert_eq!(known, unknown);
    // One who was shut out is as unknown, with the right password, too.
    let id = spirit_beads::types::ids::UserId(user_id(&shop, STAFF).await.parse().expect("an id"));
    let mut conn = shop.db.acquire().await.expect("a connection");
    auth::disable_user(&mut conn, &Actor::console(), id)
        .await
        .expect("shut out");
    let shut_out = page(&browser.sign_in(STAFF, PASSWORD).await);
    assert_eq!(shut_out.replace(STAFF, OWNER), unknown);
    // Going through 19 MiB twice takes no machine less than this, and all else takes less.
    let mut least = Duration::MAX;
    for _ in 0..4 {
        let began = Instant::now();
        browser.sign_in("nobody@example.com", "a guess").await;
        least = least.min(began.elapsed());
    }
    assert!(least > Duration::from_millis(8), "{least:?}");
}

#[tokio::test]
async fn tries_are_counted_and_nobody_can_lock_the_owner_out() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let attacker = Browser::new(&shop);
    // From one address: five tries, then the wait doubles.
    for _ in 0..5 {
        let answer = attacker
            .sign_in_from("198.51.100.1", OWNER, "a guess")
            .await;
        assert_eq!(answer.status, 422);
    }
    let answer = attacker.sign_in_from("198.51.100.1", OWNER, PASSWORD).await;
    assert_eq!(answer.status, 429, "not even with the right one");
    let wait: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=30).contains(&wait), "{wait}");
    assert!(answer.text.contains("Too many tries."), "{}", answer.text);
    // The same for an account that there is not.
    for _ in 0..5 {
        attacker
            .sign_in_from("198.51.100.1", "nobody@example.com", "a guess")
            .await;
    }
    let answer = attacker
        .sign_in_from("198.51.100.1", "nobody@example.com", "a guess")
        .await;
    assert_eq!(answer.status, 429);
    // From many addresses, at once.
    for host in 2..30 {
        let address = format!("198.51.100.{host}");
        attacker.sign_in_from(&address, OWNER, "a guess").await;
    }
    // The owner comes in from where they were before, and from anywhere else.
    assert_eq!(
        Browser::new(&shop).sign_in(OWNER, PASSWORD).await.status,
        303
    );
    let travelling = Browser::new(&shop)
        .sign_in_from("203.0.113.9", OWNER, PASSWORD)
        .await;
    assert_eq!(travelling.status, 303);
    // Somebody at the owner's own address wears it out, for this account and for all; a browser that was in before is
    // counted by itself.
    for _ in 0..6 {
        attacker.sign_in(OWNER, "a guess").await;
    }
    sqlx::query(
        "insert into sign_in_attempts (step, account, address)
         select 'password', sha256('x'), '127.0.0.1'
         from generate_series(1, 60)",
    )
    .execute(&shop.db)
    .await
    .expect("an attack");
    assert_eq!(attacker.sign_in(OWNER, PASSWORD).await.status, 429);
    assert_eq!(
        attacker.sign_in("else@example.com", "a guess").await.status,
        429
    );
    owner.submit("/admin/account", "/admin/sign-out", &[]).await;
    assert_eq!(
        owner.sign_in(OWNER, PASSWORD).await.status,
        303,
        "the owner's own browser"
    );
    // That browser's cookie is worth nothing for another account.
    owner.submit("/admin/account", "/admin/sign-out", &[]).await;
    assert_eq!(
        owner.sign_in("else@example.com", "a guess").await.status,
        429
    );

    // An hour later it is forgotten.
    sqlx::query("update sign_in_attempts set tried_at = tried_at - interval '61 minutes'")
        .execute(&shop.db)
        .await
        .expect("time passes");
    assert_eq!(attacker.sign_in(OWNER, "a guess").await.status, 422);
    auth::sweep(&mut shop.db.acquire().await.expect("a connection"))
        .await
        .expect("swept");
    let failed: i64 =
        sqlx::query_scalar("select count(*) from sign_in_attempts where not succeeded")
            .fetch_one(&shop.db)
            .await
            .expect("a count");
    assert_eq!(failed, 1, "only the last one");
}

#[tokio::test]
async fn an_address_is_believed_of_trusted_proxies_only() {
    let shop = staffed_with(&[("TRUSTED_PROXIES", "10.0.0.0/8")]).await;
    let attacker = Browser::new(&shop);
    for host in 1..=5 {
        let address = format!("198.51.100.{host}");
        assert_eq!(
            attacker
                .sign_in_from(&address, OWNER, "a guess")
                .await
                .status,
            422
        );
    }
    assert_eq!(
        attacker
            .sign_in_from("198.51.100.99", OWNER, "a guess")
            .await
            .status,
        429
    );
}

#[tokio::test]
async fn guesses_at_the_same_moment_see_one_another() {
    let shop = staffed().await;
    let browser = std::sync::Arc::new(Browser::new(&shop));
    let token = token_on(&browser.get("/admin/sign-in").await.text);
    let tries = (0..12).map(|_| {
        let (browser, token) = (browser.clone(), token.clone());
        async move {
            let fields = [("email", OWNER), ("password", "a guess")];
            browser
                .send("/admin/sign-in", &token, &fields, &[])
                .await
                .status
        }
    });
    let answers = crate::support::at_once(tries).await;
    assert_eq!(
        answers.iter().filter(|status| **status == 422).count(),
        5,
        "{answers:?}"
    );
    assert_eq!(
        answers.iter().filter(|status| **status == 429).count(),
        7,
        "{answers:?}"
    );
}

#[tokio::test]
async fn second_factors_are_not_guessed_from_many_addresses() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let (_, _, codes) = set_up_second_factor(&shop, &owner).await;
    let attacker = Browser::new(&shop);
    assert_eq!(
        attacker
            .sign_in_from("198.51.100.1", OWNER, PASSWORD)
            .await
            .status,
        303
    );
    let guess = async |host: u32| {
        let address = format!("198.51.100.{host}");
        let token = token_on(&attacker.get("/admin/second-factor").await.text);
        attacker
            .send(
                "/admin/second-factor",
                &token,
                &[("code", "00000")],
                &[("x-forwarded-for", &address)],
            )
            .await
            .status
    };
    let mut refused = 0;
    for host in 0..32 {
        refused += u32::from(guess(host).await == 429);
    }
    assert_eq!(refused, 2, "thirty an hour");
    // The owner's own browser is not held up.
    owner.submit("/admin/account", "/admin/sign-out", &[]).await;
    owner.sign_in(OWNER, PASSWORD).await;
    let answer = owner
        .submit(
            "/admin/second-factor",
            "/admin/second-factor",
            &[("code", &codes[0])],
        )
        .await;
    assert_eq!(answer.status, 303, "{}", answer.text);
}

#[tokio::test]
async fn browsers_known_by_the_password_alone_have_no_tries_of_their_own_at_the_second_factor() {
    let shop = staffed().await;
    let mut gathered = Vec::new();
    for _ in 0..7 {
        gathered.push(signed_in(&shop, OWNER).await);
    }
    let owner = signed_in(&shop, OWNER).await;
    set_up_second_factor(&shop, &owner).await;
    let mut statuses = Vec::new();
    for attacker in gathered {
        assert_eq!(attacker.get("/admin").await.status, 303, "it is signed out");
        assert_eq!(attacker.sign_in(OWNER, PASSWORD).await.status, 303);
        for _ in 0..5 {
            let page = "/admin/second-factor";
            let answer = attacker.submit(page, page, &[("code", "00000")]).await;
            statuses.push(answer.status);
        }
    }
    let tried = statuses.iter().filter(|status| **status == 422).count();
    assert_eq!(tried, 5, "one place has five tries: {statuses:?}");
}

#[tokio::test]
async fn every_page_has_its_headers_and_nothing_inline() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let mut pages = vec!["/admin/nothing".to_owned(), "/admin/sign-in".to_owned()];
    for route in admin::routes()
        .iter()
        .filter(|route| route.method == Method::GET)
    {
        pages.push(path_of(&shop, route).await);
    }
    let stranger = Browser::new(&shop);
    for path in pages {
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
            assert!(
                answer.header("permissions-policy").contains("camera=()"),
                "{path}"
            );
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
async fn what_the_owner_changes_is_written_down_with_before_and_after() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let made = owner
        .submit(
            "/admin/users",
            "/admin/users",
            &[("email", "new@example.com"), ("role", "staff")],
        )
        .await;
    assert_eq!(made.status, 200, "{}", made.text);
    let path = format!("/admin/users/{}", user_id(&shop, "new@example.com").await);
    assert_eq!(
        owner
            .submit(&path, &format!("{path}/role"), &[("role", "owner")])
            .await
            .status,
        303
    );
    let token = owner
        .submit(
            "/admin/tokens",
            "/admin/tokens",
            &[
                ("name", "stall"),
                ("scope", "stock"),
                ("scope", "orders:write"),
            ],
        )
        .await;
    let (_, rest) = token
        .text
        .split_once("<code class=\"secret select\">")
        .expect("a token");
    let token = rest.split('<').next().expect("its end");
    assert_eq!(
        shop.client
            .with_token(token)
            .get("/api/admin/orders/")
            .await
            .status,
        403,
        "known, of another scope"
    );
    assert_eq!(
        owner
            .submit("/admin/tokens", "/admin/tokens/1/revoke", &[])
            .await
            .status,
        303
    );
    assert_eq!(
        shop.client
            .with_token(token)
            .get("/api/admin/orders/")
            .await
            .status,
        401
    );
    // What is refused is not written down, and nothing typed is lost.
    let taken = owner
        .submit(
            "/admin/users",
            "/admin/users",
            &[("email", "BEN@example.com"), ("role", "owner")],
        )
        .await;
    assert_eq!(taken.status, 400);
    assert!(
        taken.text.contains("Email is a user&#39;s already.")
            && taken.text.contains("value=\"BEN@example.com\""),
        "{}",
        taken.text
    );
    assert!(taken.text.contains("value=\"owner\" checked"));

    let log = audited(&shop).await;
    let by_owner: Vec<_> = log
        .iter()
        .filter(|entry| entry.0 == "user:ann@example.com")
        .collect();
    let told: Vec<(&str, &str)> = by_owner
        .iter()
        .map(|entry| (entry.1.as_str(), entry.2.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("user.create", "user:new@example.com"),
            ("user.set_role", "user:new@example.com"),
            ("token.create", "token:1 stall"),
            ("token.revoke", "token:1 stall"),
        ]
    );
    assert_eq!(by_owner[0].3, None);
    assert_eq!(by_owner[1].3.as_ref().expect("before")["role"], "staff");
    assert_eq!(by_owner[1].4.as_ref().expect("after")["role"], "owner");
    assert_eq!(
        by_owner[2].4,
        Some(json!({
            "name": "stall", "scopes": ["stock", "orders:write"], "expires_at": null, "revoked": false,
        }))
    );
    let requests: i64 = sqlx::query_scalar(
        "select count(*) from audit_log where request_id is not null and user_id is not null",
    )
    .fetch_one(&shop.db)
    .await
    .expect("a count");
    assert_eq!(requests, 4);
    let page = owner.get("/admin/audit?search=token").await.text;
    assert!(
        page.contains("token:1 stall") && !page.contains("new@example.com"),
        "{page}"
    );
    assert!(!page.contains(token));
    for sql in [
        "update audit_log set actor = 'nobody'",
        "delete from audit_log",
        "truncate audit_log",
    ] {
        let refused = sqlx::query(sql).execute(&shop.db).await.expect_err("kept");
        assert!(refused.to_string().contains("append-only"), "{refused}");
    }
}

#[tokio::test]
async fn what_outlives_a_session_asks_for_the_password_again() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let of = format!("/admin/users/{}", user_id(&shop, STAFF).await);
    let before = audited(&shop).await.len();
    let token = token_on(&owner.get("/admin").await.text);
    for path in [
        "/admin/users",
        "/admin/tokens",
        &format!("{of}/role"),
        &format!("{of}/password"),
        &format!("{of}/enable"),
        &format!("{of}/second-factor/turn-off"),
    ] {
        for given in [None, Some(("your_password", "wrong horse battery"))] {
            let mut fields = vec![
                ("email", "eve@example.com"),
                ("role", "owner"),
                ("name", "x"),
                ("scope", "stock"),
            ];
            fields.extend(given);
            let answer = owner.send(path, &token, &fields, &[]).await;
            assert_eq!(answer.status, 400, "{path}: {}", answer.text);
            // One who is put off is told so; here the next one is asked.
            sqlx::query("delete from sign_in_attempts where not succeeded")
                .execute(&shop.db)
                .await
                .expect("a change");
        }
    }
    assert_eq!(audited(&shop).await.len(), before);
}

#[tokio::test]
async fn a_session_that_was_ended_meanwhile_changes_nothing() {
    let shop = staffed().await;
    let staff = signed_in(&shop, STAFF).await;
    let id = spirit_beads::types::ids::UserId(user_id(&shop, STAFF).await.parse().expect("an id"));
    // The owner gives Ben a new password while a change that he is allowed by the old one is under way.
    let mut tx = shop.db.begin().await.expect("a transaction");
    let password = spirit_beads::config::Secret::new("another horse battery");
    let hashed = auth::hash_password(
        &password,
        "password",
        &auth::Holder::new(STAFF, "Spirit Beads"),
    )
    .await
    .expect("a hash");
    auth::set_password(&mut tx, &Actor::console(), id, &hashed, None)
        .await
        .expect("a new password");
    let token = token_on(&staff.get("/admin/account").await.text);
    let changing = {
        let staff = staff.clone();
        tokio::spawn(async move {
            let fields = [("current", PASSWORD), ("new", "an intruder's password")];
            staff
                .send("/admin/account/password", &token, &fields, &[])
                .await
                .status
        })
    };
    // It waits for the owner's change.
    while !waits_for_a_lock(&shop).await {
        tokio::task::yield_now().await;
    }
    tx.commit().await.expect("a commit");
    assert_eq!(changing.await.expect("no panic"), 401);
    assert_eq!(
        staff.sign_in(STAFF, "an intruder's password").await.status,
        422
    );
    let anew = Browser::new(&shop);
    assert_eq!(
        anew.sign_in(STAFF, "another horse battery").await.status,
        303
    );
}

async fn waits_for_a_lock(shop: &Shop) -> bool {
    sqlx::query_scalar(
        "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')",
    )
    .fetch_one(&shop.db)
    .await
    .expect("the activity")
}

#[tokio::test]
async fn the_shop_always_has_an_owner_and_nobody_shuts_themselves_out() {
    let shop = staffed().await;
    let owner = signed_in(&shop, OWNER).await;
    let mine = format!("/admin/users/{}", user_id(&shop, OWNER).await);
    for change in ["disable", "role", "password", "second-factor/turn-off"] {
        let answer = owner
            .submit(
                "/admin/account",
                &format!("{mine}/{change}"),
                &[("role", "staff")],
            )
            .await;
        assert_eq!(answer.status, 409, "{change}");
        assert!(answer.text.contains("That is you."), "{}", answer.text);
    }
    let id = spirit_beads::types::ids::UserId(user_id(&shop, OWNER).await.parse().expect("an id"));
    let mut tx = shop.db.begin().await.expect("a transaction");
    let refused = auth::disable_user(&mut tx, &Actor::console(), id).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("last_owner")));
    let refused = auth::set_role(&mut tx, &Actor::console(), id, Role::Staff).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("last_owner")));
}

#[tokio::test]
async fn two_owners_who_demote_each_other_leave_one() {
    let shop = staffed().await;
    let [ann, ben] = [user_id(&shop, OWNER).await, user_id(&shop, STAFF).await]
        .map(|id| spirit_beads::types::ids::UserId(id.parse().expect("an id")));
    for round in 0..10 {
        for id in [ann, ben] {
            let mut conn = shop.db.acquire().await.expect("a connection");
            auth::set_role(&mut conn, &Actor::console(), id, Role::Owner)
                .await
                .expect("an owner");
        }
        let done = at_once([ann, ben].map(|id| {
            let db = shop.db.clone();
            async move {
                let mut tx = db.begin().await.expect("a transaction");
                let done = auth::set_role(&mut tx, &Actor::console(), id, Role::Staff).await;
                tx.commit().await.expect("a commit");
                done.is_ok()
            }
        }))
        .await;
        assert_eq!(
            done.iter().filter(|done| **done).count(),
            1,
            "{round}: {done:?}"
        );
    }
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
        let told = async || {
            let page = owner.get("/admin/system").await.text;
            page.contains("default zone") && page.contains("TRUSTED_PROXIES")
        };
        assert!(!told().await, "nobody has checked out");
        let headers = [("cf-ipcountry", "DE")];
        let answer = shop.client.check_out_with(&[(&piece, 1)], &headers).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(told().await, is_told, "{proxies}");
    }
}
