//! One search over orders, products, custom orders and customers.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::context::AdminContext;
use super::customers::{self, Customer};
use crate::app::App;
use crate::custom_orders::{self, CustomOrder, CustomOrderFilter};
use crate::error::Result;
use crate::http::Query;
use crate::orders::{self, ListedOrder, OrderTab};
use crate::products::{self, Product, ProductQuery, ProductTab};

/// Results shown of each kind.
const SHOWN: i64 = 8;

#[derive(Default)]
struct Found {
    orders: Vec<ListedOrder>,
    custom_orders: Vec<CustomOrder>,
    products: Vec<Product>,
    customers: Vec<Customer>,
}

impl Found {
    /// As many as are shown: there may be more.
    fn is_full<T>(list: &[T]) -> bool {
        list.len() as i64 == SHOWN
    }

    fn is_empty(&self) -> bool {
        self.orders.is_empty()
            && self.custom_orders.is_empty()
            && self.products.is_empty()
            && self.customers.is_empty()
    }
}

#[derive(Template)]
#[template(path = "search.html", config = "src/admin/askama.toml")]
struct SearchPage<'a> {
    context: &'a AdminContext,
    search: String,
    found: Found,
}

/// `GET /admin/search`
pub async fn show(State(app): State<App>, context: AdminContext, query: Query) -> Result<Response> {
    let search = super::query_text(&query, "search");
    let found = match search.is_empty() {
        true => Found::default(),
        false => find(&app, &search).await?,
    };
    context.show(&SearchPage {
        context: &context,
        search,
        found,
    })
}

async fn find(app: &App, search: &str) -> Result<Found> {
    let mut conn = app.db.acquire().await?;
    let custom_orders = CustomOrderFilter {
        search: Some(search.to_owned()),
        limit: SHOWN,
        ..CustomOrderFilter::default()
    };
    let products = ProductQuery {
        kind: ProductTab::All,
        sort: None,
        search: search.to_owned(),
        category: None,
        lighter_type: None,
        low_stock: 0,
        page: 1,
        page_size: SHOWN,
    };
    let limit = usize::try_from(SHOWN).expect("a small number");
    Ok(Found {
        orders: orders::browse(&mut conn, OrderTab::All, Some(search), SHOWN, 0).await?,
        custom_orders: custom_orders::list(&mut conn, &custom_orders).await?.0,
        products: products::browse(&mut conn, &products).await?.1,
        customers: customers::search(&mut conn, search, limit).await?,
    })
}
