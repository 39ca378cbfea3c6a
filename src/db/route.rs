//! The way to the server: straight, or through a pooler; and how session settings reach it there.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Row};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// What every session of ours has: bounded statements and lock waits, how alike a misspelled word must be; probes that
/// keep the line known to firewalls between; and an end of statements whose caller is gone.
pub(super) const SESSION: [(&str, &str); 9] = [
    ("statement_timeout", "20s"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("client_min_messages", "warning"),
    ("client_connection_check_interval", "2s"),
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
    ("pg_trgm.word_similarity_threshold", "0.45"),
];

/// How long a start waits for a server that starts as well.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a pooler may take to lend a connection to the server.
const LOAN_LIMIT: Duration = Duration::from_secs(5);

/// How session settings reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// With the start of the session.
    Straight,
    /// By `set` after the start: a pooler that refuses them at the start, but lends one server connection per session.
    SessionPooler,
    /// Not at all: a pooler that lends a server connection per transaction. The role has them, or nobody has.
    TransactionPooler,
}

impl Route {
    /// Finds out what lies between us and the server. `name` is the setting that holds the address.
    ///
    /// # Errors
    /// When the server cannot be reached, or a pooler loses what transactions of ours need.
    pub async fn find(options: &PgConnectOptions, name: &str) -> anyhow::Result<Route> {
        let began = Instant::now();
        loop {
            match Route::try_find(options, name).await {
                Err(error) if is_starting(&error) && began.elapsed() < PATIENCE => {
                    sleep(Duration::from_millis(100)).await;
                }
                found => {
                    return found.with_context(|| format!("connecting to PostgreSQL ({name})"));
                }
            }
        }
    }

    async fn try_find(options: &PgConnectOptions, name: &str) -> anyhow::Result<Route> {
        match connect(&with_session(options)).await {
            Ok(mut conn) => {
                let is_set = setting(&mut conn, "statement_timeout").await? == "20s";
                conn.close().await?;
                if is_set {
                    return Ok(Route::Straight);
                }
            }
            Err(error) if refuses_settings(&error) => {}
            Err(error) => return Err(error.into()),
        }
        if !lends_per_transaction(options).await? {
            return Ok(Route::SessionPooler);
        }
        if !keeps_statements(options).await? {
            bail!(
                "{name} leads through a pooler in transaction mode that loses prepared statements between transactions. \
                 Use PgBouncer 1.21 or newer with max_prepared_statements = 200, or pool_mode = session"
            );
        }
        Ok(Route::TransactionPooler)
    }

    /// How to connect by this route.
    pub(super) fn options(self, options: &PgConnectOptions) -> PgConnectOptions {
        match self {
            Route::Straight => with_session(options),
            Route::SessionPooler | Route::TransactionPooler => options.clone(),
        }
    }

    /// What a new session is told at once; may be empty.
    pub(super) fn first_words(self) -> String {
        match self {
            Route::SessionPooler => SESSION
                .iter()
                .map(|(name, value)| format!("set {name} = '{value}';"))
                .collect(),
            Route::Straight | Route::TransactionPooler => String::new(),
        }
    }
}

fn with_session(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().options(SESSION)
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    match timeout(PATIENCE, PgConnection::connect_with(options)).await {
        Ok(connected) => connected,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// Whether the server is about to be there.
fn is_starting(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Io(error)) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        Some(sqlx::Error::Database(error)) => {
            matches!(error.code().as_deref(), Some("57P03" | "53300"))
        }
        _ => false,
    }
}

/// As PgBouncer says it: `unsupported startup parameter: options`.
fn refuses_settings(error: &sqlx::Error) -> bool {
    let told = error.as_database_error();
    told.is_some_and(|error| error.message().contains("startup parameter"))
}

pub(super) async fn setting(conn: &mut PgConnection, name: &str) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("select coalesce(current_setting($1, true), '')")
        .bind(name)
        .fetch_one(conn)
        .await
}

/// The process that serves a session at the moment. Asked in one message, which no pooler can divide.
async fn backend(conn: &mut PgConnection) -> anyhow::Result<i32> {
    let asked = sqlx::raw_sql("select pg_backend_pid()").fetch_one(conn);
    let row = timeout(LOAN_LIMIT, asked).await.ok();
    let row = row.context("the pooler lends too few connections to the server: at least as many are needed as DATABASE_MAX_CONNECTIONS says")?;
    Ok(row?.try_get(0)?)
}

/// Whether the process behind a session changes while other sessions hold transactions open.
async fn lends_per_transaction(options: &PgConnectOptions) -> anyhow::Result<bool> {
    let mut asking = connect(options).await?;
    let first = backend(&mut asking).await?;
    let mut holders = Vec::new();
    // Most poolers lend the one that came back last, some the one that has lain longest: one of three shows it.
    for _ in 0..3 {
        let mut holder = connect(options).await?;
        sqlx::raw_sql("begin").execute(&mut holder).await?;
        let held = backend(&mut holder).await?;
        holders.push(holder);
        if held == first || backend(&mut asking).await? != first {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a statement that was prepared in one transaction is there in another, by another process of the server.
async fn keeps_statements(options: &PgConnectOptions) -> anyhow::Result<bool> {
    let mut asking = connect(options).await?;
    let nonce = Uuid::new_v4().simple();
    let sql = format!("select '{nonce}' || $1 || pg_backend_pid()::text");
    let mut holders = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..3 {
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.clone())).bind(" ");
        let answer: Result<String, sqlx::Error> = timeout(LOAN_LIMIT, query.fetch_one(&mut asking))
            .await
            .context("the pooler lends too few connections to the server")?;
        match answer {
            Ok(text) if text.starts_with(&format!("{nonce} ")) => seen.push(text),
            // Another's statement under the same name, or none.
            Ok(_) | Err(sqlx::Error::Database(_) | sqlx::Error::Protocol(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let mut holder = connect(options).await?;
        sqlx::raw_sql("begin").execute(&mut holder).await?;
        backend(&mut holder).await?;
        holders.push(holder);
    }
    seen.dedup();
    // By one process alone nothing was tried.
    Ok(seen.len() > 1)
}
