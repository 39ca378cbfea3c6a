//! SQL of refunds: the shop's own, and those that Stripe reports.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::error::{Code, Error, Result};
use crate::orders::Restocked;
use crate::payments::states::RefundState;
use crate::stripe;
use crate::types::ids::{CustomOrderId, OrderId, RefundId};
use crate::types::money::Cents;

/// The part of a refund's request that its row does not tell otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedRefund {
    /// None asks for all that is left.
    pub amount: Option<Cents>,
    /// In id order.
    pub restock: Vec<Restocked>,
}

/// A refund made or planned by the shop.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Refund {
    pub payment_id: String,
    pub order_id: Option<OrderId>,
    pub custom_order_id: Option<CustomOrderId>,
    pub currency: String,
    /// Amount requested from Stripe.
    pub amount: Cents,
    /// Amount decided. More than `amount` when part was refunded elsewhere in the meantime.
    pub wanted: Cents,
    pub reason: String,
    /// Pieces returned to stock with it.
    pub restocked: i32,
    /// `None` for a refund that the shop planned by itself, and for a retry.
    pub asked: Option<Json<AskedRefund>>,
    pub state: RefundState,
    pub attempts: i32,
    pub key_number: i32,
    pub flagged_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

macro_rules! columns {
    () => {
        "r.payment_id, p.order_id, p.custom_order_id, p.currency, r.amount, r.wanted_amount as wanted,
         r.reason, r.restocked, r.asked, r.state, r.attempts, r.key_number, r.flagged_at, r.created_at"
    };
}

/// Data of a new planned refund.
pub struct NewRow<'a> {
    pub id: RefundId,
    pub payment: &'a str,
    pub amount: Cents,
    pub reason: &'a str,
    pub actor: &'a str,
    /// Pieces returned to stock with it.
    pub restocked: i32,
    pub asked: Option<AskedRefund>,
    /// The failed refund that it replaces.
    pub retry_of: Option<RefundId>,
}

