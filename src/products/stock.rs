//! Stock: pieces on hand, pieces held for pending orders, and the ledger that explains every change (P1, P5).
//!
//! All functions work on rows that the caller has locked with [`lock`], which locks in id order: two carts with the
//! same pieces wait for each other and never deadlock. CHECK constraints enforce the invariants in the database as
//! well.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::db::like;
use crate::error::{Error, Result};
use crate::types::ids::{OrderId, ProductId};
use crate::types::money::Cents;

/// A locked product with the fields that placing an order needs.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Lock {
    pub id: ProductId,
    pub name: String,
    pub price: Cents,
    pub currency: String,
    pub primary_image: Option<String>,
    pub is_sold_out: bool,
    pub is_active: bool,
    pub is_deleted: bool,
    pub on_hand: i32,
    pub reserved: i32,
    /// The Stripe price to charge. `None` while the sync of the current price is pending.
    pub current_stripe_price: Option<String>,
}

impl Lock {
    /// Returns the pieces that are neither sold nor held.
    pub fn available(&self) -> i32 {
        self.on_hand - self.reserved
    }
}

/// Reason for a change of `on_hand`. Only [`take`] and [`take_held`] record sales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Initial,
    Received,
    Made,
    Correction,
    Damaged,
    Lost,
    Returned,
    Sale,
    Import,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Initial => "initial",
            Reason::Received => "received",
            Reason::Made => "made",
            Reason::Correction => "correction",
            Reason::Damaged => "damaged",
            Reason::Lost => "lost",
            Reason::Returned => "returned",
            Reason::Sale => "sale",
            Reason::Import => "import",
        }
    }
}

/// Locks the products of `ids` in id order until the transaction ends. Missing products are omitted.
pub async fn lock(conn: &mut PgConnection, ids: &[ProductId]) -> Result<BTreeMap<ProductId, Lock>> {
    let rows: Vec<Lock> = sqlx::query_as(
        "select id, name, price, currency, primary_image, is_sold_out, is_active,
                deleted_at is not null as is_deleted, on_hand, reserved,
                case when stripe_price_amount = price and stripe_price_currency = currency
                     then stripe_price_id end as current_stripe_price
         from products
         where id = any($1)
         order by id
         for update",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id.clone(), row)).collect())
}

/// Holds pieces for a pending order. The caller has locked the rows and checked that enough are available.
///
/// # Errors
/// Internal, with nothing held, if there are not enough: the CHECK constraint is the last resort.
pub async fn reserve(conn: &mut PgConnection, lines: &[(ProductId, i32)]) -> Result<()> {
    change(conn, lines, 0, 1).await
}

/// Releases pieces that were held for an order.
pub async fn release(conn: &mut PgConnection, lines: &[(ProductId, i32)]) -> Result<()> {
    change(conn, lines, 0, -1).await
}

/// Sells pieces that were held for the order: decreases the hold and the stock, and writes the ledger.
pub async fn take_held(
    conn: &mut PgConnection,
    order: OrderId,
    lines: &[(ProductId, i32)],
    actor: &str,
) -> Result<()> {
    change(conn, lines, -1, -1).await?;
    record(conn, lines, -1, Reason::Sale, Some(order), "", actor).await
}

/// Sells pieces that were not held. The caller has locked the rows and checked that enough are available.
pub async fn take(
    conn: &mut PgConnection,
    order: OrderId,
    lines: &[(ProductId, i32)],
    actor: &str,
) -> Result<()> {
    change(conn, lines, -1, 0).await?;
    record(conn, lines, -1, Reason::Sale, Some(order), "", actor).await
}

/// Restocks pieces of an order. The caller has locked the rows and checked that so many were sold and not returned.
pub(super) async fn put_back(
    conn: &mut PgConnection,
    order: OrderId,
    lines: &[(ProductId, i32)],
    actor: &str,
) -> Result<()> {
    change(conn, lines, 1, 0).await?;
    record(conn, lines, 1, Reason::Returned, Some(order), "", actor).await
}

/// A product with available pieces that can be sold by hand.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OnHand {
    pub id: ProductId,
    pub name: String,
    pub primary_image: Option<String>,
    pub price: Cents,
    pub currency: String,
    pub available: i32,
}

