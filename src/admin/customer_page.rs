//! The page of a customer.

use askama::Template;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::context::AdminContext;
use super::customers::{self, CustomerView};
use super::erasure;
use super::form::Form;
use super::sign_in::judged;
use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::http::Path;

#[derive(Template)]
#[template(path = "customer.html", config = "src/admin/askama.toml")]
struct CustomerPage<'a> {
    context: &'a AdminContext,
    view: CustomerView,
    form: Form,
}

/// `GET /admin/customers/{id}`: the customer of an order or custom order.
pub async fn show(
    State(app): State<App>,
    context: AdminContext,
    Path(key): Path<String>,
) -> Result<Response> {
    page(&app, &context, &key, Form::default()).await
}

/// The page of a customer, with a form as it was sent.
///
/// # Errors
/// As [`customers::view`].
async fn page(app: &App, context: &AdminContext, key: &str, mut form: Form) -> Result<Response> {
    let verdict = form.verdict();
    let view = customers::view(&mut *app.db.acquire().await?, key).await?;
    if !form.is_sent() {
        form.set("text", view.note.clone().unwrap_or_default());
    }
    let page = context.show(&CustomerPage {
        context,
        view,
        form,
    })?;
    Ok(judged(page, verdict))
}

/// `GET /admin/customers/{id}/export`: everything about a customer as a JSON file, for their request to see it.
pub async fn export(State(app): State<App>, Path(key): Path<String>) -> Result<Response> {
    let view = customers::view(&mut *app.db.acquire().await?, &key).await?;
    let json = serde_json::to_vec_pretty(&view).map_err(anyhow::Error::from)?;
    let file = format!(
        "attachment; filename=\"customer-{}.json\"",
        view.customer.key
    );
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_DISPOSITION, file),
    ];
    Ok((headers, json).into_response())
}

/// `POST /admin/customers/{id}/note`
pub async fn note(
    State(app): State<App>,
    context: AdminContext,
    Path(key): Path<String>,
    form: Form,
) -> Result<Response> {
    let written = async {
        let mut tx = app.db.begin().await?;
        erasure::write_note(&mut tx, &context.actor()?, &key, &form.get("text")).await?;
        tx.commit().await?;
        Ok(())
    };
    match written.await {
        Ok(()) => Ok(context.go_on(&format!("/admin/customers/{key}"), "The note is saved.")),
        Err(error) => page(&app, &context, &key, form.refused(error)?).await,
    }
}

/// `POST /admin/customers/{id}/erase`
pub async fn delete(
    State(app): State<App>,
    context: AdminContext,
    Path(key): Path<String>,
    form: Form,
) -> Result<Response> {
    let erased = async {
        if form.get("sure") != "true" {
            return Err(Error::invalid("sure", "Tick the box: it cannot be undone."));
        }
        let mut tx = app.db.begin().await?;
        let erased = erasure::erase(&mut tx, &context.actor()?, &key).await?;
        tx.commit().await?;
        Ok(erased)
    };
    match erased.await {
        Ok(erased) => {
            let kept: Vec<String> = [erased.orders, erased.custom_orders].concat();
            let said = format!(
                "Their data is deleted. {} stay with their amounts.",
                kept.join(", ")
            );
            Ok(context.go_on("/admin/search", &said))
        }
        Err(error) => {
            let error = match error {
                Error::Conflict(Code::CustomerActive, why) => Error::invalid("sure", why),
                other => other,
            };
            page(&app, &context, &key, form.refused(error)?).await
        }
    }
}
