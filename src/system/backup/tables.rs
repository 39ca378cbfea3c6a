//! SQL of backup and restore: tables, sequences and foreign keys, as the catalog of PostgreSQL lists them. A new table
//! needs no change here.

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgConnection};

use super::Migration;

/// Tables whose rows are of the moment, or secret, and not in a file: who is signed in, what forms answered, rates,
/// heartbeats, changes of the catalog by transactions of this server.
const LEFT_OUT: [&str; 7] = [
    "catalog_changes",
    "catalog_horizon",
    "form_submissions",
    "rate_limit_counters",
    "sessions",
    "sign_in_attempts",
    "worker_heartbeats",
];

/// Tables that may have rows in an empty shop, besides [`LEFT_OUT`]: migrations and a first start write them.
const OF_A_START: [&str; 4] = [
    "_sqlx_migrations",
    "settings",
    "stripe_account",
    "stripe_cursor",
];

/// A table in a file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TableData {
    pub name: String,
    pub columns: Vec<String>,
    pub rows: u64,
    /// Size of its compressed rows.
    pub size_bytes: u64,
}

impl TableData {
    /// Path in a file.
    pub fn path(&self) -> String {
        format!("{}/{}.copy.gz", super::TABLES, self.name)
    }

    /// Name and columns for `copy`, quoted.
    pub fn target(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|name| quoted(name)).collect();
        format!("{} ({})", quoted(&self.name), columns.join(", "))
    }
}

/// A sequence in a file.
#[derive(Debug, Serialize, Deserialize, sqlx::FromRow)]
pub(super) struct Sequence {
    pub name: String,
    pub last_value: i64,
    /// False if the last value is still to be given out.
    pub is_called: bool,
}

/// A foreign key, and how to make it again.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct ForeignKey {
    pub table: String,
    pub name: String,
    pub definition: String,
}

/// Quotes a name.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn joined(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    names.join(", ")
}

