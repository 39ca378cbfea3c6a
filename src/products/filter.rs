//! Filters and ordering of product lists, read from query parameters.

use super::SyncStatus;
use super::slugs::is_slug;
use crate::error::{Error, FieldError, Result};
use crate::http::Query;
use crate::types::unicode;

/// Filters and ordering of a product list.
#[derive(Debug, Default)]
pub(super) struct ProductFilter {
    /// Include inactive products, for owners. Deleted products are never listed.
    pub with_inactive: bool,
    pub lighter_type: Option<i16>,
    pub lighter_types: Option<Vec<i16>>,
    pub category: Option<CategoryFilter>,
    pub categories: Option<CategoryFilter>,
    pub is_sold_out: Option<bool>,
    pub is_active: Option<bool>,
    /// A draft whose time has not come, or none.
    pub is_draft: Option<bool>,
    pub stripe_status: Option<SyncStatus>,
    /// On sale, with at most this many pieces left of a product that once had more.
    pub running_out: Option<i32>,
    pub search: Option<String>,
    /// Complete `order by` terms, never user input. Empty means the default order.
    pub ordering: Vec<&'static str>,
    /// Invalid parameters. [`ProductFilter::check`] reports them.
    pub field_errors: Vec<FieldError>,
}

/// Categories named by id or slug.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CategoryFilter {
    pub ids: Vec<i64>,
    pub slugs: Vec<String>,
    /// Number of distinct ids and slugs.
    pub count: i64,
}

/// Maximum length of a search in characters; the rest is cut off.
const MAX_SEARCH_CHARS: usize = 200;
const UNKNOWN_CATEGORY: &str =
    "Select a valid choice. That choice is not one of the available choices.";

impl ProductFilter {
    /// Parses the public parameters.
    pub fn read(query: &Query) -> ProductFilter {
        let mut field_errors = Vec::new();
        let given = |name| query.get(name).filter(|value| !value.is_empty());
        let mut filter = ProductFilter {
            is_sold_out: query.get("is_sold_out").and_then(switch),
            is_active: query.get("is_active").and_then(switch),
            ordering: ordering(query.get("ordering").unwrap_or_default()),
            ..ProductFilter::default()
        };
        filter.lighter_type = given("lighter_type").and_then(|value| match value {
            "1" => Some(1),
            "2" => Some(2),
            other => {
                field_errors.push(unknown_choice("lighter_type", other));
                None
            }
        });
        filter.lighter_types = given("lighter_type__in").and_then(|value| {
            let numbers: Option<Vec<f64>> = list(value).map(|item| item.parse().ok()).collect();
            match numbers {
                Some(numbers) if numbers.iter().all(|number| number.is_finite()) => Some(
                    [1i16, 2]
                        .into_iter()
                        .filter(|kind| numbers.contains(&f64::from(*kind)))
                        .collect(),
                ),
                _ => {
                    field_errors.push(FieldError::new("lighter_type__in", "Enter a number."));
                    None
                }
            }
        });
        filter.category = given("category").and_then(|value| {
            let found = categories([value.trim()].into_iter());
            if found.is_none() {
                field_errors.push(FieldError::new("category", UNKNOWN_CATEGORY));
            }
            found
        });
        filter.categories = given("category__in").and_then(|value| {
            let found = categories(list(value));
            if found.is_none() {
                field_errors.push(FieldError::new("category__in", UNKNOWN_CATEGORY));
            }
            found
        });
        filter.search = given("search").and_then(search_text);
        filter.field_errors = field_errors;
        filter
    }

    /// Parses the parameters for owners, which include the public ones.
    pub fn read_admin(query: &Query) -> ProductFilter {
        let mut filter = ProductFilter::read(query);
        let field_errors = &mut filter.field_errors;
        filter.with_inactive = true;
        filter.is_draft = query.get("is_draft").and_then(switch);
        filter.running_out = query
            .get("running_out")
            .filter(|value| !value.is_empty())
            .and_then(|value| {
                let number = value.parse().ok().filter(|n| (0..=1000).contains(n));
                if number.is_none() {
                    field_errors.push(FieldError::new(
                        "running_out",
                        "Enter a number from 0 to 1000.",
                    ));
                }
                number
            });
        match query.get("ordering").unwrap_or_default() {
            "available" => filter.ordering = vec!["p.on_hand - p.reserved", "p.name", "p.id"],
            "-available" => {
                filter.ordering = vec!["p.on_hand - p.reserved desc", "p.name", "p.id"];
            }
            _ => {}
        }
        filter.stripe_status = query
            .get("stripe_status")
            .filter(|value| !value.is_empty())
            .and_then(|value| {
                let status = SyncStatus::parse(value);
                if status.is_none() {
                    field_errors.push(unknown_choice("stripe_status", value));
                }
                status
            });
        filter
    }

