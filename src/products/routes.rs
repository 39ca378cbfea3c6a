//! Routes of the catalog: public reads, and reads and writes with an owner's token.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::input::{self, MAX_IMAGES, ProductInput, StockInput, WholeProduct, Write};
use super::keeping::{self, BulkAction, ImageMove};
use super::listing::{Filter, Page, PageRequest};
use super::store::Found;
use super::views::{
    AdminView, Availability, BatchView, ListedProduct, MovementView, ProductDetail, ProductEntry,
    StockView,
};
use super::{OwnHold, Product, categories, slugs, store};
use crate::app::App;
use crate::audit::Actor;
use crate::auth::{Admin, Scope};
use crate::error::answers::ListError;
use crate::error::{DatabaseFailure, Error, ErrorBody, FieldError, Result};
use crate::http::idempotency::{IdempotencyKey, Key, Known, Owner};
use crate::http::texts::IfMatch;
use crate::http::{Json, Path, Query};
use crate::types::ids::{ImageId, ProductId};

/// Builds the router of the catalog. The paths have no trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(batch))
        .routes(routes!(detail, replace, patch, delete))
        .routes(routes!(check_availability))
        .routes(routes!(archive))
        .routes(routes!(restore))
        .routes(routes!(ledger, change_stock))
        .routes(routes!(sync))
        .routes(routes!(admin_list, change_many))
        .routes(routes!(admin_detail))
        .routes(routes!(duplicate))
        .routes(routes!(add_images, order_images))
        .routes(routes!(remove_image))
        .routes(routes!(move_image_up))
        .routes(routes!(move_image_down))
        .routes(routes!(categories::list, categories::create))
        .routes(routes!(
            categories::detail,
            categories::replace,
            categories::patch,
            categories::delete
        ))
        .routes(routes!(categories::admin_list, categories::order))
        .routes(routes!(categories::move_up))
        .routes(routes!(categories::move_down))
}

const PAGE_SIZE: i64 = 24;
const MAX_BATCH: usize = 100;

/// Lists products for sale, 24 to a page.
#[utoipa::path(operation_id = "list_products", get, path = "/api/products", tag = "products",
    params(
        ("page" = Option<String>, Query, description = "From 1, or `last`"),
        ("page_size" = Option<String>, Query, description = "1 to 100; anything else is 24"),
        ("lighter_type" = Option<u8>, Query, description = "1 Classic BIC, 2 Mini BIC", minimum = 1, maximum = 2),
        ("lighter_type__in" = Option<String>, Query, description = "Numbers, separated by commas", pattern = r"^(-?[0-9]{1,9}(\.[0-9]{1,9})?(,-?[0-9]{1,9}(\.[0-9]{1,9})?)*)?$"),
        ("category" = Option<String>, Query, description = "A category's id or slug"),
        ("category__in" = Option<String>, Query, description = "Ids or slugs, separated by commas"),
        ("is_sold_out" = Option<String>, Query, description = "`true` or `false`; anything else does not filter"),
        ("ordering" = Option<String>, Query,
            description = "`name`, `price`, `created_at`, `lighter_type`, each with an optional `-`, separated by commas"),
        ("search" = Option<String>, Query, description = "Searches name, category and description; tolerates misspellings"),
    ),
    responses((status = 200, body = Page<ProductEntry>), ReadFailures))]
async fn list(State(app): State<App>, reader: Reader) -> Result<Response> {
    let mut field_errors = Vec::new();
    let filter = Filter::read(&reader.query, &mut field_errors);
    let page = PageRequest::read(&reader.query, PAGE_SIZE);
    let found = if filter.search.is_some() {
        search(&app, &filter, page).await?
    } else {
        store::list(&mut *app.db.acquire().await?, &filter, page).await?
    };
    filter.judge(found.category, found.categories, &mut field_errors);
    if !field_errors.is_empty() {
        return Err(Error::Filters(field_errors));
    }
    let entries = found
        .rows
        .into_iter()
        .map(|row| row.shown(&reader.own))
        .collect();
    let address = format!("{}/api/products/", reader.base);
    reader.answer(&page.of(found.total, entries, &address, &reader.query)?)
}

/// Begins a transaction in which a search may take one second and finds similar words. The settings are local to the
/// transaction, because a pooler may give the session to another client afterwards.
const BEGIN_SEARCH: &str = "begin; set local statement_timeout = '1s'; \
                            set local pg_trgm.word_similarity_threshold = 0.45";

