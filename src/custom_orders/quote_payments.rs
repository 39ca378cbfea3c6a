//! Payments of quotes and their refunds, as `payments` learns of them.

use sqlx::PgConnection;

use super::customer_emails::{delayed, email_data, to_customer};
use super::locks::{custom_order_of, locked};
use super::quotes::move_on;
use super::{CustomOrder, Quote, QuoteState, Status, status_page, store};
use crate::app::App;
use crate::emails::{self, About, Email, PaymentRefusal, SHOP};
use crate::error::{Error, Result};
use crate::jobs::{self, Job};
use crate::orders::{self, CustomOrderPurchase, Line, Order, Receipt};
use crate::review_items::{self, Kind, NewItem};
use crate::types::ids::{CustomOrderId, QuoteId};

/// Outcome of a payment for a quote.
pub enum QuotePayment {
    /// The quote is paid; this is its order.
    Settled(Order),
    /// The custom order had been marked as paid by hand before it was copied from another shop: this is its payment.
    Adopted(Order),
    /// The payment must be refunded in full.
    Refused(CustomOrder, PaymentRefusal),
}

/// Settles a quote: creates its order, moves the custom order to `paid` and queues the email. The caller must make sure
/// that this payment was not applied before.
///
/// # Errors
/// 404 when there is no such quote.
pub async fn pay(
    conn: &mut PgConnection,
    app: &App,
    quote: QuoteId,
    receipt: &Receipt,
) -> Result<QuotePayment> {
    // Locked before its quote is read: a withdrawal or a second payment comes before or after all of this.
    let custom_order = custom_order_of(conn, quote).await?;
    let quote = store::find_quote(conn, quote)
        .await?
        .ok_or(Error::NotFound("Quote"))?;
    if quote.state == QuoteState::Paid {
        return Ok(QuotePayment::Refused(
            custom_order,
            PaymentRefusal::PaidTwice,
        ));
    }
    if !quote.state.is_open() {
        return Ok(QuotePayment::Refused(
            custom_order,
            PaymentRefusal::QuoteClosed,
        ));
    }
    let expected = quote.total().plus(receipt.tax);
    if expected != Some(receipt.total) || receipt.currency != quote.currency {
        let (kind, why) = (Kind::AmountDiffers, "the paid amount is not the quote's");
        close_unpaid(conn, app, &custom_order, &quote, kind, why).await?;
        return Ok(QuotePayment::Refused(
            custom_order,
            PaymentRefusal::AmountDiffers,
        ));
    }
    let order = settle(conn, app, custom_order, &quote, receipt).await?;
    Ok(QuotePayment::Settled(order))
}

/// Settles an open quote of a locked custom order, whose amount was paid, and returns the order that the payment made.
pub(super) async fn settle(
    conn: &mut PgConnection,
    app: &App,
    custom_order: CustomOrder,
    quote: &Quote,
    receipt: &Receipt,
) -> Result<Order> {
    let images = store::images(conn, custom_order.id).await?;
    let purchase = CustomOrderPurchase {
        line: Line {
            product_id: None,
            name: format!("Custom piece {}", custom_order.display_number()),
            image: images.first().map(status_page::image),
            unit_price: quote.amount,
            quantity: 1,
        },
        currency: &quote.currency,
        shipping: quote.shipping,
        zone: quote.shipping_zone,
    };
    let order = orders::place_custom_order(conn, &purchase, receipt).await?;
    store::set_quote_state(conn, quote.id, QuoteState::Paid, None, None).await?;
    let custom_order = if custom_order.status == Status::Approved {
        custom_order
    } else {
        // The payment arrived before the answer with the link.
        store::set_status(conn, &custom_order, Status::Approved, "stripe", "").await?
    };
    let note = format!("{}, {}", order.display_number(), receipt.note);
    let custom_order = CustomOrder {
        order_id: Some(order.id),
        ..custom_order
    };
    let custom_order =
        store::set_status(conn, &custom_order, Status::Paid, "stripe", &note).await?;
    let data = orders::email_data(conn, app, &order).await?;
    let email = Email::PaymentReceived {
        custom_order: email_data(conn, app, &custom_order).await?,
        order: data.clone(),
    };
    let notice = Email::YouSold {
        order: data,
        custom_order: Some(custom_order.display_number()),
        email: Some(custom_order.email.clone()),
    };
    let about = About {
        order: Some(order.id),
        custom_order: Some(custom_order.id),
    };
    let cause = custom_order.id.to_string();
    emails::queue(conn, &email, &cause, &custom_order.email, about).await?;
    emails::queue(conn, &notice, &cause, SHOP, about).await?;
    Ok(order)
}

