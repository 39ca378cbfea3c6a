//! Calls about Checkout Sessions.

use std::collections::HashMap;
use std::convert::Infallible;
use std::iter;
use std::str::FromStr;

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
use stripe_shared::CheckoutSessionMode;

use super::client::{PAGE, Result, Stripe, StripeError, currency, unreadable};
use super::session::{NewSession, Session, SessionLine};
use crate::types::money::Cents;

impl Stripe {
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
}

fn read_session(answer: &Value) -> Result<Session> {
    Session::read(answer).ok_or_else(|| unreadable("session"))
}

/// Destination countries, in the type of a request.
pub(super) fn countries<T: FromStr<Err = Infallible>>(named: &[String]) -> Vec<T> {
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
