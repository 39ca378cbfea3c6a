//! Storing and deleting images.
//!
//! An object is written before the row that references it, and deleted after the row, so that a row never references a
//! missing object, whatever crashes. Each row has a folder of its own that is never reused, so a late deletion cannot
//! hit a new image. The sweep finds folders that a crash left without a row.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use object_store::path::Path;
use percent_encoding::percent_decode_str;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::intake::{self, Prepared};
use super::refusal::{Refusal, UploadError};
use super::renditions::{self, Encoding};
use super::store::{self, ImageRow};
use super::{Upload, id_of};
use crate::config::MediaLimits;
use crate::error::{Error, Result};
use crate::jobs::{self, Job};
use crate::storage::{Storage, asked_path, path_of};
use crate::types::ids::ImageId;

/// Age at which a folder without a row counts as orphaned.
const ORPHANED: TimeDelta = TimeDelta::days(1);

/// Images checked in one transaction of the sweep.
const BATCH: i64 = 200;

/// A stored image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub id: ImageId,
    /// False when the image was already stored.
    pub is_new: bool,
}

/// Size limit of files from the old service that are read whole, in bytes.
const BROUGHT_ALONG_LIMIT: u64 = 20 * 1024 * 1024;

/// Result of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageSweep {
    /// Deleted unused images.
    pub images: usize,
    /// Deleted folders without an image, left by a crash.
    pub folders: usize,
}

/// Stores an image: decodes it, rotates it upright, strips metadata, converts colors. A job makes its renditions. Safe
/// to repeat: the same content is the same image. An image without references is deleted after a day.
///
/// An image that a shop has stored before is `known_as` its id. If it is identical, its bytes and id are kept: encoding
/// a JPEG again would cost a small loss.
///
/// # Errors
/// A refusal for the uploader; 503 `media_unavailable` when the storage fails, with nothing stored.
pub async fn keep(
    storage: &Storage,
    db: &PgPool,
    upload: Upload,
    known_as: Option<ImageId>,
) -> Result<Kept, UploadError> {
    let limits = storage.limits();
    let prepared = prepare(storage, upload, limits, known_as).await?;
    Ok(keep_prepared(storage, db, prepared).await?)
}

/// As [`keep`], by limits of its own.
///
/// # Errors
/// As [`keep`].
pub async fn keep_within(
    storage: &Storage,
    db: &PgPool,
    upload: Upload,
    limits: MediaLimits,
) -> Result<Kept, UploadError> {
    let prepared = prepare(storage, upload, limits, None).await?;
    Ok(keep_prepared(storage, db, prepared).await?)
}

/// An image that was judged, and is not stored.
pub struct Judged(Prepared);

impl Judged {
    /// Id that the image has, or will have.
    pub fn id(&self) -> &ImageId {
        &self.0.id
    }

    /// Forgets the content, for a rehearsal in which it is not stored.
    pub fn without_content(mut self) -> Judged {
        self.0.content = Vec::new();
        self
    }

    /// Inserts a row whose files are not stored. For a transaction that is rolled back.
    ///
    /// # Errors
    /// Database errors only.
    pub async fn insert_unstored(&self, conn: &mut PgConnection) -> Result<()> {
        let storage_key = format!("{}-unstored", self.0.id);
        store::insert(conn, &self.0, 1, &storage_key).await?;
        Ok(())
    }
}

/// Judges an image of the shop's own by limits of its own, and stores nothing.
///
/// # Errors
/// A refusal; internal errors.
pub async fn judge(
    storage: &Storage,
    content: Vec<u8>,
    limits: MediaLimits,
) -> Result<Judged, UploadError> {
    if content.len() as u64 > limits.file_bytes {
        return Err(Refusal::TooLarge.into());
    }
    let _reader = storage
        .readers
        .acquire()
        .await
        .map_err(anyhow::Error::from)?;
    Ok(Judged(decode_all(storage, content, limits, None).await?))
}