/// Records that a delayed payment of a quote began. Until its outcome is known, the quote neither lapses nor is
/// replaced. Safe to repeat.
pub async fn delayed_payment_began(
    conn: &mut PgConnection,
    app: &App,
    quote: QuoteId,
) -> Result<()> {
    let custom_order = custom_order_of(conn, quote).await?;
    let current = store::find_quote(conn, quote).await?;
    let Some(current) = current.filter(|quote| quote.state.is_open() && !quote.payment_in_progress)
    else {
        return Ok(());
    };
    store::set_payment_in_progress(conn, quote, true).await?;
    let email = Email::PaymentProcessing {
        payment: delayed(app, &custom_order, &current),
    };
    to_customer(conn, &custom_order, &email, &quote.to_string()).await?;
    let note = "a delayed payment is on its way";
    store::add_timeline_entry(conn, custom_order.id, "payment", "stripe", note).await
}

/// Records that the delayed payment of a quote failed. Its link accepts only one payment, so another quote has to
/// follow. Safe to repeat.
pub async fn delayed_payment_failed(
    conn: &mut PgConnection,
    app: &App,
    quote: QuoteId,
) -> Result<()> {
    let custom_order = custom_order_of(conn, quote).await?;
    match store::find_quote(conn, quote).await? {
        Some(quote) if quote.state.is_open() => {
            let email = Email::PaymentFailed {
                payment: delayed(app, &custom_order, &quote),
            };
            to_customer(conn, &custom_order, &email, &quote.id.to_string()).await?;
            let why = "the delayed payment failed, and nothing was taken: quote and approve again";
            let kind = Kind::DelayedPaymentFailed;
            close_unpaid(conn, app, &custom_order, &quote, kind, why).await
        }
        _ => Ok(()),
    }
}

/// Closes a quote whose link is used up without a valid payment, and carries out the action planned for its closing.
pub(super) async fn close_unpaid(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
    quote: &Quote,
    kind: Kind,
    why: &str,
) -> Result<()> {
    store::set_quote_state(conn, quote.id, QuoteState::Closed, None, Some(why)).await?;
    let cause = format!("{}:{}", kind.as_str(), quote.id);
    review_items::flag(
        conn,
        custom_order.id,
        "stripe",
        &NewItem::new(kind, cause, why),
    )
    .await?;
    if quote.is_copied {
        // Such a link is not used up.
        jobs::enqueue(conn, &Job::CloseLink { quote: quote.id }).await?;
    }
    if custom_order.status == Status::Approved {
        let next = quote.pending_action.as_ref().map(|next| next.0.clone());
        move_on(conn, app, custom_order, quote, next).await?;
    }
    Ok(())
}

/// Moves a fully refunded custom order to its final status, whatever its progress. The refund's email is that of any
/// order. Safe to repeat.
///
/// # Errors
/// 404 when there is no such custom order.
pub async fn set_refunded(conn: &mut PgConnection, id: CustomOrderId, actor: &str) -> Result<()> {
    let custom_order = locked(conn, id).await?;
    if custom_order.status.may_become(Status::Refunded) {
        let note = "its payment was refunded in full";
        store::set_status(conn, &custom_order, Status::Refunded, actor, note).await?;
    }
    Ok(())
}

/// A refund in full failed, so that the order of a piece is not refunded any more: the piece goes back to where it was, too.
/// Safe to repeat.
///
/// # Errors
/// 404 when there is no such custom order.
pub async fn refund_failed(conn: &mut PgConnection, id: CustomOrderId, actor: &str) -> Result<()> {
    let custom_order = locked(conn, id).await?;
    let (Status::Refunded, Some(order)) = (custom_order.status, custom_order.order_id) else {
        return Ok(());
    };
    let order = orders::find(conn, order).await?;
    if order.is_some_and(|order| order.status != orders::Status::Refunded) {
        let before = store::status_before_refund(conn, id).await?;
        let note = "a refund failed: the money is with the shop again";
        store::set_status(conn, &custom_order, before, actor, note).await?;
    }
    Ok(())
}
