//! The form that ships an order or a custom order, with images of the shipment.

use axum::extract::Request;

use super::form::Form;
use crate::app::App;
use crate::error::{Code, Error, FieldError, Result};
use crate::images::{self, Batch};
use crate::orders::{NewShipment, Shipment};

/// Form field of the images, and of their errors.
pub const IMAGES: &str = "images";

/// A submitted form. Its images are stored, and discarded with it unless [`Batch::done`] is called.
pub struct ShipmentForm {
    pub form: Form,
    pub images: Batch,
    /// Set if there were more images than allowed. The first ones are stored.
    pub has_too_many: bool,
    /// A sentence for each file that was refused.
    pub refusals: Vec<String>,
}

impl ShipmentForm {
    /// Reads an upload, or a plain form without images.
    ///
    /// # Errors
    /// Those of a malformed upload; 503 `media_unavailable` when the storage fails.
    pub async fn read(app: &App, request: Request) -> Result<ShipmentForm> {
        let deadline = request.extensions().get().cloned();
        let images = Batch::begin(&app.storage, &app.db, deadline);
        // The guard has read a plain form, and its body, to check the CSRF token.
        if let Some(plain) = request.extensions().get::<Form>() {
            return Ok(ShipmentForm {
                form: plain.clone(),
                images,
                has_too_many: false,
                refusals: Vec::new(),
            });
        }
        let sent = images::read_form(&app.storage, request, IMAGES).await?;
        let mut read = ShipmentForm {
            form: Form::of_pairs(sent.fields.into_iter()),
            images,
            has_too_many: sent.surplus > 0,
            refusals: Vec::new(),
        };
        let limits = app.storage.limits();
        for (name, file) in sent.file_names.iter().zip(sent.files) {
            if let Some(refusal) = read.images.keep(file).await? {
                let sentence = format!("{name}: {}", refusal.sentence(&limits));
                read.refusals.push(sentence);
            }
        }
        Ok(read)
    }

    /// Checks that all files were taken.
    ///
    /// # Errors
    /// Field errors of [`IMAGES`].
    pub fn check_files(&self, app: &App) -> Result<()> {
        let mut field_errors = Vec::new();
        if self.has_too_many {
            let most = format!("are too many: {} at most", app.storage.limits().files);
            field_errors.push(FieldError::new(IMAGES, most));
        }
        if !self.refusals.is_empty() {
            // A field shows one error.
            field_errors.push(FieldError::new(IMAGES, self.refusals.join(" ")));
        }
        match field_errors.is_empty() {
            true => Ok(()),
            false => Err(Error::Invalid(field_errors)),
        }
    }
}

/// The form that corrects a shipment, as it first appears.
pub fn correction(shipment: &Shipment) -> Form {
    let mut form = Form::default();
    form.set("carrier", shipment.carrier.clone());
    let number = shipment.tracking_number.clone();
    form.set("tracking_number", number.unwrap_or_default());
    // A page that derives from the number follows a corrected number.
    form.set(
        "tracking_url",
        shipment.own_tracking_page().unwrap_or_default(),
    );
    for image in &shipment.images {
        form.set("image", image.0.clone());
    }
    form
}

/// Builds the shipment that a form describes.
pub fn shipment(form: &Form, number: &str, images: Vec<String>) -> NewShipment {
    let given = |text: String| (!text.is_empty()).then_some(text);
    NewShipment {
        carrier: form.get("carrier"),
        tracking_number: given(number.to_owned()),
        tracking_url: given(form.get("tracking_url")),
        images,
        ship_anyway: form.get("ship_anyway") == "true",
    }
}

/// Shows a refusal to ship (a warning by a bank or Stripe) as an error of the checkbox that confirms it.
pub fn to_confirm(error: Error) -> Error {
    match error {
        Error::Conflict(Code::ConfirmShipping, why) => Error::invalid("ship_anyway", why),
        other => other,
    }
}
