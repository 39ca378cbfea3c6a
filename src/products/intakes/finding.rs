//! The job that finds the pieces in a photograph.

use image::RgbImage;
use sqlx::types::Json;
use table_photos::{Point, Size, Table};

use super::{Intake, Outline, Photo, PhotoStatus, Piece, PieceState, Side, store};
use crate::app::App;
use crate::error::Result;
use crate::images;
use crate::jobs::{self, Job};
use crate::types::ids::{ImageId, PhotoId, PieceId};

/// Runs that may end without an outcome before nobody works on a photograph any more.
const MOST_ATTEMPTS: i16 = 3;

const CANNOT_BE_SEARCHED: &str = "This photograph could not be searched. Take another one.";

/// Finds the pieces in a photograph, and queues their pairing. Safe to repeat: a photograph is searched once.
///
/// # Errors
/// Failures of the storage or the database; the job is then repeated.
pub async fn find_pieces(app: &App, id: PhotoId) -> Result<()> {
    let mut conn = app.db.acquire().await?;
    let Some(photo) = store::photo(&mut conn, id).await? else {
        return Ok(());
    };
    let (PhotoStatus::Waiting, Some(image)) = (photo.status, photo.image_id.clone()) else {
        return Ok(());
    };
    drop(conn);
    let searched = work_on(app, id, &image, |pixels: RgbImage| {
        let table = Table::find(&pixels).map_err(|problem| problem.to_string())?;
        let remarks = table.remarks();
        Ok((table.pieces, remarks))
    });
    let searched = searched.await?;
    let searched = searched.unwrap_or_else(|| Err(CANNOT_BE_SEARCHED.to_owned()));
    record(app, &photo, searched).await
}

/// Pieces and remarks, or the sentence that tells why there are none.
type Searched = Result<(Vec<table_photos::Piece>, Vec<String>), String>;

/// Works on the pixels of a photograph. `None`: they cannot be had, the work panics, or it has ended the process several
/// times.
pub(super) async fn work_on<T: Send + 'static>(
    app: &App,
    photo: PhotoId,
    image: &ImageId,
    work: impl FnOnce(RgbImage) -> T + Send + 'static,
) -> Result<Option<T>> {
    // Committed by itself: a photograph that ends the process must not do so for ever.
    let attempts = store::begin_work(&mut *app.db.acquire().await?, photo).await?;
    if attempts > MOST_ATTEMPTS {
        return Ok(None);
    }
    let done = images::work_on(&app.storage, &app.db, image, work).await;
    store::end_work(&mut *app.db.acquire().await?, photo).await?;
    done
}

async fn record(app: &App, photo: &Photo, searched: Searched) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let intake = store::lock(&mut tx, photo.intake_id).await?;
    // A person may have turned it over, or another worker searched it.
    let Some(photo) = store::photo(&mut tx, photo.id).await? else {
        return Ok(());
    };
    if photo.status != PhotoStatus::Waiting || !intake.is_open() {
        return Ok(());
    }
    match searched {
        Err(problem) => store::set_searched(&mut tx, photo.id, Some(&problem), &[]).await?,
        Ok((pieces, remarks)) => {
            for found in &pieces {
                let piece = piece(&intake, &photo, found);
                store::insert_piece(&mut tx, intake.id, &piece).await?;
            }
            store::set_searched(&mut tx, photo.id, None, &remarks).await?;
        }
    }
    // After a failure, too: those that are found wait for the last one.
    store::set_needs_pairing(&mut tx, intake.id, true).await?;
    let job = Job::PairPieces { intake: intake.id };
    jobs::enqueue(&mut tx, &job).await?;
    tx.commit().await?;
    Ok(())
}

fn piece(intake: &Intake, photo: &Photo, found: &table_photos::Piece) -> Piece {
    Piece {
        state: match found.is_whole {
            true => PieceState::Used,
            false => PieceState::CutOff,
        },
        outline: Json(outline(&found.outline)),
        head_degrees: found.head_degrees,
        is_head_doubtful: found.is_head_doubtful,
        lighter_type: intake.lighter_type.or(found.size.map(type_of)),
        ..blank(photo.id, photo.side)
    }
}

/// A piece without an outline.
pub(super) fn blank(photo: PhotoId, side: Side) -> Piece {
    Piece {
        id: PieceId::new(),
        photo_id: photo,
        number: 0,
        side,
        state: PieceState::Used,
        outline: Json(Vec::new()),
        head_degrees: 0.0,
        is_head_doubtful: false,
        lighter_type: None,
        is_searched: true,
        is_drawn: false,
        same_as: None,
        image_id: None,
        revision: 1,
        remark: None,
        problem: None,
        colors: Vec::new(),
        pattern: None,
    }
}

/// Does work on the pixels of a piece. `None`: it panicked, and the other pieces go on.
pub(super) fn unless_it_panics<T>(piece: PieceId, work: impl FnOnce() -> T) -> Option<T> {
    // Nothing that the work changes is read after a panic.
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    if done.is_err() {
        tracing::warn!(%piece, "work on the pixels of a piece panicked");
    }
    done.ok()
}

/// The lighter type of a size.
pub(super) fn type_of(size: Size) -> i16 {
    match size {
        Size::Classic => 1,
        Size::Mini => 2,
    }
}

/// The size of a lighter type.
pub(super) fn size_of(lighter_type: Option<i16>) -> Option<Size> {
    match lighter_type? {
        1 => Some(Size::Classic),
        _ => Some(Size::Mini),
    }
}

/// An outline as it is stored: a tenth of a pixel is enough.
pub(super) fn outline(points: &[Point]) -> Outline {
    let rounded = |value: f32| (value * 10.0).round() / 10.0;
    points
        .iter()
        .map(|point| [rounded(point.x), rounded(point.y)])
        .collect()
}

/// An outline as the finder has it.
pub(super) fn points(outline: &Outline) -> Vec<Point> {
    outline.iter().map(|&[x, y]| Point { x, y }).collect()
}

/// Least and largest coordinates of an outline.
pub(super) fn bounds(outline: &Outline) -> ([f32; 2], [f32; 2]) {
    let start = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
    outline.iter().fold(start, |(least, most), [x, y]| {
        (
            [least[0].min(*x), least[1].min(*y)],
            [most[0].max(*x), most[1].max(*y)],
        )
    })
}

/// Middle of an outline's bounds.
pub(super) fn middle(outline: &Outline) -> [f32; 2] {
    let (least, most) = bounds(outline);
    [(least[0] + most[0]) / 2.0, (least[1] + most[1]) / 2.0]
}
