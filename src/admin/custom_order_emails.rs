//! Emails to the customer of a custom order, from its page: one sent again, and messages that the owner writes.

use axum::extract::State;
use axum::response::Response;

use super::context::AdminContext;
use super::custom_orders::{or_again, path_of};
use super::form::Form;
use super::sent_emails;
use crate::app::App;
use crate::custom_orders;
use crate::error::{Error, Result};
use crate::http::Path;

/// `POST /admin/custom-orders/{id}/resend`: sends an email of this custom order again.
pub async fn resend(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let id = custom_orders::resolve(&mut tx, &id).await?;
    let custom_order = custom_orders::find(&mut tx, id).await?;
    let custom_order = custom_order.ok_or(Error::NotFound("CustomOrder"))?;
    sent_emails::resend(&mut tx, &context, &form, |about| {
        about.custom_order == Some(id)
    })
    .await?;
    tx.commit().await?;
    Ok(context.go_on(&path_of(&custom_order), "The email is sent again."))
}

/// `POST /admin/custom-orders/{id}/message`: writes to the customer.
pub async fn message(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let sending = async {
        let (actor, text) = (context.actor()?, form.get("text"));
        let mut tx = app.db.begin().await?;
        let id = custom_orders::resolve(&mut tx, &id).await?;
        let custom_order = custom_orders::write_message(&mut tx, &app, &actor, id, &text).await?;
        tx.commit().await?;
        let said = format!("The message to {} is on its way.", custom_order.name);
        Ok(context.go_on(&path_of(&custom_order), &said))
    };
    let sent = sending.await;
    or_again(&app, &context, &id, "message", form, sent).await
}
