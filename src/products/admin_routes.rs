//! Routes of the catalog that need a token: writes, and reads with all fields.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{AdminReadFailures, CatalogAdmin, StockAdmin, WriteFailures, unstored};
use super::fields::Write;
use super::filter::ProductFilter;
use super::input::{MAX_BATCH, ProductInput, WholeProduct};
use super::inventory::{self, StockInput};
use super::paging::{CatalogPage, PAGE_SIZE, PageRequest};
use super::service::{self, BulkAction};
use super::slugs::is_slug;
use super::views::{AdminView, MovementView, StockView};
use super::{Product, listing, store};
use crate::app::App;
use crate::auth::Scope;
use crate::error::{Error, ErrorBody, FieldError, Result};
use crate::http::idempotency::{IdempotencyKey, Key, Owner, earlier_answer, keep_answer};
use crate::http::texts::IfMatch;
use crate::http::{Json, Path, Query};

/// Builds the router. The paths have no trailing slash.
pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(replace, patch, delete))
        .routes(routes!(archive))
        .routes(routes!(restore))
        .routes(routes!(ledger, change_stock))
        .routes(routes!(sync))
        .routes(routes!(admin_list, change_many))
        .routes(routes!(admin_detail))
        .routes(routes!(duplicate))
}

/// Creates a product.
#[utoipa::path(operation_id = "create_product", post, path = "/api/products", tag = "products", security(("bearer" = [])),
    params(("Idempotency-Key" = Option<IdempotencyKey>, Header, nullable = false, description = "A text of your choice for this product")),
    request_body = WholeProduct,
    responses((status = 201, body = AdminView), WriteFailures,
        (status = 422, body = ErrorBody, description = "The key was used for another product")))]
async fn create(
    State(app): State<App>,
    admin: CatalogAdmin,
    headers: HeaderMap,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response> {
    let asked = serde_json::to_vec(&body).map_err(anyhow::Error::from)?;
    let key = Key::read(&headers, "product", &Owner::actor(&admin.actor), &asked)?;
    if body.get("inventory_count").is_some_and(|count| *count != 0) {
        admin.token.may(Scope::Stock)?;
    }
    let input = ProductInput::parse(
        body,
        Write::Create,
        &admin.bases(&app),
        app.config.shop.currency,
    );
    let mut tx = app.db.begin().await?;
    if let Some((status, answer)) = earlier_answer(&mut tx, key.as_ref()).await? {
        return Ok((status, unstored(answer)).into_response());
    }
    let product = service::create(&mut tx, &admin.actor, input).await?;
    let view = AdminView::new(product.clone(), &admin.base);
    keep_answer(&mut tx, key.as_ref(), StatusCode::CREATED, &view).await?;
    tx.commit().await?;
    Ok(created(&admin, product))
}

/// Replaces a product's fields. Missing fields take their defaults, except for slug and stock.
#[utoipa::path(operation_id = "replace_product", put, path = "/api/products/{id}", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path), ("If-Match" = Option<IfMatch>, Header, nullable = false, description = "`\"N\"`: only if this is the current version")),
    request_body = WholeProduct,
    responses((status = 200, body = AdminView), WriteFailures))]
async fn replace(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response> {
    write(app, admin, &id, body, Write::Replace).await
}

/// Changes the given fields.
#[utoipa::path(operation_id = "patch_product", patch, path = "/api/products/{id}", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path), ("If-Match" = Option<IfMatch>, Header, nullable = false, description = "`\"N\"`: only if this is the current version")),
    request_body = ProductInput,
    responses((status = 200, body = AdminView), WriteFailures))]
async fn patch(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response> {
    write(app, admin, &id, body, Write::Patch).await
}

/// Leaves out a slug that would not be allowed anew where it is the product's own: it was copied from another shop, and a
/// client may send back a whole product.
async fn without_own_slug(
    conn: &mut PgConnection,
    id: &str,
    mut body: Map<String, Value>,
) -> Result<Map<String, Value>> {
    let slug = body.get("slug").and_then(Value::as_str);
    if let Some(slug) = slug.filter(|slug| !is_slug(slug))
        && store::find(conn, id).await?.slug == slug
    {
        body.remove("slug");
    }
    Ok(body)
}

async fn write(
    app: App,
    admin: CatalogAdmin,
    id: &str,
    body: Map<String, Value>,
    write: Write,
) -> Result<Response> {
    // An expected count announces a stock change, which needs its own scope.
    if body.contains_key("expected_inventory_count") {
        admin.token.may(Scope::Stock)?;
    }
    let mut tx = app.db.begin().await?;
    let body = without_own_slug(&mut tx, id, body).await?;
    let input = ProductInput::parse(body, write, &admin.bases(&app), app.config.shop.currency);
    let product = service::change(&mut tx, &admin.actor, id, admin.version, input).await?;
    tx.commit().await?;
    Ok(admin.respond(product))
}

/// Deletes a product. Past orders keep their lines.
#[utoipa::path(operation_id = "delete_product", delete, path = "/api/products/{id}", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path), ("If-Match" = Option<IfMatch>, Header, nullable = false, description = "`\"N\"`: only if this is the current version")),
    responses((status = 204), WriteFailures))]
