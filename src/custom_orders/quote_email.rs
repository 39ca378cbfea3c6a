//! Admin API for the email of a drafted quote.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::{Admin, Scope};
use crate::emails;
use crate::error::answers::TokenFailures;
use crate::error::{Error, ErrorBody, Result};
use crate::http::{Json, Path};

/// Route of the preview of a quote's email.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(preview_quote))
}

/// The email of a drafted quote, as the customer would get it.
#[derive(Serialize, ToSchema)]
struct QuoteEmail {
    subject: String,
    /// With inlined images. Its payment button leads nowhere yet.
    html: String,
}

/// Previews the email that approving the drafted quote would send.
#[utoipa::path(
    operation_id = "preview_quote_email",
    get,
    path = "/api/admin/custom-orders/{id}/email",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    responses(
        (status = 200, body = QuoteEmail),
        TokenFailures,
        (status = 404, body = ErrorBody, description = "No such custom order, or no drafted quote"),
    )
)]
async fn preview_quote(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<QuoteEmail>> {
    admin.may(Scope::CustomOrders)?;
    let mut conn = app.db.acquire().await?;
    let id = super::resolve(&mut conn, &id).await?;
    let email = super::preview(&mut conn, &app, id).await?;
    drop(conn);
    let (subject, html) = emails::draw(&app, &email.ok_or(Error::NotFound("Email"))?).await?;
    Ok(Json(QuoteEmail { subject, html }))
}
