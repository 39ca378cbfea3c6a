//! SQL of checkouts, events and payments.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{Connection, PgConnection};
use utoipa::ToSchema;

use super::states::{CheckoutState, EventStatus, PaymentOutcome};
use crate::db;
use crate::error::Result;
use crate::stripe::{NewSession, Session};
use crate::types::ids::{CustomOrderId, OrderId};
use crate::types::money::Cents;

/// An order's checkout at Stripe.
#[derive(Debug, sqlx::FromRow)]
pub struct Checkout {
    pub order_id: OrderId,
    pub state: CheckoutState,
    pub request: Json<NewSession>,
    /// The shopper's origin, to return to.
    pub return_origin: String,
    pub session_id: Option<String>,
    pub hold_until: DateTime<Utc>,
}

pub async fn insert_checkout(
    conn: &mut PgConnection,
    request: &NewSession,
    return_origin: &str,
    hold_until: DateTime<Utc>,
    client: Option<&[u8]>,
) -> Result<()> {
    sqlx::query(
        "insert into checkouts (order_id, state, request, return_origin, expires_at, hold_until, client)
         values ($1, 'asking', $2, $3, $4, $5, $6)",
    )
    .bind(request.order)
    .bind(Json(request))
    .bind(return_origin)
    .bind(request.expires_at)
    .bind(hold_until)
    .bind(client)
    .execute(conn)
    .await?;
    Ok(())
}

/// Pieces that a client holds unpaid, except for one order's, and the seconds until the first of those holds expires. A
/// hold for a delayed payment does not expire, so an hour is returned for it.
pub async fn held_by(
    conn: &mut PgConnection,
    client: &[u8],
    but: Option<OrderId>,
) -> Result<(i64, f64)> {
    let held = sqlx::query_as(
        "select coalesce(sum(line.quantity), 0)::bigint,
                coalesce(extract(epoch from min(checkouts.hold_until) filter (where checkouts.state <> 'processing')
                                            - now()), 3600)::float8
         from checkouts
         join orders on orders.id = checkouts.order_id
                    and orders.status = 'pending'
         join order_lines line on line.order_id = orders.id
         where checkouts.client = $1
           and checkouts.state in ('asking', 'open', 'unknown', 'processing')
           and orders.id is distinct from $2",
    )
    .bind(client)
    .bind(but)
    .fetch_one(conn)
    .await?;
    Ok(held)
}

/// Serializes delayed payments until the transaction ends, so that each counts the holds of earlier ones. Taken before
/// the order's lock.
pub async fn queue_up_delayed(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('delayed payments', 0))")
        .execute(conn)
        .await?;
    Ok(())
}

/// Pieces held for delayed payments in total.
pub async fn count_delayed_pieces(conn: &mut PgConnection) -> Result<i64> {
    let count = sqlx::query_scalar(
        "select coalesce(sum(line.quantity), 0)::bigint
         from checkouts
         join orders on orders.id = checkouts.order_id
                    and orders.status = 'pending'
         join order_lines line on line.order_id = orders.id
         where checkouts.state = 'processing'",
    )
    .fetch_one(conn)
    .await?;
    Ok(count)
}

/// Deletes the client of holds that ended a day ago. For a delayed payment only a pending order holds anything: a released
/// one may wait for its money forever. Safe to repeat.
pub async fn forget_clients(conn: &mut PgConnection) -> Result<()> {
    sqlx::query(
        "update checkouts
         set client = null
         where client is not null
           and (state <> 'processing'
                or not exists (select from orders o where o.id = checkouts.order_id and o.status = 'pending'))
           and updated_at < now() - interval '1 day'",
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn find_checkout(conn: &mut PgConnection, order: OrderId) -> Result<Option<Checkout>> {
    let checkout = sqlx::query_as(
        "select order_id, state, request, return_origin, session_id, hold_until
         from checkouts
         where order_id = $1",
    )
    .bind(order)
    .fetch_optional(conn)
    .await?;
    Ok(checkout)
}

/// Follows the replacements of an order to the last one; returns the order itself when it was not replaced.
pub async fn last_replacement(conn: &mut PgConnection, order: OrderId) -> Result<OrderId> {
    let last = sqlx::query_scalar(
        "with recursive chain as (
             select order_id, replaced_by, 1 as position
             from checkouts
             where order_id = $1
             union all
             select next.order_id, next.replaced_by, chain.position + 1
             from chain
             join checkouts next on next.order_id = chain.replaced_by
         )
         select order_id
         from chain
         order by position desc
         limit 1",
    )
    .bind(order)
    .fetch_optional(conn)
    .await?;
    Ok(last.unwrap_or(order))
}

/// Returns true when another order replaced this one. Call under the order's lock.
pub async fn is_replaced(conn: &mut PgConnection, order: OrderId) -> Result<bool> {
    let replaced = sqlx::query_scalar(
        "select exists (
             select
             from checkouts
             where order_id = $1
               and replaced_by is not null)",
    )
    .bind(order)
    .fetch_one(conn)
    .await?;
    Ok(replaced)
}

