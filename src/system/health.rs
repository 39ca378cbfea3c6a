//! Health of the shop: database, migrations, workers, and the figures for alerts.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use tokio::time::timeout;
use tracing::warn;
use utoipa::ToSchema;

use crate::app::metrics::Figure;
use crate::db::{self, Pools};
use crate::error::{DatabaseFailure, Result};

/// Version of this binary.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Health of the shop.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// Version of PostgreSQL.
    pub database: String,
    pub database_bytes: i64,
    pub migrations_applied: i64,
    /// Number of migrations in this binary.
    pub migrations_known: i64,
    pub workers: Vec<Heartbeat>,
}

/// The last heartbeat of a worker.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct Heartbeat {
    pub last_seen_at: DateTime<Utc>,
    /// Set if the heartbeat is at most half a minute old.
    pub is_alive: bool,
}

impl Health {
    /// Reports whether all migrations are applied and a worker is alive.
    pub fn is_good(&self) -> bool {
        self.migrations_applied >= self.migrations_known
            && self.workers.iter().any(|worker| worker.is_alive)
    }

    /// Formats the size of the database: `12 MB`.
    pub fn database_size(&self) -> String {
        format!("{} MB", self.database_bytes / (1 << 20))
    }
}

/// Reads the health of the shop.
///
/// # Errors
/// Database errors only.
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

/// Readiness of this process for requests.
#[derive(Debug, Default, Serialize)]
pub struct Readiness {
    pub database: bool,
    /// Set if the database accepts writes: it is not a standby and not read-only.
    pub writable: bool,
    pub migrations: bool,
    pub worker: bool,
}

impl Readiness {
    /// Returns true when the shop can serve: database, migrations and a live worker.
    pub fn is_ready(&self) -> bool {
        self.database && self.writable && self.migrations && self.worker
    }
}

/// Time limit of the readiness query.
const READINESS_LIMIT: Duration = Duration::from_secs(3);

/// Checks the minimum requirements. Never fails: a failed check counts as not ready.
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
        // This session may see that the server is read-only, or another one may have found out.
        writable: !is_read_only && !pools.liveness.is_read_only(),
        migrations: applied >= db::MIGRATOR.iter().count() as i64,
        worker,
    }
}

/// Returns the number of applied migrations, whether a worker is alive, and whether the server is read-only.
async fn ask_readiness(db: &PgPool) -> Result<(i64, bool, bool), sqlx::Error> {
    sqlx::query_as(
        "select (select count(*) from _sqlx_migrations where success),
                exists (select from worker_heartbeats where last_seen_at > now() - interval '30 seconds'),
                pg_is_in_recovery() or current_setting('transaction_read_only')::boolean",
    )
    .fetch_one(db)
    .await
}

/// Time limit of the query for figures.
const FIGURES_LIMIT: Duration = Duration::from_secs(2);

/// Name, description and label of the figures that [`read_figures`] returns.
#[rustfmt::skip]
const FIGURES: [(&str, &str, Option<&str>); 19] = [
    ("jobs", "Background jobs by state; given_up ones are not retried", Some("state")),
    ("job_oldest_seconds", "Time since the oldest waiting job became due", None),
    ("holds", "Pending orders, which hold stock", None),
    ("hold_oldest_seconds", "Age of the oldest pending order", None),
    ("holds_overdue", "Expired checkouts that are not settled", None),
    ("stripe_events_unprocessed", "Stored Stripe events that are not processed", Some("state")),
    ("stripe_event_oldest_seconds", "Age of the oldest unprocessed Stripe event", None),
    ("emails", "Emails that are not sent", Some("state")),
    ("email_oldest_seconds", "Age of the oldest email that is waiting to be sent", None),
    ("refunds", "Refunds that are not settled; failed ones need a person", Some("state")),
    ("refund_oldest_seconds", "Age of the oldest refund that was not requested from Stripe", None),
    ("payments_refused", "Payments refunded because nothing could be sold for them", None),
    ("orders_paid_last_day", "Orders paid within the last day", None),
    ("orders_to_review", "Orders with open review items", None),
    ("review_items_open", "Open review items on any subject", None),
    ("quotes_unsettled", "Payment links to be created or deactivated", Some("state")),
    ("product_syncs", "Products that are not in sync with Stripe", Some("state")),
    ("workers_alive", "Workers with a heartbeat in the last 30 seconds", None),
    ("database_size_bytes", "Size of the database", None),
];

/// Returns the figures of the database and of the request pool. Never fails: without a database, `database_up` is 0 and
/// the other database figures are missing.
pub async fn figures(pools: &Pools) -> Vec<Figure> {
    let db = &pools.requests;
    let plain = |name, help, value| Figure {
        name,
        help,
        label: None,
        value,
    };
    // Acquiring a request connection may take long; the figures use the health pool instead.
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
        plain("database_up", "1 if the figures could be read", up),
        plain(
            "database_pool_connections",
            "Connections in the pool of requests",
            f64::from(db.size()),
        ),
        plain(
            "database_pool_idle",
            "Idle connections in the pool of requests",
            db.num_idle() as f64,
        ),
        plain(
            "database_pool_max",
            "Maximum number of connections in the pool of requests",
            f64::from(db.options().get_max_connections()),
        ),
        plain(
            "database_pool_wait_seconds",
            "Time that acquiring a connection took just now",
            waited,
        ),
    ]);
    figures
}

/// Every figure: its name, its label and its value.
const FIGURES_SQL: &str = "with queue as (
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
        select 'orders_to_review', null, count(distinct order_id)
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
        left join products on products.stripe_status = known.state and not products.stripe_paused
        group by known.state
        union all
        select 'workers_alive', null, count(*) from worker_heartbeats
        where last_seen_at > now() - interval '30 seconds'
        union all
        select 'database_size_bytes', null, pg_database_size(current_database())
    ) as figures";

/// Reads all figures in one statement. It is cheap with any number of orders: each part has an index, or a table that
/// stays small.
async fn read_figures(conn: &mut PgConnection) -> Result<Vec<Figure>> {
    let mut tx = sqlx::Connection::begin(conn).await?;
    sqlx::query("select set_config('statement_timeout', $1, true)")
        .bind(FIGURES_LIMIT.as_millis().to_string())
        .execute(&mut *tx)
        .await?;
    let rows: Vec<(String, Option<String>, f64)> =
        sqlx::query_as(FIGURES_SQL).fetch_all(&mut *tx).await?;
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
