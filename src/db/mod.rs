//! The pool and the migrations.
pub mod embedded;

use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tracing::warn;

/// Our migrations: forward only, one subject each.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// Where a `DATABASE_URL` points.
///
/// # Errors
/// When it is no such address; the message does not repeat it, because it may hold a password.
pub fn parse_url(url: &str) -> anyhow::Result<PgConnectOptions> {
    PgConnectOptions::from_str(url).ok().context(
        "DATABASE_URL is not a PostgreSQL address (postgres://user:password@host/database)",
    )
}

/// The pattern for `lower(…) like` that finds a text anywhere, whatever characters it has.
pub fn like(text: &str) -> String {
    let escaped = text
        .trim()
        .to_lowercase()
        .replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_");
    format!("%{escaped}%")
}

/// How long a request or job waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens a pool with our session settings: bounded statements and lock waits, and how alike a misspelt word must be.
pub async fn connect(options: PgConnectOptions, max_connections: u32) -> anyhow::Result<PgPool> {
    let options = options.application_name("spirit-beads").options([
        ("statement_timeout", "20s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "60s"),
        ("client_min_messages", "warning"),
        ("pg_trgm.word_similarity_threshold", "0.45"),
    ]);
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Without a line of the log for each that waited: in a flood that is one more. The metrics tell how long one waits.
        .acquire_slow_threshold(ACQUIRE_TIMEOUT)
        // A connection just used is alive; asking each time would double the round trips of every read. One that lay
        // idle may have died with its server, and is asked.
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move {
                if meta.idle_for > Duration::from_secs(1) {
                    conn.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(options)
        .await
        .context("connecting to PostgreSQL")
}

/// How long a migration may wait for a lock at a time: whoever comes after it waits as long behind it.
const LOCK_TIMEOUT: &str = "500ms";

/// How long one that could not have its lock lets others pass.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a migration tries to get its locks before it is given up.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Brings the schema up to date: ours and the job queue's. Safe to repeat, for several processes at once, and while the
/// previous version serves.
///
/// # Errors
/// When a migration fails, or cannot have its locks within ten minutes.
pub async fn migrate(db: &PgPool) -> anyhow::Result<()> {
    let mut conn = migrating(db).await?;
    apply(&mut conn, &MIGRATOR).await?;
    conn.close().await?;
    graphile_worker::WorkerOptions::default()
        .pg_pool(db.clone())
        .init()
        .await
        .context("preparing the job queue")?;
    Ok(())
}

/// A connection for migrations: they may take their time, but never wait long in front of others.
///
/// # Errors
/// When PostgreSQL cannot be reached.
pub async fn migrating(db: &PgPool) -> anyhow::Result<PgConnection> {
    let options = (*db.connect_options())
        .clone()
        .options([("statement_timeout", "0"), ("lock_timeout", LOCK_TIMEOUT)]);
    PgConnection::connect_with(&options)
        .await
        .context("connecting to PostgreSQL")
}

/// Applies what is missing, one process at a time. A migration that cannot have its lock lets others pass, and comes
/// again. Those that a newer version has applied are left alone: the previous one may start beside it.
///
/// # Errors
/// As [`migrate`].
pub async fn apply(conn: &mut PgConnection, migrator: &Migrator) -> anyhow::Result<()> {
    let mut migrator = Migrator::with_migrations(migrator.iter().cloned().collect());
    migrator.set_ignore_missing(true);
    let began = Instant::now();
    // Asked for, not waited for: an index built concurrently waits for every statement that runs beside it, and one that
    // waits for its turn would be one. The lock goes with the connection.
    while !sqlx::query_scalar("select pg_try_advisory_lock(hashtext('spirit-beads migrations'))")
        .fetch_one(&mut *conn)
        .await?
    {
        ensure!(
            began.elapsed() < PATIENCE,
            "another process has been running the migrations for too long"
        );
        tokio::time::sleep(PAUSE).await;
    }
    loop {
        match attempt(conn, &migrator).await {
            Err(error) if is_locked_out(&error) && began.elapsed() < PATIENCE => {
                warn!(%error, "a migration waits for others");
                tokio::time::sleep(PAUSE).await;
            }
            result => return result.context("running the migrations"),
        }
    }
}

/// Builds anew what an earlier attempt left half built: an index made concurrently is there, but not valid, when its making
/// was cut off.
async fn attempt(conn: &mut PgConnection, migrator: &Migrator) -> Result<(), MigrateError> {
    let halves: Vec<String> = sqlx::query_scalar(
        "select indexrelid::regclass::text from pg_index join pg_class on pg_class.oid = indexrelid
         where not indisvalid and relnamespace = 'public'::regnamespace",
    )
    .fetch_all(&mut *conn)
    .await?;
    for index in halves {
        let drop = format!("drop index concurrently if exists {index}");
        sqlx::query(AssertSqlSafe(drop)).execute(&mut *conn).await?;
    }
    migrator.run_direct(None, conn, false).await
}

/// Whether somebody else's lock was in the way, or a deadlock.
fn is_locked_out(error: &MigrateError) -> bool {
    let cause = match error {
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => cause,
        _ => return false,
    };
    let code = cause.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}
