//! Images in a backup: the originals. Renditions are made again.

use chrono::Utc;
use object_store::path::Path;
use sqlx::PgConnection;

use super::store::{self, ImageRow};
use crate::error::Result;
use crate::jobs::{self, Job};
use crate::storage::{self, path_of};
use crate::types::ids::ImageId;

/// The stored original of an image.
#[derive(Clone, Debug)]
pub struct Original {
    pub id: ImageId,
    pub path: Path,
}

/// Lists the originals of all images.
pub async fn originals(conn: &mut PgConnection) -> Result<Vec<Original>> {
    let rows = store::all(conn).await?;
    let originals = rows.into_iter().map(|row: ImageRow| Original {
        path: path_of(&row.storage_key, &row.original()),
        id: row.id,
    });
    Ok(originals.collect())
}

/// Keeps every image for half a day at least, whatever becomes of what uses it, so that a backup can read it.
pub async fn protect(conn: &mut PgConnection) -> Result<()> {
    // An image that another transaction has locked is being used, or deleted as unused.
    sqlx::query(
        "with old as materialized (
             select id
             from images
             where last_used_at < now() - interval '12 hours'
             order by id
             for no key update skip locked
         )
         update images
         set last_used_at = now()
         from old
         where images.id = old.id",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Brings restored rows in line with the media store, which has the originals of these storage keys: unused images
/// without a file are deleted, and the others get their renditions. Returns the number of used images without a file.
pub async fn restored(conn: &mut PgConnection, storage_keys: &[String]) -> Result<usize> {
    let kept: Vec<(ImageId, bool, bool)> = sqlx::query_as(
        "select id, storage_key = any($1) as is_stored,
                case when storage_key = any($1) then false else delete_unused_image(id) end as is_deleted
         from images
         order by id",
    )
    .bind(storage_keys)
    .fetch_all(&mut *conn)
    .await?;
    sqlx::query("update images set rendered_at = null")
        .execute(&mut *conn)
        .await?;
    let mut missing = 0;
    let mut renditions = Vec::new();
    for (image, is_stored, is_deleted) in kept {
        if is_stored {
            renditions.push((Job::RenderImage { image }, Utc::now()));
        } else if !is_deleted {
            missing += 1;
        }
    }
    jobs::enqueue_many(conn, &renditions).await?;
    Ok(missing)
}

/// Returns the storage key of an object's path; `None` for a file of the old service.
pub fn storage_key_of(path: &Path) -> Option<String> {
    let mut parts = path.parts();
    let is_ours = parts.next()?.as_ref() == storage::IMAGES;
    let key = parts.next()?;
    is_ours.then(|| key.as_ref().to_owned())
}
