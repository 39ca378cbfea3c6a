//! What the sync with Stripe reads of a product and writes back.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::error::Result;
use crate::ids::ProductId;
use crate::money::Cents;

/// A product, deleted ones too, as the sync needs it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct SyncRow {
    pub id: ProductId,
    /// Idempotency keys derive from it.
    pub sync_key: Uuid,
    pub name: String,
    pub price: Cents,
    pub currency: String,
    pub primary_image: Option<String>,
    pub active: bool,
    pub version: i64,
    /// Counts the changes of price and currency.
    pub price_version: i64,
    pub stripe_product_id: Option<String>,
    pub stripe_price_id: Option<String>,
    /// What the price charges, once Stripe has said so.
    pub stripe_price_amount: Option<Cents>,
    pub stripe_price_currency: Option<String>,
    /// Former prices, not yet switched off at Stripe.
    pub stripe_retired_prices: Vec<String>,
}

/// The product as it stands.
pub async fn find_for_sync(conn: &mut PgConnection, id: &ProductId) -> Result<Option<SyncRow>> {
    let row = sqlx::query_as(
        "select id, sync_key, name, price, currency, primary_image, is_active as active, version,
                price_version, stripe_product_id, stripe_price_id, stripe_price_amount,
                stripe_price_currency, stripe_retired_prices
         from products
         where id = $1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Records which product at Stripe is ours. Safe to repeat.
pub async fn record_stripe_product(
    conn: &mut PgConnection,
    id: &ProductId,
    stripe_product_id: &str,
) -> Result<()> {
    sqlx::query("update products set stripe_product_id = $2 where id = $1")
        .bind(id)
        .bind(stripe_product_id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Records the price by which the product is charged; the former one is to be retired. One made for a price that has
/// changed meanwhile is to be retired itself. Safe to repeat.
pub async fn record_price(conn: &mut PgConnection, row: &SyncRow, price_id: &str) -> Result<()> {
    sqlx::query(
        "update products
         set stripe_retired_prices = case
                 when price_version <> $5 then array_append(array_remove(stripe_retired_prices, $2), $2)
                 when stripe_price_id <> $2
                      then array_remove(array_append(stripe_retired_prices, stripe_price_id), $2)
                 else array_remove(stripe_retired_prices, $2) end,
             stripe_price_id = case when price_version = $5 then $2 else stripe_price_id end,
             stripe_price_amount = case when price_version = $5 then $3 else stripe_price_amount end,
             stripe_price_currency = case when price_version = $5 then $4 else stripe_price_currency end
         where id = $1",
    )
    .bind(&row.id)
    .bind(price_id)
    .bind(row.price)
    .bind(&row.currency)
    .bind(row.price_version)
    .execute(conn)
    .await?;
    Ok(())
}

/// Says that Stripe may not have the prices that we recorded: until the sync has asked, checkouts name the amount
/// instead. The caller has the rows locked, or changes one alone.
pub async fn doubt_prices(conn: &mut PgConnection, ids: &[ProductId]) -> Result<()> {
    sqlx::query(
        "update products
         set stripe_price_amount = null,
             stripe_price_currency = null,
             price_version = price_version + 1,
             stripe_status = 'pending',
             stripe_error = null
         where id = any($1)",
    )
    .bind(ids)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that a former price has been switched off at Stripe. Safe to repeat.
pub async fn record_retired(conn: &mut PgConnection, id: &ProductId, price_id: &str) -> Result<()> {
    sqlx::query(
        "update products
         set stripe_retired_prices = array_remove(stripe_retired_prices, $2)
         where id = $1",
    )
    .bind(id)
    .bind(price_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that Stripe is in line with this version of ours. False: ours has changed meanwhile.
pub async fn record_synced(conn: &mut PgConnection, id: &ProductId, version: i64) -> Result<bool> {
    let done = sqlx::query(
        "update products
         set stripe_status = 'synced', stripe_error = null
         where id = $1
           and version = $2",
    )
    .bind(id)
    .bind(version)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Records why the sync of this version failed, for the owner to read, and doubts its price.
pub async fn record_sync_error(
    conn: &mut PgConnection,
    id: &ProductId,
    version: i64,
    message: &str,
) -> Result<()> {
    sqlx::query(
        "update products
         set stripe_status = 'error', stripe_error = $3,
             stripe_price_amount = null, stripe_price_currency = null, price_version = price_version + 1
         where id = $1
           and version = $2",
    )
    .bind(id)
    .bind(version)
    .bind(message)
    .execute(conn)
    .await?;
    Ok(())
}

/// The products that Stripe has to hear of: archived and deleted ones only if it knows them.
pub async fn pending_syncs(conn: &mut PgConnection) -> Result<Vec<ProductId>> {
    let ids = sqlx::query_scalar(
        "select id
         from products
         where stripe_status <> 'synced'
           and (is_active or stripe_product_id is not null)
         order by id",
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// Products whose sync was queued long ago and has not come about, however often its job was tried.
pub async fn stalled_syncs(conn: &mut PgConnection) -> Result<Vec<ProductId>> {
    let ids = sqlx::query_scalar(
        "select id
         from products
         where stripe_status = 'pending'
           and (is_active or stripe_product_id is not null)
           and updated_at < now() - interval '1 hour'
         order by updated_at
         limit 500",
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}
