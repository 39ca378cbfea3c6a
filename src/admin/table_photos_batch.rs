//! The page of one batch of table photographs: what was found, corrected in place, and made into products.
//!
//! Everything typed is in one form, and each button of it saves all before it does its own, so nothing typed is lost
//! without scripts either.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use sqlx::PgConnection;

use super::context::AdminContext;
use super::form::{Form, stale_form};
use super::sign_in::refused;
use super::table_photos::{intake_id, path_to};
use super::table_photos_form::{by_cell, save};
use crate::app::App;
use crate::audit::Actor;
use crate::error::{Code, Error, Result};
use crate::http::{Path, Query};
use crate::products::categories::{self, CountedCategory};
use crate::products::intakes::{
    self, IntakeDetails, IntakeStatus, Item, Pairing, Photo, PhotoStatus, Piece, PieceChange,
    PieceState, PriceGuess, ProductChoice, Side, TakenBack,
};
use crate::products::{self, Product};
use crate::types::ids::{IntakeId, PieceId};
use crate::types::money::{Cents, Currency};

#[derive(Template)]
#[template(path = "table_photos_batch.html", config = "src/admin/askama.toml")]
struct BatchPage<'a> {
    context: &'a AdminContext,
    details: IntakeDetails,
    form: Form,
    categories: Vec<CountedCategory>,
    guesses: BTreeMap<(i16, Option<i64>), PriceGuess>,
    /// The products that were made, with their fronts.
    products: Vec<Product>,
    /// Only the rows that a person has to look at are shown.
    is_filtered: bool,
}

/// A front, its back and their item.
struct Row<'a> {
    front: &'a Piece,
    item: &'a Item,
    back: Option<&'a Piece>,
}

impl Row<'_> {
    /// Its back, or which end is up, is not sure.
    fn is_to_check(&self) -> bool {
        let both = [Some(self.front), self.back];
        matches!(self.item.pairing(), Pairing::Check | Pairing::NoBack)
            || both.iter().flatten().any(|piece| piece.is_head_doubtful)
    }
}

