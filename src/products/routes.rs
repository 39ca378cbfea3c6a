//! Routes of the catalog for the storefront. They need no token.

use axum::extract::State;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::changes::Shown;
use super::extract::{ReadFailures, StorefrontRequest};
use super::filter::ProductFilter;
use super::input::MAX_BATCH;
use super::paging::{CatalogPage, PAGE_SIZE, PageRequest};

use super::views::{Availability, BatchView, ProductDetail, ProductEntry};
use super::{admin_routes, categories, intakes, lighters, listing, product_images, store};
use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::http::Path;
use crate::types::ids::ProductId;

/// Builds the router of the catalog, with the routes that need a token. The paths have no trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(batch))
        .routes(routes!(detail))
        .routes(routes!(check_availability))
        .merge(admin_routes::router())
        .merge(product_images::router())
        .merge(lighters::router())
        .merge(intakes::router())
        .merge(categories::router())
}

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
    responses((status = 200, body = CatalogPage<ProductEntry>), ReadFailures))]
async fn list(State(app): State<App>, request: StorefrontRequest) -> Result<Response> {
    let filter = ProductFilter::read(&request.query);
    let page = PageRequest::read(&request.query, PAGE_SIZE);
    let listing = listing::for_sale(&app, &filter, page).await?;
    let entries = listing
        .rows
        .into_iter()
        .map(|row| row.shown(&request.own))
        .collect();
    let address = format!("{}/api/products/", request.base);
    let page = page.of(listing.total, entries, &address, &request.query)?;
    request.answer(&page, Shown::Products)
}

/// Returns one product for sale, by id or slug.
#[utoipa::path(operation_id = "get_product", get, path = "/api/products/{id}", tag = "products",
    params(("id" = String, Path, description = "An id, or else a slug")),
    responses((status = 200, body = ProductDetail), ReadFailures))]
async fn detail(
    State(app): State<App>,
    Path(id): Path<String>,
    request: StorefrontRequest,
) -> Result<Response> {
    let product = store::find_for_sale(&mut *app.db.acquire().await?, &id).await?;
    let shown = Shown::Product(product.id.clone());
    request.answer(
        &ProductDetail::new(product, &request.base, &request.own),
        shown,
    )
}

/// Reports whether a product can be bought now.
#[utoipa::path(operation_id = "check_availability", get, path = "/api/products/{id}/check_availability", tag = "products",
    params(("id" = String, Path, description = "An id, or else a slug")),
    responses((status = 200, body = Availability), ReadFailures))]
async fn check_availability(
    State(app): State<App>,
    Path(id): Path<String>,
    request: StorefrontRequest,
) -> Result<Response> {
    let product = store::find_for_sale(&mut *app.db.acquire().await?, &id).await?;
    let available = product.available() + request.own.of(&product.id);
    let view = Availability::new(product.is_sold_out, available);
    request.answer(&view, Shown::Product(product.id))
}

/// Returns several products at once, for a cart. Products that are not for sale are omitted.
#[utoipa::path(operation_id = "list_products_by_ids", get, path = "/api/products/batch", tag = "products",
    params(("ids" = String, Query, description = "1 to 100 ids, separated by commas", pattern = r"^[^,]*[^,\s][^,]*(,[^,]*){0,99}$")),
    responses((status = 200, body = BatchView), ReadFailures))]
async fn batch(State(app): State<App>, request: StorefrontRequest) -> Result<Response> {
    let given = request.query.get("ids").unwrap_or_default();
    if given.is_empty() {
        return Err(Error::refused(
            Code::IdsRequired,
            "ids parameter is required",
        ));
    }
    let requested: Vec<&str> = given
        .split(',')
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .collect();
    if requested.is_empty() {
        return Err(Error::refused(Code::NoValidIds, "No valid IDs provided"));
    }
    if requested.len() > MAX_BATCH {
        return Err(Error::refused(
            Code::TooManyIds,
            "Maximum 100 IDs allowed per request",
        ));
    }
    let ids: Vec<ProductId> = requested
        .iter()
        .filter_map(|id| ProductId::parse(id))
        .collect();
    let rows = store::batch(&mut *app.db.acquire().await?, &ids).await?;
    let products: Vec<ProductEntry> = rows
        .into_iter()
        .map(|row| row.shown(&request.own))
        .collect();
    let view = BatchView {
        count: products.len(),
        requested_ids: requested.into_iter().map(str::to_owned).collect(),
        found_ids: products.iter().map(|product| product.id.clone()).collect(),
        products,
    };
    request.answer(&view, Shown::Products)
}
