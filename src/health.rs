//! How the shop itself is: its database, its migrations, its workers, and the figures that an alert looks at.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use tokio::time::timeout;
use tracing::warn;
use utoipa::ToSchema;

use crate::db::{self, Pools};
use crate::error::{DatabaseFailure, Result};
use crate::metrics::Figure;

/// The version of this binary.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How the shop is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// PostgreSQL's version.
    pub database: String,
    pub database_bytes: i64,
    pub migrations_applied: i64,
    /// How many this binary knows.
    pub migrations_known: i64,
    pub workers: Vec<Heartbeat>,
}

/// A worker, and when it was heard of last.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct Heartbeat {
    pub last_seen_at: DateTime<Utc>,
    /// Within the last half minute.
    pub is_alive: bool,
}

impl Health {
    /// Whether all is as it should be.
    pub fn is_good(&self) -> bool {
        self.migrations_applied >= self.migrations_known
            && self.workers.iter().any(|worker| worker.is_alive)
    }

    /// The size of the database as people read it: `12 MB`.
    pub fn database_size(&self) -> String {
        format!("{} MB", self.database_bytes / (1 << 20))
    }
}

/// Looks how the shop is.
///
/// # Errors
/// Only the database's.
pub async fn look(conn: &mut PgConnection) -> Result<Health> {
    let (database, database_bytes, migrations_applied) = sqlx::query_as(
        "select current_setting('server_version'), pg_database_size(current_database()),
                (select count(*) from _sqlx_migrations where success)",
    )
    .fetch_one(&mut *conn)
    .await?;
    let workers = sqlx::query_as(
        "select last_seen_at, last_seen_at > now() - interval '30 seconds' as is_alive
         from worker_heartbeats
         order by last_seen_at desc",
    )
    .fetch_all(conn)
    .await?;
    Ok(Health {
        database,
        database_bytes,
        migrations_applied,
        migrations_known: db::MIGRATOR.iter().count() as i64,
        workers,
    })
}

/// Whether this process may be sent requests.
#[derive(Debug, Default, Serialize)]
pub struct Readiness {
    pub database: bool,
    /// The database takes changes: it is no standby, and not read-only.
    pub writable: bool,
    pub migrations: bool,
    pub worker: bool,
}

impl Readiness {
    pub fn is_ready(&self) -> bool {
        self.database && self.writable && self.migrations && self.worker
    }
}

/// How long the database may take to say how it is.
const READINESS_LIMIT: Duration = Duration::from_secs(3);

/// Asks for the least that must be there. Never fails: what cannot be found out is not there.
pub async fn readiness(pools: &Pools) -> Readiness {
    let asked = ask_readiness(&pools.health);
    let Ok(Ok((applied, worker, is_read_only))) = timeout(READINESS_LIMIT, asked).await else {
        return Readiness::default();
    };
    if is_read_only {
        pools.liveness.note(DatabaseFailure::ReadOnly);
    }
    Readiness {
        database: true,
        // A session may be told so, or may have found it out for the others.
        writable: !is_read_only && !pools.liveness.is_read_only(),
        migrations: applied >= db::MIGRATOR.iter().count() as i64,
        worker,
    }
}

/// The number of migrations, whether a worker is alive, whether the server takes no changes.
async fn ask_readiness(db: &PgPool) -> Result<(i64, bool, bool), sqlx::Error> {
    sqlx::query_as(
        "select (select count(*) from _sqlx_migrations where success),
                exists (select from worker_heartbeats where last_seen_at > now() - interval '30 seconds'),
                pg_is_in_recovery() or current_setting('transaction_read_only')::boolean",
    )
    .fetch_one(db)
    .await
}

/// How long the database may take for the figures.
const FIGURES_LIMIT: Duration = Duration::from_secs(2);

/// Names, meanings and labels of the figures that [`read_figures`] looks up.
#[rustfmt::skip]
const FIGURES: [(&str, &str, Option<&str>); 19] = [
    ("jobs", "Background jobs by state; given_up is tried no more", Some("state")),
    ("job_oldest_seconds", "How long the longest waiting job is due", None),
    ("holds", "Pending orders, which hold pieces", None),
    ("hold_oldest_seconds", "Age of the oldest pending order", None),
    ("holds_overdue", "Checkouts whose time has run out, and that are not settled", None),
    ("stripe_events_unprocessed", "Stored events that are not processed (yet)", Some("state")),
    ("stripe_event_oldest_seconds", "Age of the oldest of them", None),
    ("emails", "Emails that are not sent (yet)", Some("state")),
    ("email_oldest_seconds", "Age of the oldest email that is still to be sent", None),
    ("refunds", "Refunds that are not settled; failed ones want a hand", Some("state")),
    ("refund_oldest_seconds", "Age of the oldest refund that Stripe was not asked for", None),
    ("payments_refused", "Payments given back because nothing could be sold for them", None),
    ("orders_paid_last_day", "Orders paid within the last day", None),
    ("orders_needing_attention", "Orders with open review items", None),
    ("review_items_open", "Open review items, whatever they belong to", None),
    ("quotes_unsettled", "Payment links that are to be made or closed", Some("state")),
    ("product_syncs", "Products that Stripe does not have as we do", Some("state")),
    ("workers_alive", "Workers heard of within the last half minute", None),
    ("database_size_bytes", "Size of the database", None),
];

