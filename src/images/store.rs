//! SQL of images.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::intake::{Format, Prepared};
use super::{Image, ImageView};
use crate::error::Result;
use crate::types::ids::ImageId;

/// Storage location and format of an image.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct ImageRow {
    pub id: ImageId,
    pub storage_key: String,
    pub format: Format,
    pub width: i32,
    pub is_rendered: bool,
}

impl ImageRow {
    /// Name of the original's object.
    pub fn original(&self) -> String {
        format!("original.{}", self.format.extension())
    }
}

/// Finds the stored images among these ids.
pub async fn find(conn: &mut PgConnection, ids: &[ImageId]) -> Result<BTreeMap<ImageId, Image>> {
    let images = sqlx::query_as(
        "select id, width, height, thumbhash
         from images
         where id = any($1)",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(by_id(images))
}

/// Like [`find`], and protects the images from deletion until the transaction ends, for callers about to reference
/// them.
pub async fn hold(conn: &mut PgConnection, ids: &[ImageId]) -> Result<BTreeMap<ImageId, Image>> {
    let images = sqlx::query_as(
        "select id, width, height, thumbhash
         from images
         where id = any($1)
         order by id
         for key share",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(by_id(images))
}

/// Finds the stored images among these ids, in the form of the JSON API with relative addresses.
pub async fn find_views(
    conn: &mut PgConnection,
    ids: &[ImageId],
) -> Result<BTreeMap<ImageId, ImageView>> {
    let images = find(conn, ids).await?;
    Ok(images
        .into_iter()
        .map(|(id, image)| (id, image.view("")))
        .collect())
}

/// Like [`find_views`], in the requested order; unknown images are left out.
pub async fn list_views(conn: &mut PgConnection, ids: &[ImageId]) -> Result<Vec<ImageView>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let images = find(conn, ids).await?;
    let views = ids.iter().filter_map(|id| images.get(id));
    Ok(views.map(|image| image.view("")).collect())
}

fn by_id(images: Vec<Image>) -> BTreeMap<ImageId, Image> {
    images
        .into_iter()
        .map(|image| (image.id.clone(), image))
        .collect()
}

pub(super) async fn row(conn: &mut PgConnection, id: &ImageId) -> Result<Option<ImageRow>> {
    let row = sqlx::query_as(
        "select id, storage_key, format, width, rendered_at is not null as is_rendered
         from images
         where id = $1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(row)
}

/// Lists all images.
pub(super) async fn all(conn: &mut PgConnection) -> Result<Vec<ImageRow>> {
    let rows = sqlx::query_as(
        "select id, storage_key, format, width, rendered_at is not null as is_rendered
         from images
         order by id",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Extends the life of an unreferenced image by a day. Returns false for an unknown image.
pub(super) async fn touch(conn: &mut PgConnection, id: &ImageId) -> Result<bool> {
    let done = sqlx::query("update images set last_used_at = clock_timestamp() where id = $1")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Inserts the row of a new image. Returns false when another transaction was faster; its image then lives another day.
pub(super) async fn insert(
    conn: &mut PgConnection,
    image: &Prepared,
    size_bytes: usize,
    storage_key: &str,
) -> Result<bool> {
    let kept: String = sqlx::query_scalar(
        "insert into images (id, storage_key, format, size_bytes, width, height, thumbhash)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (id) do update
         set last_used_at = clock_timestamp()
         returning storage_key",
    )
    .bind(&image.id)
    .bind(storage_key)
    .bind(image.format)
    .bind(size_bytes as i64)
    .bind(image.width as i32)
    .bind(image.height as i32)
    .bind(&image.thumbhash)
    .fetch_one(conn)
    .await?;
    Ok(kept == storage_key)
}

/// Records that all renditions exist. Returns false when the image was deleted or has other objects now.
pub(super) async fn set_rendered(conn: &mut PgConnection, row: &ImageRow) -> Result<bool> {
    let done = sqlx::query(
        "update images
         set rendered_at = now()
         where id = $1
           and storage_key = $2",
    )
    .bind(&row.id)
    .bind(&row.storage_key)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes those of the images that are unused and were not uploaded again. Returns their storage keys.
pub(super) async fn delete_new(conn: &mut PgConnection, ids: &[ImageId]) -> Result<Vec<String>> {
    let keys = sqlx::query_scalar(
        "with untouched as materialized (
             select id, storage_key
             from images
             where id = any($1)
               and last_used_at = created_at
             order by id
             for update
         )
         select storage_key
         from untouched
         where delete_unused_image(id)",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(keys)
}

/// Deletes up to `most` images that were untouched for a day and are unused. Returns the number of images checked and
/// the storage keys of the deleted ones. Images in use are checked again a day later; locked images count as in use.
pub(super) async fn delete_unused(
    conn: &mut PgConnection,
    most: i64,
) -> Result<(usize, Vec<String>)> {
    let found: Vec<(ImageId, String, bool)> = sqlx::query_as(
        "with old as materialized (
             select id, storage_key
             from images
             where last_used_at < now() - interval '1 day'
             order by last_used_at
             limit $1
             for update skip locked
         )
         select id, storage_key, delete_unused_image(id)
         from old",
    )
    .bind(most)
    .fetch_all(&mut *conn)
    .await?;
    let looked_at = found.len();
    let (deleted, used): (Vec<_>, Vec<_>) = found.into_iter().partition(|(.., gone)| *gone);
    let used: Vec<ImageId> = used.into_iter().map(|(id, ..)| id).collect();
    sqlx::query("update images set last_used_at = now() where id = any($1)")
        .bind(used)
        .execute(conn)
        .await?;
    Ok((
        looked_at,
        deleted.into_iter().map(|(_, key, _)| key).collect(),
    ))
}

/// Finds the storage keys without an image.
pub(super) async fn unknown_keys(conn: &mut PgConnection, keys: &[String]) -> Result<Vec<String>> {
    let unknown = sqlx::query_scalar(
        "select listed.key
         from unnest($1::text[]) as listed (key)
         left join images p on p.storage_key = listed.key
         where p.id is null",
    )
    .bind(keys)
    .fetch_all(conn)
    .await?;
    Ok(unknown)
}
