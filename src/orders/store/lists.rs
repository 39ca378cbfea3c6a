//! SQL of lists of orders.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{columns, refunded_in_full, to_pack};
use crate::db;
use crate::error::Result;
use crate::orders::{Line, ListedOrder, Order, Status};
use crate::types::ids::{OrderId, ProductId};
use crate::types::money::Cents;

/// Filter and page of a list of orders. `None` does not filter.
#[derive(Default)]
pub struct OrderFilter {
    pub status: Option<Status>,
    /// A part of a name, an email address, a product's name, a city and state, or a tracking number; or an order's number
    /// or id.
    pub search: Option<String>,
    /// Start (included) and end (excluded) of the payment time.
    pub paid_from: Option<DateTime<Utc>>,
    pub paid_until: Option<DateTime<Utc>>,
    /// Orders with, or without, open review items.
    pub to_review: Option<bool>,
    /// Orders that wait to be packed, or do not.
    pub to_pack: Option<bool>,
    pub limit: i64,
    pub offset: i64,
}

/// An order with its pieces and shipment, for a row of the export.
#[derive(Debug, sqlx::FromRow)]
pub struct ExportedOrder {
    #[sqlx(flatten)]
    pub order: Order,
    /// `1 × Sunrise; 2 × Turtle`
    pub pieces: String,
    pub carrier: Option<String>,
    pub tracking_number: Option<String>,
}

/// Lists up to `limit` orders paid in a time range (start included, end excluded), oldest first, after the given one.
pub async fn list_paid(
    conn: &mut PgConnection,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    after: Option<(DateTime<Utc>, OrderId)>,
    limit: i64,
) -> Result<Vec<ExportedOrder>> {
    let entries = sqlx::query_as(concat!(
        "select ",
        columns!(),
        ",
                (select coalesce(string_agg(l.quantity || ' × ' || l.name, '; ' order by l.position), '')
                 from order_lines l
                 where l.order_id = orders.id) as pieces,
                (select p.carrier from shipments p where p.order_id = orders.id) as carrier,
                (select p.tracking_number from shipments p where p.order_id = orders.id) as tracking_number
         from orders
         where paid_at >= $1
           and paid_at < $2
           and ($3::timestamptz is null or (paid_at, id) > ($3, $4))
         order by paid_at, id
         limit $5"
    ))
    .bind(from)
    .bind(until)
    .bind(after.map(|(at, _)| at))
    .bind(after.map(|(_, id)| id))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(entries)
}

/// An order to be packed, for its label.
#[derive(Debug, sqlx::FromRow)]
pub struct LabelOrder {
    #[sqlx(flatten)]
    pub order: Order,
    /// `1 × Sunrise; 2 × Turtle`: what is still to be shipped.
    pub pieces: String,
    pub quantity: i64,
    /// Weight of the pieces in hundredths of an ounce.
    pub weight_hundredths: i64,
}

/// Lists up to `limit` orders that wait to be packed, oldest first, with what is still to be shipped.
pub async fn list_for_labels(conn: &mut PgConnection, limit: i64) -> Result<Vec<LabelOrder>> {
    let orders = sqlx::query_as(concat!(
        "select ",
        columns!(),
        ", pieces, quantity, weight_hundredths
         from orders
         join lateral (
             select string_agg(left_over || ' × ' || l.name, '; ' order by l.position) as pieces,
                    sum(left_over)::bigint as quantity,
                    coalesce(sum(left_over * p.weight_ounces * 100), 0)::bigint as weight_hundredths
             from order_lines l
             left join products p on p.id = l.product_id
             cross join lateral (select l.quantity - l.restocked - l.shipped) as line (left_over)
             where l.order_id = orders.id
               and left_over > 0
         ) as lines on true
         where ",
        to_pack!(),
        "
         order by orders.paid_at, orders.id
         limit $1"
    ))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(orders)
}

/// A line of an order, for a row of the export.
#[derive(Debug, sqlx::FromRow)]
pub struct ExportedLine {
    pub order_id: OrderId,
    pub product_id: Option<ProductId>,
    pub name: String,
    pub quantity: i32,
    pub unit_price: Cents,
    pub back_in_stock: i32,
}

