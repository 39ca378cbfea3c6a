//! Letters as the shopkeeper sees them: what was sent to whom, what did not arrive, sending one again. What letters say
//! and how they travel is left to `email`.

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
    self, Addressed, Filter, House, Letter, LetterRow, Picture, PictureRef, Pictures, SHOP,
    Subjects, TroubleKind, samples,
};
use crate::error::{Error, ErrorBody, Fault, Result};
use crate::extract::{Json, Paging, Path, Query};
use crate::ids::LetterId;
use crate::review_items::{Kind, NewItem, Subject};
use crate::{custom_orders, media, orders, products, reviews, settings};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(find))
        .routes(routes!(resend))
        .routes(routes!(preview_quote))
}

/// Sends a queued letter; the shopkeeper is told of one that cannot be delivered. Safe to repeat.
///
/// # Errors
/// Only the database's: while the mail server is away, the letter waits.
pub async fn send(app: &App, id: LetterId) -> Result<()> {
    let house = house(app).await?;
    let attempt = email::attempt(&app.db, &app.mailer, &house, &ShopPictures(app), id).await?;
    let Some(attempt) = attempt else {
        return Ok(());
    };
    let mut tx = app.db.begin().await?;
    let trouble = email::record(&mut tx, &attempt).await?;
    if attempt.is_sent() {
        // Sent again by the owner after it was given up.
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
        // What does not reach the owner is not the customer's: it concerns the shop.
        let subject = match kind {
            Kind::ShopEmailUndelivered => Subject::default(),
            _ => trouble.about.into(),
        };
        reviews::flag(&mut tx, subject, "mail", &item).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Queues letters again that hang. Safe to repeat.
///
/// # Errors
/// Only the database's.
pub async fn sweep(app: &App) -> Result<()> {
    email::sweep(&mut *app.db.acquire().await?).await
}

/// The pictures of this shop.
struct ShopPictures<'a>(&'a App);

impl Pictures for ShopPictures<'_> {
    async fn read(&self, picture: PictureRef<'_>, width: u32) -> anyhow::Result<Option<Picture>> {
        let App { media, db, .. } = self.0;
        let found = match picture {
            PictureRef::Path(path) => media::read_address(media, db, path, width).await?,
            PictureRef::Kept(id) => media::read(media, db, id, width).await?,
        };
        Ok(found.map(|(bytes, mime)| Picture {
            bytes: bytes.into(),
            mime: mime.to_owned(),
        }))
    }
}

/// Writes a sample of every letter into a folder: `.html` for a browser, `.txt`, and `.eml` as it is sent. Returns how
/// many.
///
/// # Errors
/// When the folder cannot be written, or the settings' logo not be read.
pub async fn preview(config: &Config, folder: &FilePath) -> anyhow::Result<usize> {
    let house = House::new(config)?;
    let drawn = tokio::task::spawn_blocking(products::demo::pictures).await?;
    let samples = samples::letters();
    std::fs::create_dir_all(folder)
        .with_context(|| format!("making the folder {}", folder.display()))?;
    for (name, letter) in &samples {
        let composed = email::compose(letter, &house, &DemoPictures(&drawn), name).await?;
        let write = |end: &str, bytes: &[u8]| {
            let path = folder.join(format!("{name}.{end}"));
            std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
        };
        write("html", composed.standalone().as_bytes())?;
        write("txt", composed.text.as_bytes())?;
        let reply_to = letter.answers_to().and_then(email::parse_address);
        let addressed = Addressed {
            to: house.address.clone(),
            copy: None,
            reply_to: Some(reply_to.unwrap_or_else(|| house.address.clone())),
            message_id: &format!("<{name}.sample@{}>", house.domain()),
        };
        write("eml", &composed.message(&house, addressed)?)?;
    }
    Ok(samples.len())
}

/// The demo catalogue's pictures, by their paths. Its close-ups stand for photographs.
struct DemoPictures<'a>(&'a [(String, Vec<u8>)]);

impl Pictures for DemoPictures<'_> {
    async fn read(&self, picture: PictureRef<'_>, _width: u32) -> anyhow::Result<Option<Picture>> {
        let path = match picture {
            PictureRef::Path(path) => path.trim_start_matches("/media/"),
            PictureRef::Kept(id) if *id == samples::photographs()[0] => "demo/tidewalk-b.png",
            PictureRef::Kept(_) => "demo/river-braid-b.png",
        };
        let drawn = self.0.iter().find(|(drawn, _)| drawn == path);
        Ok(drawn.map(|(_, bytes)| Picture {
            bytes: bytes.clone(),
            mime: "image/png".to_owned(),
        }))
    }
}