/// Maximum wait for a search slot.
const SEARCH_PATIENCE: Duration = Duration::from_secs(1);

/// Runs a search, with limits on concurrency and time: searches must not keep other shoppers from buying.
///
/// # Errors
/// [`Error::SearchBusy`] if no slot becomes free in time, or if the search takes too long.
async fn search(app: &App, filter: &Filter, page: PageRequest) -> Result<Found<ListedProduct>> {
    let Ok(Ok(_slot)) = timeout(SEARCH_PATIENCE, app.searches.acquire()).await else {
        return Err(Error::SearchBusy);
    };
    let searching = async {
        let mut tx = app.db.begin_with(BEGIN_SEARCH).await?;
        store::list(&mut tx, filter, page).await
    };
    searching
        .await
        .map_err(|error: Error| match error.database_failure() {
            Some(DatabaseFailure::Busy) => Error::SearchBusy,
            _ => error,
        })
}

/// Returns one product for sale, by id or slug.
#[utoipa::path(operation_id = "get_product", get, path = "/api/products/{id}", tag = "products",
    params(("id" = String, Path, description = "An id, or else a slug")),
    responses((status = 200, body = ProductDetail), ReadFailures))]
async fn detail(
    State(app): State<App>,
    Path(id): Path<String>,
    reader: Reader,
) -> Result<Response> {
    let product = for_sale(&app, &id).await?;
    reader.answer(&ProductDetail::new(product, &reader.base, &reader.own))
}

/// Reports whether a product can be bought now.
#[utoipa::path(operation_id = "check_availability", get, path = "/api/products/{id}/check_availability", tag = "products",
    params(("id" = String, Path, description = "An id, or else a slug")),
    responses((status = 200, body = Availability), ReadFailures))]
async fn check_availability(
    State(app): State<App>,
    Path(id): Path<String>,
    reader: Reader,
) -> Result<Response> {
    let product = for_sale(&app, &id).await?;
    let available = product.available() + reader.own.of(&product.id);
    reader.answer(&Availability::new(product.is_sold_out, available))
}

/// Finds a product that shoppers may see.
async fn for_sale(app: &App, id: &str) -> Result<Product> {
    let product = store::find(&mut *app.db.acquire().await?, known_form(id)?, false).await?;
    product.ok_or(Error::NotFound("Product"))
}

/// Returns several products at once, for a cart. Products that are not for sale are omitted.
#[utoipa::path(operation_id = "list_products_by_ids", get, path = "/api/products/batch", tag = "products",
    params(("ids" = String, Query, description = "1 to 100 ids, separated by commas", pattern = r"^[^,]*[^,\s][^,]*(,[^,]*){0,99}$")),
    responses((status = 200, body = BatchView), ReadFailures))]
async fn batch(State(app): State<App>, reader: Reader) -> Result<Response> {
    let given = reader.query.get("ids").unwrap_or_default();
    if given.is_empty() {
        return Err(Error::bad_request(
            "ids_required",
            "ids parameter is required",
        ));
    }
    let requested: Vec<&str> = given
        .split(',')
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .collect();
    if requested.is_empty() {
        return Err(Error::bad_request("no_valid_ids", "No valid IDs provided"));
    }
    if requested.len() > MAX_BATCH {
        return Err(Error::bad_request(
            "too_many_ids",
            "Maximum 100 IDs allowed per request",
        ));
    }
    let ids: Vec<ProductId> = requested
        .iter()
        .filter_map(|id| ProductId::parse(id))
        .collect();
    let rows = store::batch(&mut *app.db.acquire().await?, &ids).await?;
    let products: Vec<ProductEntry> = rows.into_iter().map(|row| row.shown(&reader.own)).collect();
    reader.answer(&BatchView {
        count: products.len(),
        requested_ids: requested.into_iter().map(str::to_owned).collect(),
        found_ids: products.iter().map(|product| product.id.clone()).collect(),
        products,
    })
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
    let input = input::product(
        body,
        Write::Create,
        &admin.bases(&app),
        app.config.shop.currency,
    );
    let mut tx = app.db.begin().await?;
    if let Some(key) = &key
        && let Known::Answered { answer, .. } = key.claim(&mut tx).await?
    {
        return Ok((StatusCode::CREATED, unstored(answer)).into_response());
    }
    let product = keeping::create_parsed(&mut tx, &admin.actor, input).await?;
    if let Some(key) = &key {
        let view = AdminView::new(product.clone(), &admin.base);
        let view = serde_json::to_value(view).map_err(anyhow::Error::from)?;
        key.keep(&mut tx, None, Some((201, &view))).await?;
    }
    tx.commit().await?;
    let location = format!("{}/api/products/{}/", admin.base, path_part(&product.id.0));
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        admin.shows(product),
    )
        .into_response())
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
    let input = input::product(body, write, &admin.bases(&app), app.config.shop.currency);
    let mut tx = app.db.begin().await?;
    let product = keeping::change_parsed(&mut tx, &admin.actor, id, input, admin.version).await?;
    tx.commit().await?;
    Ok(admin.shows(product))
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
    keeping::delete(&mut tx, &admin.actor, &id, admin.version).await?;
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
    let product = keeping::set_active(&mut tx, &admin.actor, &id, false, admin.version).await?;
    tx.commit().await?;
    Ok(admin.shows(product))
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
    let product = keeping::set_active(&mut tx, &admin.actor, &id, true, admin.version).await?;
    tx.commit().await?;
    Ok(admin.shows(product))
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
    let product = keeping::resync(&mut tx, &admin.actor, &id).await?;
    tx.commit().await?;
    Ok((StatusCode::ACCEPTED, admin.shows(product)).into_response())
}

