//! A form with images, such as that of a new product.

use axum::extract::Request;

use super::form::Form;
use crate::app::App;
use crate::error::Result;
use crate::images::{self, Batch};

/// A form of a product with its files, which are stored and discarded with it unless [`Batch::done`] is called.
pub struct ImageForm {
    pub form: Form,
    pub batch: Batch,
    /// A sentence for each file that was refused.
    pub refusals: Vec<String>,
}

impl ImageForm {
    /// Reads an upload with files in the field `image`, or a plain form.
    ///
    /// # Errors
    /// Those of a malformed upload; 503 `media_unavailable` when the storage fails.
    pub async fn read(app: &App, request: Request) -> Result<ImageForm> {
        let deadline = request.extensions().get().cloned();
        let mut batch = Batch::begin(&app.storage, &app.db, deadline);
        let mut refusals = Vec::new();
        // The guard has read a plain form, and its body, to check the CSRF token.
        if let Some(form) = request.extensions().get::<Form>().cloned() {
            return Ok(ImageForm {
                form,
                batch,
                refusals,
            });
        }
        let sent = images::read_form(&app.storage, request, "image").await?;
        let limits = app.storage.limits();
        for (name, file) in sent.file_names.iter().zip(sent.files) {
            if let Some(refusal) = batch.keep(file).await? {
                refusals.push(format!("{name}: {}", refusal.sentence(&limits)));
            }
        }
        if sent.surplus > 0 {
            refusals.push(format!(
                "Up to {} images at once are allowed; the last {} were left out.",
                limits.files, sent.surplus
            ));
        }
        Ok(ImageForm {
            form: Form::of_pairs(sent.fields.into_iter()),
            batch,
            refusals,
        })
    }
}
