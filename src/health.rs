//! How the shop itself is: its database, its migrations, its workers.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::db;
use crate::error::Result;

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
    pub seen_at: DateTime<Utc>,
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
        "select seen_at, seen_at > now() - interval '30 seconds' as is_alive
         from worker_heartbeats
         order by seen_at desc",
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
