//! Payment links of quotes, created and closed by jobs in three steps without network inside a transaction (P4): the
//! change in [`super::quotes`] plans the call, the job calls Stripe, the outcome is recorded.

use std::time::Duration;

use chrono::Utc;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use tracing::{info, warn};

use super::customer_emails::{email_data, quote_email_data, to_customer};
use super::locks::{custom_order_of, locked};
use super::old_links::LinkPayment;
use super::quotes::{close, first_key, move_on, valid_until};
use super::{PendingAction, Quote, QuoteState, Status, store};
use crate::app::App;
use crate::emails::Email;
use crate::error::{Code, Error, Result};
use crate::jobs::{self, Job};
use crate::review_items::{self, Kind, NewItem};
use crate::settings;
use crate::stripe::{self, NewPaymentLink, PaymentLink, Session, SessionStatus, StripeError};
use crate::types::ids::{CustomOrderId, QuoteId};

/// Time after which the sweep queues the job of an unfinished link again.
const HANGING: Duration = Duration::from_secs(10 * 60);

/// Creates the payment link of an approved quote. Safe to repeat: the key derives from custom order and quote.
///
/// # Errors
/// 503 while Stripe is unavailable: retry later. A refusal is stored with the quote and shown to the owner.
pub async fn make_link(app: &App, quote: QuoteId) -> Result<()> {
    let mut conn = app.db.acquire().await?;
    let Some(row) = store::find_quote(&mut conn, quote)
        .await?
        .filter(|quote| quote.state == QuoteState::Asking)
    else {
        return Ok(());
    };
    let Some(call) = store::find_stripe_request(&mut conn, quote).await? else {
        return Ok(());
    };
    // No connection is held while Stripe answers.
    drop(conn);
    let made = match find_made(app, &row, &call).await {
        Ok(Some(link)) => Ok(link),
        Ok(None) => ask(app, quote, &call).await,
        Err(error) => Err((error, false)),
    };
    match made {
        Ok(PaymentLink { id, url, .. }) => {
            let mut tx = app.db.begin().await?;
            link_made(&mut tx, app, quote, &id, &url).await?;
            tx.commit().await?;
            info!(%quote, link = id, "payment link made");
            Ok(())
        }
        Err((error @ StripeError::Refused { .. }, _)) => {
            warn!(%quote, %error, "Stripe refused a payment link");
            let mut tx = app.db.begin().await?;
            link_refused(&mut tx, quote, &error.to_string()).await?;
            tx.commit().await?;
            Ok(())
        }
        Err((error, needs_new_key)) => {
            // Under the same key, Stripe would repeat its answer.
            let next = needs_new_key.then(|| NewPaymentLink {
                key: format!(
                    "{}-{}",
                    first_key(row.custom_order_id, quote),
                    QuoteId::new()
                ),
                ..call
            });
            let mut conn = app.db.acquire().await?;
            store::record_failure(&mut conn, quote, &error.to_string(), next.as_ref()).await?;
            Err(unavailable(error))
        }
    }
}

/// Finds the link that an earlier call made, where Stripe may not know that call by its key any more: it was long ago, or had
/// another key.
async fn find_made(
    app: &App,
    quote: &Quote,
    call: &NewPaymentLink,
) -> std::result::Result<Option<PaymentLink>, StripeError> {
    let is_old = quote.asked_at.unwrap_or(quote.created_at) < Utc::now() - stripe::KEY_LIFETIME;
    let is_first = call.key == first_key(quote.custom_order_id, quote.id);
    match is_old || !is_first {
        true => app.stripe.find_payment_link(quote.id).await,
        false => Ok(None),
    }
}

/// Asks for a link. True beside the error: the next try needs another idempotency key.
async fn ask(
    app: &App,
    quote: QuoteId,
    call: &NewPaymentLink,
) -> std::result::Result<PaymentLink, (StripeError, bool)> {
    let error = match app.stripe.create_payment_link(call).await {
        Ok(link) => return Ok(link),
        Err(error) => error,
    };
    if !matches!(error, StripeError::Unknown(_) | StripeError::Failed(_)) {
        return Err((error, false));
    }
    // It may have been made all the same.
    match app.stripe.find_payment_link(quote).await {
        Ok(Some(link)) => Ok(link),
        // A call without an answer may still be under way, so it keeps its key. One that failed is over, and Stripe would
        // repeat the failure under that key for a day.
        Ok(None) => {
            let needs_new_key = matches!(error, StripeError::Failed(_));
            Err((error, needs_new_key))
        }
        Err(error) => Err((error, false)),
    }
}

