//! Sends planned refunds: requests each from Stripe until Stripe accepts it or a person must decide. The attempt is
//! recorded before the call, and no transaction is open during it.

use std::time::Duration;

use anyhow::anyhow;
use chrono::{TimeDelta, Utc};
use sqlx::PgConnection;
use tracing::{info, warn};

use super::store::{self, Refund};
use super::{TO_SHIP_AFTER_ALL, flag, is_to_ship_after_all, note, reports, with_restock};
use crate::app::App;
use crate::custom_orders;
use crate::error::{Code, Error, Result};
use crate::orders::{self, Order};
use crate::payments::states::RefundState;
use crate::payments::store::{self as payments, Payment};
use crate::review_items::{Kind, NewItem};
use crate::stripe::{self, RefundRequest, RefundStatus, StripeError};
use crate::types::ids::{OrderId, RefundId};
use crate::types::money::Cents;

/// Error codes after which retrying is useless; the last one means that Stripe does not know the payment. All others
/// may be temporary: a low balance, an account under review, too many requests.
///
/// Source: <https://docs.stripe.com/error-codes>
const FINAL: [&str; 5] = [
    "charge_already_refunded",
    "charge_disputed",
    "charge_not_refundable",
    "refund_disputed_payment",
    "resource_missing",
];

/// Upper bound of the back-off, as in the job queue.
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3600);

/// Time after which a refund that was not accepted is flagged for review. It is still retried.
const PATIENCE: TimeDelta = TimeDelta::hours(1);

/// Outcome of one attempt.
enum SendOutcome {
    Taken(stripe::Refund),
    /// The whole payment was already refunded, this much.
    NothingLeft(Cents),
    /// Stripe rejected it permanently.
    Refused(String),
    /// It is retried. `needs_new_key`: Stripe did nothing, and would repeat its answer under the same key.
    Deferred {
        error: String,
        needs_new_key: bool,
    },
}

impl From<StripeError> for SendOutcome {
    fn from(error: StripeError) -> SendOutcome {
        let text = error.to_string();
        match error {
            StripeError::Refused { code, .. } if FINAL.contains(&code.as_str()) => {
                SendOutcome::Refused(text)
            }
            error => SendOutcome::Deferred {
                // After a 5xx Stripe has to be asked first whether it made the refund.
                needs_new_key: matches!(error, StripeError::Refused { .. }),
                error: text,
            },
        }
    }
}

/// Requests a planned refund from Stripe, for the amount still due. Safe to repeat, and to run concurrently.
///
/// # Errors
/// 503 while Stripe does not accept it: retry later.
pub async fn send_refund(app: &App, id: RefundId) -> Result<()> {
    // Four calls, or five after a failure, each of one and a half time-outs at most.
    let lease = app.config.stripe.timeout * 8 + Duration::from_secs(15);
    let mut conn = app.db.acquire().await?;
    let Some(refund) = store::begin_try(&mut conn, id, lease).await? else {
        let refund = store::find(&mut conn, id).await?;
        return match refund.is_some_and(|refund| refund.state == RefundState::Planned) {
            true => Err(unavailable("another try of this refund is under way")),
            false => Ok(()),
        };
    };
    drop(conn);
    let tried = ask(app, id, &refund).await?;
    record(app, id, &refund, tried).await
}

/// State of a refund before the call.
enum Standing {
    /// An earlier attempt made it, and its answer was lost.
    Made(stripe::Refund),
    NothingLeft(Cents),
    Due(Cents),
}

/// One attempt, with Stripe's list of the payment's refunds, which may be news.
struct RefundAttempt {
    listed: Vec<stripe::Refund>,
    outcome: SendOutcome,
}

impl RefundAttempt {
    fn of(listed: Vec<stripe::Refund>, outcome: impl Into<SendOutcome>) -> RefundAttempt {
        let outcome = outcome.into();
        RefundAttempt { listed, outcome }
    }
}

