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

/// Records the price by which the product is charged; the former one is to be retired. Safe to repeat.
pub async fn record_price(
    conn: &mut PgConnection,
    id: &ProductId,
    price_id: &str,
    amount: Cents,
    currency: &str,
) -> Result<()> {
    sqlx::query(
        "update products
         set stripe_retired_prices = array_remove(
                 case when stripe_price_id <> $2
                      then array_append(stripe_retired_prices, stripe_price_id)
                      else stripe_retired_prices end,
                 $2),
             stripe_price_id = $2,
             stripe_price_amount = $3,
             stripe_price_currency = $4
         where id = $1",
    )
    .bind(id)
    .bind(price_id)
    .bind(amount)
    .bind(currency)
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

/// Records Stripe's product, and that it is in line if ours is still of this version; a later one has its own job.
pub async fn record_synced(
    conn: &mut PgConnection,
    id: &ProductId,
    stripe_product_id: &str,
    version: i64,
) -> Result<()> {
    sqlx::query(
        "update products
         set stripe_product_id = $2,
             stripe_status = case when version = $3 then 'synced' else stripe_status end,
             stripe_error = case when version = $3 then null else stripe_error end
         where id = $1",
    )
    .bind(id)
    .bind(stripe_product_id)
    .bind(version)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records why the sync failed, for the shopkeeper to read.
pub async fn record_sync_error(
    conn: &mut PgConnection,
    id: &ProductId,
    message: &str,
) -> Result<()> {
    sqlx::query("update products set stripe_status = 'error', stripe_error = $2 where id = $1")
        .bind(id)
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
