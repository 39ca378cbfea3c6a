//! Giving money back: planned by the transaction that decides it, sent by a job.

use sqlx::PgConnection;
use tracing::{info, warn};

use super::store;
use crate::app::App;
use crate::custom_orders;
use crate::error::{Error, Result};
use crate::ids::{CustomOrderId, OrderId, RefundId};
use crate::jobs::{self, Job};
use crate::money::Cents;
use crate::orders;
use crate::stripe::StripeError;

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
    let (state, stripe_id, error) = match app
        .stripe
        .refund(id, &refund.payment_id, refund.amount, &refund.reason)
        .await
    {
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
        flag(&mut tx, refund.order_id, refund.request_id, &why).await?;
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

/// Tells the shopkeeper where a payment needs a hand: at its order, or at the request that it was meant for.
pub async fn flag(
    conn: &mut PgConnection,
    order: Option<OrderId>,
    request: Option<CustomOrderId>,
    why: &str,
) -> Result<()> {
    match (order, request) {
        (Some(order), _) => orders::flag(conn, order, why).await,
        (None, Some(request)) => custom_orders::flag(conn, request, why).await,
        (None, None) => Ok(()),
    }
}
