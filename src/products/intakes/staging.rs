//! The job that makes the staged images of a photograph's pieces.

use image::RgbImage;
use table_photos::{StageOptions, Stager, Table};
use tokio::sync::mpsc;

use super::closeup::{Closeup, moved};
use super::finding::{points, size_of, type_of, unless_it_panics, work_on};
use super::{Outline, Piece, store};
use crate::app::App;
use crate::error::Result;
use crate::images::{self, Judged};
use crate::settings;
use crate::types::ids::{IntakeId, PhotoId};

const CANNOT_BE_CUT_OUT: &str =
    "This piece could not be cut out. Leave it out, or photograph it again.";

/// Makes the images that a photograph's pieces lack, one after the other. Safe to repeat: a piece that changes meanwhile
/// is staged by the job that the change queues.
///
/// # Errors
/// Failures of the storage or the database; the job is then repeated, and makes what is still missing.
pub async fn stage_pieces(app: &App, id: PhotoId) -> Result<()> {
    let mut conn = app.db.acquire().await?;
    let Some(photo) = store::photo(&mut conn, id).await? else {
        return Ok(());
    };
    let pieces = store::unstaged(&mut conn, id).await?;
    let settings = settings::current(&mut conn, &app.config).await?;
    drop(conn);
    let Some(image) = photo.image_id.filter(|_| !pieces.is_empty()) else {
        return Ok(());
    };
    // An image is stored while the next one is made.
    let (sender, mut made) = mpsc::channel(1);
    let waiting = pieces.clone();
    let options = StageOptions {
        background: settings.stage_background.0,
    };
    let work = work_on(app, id, &image, move |pixels| {
        stage(&pixels, waiting, options, &sender);
    });
    let intake = photo.intake_id;
    // It owns the receiver: after a failure nobody receives, so the work stops instead of waiting for ever.
    let storing = async move {
        while let Some(staged) = made.recv().await {
            keep(app, intake, staged).await?;
        }
        Ok::<(), crate::error::Error>(())
    };
    let (worked, stored) = tokio::join!(work, storing);
    stored?;
    if worked?.is_none() {
        // The photograph as a whole cannot be used, and could not the next time.
        let mut conn = app.db.acquire().await?;
        for piece in &pieces {
            store::set_unstaged(&mut conn, piece, CANNOT_BE_CUT_OUT).await?;
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

async fn keep(app: &App, intake: IntakeId, staged: StagedPiece) -> Result<()> {
    let piece = &staged.piece;
    let image = match staged.image {
        Ok((image, remark)) => {
            let kept = images::keep_judged(&app.storage, &app.db, image).await?;
            Ok((kept.id, remark))
        }
        Err(problem) => Err(problem),
    };
    let mut tx = app.db.begin().await?;
    // A person's change, which writes the whole piece, comes before or after.
    if !store::lock(&mut tx, intake).await?.is_open() {
        return Ok(());
    }
    if let Some(outline) = &staged.found {
        store::set_found(&mut tx, piece, outline).await?;
    }
    match &image {
        Ok((id, remark)) => store::set_staged(&mut tx, piece, id, remark.as_deref()).await?,
        Err(problem) => store::set_unstaged(&mut tx, piece, problem).await?,
    }
    tx.commit().await?;
    Ok(())
}

fn stage(
    pixels: &RgbImage,
    pieces: Vec<Piece>,
    options: StageOptions,
    made: &mpsc::Sender<StagedPiece>,
) {
    let table = Table::find(pixels).ok();
    let stager = table
        .as_ref()
        .map(|table| Stager::new(pixels, table, options));
    let whole = stager.as_ref().zip(table.as_ref());
    stage_each(pieces, made, |piece| {
        stage_piece(pixels, piece, whole, options)
    });
}

/// Sends each piece with its image. One that panics has none, and the others go on.
fn stage_each(
    pieces: Vec<Piece>,
    made: &mpsc::Sender<StagedPiece>,
    stage: impl Fn(Piece) -> StagedPiece,
) {
    for piece in pieces {
        let staged = unless_it_panics(piece.id, || stage(piece.clone()));
        let staged = staged.unwrap_or_else(|| StagedPiece {
            piece,
            found: None,
            image: Err(CANNOT_BE_CUT_OUT.to_owned()),
        });
        // Nobody waits for it any more.
        if made.blocking_send(staged).is_err() {
            return;
        }
    }
}

fn stage_piece(
    pixels: &RgbImage,
    piece: Piece,
    whole: Option<(&Stager<'_>, &Table)>,
    options: StageOptions,
) -> StagedPiece {
    let Some((stager, table)) = whole.filter(|_| piece.is_searched) else {
        return stage_drawn(pixels, piece, whole, options);
    };
    let shown = shown(&piece, &piece.outline, Some(table));
    StagedPiece {
        image: shown.map_or_else(
            || Err(CANNOT_BE_CUT_OUT.to_owned()),
            |shown| staged(stager, &shown),
        ),
        found: None,
        piece,
    }
}

/// Stages a piece that a person drew: as it is found around the drawing, or else as it was drawn.
fn stage_drawn(
    pixels: &RgbImage,
    mut piece: Piece,
    whole: Option<(&Stager<'_>, &Table)>,
    options: StageOptions,
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
            let stager = Stager::new(&closeup.photo, &closeup.table, options);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::products::intakes::Side;
    use crate::products::intakes::finding::blank;

    #[test]
    fn a_piece_that_panics_is_the_only_one_without_an_image() {
        let photo = PhotoId::new();
        let pieces: Vec<Piece> = (1..=3)
            .map(|number| Piece {
                number,
                ..blank(photo, Side::Front)
            })
            .collect();
        let (sender, mut made) = mpsc::channel(3);
        stage_each(pieces, &sender, |piece| {
            assert_ne!(piece.number, 2, "it panics on purpose");
            let image = images::encode(RgbImage::new(4, 5)).expect("an image");
            StagedPiece {
                piece,
                found: None,
                image: Ok((image, None)),
            }
        });
        drop(sender);
        let mut has_image = Vec::new();
        while let Some(staged) = made.blocking_recv() {
            has_image.push((staged.piece.number, staged.image.is_ok()));
        }
        assert_eq!(has_image, [(1, true), (2, false), (3, true)]);
    }
}
