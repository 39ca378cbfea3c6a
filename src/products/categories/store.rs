//! SQL of categories.

use sqlx::{PgConnection, Row};

use super::{Category, CategoryInput, CountedCategory, name_key};
use crate::error::{Error, Result};
use crate::products::fields::CategoryKey;
use crate::products::paging::PageRequest;
use crate::products::store::{on_sale, present};

/// Returns all categories in the owner's order, with the number of products in each. Deleted products don't count.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<CountedCategory>> {
    let categories = sqlx::query_as(concat!(
        "select c.id, c.name, c.slug, c.description, c.position,
                count(p.id) filter (where ",
        on_sale!(),
        r#") as active,
                count(p.id) filter (where p.is_active and not "#,
        on_sale!(),
        r#") as drafts,
                count(p.id) filter (where not p.is_active) as archived
         from categories c
         left join products p on p.category_id = c.id and p.deleted_at is null
         group by c.id
         order by c.position, c.name collate "C", c.id"#,
    ))
    .fetch_all(conn)
    .await?;
    Ok(categories)
}

/// Returns a page of categories by name, and the total number.
pub async fn select_page(
    conn: &mut PgConnection,
    page: PageRequest,
) -> Result<(i64, Vec<Category>)> {
    let rows = sqlx::query(
        r#"select found.total, c.*
         from (select count(*) as total from categories) as found
         left join lateral (
             select id, name, slug, description, position
             from categories
             order by name collate "C", id
             limit $1
             offset coalesce($2, (found.total - 1) / $1 * $1)
         ) as c on true
         order by c.name collate "C", c.id"#,
    )
    .bind(page.size)
    .bind(page.offset())
    .fetch_all(conn)
    .await?;
    let first = rows
        .first()
        .ok_or_else(|| anyhow::anyhow!("an aggregate gave no row"))?;
    Ok((first.try_get("total")?, present(&rows, "id")?))
}

/// Finds a category by id or slug.
pub async fn find(conn: &mut PgConnection, key: &CategoryKey) -> Result<Option<Category>> {
    let (id, slug) = match key {
        CategoryKey::Id(id) => (Some(*id), None),
        CategoryKey::Slug(slug) => (None, Some(slug)),
    };
    let category = sqlx::query_as(
        "select id, name, slug, description, position
         from categories
         where id = $1
            or slug = $2",
    )
    .bind(id)
    .bind(slug)
    .fetch_optional(conn)
    .await?;
    Ok(category)
}

/// Finds a category's id and locks the category against deletion until the transaction ends.
pub async fn hold(conn: &mut PgConnection, key: &CategoryKey) -> Result<Option<i64>> {
    let (id, slug) = match key {
        CategoryKey::Id(id) => (Some(*id), None),
        CategoryKey::Slug(slug) => (None, Some(slug)),
    };
    let found = sqlx::query_scalar(
        "select id
         from categories
         where id = $1
            or slug = $2
         for key share",
    )
    .bind(id)
    .bind(slug)
    .fetch_optional(conn)
    .await?;
    Ok(found)
}

/// Locks a category until the transaction ends. Lock its products first: see [`lock_products`].
///
/// # Errors
/// 404.
pub async fn lock(conn: &mut PgConnection, id: i64) -> Result<Category> {
    // Weaker than `for update`, so that a new product may name the category meanwhile.
    let category = sqlx::query_as(
        "select id, name, slug, description, position
         from categories
         where id = $1
         for no key update",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    category.ok_or(Error::NotFound("Category"))
}

/// Locks the products of a category before the category changes, because the change updates their rows. They are locked
/// in id order, as a checkout does.
pub async fn lock_products(conn: &mut PgConnection, category: i64) -> Result<()> {
    sqlx::query(
        "select id
         from products
         where category_id = $1
         order by id
         for update",
    )
    .bind(category)
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks all categories until the transaction ends. Returns their ids in the owner's order.
pub async fn lock_all(conn: &mut PgConnection) -> Result<Vec<i64>> {
    // Lock in id order, as everywhere. The second statement sees rows that changed while this one waited.
    sqlx::query("select id from categories order by id for update")
        .execute(&mut *conn)
        .await?;
    let ids = sqlx::query_scalar(
        r#"select id
         from categories
         order by position, name collate "C", id"#,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// Numbers the categories from 1, in this order.
pub async fn set_order(conn: &mut PgConnection, ids: &[i64]) -> Result<()> {
    sqlx::query(
        "update categories
         set position = wanted.position
         from unnest($1::bigint[]) with ordinality as wanted (id, position)
         where categories.id = wanted.id
           and categories.position <> wanted.position",
    )
    .bind(ids)
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns the names of all categories but `id`, among them those that an older version created without a key.
pub async fn other_names(conn: &mut PgConnection, id: Option<i64>) -> Result<Vec<String>> {
    let names = sqlx::query_scalar("select name from categories where id is distinct from $1")
        .bind(id)
        .fetch_all(conn)
        .await?;
    Ok(names)
}

/// Returns the slugs of all categories.
pub async fn slugs(conn: &mut PgConnection) -> Result<Vec<String>> {
    let slugs = sqlx::query_scalar("select slug from categories")
        .fetch_all(conn)
        .await?;
    Ok(slugs)
}

/// Inserts a category. `None` if another one has the slug.
pub async fn insert(
    conn: &mut PgConnection,
    name: &str,
    slug: &str,
    description: &str,
) -> sqlx::Result<Option<Category>> {
    sqlx::query_as(
        "insert into categories (name, name_key, slug, description, position)
         values ($1, $4, $2, $3,
                 -- Where there is an order, it comes last.
                 (select coalesce(max(position) + 1, 0) from categories where position > 0))
         on conflict (slug) do nothing
         returning id, name, slug, description, position",
    )
    .bind(name)
    .bind(slug)
    .bind(description)
    .bind(name_key(name))
    .fetch_optional(conn)
    .await
}

/// Updates the given fields of a locked category. `new_key` belongs to a changed name.
pub async fn update(
    conn: &mut PgConnection,
    id: i64,
    input: &CategoryInput,
    new_key: Option<String>,
) -> sqlx::Result<Category> {
    sqlx::query_as(
        "update categories
         set name = coalesce($2, name),
             name_key = coalesce($5, name_key),
             slug = coalesce($3, slug),
             description = coalesce($4, description),
             updated_at = now()
         where id = $1
         returning id, name, slug, description, position",
    )
    .bind(id)
    .bind(&input.name)
    .bind(&input.slug)
    .bind(&input.description)
    .bind(new_key)
    .fetch_one(conn)
    .await
}

/// Deletes a locked category. Its products stay, without a category.
pub async fn delete(conn: &mut PgConnection, id: i64) -> Result<()> {
    sqlx::query("delete from categories where id = $1")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}
