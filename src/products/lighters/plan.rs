//! Comparison of lighters with the catalog, and the change that follows from it.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::PgConnection;

use super::Lighter;
use super::store::{self, KnownProduct};
use crate::audit::Actor;
use crate::error::{Error, FieldError, Result};
use crate::images;
use crate::products::categories::{self, Category, CategoryInput, name_key};
use crate::products::fields::{self, CategoryKey, Parsed};
use crate::products::input::{MAX_IMAGES, NAME_CHARS, ProductInput};
use crate::products::inventory::{self, StockCause, StockReason};
use crate::products::service;
use crate::types::ids::{ImageId, ProductId};
use crate::types::money::{Cents, Currency};

/// Characters that stand for an apostrophe. A category is found without them.
const APOSTROPHES: [char; 5] = ['\'', '’', '‘', 'ʼ', '`'];

/// Settings of the comparison of lighters with the catalog.
#[derive(Clone, Debug)]
pub struct Matching {
    pub currency: Currency,
    /// Categories by the name that files have for them.
    pub categories: Vec<(String, i64)>,
    /// A known product takes the images and the price.
    pub update: bool,
}

/// The change that a lighter needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A product is made.
    Create,
    /// The catalog has it with these images. Its price may be another by now.
    Keep(ProductId),
    /// The catalog has it with other images, and is not to be changed.
    Leave(ProductId),
    /// The catalog has it, and it takes the images and the price.
    Update(ProductId, Replaced),
}

/// The parts of a product that an update replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    pub images: bool,
    /// The former price, if it is another.
    pub former_price: Option<Cents>,
}

/// A lighter compared with the catalog.
#[derive(Clone, Debug)]
pub struct PlannedLighter {
    pub lighter: Lighter,
    /// The category that was found. `None`: one is made with the lighter's name for it.
    pub category: Option<Category>,
    pub step: Step,
}

impl PlannedLighter {
    /// Name of its category, as the catalog has it or will have it.
    pub fn category_name(&self) -> &str {
        match &self.category {
            Some(category) => &category.name,
            None => &self.lighter.category,
        }
    }
}

/// Counts of what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub created: usize,
    pub updated: usize,
    /// The catalog had them.
    pub kept: usize,
    /// The catalog has them with other images.
    pub left: usize,
    pub categories_created: usize,
}

/// Compares lighters with the catalog. Call [`apply`] in the same transaction: another import waits until it ends.
///
/// # Errors
/// A field error for each fault of a lighter, with its index: `products[3].price`.
pub async fn plan(
    conn: &mut PgConnection,
    lighters: Vec<Lighter>,
    matching: &Matching,
) -> Result<Vec<PlannedLighter>> {
    store::wait_for_others(conn).await?;
    let named: Vec<ImageId> = lighters
        .iter()
        .flat_map(|lighter| lighter.images.iter().cloned())
        .collect();
    let known = images::hold(conn, &named).await?;
    let products = store::products(conn).await?;
    let categories = store::categories(conn).await?;
    let mut field_errors = Vec::new();
    let mut planned: Vec<PlannedLighter> = Vec::with_capacity(lighters.len());
    for (index, lighter) in lighters.into_iter().enumerate() {
        let mut fault = |field: &str, why: String| {
            field_errors.push(FieldError::new(format!("products[{index}].{field}"), why));
        };
        let lighter = check(lighter, matching.currency, &mut fault);
        if lighter
            .images
            .iter()
            .any(|image| !known.contains_key(image))
        {
            fault("images", "There is no such image.".to_owned());
        }
        let category = match find_category(&lighter.category, &categories, matching) {
            Ok(category) => category.cloned(),
            Err(why) => {
                fault("category", why);
                None
            }
        };
        if let Some(twin) = planned.iter().find(|other| is_twin(other, &lighter)) {
            fault("images", format!("Are those of “{}”.", twin.lighter.name));
        }
        let step = match step_of(&lighter, category.as_ref(), &products, matching.update) {
            Ok(step) => step,
            Err(why) => {
                fault("name", why);
                Step::Create
            }
        };
        planned.push(PlannedLighter {
            lighter,
            category,
            step,
        });
    }
    match field_errors.is_empty() {
        true => Ok(planned),
        false => Err(Error::Invalid(field_errors)),
    }
}

