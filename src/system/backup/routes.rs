//! The backup as a download.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::write;
use crate::app::App;
use crate::audit::Actor;
use crate::auth::{Admin, Scope};
use crate::error::answers::TokenFailures;
use crate::error::{ErrorBody, Result};

/// Routes of backups, without a trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create))
}

#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "read by the OpenAPI document alone")]
enum BackupConflict {
    /// Another backup reads the tables: `backup_running`.
    #[response(status = 409)]
    Conflict(ErrorBody),
}

/// Makes a backup: the database and the images in one file, for `spirit-beads restore`.
///
/// The file is whole only if the answer ends properly: `restore` checks it.
#[utoipa::path(
    get,
    operation_id = "create_backup",
    path = "/api/admin/backup",
    tag = "system",
    security(("bearer" = [])),
    responses((status = 200, body = String, content_type = "application/x-tar"), TokenFailures, BackupConflict)
)]
async fn create(State(app): State<App>, admin: Admin) -> Result<Response> {
    admin.may(Scope::Backup)?;
    download(app, &admin.actor).await
}

/// Answers with a new backup as a file.
///
/// # Errors
/// As [`write::begin`]. Whatever fails later cuts the answer off.
pub async fn download(app: App, actor: &Actor) -> Result<Response> {
    let backup = write::begin(&app, actor).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-tar".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{}\"", backup.name),
        ),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let chunks = stream::try_unfold((backup, app), |(mut backup, app)| async move {
        if let Some(chunk) = backup.next().await {
            return Ok(Some((chunk, (backup, app))));
        }
        match backup.finish(&app).await {
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::error!(%error, "a backup broke off");
                Err(error)
            }
        }
    });
    Ok((headers, Body::from_stream(chunks)).into_response())
}
