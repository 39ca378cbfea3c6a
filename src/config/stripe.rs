//! Settings of Stripe.

use std::time::Duration;

use super::Secret;
use super::reader::Reader;

/// Minimum length in characters; Stripe's secrets are longer.
const MIN_WEBHOOK_SECRET: usize = 20;
const MIN_STRIPE_KEY: usize = 20;

/// Account and API of Stripe.
#[derive(Clone, Debug)]
pub struct StripeConfig {
    /// `None` means the Stripe sandbox.
    pub secret_key: Option<Secret>,
    pub webhook_secrets: Vec<Secret>,
    pub api_url: Option<String>,
    /// Time-out of one attempt of a call.
    pub timeout: Duration,
    /// The key is of another account than the ids in the database, on purpose: nothing of the catalog is told to Stripe.
    pub rehearsal: bool,
    /// Days after which personal data is removed from the payload of a processed event.
    pub event_retention_days: i32,
}

impl StripeConfig {
    pub(super) fn read(reader: &mut Reader<'_>, production: bool) -> StripeConfig {
        let key = reader.text("STRIPE_SECRET_KEY");
        let secrets = reader.list("STRIPE_WEBHOOK_SECRET");
        let api_url = reader.url("STRIPE_API_URL");
        reader.required("STRIPE_SECRET_KEY", production);
        if production && secrets.is_empty() {
            reader.field_error("STRIPE_WEBHOOK_SECRET", "is required in production");
        }
        if production {
            check_key(reader, key.as_deref());
            if api_url
                .as_deref()
                .is_some_and(|url| !url.starts_with("https://"))
            {
                reader.field_error("STRIPE_API_URL", "must begin with https:// in production");
            }
        }
        check_webhook_secrets(reader, &secrets);
        if key.is_some() && secrets.is_empty() && !production {
            reader.field_error(
                "STRIPE_WEBHOOK_SECRET",
                "is required with STRIPE_SECRET_KEY",
            );
        }
        StripeConfig {
            secret_key: key.map(Secret::new),
            webhook_secrets: secrets.into_iter().map(Secret::new).collect(),
            api_url,
            timeout: reader.seconds("STRIPE_TIMEOUT_SECONDS", 8),
            rehearsal: reader.parsed("STRIPE_REHEARSAL", false, "must be true or false"),
            event_retention_days: reader.counted("STRIPE_EVENT_RETENTION_DAYS", 90, 3650) as i32,
        }
    }

    /// Returns true for a key that moves no real money.
    pub fn has_test_key(&self) -> bool {
        self.secret_key.as_ref().is_some_and(|key| {
            ["sk_test_", "rk_test_"]
                .iter()
                .any(|prefix| key.reveal().starts_with(prefix))
        })
    }

    /// Mode of the key in use: live, or test (like the sandbox). `None` when the key does not show it.
    pub fn is_live(&self) -> Option<bool> {
        match self.secret_key.as_ref().map(Secret::reveal) {
            None => Some(false),
            Some(key) if key.contains("_test_") => Some(false),
            Some(key) if key.contains("_live_") => Some(true),
            Some(_) => None,
        }
    }
}

fn check_key(reader: &mut Reader<'_>, key: Option<&str>) {
    let Some(key) = key else { return };
    if !["sk_", "rk_"].iter().any(|prefix| key.starts_with(prefix)) {
        reader.field_error(
            "STRIPE_SECRET_KEY",
            "is not a Stripe secret key (sk_… or rk_…)",
        );
    } else if key.len() < MIN_STRIPE_KEY {
        reader.field_error(
            "STRIPE_SECRET_KEY",
            &format!("is too short: Stripe's keys have at least {MIN_STRIPE_KEY} characters"),
        );
    }
}

fn check_webhook_secrets(reader: &mut Reader<'_>, secrets: &[String]) {
    if secrets.iter().any(|secret| !secret.starts_with("whsec_")) {
        reader.field_error(
            "STRIPE_WEBHOOK_SECRET",
            "must be a comma list of Stripe signing secrets (whsec_…)",
        );
    } else if secrets
        .iter()
        .any(|secret| secret.len() < MIN_WEBHOOK_SECRET)
    {
        reader.field_error(
            "STRIPE_WEBHOOK_SECRET",
            &format!(
                "is too short: a signing secret has at least {MIN_WEBHOOK_SECRET} characters, whsec_ included. Copy it \
                 from Stripe's dashboard (Developers > Webhooks)"
            ),
        );
    }
}