/// Lists a product's stock movements, newest first.
#[utoipa::path(operation_id = "list_stock_movements", get, path = "/api/products/{id}/stock", tag = "stock", security(("bearer" = [])),
    params(("id" = String, Path), ("page" = Option<String>, Query), ("page_size" = Option<String>, Query, description = "1 to 100; anything else is 24")),
    responses((status = 200, body = Page<MovementView>), AdminReadFailures))]
async fn ledger(
    State(app): State<App>,
    admin: StockAdmin,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response> {
    let page = PageRequest::read(&query, PAGE_SIZE);
    let found = store::movements(&mut *app.db.acquire().await?, known_form(&id)?, page).await?;
    let (count, movements) = found.ok_or(Error::NotFound("Product"))?;
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
    if let Some(key) = &key
        && let Known::Answered { answer, .. } = key.claim(&mut tx).await?
    {
        return Ok(unstored(answer));
    }
    let stock =
        keeping::change_stock_parsed(&mut tx, &admin.actor, &id, input::stock(body)).await?;
    if let Some(key) = &key {
        let view = serde_json::to_value(&stock).map_err(anyhow::Error::from)?;
        key.keep(&mut tx, None, Some((200, &view))).await?;
    }
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
        ("stripe_status" = Option<String>, Query, description = "`synced`, `pending` or `error`", pattern = "^(synced|pending|error)?$"),
        ("running_out" = Option<i32>, Query,
            description = "Only products on sale with at most this many pieces left that once had more", minimum = 0, maximum = 1000),
    ),
    responses((status = 200, body = Page<AdminView>), AdminReadFailures))]
async fn admin_list(State(app): State<App>, admin: CatalogAdmin, query: Query) -> Result<Response> {
    let mut field_errors = Vec::new();
    let filter = Filter::read_admin(&query, &mut field_errors);
    let page = PageRequest::read(&query, PAGE_SIZE);
    let found = store::list_whole(&mut *app.db.acquire().await?, &filter, page).await?;
    filter.judge(found.category, found.categories, &mut field_errors);
    if !field_errors.is_empty() {
        return Err(Error::Filters(field_errors));
    }
    let views = found
        .rows
        .into_iter()
        .map(|product| AdminView::new(product, &admin.base))
        .collect();
    let address = format!("{}/api/admin/products/", admin.base);
    Ok(unstored(page.of(found.total, views, &address, &query)?))
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
    let product = store::find(&mut *app.db.acquire().await?, known_form(&id)?, true).await?;
    Ok(admin.shows(product.ok_or(Error::NotFound("Product"))?))
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
    let changed = keeping::change_many(&mut tx, &admin.actor, what, &ids).await?;
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
    if let Some(key) = &key
        && let Known::Answered { answer, .. } = key.claim(&mut tx).await?
    {
        return Ok((StatusCode::CREATED, unstored(answer)).into_response());
    }
    let copy = keeping::duplicate(&mut tx, &admin.actor, &id).await?;
    let location = format!("{}/api/products/{}/", admin.base, path_part(&copy.id.0));
    if let Some(key) = &key {
        let view = AdminView::new(copy.clone(), &admin.base);
        let view = serde_json::to_value(view).map_err(anyhow::Error::from)?;
        key.keep(&mut tx, None, Some((201, &view))).await?;
    }
    tx.commit().await?;
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        admin.shows(copy),
    )
        .into_response())
}

