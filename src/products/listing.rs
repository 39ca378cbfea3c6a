//! Query parameters of product lists (filters, ordering, page) and links to the neighboring pages.

use serde::Serialize;
use utoipa::ToSchema;

use super::SyncStatus;
use super::slugs::is_slug;
use crate::error::{Error, FieldError, Result};
use crate::http::Query;
use crate::types::unicode;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// Total number on all pages.
    pub count: i64,
    /// URL of the next page, if there is one.
    pub next: Option<String>,
    pub previous: Option<String>,
    pub results: Vec<T>,
}

/// The requested page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    number: Number,
    pub size: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    At(i64),
    Last,
    /// Not a page number. Reported only after the filters have been validated, as in the previous service.
    Invalid,
}

impl PageRequest {
    /// Reads `page` and `page_size` (1 to 100; anything else means the default).
    pub fn read(query: &Query, default_size: i64) -> PageRequest {
        let size = query
            .get("page_size")
            .and_then(|text| text.trim().parse().ok())
            .filter(|size| (1..=100).contains(size))
            .unwrap_or(default_size);
        let number = match query.get("page").unwrap_or_default() {
            "" => Number::At(1),
            "last" => Number::Last,
            text => match text.trim().parse::<i64>() {
                Ok(number) if number >= 1 && (number - 1).checked_mul(size).is_some() => {
                    Number::At(number)
                }
                _ => Number::Invalid,
            },
        };
        PageRequest { number, size }
    }

    /// Returns the request for a page number, starting at 1.
    pub(super) fn at(number: i64, size: i64) -> PageRequest {
        PageRequest {
            number: Number::At(number),
            size,
        }
    }

    /// Returns the number of rows to skip; `None` for the last page, which depends on the total.
    pub fn offset(self) -> Option<i64> {
        match self.number {
            Number::At(number) => Some((number - 1) * self.size),
            Number::Last => None,
            Number::Invalid => Some(0),
        }
    }

    /// Returns the page with its links. `address` is the URL of the list without a query.
    ///
    /// # Errors
    /// 404 if there is no such page. The first page always exists.
    pub fn of<T>(
        self,
        count: i64,
        results: Vec<T>,
        address: &str,
        query: &Query,
    ) -> Result<Page<T>> {
        let last = (count + self.size - 1).div_euclid(self.size).max(1);
        let number = match self.number {
            Number::At(number) if number <= last => number,
            Number::Last => last,
            _ => {
                return Err(Error::Refused(
                    axum::http::StatusCode::NOT_FOUND,
                    "invalid_page",
                    "Invalid page.".to_owned(),
                ));
            }
        };
        let (next, previous) = links(address, query, number, last);
        Ok(Page {
            count,
            next,
            previous,
            results,
        })
    }
}

/// Returns the URLs of the next and the previous page. All parameters are kept and sorted by name; `page` is replaced,
/// and omitted for the first page.
pub fn links(
    address: &str,
    query: &Query,
    number: i64,
    last: i64,
) -> (Option<String>, Option<String>) {
    let link = |number: i64| {
        let page = number.to_string();
        let mut pairs: Vec<(&str, &str)> = query
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| *name != "page")
            .collect();
        if number > 1 {
            pairs.push(("page", &page));
        }
        // A stable sort keeps the order of repeated parameters.
        pairs.sort_by_key(|(name, _)| *name);
        if pairs.is_empty() {
            return address.to_owned();
        }
        let encoded = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        format!("{address}?{encoded}")
    };
    (
        (number < last).then(|| link(number + 1)),
        (number > 1).then(|| link(number - 1)),
    )
}

/// Filters and ordering of a product list.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Include inactive products, for owners. Deleted products are never listed.
    pub with_inactive: bool,
    pub lighter_type: Option<i16>,
    pub lighter_types: Option<Vec<i16>>,
    pub category: Option<Categories>,
    pub categories: Option<Categories>,
    pub is_sold_out: Option<bool>,
    pub is_active: Option<bool>,
    pub stripe_status: Option<SyncStatus>,
    /// On sale, with at most this many pieces left of a product that once had more.
    pub running_out: Option<i32>,
    pub search: Option<String>,
    /// Complete `order by` terms, never user input. Empty means the default order.
    pub ordering: Vec<&'static str>,
}

/// Categories named by id or slug.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Categories {
    pub ids: Vec<i64>,
    pub slugs: Vec<String>,
    /// Number of distinct ids and slugs.
    pub count: i64,
}

