//! SQL of payments.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::error::Result;
use crate::orders::disputes::DisputeState;
use crate::payments::states::PaymentOutcome;
use crate::stripe::Session;
use crate::types::ids::{CustomOrderId, OrderId};
use crate::types::money::Cents;

/// A payment as reported by Stripe.
#[derive(Debug, sqlx::FromRow)]
pub struct Payment {
    pub order_id: Option<OrderId>,
    /// The custom order that it was meant for, if any.
    pub custom_order_id: Option<CustomOrderId>,
    pub amount: Cents,
    pub currency: String,
    /// `None` while only a refund or dispute of it is known.
    pub outcome: Option<PaymentOutcome>,
    /// Sum of refunds in the charge's latest report, and its time. `refunds::refunded` has the effective amount.
    pub refunded: Cents,
    pub refunded_as_of: Option<DateTime<Utc>>,
    /// When it was copied from the shop that this one replaced.
    pub copied_at: Option<DateTime<Utc>>,
}

/// Locks a payment, and inserts its row first if it is new.
pub async fn lock_payment(conn: &mut PgConnection, id: &str) -> Result<Payment> {
    sqlx::query("insert into payments (id) values ($1) on conflict (id) do nothing")
        .bind(id)
        .execute(&mut *conn)
        .await?;
    let payment = sqlx::query_as(
        "select order_id, custom_order_id, amount, currency, outcome, refunded, refunded_as_of, copied_at
         from payments
         where id = $1
         for update",
    )
    .bind(id)
    .fetch_one(conn)
    .await?;
    Ok(payment)
}

/// Reads a payment by its id at Stripe, without a lock.
pub async fn find_payment(conn: &mut PgConnection, id: &str) -> Result<Option<Payment>> {
    let payment = sqlx::query_as(
        "select order_id, custom_order_id, amount, currency, outcome, refunded, refunded_as_of, copied_at
         from payments
         where id = $1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(payment)
}

/// Lists those of these settled payments of which a refund or a dispute was reported before they were known.
pub async fn list_reported_before(conn: &mut PgConnection, ids: &[String]) -> Result<Vec<String>> {
    let reported = sqlx::query_scalar(
        "select p.id
         from payments p
         where p.id = any($1)
           and p.outcome = 'settled'
           and (exists (select from stripe_refunds r where r.payment_id = p.id and r.told_at is null)
                or exists (select from disputes d where d.payment_id = p.id)
                or p.refunded_as_of is not null
                   and exists (select from orders o where o.id = p.order_id and o.refunded <> p.refunded))
         order by p.id",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(reported)
}

/// Purpose of a payment: an order, a custom order, or a custom order with its order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cause {
    pub order: Option<OrderId>,
    pub custom_order: Option<CustomOrderId>,
}

impl Cause {
    /// An order alone.
    pub fn of_order(order: OrderId) -> Cause {
        Cause {
            order: Some(order),
            custom_order: None,
        }
    }
}

/// Records the outcome of a payment that has none.
///
/// # Errors
/// An internal error, which rolls the change back, when the payment has an outcome already: money would be used twice.
pub async fn record_payment(
    conn: &mut PgConnection,
    id: &str,
    cause: Cause,
    session: &Session,
    outcome: PaymentOutcome,
) -> Result<()> {
    let recorded = sqlx::query(
        "update payments
         set order_id = $2, custom_order_id = $3, session_id = $4, outcome = $5, amount = $6, currency = $7,
             updated_at = now()
         where id = $1
           and outcome is null",
    )
    .bind(id)
    .bind(cause.order)
    .bind(cause.custom_order)
    .bind(&session.id)
    .bind(outcome)
    .bind(session.amount_total.unwrap_or_default())
    .bind(&session.currency)
    .execute(conn)
    .await?;
    match recorded.rows_affected() {
        1 => Ok(()),
        _ => Err(anyhow::anyhow!("payment {id} has an outcome already").into()),
    }
}

/// Records a charge's sum of refunds and its time.
pub async fn record_refunded(
    conn: &mut PgConnection,
    id: &str,
    refunded: Cents,
    as_of: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "update payments set refunded = $2, refunded_as_of = $3, updated_at = now() where id = $1",
    )
    .bind(id)
    .bind(refunded)
    .bind(as_of)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records the most urgent state of a payment's disputes.
pub async fn record_dispute(
    conn: &mut PgConnection,
    id: &str,
    state: Option<&DisputeState>,
) -> Result<()> {
    sqlx::query("update payments set dispute = $2, updated_at = now() where id = $1")
        .bind(id)
        .bind(state.map(DisputeState::as_str))
        .execute(conn)
        .await?;
    Ok(())
}

/// Returns true for a payment that was copied from another shop.
pub async fn is_copied(conn: &mut PgConnection, payment: &str) -> Result<bool> {
    let is_copied = sqlx::query_scalar(
        "select exists (select from payments where id = $1 and copied_at is not null)",
    )
    .bind(payment)
    .fetch_one(conn)
    .await?;
    Ok(is_copied)
}
