//! Categories of the catalog.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::{PgConnection, Row};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use utoipa::ToSchema;

use super::fields::CategoryKey;
use super::input::{self, CategoryInput, Parsed, WholeCategory, Write};
use super::keeping::{self, CountedCategory};
use super::listing::{Page, PageRequest};
use super::routes::{AdminReadFailures, CatalogAdmin, ReadFailures, Reader, WriteFailures};
use super::slugs::{free_slug, is_slug};
use super::store::present;
use crate::app::App;
use crate::error::{Error, Result};
use crate::http::{Json, Path};

/// A category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, ToSchema)]
pub struct Category {
    pub id: i64,
    pub name: String,
    pub slug: String,
    pub description: String,
    /// Position set by the owner. All are 0 until the categories are ordered.
    pub position: i32,
}

/// Default page size. The storefront reads one page and must get all categories; no shop has more.
const PAGE_SIZE: i64 = 10_000;

/// Lists all categories, by name.
#[utoipa::path(operation_id = "list_categories", get, path = "/api/categories", tag = "categories",
    params(("page" = Option<String>, Query), ("page_size" = Option<String>, Query, description = "1 to 100; anything else returns all")),
    responses((status = 200, body = Page<Category>), ReadFailures))]
pub(super) async fn list(State(app): State<App>, reader: Reader) -> Result<Response> {
    let page = PageRequest::read(&reader.query, PAGE_SIZE);
    let (count, categories) = select_page(&mut *app.db.acquire().await?, page).await?;
    let address = format!("{}/api/categories/", reader.base);
    reader.answer(&page.of(count, categories, &address, &reader.query)?)
}

/// Returns one category, by id or slug.
#[utoipa::path(operation_id = "get_category", get, path = "/api/categories/{id}", tag = "categories",
    params(("id" = String, Path, description = "A number, or a slug")),
    responses((status = 200, body = Category), ReadFailures))]
pub(super) async fn detail(
    State(app): State<App>,
    Path(id): Path<String>,
    reader: Reader,
) -> Result<Response> {
    let key = match id.parse() {
        Ok(id) => CategoryKey::Id(id),
        Err(_) if is_slug(&id) => CategoryKey::Slug(id),
        Err(_) => return Err(Error::NotFound("")),
    };
    let category = find(&mut *app.db.acquire().await?, &key).await?;
    reader.answer(&category.ok_or(Error::NotFound("Category"))?)
}

/// Creates a category.
#[utoipa::path(operation_id = "create_category", post, path = "/api/categories", tag = "categories", security(("bearer" = [])),
    request_body = WholeCategory,
    responses((status = 201, body = Category), WriteFailures))]
pub(super) async fn create(
    State(app): State<App>,
    admin: CatalogAdmin,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let category = keeping::create_category(&mut tx, &admin.actor, body).await?;
    tx.commit().await?;
    let location = format!("{}/api/categories/{}/", admin.base, category.id);
    Ok((
        StatusCode::CREATED,
        [("location", location)],
        Json(category),
    )
        .into_response())
}

/// Replaces a category's fields.
#[utoipa::path(operation_id = "replace_category", put, path = "/api/categories/{id}", tag = "categories", security(("bearer" = [])),
    params(("id" = i64, Path)), request_body = WholeCategory,
    responses((status = 200, body = Category), WriteFailures))]
pub(super) async fn replace(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<i64>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Json<Category>> {
    write(app, admin, id, input::category(body, Write::Replace)).await
}

/// Changes the given fields.
#[utoipa::path(operation_id = "patch_category", patch, path = "/api/categories/{id}", tag = "categories", security(("bearer" = [])),
    params(("id" = i64, Path)), request_body = CategoryInput,
    responses((status = 200, body = Category), WriteFailures))]
pub(super) async fn patch(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<i64>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Json<Category>> {
    write(app, admin, id, input::category(body, Write::Patch)).await
}

/// Deletes a category. Its products stay, without a category.
#[utoipa::path(operation_id = "delete_category", delete, path = "/api/categories/{id}", tag = "categories", security(("bearer" = [])),
    params(("id" = i64, Path)),
    responses((status = 204), WriteFailures))]
