//! Changes of custom orders and their rules. Lock order: the custom order's row, which also guards its quotes, then its
//! order.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::store::{self, Terms};
use super::{CustomOrder, NewCustomOrder, PendingAction, Quote, QuoteState, Status, page};
use crate::app::App;
use crate::emails::{
    self, About, CustomOrderEmailData, DelayedPaymentEmailData, Email, Holds, QuoteEmailData,
    Refusal, SHOP,
};
use crate::error::{Error, Result};
use crate::jobs::{self, Job};
use crate::orders::{self, CustomOrderPurchase, Line, NewShipment, Order, Receipt};
use crate::review_items::{self, Kind, NewItem};
use crate::stripe::{NewPaymentLink, StripeError};
use crate::types::calendar;
use crate::types::ids::{CustomOrderId, OrderId, QuoteId};

/// Records a visitor's request, and queues an email to the shop and one to the customer.
///
/// # Errors
/// Database errors only.
pub async fn submit(
    conn: &mut PgConnection,
    app: &App,
    new: &NewCustomOrder,
) -> Result<CustomOrder> {
    let custom_order = store::insert(conn, new).await?;
    let about = About {
        custom_order: Some(custom_order.id),
        ..About::default()
    };
    let cause = custom_order.id.to_string();
    let email = Email::NewCustomOrder {
        custom_order: CustomOrderEmailData {
            status_url: None,
            ..email_data(conn, app, &custom_order).await?
        },
        email: custom_order.email.clone(),
    };
    emails::queue(conn, &email, &cause, SHOP, None, about).await?;
    let email = Email::CustomOrderReceived {
        custom_order: email_data(conn, app, &custom_order).await?,
    };
    emails::queue(conn, &email, &cause, &custom_order.email, None, about).await?;
    Ok(custom_order)
}

/// Saves the draft of a quote; the customer gets it on approval.
///
/// # Errors
/// 404; 409 `not_quotable` once the custom order is paid or rejected.
pub async fn quote(
    conn: &mut PgConnection,
    id: CustomOrderId,
    terms: &Terms,
    actor: &str,
) -> Result<Quote> {
    let custom_order = locked(conn, id).await?;
    if !matches!(
        custom_order.status,
        Status::Pending | Status::Approved | Status::Expired
    ) {
        return Err(refused(
            "not_quotable",
            &custom_order,
            "cannot be quoted for",
        ));
    }
    let current = store::find_current(conn, id).await?;
    if current.is_some_and(|quote| quote.state == QuoteState::Closing) {
        // The draft may be planned as the next quote, so it must not change.
        return Err(closing(&custom_order));
    }
    let quote = store::save_draft(conn, id, terms, actor).await?;
    let note = format!(
        "{} and {} shipping, for {} days",
        quote.amount.in_currency(&quote.currency),
        quote.shipping.in_currency(&quote.currency),
        quote.valid_days
    );
    store::add_event(conn, id, "quote", actor, &note).await?;
    Ok(quote)
}

/// Discards the draft of a quote; the customer's current quote stays. Safe to repeat.
///
/// # Errors
/// 404; 409 `quote_closing` while the draft may be planned as the next quote.
pub async fn discard_draft(conn: &mut PgConnection, id: CustomOrderId, actor: &str) -> Result<()> {
    let custom_order = locked(conn, id).await?;
    let current = store::find_current(conn, id).await?;
    if current.is_some_and(|quote| quote.state == QuoteState::Closing) {
        return Err(closing(&custom_order));
    }
    if store::delete_draft(conn, id).await? {
        store::add_event(conn, id, "quote", actor, "draft discarded").await?;
    }
    Ok(())
}

