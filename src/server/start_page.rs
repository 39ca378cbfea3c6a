//! The start page of development, which also stands in for the storefront's pages after a payment. Production serves none.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use crate::app::App;
use crate::error::Result;
use crate::http::{Query, customer_page};
use crate::settings;

#[derive(Template)]
#[template(path = "start.html", config = "src/server/askama.toml")]
struct StartPage {
    shop: String,
    heading: &'static str,
    text: Option<&'static str>,
    /// Id of the Checkout Session that was paid.
    session: Option<String>,
    has_sandbox: bool,
    /// The folder of emails.
    mail: String,
}

/// Routes of the start page, without a trailing slash.
pub fn router(has_sandbox: bool) -> Router<App> {
    let page = move |heading, text| {
        get(async move |State(app): State<App>, query: Query| {
            show(&app, &query, (heading, text), has_sandbox).await
        })
    };
    Router::new()
        .route("/", page("Your shop is running", None))
        .route(
            "/success",
            page(
                "Thank you for your order",
                Some("The payment is on its way to the shop."),
            ),
        )
        .route(
            "/custom-order-success",
            page(
                "Thank you",
                Some("The payment for your custom order is on its way to the shop."),
            ),
        )
        .route(
            "/cancel",
            page("Nothing was paid", Some("The pieces are for sale again.")),
        )
}

async fn show(
    app: &App,
    query: &Query,
    (heading, text): (&'static str, Option<&'static str>),
    has_sandbox: bool,
) -> Result<Response> {
    let settings = settings::current(&mut *app.db.acquire().await?, &app.config).await?;
    let session = query.get("session_id").filter(|id| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        id.starts_with("cs_") && id.chars().all(is_plain)
    });
    customer_page::page(&StartPage {
        shop: settings.shop_name,
        heading,
        text,
        session: session.map(str::to_owned),
        has_sandbox,
        mail: app.config.data_dir.join("mail").display().to_string(),
    })
}
