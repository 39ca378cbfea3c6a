//! [`App`]: connection pools and external services, cheap to clone, passed to handlers and jobs.

pub mod metrics;

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sqlx::PgPool;
use tokio::sync::Semaphore;

use crate::app::metrics::Metrics;
use crate::config::{Config, Secret};
use crate::db::Pools;
use crate::error::Error;
use crate::mail::Mailer;
use crate::storage::Storage;
use crate::stripe::Stripe;

/// Everything that handlers and jobs share.
#[derive(Clone)]
pub struct App {
    /// Pool of the current context: that of requests, unless [`App::for_webhooks`] or [`App::for_worker`] created this
    /// value.
    pub db: PgPool,
    pub pools: Pools,
    /// Limits concurrent searches: each occupies a core of the database server.
    pub searches: Arc<Semaphore>,
    pub stripe: Stripe,
    pub mailer: Mailer,
    pub storage: Storage,
    pub config: Arc<Config>,
    pub signer: Signer,
    pub metrics: Metrics,
}

impl App {
    /// Creates an app. The key signs values that clients return to the shop.
    ///
    /// # Errors
    /// If an external service cannot be set up with this configuration.
    pub fn new(pools: Pools, stripe: Stripe, key: Secret, config: Config) -> anyhow::Result<App> {
        Ok(App {
            db: pools.requests.clone(),
            searches: Arc::new(Semaphore::new(pools.searches())),
            pools,
            stripe,
            mailer: Mailer::new(&config)?,
            storage: Storage::open(&config)?,
            signer: Signer::new(key),
            metrics: Metrics::default(),
            config: Arc::new(config),
        })
    }

    /// Returns a copy for Stripe's webhooks, which have their own connections.
    pub fn for_webhooks(&self) -> App {
        App {
            db: self.pools.webhooks.clone(),
            ..self.clone()
        }
    }

    /// Returns a copy for background jobs, which have their own connections.
    pub fn for_worker(&self) -> App {
        App {
            db: self.pools.worker.clone(),
            ..self.clone()
        }
    }

    /// Reports a failed request or job to the liveness check of the pools, so that broken connections are not reused.
    pub fn note_failure(&self, error: &Error) {
        if let Some(failure) = error.database_failure() {
            self.pools.liveness.note(failure);
        }
    }
}

/// Signs values that clients return to the shop, such as the checkout cookie and the cancel URL.
#[derive(Clone)]
pub struct Signer(Secret);

impl Signer {
    /// Creates a signer with a key.
    pub fn new(key: Secret) -> Signer {
        Signer(key)
    }

    /// Returns `value.signature`. The purpose is part of the signature, so the result is valid for this purpose only.
    pub fn sign(&self, purpose: &str, value: &str) -> String {
        let signature = self.mac(purpose, value).finalize().into_bytes();
        let hex = hex::encode(&signature[..16]);
        format!("{value}.{hex}")
    }

    /// Returns the value if its signature is valid for this purpose. Takes constant time for wrong signatures.
    pub fn verify<'a>(&self, purpose: &str, signed: &'a str) -> Option<&'a str> {
        let (value, hex) = signed.rsplit_once('.')?;
        let mut signature = [0; 16];
        hex::decode_to_slice(hex, &mut signature).ok()?;
        self.mac(purpose, value)
            .verify_truncated_left(&signature)
            .ok()?;
        Some(value)
    }

    /// Derives 32 bytes from the value. Without the key, they cannot be computed, and they reveal nothing about it.
    pub fn derive(&self, purpose: &str, value: &str) -> [u8; 32] {
        self.mac(purpose, value).finalize().into_bytes().into()
    }

    fn mac(&self, purpose: &str, value: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.reveal().as_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        mac.update(b"\0");
        mac.update(value.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_for_the_purpose_is_believed() {
        let signer = Signer::new(Secret::new("a key"));
        let signed = signer.sign("cancel", "order");
        assert_eq!(signer.verify("cancel", &signed), Some("order"));
        assert_eq!(signer.verify("cookie", &signed), None);
        assert_eq!(
            signer.verify("cancel", &signed.replace("order", "other")),
            None
        );
        assert_eq!(
            Signer::new(Secret::new("another")).verify("cancel", &signed),
            None
        );
        for junk in [
            "",
            ".",
            "order",
            "order.",
            "order.zz",
            "order.ééééééééééééééééé",
        ] {
            assert_eq!(signer.verify("cancel", junk), None, "{junk}");
        }
    }
}