/// Approves a custom order with its drafted quote: a job creates the payment link and sends the email. Safe to repeat
/// and to call concurrently: only one link is created.
///
/// # Errors
/// 404; 409 `no_quote`, `quote_closing`, `quote_is_live` (there is another draft) or `not_approvable`.
pub async fn approve(
    conn: &mut PgConnection,
    app: &App,
    id: CustomOrderId,
    actor: &str,
) -> Result<()> {
    let custom_order = locked(conn, id).await?;
    let draft = store::find_draft(conn, id).await?;
    match store::find_current(conn, id).await? {
        Some(quote) if quote.state == QuoteState::Asking => Ok(()),
        Some(quote) if quote.state == QuoteState::Live && draft.is_none() => Ok(()),
        Some(quote) if quote.state == QuoteState::Live => Err(refused(
            "quote_is_live",
            &custom_order,
            "has a quote that can be paid: re-quote it, or withdraw it first",
        )),
        Some(quote) if quote.state == QuoteState::Closing => Err(closing(&custom_order)),
        Some(_) => Err(refused(
            "not_approvable",
            &custom_order,
            "cannot be approved",
        )),
        None if !matches!(custom_order.status, Status::Pending | Status::Expired) => Err(refused(
            "not_approvable",
            &custom_order,
            "cannot be approved",
        )),
        None => match draft {
            Some(draft) if draft.currency != app.config.shop.currency.code() => Err(refused(
                "not_approvable",
                &custom_order,
                "has a quote in another currency than the shop's: quote anew",
            )),
            Some(draft) => ask(conn, app, &custom_order, &draft, actor).await,
            None => Err(refused("no_quote", &custom_order, "has no quote yet")),
        },
    }
}

/// The idempotency key of the first call for a quote's link.
pub(super) fn first_key(custom_order: CustomOrderId, quote: QuoteId) -> String {
    format!("quote-{custom_order}-{quote}")
}

/// Plans the payment link of a draft.
async fn ask(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
    draft: &Quote,
    actor: &str,
) -> Result<()> {
    let call = NewPaymentLink {
        quote: draft.id,
        custom_order: custom_order.id,
        signature: Some(app.signer.sign("quote", &draft.id.to_string())),
        currency: draft.currency.clone(),
        name: format!("Custom piece {}", custom_order.display_number()),
        description: Some(draft.description.clone()),
        amount: draft.amount,
        shipping_name: draft.shipping_zone.title().to_owned(),
        shipping: draft.shipping,
        countries: draft.shipping_zone.countries(),
        return_url: format!("{}/custom-order-success", app.config.server.frontend_url),
        key: first_key(custom_order.id, draft.id),
    };
    store::set_asking(conn, &call).await?;
    jobs::enqueue(conn, &Job::MakeLink { quote: draft.id }).await?;
    store::add_event(conn, custom_order.id, "quote", actor, "approved").await
}

/// Replaces the quote of a custom order: the old link is closed first, then a new one is created. Without a link, this
/// quotes and approves in one step.
///
/// # Errors
/// As [`quote`] and [`approve`]; 409 `payment_in_progress` while a delayed payment is in progress.
pub async fn requote(
    conn: &mut PgConnection,
    app: &App,
    id: CustomOrderId,
    terms: &Terms,
    actor: &str,
) -> Result<()> {
    let custom_order = locked(conn, id).await?;
    match store::find_current(conn, id).await? {
        Some(current) if current.state == QuoteState::Live => {
            check_not_paying(&custom_order, &current)?;
            quote(conn, id, terms, actor).await?;
            let next = PendingAction::Requote {
                actor: actor.to_owned(),
            };
            close(conn, &current, &next).await
        }
        Some(current) if current.state == QuoteState::Closing => Err(closing(&custom_order)),
        Some(current) if current.state == QuoteState::Asking => Err(asking(&custom_order)),
        _ => {
            quote(conn, id, terms, actor).await?;
            approve(conn, app, id, actor).await
        }
    }
}

/// Rejects a custom order and emails the customer the reason. The link of the current quote is closed first. Safe to
/// repeat.
///
/// # Errors
/// As [`withdraw`]; 409 `not_rejectable`.
pub async fn reject(
    conn: &mut PgConnection,
    app: &App,
    id: CustomOrderId,
    reason: &str,
    actor: &str,
) -> Result<()> {
    let custom_order = locked(conn, id).await?;
    match (custom_order.status, store::find_current(conn, id).await?) {
        (Status::Pending, None) => {
            set_rejected(conn, app, &custom_order, reason, actor).await?;
            Ok(())
        }
        (Status::Rejected, _) => Ok(()),
        (Status::Pending | Status::Approved, Some(current)) => {
            let next = PendingAction::Reject {
                actor: actor.to_owned(),
                reason: reason.to_owned(),
            };
            close_then(conn, &custom_order, &current, &next).await
        }
        _ => Err(refused(
            "not_rejectable",
            &custom_order,
            "cannot be rejected",
        )),
    }
}

