//! SQL of products. The SQL of stock and of the sync to Stripe is in separate files.

use std::collections::BTreeMap;

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row};

use super::Product;
use super::slugs::is_slug;
use super::views::{ListedProduct, lighter_type_display};
use crate::error::{Error, Result};
use crate::types::ids::{ImageId, ProductId};
use crate::types::money::Currency;

/// Selects a product's images, in order, in the same round trip as the product.
macro_rules! images_column {
    () => {
        "(select coalesce(json_agg(json_build_object('id', i.id, 'width', i.width, 'height', i.height,
                                                     'thumbhash', i.thumbhash)
                                   order by pp.position), '[]')
          from product_images pp
          join images i on i.id = pp.image_id
          where pp.product_id = p.id) as images"
    };
}

/// The condition of products for sale, as in [`Product::is_on_sale`]: to the second, whether or not a job has run.
macro_rules! on_sale {
    () => {
        "(p.is_active and (not p.is_draft or coalesce(p.on_sale_at <= now(), false)))"
    };
}

/// Columns of a [`Product`].
macro_rules! product_columns {
    () => {
        concat!("p.id, p.name, p.slug, p.lighter_type, p.price, p.currency, p.category_id,
         c.name as category_name, p.description, p.primary_image, p.secondary_image,
         p.is_sold_out, p.is_active, p.is_draft, p.on_sale_at, p.on_hand, p.reserved, p.weight_ounces::text as weight_ounces,
         p.version, p.stripe_product_id, p.stripe_price_id, p.stripe_status, p.stripe_error,
         p.created_at, p.updated_at, ", images_column!())
    };
}

/// Columns of a [`ListedProduct`].
macro_rules! listed_columns {
    () => {
        concat!(
            "p.id, p.name, p.slug, p.lighter_type, p.price, p.category_id, c.name as category_name,
         p.is_sold_out, p.on_hand, p.reserved, p.primary_image, p.secondary_image, p.currency, ",
            images_column!()
        )
    };
}

pub(super) use {images_column, listed_columns, on_sale, product_columns};

/// Returns the rows that a left join found; `key` is null where it found none.
pub(super) fn present<T: for<'r> FromRow<'r, PgRow>>(rows: &[PgRow], key: &str) -> Result<Vec<T>> {
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        if row.try_get::<Option<i64>, _>(key)?.is_some() {
            found.push(T::from_row(row)?);
        }
    }
    Ok(found)
}

/// Finds a product by id, or else by slug, on sale or not.
///
/// # Errors
/// 404.
pub async fn find(conn: &mut PgConnection, key: &str) -> Result<Product> {
    select(conn, key, true).await
}

/// Finds a product for sale by id, or else by slug.
///
/// # Errors
/// 404.
pub async fn find_for_sale(conn: &mut PgConnection, key: &str) -> Result<Product> {
    select(conn, key, false).await
}