/// Encodes an image that the shop made itself, for [`keep_judged`]. Takes as long as pixels take: not for async code.
///
/// # Errors
/// Images that cannot be encoded.
pub fn encode(image: image::RgbImage) -> Result<Judged, Refusal> {
    intake::encode(image).map(Judged)
}

/// Works on the pixels of a stored image, upright and in sRGB, on a blocking thread, once there is memory for them. What
/// is transparent is white. Returns `None` for an image whose pixels cannot be had, now or later, and when the work panics.
///
/// # Errors
/// 503 `media_unavailable` when the storage fails; internal errors.
pub async fn work_on<T: Send + 'static>(
    storage: &Storage,
    db: &PgPool,
    id: &ImageId,
    work: impl FnOnce(image::RgbImage) -> T + Send + 'static,
) -> Result<Option<T>> {
    let Some(row) = store::row(&mut *db.acquire().await?, id).await? else {
        return Ok(None);
    };
    let Some(content) = original(storage, &row).await? else {
        tracing::error!(%id, "an image is not in the store");
        return Ok(None);
    };
    let limits = kept_limits(storage);
    let done = match intake::measure(&content, &limits) {
        Err(refusal) => Some(Err(refusal)),
        Ok(pixels) => {
            let work = move || {
                let image = intake::decode_opaque(&content, &limits)?;
                drop(content);
                Ok::<_, Refusal>(work(image))
            };
            storage.work(pixels, work).await?
        }
    };
    if let Some(Err(refusal)) = &done {
        let error = odd(id, *refusal);
        tracing::error!(%error, "an image cannot be worked on");
    }
    Ok(done.and_then(Result::ok))
}

/// Limits of images that are stored: they met the limits at their upload, so today's do not matter.
fn kept_limits(storage: &Storage) -> MediaLimits {
    MediaLimits {
        megapixels: 300,
        ..storage.limits()
    }
}

/// Stores a judged image, as [`keep`] does. Safe to repeat.
///
/// # Errors
/// 503 `media_unavailable` when the storage fails, with nothing stored.
pub async fn keep_judged(storage: &Storage, db: &PgPool, judged: Judged) -> Result<Kept> {
    keep_prepared(storage, db, judged.0).await
}

async fn keep_prepared(storage: &Storage, db: &PgPool, prepared: Prepared) -> Result<Kept> {
    let id = prepared.id.clone();
    if store::touch(&mut *db.acquire().await?, &id).await? {
        return Ok(Kept { id, is_new: false });
    }
    // A folder of its own for each upload: a job that removes an equal image, deleted before, leaves the new files alone.
    let storage_key = format!("{id}-{}", Uuid::now_v7().simple());
    let is_new = store_new(storage, db, prepared, &storage_key).await?;
    if !is_new && let Err(error) = storage.objects.remove(&storage_key).await {
        tracing::warn!(%error, "an unneeded folder stays until the sweep");
    }
    Ok(Kept { id, is_new })
}

async fn prepare(
    storage: &Storage,
    upload: Upload,
    limits: MediaLimits,
    known_as: Option<ImageId>,
) -> Result<Prepared, UploadError> {
    let _reader = storage
        .readers
        .acquire()
        .await
        .map_err(anyhow::Error::from)?;
    let content = upload.into_bytes().await?;
    decode_all(storage, content, limits, known_as).await
}

/// Decodes an image completely, once there is memory for it.
async fn decode_all(
    storage: &Storage,
    content: Vec<u8>,
    limits: MediaLimits,
    known_as: Option<ImageId>,
) -> Result<Prepared, UploadError> {
    // Measured first, because the decoding waits for as much memory as it needs.
    let (content, pixels) = storage
        .work(0, move || {
            let pixels = intake::measure(&content, &limits)?;
            Ok::<_, Refusal>((content, pixels))
        })
        .await?
        .unwrap_or(Err(Refusal::Damaged))?;
    let prepared = storage
        .work(pixels, move || {
            let recognized = known_as.and_then(|id| intake::recognize(&id, &content, &limits));
            match recognized {
                Some(prepared) => Ok(prepared),
                None => intake::prepare(&content, &limits),
            }
        })
        .await?;
    Ok(prepared.unwrap_or(Err(Refusal::Damaged))?)
}

