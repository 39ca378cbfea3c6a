//! Holds for pending orders, and the locks that every change of stock needs.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use crate::error::Result;
use crate::products::store::on_sale;
use crate::types::ids::ProductId;
use crate::types::money::Cents;

/// A locked product with the fields that placing an order needs.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct LockedProduct {
    pub id: ProductId,
    pub name: String,
    pub price: Cents,
    pub currency: String,
    pub primary_image: Option<String>,
    pub is_sold_out: bool,
    pub is_on_sale: bool,
    pub is_deleted: bool,
    pub on_hand: i32,
    pub reserved: i32,
    /// The Stripe price to charge. `None` while the sync of the current price is pending.
    pub current_stripe_price: Option<String>,
}

impl LockedProduct {
    /// Returns the pieces that are neither sold nor held.
    pub fn available(&self) -> i32 {
        self.on_hand - self.reserved
    }
}

/// Locks the products of `ids` in id order until the transaction ends. Missing products are omitted.
pub async fn lock(
    conn: &mut PgConnection,
    ids: &[ProductId],
) -> Result<BTreeMap<ProductId, LockedProduct>> {
    let rows: Vec<LockedProduct> = sqlx::query_as(concat!(
        "select id, name, price, currency, primary_image, is_sold_out, ",
        on_sale!(),
        " as is_on_sale,
                deleted_at is not null as is_deleted, on_hand, reserved,
                case when stripe_price_amount = price and stripe_price_currency = currency
                     then stripe_price_id end as current_stripe_price
         from products p
         where id = any($1)
         order by id
         for update"
    ))
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
    change_counts(conn, lines, 0, 1).await
}

/// Releases pieces that were held for an order.
pub async fn release(conn: &mut PgConnection, lines: &[(ProductId, i32)]) -> Result<()> {
    change_counts(conn, lines, 0, -1).await
}

/// Changes both counts of each line's product by its quantity times the given signs. Fails if a row is missing.
pub async fn change_counts(
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
