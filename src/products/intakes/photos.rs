//! Photographs of an intake: received, added, removed.

use axum::extract::Request;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::service::{changed, object, open};
use super::{IntakeDetails, Photo, PhotoStatus, Side, store};
use crate::app::App;
use crate::audit::{self, Actor};
use crate::config::MediaLimits;
use crate::error::{Code, Error, Result};
use crate::images::{self, Batch, FormLimits};
use crate::jobs::{self, Job};
use crate::types::ids::{ImageId, IntakeId, PhotoId, PieceId};

/// Most photographs of one intake.
pub const MOST_PHOTOS: usize = 20;

/// Limits of photographs of a table, which are larger than product images.
pub const LIMITS: MediaLimits = MediaLimits {
    file_bytes: 30 << 20,
    files: MOST_PHOTOS,
    megapixels: 50,
};

/// A received photograph: its image, or the sentence that tells why it was refused.
#[derive(Clone, Debug)]
pub struct NewPhoto {
    pub side: Side,
    pub file_name: String,
    pub image: Result<ImageId, String>,
}

/// A submitted form with photographs. Its images are stored, and discarded with it unless [`Photographs::done`] is
/// called.
pub struct Photographs {
    pub fields: Vec<(String, String)>,
    pub photos: Vec<NewPhoto>,
    /// Number of files beyond the limit.
    pub surplus: usize,
    batch: Batch,
}

impl Photographs {
    /// Reads a form with photographs in these fields, and stores them.
    ///
    /// # Errors
    /// 400, 408, 413 or 415 for a malformed upload; 503 `media_unavailable` when the storage fails.
    pub async fn read(app: &App, request: Request, fields: &[(&str, Side)]) -> Result<Photographs> {
        let deadline = request.extensions().get().cloned();
        let limits = FormLimits {
            files: LIMITS.files,
            file_bytes: LIMITS.file_bytes,
            bytes: LIMITS.file_bytes * LIMITS.files as u64,
            takes_archives: false,
        };
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let sent = images::read_form_within(&app.storage, request, &names, limits).await?;
        let mut read = Photographs {
            fields: sent.fields,
            photos: Vec::new(),
            surplus: sent.surplus,
            batch: Batch::begin(&app.storage, &app.db, deadline),
        };
        let names = sent.file_names.into_iter().zip(sent.file_fields);
        for ((file_name, field), file) in names.zip(sent.files) {
            let side = fields.iter().find(|(name, _)| *name == field);
            let image = match read.batch.keep_within(file, LIMITS).await? {
                Some(refusal) => Err(refusal.sentence(&LIMITS)),
                None => read
                    .batch
                    .ids()
                    .pop()
                    .ok_or_else(|| "This file is empty.".to_owned()),
            };
            read.photos.push(NewPhoto {
                side: side.map_or(Side::Front, |(_, side)| *side),
                file_name,
                image,
            });
        }
        Ok(read)
    }

    /// Keeps the images: the request has succeeded and uses them.
    pub fn done(self) {
        self.batch.done();
    }
}

/// Adds photographs, and queues the search of each. A refused file is recorded with its sentence.
///
/// # Errors
/// 404; 409 `intake_is_closed`; a field error of `image` for more than [`MOST_PHOTOS`] in all.
pub async fn add_photos(
    conn: &mut PgConnection,
    actor: &Actor,
    id: IntakeId,
    photos: &[NewPhoto],
) -> Result<()> {
    let IntakeDetails {
        intake,
        photos: before,
        ..
    } = open(conn, id, None).await?;
    if before.len() + photos.len() > MOST_PHOTOS {
        let sentence = format!(
            "A batch has up to {MOST_PHOTOS} photographs. Begin another one with the rest."
        );
        return Err(Error::invalid("image", sentence));
    }
    let ids: Vec<ImageId> = photos
        .iter()
        .filter_map(|photo| photo.image.clone().ok())
        .collect();
    let known = images::hold(conn, &ids).await?;
    for new in photos {
        let mut photo = Photo {
            id: PhotoId::new(),
            intake_id: id,
            side: new.side,
            file_name: new.file_name.clone(),
            image_id: None,
            width: 0,
            height: 0,
            status: PhotoStatus::Failed,
            problem: None,
            remarks: Vec::new(),
        };
        match &new.image {
            Err(problem) => photo.problem = Some(problem.clone()),
            Ok(image) => {
                let found = known
                    .get(image)
                    .ok_or_else(|| Error::invalid("image", "There is no such image."))?;
                photo.image_id = Some(image.clone());
                (photo.width, photo.height) = (found.width, found.height);
                photo.status = PhotoStatus::Waiting;
            }
        }
        if store::insert_photo(conn, &photo).await? {
            if photo.status == PhotoStatus::Waiting {
                jobs::enqueue(conn, &Job::FindPieces { photo: photo.id }).await?;
            }
        } else {
            photo.image_id = None;
            photo.status = PhotoStatus::Failed;
            photo.problem = Some("This photograph is in the batch already.".to_owned());
            store::insert_photo(conn, &photo).await?;
        }
    }
    changed(conn, &intake, &[]).await?;
    let names: Vec<&str> = photos.iter().map(|new| new.file_name.as_str()).collect();
    let after = json!({"photographs": names});
    let object = object(&intake);
    audit::record(conn, actor, "intake.add", &object, Value::Null, after).await
}