    /// Checks that the parameters are valid, and that the database has the named categories: `category` and `categories`
    /// of them.
    ///
    /// # Errors
    /// All invalid parameters.
    pub fn check(&self, category: i64, categories: i64) -> Result<()> {
        let mut field_errors = self.field_errors.clone();
        for (name, named, existing) in [
            ("category", &self.category, category),
            ("category__in", &self.categories, categories),
        ] {
            if named.as_ref().is_some_and(|named| named.count != existing) {
                field_errors.push(FieldError::new(name, UNKNOWN_CATEGORY));
            }
        }
        match field_errors.is_empty() {
            true => Ok(()),
            false => Err(Error::Filters(field_errors)),
        }
    }
}

fn unknown_choice(field: &str, value: &str) -> FieldError {
    let sentence = format!("Select a valid choice. {value} is not one of the available choices.");
    FieldError::new(field, sentence)
}

/// Normalizes a search. A minus is kept only where it can exclude a word: PostgreSQL keeps pending negations on a stack
/// of 32, and fails when that overflows.
pub(super) fn search_text(value: &str) -> Option<String> {
    let mut text = String::new();
    let value = unicode::nfc(value.trim());
    let mut chars = value.chars().take(MAX_SEARCH_CHARS).peekable();
    while let Some(char) = chars.next() {
        let begins = |next: &char| next.is_alphanumeric() || *next == '"';
        text.push(match char {
            '\0' => ' ',
            '-' if !chars.peek().is_some_and(begins) => ' ',
            char => char,
        });
    }
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn switch(value: &str) -> Option<bool> {
    match value {
        "true" | "True" | "1" => Some(true),
        "false" | "False" | "0" => Some(false),
        _ => None,
    }
}

fn list(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Parses ids and slugs and removes duplicates; `None` if one of them is neither.
fn categories<'a>(items: impl Iterator<Item = &'a str>) -> Option<CategoryFilter> {
    let mut found = CategoryFilter::default();
    for item in items {
        match item.parse::<i64>() {
            Ok(id) if !found.ids.contains(&id) => found.ids.push(id),
            Ok(_) => {}
            Err(_) if !is_slug(item) => return None,
            Err(_) if !found.slugs.iter().any(|slug| slug == item) => {
                found.slugs.push(item.to_owned());
            }
            Err(_) => {}
        }
    }
    found.count = (found.ids.len() + found.slugs.len()) as i64;
    Some(found)
}

/// Parses `ordering`: known terms only, without duplicates. The id comes last, in the direction of the last term. So
/// every product is on exactly one page, and an index can be read backwards.
fn ordering(text: &str) -> Vec<&'static str> {
    const TERMS: [(&str, &str, &str); 4] = [
        ("name", "p.name", "p.name desc"),
        ("price", "p.price", "p.price desc"),
        ("created_at", "p.created_at", "p.created_at desc"),
        ("lighter_type", "p.lighter_type", "p.lighter_type desc"),
    ];
    let mut terms = Vec::new();
    let mut seen = Vec::new();
    let mut last_descends = false;
    for item in text.split(',').map(str::trim) {
        let (name, descends) = match item.strip_prefix('-') {
            Some(name) => (name, true),
            None => (item, false),
        };
        let Some((name, up, down)) = TERMS.iter().find(|term| term.0 == name) else {
            continue;
        };
        if !seen.contains(name) {
            seen.push(*name);
            terms.push(if descends { *down } else { *up });
            last_descends = descends;
        }
    }
    if !terms.is_empty() {
        terms.push(if last_descends { "p.id desc" } else { "p.id" });
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query(
            url::form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    #[test]
    fn ordering_drops_what_it_does_not_know_and_ends_in_the_id() {
        assert_eq!(ordering("-price,name"), ["p.price desc", "p.name", "p.id"]);
        assert_eq!(
            ordering("name,-created_at"),
            ["p.name", "p.created_at desc", "p.id desc"]
        );
        assert_eq!(ordering("inventory_count,price,price"), ["p.price", "p.id"]);
        assert!(ordering("").is_empty() && ordering("--price,;drop").is_empty());
    }

    #[test]
    fn bad_filters_are_told_together() {
        let asked = query("lighter_type=3&category=%00&lighter_type__in=1,x&is_sold_out=maybe");
        let filter = ProductFilter::read(&asked);
        let fields: Vec<&str> = filter
            .field_errors
            .iter()
            .map(|field_error| field_error.field.as_str())
            .collect();
        assert_eq!(fields, ["lighter_type", "lighter_type__in", "category"]);
        assert_eq!(filter.is_sold_out, None);

        let asked = query("lighter_type__in=2,9&category__in=1,beads,1&search=%00%20");
        let filter = ProductFilter::read(&asked);
        assert_eq!(filter.lighter_types, Some(vec![2]));
        assert_eq!(filter.categories.map(|c| c.count), Some(2));
        assert_eq!(filter.search, None);
    }
}
