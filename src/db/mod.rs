//! Connection pools, startup checks, and migrations.
mod checks;
mod liveness;
mod pools;
mod queue;
mod route;

pub use liveness::Liveness;
pub use pools::Pools;
pub use queue::Listener;
pub use route::Route;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tracing::warn;

use crate::types::unicode;

/// First instant of a period of `$2` days, today included, in the time zone `$1`.
macro_rules! first_instant {
    () => {
        "((now() at time zone $1)::date - ($2 - 1))::timestamp at time zone $1"
    };
}
pub(crate) use first_instant;

/// Schema migrations: a clean set by subject for an empty database, then forward only, one subject each.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// Settings of the embedded PostgreSQL in a folder, used when no database is configured.
pub fn embedded_settings(dir: PathBuf) -> embedded_postgres::Settings {
    embedded_postgres::Settings {
        app_name: "spirit-beads".to_owned(),
        superuser: "spirit_beads".to_owned(),
        ..embedded_postgres::Settings::new(dir)
    }
}

/// Parses a database address. `name` is its setting.
///
/// # Errors
/// For a malformed address.
pub fn parse_url(url: &str, name: &str) -> anyhow::Result<PgConnectOptions> {
    let is_ours = ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    let options = PgConnectOptions::from_str(url).ok().filter(|_| is_ours);
    // The message does not repeat the address, because it may contain a password.
    let options = options.with_context(|| {
        format!("{name} is not a PostgreSQL address (postgres://user:password@host/database)")
    })?;
    // PostgreSQL prints numbers in full since version 12, and poolers reject this option.
    Ok(options.extra_float_digits(None))
}

/// Pattern for `lower(…) like` that finds a literal text anywhere.
pub fn like(text: &str) -> String {
    let escaped = unicode::nfc(text.trim())
        .to_lowercase()
        .replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_");
    format!("%{escaped}%")
}

/// Opens the shop's database: checks its requirements, migrates the schema, and creates the pools. `direct` bypasses
/// the pooler, if there is one.
///
/// # Errors
/// All unmet requirements, in words; a failed migration; an unreachable server.
pub async fn open(
    pooled: PgConnectOptions,
    direct: Option<PgConnectOptions>,
    total: u32,
) -> anyhow::Result<Pools> {
    let pooled = named(pooled);
    let (direct, name) = match direct {
        Some(direct) => (named(direct), "DATABASE_DIRECT_URL"),
        None => (pooled.clone(), "DATABASE_URL"),
    };
    let (owner, straight) = open_as_owner(&direct, name).await?;
    let mut conn = owner.acquire().await.context("connecting to PostgreSQL")?;
    // After the checks: a database that does not suit the shop is left as it was.
    migrate(&owner).await?;

    let route = if name == "DATABASE_URL" {
        straight
    } else {
        Route::find(&pooled, "DATABASE_URL").await?
    };
    if route == Route::Straight {
        checks::connections(&mut conn, total).await?;
    }
    let pools = Pools::new(&pooled, route, straight.options(&direct), total);
    let mut serving = pools.requests.acquire().await;
    let serving = serving
        .as_mut()
        .map_err(|error| anyhow::anyhow!("connecting to PostgreSQL: {error}"))?;
    // A pooler may lead elsewhere, or sign in as another role, than the connection that migrated.
    checks::same_database(&mut conn, serving).await?;
    checks::server_role(serving).await?;
    if route == Route::TransactionPooler {
        tell_missing_settings(serving).await?;
    }
    drop(conn);
    owner.close().await;
    Ok(pools)
}

/// Opens a database as the owner of its schema, checks its requirements and leaves it as it is: for a restore.
///
/// # Errors
/// As [`open`].
pub async fn open_unchanged(
    pooled: PgConnectOptions,
    direct: Option<PgConnectOptions>,
) -> anyhow::Result<PgPool> {
    let (options, name) = match direct {
        Some(direct) => (direct, "DATABASE_DIRECT_URL"),
        None => (pooled, "DATABASE_URL"),
    };
    Ok(open_as_owner(&named(options), name).await?.0)
}

