//! The form that ships an order or a custom order, with images of the shipment.

use super::form::Form;
use crate::error::{Code, Error};
use crate::orders::{self, CARRIERS, NewShipment, Shipment};

/// Form field of the images, and of their errors.
pub const IMAGES: &str = "images";

/// Value of the radio button beside the field for any other carrier.
const OTHER: &str = "other";

/// Names of the carriers that have a radio button.
pub fn usual_carriers() -> impl Iterator<Item = &'static str> {
    CARRIERS.iter().take(4).map(|carrier| carrier.name)
}

/// The form that ships, as it first appears: the carrier of the last shipment is preselected.
pub fn prefilled(last_carrier: Option<&str>) -> Form {
    let mut form = Form::default();
    if let Some(carrier) = last_carrier {
        set_carrier(&mut form, carrier);
        form.set("suggested", carrier);
    }
    form
}

fn set_carrier(form: &mut Form, carrier: &str) {
    match usual_carriers().find(|usual| *usual == carrier) {
        Some(usual) => form.set("carrier", usual),
        None => {
            form.set("carrier", OTHER);
            form.set("other_carrier", carrier);
        }
    }
}

/// The carrier that a form names, empty for the one that the number tells. A preselected carrier gives way to that, as it
/// does while a number is typed where scripts run.
pub fn carrier(form: &Form, number: &str) -> String {
    let named = match form.get("carrier") {
        carrier if carrier == OTHER => form.get("other_carrier"),
        carrier => carrier,
    };
    let is_preselected = named == form.get("suggested");
    match orders::recognize(number).filter(|_| is_preselected) {
        Some(recognized) => recognized.to_owned(),
        None => named,
    }
}

/// The form that corrects a shipment, as it first appears.
pub fn correction(shipment: &Shipment) -> Form {
    let mut form = Form::default();
    set_carrier(&mut form, &shipment.carrier);
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
        carrier: carrier(form, number),
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
