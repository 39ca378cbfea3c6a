//! Routes of a product's images. They need a token.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ImageMove, service};
use crate::app::App;
use crate::error::{Error, FieldError, Result};
use crate::http::{Json, Path};
use crate::products::extract::{CatalogAdmin, WriteFailures};
use crate::products::input::MAX_IMAGES;
use crate::products::store;
use crate::products::views::AdminView;
use crate::types::ids::ImageId;

/// Builds the router. The paths have no trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(add, order))
        .routes(routes!(remove))
        .routes(routes!(move_up))
        .routes(routes!(move_down))
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
async fn add(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
    Json(input): Json<ImagesInput>,
) -> Result<Response> {
    let images = input.check()?;
    let mut tx = app.db.begin().await?;
    let added = service::add_images(&mut tx, &admin.actor, &id, &images).await;
    let product = added.map_err(|error| under("images", error))?;
    tx.commit().await?;
    Ok(admin.respond(product))
}

/// Sets the order of a product's images. The given ones come first, the others follow. Safe to repeat.
#[utoipa::path(operation_id = "order_product_images", put, path = "/api/admin/products/{id}/images", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path)), request_body = ImagesInput,
    responses((status = 200, body = AdminView), WriteFailures))]
async fn order(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
    Json(input): Json<ImagesInput>,
) -> Result<Response> {
    let images = input.check()?;
    let mut tx = app.db.begin().await?;
    let product = store::find(&mut tx, &id).await?;
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
    let product = service::move_images(&mut tx, &admin.actor, &id, &asked).await?;
    tx.commit().await?;
    Ok(admin.respond(product))
}

/// Removes an image from a product. Safe to repeat.
#[utoipa::path(operation_id = "remove_product_image", delete, path = "/api/admin/products/{id}/images/{image}", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path), ("image" = String, Path)),
    responses((status = 200, body = AdminView), WriteFailures))]
async fn remove(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path((id, image)): Path<(String, String)>,
) -> Result<Response> {
    change(app, admin, &id, &image, ImageMove::Remove).await
}

/// Moves an image of a product up one place. The first one stays.
#[utoipa::path(operation_id = "move_product_image_up", post, path = "/api/admin/products/{id}/images/{image}/up", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path), ("image" = String, Path)),
    responses((status = 200, body = AdminView), WriteFailures))]
async fn move_up(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path((id, image)): Path<(String, String)>,
) -> Result<Response> {
    change(app, admin, &id, &image, ImageMove::Up).await
}

/// Moves an image of a product down one place. The last one stays.
#[utoipa::path(operation_id = "move_product_image_down", post, path = "/api/admin/products/{id}/images/{image}/down", tag = "products", security(("bearer" = [])),
    params(("id" = String, Path), ("image" = String, Path)),
    responses((status = 200, body = AdminView), WriteFailures))]
async fn move_down(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path((id, image)): Path<(String, String)>,
) -> Result<Response> {
    change(app, admin, &id, &image, ImageMove::Down).await
}

async fn change(
    app: App,
    admin: CatalogAdmin,
    id: &str,
    image: &str,
    asked: fn(ImageId) -> ImageMove,
) -> Result<Response> {
    let image = ImageId::parse(image).ok_or(Error::NotFound("Image"))?;
    let mut tx = app.db.begin().await?;
    let asked = asked(image);
    let product = service::move_images(&mut tx, &admin.actor, id, &asked).await?;
    tx.commit().await?;
    Ok(admin.respond(product))
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
