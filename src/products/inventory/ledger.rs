//! The ledger of stock: an entry for every change of pieces on hand.

use sqlx::{PgConnection, Row};

use super::StockReason;
use crate::error::{Error, Result};
use crate::products::paging::PageRequest;
use crate::products::store::{id_or_slug, present};
use crate::products::views::MovementView;
use crate::types::ids::{OrderId, ProductId};

/// Cause of a change of stock, for the ledger.
#[derive(Clone, Copy, Debug)]
pub struct StockCause<'a> {
    pub reason: StockReason,
    /// The order that the pieces belong to.
    pub order: Option<OrderId>,
    pub note: &'a str,
    /// Author of the change, such as `token:NAME` or `stripe`.
    pub actor: &'a str,
}

impl<'a> StockCause<'a> {
    /// Creates a cause without order and note.
    pub fn new(reason: StockReason, actor: &'a str) -> StockCause<'a> {
        StockCause {
            reason,
            order: None,
            note: "",
            actor,
        }
    }
}

/// Writes the ledger: the quantity of each line times `sign`.
pub async fn record(
    conn: &mut PgConnection,
    lines: &[(ProductId, i32)],
    sign: i32,
    cause: StockCause<'_>,
) -> Result<()> {
    let (ids, deltas): (Vec<&ProductId>, Vec<i32>) = lines
        .iter()
        .map(|(id, quantity)| (id, sign * quantity))
        .unzip();
    sqlx::query(
        "insert into stock_movements (product_id, delta, reason, order_id, note, actor)
         select line.id, line.delta, $3, $4, $5, $6
         from unnest($1::text[], $2::integer[]) as line (id, delta)",
    )
    .bind(ids)
    .bind(deltas)
    .bind(cause.reason.as_str())
    .bind(cause.order)
    .bind(cause.note)
    .bind(cause.actor)
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns a page of a product's ledger, newest first, and its total length.
///
/// # Errors
/// 404.
pub async fn movements(
    conn: &mut PgConnection,
    id: &str,
    page: PageRequest,
) -> Result<(i64, Vec<MovementView>)> {
    let rows = sqlx::query(
        "select found.total, m.*
         from (
             select (select count(*) from stock_movements where product_id = p.id) as total
             from products p
             where p.id = $1
               and p.deleted_at is null
         ) as found
         left join lateral (
             select id, delta, reason, order_id, note, actor, created_at
             from stock_movements
             where product_id = $1
             order by id desc
             limit $2
             offset coalesce($3, (found.total - 1) / $2 * $2)
         ) as m on true
         order by m.id desc",
    )
    .bind(id_or_slug(id)?)
    .bind(page.size)
    .bind(page.offset())
    .fetch_all(conn)
    .await?;
    let first = rows.first().ok_or(Error::NotFound("Product"))?;
    Ok((first.try_get("total")?, present(&rows, "id")?))
}

/// Returns up to `limit` of a product's latest stock movements, and their total number.
///
/// # Errors
/// 404.
pub async fn latest_movements(
    conn: &mut PgConnection,
    id: &ProductId,
    limit: i64,
) -> Result<(i64, Vec<MovementView>)> {
    movements(conn, &id.0, PageRequest::at(1, limit)).await
}

/// A product whose counts do not match the ledger or the holds of pending orders (P5).
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Discrepancy {
    pub product_id: ProductId,
    pub on_hand: i32,
    pub ledger_sum: i64,
    pub reserved: i32,
    /// Sum of the holds of pending orders.
    pub held: i64,
}

/// Returns products whose counts do not match; none if the stock is consistent.
pub async fn check_ledger(conn: &mut PgConnection) -> Result<Vec<Discrepancy>> {
    let found = sqlx::query_as(
        "select p.id as product_id, p.on_hand, coalesce(m.sum, 0) as ledger_sum, p.reserved,
                coalesce(h.sum, 0) as held
         from products p
         left join (
             select product_id, sum(delta) as sum
             from stock_movements
             group by product_id
         ) as m on m.product_id = p.id
         left join (
             select l.product_id, sum(l.quantity) as sum
             from order_lines l
             join orders o on o.id = l.order_id
             where o.status = 'pending'
             group by l.product_id
         ) as h on h.product_id = p.id
         where p.on_hand <> coalesce(m.sum, 0)
            or p.reserved <> coalesce(h.sum, 0)
         order by p.id",
    )
    .fetch_all(conn)
    .await?;
    Ok(found)
}
