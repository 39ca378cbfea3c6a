//! SQL of the sync to Stripe.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::error::Result;
use crate::stripe::AccountId;
use crate::types::ids::ProductId;
use crate::types::money::Cents;

/// A product, possibly deleted, with the fields that the sync needs.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct SyncRow {
    pub id: ProductId,
    /// Seed of the idempotency keys.
    pub sync_key: Uuid,
    pub name: String,
    pub price: Cents,
    pub currency: String,
    pub primary_image: Option<String>,
    pub active: bool,
    pub version: i64,
    /// Incremented by changes of price or currency.
    pub price_version: i64,
    pub stripe_product_id: Option<String>,
    pub stripe_price_id: Option<String>,
    /// Amount of the Stripe price, once Stripe has confirmed it.
    pub stripe_price_amount: Option<Cents>,
    pub stripe_price_currency: Option<String>,
    /// Former prices that are still active at Stripe.
    pub stripe_retired_prices: Vec<String>,
    /// Another shop still sells it by its Stripe price.
    pub stripe_paused: bool,
}

/// Reads the current state of a product.
pub async fn find_for_sync(conn: &mut PgConnection, id: &ProductId) -> Result<Option<SyncRow>> {
    let row = sqlx::query_as(
        "select id, sync_key, name, price, currency, primary_image, is_active as active, version,
                price_version, stripe_product_id, stripe_price_id, stripe_price_amount,
                stripe_price_currency, stripe_retired_prices, stripe_paused
         from products
         where id = $1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Records the product's id at Stripe. Safe to repeat.
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

/// Records the Stripe price of a product; the former one is to be retired. If the product's price has changed in the
/// meantime, the new Stripe price itself is to be retired. Safe to repeat.
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

/// Marks recorded Stripe prices as unconfirmed. Until a sync has verified them, checkouts send the amount instead. The
/// caller has locked the rows, or changes a single one.
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

/// Records that a former price was deactivated at Stripe. Safe to repeat.
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

/// Records that Stripe has this version. Returns false if the product has changed in the meantime.
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

/// Records the error of a failed sync for the owner, and marks the price as unconfirmed.
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

/// Returns products that need a sync. Archived and deleted products need one only if Stripe knows them.
pub async fn pending_syncs(conn: &mut PgConnection) -> Result<Vec<ProductId>> {
    let ids = sqlx::query_scalar(
        "select id
         from products
         where stripe_status <> 'synced'
           and not stripe_paused
           and (is_active or stripe_product_id is not null)
         order by id",
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// The account that the ids in this database belong to, if it is known.
pub async fn find_account(conn: &mut PgConnection) -> Result<Option<AccountId>> {
    let id: Option<String> = sqlx::query_scalar("select id from stripe_account")
        .fetch_optional(conn)
        .await?;
    Ok(id.map(AccountId))
}

/// Records the account of the ids, unless another one than a sandbox's is recorded. Returns the recorded one.
pub async fn record_account(conn: &mut PgConnection, id: &AccountId) -> Result<AccountId> {
    let recorded: String = sqlx::query_scalar(
        "insert into stripe_account as known (id)
         values ($1)
         on conflict (singleton) do update
         set id = case when starts_with(known.id, $2) then excluded.id else known.id end,
             recorded_at = case when starts_with(known.id, $2) then now() else known.recorded_at end
         returning id",
    )
    .bind(&id.0)
    .bind(AccountId::SANDBOX)
    .fetch_one(conn)
    .await?;
    Ok(AccountId(recorded))
}

/// Some Stripe prices of paused products.
pub async fn list_paused_prices(conn: &mut PgConnection, limit: i64) -> Result<Vec<String>> {
    let prices = sqlx::query_scalar(
        "select stripe_price_id
         from products
         where stripe_paused
           and stripe_price_id is not null
         order by is_active desc, updated_at desc, id
         limit $1",
    )
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(prices)
}

/// Ends the pause of products that another shop sold by their Stripe price, and returns those that need a sync.
pub async fn end_pauses(conn: &mut PgConnection) -> Result<Vec<ProductId>> {
    let ids = sqlx::query_scalar(
        "with released as (
             update products
             set stripe_paused = false, stripe_status = 'pending', stripe_error = null
             where stripe_paused
             returning id, is_active, stripe_product_id
         )
         select id
         from released
         where is_active or stripe_product_id is not null
         order by id",
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// Returns products whose sync has been pending for more than an hour.
pub async fn stalled_syncs(conn: &mut PgConnection) -> Result<Vec<ProductId>> {
    let ids = sqlx::query_scalar(
        "select id
         from products
         where stripe_status = 'pending'
           and not stripe_paused
           and (is_active or stripe_product_id is not null)
           and updated_at < now() - interval '1 hour'
         order by updated_at
         limit 500",
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}
