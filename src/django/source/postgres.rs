//! The old shop's live PostgreSQL, in one read-only snapshot.

use std::collections::BTreeMap;

use anyhow::Context;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{Row, Table};

/// Reads the tables that are asked for. Returns the names of all tables, too.
pub(super) async fn read(
    options: &PgConnectOptions,
    is_read: &(dyn Fn(&str) -> bool + Sync),
) -> anyhow::Result<(Vec<String>, BTreeMap<String, Table>)> {
    let options = options.clone().application_name("spirit-beads import");
    let mut conn = PgConnection::connect_with(&options)
        .await
        .context("connecting")?;
    let mut tx = conn
        .begin_with("begin isolation level repeatable read, read only")
        .await?;
    // Times without a zone are UTC, and all are written alike.
    sqlx::query("set local time zone 'UTC'")
        .execute(&mut *tx)
        .await?;
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "select c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod)
         from pg_class c
         join pg_attribute a on a.attrelid = c.oid
         where c.relkind in ('r', 'p', 'v', 'm', 'f')
           and pg_table_is_visible(c.oid)
           and c.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
           and a.attnum > 0
           and not a.attisdropped",
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut names: Vec<String> = columns.iter().map(|(table, ..)| table.clone()).collect();
    names.sort();
    names.dedup();
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for (table, column, kind) in columns {
        if is_read(&table) {
            let table = tables.entry(table).or_default();
            table.columns.insert(column, kind.to_lowercase());
        }
    }
    for (name, table) in &mut tables {
        // The name is one of the names that the import reads.
        let sql = AssertSqlSafe(format!("select to_jsonb(t) from {name} t"));
        let rows: Vec<sqlx::types::Json<Row>> =
            sqlx::query_scalar(sql)
                .fetch_all(&mut *tx)
                .await
                .with_context(|| format!("reading the table {name}"))?;
        table.rows = rows.into_iter().map(|row| row.0).collect();
    }
    tx.rollback().await?;
    conn.close().await?;
    Ok((names, tables))
}