#[derive(Serialize, ToSchema)]
struct LetterPage {
    count: i64,
    page: i64,
    page_size: i64,
    results: Vec<LetterRow>,
}

/// A letter with what it says.
#[derive(Serialize, ToSchema)]
pub struct LetterView {
    #[serde(flatten)]
    pub letter: LetterRow,
    pub message_id: String,
    /// Null, as the two below, where an old letter cannot be read any more.
    pub subject: Option<String>,
    /// With its pictures in it.
    pub html: Option<String>,
    pub text: Option<String>,
}

impl LetterView {
    /// Withholds the recipient and what they are told from a token that may send letters again and not read them.
    fn shown_to(mut self, admin: &Admin) -> LetterView {
        if admin.may(Scope::OrdersRead).is_err() {
            self.letter.recipient.clear();
            self.letter.copy_to = None;
            self.letter.last_error = None;
            self.subject = None;
            self.html = None;
            self.text = None;
        }
        self
    }
}

/// Letters, newest first.
#[utoipa::path(
    operation_id = "list_letters",
    get,
    path = "/api/admin/letters",
    tag = "letters",
    security(("bearer" = [])),
    params(
        ("state" = Option<String>, Query, description = "`queued`, `sending`, `sent` or `failed`", pattern = "^(queued|sending|sent|failed)?$"),
        ("kind" = Option<String>, Query, description = "As `order_confirmation`", max_length = 254, pattern = r"^[^\x00]*$"),
        ("order" = Option<String>, Query, description = "Only letters about this order: its id, or its number as SB-1042", max_length = 254, pattern = r"^[^\x00]*$"),
        ("recipient" = Option<String>, Query, description = "A part of the address", max_length = 254, pattern = r"^[^\x00]*$"),
        ("search" = Option<String>, Query, description = "A part of the address, or of the subject", max_length = 200, pattern = r"^[^\x00]*$"),
        Paging,
    ),
    responses(
        (status = 200, body = LetterPage),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
    )
)]
async fn list(State(app): State<App>, admin: Admin, query: Query) -> Result<Json<LetterPage>> {
    admin.may(Scope::OrdersRead)?;
    let mut faults = Vec::new();
    let page = query.paging(&mut faults);
    let mut text = |name: &'static str| {
        let text = query.get(name)?.trim().to_owned();
        if text.contains('\0') || text.chars().count() > 254 {
            faults.push(Fault::new(name, "must have at most 254 characters"));
            return None;
        }
        (!text.is_empty()).then_some(text)
    };
    let (state, kind) = (text("state"), text("kind"));
    let (order, recipient) = (text("order"), text("recipient"));
    let search = query.search(&mut faults);
    if let Some(state) = &state
        && !["queued", "sending", "sent", "failed"].contains(&state.as_str())
    {
        faults.push(Fault::new("state", "is no state of a letter"));
    }
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let mut conn = app.db.acquire().await?;
    let order = match order {
        Some(text) => Some(
            orders::find_id(&mut conn, &text)
                .await?
                .ok_or_else(|| Error::invalid("order", "is no order's id or number"))?,
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
    let (letters, count) = browse(&mut conn, &app, &filter).await?;
    Ok(Json(LetterPage {
        count,
        page: page.number,
        page_size: page.size,
        results: letters,
    }))
}

/// What a search for this word looks for.
pub fn subjects(app: &App, word: String) -> (String, Subjects) {
    let subjects = Subjects::with(&word, app.mailer.house());
    (word, subjects)
}

/// One page of letters, newest first, and how many there are in all.
///
/// # Errors
/// Only the database's.
pub async fn browse(
    conn: &mut PgConnection,
    app: &App,
    filter: &Filter,
) -> Result<(Vec<LetterRow>, i64)> {
    let (letters, count) = email::list(conn, filter).await?;
    let letters = letters.into_iter().map(|letter| named(letter, app));
    Ok((letters.collect(), count))
}

/// What a letter would say if it were sent now: its subject, and a page with its pictures in it.
///
/// # Errors
/// When it cannot be written, which is a bug.
pub async fn draw(app: &App, letter: &Letter) -> Result<(String, String)> {
    let house = house(app).await?;
    let composed = email::compose(letter, &house, &ShopPictures(app), "preview").await?;
    let page = composed.standalone();
    Ok((composed.subject, page))
}

/// The shop as its letters show it now.
async fn house(app: &App) -> Result<House> {
    let settings = settings::current(&mut *app.db.acquire().await?, &app.config).await?;
    Ok(app.mailer.house().named(&settings.shop_name))
}

/// A letter to the shop shows the shop's address.
fn named(mut letter: LetterRow, app: &App) -> LetterRow {
    for address in [Some(&mut letter.recipient), letter.copy_to.as_mut()] {
        if let Some(address) = address.filter(|address| *address == SHOP) {
            address.clone_from(&app.config.shop_email);
        }
    }
    letter
}

/// One letter, with what it says.
#[utoipa::path(
    operation_id = "find_letter",
    get,
    path = "/api/admin/letters/{id}",
    tag = "letters",
    security(("bearer" = [])),
    params(("id" = LetterId, Path)),
    responses(
        (status = 200, body = LetterView),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
    )
)]
async fn find(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<LetterId>,
) -> Result<Json<LetterView>> {
    admin.may(Scope::OrdersRead)?;
    Ok(Json(view(&app, id).await?))
}