/// Removes a photograph with its pieces, from which no product was made.
///
/// # Errors
/// 404; 409 `intake_is_closed`, or `piece_has_a_product`.
pub async fn remove_photo(
    conn: &mut PgConnection,
    actor: &Actor,
    id: IntakeId,
    photo: PhotoId,
) -> Result<()> {
    let mut details = open(conn, id, None).await?;
    let name = checked(&details, photo)?.file_name.clone();
    let pieces = pieces_of(&details, photo);
    store::free_twins(conn, &pieces).await?;
    store::delete_photo(conn, photo).await?;
    // Its fronts' backs are free again.
    details.intake.needs_pairing |= !pieces.is_empty();
    changed(conn, &details.intake, &[]).await?;
    let (was, object) = (json!({"photograph": name}), object(&details.intake));
    audit::record(conn, actor, "intake.remove", &object, was, Value::Null).await
}

/// Sets the side that a photograph shows, with all of its pieces. Safe to repeat: a photograph that shows the side stays as
/// it is, with its pairs and the pieces that a person moved to the other side.
///
/// # Errors
/// As [`remove_photo`].
pub async fn set_side(
    conn: &mut PgConnection,
    actor: &Actor,
    id: IntakeId,
    photo: PhotoId,
    side: Side,
) -> Result<()> {
    let mut details = open(conn, id, None).await?;
    let before = find(&details, photo)?.side;
    if before == side {
        return Ok(());
    }
    checked(&details, photo)?;
    let pieces = pieces_of(&details, photo);
    store::set_photo_side(conn, photo, side).await?;
    store::free_twins(conn, &pieces).await?;
    store::free_backs(conn, id, &pieces).await?;
    for &piece in &pieces {
        store::set_back(conn, piece, None, (false, false)).await?;
    }
    details.intake.needs_pairing |= !pieces.is_empty();
    changed(conn, &details.intake, &[]).await?;
    let (was, is) = (json!({"side": before}), json!({"side": side}));
    let object = object(&details.intake);
    audit::record(conn, actor, "intake.side", &object, was, is).await
}

/// Makes fronts of the backs, and backs of the fronts, of all photographs.
///
/// # Errors
/// As [`remove_photo`].
pub async fn swap_sides(conn: &mut PgConnection, actor: &Actor, id: IntakeId) -> Result<()> {
    let details = open(conn, id, None).await?;
    for photo in &details.photos {
        set_side(conn, actor, id, photo.id, photo.side.other()).await?;
    }
    Ok(())
}

fn pieces_of(details: &IntakeDetails, photo: PhotoId) -> Vec<PieceId> {
    let pieces = details.pieces.iter();
    pieces
        .filter(|piece| piece.photo_id == photo)
        .map(|piece| piece.id)
        .collect()
}

fn find(details: &IntakeDetails, photo: PhotoId) -> Result<&Photo> {
    let mut photos = details.photos.iter();
    let found = photos.find(|one| one.id == photo);
    found.ok_or(Error::NotFound("Photograph"))
}

/// Finds a photograph whose pieces have no products.
fn checked(details: &IntakeDetails, photo: PhotoId) -> Result<&Photo> {
    let found = find(details, photo)?;
    let mut pieces = details.pieces.iter();
    let has_product = pieces.any(|piece| {
        let front = details.front_of(piece.id).unwrap_or(piece);
        piece.photo_id == photo
            && details
                .item(front.id)
                .is_some_and(|item| item.product_id.is_some())
    });
    match has_product {
        false => Ok(found),
        true => Err(has_a_product()),
    }
}

pub(super) fn has_a_product() -> Error {
    Error::Conflict(
        Code::PieceHasAProduct,
        "A product is made of this piece, and was not taken back.".to_owned(),
    )
}
