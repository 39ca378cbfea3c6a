//! Stock levels: pieces that can be sold, and products that run out.

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::db::like;
use crate::error::Result;
use crate::products::store::on_sale;
use crate::types::ids::ProductId;
use crate::types::money::Cents;

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

/// Returns products with available pieces, those on sale first. Drafts, archived and sold-out products are included, because
/// they may be sold by hand. `ids` selects products; `search` matches text in name, category or description.
pub async fn on_hand(
    conn: &mut PgConnection,
    ids: Option<&[ProductId]>,
    search: Option<&str>,
    limit: i64,
) -> Result<Vec<OnHand>> {
    let products = sqlx::query_as(concat!(
        "select id, name, primary_image, price, currency, on_hand - reserved as available
         from products p
         where deleted_at is null
           and on_hand > reserved
           and ($1::text[] is null or id = any($1))
           and ($2::text is null or search_text like search_fold($2) or id = $3 or slug = $3)
         order by ",
        on_sale!(),
        " desc, name, id
         limit $4"
    ))
    .bind(ids)
    .bind(search.map(like))
    .bind(search)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(products)
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
    let products = sqlx::query_as(concat!(
        "select p.id, p.name, p.primary_image, p.on_hand - p.reserved as available
         from products p
         where ",
        on_sale!(),
        "
           and not p.is_sold_out
           and p.on_hand - p.reserved <= $1
           and p.peak_on_hand > $1
         order by available, p.name, p.id
         limit $2"
    ))
    .bind(line)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(products)
}
