//! SQL of images, and nothing else.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::intake::{Format, Prepared};
use super::{Image, ImageView};
use crate::error::Result;
use crate::ids::ImageId;

/// Where an image lies, and how.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Row {
    pub id: ImageId,
    pub storage_key: String,
    pub format: Format,
    pub width: i32,
    pub is_rendered: bool,
}

impl Row {
    /// The name of the object that is the image itself.
    pub fn original(&self) -> String {
        format!("original.{}", self.format.extension())
    }
}

/// Those of the images that we keep.
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

/// As [`find`], and until the transaction ends none of them is swept: for who is about to refer to them.
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

/// Those of the images that we keep, as every JSON shows them, with relative addresses.
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

/// As [`find_views`], in the order asked for; those that we do not keep are left out.
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

pub(super) async fn row(conn: &mut PgConnection, id: &ImageId) -> Result<Option<Row>> {
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

/// Gives an image that we keep another day. False: we do not keep it.
pub(super) async fn touch(conn: &mut PgConnection, id: &ImageId) -> Result<bool> {
    let done = sqlx::query("update images set last_used_at = clock_timestamp() where id = $1")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes a new image's row. False: somebody was faster, and theirs has another day.
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

/// Notes that all renditions are there. False: the image is gone, or its objects are others now.
pub(super) async fn set_rendered(conn: &mut PgConnection, row: &Row) -> Result<bool> {
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

/// Deletes those of the images that nobody uses and nobody uploaded again; returns their storage keys.
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

/// Deletes up to `most` images that nobody touched for a day and nobody uses; returns how many it looked at and the
/// storage keys of the deleted. Those in use are looked at again a day later. What others have locked is in use.
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

/// Those of the storage keys that no image has.
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
