//! SQL of photographs.

use sqlx::PgConnection;

use crate::error::Result;
use crate::products::intakes::{Photo, PhotoStatus, Side};
use crate::types::ids::PhotoId;

/// Finds a photograph.
pub(in crate::products::intakes) async fn photo(
    conn: &mut PgConnection,
    id: PhotoId,
) -> Result<Option<Photo>> {
    let photo = sqlx::query_as(photo!("where id = $1"))
        .bind(id)
        .fetch_optional(conn)
        .await?;
    Ok(photo)
}

/// Adds a photograph behind the others. Returns false if its image is in the intake already.
pub(in crate::products::intakes) async fn insert_photo(
    conn: &mut PgConnection,
    photo: &Photo,
) -> Result<bool> {
    let done = sqlx::query(
        "insert into intake_photos
             (id, intake_id, position, side, file_name, image_id, width, height, status, problem)
         values ($1, $2, (select coalesce(max(position), 0) + 1 from intake_photos where intake_id = $2),
                 $3, $4, $5, $6, $7, $8, $9)
         on conflict (intake_id, image_id) do nothing",
    )
    .bind(photo.id)
    .bind(photo.intake_id)
    .bind(photo.side)
    .bind(&photo.file_name)
    .bind(&photo.image_id)
    .bind(photo.width)
    .bind(photo.height)
    .bind(photo.status)
    .bind(&photo.problem)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes a photograph with its pieces.
pub(in crate::products::intakes) async fn delete_photo(
    conn: &mut PgConnection,
    id: PhotoId,
) -> Result<()> {
    sqlx::query("delete from intake_photos where id = $1")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Sets the side of a photograph and of its pieces.
pub(in crate::products::intakes) async fn set_photo_side(
    conn: &mut PgConnection,
    id: PhotoId,
    side: Side,
) -> Result<()> {
    sqlx::query("update intake_photos set side = $2 where id = $1")
        .bind(id)
        .bind(side)
        .execute(&mut *conn)
        .await?;
    sqlx::query("update intake_pieces set side = $2 where photo_id = $1")
        .bind(id)
        .bind(side)
        .execute(conn)
        .await?;
    Ok(())
}

/// Counts a run that works on a photograph. Returns the number of runs so far that ended without an outcome, this one
/// included.
pub(in crate::products::intakes) async fn begin_work(
    conn: &mut PgConnection,
    id: PhotoId,
) -> Result<i16> {
    let attempts = sqlx::query_scalar(
        "update intake_photos
         set attempts = least(attempts + 1, 100)
         where id = $1
         returning attempts",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(attempts.unwrap_or_default())
}

/// Records that a run had an outcome, if only a failure outside of the photograph.
pub(in crate::products::intakes) async fn end_work(
    conn: &mut PgConnection,
    id: PhotoId,
) -> Result<()> {
    sqlx::query("update intake_photos set attempts = 0 where id = $1")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Records the outcome of a search.
pub(in crate::products::intakes) async fn set_searched(
    conn: &mut PgConnection,
    id: PhotoId,
    problem: Option<&str>,
    remarks: &[String],
) -> Result<()> {
    let status = match problem {
        Some(_) => PhotoStatus::Failed,
        None => PhotoStatus::Found,
    };
    sqlx::query(
        "update intake_photos
         set status = $2, problem = $3, remarks = $4
         where id = $1",
    )
    .bind(id)
    .bind(status)
    .bind(problem)
    .bind(remarks)
    .execute(conn)
    .await?;
    Ok(())
}
