//! Bulk writing, and the record of what was written.

use serde::Serialize;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection};

use super::decide::wanted;
use super::{Applied, Plan};
use crate::django::hashes::{self, RowKind};
use crate::error::Result;

/// Rows written by one statement.
const AT_ONCE: usize = 1_000;

/// Runs a statement whose `$1` is a JSON list of rows.
pub(super) async fn write<T: Serialize>(
    conn: &mut PgConnection,
    sql: &'static str,
    rows: &[T],
) -> Result<u64> {
    let mut written = 0;
    for some in rows.chunks(AT_ONCE) {
        let done = sqlx::query(sql)
            .bind(Json(some))
            .execute(&mut *conn)
            .await?;
        written += done.rows_affected();
    }
    Ok(written)
}

/// The record of a row.
#[derive(Serialize)]
struct Record {
    id: String,
    made_id: Option<String>,
    wanted: String,
    stock: Option<i32>,
    status: Option<&'static str>,
    /// Our row is another than the old shop's, and is not to be taken for the import's.
    is_ours: bool,
}

/// Records all rows. Those that are as they were are not written.
pub(super) async fn record_all(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    applied: &Applied,
) -> Result<()> {
    let target = plan.target;
    let record = |kind: RowKind, id: String, wanted: String| Record {
        is_ours: applied.ours.contains(&(kind, id.clone())),
        id,
        made_id: None,
        wanted,
        stock: None,
        status: None,
    };
    let categories = target
        .categories
        .iter()
        .map(|row| record(RowKind::Category, row.id.to_string(), wanted(row)));
    record_kind(conn, RowKind::Category, categories.collect()).await?;
    let users = target.users.iter().map(|row| Record {
        made_id: Some(row.id.to_string()),
        ..record(RowKind::User, row.old_id.to_string(), wanted(row))
    });
    record_kind(conn, RowKind::User, users.collect()).await?;
    let products = target.products.iter().map(|row| Record {
        stock: Some(row.stock),
        ..record(RowKind::Product, row.id.clone(), wanted(row))
    });
    record_kind(conn, RowKind::Product, products.collect()).await?;
    let orders = target.orders.iter().map(|row| Record {
        status: Some(row.status.as_str()),
        ..record(RowKind::Order, row.id.to_string(), wanted(row))
    });
    record_kind(conn, RowKind::Order, orders.collect()).await?;
    let custom_orders = target.custom_orders.iter();
    let custom_orders =
        custom_orders.map(|row| record(RowKind::CustomOrder, row.id.to_string(), wanted(row)));
    record_kind(conn, RowKind::CustomOrder, custom_orders.collect()).await
}

async fn record_kind(conn: &mut PgConnection, kind: RowKind, records: Vec<Record>) -> Result<()> {
    // Of a row that is ours, only what the old shop counts is recorded: it stays a conflict until both are alike.
    let sql = format!(
        "insert into import_rows as i (kind, id, made_id, wanted, made, stock, status)
         select $1, r.id, r.made_id, r.wanted, ours.hash, r.stock, r.status
         from jsonb_to_recordset($2)
              as r (id text, made_id text, wanted text, stock integer, status text, is_ours boolean)
         join ({}) as ours on ours.id = coalesce(r.made_id, r.id)
         where not r.is_ours
            or exists (select from import_rows known where known.kind = $1 and known.id = r.id)
         on conflict (kind, id) do update
         set wanted = case when $3 @> array[i.id] then i.wanted else excluded.wanted end,
             made = case when $3 @> array[i.id] then i.made else excluded.made end,
             stock = excluded.stock,
             status = excluded.status
         where (i.stock, i.status) is distinct from (excluded.stock, excluded.status)
            or ((i.wanted, i.made) is distinct from (excluded.wanted, excluded.made) and not $3 @> array[i.id])",
        hashes::of(kind)
    );
    let ours: Vec<&str> = records
        .iter()
        .filter(|record| record.is_ours)
        .map(|record| record.id.as_str())
        .collect();
    for some in records.chunks(AT_ONCE) {
        // The text is made of constants.
        sqlx::query(AssertSqlSafe(sql.as_str()))
            .bind(kind.as_str())
            .bind(Json(some))
            .bind(&ours)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}
