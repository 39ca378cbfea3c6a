//! Admin API of emails: listing, showing, sending again.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::content::{EmailContent, ImageUrls, Subjects};
use super::delivery::{SHOP, branding, message_id, send_again, show};
use super::images::ShopImages;
use super::message::Email;
use super::render::render;
use super::samples;
use super::store::{self, EmailFilter, EmailRow, EmailState};
use crate::app::App;
use crate::auth::{Admin, Scope};
use crate::error::answers::{NotThere, TokenFailures};
use crate::error::{Error, ErrorBody, FieldError, Result};
use crate::http::{Json, Page, Paging, Path, Query};
use crate::types::ids::EmailId;

/// Routes of emails, without a trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(find))
        .routes(routes!(resend))
        .routes(routes!(list_email_samples))
        .routes(routes!(find_email_sample))
}

/// An email with its rendered contents.
#[derive(Serialize, ToSchema)]
pub struct EmailView {
    #[serde(flatten)]
    pub email: EmailRow,
    pub message_id: String,
    /// Null, like the two fields below, when an old email's data can no longer be read.
    pub subject: Option<String>,
    /// With inlined images.
    pub html: Option<String>,
    pub text: Option<String>,
}

impl EmailView {
    /// Withholds the recipient and the contents from a token that may resend emails but not read them.
    fn shown_to(mut self, admin: &Admin) -> EmailView {
        if admin.may(Scope::OrdersRead).is_err() {
            self.email.recipient.clear();
            self.email.last_error = None;
            self.subject = None;
            self.html = None;
            self.text = None;
        }
        self
    }
}

/// Lists emails, newest first.
#[utoipa::path(
    operation_id = "list_emails",
    get,
    path = "/api/admin/emails",
    tag = "emails",
    security(("bearer" = [])),
    params(
        ("state" = Option<String>, Query, description = "`queued`, `sending`, `sent` or `failed`", pattern = "^(queued|sending|sent|failed)?$"),
        ("kind" = Option<String>, Query, description = "As `order_confirmation`", max_length = 254, pattern = r"^[^\x00]*$"),
        ("order" = Option<String>, Query, description = "Only emails about this order: its id, or its number as SB-1042", max_length = 254, pattern = r"^[^\x00]*$"),
        ("custom_order" = Option<String>, Query, description = "Only emails about this custom order: its id, or its number as CO-1042", max_length = 254, pattern = r"^[^\x00]*$"),
        ("recipient" = Option<String>, Query, description = "A part of the address", max_length = 254, pattern = r"^[^\x00]*$"),
        ("search" = Option<String>, Query, description = "A part of the address, or of the subject", max_length = 200, pattern = r"^[^\x00]*$"),
        Paging,
    ),
    responses(
        (status = 200, body = Page<EmailRow>),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
    )
)]
async fn list(State(app): State<App>, admin: Admin, query: Query) -> Result<Json<Page<EmailRow>>> {
    admin.may(Scope::OrdersRead)?;
    let mut field_errors = Vec::new();
    let page = query.paging(&mut field_errors);
    let mut text = |name: &'static str| {
        let text = query.get(name)?.trim().to_owned();
        if text.contains('\0') || text.chars().count() > 254 {
            field_errors.push(FieldError::new(name, "must have at most 254 characters"));
            return None;
        }
        (!text.is_empty()).then_some(text)
    };
    let (state, kind) = (text("state"), text("kind"));
    let (order, custom_order) = (text("order"), text("custom_order"));
    let recipient = text("recipient");
    let search = query.search(&mut field_errors);
    let state = state.and_then(|text| {
        let state = EmailState::parse(&text);
        if state.is_none() {
            field_errors.push(FieldError::new("state", "is not a state of an email"));
        }
        state
    });
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let mut conn = app.db.acquire().await?;
    let order = match order {
        Some(text) => Some(
            store::find_order(&mut conn, &text)
                .await?
                .ok_or_else(|| Error::invalid("order", "is not the id or number of an order"))?,
        ),
        None => None,
    };
    let custom_order = match custom_order {
        Some(text) => Some(
            store::find_custom_order(&mut conn, &text)
                .await?
                .ok_or_else(|| {
                    Error::invalid("custom_order", "is not the id or number of a custom order")
                })?,
        ),
        None => None,
    };
    let filter = EmailFilter {
        state,
        kind,
        order,
        custom_order,
        recipient,
        search: search.map(|word| subjects(&app, word)),
        shop: app.config.shop.email.clone(),
        limit: page.size,
        offset: page.offset(),
    };
    let (emails, count) = browse(&mut conn, &app, &filter).await?;
    Ok(Json(Page::new(page, count, emails)))
}

/// Finds the subjects that contain the search word.
pub fn subjects(app: &App, word: String) -> (String, Subjects) {
    let subjects = Subjects::with(&word, app.mailer.branding());
    (word, subjects)
}

/// Returns one page of emails, newest first, and the total count.
///
/// # Errors
/// Database errors only.
pub async fn browse(
    conn: &mut PgConnection,
    app: &App,
    filter: &EmailFilter,
) -> Result<(Vec<EmailRow>, i64)> {
    let (emails, count) = store::list(conn, filter).await?;
    let emails = emails.into_iter().map(|email| named(email, app));
    Ok((emails.collect(), count))
}

/// Renders an email without sending it: its subject, and an HTML page with inlined images.
///
/// # Errors
/// When it cannot be rendered, which is a bug.
pub async fn draw(app: &App, email: &Email) -> Result<(String, String)> {
    let branding = branding(app).await?;
    let composed = render(email, &branding, &ShopImages(app), "preview").await?;
    let page = composed.standalone();
    Ok((composed.subject, page))
}

