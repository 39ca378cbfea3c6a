//! Image uploads over HTTP, for the catalog and for custom orders.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::{Admin, Scope};
use crate::error::{Error, ErrorBody, FieldError, Result};
use crate::http::Json;
use crate::images::{self, Batch, ImageView};
use crate::types::ids::ImageId;

/// Name of the form field.
const FIELD: &str = "image";

/// Routes of images, without a trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(upload))
}

/// An uploaded image.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeptImage {
    pub id: ImageId,
    #[serde(flatten)]
    pub view: ImageView,
}

/// A form with images.
#[derive(ToSchema)]
#[allow(dead_code, reason = "used only by the OpenAPI document")]
struct UploadForm {
    /// A part for each image: JPEG, PNG, WebP or GIF.
    #[schema(value_type = Vec<String>, format = Binary, min_items = 1, max_items = 10)]
    image: Vec<String>,
}

/// Uploads images, all or none. Images unreferenced a day later are deleted. Identical images have the same id.
#[utoipa::path(operation_id = "upload_images", post, path = "/api/admin/images", tag = "images", security(("bearer" = [])),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 201, body = Vec<KeptImage>), UploadFailures))]
async fn upload(State(app): State<App>, admin: Admin, request: Request) -> Result<Response> {
    admin
        .may(Scope::Catalog)
        .or_else(|_| admin.may(Scope::CustomOrders))?;
    let deadline = request.extensions().get().cloned();
    let form = images::read_form(&app.storage, request, FIELD).await?;
    let limits = app.storage.limits();
    // Refused before anything is stored.
    if form.surplus > 0 {
        let sentence = format!("Up to {} images at once are allowed.", limits.files);
        return Err(Error::invalid(FIELD, sentence));
    }
    if form.files.is_empty() {
        return Err(Error::invalid(FIELD, "Send at least one image."));
    }
    let mut batch = Batch::begin(&app.storage, &app.db, deadline);
    let taking_in = async {
        let mut field_errors = Vec::new();
        for (index, file) in form.files.into_iter().enumerate() {
            if let Some(refusal) = batch.keep(file).await? {
                let field = format!("{FIELD}[{index}]");
                field_errors.push(FieldError::new(field, refusal.sentence(&limits)));
            }
        }
        match field_errors.is_empty() {
            true => Ok(()),
            false => Err(Error::Invalid(field_errors)),
        }
    };
    if let Err(error) = taking_in.await {
        batch.discard().await;
        return Err(error);
    }
    let ids = batch.ids();
    batch.done();
    let views = images::find_views(&mut *app.db.acquire().await?, &ids).await?;
    let images: Vec<KeptImage> = ids
        .into_iter()
        .filter_map(|id| {
            let view = views.get(&id).cloned()?;
            Some(KeptImage { id, view })
        })
        .collect();
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, headers, Json(images)).into_response())
}

/// Errors of an upload.
#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "used only by the OpenAPI document")]
enum UploadFailures {
    /// Malformed, or not images: each entry names its file, as `image[1]`.
    #[response(status = 400)]
    BadRequest(ErrorBody),
    /// No valid token.
    #[response(status = 401)]
    Unauthenticated(ErrorBody),
    /// The token has neither the scope `catalog` nor `custom_orders`.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// Method not allowed.
    #[response(status = 405)]
    MethodNotAllowed(ErrorBody),
    /// The body stopped arriving.
    #[response(status = 408)]
    TimedOut(ErrorBody),
    /// The files exceed the total limit.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is not `multipart/form-data`.
    #[response(status = 415)]
    UnsupportedMediaType(ErrorBody),
    /// `media_unavailable`: the images cannot be stored at the moment.
    #[response(status = 503)]
    Unavailable(ErrorBody),
}
