//! Images: the one way in for every image, the store they lie in, and the way out to browsers and emails.
//!
//! What comes in is judged by its content, decoded whole, turned upright, converted to sRGB and written anew: nothing of
//! the file that was sent is kept but its pixels, so neither metadata nor anything that hides in an image survives. The
//! result is stored once under the hash of its content; a job makes the renditions. Domains keep a [`ImageId`] in a
//! column that references `images (id)`, and that is all it takes: what nothing references a day after its last upload
//! is swept.
mod batch;
mod color;
mod intake;
mod jpeg;
mod objects;
mod png;
mod renditions;
mod serve;
mod service;
mod store;
mod upload;

pub use batch::Batch;
pub use intake::Refusal;
pub use serve::serve;
pub use service::{Kept, Swept, discard, keep, read, read_address, remove, render, restore, sweep};
pub use store::{find, find_views, hold, list_views};
pub use upload::{Form, Incoming, Upload, read_form};

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use crate::config::{Config, MediaLimits, MediaStore};
use crate::error::Result;
use crate::ids::ImageId;
use objects::Objects;
use renditions::{Kind, WIDTHS};

/// How many images are read into memory at once, before their pixels are counted.
const READERS: usize = 4;

/// The store with its limits. Cheap to clone.
#[derive(Clone)]
pub struct Media {
    objects: Objects,
    limits: MediaLimits,
    /// Where uploads lie while they arrive: unnamed files, which end with the process.
    uploads: Arc<PathBuf>,
    readers: Arc<Semaphore>,
    /// One permit for a thousand pixels. All that is decoded at a time fits into one largest image.
    pixels: Arc<Semaphore>,
}

impl Media {
    /// The store that the settings describe.
    ///
    /// # Errors
    /// When a folder cannot be made, or the bucket's settings are of no use.
    pub fn open(config: &Config) -> anyhow::Result<Media> {
        let objects = match &config.media_store {
            MediaStore::Folder(folder) => Objects::in_folder(folder)?,
            MediaStore::Bucket(bucket) => Objects::in_bucket(bucket)?,
        };
        let uploads = config.data_dir.join("uploads");
        std::fs::create_dir_all(&uploads).with_context(|| {
            format!(
                "making the folder {} (DATA_DIR says where)",
                uploads.display()
            )
        })?;
        let limits = config.media_limits;
        Ok(Media {
            objects,
            limits,
            uploads: Arc::new(uploads),
            readers: Arc::new(Semaphore::new(READERS)),
            pixels: Arc::new(Semaphore::new(limits.megapixels as usize * 1000)),
        })
    }

    pub fn limits(&self) -> MediaLimits {
        self.limits
    }

    /// A file for what arrives, without a name: it is gone when it is dropped, or with the process.
    ///
    /// # Errors
    /// 503 `media_unavailable` when the disk refuses.
    pub fn temporary_file(&self) -> Result<std::fs::File> {
        tempfile::tempfile_in(self.uploads.as_path())
            .map_err(|error| objects::unavailable(error, "beginning an upload"))
    }

    /// Does work on pixels where it blocks nobody, once there is room for them. A decoder that panics has met an image
    /// that it does not understand: nothing, then.
    async fn work<T: Send + 'static>(
        &self,
        pixels: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>> {
        let permits = pixels
            .div_ceil(1000)
            .min(u64::from(self.limits.megapixels) * 1000);
        let pixels = Arc::clone(&self.pixels);
        let permit = pixels
            .acquire_many_owned(permits as u32)
            .await
            .context("waiting for room to decode")?;
        let done = tokio::task::spawn_blocking(move || {
            // Held by the work, not by who waits for it: they may be gone before it ends.
            let _permit = permit;
            work()
        });
        match done.await {
            Ok(done) => Ok(Some(done)),
            Err(error) if error.is_panic() => {
                tracing::warn!("a decoder panicked; the image is refused");
                Ok(None)
            }
            Err(error) => Err(anyhow::Error::from(error).into()),
        }
    }
}

