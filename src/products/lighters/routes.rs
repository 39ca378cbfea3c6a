//! Route of products from photographs. It needs a token.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Lighter, Matching, PlannedLighter, Step, apply, group, plan, read_name};
use crate::app::App;
use crate::auth::Scope;
use crate::error::{Error, FieldError, Result};
use crate::http::Json;
use crate::products::extract::{CatalogAdmin, WriteFailures};
use crate::types::ids::{ImageId, ProductId};
use crate::types::money::{Cents, Currency};

/// Maximum number of products or files in one request.
const MOST: usize = 500;

/// Builds the router. The path has no trailing slash.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(make))
}

/// Products to be made of photographs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LightersInput {
    /// Uploaded images with the names of their files, which tell the products, as `Blue-Jay_Earths-Hue_47.5-1.png`.
    #[serde(default)]
    #[schema(max_items = 500)]
    files: Vec<LighterFile>,
    /// Products as such.
    #[serde(default)]
    #[schema(max_items = 500)]
    products: Vec<LighterInput>,
    /// Type of files in no folder named `classic` or `mini`: 1 Classic BIC, 2 Mini BIC.
    #[schema(minimum = 1, maximum = 2)]
    lighter_type: Option<i16>,
    /// Replace images and prices of products that the catalog has.
    #[serde(default)]
    update: bool,
    /// Make drafts.
    #[serde(default)]
    draft: bool,
    /// Change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// An uploaded image with the name of its file.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LighterFile {
    /// Name of the file, with its folders if they tell the lighter type.
    #[schema(min_length = 1, max_length = 1000)]
    name: String,
    #[schema(value_type = ImageId)]
    image: String,
}

/// A product to be made of photographs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LighterInput {
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    /// Name of its category, which is made if there is none.
    #[schema(min_length = 1, max_length = 100)]
    category: String,
    /// 1 Classic BIC, 2 Mini BIC.
    #[schema(minimum = 1, maximum = 2)]
    lighter_type: i16,
    /// In the currency's smallest unit.
    #[schema(minimum = 50, maximum = 99_999_999)]
    price: i64,
    /// Ids of uploaded images, in order.
    #[schema(value_type = Vec<ImageId>, min_items = 1, max_items = 10)]
    images: Vec<String>,
}

/// The products and the changes that were made, or would be made.
#[derive(Debug, Serialize, ToSchema)]
struct LightersView {
    products: Vec<LighterView>,
    created: usize,
    updated: usize,
    /// Products that the catalog had.
    kept: usize,
    /// Products that the catalog has with other images.
    left: usize,
    categories_created: usize,
    /// Nothing was changed.
    dry_run: bool,
}

/// A product and its change.
#[derive(Debug, Serialize, ToSchema)]
struct LighterView {
    name: String,
    category: String,
    is_new_category: bool,
    lighter_type: i16,
    price: i64,
    images: Vec<ImageId>,
    outcome: LighterOutcome,
    /// The product that the catalog has.
    product_id: Option<ProductId>,
}

/// The change that a product needs.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum LighterOutcome {
    /// A product is made, with one piece in stock.
    Create,
    /// The catalog has it with these images.
    Keep,
    /// The catalog has it with other images, which stay.
    Leave,
    /// It takes the images and the price.
    Update,
}

impl LighterView {
    fn new(one: &PlannedLighter) -> LighterView {
        let (outcome, product_id) = match &one.step {
            Step::Create => (LighterOutcome::Create, None),
            Step::Keep(id) => (LighterOutcome::Keep, Some(id)),
            Step::Leave(id) => (LighterOutcome::Leave, Some(id)),
            Step::Update(id, _) => (LighterOutcome::Update, Some(id)),
        };
        LighterView {
            name: one.lighter.name.clone(),
            category: one.category_name().to_owned(),
            is_new_category: one.category.is_none(),
            lighter_type: one.lighter.lighter_type,
            price: one.lighter.price.0,
            images: one.lighter.images.clone(),
            outcome,
            product_id: product_id.cloned(),
        }
    }
}

