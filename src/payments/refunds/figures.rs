//! Sums of refunds, for the dashboard.

use chrono_tz::Tz;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::db::first_instant;
use crate::error::Result;
use crate::types::money::Cents;

/// Refunds of a period in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, ToSchema)]
pub struct RefundSum {
    /// Three lower-case letters (ISO 4217).
    pub currency: String,
    pub refunds: i64,
    /// In the currency's smallest unit.
    pub amount: Cents,
}

/// Refunds of sales in the last `days` days, today included, in the given time zone, by currency. Payments that could not be
/// accepted, and went back in full, were no sales.
///
/// # Errors
/// Database errors only.
pub async fn refunded_lately(
    conn: &mut PgConnection,
    zone: Tz,
    days: i32,
) -> Result<Vec<RefundSum>> {
    let refunded = sqlx::query_as(concat!(
        "select p.currency, count(*) as refunds, sum(r.amount)::bigint as amount
         from stripe_refunds r
         join payments p on p.id = r.payment_id
         where r.created_at >= ",
        first_instant!(),
        "
           and r.state <> 'failed'
           and p.outcome = 'settled'
         group by p.currency
         order by refunds desc, p.currency"
    ))
    .bind(zone.name())
    .bind(days)
    .fetch_all(conn)
    .await?;
    Ok(refunded)
}