/// Ids of a product's images.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ImagesInput {
    /// Ids of uploaded images, at most 10.
    #[schema(value_type = Vec<ImageId>, min_items = 1, max_items = 10)]
    images: Vec<String>,
}

impl ImagesInput {
    fn check(&self) -> Result<Vec<ImageId>> {
        let mut field_errors = Vec::new();
        if self.images.is_empty() || self.images.len() > MAX_IMAGES {
            field_errors.push(FieldError::new("images", "Must have 1 to 10 entries."));
        }
        let mut ids = Vec::new();
        for (at, text) in self.images.iter().enumerate().take(MAX_IMAGES) {
            match ImageId::parse(text) {
                Some(id) => ids.push(id),
                None => field_errors.push(FieldError::new(
                    format!("images[{at}]"),
                    "Must be the id of an uploaded image.",
                )),
            }
        }
        if field_errors.is_empty() {
            Ok(ids)
        } else {
            Err(Error::Invalid(field_errors))
        }
    }
}

/// Appends uploaded images to a product. Images that it already has are skipped. Safe to repeat.
#[utoipa::path(operation_id = "add_product_images", post, path = "/api/admin/products/{id}/images", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path)), request_body = ImagesInput,
    responses((status = 200, body = AdminView), WriteFailures))]
async fn add_images(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
    Json(input): Json<ImagesInput>,
) -> Result<Response> {
    let images = input.check()?;
    let mut tx = app.db.begin().await?;
    let added = keeping::add_images(&mut tx, &admin.actor, &id, &images).await;
    let product = added.map_err(|error| under("images", error))?;
    tx.commit().await?;
    Ok(admin.shows(product))
}

/// Sets the order of a product's images. The given ones come first, the others follow. Safe to repeat.
#[utoipa::path(operation_id = "order_product_images", put, path = "/api/admin/products/{id}/images", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path)), request_body = ImagesInput,
    responses((status = 200, body = AdminView), WriteFailures))]
async fn order_images(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
    Json(input): Json<ImagesInput>,
) -> Result<Response> {
    let images = input.check()?;
    let mut tx = app.db.begin().await?;
    let product = keeping::find(&mut tx, &id).await?;
    let field_errors: Vec<FieldError> = images
        .iter()
        .enumerate()
        .filter(|(_, image)| product.images.iter().all(|kept| kept.id != **image))
        .map(|(at, _)| {
            let sentence = "The product has no such image.";
            FieldError::new(format!("images[{at}]"), sentence)
        })
        .collect();
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let asked = ImageMove::Order(images);
    let product = keeping::move_images(&mut tx, &admin.actor, &id, &asked).await?;
    tx.commit().await?;
    Ok(admin.shows(product))
}

/// Removes an image from a product. Safe to repeat.
#[utoipa::path(operation_id = "remove_product_image", delete, path = "/api/admin/products/{id}/images/{image}", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path), ("image" = String, Path)),
    responses((status = 200, body = AdminView), WriteFailures))]
async fn remove_image(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path((id, image)): Path<(String, String)>,
) -> Result<Response> {
    move_image(app, admin, &id, &image, ImageMove::Remove).await
}

/// Moves an image of a product up one place. The first one stays.
#[utoipa::path(operation_id = "move_product_image_up", post, path = "/api/admin/products/{id}/images/{image}/up", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path), ("image" = String, Path)),
    responses((status = 200, body = AdminView), WriteFailures))]
async fn move_image_up(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path((id, image)): Path<(String, String)>,
) -> Result<Response> {
    move_image(app, admin, &id, &image, ImageMove::Up).await
}

/// Moves an image of a product down one place. The last one stays.
#[utoipa::path(operation_id = "move_product_image_down", post, path = "/api/admin/products/{id}/images/{image}/down", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path), ("image" = String, Path)),
    responses((status = 200, body = AdminView), WriteFailures))]
async fn move_image_down(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path((id, image)): Path<(String, String)>,
) -> Result<Response> {
    move_image(app, admin, &id, &image, ImageMove::Down).await
}

