//! Categories and products.

use std::collections::{HashMap, HashSet};

use super::Input;
use crate::django::findings::{Findings, add};
use crate::django::hashes::RowKind;
use crate::django::old::{OldCategory, OldProduct};
use crate::django::target::{NewCategory, NewProduct};
use crate::images::{self, CARD_WIDTH};
use crate::products;
use crate::stripe;
use crate::types::ids::ImageId;

/// Range of prices, in cents.
const PRICES: std::ops::RangeInclusive<i64> = 1..=99_999_999;

/// A price below may have been typed in dollars.
const LOW_PRICE: i64 = 100;

/// Images of a product.
const MOST_IMAGES: usize = 10;

/// Weight of a product without a valid one, in hundredths of an ounce.
const USUAL_WEIGHT: i64 = 200;

/// Largest weight that fits, in hundredths of an ounce.
const MOST_WEIGHT: i64 = 9_999_999;

pub(super) fn categories(input: &Input<'_>, findings: &mut Findings) -> Vec<NewCategory> {
    let known = input.known;
    let old: HashSet<i64> = input
        .shop
        .categories
        .iter()
        .map(|category| category.id)
        .collect();
    // The import leaves these as they are, so their names and slugs are taken.
    let staying = known.categories.values().filter(|ours| {
        let id = ours.id.to_string();
        !old.contains(&ours.id)
            || (known.row(RowKind::Category, &id).is_some()
                && !known.is_copy(RowKind::Category, &id))
    });
    let (mut keys, mut slugs) = (HashMap::new(), HashMap::new());
    for ours in staying {
        let id = ours.id.to_string();
        slugs.insert(ours.slug.clone(), id.clone());
        keys.extend(ours.name_key.clone().map(|key| (key, id)));
    }
    let old = input.shop.categories.iter();
    old.map(|old| category(old, &mut keys, &mut slugs, findings))
        .collect()
}

fn category(
    old: &OldCategory,
    keys: &mut HashMap<String, String>,
    slugs: &mut HashMap<String, String>,
    findings: &mut Findings,
) -> NewCategory {
    let id = old.id.to_string();
    let row = format!("category {}", old.id);
    let mut name = old.name.clone();
    if name.trim().is_empty() {
        name = format!("Category {}", old.id);
        add(
            &mut findings.mended,
            &row,
            "it has no name: its number is its name",
        );
    }
    let key = products::categories::name_key(&name);
    let owner = keys.entry(key.clone()).or_insert_with(|| id.clone());
    let name_key = (*owner == id).then_some(key);
    if name_key.is_none() {
        let text = "another category has the same name but for capitals and accents";
        add(&mut findings.noted, &row, text);
    }
    let slug = free_slug(&old.slug, &id, slugs, || {
        let text = "it has no slug, or that of another category: its number is added";
        add(&mut findings.mended, &row, text);
    });
    NewCategory {
        id: old.id,
        name,
        name_key,
        slug,
        description: old.description.clone(),
        created_at: old.created_at,
        updated_at: old.updated_at,
    }
}

/// A slug that no other row has. Rows of ours that stay may have it, and in copies without constraints an earlier one.
fn free_slug(
    slug: &str,
    id: &str,
    owners: &mut HashMap<String, String>,
    mended: impl FnOnce(),
) -> String {
    let is_free = owners.get(slug).is_none_or(|owner| owner == id);
    let slug = if is_free && !slug.is_empty() {
        slug.to_owned()
    } else {
        mended();
        let slug = format!("{slug}-{id}");
        slug.trim_start_matches('-').to_owned()
    };
    owners.insert(slug.clone(), id.to_owned());
    slug
}

/// Maps the products, the oldest first, so that an id of Stripe stays with the older of two.
pub(super) fn products(
    input: &Input<'_>,
    categories: &[NewCategory],
    findings: &mut Findings,
) -> Vec<NewProduct> {
    let mut taken = Taken {
        categories: categories.iter().map(|category| category.id).collect(),
        // What the new shop made or changed keeps its slug.
        slugs: input
            .known
            .slugs
            .iter()
            .filter(|(_, id)| !input.known.is_copy(RowKind::Product, id))
            .map(|(slug, id)| (slug.clone(), id.clone()))
            .collect(),
        stripe_products: HashSet::new(),
        stripe_prices: HashSet::new(),
    };
    let old = input.shop.products.iter();
    old.map(|old| product(input, old, &mut taken, findings))
        .collect()
}

/// Values that no two products share.
struct Taken {
    categories: HashSet<i64>,
    /// Ids of products by their slugs.
    slugs: HashMap<String, String>,
    stripe_products: HashSet<String>,
    stripe_prices: HashSet<String>,
}