/// Requests the amount due. At the first attempt our own records decide what is due; later, and when Stripe refuses,
/// Stripe is first asked what it has already made.
async fn ask(app: &App, id: RefundId, refund: &Refund) -> Result<RefundAttempt> {
    let is_first = refund.attempts == 1 && refund.created_at > Utc::now() - stripe::KEY_LIFETIME;
    let mut listed = Vec::new();
    let mut standing = match is_first {
        true => by_our_books(app, refund).await?,
        false => match look(app, id, refund, &mut listed).await? {
            Look::Found(standing) => standing,
            Look::Unanswered(error) => return Ok(RefundAttempt::of(listed, error)),
        },
    };
    let mut key_number = refund.key_number;
    let mut amount = refund.amount;
    let mut refusal = None;
    loop {
        let due = match standing {
            Standing::Made(made) => return Ok(RefundAttempt::of(listed, SendOutcome::Taken(made))),
            Standing::NothingLeft(before) => {
                return Ok(RefundAttempt::of(listed, SendOutcome::NothingLeft(before)));
            }
            Standing::Due(due) => due,
        };
        if due != amount {
            key_number = store::change_amount(&mut *app.db.acquire().await?, id, due).await?;
            amount = due;
        } else if let Some(error) = refusal {
            // Nothing has changed since Stripe refused.
            return Ok(RefundAttempt::of(listed, error));
        }
        let error = match send(app, id, refund, due, key_number).await {
            Ok(made) => return Ok(RefundAttempt::of(listed, SendOutcome::Taken(made))),
            Err(error @ StripeError::Refused { .. }) if refusal.is_none() => error,
            Err(StripeError::Failed(error)) => {
                let outcome = after_failure(app, id, refund, error, &mut listed).await?;
                return Ok(RefundAttempt::of(listed, outcome));
            }
            Err(error) => return Ok(RefundAttempt::of(listed, error)),
        };
        // Part of it may have been refunded at the dashboard, without a report yet.
        standing = match look(app, id, refund, &mut listed).await? {
            Look::Found(standing) => standing,
            Look::Unanswered(_) => return Ok(RefundAttempt::of(listed, error)),
        };
        refusal = Some(error);
    }
}

/// Reads from Stripe's list what a 5xx came to: the refund was made all the same, or it needs another key. The next try reads the
/// list once more before it uses that key.
async fn after_failure(
    app: &App,
    id: RefundId,
    refund: &Refund,
    error: String,
    listed: &mut Vec<stripe::Refund>,
) -> Result<SendOutcome> {
    let found = look(app, id, refund, listed).await?;
    Ok(match found {
        Look::Found(Standing::Made(made)) => SendOutcome::Taken(made),
        Look::Found(Standing::Due(_) | Standing::NothingLeft(_)) => SendOutcome::Deferred {
            error: StripeError::Failed(error).to_string(),
            needs_new_key: true,
        },
        Look::Unanswered(_) => StripeError::Failed(error).into(),
    })
}

async fn send(
    app: &App,
    id: RefundId,
    refund: &Refund,
    amount: Cents,
    key_number: i32,
) -> std::result::Result<stripe::Refund, StripeError> {
    let request = RefundRequest {
        id,
        key: key(id, key_number),
        payment_intent: &refund.payment_id,
        amount,
        reason: &refund.reason,
    };
    app.stripe.refund(&request).await
}

/// Amount due by our own records.
async fn by_our_books(app: &App, refund: &Refund) -> Result<Standing> {
    let mut conn = app.db.acquire().await?;
    let payment = payments::find_payment(&mut conn, &refund.payment_id)
        .await?
        .ok_or(Error::NotFound("Payment"))?;
    let before = reports::refunded(&mut conn, &refund.payment_id, &payment).await?;
    Ok(standing(&payment, refund, before))
}

/// Answer of Stripe to the question what is due.
enum Look {
    Found(Standing),
    Unanswered(StripeError),
}

