//! SQL of the comparison with the catalog.

use sqlx::PgConnection;

use crate::error::Result;
use crate::products::categories::Category;
use crate::types::ids::{ImageId, ProductId};
use crate::types::money::Cents;

/// A product of the catalog, as far as it is compared.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct KnownProduct {
    pub id: ProductId,
    pub name: String,
    pub category_id: Option<i64>,
    pub lighter_type: i16,
    pub price: Cents,
    pub images: Vec<ImageId>,
}

/// Serializes imports until the transaction ends, so that the second one finds what the first one made.
pub async fn wait_for_others(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('lighters', 0))")
        .execute(conn)
        .await?;
    Ok(())
}

/// All products that are not deleted, oldest first.
pub async fn products(conn: &mut PgConnection) -> Result<Vec<KnownProduct>> {
    let products = sqlx::query_as(
        "select p.id, p.name, p.category_id, p.lighter_type, p.price,
                array(select i.image_id from product_images i where i.product_id = p.id order by i.position) as images
         from products p
         where p.deleted_at is null
         order by p.created_at, p.id",
    )
    .fetch_all(conn)
    .await?;
    Ok(products)
}

/// All categories.
pub async fn categories(conn: &mut PgConnection) -> Result<Vec<Category>> {
    let categories =
        sqlx::query_as("select id, name, slug, description, position from categories order by id")
            .fetch_all(conn)
            .await?;
    Ok(categories)
}