/// Inserts a planned refund. The caller may choose its id.
///
/// # Errors
/// 409 `refund_differs` when the id was used for another payment a moment ago.
pub async fn insert(conn: &mut PgConnection, new: &NewRow<'_>) -> Result<()> {
    let done = sqlx::query(
        "insert into refunds (id, payment_id, amount, wanted_amount, reason, actor, restocked, retry_of, asked, state)
         values ($1, $2, $3, $3, $4, $5, $6, $7, $8, 'planned')
         on conflict (id) do nothing",
    )
    .bind(new.id)
    .bind(new.payment)
    .bind(new.amount)
    .bind(new.reason)
    .bind(new.actor)
    .bind(new.restocked)
    .bind(new.retry_of)
    .bind(new.asked.as_ref().map(Json))
    .execute(conn)
    .await?;
    match done.rows_affected() {
        0 => Err(Error::Conflict(
            Code::RefundDiffers,
            "This refund was already requested for another payment. Load the page again."
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Reads a refund without a lock.
pub async fn find(conn: &mut PgConnection, id: RefundId) -> Result<Option<Refund>> {
    let refund = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from refunds r
         join payments p on p.id = r.payment_id
         where r.id = $1"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(refund)
}

/// The shop's refunds of a payment that Stripe has answered, oldest first.
pub async fn list_tried(
    conn: &mut PgConnection,
    payment_id: &str,
) -> Result<Vec<(RefundId, RefundState)>> {
    let tried = sqlx::query_as(
        "select id, state from refunds where payment_id = $1 and state <> 'planned'
         order by created_at, id",
    )
    .bind(payment_id)
    .fetch_all(conn)
    .await?;
    Ok(tried)
}

/// The failed refunds that this one was made in place of, one after the other: their ids, ours and Stripe's.
pub async fn list_replaced(conn: &mut PgConnection, id: RefundId) -> Result<Vec<String>> {
    let ids = sqlx::query_scalar(
        "with recursive replaced as (
             select retry_of as id from refunds where id = $1
             union
             select r.retry_of from replaced join refunds r on r.id = replaced.id
         )
         select name
         from replaced
         join refunds r on r.id = replaced.id
         cross join lateral (values (r.id::text), (r.stripe_refund_id)) as names (name)
         where name is not null",
    )
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// Failed refunds of a payment of which Stripe has refunded the whole amount: their ids, ours and Stripe's. Empty while
/// money is left or on its way.
pub async fn list_made_good(
    conn: &mut PgConnection,
    payment_id: &str,
    amount: Cents,
) -> Result<Vec<String>> {
    let ids = sqlx::query_scalar(
        "select names.name
         from (select id::text as name from refunds where payment_id = $1 and state = 'failed'
               union
               select id from stripe_refunds where payment_id = $1 and state = 'failed') as names
         where $2 > 0
           and (select coalesce(sum(s.amount), 0)
                from stripe_refunds s
                where s.payment_id = $1 and s.state = 'succeeded') >= $2
         order by names.name",
    )
    .bind(payment_id)
    .bind(amount)
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// The refund that replaces a failed one.
pub async fn find_retry(conn: &mut PgConnection, of: RefundId) -> Result<Option<RefundId>> {
    let id = sqlx::query_scalar("select id from refunds where retry_of = $1")
        .bind(of)
        .fetch_optional(conn)
        .await?;
    Ok(id)
}

/// Begins an attempt of a planned refund. Returns `None` when there is nothing to do or another attempt is running; an
/// attempt older than `lease` died with its process.
pub async fn begin_try(
    conn: &mut PgConnection,
    id: RefundId,
    lease: Duration,
) -> Result<Option<Refund>> {
    let refund = sqlx::query_as(concat!(
        "update refunds r
         set is_trying = true, attempts = r.attempts + 1, updated_at = now()
         from payments p
         where r.id = $1
           and p.id = r.payment_id
           and r.state = 'planned'
           and not (r.is_trying and r.updated_at > now() - make_interval(secs => $2))
         returning ",
        columns!()
    ))
    .bind(id)
    .bind(lease.as_secs_f64())
    .fetch_optional(conn)
    .await?;
    Ok(refund)
}

/// Changes the amount to request. This makes it a different request, so the refund gets a new key number, which is
/// returned.
pub async fn change_amount(conn: &mut PgConnection, id: RefundId, amount: Cents) -> Result<i32> {
    let key_number = sqlx::query_scalar(
        "update refunds
         set amount = $2, key_number = key_number + 1
         where id = $1
         returning key_number",
    )
    .bind(id)
    .bind(amount)
    .fetch_one(conn)
    .await?;
    Ok(key_number)
}

/// Ends an attempt without a result; the next one follows after `wait`. `needs_new_key`: Stripe did nothing, and would
/// repeat its answer under the same key. Returns false when the refund is no longer planned.
pub async fn postpone(
    conn: &mut PgConnection,
    id: RefundId,
    error: &str,
    needs_new_key: bool,
    wait: Duration,
) -> Result<bool> {
    let done = sqlx::query(
        "update refunds
         set is_trying = false, last_error = $2, key_number = key_number + $3::int,
             retry_wait = make_interval(secs => $4), updated_at = now()
         where id = $1
           and state = 'planned'",
    )
    .bind(id)
    .bind(error)
    .bind(i32::from(needs_new_key))
    .bind(wait.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends a planned refund that Stripe did not make. Returns false when it is no longer planned.
pub async fn end_planned(
    conn: &mut PgConnection,
    id: RefundId,
    state: RefundState,
    error: Option<&str>,
) -> Result<bool> {
    let done = sqlx::query(
        "update refunds
         set state = $2, last_error = $3, is_trying = false, updated_at = now()
         where id = $1
           and state = 'planned'",
    )
    .bind(id)
    .bind(state)
    .bind(error)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes a planned refund due at once.
pub async fn hurry(conn: &mut PgConnection, id: RefundId) -> Result<()> {
    sqlx::query("update refunds set retry_wait = '0' where id = $1 and state = 'planned'")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Remembers that the refund was flagged for review, so that each later attempt does not flag it again.
pub async fn set_flagged(conn: &mut PgConnection, id: RefundId) -> Result<()> {
    sqlx::query("update refunds set flagged_at = now() where id = $1")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Records the state of a refund, as far as it may become it. The caller has locked the payment.
pub async fn set_state(
    conn: &mut PgConnection,
    id: RefundId,
    state: RefundState,
    stripe_id: Option<&str>,
    error: Option<&str>,
) -> Result<()> {
    let before: RefundState =
        sqlx::query_scalar("select state from refunds where id = $1 for update")
            .bind(id)
            .fetch_one(&mut *conn)
            .await?;
    sqlx::query(
        "update refunds
         set state = $2, stripe_refund_id = coalesce($3, stripe_refund_id), last_error = $4, is_trying = false,
             retry_wait = '0', updated_at = now()
         where id = $1",
    )
    .bind(id)
    .bind(before.after(state))
    .bind(stripe_id)
    .bind(error)
    .execute(conn)
    .await?;
    Ok(())
}

/// Finds our refund behind one of Stripe's: by the id in its metadata, or by Stripe's id.
pub async fn find_ours(
    conn: &mut PgConnection,
    payment: &str,
    report: &stripe::Refund,
) -> Result<Option<RefundId>> {
    let id = sqlx::query_scalar(
        "select id
         from refunds
         where payment_id = $1
           and (id = $2 or stripe_refund_id = $3)
         order by id = $2 desc
         limit 1",
    )
    .bind(payment)
    .bind(report.ours)
    .bind(&report.id)
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

/// Stores Stripe's report of a refund. Its state never goes back, whatever the order of the reports. `at` is the time
/// of its state, where known. The caller has locked the payment.
pub async fn keep_report(
    conn: &mut PgConnection,
    payment: &str,
    report: &stripe::Refund,
    ours: Option<RefundId>,
    at: Option<DateTime<Utc>>,
) -> Result<()> {
    let before: Option<RefundState> =
        sqlx::query_scalar("select state from stripe_refunds where id = $1 for update")
            .bind(&report.id)
            .fetch_optional(&mut *conn)
            .await?;
    let reported = RefundState::from(report.status);
    let state = before.map_or(reported, |before| before.after(reported));
    sqlx::query(
        "insert into stripe_refunds as known (id, payment_id, refund_id, amount, state, reason, created_at, failed_at)
         values ($1, $2, $3, $4, $5, $6, coalesce($7, now()), case when $5 = 'failed' then coalesce($8, now()) end)
         on conflict (id) do update
         set refund_id = coalesce(known.refund_id, excluded.refund_id), amount = greatest(known.amount, excluded.amount),
             state = excluded.state, reason = coalesce(known.reason, excluded.reason),
             failed_at = coalesce(known.failed_at, excluded.failed_at)",
    )
    .bind(&report.id)
    .bind(payment)
    .bind(ours)
    .bind(report.amount.unwrap_or_default())
    .bind(state)
    .bind(&report.reason)
    .bind(report.created)
    .bind(at)
    .execute(conn)
    .await?;
    Ok(())
}

/// A failed refund without a review item yet.
#[derive(Debug, sqlx::FromRow)]
pub struct Failed {
    pub id: String,
    pub amount: Cents,
    /// Pieces returned to stock with it.
    pub restocked: i32,
}

/// Takes the failed refunds of a payment that need a review item; they are marked as shown.
pub async fn take_failed(conn: &mut PgConnection, payment: &str) -> Result<Vec<Failed>> {
    let failed = sqlx::query_as(
        "with failed as (
             update stripe_refunds
             set flagged_at = now()
             where payment_id = $1
               and state = 'failed'
               and flagged_at is null
             returning id, amount, refund_id
         )
         select failed.id, failed.amount, coalesce(ours.restocked, 0) as restocked
         from failed
         left join refunds ours on ours.id = failed.refund_id",
    )
    .bind(payment)
    .fetch_all(conn)
    .await?;
    Ok(failed)
}

/// Sums of a payment's reported refunds.
#[derive(Debug, sqlx::FromRow)]
pub struct Sums {
    /// All refunds that did not fail.
    pub refunded: Cents,
    /// Refunds that failed after the charge's latest sum, which may include them.
    pub failed_since: Cents,
}

/// Sums the refunds that Stripe has reported. `as_of` is the time of the charge's latest sum; without it,
/// `failed_since` is zero.
pub async fn sum_reports(
    conn: &mut PgConnection,
    payment: &str,
    as_of: Option<DateTime<Utc>>,
) -> Result<Sums> {
    let sums = sqlx::query_as(
        "select coalesce(sum(amount) filter (where state <> 'failed'), 0)::bigint as refunded,
                coalesce(sum(amount) filter (where failed_at >= $2), 0)::bigint as failed_since
         from stripe_refunds
         where payment_id = $1",
    )
    .bind(payment)
    .bind(as_of)
    .fetch_one(conn)
    .await?;
    Ok(sums)
}

/// Sum of a payment's planned refunds that Stripe does not have, as far as known.
pub async fn sum_planned(conn: &mut PgConnection, payment: &str) -> Result<Cents> {
    let sum = sqlx::query_scalar(
        "select coalesce(sum(amount), 0)::bigint
         from refunds
         where payment_id = $1
           and state = 'planned'",
    )
    .bind(payment)
    .fetch_one(conn)
    .await?;
    Ok(sum)
}

/// A refund made at Stripe that was not announced yet.
#[derive(Debug, sqlx::FromRow)]
pub struct UnannouncedRefund {
    pub id: String,
    pub amount: Cents,
    /// For our own refunds: reason, actor, and the pieces returned to stock.
    pub reason: Option<String>,
    pub actor: Option<String>,
    pub restocked: i32,
    /// The reason chosen at the dashboard.
    pub chosen_reason: Option<String>,
    /// When Stripe made it, as far as Stripe says.
    pub created_at: DateTime<Utc>,
}

/// Takes the refunds of a payment to announce, oldest first; they are marked as announced.
pub async fn take_unannounced(
    conn: &mut PgConnection,
    payment: &str,
) -> Result<Vec<UnannouncedRefund>> {
    let refunds = sqlx::query_as(
        "with announced as (
             update stripe_refunds
             set told_at = now()
             where payment_id = $1
               and told_at is null
               and state <> 'failed'
             returning id, refund_id, amount, reason, created_at
         )
         select announced.id, announced.amount, ours.reason, ours.actor, coalesce(ours.restocked, 0) as restocked,
                announced.reason as chosen_reason, announced.created_at
         from announced
         left join refunds ours on ours.id = announced.refund_id
         order by announced.created_at, announced.id",
    )
    .bind(payment)
    .fetch_all(conn)
    .await?;
    Ok(refunds)
}

/// Planned refunds that are overdue: their jobs were lost or given up.
pub async fn list_unsent(conn: &mut PgConnection) -> Result<Vec<RefundId>> {
    let ids = sqlx::query_scalar(
        "select id
         from refunds
         where state = 'planned'
           and updated_at + retry_wait < now() - interval '5 minutes'
         order by created_at
         limit 500",
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// The payments of an order, or of a custom order and its order, the settling one first.
pub async fn list_payments(
    conn: &mut PgConnection,
    order: Option<OrderId>,
    custom_order: Option<CustomOrderId>,
) -> Result<Vec<String>> {
    let ids = sqlx::query_scalar(
        "select p.id
         from payments p
         where p.outcome is not null
           and (p.order_id = $1
                or p.custom_order_id = $2
                or p.custom_order_id = (select id from custom_orders where order_id = $1)
                or p.order_id = (select order_id from custom_orders where id = $2))
         order by p.outcome = 'settled' desc, p.created_at, p.id",
    )
    .bind(order)
    .bind(custom_order)
    .fetch_all(conn)
    .await?;
    Ok(ids)
}