async fn move_image(
    app: App,
    admin: CatalogAdmin,
    id: &str,
    image: &str,
    asked: fn(ImageId) -> ImageMove,
) -> Result<Response> {
    let image = ImageId::parse(image).ok_or(Error::NotFound("Image"))?;
    let mut tx = app.db.begin().await?;
    let asked = asked(image);
    let product = keeping::move_images(&mut tx, &admin.actor, id, &asked).await?;
    tx.commit().await?;
    Ok(admin.shows(product))
}

/// Renames the field of field errors to the caller's field.
fn under(field: &str, error: Error) -> Error {
    match error {
        Error::Invalid(field_errors) => Error::Invalid(
            field_errors
                .into_iter()
                .map(|field_error| FieldError::new(field, field_error.message))
                .collect(),
        ),
        other => other,
    }
}

/// Failures of a public read, in the format of the previous service.
#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "read by the OpenAPI document alone")]
pub(super) enum ReadFailures {
    /// The caller has the current response already (`If-None-Match`).
    #[response(status = 304)]
    NotModified,
    /// A parameter is invalid.
    #[response(status = 400)]
    BadRequest(ListError),
    /// The object or the page does not exist.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The path does not support this method.
    #[response(status = 405)]
    MethodNotAllowed(ErrorBody),
}

/// Failures of a read that needs a token.
#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "read by the OpenAPI document alone")]
pub(super) enum AdminReadFailures {
    /// A parameter is invalid.
    #[response(status = 400)]
    BadRequest(ListError),
    /// The token is missing or invalid.
    #[response(status = 401)]
    Unauthenticated(ErrorBody),
    /// The token lacks the scope.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The object or the page does not exist.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The path does not support this method.
    #[response(status = 405)]
    MethodNotAllowed(ErrorBody),
}

/// Failures of a write.
#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "read by the OpenAPI document alone")]
pub(super) enum WriteFailures {
    /// The body is not JSON, or a field is invalid; each error names its field.
    #[response(status = 400)]
    BadRequest(ErrorBody),
    /// The token is missing or invalid.
    #[response(status = 401)]
    Unauthenticated(ErrorBody),
    /// The token lacks the scope.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The object does not exist.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The path does not support this method.
    #[response(status = 405)]
    MethodNotAllowed(ErrorBody),
    /// `version_conflict`, `inventory_changed`, `stock_is_held`, `slug_taken` or `id_taken`.
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is not `application/json`.
    #[response(status = 415)]
    UnsupportedMediaType(ErrorBody),
}

/// A public read of the catalog: query, the shopper's own hold, and `If-None-Match`.
pub(super) struct Reader {
    pub query: Query,
    /// Scheme and host of URLs in the response.
    pub base: String,
    pub own: OwnHold,
    known: Option<HeaderValue>,
}

impl FromRequestParts<App> for Reader {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Reader> {
        let Ok(query) = Query::from_request_parts(parts, app).await;
        if !matches!(query.get("format"), None | Some("" | "json")) {
            return Err(Error::NotFound(""));
        }
        Ok(Reader {
            query,
            base: base_url(app, parts),
            own: parts
                .extensions
                .get::<OwnHold>()
                .cloned()
                .unwrap_or_default(),
            known: parts.headers.get(header::IF_NONE_MATCH).cloned(),
        })
    }
}

impl Reader {
    /// Responds with JSON, or with 304 if the caller has the current version. Caches must revalidate, because stock
    /// changes and because a shopper's own hold, identified by the cookie, affects the response.
    pub fn answer<T: Serialize>(&self, view: &T) -> Result<Response> {
        let body = serde_json::to_vec(view).map_err(anyhow::Error::from)?;
        let tag = entity_tag(&body);
        let known = self.known.as_ref().and_then(|value| value.to_str().ok());
        let mut response = if known.is_some_and(|known| names_tag(known, &tag)) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(
            header::ETAG,
            HeaderValue::from_str(&tag).map_err(anyhow::Error::from)?,
        );
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        );
        headers.append(header::VARY, HeaderValue::from_static("Cookie"));
        Ok(response)
    }
}

/// Computes a weak entity tag: compression changes the bytes of the body.
fn entity_tag(body: &[u8]) -> String {
    let hash = Sha256::digest(body);
    let hash = u128::from_be_bytes(std::array::from_fn(|at| hash[at]));
    format!("W/\"{hash:032x}\"")
}

