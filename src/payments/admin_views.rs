//! Queries for the payments and refunds of one order or custom order.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::refunds::{self, RefundSubject};
use super::states::{PaymentOutcome, RefundState};
use super::store;
use crate::error::Result;
use crate::orders::disputes::DisputeState;
use crate::types::ids::RefundId;
use crate::types::money::Cents;

/// A payment as reported by Stripe.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct PaymentView {
    /// Stripe's id, `pi_…`.
    pub id: String,
    /// `settled` the order, or was `refused` and is refunded.
    pub outcome: Option<PaymentOutcome>,
    pub amount: Cents,
    pub currency: String,
    pub refunded: Cents,
    /// Amount that can still be refunded.
    #[sqlx(skip)]
    pub refundable: Cents,
    #[schema(value_type = Option<String>)]
    pub dispute: Option<DisputeState>,
    pub created_at: DateTime<Utc>,
}

/// A refund made or planned by the shop.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct RefundView {
    pub id: RefundId,
    pub payment_id: String,
    /// Amount requested from Stripe: less than decided when part of it was refunded at Stripe in the meantime.
    pub amount: Cents,
    pub reason: String,
    pub state: RefundState,
    /// Number of requests to Stripe.
    pub attempts: i32,
    /// Reason why Stripe has not accepted it.
    pub last_error: Option<String>,
    /// Latest time of the next request to Stripe. Null when none is due.
    pub next_try_at: Option<DateTime<Utc>>,
    /// Stripe's id, `re_…`.
    pub stripe_refund_id: Option<String>,
    /// The failed refund that this one replaces.
    pub retry_of: Option<RefundId>,
    /// It failed and was not replaced, and its payment has money left.
    pub is_retryable: bool,
    pub created_at: DateTime<Utc>,
}

/// Loads the payments of an order or custom order, the settling one first, and the shop's refunds of them.
pub async fn of_subject(
    conn: &mut PgConnection,
    subject: RefundSubject,
) -> Result<(Vec<PaymentView>, Vec<RefundView>)> {
    let ids = refunds::list_payments(conn, subject).await?;
    let mut payments: Vec<PaymentView> = sqlx::query_as(
        "select id, outcome, amount, currency, refunded, dispute, created_at
         from payments
         where id = any($1)
         order by array_position($1, id)",
    )
    .bind(&ids)
    .fetch_all(&mut *conn)
    .await?;
    for view in &mut payments {
        if let Some(payment) = store::find_payment(conn, &view.id).await? {
            view.refunded = refunds::refunded(conn, &view.id, &payment).await?;
            view.refundable = refunds::left(conn, &view.id, &payment).await?;
        }
    }
    let with_money: Vec<&str> = payments
        .iter()
        .filter(|view| view.refundable > Cents::ZERO)
        .map(|view| view.id.as_str())
        .collect();
    let refunds = sqlx::query_as(
        "select r.id, r.payment_id, r.amount, r.reason, r.state, r.attempts, r.last_error,
                case when r.state = 'planned' and r.attempts > 0 then r.updated_at + r.retry_wait end as next_try_at,
                r.stripe_refund_id, r.retry_of,
                r.state = 'failed' and r.payment_id = any($2)
                and not exists (select from refunds again where again.retry_of = r.id) as is_retryable,
                r.created_at
         from refunds r
         where r.payment_id = any($1)
         order by r.created_at, r.id",
    )
    .bind(&ids)
    .bind(&with_money)
    .fetch_all(conn)
    .await?;
    Ok((payments, refunds))
}
