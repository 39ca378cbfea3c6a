//! The web pages: a dashboard, the hosted payment page, and the page of a payment link, which leads to a payment page.

mod countries;
mod dashboard;
mod payment;
mod payment_form;

use askama::Template;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;

use crate::Sandbox;

/// Routes of all pages, relative to where they are nested.
pub fn router(sandbox: Sandbox) -> Router {
    Router::new()
        .route("/", get(dashboard::show).post(dashboard::act))
        .route("/pay/{session}", get(payment::show).post(payment::pay))
        .route("/link/{link}", get(payment::follow_link))
        .with_state(sandbox)
}

#[derive(Template)]
#[template(path = "frame.html")]
struct Frame<'a> {
    title: &'a str,
    business_name: &'a str,
    style: &'static str,
    body: String,
}

/// A page with one message.
#[derive(Template)]
#[template(path = "notice.html")]
struct Notice<'a> {
    title: &'a str,
    text: &'a str,
    /// Address and label.
    link: Option<(String, &'a str)>,
}

type PageResult = Result<Response, PageError>;

impl Sandbox {
    /// Renders a page within the frame of all pages.
    fn page(&self, status: StatusCode, title: &str, body: &impl Template) -> PageResult {
        let page = Frame {
            title,
            business_name: &self.inner.settings.business_name,
            style: include_str!("../../templates/style.css"),
            body: body.render()?,
        };
        Ok((status, Html(page.render()?)).into_response())
    }

    /// Renders a page with one message.
    fn notice(&self, status: StatusCode, notice: &Notice<'_>) -> PageResult {
        self.page(status, notice.title, notice)
    }

    /// The path of the pages without their host, so that they work by any of its names.
    fn base_path(&self) -> String {
        let url = url::Url::parse(&self.inner.settings.pages_url);
        url.map(|url| url.path().trim_end_matches('/').to_owned())
            .unwrap_or_default()
    }
}

/// Failure to make a page. The log has the reason.
struct PageError;

impl<E: std::error::Error> From<E> for PageError {
    fn from(error: E) -> PageError {
        tracing::error!(%error, "the Stripe sandbox could not make a page");
        PageError
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            "The sandbox could not make this page; its log says why.",
        )
            .into_response()
    }
}

/// The text of a field, unless it is empty.
fn text(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}
