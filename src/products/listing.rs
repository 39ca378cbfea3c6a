//! Lists of products: for shoppers, for the owner's programs, and for the admin's page.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder, Row};
use tokio::time::timeout;

use super::filter::{CategoryFilter, ProductFilter, search_text};
use super::paging::PageRequest;
use super::store::{images_column, listed_columns, on_sale, product_columns};
use super::views::ListedProduct;
use super::{Product, SyncStatus};
use crate::app::App;
use crate::error::{DatabaseFailure, Error, Result};

/// One page of rows, the total number on all pages, and how many of the requested categories exist.
pub(super) struct Listing<T> {
    pub total: i64,
    pub rows: Vec<T>,
    category: i64,
    categories: i64,
}

/// Returns a page of the products for sale.
///
/// # Errors
/// Invalid filters, among them categories that do not exist; [`Error::SearchBusy`] if a search gets no slot in time or
/// takes too long.
pub(super) async fn for_sale(
    app: &App,
    filter: &ProductFilter,
    page: PageRequest,
) -> Result<Listing<ListedProduct>> {
    let listing = if filter.search.is_some() {
        search(app, filter, page).await?
    } else {
        select(
            &mut *app.db.acquire().await?,
            listed_columns!(),
            filter,
            page,
        )
        .await?
    };
    filter.check(listing.category, listing.categories)?;
    Ok(listing)
}

/// Returns a page of products with all columns, on sale or not.
///
/// # Errors
/// Invalid filters, among them categories that do not exist.
pub(super) async fn for_owner(
    conn: &mut PgConnection,
    filter: &ProductFilter,
    page: PageRequest,
) -> Result<Listing<Product>> {
    let listing = select(conn, product_columns!(), filter, page).await?;
    filter.check(listing.category, listing.categories)?;
    Ok(listing)
}

/// Tabs of the admin's product list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductTab {
    OnSale,
    /// Not on sale yet, with or without a time.
    Draft,
    Archived,
    SoldOut,
    /// Few pieces are left of a product that once had more.
    RunningOut,
    /// Stripe refused the product.
    Failed,
    All,
}

impl ProductTab {
    /// All tabs, in the order of the page.
    pub const ALL: [ProductTab; 7] = [
        ProductTab::OnSale,
        ProductTab::Draft,
        ProductTab::RunningOut,
        ProductTab::SoldOut,
        ProductTab::Archived,
        ProductTab::Failed,
        ProductTab::All,
    ];
}

/// Sort orders of the admin's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductSort {
    Name,
    Newest,
    Cheapest,
    Dearest,
    /// Fewest available first.
    Stock,
}

impl ProductSort {
    /// All sort orders, in the order of the page.
    pub const ALL: [ProductSort; 5] = [
        ProductSort::Name,
        ProductSort::Newest,
        ProductSort::Cheapest,
        ProductSort::Dearest,
        ProductSort::Stock,
    ];
}

/// Filters and page of the admin's list.
#[derive(Clone, Debug)]
pub struct ProductQuery {
    pub kind: ProductTab,
    pub sort: Option<ProductSort>,
    pub search: String,
    pub category: Option<i64>,
    pub lighter_type: Option<i16>,
    /// At most this many pieces count as few.
    pub low_stock: i32,
    /// Page number, starting at 1.
    pub page: i64,
    pub page_size: i64,
}

