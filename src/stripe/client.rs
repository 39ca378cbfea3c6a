//! The client itself: one request, with its time-out, its retries and its errors.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use serde_json::Value;
use stripe_client_core::{CustomizedStripeRequest, StripeClient, StripeRequest};
use stripe_types::Currency;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::lenient::read_json;
use crate::config::Secret;

/// Entries per page: Stripe's maximum.
pub(super) const PAGE: i64 = 100;

/// Shorter than the lifetime of Stripe's idempotency keys. After this time a repeat may be a new call, so the result of
/// the first one must be searched for.
///
/// Source: <https://docs.stripe.com/api/idempotent_requests>
pub const KEY_LIFETIME: Duration = Duration::from_secs(20 * 3600);

/// Failures of a Stripe call, sorted by what is known about its effect.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StripeError {
    /// Stripe rejected the request. Nothing was done, and retrying is useless.
    #[error("Stripe refused ({status}, {code}): {message}")]
    Refused {
        status: u16,
        code: String,
        message: String,
    },
    /// No effect, and a retry may succeed: no connection, too many requests, a wrong key.
    #[error("Stripe is not available: {0}")]
    Unavailable(String),
    /// Unknown effect: no response in time, a dropped connection, a response of a proxy.
    #[error("Stripe's answer is unknown: {0}")]
    Unknown(String),
    /// A 5xx of Stripe itself: the request is over, and may have had its effect. Stripe repeats the response under the same
    /// idempotency key for a day, so when its list shows no effect, another key has to be used.
    ///
    /// Source: <https://docs.stripe.com/api/idempotent_requests>
    #[error("Stripe failed: {0}")]
    Failed(String),
}

impl StripeError {
    /// Returns true when Stripe reports that the object does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, StripeError::Refused { status: 404, .. })
            || matches!(self, StripeError::Refused { code, .. } if code == "resource_missing")
    }

    /// Returns true for a refusal with this code.
    pub fn is_code(&self, wanted: &str) -> bool {
        matches!(self, StripeError::Refused { code, .. } if code == wanted)
    }
}

/// A result of a call of Stripe.
pub type Result<T> = std::result::Result<T, StripeError>;

/// Checks for a possible Stripe id, generated or custom: 1 to 255 of `A-Za-z0-9_-.`, without a leading dot. Ids become
/// part of a URL without escaping, so other characters would change the URL.
pub fn is_id(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (1..=255).contains(&text.len()) && text.chars().all(is_plain) && !text.starts_with('.')
}

/// The API client, for Stripe or the sandbox: only the address differs. Cheap to clone.
#[derive(Clone)]
pub struct Stripe {
    client: Arc<stripe::Client>,
    timeout: Duration,
    /// The account of the key, once it is known.
    pub(super) account: Arc<OnceCell<Option<String>>>,
}

impl Stripe {
    /// Creates a client for this key. The time-out bounds one attempt; a call with its retries takes at most half as
    /// long again.
    ///
    /// # Errors
    /// When the key cannot be a header value, or the address is malformed.
    pub fn new(key: &Secret, api_url: Option<&str>, timeout: Duration) -> anyhow::Result<Stripe> {
        let mut builder = stripe::ClientBuilder::new(key.reveal());
        if let Some(url) = api_url {
            builder = builder.url(format!("{}/", url.trim_end_matches('/')));
        }
        let client = builder
            .build()
            .map_err(|error| anyhow::anyhow!("setting up Stripe's client: {error}"))?;
        Ok(Stripe {
            client: Arc::new(client),
            timeout,
            account: Arc::default(),
        })
    }

    pub(super) async fn page<R: StripeRequest>(&self, request: &R, what: &str) -> Result<ListPage> {
        let mut answer = self.call(request, None).await?;
        match answer["data"].take() {
            Value::Array(entries) => Ok(ListPage {
                entries,
                has_more: answer["has_more"].as_bool().unwrap_or(false),
            }),
            _ => Err(unreadable(what)),
        }
    }

