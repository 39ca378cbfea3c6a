//! The job that makes the staged images of a photograph's pieces.

use image::RgbImage;
use table_photos::{StageOptions, Stager, Table};
use tokio::sync::mpsc;

use super::closeup::{Closeup, moved};
use super::finding::{points, size_of, type_of};
use super::{Outline, Piece, store};
use crate::app::App;
use crate::error::Result;
use crate::images::{self, Judged};
use crate::types::ids::PhotoId;

const CANNOT_BE_CUT_OUT: &str =
    "This piece could not be cut out. Leave it out, or photograph it again.";

/// Makes the images that a photograph's pieces lack, one after the other. Safe to repeat: a piece that changes meanwhile
/// is staged by the job that the change queues.
///
/// # Errors
/// Failures of the storage or the database; the job is then repeated.
pub async fn stage_pieces(app: &App, id: PhotoId) -> Result<()> {
    let mut conn = app.db.acquire().await?;
    let Some(photo) = store::photo(&mut conn, id).await? else {
        return Ok(());
    };
    let pieces = store::unstaged(&mut conn, id).await?;
    drop(conn);
    let Some(image) = photo.image_id.filter(|_| !pieces.is_empty()) else {
        return Ok(());
    };
    // An image is stored while the next one is made.
    let (sender, mut made) = mpsc::channel(1);
    let waiting = pieces.clone();
    let work = images::work_on(&app.storage, &app.db, &image, move |pixels| {
        stage(&pixels, waiting, &sender);
    });
    let storing = async {
        while let Some(staged) = made.recv().await {
            keep(app, staged).await?;
        }
        Ok::<(), crate::error::Error>(())
    };
    let (worked, stored) = tokio::join!(work, storing);
    stored?;
    if worked?.is_none() {
        // It panicked, and would again.
        let mut conn = app.db.acquire().await?;
        for piece in &store::unstaged(&mut conn, id).await? {
            store::set_staged(&mut conn, piece, Err(CANNOT_BE_CUT_OUT)).await?;
        }
    }
    Ok(())
}

/// A piece with its image, or the sentence that tells why there is none.
struct StagedPiece {
    piece: Piece,
    /// The outline that was found where the piece was drawn.
    found: Option<Outline>,
    image: Result<(Judged, Option<String>), String>,
}

async fn keep(app: &App, staged: StagedPiece) -> Result<()> {
    let piece = &staged.piece;
    if let Some(outline) = &staged.found {
        let mut conn = app.db.acquire().await?;
        store::set_found(&mut conn, piece, outline).await?;
    }
    match staged.image {
        Ok((image, remark)) => {
            let kept = images::keep_judged(&app.storage, &app.db, image).await?;
            let mut conn = app.db.acquire().await?;
            let image = Ok((&kept.id, remark.as_deref()));
            store::set_staged(&mut conn, piece, image).await?;
        }
        Err(problem) => {
            let mut conn = app.db.acquire().await?;
            store::set_staged(&mut conn, piece, Err(&problem)).await?;
        }
    }
    Ok(())
}

fn stage(pixels: &RgbImage, pieces: Vec<Piece>, made: &mpsc::Sender<StagedPiece>) {
    let table = Table::find(pixels).ok();
    let options = StageOptions::default();
    let stager = table
        .as_ref()
        .map(|table| Stager::new(pixels, table, options));
    for piece in pieces {
        let staged = match (&stager, piece.is_searched) {
            (Some(stager), true) => {
                let shown = shown(&piece, &piece.outline, table.as_ref());
                StagedPiece {
                    image: shown.map_or_else(
                        || Err(CANNOT_BE_CUT_OUT.to_owned()),
                        |shown| staged(stager, &shown),
                    ),
                    found: None,
                    piece,
                }
            }
            _ => stage_drawn(pixels, piece, stager.as_ref().zip(table.as_ref())),
        };
        // Nobody waits for it any more.
        if made.blocking_send(staged).is_err() {
            return;
        }
    }
}

/// Stages a piece that a person drew: as it is found around the drawing, or else as it was drawn.
fn stage_drawn(
    pixels: &RgbImage,
    mut piece: Piece,
    whole: Option<(&Stager<'_>, &Table)>,
) -> StagedPiece {
    let closeup = Closeup::of(pixels, &piece.outline);
    let mut found = None;
    if !piece.is_searched
        && let Some(closeup) = &closeup
        && let Some(seen) = closeup.piece(&piece.outline)
    {
        found = Some(closeup.outline_of(seen));
        piece.head_degrees = seen.head_degrees;
        piece.is_head_doubtful = seen.is_head_doubtful;
        piece.lighter_type = piece.lighter_type.or(seen.size.map(type_of));
    }
    let outline = found.clone().unwrap_or_else(|| piece.outline.0.clone());
    let image = match (whole, &closeup) {
        (Some((stager, table)), _) => {
            shown(&piece, &outline, Some(table)).map(|shown| staged(stager, &shown))
        }
        (None, Some(closeup)) => {
            let stager = Stager::new(&closeup.photo, &closeup.table, StageOptions::default());
            let there = moved(&outline, -closeup.origin.x, -closeup.origin.y);
            shown(&piece, &there, Some(&closeup.table)).map(|shown| staged(&stager, &shown))
        }
        (None, None) => None,
    };
    StagedPiece {
        image: image.unwrap_or_else(|| Err(CANNOT_BE_CUT_OUT.to_owned())),
        // As it was drawn, if nothing was found.
        found: (!piece.is_searched).then(|| found.unwrap_or_else(|| piece.outline.0.clone())),
        piece,
    }
}

/// A piece as the stager wants it, with what a person decided.
fn shown(piece: &Piece, outline: &Outline, table: Option<&Table>) -> Option<table_photos::Piece> {
    let (least, most) = super::finding::bounds(outline);
    Some(table_photos::Piece {
        outline: points(outline),
        is_whole: true,
        head_degrees: piece.head_degrees,
        is_head_doubtful: piece.is_head_doubtful,
        size: size_of(piece.lighter_type),
        height: (most[0] - least[0]).max(most[1] - least[1]),
        // Only pairing reads it.
        look: table?.pieces.first()?.look.clone(),
    })
}

fn staged(
    stager: &Stager<'_>,
    piece: &table_photos::Piece,
) -> Result<(Judged, Option<String>), String> {
    let staged = stager.stage(piece);
    let remark = staged.remark();
    match images::encode(staged.image) {
        Ok(image) => Ok((image, remark)),
        Err(_) => Err(CANNOT_BE_CUT_OUT.to_owned()),
    }
}
