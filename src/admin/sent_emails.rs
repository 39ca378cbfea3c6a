//! Emails on the page of their order or custom order: listed, and sent again.

use axum::extract::State;
use axum::response::Response;
use sqlx::PgConnection;

use super::context::AdminContext;
use super::form::Form;
use crate::app::App;
use crate::emails::{self, About, EmailFilter, EmailRow, EmailState};
use crate::error::{Error, Result};
use crate::http::Path;
use crate::orders;
use crate::types::ids::EmailId;

/// Number of emails on a page; the newest.
const SHOWN: i64 = 50;

/// Emails about an order, a custom order, or one that is both; newest first.
///
/// # Errors
/// Database errors only.
pub(super) async fn about(
    conn: &mut PgConnection,
    app: &App,
    about: About,
) -> Result<Vec<EmailRow>> {
    let filter = EmailFilter {
        order: about.order,
        custom_order: about.custom_order,
        limit: SHOWN,
        ..EmailFilter::default()
    };
    let (emails, _) = emails::browse(conn, app, &filter).await?;
    Ok(emails)
}

/// Name of an email's kind, as `Order confirmation`.
pub(super) fn name(kind: &str) -> String {
    let words = kind.replace('_', " ");
    let mut chars = words.chars();
    chars.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// Label and badge color of an email's state.
pub(super) fn state(state: &EmailState) -> (&'static str, &'static str) {
    match state {
        EmailState::Sent => ("sent", "good"),
        EmailState::Failed => ("failed", "bad"),
        EmailState::Queued | EmailState::Sending => ("on its way", "due"),
    }
}

/// `POST /admin/orders/{id}/resend`: sends an email of this order again.
pub async fn resend_of_order(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let id = orders::resolve(&mut tx, &id).await?;
    let order = orders::find(&mut tx, id).await?;
    let order = order.ok_or(Error::NotFound("Order"))?;
    resend(&mut tx, &context, &form, |about| about.order == Some(id)).await?;
    tx.commit().await?;
    let page = format!("/admin/orders/{}", order.display_number());
    Ok(context.go_on(&page, "The email is sent again."))
}

/// Sends the email that a form names again, if it belongs to the page's subject.
///
/// # Errors
/// 404 for any other email; otherwise as [`emails::send_again`].
pub(super) async fn resend(
    conn: &mut PgConnection,
    context: &AdminContext,
    form: &Form,
    belongs: impl Fn(About) -> bool,
) -> Result<()> {
    let email = form.get("email").parse().map(EmailId);
    let email = email.map_err(|_| Error::NotFound("Email"))?;
    let found = emails::find(conn, email).await?;
    found
        .filter(|found| belongs(found.row.about()))
        .ok_or(Error::NotFound("Email"))?;
    emails::send_again(conn, &context.actor()?, email).await
}