fn product(
    input: &Input<'_>,
    old: &OldProduct,
    taken: &mut Taken,
    findings: &mut Findings,
) -> NewProduct {
    let row = format!("product {}", old.id);
    let mut mend = |text: String| add(&mut findings.mended, &row, text);
    let price = old.price.clamp(*PRICES.start(), *PRICES.end());
    if price != old.price {
        mend(format!(
            "its price {} is none: {price}, and archived",
            old.price
        ));
    }
    let name = match old.name.trim() {
        "" => {
            mend("it has no name: its id is its name".to_owned());
            old.id.clone()
        }
        _ => old.name.clone(),
    };
    let slug = free_slug(&old.slug, &old.id, &mut taken.slugs, || {
        mend("it has no slug, or that of another product: its id is added".to_owned());
    });
    let category_id = old.category_id.filter(|id| taken.categories.contains(id));
    if category_id != old.category_id {
        mend("its category is not there: none".to_owned());
    }
    let stripe_product_id = stripe_id(&old.stripe_product_id, &mut taken.stripe_products, || {
        mend("its product id at Stripe is none, or that of an older product: none".to_owned());
    });
    let stripe_price_id = stripe_id(&old.stripe_price_id, &mut taken.stripe_prices, || {
        mend("its price id at Stripe is none, or that of an older product: none".to_owned());
    });
    let stock = old.inventory_count.max(0);
    if old.inventory_count < 0 {
        mend(format!("its stock {} is below 0: 0", old.inventory_count));
    }
    let lighter_type = lighter_type(&old.lighter_type).unwrap_or_else(|| {
        mend("its lighter type is neither 1 nor 2: 1".to_owned());
        1
    });
    let currency = currency(&old.currency).unwrap_or_else(|| {
        mend("its currency is none: usd".to_owned());
        "usd".to_owned()
    });
    let weight_ounces = weight(old.weight, mend);
    let images = images_of(input, old, &row, findings);
    if PRICES.contains(&old.price) && old.price < LOW_PRICE {
        let text = format!("its price is {} cents: dollars as cents?", old.price);
        add(&mut findings.noted, &row, text);
    }
    if currency != input.currency {
        let text = format!(
            "its price is in {}: it cannot be sold until it has one in {}",
            currency.to_uppercase(),
            input.currency.to_uppercase()
        );
        add(&mut findings.noted, &row, text);
    }
    let address = |place: usize| images.get(place).map(|id| images::url(id, CARD_WIDTH));
    NewProduct {
        id: old.id.clone(),
        name,
        slug,
        lighter_type,
        price,
        currency,
        category_id,
        description: old.description.clone(),
        primary_image: address(0),
        secondary_image: address(1),
        images,
        weight_ounces,
        is_sold_out: old.is_sold_out,
        is_active: old.is_active && PRICES.contains(&old.price),
        stripe_product_id,
        stripe_price_id,
        created_at: old.created_at,
        updated_at: old.updated_at,
        stock,
    }
}

fn images_of(
    input: &Input<'_>,
    old: &OldProduct,
    row: &str,
    findings: &mut Findings,
) -> Vec<ImageId> {
    let names = old.images.iter().map(String::as_str);
    let (mut images, missing) = input.images.of(row, names);
    findings.images.extend(missing);
    if images.len() > MOST_IMAGES {
        let text = format!(
            "it has {} images, and the first {MOST_IMAGES} came in",
            images.len()
        );
        add(&mut findings.left_out, row, text);
        images.truncate(MOST_IMAGES);
    }
    images
}

/// An id at Stripe that the API can carry and no older product has.
fn stripe_id(
    old: &Option<String>,
    taken: &mut HashSet<String>,
    mended: impl FnOnce(),
) -> Option<String> {
    let id = old.as_ref()?;
    if stripe::is_id(id) && taken.insert(id.clone()) {
        return Some(id.clone());
    }
    mended();
    None
}

fn lighter_type(text: &str) -> Option<i16> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "1.0" | "classic" => Some(1),
        "2" | "2.0" | "mini" => Some(2),
        _ => None,
    }
}

/// A currency's code in lower case.
pub(super) fn currency(text: &str) -> Option<String> {
    let code = text.trim().to_ascii_lowercase();
    let is_code = code.len() == 3 && code.bytes().all(|b| b.is_ascii_lowercase());
    is_code.then_some(code)
}

/// A weight in ounces as a decimal number.
fn weight(hundredths: Option<i64>, mut mend: impl FnMut(String)) -> String {
    let valid = hundredths.filter(|weight| (0..=MOST_WEIGHT).contains(weight));
    let weight = valid.unwrap_or_else(|| {
        mend("its weight is none: 2.00 ounces".to_owned());
        USUAL_WEIGHT
    });
    format!("{}.{:02}", weight / 100, weight % 100)
}
