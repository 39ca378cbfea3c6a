//! SQL of intakes.

macro_rules! intake {
    ($rest:literal) => {
        concat!(
            "select id, number, status, lighter_type, category_id, weight_ounces::text as weight_ounces, pieces_each,
                    needs_pairing, version, created_at, changed_at
             from intakes ",
            $rest
        )
    };
}

macro_rules! photo {
    ($rest:literal) => {
        concat!(
            "select id, intake_id, side, file_name, image_id, coalesce(width, 0) as width,
                    coalesce(height, 0) as height, status, problem, remarks
             from intake_photos ",
            $rest
        )
    };
}

macro_rules! piece {
    ($rest:literal) => {
        concat!(
            "select id, photo_id, number, side, state, outline, head_degrees, is_head_doubtful, lighter_type,
                    is_searched, is_drawn, same_as, image_id, revision, remark, problem, colors, pattern
             from intake_pieces ",
            $rest
        )
    };
}

mod items;
mod photos;
mod pieces;

pub(super) use items::{
    free_backs, insert_item, latest_prices, save_item, set_back, set_product, taken_names,
    usual_category, was_ordered,
};
pub(super) use photos::{
    begin_work, delete_photo, end_work, insert_photo, photo, set_photo_side, set_searched,
};
pub(super) use pieces::{
    free_twins, insert_piece, leave_out_twins, save_piece, set_description, set_found, set_staged,
    set_unstaged, unstaged,
};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Intake, IntakeDetails, IntakeStatus, PieceState, Side};
use crate::error::{Error, Result};
use crate::types::ids::{ImageId, IntakeId, PieceId};

/// An intake in a list.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct IntakeEntry {
    #[sqlx(flatten)]
    pub intake: Intake,
    pub photos: i64,
    /// Photographs that are still to be searched.
    pub waiting: i64,
    /// Fronts in use.
    pub fronts: i64,
    /// Products made of it.
    pub products: i64,
    /// The staged image of its first front.
    pub image_id: Option<ImageId>,
}

/// Returns a page of intakes, latest first, and their total number.
pub async fn list(
    conn: &mut PgConnection,
    limit: i64,
    offset: i64,
) -> Result<(i64, Vec<IntakeEntry>)> {
    let total = sqlx::query_scalar("select count(*) from intakes")
        .fetch_one(&mut *conn)
        .await?;
    let entries = sqlx::query_as(
        "select i.id, i.number, i.status, i.lighter_type, i.category_id, i.weight_ounces::text as weight_ounces,
                i.pieces_each, i.needs_pairing, i.version, i.created_at, i.changed_at,
                (select count(*) from intake_photos p where p.intake_id = i.id) as photos,
                (select count(*) from intake_photos p where p.intake_id = i.id and p.status = 'waiting') as waiting,
                (select count(*) from intake_pieces p
                 where p.intake_id = i.id and p.side = 'front' and p.state = 'used') as fronts,
                (select count(*) from intake_items t
                 where t.intake_id = i.id and t.product_id is not null) as products,
                (select p.image_id from intake_pieces p
                 where p.intake_id = i.id and p.side = 'front' and p.state = 'used' and p.image_id is not null
                 order by p.number
                 limit 1) as image_id
         from intakes i
         order by i.created_at desc, i.id desc
         limit $1
         offset $2",
    )
    .bind(limit)
    .bind(offset)
    .fetch_all(conn)
    .await?;
    Ok((total, entries))
}

/// Inserts an intake with its choices.
pub(super) async fn insert(conn: &mut PgConnection, intake: &Intake) -> Result<Intake> {
    let number: i64 = sqlx::query_scalar(
        "insert into intakes (id, lighter_type, category_id, weight_ounces, pieces_each)
         values ($1, $2, $3, $4::numeric, $5)
         returning number",
    )
    .bind(intake.id)
    .bind(intake.lighter_type)
    .bind(intake.category_id)
    .bind(&intake.weight_ounces)
    .bind(intake.pieces_each)
    .fetch_one(&mut *conn)
    .await?;
    Ok(Intake {
        number,
        ..intake.clone()
    })
}

/// Locks an intake until the transaction ends.
///
/// # Errors
/// 404.
pub(super) async fn lock(conn: &mut PgConnection, id: IntakeId) -> Result<Intake> {
    let intake = sqlx::query_as(intake!("where id = $1 for no key update"))
        .bind(id)
        .fetch_optional(conn)
        .await?;
    intake.ok_or(Error::NotFound("Batch"))
}