/// The lines of these orders, in the order placed.
pub async fn list_lines(
    conn: &mut PgConnection,
    entries: &[ExportedOrder],
) -> Result<Vec<ExportedLine>> {
    let ids: Vec<OrderId> = entries.iter().map(|entry| entry.order.id).collect();
    let lines = sqlx::query_as(
        "select order_id, product_id, name, quantity, unit_price, restocked + returned as back_in_stock
         from order_lines
         where order_id = any($1)
         order by order_id, position",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(lines)
}

/// Condition of an order search: none, or a match of its [`SearchTerms`]. Each expression is that of an index. The
/// statement is planned anew for each search, because a rare word is best looked up in the index and a frequent one is
/// found sooner by scanning a few orders.
macro_rules! matches {
    ($pattern:literal, $number:literal, $id:literal, $tracking:literal) => {
        concat!(
            "(",
            $pattern,
            "::text is null
              or search_fold(' ' || coalesce(email, '') || ' ' || coalesce(customer_name, '') || ' '
                             || coalesce(shipping_name, '')) like search_fold(",
            $pattern,
            ")
              or search_fold(' ' || (shipping_address ->> 'city') || coalesce(', ' || (shipping_address ->> 'state'), ''))
                 like search_fold(",
            $pattern,
            ")
              or id = any(array(
                  select ",
            $id,
            "::uuid
                  union all
                  select o.id from orders o where o.number = ",
            $number,
            "
                  union all
                  select l.order_id from order_lines l where search_fold(' ' || l.name) like search_fold(",
            $pattern,
            ")
                  union all
                  select p.order_id from shipments p where lower(translate(p.tracking_number, ' -', '')) like ",
            $tracking,
            ")))"
        )
    };
}
pub(in crate::orders) use matches;

/// Readings of a search, each in the form that the statement compares.
pub struct SearchTerms {
    pub pattern: Option<String>,
    pub number: Option<i64>,
    pub id: Option<Uuid>,
    pub tracking: Option<String>,
}

impl SearchTerms {
    pub fn new(search: Option<&str>) -> SearchTerms {
        SearchTerms {
            pattern: search.map(pattern),
            number: search.and_then(number),
            id: search.and_then(|search| search.trim().parse().ok()),
            tracking: search.and_then(tracking),
        }
    }
}

/// Pattern of a search. Trigrams cannot index fewer than three characters within words, so such a search matches only
/// the beginnings of words.
fn pattern(search: &str) -> String {
    let within = db::like(search);
    match search.trim().chars().count() {
        ..3 => format!("% {}", within.trim_start_matches('%')),
        _ => within,
    }
}

/// The order number in a search for `1042` or `SB-1042`.
fn number(search: &str) -> Option<i64> {
    let digits = search
        .trim()
        .trim_start_matches(['S', 's'])
        .trim_start_matches(['B', 'b'])
        .trim_start_matches('-');
    digits.parse().ok()
}

/// Pattern of a tracking number, which carriers print in groups: spaces and hyphens do not count.
fn tracking(search: &str) -> Option<String> {
    let joined = search.replace([' ', '-'], "");
    (joined.chars().count() >= 3).then(|| db::like(&joined))
}

/// Returns one page of orders, newest first, and the total count.
pub async fn list(
    conn: &mut PgConnection,
    filter: &OrderFilter,
) -> Result<(Vec<ListedOrder>, i64)> {
    #[derive(sqlx::FromRow)]
    struct CountedOrder {
        #[sqlx(flatten)]
        listed: ListedOrder,
        all: i64,
    }
    let terms = SearchTerms::new(filter.search.as_deref());
    // Behind a pooler, only a transaction keeps an unnamed statement and its values together.
    let mut tx = conn.begin().await?;
    let rows: Vec<CountedOrder> = sqlx::query_as(concat!(
        "select ",
        columns!(),
        ", ",
        to_pack!(),
        " as is_to_pack, count(*) over () as all
         from orders
         where ($1::text is null or status = $1)
           and ",
        matches!("$2", "$3", "$10", "$11"),
        "
           and ($6::timestamptz is null or paid_at >= $6)
           and ($7::timestamptz is null or paid_at < $7)
           and ($8::boolean is null
                or $8 = (id = any(array(
                       select r.order_id from review_items r where r.resolved_at is null and r.order_id is not null))))
           and ($9::boolean is null or ",
        to_pack!(),
        " = $9)
         order by created_at desc, id desc
         limit $4
         offset $5"
    ))
    .persistent(false)
    .bind(filter.status)
    .bind(terms.pattern)
    .bind(terms.number)
    .bind(filter.limit)
    .bind(filter.offset)
    .bind(filter.paid_from)
    .bind(filter.paid_until)
    .bind(filter.to_review)
    .bind(filter.to_pack)
    .bind(terms.id)
    .bind(terms.tracking)
    .fetch_all(&mut *tx)
    .await?;
    let all = rows.first().map_or(0, |row| row.all);
    let mut orders: Vec<ListedOrder> = rows.into_iter().map(|row| row.listed).collect();
    add_lines(&mut tx, &mut orders).await?;
    Ok((orders, all))
}

/// A customer in an order or custom order that a search found.
#[derive(Debug, sqlx::FromRow)]
pub struct FoundCustomer {
    pub email: String,
    pub name: Option<String>,
    /// Number of the order or custom order.
    pub key: String,
    pub created_at: DateTime<Utc>,
}

/// Finds the customers of the latest 200 orders with a part of their name or email address.
///
/// # Errors
/// Database errors only.
pub async fn search_customers(conn: &mut PgConnection, search: &str) -> Result<Vec<FoundCustomer>> {
    // Behind a pooler, only a transaction keeps an unnamed statement and its values together.
    let mut tx = conn.begin().await?;
    let found = sqlx::query_as(
        "select email, customer_name as name, 'SB-' || number as key, created_at
         from orders
         where email is not null
           and search_fold(' ' || coalesce(email, '') || ' ' || coalesce(customer_name, '') || ' '
                           || coalesce(shipping_name, '')) like search_fold($1)
         order by created_at desc
         limit 200",
    )
    .persistent(false)
    .bind(pattern(search))
    .fetch_all(&mut *tx)
    .await?;
    Ok(found)
}

/// Lists the orders under an email address, and those of custom orders under it, newest first.
///
/// # Errors
/// Database errors only.
pub async fn list_by_email(
    conn: &mut PgConnection,
    email: &str,
    limit: i64,
) -> Result<Vec<ListedOrder>> {
    let mut orders: Vec<ListedOrder> = sqlx::query_as(concat!(
        "select ",
        columns!(),
        ", ",
        to_pack!(),
        " as is_to_pack
         from orders
         where lower(email) = lower($1)
            or id in (select c.order_id from custom_orders c where lower(c.email) = lower($1))
         order by created_at desc, id desc
         limit $2"
    ))
    .bind(email)
    .bind(limit)
    .fetch_all(&mut *conn)
    .await?;
    add_lines(conn, &mut orders).await?;
    Ok(orders)
}

/// Reads the lines of listed orders.
pub async fn add_lines(conn: &mut PgConnection, orders: &mut [ListedOrder]) -> Result<()> {
    #[derive(sqlx::FromRow)]
    struct LineOfOrder {
        order_id: OrderId,
        #[sqlx(flatten)]
        line: Line,
    }
    let ids: Vec<OrderId> = orders.iter().map(|listed| listed.order.id).collect();
    let rows: Vec<LineOfOrder> = sqlx::query_as(
        "select order_id, product_id, name, image, unit_price, quantity
         from order_lines
         where order_id = any($1)
         order by order_id, position",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    let mut lines: HashMap<OrderId, Vec<Line>> = HashMap::new();
    for row in rows {
        lines.entry(row.order_id).or_default().push(row.line);
    }
    for listed in orders {
        listed.lines = lines.remove(&listed.order.id).unwrap_or_default();
    }
    Ok(())
}
