//! The Stripe sandbox: a stand-in for the few Stripe endpoints the shop uses, with a hosted payment page and signed
//! webhooks, for development and tests. It holds Stripe's rules, not Stripe's reach: one account, one-time card
//! payments, no tax, no customers.
//!
//! All its state lives in PostgreSQL (schema `stripe_sandbox`), so that it outlives a restart and may run as several
//! processes; only the fault switches and the log of requests are a process's own.
mod api;
mod catalog;
mod checkout;
mod dashboard;
mod delivery;
mod links;
mod money;
mod pages;
mod params;
mod payments;
mod store;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::Notify;

use store::{Problem, Work};

/// The SQL that makes the sandbox's schema. [`Sandbox::open`] runs it; a test harness may key a template database by it.
pub const SCHEMA: &str = include_str!("schema.sql");

/// How many API requests the log remembers.
const REMEMBERED: usize = 1000;

/// What the sandbox must know of its surroundings.
#[derive(Clone)]
pub struct Settings {
    /// The one secret key it accepts.
    pub secret_key: String,
    /// Signs the webhooks.
    pub webhook_secret: String,
    /// Where events are posted; plain http.
    pub webhook_url: String,
    /// Where browsers find [`Sandbox::pages`], e.g. `http://127.0.0.1:8000/sandbox`.
    pub pages_url: String,
}

/// The stand-in itself; cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    db: PgPool,
    settings: Settings,
    news: Notify,
    faults: Mutex<Vec<(String, Fault, u32)>>,
    requests: Mutex<(usize, VecDeque<Request>)>,
}

/// A way to misbehave.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// 500 from within: nothing is done, and the answer is kept under the idempotency key.
    ServerError,
    /// 429: nothing is done or kept.
    RateLimited,
    /// 400 `invalid_request_error`: nothing is done or kept.
    Refused {
        code: String,
        message: String,
        param: Option<String>,
    },
    /// 402 `card_error`: nothing is done, and the answer is kept.
    #[serde(rename = "card_error")]
    CardError402,
    /// 401, as with a revoked key.
    Unauthorized,
    /// 502 with a page for people, from a proxy: nothing is done or kept.
    BadGateway,
    /// It is done and kept, but a 500 is answered.
    ActThenServerError,
    /// It is done and kept, then the line drops.
    ActThenDrop,
    /// The line drops at once.
    Drop,
    /// Never answers, and does nothing.
    Hang,
    /// It is done and kept, but never answered.
    ActThenHang,
    /// Takes this long before it acts; in JSON, milliseconds.
    Slow(#[serde(deserialize_with = "milliseconds")] Duration),
}

/// What the shopper does on the hosted page.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Payment {
    /// Paid at once.
    Card(Buyer),
    /// Completed now, paid or not when [`Sandbox::settle_delayed`] says so.
    Delayed(Buyer),
    /// The bank says no; the session stays open.
    Declined(Buyer),
}

/// A dispute as the bank opens it. The default takes the money, because the payment is said to be fraud.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct NewDispute {
    /// The bank only asks, and takes nothing yet.
    pub is_inquiry: bool,
    /// Stripe's word, as `product_not_received`.
    pub reason: String,
}

impl Default for NewDispute {
    fn default() -> NewDispute {
        NewDispute {
            is_inquiry: false,
            reason: "fraudulent".to_owned(),
        }
    }
}

/// Who pays, and where it goes. The default lives in Oregon.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Buyer {
    pub email: String,
    pub name: String,
    pub phone: Option<String>,
    pub address: Address,
    /// The place of the chosen shipping option in the session's list.
    pub shipping_option: usize,
}

/// A postal address in Stripe's fields.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct Address {
    pub line1: String,
    pub line2: Option<String>,
    pub city: String,
    pub state: Option<String>,
    pub postal_code: String,
    /// Two letters, as ISO 3166 has them.
    pub country: String,
}

/// An API request as it came in.
#[derive(Clone, Debug, Serialize)]
pub struct Request {
    pub method: String,
    /// Its template: `POST /v1/products/{id}`.
    pub operation: String,
    pub path: String,
    /// Form or query parameters, decoded, in the order sent.
    pub params: Vec<(String, String)>,
    pub idempotency_key: Option<String>,
    pub stripe_version: Option<String>,
    /// What was answered; none if nothing was, or not yet.
    pub status: Option<u16>,
}

