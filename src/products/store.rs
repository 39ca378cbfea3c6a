//! SQL of products. The SQL of stock and of the sync to Stripe is in separate files.

use std::collections::BTreeMap;

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder, Row};

use super::Product;
use super::fields::CategoryKey;
use super::listing::{Categories, Filter, PageRequest};
use super::views::{ListedProduct, MovementView, lighter_type_display};
use crate::error::Result;
use crate::types::ids::{ImageId, ProductId};
use crate::types::money::Currency;

/// Selects a product's images, in order, in the same round trip as the product.
macro_rules! images_column {
    () => {
        "(select coalesce(json_agg(json_build_object('id', i.id, 'width', i.width, 'height', i.height,
                                                     'thumbhash', i.thumbhash)
                                   order by pp.position), '[]')
          from product_images pp
          join images i on i.id = pp.image_id
          where pp.product_id = p.id) as images"
    };
}

/// Columns of a [`Product`].
macro_rules! product_columns {
    () => {
        concat!("p.id, p.name, p.slug, p.lighter_type, p.price, p.currency, p.category_id,
         c.name as category_name, p.description, p.primary_image, p.secondary_image,
         p.is_sold_out, p.is_active, p.on_hand, p.reserved, p.weight_ounces::text as weight_ounces,
         p.version, p.stripe_product_id, p.stripe_price_id, p.stripe_status, p.stripe_error,
         p.created_at, p.updated_at, ", images_column!())
    };
}
pub(super) use {images_column, product_columns};

/// Columns of a [`ListedProduct`].
macro_rules! listed_columns {
    () => {
        concat!(
            "p.id, p.name, p.slug, p.lighter_type, p.price, p.category_id, c.name as category_name,
         p.is_sold_out, p.on_hand, p.reserved, p.primary_image, p.secondary_image, p.currency, ",
            images_column!()
        )
    };
}

/// One page of rows, the total number on all pages, and how many of the requested categories exist.
pub struct Found<T> {
    pub total: i64,
    pub rows: Vec<T>,
    pub category: i64,
    pub categories: i64,
}

/// Returns a page of products with the columns of the public list.
pub async fn list(
    conn: &mut PgConnection,
    filter: &Filter,
    page: PageRequest,
) -> Result<Found<ListedProduct>> {
    list_columns(conn, listed_columns!(), filter, page).await
}

/// Returns a page of products with all columns.
pub async fn list_whole(
    conn: &mut PgConnection,
    filter: &Filter,
    page: PageRequest,
) -> Result<Found<Product>> {
    list_columns(conn, product_columns!(), filter, page).await
}

/// Counts and fetches in one round trip, or in two if there are no rows to fetch. The statement consists of constant
/// fragments; all values are bound.
async fn list_columns<T: for<'r> FromRow<'r, PgRow>>(
    conn: &mut PgConnection,
    columns: &'static str,
    filter: &Filter,
    page: PageRequest,
) -> Result<Found<T>> {
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
        let join = " left join categories c on c.id = p.category_id";
        push_matching(&mut sql, filter, join);
        let order = match filter.ordering.as_slice() {
            [] => "p.name, p.id".to_owned(),
            terms => terms.join(", "),
        };
        sql.push(" order by ").push(order);
        push_page(&mut sql, filter, page);
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
    Ok(Found {
        total: counted.try_get("total")?,
        category: counted.try_get("found_category")?,
        categories: counted.try_get("found_categories")?,
        rows: found,
    })
}

/// Appends `limit … offset …` of the page. The offset of the last page depends on the total.
fn push_page(sql: &mut QueryBuilder<Postgres>, filter: &Filter, page: PageRequest) {
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
fn push_total(sql: &mut QueryBuilder<Postgres>, filter: &Filter) {
    sql.push("(select count(*)");
    match filter.search {
        Some(_) => {
            sql.push(" from hits");
        }
        None => push_matching(sql, filter, ""),
    }
    sql.push(")");
}

/// Begins the `select` with its counts: products on all pages, and requested categories.
fn begin(filter: &Filter) -> QueryBuilder<Postgres> {
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

/// Returns the rows that a left join found; `key` is null where it found none.
pub(super) fn present<T: for<'r> FromRow<'r, PgRow>>(rows: &[PgRow], key: &str) -> Result<Vec<T>> {
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        if row.try_get::<Option<i64>, _>(key)?.is_some() {
            found.push(T::from_row(row)?);
        }
    }
    Ok(found)
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
fn push_hits(sql: &mut QueryBuilder<Postgres>, search: &str, filter: &Filter) {
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
fn visible(filter: &Filter) -> &'static str {
    if filter.with_inactive {
        "p.deleted_at is null"
    } else {
        "p.is_active"
    }
}

/// Appends `from … where …` of the filter, with an optional join.
fn push_matching(sql: &mut QueryBuilder<Postgres>, filter: &Filter, join: &'static str) {
    if filter.search.is_some() {
        // Hits have passed the filter already.
        sql.push(" from hits h join products p on p.id = h.id")
            .push(join);
        return;
    }
    sql.push(" from products p").push(join).push(" where ");
    push_conditions(sql, filter);
}

/// Appends all conditions of the filter except the search.
fn push_conditions(sql: &mut QueryBuilder<Postgres>, filter: &Filter) {
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
    if let Some(line) = filter.running_out {
        sql.push(" and p.is_active and not p.is_sold_out and p.on_hand - p.reserved <= ")
            .push_bind(line)
            .push(" and p.peak_on_hand > ")
            .push_bind(line);
    }
    if let Some(status) = filter.stripe_status {
        sql.push(" and p.stripe_status = ").push_bind(status);
    }
}

fn push_categories(sql: &mut QueryBuilder<Postgres>, categories: &Categories) {
    sql.push("(c.id = any(")
        .push_bind(categories.ids.clone())
        .push(") or c.slug = any(")
        .push_bind(categories.slugs.clone())
        .push("))");
}

/// Finds a product by id, or else by slug. Inactive products are found only with `with_inactive`, for owners.
pub async fn find(
    conn: &mut PgConnection,
    key: &str,
    with_inactive: bool,
) -> Result<Option<Product>> {
    let product = sqlx::query_as(concat!(
        "select ",
        product_columns!(),
        "
         from products p
         left join categories c on c.id = p.category_id
         where (p.id = $1 or p.slug = $1)
           and p.deleted_at is null
           and (p.is_active or $2)
         order by p.id = $1 desc
         limit 1"
    ))
    .bind(key)
    .bind(with_inactive)
    .fetch_optional(conn)
    .await?;
    Ok(product)
}

/// Returns the products of `ids` that are for sale, by name.
pub async fn batch(conn: &mut PgConnection, ids: &[ProductId]) -> Result<Vec<ListedProduct>> {
    let rows = sqlx::query_as(concat!(
        "select ",
        listed_columns!(),
        "
         from products p
         left join categories c on c.id = p.category_id
         where p.id = any($1)
           and p.is_active
         order by p.name, p.id"
    ))
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Locks a product until the transaction ends. Deleted products are not found.
pub async fn lock(conn: &mut PgConnection, id: &str) -> Result<Option<Product>> {
    let product = sqlx::query_as(concat!(
        "select ",
        product_columns!(),
        "
         from products p
         left join categories c on c.id = p.category_id
         where p.id = $1
           and p.deleted_at is null
         for update of p"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(product)
}

/// Inserts a product without stock. Returns false if its id or its slug is in use.
pub async fn insert(conn: &mut PgConnection, product: &Product) -> Result<bool> {
    let done = sqlx::query(
        "insert into products (id, name, slug, lighter_type, price, currency, category_id, description,
                primary_image, secondary_image, is_sold_out, is_active, weight_ounces)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::text::numeric)
         on conflict do nothing",
    )
    .bind(&product.id)
    .bind(&product.name)
    .bind(&product.slug)
    .bind(product.lighter_type)
    .bind(product.price)
    .bind(&product.currency)
    .bind(product.category_id)
    .bind(&product.description)
    .bind(&product.primary_image)
    .bind(&product.secondary_image)
    .bind(product.is_sold_out)
    .bind(product.is_active)
    .bind(&product.weight_ounces)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Updates a locked product's fields and increments its version. `for_stripe` schedules a sync.
pub async fn update(
    conn: &mut PgConnection,
    product: &Product,
    for_stripe: bool,
) -> sqlx::Result<()> {
    sqlx::query(
        "update products
         set name = $2, slug = $3, lighter_type = $4, price = $5, currency = $6, category_id = $7,
             description = $8, primary_image = $9, secondary_image = $10, is_sold_out = $11,
             is_active = $12, weight_ounces = $13::text::numeric,
             version = version + 1,
             price_version = price_version + case when (price, currency) = ($5, $6) then 0 else 1 end,
             stripe_status = case when $14 then 'pending' else stripe_status end,
             stripe_error = case when $14 then null else stripe_error end,
             updated_at = now()
         where id = $1",
    )
    .bind(&product.id)
    .bind(&product.name)
    .bind(&product.slug)
    .bind(product.lighter_type)
    .bind(product.price)
    .bind(&product.currency)
    .bind(product.category_id)
    .bind(&product.description)
    .bind(&product.primary_image)
    .bind(&product.secondary_image)
    .bind(product.is_sold_out)
    .bind(product.is_active)
    .bind(&product.weight_ounces)
    .bind(for_stripe)
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces the images of a locked product, in this order.
pub async fn set_images(conn: &mut PgConnection, id: &ProductId, images: &[ImageId]) -> Result<()> {
    sqlx::query("delete from product_images where product_id = $1")
        .bind(id)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "insert into product_images (product_id, position, image_id)
         select $1, named.place - 1, named.id
         from unnest($2::text[]) with ordinality as named (id, place)",
    )
    .bind(id)
    .bind(images)
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks a locked product as deleted. The row stays for orders and the ledger.
pub async fn set_deleted(conn: &mut PgConnection, id: &ProductId) -> Result<()> {
    sqlx::query(
        "update products
         set deleted_at = now(), is_active = false, version = version + 1, updated_at = now(),
             stripe_status = 'pending', stripe_error = null
         where id = $1",
    )
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns the deleted products among `ids`: id, name and former slug.
pub async fn list_deleted(
    conn: &mut PgConnection,
    ids: &[&ProductId],
) -> Result<Vec<(ProductId, String, String)>> {
    let deleted = sqlx::query_as(
        "select id, name, slug
         from products
         where id = any($1)
           and deleted_at is not null
         order by id",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(deleted)
}

/// Restores a deleted, locked product with this slug. It stays off sale.
pub async fn set_undeleted(
    conn: &mut PgConnection,
    id: &ProductId,
    slug: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "update products
         set deleted_at = null, slug = $2, version = version + 1, updated_at = now(),
             stripe_status = 'pending', stripe_error = null
         where id = $1",
    )
    .bind(id)
    .bind(slug)
    .execute(conn)
    .await?;
    Ok(())
}

/// Reports whether a product, deleted or not, has this id.
pub async fn is_id_taken(conn: &mut PgConnection, id: &ProductId) -> Result<bool> {
    let taken = sqlx::query_scalar("select exists (select from products where id = $1)")
        .bind(id)
        .fetch_one(conn)
        .await?;
    Ok(taken)
}

/// Returns the slugs in use that begin with `stem`.
pub async fn slugs_like(conn: &mut PgConnection, stem: &str) -> Result<Vec<String>> {
    let slugs = sqlx::query_scalar(
        "select slug
         from products
         where slug like $1 || '%'
           and deleted_at is null",
    )
    .bind(stem)
    .fetch_all(conn)
    .await?;
    Ok(slugs)
}

/// Finds a category's id and locks the category against deletion until the transaction ends.
pub async fn category_id(conn: &mut PgConnection, key: &CategoryKey) -> Result<Option<i64>> {
    let (id, slug) = match key {
        CategoryKey::Id(id) => (Some(*id), None),
        CategoryKey::Slug(slug) => (None, Some(slug)),
    };
    let found = sqlx::query_scalar(
        "select id
         from categories
         where id = $1
            or slug = $2
         for key share",
    )
    .bind(id)
    .bind(slug)
    .fetch_optional(conn)
    .await?;
    Ok(found)
}

/// Returns a page of a product's ledger, newest first, and its total length. `None` if there is no such product.
pub async fn movements(
    conn: &mut PgConnection,
    id: &str,
    page: PageRequest,
) -> Result<Option<(i64, Vec<MovementView>)>> {
    let rows = sqlx::query(
        "select found.total, m.*
         from (
             select (select count(*) from stock_movements where product_id = p.id) as total
             from products p
             where p.id = $1
               and p.deleted_at is null
         ) as found
         left join lateral (
             select id, delta, reason, order_id, note, actor, created_at
             from stock_movements
             where product_id = $1
             order by id desc
             limit $2
             offset coalesce($3, (found.total - 1) / $2 * $2)
         ) as m on true
         order by m.id desc",
    )
    .bind(id)
    .bind(page.size)
    .bind(page.offset())
    .fetch_all(conn)
    .await?;
    match rows.first() {
        None => Ok(None),
        Some(first) => Ok(Some((first.try_get("total")?, present(&rows, "id")?))),
    }
}

/// Reports whether the catalog has neither products nor categories.
pub async fn is_empty(conn: &mut PgConnection) -> Result<bool> {
    let empty = sqlx::query_scalar(
        "select not exists (select from products) and not exists (select from categories)",
    )
    .fetch_one(conn)
    .await?;
    Ok(empty)
}

/// Returns the collection and the size of each product, such as `Infinite Path · Classic BIC`.
pub async fn details(
    conn: &mut PgConnection,
    ids: &[&ProductId],
) -> Result<BTreeMap<ProductId, String>> {
    let rows: Vec<(ProductId, i16, Option<String>)> = sqlx::query_as(
        "select p.id, p.lighter_type, c.name
         from products p
         left join categories c on c.id = p.category_id
         where p.id = any($1)",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    let detail = |(id, lighter_type, collection): (ProductId, i16, Option<String>)| {
        let collection = collection.as_deref().unwrap_or("Uncategorized");
        let size = lighter_type_display(lighter_type);
        (id, format!("{collection} · {size}"))
    };
    Ok(rows.into_iter().map(detail).collect())
}

/// A product whose counts do not match the ledger or the holds of pending orders (P5).
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Discrepancy {
    pub product_id: ProductId,
    pub on_hand: i32,
    pub ledger_sum: i64,
    pub reserved: i32,
    /// Sum of the holds of pending orders.
    pub held: i64,
}

/// Returns products whose counts do not match; none if the stock is consistent.
pub async fn check_ledger(conn: &mut PgConnection) -> Result<Vec<Discrepancy>> {
    let found = sqlx::query_as(
        "select p.id as product_id, p.on_hand, coalesce(m.sum, 0) as ledger_sum, p.reserved,
                coalesce(h.sum, 0) as held
         from products p
         left join (
             select product_id, sum(delta) as sum
             from stock_movements
             group by product_id
         ) as m on m.product_id = p.id
         left join (
             select l.product_id, sum(l.quantity) as sum
             from order_lines l
             join orders o on o.id = l.order_id
             where o.status = 'pending'
             group by l.product_id
         ) as h on h.product_id = p.id
         where p.on_hand <> coalesce(m.sum, 0)
            or p.reserved <> coalesce(h.sum, 0)
         order by p.id",
    )
    .fetch_all(conn)
    .await?;
    Ok(found)
}

/// Describes products that are priced in another currency, one text per currency.
pub async fn foreign_prices(conn: &mut PgConnection, currency: Currency) -> Result<Vec<String>> {
    let found: Vec<(String, i64)> = sqlx::query_as(
        "select currency, count(*)
         from products
         where currency <> $1
           and deleted_at is null
         group by currency
         order by currency",
    )
    .bind(currency.code())
    .fetch_all(conn)
    .await?;
    let words = |(code, count)| match count {
        1 => format!("1 product in {code}"),
        _ => format!("{count} products in {code}"),
    };
    Ok(found.into_iter().map(words).collect())
}