/// Returns products with available pieces, those on sale first. Archived and sold-out products are included, because
/// they may be sold by hand. `id` selects one product; `search` matches text in name, category or description.
pub async fn on_hand(
    conn: &mut PgConnection,
    id: Option<&ProductId>,
    search: Option<&str>,
    limit: i64,
) -> Result<Vec<OnHand>> {
    let products = sqlx::query_as(
        "select id, name, primary_image, price, currency, on_hand - reserved as available
         from products
         where deleted_at is null
           and on_hand > reserved
           and ($1::text is null or id = $1)
           and ($2::text is null or search_text like search_fold($2) or id = $3 or slug = $3)
         order by is_active desc, name, id
         limit $4",
    )
    .bind(id)
    .bind(search.map(like))
    .bind(search)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(products)
}

/// Changes `on_hand` by `delta`, with a reason. Returns the new values of `on_hand` and `reserved`. The caller has
/// locked or just inserted the row.
///
/// # Errors
/// 409 `stock_is_held` if fewer pieces would be left than pending orders hold.
pub async fn adjust(
    conn: &mut PgConnection,
    product: &ProductId,
    delta: i32,
    reason: Reason,
    note: &str,
    actor: &str,
) -> Result<(i32, i32)> {
    let changed: Option<(i32, i32)> = sqlx::query_as(
        "update products
         set on_hand = on_hand + $2
         where id = $1
           and on_hand::bigint + $2 between reserved and 2147483647
         returning on_hand, reserved",
    )
    .bind(product)
    .bind(delta)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(changed) = changed else {
        return Err(Error::Conflict(
            "stock_is_held",
            "The stock cannot go below the pieces held by pending orders, or below zero."
                .to_owned(),
        ));
    };
    let line = [(product.clone(), delta)];
    record(conn, &line, 1, reason, None, note, actor).await?;
    Ok(changed)
}

/// Performs [`adjust`] for many products at once. The caller has locked the rows and leaves each with at least the held
/// pieces.
pub async fn adjust_many(
    conn: &mut PgConnection,
    deltas: &[(ProductId, i32)],
    reason: Reason,
    actor: &str,
) -> Result<()> {
    change(conn, deltas, 1, 0).await?;
    record(conn, deltas, 1, reason, None, "", actor).await
}

/// Changes both counts of each line's product by its quantity times the given signs. Fails if a row is missing.
async fn change(
    conn: &mut PgConnection,
    lines: &[(ProductId, i32)],
    on_hand: i32,
    reserved: i32,
) -> Result<()> {
    let (ids, quantities): (Vec<&ProductId>, Vec<i32>) =
        lines.iter().map(|(id, quantity)| (id, *quantity)).unzip();
    let done = sqlx::query(
        "update products
         set on_hand = on_hand + $3 * line.quantity,
             reserved = reserved + $4 * line.quantity
         from unnest($1::text[], $2::integer[]) as line (id, quantity)
         where products.id = line.id",
    )
    .bind(ids)
    .bind(quantities)
    .bind(on_hand)
    .bind(reserved)
    .execute(conn)
    .await?;
    if done.rows_affected() != lines.len() as u64 {
        let (changed, all) = (done.rows_affected(), lines.len());
        return Err(anyhow::anyhow!("{changed} of {all} products changed").into());
    }
    Ok(())
}

/// Writes the ledger: the quantity of each line times `sign`.
async fn record(
    conn: &mut PgConnection,
    lines: &[(ProductId, i32)],
    sign: i32,
    reason: Reason,
    order: Option<OrderId>,
    note: &str,
    actor: &str,
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
    .bind(reason.as_str())
    .bind(order)
    .bind(note)
    .bind(actor)
    .execute(conn)
    .await?;
    Ok(())
}

/// A product with few available pieces.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct RunningOut {
    pub id: ProductId,
    pub name: String,
    pub primary_image: Option<String>,
    pub available: i32,
}

/// Returns products on sale with at most `line` available pieces, the fewest first. Products that never had more are
/// one of a kind: they sell out instead of running low, so they are omitted.
pub async fn running_out(
    conn: &mut PgConnection,
    line: i32,
    limit: i64,
) -> Result<Vec<RunningOut>> {
    let products = sqlx::query_as(
        "select p.id, p.name, p.primary_image, p.on_hand - p.reserved as available
         from products p
         where p.is_active
           and not p.is_sold_out
           and p.on_hand - p.reserved <= $1
           and p.peak_on_hand > $1
         order by available, p.name, p.id
         limit $2",
    )
    .bind(line)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(products)
}
