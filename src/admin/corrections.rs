//! Corrections of orders and custom orders, from their pages: the shipment, its undoing, and the customer's data.

use axum::extract::{Request, State};
use axum::response::Response;
use sqlx::PgConnection;

use super::context::AdminContext;
use super::customer_form::{by_part, customer};
use super::form::{Form, by_field};
use super::image_form::ImageForm;
use super::shipment_form::{IMAGES, carrier};
use super::{custom_orders as custom_order, order};
use crate::app::App;
use crate::custom_orders;
use crate::error::{Error, Result};
use crate::fulfillment::{self, Correction, CustomerChange, Unshipped, Unshipping};
use crate::http::Path;
use crate::orders::{self, ShipmentCorrection};
use crate::types::ids::OrderId;

/// The order or custom order on whose page a form stands, by its id or number.
enum Subject<'a> {
    Order(&'a str),
    CustomOrder(&'a str),
}

impl Subject<'_> {
    /// Resolves the order that ships it.
    async fn order(&self, conn: &mut PgConnection) -> Result<OrderId> {
        match self {
            Subject::Order(id) => orders::resolve(conn, id).await,
            Subject::CustomOrder(id) => {
                let id = custom_orders::resolve(conn, id).await?;
                fulfillment::order_of(conn, id).await
            }
        }
    }

    fn path(&self) -> String {
        match self {
            Subject::Order(id) => format!("/admin/orders/{id}"),
            Subject::CustomOrder(id) => format!("/admin/custom-orders/{id}"),
        }
    }
}

/// Outcome of a form with a correction.
enum Outcome {
    Done(Response),
    /// The form is shown again.
    Refused(Form),
}

/// `POST /admin/orders/{id}/shipment`: accepts an upload, or a plain form without new images.
pub async fn correct_shipment(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response> {
    match shipment(&app, &context, &Subject::Order(&id), request).await? {
        Outcome::Done(response) => Ok(response),
        Outcome::Refused(form) => order::show_correction(&app, &context, &id, form).await,
    }
}

/// `POST /admin/custom-orders/{id}/shipment`: accepts an upload, or a plain form without new images.
pub async fn correct_shipment_of_custom_order(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response> {
    match shipment(&app, &context, &Subject::CustomOrder(&id), request).await? {
        Outcome::Done(response) => Ok(response),
        Outcome::Refused(form) => custom_order::show_correction(&app, &context, &id, form).await,
    }
}

async fn shipment(
    app: &App,
    context: &AdminContext,
    subject: &Subject<'_>,
    request: Request,
) -> Result<Outcome> {
    let sent = ImageForm::read(app, request, IMAGES).await?;
    let correcting = async {
        sent.check_files(IMAGES)?;
        let correction = ShipmentCorrection {
            carrier: Some(carrier(&sent.form, &sent.form.get("tracking_number"))),
            tracking_number: Some(sent.form.get("tracking_number")),
            tracking_url: Some(sent.form.get("tracking_url")),
            images: Some(sent.image_ids()),
            send_email: sent.form.get("send_email") == "true",
        };
        let mut tx = app.db.begin().await?;
        let id = subject.order(&mut tx).await?;
        let actor = context.actor()?;
        let done = fulfillment::correct_shipment(&mut tx, app, &actor, id, &correction).await?;
        tx.commit().await?;
        Ok(done)
    };
    match correcting.await {
        Ok(done) => {
            sent.images.done();
            let said = said(&done);
            Ok(Outcome::Done(context.go_on(&subject.path(), &said)))
        }
        Err(error) => {
            sent.images.discard().await;
            sent.form.refused(by_field(error)).map(Outcome::Refused)
        }
    }
}

fn said(done: &Correction) -> String {
    match (done.is_changed, &done.emailed) {
        (true, None) => "The shipment is corrected.".to_owned(),
        (true, Some(email)) => format!("The shipment is corrected; an email goes to {email}."),
        (false, None) => "Nothing was changed.".to_owned(),
        (false, Some(email)) => format!("The corrected tracking goes to {email}."),
    }
}

/// `POST /admin/orders/{id}/customer`
pub async fn correct_customer(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let correcting = async {
        let mut tx = app.db.begin().await?;
        let order = orders::resolve(&mut tx, &id).await?;
        let (actor, correction) = (context.actor()?, customer(&form));
        let done = fulfillment::correct_customer(&mut tx, &app, &actor, order, &correction).await?;
        tx.commit().await?;
        Ok(done)
    };
    match correcting.await {
        Ok(done) => Ok(context.go_on(&Subject::Order(&id).path(), &said_of_customer(&done))),
        Err(error) => {
            let form = form.refused(by_part(error))?;
            order::show_customer(&app, &context, &id, form).await
        }
    }
}

/// `POST /admin/custom-orders/{id}/customer`
pub async fn correct_customer_of_custom_order(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let correcting = async {
        let mut tx = app.db.begin().await?;
        let found = custom_orders::resolve(&mut tx, &id).await?;
        let (actor, correction) = (context.actor()?, customer(&form));
        let done = fulfillment::correct_customer_of_custom_order(
            &mut tx,
            &app,
            &actor,
            found,
            &correction,
        );
        let done = done.await?;
        tx.commit().await?;
        Ok(done)
    };
    match correcting.await {
        Ok(done) => {
            let path = Subject::CustomOrder(&id).path();
            Ok(context.go_on(&path, &said_of_customer(&done)))
        }
        Err(error) => {
            let form = form.refused(by_part(error))?;
            custom_order::show_customer(&app, &context, &id, form).await
        }
    }
}

fn said_of_customer(done: &CustomerChange) -> String {
    match (done.is_changed, &done.emailed) {
        (true, None) => "The customer’s data is corrected.".to_owned(),
        (true, Some(email)) => {
            format!("The customer’s data is corrected; the confirmation goes to {email}.")
        }
        (false, None) => "Nothing was changed.".to_owned(),
        (false, Some(email)) => format!("The confirmation goes to {email}."),
    }
}

/// `POST /admin/orders/{id}/unship`
pub async fn unship(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    undo_shipping(&app, &context, &Subject::Order(&id), &form).await
}

/// `POST /admin/custom-orders/{id}/unship`
pub async fn unship_custom_order(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    undo_shipping(&app, &context, &Subject::CustomOrder(&id), &form).await
}

async fn undo_shipping(
    app: &App,
    context: &AdminContext,
    subject: &Subject<'_>,
    form: &Form,
) -> Result<Response> {
    let shipped_at = form.get("shipped_at");
    let choices = Unshipping {
        // A page that was loaded before the shipment was made anew does not undo that.
        shipped_at: match shipped_at.is_empty() {
            true => None,
            false => Some(
                shipped_at
                    .parse()
                    .map_err(|_| Error::invalid("shipped_at", "is no time"))?,
            ),
        },
        send_email: form.get("send_email") == "true",
    };
    let mut tx = app.db.begin().await?;
    let id = subject.order(&mut tx).await?;
    let done = fulfillment::unship(&mut tx, app, &context.actor()?, id, &choices).await?;
    tx.commit().await?;
    Ok(context.go_on(&subject.path(), &said_of_undo(&done, choices.send_email)))
}

fn said_of_undo(done: &Unshipped, send_email: bool) -> String {
    let number = done.order.display_number();
    match &done.emailed {
        Some(email) => format!("{number} is to be shipped again; an email goes to {email}."),
        None if send_email && !done.was_told => format!(
            "{number} is to be shipped again. No email goes out, because the customer was not told of the shipment."
        ),
        None => format!("{number} is to be shipped again."),
    }
}