impl BatchPage<'_> {
    fn is_open(&self) -> bool {
        self.details.intake.is_open()
    }

    /// Nothing is to be looked over yet, or pieces come and go.
    fn is_finding(&self) -> bool {
        self.is_open() && (self.details.waiting_photos() > 0 || self.details.intake.needs_pairing)
    }

    fn state(&self) -> &'static str {
        match self.details.intake.status {
            IntakeStatus::Done => "Done",
            IntakeStatus::Discarded => "Discarded",
            IntakeStatus::Open if self.details.is_working() => "At work",
            IntakeStatus::Open if self.details.photos.is_empty() => "No photographs",
            IntakeStatus::Open => "To look over",
        }
    }

    /// The progress of the jobs, in words; empty when they are done.
    fn progress(&self) -> String {
        let details = &self.details;
        if !details.is_working() {
            return String::new();
        }
        let (waiting, photos) = (details.waiting_photos(), details.photos.len());
        if waiting > 0 {
            return format!("{} of {photos} photographs are searched.", photos - waiting);
        }
        if details.intake.needs_pairing {
            return "Fronts and backs are being paired.".to_owned();
        }
        let used = details
            .pieces
            .iter()
            .filter(|piece| piece.is_used())
            .count();
        let made = used - details.waiting_pieces();
        format!("{made} of {used} images are made.")
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let rows = self.all_rows().into_iter();
        rows.filter(|row| !self.is_filtered || row.is_to_check())
            .collect()
    }

    fn to_check(&self) -> usize {
        let rows = self.all_rows().into_iter();
        rows.filter(Row::is_to_check).count()
    }

    fn all_rows(&self) -> Vec<Row<'_>> {
        let rows = self.details.fronts().map(|(front, item)| Row {
            front,
            item,
            back: item.back_id.and_then(|back| self.details.piece(back)),
        });
        rows.collect()
    }

    /// Backs that no front has.
    fn lone_backs(&self) -> Vec<&Piece> {
        let backs = self.details.backs();
        backs
            .filter(|back| self.details.front_of(back.id).is_none())
            .collect()
    }

    /// Pieces that become no product.
    fn unused(&self) -> Vec<&Piece> {
        let pieces = self.details.pieces.iter();
        pieces.filter(|piece| !piece.is_used()).collect()
    }

    fn to_create(&self) -> usize {
        let fronts = self.details.fronts();
        fronts.filter(|(_, item)| item.product_id.is_none()).count()
    }

    fn total(&self) -> String {
        let prices = self.details.fronts();
        let sum = prices
            .filter(|(_, item)| item.product_id.is_none())
            .filter_map(|(_, item)| item.price)
            .try_fold(Cents::ZERO, Cents::plus);
        sum.unwrap_or_default()
            .in_currency(self.context.currency().code())
    }

    fn pieces_of<'b>(&'b self, photo: &Photo) -> Vec<&'b Piece> {
        let pieces = self.details.pieces.iter();
        pieces.filter(|piece| piece.photo_id == photo.id).collect()
    }

    fn value(&self, field: &str, row: &Row<'_>) -> String {
        let name = format!("{field}.{}", row.front.id);
        // A front that somebody added meanwhile is not in the form.
        if !self.form.all(&name).is_empty() {
            return self.form.get(&name);
        }
        let text = |number: Option<i64>| number.map(|n| n.to_string()).unwrap_or_default();
        let code = self.context.currency().code();
        match field {
            "name" => row.item.name.clone(),
            "category" => text(row.item.category_id),
            "size" => text(row.front.lighter_type.map(i64::from)),
            "price" => row
                .item
                .price
                .map(|price| price.plain(code))
                .unwrap_or_default(),
            _ => row
                .item
                .back_id
                .map(|back| back.to_string())
                .unwrap_or_default(),
        }
    }

    /// The version that was filled in. A refused form keeps its own: saved once more, it must not overwrite what somebody
    /// else has changed since.
    fn version(&self) -> String {
        match self.form.is_sent() {
            true => self.form.get("version"),
            false => self.details.intake.version.to_string(),
        }
    }

    fn error(&self, field: &str, row: &Row<'_>) -> Option<&str> {
        self.form.field_error(&format!("{field}.{}", row.front.id))
    }

    /// The prices that a guess stands on, in words.
    fn guess(&self, row: &Row<'_>) -> String {
        let code = self.context.currency().code();
        let key = row
            .front
            .lighter_type
            .map(|kind| (kind, row.item.category_id));
        let Some(guess) = key.and_then(|key| self.guesses.get(&key)) else {
            return String::new();
        };
        let of = match guess.is_of_category {
            true => " of this category",
            false => "",
        };
        match guess.count {
            1 => format!(
                "The only one of this size costs {}.",
                guess.least.in_currency(code)
            ),
            count => format!(
                "The latest {count} of this size{of} cost {} to {}.",
                guess.least.in_currency(code),
                guess.most.in_currency(code)
            ),
        }
    }

    fn front_number(&self, back: &Piece) -> Option<i32> {
        self.details.front_of(back.id).map(|front| front.number)
    }

    fn number(&self, piece: &PieceId) -> i32 {
        self.details.piece(*piece).map_or(0, |piece| piece.number)
    }

    /// Ids of the parts of the page that change while images are made, for htmx.
    fn changing(&self) -> String {
        let waiting = self
            .details
            .pieces
            .iter()
            .filter(|piece| piece.is_waiting());
        let images = waiting.map(|piece| format!("#image-{}", piece.id));
        let parts = images.chain(["#create".to_owned()]);
        parts.collect::<Vec<_>>().join(",")
    }

    fn shows_form(&self) -> bool {
        self.is_open() && !self.is_finding() && !self.details.pieces.is_empty()
    }
}

/// Label and color of a pair's certainty.
fn badge(row: &Row<'_>) -> (&'static str, &'static str) {
    match row.item.pairing() {
        Pairing::Sure => ("Sure", "good"),
        Pairing::Check => ("Check", "due"),
        Pairing::NoBack => ("No back", "due"),
        Pairing::ByHand if row.back.is_none() => ("No back", "quiet"),
        Pairing::ByHand => ("Paired by hand", "quiet"),
    }
}

/// Points of an outline for SVG.
pub(super) fn points(piece: &Piece) -> String {
    let points = piece.outline.iter();
    let points: Vec<String> = points.map(|[x, y]| format!("{x:.0},{y:.0}")).collect();
    points.join(" ")
}

