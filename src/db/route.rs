//! The connection to the server, direct or through a pooler, and the delivery of session settings.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Row};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// Settings of every session: limits for statements and lock waits, the similarity threshold of the search, keep-alive
/// probes against firewalls, and the cancelation of statements whose client is gone.
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

/// Time to wait for a server that is starting.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time-out for a pooler to assign a server connection.
const LOAN_LIMIT: Duration = Duration::from_secs(5);

/// Delivery of session settings to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// As startup parameters.
    Straight,
    /// By `set` after the start, for a pooler that rejects them at the start but assigns one server connection per
    /// session.
    SessionPooler,
    /// Not delivered, for a pooler that assigns a server connection per transaction. Only the role can have them.
    TransactionPooler,
}

impl Route {
    /// Detects a pooler between us and the server. `name` is the setting with the address.
    ///
    /// # Errors
    /// When the server is unreachable, or when a pooler breaks our transactions.
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

    /// Connection options for this route.
    pub(super) fn options(self, options: &PgConnectOptions) -> PgConnectOptions {
        match self {
            Route::Straight => with_session(options),
            Route::SessionPooler | Route::TransactionPooler => options.clone(),
        }
    }

    /// SQL for the start of a session; may be empty.
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

/// Returns true while the server is starting.
fn is_starting(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Io(error)) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        Some(sqlx::Error::Database(error)) => {
            matches!(error.code().as_deref(), Some("57P03" | "53300"))
        }
        _ => false,
    }
}

/// PgBouncer's message: `unsupported startup parameter: options`.
fn refuses_settings(error: &sqlx::Error) -> bool {
    let answer = error.as_database_error();
    answer.is_some_and(|error| error.message().contains("startup parameter"))
}

pub(super) async fn setting(conn: &mut PgConnection, name: &str) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("select coalesce(current_setting($1, true), '')")
        .bind(name)
        .fetch_one(conn)
        .await
}

/// The server process behind a session at the moment. Sent as one message, which no pooler can split.
async fn backend(conn: &mut PgConnection) -> anyhow::Result<i32> {
    let asked = sqlx::raw_sql("select pg_backend_pid()").fetch_one(conn);
    let row = timeout(LOAN_LIMIT, asked).await.ok();
    let row = row.context(
        "the pooler has too few server connections: it needs at least DATABASE_MAX_CONNECTIONS",
    )?;
    Ok(row?.try_get(0)?)
}

/// Returns true when a session changes its server process while other sessions hold transactions open.
async fn lends_per_transaction(options: &PgConnectOptions) -> anyhow::Result<bool> {
    let mut asking = connect(options).await?;
    let first = backend(&mut asking).await?;
    let mut holders = Vec::new();
    // Most poolers assign the connection returned last, some the one idle longest; one of three tries shows it.
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

/// Returns true when a statement prepared in one transaction is available in another, in a different server process.
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
            .context("the pooler has too few server connections")?;
        match answer {
            Ok(text) if text.starts_with(&format!("{nonce} ")) => seen.push(text),
            // Another statement under the same name, or none.
            Ok(_) | Err(sqlx::Error::Database(_) | sqlx::Error::Protocol(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let mut holder = connect(options).await?;
        sqlx::raw_sql("begin").execute(&mut holder).await?;
        backend(&mut holder).await?;
        holders.push(holder);
    }
    seen.dedup();
    // A single server process proves nothing.
    Ok(seen.len() > 1)
}
