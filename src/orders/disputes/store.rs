//! SQL of disputes.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Dispute, State};
use crate::error::Result;
use crate::types::ids::{CustomOrderId, OrderId};
use crate::types::money::Cents;

/// All columns of a dispute, read from a row `d`.
macro_rules! columns {
    () => {
        "d.id, d.payment_id, d.amount, d.currency, d.reason, d.state, d.evidence_due_by, d.funds, d.opened_at"
    };
}

/// A dispute as an event reports it.
#[derive(Clone, Debug)]
pub struct Report {
    pub id: String,
    pub payment_id: String,
    pub amount: Cents,
    pub currency: String,
    pub reason: String,
    pub state: String,
    pub evidence_due_by: Option<DateTime<Utc>>,
    pub opened_at: Option<DateTime<Utc>>,
    /// Time of the event.
    pub as_of: DateTime<Utc>,
}

/// A stored dispute, with the time of its latest report.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Stored {
    #[sqlx(flatten)]
    pub dispute: Dispute,
    pub as_of: DateTime<Utc>,
    pub funds_as_of: Option<DateTime<Utc>>,
}

/// Loads a dispute and locks it until the transaction ends. The caller has locked its payment.
pub async fn lock(conn: &mut PgConnection, id: &str) -> Result<Option<Stored>> {
    let stored = sqlx::query_as(concat!(
        "select ",
        columns!(),
        ", d.as_of, d.funds_as_of
         from disputes d
         where d.id = $1
         for update"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(stored)
}

/// Stores an event's report of a dispute over the known one.
pub async fn save(conn: &mut PgConnection, report: &Report) -> Result<Dispute> {
    let dispute = sqlx::query_as(concat!(
        "with d as (
             insert into disputes (id, payment_id, amount, currency, reason, state, evidence_due_by, as_of, opened_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, coalesce($9, $8))
             on conflict (id) do update
             set amount = excluded.amount, currency = excluded.currency, reason = excluded.reason,
                 state = excluded.state, evidence_due_by = coalesce(excluded.evidence_due_by, disputes.evidence_due_by),
                 as_of = excluded.as_of, opened_at = least(disputes.opened_at, excluded.opened_at), updated_at = now()
             returning *
         )
         select ",
        columns!(),
        "
         from d"
    ))
    .bind(&report.id)
    .bind(&report.payment_id)
    .bind(report.amount)
    .bind(&report.currency)
    .bind(&report.reason)
    .bind(&report.state)
    .bind(report.evidence_due_by)
    .bind(report.as_of)
    .bind(report.opened_at)
    .fetch_one(conn)
    .await?;
    Ok(dispute)
}

/// Records whether the bank has the disputed money. Of two reports in one second, its return is the later one.
pub async fn record_funds(
    conn: &mut PgConnection,
    id: &str,
    funds: &str,
    as_of: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query(
        "update disputes
         set funds = $2, funds_as_of = $3, updated_at = now()
         where id = $1
           and funds is distinct from $2
           and (funds_as_of is null or (funds_as_of, funds = 'reinstated') < ($3, $2 = 'reinstated'))",
    )
    .bind(id)
    .bind(funds)
    .bind(as_of)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The disputes of a payment, oldest first.
pub async fn list_of_payment(conn: &mut PgConnection, payment: &str) -> Result<Vec<Dispute>> {
    let disputes = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from disputes d
         where d.payment_id = $1
         order by d.opened_at, d.id"
    ))
    .bind(payment)
    .fetch_all(conn)
    .await?;
    Ok(disputes)
}

/// The disputes of all payments of an order, oldest first.
pub async fn list_of_order(conn: &mut PgConnection, order: OrderId) -> Result<Vec<Dispute>> {
    let disputes = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from disputes d
         join payments p on p.id = d.payment_id
         where p.order_id = $1
         order by d.opened_at, d.id"
    ))
    .bind(order)
    .fetch_all(conn)
    .await?;
    Ok(disputes)
}

/// The disputes of all payments of a custom order and its order, oldest first.
pub async fn list_of_custom_order(
    conn: &mut PgConnection,
    custom_order: CustomOrderId,
) -> Result<Vec<Dispute>> {
    let disputes = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from disputes d
         join payments p on p.id = d.payment_id
         where p.custom_order_id = $1
            or p.order_id = (select c.order_id from custom_orders c where c.id = $1)
         order by d.opened_at, d.id"
    ))
    .bind(custom_order)
    .fetch_all(conn)
    .await?;
    Ok(disputes)
}

/// The most urgent state among disputes, in Stripe's terms: open ones first, then those that cost money, then the
/// latest.
pub fn most_pressing(disputes: &[Dispute]) -> Option<&str> {
    let urgency = |dispute: &Dispute| match dispute.known_state() {
        State::NeedsResponse => 8,
        State::Unknown => 7,
        State::UnderReview => 6,
        State::WarningNeedsResponse => 5,
        State::WarningUnderReview => 4,
        State::Lost => 3,
        State::Won => 2,
        State::Prevented => 1,
        State::WarningClosed => 0,
    };
    disputes
        .iter()
        .max_by_key(|dispute| (urgency(dispute), dispute.opened_at))
        .map(|dispute| dispute.state.as_str())
}