/// Replaces the placeholder recipient by the shop's address.
fn named(mut email: EmailRow, app: &App) -> EmailRow {
    if email.recipient == SHOP {
        email.recipient.clone_from(&app.config.shop.email);
    }
    email
}

/// Returns one email with its contents.
#[utoipa::path(
    operation_id = "find_email",
    get,
    path = "/api/admin/emails/{id}",
    tag = "emails",
    security(("bearer" = [])),
    params(("id" = EmailId, Path)),
    responses(
        (status = 200, body = EmailView),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
async fn find(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<EmailId>,
) -> Result<Json<EmailView>> {
    admin.may(Scope::OrdersRead)?;
    Ok(Json(view(&app, id).await?))
}

/// Loads an email with its rendered contents.
///
/// # Errors
/// 404 when there is no such email.
pub async fn view(app: &App, id: EmailId) -> Result<EmailView> {
    let found = store::find(&mut *app.db.acquire().await?, id).await?;
    let source = found.ok_or(Error::NotFound("Email"))?;
    let branding = branding(app).await?;
    let shown = show(&branding, &ShopImages(app), &source).await;
    Ok(EmailView {
        message_id: message_id(&source, &branding),
        subject: shown.as_ref().map(|shown| shown.subject.clone()),
        html: shown.as_ref().map(|shown| shown.standalone()),
        text: shown.map(|shown| shown.text),
        email: named(source.row, app),
    })
}

/// Sends an email again that was sent or given up. It gets a new Message-ID, because mail programs hide an email whose
/// Message-ID they already have. A token without `orders:read` gets the answer without recipient and contents.
#[utoipa::path(
    operation_id = "resend_email",
    post,
    path = "/api/admin/emails/{id}/resend",
    tag = "emails",
    security(("bearer" = [])),
    params(("id" = EmailId, Path)),
    responses(
        (status = 202, body = EmailView, description = "Queued"),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "`email_on_its_way`: already being sent; `email_withdrawn`: what it says is not so any more"),
    )
)]
async fn resend(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<EmailId>,
) -> Result<(StatusCode, Json<EmailView>)> {
    admin.may(Scope::OrdersWrite)?;
    let mut tx = app.db.begin().await?;
    send_again(&mut tx, &admin.actor, id).await?;
    tx.commit().await?;
    let view = view(&app, id).await?.shown_to(&admin);
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// A sample email, as a list has it.
#[derive(Clone, Serialize, ToSchema)]
pub struct EmailSample {
    /// Name of the sample: the kind, or the kind and what is special: `order_confirmation_abroad`.
    pub name: &'static str,
    /// The name in words.
    pub title: String,
    pub kind: &'static str,
    pub subject: String,
    /// It goes to the shop, not to a customer.
    pub is_to_shop: bool,
}

/// A sample email with its contents, in the shop's present words.
#[derive(Serialize, ToSchema)]
pub struct DrawnSample {
    pub subject: String,
    /// With inlined images.
    pub html: String,
    pub text: String,
}

/// Lists samples of all emails, under the current settings.
///
/// # Errors
/// Database errors only.
pub async fn list_samples(app: &App) -> Result<Vec<EmailSample>> {
    let branding = branding(app).await?;
    let samples = samples::emails().into_iter().map(|(name, email)| {
        let content = EmailContent::new(&email, &branding, &ImageUrls::default());
        let words = name.replace('_', " ");
        EmailSample {
            name,
            title: words[..1].to_uppercase() + &words[1..],
            kind: email.kind(),
            subject: content.subject,
            is_to_shop: content.inside,
        }
    });
    Ok(samples.collect())
}

/// Renders a sample under the current settings. Images are those that this shop has.
///
/// # Errors
/// 404 for an unknown name; 503 when the images cannot be read.
pub async fn draw_sample(app: &App, name: &str) -> Result<DrawnSample> {
    let samples = samples::emails();
    let found = samples.iter().find(|(known, _)| *known == name);
    let (_, email) = found.ok_or(Error::NotFound("Email"))?;
    let composed = render(email, &branding(app).await?, &ShopImages(app), name).await?;
    Ok(DrawnSample {
        html: composed.standalone(),
        subject: composed.subject,
        text: composed.text,
    })
}

/// Lists a sample of every email that the shop sends, with the owner's words from the settings.
#[utoipa::path(
    get,
    path = "/api/admin/email-samples",
    tag = "emails",
    security(("bearer" = [])),
    responses((status = 200, body = Vec<EmailSample>), TokenFailures)
)]
async fn list_email_samples(
    State(app): State<App>,
    admin: Admin,
) -> Result<Json<Vec<EmailSample>>> {
    admin.may(Scope::Settings)?;
    Ok(Json(list_samples(&app).await?))
}

/// Returns a sample email with its contents.
#[utoipa::path(
    get,
    path = "/api/admin/email-samples/{name}",
    tag = "emails",
    security(("bearer" = [])),
    params(("name" = String, Path, description = "As `order_confirmation`")),
    responses((status = 200, body = DrawnSample), TokenFailures, NotThere)
)]
async fn find_email_sample(
    State(app): State<App>,
    admin: Admin,
    Path(name): Path<String>,
) -> Result<Json<DrawnSample>> {
    admin.may(Scope::Settings)?;
    Ok(Json(draw_sample(&app, &name).await?))
}
