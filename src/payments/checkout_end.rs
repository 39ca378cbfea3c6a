//! Ends of checkouts: cancelled, released by the owner, given up without an answer, or settled by asking Stripe.

use chrono::Utc;
use serde_json::json;
use sqlx::PgConnection;
use tracing::warn;

use super::states::CheckoutState;
use super::{sessions, store};
use crate::app::App;
use crate::audit::{self, Actor};
use crate::error::{Code, Error, Result};
use crate::jobs::{self, Job};
use crate::orders::{self, Status};
use crate::products;
use crate::stripe::{Session, SessionStatus, StripeError};
use crate::types::ids::{OrderId, ProductId};

/// State of a pending order's session after the attempt to expire it.
enum Ended {
    /// It can no longer be paid.
    Unpaid,
    /// It was paid.
    Paid(Box<Session>),
    /// A delayed payment is in progress.
    Processing(Box<Session>),
    /// The order is unknown or not pending (any more).
    NotPending,
}

/// Expires the session of a pending order at Stripe. Safe to repeat.
async fn end_session(app: &App, order: OrderId) -> Result<Ended> {
    let mut conn = app.db.acquire().await?;
    let pending = orders::find(&mut conn, order)
        .await?
        .is_some_and(|order| order.status == Status::Pending);
    let checkout = store::find_checkout(&mut conn, order).await?;
    let (true, Some(checkout)) = (pending, checkout) else {
        return Ok(Ended::NotPending);
    };
    // No connection is held while Stripe answers.
    drop(conn);
    let id = match (checkout.session_id, checkout.request) {
        (Some(id), _) => id,
        // The answer was lost. The same request under the same key returns the session, if there is one.
        (None, Some(request)) => match app.stripe.create_session(&request.0).await {
            Ok(session) => session.id,
            Err(StripeError::Refused { .. }) => return Ok(Ended::Unpaid),
            Err(error) => return Err(unavailable(error)),
        },
        // Neither asked for nor made.
        (None, None) => return Ok(Ended::Unpaid),
    };
    match app.stripe.expire_session(&id).await {
        Ok(session) if session.is_paid() => Ok(Ended::Paid(Box::new(session))),
        Ok(session) if session.status == SessionStatus::Complete => {
            Ok(Ended::Processing(Box::new(session)))
        }
        Ok(session) if session.status == SessionStatus::Expired => Ok(Ended::Unpaid),
        Ok(session) => Err(unavailable(StripeError::Unknown(format!(
            "session {} is {}",
            session.id, session.status
        )))),
        // Stripe does not know the session, so nobody can pay it.
        Err(error) if error.is_missing() => Ok(Ended::Unpaid),
        Err(error) => Err(unavailable(error)),
    }
}

/// Ends the shopper's former checkout. Returns its order if a new one may replace it.
pub async fn end_superseded(app: &App, order: OrderId) -> Result<Option<OrderId>> {
    match end_session(app, order).await? {
        Ended::Unpaid => Ok(Some(order)),
        Ended::NotPending => Ok(None),
        Ended::Paid(session) | Ended::Processing(session) => {
            settle(app, order, &session).await?;
            Ok(None)
        }
    }
}

/// Outcome of a canceled checkout, with the address to return to.
pub enum Cancelled {
    /// The pieces are released (or already were).
    Free(String),
    /// Stripe was unavailable: the pieces stay held until the session expires, or the shopper checks out again.
    Held(String),
    /// The payment was faster, or is in progress: the order stays.
    Paid(String),
    /// The pieces are released, but a delayed payment may still arrive; it then takes the pieces if they are in stock,
    /// or is refunded.
    Awaited(String),
}

/// Releases a pending order for the owner: expires the session, then releases the pieces.
///
/// # Errors
/// 404 for an order without a checkout; 409 `not_held` for an order without a hold.
pub async fn release_hold(app: &App, order: OrderId, actor: &Actor) -> Result<Cancelled> {
    let ended = end_session(app, order).await;
    if matches!(ended, Ok(Ended::NotPending)) {
        return Err(Error::Conflict(
            Code::NotHeld,
            "This order no longer holds any pieces.".to_owned(),
        ));
    }
    end_checkout(app, order, ended, Some(actor)).await
}