async fn open_as_owner(direct: &PgConnectOptions, name: &str) -> anyhow::Result<(PgPool, Route)> {
    let straight = Route::find(direct, name).await?;
    if straight == Route::TransactionPooler {
        bail!(
            "{name} leads through a pooler in transaction mode, where migrations and the wait for new jobs do not work: \
             set DATABASE_DIRECT_URL to the address of PostgreSQL itself"
        );
    }
    let owner = straight.pool(direct, 2);
    let mut conn = owner.acquire().await.context("connecting to PostgreSQL")?;
    checks::server(&mut conn).await?;
    checks::owner(&mut conn).await?;
    Ok((owner, straight))
}

/// Makes sure that the Stripe sandbox can keep its state in this database.
///
/// # Errors
/// In words for the operator, with the rights that the role lacks.
pub async fn check_sandbox(db: &PgPool) -> anyhow::Result<()> {
    checks::sandbox(&mut *db.acquire().await?).await
}

/// Opens a pool on a database that need not be a shop's.
///
/// # Errors
/// When the server is unreachable.
pub async fn connect(options: PgConnectOptions, most: u32) -> anyhow::Result<PgPool> {
    let options = named(options);
    let route = Route::find(&options, "DATABASE_URL").await?;
    Ok(route.pool(&options, most))
}

fn named(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("spirit-beads")
}

impl Route {
    fn pool(self, options: &PgConnectOptions, most: u32) -> PgPool {
        pools::pool(options, self, &Arc::default(), most)
    }
}

/// Logs the limits that sessions behind a transaction pooler lack, and how to set them on the role.
async fn tell_missing_settings(conn: &mut PgConnection) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for (name, value) in &route::SESSION[..3] {
        if route::setting(conn, name).await? == "0" {
            missing.push(format!("alter role current_user set {name} = '{value}';"));
        }
    }
    if !missing.is_empty() {
        warn!(
            "behind a pooler in transaction mode only the role's own settings limit statements and locks: {}",
            missing.join(" ")
        );
    }
    Ok(())
}

/// Reports whether PostgreSQL knows a time zone by this name.
///
/// # Errors
/// Database errors only.
pub async fn knows_time_zone(conn: &mut PgConnection, zone: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from pg_timezone_names where name = $1)")
        .bind(zone)
        .fetch_one(conn)
        .await
}

/// Checks that PostgreSQL knows a time zone, because days are computed there as well as here.
///
/// # Errors
/// A message for the operator, when the zone is unknown or the query fails.
pub async fn check_time_zone(conn: &mut PgConnection, zone: &str) -> anyhow::Result<()> {
    let is_known = knows_time_zone(conn, zone).await;
    ensure!(
        is_known.context("asking PostgreSQL for the time zone")?,
        "PostgreSQL does not know the time zone {zone}, which SHOP_TIME_ZONE or the settings name: update the time zones \
         of the database server (Debian: the packages tzdata and tzdata-legacy), or choose another SHOP_TIME_ZONE"
    );
    Ok(())
}

/// Lock time-out of a migration: statements that queue behind it wait as long.
const LOCK_TIMEOUT: &str = "200ms";

/// Pause after a lock time-out, in which queued statements can pass.
const PAUSE: Duration = Duration::from_millis(500);

/// Time after which a migration gives up waiting for locks.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Migrates the schemas of the shop and of the job queue. Safe to repeat, to run in several processes, and to run while
/// the previous version serves.
///
/// # Errors
/// When a migration fails, cannot get its locks within ten minutes, or finds a database of an unreleased version.
pub async fn migrate(db: &PgPool) -> anyhow::Result<()> {
    migrate_to(db, i64::MAX).await
}

