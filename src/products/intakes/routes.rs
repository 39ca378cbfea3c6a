//! Routes of intakes. They need a token.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::failures::{ChangeFailures, PhotoFailures};
use super::photos::Photographs;
use super::views::{IntakeEntryView, IntakePage, IntakeView, KeptProduct, TakenBackView};
use super::{
    Cut, IntakeChoice, ItemChange, NewPhoto, Outline, PairChoice, PieceChange, ProductChoice, Side,
    corrections, items, photos, products, service, store,
};
use crate::app::App;
use crate::auth::Scope;
use crate::error::{Error, ErrorBody, FieldError, Result};
use crate::http::idempotency::{IdempotencyKey, Key, Owner, earlier_answer, keep_answer};
use crate::http::{Json, Path, Query};
use crate::products::extract::{AdminReadFailures, CatalogAdmin};
use crate::types::ids::{IntakeId, PhotoId, PieceId};

/// Batches in one page of the list.
const PAGE: i64 = 50;

/// Most changes in one request.
const MOST: usize = 1200;

/// Builds the router. The paths have no trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(detail, discard))
        .routes(routes!(add_photos))
        .routes(routes!(change_photo, remove_photo))
        .routes(routes!(draw))
        .routes(routes!(change_piece))
        .routes(routes!(cut))
        .routes(routes!(pair))
        .routes(routes!(change_item))
        .routes(routes!(create_products))
        .routes(routes!(take_back))
}

/// Parses an id in a path. Whatever is none names nothing.
fn id<T>(text: &str, of: fn(Uuid) -> T, what: &'static str) -> Result<T> {
    text.parse().map(of).map_err(|_| Error::NotFound(what))
}

fn intake_id(text: &str) -> Result<IntakeId> {
    id(text, IntakeId, "Batch")
}

fn piece_id(text: &str) -> Result<PieceId> {
    id(text, PieceId, "Piece")
}

/// Lists batches of table photographs, latest first.
#[utoipa::path(operation_id = "list_intakes", get, path = "/api/admin/intakes", tag = "intakes", security(("bearer" = [])),
    params(("page" = Option<i64>, Query, description = "From 1", minimum = 1)),
    responses((status = 200, body = IntakePage), AdminReadFailures))]
async fn list(State(app): State<App>, _: CatalogAdmin, query: Query) -> Result<Response> {
    let page = match query.get("page") {
        None => 1,
        Some(text) => text
            .parse::<i64>()
            .ok()
            .filter(|page| (1..=1_000_000).contains(page))
            .ok_or_else(|| Error::invalid("page", "Must be a whole number from 1 on."))?,
    };
    let mut conn = app.db.acquire().await?;
    let (count, entries) = store::list(&mut conn, PAGE, (page - 1) * PAGE).await?;
    let results = entries.iter().map(IntakeEntryView::new).collect();
    Ok(answer(StatusCode::OK, &IntakePage { count, results }))
}

fn answer<T: serde::Serialize>(status: StatusCode, view: &T) -> Response {
    let headers = [(header::CACHE_CONTROL, "no-store")];
    (status, headers, Json(view)).into_response()
}

/// Answers with the intake after a change, which is committed.
async fn shown(app: &App, status: StatusCode, id: IntakeId) -> Result<Response> {
    let view = IntakeView::read(&mut *app.db.acquire().await?, id).await?;
    Ok(answer(status, &view))
}

/// Creates a batch without photographs.
#[utoipa::path(operation_id = "create_intake", post, path = "/api/admin/intakes", tag = "intakes", security(("bearer" = [])),
    params(("Idempotency-Key" = Option<IdempotencyKey>, Header, nullable = false, description = "A text of your choice for this batch")),
    request_body = IntakeChoice,
    responses((status = 201, body = IntakeView), ChangeFailures,
        (status = 422, body = ErrorBody, description = "The key was used for another batch")))]