impl Sandbox {
    /// Opens the sandbox kept in a database; makes its schema if there is none.
    pub async fn open(db: PgPool, settings: Settings) -> anyhow::Result<Sandbox> {
        let made: bool =
            sqlx::query_scalar("select to_regclass('stripe_sandbox.deliveries_due') is not null")
                .fetch_one(&db)
                .await?;
        if !made {
            let mut tx = db.begin().await?;
            sqlx::query("select pg_advisory_xact_lock(hashtext('stripe_sandbox'))")
                .execute(&mut *tx)
                .await?;
            sqlx::raw_sql(SCHEMA)
                .execute(&mut *tx)
                .await
                .context("making the sandbox's schema")?;
            tx.commit().await?;
        }
        let settings = Settings {
            pages_url: settings.pages_url.trim_end_matches('/').to_owned(),
            ..settings
        };
        let (news, faults, requests) = (Notify::new(), Mutex::default(), Mutex::default());
        Ok(Sandbox {
            inner: Arc::new(Inner {
                db,
                settings,
                news,
                faults,
                requests,
            }),
        })
    }

    /// Stripe's API under `/v1/…`, and this interface over HTTP under `/_sandbox/…`.
    pub fn api(&self) -> axum::Router {
        api::router(self.clone())
    }

    /// The pages for people: the dashboard at `/`, the payment page at `/pay/{session}`, and `/link/{payment link}`.
    pub fn pages(&self) -> axum::Router {
        pages::router(self.clone())
    }

    /// All events, oldest first.
    pub async fn events(&self) -> anyhow::Result<Vec<Value>> {
        let events = sqlx::query_scalar(
            "select data from stripe_sandbox.objects where object = 'event' order by seq",
        );
        Ok(events.fetch_all(&self.inner.db).await?)
    }

    /// Misbehaves at the next `times` requests of an operation (`POST /v1/prices/{id}`), or of any (`*`).
    pub fn fail_next(&self, operation: &str, fault: Fault, times: u32) {
        guard(&self.inner.faults).push((operation.to_owned(), fault, times));
    }

    /// Forgets the faults that have not come up yet.
    pub fn clear_faults(&self) {
        guard(&self.inner.faults).clear();
    }

    /// The API requests so far, oldest first: the last 1000.
    pub fn requests(&self) -> Vec<Request> {
        guard(&self.inner.requests).1.iter().cloned().collect()
    }

    /// Looks at a payment link's page, which opens a session; answers the session's id.
    ///
    /// # Errors
    /// If the link is closed.
    pub async fn open_link(&self, link: &str) -> anyhow::Result<String> {
        let session = self
            .change(async |work| links::open(work, link).await)
            .await?;
        Ok(session["id"].as_str().unwrap_or_default().to_owned())
    }

    /// Closes a payment link, as the shopkeeper would in Stripe's dashboard.
    pub async fn deactivate_link(&self, link: &str) -> anyhow::Result<()> {
        let p = json!({"active": false});
        self.change(async |work| links::update(work, link, &p).await)
            .await?;
        Ok(())
    }

    /// Does what a button of the hosted page does.
    ///
    /// # Errors
    /// If the session is not open, or does not ship to that country, or if its payment link takes no more payments.
    pub async fn pay(&self, session: &str, how: Payment) -> anyhow::Result<()> {
        self.expire_due().await?;
        self.change(async |work| payments::pay(work, session, &how).await)
            .await?;
        Ok(())
    }

    /// Ends the wait for a delayed payment.
    pub async fn settle_delayed(&self, session: &str, succeeds: bool) -> anyhow::Result<()> {
        Ok(self
            .change(async |work| payments::settle(work, session, succeeds).await)
            .await?)
    }

    /// Expires an open session, as if its time had come.
    pub async fn expire(&self, session: &str) -> anyhow::Result<()> {
        self.change(async |work| checkout::expire(work, session).await)
            .await?;
        Ok(())
    }

    /// Refunds a payment, in full if no amount is given, as the shopkeeper would in Stripe's dashboard; answers its id.
    pub async fn refund(
        &self,
        payment_intent: &str,
        amount: Option<i64>,
    ) -> anyhow::Result<String> {
        let p = json!({"payment_intent": payment_intent, "amount": amount});
        let refund = self
            .change(async |work| payments::refund(work, &p).await)
            .await?;
        Ok(refund["id"].as_str().unwrap_or_default().to_owned())
    }

    /// The bank sends a refund back.
    pub async fn fail_refund(&self, refund: &str) -> anyhow::Result<()> {
        Ok(self
            .change(async |work| payments::fail_refund(work, refund).await)
            .await?)
    }

    /// The shopper's bank disputes a payment; answers the dispute's id.
    pub async fn dispute(&self, payment_intent: &str) -> anyhow::Result<String> {
        self.dispute_as(payment_intent, &NewDispute::default())
            .await
    }

    /// The shopper's bank disputes a payment, or asks about it; answers the dispute's id.
    pub async fn dispute_as(
        &self,
        payment_intent: &str,
        how: &NewDispute,
    ) -> anyhow::Result<String> {
        let dispute = self
            .change(async |work| payments::dispute(work, payment_intent, how).await)
            .await?;
        Ok(dispute["id"].as_str().unwrap_or_default().to_owned())
    }