/// Amount due by Stripe's list of the payment's refunds.
///
/// # Errors
/// Errors of the database only.
async fn look(
    app: &App,
    id: RefundId,
    refund: &Refund,
    listed: &mut Vec<stripe::Refund>,
) -> Result<Look> {
    *listed = match app.stripe.list_refunds(&refund.payment_id).await {
        Ok(listed) => listed,
        Err(error) => return Ok(Look::Unanswered(error)),
    };
    if let Some(made) = listed.iter().find(|made| made.ours == Some(id)) {
        return Ok(Look::Found(Standing::Made(made.clone())));
    }
    let payment = payments::find_payment(&mut *app.db.acquire().await?, &refund.payment_id)
        .await?
        .ok_or(Error::NotFound("Payment"))?;
    Ok(Look::Found(standing(&payment, refund, refunded(listed))))
}

fn standing(payment: &Payment, refund: &Refund, before: Cents) -> Standing {
    let due = Cents((payment.amount.0 - before.0).min(refund.wanted.0));
    match due > Cents::ZERO {
        true => Standing::Due(due),
        false => Standing::NothingLeft(before),
    }
}

fn refunded(listed: &[stripe::Refund]) -> Cents {
    let standing = listed
        .iter()
        .filter(|made| made.status != RefundStatus::Failed);
    Cents(
        standing
            .flat_map(|made| made.amount)
            .map(|amount| amount.0)
            .sum(),
    )
}

/// The idempotency key: a new one for each request that differs from the previous ones.
fn key(id: RefundId, number: i32) -> String {
    match number {
        0 => format!("refund-{id}"),
        _ => format!("refund-{id}-{number}"),
    }
}

async fn record(app: &App, id: RefundId, refund: &Refund, tried: RefundAttempt) -> Result<()> {
    let payment = &refund.payment_id;
    let mut tx = app.db.begin().await?;
    payments::lock_payment(&mut tx, payment).await?;
    // Stripe has listed other refunds, too. They may not have been reported yet, and count towards what is left.
    for made in &tried.listed {
        reports::keep(&mut tx, payment, made, None).await?;
    }
    let retry = match tried.outcome {
        SendOutcome::Taken(made) => {
            info!(%id, stripe_id = made.id, "refund accepted by Stripe");
            reports::keep(&mut tx, payment, &made, None).await?;
            None
        }
        SendOutcome::NothingLeft(before) => {
            nothing_left(&mut tx, id, refund, before).await?;
            None
        }
        SendOutcome::Refused(error) => {
            refused(&mut tx, id, refund, &error).await?;
            None
        }
        SendOutcome::Deferred {
            error,
            needs_new_key,
        } => deferred(&mut tx, id, refund, &error, needs_new_key).await?,
    };
    reports::apply(&mut tx, app, payment).await?;
    tx.commit().await?;
    retry.map_or(Ok(()), Err)
}

async fn nothing_left(
    conn: &mut PgConnection,
    id: RefundId,
    refund: &Refund,
    before: Cents,
) -> Result<()> {
    if !store::end_planned(conn, id, RefundState::Succeeded, None).await? {
        return Ok(());
    }
    info!(%id, "nothing was left to refund");
    let before = before.in_currency(&refund.currency);
    let text = format!("Nothing was left to refund: {before} had been refunded at Stripe already.");
    note(
        conn,
        refund.order_id,
        refund.custom_order_id,
        "stripe",
        &text,
    )
    .await
}