/// Checks a lighter by the rules of products and categories.
fn check(
    mut lighter: Lighter,
    currency: Currency,
    fault: &mut impl FnMut(&str, String),
) -> Lighter {
    match fields::line(Value::from(lighter.name.as_str()), 1..=NAME_CHARS) {
        Ok(name) => lighter.name = name,
        Err(why) => fault("name", why),
    }
    match fields::line(
        Value::from(lighter.category.as_str()),
        1..=categories::NAME_CHARS,
    ) {
        Ok(category) => lighter.category = category,
        Err(why) => fault("category", why),
    }
    if let Err(why) = fields::price(Value::from(lighter.price.0), currency) {
        fault("price", why);
    }
    if !(1..=2).contains(&lighter.lighter_type) {
        fault("lighter_type", "Must be 1 or 2.".to_owned());
    }
    if !(1..=MAX_IMAGES).contains(&lighter.images.len()) {
        fault("images", format!("Must be 1 to {MAX_IMAGES}."));
    }
    lighter
}

/// Returns true for a lighter with the same images, or with the same name, category and type.
fn is_twin(other: &PlannedLighter, lighter: &Lighter) -> bool {
    let other = &other.lighter;
    let is_same_name = name_key(&other.name) == name_key(&lighter.name)
        && category_key(&other.category) == category_key(&lighter.category)
        && other.lighter_type == lighter.lighter_type;
    is_same_name || other.images == lighter.images
}

/// Normalizes a name for the search of categories: as [`name_key`], and without apostrophes.
fn category_key(name: &str) -> String {
    name_key(&name.replace(APOSTROPHES, ""))
}

/// Finds a category by the given assignments, its name or its slug. `None`: there is none.
fn find_category<'a>(
    name: &str,
    categories: &'a [Category],
    matching: &Matching,
) -> Result<Option<&'a Category>, String> {
    let key = category_key(name);
    let assigned = matching
        .categories
        .iter()
        .find(|(assigned, _)| category_key(assigned) == key);
    if let Some((_, id)) = assigned {
        let found = categories.iter().find(|category| category.id == *id);
        return match found {
            Some(found) => Ok(Some(found)),
            None => Err(format!("There is no category {id}.")),
        };
    }
    let exact = name_key(name);
    if let Some(same) = categories
        .iter()
        .find(|known| name_key(&known.name) == exact)
    {
        return Ok(Some(same));
    }
    let slug = key.replace(' ', "-");
    let is_like = |known: &&Category| category_key(&known.name) == key || known.slug == slug;
    let like: Vec<&Category> = categories.iter().filter(is_like).collect();
    match like[..] {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        [one, two, ..] => Err(format!("May be “{}” or “{}”.", one.name, two.name)),
    }
}

/// Finds a lighter in the catalog: by its images, else by name, category and type.
fn step_of(
    lighter: &Lighter,
    category: Option<&Category>,
    products: &[KnownProduct],
    update: bool,
) -> Result<Step, String> {
    let key = name_key(&lighter.name);
    let is_named = |known: &&KnownProduct| {
        known.lighter_type == lighter.lighter_type
            && known.category_id.is_some()
            && known.category_id == category.map(|category| category.id)
            && name_key(&known.name) == key
    };
    let has_images = |known: &&KnownProduct| known.images == lighter.images;
    let named: Vec<&KnownProduct> = products.iter().filter(is_named).collect();
    // One that was renamed since is known by its images.
    let same = named.iter().copied().find(|known| has_images(known));
    let known = match same.or_else(|| products.iter().find(has_images)) {
        Some(known) => known,
        None => match named[..] {
            [] => return Ok(Step::Create),
            [only] => only,
            // Pieces that were sold often have the same name.
            [first, ..] if !update => first,
            _ => {
                return Err("Is the name of several products of this category and type.".to_owned());
            }
        },
    };
    let replaced = Replaced {
        images: known.images != lighter.images,
        former_price: Some(known.price).filter(|price| *price != lighter.price),
    };
    Ok(match (update, replaced.images) {
        (true, _) if replaced.images || replaced.former_price.is_some() => {
            Step::Update(known.id.clone(), replaced)
        }
        (false, true) => Step::Leave(known.id.clone()),
        _ => Step::Keep(known.id.clone()),
    })
}