async fn select(conn: &mut PgConnection, key: &str, with_hidden: bool) -> Result<Product> {
    let product = sqlx::query_as(concat!(
        "select ",
        product_columns!(),
        "
         from products p
         left join categories c on c.id = p.category_id
         where (p.id = $1 or p.slug = $1)
           and p.deleted_at is null
           and ($2 or ",
        on_sale!(),
        ")
         order by p.id = $1 desc
         limit 1"
    ))
    .bind(id_or_slug(key)?)
    .bind(with_hidden)
    .fetch_optional(conn)
    .await?;
    product.ok_or(Error::NotFound("Product"))
}

/// Checks that a text can be an id or a slug: PostgreSQL refuses others, such as texts with NUL characters.
pub fn id_or_slug(key: &str) -> Result<&str> {
    match ProductId::parse(key).is_some() || is_slug(key) {
        true => Ok(key),
        false => Err(Error::NotFound("Product")),
    }
}

/// Returns the products of `ids` that are for sale, by name.
pub async fn batch(conn: &mut PgConnection, ids: &[ProductId]) -> Result<Vec<ListedProduct>> {
    let rows = sqlx::query_as(concat!(
        "select ",
        listed_columns!(),
        "
         from products p
         left join categories c on c.id = p.category_id
         where p.id = any($1)
           and ",
        on_sale!(),
        "
         order by p.name, p.id"
    ))
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Locks a product until the transaction ends. Deleted products are not found.
///
/// # Errors
/// 404.
pub async fn lock(conn: &mut PgConnection, id: &str) -> Result<Product> {
    let product = sqlx::query_as(concat!(
        "select ",
        product_columns!(),
        "
         from products p
         left join categories c on c.id = p.category_id
         where p.id = $1
           and p.deleted_at is null
         for update of p"
    ))
    .bind(id_or_slug(id)?)
    .fetch_optional(conn)
    .await?;
    product.ok_or(Error::NotFound("Product"))
}

/// Inserts a product without stock. Returns false if its id or its slug is in use.
pub async fn insert(conn: &mut PgConnection, product: &Product) -> Result<bool> {
    let done = sqlx::query(
        "insert into products (id, name, slug, lighter_type, price, currency, category_id, description,
                primary_image, secondary_image, is_sold_out, is_active, weight_ounces,
                is_draft, on_sale_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::text::numeric, $14, $15)
         on conflict do nothing",
    )
    .bind(&product.id)
    .bind(&product.name)
    .bind(&product.slug)
    .bind(product.lighter_type)
    .bind(product.price)
    .bind(&product.currency)
    .bind(product.category_id)
    .bind(&product.description)
    .bind(&product.primary_image)
    .bind(&product.secondary_image)
    .bind(product.is_sold_out)
    .bind(product.is_active)
    .bind(&product.weight_ounces)
    .bind(product.is_draft)
    .bind(product.on_sale_at)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Updates a locked product's fields and increments its version. `for_stripe` schedules a sync.
pub async fn update(
    conn: &mut PgConnection,
    product: &Product,
    for_stripe: bool,
) -> sqlx::Result<()> {
    sqlx::query(
        "update products
         set name = $2, slug = $3, lighter_type = $4, price = $5, currency = $6, category_id = $7,
             description = $8, primary_image = $9, secondary_image = $10, is_sold_out = $11,
             is_active = $12, weight_ounces = $13::text::numeric, is_draft = $15, on_sale_at = $16,
             version = version + 1,
             price_version = price_version + case when (price, currency) = ($5, $6) then 0 else 1 end,
             stripe_status = case when $14 then 'pending' else stripe_status end,
             stripe_error = case when $14 then null else stripe_error end,
             updated_at = now()
         where id = $1",
    )
    .bind(&product.id)
    .bind(&product.name)
    .bind(&product.slug)
    .bind(product.lighter_type)
    .bind(product.price)
    .bind(&product.currency)
    .bind(product.category_id)
    .bind(&product.description)
    .bind(&product.primary_image)
    .bind(&product.secondary_image)
    .bind(product.is_sold_out)
    .bind(product.is_active)
    .bind(&product.weight_ounces)
    .bind(for_stripe)
    .bind(product.is_draft)
    .bind(product.on_sale_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces the images of a locked product, in this order.
pub async fn set_images(conn: &mut PgConnection, id: &ProductId, images: &[ImageId]) -> Result<()> {
    sqlx::query("delete from product_images where product_id = $1")
        .bind(id)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "insert into product_images (product_id, position, image_id)
         select $1, named.place - 1, named.id
         from unnest($2::text[]) with ordinality as named (id, place)",
    )
    .bind(id)
    .bind(images)
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks a locked product as deleted. The row stays for orders and the ledger.
pub async fn set_deleted(conn: &mut PgConnection, id: &ProductId) -> Result<()> {
    sqlx::query(
        "update products
         set deleted_at = now(), is_active = false, on_sale_at = null, version = version + 1, updated_at = now(),
             stripe_status = 'pending', stripe_error = null
         where id = $1",
    )
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns the deleted products among `ids`: id, name and former slug.
pub async fn list_deleted(
    conn: &mut PgConnection,
    ids: &[&ProductId],
) -> Result<Vec<(ProductId, String, String)>> {
    let deleted = sqlx::query_as(
        "select id, name, slug
         from products
         where id = any($1)
           and deleted_at is not null
         order by id",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(deleted)
}

/// Restores a deleted, locked product with this slug. It stays off sale.
pub async fn set_undeleted(
    conn: &mut PgConnection,
    id: &ProductId,
    slug: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "update products
         set deleted_at = null, slug = $2, version = version + 1, updated_at = now(),
             stripe_status = 'pending', stripe_error = null
         where id = $1",
    )
    .bind(id)
    .bind(slug)
    .execute(conn)
    .await?;
    Ok(())
}

/// Reports whether a product, deleted or not, has this id.
pub async fn is_id_taken(conn: &mut PgConnection, id: &ProductId) -> Result<bool> {
    let taken = sqlx::query_scalar("select exists (select from products where id = $1)")
        .bind(id)
        .fetch_one(conn)
        .await?;
    Ok(taken)
}

/// Returns the slugs in use that begin with `stem`.
pub async fn slugs_like(conn: &mut PgConnection, stem: &str) -> Result<Vec<String>> {
    let slugs = sqlx::query_scalar(
        "select slug
         from products
         where slug like $1 || '%'
           and deleted_at is null",
    )
    .bind(stem)
    .fetch_all(conn)
    .await?;
    Ok(slugs)
}

/// Reports whether the catalog has neither products nor categories.
pub async fn is_empty(conn: &mut PgConnection) -> Result<bool> {
    let empty = sqlx::query_scalar(
        "select not exists (select from products) and not exists (select from categories)",
    )
    .fetch_one(conn)
    .await?;
    Ok(empty)
}

/// Returns the collection and the size of each product, such as `Infinite Path · Classic BIC`.
pub async fn details(
    conn: &mut PgConnection,
    ids: &[&ProductId],
) -> Result<BTreeMap<ProductId, String>> {
    let rows: Vec<(ProductId, i16, Option<String>)> = sqlx::query_as(
        "select p.id, p.lighter_type, c.name
         from products p
         left join categories c on c.id = p.category_id
         where p.id = any($1)",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    let detail = |(id, lighter_type, collection): (ProductId, i16, Option<String>)| {
        let collection = collection.as_deref().unwrap_or("Uncategorized");
        let size = lighter_type_display(lighter_type);
        (id, format!("{collection} · {size}"))
    };
    Ok(rows.into_iter().map(detail).collect())
}

/// Describes products that are priced in another currency, one text per currency.
pub async fn foreign_prices(conn: &mut PgConnection, currency: Currency) -> Result<Vec<String>> {
    let found: Vec<(String, i64)> = sqlx::query_as(
        "select currency, count(*)
         from products
         where currency <> $1
           and deleted_at is null
           -- The shop that this one replaced had prices in any currency, and carts refuse them.
           and not exists (select from import_rows i where i.kind = 'product' and i.id = products.id)
         group by currency
         order by currency",
    )
    .bind(currency.code())
    .fetch_all(conn)
    .await?;
    let words = |(code, count)| match count {
        1 => format!("1 product in {code}"),
        _ => format!("{count} products in {code}"),
    };
    Ok(found.into_iter().map(words).collect())
}
