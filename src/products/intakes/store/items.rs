//! SQL of items, and of the catalog as far as they follow it.

use sqlx::PgConnection;

use crate::error::Result;
use crate::products::intakes::Item;
use crate::types::ids::{IntakeId, PieceId, ProductId};
use crate::types::money::Cents;

/// Adds the item of a front. One that is there stays.
pub(in crate::products::intakes) async fn insert_item(
    conn: &mut PgConnection,
    intake: IntakeId,
    item: &Item,
) -> Result<()> {
    sqlx::query(
        "insert into intake_items (piece_id, intake_id, name, category_id, price)
         values ($1, $2, $3, $4, $5)
         on conflict (piece_id) do nothing",
    )
    .bind(item.piece_id)
    .bind(intake)
    .bind(&item.name)
    .bind(item.category_id)
    .bind(item.price)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes backs away from the items of an intake that have them.
pub(in crate::products::intakes) async fn free_backs(
    conn: &mut PgConnection,
    intake: IntakeId,
    backs: &[PieceId],
) -> Result<()> {
    sqlx::query(
        "update intake_items
         set back_id = null, is_sure = false, is_paired_by_hand = false
         where intake_id = $1
           and back_id = any($2)",
    )
    .bind(intake)
    .bind(backs)
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives an item its back, which no other item has.
pub(in crate::products::intakes) async fn set_back(
    conn: &mut PgConnection,
    front: PieceId,
    back: Option<PieceId>,
    (is_sure, is_paired_by_hand): (bool, bool),
) -> Result<()> {
    sqlx::query(
        "update intake_items
         set back_id = $2, is_sure = $3, is_paired_by_hand = $4
         where piece_id = $1",
    )
    .bind(front)
    .bind(back)
    .bind(is_sure)
    .bind(is_paired_by_hand)
    .execute(conn)
    .await?;
    Ok(())
}

/// Saves name, category and price of an item.
pub(in crate::products::intakes) async fn save_item(
    conn: &mut PgConnection,
    item: &Item,
) -> Result<()> {
    sqlx::query(
        "update intake_items
         set name = $2, category_id = $3, price = $4
         where piece_id = $1",
    )
    .bind(item.piece_id)
    .bind(&item.name)
    .bind(item.category_id)
    .bind(item.price)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records the product that was made of an item, or that there is none any more.
pub(in crate::products::intakes) async fn set_product(
    conn: &mut PgConnection,
    front: PieceId,
    product: Option<(&ProductId, i64)>,
) -> Result<()> {
    sqlx::query(
        "update intake_items
         set product_id = $2, product_version = $3
         where piece_id = $1",
    )
    .bind(front)
    .bind(product.map(|(id, _)| id))
    .bind(product.map(|(_, version)| version))
    .execute(conn)
    .await?;
    Ok(())
}

/// Reports whether a product is in any order, also in one that was never paid.
pub(in crate::products::intakes) async fn was_ordered(
    conn: &mut PgConnection,
    product: &ProductId,
) -> Result<bool> {
    let was_ordered =
        sqlx::query_scalar("select exists (select from order_lines where product_id = $1)")
            .bind(product)
            .fetch_one(conn)
            .await?;
    Ok(was_ordered)
}

/// The names of all products, deleted ones included, and those in open intakes.
pub(in crate::products::intakes) async fn taken_names(
    conn: &mut PgConnection,
) -> Result<Vec<String>> {
    let names = sqlx::query_scalar(
        "select name from products
         union
         select t.name
         from intake_items t
         join intakes i on i.id = t.intake_id
         where i.status = 'open'",
    )
    .fetch_all(conn)
    .await?;
    Ok(names)
}

/// The category that products of earlier intakes with this pattern and type have most often.
pub(in crate::products::intakes) async fn usual_category(
    conn: &mut PgConnection,
    pattern: &str,
    lighter_type: Option<i16>,
) -> Result<Option<i64>> {
    let category = sqlx::query_scalar(
        "select p.category_id
         from intake_items t
         join intake_pieces front on front.id = t.piece_id
         join products p on p.id = t.product_id
         where front.pattern = $1
           and ($2::smallint is null or p.lighter_type = $2)
           and p.category_id is not null
           and p.deleted_at is null
         group by p.category_id
         order by count(*) desc, p.category_id
         limit 1",
    )
    .bind(pattern)
    .bind(lighter_type)
    .fetch_optional(conn)
    .await?;
    Ok(category)
}

/// Prices of the latest products of a type, and of a category if one is given, latest first.
pub(in crate::products::intakes) async fn latest_prices(
    conn: &mut PgConnection,
    lighter_type: i16,
    category: Option<i64>,
    currency: &str,
) -> Result<Vec<Cents>> {
    let prices = sqlx::query_scalar(
        "select price
         from products
         where lighter_type = $1
           and currency = $2
           and ($3::bigint is null or category_id = $3)
           and deleted_at is null
         order by created_at desc, id desc
         limit 20",
    )
    .bind(lighter_type)
    .bind(currency)
    .bind(category)
    .fetch_all(conn)
    .await?;
    Ok(prices)
}