/// A letter with what it says.
///
/// # Errors
/// 404 when there is none.
pub async fn view(app: &App, id: LetterId) -> Result<LetterView> {
    let found = email::find(&mut *app.db.acquire().await?, id).await?;
    let source = found.ok_or(Error::NotFound("Letter"))?;
    let house = house(app).await?;
    let shown = email::show(&house, &ShopPictures(app), &source).await;
    Ok(LetterView {
        message_id: email::message_id(&source, &house),
        subject: shown.as_ref().map(|shown| shown.subject.clone()),
        html: shown.as_ref().map(|shown| shown.standalone()),
        text: shown.map(|shown| shown.text),
        letter: named(source.row, app),
    })
}

/// The letter of the draft of a quote, as the customer would get it.
#[derive(Serialize, ToSchema)]
struct QuoteLetter {
    subject: String,
    /// With its pictures in it. Its button leads nowhere yet.
    html: String,
}

/// What the customer would read if the draft of the request's quote were approved now.
#[utoipa::path(
    operation_id = "preview_quote_letter",
    get,
    path = "/api/admin/custom-orders/{id}/letter",
    tag = "custom orders",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The id, or the number as CO-1042")),
    responses(
        (status = 200, body = QuoteLetter),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody, description = "No such request, or no draft of a quote"),
    )
)]
async fn preview_quote(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
) -> Result<Json<QuoteLetter>> {
    admin.may(Scope::CustomOrders)?;
    let mut conn = app.db.acquire().await?;
    let id = custom_orders::resolve(&mut conn, &id).await?;
    let letter = custom_orders::preview(&mut conn, &app, id).await?;
    drop(conn);
    let (subject, html) = draw(&app, &letter.ok_or(Error::NotFound("Letter"))?).await?;
    Ok(Json(QuoteLetter { subject, html }))
}

/// Sends a letter again that was sent or given up, and writes it into the audit log.
///
/// # Errors
/// 404; 409 while it is on its way.
pub async fn send_again(conn: &mut PgConnection, actor: &Actor, id: LetterId) -> Result<()> {
    let before = email::find(conn, id).await?;
    let before = before.ok_or(Error::NotFound("Letter"))?.row;
    email::resend(conn, id).await?;
    audit::record(
        conn,
        actor,
        "letter.resend",
        &format!("letter:{id}"),
        json!({"kind": before.kind, "state": before.state}),
        json!({"kind": before.kind, "state": "queued"}),
    )
    .await
}

/// Sends a letter again that was sent or given up. It goes under a new Message-ID, because mail programs show a letter
/// once whose Message-ID they know. A token without `orders:read` is answered without recipient and contents.
#[utoipa::path(
    operation_id = "resend_letter",
    post,
    path = "/api/admin/letters/{id}/resend",
    tag = "letters",
    security(("bearer" = [])),
    params(("id" = LetterId, Path)),
    responses(
        (status = 202, body = LetterView, description = "It is queued"),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody, description = "It is on its way already"),
    )
)]
async fn resend(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<LetterId>,
) -> Result<(StatusCode, Json<LetterView>)> {
    admin.may(Scope::OrdersWrite)?;
    let mut tx = app.db.begin().await?;
    send_again(&mut tx, &admin.actor, id).await?;
    tx.commit().await?;
    let view = view(&app, id).await?.shown_to(&admin);
    Ok((StatusCode::ACCEPTED, Json(view)))
}
