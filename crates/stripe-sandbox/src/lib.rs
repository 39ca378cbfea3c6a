#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

// A module imports only from the modules above it, and `Sandbox` itself, whose methods most of them extend.
mod error;
mod fault;
mod money;
mod request_log;
mod types;

mod store;

mod objects;

mod actions;
mod webhooks;

mod api;
mod pages;

pub use error::Error;
pub use fault::Fault;
pub use request_log::Request;
pub use types::{Address, Buyer, NewDispute, Payment};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::Notify;

use error::ApiResult;
use fault::PlannedFaults;
use request_log::RequestLog;
use store::Transaction;

/// SQL that makes the sandbox's schema. [`Sandbox::open`] runs it; a test harness can key a template database by it.
pub const SCHEMA: &str = include_str!("store/schema.sql");

/// Surroundings of a sandbox.
#[derive(Clone)]
pub struct Settings {
    /// The merchant's name on the pages and, in capitals, on card statements.
    pub business_name: String,
    /// The one secret key that the API accepts.
    pub secret_key: String,
    /// The secret that signs webhooks.
    pub webhook_secret: String,
    /// The address that events are posted to; plain `http`.
    pub webhook_url: String,
    /// The address under which browsers reach [`Sandbox::pages`], such as `http://127.0.0.1:8000/sandbox`.
    pub pages_url: String,
}

/// One Stripe account in test mode. Cheap to clone.
///
/// All of its state is in PostgreSQL, save planned faults and the log of requests, which belong to the process.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    db: PgPool,
    settings: Settings,
    /// Wakes [`Sandbox::run`] when there may be an event to deliver.
    delivery_due: Notify,
    faults: Mutex<PlannedFaults>,
    requests: Mutex<RequestLog>,
}

impl Sandbox {
    /// Opens the sandbox in a database, and makes its schema there if there is none.
    ///
    /// # Errors
    /// [`Error::Database`] if the database is not reachable or refuses the schema.
    pub async fn open(db: PgPool, settings: Settings) -> Result<Sandbox, Error> {
        let is_made: bool =
            sqlx::query_scalar("select to_regclass('stripe_sandbox.deliveries_due') is not null")
                .fetch_one(&db)
                .await?;
        if !is_made {
            let mut tx = db.begin().await?;
            // `if not exists` does not keep two processes from making the same schema at once.
            sqlx::query("select pg_advisory_xact_lock(hashtext('stripe_sandbox'))")
                .execute(&mut *tx)
                .await?;
            sqlx::raw_sql(SCHEMA).execute(&mut *tx).await?;
            tx.commit().await?;
        }
        let pages_url = settings.pages_url.trim_end_matches('/').to_owned();
        Ok(Sandbox {
            inner: Arc::new(Inner {
                db,
                settings: Settings {
                    pages_url,
                    ..settings
                },
                delivery_due: Notify::new(),
                faults: Mutex::default(),
                requests: Mutex::default(),
            }),
        })
    }

    /// Stripe's API under `/v1/`, and the sandbox's own interface under `/_sandbox/`.
    pub fn api(&self) -> axum::Router {
        api::router(self.clone())
    }

    /// The web pages: the dashboard at `/`, payment pages at `/pay/{session}` and `/link/{payment_link}`.
    pub fn pages(&self) -> axum::Router {
        pages::router(self.clone())
    }

    /// Returns all events, oldest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn events(&self) -> Result<Vec<Value>, Error> {
        let events = sqlx::query_scalar(
            "select data from stripe_sandbox.objects where object = 'event' order by seq",
        );
        Ok(events.fetch_all(&self.inner.db).await?)
    }

    /// Makes the next `times` requests of an operation, such as `POST /v1/prices/{id}`, fail; or of any, for `*`.
    pub fn fail_next(&self, operation: &str, fault: Fault, times: u32) {
        lock(&self.inner.faults).add(operation, fault, times);
    }

    /// Cancels the faults that no request has met yet.
    pub fn clear_faults(&self) {
        lock(&self.inner.faults).clear();
    }

    /// Returns the last 1000 requests to this process's API, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.inner.requests).to_vec()
    }

    /// Runs one change outside of the API, with its events, in one transaction, and wakes the delivery.
    async fn change<T>(
        &self,
        change: impl AsyncFnOnce(&mut Transaction<'_>) -> ApiResult<T>,
    ) -> ApiResult<T> {
        let changed = self.change_quietly(change).await?;
        self.inner.delivery_due.notify_one();
        Ok(changed)
    }

    /// As [`Sandbox::change`], for changes that the delivery's own loop makes: woken by them, it would never rest.
    async fn change_quietly<T>(
        &self,
        change: impl AsyncFnOnce(&mut Transaction<'_>) -> ApiResult<T>,
    ) -> ApiResult<T> {
        let mut conn = self.inner.db.begin().await?;
        let mut tx = Transaction {
            conn: &mut conn,
            request: json!({"id": null, "idempotency_key": null}),
            settings: &self.inner.settings,
        };
        let changed = change(&mut tx).await?;
        conn.commit().await?;
        Ok(changed)
    }
}

/// Locks a mutex. A panic elsewhere leaves no half-written state in the values locked here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