/// Expires the session, releases the pieces, and returns the shopper's origin. Safe to repeat.
///
/// # Errors
/// 404 for an order without a checkout.
pub async fn cancel(app: &App, order: OrderId) -> Result<Cancelled> {
    let ended = end_session(app, order).await;
    end_checkout(app, order, ended, None).await
}

/// Records the outcome of expiring a session for the shopper or an admin user.
async fn end_checkout(
    app: &App,
    order: OrderId,
    ended: Result<Ended>,
    actor: Option<&Actor>,
) -> Result<Cancelled> {
    let mut tx = app.db.begin().await?;
    let checkout = store::find_checkout(&mut tx, order)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    let origin = checkout.return_origin;
    match (ended, actor) {
        (Ok(Ended::Unpaid), actor) => {
            match actor {
                Some(actor) => release_for(&mut tx, order, actor, "hold released").await?,
                None => {
                    let (actor, note) = ("shopper", "went back");
                    orders::release(&mut tx, order, Status::Cancelled, actor, note).await?;
                }
            }
            store::set_checkout_state(&mut tx, order, CheckoutState::Expired, None).await?;
            tx.commit().await?;
            Ok(Cancelled::Free(origin))
        }
        // Only the owner gives up the pieces of a payment under way. Where the shopper goes back, the order stays.
        (Ok(Ended::Processing(session)), Some(actor)) => {
            sessions::settle(&mut tx, app, order, &session).await?;
            let note = "hold released; the delayed payment may still arrive";
            release_for(&mut tx, order, actor, note).await?;
            tx.commit().await?;
            Ok(Cancelled::Awaited(origin))
        }
        (Ok(Ended::Paid(session) | Ended::Processing(session)), _) => {
            sessions::settle(&mut tx, app, order, &session).await?;
            tx.commit().await?;
            Ok(Cancelled::Paid(origin))
        }
        (Ok(Ended::NotPending), _) => {
            let paid = orders::find(&mut tx, order)
                .await?
                .is_some_and(|order| order.paid_at.is_some());
            Ok(if paid {
                Cancelled::Paid(origin)
            } else {
                Cancelled::Free(origin)
            })
        }
        // Going back must work for the shopper while Stripe is down, too.
        (Err(error), _) => {
            warn!(%order, %error, "a canceled checkout could not be ended; its hold will expire");
            Ok(Cancelled::Held(origin))
        }
    }
}

/// Releases an order for an admin user, with an audit entry.
async fn release_for(
    conn: &mut PgConnection,
    order: OrderId,
    actor: &Actor,
    note: &str,
) -> Result<()> {
    let freed = orders::release(conn, order, Status::Cancelled, &actor.name, note).await?;
    let (before, after) = (
        json!({"status": "pending"}),
        json!({"status": freed.status}),
    );
    let object = format!("order:{}", freed.display_number());
    audit::record(conn, actor, "hold.release", &object, before, after).await
}

/// Determines the outcome of a checkout whose answer was lost, expires its session and settles its order. Safe to
/// repeat; does nothing for a checkout that was answered in the meantime.
///
/// # Errors
/// 503 while Stripe is unavailable: retry later.
pub async fn settle_unheard(app: &App, order: OrderId) -> Result<()> {
    let mut conn = app.db.acquire().await?;
    let Some(checkout) = store::find_checkout(&mut conn, order).await? else {
        return Ok(());
    };
    drop(conn);
    // Without a request there is nothing to ask again.
    let (true, Some(request)) = (checkout.state.is_unheard(), checkout.request) else {
        return Ok(());
    };
    if checkout.hold_until < Utc::now() {
        // Any session has expired by now, and repeating the request may return the same failure for a day.
        return give_up(
            app,
            order,
            CheckoutState::Expired,
            "no session can be paid any more",
        )
        .await;
    }
    let session = match app.stripe.create_session(&request.0).await {
        Ok(session) => session,
        Err(error @ StripeError::Refused { .. }) => {
            return give_up(app, order, CheckoutState::Refused, &error.to_string()).await;
        }
        Err(error) => return Err(unavailable(error)),
    };
    let mut conn = app.db.acquire().await?;
    // Recorded before the next call, so that a crash does not lose the session again.
    store::record_session(&mut conn, order, &session.id, None).await?;
    drop(conn);
    let session = app
        .stripe
        .expire_session(&session.id)
        .await
        .map_err(unavailable)?;
    if session.status == SessionStatus::Complete {
        return settle(app, order, &session).await;
    }
    give_up(
        app,
        order,
        CheckoutState::Expired,
        "the answer to this checkout was lost",
    )
    .await
}