/// Maximum length of a search in characters; the rest is cut off.
const MAX_SEARCH_CHARS: usize = 200;
const UNKNOWN_CATEGORY: &str =
    "Select a valid choice. That choice is not one of the available choices.";

impl Filter {
    /// Parses the public parameters and reports invalid ones. [`Filter::judge`] checks later that the categories exist.
    pub fn read(query: &Query, field_errors: &mut Vec<FieldError>) -> Filter {
        let given = |name| query.get(name).filter(|value| !value.is_empty());
        let mut filter = Filter {
            is_sold_out: query.get("is_sold_out").and_then(switch),
            is_active: query.get("is_active").and_then(switch),
            ordering: ordering(query.get("ordering").unwrap_or_default()),
            ..Filter::default()
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
        filter.search = given("search").and_then(search);
        filter
    }

    /// Parses the parameters for owners, which include the public ones.
    pub fn read_admin(query: &Query, field_errors: &mut Vec<FieldError>) -> Filter {
        let mut filter = Filter::read(query, field_errors);
        filter.with_inactive = true;
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

    /// Reports categories that do not exist.
    pub fn judge(&self, category: i64, categories: i64, field_errors: &mut Vec<FieldError>) {
        if self.category.as_ref().is_some_and(|c| c.count != category) {
            field_errors.push(FieldError::new("category", UNKNOWN_CATEGORY));
        }
        if self
            .categories
            .as_ref()
            .is_some_and(|c| c.count != categories)
        {
            field_errors.push(FieldError::new("category__in", UNKNOWN_CATEGORY));
        }
    }
}

fn unknown_choice(field: &str, value: &str) -> FieldError {
    let sentence = format!("Select a valid choice. {value} is not one of the available choices.");
    FieldError::new(field, sentence)
}

/// Normalizes a search. A minus is kept only where it can exclude a word: PostgreSQL keeps pending negations on a stack
/// of 32, and fails when that overflows.
pub(super) fn search(value: &str) -> Option<String> {
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
fn categories<'a>(items: impl Iterator<Item = &'a str>) -> Option<Categories> {
    let mut found = Categories::default();
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
    fn links_keep_all_parameters_sorted_by_name() {
        let asked = query("page=2&x=b&category__in=1,2&x=a&empty");
        assert_eq!(
            links("http://h/api/products/", &asked, 2, 3),
            (
                Some("http://h/api/products/?category__in=1%2C2&empty=&page=3&x=b&x=a".to_owned()),
                Some("http://h/api/products/?category__in=1%2C2&empty=&x=b&x=a".to_owned()),
            )
        );
        assert_eq!(
            links("/", &query("page=2"), 2, 2),
            (None, Some("/".to_owned()))
        );
        assert_eq!(
            links("/", &query(""), 1, 2),
            (Some("/?page=2".to_owned()), None)
        );
        assert_eq!(links("/", &query(""), 1, 1), (None, None));
    }

    #[test]
    fn a_page_that_is_not_there_is_not_found() {
        let answer = |text: &str, count| {
            let asked = query(text);
            let request = PageRequest::read(&asked, 24);
            request.of(count, Vec::<()>::new(), "/", &asked).is_ok()
        };
        for good in ["", "page=", "page=1", "page=20", "page=last"] {
            assert!(answer(good, 475), "{good}");
        }
        for bad in [
            "page=0",
            "page=-1",
            "page=21",
            "page=abc",
            "page=1.5",
            "page=9223372036854775807",
        ] {
            assert!(!answer(bad, 475), "{bad}");
        }
        assert!(answer("", 0) && answer("page=last", 0) && !answer("page=2", 0));
        assert!(answer("page=95&page_size=5", 475) && !answer("page=96&page_size=5", 475));
        assert!(answer("page=20&page_size=0", 475) && answer("page=20&page_size=101", 475));
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
        let mut field_errors = Vec::new();
        let asked = query("lighter_type=3&category=%00&lighter_type__in=1,x&is_sold_out=maybe");
        let filter = Filter::read(&asked, &mut field_errors);
        let fields: Vec<&str> = field_errors
            .iter()
            .map(|field_error| field_error.field.as_str())
            .collect();
        assert_eq!(fields, ["lighter_type", "lighter_type__in", "category"]);
        assert_eq!(filter.is_sold_out, None);

        let asked = query("lighter_type__in=2,9&category__in=1,beads,1&search=%00%20");
        let filter = Filter::read(&asked, &mut Vec::new());
        assert_eq!(filter.lighter_types, Some(vec![2]));
        assert_eq!(filter.categories.map(|c| c.count), Some(2));
        assert_eq!(filter.search, None);
    }
}