/// Sets what `copy` writes and reads, whatever the role's own settings are, and lifts the limits of a request.
pub(super) async fn prepare(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    for (name, value) in [
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        ("datestyle", "ISO"),
        ("intervalstyle", "postgres"),
        ("timezone", "UTC"),
        ("bytea_output", "hex"),
        ("extra_float_digits", "1"),
    ] {
        sqlx::query("select set_config($1, $2, true)")
            .bind(name)
            .bind(value)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Lists the shop's tables, without those of extensions.
pub(super) async fn names(conn: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select relname::text
         from pg_class
         where relnamespace = to_regnamespace(current_schema())
           and relkind in ('r', 'p')
           and not exists (select from pg_depend
                           where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e')
         order by relname",
    )
    .fetch_all(conn)
    .await
}

/// Lists the tables whose rows belong into a file, with the columns that are not computed.
pub(super) async fn list(conn: &mut PgConnection) -> Result<Vec<TableData>, sqlx::Error> {
    let mut tables = Vec::new();
    for name in names(conn).await? {
        if name == "_sqlx_migrations" || LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        let columns = sqlx::query_scalar(
            "select attname::text
             from pg_attribute
             where attrelid = to_regclass(quote_ident($1))
               and attnum > 0
               and not attisdropped
               and attgenerated = ''
             order by attnum",
        )
        .bind(&name)
        .fetch_all(&mut *conn)
        .await?;
        tables.push(TableData {
            name,
            columns,
            rows: 0,
            size_bytes: 0,
        });
    }
    Ok(tables)
}

/// Lists the sequences. They are of no snapshot: read after the tables, none is behind them.
pub(super) async fn sequences(conn: &mut PgConnection) -> Result<Vec<Sequence>, sqlx::Error> {
    let names: Vec<String> = sqlx::query_scalar(
        "select relname::text
         from pg_class
         where relnamespace = to_regnamespace(current_schema())
           and relkind = 'S'
         order by relname",
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut sequences = Vec::new();
    for name in names {
        let sql = format!(
            "select $1 as name, last_value, is_called from {}",
            quoted(&name)
        );
        let sequence = sqlx::query_as(AssertSqlSafe(sql)).bind(name);
        sequences.push(sequence.fetch_one(&mut *conn).await?);
    }
    Ok(sequences)
}

/// Sets a sequence.
pub(super) async fn set_sequence(
    conn: &mut PgConnection,
    sequence: &Sequence,
) -> Result<(), sqlx::Error> {
    sqlx::query("select setval(quote_ident($1)::regclass, $2, $3)")
        .bind(&sequence.name)
        .bind(sequence.last_value)
        .bind(sequence.is_called)
        .execute(conn)
        .await?;
    Ok(())
}

/// Lists the applied migrations; none for a database without the shop's tables.
pub(super) async fn migrations(conn: &mut PgConnection) -> Result<Vec<Migration>, sqlx::Error> {
    let exists: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *conn)
        .await?;
    if !exists {
        return Ok(Vec::new());
    }
    sqlx::query_as(
        "select version, encode(checksum, 'hex') as checksum
         from _sqlx_migrations
         where success
         order by version",
    )
    .fetch_all(conn)
    .await
}

/// Finds a table with rows that people or Stripe made.
pub(super) async fn first_in_use(conn: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    for name in names(conn).await? {
        let of_a_start = OF_A_START.into_iter().chain(LEFT_OUT);
        if of_a_start.into_iter().any(|known| known == name) {
            continue;
        }
        let sql = format!("select exists (select from {})", quoted(&name));
        if sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut *conn)
            .await?
        {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Keeps everybody else out of the tables until the transaction ends.
pub(super) async fn lock(conn: &mut PgConnection, tables: &[String]) -> Result<(), sqlx::Error> {
    let sql = format!("lock table {} in access exclusive mode", joined(tables));
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

/// Empties the tables.
pub(super) async fn empty(conn: &mut PgConnection, tables: &[String]) -> Result<(), sqlx::Error> {
    let sql = format!("truncate {}", joined(tables));
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

/// Switches the triggers of the tables off, apart from those of foreign keys. Rows of a file are what the triggers have
/// made of them. Returns what switches them on again, as they were.
pub(super) async fn disable_triggers(
    conn: &mut PgConnection,
    tables: &[String],
) -> Result<Vec<String>, sqlx::Error> {
    let enabling = sqlx::query_scalar(
        "select format('alter table %s enable %s trigger %I', tgrelid::regclass,
                       case tgenabled when 'A' then 'always' when 'R' then 'replica' else '' end, tgname)
         from pg_trigger
         join pg_class on pg_class.oid = tgrelid
         where not tgisinternal
           and tgenabled <> 'D'
           and relnamespace = to_regnamespace(current_schema())
           and relname = any($1)
         order by tgrelid, tgname",
    )
    .bind(tables)
    .fetch_all(&mut *conn)
    .await?;
    for table in tables {
        let sql = format!("alter table {} disable trigger user", quoted(table));
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *conn)
            .await?;
    }
    Ok(enabling)
}

/// Switches triggers on again that [`disable_triggers`] switched off.
pub(super) async fn enable_triggers(
    conn: &mut PgConnection,
    enabling: Vec<String>,
) -> Result<(), sqlx::Error> {
    for sql in enabling {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Drops the foreign keys, so that tables can be filled in any order. [`add_foreign_keys`] makes them again, and checks
/// every row.
pub(super) async fn drop_foreign_keys(
    conn: &mut PgConnection,
) -> Result<Vec<ForeignKey>, sqlx::Error> {
    let keys: Vec<ForeignKey> = sqlx::query_as(
        "select relname::text as table, conname::text as name, pg_get_constraintdef(pg_constraint.oid) as definition
         from pg_constraint
         join pg_class on pg_class.oid = conrelid
         where contype = 'f'
           and conparentid = 0
           and relnamespace = to_regnamespace(current_schema())
         order by conname, relname",
    )
    .fetch_all(&mut *conn)
    .await?;
    for key in &keys {
        let sql = format!(
            "alter table {} drop constraint {}",
            quoted(&key.table),
            quoted(&key.name)
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *conn)
            .await?;
    }
    Ok(keys)
}

/// Makes foreign keys again, and checks every row.
pub(super) async fn add_foreign_keys(
    conn: &mut PgConnection,
    keys: &[ForeignKey],
) -> Result<(), sqlx::Error> {
    for key in keys {
        let sql = format!(
            "alter table {} add constraint {} {}",
            quoted(&key.table),
            quoted(&key.name),
            key.definition
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}
