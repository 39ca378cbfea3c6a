//! The form that ships an order or a custom order, with images of the shipment.

use super::form::Form;
use crate::error::{Code, Error};
use crate::orders::{NewShipment, Shipment};

/// Form field of the images, and of their errors.
pub const IMAGES: &str = "images";

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