/// The figures of the database, and of the pool of requests. Never fails: without a database, `database_up` is 0 and the
/// rest is missing.
pub async fn figures(pools: &Pools) -> Vec<Figure> {
    let db = &pools.requests;
    let plain = |name, help, value| Figure {
        name,
        help,
        label: None,
        value,
    };
    // Requests may wait, the figures must not.
    let waiting = async {
        let began = Instant::now();
        let _ = db.acquire().await;
        began.elapsed().as_secs_f64()
    };
    let reading = async { read_figures(&mut *pools.health.acquire().await?).await };
    let (waited, read) = tokio::join!(waiting, reading);
    let mut figures = read.unwrap_or_else(|error| {
        warn!(%error, "the figures could not be read");
        Vec::new()
    });
    let up = if figures.is_empty() { 0.0 } else { 1.0 };
    figures.extend([
        plain("database_up", "Whether the figures could be read", up),
        plain(
            "database_pool_connections",
            "Connections that requests have",
            f64::from(db.size()),
        ),
        plain(
            "database_pool_idle",
            "Those that nobody uses",
            db.num_idle() as f64,
        ),
        plain(
            "database_pool_max",
            "The most that requests may have",
            f64::from(db.options().get_max_connections()),
        ),
        plain(
            "database_pool_wait_seconds",
            "How long a request waited for one just now",
            waited,
        ),
    ]);
    figures
}

/// One question, cheap with any number of orders: each part has an index, or a table that stays small.
async fn read_figures(conn: &mut PgConnection) -> Result<Vec<Figure>> {
    let mut tx = sqlx::Connection::begin(conn).await?;
    sqlx::query("select set_config('statement_timeout', $1, true)")
        .bind(FIGURES_LIMIT.as_millis().to_string())
        .execute(&mut *tx)
        .await?;
    let rows: Vec<(String, Option<String>, f64)> = sqlx::query_as(
        "with queue as (
             select case when locked_at is not null then 'running'
                         when attempts >= max_attempts then 'given_up'
                         when last_error is not null then 'failed'
                         else 'waiting'
                    end as state,
                    run_at
             from graphile_worker._private_jobs
         ),
         pending as (
             select count(*) as count, min(created_at) as oldest
             from orders
             where status = 'pending'
         ),
         events as (
             select status, count(*) as count, min(received_at) as oldest
             from stripe_events
             where status in ('received', 'failed')
             group by status
         ),
         unsent as (
             select state, count(*) as count, min(created_at) as oldest
             from emails
             where state in ('queued', 'sending')
             group by state
         ),
         unsettled as (
             select state, count(*) as count, min(created_at) as oldest
             from refunds
             where state in ('planned', 'pending', 'failed')
             group by state
         )
         select name, label, coalesce(value, 0)::float8
         from (
             select 'jobs' as name, known.state as label, count(queue.state)::numeric as value
             from unnest(array['waiting', 'running', 'failed', 'given_up']) as known (state)
             left join queue on queue.state = known.state
             group by known.state
             union all
             select 'job_oldest_seconds', null, extract(epoch from now() - min(run_at))
             from queue where state in ('waiting', 'failed') and run_at <= now()
             union all
             select 'holds', null, count from pending
             union all
             select 'hold_oldest_seconds', null, extract(epoch from now() - oldest) from pending
             union all
             select 'holds_overdue', null, count(*) from checkouts
             where state in ('asking', 'open', 'unknown') and hold_until < now() - interval '5 minutes'
             union all
             select 'stripe_events_unprocessed', known.state, coalesce(events.count, 0)
             from unnest(array['received', 'failed']) as known (state)
             left join events on events.status = known.state
             union all
             select 'stripe_events_unprocessed', 'wrong_mode', count(*) from stripe_events where status = 'wrong_mode'
             union all
             select 'stripe_event_oldest_seconds', null, extract(epoch from now() - min(oldest)) from events
             union all
             select 'emails', known.state, coalesce(unsent.count, 0)
             from unnest(array['queued', 'sending']) as known (state)
             left join unsent on unsent.state = known.state
             union all
             select 'emails', 'failed', count(*) from emails where state = 'failed'
             union all
             select 'email_oldest_seconds', null, extract(epoch from now() - min(oldest)) from unsent
             union all
             select 'refunds', known.state, coalesce(unsettled.count, 0)
             from unnest(array['planned', 'pending', 'failed']) as known (state)
             left join unsettled on unsettled.state = known.state
             union all
             select 'refund_oldest_seconds', null, extract(epoch from now() - min(oldest))
             from unsettled where state = 'planned'
             union all
             select 'payments_refused', null, count(*) from payments where outcome = 'refused'
             union all
             select 'orders_paid_last_day', null, count(*) from orders where paid_at > now() - interval '1 day'
             union all
             select 'orders_needing_attention', null, count(distinct order_id)
             from review_items where resolved_at is null
             union all
             select 'review_items_open', null, count(*) from review_items where resolved_at is null
             union all
             select 'quotes_unsettled', known.state, count(quotes.state)
             from unnest(array['asking', 'closing']) as known (state)
             left join custom_order_quotes quotes on quotes.state = known.state
             group by known.state
             union all
             select 'product_syncs', known.state, count(products.stripe_status)
             from unnest(array['pending', 'error']) as known (state)
             left join products on products.stripe_status = known.state
             group by known.state
             union all
             select 'workers_alive', null, count(*) from worker_heartbeats
             where last_seen_at > now() - interval '30 seconds'
             union all
             select 'database_size_bytes', null, pg_database_size(current_database())
         ) as figures",
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let figures = rows.into_iter().filter_map(|(name, label, value)| {
        let (name, help, kind) = FIGURES.into_iter().find(|(known, ..)| *known == name)?;
        Some(Figure {
            name,
            help,
            label: kind.zip(label),
            value,
        })
    });
    Ok(figures.collect())
}
