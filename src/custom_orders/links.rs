//! Payment links of quotes, created and closed by jobs in three steps without network inside a transaction (P4): the
//! change plans the call, the job calls Stripe, the outcome is recorded.

use std::time::Duration;

use chrono::Utc;
use tracing::{info, warn};

use super::{Quote, QuoteState, service, store};
use crate::app::App;
use crate::error::{Error, Result};
use crate::jobs::{self, Job};
use crate::stripe::{self, NewPaymentLink, PaymentLink, StripeError};
use crate::types::ids::QuoteId;

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
    drop(conn);
    let made = match find_made(app, &row, &call).await {
        Ok(Some(link)) => Ok(link),
        Ok(None) => ask(app, quote, &call).await,
        Err(error) => Err((error, false)),
    };
    match made {
        Ok(PaymentLink { id, url, .. }) => {
            let mut tx = app.db.begin().await?;
            service::link_made(&mut tx, app, quote, &id, &url).await?;
            tx.commit().await?;
            info!(%quote, link = id, "payment link made");
            Ok(())
        }
        Err((error @ StripeError::Refused { .. }, _)) => {
            warn!(%quote, %error, "Stripe refused a payment link");
            let mut tx = app.db.begin().await?;
            service::link_refused(&mut tx, quote, &error.to_string()).await?;
            tx.commit().await?;
            Ok(())
        }
        Err((error, needs_new_key)) => {
            let next = needs_new_key.then(|| NewPaymentLink {
                key: format!(
                    "{}-{}",
                    service::first_key(row.custom_order_id, quote),
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
    let is_first = call.key == service::first_key(quote.custom_order_id, quote.id);
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

/// Closes the payment link of a quote and all its open pages, then carries out the action planned for that time. If
/// someone paid through it in the meantime, the payment stands. Safe to repeat.
///
/// # Errors
/// 503 while Stripe is unavailable: retry later.
pub async fn close_link(app: &App, quote: QuoteId) -> Result<()> {
    let mut conn = app.db.acquire().await?;
    let link = store::find_quote(&mut conn, quote)
        .await?
        .filter(|quote| quote.state == QuoteState::Closing)
        .and_then(|quote| quote.link_id);
    drop(conn);
    let Some(link) = link else {
        return Ok(());
    };
    let paid = match close_at_stripe(app, &link).await {
        Ok(paid) => paid,
        Err(error) => {
            let mut tx = app.db.begin().await?;
            service::not_closed(&mut tx, quote, &error).await?;
            tx.commit().await?;
            return Err(unavailable(error));
        }
    };
    let mut tx = app.db.begin().await?;
    if paid {
        service::paid_while_closing(&mut tx, quote).await?;
    } else {
        service::link_closed(&mut tx, app, quote).await?;
    }
    tx.commit().await?;
    info!(%quote, link, paid, "payment link closed");
    Ok(())
}

/// Deactivates a link, so that it opens no more pages, and expires its open sessions. Returns true when one of them was
/// completed.
async fn close_at_stripe(app: &App, link: &str) -> Result<bool, StripeError> {
    match app.stripe.deactivate_payment_link(link).await {
        Ok(()) => {}
        // The link belongs to another account, so nobody can pay through it here.
        Err(error) if error.is_missing() => return Ok(false),
        Err(error) => return Err(error),
    }
    let mut completed = false;
    for session in app.stripe.list_link_sessions(link).await? {
        let ended = match session.status.as_str() {
            "open" => app.stripe.expire_session(&session.id).await?,
            _ => session,
        };
        match ended.status.as_str() {
            "complete" => completed = true,
            "expired" => {}
            // A payment is in progress; the next attempt sees its outcome.
            status => {
                return Err(StripeError::Unknown(format!(
                    "session {} is {status}",
                    ended.id
                )));
            }
        }
    }
    Ok(completed)
}

/// Closes lapsed quotes, ends refunded custom orders, revives those whose refund failed, and queues stuck jobs again. Safe to
/// repeat, and to run concurrently.
///
/// # Errors
/// Database errors only.
pub async fn sweep(app: &App) -> Result<()> {
    let mut conn = app.db.acquire().await?;
    let lapsed = store::list_lapsed(&mut conn, app.config.shop.time_zone).await?;
    let refunded = store::list_refunded(&mut conn).await?;
    let not_refunded = store::list_not_refunded(&mut conn).await?;
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
        service::lapse(&mut tx, custom_order, quote).await?;
        tx.commit().await?;
    }
    for custom_order in refunded {
        let mut tx = app.db.begin().await?;
        service::set_refunded(&mut tx, custom_order, "clock").await?;
        tx.commit().await?;
    }
    for custom_order in not_refunded {
        let mut tx = app.db.begin().await?;
        service::refund_failed(&mut tx, custom_order, "clock").await?;
        tx.commit().await?;
    }
    Ok(())
}

fn unavailable(error: StripeError) -> Error {
    Error::Unavailable("payment_unavailable", error.into())
}