/// Records the order that replaced this one.
pub async fn set_replaced(conn: &mut PgConnection, order: OrderId, by: OrderId) -> Result<()> {
    sqlx::query("update checkouts set replaced_by = $2 where order_id = $1")
        .bind(order)
        .bind(by)
        .execute(conn)
        .await?;
    Ok(())
}

/// Returns true while the answer to a checkout's call may still come: the call was made within this time.
pub async fn is_being_asked(
    conn: &mut PgConnection,
    order: OrderId,
    within: Duration,
) -> Result<bool> {
    let asking = sqlx::query_scalar(
        "select exists (
             select from checkouts
             where order_id = $1
               and state = 'asking'
               and updated_at > now() - make_interval(secs => $2))",
    )
    .bind(order)
    .bind(within.as_secs_f64())
    .fetch_one(conn)
    .await?;
    Ok(asking)
}

pub async fn find_order_by_session(
    conn: &mut PgConnection,
    session: &str,
) -> Result<Option<OrderId>> {
    let order = sqlx::query_scalar("select order_id from checkouts where session_id = $1")
        .bind(session)
        .fetch_optional(conn)
        .await?;
    Ok(order)
}

/// Records the session created by Stripe. A checkout that has moved on in the meantime keeps its state.
pub async fn record_session(
    conn: &mut PgConnection,
    order: OrderId,
    id: &str,
    url: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "update checkouts
         set session_id = $2, session_url = $3, last_error = null, updated_at = now(),
             state = case when state = 'asking' then 'open' else state end
         where order_id = $1",
    )
    .bind(order)
    .bind(id)
    .bind(url)
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves a checkout to a state, unless it may not become it: the checkout has moved on in the meantime, and keeps its
/// state.
pub async fn set_checkout_state(
    conn: &mut PgConnection,
    order: OrderId,
    state: CheckoutState,
    error: Option<&str>,
) -> Result<()> {
    let from: Vec<&str> = CheckoutState::ALL
        .into_iter()
        .filter(|from| *from == state || from.may_become(state))
        .map(CheckoutState::as_str)
        .collect();
    sqlx::query(
        "update checkouts
         set state = $2, last_error = $3, updated_at = now()
         where order_id = $1
           and state = any($4)",
    )
    .bind(order)
    .bind(state)
    .bind(error)
    .bind(from)
    .execute(conn)
    .await?;
    Ok(())
}

