//! [`App`]: the pools and the outside services, cheap to clone, handed to handlers and jobs.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sqlx::PgPool;
use tokio::sync::Semaphore;

use crate::config::{Config, Secret};
use crate::db::Pools;
use crate::email::Mailer;
use crate::error::Error;
use crate::media::Media;
use crate::metrics::Metrics;
use crate::stripe::Stripe;

#[derive(Clone)]
pub struct App {
    /// The pool of whoever was handed this: requests, unless [`App::for_webhooks`] or [`App::for_worker`] made it.
    pub db: PgPool,
    pub pools: Pools,
    /// How many shoppers' searches may run at once: each keeps a core of the database busy.
    pub searches: Arc<Semaphore>,
    pub stripe: Stripe,
    pub mailer: Mailer,
    pub media: Media,
    pub config: Arc<Config>,
    pub signer: Signer,
    pub metrics: Metrics,
}

impl App {
    /// An app on these pools and this Stripe. The key signs what leaves us and comes back.
    ///
    /// # Errors
    /// When an outside service cannot be set up as the settings describe it.
    pub fn new(pools: Pools, stripe: Stripe, key: Secret, config: Config) -> anyhow::Result<App> {
        Ok(App {
            db: pools.requests.clone(),
            searches: Arc::new(Semaphore::new(pools.searches())),
            pools,
            stripe,
            mailer: Mailer::new(&config)?,
            media: Media::open(&config)?,
            signer: Signer::new(key),
            metrics: Metrics::default(),
            config: Arc::new(config),
        })
    }

    /// The same for Stripe's webhooks, which have connections of their own.
    pub fn for_webhooks(&self) -> App {
        App {
            db: self.pools.webhooks.clone(),
            ..self.clone()
        }
    }

    /// The same for background jobs, which have connections of their own.
    pub fn for_worker(&self) -> App {
        App {
            db: self.pools.worker.clone(),
            ..self.clone()
        }
    }

    /// Draws the conclusions from a failed request or job for the connections that others would be given.
    pub fn note_failure(&self, error: &Error) {
        if let Some(failure) = error.database_failure() {
            self.pools.liveness.note(failure);
        }
    }
}

/// Signs values that leave us and come back: the checkout cookie, the cancel address.
#[derive(Clone)]
pub struct Signer(Secret);

impl Signer {
    pub fn new(key: Secret) -> Signer {
        Signer(key)
    }

    /// `value.signature`. The purpose is signed, too: what was signed for one is worthless for another.
    pub fn sign(&self, purpose: &str, value: &str) -> String {
        let signature = self.mac(purpose, value).finalize().into_bytes();
        let hex = hex::encode(&signature[..16]);
        format!("{value}.{hex}")
    }

    /// The value, if we signed it for this purpose. Takes the same time for every wrong signature.
    pub fn verify<'a>(&self, purpose: &str, signed: &'a str) -> Option<&'a str> {
        let (value, hex) = signed.rsplit_once('.')?;
        let mut signature = [0; 16];
        hex::decode_to_slice(hex, &mut signature).ok()?;
        self.mac(purpose, value)
            .verify_truncated_left(&signature)
            .ok()?;
        Some(value)
    }

    /// 32 bytes that only we can tell from the value, and that tell nothing of our key.
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
