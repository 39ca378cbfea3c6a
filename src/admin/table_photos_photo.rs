//! The page of one table photograph: a missed piece is drawn, one that is two is cut, the side is set.
//!
//! Places are percent of the photograph, typed as numbers. A script lets people draw them instead.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::context::AdminContext;
use super::form::{Form, stale_form};
use super::sign_in::refused;
use super::table_photos::{intake_id, path_to};
use crate::app::App;
use crate::error::{Error, FieldError, Result};
use crate::http::Path;
use crate::products::intakes::{self, Cut, IntakeDetails, Photo, PhotoStatus, Piece, Side};
use crate::types::ids::{IntakeId, PhotoId, PieceId};

#[derive(Template)]
#[template(path = "table_photos_photo.html", config = "src/admin/askama.toml")]
struct PhotoPage<'a> {
    context: &'a AdminContext,
    details: &'a IntakeDetails,
    photo: &'a Photo,
    form: Form,
}

impl PhotoPage<'_> {
    fn pieces(&self) -> Vec<&Piece> {
        let pieces = self.details.pieces.iter();
        pieces
            .filter(|piece| piece.photo_id == self.photo.id)
            .collect()
    }

    fn other_side(&self) -> &'static str {
        match self.photo.side {
            Side::Front => "These are backs",
            Side::Back => "These are fronts",
        }
    }
}

/// Finds the photograph of a path.
fn find<'a>(details: &'a IntakeDetails, photo: &str) -> Result<&'a Photo> {
    let id = photo.parse().map(PhotoId).ok();
    let mut photos = details.photos.iter();
    let found = photos.find(|photo| Some(photo.id) == id);
    found.ok_or(Error::NotFound("Photograph"))
}

/// `GET /admin/table-photos/{id}/photos/{photo}`
pub async fn show(
    State(app): State<App>,
    context: AdminContext,
    Path((id, photo)): Path<(String, String)>,
) -> Result<Response> {
    let details = intakes::details(&mut *app.db.acquire().await?, intake_id(&id)?).await?;
    let photo = find(&details, &photo)?;
    context.show(&PhotoPage {
        context: &context,
        details: &details,
        photo,
        form: Form::default(),
    })
}

/// `POST /admin/table-photos/{id}/photos/{photo}`
pub async fn change(
    State(app): State<App>,
    context: AdminContext,
    Path((id, photo)): Path<(String, String)>,
    form: Form,
) -> Result<Response> {
    let id = intake_id(&id)?;
    let version = form.get("version").parse().map_err(|_| stale_form())?;
    let mut tx = app.db.begin().await?;
    // A button that is pressed twice takes effect once.
    let details = intakes::open(&mut tx, id, Some(version)).await?;
    let photo = find(&details, &photo)?;
    let actor = context.actor()?;
    let done = async {
        let conn = &mut *tx;
        match form.get("do").as_str() {
            "draw" => {
                let outline = drawn(photo, &form)?;
                intakes::draw_piece(conn, &actor, id, photo.id, outline).await?;
                Ok("The piece is being looked for.")
            }
            "cut" => {
                let piece = form.get("piece").parse().map(PieceId);
                let piece = piece.map_err(|_| Error::invalid("piece", "Choose a piece."))?;
                let cut = line(photo, &form)?;
                intakes::cut_piece(conn, &actor, id, piece, cut).await?;
                Ok("The piece is cut in two.")
            }
            "side" => {
                let side = photo.side.other();
                intakes::set_side(conn, &actor, id, photo.id, side).await?;
                Ok("The photograph shows the other side now.")
            }
            "remove" => {
                intakes::remove_photo(conn, &actor, id, photo.id).await?;
                Ok("The photograph is removed.")
            }
            _ => Err(stale_form()),
        }
    };
    match done.await {
        Ok(said) => {
            tx.commit().await?;
            Ok(context.go_on(&path_to(id), said))
        }
        Err(error) => {
            tx.rollback().await?;
            let shown = context.show(&PhotoPage {
                context: &context,
                details: &details,
                photo,
                form: form.refused(on_the_form(error))?,
            })?;
            Ok(refused(shown, StatusCode::BAD_REQUEST, None))
        }
    }
}

/// Names the field that a person sees.
fn on_the_form(error: Error) -> Error {
    match error {
        Error::Invalid(errors) => Error::Invalid(
            errors
                .into_iter()
                .map(|error| match error.field.as_str() {
                    "outline" => FieldError::new("left", error.message),
                    "to" => FieldError::new("from_x", error.message),
                    _ => error,
                })
                .collect(),
        ),
        other => other,
    }
}

/// Reads percent of the photograph, as pixels.
fn pixels(form: &Form, field: &str, whole: i32) -> Result<f32> {
    let percent: Option<f32> = form.get(field).parse().ok();
    percent
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| percent / 100.0 * whole as f32)
        .ok_or_else(|| Error::invalid(field, "Must be a number from 0 to 100."))
}

/// The box that was drawn, as an outline.
fn drawn(photo: &Photo, form: &Form) -> Result<intakes::Outline> {
    let (width, height) = (photo.width as f32, photo.height as f32);
    let (left, top) = (
        pixels(form, "left", photo.width)?,
        pixels(form, "top", photo.height)?,
    );
    let right = (left + pixels(form, "width", photo.width)?).min(width);
    let bottom = (top + pixels(form, "height", photo.height)?).min(height);
    Ok(vec![
        [left, top],
        [right, top],
        [right, bottom],
        [left, bottom],
    ])
}

fn line(photo: &Photo, form: &Form) -> Result<Cut> {
    Ok(Cut {
        from: [
            pixels(form, "from_x", photo.width)?,
            pixels(form, "from_y", photo.height)?,
        ],
        to: [
            pixels(form, "to_x", photo.width)?,
            pixels(form, "to_y", photo.height)?,
        ],
    })
}

/// Path of a photograph's page.
pub(super) fn path_to_photo(intake: IntakeId, photo: PhotoId) -> String {
    format!("{}/photos/{photo}", path_to(intake))
}