async fn refused(
    conn: &mut PgConnection,
    id: RefundId,
    refund: &Refund,
    error: &str,
) -> Result<()> {
    let order = lock_order(conn, refund.order_id).await?;
    // Read before the refund ends: afterwards it is no longer planned, and no longer counts as money that goes back.
    let was_in_full = match &order {
        Some(order) => orders::is_refunded_in_full(conn, order.id).await?,
        None => false,
    };
    if !store::end_planned(conn, id, RefundState::Failed, Some(error)).await? {
        return Ok(());
    }
    if let Some(order) = order {
        orders::full_refund_failed(conn, order, was_in_full).await?;
    }
    warn!(%id, error, "refund refused");
    let amount = refund.amount.in_currency(&refund.currency);
    let why = format!(
        "Stripe refused to refund {amount}: send the money by hand, or try again once the reason is gone. \
         {error}"
    );
    let mut why = with_restock(why, refund.restocked);
    if is_to_ship_after_all(conn, refund.order_id).await? {
        why.push_str(TO_SHIP_AFTER_ALL);
    }
    let item = NewItem::new(Kind::RefundFailed, format!("refund:{id}"), why);
    flag(conn, refund.order_id, refund.custom_order_id, &item).await
}

/// Locks the order of a refund, after the custom order that it was made for.
async fn lock_order(conn: &mut PgConnection, order: Option<OrderId>) -> Result<Option<Order>> {
    match order {
        Some(order) => {
            custom_orders::lock_of(conn, order).await?;
            orders::lock(conn, order).await
        }
        None => Ok(None),
    }
}

/// Records why a refund was not accepted. Returns the error that makes the queue retry, or none when Stripe turns out to
/// have the refund.
async fn deferred(
    conn: &mut PgConnection,
    id: RefundId,
    refund: &Refund,
    error: &str,
    needs_new_key: bool,
) -> Result<Option<Error>> {
    let wait = wait_after(refund.attempts);
    if !store::postpone(conn, id, error, needs_new_key, wait).await? {
        return Ok(None);
    }
    warn!(%id, attempt = refund.attempts, error, "refund not accepted; retrying later");
    if refund.flagged_at.is_none() && refund.created_at < Utc::now() - PATIENCE {
        store::set_flagged(conn, id).await?;
        let amount = refund.amount.in_currency(&refund.currency);
        let why = format!(
            "A refund of {amount} does not go through yet. It is retried automatically. {error}"
        );
        let item = NewItem::new(Kind::RefundDelayed, format!("refund_delayed:{id}"), why);
        flag(conn, refund.order_id, refund.custom_order_id, &item).await?;
    }
    Ok(Some(unavailable(error)))
}

/// Wait after this many attempts, as in the job queue: three seconds, and more each time.
fn wait_after(attempts: i32) -> Duration {
    let seconds = f64::from(attempts.clamp(1, 10)).exp();
    LONGEST_WAIT.min(Duration::from_secs_f64(seconds))
}

fn unavailable(error: &str) -> Error {
    Error::Unavailable(Code::PaymentUnavailable, anyhow!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_grow_to_six_hours() {
        let waits: Vec<u64> = [1, 2, 5, 9, 10, 400]
            .map(|attempts| wait_after(attempts).as_secs())
            .into();
        assert_eq!(waits, [2, 7, 148, 8103, 21_600, 21_600]);
    }

    #[test]
    fn only_codes_known_to_be_final_end_a_refund() {
        let refused = |status: u16, code: &str| StripeError::Refused {
            status,
            code: code.to_owned(),
            message: "No.".to_owned(),
        };
        for code in FINAL {
            let outcome = SendOutcome::from(refused(400, code));
            assert!(matches!(outcome, SendOutcome::Refused(_)), "{code}");
        }
        for (status, code) in [
            (402, "card_declined"),
            (400, ""),
            (400, "insufficient_funds"),
        ] {
            let outcome = SendOutcome::from(refused(status, code));
            let SendOutcome::Deferred { needs_new_key, .. } = outcome else {
                panic!("{code} is final");
            };
            assert!(needs_new_key);
        }
        for error in [
            StripeError::Unavailable("429 charge_disputed".to_owned()),
            StripeError::Unknown("no answer in time".to_owned()),
            StripeError::Failed("500".to_owned()),
        ] {
            let outcome = SendOutcome::from(error);
            assert!(matches!(
                outcome,
                SendOutcome::Deferred {
                    needs_new_key: false,
                    ..
                }
            ));
        }
    }
}
