//! The admin: signing in, its pages and forms, and the API with the same changes.

mod accounts;
mod api;
mod backup;
mod custom_order_list;
mod custom_orders;
mod erasure;
mod every_form;
mod guessing;
mod lost_session;
pub mod orders;
mod pages;
mod products;
mod repeated_forms;
mod search;
mod second_factor;
mod sessions;
mod settings;
mod sign_in;
mod snapshots;
mod system;
mod tokens;
mod users;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::Value;
use sha1::Sha1;
use spirit_beads::admin::AdminRoute;
use spirit_beads::audit::Actor;
use spirit_beads::auth::{self, Role};
use spirit_beads::config::Secret;
use uuid::Uuid;

use crate::support::images::{self, Part};
use crate::support::{Answer, Client, Shop};

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
    staff(&shop).await;
    shop
}

/// Creates an owner and a member of staff.
pub async fn staff(shop: &Shop) {
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
    let path = route.path.replace("{id}", &id).replace("{photo}", &id);
    path.replace("{name}", asset)
}

/// Entries of the audit log, oldest first.
pub async fn audited(shop: &Shop) -> Vec<(String, String, String, Option<Value>, Option<Value>)> {
    sqlx::query_as("select actor, action, object, before, after from audit_log order by id")
        .fetch_all(&shop.db)
        .await
        .expect("the log")
}

/// Code that an app on the phone shows this many periods from now.
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