async fn delete(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let mut tx = app.db.begin().await?;
    service::delete(&mut tx, &admin.actor, &id, admin.version).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a product off sale. Safe to repeat.
#[utoipa::path(operation_id = "archive_product", post, path = "/api/products/{id}/archive", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path), ("If-Match" = Option<IfMatch>, Header, nullable = false, description = "`\"N\"`: only if this is the current version")),
    responses((status = 200, body = AdminView), WriteFailures))]
async fn archive(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let product = service::set_active(&mut tx, &admin.actor, &id, false, admin.version).await?;
    tx.commit().await?;
    Ok(admin.respond(product))
}

/// Puts a product on sale again. Safe to repeat.
#[utoipa::path(operation_id = "restore_product", post, path = "/api/products/{id}/restore", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path), ("If-Match" = Option<IfMatch>, Header, nullable = false, description = "`\"N\"`: only if this is the current version")),
    responses((status = 200, body = AdminView), WriteFailures))]
async fn restore(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let product = service::set_active(&mut tx, &admin.actor, &id, true, admin.version).await?;
    tx.commit().await?;
    Ok(admin.respond(product))
}

/// Schedules another sync of the product to Stripe.
#[utoipa::path(operation_id = "sync_product", post, path = "/api/products/{id}/sync", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path)),
    responses((status = 202, body = AdminView), WriteFailures))]
async fn sync(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let product = service::resync(&mut tx, &admin.actor, &id).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, admin.respond(product)).into_response())
}

/// Lists a product's stock movements, newest first.
#[utoipa::path(operation_id = "list_stock_movements", get, path = "/api/products/{id}/stock", tag = "stock", security(("bearer" = [])),
    params(("id" = String, Path), ("page" = Option<String>, Query), ("page_size" = Option<String>, Query, description = "1 to 100; anything else is 24")),
    responses((status = 200, body = CatalogPage<MovementView>), AdminReadFailures))]
async fn ledger(
    State(app): State<App>,
    admin: StockAdmin,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response> {
    let page = PageRequest::read(&query, PAGE_SIZE);
    let (count, movements) = inventory::movements(&mut *app.db.acquire().await?, &id, page).await?;
    let address = format!("{}/api/products/{}/stock/", admin.base, path_part(&id));
    Ok(unstored(page.of(count, movements, &address, &query)?))
}

/// Changes a product's stock, with a reason.
#[utoipa::path(operation_id = "change_stock", post, path = "/api/products/{id}/stock", tag = "stock", security(("bearer" = [])),
    params(("id" = String, Path),
        ("Idempotency-Key" = Option<IdempotencyKey>, Header, nullable = false, description = "A text of your choice for this change")),
    request_body = StockInput,
    responses((status = 200, body = StockView), WriteFailures,
        (status = 422, body = ErrorBody, description = "The key was used for another change")))]
async fn change_stock(
    State(app): State<App>,
    admin: StockAdmin,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response> {
    let asked = serde_json::to_vec(&(&id, &body)).map_err(anyhow::Error::from)?;
    let key = Key::read(&headers, "stock", &Owner::actor(&admin.actor), &asked)?;
    let mut tx = app.db.begin().await?;
    if let Some((status, answer)) = earlier_answer(&mut tx, key.as_ref()).await? {
        return Ok((status, unstored(answer)).into_response());
    }
    let input = StockInput::parse(body);
    let stock = service::change_stock(&mut tx, &admin.actor, &id, input).await?;
    keep_answer(&mut tx, key.as_ref(), StatusCode::OK, &stock).await?;
    tx.commit().await?;
    Ok(unstored(stock))
}

/// Lists all products except deleted ones, for owners. Has the filters of the public list and two more.
#[utoipa::path(operation_id = "list_products_as_admin", get, path = "/api/admin/products", tag = "products", security(("bearer" = [])),
    params(
        ("page" = Option<String>, Query), ("page_size" = Option<String>, Query, description = "1 to 100; anything else is 24"),
        ("lighter_type" = Option<u8>, Query, minimum = 1, maximum = 2), ("lighter_type__in" = Option<String>, Query, pattern = r"^(-?[0-9]{1,9}(\.[0-9]{1,9})?(,-?[0-9]{1,9}(\.[0-9]{1,9})?)*)?$"),
        ("category" = Option<String>, Query), ("category__in" = Option<String>, Query),
        ("is_sold_out" = Option<String>, Query, description = "`true` or `false`; anything else does not filter"),
        ("ordering" = Option<String>, Query, description = "As in the public list; or `available`, `-available`"),
        ("search" = Option<String>, Query), ("is_active" = Option<String>, Query, description = "`true` or `false`; anything else does not filter"),
        ("is_draft" = Option<String>, Query, description = "`true` or `false`; anything else does not filter"),
        ("stripe_status" = Option<String>, Query, description = "`synced`, `pending` or `error`", pattern = "^(synced|pending|error)?$"),
        ("running_out" = Option<i32>, Query,
            description = "Only products on sale with at most this many pieces left that once had more", minimum = 0, maximum = 1000),
    ),
    responses((status = 200, body = CatalogPage<AdminView>), AdminReadFailures))]