/// Withdraws a quote: its link is closed first, then the custom order waits for another quote, and the customer gets an
/// email. Safe to repeat.
///
/// # Errors
/// 404; 409 `not_withdrawable` without a quote that the customer has, `quote_asking`, `quote_closing`, or
/// `payment_in_progress` while a delayed payment is in progress.
pub async fn withdraw(
    conn: &mut PgConnection,
    id: CustomOrderId,
    reason: &str,
    actor: &str,
) -> Result<()> {
    let custom_order = locked(conn, id).await?;
    match (custom_order.status, store::find_current(conn, id).await?) {
        (Status::Pending | Status::Approved, Some(current)) => {
            let next = PendingAction::Withdraw {
                actor: actor.to_owned(),
                reason: reason.to_owned(),
            };
            close_then(conn, &custom_order, &current, &next).await
        }
        (Status::Pending, None) if store::has_closed_quote(conn, id).await? => Ok(()),
        _ => Err(refused(
            "not_withdrawable",
            &custom_order,
            "has no quote to withdraw",
        )),
    }
}

/// Plans the closing of the customer's current quote, and the action after it.
async fn close_then(
    conn: &mut PgConnection,
    custom_order: &CustomOrder,
    current: &Quote,
    next: &PendingAction,
) -> Result<()> {
    match current.state {
        QuoteState::Asking => return Err(asking(custom_order)),
        QuoteState::Closing => return Err(closing(custom_order)),
        _ => {}
    }
    check_not_paying(custom_order, current)?;
    close(conn, current, next).await
}

/// Sets a custom order with a withdrawn quote back to waiting for a quote, and emails the customer.
async fn set_withdrawn(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
    quote: QuoteId,
    reason: &str,
    actor: &str,
) -> Result<()> {
    let note = match reason {
        "" => "the quote was withdrawn".to_owned(),
        reason => format!("the quote was withdrawn: {reason}"),
    };
    let custom_order =
        store::set_status(conn, custom_order, Status::Pending, None, actor, &note).await?;
    let email = Email::QuoteWithdrawn {
        custom_order: email_data(conn, app, &custom_order).await?,
        reason: reason.to_owned(),
    };
    to_customer(conn, &custom_order, &email, &quote.to_string()).await
}

async fn set_rejected(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
    reason: &str,
    actor: &str,
) -> Result<CustomOrder> {
    let custom_order =
        store::set_status(conn, custom_order, Status::Rejected, None, actor, reason).await?;
    if !reason.is_empty() {
        let email = Email::CustomOrderRejected {
            custom_order: email_data(conn, app, &custom_order).await?,
            reason: reason.to_owned(),
        };
        to_customer(conn, &custom_order, &email, &custom_order.id.to_string()).await?;
    }
    Ok(custom_order)
}

/// Plans the closing of a live quote's link.
async fn close(conn: &mut PgConnection, quote: &Quote, next: &PendingAction) -> Result<()> {
    store::set_quote_state(conn, quote.id, QuoteState::Closing, Some(next), None).await?;
    jobs::enqueue(conn, &Job::CloseLink { quote: quote.id }).await
}

/// Plans the closing of a lapsed quote. Safe to repeat.
pub async fn lapse(conn: &mut PgConnection, id: CustomOrderId, quote: QuoteId) -> Result<()> {
    locked(conn, id).await?;
    match store::find_quote(conn, quote).await? {
        Some(quote) if quote.state == QuoteState::Live && !quote.payment_in_progress => {
            close(conn, &quote, &PendingAction::Lapse).await
        }
        _ => Ok(()),
    }
}