/// Migrates as [`migrate`], and no further than this version of the shop's schema.
///
/// # Errors
/// As [`migrate`].
pub async fn migrate_to(db: &PgPool, version: i64) -> anyhow::Result<()> {
    let mut conn = migrating(db).await?;
    let migrations = MIGRATOR.iter().filter(|one| one.version <= version);
    let migrator = Migrator::with_migrations(migrations.cloned().collect());
    apply(&mut conn, &migrator).await?;
    graphile_worker::WorkerOptions::default()
        .pg_pool(db.clone())
        .init()
        .await
        .context("preparing the job queue")?;
    open_queue_to_grants(&mut conn)
        .await
        .context("preparing the job queue for other roles")?;
    conn.close().await?;
    Ok(())
}

/// Lets grants alone decide who may use the queue's tables. graphile_worker switches row level security on without a
/// policy, which shuts out every role but the owner, whatever that role was granted. Safe to repeat.
async fn open_queue_to_grants(conn: &mut PgConnection) -> anyhow::Result<()> {
    let statements: Vec<String> = sqlx::query_scalar(
        "select format('alter table %s disable row level security', oid::regclass)
         from pg_class
         where relnamespace = 'graphile_worker'::regnamespace
           and relrowsecurity
           and pg_has_role(relowner, 'usage')
         order by relname",
    )
    .fetch_all(&mut *conn)
    .await?;
    let began = Instant::now();
    for sql in statements {
        while let Err(error) = sqlx::query(AssertSqlSafe(sql.clone()))
            .execute(&mut *conn)
            .await
        {
            if !is_lock_failure(&error) || began.elapsed() > PATIENCE {
                return Err(error.into());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// Opens a connection for migrations: without a statement time-out, but with a short lock time-out, so that they never
/// block others for long.
///
/// # Errors
/// When PostgreSQL is unreachable.
pub async fn migrating(db: &PgPool) -> anyhow::Result<PgConnection> {
    let mut conn = PgConnection::connect_with(&db.connect_options())
        .await
        .context("connecting to PostgreSQL")?;
    // Not at session start, because a pooler may reject that.
    sqlx::query(
        "select set_config('statement_timeout', '0', false), set_config('lock_timeout', $1, false)",
    )
    .bind(LOCK_TIMEOUT)
    .execute(&mut conn)
    .await?;
    Ok(conn)
}

/// Applies missing migrations, one process at a time. A migration that cannot get its lock lets others pass and
/// retries.
///
/// # Errors
/// As [`migrate`].
pub async fn apply(conn: &mut PgConnection, migrator: &Migrator) -> anyhow::Result<()> {
    let mut migrator = Migrator::with_migrations(migrator.iter().cloned().collect());
    // Ignores migrations of a newer version, so that the previous version may start beside it.
    migrator.set_ignore_missing(true);
    let began = Instant::now();
    // Polls the lock instead of waiting for it: building an index concurrently waits for all running statements, and a
    // waiting lock would be one of them. The lock ends with the connection.
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
            // A released migration never changes. Its number with another content comes from before the first release.
            Err(MigrateError::VersionMismatch(version)) => bail!(
                "this database was made by an unreleased development version of Spirit Beads (its migration {version} \
                 differs from this version's), and cannot be upgraded. To begin anew, drop the database and create an \
                 empty one; without DATABASE_URL, delete the data folder (DATA_DIR) instead. To keep the data, use the \
                 build that made it"
            ),
            result => return result.context("running the migrations"),
        }
    }
}

/// Drops and rebuilds indexes of an interrupted attempt: a concurrent build that was cut off leaves an invalid index.
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

/// Returns true when another session's lock was in the way, or a deadlock.
fn is_locked_out(error: &MigrateError) -> bool {
    let cause = match error {
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => cause,
        _ => return false,
    };
    is_lock_failure(cause)
}

fn is_lock_failure(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}