/// Returns a page of products and the total number on all pages.
pub async fn browse(conn: &mut PgConnection, wanted: &ProductQuery) -> Result<(i64, Vec<Product>)> {
    let mut filter = ProductFilter {
        with_inactive: true,
        lighter_type: wanted.lighter_type,
        category: wanted.category.map(|id| CategoryFilter {
            ids: vec![id],
            slugs: Vec::new(),
            count: 1,
        }),
        search: search_text(&wanted.search),
        ordering: match wanted.sort {
            None => Vec::new(),
            Some(ProductSort::Name) => vec!["p.name", "p.id"],
            Some(ProductSort::Newest) => vec!["p.created_at desc", "p.id desc"],
            Some(ProductSort::Cheapest) => vec!["p.price", "p.id"],
            Some(ProductSort::Dearest) => vec!["p.price desc", "p.id desc"],
            Some(ProductSort::Stock) => vec!["p.on_hand - p.reserved", "p.name", "p.id"],
        },
        ..ProductFilter::default()
    };
    match wanted.kind {
        ProductTab::OnSale => (filter.is_active, filter.is_draft) = (Some(true), Some(false)),
        ProductTab::Draft => (filter.is_active, filter.is_draft) = (Some(true), Some(true)),
        ProductTab::Archived => filter.is_active = Some(false),
        ProductTab::SoldOut => {
            (filter.is_active, filter.is_draft) = (Some(true), Some(false));
            filter.is_sold_out = Some(true);
        }
        ProductTab::RunningOut => filter.running_out = Some(wanted.low_stock),
        ProductTab::Failed => filter.stripe_status = Some(SyncStatus::Error),
        ProductTab::All => {}
    }
    let page = PageRequest::at(wanted.page, wanted.page_size);
    let listing = select(conn, product_columns!(), &filter, page).await?;
    Ok((listing.total, listing.rows))
}

/// Begins a transaction in which a search may take one second and finds similar words. The settings are local to the
/// transaction, because a pooler may give the session to another client afterwards.
const BEGIN_SEARCH: &str = "begin; set local statement_timeout = '1s'; \
                            set local pg_trgm.word_similarity_threshold = 0.45";

/// Maximum wait for a search slot.
const SEARCH_PATIENCE: Duration = Duration::from_secs(1);

/// Runs a search, with limits on concurrency and time: searches must not keep other shoppers from buying.
async fn search(
    app: &App,
    filter: &ProductFilter,
    page: PageRequest,
) -> Result<Listing<ListedProduct>> {
    let Ok(Ok(_slot)) = timeout(SEARCH_PATIENCE, app.searches.acquire()).await else {
        return Err(Error::SearchBusy);
    };
    let searching = async {
        let mut tx = app.db.begin_with(BEGIN_SEARCH).await?;
        select(&mut tx, listed_columns!(), filter, page).await
    };
    searching
        .await
        .map_err(|error: Error| match error.database_failure() {
            Some(DatabaseFailure::Busy) => Error::SearchBusy,
            _ => error,
        })
}

/// Counts and fetches in one round trip, or in two if there are no rows to fetch. The statement consists of constant
/// fragments; all values are bound.
async fn select<T: for<'r> FromRow<'r, PgRow>>(
    conn: &mut PgConnection,
    columns: &'static str,
    filter: &ProductFilter,
    page: PageRequest,
) -> Result<Listing<T>> {
    let mut sql = begin(filter);
    sql.push(", ").push(columns);
    if filter.search.is_some() && filter.ordering.is_empty() {
        // Look up only the hits on this page.
        sql.push(" from (select h.id, h.rank from hits h order by h.rank desc, h.name, h.id");
        push_page(&mut sql, filter, page);
        sql.push(") h join products p on p.id = h.id")
            .push(" left join categories c on c.id = p.category_id")
            .push(" order by h.rank desc, p.name, p.id");
    } else {
        let order = match filter.ordering.as_slice() {
            [] => "p.name, p.id".to_owned(),
            terms => terms.join(", "),
        };
        // The page's ids come first: otherwise the images of all rows that `offset` skips would be read, too.
        sql.push(" from (select p.id");
        push_matching(&mut sql, filter);
        sql.push(" order by ").push(&order);
        push_page(&mut sql, filter, page);
        sql.push(") page join products p on p.id = page.id")
            .push(" left join categories c on c.id = p.category_id")
            .push(" order by ")
            .push(order);
    }
    let rows = sql.build().fetch_all(&mut *conn).await?;
    let counted = match rows.first() {
        Some(row) => row,
        None => &begin(filter).build().fetch_one(conn).await?,
    };
    let found = rows
        .iter()
        .map(T::from_row)
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(Listing {
        total: counted.try_get("total")?,
        category: counted.try_get("found_category")?,
        categories: counted.try_get("found_categories")?,
        rows: found,
    })
}

