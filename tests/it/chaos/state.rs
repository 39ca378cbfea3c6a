//! State that all actors of the storm share: the shop's addresses, Stripe's, and what is counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::rng::Chance;

/// Events, counted by name.
#[derive(Default)]
pub struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    pub fn add(&self, what: &str) {
        *self
            .0
            .lock()
            .expect("no panic")
            .entry(what.to_owned())
            .or_default() += 1;
    }

    pub fn of(&self, what: &str) -> u64 {
        let counted = self.0.lock().expect("no panic");
        counted.get(what).copied().unwrap_or(0)
    }

    pub fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().expect("no panic").clone()
    }
}

pub struct World {
    /// `http://127.0.0.1:PORT` of each server.
    pub addresses: Vec<String>,
    pub http: reqwest::Client,
    pub stripe_url: String,
    pub stripe_key: String,
    /// The sandbox's database: where shoppers see what their payment page shows.
    pub stripe: PgPool,
    /// The shop's database, past the lines that are cut. It is down at times.
    pub shop: PgPool,
    pub token: String,
    pub image_url: Vec<u8>,
    pub tally: Arc<Tally>,
    pub over: AtomicBool,
}

/// A response. A line that dropped has no answer.
pub struct Answer {
    pub status: u16,
    pub json: Value,
}

/// A browser: an address and cookies of its own.
pub struct Browser {
    address: String,
    cookies: Mutex<HashMap<String, String>>,
}

impl Browser {
    pub fn new(chance: &mut Chance) -> Browser {
        let number = chance.next();
        let [a, b, c, ..] = number.to_be_bytes();
        Browser {
            address: format!("10.{a}.{b}.{c}"),
            cookies: Mutex::default(),
        }
    }
}

impl World {
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Waits, but not beyond the end of the storm.
    pub async fn pause(&self, time: Duration) {
        let end = tokio::time::Instant::now() + time;
        while !self.is_over() && tokio::time::Instant::now() < end {
            let left = end - tokio::time::Instant::now();
            tokio::time::sleep(left.min(Duration::from_millis(100))).await;
        }
    }

    /// Calls any of the shop's servers. None: no answer came.
    pub async fn call(
        &self,
        chance: &mut Chance,
        browser: Option<&Browser>,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: Option<Vec<u8>>,
    ) -> Option<Answer> {
        let address = chance.pick(&self.addresses);
        let mut request = self.http.request(method, format!("{address}{path}"));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(browser) = browser {
            request = request.header("x-forwarded-for", &browser.address);
            let cookies = browser.cookies.lock().expect("no panic");
            if !cookies.is_empty() {
                let pairs: Vec<String> = cookies
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                request = request.header("cookie", pairs.join("; "));
            }
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let Ok(response) = request.send().await else {
            self.tally.add("requests without an answer");
            return None;
        };
        let status = response.status().as_u16();
        if let Some(browser) = browser {
            let mut cookies = browser.cookies.lock().expect("no panic");
            for cookie in response.headers().get_all("set-cookie") {
                let text = cookie.to_str().unwrap_or_default();
                let pair = text.split(';').next().and_then(|pair| pair.split_once('='));
                let Some((name, value)) = pair else { continue };
                if text.contains("Max-Age=0") {
                    cookies.remove(name);
                } else {
                    cookies.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        let bytes = response.bytes().await.unwrap_or_default();
        let json: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        self.tally.add("requests answered");
        self.tally.add(&format!("answers {}xx", status / 100));
        if status >= 500 {
            let code = json["code"].as_str().unwrap_or("no code");
            self.tally.add(&format!("answers {status} {code}"));
        }
        Some(Answer { status, json })
    }

    /// Calls with JSON.
    pub async fn post(
        &self,
        chance: &mut Chance,
        browser: Option<&Browser>,
        path: &str,
        body: &Value,
    ) -> Option<Answer> {
        let headers = [("content-type", "application/json".to_owned())];
        let body = Some(body.to_string().into_bytes());
        self.call(chance, browser, Method::POST, path, &headers, body)
            .await
    }

    /// Calls as the owner's program.
    pub async fn keep(
        &self,
        chance: &mut Chance,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Option<Answer> {
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("authorization", format!("Bearer {}", self.token)),
        ];
        let body = body.map(|body| body.to_string().into_bytes());
        self.call(chance, None, method, path, &headers, body).await
    }

    /// Turns one of the sandbox's switches. None: it would not.
    pub async fn switch(&self, name: &str, body: &Value) -> Option<Value> {
        let answer = self
            .http
            .post(format!("{}/_sandbox/{name}", self.stripe_url))
            .header("authorization", format!("Bearer {}", self.stripe_key))
            .body(body.to_string())
            .send()
            .await
            .ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let bytes = answer.bytes().await.ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub async fn clear_stripe_faults(&self) {
        let _ = self
            .http
            .delete(format!("{}/_sandbox/faults", self.stripe_url))
            .header("authorization", format!("Bearer {}", self.stripe_key))
            .send()
            .await;
    }

    /// A Checkout Session as its page shows it.
    pub async fn session(&self, id: &str) -> Option<Value> {
        sqlx::query_scalar("select data from stripe_sandbox.objects where id = $1")
            .bind(id)
            .fetch_optional(&self.stripe)
            .await
            .ok()
            .flatten()
    }

    /// Pays a session as this person does. True: Stripe took it.
    pub async fn pay(&self, session: &str, how: &str, email: &str) -> bool {
        let body = json!({"session": session, "how": how, "email": email, "name": "A Shopper"});
        let taken = self.switch("pay", &body).await.is_some();
        if taken {
            self.tally.add(&format!("paid pages: {how}"));
        }
        taken
    }
}
