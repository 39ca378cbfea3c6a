//! The pool and the migrations.
pub mod embedded;

use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

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
        .acquire_timeout(Duration::from_secs(5))
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

/// Brings the schema up to date: ours and the job queue's. Safe to repeat, and for several processes at once.
pub async fn migrate(db: &PgPool) -> anyhow::Result<()> {
    // A migration may take its time, and a second process waits for the first.
    let options = (*db.connect_options())
        .clone()
        .options([("statement_timeout", "0"), ("lock_timeout", "0")]);
    let mut conn = PgConnection::connect_with(&options)
        .await
        .context("connecting to PostgreSQL")?;
    MIGRATOR
        .run(&mut conn)
        .await
        .context("running the migrations")?;
    conn.close().await?;
    graphile_worker::WorkerOptions::default()
        .pg_pool(db.clone())
        .init()
        .await
        .context("preparing the job queue")?;
    Ok(())
}