/// Appends `limit … offset …` of the page. The offset of the last page depends on the total.
fn push_page(sql: &mut QueryBuilder<Postgres>, filter: &ProductFilter, page: PageRequest) {
    sql.push(" limit ").push_bind(page.size).push(" offset ");
    match page.offset() {
        Some(offset) => {
            sql.push_bind(offset);
        }
        None => {
            sql.push("(");
            push_total(sql, filter);
            sql.push(" - 1) / ").push_bind(page.size);
            sql.push(" * ").push_bind(page.size);
        }
    }
}

/// Appends the total number on all pages.
fn push_total(sql: &mut QueryBuilder<Postgres>, filter: &ProductFilter) {
    sql.push("(select count(*)");
    match filter.search {
        Some(_) => {
            sql.push(" from hits");
        }
        None => push_matching(sql, filter),
    }
    sql.push(")");
}

/// Begins the `select` with its counts: products on all pages, and requested categories.
fn begin(filter: &ProductFilter) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new("");
    if let Some(search) = &filter.search {
        push_hits(&mut sql, search, filter);
    }
    sql.push("select ");
    push_total(&mut sql, filter);
    sql.push(" as total");
    for (name, categories) in [
        ("found_category", &filter.category),
        ("found_categories", &filter.categories),
    ] {
        match categories {
            Some(categories) => {
                // A category that is named by both id and slug counts twice.
                sql.push(", (select coalesce(sum((c.id = any(")
                    .push_bind(categories.ids.clone())
                    .push("))::integer + (c.slug = any(")
                    .push_bind(categories.slugs.clone())
                    .push("))::integer), 0) from categories c) as ")
                    .push(name);
            }
            None => {
                sql.push(", 0::bigint as ").push(name);
            }
        }
    }
    sql
}

/// Similarity threshold between a search and a match, from 0 to 1. The session setting
/// `pg_trgm.word_similarity_threshold` has the same value for single words.
const ALIKE: f32 = 0.45;