async fn create(
    State(app): State<App>,
    admin: CatalogAdmin,
    headers: HeaderMap,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response> {
    let asked = serde_json::to_vec(&body).map_err(anyhow::Error::from)?;
    let key = Key::read(&headers, "intake", &Owner::actor(&admin.actor), &asked)?;
    let choice = IntakeChoice::parse(body);
    let mut tx = app.db.begin().await?;
    if let Some((status, before)) = earlier_answer(&mut tx, key.as_ref()).await? {
        return Ok(answer(status, &before));
    }
    let intake = service::create(&mut tx, &admin.actor, choice).await?;
    let view = IntakeView::read(&mut tx, intake.id).await?;
    keep_answer(&mut tx, key.as_ref(), StatusCode::CREATED, &view).await?;
    tx.commit().await?;
    Ok(answer(StatusCode::CREATED, &view))
}

/// Returns a batch with everything in it.
#[utoipa::path(operation_id = "get_intake", get, path = "/api/admin/intakes/{id}", tag = "intakes", security(("bearer" = [])),
    params(("id" = IntakeId, Path)),
    responses((status = 200, body = IntakeView), AdminReadFailures))]
async fn detail(
    State(app): State<App>,
    _: CatalogAdmin,
    Path(id): Path<String>,
) -> Result<Response> {
    shown(&app, StatusCode::OK, intake_id(&id)?).await
}

/// Discards a batch. Safe to repeat.
#[utoipa::path(operation_id = "discard_intake", delete, path = "/api/admin/intakes/{id}", tag = "intakes", security(("bearer" = [])),
    params(("id" = IntakeId, Path)),
    responses((status = 204), ChangeFailures))]
async fn discard(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let mut tx = app.db.begin().await?;
    service::discard(&mut tx, &admin.actor, intake_id(&id)?).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A form with photographs of a table.
#[derive(ToSchema)]
#[allow(dead_code, reason = "used only by the OpenAPI document")]
struct PhotosForm {
    /// The side that the photographs show: `front`, which is the default, or `back`.
    #[schema(value_type = Option<Side>)]
    side: Option<String>,
    /// A part for each photograph: JPEG, PNG or WebP, up to 30 MB and 50 megapixels.
    #[schema(value_type = Vec<String>, format = Binary, min_items = 1, max_items = 20)]
    image: Vec<String>,
}

/// Adds photographs to a batch. Jobs then find the pieces. A file that cannot be used is listed with the reason.
#[utoipa::path(operation_id = "add_intake_photos", post, path = "/api/admin/intakes/{id}/photos", tag = "intakes", security(("bearer" = [])),
    params(("id" = IntakeId, Path)),
    request_body(content = PhotosForm, content_type = "multipart/form-data"),
    responses((status = 202, body = IntakeView), PhotoFailures))]
async fn add_photos(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response> {
    let id = intake_id(&id)?;
    let sent = Photographs::read(&app, request, &[("image", Side::Front)]).await?;
    let mut fields = sent.fields.iter().rev();
    let side = match fields.find(|(name, _)| name == "side") {
        None => Side::Front,
        Some((_, side)) if side == "front" => Side::Front,
        Some((_, side)) if side == "back" => Side::Back,
        Some(_) => return Err(Error::invalid("side", "Must be front or back.")),
    };
    if sent.surplus > 0 {
        let sentence = format!("Up to {} photographs are allowed.", photos::MOST_PHOTOS);
        return Err(Error::invalid("image", sentence));
    }
    if sent.photos.is_empty() {
        return Err(Error::invalid("image", "Send at least one photograph."));
    }
    let new: Vec<NewPhoto> = sent
        .photos
        .iter()
        .map(|photo| NewPhoto {
            side,
            ..photo.clone()
        })
        .collect();
    let mut tx = app.db.begin().await?;
    photos::add_photos(&mut tx, &admin.actor, id, &new).await?;
    tx.commit().await?;
    sent.done();
    shown(&app, StatusCode::ACCEPTED, id).await
}

/// A change of a photograph.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PhotoChange {
    side: Side,
}

/// Sets the side that a photograph shows. Safe to repeat.
#[utoipa::path(operation_id = "change_intake_photo", patch, path = "/api/admin/intakes/{id}/photos/{photo}", tag = "intakes",
    security(("bearer" = [])), params(("id" = IntakeId, Path), ("photo" = PhotoId, Path)), request_body = PhotoChange,
    responses((status = 200, body = IntakeView), ChangeFailures))]
