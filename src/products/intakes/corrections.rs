//! A person's corrections of pieces: turned over, left out, drawn, cut in two.

use serde_json::{Value, json};
use sqlx::PgConnection;
use sqlx::types::Json;
use table_photos::MOST_PIECES;

use super::finding::blank;
use super::photos::has_a_product;
use super::service::{changed, object, open};
use super::{IntakeDetails, Outline, Piece, PieceState, Side, outline, store};
use crate::audit::{self, Actor};
use crate::error::{Error, Result};
use crate::types::ids::{IntakeId, PhotoId, PieceId};

/// A change of a piece. What is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PieceChange {
    pub left_out: Option<bool>,
    /// Direction of the head in degrees clockwise; 0 is up.
    pub head_degrees: Option<f32>,
    pub side: Option<Side>,
    /// In pixels of the photograph.
    pub outline: Option<Outline>,
}

/// A line that parts two pieces, in pixels of the photograph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    pub from: [f32; 2],
    pub to: [f32; 2],
}

/// Changes a piece. Its staged image is made again if it has to be, and fronts and backs are paired again. Safe to
/// repeat.
///
/// # Errors
/// Field errors; 404; 409 `intake_is_closed` or `piece_has_a_product`.
pub async fn change_piece(
    conn: &mut PgConnection,
    actor: &Actor,
    id: IntakeId,
    piece: PieceId,
    change: PieceChange,
) -> Result<()> {
    let mut details = open(conn, id, None).await?;
    let before = checked(&details, piece)?.clone();
    let mut after = before.clone();
    if let Some(outline) = change.outline {
        check_outline(&details, before.photo_id, &outline)?;
        after.outline = Json(outline);
        after.is_searched = true;
    }
    if let Some(degrees) = change.head_degrees {
        if !degrees.is_finite() {
            return Err(Error::invalid("head_degrees", "Must be a number."));
        }
        after.head_degrees = outline::turned(degrees);
        after.is_head_doubtful = false;
    }
    after.side = change.side.unwrap_or(before.side);
    after.state = match change.left_out {
        None => before.state,
        Some(true) => PieceState::LeftOut,
        Some(false) => PieceState::Used,
    };
    if snapshot(&after) == snapshot(&before) {
        return Ok(());
    }
    let is_shown_anew =
        after.outline != before.outline || after.head_degrees != before.head_degrees;
    store::save_piece(conn, &after, is_shown_anew).await?;
    let is_paired_anew = after.side != before.side || after.state != before.state;
    if after.side != before.side {
        store::free_twins(conn, &[piece]).await?;
    }
    if is_paired_anew {
        store::free_backs(conn, id, &[piece]).await?;
        // Its own back belongs to it no more, or to another front meanwhile.
        store::set_back(conn, piece, None, (false, false)).await?;
        details.intake.needs_pairing = true;
    }
    changed(conn, &details.intake, &[before.photo_id]).await?;
    record(
        conn,
        actor,
        &details,
        "intake.correct",
        (snapshot(&before), snapshot(&after)),
    )
    .await
}

/// Turns a piece by 180 degrees.
///
/// # Errors
/// As [`change_piece`].
pub async fn turn_over(
    conn: &mut PgConnection,
    actor: &Actor,
    id: IntakeId,
    piece: PieceId,
) -> Result<()> {
    let details = open(conn, id, None).await?;
    let change = PieceChange {
        head_degrees: Some(checked(&details, piece)?.head_degrees + 180.0),
        ..PieceChange::default()
    };
    change_piece(conn, actor, id, piece, change).await
}