/// Makes products of uploaded photographs, all or none, with one piece of each in stock. A product is known by its images, or
/// by name, category and type. Needs the scope `stock`, too, unless it is a dry run. Safe to repeat.
#[utoipa::path(operation_id = "make_lighters", post, path = "/api/admin/lighters", tag = "products", security(("bearer" = [])),
    request_body = LightersInput,
    responses((status = 200, body = LightersView), WriteFailures))]
async fn make(
    State(app): State<App>,
    admin: CatalogAdmin,
    Json(input): Json<LightersInput>,
) -> Result<Response> {
    if !input.dry_run {
        admin.token.may(Scope::Stock)?;
    }
    let currency = app.config.shop.currency;
    let lighters = input.lighters(currency)?;
    let matching = Matching {
        currency,
        categories: Vec::new(),
        update: input.update,
    };
    let mut tx = app.db.begin().await?;
    let planned = plan(&mut tx, lighters, &matching).await?;
    let summary = apply(&mut tx, &admin.actor, &planned, currency, input.draft).await?;
    match input.dry_run {
        true => tx.rollback().await?,
        false => tx.commit().await?,
    }
    let view = LightersView {
        products: planned.iter().map(LighterView::new).collect(),
        created: summary.created,
        updated: summary.updated,
        kept: summary.kept,
        left: summary.left,
        categories_created: summary.categories_created,
        dry_run: input.dry_run,
    };
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((headers, Json(view)).into_response())
}

impl LightersInput {
    /// The products given as such, then those that the names of the files tell.
    fn lighters(&self, currency: Currency) -> Result<Vec<Lighter>> {
        let mut field_errors = Vec::new();
        let mut fault = |field: String, why: &str| field_errors.push(FieldError::new(field, why));
        for (field, count) in [
            ("files", self.files.len()),
            ("products", self.products.len()),
        ] {
            if count > MOST {
                fault(field.to_owned(), "Must have at most 500 entries.");
            }
        }
        if self.files.is_empty() && self.products.is_empty() {
            fault("files".to_owned(), "Send files or products.");
        }
        if !matches!(self.lighter_type, None | Some(1 | 2)) {
            fault("lighter_type".to_owned(), "Must be 1 or 2.");
        }
        let mut lighters = Vec::new();
        for (index, given) in self.products.iter().take(MOST).enumerate() {
            let images: Option<Vec<ImageId>> =
                given.images.iter().map(|id| ImageId::parse(id)).collect();
            if images.is_none() {
                let why = "Must be ids of uploaded images.";
                fault(format!("products[{index}].images"), why);
            }
            lighters.push(Lighter {
                name: given.name.clone(),
                category: given.category.clone(),
                lighter_type: given.lighter_type,
                price: Cents(given.price),
                images: images.unwrap_or_default(),
            });
        }
        let mut named = Vec::new();
        for (index, file) in self.files.iter().take(MOST).enumerate() {
            if ImageId::parse(&file.image).is_none() {
                let why = "Must be the id of an uploaded image.";
                fault(format!("files[{index}].image"), why);
            }
            match read_name(&file.name, self.lighter_type, currency) {
                Ok(read) => named.push(read),
                Err(why) => fault(format!("files[{index}].name"), &format!("The file {why}.")),
            }
        }
        let place = |file: &str| self.files.iter().position(|known| known.name == file);
        for group in group(named) {
            for found in &group.faults {
                let index = place(&found.file).unwrap_or_default();
                fault(
                    format!("files[{index}].name"),
                    &format!("The file {}.", found.why),
                );
            }
            let images = group
                .files
                .iter()
                .filter_map(|file| ImageId::parse(&self.files[place(&file.file)?].image));
            if let Some(first) = group.files.first() {
                lighters.push(Lighter {
                    name: first.name.clone(),
                    category: first.category.clone(),
                    lighter_type: first.lighter_type,
                    price: first.price,
                    images: images.collect(),
                });
            }
        }
        match field_errors.is_empty() {
            true => Ok(lighters),
            false => Err(Error::Invalid(field_errors)),
        }
    }
}
