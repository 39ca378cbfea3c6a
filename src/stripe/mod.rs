//! Client of the Stripe API. Requests use async-stripe's types; responses are read by our own code, field by field, so
//! that a new version of Stripe's API is never an error.

mod lenient;
mod payment_link;
mod refund;
mod session;
mod signature;

pub use lenient::read_json;
pub use payment_link::{NewPaymentLink, PaymentLink};
pub use refund::{Refund, RefundStatus};
pub use session::{
    COUNTRIES, NewSession, PaymentStatus, Session, SessionLine, SessionPiece, SessionStatus,
    ShippingOption, amount,
};
pub use signature::{SignatureError, verify};

use std::collections::HashMap;
use std::convert::Infallible;
use std::iter;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use serde_json::Value;
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionAdaptivePricing, CreateCheckoutSessionLineItems,
    CreateCheckoutSessionLineItemsPriceData, CreateCheckoutSessionPaymentIntentData,
    CreateCheckoutSessionShippingAddressCollection, CreateCheckoutSessionShippingOptions,
    CreateCheckoutSessionShippingOptionsShippingRateData,
    CreateCheckoutSessionShippingOptionsShippingRateDataDeliveryEstimate as DeliveryEstimate,
    CreateCheckoutSessionShippingOptionsShippingRateDataDeliveryEstimateMaximum as Most,
    CreateCheckoutSessionShippingOptionsShippingRateDataDeliveryEstimateMaximumUnit as MostUnit,
    CreateCheckoutSessionShippingOptionsShippingRateDataDeliveryEstimateMinimum as Least,
    CreateCheckoutSessionShippingOptionsShippingRateDataDeliveryEstimateMinimumUnit as LeastUnit,
    CreateCheckoutSessionShippingOptionsShippingRateDataFixedAmount as FixedAmount,
    CreateCheckoutSessionShippingOptionsShippingRateDataTaxBehavior as TaxBehavior,
    CreateCheckoutSessionShippingOptionsShippingRateDataType as RateType, ExpireCheckoutSession,
    ListCheckoutSession, ProductData, RetrieveCheckoutSession,
};
use stripe_client_core::{CustomizedStripeRequest, StripeClient, StripeRequest};
use stripe_core::event::ListEvent;
use stripe_core::refund::{CreateRefund, ListRefund};
use stripe_payment::payment_link::{
    AfterCompletionRedirectParams, CompletedSessionsParams, CreatePaymentLink,
    CreatePaymentLinkAfterCompletion, CreatePaymentLinkAfterCompletionType,
    CreatePaymentLinkLineItems, CreatePaymentLinkLineItemsPriceData,
    CreatePaymentLinkLineItemsPriceDataProductData, CreatePaymentLinkPaymentIntentData,
    CreatePaymentLinkShippingAddressCollection, ListPaymentLink, RestrictionsParams,
    UpdatePaymentLink,
};
use stripe_product::price::{CreatePrice, RetrievePrice, UpdatePrice};
use stripe_product::product::{CreateProduct, UpdateProduct};
use stripe_shared::CheckoutSessionMode;
use stripe_types::{Currency, RangeBoundsTs, RangeQueryTs};
use tokio::time::Instant;

use crate::config::Secret;
use crate::types::ids::{QuoteId, RefundId};
use crate::types::money::Cents;

/// Entries per page: Stripe's maximum.
const PAGE: i64 = 100;

/// Pages of payment links searched, newest first, for a link whose answer was lost. A link beyond them cannot be ruled
/// out, so the limit covers all links of decades; otherwise a lost answer would never be settled.
const LINK_PAGES: usize = 100;

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
}

/// Desired state of a product at Stripe.
#[derive(Clone, Debug)]
pub struct ProductParams {
    /// Stripe's id, chosen by us at creation.
    pub id: String,
    pub name: String,
    pub image: Option<String>,
    pub active: bool,
    pub our_id: String,
}

