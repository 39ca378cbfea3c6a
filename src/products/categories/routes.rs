//! Routes of the categories.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::input::{CategoryInput, WholeCategory};
use super::{Category, CountedCategory, service, store};
use crate::app::App;
use crate::error::{Error, Result};
use crate::http::{Json, Path};
use crate::products::changes::Shown;
use crate::products::extract::{
    AdminReadFailures, CatalogAdmin, ReadFailures, StorefrontRequest, WriteFailures,
};
use crate::products::fields::{CategoryKey, Write};
use crate::products::paging::{CatalogPage, PageRequest};
use crate::products::slugs::is_slug;

/// Builds the router of the categories. The paths have no trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(detail, replace, patch, delete))
        .routes(routes!(admin_list, order))
        .routes(routes!(move_up))
        .routes(routes!(move_down))
}

/// Default page size. The storefront reads one page and must get all categories; no shop has more.
const PAGE_SIZE: i64 = 10_000;

/// Lists all categories, by name.
#[utoipa::path(operation_id = "list_categories", get, path = "/api/categories", tag = "categories",
    params(("page" = Option<String>, Query), ("page_size" = Option<String>, Query, description = "1 to 100; anything else returns all")),
    responses((status = 200, body = CatalogPage<Category>), ReadFailures))]
async fn list(State(app): State<App>, request: StorefrontRequest) -> Result<Response> {
    let page = PageRequest::read(&request.query, PAGE_SIZE);
    let (count, categories) = store::select_page(&mut *app.db.acquire().await?, page).await?;
    let address = format!("{}/api/categories/", request.base);
    let page = page.of(count, categories, &address, &request.query)?;
    request.answer(&page, Shown::Categories)
}

/// Returns one category, by id or slug.
#[utoipa::path(operation_id = "get_category", get, path = "/api/categories/{id}", tag = "categories",
    params(("id" = String, Path, description = "A number, or a slug")),
    responses((status = 200, body = Category), ReadFailures))]
async fn detail(
    State(app): State<App>,
    Path(id): Path<String>,
    request: StorefrontRequest,
) -> Result<Response> {
    let key = match id.parse() {
        Ok(id) => CategoryKey::Id(id),
        Err(_) if is_slug(&id) => CategoryKey::Slug(id),
        Err(_) => return Err(Error::NotFound("")),
    };
    let category = store::find(&mut *app.db.acquire().await?, &key).await?;
    let category = category.ok_or(Error::NotFound("Category"))?;
    request.answer(&category, Shown::Categories)
}

/// Creates a category.
#[utoipa::path(operation_id = "create_category", post, path = "/api/categories", tag = "categories", security(("bearer" = [])),
    request_body = WholeCategory,
    responses((status = 201, body = Category), WriteFailures))]
async fn create(
    State(app): State<App>,
    admin: CatalogAdmin,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response> {
    let input = CategoryInput::parse(body, Write::Create);
    let mut tx = app.db.begin().await?;
    let category = service::create(&mut tx, &admin.actor, input).await?;
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
async fn replace(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<i64>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Json<Category>> {
    write(app, admin, id, body, Write::Replace).await
}

/// Changes the given fields.
#[utoipa::path(operation_id = "patch_category", patch, path = "/api/categories/{id}", tag = "categories", security(("bearer" = [])),
    params(("id" = i64, Path)), request_body = CategoryInput,
    responses((status = 200, body = Category), WriteFailures))]
async fn patch(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<i64>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Json<Category>> {
    write(app, admin, id, body, Write::Patch).await
}

async fn write(
    app: App,
    admin: CatalogAdmin,
    id: i64,
    mut body: Map<String, Value>,
    write: Write,
) -> Result<Json<Category>> {
    let mut tx = app.db.begin().await?;
    // One that was copied from another shop, and would not be allowed anew, may be sent back.
    let slug = body.get("slug").and_then(Value::as_str);
    if let Some(slug) = slug.filter(|slug| !is_slug(slug)) {
        let own = store::find(&mut tx, &CategoryKey::Id(id)).await?;
        if own.is_some_and(|own| own.slug == slug) {
            body.remove("slug");
        }
    }
    let input = CategoryInput::parse(body, write);
    let category = service::change(&mut tx, &admin.actor, id, input).await?;
    tx.commit().await?;
    Ok(Json(category))
}

/// Deletes a category. Its products stay, without a category.
#[utoipa::path(operation_id = "delete_category", delete, path = "/api/categories/{id}", tag = "categories", security(("bearer" = [])),
    params(("id" = i64, Path)),
    responses((status = 204), WriteFailures))]
async fn delete(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    let mut tx = app.db.begin().await?;
    service::delete(&mut tx, &admin.actor, id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All categories in the owner's order, with the number of products in each.
#[derive(Serialize, ToSchema)]
struct CategoryList {
    count: usize,
    results: Vec<CountedCategory>,
}

impl CategoryList {
    async fn read(conn: &mut PgConnection) -> Result<Json<CategoryList>> {
        let results = store::list(conn).await?;
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
async fn admin_list(State(app): State<App>, _: CatalogAdmin) -> Result<Json<CategoryList>> {
    CategoryList::read(&mut *app.db.acquire().await?).await
}

/// A new order of the categories.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CategoryOrder {
    /// Ids that come first, in this order. The other categories follow in their current order.
    ids: Vec<i64>,
}

/// Sets the order of the categories. Safe to repeat.
#[utoipa::path(operation_id = "order_categories", put, path = "/api/admin/categories", tag = "categories", security(("bearer" = [])),
    request_body = CategoryOrder,
    responses((status = 200, body = CategoryList), WriteFailures))]
async fn order(
    State(app): State<App>,
    admin: CatalogAdmin,
    Json(order): Json<CategoryOrder>,
) -> Result<Json<CategoryList>> {
    let mut tx = app.db.begin().await?;
    service::order(&mut tx, &admin.actor, &order.ids).await?;
    let list = CategoryList::read(&mut tx).await?;
    tx.commit().await?;
    Ok(list)
}

/// Moves a category up one place. The first one stays.
#[utoipa::path(operation_id = "move_category_up", post, path = "/api/admin/categories/{id}/up", tag = "categories", security(("bearer" = [])),
    params(("id" = i64, Path)),
    responses((status = 200, body = CategoryList), WriteFailures))]
async fn move_up(
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
async fn move_down(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<i64>,
) -> Result<Json<CategoryList>> {
    step(app, admin, id, false).await
}

async fn step(app: App, admin: CatalogAdmin, id: i64, up: bool) -> Result<Json<CategoryList>> {
    let mut tx = app.db.begin().await?;
    service::shift(&mut tx, &admin.actor, id, up).await?;
    let list = CategoryList::read(&mut tx).await?;
    tx.commit().await?;
    Ok(list)
}
