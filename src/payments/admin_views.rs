//! What the money of an order or a custom order did, for who looks at it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::refunds::{self, RefundSubject, State};
use super::store;
use crate::error::Result;
use crate::ids::RefundId;
use crate::money::Cents;

/// A payment as Stripe told of it.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct PaymentView {
    /// Stripe's name for it, `pi_…`.
    pub id: String,
    /// `settled` the order, or was `refused` and is given back.
    pub outcome: Option<String>,
    pub amount: Cents,
    pub currency: String,
    pub refunded: Cents,
    /// What can still be given back of it.
    #[sqlx(skip)]
    pub refundable: Cents,
    pub dispute: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// A refund that we decided on.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct RefundView {
    pub id: RefundId,
    pub payment_id: String,
    /// What is asked for at Stripe: less than was decided on, where part was refunded there meanwhile.
    pub amount: Cents,
    pub reason: String,
    pub state: State,
    /// How often Stripe was asked for it.
    pub attempts: i32,
    /// Why it was not taken.
    pub last_error: Option<String>,
    /// When Stripe is asked again, at the latest. Nothing where it is not waited for.
    pub next_try_at: Option<DateTime<Utc>>,
    /// Stripe's name for it, `re_…`.
    pub stripe_refund_id: Option<String>,
    /// The refund that this one was made in place of.
    pub retry_of: Option<RefundId>,
    /// It failed, and no other was made in its place.
    pub is_retryable: bool,
    pub created_at: DateTime<Utc>,
}

/// The payments that came in for an order or a custom order, the one that settled it first, and the refunds that we
/// decided on.
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
    let refunds = sqlx::query_as(
        "select r.id, r.payment_id, r.amount, r.reason, r.state, r.attempts, r.last_error,
                case when r.state = 'planned' and r.attempts > 0 then r.updated_at + r.retry_wait end as next_try_at,
                r.stripe_refund_id, r.retry_of,
                r.state = 'failed' and not exists (select from refunds again where again.retry_of = r.id) as is_retryable,
                r.created_at
         from refunds r
         where r.payment_id = any($1)
         order by r.created_at, r.id",
    )
    .bind(&ids)
    .fetch_all(conn)
    .await?;
    Ok((payments, refunds))
}