/// Appends `hits`: the products that pass the filter and match the words. Only if no product at all matches the words,
/// products with similarly spelled words match.
///
/// A misspelled word is looked up in the vocabulary. Its score for a product is the similarity of the most similar word
/// of that product, weighted by length. A product needs [`ALIKE`] of the maximum score of all words together. Two words
/// may also match as one that was split: `sun rise`.
///
/// Each `offset 0` keeps the other conditions out of a lookup by words or id. Without it, the planner would read a
/// whole other index if `is_active` were available, because it has no statistics for a table that was just filled.
fn push_hits(sql: &mut QueryBuilder<Postgres>, search: &str, filter: &ProductFilter) {
    sql.push(
        "with words as materialized (
             select p.id, ts_rank(p.search_words, query) as rank
             from websearch_to_tsquery('english', search_fold(",
    )
    .push_bind(search.to_owned())
    .push(
        ")) as query,
                  lateral (select p.* from products p where p.search_words @@ query offset 0) as p
             where ",
    )
    .push(visible(filter))
    .push(
        "), tokens as materialized (
             select token, is_pair,
                    (length(token) + 1)::real
                    / sum(length(token) + 1) filter (where not is_pair) over () as weight
             from ((select token, false as is_pair
                    from unnest(tsvector_to_array(to_tsvector('english', search_fold(",
    )
    .push_bind(search.to_owned())
    .push(
        ")))) as token
                    order by length(token) desc, token
                    limit 8)
                   union all
                   (select token, true
                    from unnest(tsvector_to_array(to_tsvector('english', search_fold(",
    )
    .push_bind(pairs(search))
    .push(
        r")))) as token)) as searched
             where not exists (select from words)
         ), near as materialized (
             select token, weight, alike,
                    ('''' || replace(replace(word, '\', '\\'), '''', '''''') || '''')::tsquery as word
             from tokens,
                  lateral (select word, alike
                           from (select word, word_similarity(token, word) as alike,
                                        max(word_similarity(token, word)) over () as most
                                 from search_vocabulary
                                 where token <% word
                                 group by word) as known
                           where alike > most - 0.15
                             and (not is_pair or alike >= 0.7)
                           order by alike desc, word
                           limit 4) as most_alike
         ), hits as materialized (
             select p.id, p.name, words.rank
             from words,
                  lateral (select p.* from products p where p.id = words.id offset 0) as p
             where ",
    );
    push_conditions(sql, filter);
    sql.push(
        " union all
             select id, name, sum(worth)::real as rank
             from (select p.id, p.name, (max(alike) * weight)::real as worth
                   from near,
                        lateral (select p.* from products p where p.search_words @@ near.word offset 0) as p
                   where ",
    );
    push_conditions(sql, filter);
    sql.push(
        "
                   group by token, weight, p.id, p.name) as worths
             group by id, name
             having sum(worth) >= ",
    )
    .push_bind(ALIKE)
    .push(") ");
}

/// Joins each two adjacent words of the first eight: `a sun rise` gives `asun sunrise`.
fn pairs(search: &str) -> String {
    let words: Vec<&str> = search
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(8)
        .collect();
    let pairs: Vec<String> = words.windows(2).map(<[&str]>::concat).collect();
    pairs.join(" ")
}

/// Returns the visibility condition of the filter.
fn visible(filter: &ProductFilter) -> &'static str {
    if filter.with_inactive {
        "p.deleted_at is null"
    } else {
        on_sale!()
    }
}

/// Appends `from … where …` of the filter.
fn push_matching(sql: &mut QueryBuilder<Postgres>, filter: &ProductFilter) {
    if filter.search.is_some() {
        // Hits have passed the filter already.
        sql.push(" from hits h join products p on p.id = h.id");
        return;
    }
    sql.push(" from products p where ");
    push_conditions(sql, filter);
}

/// Appends all conditions of the filter except the search.
fn push_conditions(sql: &mut QueryBuilder<Postgres>, filter: &ProductFilter) {
    sql.push(visible(filter));
    if let Some(kind) = filter.lighter_type {
        sql.push(" and p.lighter_type = ").push_bind(kind);
    }
    if let Some(kinds) = &filter.lighter_types {
        sql.push(" and p.lighter_type = any(")
            .push_bind(kinds.clone())
            .push(")");
    }
    for categories in [&filter.category, &filter.categories].into_iter().flatten() {
        sql.push(" and p.category_id in (select c.id from categories c where ");
        push_categories(sql, categories);
        sql.push(")");
    }
    if let Some(is_sold_out) = filter.is_sold_out {
        sql.push(" and (p.is_sold_out or p.on_hand <= p.reserved) = ")
            .push_bind(is_sold_out);
    }
    if let Some(is_active) = filter.is_active {
        sql.push(" and p.is_active = ").push_bind(is_active);
    }
    if let Some(is_draft) = filter.is_draft {
        // A draft whose time has come is one no more.
        sql.push(" and (p.is_draft and coalesce(p.on_sale_at > now(), true)) = ")
            .push_bind(is_draft);
    }
    if let Some(line) = filter.running_out {
        sql.push(" and ").push(on_sale!());
        sql.push(" and not p.is_sold_out and p.on_hand - p.reserved <= ")
            .push_bind(line)
            .push(" and p.peak_on_hand > ")
            .push_bind(line);
    }
    if let Some(status) = filter.stripe_status {
        sql.push(" and p.stripe_status = ").push_bind(status);
    }
}

fn push_categories(sql: &mut QueryBuilder<Postgres>, categories: &CategoryFilter) {
    sql.push("(c.id = any(")
        .push_bind(categories.ids.clone())
        .push(") or c.slug = any(")
        .push_bind(categories.slugs.clone())
        .push("))");
}
