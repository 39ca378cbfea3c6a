//! Calls about payment links.

use std::collections::HashMap;

use serde_json::Value;
use stripe_payment::payment_link::{
    AfterCompletionRedirectParams, CompletedSessionsParams, CreatePaymentLink,
    CreatePaymentLinkAfterCompletion, CreatePaymentLinkAfterCompletionType,
    CreatePaymentLinkLineItems, CreatePaymentLinkLineItemsPriceData,
    CreatePaymentLinkLineItemsPriceDataProductData, CreatePaymentLinkPaymentIntentData,
    CreatePaymentLinkShippingAddressCollection, ListPaymentLink, RestrictionsParams,
    UpdatePaymentLink,
};

use super::checkout::countries;
use super::client::{PAGE, Result, Stripe, StripeError, currency, unreadable};
use super::payment_link::{self, NewPaymentLink, OldPaymentLink, PaymentLink};
use crate::types::ids::{CustomOrderId, QuoteId};
use crate::types::money::Cents;

/// Pages of payment links searched, newest first, for a link whose answer was lost. A link beyond them cannot be ruled
/// out, so the limit covers all links of decades; otherwise a lost answer would never be settled.
const LINK_PAGES: usize = 100;

impl Stripe {
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

    /// Finds the open payment links of a custom order that the shop before this one made: those that name the custom order
    /// and no quote, and the one with this address.
    ///
    /// # Errors
    /// See [`StripeError`]; `Unknown` also when there are more links than are searched.
    pub async fn find_old_payment_links(
        &self,
        custom_order: CustomOrderId,
        url: Option<&str>,
    ) -> Result<Vec<String>> {
        let custom_order = custom_order.to_string();
        let is_its = |link: &Value| {
            let metadata = &link["metadata"];
            (metadata["custom_request_id"] == custom_order && metadata["quote_id"].is_null())
                || (url.is_some() && link["url"].as_str() == url)
        };
        let mut found = Vec::new();
        let mut last: Option<PaymentLink> = None;
        for _ in 0..LINK_PAGES {
            let mut request = ListPaymentLink::new().limit(PAGE).active(true);
            if let Some(last) = &last {
                request = request.starting_after(&last.id);
            }
            let page = self.page(&request, "payment link list").await?;
            for link in page.entries.iter().filter(|link| is_its(link)) {
                found.push(read_payment_link(link)?.id);
            }
            match page.entries.last() {
                Some(link) if page.has_more => last = Some(read_payment_link(link)?),
                _ => return Ok(found),
            }
        }
        Err(too_many_links())
    }

    /// All payment links that the shop before this one made, newest first.
    ///
    /// # Errors
    /// See [`StripeError`]; `Unknown` also when there are more links than are searched.
    pub async fn list_old_payment_links(&self) -> Result<Vec<OldPaymentLink>> {
        let mut found = Vec::new();
        let mut last: Option<PaymentLink> = None;
        for _ in 0..LINK_PAGES {
            let mut request = ListPaymentLink::new().limit(PAGE);
            if let Some(last) = &last {
                request = request.starting_after(&last.id);
            }
            let page = self.page(&request, "payment link list").await?;
            found.extend(page.entries.iter().filter_map(OldPaymentLink::read));
            match page.entries.last() {
                Some(link) if page.has_more => last = Some(read_payment_link(link)?),
                _ => return Ok(found),
            }
        }
        Err(too_many_links())
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
        Err(too_many_links())
    }
}

fn too_many_links() -> StripeError {
    StripeError::Unknown(format!(
        "not among the newest {} payment links",
        PAGE * LINK_PAGES as i64
    ))
}

fn read_payment_link(answer: &Value) -> Result<PaymentLink> {
    PaymentLink::read(answer).ok_or_else(|| unreadable("payment link"))
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
