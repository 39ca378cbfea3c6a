//! Giving money back: planned by the transaction that decides it, sent by a job.

use chrono::Utc;
use serde_json::{Value, json};
use sqlx::PgConnection;
use tracing::{info, warn};

use super::store;
use crate::app::App;
use crate::custom_orders;
use crate::error::{Error, Result};
use crate::ids::{CustomOrderId, OrderId, ProductId, RefundId};
use crate::jobs::{self, Job};
use crate::money::Cents;
use crate::orders;
use crate::review_items::{Kind, NewItem, Subject};
use crate::reviews;
use crate::stripe::{self, StripeError};

/// Decides on a refund; the job that is queued with it asks Stripe.
pub async fn plan(
    conn: &mut PgConnection,
    payment: &str,
    amount: Cents,
    reason: &str,
) -> Result<RefundId> {
    let id = RefundId::new();
    store::insert_refund(conn, id, payment, amount, reason).await?;
    jobs::enqueue(conn, &Job::SendRefund { refund: id }).await?;
    Ok(id)
}

/// Money that the shopkeeper gives back.
#[derive(Debug)]
pub struct NewRefund {
    /// The caller's: a refund that comes twice is one refund.
    pub id: RefundId,
    /// All that is left, unless given.
    pub amount: Option<Cents>,
    /// For the timeline and for Stripe: up to 200 characters.
    pub reason: String,
    /// Pieces that go back into stock.
    pub restock: Vec<(ProductId, i32)>,
    /// The pieces go back because all that is left is refunded: another amount is refused.
    pub is_whole: bool,
}

impl NewRefund {
    /// What the audit log says of it.
    pub fn facts(&self) -> Value {
        let restock: Vec<Value> = self
            .restock
            .iter()
            .map(|(id, quantity)| json!({"product": id, "quantity": quantity}))
            .collect();
        json!({"refund": self.amount, "reason": self.reason, "restock": restock})
    }
}

/// Plans to give back a part of an order's payment, or all that is left of it, and takes pieces back into stock. Safe to
/// repeat: a refund that was planned before stands, and the answer is false.
///
/// # Errors
/// 404; faults of `amount`, `reason` and `restock`; 409 `not_refundable` where no payment settled the order,
/// `nothing_left` where all of it is given back or planned to be, `refund_differs` where this refund's id was used for
/// another order or amount.
pub async fn refund(
    conn: &mut PgConnection,
    order: OrderId,
    new: &NewRefund,
    actor: &str,
) -> Result<bool> {
    let found = orders::find(conn, order)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    let Some(payment_id) = store::find_settling_payment(conn, order).await? else {
        let why = match found.channel.as_str() {
            "manual" => "was sold by hand: undo the sale instead",
            _ => "was not paid: there is nothing to give back",
        };
        return Err(Error::Conflict(
            "not_refundable",
            format!("{} {why}.", found.display_number()),
        ));
    };
    let payment = store::lock_payment(conn, &payment_id).await?;
    if let Some(known) = store::find_refund(conn, new.id).await? {
        let same = known.payment_id == payment_id
            && new.amount.is_none_or(|amount| amount == known.amount);
        return if same {
            Ok(false)
        } else {
            Err(Error::Conflict(
                "refund_differs",
                "This refund was asked for before, over another amount. Load the page again."
                    .to_owned(),
            ))
        };
    }
    custom_orders::lock_of(conn, order).await?;
    let locked = orders::lock(conn, order)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    let left = left(conn, &payment_id, &payment).await?;
    if left <= Cents::ZERO {
        return Err(Error::Conflict(
            "nothing_left",
            format!(
                "All of the payment of {} is given back already, or about to be.",
                locked.display_number()
            ),
        ));
    }
    let amount = new.amount.unwrap_or(left);
    if !(Cents(1)..=left).contains(&amount) {
        let most = left.in_currency(&locked.currency);
        return Err(Error::invalid(
            "amount",
            format!("must be more than nothing, and at most {most}: that is what is left"),
        ));
    }
    if new.is_whole && amount != left {
        let all = left.in_currency(&locked.currency);
        let why = format!(
            "must be {all}, all that is left, for these pieces to go back into stock; for less, load the page again"
        );
        return Err(Error::invalid("amount", why));
    }
    let reason = new.reason.trim();
    if reason.chars().count() > 200 || reason.chars().any(char::is_control) {
        return Err(Error::invalid(
            "reason",
            "must have at most 200 characters, on one line",
        ));
    }
    let reason = if reason.is_empty() {
        "the shopkeeper's decision"
    } else {
        reason
    };
    orders::take_back(conn, order, &new.restock, actor).await?;
    store::insert_refund(conn, new.id, &payment_id, amount, reason).await?;
    let back: i32 = new.restock.iter().map(|(_, quantity)| quantity).sum();
    store::record_restock(conn, new.id, back).await?;
    jobs::enqueue(conn, &Job::SendRefund { refund: new.id }).await?;
    let back = match back {
        0 => String::new(),
        1 => "; 1 piece is back in stock".to_owned(),
        many => format!("; {many} pieces are back in stock"),
    };
    let amount = amount.in_currency(&locked.currency);
    let told = format!("{amount} is being given back: {reason}{back}");
    orders::note(conn, order, "note", actor, &told).await?;
    Ok(true)
}