impl ProductParams {
    fn metadata(&self) -> HashMap<String, String> {
        HashMap::from([("product_id".to_owned(), self.our_id.clone())])
    }
}

/// A price at Stripe.
#[derive(Clone, Debug)]
pub struct Price {
    pub id: String,
    pub amount: Option<i64>,
    pub currency: String,
    pub active: bool,
    pub product: String,
}

/// A refund to request.
#[derive(Clone, Debug)]
pub struct RefundRequest<'a> {
    /// Our id, stored in the refund's metadata.
    pub id: RefundId,
    /// The idempotency key.
    pub key: String,
    pub payment_intent: &'a str,
    pub amount: Cents,
    /// For Stripe's dashboard; may be empty.
    pub reason: &'a str,
}

/// One page of events, newest first, as raw JSON.
pub struct EventPage {
    pub events: Vec<Value>,
    pub has_more: bool,
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
        })
    }

    /// Creates a Checkout Session. The order's id is the idempotency key, so a repeat returns the same session.
    ///
    /// # Errors
    /// See [`StripeError`]. After `Unknown` the session may exist without the shop's knowledge.
    pub async fn create_session(&self, new: &NewSession) -> Result<Session> {
        let lines: Vec<_> = new
            .lines
            .iter()
            .map(|line| line_item(line, &new.currency))
            .collect();
        let first = shipping_option(
            &new.shipping_name,
            new.shipping_price,
            new.shipping_days,
            &new.currency,
        );
        let others = new
            .other_shipping
            .iter()
            .map(|other| shipping_option(&other.name, other.price, other.days, &new.currency));
        let metadata = new.metadata();
        let mut intent = CreateCheckoutSessionPaymentIntentData::new();
        intent.metadata = Some(HashMap::from([
            ("order_id".to_owned(), new.order.to_string()),
            ("order_number".to_owned(), new.order_number.clone()),
        ]));
        let request = CreateCheckoutSession::new()
            .mode(CheckoutSessionMode::Payment)
            // The shopper pays in the shop's currency, because the payment is compared with the order.
            .adaptive_pricing(CreateCheckoutSessionAdaptivePricing {
                enabled: Some(false),
            })
            .line_items(lines)
            .client_reference_id(new.order.to_string())
            .expires_at(new.expires_at.timestamp())
            .metadata(metadata)
            .payment_intent_data(intent)
            .shipping_options(iter::once(first).chain(others).collect::<Vec<_>>())
            .shipping_address_collection(CreateCheckoutSessionShippingAddressCollection::new(
                countries(&new.countries),
            ))
            .success_url(&new.success_url)
            .cancel_url(&new.cancel_url);
        let answer = self
            .call(&request, Some(format!("order-{}", new.order)))
            .await?;
        read_session(&answer)
    }

    /// Retrieves a session.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn find_session(&self, id: &str) -> Result<Session> {
        read_session(&self.call(&RetrieveCheckoutSession::new(id), None).await?)
    }

    /// Expires a session, so that it can no longer be paid, and returns it: `expired`, or `complete` when the payment
    /// was faster. Safe to repeat.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn expire_session(&self, id: &str) -> Result<Session> {
        match self.call(&ExpireCheckoutSession::new(id), None).await {
            Ok(answer) => read_session(&answer),
            // Stripe refuses to expire a session that is not open, without naming its status.
            Err(error @ StripeError::Refused { .. }) if !error.is_missing() => {
                self.find_session(id).await
            }
            Err(error) => Err(error),
        }
    }

    /// All sessions opened by a payment link, newest first. Each visit of the link's page opens one.
    ///
    /// Source: <https://docs.stripe.com/api/payment-link>
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn list_link_sessions(&self, link: &str) -> Result<Vec<Session>> {
        let mut sessions: Vec<Session> = Vec::new();
        loop {
            let mut request = ListCheckoutSession::new().payment_link(link).limit(PAGE);
            if let Some(last) = sessions.last() {
                request = request.starting_after(&last.id);
            }
            let page = self.page(&request, "session list").await?;
            for session in &page.entries {
                sessions.push(read_session(session)?);
            }
            if !page.has_more || page.entries.is_empty() {
                return Ok(sessions);
            }
        }
    }

    /// Creates a payment link for one payment. Safe to repeat under the same key: a repeat returns the same link, for
    /// the 24 hours that Stripe keeps keys.
    ///
    /// The one payment counts when a session is complete, so a delayed payment that fails later has used up the link.
    /// Source: <https://docs.stripe.com/payment-links/customize>
    ///
    /// # Errors
    /// See [`StripeError`]. After `Unknown` the link may exist without the shop's knowledge;
    /// [`Stripe::find_payment_link`] finds it.
    pub async fn create_payment_link(&self, new: &NewPaymentLink) -> Result<PaymentLink> {
        let mut lines = vec![link_line(
            &new.name,
            new.description_sent(),
            new.amount,
            &new.currency,
        )];
        // Shipping options of a link must be rates created in advance; a separate line has the same effect.
        if new.shipping != Cents(0) {
            lines.push(link_line(
                &new.shipping_name,
                None,
                new.shipping,
                &new.currency,
            ));
        }
        let metadata = HashMap::from([
            // The old service's name, which its links still in use have.
            ("custom_request_id".to_owned(), new.custom_order.to_string()),
            ("quote_id".to_owned(), new.quote.to_string()),
            ("quote_signature".to_owned(), new.signature.clone()),
        ]);
        let mut intent = CreatePaymentLinkPaymentIntentData::new();
        intent.metadata = Some(metadata.clone());
        let mut after =
            CreatePaymentLinkAfterCompletion::new(CreatePaymentLinkAfterCompletionType::Redirect);
        after.redirect = Some(AfterCompletionRedirectParams::new(&new.return_url));
        let request = CreatePaymentLink::new(lines)
            .restrictions(RestrictionsParams::new(CompletedSessionsParams::new(1)))
            .inactive_message(payment_link::INACTIVE_MESSAGE)
            .metadata(metadata)
            .payment_intent_data(intent)
            .shipping_address_collection(CreatePaymentLinkShippingAddressCollection::new(
                countries(&new.countries),
            ))
            .after_completion(after);
        read_payment_link(&self.call(&request, Some(new.key.clone())).await?)
    }

    /// Closes a payment link: its page opens no more sessions. Open sessions stay payable until they expire; see
    /// [`Stripe::list_link_sessions`]. Safe to repeat.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn deactivate_payment_link(&self, id: &str) -> Result<()> {
        // No key is needed, because the value is absolute.
        self.call(&UpdatePaymentLink::new(id).active(false), None)
            .await?;
        Ok(())
    }

    /// Finds the payment link of a quote, closed and paid ones included, when the answer to its creation was lost.
    ///
    /// # Errors
    /// See [`StripeError`]; `Unknown` also when there are more links than are searched.
    pub async fn find_payment_link(&self, quote: QuoteId) -> Result<Option<PaymentLink>> {
        let quote = quote.to_string();
        let mut last: Option<PaymentLink> = None;
        for _ in 0..LINK_PAGES {
            let mut request = ListPaymentLink::new().limit(PAGE);
            if let Some(last) = &last {
                request = request.starting_after(&last.id);
            }
            let page = self.page(&request, "payment link list").await?;
            if let Some(found) = page
                .entries
                .iter()
                .find(|link| link["metadata"]["quote_id"] == quote)
            {
                return read_payment_link(found).map(Some);
            }
            match page.entries.last() {
                Some(link) if page.has_more => last = Some(read_payment_link(link)?),
                _ => return Ok(None),
            }
        }
        // "None" would be a guess.
        Err(StripeError::Unknown(format!(
            "not among the newest {} payment links",
            PAGE * LINK_PAGES as i64
        )))
    }

    /// Creates a product under a given id, or updates the existing one. Safe to repeat.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn create_product(&self, product: &ProductParams, key: &str) -> Result<()> {
        let mut request = CreateProduct::new(&product.name)
            .id(&product.id)
            .active(product.active)
            .shippable(true)
            .metadata(product.metadata());
        if let Some(image) = &product.image {
            request = request.images(vec![image.clone()]);
        }
        match self.call(&request, Some(key.to_owned())).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_code("resource_already_exists") => {
                self.update_product(product).await
            }
            Err(error) => Err(error),
        }
    }

    /// Updates a product. Safe to repeat.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn update_product(&self, product: &ProductParams) -> Result<()> {
        let images: Vec<String> = product.image.iter().cloned().collect();
        let request = UpdateProduct::new(product.id.as_str())
            .name(&product.name)
            .active(product.active)
            .images(images)
            .metadata(product.metadata());
        // No key: the values are absolute, and under a key Stripe would repeat a failure for a day.
        self.call(&request, None).await?;
        Ok(())
    }

    /// Retrieves a price.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn find_price(&self, id: &str) -> Result<Price> {
        read_price(&self.call(&RetrievePrice::new(id), None).await?)
    }

    /// Creates a price for a product. Safe to repeat under the same key.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn create_price(
        &self,
        product: &str,
        amount: Cents,
        code: &str,
        key: &str,
    ) -> Result<Price> {
        let request = CreatePrice::new(currency(code))
            .product(product)
            .unit_amount(amount.0);
        read_price(&self.call(&request, Some(key.to_owned())).await?)
    }

    /// Sets the default price of a product. Safe to repeat.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn set_default_price(&self, product: &str, price: &str) -> Result<()> {
        self.call(&UpdateProduct::new(product).default_price(price), None)
            .await?;
        Ok(())
    }

    /// Archives a price, which must not be its product's default. Safe to repeat.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn archive_price(&self, price: &str) -> Result<()> {
        self.call(&UpdatePrice::new(price).active(false), None)
            .await?;
        Ok(())
    }

    /// Makes a refund. `key` is the idempotency key: a repeat with the same key and amount returns the same refund.
    ///
    /// # Errors
    /// See [`StripeError`]; `charge_already_refunded` is a refusal.
    pub async fn refund(&self, new: &RefundRequest<'_>) -> Result<Refund> {
        let mut metadata = HashMap::from([("refund_id".to_owned(), new.id.to_string())]);
        if !new.reason.is_empty() {
            metadata.insert("reason".to_owned(), new.reason.to_owned());
        }
        let request = CreateRefund::new()
            .payment_intent(new.payment_intent)
            .amount(new.amount.0)
            .metadata(metadata);
        read_refund(&self.call(&request, Some(new.key.clone())).await?)
    }

    /// All refunds of a payment, newest first: ours and the dashboard's, failed ones included.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn list_refunds(&self, payment_intent: &str) -> Result<Vec<Refund>> {
        let mut refunds: Vec<Refund> = Vec::new();
        loop {
            let mut request = ListRefund::new().payment_intent(payment_intent).limit(PAGE);
            if let Some(last) = refunds.last() {
                request = request.starting_after(&last.id);
            }
            let page = self.page(&request, "refund list").await?;
            for refund in &page.entries {
                refunds.push(read_refund(refund)?);
            }
            if !page.has_more || page.entries.is_empty() {
                return Ok(refunds);
            }
        }
    }

    /// One page of events of these types since a moment, newest first; `after` is the last id of the previous page.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn list_events(
        &self,
        types: &[&str],
        since: DateTime<Utc>,
        after: Option<&str>,
    ) -> Result<EventPage> {
        let bounds = RangeBoundsTs {
            gte: Some(since.timestamp()),
            ..RangeBoundsTs::default()
        };
        let types: Vec<String> = types.iter().map(|&name| name.to_owned()).collect();
        let mut request = ListEvent::new()
            .created(RangeQueryTs::Bounds(bounds))
            .types(types)
            .limit(PAGE);
        if let Some(id) = after {
            request = request.starting_after(id);
        }
        let page = self.page(&request, "event list").await?;
        Ok(EventPage {
            events: page.entries,
            has_more: page.has_more,
        })
    }

    async fn page<R: StripeRequest>(&self, request: &R, what: &str) -> Result<ListPage> {
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
    async fn call<R: StripeRequest>(&self, request: &R, key: Option<String>) -> Result<Value> {
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
struct ListPage {
    entries: Vec<Value>,
    has_more: bool,
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

fn read_refund(answer: &Value) -> Result<Refund> {
    Refund::read(answer).ok_or_else(|| unreadable("refund"))
}

fn unreadable(what: &str) -> StripeError {
    StripeError::Unknown(format!("an unreadable {what}"))
}

fn read_session(answer: &Value) -> Result<Session> {
    Session::read(answer).ok_or_else(|| unreadable("session"))
}

fn read_payment_link(answer: &Value) -> Result<PaymentLink> {
    PaymentLink::read(answer).ok_or_else(|| unreadable("payment link"))
}

fn read_price(answer: &Value) -> Result<Price> {
    let text = |name: &str| answer[name].as_str().map(str::to_owned);
    match (text("id"), text("currency")) {
        (Some(id), Some(currency)) => Ok(Price {
            id,
            currency,
            amount: answer["unit_amount"].as_i64(),
            active: answer["active"].as_bool().unwrap_or(false),
            product: text("product").unwrap_or_default(),
        }),
        _ => Err(unreadable("price")),
    }
}

fn currency(code: &str) -> Currency {
    code.parse().unwrap_or_else(|error| match error {})
}

/// Destination countries, in the type of a request.
fn countries<T: FromStr<Err = Infallible>>(named: &[String]) -> Vec<T> {
    let country = |code: &String| code.parse().unwrap_or_else(|error| match error {});
    named.iter().map(country).collect()
}

fn shipping_option(
    name: &str,
    price: Cents,
    days: (u32, u32),
    code: &str,
) -> CreateCheckoutSessionShippingOptions {
    let mut rate = CreateCheckoutSessionShippingOptionsShippingRateData::new(name);
    rate.type_ = Some(RateType::FixedAmount);
    rate.fixed_amount = Some(FixedAmount::new(price.0, currency(code)));
    rate.tax_behavior = Some(TaxBehavior::Exclusive);
    // Shipping. Source: https://docs.stripe.com/tax/tax-codes
    rate.tax_code = Some("txcd_92010001".to_owned());
    rate.delivery_estimate = Some(DeliveryEstimate {
        minimum: Some(Least::new(LeastUnit::BusinessDay, i64::from(days.0))),
        maximum: Some(Most::new(MostUnit::BusinessDay, i64::from(days.1))),
    });
    let mut option = CreateCheckoutSessionShippingOptions::new();
    option.shipping_rate_data = Some(rate);
    option
}

fn link_line(
    name: &str,
    description: Option<String>,
    amount: Cents,
    code: &str,
) -> CreatePaymentLinkLineItems {
    let mut product = CreatePaymentLinkLineItemsPriceDataProductData::new(name);
    product.description = description;
    let mut price = CreatePaymentLinkLineItemsPriceData::new(currency(code));
    price.unit_amount = Some(amount.0);
    price.product_data = Some(product);
    let mut line = CreatePaymentLinkLineItems::new(1_u64);
    line.price_data = Some(price);
    line
}

fn line_item(line: &SessionLine, code: &str) -> CreateCheckoutSessionLineItems {
    let mut item = CreateCheckoutSessionLineItems::new();
    item.quantity = Some(u64::from(line.quantity.unsigned_abs()));
    match &line.price {
        Some(price) => item.price = Some(price.clone()),
        None => {
            let mut product = ProductData::new(&line.name);
            product.images = line.image.clone().map(|image| vec![image]);
            let mut price = CreateCheckoutSessionLineItemsPriceData::new(currency(code));
            price.unit_amount = Some(line.unit_amount.0);
            price.product_data = Some(product);
            item.price_data = Some(price);
        }
    }
    item
}