    /// The open inquiry of a payment becomes a dispute.
    pub async fn escalate_dispute(&self, payment_intent: &str) -> anyhow::Result<()> {
        Ok(self
            .change(async |work| payments::escalate_dispute(work, payment_intent).await)
            .await?)
    }

    /// The shop answers the open dispute of a payment with evidence.
    pub async fn answer_dispute(&self, payment_intent: &str) -> anyhow::Result<()> {
        Ok(self
            .change(async |work| payments::answer_dispute(work, payment_intent).await)
            .await?)
    }

    /// The card's issuer warns that a payment is probably fraud; answers the warning's id.
    pub async fn warn_of_fraud(&self, payment_intent: &str) -> anyhow::Result<String> {
        let warning = self
            .change(async |work| payments::warn_of_fraud(work, payment_intent).await)
            .await?;
        Ok(warning["id"].as_str().unwrap_or_default().to_owned())
    }

    /// Stripe asks the shop to look at a payment; answers the review's id.
    pub async fn open_review(&self, payment_intent: &str) -> anyhow::Result<String> {
        let review = self
            .change(async |work| payments::open_review(work, payment_intent).await)
            .await?;
        Ok(review["id"].as_str().unwrap_or_default().to_owned())
    }

    /// The shop approves a payment under review.
    pub async fn approve_review(&self, payment_intent: &str) -> anyhow::Result<()> {
        Ok(self
            .change(async |work| payments::approve_review(work, payment_intent).await)
            .await?)
    }

    /// The open dispute of a payment is decided.
    pub async fn close_dispute(&self, payment_intent: &str, won: bool) -> anyhow::Result<()> {
        Ok(self
            .change(async |work| payments::close_dispute(work, payment_intent, won).await)
            .await?)
    }

    /// Expires every open session whose time has come; answers how many.
    pub async fn expire_due(&self) -> anyhow::Result<usize> {
        let expired = self.change_quietly(async |work| {
            let due: Vec<String> = sqlx::query_scalar(
                "select id
                 from stripe_sandbox.objects
                 where object = 'checkout.session'
                   and data ->> 'status' = 'open'
                   and (data ->> 'expires_at')::bigint <= $1
                 order by seq
                 for update skip locked",
            )
            .bind(store::now())
            .fetch_all(&mut *work.conn)
            .await?;
            for session in &due {
                checkout::expire(work, session).await?;
            }
            Ok(due.len())
        });
        Ok(expired.await?)
    }

    /// One change that no API request asked for, with its events, in one transaction.
    async fn change<T>(
        &self,
        change: impl AsyncFnOnce(&mut Work<'_>) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let done = self.change_quietly(change).await?;
        self.inner.news.notify_one();
        Ok(done)
    }

    /// As [`Sandbox::change`], without waking the delivery: for what the delivery itself calls.
    async fn change_quietly<T>(
        &self,
        change: impl AsyncFnOnce(&mut Work<'_>) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let mut tx = self.inner.db.begin().await?;
        let request = json!({"id": null, "idempotency_key": null});
        let mut work = Work {
            conn: &mut tx,
            request,
            pages_url: &self.inner.settings.pages_url,
        };
        let done = change(&mut work).await?;
        tx.commit().await?;
        Ok(done)
    }

    fn next_fault(&self, operation: &str) -> Option<Fault> {
        let mut faults = guard(&self.inner.faults);
        faults.retain(|(_, _, times)| *times > 0);
        let (_, fault, times) = faults
            .iter_mut()
            .find(|(which, ..)| which == "*" || which == operation)?;
        *times -= 1;
        Some(fault.clone())
    }

    fn note(&self, request: Request) -> usize {
        let mut requests = guard(&self.inner.requests);
        let (count, log) = &mut *requests;
        log.push_back(request);
        if log.len() > REMEMBERED {
            log.pop_front();
        }
        *count += 1;
        *count
    }

    fn note_status(&self, number: usize, status: Option<u16>) {
        let mut requests = guard(&self.inner.requests);
        let (count, log) = &mut *requests;
        if let Some(request) = (number + log.len())
            .checked_sub(*count + 1)
            .and_then(|place| log.get_mut(place))
        {
            request.status = status;
        }
    }
}

impl Payment {
    fn buyer(&self) -> &Buyer {
        match self {
            Payment::Card(buyer) | Payment::Delayed(buyer) | Payment::Declined(buyer) => buyer,
        }
    }
}

impl Default for Buyer {
    fn default() -> Buyer {
        Buyer {
            email: "jane@example.com".into(),
            name: "Jane Shopper".into(),
            phone: None,
            address: Address::default(),
            shipping_option: 0,
        }
    }
}

impl Default for Address {
    fn default() -> Address {
        Address {
            line1: "123 Main Street".into(),
            line2: None,
            city: "Portland".into(),
            state: Some("OR".into()),
            postal_code: "97205".into(),
            country: "US".into(),
        }
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn milliseconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_millis)
}
