//! SQL of the import and the export: whole tables at once.

use std::collections::HashMap;

use sqlx::{FromRow, PgConnection};

use super::rows::{CategoryRow, ProductRow};
use crate::error::Result;
use crate::products::Product;
use crate::products::categories::{Category, name_key};
use crate::products::store::{images_column, product_columns};
use crate::types::ids::ProductId;

/// An existing product that the file names.
#[derive(FromRow)]
pub struct ExistingProduct {
    #[sqlx(flatten)]
    pub product: Product,
    pub is_deleted: bool,
    /// Set if Stripe has confirmed the price. Then the ids in the database are right, and the file's may be outdated.
    pub is_verified: bool,
}

/// Returns the categories and products to export: all but deleted products.
pub async fn select_all(conn: &mut PgConnection) -> Result<(Vec<Category>, Vec<Product>)> {
    let categories =
        sqlx::query_as("select id, name, slug, description, position from categories order by id")
            .fetch_all(&mut *conn)
            .await?;
    let products = sqlx::query_as(concat!(
        "select ",
        product_columns!(),
        "
         from products p
         left join categories c on c.id = p.category_id
         where p.deleted_at is null
         order by p.created_at, p.id"
    ))
    .fetch_all(conn)
    .await?;
    Ok((categories, products))
}

/// Locks the products that the file names, and those of its categories, in id order.
pub async fn lock_products(
    conn: &mut PgConnection,
    categories: &[CategoryRow],
    products: &[ProductRow],
) -> Result<HashMap<ProductId, ExistingProduct>> {
    let ids: Vec<&ProductId> = products
        .iter()
        .filter_map(|(_, row)| row.input.id.as_ref())
        .collect();
    let categories: Vec<i64> = categories.iter().map(|(_, (id, _))| *id).collect();
    let rows: Vec<ExistingProduct> = sqlx::query_as(concat!(
        "select ",
        product_columns!(),
        ",
                p.deleted_at is not null as is_deleted,
                p.stripe_price_amount is not null as is_verified
         from products p
         left join categories c on c.id = p.category_id
         where p.id = any($1)
            or p.category_id = any($2)
         order by p.id
         for update of p"
    ))
    .bind(ids)
    .bind(categories)
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.product.id.clone(), row))
        .collect())
}

/// Locks all categories in id order.
pub async fn lock_categories(conn: &mut PgConnection) -> Result<Vec<Category>> {
    let categories = sqlx::query_as(
        "select id, name, slug, description, position
         from categories
         order by id
         for update",
    )
    .fetch_all(conn)
    .await?;
    Ok(categories)
}

/// Returns the slugs of products that the file does not name.
pub async fn other_slugs(conn: &mut PgConnection, products: &[ProductRow]) -> Result<Vec<String>> {
    let ids: Vec<&ProductId> = products
        .iter()
        .filter_map(|(_, row)| row.input.id.as_ref())
        .collect();
    let slugs = sqlx::query_scalar(
        "select p.slug
         from products p
         left join unnest($1::text[]) as named (id) on named.id = p.id
         where named.id is null
           and p.deleted_at is null",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(slugs)
}

/// Inserts or updates categories by id.
pub async fn write_categories(conn: &mut PgConnection, categories: &[&Category]) -> Result<()> {
    let ids: Vec<i64> = categories.iter().map(|c| c.id).collect();
    let names: Vec<&str> = categories.iter().map(|c| c.name.as_str()).collect();
    let name_keys: Vec<String> = categories.iter().map(|c| name_key(&c.name)).collect();
    let slugs: Vec<&str> = categories.iter().map(|c| c.slug.as_str()).collect();
    let descriptions: Vec<&str> = categories.iter().map(|c| c.description.as_str()).collect();
    let positions: Vec<i32> = categories.iter().map(|c| c.position).collect();
    // Slugs are unique at every moment, but rows may swap them, so park them under temporary ones. No valid slug has a
    // tilde.
    sqlx::query(
        "update categories
         set slug = '~' || categories.id,
             name_key = case when categories.name = row.name then name_key end
         from unnest($1::bigint[], $2::text[]) as row (id, name)
         where categories.id = row.id",
    )
    .bind(&ids)
    .bind(&names)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into categories (id, name, slug, description, position, name_key)
         select id, name, slug, description, position, name_key
         from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::text[])
              as row (id, name, slug, description, position, name_key)
         on conflict (id) do update
         set name = excluded.name,
             name_key = case when categories.name = excluded.name then categories.name_key else excluded.name_key end,
             slug = excluded.slug, description = excluded.description,
             position = excluded.position, updated_at = now()",
    )
    .bind(ids)
    .bind(names)
    .bind(slugs)
    .bind(descriptions)
    .bind(positions)
    .bind(name_keys)
    .execute(&mut *conn)
    .await?;
    // Raise the sequence, so that the next new category does not collide with an imported id.
    sqlx::query(
        "select setval(
             pg_get_serial_sequence('categories', 'id'),
             greatest((select max(id) from categories), nextval(pg_get_serial_sequence('categories', 'id')) - 1))",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Inserts or updates products by id, with their images. Stock is changed elsewhere, with a ledger entry.