/// What can still be given back of the payment that settled an order; nothing where none did.
pub async fn refundable(conn: &mut PgConnection, order: OrderId) -> Result<Cents> {
    let Some(id) = store::find_settling_payment(conn, order).await? else {
        return Ok(Cents::ZERO);
    };
    match store::find_payment(conn, &id).await? {
        Some(payment) => left(conn, &id, &payment).await,
        None => Ok(Cents::ZERO),
    }
}

/// What was paid, less what Stripe says was given back and what we plan to, and no more than what we have not decided
/// on. (What was given back at Stripe's dashboard while a refund of ours is on its way there is not seen until Stripe
/// tells; Stripe refuses the surplus then.)
async fn left(conn: &mut PgConnection, id: &str, payment: &store::Payment) -> Result<Cents> {
    let failed = match payment.refunded_as_of {
        Some(as_of) => store::failed_since(conn, id, as_of).await?,
        None => Cents::ZERO,
    };
    let told = (payment.refunded.0 - failed.0).max(0);
    let (planned, decided) = store::sum_refunds(conn, id).await?;
    let back = (told + planned.0).max(decided.0);
    Ok(Cents((payment.amount.0 - back).max(0)))
}

/// Asks Stripe for a planned refund. Safe to repeat: the refund's id is the idempotency key.
///
/// # Errors
/// 503 while Stripe cannot be asked: try again later.
pub async fn send_refund(app: &App, id: RefundId) -> Result<()> {
    let mut conn = app.db.acquire().await?;
    let Some(refund) = store::find_refund(&mut conn, id)
        .await?
        .filter(|refund| refund.state == "planned")
    else {
        return Ok(());
    };
    drop(conn);
    let (state, stripe_id, error) = match ask(app, id, &refund).await {
        Ok(answer) => {
            let state = match answer.status.as_str() {
                "succeeded" => "succeeded",
                "failed" | "canceled" => "failed",
                _ => "pending",
            };
            (state, Some(answer.id), None)
        }
        // Somebody gave it back by hand: what we wanted is so.
        Err(StripeError::Refused { code, .. }) if code == "charge_already_refunded" => {
            ("succeeded", None, None)
        }
        Err(error @ StripeError::Refused { .. }) => ("failed", None, Some(error.to_string())),
        Err(error) => return Err(Error::Unavailable("payment_unavailable", error.into())),
    };
    let mut tx = app.db.begin().await?;
    store::record_refund(&mut tx, id, state, stripe_id.as_deref(), error.as_deref()).await?;
    let payment = &refund.payment_id;
    if state == "failed" {
        warn!(%id, "refund failed");
        let why = format!("payment {payment} could not be given back: do it by hand");
        let why = with_restock(&mut tx, id, why).await?;
        let item = NewItem::new(Kind::RefundFailed, format!("refund:{id}"), why);
        flag(&mut tx, refund.order_id, refund.request_id, &item).await?;
    } else {
        info!(%id, state, "refund sent");
        let text = format!(
            "payment {payment}: {} given back ({})",
            refund.amount.0, refund.reason
        );
        match (refund.order_id, refund.request_id) {
            (Some(order), _) => orders::note(&mut tx, order, "refund", "stripe", &text).await?,
            (None, Some(request)) => {
                custom_orders::note(&mut tx, request, "payment", "stripe", &text).await?;
            }
            (None, None) => {}
        }
    }
    tx.commit().await?;
    Ok(())
}

/// Why a refund failed, and how many pieces went back into stock for it: the customer has neither now.
pub(super) async fn with_restock(
    conn: &mut PgConnection,
    id: RefundId,
    why: String,
) -> Result<String> {
    let pieces = match store::find_restock(conn, id).await? {
        0 => return Ok(why),
        1 => "1 piece".to_owned(),
        many => format!("{many} pieces"),
    };
    Ok(format!(
        "{why} ({pieces} of it went back into stock, and will not be shipped)"
    ))
}

/// Asks for a refund, or finds the one that was made when its answer was lost long ago.
async fn ask(
    app: &App,
    id: RefundId,
    refund: &store::Refund,
) -> std::result::Result<stripe::Refund, StripeError> {
    if refund.created_at < Utc::now() - stripe::KEY_LIFETIME
        && let Some(made) = app.stripe.find_refund(id, &refund.payment_id).await?
    {
        return Ok(made);
    }
    app.stripe
        .refund(id, &refund.payment_id, refund.amount, &refund.reason)
        .await
}

/// Flags a payment for review: at its order, at the custom order that it was meant for, or, where neither is known, for the
/// shop as a whole.
pub async fn flag(
    conn: &mut PgConnection,
    order: Option<OrderId>,
    request: Option<CustomOrderId>,
    item: &NewItem,
) -> Result<()> {
    let custom_order = request.filter(|_| order.is_none());
    let subject = Subject {
        order,
        custom_order,
    };
    reviews::flag(conn, subject, "stripe", item).await?;
    Ok(())
}