/// Sets the status and the need of pairing, and counts a change by a person.
pub(super) async fn save(conn: &mut PgConnection, intake: &Intake) -> Result<()> {
    sqlx::query(
        "update intakes
         set status = $2, needs_pairing = $3, version = version + 1, changed_at = now()
         where id = $1",
    )
    .bind(intake.id)
    .bind(intake.status)
    .bind(intake.needs_pairing)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that fronts and backs are to be paired, or are paired.
pub(super) async fn set_needs_pairing(
    conn: &mut PgConnection,
    id: IntakeId,
    needs_pairing: bool,
) -> Result<()> {
    sqlx::query("update intakes set needs_pairing = $2 where id = $1")
        .bind(id)
        .bind(needs_pairing)
        .execute(conn)
        .await?;
    Ok(())
}

/// Finds an intake with everything in it.
///
/// # Errors
/// 404.
pub async fn details(conn: &mut PgConnection, id: IntakeId) -> Result<IntakeDetails> {
    let intake = sqlx::query_as(intake!("where id = $1"))
        .bind(id)
        .fetch_optional(&mut *conn)
        .await?;
    let intake: Intake = intake.ok_or(Error::NotFound("Batch"))?;
    contents(conn, intake).await
}

/// Reads what is in an intake.
pub(super) async fn contents(conn: &mut PgConnection, intake: Intake) -> Result<IntakeDetails> {
    let photos = sqlx::query_as(photo!("where intake_id = $1 order by position"))
        .bind(intake.id)
        .fetch_all(&mut *conn)
        .await?;
    let pieces = sqlx::query_as(piece!("where intake_id = $1 order by number"))
        .bind(intake.id)
        .fetch_all(&mut *conn)
        .await?;
    let items = sqlx::query_as(
        "select t.piece_id, t.back_id, t.is_paired_by_hand, t.is_sure, t.name, t.category_id, t.price, t.product_id,
                t.product_version
         from intake_items t
         join intake_pieces p on p.id = t.piece_id
         where t.intake_id = $1
         order by p.number",
    )
    .bind(intake.id)
    .fetch_all(&mut *conn)
    .await?;
    Ok(IntakeDetails {
        intake,
        photos,
        pieces,
        items,
    })
}

/// Discards intakes that nobody touched since `untouched`.
pub(super) async fn discard_untouched(
    conn: &mut PgConnection,
    untouched: DateTime<Utc>,
) -> Result<Vec<i64>> {
    let numbers = sqlx::query_scalar(
        "update intakes
         set status = $2, needs_pairing = false
         where status = 'open'
           and changed_at < $1
         returning number",
    )
    .bind(untouched)
    .bind(IntakeStatus::Discarded)
    .fetch_all(conn)
    .await?;
    Ok(numbers)
}

/// Locks the intakes that ended before `ended` and still have images. One that is being opened again is waited for, and
/// keeps its images.
pub(super) async fn lock_ended(
    conn: &mut PgConnection,
    ended: DateTime<Utc>,
) -> Result<Vec<IntakeId>> {
    let ids = sqlx::query_scalar(
        "select id
         from intakes i
         where status <> 'open'
           and changed_at < $1
           and (exists (select from intake_photos p where p.intake_id = i.id and p.image_id is not null)
                or exists (select from intake_pieces p where p.intake_id = i.id and p.image_id is not null))
         order by id
         for no key update",
    )
    .bind(ended)
    .fetch_all(conn)
    .await?;
    Ok(ids)
}

/// Lets go of the images of intakes. Products keep theirs.
pub(super) async fn let_go_images(conn: &mut PgConnection, intakes: &[IntakeId]) -> Result<()> {
    for sql in [
        "update intake_photos
         set image_id = null
         where image_id is not null
           and intake_id = any($1)",
        "update intake_pieces
         set image_id = null
         where image_id is not null
           and intake_id = any($1)",
    ] {
        sqlx::query(sql).bind(intakes).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Locks the pieces' states while they are counted: all used pieces of an intake with their sides and revisions.
pub(super) fn state_of(details: &IntakeDetails) -> Vec<(PieceId, Side, PieceState, i32)> {
    let pieces = details.pieces.iter();
    pieces
        .map(|piece| (piece.id, piece.side, piece.state, piece.revision))
        .collect()
}
