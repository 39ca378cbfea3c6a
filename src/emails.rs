//! Emails for the owner: listing, resending, and reports of failed deliveries. `email` has their content and transport.

use std::path::Path as FilePath;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::audit::{self, Actor};
use crate::auth::{Admin, Scope};
use crate::config::Config;
use crate::email::{
    self, Addressed, Branding, Email, EmailRow, Filter, Image, ImageRef, Images, SHOP, Subjects,
    TroubleKind, preview,
};
use crate::error::{Error, ErrorBody, FieldError, Result};
use crate::http::{Json, Paging, Path, Query};
use crate::review_items::{Kind, NewItem, Subject};
use crate::types::ids::EmailId;
use crate::{custom_orders, images, orders, products, reviews, settings};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(find))
        .routes(routes!(resend))
        .routes(routes!(preview_quote))
}

/// Sends a queued email. A failed delivery is reported to the owner. Safe to repeat.
///
/// # Errors
/// Database errors only. While the mail server is down, the email waits.
pub async fn send(app: &App, id: EmailId) -> Result<()> {
    let branding = branding(app).await?;
    let attempt = email::attempt(&app.db, &app.mailer, &branding, &ShopImages(app), id).await?;
    let Some(attempt) = attempt else {
        return Ok(());
    };
    let mut tx = app.db.begin().await?;
    let trouble = email::record(&mut tx, &attempt).await?;
    if attempt.is_sent() {
        // The owner sent it again after it was given up.
        reviews::settle(
            &mut tx,
            &format!("email:{id}"),
            "mail",
            "the email was sent",
        )
        .await?;
    }
    if let Some(trouble) = trouble {
        let kind = match trouble.kind {
            TroubleKind::Undelivered => Kind::EmailUndelivered,
            TroubleKind::ShopUndelivered => Kind::ShopEmailUndelivered,
            TroubleKind::CopyRefused => Kind::EmailCopyRefused,
        };
        let cause = format!("email:{id}:{}", trouble.attempt);
        let item = NewItem::new(kind, cause, trouble.why);
        // An email that does not reach the owner concerns the shop, not the customer's order.
        let subject = match kind {
            Kind::ShopEmailUndelivered => Subject::default(),
            _ => trouble.about.into(),
        };
        reviews::flag(&mut tx, subject, "mail", &item).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Queues stuck emails again. Safe to repeat.
///
/// # Errors
/// Database errors only.
pub async fn sweep(app: &App) -> Result<()> {
    email::sweep(&mut *app.db.acquire().await?).await
}

/// The images of this shop.
struct ShopImages<'a>(&'a App);

impl Images for ShopImages<'_> {
    async fn read(&self, image: ImageRef<'_>, width: u32) -> anyhow::Result<Option<Image>> {
        let App { storage, db, .. } = self.0;
        let found = match image {
            ImageRef::Path(path) => images::read_address(storage, db, path, width).await?,
            ImageRef::Kept(id) => images::read(storage, db, id, width).await?,
        };
        Ok(found.map(|(bytes, mime)| Image {
            bytes: bytes.into(),
            mime: mime.to_owned(),
        }))
    }
}

/// Writes a sample of every email into a folder: `.html` for a browser, `.txt`, and `.eml` as sent. Returns their
/// number.
///
/// # Errors
/// When the folder cannot be written, or the configured logo cannot be read.
pub async fn preview(config: &Config, folder: &FilePath) -> anyhow::Result<usize> {
    let branding = Branding::new(config)?;
    let drawn = tokio::task::spawn_blocking(products::demo::images).await?;
    let samples = preview::emails();
    std::fs::create_dir_all(folder)
        .with_context(|| format!("creating the folder {}", folder.display()))?;
    for (name, email) in &samples {
        let composed = email::render(email, &branding, &DemoImages(&drawn), name).await?;
        let write = |end: &str, bytes: &[u8]| {
            let path = folder.join(format!("{name}.{end}"));
            std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
        };
        write("html", composed.standalone().as_bytes())?;
        write("txt", composed.text.as_bytes())?;
        let reply_to = email.answers_to().and_then(email::parse_address);
        let addressed = Addressed {
            to: branding.address.clone(),
            copy: None,
            reply_to: Some(reply_to.unwrap_or_else(|| branding.address.clone())),
            message_id: &format!("<{name}.sample@{}>", branding.domain()),
        };
        write("eml", &composed.message(&branding, addressed)?)?;
    }
    Ok(samples.len())
}

/// The demo catalog's images, by path. Its close-ups stand in for uploaded images.
struct DemoImages<'a>(&'a [(String, Vec<u8>)]);

impl Images for DemoImages<'_> {
    async fn read(&self, image: ImageRef<'_>, _width: u32) -> anyhow::Result<Option<Image>> {
        let path = match image {
            ImageRef::Path(path) => path.trim_start_matches("/media/"),
            ImageRef::Kept(id) if *id == preview::images()[0] => "demo/tidewalk-b.png",
            ImageRef::Kept(_) => "demo/river-braid-b.png",
        };
        let drawn = self.0.iter().find(|(drawn, _)| drawn == path);
        Ok(drawn.map(|(_, bytes)| Image {
            bytes: bytes.clone(),
            mime: "image/png".to_owned(),
        }))
    }
}