/// Makes and changes the products, with a piece of each new one in stock, and queues their syncs.
///
/// # Errors
/// As creating and changing products; nothing of it may be committed then.
pub async fn apply(
    conn: &mut PgConnection,
    actor: &Actor,
    planned: &[PlannedLighter],
    currency: Currency,
    is_draft: bool,
) -> Result<Summary> {
    let mut summary = Summary::default();
    // In id order, as everywhere, before anything else is locked.
    let mut updates: Vec<(&ProductId, &Lighter, Replaced)> = planned
        .iter()
        .filter_map(|one| match &one.step {
            Step::Update(id, replaced) => Some((id, &one.lighter, *replaced)),
            _ => None,
        })
        .collect();
    updates.sort_by_key(|(id, ..)| *id);
    for (id, lighter, replaced) in updates {
        let input = ProductInput {
            images: replaced.images.then(|| lighter.images.clone()),
            price: replaced.former_price.map(|_| lighter.price),
            ..ProductInput::default()
        };
        service::change(conn, actor, &id.0, None, Parsed::from(input)).await?;
        summary.updated += 1;
    }
    let mut made = BTreeMap::new();
    for one in planned {
        match &one.step {
            Step::Create => {
                let category = category_of(conn, actor, one, &mut made).await?;
                create(conn, actor, &one.lighter, category, (currency, is_draft)).await?;
                summary.created += 1;
            }
            Step::Keep(_) => summary.kept += 1,
            Step::Leave(_) => summary.left += 1,
            Step::Update(..) => {}
        }
    }
    summary.categories_created = made.len();
    Ok(summary)
}

/// The category of a new product. It is made for the first one of several.
async fn category_of(
    conn: &mut PgConnection,
    actor: &Actor,
    one: &PlannedLighter,
    made: &mut BTreeMap<String, i64>,
) -> Result<i64> {
    if let Some(category) = &one.category {
        return Ok(category.id);
    }
    let key = category_key(&one.lighter.category);
    if let Some(id) = made.get(&key) {
        return Ok(*id);
    }
    let input = CategoryInput {
        name: Some(one.lighter.category.clone()),
        ..CategoryInput::default()
    };
    let category = categories::create(conn, actor, Parsed::from(input)).await?;
    made.insert(key, category.id);
    Ok(category.id)
}

async fn create(
    conn: &mut PgConnection,
    actor: &Actor,
    lighter: &Lighter,
    category: i64,
    (currency, is_draft): (Currency, bool),
) -> Result<()> {
    let input = ProductInput {
        name: Some(lighter.name.clone()),
        lighter_type: Some(lighter.lighter_type),
        price: Some(lighter.price),
        currency: Some(currency.code().to_owned()),
        category: Some(Some(CategoryKey::Id(category))),
        images: Some(lighter.images.clone()),
        is_active: Some(true),
        is_draft: Some(is_draft),
        is_whole: true,
        ..ProductInput::default()
    };
    let product = service::create(conn, actor, Parsed::from(input)).await?;
    let cause = StockCause::new(StockReason::Made, &actor.name);
    inventory::adjust(conn, &product.id, 1, cause).await?;
    Ok(())
}
