//! Storage of the images that a catalog file names. It precedes the import of the rows: no file is read inside a
//! transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::result::Result as StdResult;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use sqlx::PgPool;

use crate::error::{Error, Result};
use crate::images::{self, Kept, ReceivedFile, Refusal, UploadError};
use crate::storage::Storage;
use crate::types::ids::ImageId;

/// Number of images processed concurrently.
const AT_ONCE: usize = 8;

/// Result of each image that a catalog file names, by its name in the file.
#[derive(Debug, Default)]
pub struct FileImages {
    taken: BTreeMap<String, FileImage>,
}

/// Outcome of storing an image.
#[derive(Debug)]
pub(super) enum FileImage {
    Kept(Kept),
    /// A sentence tells the reason.
    Refused(String),
}

impl FileImages {
    /// Stores an image under its name in the file. If the name is an image id and the content matches it, the original
    /// bytes are kept.
    ///
    /// # Errors
    /// If the storage fails. A refused image is a field error of the rows that name it.
    pub async fn take(
        &mut self,
        storage: &Storage,
        db: &PgPool,
        name: &str,
        content: &[u8],
    ) -> Result<()> {
        let taken = take(storage, db, named_id(name), content).await?;
        self.taken.insert(name.to_owned(), taken);
        Ok(())
    }

    /// Stores images that this program drew, several concurrently and unchanged. `images` holds names and contents.
    ///
    /// # Errors
    /// As [`FileImages::take`].
    pub async fn take_drawn(
        storage: &Storage,
        db: &PgPool,
        images: &[(String, Vec<u8>)],
    ) -> Result<FileImages> {
        let taken = stream::iter(images)
            .map(|(name, content)| async move {
                let id = Some(ImageId::of(content));
                Ok::<_, Error>((name.clone(), take(storage, db, id, content).await?))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(FileImages { taken })
    }

    /// Stores the images in files, several concurrently, by the names given. A file that cannot be read is refused.
    /// `progress` is called after each.
    ///
    /// # Errors
    /// As [`FileImages::take`].
    pub async fn take_files(
        storage: &Storage,
        db: &PgPool,
        files: &[(String, PathBuf)],
        progress: &(dyn Fn() + Sync),
    ) -> Result<FileImages> {
        let taken = stream::iter(files)
            .map(|(name, path)| async move {
                let taken = match tokio::fs::read(path).await {
                    Ok(content) => take(storage, db, None, &content).await?,
                    Err(error) => FileImage::Refused(format!("cannot be read: {error}")),
                };
                progress();
                Ok::<_, Error>((name.clone(), taken))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(FileImages { taken })
    }

    /// Id of an image that was stored, or the sentence that tells why it was not. `None` if there is no such file.
    pub fn outcome(&self, name: &str) -> Option<StdResult<&ImageId, &str>> {
        self.taken.get(name).map(|image| match image {
            FileImage::Kept(kept) => Ok(&kept.id),
            FileImage::Refused(why) => Err(why.as_str()),
        })
    }

    /// Number of images that were stored.
    pub fn count(&self) -> usize {
        let kept = |image: &&FileImage| matches!(image, FileImage::Kept(_));
        self.taken.values().filter(kept).count()
    }

    /// Deletes the stored images, because the import failed.
    pub async fn discard(self, storage: &Storage, db: &PgPool) {
        let images = self.taken.into_values();
        let kept: Vec<Kept> = images
            .filter_map(|image| match image {
                FileImage::Kept(kept) => Some(kept),
                FileImage::Refused(_) => None,
            })
            .collect();
        images::discard(storage, db, &kept).await;
    }

    /// Returns the outcome of an image. `None` if there is no such file.
    pub(super) fn get(&self, name: &str) -> Option<&FileImage> {
        self.taken.get(name)
    }
}

async fn take(
    storage: &Storage,
    db: &PgPool,
    known_as: Option<ImageId>,
    content: &[u8],
) -> Result<FileImage> {
    let refused = |refusal: Refusal| FileImage::Refused(refusal.sentence(&storage.limits()));
    let upload = match ReceivedFile::from_bytes(storage, content).await? {
        ReceivedFile::Upload(upload) => upload,
        ReceivedFile::Refused(refusal) => return Ok(refused(refusal)),
    };
    match images::keep(storage, db, upload, known_as).await {
        Ok(kept) => Ok(FileImage::Kept(kept)),
        Err(UploadError::Refused(refusal)) => Ok(refused(refusal)),
        Err(UploadError::Failed(error)) => Err(error),
    }
}

/// Returns the names of the images in a catalog file, without `/media/`: ids, and paths below the media folder. An
/// unreadable file names none; the import reports the error.
pub fn named_images(text: &str) -> BTreeSet<String> {
    let file: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap_or_default();
    let products = file["products"].as_array().map(Vec::as_slice);
    let mut names = BTreeSet::new();
    for product in products.unwrap_or_default() {
        let images = product["images"].as_array().map(Vec::as_slice);
        let places = [&product["primary_image"], &product["secondary_image"]];
        for image in images.unwrap_or_default().iter().chain(places) {
            if let Some(name) = image.as_str().map(name_of)
                && !name.is_empty()
                && !name.contains("://")
            {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

/// Returns the name of an image from its path or its URL in this shop.
pub(super) fn name_of(path: &str) -> &str {
    path.strip_prefix("/media/").unwrap_or(path)
}

/// Returns the image id if the name is an id, or an image's URL without `/media/`.
pub fn named_id(name: &str) -> Option<ImageId> {
    ImageId::parse(name).or_else(|| images::id_of(&format!("/media/{name}")))
}