/// Checkouts without an answer: `asking` since before `before`, or `unknown`.
pub async fn list_unheard(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<Vec<OrderId>> {
    let orders = sqlx::query_scalar(
        "select order_id
         from checkouts
         where state in ('asking', 'unknown')
           and updated_at < $1
         order by updated_at
         limit 100",
    )
    .bind(before)
    .fetch_all(conn)
    .await?;
    Ok(orders)
}

/// Pending orders held by an open session beyond its lifetime and margin.
pub async fn list_overdue(conn: &mut PgConnection) -> Result<Vec<(OrderId, String)>> {
    let rows = sqlx::query_as(
        "select c.order_id, c.session_id
         from checkouts c
         join orders o on o.id = c.order_id
         where c.state = 'open'
           and o.status = 'pending'
           and c.session_id is not null
           and c.hold_until < now()
         order by c.updated_at
         limit 100",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Pending orders whose session has expired by its own time, or that wait for a delayed payment.
pub async fn list_ended(conn: &mut PgConnection) -> Result<Vec<(OrderId, String)>> {
    let rows = sqlx::query_as(
        "select c.order_id, c.session_id
         from checkouts c
         join orders o on o.id = c.order_id
         where (c.state = 'processing' or (c.state = 'open' and c.expires_at < now()))
           and o.status = 'pending'
           and c.session_id is not null
         order by c.updated_at
         limit 100",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Moves a checkout that could not be settled behind the others.
pub async fn postpone(conn: &mut PgConnection, order: OrderId, error: &str) -> Result<()> {
    sqlx::query("update checkouts set updated_at = now(), last_error = $2 where order_id = $1")
        .bind(order)
        .bind(error)
        .execute(conn)
        .await?;
    Ok(())
}

/// Counts the stored events that are not processed.
pub async fn count_failed_events(conn: &mut PgConnection) -> Result<i64> {
    let count = sqlx::query_scalar(
        "select count(*) from stripe_events where status in ('received', 'failed')",
    )
    .fetch_one(conn)
    .await?;
    Ok(count)
}

/// Counts the events of Stripe's other mode, which are stored but have no effect.
pub async fn count_wrong_mode_events(conn: &mut PgConnection) -> Result<i64> {
    let count =
        sqlx::query_scalar("select count(*) from stripe_events where status = 'wrong_mode'")
            .fetch_one(conn)
            .await?;
    Ok(count)
}

/// A stored event.
#[derive(Debug, sqlx::FromRow)]
pub struct StoredEvent {
    pub status: EventStatus,
    pub payload: String,
    pub is_redacted: bool,
}

impl StoredEvent {
    /// Reports whether the event is over: it took effect, or its content was redacted.
    pub fn is_finished(&self) -> bool {
        self.is_redacted || self.status.is_over()
    }
}

/// Stores an event by id, after waiting for a concurrent insertion. Returns false when it already existed.
pub async fn insert_event(
    conn: &mut PgConnection,
    id: &str,
    kind: &str,
    created: Option<DateTime<Utc>>,
    source: &str,
    payload: &str,
) -> Result<bool> {
    let done = sqlx::query(
        "insert into stripe_events (id, type, status, created, source, payload)
         values ($1, $2, 'received', $3, $4, $5)
         on conflict (id) do nothing",
    )
    .bind(id)
    .bind(kind)
    .bind(created)
    .bind(source)
    .bind(payload)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// An event as shown to the owner.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct EventRow {
    /// Stripe's id, `evt_…`.
    pub id: String,
    /// Such as `checkout.session.completed`.
    #[sqlx(rename = "type")]
    #[serde(rename = "type")]
    pub kind: String,
    pub status: EventStatus,
    pub source: String,
    pub attempts: i32,
    pub last_error: Option<String>,
    pub received_at: DateTime<Utc>,
    pub processed_at: Option<DateTime<Utc>>,
    /// Time at which personal data was removed from its payload.
    pub redacted_at: Option<DateTime<Utc>>,
}

/// Lists events, newest first, by status, or by a part of id or type.
pub async fn list_events(
    conn: &mut PgConnection,
    status: Option<EventStatus>,
    search: Option<&str>,
    limit: i64,
    offset: i64,
) -> Result<Vec<EventRow>> {
    // Behind a pooler, only a transaction keeps an unnamed statement and its values together.
    let mut tx = conn.begin().await?;
    let events = sqlx::query_as(
        "select id, type, status, source, attempts, last_error, received_at, processed_at, redacted_at
         from stripe_events
         where ($1::text is null or status = $1)
           and ($2::text is null or lower(id || ' ' || type) like $2)
         order by received_at desc, id
         limit $3
         offset $4",
    )
    // Planned for each search, because the index helps only with rare words.
    .persistent(false)
    .bind(status)
    .bind(search.map(db::like))
    .bind(limit)
    .bind(offset)
    .fetch_all(&mut *tx)
    .await?;
    Ok(events)
}

/// Counts all events that [`list_events`] matches.
pub async fn count_events(
    conn: &mut PgConnection,
    status: Option<EventStatus>,
    search: Option<&str>,
) -> Result<i64> {
    // Behind a pooler, only a transaction keeps an unnamed statement and its values together.
    let mut tx = conn.begin().await?;
    let count = sqlx::query_scalar(
        "select count(*)
         from stripe_events
         where ($1::text is null or status = $1)
           and ($2::text is null or lower(id || ' ' || type) like $2)",
    )
    .persistent(false)
    .bind(status)
    .bind(search.map(db::like))
    .fetch_one(&mut *tx)
    .await?;
    Ok(count)
}

/// An event with its payload.
pub async fn find_event(conn: &mut PgConnection, id: &str) -> Result<Option<(EventRow, String)>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        event: EventRow,
        payload: String,
    }
    let row: Option<Row> = sqlx::query_as(
        "select id, type, status, source, attempts, last_error, received_at, processed_at, redacted_at, payload
         from stripe_events
         where id = $1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.event, row.payload)))
}

pub async fn lock_event(conn: &mut PgConnection, id: &str) -> Result<Option<StoredEvent>> {
    let event = sqlx::query_as(
        "select status, payload, redacted_at is not null as is_redacted
             from stripe_events
             where id = $1
             for update",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(event)
}

/// Records the end of an attempt of an event that is not over.
pub async fn finish_event(
    conn: &mut PgConnection,
    id: &str,
    status: EventStatus,
    error: Option<&str>,
) -> Result<()> {
    let from: Vec<&str> = EventStatus::ALL
        .into_iter()
        .filter(|from| from.may_become(status))
        .map(EventStatus::as_str)
        .collect();
    sqlx::query(
        "update stripe_events
         set status = $2, last_error = $3, attempts = attempts + 1,
             processed_at = case when $2 = 'failed' then null else now() end
         where id = $1
           and status = any($4)",
    )
    .bind(id)
    .bind(status)
    .bind(error)
    .bind(from)
    .execute(conn)
    .await?;
    Ok(())
}

/// Finds the events among `ids` that are already processed (or ignored).
pub async fn list_finished(conn: &mut PgConnection, ids: &[&str]) -> Result<Vec<String>> {
    let known = sqlx::query_scalar(
        "select id from stripe_events where id = any($1) and status in ('processed', 'ignored')",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(known)
}

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
}

/// Locks a payment, and inserts its row first if it is new.
pub async fn lock_payment(conn: &mut PgConnection, id: &str) -> Result<Payment> {
    sqlx::query("insert into payments (id) values ($1) on conflict (id) do nothing")
        .bind(id)
        .execute(&mut *conn)
        .await?;
    let payment = sqlx::query_as(
        "select order_id, custom_order_id, amount, currency, outcome, refunded, refunded_as_of
         from payments
         where id = $1
         for update",
    )
    .bind(id)
    .fetch_one(conn)
    .await?;
    Ok(payment)
}

pub async fn find_payment(conn: &mut PgConnection, id: &str) -> Result<Option<Payment>> {
    let payment = sqlx::query_as(
        "select order_id, custom_order_id, amount, currency, outcome, refunded, refunded_as_of
         from payments
         where id = $1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(payment)
}

/// Purpose of a payment: an order, a custom order, or a custom order with its order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cause {
    pub order: Option<OrderId>,
    pub custom_order: Option<CustomOrderId>,
}

/// Records the outcome of a payment that has none.
pub async fn record_payment(
    conn: &mut PgConnection,
    id: &str,
    cause: Cause,
    session: &Session,
    outcome: PaymentOutcome,
) -> Result<()> {
    sqlx::query(
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
    Ok(())
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
pub async fn record_dispute(conn: &mut PgConnection, id: &str, state: Option<&str>) -> Result<()> {
    sqlx::query("update payments set dispute = $2, updated_at = now() where id = $1")
        .bind(id)
        .bind(state)
        .execute(conn)
        .await?;
    Ok(())
}

/// Position of reconciliation in Stripe's events; `None` before its first run.
pub async fn find_cursor(conn: &mut PgConnection) -> Result<Option<DateTime<Utc>>> {
    let cursor = sqlx::query_scalar("select read_until from stripe_cursor")
        .fetch_optional(conn)
        .await?;
    Ok(cursor)
}

/// Moves the position forward, never back.
pub async fn move_cursor(conn: &mut PgConnection, until: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "insert into stripe_cursor (read_until)
         values ($1)
         on conflict (singleton) do update
         set read_until = greatest(stripe_cursor.read_until, excluded.read_until)",
    )
    .bind(until)
    .execute(conn)
    .await?;
    Ok(())
}

/// Stored events that are not processed, oldest first.
pub async fn list_failed_events(conn: &mut PgConnection) -> Result<Vec<String>> {
    let ids = sqlx::query_scalar("select id from stripe_events where status in ('received', 'failed') order by received_at limit 500")
        .fetch_all(conn)
        .await?;
    Ok(ids)
}