pub async fn write_products(conn: &mut PgConnection, products: &[&Product]) -> Result<()> {
    fn column<'a, T>(products: &[&'a Product], value: impl Fn(&'a Product) -> T) -> Vec<T> {
        products.iter().map(|product| value(product)).collect()
    }
    let ids = column(products, |p| &p.id);
    let slugs = column(products, |p| p.slug.as_str());
    park_slugs(conn, &ids, &slugs).await?;
    sqlx::query(
        "insert into products (id, name, slug, lighter_type, price, currency, category_id, description,
                primary_image, secondary_image, is_sold_out, is_active, weight_ounces,
                stripe_product_id, stripe_price_id, stripe_status, stripe_error, created_at, is_draft, on_sale_at)
         select id, name, slug, lighter_type, price, currency, category_id, description,
                primary_image, secondary_image, is_sold_out, is_active, weight_ounces::numeric,
                stripe_product_id, stripe_price_id, stripe_status, stripe_error, created_at, is_draft, on_sale_at
         from unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::bigint[], $6::text[],
                     $7::bigint[], $8::text[], $9::text[], $10::text[], $11::boolean[],
                     $12::boolean[], $13::text[], $14::text[], $15::text[], $16::text[],
                     $17::text[], $18::timestamptz[], $19::boolean[], $20::timestamptz[])
              as row (id, name, slug, lighter_type, price, currency, category_id, description,
                      primary_image, secondary_image, is_sold_out, is_active, weight_ounces,
                      stripe_product_id, stripe_price_id, stripe_status, stripe_error, created_at, is_draft, on_sale_at)
         on conflict (id) do update
         set name = excluded.name, slug = excluded.slug, lighter_type = excluded.lighter_type,
             price = excluded.price, currency = excluded.currency,
             category_id = excluded.category_id, description = excluded.description,
             primary_image = excluded.primary_image, secondary_image = excluded.secondary_image,
             is_sold_out = excluded.is_sold_out, is_active = excluded.is_active,
             is_draft = excluded.is_draft, on_sale_at = excluded.on_sale_at,
             weight_ounces = excluded.weight_ounces, created_at = excluded.created_at,
             stripe_product_id = excluded.stripe_product_id,
             stripe_price_id = excluded.stripe_price_id,
             stripe_status = excluded.stripe_status, stripe_error = excluded.stripe_error,
             -- A price that Stripe has not confirmed may be charged by nobody.
             stripe_price_amount = case
                 when products.stripe_price_id = excluded.stripe_price_id
                 then products.stripe_price_amount end,
             stripe_price_currency = case
                 when products.stripe_price_id = excluded.stripe_price_id
                 then products.stripe_price_currency end,
             stripe_retired_prices = case
                 when products.stripe_price_id <> excluded.stripe_price_id
                 then array_append(products.stripe_retired_prices, products.stripe_price_id)
                 else products.stripe_retired_prices end,
             version = products.version + 1,
             price_version = products.price_version + case
                 when (products.price, products.currency) = (excluded.price, excluded.currency)
                 then 0 else 1 end,
             deleted_at = null,
             updated_at = now()",
    )
    .bind(ids)
    .bind(column(products, |p| p.name.as_str()))
    .bind(slugs)
    .bind(column(products, |p| p.lighter_type))
    .bind(column(products, |p| p.price))
    .bind(column(products, |p| p.currency.as_str()))
    .bind(column(products, |p| p.category_id))
    .bind(column(products, |p| p.description.as_str()))
    .bind(column(products, |p| p.primary_image.as_deref()))
    .bind(column(products, |p| p.secondary_image.as_deref()))
    .bind(column(products, |p| p.is_sold_out))
    .bind(column(products, |p| p.is_active))
    .bind(column(products, |p| p.weight_ounces.as_str()))
    .bind(column(products, |p| p.stripe_product_id.as_deref()))
    .bind(column(products, |p| p.stripe_price_id.as_deref()))
    .bind(column(products, |p| p.stripe_status.as_str()))
    .bind(column(products, |p| p.stripe_error.as_deref()))
    .bind(column(products, |p| p.created_at))
    .bind(column(products, |p| p.is_draft))
    .bind(column(products, |p| p.on_sale_at))
    .execute(&mut *conn)
    .await?;
    write_images(conn, products).await
}

/// Gives temporary slugs to products whose slugs change: rows may swap them, as with categories.
async fn park_slugs(conn: &mut PgConnection, ids: &[&ProductId], slugs: &[&str]) -> Result<()> {
    sqlx::query(
        "update products
         set slug = '~' || products.id
         from unnest($1::text[], $2::text[]) as row (id, slug)
         where products.id = row.id
           and products.slug <> row.slug
           and products.deleted_at is null",
    )
    .bind(ids)
    .bind(slugs)
    .execute(conn)
    .await?;
    Ok(())
}

async fn write_images(conn: &mut PgConnection, products: &[&Product]) -> Result<()> {
    let ids: Vec<&ProductId> = products.iter().map(|product| &product.id).collect();
    sqlx::query("delete from product_images where product_id = any($1)")
        .bind(ids)
        .execute(&mut *conn)
        .await?;
    let (mut owners, mut positions, mut images) = (Vec::new(), Vec::new(), Vec::new());
    for product in products {
        for (position, image) in product.images.iter().enumerate() {
            owners.push(&product.id);
            positions.push(position as i16);
            images.push(&image.id);
        }
    }
    sqlx::query(
        "insert into product_images (product_id, position, image_id)
         select product_id, position, image_id
         from unnest($1::text[], $2::smallint[], $3::text[])
              as row (product_id, position, image_id)",
    )
    .bind(owners)
    .bind(positions)
    .bind(images)
    .execute(conn)
    .await?;
    Ok(())
}
