//! SQL of checkouts.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;
use tracing::info;

use crate::error::Result;
use crate::payments::states::CheckoutState;
use crate::stripe::NewSession;
use crate::types::ids::OrderId;

/// An order's checkout at Stripe.
#[derive(Debug, sqlx::FromRow)]
pub struct Checkout {
    pub order_id: OrderId,
    pub state: CheckoutState,
    /// `None`: the session was made by the shop that this one replaced.
    pub request: Option<Json<NewSession>>,
    /// The shopper's origin, to return to.
    pub return_origin: String,
    pub session_id: Option<String>,
    pub hold_until: DateTime<Utc>,
}

/// Inserts the checkout of a new order, before Stripe is called. `client` is the hash that its holds are counted by.
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

/// Checkout of an order. `None` for manual sales and custom orders, which have none.
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

/// Order of a session that Stripe's answer or event has named before.
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
/// state. Safe to repeat.
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
    let moved = sqlx::query(
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
    if moved.rows_affected() == 0 {
        info!(%order, state = state.as_str(), "a checkout has moved on and keeps its state");
    }
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

/// The session of a copied order that is unpaid.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct CopiedSession {
    pub order_id: OrderId,
    pub session_id: String,
    pub hold_until: DateTime<Utc>,
}

/// The sessions of copied orders that are unpaid, the oldest first.
pub async fn list_copied_sessions(conn: &mut PgConnection) -> Result<Vec<CopiedSession>> {
    let sessions = sqlx::query_as(
        "select c.order_id, c.session_id, c.hold_until
         from checkouts c
         join orders o on o.id = c.order_id
         where c.request is null
           and c.session_id like 'cs\\_%'
           and o.paid_at is null
         order by o.created_at, o.id",
    )
    .fetch_all(conn)
    .await?;
    Ok(sessions)
}

/// Returns true when the order has taken money.
pub async fn is_paid(conn: &mut PgConnection, order: OrderId) -> Result<bool> {
    let is_paid = sqlx::query_scalar("select paid_at is not null from orders where id = $1")
        .bind(order)
        .fetch_one(conn)
        .await?;
    Ok(is_paid)
}
