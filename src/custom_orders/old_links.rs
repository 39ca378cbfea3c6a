//! Payment links made by the shop that this one replaced. Such a link takes any number of payments, lapses never, and says
//! in its metadata which custom order is paid: that finds the quote, whichever link was used.

use sqlx::PgConnection;

use super::locks::locked;
use super::quote_payments::{QuotePayment, close_unpaid, settle};
use super::{CustomOrder, Quote, Status, store};
use crate::app::App;
use crate::emails::PaymentRefusal;
use crate::error::Result;
use crate::jobs::{self, Job};
use crate::orders::{self, Receipt, Settlement};
use crate::review_items::Kind;
use crate::stripe::Session;
use crate::types::ids::{CustomOrderId, QuoteId};
use crate::types::money::Cents;

/// A payment through a link, as far as it tells the quote.
pub struct LinkPayment<'a> {
    pub link: Option<&'a str>,
    /// The amount without tax.
    pub amount: Option<Cents>,
    pub currency: &'a str,
}

impl LinkPayment<'_> {
    /// A session of a link, as far as it tells the quote.
    pub fn of(session: &Session) -> LinkPayment<'_> {
        let without_tax = |total: Cents| Cents(total.0 - session.amount_tax.0);
        LinkPayment {
            link: session.payment_link.as_deref(),
            amount: session.amount_total.map(without_tax),
            currency: &session.currency,
        }
    }

    /// Returns true for a payment over the quote's amount.
    pub(super) fn is_as_quoted(&self, quote: &Quote) -> bool {
        self.amount == Some(quote.total()) && self.currency == quote.currency
    }

    /// Returns true for a payment through the link that this quote is known to have.
    fn is_through_link_of(&self, quote: &Quote) -> bool {
        self.link.is_some() && self.link == quote.link_id.as_deref()
    }
}

/// The open quote that a payment in progress, or one that failed, is for. None: whatever becomes of the payment, no quote
/// waits for it.
///
/// # Errors
/// Database errors only.
pub async fn find_quote_paid_by(
    conn: &mut PgConnection,
    custom_order: CustomOrderId,
    payment: &LinkPayment<'_>,
) -> Result<Option<QuoteId>> {
    let current = store::find_current(conn, custom_order).await?;
    let paid = current
        .filter(|quote| payment.is_as_quoted(quote) || payment.is_through_link_of(quote))
        .map(|quote| quote.id);
    Ok(paid)
}

/// Settles the open quote of a custom order that was paid through an old link. A payment over another amount than the
/// quote's leaves the quote open, unless it came through the quote's own link: an earlier link asked for an earlier price.
/// The caller must make sure that this payment was not applied before.
///
/// # Errors
/// 404 when there is no such custom order.
pub async fn pay_by_old_link(
    conn: &mut PgConnection,
    app: &App,
    id: CustomOrderId,
    link: Option<&str>,
    receipt: &Receipt,
) -> Result<QuotePayment> {
    // Locked before its quote is read: a withdrawal or a second payment comes before or after all of this.
    let custom_order = locked(conn, id).await?;
    if let Some(order) = custom_order.order_id {
        return match orders::adopt_payment(conn, order, receipt).await? {
            Settlement::Adopted(order) => {
                close_links(conn, id).await?;
                Ok(QuotePayment::Adopted(order))
            }
            _ => refused(conn, custom_order, PaymentRefusal::PaidTwice).await,
        };
    }
    let current = store::find_current(conn, id).await?;
    let open =
        current.filter(|quote| quote.state.is_open() && custom_order.status != Status::Rejected);
    let Some(quote) = open else {
        return refused(conn, custom_order, PaymentRefusal::QuoteClosed).await;
    };
    let payment = LinkPayment {
        link,
        amount: Some(Cents(receipt.total.0 - receipt.tax.0)),
        currency: &receipt.currency,
    };
    if payment.is_as_quoted(&quote) {
        let order = settle(conn, app, custom_order, &quote, receipt).await?;
        // Neither the quote's link nor an old one is to take a second payment.
        close(conn, quote.id).await?;
        close_links(conn, id).await?;
        return Ok(QuotePayment::Settled(order));
    }
    if payment.is_through_link_of(&quote) {
        let (kind, why) = (Kind::AmountDiffers, "the paid amount is not the quote's");
        close_unpaid(conn, app, &custom_order, &quote, kind, why).await?;
    }
    Ok(QuotePayment::Refused(
        custom_order,
        PaymentRefusal::AmountDiffers,
    ))
}

/// Refuses a payment that no quote waits for. Its link is closed, so that it takes no other.
async fn refused(
    conn: &mut PgConnection,
    custom_order: CustomOrder,
    why: PaymentRefusal,
) -> Result<QuotePayment> {
    close_links(conn, custom_order.id).await?;
    Ok(QuotePayment::Refused(custom_order, why))
}

/// Plans the closing of the links that the other shop made for a custom order, unless its quote is still open.
async fn close_links(conn: &mut PgConnection, custom_order: CustomOrderId) -> Result<()> {
    match store::find_copied(conn, custom_order).await? {
        Some(quote) => close(conn, quote).await,
        None => Ok(()),
    }
}

/// Plans the closing of the links of a quote that is over.
async fn close(conn: &mut PgConnection, quote: QuoteId) -> Result<()> {
    jobs::enqueue(conn, &Job::CloseLink { quote }).await
}
