//! Public API of custom orders: requests for a piece. The owner's API is in `admin_routes`, the customer's page in
//! `status_page`.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{NewCustomOrder, admin_routes, form, service, status_page};
use crate::app::App;
use crate::error::{ErrorBody, Result};
use crate::http::Json;
use crate::http::rate_limit::{Action, Client};
use crate::http::texts::ShortLine;
use crate::images::{Batch, ReceivedFile};
use crate::types::ids::CustomOrderId;

/// All routes of custom orders: the storefront's form, the customer's page and the owner's API.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(
            OpenApiRouter::new()
                .routes(routes!(submit))
                // The body reader has limits of its own for each file.
                .layer(DefaultBodyLimit::disable()),
        )
        .routes(routes!(status_page::status))
        .route("/api/custom-orders/{id}", any(status_page::damaged_link))
        .route(
            "/api/custom-orders/{id}/{rest}",
            any(status_page::damaged_link),
        )
        .merge(admin_routes::router())
}

/// Email address of the customer: up to 255 characters.
#[derive(ToSchema)]
#[schema(
    max_length = 255,
    pattern = r"^[^\s@\x00-\x1f\x7f-\x9f]+@[^\s@.\x00-\x1f\x7f-\x9f]+(\.[^\s@.\x00-\x1f\x7f-\x9f]+)+$"
)]
#[allow(dead_code, reason = "used only by the API document")]
struct VisitorAddress(String);

/// Description of the piece: 10 to 1000 characters without surrounding whitespace. A line end counts as one character.
#[derive(ToSchema)]
#[schema(
    pattern = r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x08\x0b-\x1f\x7f-\x9f]{8,998}[^\s\x00-\x1f\x7f-\x9f]$"
)]
#[allow(dead_code, reason = "as above")]
struct Wish(String);

/// The storefront's form. The JSON variant has the same fields, with images as base64 `data:` addresses.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "describes the body for the API document; it is read as it streams"
)]
struct SubmittedForm {
    #[schema(value_type = ShortLine)]
    name: String,
    #[schema(value_type = VisitorAddress)]
    email: String,
    #[schema(value_type = Wish)]
    description: String,
    /// Up to 200 characters.
    #[schema(
        nullable = false,
        max_length = 200,
        pattern = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$"
    )]
    colors: Option<String>,
    /// Up to 10 images of up to 7 MiB each: JPEG, PNG, WebP or GIF.
    #[schema(value_type = Vec<String>, format = Binary, required = false, max_items = 10)]
    images: Vec<Vec<u8>>,
}

/// The JSON variant. Remote image addresses are rejected: the server fetches nothing.
#[derive(ToSchema)]
#[allow(dead_code, reason = "as above")]
struct SubmittedJson {
    #[schema(value_type = ShortLine)]
    name: String,
    #[schema(value_type = VisitorAddress)]
    email: String,
    #[schema(value_type = Wish)]
    description: String,
    /// Up to 200 characters.
    #[schema(max_length = 200, pattern = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")]
    colors: Option<String>,
    /// Up to 10 images: `data:image/…;base64,…`
    #[schema(required = false, max_items = 10)]
    images: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct Submitted {
    success: bool,
    message: &'static str,
    request_id: CustomOrderId,
}

/// Requests a custom order, with a description and up to ten images.
#[utoipa::path(
    post,
    operation_id = "request_custom_order",
    path = "/api/custom-orders",
    tag = "custom orders",
    request_body(content(
        (SubmittedForm = "multipart/form-data"),
        (SubmittedJson = "application/json"),
    )),
    responses(
        (status = 201, body = Submitted),
        (status = 400, body = ErrorBody, description = "The problem, with the field or image: `missing_field`, `invalid_field`, `invalid_name`, `invalid_email`, `description_too_short`, `too_long`, `too_many_images`, `image_too_large`, `invalid_image`"),
        (status = 408, body = ErrorBody),
        (status = 413, body = ErrorBody),
        (status = 429, body = ErrorBody, description = "Too many requests from this address"),
        (status = 503, body = ErrorBody),
    )
)]
async fn submit(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response> {
    // Checked before reading the body, which may be large.
    let client = Client::of(&app, peer.ip(), request.headers());
    client.check(&app, Action::CustomOrder).await?;
    let deadline = request.extensions().get().cloned();
    let (mut new, uploads) = form::read(&app, request).await?;
    let mut images = Batch::begin(&app.storage, &app.db, deadline);
    let taken = async {
        for (at, upload) in uploads.into_iter().enumerate() {
            if let Some(refusal) = images.keep(ReceivedFile::Upload(upload)).await? {
                return Err(form::refused(at, refusal, &app));
            }
        }
        new.images = images.ids();
        take_in(&app, &new).await
    };
    match taken.await {
        Ok(request_id) => {
            images.done();
            let answer = Submitted {
                success: true,
                message: "Custom order request submitted successfully!",
                request_id,
            };
            let fresh = [(header::CACHE_CONTROL, "no-store")];
            Ok((StatusCode::CREATED, fresh, Json(answer)).into_response())
        }
        Err(error) => {
            images.discard().await;
            Err(error)
        }
    }
}

async fn take_in(app: &App, new: &NewCustomOrder) -> Result<CustomOrderId> {
    let mut tx = app.db.begin().await?;
    let request = service::submit(&mut tx, app, new).await?;
    tx.commit().await?;
    Ok(request.id)
}