pub(super) async fn delete(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    let mut tx = app.db.begin().await?;
    keeping::delete_category(&mut tx, &admin.actor, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All categories in the owner's order, with the number of products in each.
#[derive(Serialize, ToSchema)]
pub(super) struct CategoryList {
    count: usize,
    results: Vec<CountedCategory>,
}

impl CategoryList {
    async fn read(conn: &mut PgConnection) -> Result<Json<CategoryList>> {
        let results = select_counted(conn).await?;
        Ok(Json(CategoryList {
            count: results.len(),
            results,
        }))
    }
}

/// Lists all categories in the owner's order. (The public list is always sorted by name; each entry has its
/// `position`.)
#[utoipa::path(operation_id = "list_categories_as_admin", get, path = "/api/admin/categories", tag = "categories", security(("bearer" = [])),
    responses((status = 200, body = CategoryList), AdminReadFailures))]
pub(super) async fn admin_list(
    State(app): State<App>,
    _: CatalogAdmin,
) -> Result<Json<CategoryList>> {
    CategoryList::read(&mut *app.db.acquire().await?).await
}

/// A new order of the categories.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CategoryOrder {
    /// Ids that come first, in this order. The other categories follow in their current order.
    ids: Vec<i64>,
}

/// Sets the order of the categories. Safe to repeat.
#[utoipa::path(operation_id = "order_categories", put, path = "/api/admin/categories", tag = "categories", security(("bearer" = [])),
    request_body = CategoryOrder,
    responses((status = 200, body = CategoryList), WriteFailures))]
pub(super) async fn order(
    State(app): State<App>,
    admin: CatalogAdmin,
    Json(order): Json<CategoryOrder>,
) -> Result<Json<CategoryList>> {
    let mut tx = app.db.begin().await?;
    keeping::order_categories(&mut tx, &admin.actor, &order.ids).await?;
    let list = CategoryList::read(&mut tx).await?;
    tx.commit().await?;
    Ok(list)
}

/// Moves a category up one place. The first one stays.
#[utoipa::path(operation_id = "move_category_up", post, path = "/api/admin/categories/{id}/up", tag = "categories", security(("bearer" = [])),
    params(("id" = i64, Path)),
    responses((status = 200, body = CategoryList), WriteFailures))]
pub(super) async fn move_up(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<i64>,
) -> Result<Json<CategoryList>> {
    step(app, admin, id, true).await
}

/// Moves a category down one place. The last one stays.
#[utoipa::path(operation_id = "move_category_down", post, path = "/api/admin/categories/{id}/down", tag = "categories", security(("bearer" = [])),
    params(("id" = i64, Path)),
    responses((status = 200, body = CategoryList), WriteFailures))]
pub(super) async fn move_down(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<i64>,
) -> Result<Json<CategoryList>> {
    step(app, admin, id, false).await
}

async fn step(app: App, admin: CatalogAdmin, id: i64, up: bool) -> Result<Json<CategoryList>> {
    let mut tx = app.db.begin().await?;
    keeping::move_category(&mut tx, &admin.actor, id, up).await?;
    let list = CategoryList::read(&mut tx).await?;
    tx.commit().await?;
    Ok(list)
}

/// Deletes a category. Its products stay, without a category.
pub(super) async fn remove(conn: &mut PgConnection, id: i64) -> Result<()> {
    lock_products(conn, id).await?;
    let done = sqlx::query("delete from categories where id = $1")
        .bind(id)
        .execute(conn)
        .await?;
    match done.rows_affected() {
        0 => Err(Error::NotFound("Category")),
        _ => Ok(()),
    }
}

/// Returns all categories in the owner's order, with the number of products in each. Deleted products don't count.
pub(super) async fn select_counted(conn: &mut PgConnection) -> Result<Vec<CountedCategory>> {
    let categories = sqlx::query_as(
        r#"select c.id, c.name, c.slug, c.description, c.position,
                count(p.id) filter (where p.is_active) as active,
                count(p.id) filter (where not p.is_active) as archived
         from categories c
         left join products p on p.category_id = c.id and p.deleted_at is null
         group by c.id
         order by c.position, c.name collate "C", c.id"#,
    )
    .fetch_all(conn)
    .await?;
    Ok(categories)
}

