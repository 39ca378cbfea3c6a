//! What a response in memory is found by: everything in a request that the response depends on.

use std::borrow::Cow;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderValue, Method, header};

use crate::app::App;
use crate::payments::CHECKOUT_COOKIE;
use crate::products::base_url;
use crate::server::is_over_tls;

/// Longest path and query of a response that is kept, in bytes.
const LONGEST: usize = 4096;

/// Parameters of lists.
const OF_LISTS: [&str; 8] = [
    "page",
    "page_size",
    "lighter_type",
    "lighter_type__in",
    "category",
    "category__in",
    "is_sold_out",
    "ordering",
];

/// Kind of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    List,
    Batch,
    Detail,
    Availability,
    Categories,
    Category,
}

impl Route {
    /// The route's pattern, as in the metrics.
    pub fn pattern(self) -> &'static str {
        match self {
            Route::List => "/api/products",
            Route::Batch => "/api/products/batch",
            Route::Detail => "/api/products/{id}",
            Route::Availability => "/api/products/{id}/check_availability",
            Route::Categories => "/api/categories",
            Route::Category => "/api/categories/{id}",
        }
    }

    /// Finds the route of a path without a trailing slash, and the id or slug in it.
    fn of(path: &str) -> Option<(Route, &str)> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        if !path.bytes().all(is_plain) {
            return None;
        }
        let (kind, rest) = match path.strip_prefix("/api/products") {
            Some(rest) => (Route::List, rest),
            None => (Route::Categories, path.strip_prefix("/api/categories")?),
        };
        if rest.is_empty() {
            return Some((kind, ""));
        }
        let rest = rest.strip_prefix('/')?;
        let (id, after) = rest.split_once('/').unwrap_or((rest, ""));
        let route = match (kind, id, after) {
            (_, "" | "." | "..", _) => return None,
            (Route::List, "batch", "") => Route::Batch,
            (Route::List, _, "") => Route::Detail,
            (Route::List, _, "check_availability") => Route::Availability,
            (_, _, "") => Route::Category,
            _ => return None,
        };
        Some((route, id))
    }

    fn takes(self, parameter: &str) -> bool {
        match self {
            Route::List => OF_LISTS.contains(&parameter),
            Route::Batch => parameter == "ids",
            Route::Categories => parameter.starts_with("page"),
            Route::Detail | Route::Availability | Route::Category => false,
        }
    }
}

/// Key of a response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    route: Route,
    /// Begin of URLs in the response, path, and the query with its parameters sorted by name.
    text: Box<str>,
    /// Position of the id or slug in `text`.
    id: (u32, u32),
    takes_gzip: bool,
    is_over_tls: bool,
    /// Number of the allowed origin that asks.
    origin: Option<usize>,
}

impl Key {
    /// Reads the key of a request; `None` if its response is not kept: other routes, unknown parameters, searches, and
    /// callers who may see more than others.
    pub fn of(app: &App, request: &Request) -> Option<Key> {
        if request.method() != Method::GET {
            return None;
        }
        let uri = request.uri();
        let path = uri.path();
        let path = path.strip_suffix('/').unwrap_or(path);
        let (route, id) = Route::of(path)?;
        let headers = request.headers();
        let has_cookie = |value: &HeaderValue| {
            let value = value.to_str();
            value.is_err() || value.is_ok_and(|value| value.contains(CHECKOUT_COOKIE))
        };
        if headers.contains_key(header::AUTHORIZATION)
            || headers.get_all(header::COOKIE).iter().any(has_cookie)
        {
            return None;
        }
        let query = match uri.query() {
            None | Some("") => Cow::Borrowed(""),
            Some(query) if path.len() + query.len() <= LONGEST => sorted(route, query)?,
            Some(_) => return None,
        };
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|peer| peer.0.ip());
        let mut text = base_url(app, peer, headers);
        let begin = text.len() + path.len() - id.len();
        let id = match route {
            Route::Detail | Route::Availability => {
                let begin = text.len() + "/api/products/".len();
                (begin as u32, (begin + id.len()) as u32)
            }
            _ => (begin as u32, begin as u32),
        };
        text.reserve_exact(path.len() + query.len() + 1);
        text.push_str(path);
        text.push('?');
        text.push_str(&query);
        Some(Key {
            route,
            text: text.into_boxed_str(),
            id,
            takes_gzip: takes_gzip(headers),
            is_over_tls: is_over_tls(&app.config, peer, headers),
            origin: origin(app, headers),
        })
    }

    /// The kind of read.
    pub fn route(&self) -> Route {
        self.route
    }

    /// The id or slug of a product in the path; empty for other routes.
    pub fn product(&self) -> &str {
        &self.text[self.id.0 as usize..self.id.1 as usize]
    }

    /// Bytes in memory, about.
    pub fn size(&self) -> usize {
        self.text.len() + size_of::<Key>()
    }

    /// Makes a request ask for the whole response that this key stands for.
    pub fn plain(&self, headers: &mut HeaderMap) {
        headers.remove(header::IF_NONE_MATCH);
        headers.remove(header::ACCEPT_ENCODING);
        if self.takes_gzip {
            let gzip = HeaderValue::from_static("gzip");
            headers.insert(header::ACCEPT_ENCODING, gzip);
        }
    }
}