/// Adds a piece that was missed. Its outline, its head and its size are looked for around the drawing; if nothing is
/// found, it is cut out as it was drawn, upright.
///
/// # Errors
/// A field error of `outline`; 404; 409 `intake_is_closed`.
pub async fn draw_piece(
    conn: &mut PgConnection,
    actor: &Actor,
    id: IntakeId,
    photo: PhotoId,
    drawn: Outline,
) -> Result<PieceId> {
    let mut details = open(conn, id, None).await?;
    check_outline(&details, photo, &drawn)?;
    let side = details.photos.iter().find(|one| one.id == photo);
    let side = side.ok_or(Error::NotFound("Photograph"))?.side;
    check_room(&details, photo)?;
    let piece = Piece {
        outline: Json(drawn),
        lighter_type: details.intake.lighter_type,
        is_searched: false,
        is_drawn: true,
        ..blank(photo, side)
    };
    store::insert_piece(conn, id, &piece).await?;
    details.intake.needs_pairing = true;
    changed(conn, &details.intake, &[photo]).await?;
    let after = json!({"drawn": *piece.outline});
    record(conn, actor, &details, "intake.draw", (Value::Null, after)).await?;
    Ok(piece.id)
}

/// Parts a piece that is two.
///
/// # Errors
/// A field error of `to` if the line does not go through the piece; 404; 409 `intake_is_closed` or
/// `piece_has_a_product`.
pub async fn cut_piece(
    conn: &mut PgConnection,
    actor: &Actor,
    id: IntakeId,
    piece: PieceId,
    line: Cut,
) -> Result<PieceId> {
    let mut details = open(conn, id, None).await?;
    let before = checked(&details, piece)?.clone();
    check_room(&details, before.photo_id)?;
    let parts = outline::cut(&before.outline, line.from, line.to)
        .ok_or_else(|| Error::invalid("to", "The line must go through the piece."))?;
    let [first, second] = parts.map(|part| Piece {
        head_degrees: outline::axis_near(&part, before.head_degrees),
        is_head_doubtful: true,
        is_searched: true,
        is_drawn: true,
        outline: Json(part),
        ..before.clone()
    });
    let second = Piece {
        id: PieceId::new(),
        state: PieceState::Used,
        ..second
    };
    store::save_piece(conn, &first, true).await?;
    store::insert_piece(conn, id, &second).await?;
    details.intake.needs_pairing = true;
    changed(conn, &details.intake, &[before.photo_id]).await?;
    let cut = json!({"piece": before.number, "from": line.from, "to": line.to});
    record(conn, actor, &details, "intake.cut", (Value::Null, cut)).await?;
    Ok(second.id)
}

/// Finds a piece from which no product was made, neither as front nor as back.
fn checked(details: &IntakeDetails, id: PieceId) -> Result<&Piece> {
    let piece = details.piece(id).ok_or(Error::NotFound("Piece"))?;
    let mut items = details.items.iter();
    let has_product = items
        .any(|item| item.product_id.is_some() && (item.piece_id == id || item.back_id == Some(id)));
    match has_product {
        false => Ok(piece),
        true => Err(has_a_product()),
    }
}

fn check_outline(details: &IntakeDetails, photo: PhotoId, drawn: &Outline) -> Result<()> {
    let photo = details.photos.iter().find(|one| one.id == photo);
    let photo = photo.ok_or(Error::NotFound("Photograph"))?;
    outline::check(drawn, photo.width, photo.height)
        .map_err(|sentence| Error::invalid("outline", sentence))
}

fn check_room(details: &IntakeDetails, photo: PhotoId) -> Result<()> {
    let pieces = details.pieces.iter();
    match pieces.filter(|piece| piece.photo_id == photo).count() < MOST_PIECES {
        true => Ok(()),
        false => Err(Error::invalid(
            "outline",
            format!("A photograph has up to {MOST_PIECES} pieces."),
        )),
    }
}

/// Returns what a person changes of a piece, for the audit log.
fn snapshot(piece: &Piece) -> Value {
    json!({
        "piece": piece.number,
        "side": piece.side,
        "state": piece.state,
        "head_degrees": piece.head_degrees,
        "is_head_doubtful": piece.is_head_doubtful,
        "outline": *piece.outline,
    })
}

async fn record(
    conn: &mut PgConnection,
    actor: &Actor,
    details: &IntakeDetails,
    action: &'static str,
    (was, is): (Value, Value),
) -> Result<()> {
    let object = object(&details.intake);
    audit::record(conn, actor, action, &object, was, is).await
}
