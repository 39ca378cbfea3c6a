//! The images of one request: kept together or taken back together, also when the request ends in the middle.

use sqlx::PgPool;

use super::service::{Kept, discard, keep};
use super::{Media, Refusal, Upload};
use crate::error::Result;
use crate::extract::Deadline;
use crate::ids::ImageId;

/// Images that were taken in for a request that may still fail. Unless [`Batch::done`] is called, they are taken back:
/// nothing of a failed request remains, whether it was refused, or given up because its sender went away. (One that is
/// just being written at that moment waits for the sweep.)
pub struct Batch {
    media: Media,
    db: PgPool,
    deadline: Option<Deadline>,
    kept: Vec<Kept>,
}

impl Batch {
    /// The images of a request that has until then; each that is taken in puts it off.
    pub fn begin(media: &Media, db: &PgPool, deadline: Option<Deadline>) -> Batch {
        Batch {
            media: media.clone(),
            db: db.clone(),
            deadline,
            kept: Vec::new(),
        }
    }

    /// Takes the next image in.
    ///
    /// # Errors
    /// As [`keep`].
    pub async fn keep(&mut self, upload: Upload) -> Result<std::result::Result<(), Refusal>> {
        let kept = keep(&self.media, &self.db, upload).await?;
        if let Some(deadline) = &self.deadline {
            deadline.put_off();
        }
        Ok(kept.map(|kept| self.kept.push(kept)))
    }

    /// The images so far, in their order.
    pub fn ids(&self) -> Vec<ImageId> {
        self.kept.iter().map(|kept| kept.id.clone()).collect()
    }

    /// The request has succeeded, and uses them.
    pub fn done(mut self) {
        self.kept.clear();
    }

    /// The request has failed. Never fails itself; what it cannot do now, the sweep does tomorrow.
    pub async fn take_back(mut self) {
        let kept = std::mem::take(&mut self.kept);
        discard(&self.media, &self.db, &kept).await;
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.kept.is_empty() {
            return;
        }
        let (media, db) = (self.media.clone(), self.db.clone());
        let kept = std::mem::take(&mut self.kept);
        tokio::spawn(async move { discard(&media, &db, &kept).await });
    }
}