/// The query with its parameters sorted by name; `None` if the route does not know one of them. Repeated ones keep their
/// order, as in the links of a page.
fn sorted(route: Route, query: &str) -> Option<Cow<'_, str>> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,".contains(&byte);
    if let Some((name, value)) = query.split_once('=')
        && value.bytes().all(is_plain)
    {
        return route.takes(name).then_some(Cow::Borrowed(query));
    }
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> =
        url::form_urlencoded::parse(query.as_bytes()).collect();
    if !pairs.iter().all(|(name, _)| route.takes(name)) {
        return None;
    }
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    let text = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    Some(Cow::Owned(text.replace("%2C", ",")))
}

/// Reports whether the caller takes gzip, the only compression there is.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(header::ACCEPT_ENCODING).iter();
    let offers = offers.filter_map(|value| value.to_str().ok());
    offers.flat_map(|value| value.split(',')).any(|offer| {
        let (name, quality) = offer.split_once(';').unwrap_or((offer, ""));
        let name = name.trim();
        let is_refused = quality
            .trim()
            .strip_prefix("q=")
            .is_some_and(|quality| quality.trim().parse::<f32>().is_ok_and(|q| q == 0.0));
        (name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip")) && !is_refused
    })
}

fn origin(app: &App, headers: &HeaderMap) -> Option<usize> {
    let origin = headers.get(header::ORIGIN)?;
    let allowed = &app.config.server.cors_allowed_origins;
    allowed
        .iter()
        .position(|allowed| allowed.as_bytes() == origin.as_bytes())
}

#[cfg(test)]
impl Key {
    /// The key of a plain request.
    pub fn for_test(path: &str) -> Key {
        let (route, id) = Route::of(path).expect("a route");
        let begin = match route {
            Route::Detail | Route::Availability => path.find(id).expect("in the path"),
            _ => 0,
        };
        let end = match route {
            Route::Detail | Route::Availability => begin + id.len(),
            _ => 0,
        };
        Key {
            route,
            text: path.into(),
            id: (begin as u32, end as u32),
            takes_gzip: false,
            is_over_tls: false,
            origin: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reads_of_the_catalog_have_a_route() {
        for (path, found) in [
            ("/api/products", Some((Route::List, ""))),
            ("/api/products/batch", Some((Route::Batch, "batch"))),
            ("/api/products/a-1_B.c", Some((Route::Detail, "a-1_B.c"))),
            (
                "/api/products/7/check_availability",
                Some((Route::Availability, "7")),
            ),
            ("/api/categories", Some((Route::Categories, ""))),
            ("/api/categories/3", Some((Route::Category, "3"))),
            ("/api/products/a%20b", None),
            ("/api/products/..", None),
            ("/api/products//", None),
            ("/api/products/7/images", None),
            ("/api/productsx", None),
            ("/api/orders", None),
        ] {
            assert_eq!(Route::of(path), found, "{path}");
        }
    }

    #[test]
    fn a_query_is_known_however_it_is_written() {
        let of = |query: &'static str| sorted(Route::List, query).map(Cow::into_owned);
        let same = Some("category__in=1,2&page=3".to_owned());
        assert_eq!(of("page=3&category__in=1%2C2"), same);
        assert_eq!(of("category__in=1,2&page=3"), same);
        assert_eq!(of("page=1&page=2"), Some("page=1&page=2".to_owned()));
        assert_eq!(of("search=x"), None);
        assert_eq!(of("page=3&_=1"), None);
        assert_eq!(sorted(Route::Detail, "page=1"), None);
    }

    #[test]
    fn gzip_is_taken_unless_it_is_refused() {
        let takes = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            takes_gzip(&headers)
        };
        assert!(takes("gzip") && takes("br, GZIP;q=0.5") && takes("deflate,gzip, br"));
        assert!(
            !takes("br") && !takes("gzip;q=0") && !takes("identity, gzip; q=0.0") && !takes("")
        );
    }
}