/// The pixels of any file that the store holds, upright and in sRGB; files of an older shop may be larger than what is
/// taken in today. None for what cannot be decoded.
pub fn decode(content: &[u8]) -> Option<image::DynamicImage> {
    let limits = MediaLimits {
        file_bytes: u64::MAX,
        files: 1,
        megapixels: 144,
    };
    intake::decode(content, &limits).ok()
}

/// What is known of an image without looking at it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, sqlx::FromRow)]
pub struct Image {
    pub id: ImageId,
    pub width: i32,
    pub height: i32,
    pub thumbhash: String,
}

/// An image as every JSON shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImageView {
    /// A JPEG for a card of 384 px on a dense screen: at most 1024 px wide.
    pub url: String,
    /// The image's own size in pixels; the renditions are smaller.
    pub width: i32,
    pub height: i32,
    /// WebP in several widths, as HTML's `srcset` has them.
    pub srcset: String,
    /// A blurred likeness to show meanwhile: a ThumbHash, base64.
    pub thumbhash: String,
}

/// The width of the rendition that stands for an image where one address has to do: 384 px at twice the density.
pub const CARD_WIDTH: u32 = 1024;

impl Image {
    /// The image with addresses that begin with `base`: nothing for relative ones.
    pub fn view(&self, base: &str) -> ImageView {
        let own = self.width.unsigned_abs();
        let sources: Vec<String> = renditions::steps(own)
            .map(|step| {
                let path = address(&self.id, step, Kind::Webp);
                format!("{base}{path} {}w", step.min(own))
            })
            .collect();
        ImageView {
            url: format!("{base}{}", url(&self.id, CARD_WIDTH)),
            width: self.width,
            height: self.height,
            srcset: sources.join(", "),
            thumbhash: self.thumbhash.clone(),
        }
    }
}

/// The stable address, `/media/…`, of an image as a JPEG of this width: the next one that we make, 1600 px at most.
/// An image that is narrower is shown as wide as it is.
pub fn url(id: &ImageId, width: u32) -> String {
    let step = WIDTHS.into_iter().find(|step| *step >= width);
    address(id, step.unwrap_or(WIDTHS[WIDTHS.len() - 1]), Kind::Jpeg)
}

fn address(id: &ImageId, step: u32, kind: Kind) -> String {
    format!("/media/images/{id}/{step}.{}", kind.extension())
}

/// The image that one of our addresses, without scheme and host, shows. None: the address is not of that form.
pub fn id_of(address: &str) -> Option<ImageId> {
    let (id, _) = address.strip_prefix("/media/images/")?.split_once('/')?;
    ImageId::parse(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: i32) -> Image {
        Image {
            id: ImageId("ab".repeat(32)),
            width,
            height: 600,
            thumbhash: "x".to_owned(),
        }
    }

    #[test]
    fn an_image_is_never_said_to_be_wider_than_it_is() {
        let id = "ab".repeat(32);
        let at = |step: u32| format!("http://shop/media/images/{id}/{step}.webp");
        for (width, steps) in [
            (
                4000,
                vec![(320, 320), (640, 640), (1024, 1024), (1600, 1600)],
            ),
            (
                1600,
                vec![(320, 320), (640, 640), (1024, 1024), (1600, 1600)],
            ),
            (480, vec![(320, 320), (640, 480)]),
            (320, vec![(320, 320)]),
            (1, vec![(320, 1)]),
        ] {
            let expected: Vec<String> = steps
                .into_iter()
                .map(|(step, shown)| format!("{} {shown}w", at(step)))
                .collect();
            assert_eq!(
                image(width).view("http://shop").srcset,
                expected.join(", "),
                "{width}"
            );
        }
    }

    #[test]
    fn an_address_leads_back_to_its_image() {
        let id = ImageId("ab".repeat(32));
        assert_eq!(id_of(&url(&id, 700)), Some(id.clone()));
        assert!(url(&id, 700).ends_with("/1024.jpg") && url(&id, 9999).ends_with("/1600.jpg"));
        for other in [
            "/media/images/ab/1024.jpg",
            "/media/a.png",
            "/media/images/",
            "",
        ] {
            assert_eq!(id_of(other), None, "{other}");
        }
    }
}
