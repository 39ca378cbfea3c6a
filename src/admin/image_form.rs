//! A form with images: that of a new product, of a product's images, or of a shipment.

use axum::extract::Request;

use super::form::Form;
use crate::app::App;
use crate::error::{Error, Result};
use crate::images::{self, Batch};

/// A submitted form. Its images are stored, and discarded with it unless [`Batch::done`] is called.
pub struct ImageForm {
    pub form: Form,
    pub images: Batch,
    /// A sentence for each file that was refused, with the file's name, and one for those beyond the allowed number.
    pub refusals: Vec<String>,
}

impl ImageForm {
    /// Reads an upload with files in this field, or a plain form without files.
    ///
    /// # Errors
    /// 400, 408, 413 or 415 for a malformed upload; 503 `media_unavailable` when the storage fails, with nothing stored.
    pub async fn read(app: &App, request: Request, files: &str) -> Result<ImageForm> {
        let deadline = request.extensions().get().cloned();
        let mut read = ImageForm {
            form: Form::default(),
            images: Batch::begin(&app.storage, &app.db, deadline),
            refusals: Vec::new(),
        };
        // The guard has read a plain form, and its body, to check the CSRF token.
        if let Some(plain) = request.extensions().get::<Form>() {
            read.form = plain.clone();
            return Ok(read);
        }
        let sent = images::read_form(&app.storage, request, files).await?;
        let limits = app.storage.limits();
        for (name, file) in sent.file_names.iter().zip(sent.files) {
            if let Some(refusal) = read.images.keep(file).await? {
                let sentence = format!("{name}: {}", refusal.sentence(&limits));
                read.refusals.push(sentence);
            }
        }
        if sent.surplus > 0 {
            read.refusals.push(format!(
                "Up to {} images at once are allowed; the last {} were left out.",
                limits.files, sent.surplus
            ));
        }
        read.form = Form::of_pairs(sent.fields.into_iter());
        Ok(read)
    }

    /// Returns the ids of the images that the form carries along in `image`, and of those that arrived with it, each once.
    pub fn image_ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.form.all("image").into_iter().map(Into::into).collect();
        for id in self.images.ids() {
            if !ids.contains(&id.0) {
                ids.push(id.0);
            }
        }
        ids
    }

    /// Checks that all files were taken.
    ///
    /// # Errors
    /// A field error of `field`, to be read after the field's name.
    pub fn check_files(&self, field: &str) -> Result<()> {
        if self.refusals.is_empty() {
            return Ok(());
        }
        let why = self.refusals.join(" ");
        let why = why.trim_end_matches('.');
        Err(Error::invalid(field, format!("were not all taken: {why}")))
    }
}
