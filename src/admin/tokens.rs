//! API tokens for programs.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};

use super::context::AdminContext;
use super::form::Form;
use super::sign_in::{YOURS, ask_password, judged};
use super::users::ShownOnce;
use crate::app::App;
use crate::auth::{self, Scope, Token};
use crate::error::{Error, Result};
use crate::http::Path;

const BACK: (&str, &str) = ("/admin/tokens", "API keys");

#[derive(Template)]
#[template(path = "tokens.html", config = "src/admin/askama.toml")]
struct TokensPage<'a> {
    context: &'a AdminContext,
    tokens: Vec<Token>,
    form: Form,
}

impl TokensPage<'_> {
    /// Returns each scope with a description of its permissions.
    fn scopes(&self) -> Vec<(&'static str, &'static str)> {
        let what = |scope| match scope {
            Scope::Catalog => "see and change products and categories",
            Scope::Stock => "change stock",
            Scope::OrdersRead => "read orders, with their customers' addresses",
            Scope::OrdersWrite => "record sales and ship orders",
            Scope::CustomOrders => "see custom orders and move them along",
            Scope::Refunds => "refund payments",
            Scope::Users => "manage users who may do no more than the key",
            Scope::Tokens => "create and revoke API keys that may do no more",
            Scope::Audit => "read the activity log",
            Scope::System => "see and run what is on the System pages",
            Scope::Settings => "change the shop’s settings",
            Scope::Backup => "make backups, which contain all data",
        };
        Scope::ALL
            .into_iter()
            .map(|scope| (scope.as_str(), what(scope)))
            .collect()
    }
}

/// `GET /admin/tokens`
pub async fn list(State(app): State<App>, context: AdminContext) -> Result<Response> {
    tokens(&app, &context, Form::default()).await
}

async fn tokens(app: &App, context: &AdminContext, form: Form) -> Result<Response> {
    let verdict = form.verdict();
    let page = context.show(&TokensPage {
        context,
        tokens: auth::list_tokens(&mut *app.db.acquire().await?).await?,
        form,
    })?;
    Ok(judged(page, verdict))
}

/// `POST /admin/tokens`: creates a token, which is shown only once.
pub async fn create(State(app): State<App>, context: AdminContext, form: Form) -> Result<Response> {
    let made = async {
        ask_password(&app, &context, &form, YOURS).await?;
        let scopes: Option<Vec<Scope>> = form.all("scope").into_iter().map(Scope::parse).collect();
        let scopes = scopes.ok_or_else(|| Error::invalid("scopes", "are not all known"))?;
        let mut tx = app.db.begin().await?;
        let new = auth::TokenRequest {
            name: &form.get("name"),
            scopes: &scopes,
            expires_at: read_expiry(&form)?,
        };
        let (_, token) = auth::create_token(&mut tx, &context.actor()?, &new).await?;
        tx.commit().await?;
        Ok(token)
    };
    match made.await {
        Ok(token) => context.show(&ShownOnce {
            context: &context,
            title: format!("API key {}", form.get("name")),
            text: "It is shown this once. A program sends it as “Authorization: Bearer …”.",
            secret: &token,
            back: BACK,
        }),
        Err(error) => tokens(&app, &context, form.refused(error)?).await,
    }
}

/// Computes the expiry from a number of days; `None` if the field is empty.
fn read_expiry(form: &Form) -> Result<Option<DateTime<Utc>>> {
    let days = form.get("days");
    if days.is_empty() {
        return Ok(None);
    }
    let days = days.parse().ok().filter(|days| (1..=3650).contains(days));
    let days = days.ok_or_else(|| Error::invalid("days", "must be from 1 to 3650, or empty"))?;
    Ok(Some(Utc::now() + TimeDelta::days(days)))
}

/// `POST /admin/tokens/{id}/revoke`: revokes a token with immediate effect. Safe to repeat.
pub async fn revoke(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<i64>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    if !auth::revoke_token(&mut tx, &context.actor()?, id).await? {
        return Err(Error::NotFound("Token"));
    }
    tx.commit().await?;
    Ok(context.go_on(BACK.0, "The API key is revoked."))
}