async fn change_photo(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path((intake, photo)): Path<(String, String)>,
    Json(change): Json<PhotoChange>,
) -> Result<Response> {
    let (intake, photo) = (intake_id(&intake)?, id(&photo, PhotoId, "Photograph")?);
    let mut tx = app.db.begin().await?;
    photos::set_side(&mut tx, &admin.actor, intake, photo, change.side).await?;
    tx.commit().await?;
    shown(&app, StatusCode::OK, intake).await
}

/// Removes a photograph with its pieces.
#[utoipa::path(operation_id = "remove_intake_photo", delete, path = "/api/admin/intakes/{id}/photos/{photo}", tag = "intakes",
    security(("bearer" = [])), params(("id" = IntakeId, Path), ("photo" = PhotoId, Path)),
    responses((status = 200, body = IntakeView), ChangeFailures))]
async fn remove_photo(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path((intake, photo)): Path<(String, String)>,
) -> Result<Response> {
    let (intake, photo) = (intake_id(&intake)?, id(&photo, PhotoId, "Photograph")?);
    let mut tx = app.db.begin().await?;
    photos::remove_photo(&mut tx, &admin.actor, intake, photo).await?;
    tx.commit().await?;
    shown(&app, StatusCode::OK, intake).await
}

/// A piece that the finder missed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DrawnPiece {
    #[schema(value_type = PhotoId)]
    photo: String,
    /// Points in pixels of the photograph, as pairs of x and y. A box around the piece will do.
    #[schema(value_type = Vec<Vec<f32>>, min_items = 3, max_items = 500)]
    outline: Outline,
}

/// Adds a piece that the finder missed. It is looked for around the drawing.
#[utoipa::path(operation_id = "draw_intake_piece", post, path = "/api/admin/intakes/{id}/pieces", tag = "intakes", security(("bearer" = [])),
    params(("id" = IntakeId, Path)), request_body = DrawnPiece,
    responses((status = 201, body = IntakeView), ChangeFailures))]
async fn draw(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(intake): Path<String>,
    Json(drawn): Json<DrawnPiece>,
) -> Result<Response> {
    let intake = intake_id(&intake)?;
    let photo = id(&drawn.photo, PhotoId, "Photograph")?;
    let mut tx = app.db.begin().await?;
    corrections::draw_piece(&mut tx, &admin.actor, intake, photo, drawn.outline).await?;
    tx.commit().await?;
    shown(&app, StatusCode::CREATED, intake).await
}

/// A change of a piece. What is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PieceInput {
    left_out: Option<bool>,
    /// Direction of the head in degrees clockwise; 0 is up.
    #[schema(minimum = -360, maximum = 360)]
    head_degrees: Option<f32>,
    #[schema(value_type = Option<Side>)]
    side: Option<Side>,
    /// Points in pixels of the photograph, as pairs of x and y.
    #[schema(value_type = Option<Vec<Vec<f32>>>, min_items = 3, max_items = 500)]
    outline: Option<Outline>,
}

/// Corrects a piece. Safe to repeat.
#[utoipa::path(operation_id = "change_intake_piece", patch, path = "/api/admin/intakes/{id}/pieces/{piece}", tag = "intakes",
    security(("bearer" = [])), params(("id" = IntakeId, Path), ("piece" = PieceId, Path)), request_body = PieceInput,
    responses((status = 200, body = IntakeView), ChangeFailures))]
async fn change_piece(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path((intake, piece)): Path<(String, String)>,
    Json(input): Json<PieceInput>,
) -> Result<Response> {
    let (intake, piece) = (intake_id(&intake)?, piece_id(&piece)?);
    let change = PieceChange {
        left_out: input.left_out,
        head_degrees: input.head_degrees,
        side: input.side,
        outline: input.outline,
    };
    let mut tx = app.db.begin().await?;
    corrections::change_piece(&mut tx, &admin.actor, intake, piece, change).await?;
    tx.commit().await?;
    shown(&app, StatusCode::OK, intake).await
}

/// A line through a piece, in pixels of the photograph.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CutInput {
    #[schema(value_type = Vec<f32>, min_items = 2, max_items = 2)]
    from: [f32; 2],
    #[schema(value_type = Vec<f32>, min_items = 2, max_items = 2)]
    to: [f32; 2],
}