/// End of the last day on which a quote is payable, if its link were created now.
fn valid_until(app: &App, quote: &Quote) -> DateTime<Utc> {
    let days = quote.valid_days.unsigned_abs();
    calendar::end_of_day(Utc::now(), days, app.config.shop.time_zone)
}

/// Records the link that Stripe created for a quote, approves the custom order and emails the customer. Safe to repeat:
/// the first link is kept.
pub async fn link_made(
    conn: &mut PgConnection,
    app: &App,
    quote: QuoteId,
    link: &str,
    url: &str,
) -> Result<()> {
    let custom_order = custom_order_of(conn, quote).await?;
    let Some(asked) = store::find_quote(conn, quote).await? else {
        return Ok(());
    };
    let until = valid_until(app, &asked);
    let Some(quote) = store::set_live(conn, asked.id, link, url, until).await? else {
        return Ok(());
    };
    let custom_order = if custom_order.status == Status::Approved {
        custom_order
    } else {
        store::set_status(conn, &custom_order, Status::Approved, None, "stripe", "").await?
    };
    let note = format!("link {link}");
    store::add_event(conn, custom_order.id, "quote", "stripe", &note).await?;
    let email = approval(conn, app, &custom_order, &quote, until, url).await?;
    to_customer(conn, &custom_order, &email, &quote.id.to_string()).await
}

async fn approval(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
    quote: &Quote,
    valid_until: DateTime<Utc>,
    payment_url: &str,
) -> Result<Email> {
    Ok(Email::CustomOrderApproved {
        custom_order: email_data(conn, app, custom_order).await?,
        quote: QuoteEmailData {
            amount: quote.amount,
            shipping: quote.shipping,
            total: quote.total(),
            currency: quote.currency.clone(),
            description: quote.description.clone(),
            valid_until,
            payment_url: payment_url.to_owned(),
        },
    })
}

/// Previews the email that approving the draft would send; its payment link is a placeholder. Returns `None` without a
/// draft.
///
/// # Errors
/// 404 when there is no such custom order.
pub async fn preview(
    conn: &mut PgConnection,
    app: &App,
    id: CustomOrderId,
) -> Result<Option<Email>> {
    let custom_order = store::find(conn, id)
        .await?
        .ok_or(Error::NotFound("CustomOrder"))?;
    let Some(draft) = store::find_draft(conn, id).await? else {
        return Ok(None);
    };
    let until = valid_until(app, &draft);
    let email = approval(
        conn,
        app,
        &custom_order,
        &draft,
        until,
        "#made-when-approved",
    )
    .await?;
    Ok(Some(email))
}

/// Records that Stripe refused to create a link, and notifies the owner. Safe to repeat.
pub async fn link_refused(conn: &mut PgConnection, quote: QuoteId, why: &str) -> Result<()> {
    let custom_order = custom_order_of(conn, quote).await?;
    let is_asking = store::find_quote(conn, quote)
        .await?
        .is_some_and(|quote| quote.state == QuoteState::Asking);
    if !is_asking {
        return Ok(());
    }
    store::set_quote_state(conn, quote, QuoteState::Refused, None, Some(why)).await?;
    if custom_order.status == Status::Approved {
        // The previous quote is closed, and this one failed.
        store::set_status(conn, &custom_order, Status::Expired, None, "stripe", "").await?;
    }
    let told = format!("Stripe refused the payment link: {why}");
    let cause = format!("payment_link:{quote}:refused");
    let item = NewItem::new(Kind::PaymentLinkRefused, cause, told);
    flag(conn, custom_order.id, &item).await
}

/// Carries out the action planned for a quote whose link is now closed and can no longer be paid. Safe to repeat.
pub async fn link_closed(conn: &mut PgConnection, app: &App, quote: QuoteId) -> Result<()> {
    let custom_order = custom_order_of(conn, quote).await?;
    let quote = store::find_quote(conn, quote)
        .await?
        .filter(|quote| quote.state == QuoteState::Closing);
    let Some(quote) = quote else {
        return Ok(());
    };
    store::set_quote_state(conn, quote.id, QuoteState::Closed, None, None).await?;
    settle_not_closed(conn, quote.id).await?;
    let next = quote.pending_action.as_ref().map(|next| next.0.clone());
    move_on(conn, app, &custom_order, quote.id, next).await
}