fn names_tag(known: &str, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    known
        .split(',')
        .any(|item| item.trim() == "*" || opaque(item) == opaque(tag))
}

/// A caller whose token has the scope `stock` or `catalog`. It is extracted before the body, so that unauthorized
/// bodies are not read.
pub(super) struct ProductAdmin<const OF_STOCK: bool> {
    pub actor: Actor,
    token: Admin,
    /// Scheme and host of URLs in the response.
    pub base: String,
    /// The version in `If-Match`.
    version: Option<i64>,
}

pub(super) type CatalogAdmin = ProductAdmin<false>;
pub(super) type StockAdmin = ProductAdmin<true>;

impl<const OF_STOCK: bool> FromRequestParts<App> for ProductAdmin<OF_STOCK> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let admin = Admin::from_request_parts(parts, app).await?;
        admin.may(if OF_STOCK {
            Scope::Stock
        } else {
            Scope::Catalog
        })?;
        Ok(ProductAdmin {
            actor: admin.actor.clone(),
            token: admin,
            base: base_url(app, parts),
            version: expected_version(&parts.headers)?,
        })
    }
}

impl<const OF_STOCK: bool> ProductAdmin<OF_STOCK> {
    /// Returns the base URLs of this shop's own images in requests.
    fn bases<'a>(&'a self, app: &'a App) -> [&'a str; 2] {
        [&self.base, &app.config.server.public_url]
    }

    /// Responds with the product for owners. The entity tag is its version, usable in `If-Match`.
    fn shows(&self, product: Product) -> Response {
        let tag = format!("\"{}\"", product.version);
        let view = AdminView::new(product, &self.base);
        ([(header::ETAG, tag)], unstored(view)).into_response()
    }
}

fn expected_version(headers: &HeaderMap) -> Result<Option<i64>> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let value = value.to_str().unwrap_or_default().trim();
    if value == "*" {
        return Ok(None);
    }
    let number = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let version = number.unwrap_or(value).parse().ok();
    version
        .map(Some)
        .ok_or_else(|| Error::invalid("If-Match", "Must be a version in quotes: \"3\"."))
}

/// Responds with JSON that must not be stored by caches.
fn unstored<T: Serialize>(view: T) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(view)).into_response()
}

/// Returns scheme and host of the request. In production, they come from the configuration, because clients control the
/// Host header.
pub fn base_url(app: &App, parts: &Parts) -> String {
    let headers = &parts.headers;
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let is_https = peer.is_some_and(|peer| app.config.is_forwarded_https(peer.0.ip(), headers));
    let scheme = if is_https { "https" } else { "http" };
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    match host {
        Some(host) if !app.config.is_production() && is_host(host) => format!("{scheme}://{host}"),
        _ => app.config.server.public_url.clone(),
    }
}

fn is_host(text: &str) -> bool {
    !text.contains('@')
        && text
            .parse::<Authority>()
            .is_ok_and(|it| !it.host().is_empty())
}

/// Rejects text that is neither a valid id nor a valid slug.
fn known_form(id: &str) -> Result<&str> {
    match ProductId::parse(id) {
        Some(_) => Ok(id),
        None if slugs::is_slug(id) => Ok(id),
        None => Err(Error::NotFound("Product")),
    }
}

fn path_part(text: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    encoded.replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_however_it_is_written() {
        let tag = entity_tag(b"{}");
        let strong = tag.trim_start_matches("W/");
        assert!(names_tag(&tag, &tag) && names_tag(strong, &tag) && names_tag("*", &tag));
        assert!(names_tag(&format!("\"x\", {tag}"), &tag));
        assert!(!names_tag(&entity_tag(b"[]"), &tag));
    }

    #[test]
    fn if_match_names_a_version() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, HeaderValue::from_static(value));
            expected_version(&headers).ok()
        };
        assert_eq!(read("\"3\""), Some(Some(3)));
        assert_eq!(read("3"), Some(Some(3)));
        assert_eq!(read("*"), Some(None));
        assert_eq!(read("W/\"ab\""), None);
    }

    #[test]
    fn only_a_host_becomes_an_address() {
        assert!(is_host("localhost:8000") && is_host("[::1]:80") && is_host("shop.example"));
        assert!(!is_host("a@b") && !is_host("a/b") && !is_host("a b") && !is_host(""));
    }
}
