//! The stage of every test: a shop, its callers, and what stands around it.

mod client;
pub mod database;
pub mod forms;
pub mod images;
pub mod intakes;
mod lines;
pub mod logs;
mod mail;
mod pooler;
mod shop;
mod smtp;
mod snapshots;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::path::PathBuf;
use stripe_sandbox::{Buyer, Payment};
use tokio::sync::{Semaphore, SemaphorePermit};

pub use client::{Answer, Client, form_of, read_answer, send_raw, session_of};
pub use database::Database;
pub use lines::Lines;
pub use mail::Mail;
pub use pooler::Pooler;
pub use shop::{Leftover, Shop};
pub use smtp::{MailServer, Safety, Trouble};
pub use snapshots::Snapshots;

pub const WEBHOOK_SECRET: &str = "whsec_0123456789abcdef";

pub const FORMER_WEBHOOK_SECRET: &str = "whsec_fedcba9876543210";

pub const SECRET_KEY: &str = "a key of thirty-two letters, for tests";

pub const STRIPE_KEY: &str = "sk_test_0123456789abcdef";

/// A setting for tests in which many callers at once keep Stripe busy, who is not to be found slow.
pub const PATIENT: (&str, &str) = ("STRIPE_TIMEOUT_SECONDS", "10");

/// A `Stripe-Signature` header of this time (Unix seconds).
pub fn sign(secret: &str, time: i64, payload: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(format!("{time}.").as_bytes());
    mac.update(payload);
    let bytes = mac.finalize().into_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time},v1={hex}")
}

/// A seat for a test that takes as much of the machine as many others: two at a time, or all would be slow.
pub async fn heavy() -> SemaphorePermit<'static> {
    static SEATS: Semaphore = Semaphore::const_new(2);
    SEATS.acquire().await.expect("never closed")
}

/// A time zone in which it is about noon: no day ends while a test runs.
pub fn zone_at_noon() -> String {
    let hour = chrono::Timelike::hour(&chrono::Utc::now());
    // Etc/GMT+3 is three hours behind.
    format!("Etc/GMT{:+}", i64::from(hour) - 12)
}

/// The seed of continuous integration, where a change must not fail by what chance tries in that run alone. Elsewhere each
/// run tries something new.
pub fn seed_of_ci() -> Option<u64> {
    std::env::var_os("CI").is_some().then_some(1)
}

/// The program under test; `SHOP_PROGRAM` names another build of it.
pub fn program() -> PathBuf {
    std::env::var_os("SHOP_PROGRAM")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_spirit-beads").into())
        .into()
}

/// Lets all of these happen at the same time; returns what each came to, in their order.
pub async fn at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("no panic"));
    }
    results
}

/// A payment by card from the United States.
pub fn card() -> Payment {
    Payment::Card(Buyer::default())
}

/// A payment by a method that takes days.
pub fn delayed() -> Payment {
    Payment::Delayed(Buyer::default())
}