async fn store_new(
    storage: &Storage,
    db: &PgPool,
    mut prepared: Prepared,
    storage_key: &str,
) -> Result<bool> {
    let name = format!("original.{}", prepared.format.extension());
    let content = std::mem::take(&mut prepared.content);
    let size_bytes = content.len();
    let path = path_of(storage_key, &name);
    if let Err(error) = storage.objects.put(&path, content).await {
        // It may be partly written. If this fails, too, the sweep finds it.
        let _ = storage.objects.remove(storage_key).await;
        return Err(error);
    }
    // From here on the object stays, even if the commit's answer is lost, because the row may exist.
    let mut tx = db.begin().await?;
    let is_new = store::insert(&mut tx, &prepared, size_bytes, storage_key).await?;
    if is_new {
        let image = prepared.id;
        jobs::enqueue(&mut tx, &Job::RenderImage { image }).await?;
    }
    tx.commit().await?;
    Ok(is_new)
}

/// Discards the images of a failed request, unless they are in use or were uploaded again in the meantime. Nothing of
/// them remains on disk or in the database. Never fails; the sweep does the next day what is left.
pub async fn discard(storage: &Storage, db: &PgPool, kept: &[Kept]) {
    let new: Vec<ImageId> = kept
        .iter()
        .filter(|kept| kept.is_new)
        .map(|kept| kept.id.clone())
        .collect();
    if new.is_empty() {
        return;
    }
    let discarding = async {
        let mut tx = db.begin().await?;
        let keys = store::delete_new(&mut tx, &new).await?;
        enqueue_removal(&mut tx, &keys).await?;
        tx.commit().await?;
        // Delete immediately; the job then finds nothing.
        for key in &keys {
            storage.objects.remove(key).await?;
        }
        Ok::<(), Error>(())
    };
    if let Err(error) = discarding.await {
        tracing::warn!(%error, "images of a failed request stay until the sweep");
    }
}

async fn enqueue_removal(conn: &mut PgConnection, storage_keys: &[String]) -> Result<()> {
    for storage_key in storage_keys {
        let job = Job::RemoveImage {
            storage_key: storage_key.clone(),
        };
        jobs::enqueue(conn, &job).await?;
    }
    Ok(())
}

/// Makes the renditions of an image. Safe to repeat; does nothing for a deleted image.
pub async fn render(storage: &Storage, db: &PgPool, id: &ImageId) -> Result<()> {
    let row = store::row(&mut *db.acquire().await?, id).await?;
    let Some(row) = row.filter(|row| !row.is_rendered) else {
        return Ok(());
    };
    let Some(content) = original(storage, &row).await? else {
        return Err(anyhow::anyhow!("the image {id} is not in the store").into());
    };
    let limits = kept_limits(storage);
    let pixels = intake::measure(&content, &limits).map_err(|refusal| odd(id, refusal))?;
    let made = storage
        .work(pixels, move || {
            let image = intake::decode(&content, &limits);
            image.map(|image| renditions::make(&image))
        })
        .await?
        .unwrap_or(Err(Refusal::Damaged))
        .map_err(|refusal| odd(id, refusal))?;
    for rendition in made? {
        let name = format!("{}.{}", rendition.step, rendition.kind.extension());
        let path = path_of(&row.storage_key, &name);
        storage.objects.put(&path, rendition.content).await?;
    }
    if !store::set_rendered(&mut *db.acquire().await?, &row).await? {
        // The image was deleted in the meantime, and these objects may have been written after its deletion.
        storage.objects.remove(&row.storage_key).await?;
    }
    Ok(())
}

fn odd(id: &ImageId, refusal: Refusal) -> Error {
    anyhow::anyhow!("the image {id} as we kept it is {refusal:?}").into()
}

/// Deletes the objects of a deleted image. Safe to repeat.
pub async fn remove(storage: &Storage, storage_key: &str) -> Result<()> {
    storage.objects.remove(storage_key).await
}

