//! Batches of table photographs: the list, a new one, and photographs added to one.

use askama::Template;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};

use super::context::AdminContext;
use super::form::Form;
use super::sign_in::refused;
use crate::app::App;
use crate::error::{Error, Result};
use crate::http::{Path, Query};
use crate::products::categories::{self, CountedCategory};
use crate::products::intakes::{
    self, IntakeChoice, IntakeEntry, IntakeStatus, MOST_PHOTOS, Photographs, Side,
};
use crate::types::ids::IntakeId;

const PAGE: i64 = 30;

/// Fields of a form with photographs.
const FIELDS: [(&str, Side); 2] = [("fronts", Side::Front), ("backs", Side::Back)];

#[derive(Template)]
#[template(path = "table_photos.html", config = "src/admin/askama.toml")]
struct ListPage<'a> {
    context: &'a AdminContext,
    entries: Vec<IntakeEntry>,
    newer: Option<String>,
    older: Option<String>,
}

#[derive(Template)]
#[template(path = "table_photos_new.html", config = "src/admin/askama.toml")]
struct NewPage<'a> {
    context: &'a AdminContext,
    form: Form,
    categories: Vec<CountedCategory>,
}

/// The state of a batch in the list, and the color of its badge.
fn state(entry: &IntakeEntry) -> (String, &'static str) {
    let products = |count: i64| match count {
        1 => "1 product".to_owned(),
        many => format!("{many} products"),
    };
    match entry.intake.status {
        IntakeStatus::Done => (products(entry.products), "good"),
        IntakeStatus::Discarded => ("Discarded".to_owned(), "quiet"),
        IntakeStatus::Open if entry.photos == 0 => ("No photographs".to_owned(), "quiet"),
        IntakeStatus::Open if entry.waiting > 0 || entry.intake.needs_pairing => {
            ("At work".to_owned(), "due")
        }
        IntakeStatus::Open => ("To look over".to_owned(), "due"),
    }
}

/// Path of a batch's page.
pub fn path_to(id: IntakeId) -> String {
    format!("/admin/table-photos/{id}")
}

/// Parses the id in a path.
pub(super) fn intake_id(text: &str) -> Result<IntakeId> {
    text.parse()
        .map(IntakeId)
        .map_err(|_| Error::NotFound("Batch"))
}

/// `GET /admin/table-photos`
pub async fn list(State(app): State<App>, context: AdminContext, query: Query) -> Result<Response> {
    let page = super::page_number(&query);
    let mut conn = app.db.acquire().await?;
    let (total, entries) = intakes::list(&mut conn, PAGE, (page - 1) * PAGE).await?;
    let link = |page: i64| format!("/admin/table-photos?page={page}");
    context.show(&ListPage {
        context: &context,
        entries,
        newer: (page > 1).then(|| link(page - 1)),
        older: (page * PAGE < total).then(|| link(page + 1)),
    })
}

/// `GET /admin/table-photos/new`
pub async fn show_new(State(app): State<App>, context: AdminContext) -> Result<Response> {
    let form = Form::of(&[("weight_ounces", "2.00"), ("inventory_count", "1")]);
    show_form(&app, &context, form).await
}

async fn show_form(app: &App, context: &AdminContext, form: Form) -> Result<Response> {
    let is_faulty = form.has_errors();
    let shown = context.show(&NewPage {
        context,
        form,
        categories: categories::list(&mut *app.db.acquire().await?).await?,
    })?;
    Ok(match is_faulty {
        true => refused(shown, StatusCode::BAD_REQUEST, None),
        false => shown,
    })
}

/// `POST /admin/table-photos`: a new batch with its photographs.
pub async fn create(
    State(app): State<App>,
    context: AdminContext,
    request: Request,
) -> Result<Response> {
    // The guard has read a plain form, which has no files.
    if let Some(plain) = request.extensions().get::<Form>() {
        let form = plain.clone().refused(none_chosen())?;
        return show_form(&app, &context, form).await;
    }
    let sent = Photographs::read(&app, request, &FIELDS).await?;
    let form = Form::of_pairs(sent.fields.iter().cloned());
    match create_with(&app, &context, &form, &sent).await {
        Ok(id) => {
            sent.done();
            Ok(context.go_on(
                &path_to(id),
                "The photographs arrived. The pieces are being found.",
            ))
        }
        Err(error) => show_form(&app, &context, form.refused(error)?).await,
    }
}

fn none_chosen() -> Error {
    Error::invalid("fronts", "Choose at least one photograph.")
}

fn check_count(sent: &Photographs) -> Result<()> {
    if sent.surplus > 0 {
        let why = format!("Up to {MOST_PHOTOS} photographs are taken at once.");
        return Err(Error::invalid("fronts", why));
    }
    match sent.photos.is_empty() {
        true => Err(none_chosen()),
        false => Ok(()),
    }
}

async fn create_with(
    app: &App,
    context: &AdminContext,
    form: &Form,
    sent: &Photographs,
) -> Result<IntakeId> {
    check_count(sent)?;
    let actor = context.actor()?;
    let mut tx = app.db.begin().await?;
    let choice = IntakeChoice::parse(choices(form));
    let intake = intakes::create(&mut tx, &actor, choice).await?;
    intakes::add_photos(&mut tx, &actor, intake.id, &sent.photos).await?;
    tx.commit().await?;
    Ok(intake.id)
}

/// The choices of the form, as the API takes them.
fn choices(form: &Form) -> Map<String, Value> {
    let mut body = Map::new();
    for field in [
        "lighter_type",
        "category",
        "weight_ounces",
        "inventory_count",
    ] {
        let text = form.get(field);
        let value = match text.parse::<i64>() {
            _ if text.is_empty() => continue,
            Ok(number) => Value::from(number),
            Err(_) => Value::from(text),
        };
        body.insert(field.to_owned(), value);
    }
    body
}

/// `POST /admin/table-photos/{id}/photos`: more photographs for a batch.
pub async fn add(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response> {
    let id = intake_id(&id)?;
    if request.extensions().get::<Form>().is_some() {
        return Ok(context.go_on(&path_to(id), "Choose at least one photograph."));
    }
    let sent = Photographs::read(&app, request, &FIELDS).await?;
    let adding = async {
        check_count(&sent)?;
        let mut tx = app.db.begin().await?;
        intakes::add_photos(&mut tx, &context.actor()?, id, &sent.photos).await?;
        tx.commit().await?;
        Ok(())
    };
    match adding.await {
        Ok(()) => {
            sent.done();
            Ok(context.go_on(
                &path_to(id),
                "The photographs arrived. The pieces are being found.",
            ))
        }
        Err(Error::Invalid(field_errors)) => {
            let why = field_errors.into_iter().next();
            let why = why.map_or_else(String::new, |error| error.message);
            Ok(context.go_on(&path_to(id), &why))
        }
        Err(error) => Err(error),
    }
}