#[derive(Serialize, ToSchema)]
struct EmailPage {
    count: i64,
    page: i64,
    page_size: i64,
    results: Vec<EmailRow>,
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
            self.email.copy_to = None;
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
        ("recipient" = Option<String>, Query, description = "A part of the address", max_length = 254, pattern = r"^[^\x00]*$"),
        ("search" = Option<String>, Query, description = "A part of the address, or of the subject", max_length = 200, pattern = r"^[^\x00]*$"),
        Paging,
    ),
    responses(
        (status = 200, body = EmailPage),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
    )
)]
async fn list(State(app): State<App>, admin: Admin, query: Query) -> Result<Json<EmailPage>> {
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
    let (order, recipient) = (text("order"), text("recipient"));
    let search = query.search(&mut field_errors);
    let state = state.and_then(|text| {
        let state = email::State::parse(&text);
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
            orders::find_id(&mut conn, &text)
                .await?
                .ok_or_else(|| Error::invalid("order", "is not the id or number of an order"))?,
        ),
        None => None,
    };
    let filter = Filter {
        state,
        kind,
        order,
        recipient,
        search: search.map(|word| subjects(&app, word)),
        shop: app.config.shop_email.clone(),
        limit: page.size,
        offset: page.offset(),
    };
    let (emails, count) = browse(&mut conn, &app, &filter).await?;
    Ok(Json(EmailPage {
        count,
        page: page.number,
        page_size: page.size,
        results: emails,
    }))
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
    filter: &Filter,
) -> Result<(Vec<EmailRow>, i64)> {
    let (emails, count) = email::list(conn, filter).await?;
    let emails = emails.into_iter().map(|email| named(email, app));
    Ok((emails.collect(), count))
}

/// Renders an email without sending it: its subject, and an HTML page with inlined images.
///
/// # Errors
/// When it cannot be rendered, which is a bug.
pub async fn draw(app: &App, email: &Email) -> Result<(String, String)> {
    let branding = branding(app).await?;
    let composed = email::render(email, &branding, &ShopImages(app), "preview").await?;
    let page = composed.standalone();
    Ok((composed.subject, page))
}

/// Branding under the current settings.
async fn branding(app: &App) -> Result<Branding> {
    let settings = settings::current(&mut *app.db.acquire().await?, &app.config).await?;
    Ok(app.mailer.branding().named(&settings.shop_name))
}

/// Replaces the placeholder recipient by the shop's address.
fn named(mut email: EmailRow, app: &App) -> EmailRow {
    for address in [Some(&mut email.recipient), email.copy_to.as_mut()] {
        if let Some(address) = address.filter(|address| *address == SHOP) {
            address.clone_from(&app.config.shop_email);
        }
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
    let found = email::find(&mut *app.db.acquire().await?, id).await?;
    let source = found.ok_or(Error::NotFound("Email"))?;
    let branding = branding(app).await?;
    let shown = email::show(&branding, &ShopImages(app), &source).await;
    Ok(EmailView {
        message_id: email::message_id(&source, &branding),
        subject: shown.as_ref().map(|shown| shown.subject.clone()),
        html: shown.as_ref().map(|shown| shown.standalone()),
        text: shown.map(|shown| shown.text),
        email: named(source.row, app),
    })
}

/// The email of a drafted quote, as the customer would get it.
#[derive(Serialize, ToSchema)]
struct QuoteEmail {
    subject: String,
    /// With inlined images. Its payment button leads nowhere yet.
    html: String,
}

/// Previews the email that approving the drafted quote would send.
#[utoipa::path(
    operation_id = "preview_quote_email",
    get,
    path = "/api/admin/custom-orders/{id}/email",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    responses(
        (status = 200, body = QuoteEmail),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody, description = "No such custom order, or no drafted quote"),
    )
)]
async fn preview_quote(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<QuoteEmail>> {
    admin.may(Scope::CustomOrders)?;
    let mut conn = app.db.acquire().await?;
    let id = custom_orders::resolve(&mut conn, &id).await?;
    let email = custom_orders::preview(&mut conn, &app, id).await?;
    drop(conn);
    let (subject, html) = draw(&app, &email.ok_or(Error::NotFound("Email"))?).await?;
    Ok(Json(QuoteEmail { subject, html }))
}

/// Sends an email again that was sent or given up, and writes an audit entry.
///
/// # Errors
/// 404; 409 while it is being sent.
pub async fn send_again(conn: &mut PgConnection, actor: &Actor, id: EmailId) -> Result<()> {
    let before = email::find(conn, id).await?;
    let before = before.ok_or(Error::NotFound("Email"))?.row;
    email::resend(conn, id).await?;
    audit::record(
        conn,
        actor,
        "email.resend",
        &format!("email:{id}"),
        json!({"kind": before.kind, "state": before.state}),
        json!({"kind": before.kind, "state": email::State::Queued}),
    )
    .await
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
        (status = 409, body = ErrorBody, description = "Already being sent"),
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