async fn admin_list(State(app): State<App>, admin: CatalogAdmin, query: Query) -> Result<Response> {
    let filter = ProductFilter::read_admin(&query);
    let page = PageRequest::read(&query, PAGE_SIZE);
    let listing = listing::for_owner(&mut *app.db.acquire().await?, &filter, page).await?;
    let views = listing
        .rows
        .into_iter()
        .map(|product| AdminView::new(product, &admin.base))
        .collect();
    let address = format!("{}/api/admin/products/", admin.base);
    Ok(unstored(page.of(listing.total, views, &address, &query)?))
}

/// Returns one product for owners, by id or slug.
#[utoipa::path(operation_id = "get_product_as_admin", get, path = "/api/admin/products/{id}", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = AdminView), AdminReadFailures))]
async fn admin_detail(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
) -> Result<Response> {
    let product = store::find(&mut *app.db.acquire().await?, &id).await?;
    Ok(admin.respond(product))
}

/// A change of several products.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ManyInput {
    /// `archive`, `restore` or `sync`.
    #[schema(pattern = "^(archive|restore|sync)$")]
    action: String,
    /// 1 to 100 ids or slugs.
    #[schema(min_items = 1, max_items = 100)]
    ids: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct ManyView {
    count: usize,
    results: Vec<AdminView>,
}

/// Archives, restores or syncs several products, all or none. Safe to repeat.
#[utoipa::path(operation_id = "change_products", patch, path = "/api/admin/products", tag = "products", security(("bearer" = [])),
    request_body = ManyInput,
    responses((status = 200, body = ManyView), WriteFailures))]
async fn change_many(
    State(app): State<App>,
    admin: CatalogAdmin,
    Json(many): Json<ManyInput>,
) -> Result<Response> {
    let mut field_errors = Vec::new();
    let what = BulkAction::parse(&many.action);
    if what.is_none() {
        field_errors.push(FieldError::new(
            "action",
            "Must be archive, restore or sync.",
        ));
    }
    if many.ids.is_empty() || many.ids.len() > MAX_BATCH {
        field_errors.push(FieldError::new("ids", "Must have 1 to 100 entries."));
    }
    let (Some(what), true) = (what, field_errors.is_empty()) else {
        return Err(Error::Invalid(field_errors));
    };
    let ids: Vec<&str> = many.ids.iter().map(String::as_str).collect();
    let mut tx = app.db.begin().await?;
    let changed = service::change_many(&mut tx, &admin.actor, what, &ids).await?;
    tx.commit().await?;
    let views = changed.into_iter();
    let results: Vec<AdminView> = views
        .map(|product| AdminView::new(product, &admin.base))
        .collect();
    Ok(unstored(ManyView {
        count: results.len(),
        results,
    }))
}

/// Copies a product. The copy is not on sale and has no stock.
#[utoipa::path(operation_id = "duplicate_product", post, path = "/api/admin/products/{id}/duplicate", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path),
        ("Idempotency-Key" = Option<IdempotencyKey>, Header, nullable = false, description = "A string of your choice that identifies this copy")),
    responses((status = 201, body = AdminView), WriteFailures,
        (status = 422, body = ErrorBody, description = "The key was used for another copy")))]
async fn duplicate(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    let key = Key::read(
        &headers,
        "duplicate",
        &Owner::actor(&admin.actor),
        id.as_bytes(),
    )?;
    let mut tx = app.db.begin().await?;
    if let Some((status, answer)) = earlier_answer(&mut tx, key.as_ref()).await? {
        return Ok((status, unstored(answer)).into_response());
    }
    let copy = service::duplicate(&mut tx, &admin.actor, &id).await?;
    let view = AdminView::new(copy.clone(), &admin.base);
    keep_answer(&mut tx, key.as_ref(), StatusCode::CREATED, &view).await?;
    tx.commit().await?;
    Ok(created(&admin, copy))
}

/// Responds with a new product and its address.
fn created(admin: &CatalogAdmin, product: Product) -> Response {
    let id = path_part(&product.id.0);
    let location = format!("{}/api/products/{id}/", admin.base);
    let head = [(header::LOCATION, location)];
    (StatusCode::CREATED, head, admin.respond(product)).into_response()
}

fn path_part(text: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    encoded.replace('+', "%20")
}