/// Parts a piece that is two.
#[utoipa::path(operation_id = "cut_intake_piece", post, path = "/api/admin/intakes/{id}/pieces/{piece}/cut", tag = "intakes",
    security(("bearer" = [])), params(("id" = IntakeId, Path), ("piece" = PieceId, Path)), request_body = CutInput,
    responses((status = 201, body = IntakeView), ChangeFailures))]
async fn cut(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path((intake, piece)): Path<(String, String)>,
    Json(CutInput { from, to }): Json<CutInput>,
) -> Result<Response> {
    let (intake, piece) = (intake_id(&intake)?, piece_id(&piece)?);
    let mut tx = app.db.begin().await?;
    corrections::cut_piece(&mut tx, &admin.actor, intake, piece, Cut { from, to }).await?;
    tx.commit().await?;
    shown(&app, StatusCode::CREATED, intake).await
}

/// Pairs of fronts and backs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PairsInput {
    /// The version that the caller last saw. The pairs are refused if the batch has a newer one.
    version: Option<i64>,
    /// Fronts that are not named keep their backs.
    #[schema(max_items = 1200)]
    pairs: Vec<PairInput>,
}

/// A front and its back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PairInput {
    #[schema(value_type = PieceId)]
    front: String,
    /// Null: it has none.
    #[schema(value_type = Option<PieceId>)]
    back: Option<String>,
}

/// Pairs fronts with backs. Jobs leave these pairs alone. Safe to repeat.
#[utoipa::path(operation_id = "pair_intake_pieces", put, path = "/api/admin/intakes/{id}/pairs", tag = "intakes", security(("bearer" = [])),
    params(("id" = IntakeId, Path)), request_body = PairsInput,
    responses((status = 200, body = IntakeView), ChangeFailures))]
async fn pair(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(intake): Path<String>,
    Json(input): Json<PairsInput>,
) -> Result<Response> {
    let intake = intake_id(&intake)?;
    let pairs = input.read()?;
    let mut tx = app.db.begin().await?;
    items::set_pairs(&mut tx, &admin.actor, intake, input.version, &pairs).await?;
    tx.commit().await?;
    shown(&app, StatusCode::OK, intake).await
}

impl PairsInput {
    fn read(&self) -> Result<Vec<PairChoice>> {
        if self.pairs.len() > MOST {
            let sentence = format!("Must have at most {MOST} entries.");
            return Err(Error::invalid("pairs", sentence));
        }
        let mut field_errors = Vec::new();
        let mut pairs = Vec::new();
        for (index, pair) in self.pairs.iter().enumerate() {
            let mut read = |field: &str, text: &str| {
                let id = text.parse().map(PieceId).ok();
                if id.is_none() {
                    let field = format!("pairs[{index}].{field}");
                    field_errors.push(FieldError::new(field, "Must be the id of a piece."));
                }
                id
            };
            let front = read("front", &pair.front);
            let back = pair.back.as_ref().map(|back| read("back", back));
            if let Some(front) = front {
                pairs.push(PairChoice {
                    front,
                    back: back.flatten(),
                });
            }
        }
        match field_errors.is_empty() {
            true => Ok(pairs),
            false => Err(Error::Invalid(field_errors)),
        }
    }
}

/// A change of what a product is made of. What is absent stays.
#[derive(ToSchema)]
#[schema(as = IntakeItemInput)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read by the OpenAPI document alone")]
struct ItemInput {
    /// Up to 255 characters; may be empty until the product is made.
    #[schema(nullable = false, max_length = 255)]
    name: Option<String>,
    /// A category's id or slug, or null.
    category: Option<String>,
    /// In the currency's smallest unit, or null.
    #[schema(minimum = 50, maximum = 99_999_999)]
    price: Option<i64>,
    /// 1 Classic BIC, 2 Mini BIC; of both sides.
    #[schema(nullable = false, minimum = 1, maximum = 2)]
    lighter_type: Option<i16>,
}

