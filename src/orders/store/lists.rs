//! SQL of lists of orders.

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};

use super::{columns, refunded_in_full, to_pack};
use crate::db;
use crate::error::Result;
use crate::orders::{Order, Status};
use crate::types::ids::{OrderId, ProductId};
use crate::types::money::Cents;

/// Filter and page of a list of orders. `None` does not filter.
#[derive(Default)]
pub struct OrderFilter {
    pub status: Option<Status>,
    /// An order number, a tracking number, or a part of name or email address.
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

/// Condition of an order search: empty, or a part of email or names (in the form that their index has), or the number,
/// or a part of a tracking number. The statement is planned anew for each search, because a rare word is best looked up
/// in the index and a frequent one is found sooner by scanning a few orders.
macro_rules! matches {
    ($pattern:literal, $number:literal) => {
        concat!(
            "(",
            $pattern,
            "::text is null
              or search_fold(' ' || coalesce(email, '') || ' ' || coalesce(customer_name, '') || ' '
                             || coalesce(shipping_name, '')) like search_fold(",
            $pattern,
            ")
              or id = any(array(
                  select o.id from orders o where o.number = ",
            $number,
            "
                  union all
                  (select p.order_id from shipments p where lower(p.tracking_number) like ",
            $pattern,
            " limit 200))))"
        )
    };
}
pub(in crate::orders) use matches;

/// Pattern of a search. Trigrams cannot index fewer than three characters within words, so such a search matches only
/// the beginnings of words.
pub fn pattern(search: &str) -> String {
    let within = db::like(search);
    match search.trim().chars().count() {
        ..3 => format!("% {}", within.trim_start_matches('%')),
        _ => within,
    }
}

/// Returns one page of orders, newest first, and the total count.
pub async fn list(conn: &mut PgConnection, filter: &OrderFilter) -> Result<(Vec<Order>, i64)> {
    #[derive(sqlx::FromRow)]
    struct ListedOrder {
        #[sqlx(flatten)]
        order: Order,
        all: i64,
    }
    let number = filter.search.as_deref().and_then(number);
    // Behind a pooler, only a transaction keeps an unnamed statement and its values together.
    let mut tx = conn.begin().await?;
    let rows: Vec<ListedOrder> = sqlx::query_as(concat!(
        "select ",
        columns!(),
        ", count(*) over () as all
         from orders
         where ($1::text is null or status = $1)
           and ",
        matches!("$2", "$3"),
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
    .bind(filter.search.as_deref().map(pattern))
    .bind(number)
    .bind(filter.limit)
    .bind(filter.offset)
    .bind(filter.paid_from)
    .bind(filter.paid_until)
    .bind(filter.to_review)
    .bind(filter.to_pack)
    .fetch_all(&mut *tx)
    .await?;
    let all = rows.first().map_or(0, |row| row.all);
    Ok((rows.into_iter().map(|row| row.order).collect(), all))
}

/// The order number in a search for `1042` or `SB-1042`.
pub fn number(search: &str) -> Option<i64> {
    let digits = search
        .trim()
        .trim_start_matches(['S', 's'])
        .trim_start_matches(['B', 'b'])
        .trim_start_matches('-');
    digits.parse().ok()
}