/// Closes the payment links of a quote and all their open pages, then carries out the action planned for that time. If
/// someone paid through one in the meantime, the payment stands. Safe to repeat.
///
/// # Errors
/// 503 while Stripe is unavailable: retry later.
pub async fn close_link(app: &App, quote: QuoteId) -> Result<()> {
    let mut conn = app.db.acquire().await?;
    let found = store::find_quote(&mut conn, quote).await?;
    drop(conn);
    let Some(found) = found.filter(is_to_close) else {
        return Ok(());
    };
    let paid = match close_all_at_stripe(app, &found).await {
        Ok(paid) => paid,
        Err(error) => {
            let mut tx = app.db.begin().await?;
            not_closed(&mut tx, quote, &error).await?;
            tx.commit().await?;
            return Err(unavailable(error));
        }
    };
    let mut tx = app.db.begin().await?;
    if paid {
        paid_while_closing(&mut tx, quote).await?;
    } else {
        link_closed(&mut tx, app, quote).await?;
    }
    tx.commit().await?;
    info!(%quote, paid, "payment links closed");
    Ok(())
}

/// Returns true for a quote that takes no payment any more. One that is closed or paid still has a link where that takes any
/// number of payments, or where another link was paid.
fn is_to_close(quote: &Quote) -> bool {
    matches!(
        quote.state,
        QuoteState::Closing | QuoteState::Closed | QuoteState::Paid
    )
}

/// Closes the link of a quote and, for a copied one, every link that the other shop made for its custom order. Returns true
/// when a session was completed that pays the quote, or may.
async fn close_all_at_stripe(app: &App, quote: &Quote) -> Result<bool, StripeError> {
    let mut links: Vec<String> = quote.link_id.iter().cloned().collect();
    if quote.is_copied {
        let url = quote.link_url.as_deref();
        links.extend(
            app.stripe
                .find_old_payment_links(quote.custom_order_id, url)
                .await?,
        );
        links.sort();
        links.dedup();
    }
    let mut completed = false;
    for link in links {
        let sessions = close_at_stripe(app, &link).await?;
        // A copied link may have been paid before over another amount, which was refunded and decides nothing.
        completed |= sessions
            .iter()
            .any(|session| !quote.is_copied || LinkPayment::of(session).is_as_quoted(quote));
    }
    Ok(completed)
}

/// Deactivates a link, so that it opens no more pages, and expires its open sessions. Returns those that were completed.
async fn close_at_stripe(app: &App, link: &str) -> Result<Vec<Session>, StripeError> {
    match app.stripe.deactivate_payment_link(link).await {
        Ok(()) => {}
        // The link belongs to another account, so nobody can pay through it here.
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let mut completed = Vec::new();
    for session in app.stripe.list_link_sessions(link).await? {
        let ended = match session.status {
            SessionStatus::Open => app.stripe.expire_session(&session.id).await?,
            _ => session,
        };
        match ended.status {
            SessionStatus::Complete => completed.push(ended),
            SessionStatus::Expired => {}
            // A payment is in progress; the next attempt sees its outcome.
            ref status => {
                return Err(StripeError::Unknown(format!(
                    "session {} is {status}",
                    ended.id
                )));
            }
        }
    }
    Ok(completed)
}

/// Closes lapsed quotes, and queues stuck jobs again. Safe to repeat, and to run concurrently.
///
/// # Errors
/// Database errors only.
pub async fn sweep(app: &App) -> Result<()> {
    let mut conn = app.db.acquire().await?;
    let zone = settings::time_zone(&mut conn, &app.config).await?;
    let lapsed = store::list_lapsed(&mut conn, zone).await?;
    for (quote, state) in store::list_hanging(&mut conn, HANGING).await? {
        let job = match state {
            QuoteState::Asking => Job::MakeLink { quote },
            _ => Job::CloseLink { quote },
        };
        jobs::enqueue(&mut conn, &job).await?;
    }
    drop(conn);
    for (custom_order, quote) in lapsed {
        let mut tx = app.db.begin().await?;
        lapse(&mut tx, custom_order, quote).await?;
        tx.commit().await?;
    }
    Ok(())
}

fn unavailable(error: StripeError) -> Error {
    Error::Unavailable(Code::PaymentUnavailable, error.into())
}

/// Records the link that Stripe created for a quote, approves the custom order and emails the customer. Safe to repeat:
/// the first link is kept.
async fn link_made(
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
    let until = valid_until(conn, app, &asked).await?;
    let Some(quote) = store::set_live(conn, asked.id, link, url, until).await? else {
        return Ok(());
    };
    let custom_order = if custom_order.status == Status::Approved {
        custom_order
    } else {
        store::set_status(conn, &custom_order, Status::Approved, "stripe", "").await?
    };
    let email = Email::CustomOrderApproved {
        custom_order: email_data(conn, app, &custom_order).await?,
        quote: quote_email_data(&quote, until, url),
    };
    to_customer(conn, &custom_order, &email, &quote.id.to_string()).await?;
    Ok(())
}

/// Records that Stripe refused to create a link, and notifies the owner. Safe to repeat.
async fn link_refused(conn: &mut PgConnection, quote: QuoteId, why: &str) -> Result<()> {
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
        store::set_status(conn, &custom_order, Status::Expired, "stripe", "").await?;
    }
    let text = format!("Stripe refused the payment link: {why}");
    let cause = format!("payment_link:{quote}:refused");
    let item = NewItem::new(Kind::PaymentLinkRefused, cause, text);
    review_items::flag(conn, custom_order.id, "stripe", &item).await?;
    Ok(())
}