/// Deletes images unused for a day, and leftovers of crashes in the storage. Safe to repeat, and to run concurrently.
pub async fn sweep(storage: &Storage, db: &PgPool) -> Result<ImageSweep> {
    let mut swept = ImageSweep::default();
    loop {
        let mut tx = db.begin().await?;
        let (looked_at, keys) = store::delete_unused(&mut tx, BATCH).await?;
        enqueue_removal(&mut tx, &keys).await?;
        tx.commit().await?;
        swept.images += keys.len();
        if looked_at < BATCH as usize {
            break;
        }
    }
    let now = Utc::now();
    let mut old = storage.objects.storage_keys().await?;
    // Younger folders may belong to an upload whose row is not committed yet.
    old.retain(|key| made_at(key).is_some_and(|at| now - at > ORPHANED));
    for key in store::unknown_keys(&mut *db.acquire().await?, &old).await? {
        storage.objects.remove(&key).await?;
        swept.folders += 1;
    }
    Ok(swept)
}

/// Creation time of a folder, from its name. `None` for folders that are not ours.
fn made_at(storage_key: &str) -> Option<DateTime<Utc>> {
    let (id, suffix) = storage_key.split_once('-')?;
    ImageId::parse(id)?;
    let (seconds, nanos) = Uuid::try_parse(suffix).ok()?.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

/// Bytes and media type of a JPEG of at most this width, for emails; the original until renditions exist. `None` for an
/// unknown image.
pub async fn read(
    storage: &Storage,
    db: &PgPool,
    id: &ImageId,
    width: u32,
) -> Result<Option<(Bytes, &'static str)>> {
    let Some(row) = store::row(&mut *db.acquire().await?, id).await? else {
        return Ok(None);
    };
    if row.is_rendered {
        let (path, _) = rendition(&row, width, Encoding::Jpeg);
        if let Some(content) = storage.objects.read(&path).await? {
            return Ok(Some((content, Encoding::Jpeg.mime())));
        }
    }
    let content = original(storage, &row).await?;
    Ok(content.map(|content| (content, row.format.mime())))
}

/// Bytes and media type of the file at an address, `/media/…`: an image as [`read`] returns it, or a file from the old
/// service as stored. `None` for unknown files.
pub async fn read_address(
    storage: &Storage,
    db: &PgPool,
    address: &str,
    width: u32,
) -> Result<Option<(Bytes, &'static str)>> {
    if let Some(id) = id_of(address) {
        return read(storage, db, &id, width).await;
    }
    let path = address
        .strip_prefix("/media/")
        .and_then(|path| percent_decode_str(path).decode_utf8().ok())
        .and_then(|path| asked_path(&path));
    let Some(path) = path else {
        return Ok(None);
    };
    let Some(meta) = storage.objects.head(&path).await? else {
        return Ok(None);
    };
    if meta.size > BROUGHT_ALONG_LIMIT {
        return Ok(None);
    }
    let content = storage.objects.read(&path).await?;
    let sniffed = content
        .filter(|content| !content.is_empty())
        .and_then(|content| {
            let format = image::guess_format(&content).ok()?;
            Some((content, format.to_mime_type()))
        });
    Ok(sniffed)
}

async fn original(storage: &Storage, row: &ImageRow) -> Result<Option<Bytes>> {
    let path = path_of(&row.storage_key, &row.original());
    storage.objects.read(&path).await
}

/// Path and name of the rendition for this width.
pub(super) fn rendition(row: &ImageRow, width: u32, kind: Encoding) -> (Path, String) {
    let step = renditions::step_for(row.width.unsigned_abs(), width);
    let name = format!("{step}.{}", kind.extension());
    (path_of(&row.storage_key, &name), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_tells_its_age_and_others_are_left_alone() {
        let key = format!("{}-{}", "ab".repeat(32), Uuid::now_v7().simple());
        let age = Utc::now() - made_at(&key).expect("a time");
        assert!(age.num_seconds().abs() < 60);
        for other in [
            "products",
            "ab-cd",
            &format!("x-{}", Uuid::now_v7().simple()),
        ] {
            assert_eq!(made_at(other), None, "{other}");
        }
    }
}
