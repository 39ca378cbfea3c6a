//! SQL of what an order's money did, for who looks at the order.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::error::Result;
use crate::ids::OrderId;
use crate::money::Cents;

/// A payment as Stripe told of it.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct PaymentFacts {
    /// Stripe's name for it, `pi_…`.
    pub id: String,
    /// `settled` the order, or was `refused` and is given back.
    pub outcome: Option<String>,
    pub amount: Cents,
    pub currency: String,
    pub refunded: Cents,
    pub dispute: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// A refund that we asked for.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct RefundFacts {
    pub payment_id: String,
    pub amount: Cents,
    pub reason: String,
    /// `planned`, `pending`, `succeeded` or `failed`.
    pub state: String,
    pub last_error: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// The payments that came in for an order, oldest first, and the refunds that we asked for.
pub async fn of_order(
    conn: &mut PgConnection,
    order: OrderId,
) -> Result<(Vec<PaymentFacts>, Vec<RefundFacts>)> {
    let payments = sqlx::query_as(
        "select id, outcome, amount, currency, refunded, dispute, created_at
         from payments
         where order_id = $1
         order by created_at, id",
    )
    .bind(order)
    .fetch_all(&mut *conn)
    .await?;
    let refunds = sqlx::query_as(
        "select r.payment_id, r.amount, r.reason, r.state, r.last_error, r.created_at
         from refunds r
         join payments p on p.id = r.payment_id
         where p.order_id = $1
         order by r.created_at, r.id",
    )
    .bind(order)
    .fetch_all(conn)
    .await?;
    Ok((payments, refunds))
}
