//! The list of products.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::context::AdminContext;
use super::form::Form;
use crate::app::App;
use crate::error::{Error, Result};
use crate::http::Query;
use crate::images;
use crate::products::categories::{self, CountedCategory};
use crate::products::{
    self, BulkAction, Product, ProductQuery, ProductSort, ProductTab, SyncStatus,
};
use crate::settings;

const PAGE: i64 = 30;

#[derive(Template)]
#[template(path = "products.html", config = "src/admin/askama.toml")]
struct ProductsPage<'a> {
    context: &'a AdminContext,
    wanted: ProductQuery,
    kinds: Vec<(ProductTab, &'static str, String)>,
    sorts: Vec<(&'static str, &'static str, bool)>,
    categories: Vec<CountedCategory>,
    products: Vec<Product>,
    total: i64,
    newer: Option<String>,
    older: Option<String>,
    /// Set if a filter other than the tab is active.
    narrowed: bool,
}

/// The path of a product's page.
pub fn path_to(product: &Product) -> String {
    let id: String = url::form_urlencoded::byte_serialize(product.id.0.as_bytes()).collect();
    format!("/admin/products/{}", id.replace('+', "%20"))
}

/// URL value and label of a tab.
fn words(kind: ProductTab) -> (&'static str, &'static str) {
    match kind {
        ProductTab::OnSale => ("on-sale", "On sale"),
        ProductTab::Draft => ("drafts", "Drafts"),
        ProductTab::Archived => ("archived", "Archived"),
        ProductTab::SoldOut => ("sold-out", "Sold out"),
        ProductTab::RunningOut => ("running-out", "Running out"),
        ProductTab::Failed => ("stripe", "Stripe trouble"),
        ProductTab::All => ("all", "All"),
    }
}

fn sort_words(sort: ProductSort) -> (&'static str, &'static str) {
    match sort {
        ProductSort::Name => ("name", "Name"),
        ProductSort::Newest => ("newest", "Newest first"),
        ProductSort::Cheapest => ("cheapest", "Lowest price first"),
        ProductSort::Dearest => ("dearest", "Highest price first"),
        ProductSort::Stock => ("stock", "Fewest left first"),
    }
}

/// Label and badge color of a product's sync status.
pub fn stripe(product: &Product) -> (&'static str, &'static str) {
    match product.stripe_status {
        SyncStatus::Synced => ("At Stripe", "good"),
        SyncStatus::Error => ("Stripe: failed", "bad"),
        SyncStatus::Pending => ("Stripe: waiting", "due"),
    }
}

/// Image for a list: a small rendition if this shop hosts the image.
pub(super) fn image(product: &Product) -> Option<String> {
    match product.images.first() {
        Some(image) => Some(images::url(&image.id, 320)),
        None => product.primary_image.clone(),
    }
}

/// `GET /admin/products`
pub async fn list(State(app): State<App>, context: AdminContext, query: Query) -> Result<Response> {
    let given = |name: &str| query.get(name).unwrap_or_default();
    let kind = ProductTab::ALL
        .into_iter()
        .find(|kind| words(*kind).0 == given("show"));
    let sort = ProductSort::ALL
        .into_iter()
        .find(|sort| sort_words(*sort).0 == given("sort"));
    let mut conn = app.db.acquire().await?;
    let wanted = ProductQuery {
        kind: kind.unwrap_or(ProductTab::OnSale),
        sort,
        search: super::query_text(&query, "search"),
        category: given("category").parse().ok(),
        lighter_type: given("size").parse().ok().filter(|n| [1, 2].contains(n)),
        low_stock: settings::current(&mut conn, &app.config).await?.low_stock,
        page: super::page_number(&query),
        page_size: PAGE,
    };
    let (total, products) = products::browse(&mut conn, &wanted).await?;
    let link = |kind: ProductTab, page: i64| {
        let number = |n: Option<i64>| n.map(|n| n.to_string()).unwrap_or_default();
        let pairs = [
            ("show", words(kind).0.to_owned()),
            ("search", wanted.search.clone()),
            ("category", number(wanted.category)),
            ("size", number(wanted.lighter_type.map(i64::from))),
            (
                "sort",
                sort.map_or_else(String::new, |s| sort_words(s).0.to_owned()),
            ),
            ("page", number(Some(page).filter(|page| *page > 1))),
        ];
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()))
            .finish();
        format!("/admin/products?{query}")
    };
    let page = ProductsPage {
        context: &context,
        kinds: ProductTab::ALL
            .map(|kind| (kind, words(kind).1, link(kind, 1)))
            .into(),
        sorts: ProductSort::ALL
            .map(|one| (sort_words(one).0, sort_words(one).1, sort == Some(one)))
            .into(),
        categories: categories::list(&mut conn).await?,
        products,
        total,
        newer: (wanted.page > 1).then(|| link(wanted.kind, wanted.page - 1)),
        older: (wanted.page * PAGE < total).then(|| link(wanted.kind, wanted.page + 1)),
        narrowed: !wanted.search.is_empty()
            || wanted.category.is_some()
            || wanted.lighter_type.is_some(),
        wanted,
    };
    context.show(&page)
}

/// `POST /admin/products`: archives, restores or syncs all selected products, or none of them.
pub async fn change_many(
    State(app): State<App>,
    context: AdminContext,
    form: Form,
) -> Result<Response> {
    let back = form.get("back");
    let back = if back == "/admin/products" || back.starts_with("/admin/products?") {
        back.as_str()
    } else {
        "/admin/products"
    };
    let ids = form.all("id");
    if ids.is_empty() {
        return Ok(context.go_on(back, "Nothing was checked, so nothing was done."));
    }
    let what =
        BulkAction::parse(&form.get("do")).ok_or_else(|| Error::invalid("do", "is not known"))?;
    let mut tx = app.db.begin().await?;
    let changed = products::change_many(&mut tx, &context.actor()?, what, &ids).await?;
    tx.commit().await?;
    let pieces = match changed.len() {
        1 => "1 product is".to_owned(),
        n => format!("{n} products are"),
    };
    let said = match what {
        BulkAction::Archive => format!("{pieces} archived."),
        BulkAction::Restore => format!("{pieces} on sale again."),
        BulkAction::Sync => format!("{pieces} being sent to Stripe again."),
    };
    Ok(context.go_on(back, &said))
}
