//! Payment links that the shop before this one made: their ids, which it did not keep, and their ends.

use std::collections::{HashMap, HashSet};

use super::store::{self, CopiedQuote};
use super::{QuoteState, Status};
use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::stripe::OldPaymentLink;
use crate::types::ids::CustomOrderId;

/// Result of looking for the links of copied quotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchedLinks {
    /// Quotes whose link is known now.
    pub matched: usize,
    /// Links of custom orders that are over, which are closed now.
    pub closed: usize,
    /// Custom orders with a payable quote whose link Stripe does not have.
    pub missing: Vec<CustomOrderId>,
    /// Links that Stripe refused to close.
    pub not_closed: Vec<String>,
}

/// Lists Stripe's payment links once. Records the ids of those of payable quotes, and closes those of custom orders that are
/// over, which would take money as often as somebody pays. Safe to repeat.
///
/// # Errors
/// 503 while Stripe is unavailable; database errors.
pub async fn match_copied_links(app: &App) -> Result<MatchedLinks> {
    let quotes = store::list_copied_quotes(&mut *app.db.acquire().await?).await?;
    let mut result = MatchedLinks::default();
    if quotes.is_empty() {
        return Ok(result);
    }
    let listed = app.stripe.list_old_payment_links().await;
    let listed =
        listed.map_err(|error| Error::Unavailable(Code::PaymentUnavailable, error.into()))?;
    let links = Links::of(&listed);
    for quote in &quotes {
        let is_payable = quote.state == QuoteState::Live && quote.status == Status::Approved;
        match is_payable {
            true => record_link(app, quote, &links, &mut result).await?,
            false => close_links(app, quote, &links, &mut result).await,
        }
    }
    Ok(result)
}

/// Payment links by what they have of a quote.
struct Links<'a> {
    by_url: HashMap<&'a str, &'a OldPaymentLink>,
    by_custom_order: HashMap<CustomOrderId, Vec<&'a OldPaymentLink>>,
}

impl<'a> Links<'a> {
    fn of(listed: &'a [OldPaymentLink]) -> Links<'a> {
        let mut by_custom_order: HashMap<_, Vec<_>> = HashMap::new();
        for link in listed {
            if let Some(custom_order) = link.custom_order {
                by_custom_order.entry(custom_order).or_default().push(link);
            }
        }
        Links {
            by_url: listed
                .iter()
                .map(|link| (link.link.url.as_str(), link))
                .collect(),
            by_custom_order,
        }
    }

    /// The link of a quote: by its address, else the newest that names its custom order.
    fn of_quote(&self, quote: &CopiedQuote) -> Option<&'a OldPaymentLink> {
        let url = quote.link_url.as_deref();
        url.and_then(|url| self.by_url.get(url).copied())
            .or_else(|| {
                let named = self.by_custom_order.get(&quote.custom_order_id)?;
                named.first().copied()
            })
    }

    /// Every link of a quote's custom order.
    fn all_of(&self, quote: &CopiedQuote) -> Vec<&'a OldPaymentLink> {
        let url = quote.link_url.as_deref();
        let by_url = url.and_then(|url| self.by_url.get(url).copied());
        let named = self.by_custom_order.get(&quote.custom_order_id);
        let all = by_url
            .into_iter()
            .chain(named.into_iter().flatten().copied());
        let mut seen = HashSet::new();
        all.filter(|link| seen.insert(link.link.id.as_str()))
            .collect()
    }
}

async fn record_link(
    app: &App,
    quote: &CopiedQuote,
    links: &Links<'_>,
    result: &mut MatchedLinks,
) -> Result<()> {
    let Some(link) = links.of_quote(quote) else {
        result.missing.push(quote.custom_order_id);
        return Ok(());
    };
    let mut conn = app.db.acquire().await?;
    if store::set_copied_link(&mut conn, quote.id, &link.link.id).await? {
        result.matched += 1;
    }
    Ok(())
}

async fn close_links(app: &App, quote: &CopiedQuote, links: &Links<'_>, result: &mut MatchedLinks) {
    for link in links
        .all_of(quote)
        .into_iter()
        .filter(|link| link.link.active)
    {
        let id = &link.link.id;
        match app.stripe.deactivate_payment_link(id).await {
            Ok(()) => result.closed += 1,
            Err(error) => {
                tracing::warn!(link = id, %error, "a link of the old shop could not be closed");
                result.not_closed.push(id.clone());
            }
        }
    }
}