/// Middle of an outline, where its number is written.
pub(super) fn middle(piece: &Piece) -> (i32, i32) {
    let count = piece.outline.len().max(1) as f32;
    let sum = |axis: usize| piece.outline.iter().map(|point| point[axis]).sum::<f32>();
    ((sum(0) / count) as i32, (sum(1) / count) as i32)
}

/// Class of an outline.
pub(super) fn class(piece: &Piece) -> &'static str {
    match piece.state {
        PieceState::Used if piece.is_head_doubtful => "outline doubtful",
        PieceState::Used => "outline",
        PieceState::LeftOut => "outline out",
        PieceState::CutOff => "outline out cut",
    }
}

/// Alternative text of a piece's image: its number, its colors and its pattern.
pub(super) fn alternative(piece: &Piece) -> String {
    let side = match piece.side {
        Side::Front => "Front",
        Side::Back => "Back",
    };
    let looks: Vec<&str> = piece
        .colors
        .iter()
        .chain(&piece.pattern)
        .map(String::as_str)
        .collect();
    match looks.is_empty() {
        true => format!("{side}, number {}", piece.number),
        false => format!("{side}, number {}: {}", piece.number, looks.join(", ")),
    }
}

/// Title of a photograph: `Fronts: table.jpg`.
pub(super) fn title(photo: &Photo) -> String {
    let side = match photo.side {
        Side::Front => "Fronts",
        Side::Back => "Backs",
    };
    format!("{side}: {}", photo.file_name)
}

