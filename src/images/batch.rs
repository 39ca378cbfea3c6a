//! The images of one request: stored together or discarded together, even when the request is dropped midway.

use sqlx::PgPool;

use super::service::{Kept, discard, keep_within};
use super::{ReceivedFile, Refusal, UploadError};
use crate::config::MediaLimits;
use crate::error::Result;
use crate::http::Deadline;
use crate::storage::Storage;
use crate::types::ids::ImageId;

/// Images stored for a request that may still fail. Unless [`Batch::done`] is called, they are discarded, so that
/// nothing of a failed request remains, whether it was rejected or its client disconnected. (An image being written at
/// that moment is left to the sweep.)
pub struct Batch {
    storage: Storage,
    db: PgPool,
    deadline: Option<Deadline>,
    kept: Vec<Kept>,
}

impl Batch {
    /// Begins a batch for a request with this deadline; each stored image extends it.
    pub fn begin(storage: &Storage, db: &PgPool, deadline: Option<Deadline>) -> Batch {
        Batch {
            storage: storage.clone(),
            db: db.clone(),
            deadline,
            kept: Vec::new(),
        }
    }

    /// Stores the next image. Returns the reason if the file is refused.
    ///
    /// # Errors
    /// 503 `media_unavailable` when the storage fails, with nothing stored of this file.
    pub async fn keep(&mut self, file: ReceivedFile) -> Result<Option<Refusal>> {
        let limits = self.storage.limits();
        self.keep_within(file, limits).await
    }

    /// As [`Batch::keep`], by limits of its own.
    ///
    /// # Errors
    /// As [`Batch::keep`].
    pub async fn keep_within(
        &mut self,
        file: ReceivedFile,
        limits: MediaLimits,
    ) -> Result<Option<Refusal>> {
        let upload = match file {
            ReceivedFile::Upload(upload) => upload,
            ReceivedFile::Refused(refusal) => return Ok(Some(refusal)),
        };
        let refusal = match keep_within(&self.storage, &self.db, upload, limits).await {
            Ok(kept) => {
                self.kept.push(kept);
                None
            }
            Err(UploadError::Refused(refusal)) => Some(refusal),
            Err(UploadError::Failed(error)) => return Err(error),
        };
        if let Some(deadline) = &self.deadline {
            deadline.put_off();
        }
        Ok(refusal)
    }

    /// Ids of the images so far, in order.
    pub fn ids(&self) -> Vec<ImageId> {
        self.kept.iter().map(|kept| kept.id.clone()).collect()
    }

    /// Keeps the images: the request has succeeded and uses them.
    pub fn done(mut self) {
        self.kept.clear();
    }

    /// Discards the images: the request has failed. Never fails itself; the sweep does the next day what is left.
    pub async fn discard(mut self) {
        let kept = std::mem::take(&mut self.kept);
        discard(&self.storage, &self.db, &kept).await;
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.kept.is_empty() {
            return;
        }
        let (storage, db) = (self.storage.clone(), self.db.clone());
        let kept = std::mem::take(&mut self.kept);
        tokio::spawn(async move { discard(&storage, &db, &kept).await });
    }
}
