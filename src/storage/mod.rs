//! Storage: a folder or an S3-compatible bucket for objects, a folder for uploads in progress, and room for work on
//! pixels. `images` decides what is stored.

mod objects;

pub use objects::{IMAGES, Objects, asked_path, path_of, unavailable};

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::Semaphore;

use crate::config::{Config, MediaLimits, MediaStore};
use crate::error::Result;

/// Limit of images read into memory at once, before their pixels are counted.
const READERS: usize = 4;

/// Object storage with its limits. Cheap to clone.
#[derive(Clone)]
pub struct Storage {
    pub objects: Objects,
    limits: MediaLimits,
    /// Folder of uploads in progress: unnamed files, which end with the process.
    uploads: Arc<PathBuf>,
    pub readers: Arc<Semaphore>,
    /// One permit per thousand pixels. All concurrent decodes together fit into one image of maximum size.
    pixels: Arc<Semaphore>,
}

impl Storage {
    /// Opens the configured storage.
    ///
    /// # Errors
    /// When a folder cannot be created, or the bucket's settings are invalid.
    pub fn open(config: &Config) -> anyhow::Result<Storage> {
        let objects = match &config.storage.store {
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
        let limits = config.storage.limits;
        Ok(Storage {
            objects,
            limits,
            uploads: Arc::new(uploads),
            readers: Arc::new(Semaphore::new(READERS)),
            pixels: Arc::new(Semaphore::new(limits.megapixels as usize * 1000)),
        })
    }

    /// Returns the limits of uploads.
    pub fn limits(&self) -> MediaLimits {
        self.limits
    }

    /// Creates an unnamed file for an upload. It is deleted when dropped, or with the process.
    ///
    /// # Errors
    /// 503 `media_unavailable` when the disk refuses.
    pub fn temporary_file(&self) -> Result<std::fs::File> {
        tempfile::tempfile_in(self.uploads.as_path())
            .map_err(|error| objects::unavailable(error, "beginning an upload"))
    }

    /// Runs work on pixels on a blocking thread, once there is memory for them. Returns `None` when a decoder panics,
    /// because it cannot handle the image.
    pub async fn work<T: Send + 'static>(
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
            // Held by the work instead of its caller, which may be gone before the work ends.
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