/// Asks Stripe for the state of a session and settles its order accordingly. Expires an open session.
///
/// # Errors
/// 503 while Stripe is unavailable: retry later.
pub async fn settle_by_asking(
    app: &App,
    order: OrderId,
    session_id: &str,
    end: bool,
) -> Result<()> {
    let found = match app.stripe.find_session(session_id).await {
        Ok(session) if session.status == SessionStatus::Open && end => {
            app.stripe.expire_session(session_id).await
        }
        found => found,
    };
    match found {
        Ok(session) => settle(app, order, &session).await,
        // The session is another account's, or long gone: nobody can pay it.
        Err(error) if error.is_missing() => {
            let mut tx = app.db.begin().await?;
            orders::release(
                &mut tx,
                order,
                Status::Expired,
                "sweeper",
                "Stripe does not know the session",
            )
            .await?;
            store::set_checkout_state(
                &mut tx,
                order,
                CheckoutState::Expired,
                Some(&error.to_string()),
            )
            .await?;
            tx.commit().await?;
            Ok(())
        }
        Err(error) => Err(unavailable(error)),
    }
}

async fn settle(app: &App, order: OrderId, session: &Session) -> Result<()> {
    let mut tx = app.db.begin().await?;
    sessions::settle(&mut tx, app, order, session).await?;
    tx.commit().await?;
    Ok(())
}

/// Releases an order whose shopper got no payment page. Of two concurrent attempts, the one with a session wins.
pub async fn give_up(app: &App, order: OrderId, state: CheckoutState, why: &str) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let pending = is_pending(&mut tx, order).await?;
    let checkout = store::find_checkout(&mut tx, order).await?;
    let heard = checkout
        .as_ref()
        .is_some_and(|checkout| checkout.session_id.is_some());
    if pending && heard && state != CheckoutState::Expired {
        return Ok(());
    }
    orders::release(
        &mut tx,
        order,
        Status::Failed,
        "stripe",
        "no payment page could be created",
    )
    .await?;
    store::set_checkout_state(&mut tx, order, state, Some(why)).await?;
    match (state, checkout) {
        (CheckoutState::Unknown, _) => {
            jobs::enqueue(&mut tx, &Job::SettleCheckout { order }).await?
        }
        (CheckoutState::Refused, Some(checkout))
            if checkout
                .request
                .as_ref()
                .is_some_and(|request| request.0.names_prices()) =>
        {
            // A price may have been archived at Stripe, or belong to another account. The sync finds out. Releasing the
            // order has locked its products.
            let lines = orders::lines(&mut tx, order).await?;
            let products: Vec<ProductId> = lines
                .into_iter()
                .filter_map(|line| line.product_id)
                .collect();
            products::doubt_prices(&mut tx, &products).await?;
            jobs::enqueue_syncs(&mut tx, &products).await?;
        }
        _ => {}
    }
    tx.commit().await?;
    Ok(())
}

/// Locks an order and returns true when it is pending.
async fn is_pending(conn: &mut PgConnection, order: OrderId) -> Result<bool> {
    let order = orders::lock(conn, order).await?;
    Ok(order.is_some_and(|order| order.status == Status::Pending))
}

/// 503 `payment_unavailable`: Stripe gave no usable answer, so the caller may try again.
pub fn unavailable(error: StripeError) -> Error {
    Error::Unavailable(Code::PaymentUnavailable, error.into())
}