/// Carries out the action planned for a closed quote. Without one, the custom order waits for another quote.
async fn move_on(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
    quote: QuoteId,
    next: Option<PendingAction>,
) -> Result<()> {
    match next {
        Some(PendingAction::Withdraw { actor, reason }) => {
            set_withdrawn(conn, app, custom_order, quote, &reason, &actor).await?;
        }
        Some(PendingAction::Reject { actor, reason }) => {
            let note = "the quote was withdrawn";
            let custom_order =
                store::set_status(conn, custom_order, Status::Pending, None, &actor, note).await?;
            set_rejected(conn, app, &custom_order, &reason, &actor).await?;
        }
        Some(PendingAction::Requote { actor }) => {
            if let Some(draft) = store::find_draft(conn, custom_order.id).await? {
                return ask(conn, app, custom_order, &draft, &actor).await;
            }
            expire(conn, custom_order, "the quote was closed").await?;
        }
        Some(PendingAction::Lapse) => {
            expire(conn, custom_order, "the quote lapsed").await?;
        }
        None => {
            expire(conn, custom_order, "the quote's link is used up").await?;
        }
    }
    Ok(())
}

/// Records a failed attempt to close a quote's link. If Stripe refuses to close it, the owner must.
pub async fn not_closed(
    conn: &mut PgConnection,
    quote: QuoteId,
    error: &StripeError,
) -> Result<()> {
    let custom_order = custom_order_of(conn, quote).await?;
    let why = error.to_string();
    let before = store::find_quote(conn, quote).await?;
    store::record_failure(conn, quote, &why, None).await?;
    let is_news = before.is_some_and(|quote| {
        quote.state == QuoteState::Closing && quote.last_error.as_ref() != Some(&why)
    });
    if is_news && matches!(error, StripeError::Refused { .. }) {
        let told = format!("the quote's payment link could not be closed: {why}");
        let cause = format!("payment_link:{quote}:not_closed:{}", digest(&why));
        let item = NewItem::new(Kind::PaymentLinkNotClosed, cause, told);
        flag(conn, custom_order.id, &item).await?;
    }
    Ok(())
}

async fn expire(
    conn: &mut PgConnection,
    custom_order: &CustomOrder,
    note: &str,
) -> Result<CustomOrder> {
    store::set_status(conn, custom_order, Status::Expired, None, "clock", note).await
}

/// Records that a link was not closed because a payment through it succeeded or is in progress. The planned action is
/// dropped, and the payment decides. Safe to repeat.
pub async fn paid_while_closing(conn: &mut PgConnection, quote: QuoteId) -> Result<()> {
    let custom_order = custom_order_of(conn, quote).await?;
    let is_closing = store::find_quote(conn, quote)
        .await?
        .is_some_and(|quote| quote.state == QuoteState::Closing);
    if !is_closing {
        return Ok(());
    }
    store::set_quote_state(conn, quote, QuoteState::Live, None, None).await?;
    store::set_payment_in_progress(conn, quote, true).await?;
    let why = "the quote stays: a payment was made or begun before its link was closed";
    let cause = format!("paid_while_closing:{quote}");
    let item = NewItem::new(Kind::PaidWhileClosing, cause, why);
    flag(conn, custom_order.id, &item).await
}

