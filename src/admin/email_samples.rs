//! A sample of every email, in the shop's present words.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::context::AdminContext;
use crate::app::App;
use crate::emails::{self, EmailSample};
use crate::error::{Error, Result};
use crate::http::{Path, Query};

#[derive(Template)]
#[template(path = "email_samples.html", config = "src/admin/askama.toml")]
struct SamplesPage<'a> {
    context: &'a AdminContext,
    samples: Vec<EmailSample>,
    shown: EmailSample,
}

/// `GET /admin/settings/emails`: one sample, and links to the others.
pub async fn show(State(app): State<App>, context: AdminContext, query: Query) -> Result<Response> {
    let samples = emails::list_samples(&app).await?;
    let wanted = query.get("sample").unwrap_or("order_confirmation");
    let shown = samples.iter().find(|sample| sample.name == wanted);
    let shown = shown.cloned().ok_or(Error::NotFound("Email"))?;
    context.show(&SamplesPage {
        context: &context,
        samples,
        shown,
    })
}

/// `GET /admin/settings/emails/{name}`: a sample, to be shown in a frame.
pub async fn email(
    State(app): State<App>,
    context: AdminContext,
    Path(name): Path<String>,
) -> Result<Response> {
    let sample = emails::draw_sample(&app, &name).await?;
    Ok(context.show_email(sample.html))
}