/// Changes name, category, price or type of what a front becomes. Safe to repeat.
#[utoipa::path(operation_id = "change_intake_item", patch, path = "/api/admin/intakes/{id}/items/{front}", tag = "intakes",
    security(("bearer" = [])), params(("id" = IntakeId, Path), ("front" = PieceId, Path)), request_body = ItemInput,
    responses((status = 200, body = IntakeView), ChangeFailures))]
async fn change_item(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path((intake, front)): Path<(String, String)>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response> {
    let (intake, front) = (intake_id(&intake)?, piece_id(&front)?);
    let change = ItemChange::parse(body, app.config.shop.currency).whole()?;
    let mut tx = app.db.begin().await?;
    let changed =
        items::change_items(&mut tx, &admin.actor, intake, None, &[(front, change)]).await;
    changed.map_err(of_one_item)?;
    tx.commit().await?;
    shown(&app, StatusCode::OK, intake).await
}

/// Names the fields without the item, where there is only one.
fn of_one_item(error: Error) -> Error {
    match error {
        Error::Invalid(mut field_errors) => {
            for field_error in &mut field_errors {
                if let Some((_, field)) = field_error.field.split_once("].") {
                    field_error.field = field.to_owned();
                }
            }
            Error::Invalid(field_errors)
        }
        other => other,
    }
}

/// The state of new products.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateInput {
    /// Make drafts, which is the default, instead of products for sale.
    #[serde(default = "yes")]
    draft: bool,
}

fn yes() -> bool {
    true
}

/// Creates the products of a batch, all or none. Needs the scope `stock`, too. A second call without the first one's key is
/// refused, because the batch is done.
#[utoipa::path(operation_id = "create_intake_products", post, path = "/api/admin/intakes/{id}/create", tag = "intakes", security(("bearer" = [])),
    params(("id" = IntakeId, Path),
        ("Idempotency-Key" = Option<IdempotencyKey>, Header, nullable = false, description = "A text of your choice for these products")),
    request_body = CreateInput,
    responses((status = 201, body = IntakeView), ChangeFailures,
        (status = 422, body = ErrorBody, description = "The key was used for other products")))]
async fn create_products(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(input): Json<CreateInput>,
) -> Result<Response> {
    admin.token.may(Scope::Stock)?;
    let id = intake_id(&id)?;
    let asked = format!("{id} {}", input.draft);
    let owner = Owner::actor(&admin.actor);
    let key = Key::read(&headers, "intake products", &owner, asked.as_bytes())?;
    let choice = ProductChoice {
        currency: app.config.shop.currency,
        is_draft: input.draft,
    };
    let mut tx = app.db.begin().await?;
    if let Some((status, before)) = earlier_answer(&mut tx, key.as_ref()).await? {
        return Ok(answer(status, &before));
    }
    products::create_products(&mut tx, &admin.actor, id, choice).await?;
    let view = IntakeView::read(&mut tx, id).await?;
    keep_answer(&mut tx, key.as_ref(), StatusCode::CREATED, &view).await?;
    tx.commit().await?;
    Ok(answer(StatusCode::CREATED, &view))
}

/// Deletes the products of a batch that nobody ordered, holds or edited since, and opens the batch again, as long as its
/// photographs are kept. Needs the scope `stock`, too.
#[utoipa::path(operation_id = "take_back_intake", post, path = "/api/admin/intakes/{id}/take-back", tag = "intakes", security(("bearer" = [])),
    params(("id" = IntakeId, Path)),
    responses((status = 200, body = TakenBackView), ChangeFailures))]
async fn take_back(
    State(app): State<App>,
    admin: CatalogAdmin,
    Path(id): Path<String>,
) -> Result<Response> {
    admin.token.may(Scope::Stock)?;
    let id = intake_id(&id)?;
    let mut tx = app.db.begin().await?;
    let taken = products::take_back(&mut tx, &admin.actor, id).await?;
    tx.commit().await?;
    let kept = taken.kept.into_iter();
    let view = TakenBackView {
        removed: taken.removed,
        kept: kept
            .map(|(name, why)| KeptProduct {
                name,
                why: why.to_owned(),
            })
            .collect(),
        intake: IntakeView::read(&mut *app.db.acquire().await?, id).await?,
    };
    Ok(answer(StatusCode::OK, &view))
}