/// Outcome of a payment for a quote.
pub enum Paid {
    /// The quote is paid; this is its order.
    Settled(Order),
    /// The payment must be refunded in full.
    Refused(CustomOrder, Refusal),
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
) -> Result<Paid> {
    let custom_order = custom_order_of(conn, quote).await?;
    let quote = store::find_quote(conn, quote)
        .await?
        .ok_or(Error::NotFound("Quote"))?;
    if quote.state == QuoteState::Paid {
        return Ok(Paid::Refused(custom_order, Refusal::PaidTwice));
    }
    if !quote.state.is_open() {
        return Ok(Paid::Refused(custom_order, Refusal::QuoteClosed));
    }
    let expected = quote.total().plus(receipt.tax);
    if expected != Some(receipt.total) || receipt.currency != quote.currency {
        close_unpaid(
            conn,
            app,
            &custom_order,
            &quote,
            Kind::AmountDiffers,
            "the paid amount is not the quote's",
        )
        .await?;
        return Ok(Paid::Refused(custom_order, Refusal::AmountDiffers));
    }
    let images = store::images(conn, custom_order.id).await?;
    let purchase = CustomOrderPurchase {
        line: Line {
            product_id: None,
            name: format!("Custom piece {}", custom_order.display_number()),
            image: images.first().map(page::image),
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
        store::set_status(conn, &custom_order, Status::Approved, None, "stripe", "").await?
    };
    let note = format!("{}, {}", order.display_number(), receipt.note);
    let custom_order = store::set_status(
        conn,
        &custom_order,
        Status::Paid,
        Some(order.id),
        "stripe",
        &note,
    )
    .await?;
    let email = Email::PaymentReceived {
        custom_order: email_data(conn, app, &custom_order).await?,
        order: orders::email_data(conn, &order).await?,
    };
    let about = About {
        order: Some(order.id),
        custom_order: Some(custom_order.id),
    };
    let cause = custom_order.id.to_string();
    emails::queue(conn, &email, &cause, &custom_order.email, Some(SHOP), about).await?;
    Ok(Paid::Settled(order))
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
    store::add_event(conn, custom_order.id, "payment", "stripe", note).await
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
async fn close_unpaid(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
    quote: &Quote,
    kind: Kind,
    why: &str,
) -> Result<()> {
    store::set_quote_state(conn, quote.id, QuoteState::Closed, None, Some(why)).await?;
    let cause = format!("{}:{}", kind.as_str(), quote.id);
    flag(conn, custom_order.id, &NewItem::new(kind, cause, why)).await?;
    if custom_order.status == Status::Approved {
        let next = quote.pending_action.as_ref().map(|next| next.0.clone());
        move_on(conn, app, custom_order, quote.id, next).await?;
    }
    Ok(())
}

/// Starts production of a paid piece. Safe to repeat.
///
/// # Errors
/// 404; 409 `not_paid`, or `refunded_in_full` while a refund of all of its money is under way.
pub async fn start_production(
    conn: &mut PgConnection,
    id: CustomOrderId,
    actor: &str,
) -> Result<CustomOrder> {
    let custom_order = locked(conn, id).await?;
    match custom_order.status {
        Status::InProduction => Ok(custom_order),
        Status::Paid => set_in_production(conn, &custom_order, actor).await,
        _ => Err(refused(
            "not_paid",
            &custom_order,
            "cannot go into production",
        )),
    }
}

/// Starts production of a locked custom order that is paid.
async fn set_in_production(
    conn: &mut PgConnection,
    custom_order: &CustomOrder,
    actor: &str,
) -> Result<CustomOrder> {
    if let Some(order) = custom_order.order_id
        && orders::is_refunded_in_full(conn, order).await?
    {
        let why = "a refund of all of its money is under way";
        return Err(refused("refunded_in_full", custom_order, why));
    }
    store::set_status(conn, custom_order, Status::InProduction, None, actor, "").await
}

/// Ships a piece: updates order, shipment and custom order together, and emails the customer its images. A custom order
/// that was never marked as in production passes through that status.
///
/// # Errors
/// Field errors; 404; 409 `not_shippable`.
pub async fn ship(
    conn: &mut PgConnection,
    app: &App,
    id: CustomOrderId,
    shipment: &NewShipment,
    actor: &str,
) -> Result<CustomOrder> {
    let custom_order = locked(conn, id).await?;
    let Some(order) = lock_order(conn, &custom_order).await? else {
        return Err(refused("not_shippable", &custom_order, "cannot be shipped"));
    };
    let piece = Piece {
        custom_order,
        order,
    };
    Ok(ship_piece(conn, app, &piece, shipment, actor)
        .await?
        .custom_order)
}

/// A paid custom order and its order, both locked.
pub struct Piece {
    pub custom_order: CustomOrder,
    pub order: Order,
}

/// Locks the custom order behind `order`, if any, and then the order.
///
/// # Errors
/// Database errors only.
pub async fn lock_piece(conn: &mut PgConnection, order: OrderId) -> Result<Option<Piece>> {
    let Some(custom_order) = lock_of(conn, order).await? else {
        return Ok(None);
    };
    let order = lock_order(conn, &custom_order).await?;
    Ok(order.map(|order| Piece {
        custom_order,
        order,
    }))
}

/// Locks the order of a locked custom order, if it has one.
async fn lock_order(conn: &mut PgConnection, custom_order: &CustomOrder) -> Result<Option<Order>> {
    match custom_order.order_id {
        Some(order) => orders::lock(conn, order).await,
        None => Ok(None),
    }
}

/// Ships a piece, as [`ship`] does. The caller writes the audit entry.
///
/// # Errors
/// Field errors; 409 `not_shippable`.
pub async fn ship_piece(
    conn: &mut PgConnection,
    app: &App,
    piece: &Piece,
    shipment: &NewShipment,
    actor: &str,
) -> Result<Piece> {
    let mut custom_order = piece.custom_order.clone();
    if custom_order.status == Status::Paid {
        custom_order = set_in_production(conn, &custom_order, actor).await?;
    }
    if custom_order.status != Status::InProduction {
        return Err(refused("not_shippable", &custom_order, "cannot be shipped"));
    }
    let (order, shipment) = orders::ship(conn, &piece.order, shipment, actor).await?;
    let custom_order =
        store::set_status(conn, &custom_order, Status::Shipped, None, actor, "").await?;
    let email = Email::CustomOrderShipped {
        custom_order: email_data(conn, app, &custom_order).await?,
        order: orders::email_data(conn, &order).await?,
        shipment: shipment.email_data(),
    };
    let about = About {
        order: Some(order.id),
        custom_order: Some(custom_order.id),
    };
    let cause = order.id.to_string();
    emails::queue(conn, &email, &cause, &custom_order.email, None, about).await?;
    Ok(Piece {
        custom_order,
        order,
    })
}

/// Completes the custom order and its order after delivery. Safe to repeat.
///
/// # Errors
/// 404; 409 `not_shipped`.
pub async fn complete(
    conn: &mut PgConnection,
    id: CustomOrderId,
    actor: &str,
) -> Result<CustomOrder> {
    let custom_order = locked(conn, id).await?;
    let Some(order) = lock_order(conn, &custom_order).await? else {
        return Err(refused("not_shipped", &custom_order, "cannot be completed"));
    };
    let piece = Piece {
        custom_order,
        order,
    };
    Ok(complete_piece(conn, &piece, actor).await?.custom_order)
}

/// Completes a piece, as [`complete`] does. The caller writes the audit entry.
///
/// # Errors
/// 409 `not_shipped`.
pub async fn complete_piece(conn: &mut PgConnection, piece: &Piece, actor: &str) -> Result<Piece> {
    let Piece {
        custom_order,
        order,
    } = piece;
    let (custom_order, order) = match custom_order.status {
        Status::Completed => (custom_order.clone(), order.clone()),
        Status::Shipped => {
            let order = orders::deliver(conn, order, actor).await?;
            let status = Status::Completed;
            let completed = store::set_status(conn, custom_order, status, None, actor, "");
            (completed.await?, order)
        }
        _ => return Err(refused("not_shipped", custom_order, "cannot be completed")),
    };
    Ok(Piece {
        custom_order,
        order,
    })
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
        store::set_status(conn, &custom_order, Status::Refunded, None, actor, note).await?;
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
        store::set_status(conn, &custom_order, before, None, actor, note).await?;
    }
    Ok(())
}

/// Flags a custom order for review because of a Stripe event, and adds the reason to its timeline. Safe to repeat: the
/// same cause raises one item.
pub async fn flag(conn: &mut PgConnection, id: CustomOrderId, item: &NewItem) -> Result<()> {
    match review_items::raise(conn, id.into(), item).await? {
        Some(_) => store::add_event(conn, id, "note", "stripe", &item.text).await,
        None => Ok(()),
    }
}

/// Resolves the review items about closing a quote's payment link, because the link is closed now.
async fn settle_not_closed(conn: &mut PgConnection, quote: QuoteId) -> Result<()> {
    let source = format!("payment_link:{quote}:not_closed");
    let result = "the payment link is closed";
    for item in review_items::close(conn, &source, "stripe", result).await? {
        if let Some(id) = item.custom_order_id {
            let note = format!("resolved automatically: {result}");
            store::add_event(conn, id, "note", "stripe", &note).await?;
        }
    }
    Ok(())
}

/// Short digest of a text of any length.
fn digest(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hex::encode(&hash[..8])
}

/// Adds an entry to the timeline.
///
/// # Errors
/// 404 when there is no such custom order.
pub async fn note(
    conn: &mut PgConnection,
    id: CustomOrderId,
    kind: &str,
    actor: &str,
    text: &str,
) -> Result<()> {
    locked(conn, id).await?;
    store::add_event(conn, id, kind, actor, text).await
}

/// Locks the custom order behind `order`, if any. Call it before locking the order (see lock order).
pub async fn lock_of(conn: &mut PgConnection, order: OrderId) -> Result<Option<CustomOrder>> {
    match store::find_id_by_order(conn, order).await? {
        Some(id) => store::lock(conn, id).await,
        None => Ok(None),
    }
}

/// Email data of a quote's delayed payment.
fn delayed(app: &App, custom_order: &CustomOrder, quote: &Quote) -> DelayedPaymentEmailData {
    DelayedPaymentEmailData {
        about: custom_order.display_number(),
        customer_name: Some(custom_order.name.clone()),
        amount: quote.total(),
        currency: quote.currency.clone(),
        holds: Holds::Nothing,
        status_url: Some(page::address(app, custom_order.id)),
    }
}

/// Email data of a custom order.
async fn email_data(
    conn: &mut PgConnection,
    app: &App,
    custom_order: &CustomOrder,
) -> Result<CustomOrderEmailData> {
    Ok(CustomOrderEmailData {
        id: custom_order.id,
        number: custom_order.display_number(),
        customer_name: custom_order.name.clone(),
        description: custom_order.description.clone(),
        colors: custom_order.colors.clone(),
        images: store::images(conn, custom_order.id).await?,
        status_url: Some(page::address(app, custom_order.id)),
    })
}

async fn to_customer(
    conn: &mut PgConnection,
    custom_order: &CustomOrder,
    email: &Email,
    cause: &str,
) -> Result<()> {
    let about = About {
        custom_order: Some(custom_order.id),
        order: custom_order.order_id,
    };
    emails::queue(conn, email, cause, &custom_order.email, None, about).await
}

async fn locked(conn: &mut PgConnection, id: CustomOrderId) -> Result<CustomOrder> {
    store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("CustomOrder"))
}

/// Locks the custom order of a quote.
async fn custom_order_of(conn: &mut PgConnection, quote: QuoteId) -> Result<CustomOrder> {
    let id = store::find_custom_order_of_quote(conn, quote)
        .await?
        .ok_or(Error::NotFound("Quote"))?;
    locked(conn, id).await
}

fn check_not_paying(custom_order: &CustomOrder, quote: &Quote) -> Result<()> {
    if quote.payment_in_progress {
        let why = "is being paid: wait until the payment succeeds or fails";
        return Err(refused("payment_in_progress", custom_order, why));
    }
    Ok(())
}

fn asking(custom_order: &CustomOrder) -> Error {
    refused(
        "quote_asking",
        custom_order,
        "is being approved: try again when its link is ready",
    )
}

fn closing(custom_order: &CustomOrder) -> Error {
    refused(
        "quote_closing",
        custom_order,
        "has a link that is being closed: try again in a moment",
    )
}

fn refused(code: &'static str, custom_order: &CustomOrder, what: &str) -> Error {
    Error::Conflict(
        code,
        format!(
            "{} is {} and {what}.",
            custom_order.display_number(),
            custom_order.status.as_str()
        ),
    )
}