/// Locks all categories until the transaction ends. Returns their ids in the owner's order.
pub(super) async fn lock_all(conn: &mut PgConnection) -> Result<Vec<i64>> {
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
pub(super) async fn set_order(conn: &mut PgConnection, ids: &[i64]) -> Result<()> {
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

async fn write(
    app: App,
    admin: CatalogAdmin,
    id: i64,
    input: Parsed<CategoryInput>,
) -> Result<Json<Category>> {
    let mut tx = app.db.begin().await?;
    let category = keeping::change_category_parsed(&mut tx, &admin.actor, id, input).await?;
    tx.commit().await?;
    Ok(Json(category))
}

async fn select_page(conn: &mut PgConnection, page: PageRequest) -> Result<(i64, Vec<Category>)> {
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

pub(super) async fn find(conn: &mut PgConnection, key: &CategoryKey) -> Result<Option<Category>> {
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

/// Normalizes a name for comparison: case, accents and extra spaces are ignored.
pub(super) fn name_key(name: &str) -> String {
    let chars = name.nfkd().filter(|c| !is_combining_mark(*c));
    let lower = chars.collect::<String>().to_lowercase();
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Checks that no other category has this name, including categories that an older version created without a key.
async fn check_name(conn: &mut PgConnection, name: &str, id: Option<i64>) -> Result<()> {
    let others: Vec<String> =
        sqlx::query_scalar("select name from categories where id is distinct from $1")
            .bind(id)
            .fetch_all(conn)
            .await?;
    let key = name_key(name);
    match others.iter().find(|other| name_key(other) == key) {
        Some(other) => Err(name_taken(other)),
        None => Ok(()),
    }
}

fn name_taken(name: &str) -> Error {
    Error::invalid("name", format!("There is already a category “{name}”."))
}

/// Reports whether a statement failed because another transaction has just used the name.
fn lost_the_name(error: &sqlx::Error) -> bool {
    let constraint = error
        .as_database_error()
        .and_then(|error| error.constraint());
    constraint == Some("categories_name_key_key")
}

pub(super) async fn insert(conn: &mut PgConnection, input: CategoryInput) -> Result<Category> {
    let name = input.name.unwrap_or_default();
    check_name(conn, &name, None).await?;
    let description = input.description.unwrap_or_default();
    loop {
        let slug = match &input.slug {
            Some(slug) => slug.clone(),
            None => {
                let taken: Vec<String> = sqlx::query_scalar("select slug from categories")
                    .fetch_all(&mut *conn)
                    .await?;
                free_slug(&name, "category", |slug| taken.iter().any(|t| t == slug))
            }
        };
        let category = sqlx::query_as(
            "insert into categories (name, name_key, slug, description, position)
             values ($1, $4, $2, $3,
                     -- Where there is an order, it comes last.
                     (select coalesce(max(position) + 1, 0) from categories where position > 0))
             on conflict (slug) do nothing
             returning id, name, slug, description, position",
        )
        .bind(&name)
        .bind(&slug)
        .bind(&description)
        .bind(name_key(&name))
        .fetch_optional(&mut *conn)
        .await
        .map_err(|error| match lost_the_name(&error) {
            true => name_taken(&name),
            false => error.into(),
        })?;
        match category {
            Some(category) => return Ok(category),
            None if input.slug.is_some() => return Err(slug_taken(&slug)),
            // Another transaction took the slug between the two statements; the next round sees it.
            None => {}
        }
    }
}

pub(super) async fn update(
    conn: &mut PgConnection,
    id: i64,
    input: CategoryInput,
) -> Result<Category> {
    lock_products(conn, id).await?;
    let slug = input.slug.clone().unwrap_or_default();
    let before = find(conn, &CategoryKey::Id(id)).await?;
    // A category may keep its current name, even if an older version created another one with it.
    let new_name = input
        .name
        .as_ref()
        .filter(|name| before.is_some_and(|before| before.name != **name));
    if let Some(name) = new_name {
        check_name(conn, name, Some(id)).await?;
    }
    let key = new_name.map(|name| name_key(name));
    let updated = sqlx::query_as(
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
    .bind(input.slug)
    .bind(input.description)
    .bind(key)
    .fetch_optional(conn)
    .await;
    match updated {
        Ok(category) => category.ok_or(Error::NotFound("Category")),
        Err(sqlx::Error::Database(e)) if e.constraint() == Some("categories_slug_key") => {
            Err(slug_taken(&slug))
        }
        Err(error) if lost_the_name(&error) => Err(name_taken(&input.name.unwrap_or_default())),
        Err(error) => Err(error.into()),
    }
}

/// Locks the products of a category before the category changes, because the change updates their rows. They are locked
/// in id order, as a checkout does.
async fn lock_products(conn: &mut PgConnection, category: i64) -> Result<()> {
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

fn slug_taken(slug: &str) -> Error {
    Error::Conflict(
        "slug_taken",
        format!("Another category has the slug {slug}."),
    )
}
