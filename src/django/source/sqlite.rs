//! The old shop's SQLite file, read at once: a long reading makes a running shop fail with "database is locked".

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::{Row, Table};

/// Reads the tables that are asked for. Returns the names of all tables, too.
pub(super) async fn read(
    file: &Path,
    is_read: &(dyn Fn(&str) -> bool + Sync),
) -> anyhow::Result<(Vec<String>, BTreeMap<String, Table>)> {
    ensure!(file.is_file(), "there is no such file");
    let options = SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .busy_timeout(Duration::from_secs(10));
    let mut conn = SqliteConnection::connect_with(&options)
        .await
        .context("it is no SQLite database")?;
    let mut tx = conn.begin().await?;
    // A file that was cut off may still open, and read well up to where it ends.
    let whole: String = sqlx::query_scalar("pragma quick_check(1)")
        .fetch_one(&mut *tx)
        .await
        .context("the file is damaged or cut off, or it is no SQLite database")?;
    ensure!(whole == "ok", "the file is damaged or cut off: {whole}");
    let names: Vec<String> = sqlx::query_scalar(
        "select name from sqlite_master where type in ('table', 'view') order by name",
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut tables = BTreeMap::new();
    for name in names.iter().filter(|name| is_read(name)) {
        let table = read_table(&mut tx, name)
            .await
            .with_context(|| format!("reading the table {name}"))?;
        tables.insert(name.clone(), table);
    }
    tx.rollback().await?;
    conn.close().await?;
    Ok((names, tables))
}

async fn read_table(conn: &mut SqliteConnection, name: &str) -> anyhow::Result<Table> {
    let columns: Vec<(String, String)> =
        sqlx::query_as("select name, lower(type) from pragma_table_info($1)")
            .bind(name)
            .fetch_all(&mut *conn)
            .await?;
    // SQLite writes the object, because a column may hold a value of any type. Bytes have no form in JSON.
    let fields: Vec<String> = columns
        .iter()
        .map(|(column, _)| {
            let (text, quoted) = (column.replace('\'', "''"), column.replace('"', "\"\""));
            format!(
                "'{text}', case typeof(\"{quoted}\") when 'blob' then lower(hex(\"{quoted}\")) else \"{quoted}\" end"
            )
        })
        .collect();
    let sql = format!("select json_object({}) from \"{name}\"", fields.join(", "));
    let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_all(conn)
        .await?;
    let rows = rows.iter().map(|row| serde_json::from_str::<Row>(row));
    Ok(Table {
        columns: columns.into_iter().collect(),
        rows: rows.collect::<Result<_, _>>()?,
    })
}
