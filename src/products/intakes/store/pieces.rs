//! SQL of pieces.

use sqlx::PgConnection;
use sqlx::types::Json;
use table_photos::names::Description;

use crate::error::Result;
use crate::products::intakes::{Outline, Piece};
use crate::types::ids::{ImageId, IntakeId, PhotoId, PieceId};

/// Adds a piece with the next number.
pub(in crate::products::intakes) async fn insert_piece(
    conn: &mut PgConnection,
    intake: IntakeId,
    piece: &Piece,
) -> Result<()> {
    sqlx::query(
        "insert into intake_pieces
             (id, intake_id, photo_id, number, side, state, outline, head_degrees, is_head_doubtful, lighter_type,
              is_searched, is_drawn, colors, pattern)
         values ($1, $2, $3, (select coalesce(max(number), 0) + 1 from intake_pieces where intake_id = $2),
                 $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(piece.id)
    .bind(intake)
    .bind(piece.photo_id)
    .bind(piece.side)
    .bind(piece.state)
    .bind(&piece.outline)
    .bind(piece.head_degrees)
    .bind(piece.is_head_doubtful)
    .bind(piece.lighter_type)
    .bind(piece.is_searched)
    .bind(piece.is_drawn)
    .bind(&piece.colors)
    .bind(&piece.pattern)
    .execute(conn)
    .await?;
    Ok(())
}

/// Saves what a person may change of a piece. `is_staged_anew`: its staged image is made again.
pub(in crate::products::intakes) async fn save_piece(
    conn: &mut PgConnection,
    piece: &Piece,
    is_staged_anew: bool,
) -> Result<()> {
    sqlx::query(
        "update intake_pieces
         set side = $2, state = $3, outline = $4, head_degrees = $5, is_head_doubtful = $6, lighter_type = $7,
             is_searched = $8,
             revision = revision + case when $9 then 1 else 0 end,
             image_id = case when $9 then null else image_id end,
             remark = case when $9 then null else remark end,
             problem = case when $9 then null else problem end
         where id = $1",
    )
    .bind(piece.id)
    .bind(piece.side)
    .bind(piece.state)
    .bind(&piece.outline)
    .bind(piece.head_degrees)
    .bind(piece.is_head_doubtful)
    .bind(piece.lighter_type)
    .bind(piece.is_searched)
    .bind(is_staged_anew)
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces the outline of a drawn piece by the one that was found, unless a person changed it meanwhile.
pub(in crate::products::intakes) async fn set_found(
    conn: &mut PgConnection,
    piece: &Piece,
    outline: &Outline,
) -> Result<()> {
    sqlx::query(
        "update intake_pieces
         set outline = $3, head_degrees = $4, is_head_doubtful = $5, lighter_type = $6, is_searched = true
         where id = $1
           and revision = $2",
    )
    .bind(piece.id)
    .bind(piece.revision)
    .bind(Json(outline))
    .bind(piece.head_degrees)
    .bind(piece.is_head_doubtful)
    .bind(piece.lighter_type)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records the staged image of a piece, unless the piece changed meanwhile.
pub(in crate::products::intakes) async fn set_staged(
    conn: &mut PgConnection,
    piece: &Piece,
    image: &ImageId,
    remark: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "update intake_pieces
         set image_id = $3, remark = $4, problem = null
         where id = $1
           and revision = $2
           and state = 'used'",
    )
    .bind(piece.id)
    .bind(piece.revision)
    .bind(image)
    .bind(remark)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records why a piece without a staged image has none, unless the piece changed meanwhile.
pub(in crate::products::intakes) async fn set_unstaged(
    conn: &mut PgConnection,
    piece: &Piece,
    problem: &str,
) -> Result<()> {
    sqlx::query(
        "update intake_pieces
         set problem = $3
         where id = $1
           and revision = $2
           and state = 'used'
           and image_id is null",
    )
    .bind(piece.id)
    .bind(piece.revision)
    .bind(problem)
    .execute(conn)
    .await?;
    Ok(())
}

/// The pieces of a photograph of an open intake that wait for their staged images.
pub(in crate::products::intakes) async fn unstaged(
    conn: &mut PgConnection,
    photo: PhotoId,
) -> Result<Vec<Piece>> {
    let pieces = sqlx::query_as(piece!(
        "where photo_id = $1
           and state = 'used'
           and image_id is null
           and problem is null
           and exists (select from intakes i where i.id = intake_id and i.status = 'open')
         order by number"
    ))
    .bind(photo)
    .fetch_all(conn)
    .await?;
    Ok(pieces)
}

/// Leaves out pieces that seem to be in another photograph, too.
pub(in crate::products::intakes) async fn leave_out_twins(
    conn: &mut PgConnection,
    pairs: &[(PieceId, PieceId)],
) -> Result<()> {
    let (second, first): (Vec<PieceId>, Vec<PieceId>) = pairs.iter().copied().unzip();
    sqlx::query(
        "update intake_pieces p
         set state = 'left_out', same_as = twins.first
         from unnest($1::uuid[], $2::uuid[]) as twins (second, first)
         where p.id = twins.second",
    )
    .bind(second)
    .bind(first)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes pieces back that were left out for being in another photograph, because they, or the pieces there, change their
/// side or go away.
pub(in crate::products::intakes) async fn free_twins(
    conn: &mut PgConnection,
    pieces: &[PieceId],
) -> Result<()> {
    sqlx::query(
        "update intake_pieces
         set state = 'used', same_as = null
         where state = 'left_out'
           and same_as is not null
           and (id = any($1) or same_as = any($1))",
    )
    .bind(pieces)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records the colors and the pattern of a piece.
pub(in crate::products::intakes) async fn set_description(
    conn: &mut PgConnection,
    piece: PieceId,
    description: &Description,
) -> Result<()> {
    let colors = description.colors.iter();
    let colors: Vec<&str> = colors.map(|color| color.name()).collect();
    sqlx::query("update intake_pieces set colors = $2, pattern = $3 where id = $1")
        .bind(piece)
        .bind(colors)
        .bind(description.pattern.name())
        .execute(conn)
        .await?;
    Ok(())
}
