//! Pages of the catalog's lists, with links to the neighboring pages.

use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{Code, Error, Result};
use crate::http::Query;

/// Default page size of products.
pub(super) const PAGE_SIZE: i64 = 24;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct CatalogPage<T> {
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
    ) -> Result<CatalogPage<T>> {
        let last = (count + self.size - 1).div_euclid(self.size).max(1);
        let number = match self.number {
            Number::At(number) if number <= last => number,
            Number::Last => last,
            _ => {
                return Err(Error::refused(
                    Code::InvalidPage,
                    "Invalid page.".to_owned(),
                ));
            }
        };
        let (next, previous) = links(address, query, number, last);
        Ok(CatalogPage {
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
}
