//! SQL of disputes.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Dispute, DisputeState, DisputedFunds};
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
    pub state: DisputeState,
    pub evidence_due_by: Option<DateTime<Utc>>,
    pub opened_at: Option<DateTime<Utc>>,
    /// Time of the event.
    pub as_of: DateTime<Utc>,
}

/// A stored dispute, with the time of its latest report.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct StoredDispute {
    #[sqlx(flatten)]
    pub dispute: Dispute,
    as_of: DateTime<Utc>,
    funds_as_of: Option<DateTime<Utc>>,
}

impl StoredDispute {
    /// Returns true when an event is later than the latest one that reported the dispute.
    pub fn is_older_than(&self, report: &Report) -> bool {
        let known = &self.dispute.state;
        report.state.is_newer(report.as_of, known, self.as_of)
    }

    /// Returns true when an event reports other funds, later than the latest one that reported funds.
    pub fn has_older_funds(&self, funds: DisputedFunds, as_of: DateTime<Utc>) -> bool {
        let known = self.dispute.funds.zip(self.funds_as_of);
        known.is_none_or(|(known, known_at)| funds.is_newer(as_of, known, known_at))
    }
}

/// Loads a dispute and locks it until the transaction ends. The caller has locked its payment.
pub async fn lock(conn: &mut PgConnection, id: &str) -> Result<Option<StoredDispute>> {
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
    .bind(report.state.as_str())
    .bind(report.evidence_due_by)
    .bind(report.as_of)
    .bind(report.opened_at)
    .fetch_one(conn)
    .await?;
    Ok(dispute)
}

/// Records whether the bank has the disputed money.
pub async fn record_funds(
    conn: &mut PgConnection,
    id: &str,
    funds: DisputedFunds,
    as_of: DateTime<Utc>,
) -> Result<()> {
    sqlx::query(
        "update disputes
         set funds = $2, funds_as_of = $3, updated_at = now()
         where id = $1",
    )
    .bind(id)
    .bind(funds)
    .bind(as_of)
    .execute(conn)
    .await?;
    Ok(())
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

/// The most urgent state among disputes: open ones first, then those that cost money, then the latest.
pub fn most_pressing(disputes: &[Dispute]) -> Option<&DisputeState> {
    let urgency = |dispute: &Dispute| match dispute.state {
        DisputeState::NeedsResponse => 8,
        DisputeState::Other(_) => 7,
        DisputeState::UnderReview => 6,
        DisputeState::WarningNeedsResponse => 5,
        DisputeState::WarningUnderReview => 4,
        DisputeState::Lost => 3,
        DisputeState::Won => 2,
        DisputeState::Prevented => 1,
        DisputeState::WarningClosed => 0,
    };
    disputes
        .iter()
        .max_by_key(|dispute| (urgency(dispute), dispute.opened_at))
        .map(|dispute| &dispute.state)
}