/// Carries out the action planned for a quote whose link is now closed and can no longer be paid. Safe to repeat.
async fn link_closed(conn: &mut PgConnection, app: &App, quote: QuoteId) -> Result<()> {
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
    move_on(conn, app, &custom_order, &quote, next).await
}

/// Records a failed attempt to close a quote's link. If Stripe refuses to close it, the owner must.
async fn not_closed(conn: &mut PgConnection, quote: QuoteId, error: &StripeError) -> Result<()> {
    let custom_order = custom_order_of(conn, quote).await?;
    let why = error.to_string();
    let before = store::find_quote(conn, quote).await?;
    store::record_failure(conn, quote, &why, None).await?;
    let is_news = before.is_some_and(|quote| {
        quote.state == QuoteState::Closing && quote.last_error.as_ref() != Some(&why)
    });
    if is_news && matches!(error, StripeError::Refused { .. }) {
        let text = format!("the quote's payment link could not be closed: {why}");
        let cause = format!("payment_link:{quote}:not_closed:{}", digest(&why));
        let item = NewItem::new(Kind::PaymentLinkNotClosed, cause, text);
        review_items::flag(conn, custom_order.id, "stripe", &item).await?;
    }
    Ok(())
}

/// Records that a link was not closed because a payment through it succeeded or is in progress. The planned action is
/// dropped, and the payment decides. Safe to repeat.
async fn paid_while_closing(conn: &mut PgConnection, quote: QuoteId) -> Result<()> {
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
    review_items::flag(conn, custom_order.id, "stripe", &item).await?;
    Ok(())
}

/// Plans the closing of a lapsed quote. Safe to repeat.
async fn lapse(conn: &mut PgConnection, id: CustomOrderId, quote: QuoteId) -> Result<()> {
    locked(conn, id).await?;
    match store::find_quote(conn, quote).await? {
        Some(quote) if quote.state == QuoteState::Live && !quote.payment_in_progress => {
            close(conn, &quote, &PendingAction::Lapse).await
        }
        _ => Ok(()),
    }
}

/// Resolves the review items about closing a quote's payment link, because the link is closed now.
async fn settle_not_closed(conn: &mut PgConnection, quote: QuoteId) -> Result<()> {
    let source = format!("payment_link:{quote}:not_closed");
    let result = "the payment link is closed";
    for item in review_items::close(conn, &source, "stripe", result).await? {
        if let Some(id) = item.custom_order_id {
            let note = format!("resolved automatically: {result}");
            store::add_timeline_entry(conn, id, "note", "stripe", &note).await?;
        }
    }
    Ok(())
}

/// Short digest of a text of any length.
fn digest(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hex::encode(&hash[..8])
}
