//! SQL of Stripe's events, and of the cursor of reconciliation.

use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use utoipa::ToSchema;

use crate::db;
use crate::error::Result;
use crate::payments::states::EventStatus;

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

/// An event to be stored.
#[derive(Clone, Copy)]
pub struct NewEvent<'a> {
    pub id: &'a str,
    pub kind: &'a str,
    pub created: Option<DateTime<Utc>>,
    /// The way it came, such as `webhook`.
    pub source: &'static str,
    pub payload: &'a str,
}

/// Stores an event by id, after waiting for a concurrent insertion. Returns false when it already existed.
pub async fn insert_event(conn: &mut PgConnection, event: NewEvent<'_>) -> Result<bool> {
    let done = sqlx::query(
        "insert into stripe_events (id, type, status, created, source, payload)
         values ($1, $2, 'received', $3, $4, $5)
         on conflict (id) do nothing",
    )
    .bind(event.id)
    .bind(event.kind)
    .bind(event.created)
    .bind(event.source)
    .bind(event.payload)
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
    struct StoredEventWithPayload {
        #[sqlx(flatten)]
        event: EventRow,
        payload: String,
    }
    let row: Option<StoredEventWithPayload> = sqlx::query_as(
        "select id, type, status, source, attempts, last_error, received_at, processed_at, redacted_at, payload
         from stripe_events
         where id = $1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.event, row.payload)))
}

/// Locks an event until the transaction ends, so that its effect comes once.
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
///
/// # Errors
/// An internal error, which rolls the attempt back, when the event was over already: its effect would come twice.
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
    let ended = sqlx::query(
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
    match ended.rows_affected() {
        1 => Ok(()),
        _ => Err(anyhow::anyhow!("event {id} cannot become {}", status.as_str()).into()),
    }
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

/// Position of reconciliation in Stripe's events; `None` before its first run.
pub async fn find_cursor(conn: &mut PgConnection) -> Result<Option<DateTime<Utc>>> {
    let cursor = sqlx::query_scalar("select read_until from stripe_cursor")
        .fetch_optional(conn)
        .await?;
    Ok(cursor)
}

/// Sets the position before the first run. Later calls change nothing.
pub async fn start_cursor(conn: &mut PgConnection, since: DateTime<Utc>) -> Result<()> {
    sqlx::query(
        "insert into stripe_cursor (read_until) values ($1) on conflict (singleton) do nothing",
    )
    .bind(since)
    .execute(conn)
    .await?;
    Ok(())
}

/// Excludes the events that find no row until this transaction ends.
pub async fn lock_takeover(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('takeover', 0))")
        .execute(conn)
        .await?;
    Ok(())
}

/// Waits until no rows are being copied from another shop, and keeps it so until this transaction ends.
pub async fn wait_for_takeover(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock_shared(hashtextextended('takeover', 0))")
        .execute(conn)
        .await?;
    Ok(())
}

/// The events about sessions that were ignored, as id and payload.
pub fn stream_ignored_sessions(
    conn: &mut PgConnection,
) -> BoxStream<'_, sqlx::Result<(String, String)>> {
    sqlx::query_as(
        "select id, payload
         from stripe_events
         where status = 'ignored'
           and redacted_at is null
           and type like 'checkout.session.%'",
    )
    .fetch(conn)
}

/// Sets ignored events back, so that they are processed again. Returns those that were ignored.
pub async fn reopen_events(conn: &mut PgConnection, ids: &[String]) -> Result<Vec<String>> {
    let from: Vec<&str> = EventStatus::ALL
        .into_iter()
        .filter(|from| from.may_become(EventStatus::Received))
        .map(EventStatus::as_str)
        .collect();
    let reopened = sqlx::query_scalar(
        "update stripe_events
         set status = 'received', processed_at = null
         where id = any($1)
           and status = any($2)
           and redacted_at is null
         returning id",
    )
    .bind(ids)
    .bind(from)
    .fetch_all(conn)
    .await?;
    Ok(reopened)
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