/// `GET /admin/table-photos/{id}`
pub async fn show(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response> {
    let details = intakes::details(&mut *app.db.acquire().await?, intake_id(&id)?).await?;
    let is_filtered = query.get("show") == Some("check");
    page(&app, &context, (details, is_filtered), Form::default()).await
}

async fn page(
    app: &App,
    context: &AdminContext,
    (details, is_filtered): (IntakeDetails, bool),
    form: Form,
) -> Result<Response> {
    let is_faulty = form.has_errors();
    let mut conn = app.db.acquire().await?;
    let mut made = Vec::new();
    for id in details
        .items
        .iter()
        .filter_map(|item| item.product_id.as_ref())
    {
        match products::find(&mut conn, &id.0).await {
            Ok(product) => made.push(product),
            // Somebody deleted it.
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let code = context.currency().code();
    let shown = context.show(&BatchPage {
        context,
        guesses: intakes::price_guesses(&mut conn, &details, code).await?,
        categories: categories::list(&mut conn).await?,
        products: made,
        is_filtered,
        details,
        form,
    })?;
    Ok(match is_faulty {
        true => refused(shown, StatusCode::BAD_REQUEST, None),
        false => shown,
    })
}

/// A button of the form.
#[derive(Clone, Copy)]
enum Act {
    Save,
    Swap,
    Create { is_draft: bool },
    Turn(PieceId),
    LeaveOut(PieceId),
    Use(PieceId),
    OtherSide(PieceId),
}

impl Act {
    fn parse(text: &str) -> Option<Act> {
        let (what, piece) = text.split_once('.').unwrap_or((text, ""));
        let piece = piece.parse().map(PieceId);
        Some(match (what, piece) {
            ("save" | "", _) => Act::Save,
            ("swap", _) => Act::Swap,
            ("create", _) => Act::Create { is_draft: true },
            ("sell", _) => Act::Create { is_draft: false },
            ("turn", Ok(piece)) => Act::Turn(piece),
            ("leave", Ok(piece)) => Act::LeaveOut(piece),
            ("use", Ok(piece)) => Act::Use(piece),
            ("side", Ok(piece)) => Act::OtherSide(piece),
            _ => return None,
        })
    }
}

/// `POST /admin/table-photos/{id}`: saves what was typed, then does what the button says.
pub async fn change(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let id = intake_id(&id)?;
    let act = Act::parse(&form.get("do")).ok_or_else(stale_form)?;
    let actor = context.actor()?;
    let currency = context.currency();
    let mut tx = app.db.begin().await?;
    let details = intakes::details(&mut tx, id).await?;
    let done = async {
        save(&mut tx, &actor, &details, &form, currency).await?;
        match carry_out(&mut tx, &actor, &details, act, currency).await {
            // What was typed is saved nevertheless.
            Err(Error::Conflict(Code::IntakeIsBusy, sentence)) => Ok(sentence),
            done => done,
        }
    };
    match done.await {
        Ok(said) => {
            tx.commit().await?;
            let path = path_to(id);
            Ok(context.go_on(&format!("{path}{}", fragment(&details, act)), &said))
        }
        Err(error) => {
            tx.rollback().await?;
            let form = form.refused(by_cell(&details, error))?;
            let details = intakes::details(&mut *app.db.acquire().await?, id).await?;
            page(&app, &context, (details, false), form).await
        }
    }
}

/// The place on the page that the button was at.
fn fragment(details: &IntakeDetails, act: Act) -> String {
    match act {
        Act::Save | Act::Swap | Act::Create { .. } => String::new(),
        Act::Turn(piece) | Act::LeaveOut(piece) | Act::Use(piece) | Act::OtherSide(piece) => {
            let piece = details.piece(piece);
            piece.map_or_else(String::new, |piece| format!("#piece-{}", piece.number))
        }
    }
}

async fn carry_out(
    conn: &mut PgConnection,
    actor: &Actor,
    details: &IntakeDetails,
    act: Act,
    currency: Currency,
) -> Result<String> {
    let id = details.intake.id;
    let mut correct = async |piece: PieceId, change: PieceChange| {
        intakes::change_piece(conn, actor, id, piece, change).await
    };
    let left_out = |left_out: bool| PieceChange {
        left_out: Some(left_out),
        ..PieceChange::default()
    };
    match act {
        Act::Save => Ok("Saved.".to_owned()),
        Act::Swap => {
            intakes::swap_sides(conn, actor, id).await?;
            Ok("The fronts are the backs now.".to_owned())
        }
        Act::LeaveOut(piece) => {
            correct(piece, left_out(true)).await?;
            Ok("Left out.".to_owned())
        }
        Act::Use(piece) => {
            correct(piece, left_out(false)).await?;
            Ok("It is used.".to_owned())
        }
        Act::OtherSide(piece) => {
            let found = details.piece(piece).ok_or(Error::NotFound("Piece"))?;
            let change = PieceChange {
                side: Some(found.side.other()),
                ..PieceChange::default()
            };
            correct(piece, change).await?;
            Ok(match found.side {
                Side::Front => "It is a back now.".to_owned(),
                Side::Back => "It is a front now.".to_owned(),
            })
        }
        Act::Turn(piece) => {
            intakes::turn_over(conn, actor, id, piece).await?;
            Ok("It is turned over.".to_owned())
        }
        Act::Create { is_draft } => {
            let choice = ProductChoice { currency, is_draft };
            let made = intakes::create_products(conn, actor, id, choice).await?;
            let how = if is_draft {
                "made as drafts"
            } else {
                "on sale"
            };
            Ok(match made.len() {
                1 => format!("1 product is {how}."),
                many => format!("{many} products are {how}."),
            })
        }
    }
}

/// `POST /admin/table-photos/{id}/take-back`
pub async fn take_back(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    let id = intake_id(&id)?;
    let mut tx = app.db.begin().await?;
    let taken = intakes::take_back(&mut tx, &context.actor()?, id).await?;
    tx.commit().await?;
    Ok(context.go_on(&path_to(id), &in_words(&taken)))
}

/// `2 products are taken back. Sunrise stays: it was ordered.`
fn in_words(taken: &TakenBack) -> String {
    let mut said = match taken.removed {
        0 => "No product is taken back.".to_owned(),
        1 => "1 product is taken back.".to_owned(),
        many => format!("{many} products are taken back."),
    };
    for (name, why) in &taken.kept {
        said.push_str(&format!(" {name} stays: it {why}."));
    }
    said
}

/// `POST /admin/table-photos/{id}/discard`
pub async fn discard(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    let id: IntakeId = intake_id(&id)?;
    let mut tx = app.db.begin().await?;
    intakes::discard(&mut tx, &context.actor()?, id).await?;
    tx.commit().await?;
    Ok(context.go_on("/admin/table-photos", "The batch is discarded."))
}