    /// Sends a request, up to three times if a retry may help, within one and a half time-outs.
    pub(super) async fn call<R: StripeRequest>(
        &self,
        request: &R,
        key: Option<String>,
    ) -> Result<Value> {
        let deadline = Instant::now() + self.timeout * 3 / 2;
        let mut pause = Duration::from_millis(100);
        let mut tries = 1;
        let mut doubt = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let tried = self
                .try_once(request, key.as_deref(), left.min(self.timeout))
                .await;
            let error = match tried {
                // Of these the last counts. After a 5xx the request may have begun anew and still be under way.
                Err(error @ (StripeError::Unknown(_) | StripeError::Failed(_))) => {
                    doubt.insert(error).clone()
                }
                // A later attempt without effect says nothing about an earlier one.
                Err(error @ StripeError::Unavailable(_)) => doubt.clone().unwrap_or(error),
                settled => return settled,
            };
            if tries == 3 || Instant::now() + pause >= deadline {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause *= 3;
            tries += 1;
        }
    }

    async fn try_once<R: StripeRequest>(
        &self,
        request: &R,
        key: Option<&str>,
        timeout: Duration,
    ) -> Result<Value> {
        let request = request.build();
        if !request.path.split('/').skip(1).all(is_id) {
            return Err(StripeError::Refused {
                status: 400,
                code: "not_sent".to_owned(),
                message: "an id has characters that no Stripe id has".to_owned(),
            });
        }
        let strategy = match key {
            Some(key) => stripe::RequestStrategy::Idempotent(
                stripe::IdempotencyKey::new(key)
                    .map_err(|error| StripeError::Unavailable(error.to_string()))?,
            ),
            None => stripe::RequestStrategy::Once,
        };
        let capture = Capture {
            client: &self.client,
            answer: Mutex::new(Bytes::new()),
        };
        request
            .customize::<HashMap<String, String>>()
            .request_strategy(strategy)
            .timeout(timeout)
            .send(&capture)
            .await
            .map_err(sort)?;
        let answer = capture
            .answer
            .into_inner()
            .expect("nothing panics while it holds this lock");
        read_json(&answer).map_err(|error| StripeError::Unknown(error.to_string()))
    }
}

/// One page of any list, with raw JSON entries.
pub(super) struct ListPage {
    pub(super) entries: Vec<Value>,
    pub(super) has_more: bool,
}

/// Captures the response bytes and shows the library an empty object instead. Its own types reject responses that lack
/// a field or have a new value in another version of the API.
struct Capture<'a> {
    client: &'a stripe::Client,
    answer: Mutex<Bytes>,
}

impl StripeClient for Capture<'_> {
    type Err = stripe::StripeError;

    async fn execute(
        &self,
        request: CustomizedStripeRequest,
    ) -> std::result::Result<Bytes, Self::Err> {
        let answer = self.client.execute(request).await?;
        *self
            .answer
            .lock()
            .expect("nothing panics while it holds this lock") = answer;
        Ok(Bytes::from_static(b"{}"))
    }
}

/// Sorts an error of the library.
///
/// Source: <https://docs.stripe.com/error-low-level>
fn sort(error: stripe::StripeError) -> StripeError {
    use stripe::StripeError as Theirs;
    match error {
        Theirs::Stripe(error, status) => {
            let code = error
                .code
                .as_ref()
                .map(|code| code.as_str().to_owned())
                .unwrap_or_default();
            let message = error.message.clone().unwrap_or_default();
            match status {
                // The key was used with a different request, which may have been carried out.
                400 if error.type_ == stripe::ApiErrorsType::IdempotencyError => {
                    StripeError::Unknown(
                        "the idempotency key was used for another request".to_owned(),
                    )
                }
                400 | 402 | 404 => StripeError::Refused {
                    status,
                    code,
                    message,
                },
                401 | 403 | 429 => StripeError::Unavailable(format!("{status} {code}")),
                // The proxy gave up waiting; the request may still be under way.
                502 | 504 => StripeError::Unknown(format!("{status} {code}")),
                500.. => StripeError::Failed(format!("{status} {code}")),
                _ => StripeError::Unknown(format!("{status} {code}")),
            }
        }
        // This word in the text is the library's only sign that no connection was made.
        Theirs::ClientError(text) if text.contains("(Connect)") => StripeError::Unavailable(text),
        Theirs::ConfigError(text) => StripeError::Unavailable(text),
        Theirs::ClientError(text) | Theirs::JSONDeserialize(text) => StripeError::Unknown(text),
        Theirs::Timeout => StripeError::Unknown("no answer in time".to_owned()),
    }
}

pub(super) fn unreadable(what: &str) -> StripeError {
    StripeError::Unknown(format!("an unreadable {what}"))
}

/// Reads the code of a currency. Stripe's own type takes any code.
pub(super) fn currency(code: &str) -> Currency {
    code.parse().unwrap_or_else(|error| match error {})
}
