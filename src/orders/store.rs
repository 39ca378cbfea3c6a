//! SQL of orders.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{Connection, PgConnection};

use super::restocks::Restocked;
use super::service::Receipt;
use super::shipping::Zone;
use super::{Channel, Line, Order, OrderLine, Shipment, Status, TimelineEntry};
use crate::db;
use crate::error::Result;
use crate::types::ids::{OrderId, OrderKey, ProductId, RestockId};
use crate::types::money::Cents;

/// All columns of an order.
macro_rules! columns {
    () => {
        concat!(
            "id, number, status, channel, is_custom_order, currency, subtotal, shipping, tax, total, refunded, email,
             customer_name, phone, shipping_name, shipping_address, shipping_zone, outside_zone, dispute, created_at,
             paid_at, processing_since, refund_failed_at, ",
            crate::review_items::open_column!("r.order_id = orders.id")
        )
    };
}
pub(super) use columns;

/// Condition on a row of `orders`: a full refund is made or planned. Counts the refunds reported by Stripe and those
/// not yet sent to it.
macro_rules! refunded_in_full {
    () => {
        "(orders.total > 0 and orders.total <= (
             select orders.refunded + coalesce(sum(r.amount) filter (where r.state = 'planned'), 0)
             from payments p
             join refunds r on r.payment_id = p.id
             where p.order_id = orders.id
               and p.outcome = 'settled'))"
    };
}
pub(super) use refunded_in_full;

/// Condition on a row of `orders`: it waits to be packed. In-person sales are handed over at once, and custom orders
/// are shipped from their own page.
macro_rules! to_pack {
    () => {
        concat!(
            "(orders.status = 'paid'
              and orders.channel = 'storefront'
              and exists (select from order_lines l
                          where l.order_id = orders.id and l.quantity > l.restocked + l.shipped)
              and not ",
            refunded_in_full!(),
            ")"
        )
    };
}
pub(super) use to_pack;

/// A line of a new order, with its Stripe price if it has one.
#[derive(Clone, Debug)]
pub struct PlacedLine {
    pub line: Line,
    pub stripe_price: Option<String>,
}

pub struct NewOrder<'a> {
    pub id: OrderId,
    pub status: Status,
    pub channel: Channel,
    pub currency: &'a str,
    pub subtotal: Cents,
    pub shipping: Cents,
    pub total: Cents,
    pub zone: Option<Zone>,
    pub email: Option<&'a str>,
    pub customer_name: Option<&'a str>,
    pub actor: &'a str,
    pub note: &'a str,
}

/// Serializes the creation of orders with this id. Callers choose the id, so two may create it at once.
pub async fn lock_new(conn: &mut PgConnection, id: OrderId) -> Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('order ' || $1::text, 0))")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Inserts an order with its lines and its first timeline entry in one round trip.
pub async fn insert<'a>(
    conn: &mut PgConnection,
    new: &NewOrder<'_>,
    lines: impl Iterator<Item = &'a Line>,
) -> Result<Order> {
    let (mut ids, mut names, mut images, mut prices, mut quantities) =
        (vec![], vec![], vec![], vec![], vec![]);
    for line in lines {
        ids.push(&line.product_id);
        names.push(line.name.as_str());
        images.push(line.image.as_deref());
        prices.push(line.unit_price);
        quantities.push(line.quantity);
    }
    let order = sqlx::query_as(
        concat!(
            "with placed as (
             insert into orders (id, status, channel, is_custom_order, currency, subtotal, shipping, total, shipping_zone,
                                 email, customer_name, paid_at)
             values ($1, $2, $3, $3 = 'custom_order', $4, $5, $6, $7, $8, $9, $10,
                     case when $2 in ('paid', 'delivered') then now() end)
             returning *
         ),
         line as (
             insert into order_lines (order_id, position, product_id, name, image, unit_price, quantity, shipped)
             select $1, line.position, line.id, line.name, line.image, line.price, line.quantity,
                    case when $2 = 'delivered' then line.quantity else 0 end
             from unnest($11::text[], $12::text[], $13::text[], $14::bigint[], $15::integer[])
                  with ordinality as line (id, name, image, price, quantity, position)
         ),
         event as (
             insert into order_events (order_id, kind, to_status, actor, note)
             values ($1, 'placed', $2, $16, $17)
         )
         select ",
            columns!(),
            "
         from placed as orders"
        ),
    )
    .bind(new.id)
    .bind(new.status)
    .bind(new.channel)
    .bind(new.currency)
    .bind(new.subtotal)
    .bind(new.shipping)
    .bind(new.total)
    .bind(new.zone)
    .bind(new.email)
    .bind(new.customer_name)
    .bind(ids)
    .bind(names)
    .bind(images)
    .bind(prices)
    .bind(quantities)
    .bind(new.actor)
    .bind(new.note)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

/// Locks an order until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: OrderId) -> Result<Option<Order>> {
    let order = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from orders
         where id = $1
         for update"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(order)
}

pub async fn find(conn: &mut PgConnection, id: OrderId) -> Result<Option<Order>> {
    let order = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from orders
         where id = $1"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(order)
}

/// Finds an order's id from an id or a number such as `SB-1042`. An id is not looked up.
pub async fn find_id(conn: &mut PgConnection, text: &str) -> Result<Option<OrderId>> {
    let number = match OrderKey::parse(text) {
        None => return Ok(None),
        Some(OrderKey::Id(id)) => return Ok(Some(id)),
        Some(OrderKey::Number(number)) => number,
    };
    let id = sqlx::query_scalar("select id from orders where number = $1")
        .bind(number)
        .fetch_optional(conn)
        .await?;
    Ok(id)
}

#[derive(Default)]
pub struct Filter {
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
pub struct Entry {
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
) -> Result<Vec<Entry>> {
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
pub struct EntryLine {
    pub order_id: OrderId,
    pub product_id: Option<ProductId>,
    pub name: String,
    pub quantity: i32,
    pub unit_price: Cents,
    pub back_in_stock: i32,
}

/// The lines of these orders, in the order placed.
pub async fn list_lines(conn: &mut PgConnection, entries: &[Entry]) -> Result<Vec<EntryLine>> {
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
pub(super) use matches;

/// Pattern of a search. Trigrams cannot index fewer than three characters within words, so such a search matches only
/// the beginnings of words.
pub(super) fn pattern(search: &str) -> String {
    let within = db::like(search);
    match search.trim().chars().count() {
        ..3 => format!("% {}", within.trim_start_matches('%')),
        _ => within,
    }
}

/// Returns one page of orders, newest first, and the total count.
pub async fn list(conn: &mut PgConnection, filter: &Filter) -> Result<(Vec<Order>, i64)> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        order: Order,
        all: i64,
    }
    let number = filter.search.as_deref().and_then(number);
    // Behind a pooler, only a transaction keeps an unnamed statement and its values together.
    let mut tx = conn.begin().await?;
    let rows: Vec<Row> = sqlx::query_as(concat!(
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
pub(super) fn number(search: &str) -> Option<i64> {
    let digits = search
        .trim()
        .trim_start_matches(['S', 's'])
        .trim_start_matches(['B', 'b'])
        .trim_start_matches('-');
    digits.parse().ok()
}

/// The lines of an order, in the order placed.
pub async fn lines(conn: &mut PgConnection, id: OrderId) -> Result<Vec<Line>> {
    let lines = sqlx::query_as(
        "select product_id, name, image, unit_price, quantity
         from order_lines
         where order_id = $1
         order by position",
    )
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(lines)
}

/// The lines of an order with their fulfillment and stock counts, in the order placed.
pub async fn order_lines(conn: &mut PgConnection, id: OrderId) -> Result<Vec<OrderLine>> {
    let lines = sqlx::query_as(concat!(
        "select l.product_id, l.name, l.image, l.unit_price, l.quantity, l.restocked, l.shipped, l.returned,
                case when orders.status = 'paid' and not ",
        refunded_in_full!(),
        "
                     then l.quantity - l.restocked - l.shipped
                     else 0 end as to_ship
         from orders
         join order_lines l on l.order_id = orders.id
         where orders.id = $1
         order by l.position"
    ))
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(lines)
}

/// Returns true when a full refund of the order is made or planned.
pub async fn is_refunded_in_full(conn: &mut PgConnection, id: OrderId) -> Result<bool> {
    let is_refunded = sqlx::query_scalar(concat!(
        "select ",
        refunded_in_full!(),
        " from orders where id = $1"
    ))
    .bind(id)
    .fetch_one(conn)
    .await?;
    Ok(is_refunded)
}

/// Pieces of each line that can still return to stock, in id order. Empty for an order that never took stock.
pub async fn not_returned(conn: &mut PgConnection, id: OrderId) -> Result<Vec<(ProductId, i32)>> {
    let lines = sqlx::query_as(
        "select l.product_id, l.quantity - l.restocked - l.returned
         from orders o
         join order_lines l on l.order_id = o.id
         where o.id = $1
           and o.paid_at is not null
           and l.product_id is not null
           and l.quantity > l.restocked + l.returned
         order by l.product_id",
    )
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(lines)
}

/// Product and quantity of each line that takes stock, in id order.
pub async fn quantities(conn: &mut PgConnection, id: OrderId) -> Result<Vec<(ProductId, i32)>> {
    let lines = sqlx::query_as(
        "select product_id, quantity
         from order_lines
         where order_id = $1
           and product_id is not null
         order by product_id",
    )
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(lines)
}

/// Pieces held by a pending order; empty when it is no longer pending.
pub async fn held_lines(conn: &mut PgConnection, id: OrderId) -> Result<Vec<(ProductId, i32)>> {
    let lines = sqlx::query_as(
        "select l.product_id, l.quantity
         from orders o
         join order_lines l on l.order_id = o.id
         where o.id = $1
           and o.status = 'pending'
           and l.product_id is not null",
    )
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(lines)
}

pub async fn timeline(conn: &mut PgConnection, id: OrderId) -> Result<Vec<TimelineEntry>> {
    let entries = sqlx::query_as(
        "select kind, from_status, to_status, actor, note, created_at
         from order_events
         where order_id = $1
         order by id",
    )
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(entries)
}

/// Moves a locked order to another status, and writes the move to its timeline. An illegal move is a bug.
pub async fn set_status(
    conn: &mut PgConnection,
    order: &Order,
    next: Status,
    actor: &str,
    note: &str,
) -> Result<Order> {
    legal(order, next)?;
    let order = sqlx::query_as(concat!(
        "with event as (
             insert into order_events (order_id, kind, from_status, to_status, actor, note)
             values ($1, 'status', $2, $3, $4, $5)
         )
         update orders
         set status = $3, updated_at = now()
         where id = $1
           and status = $2
         returning ",
        columns!(),
    ))
    .bind(order.id)
    .bind(order.status)
    .bind(next)
    .bind(actor)
    .bind(note)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

/// Prices a locked, unpaid order with the shipping rate that its shopper chose.
pub async fn choose_shipping(
    conn: &mut PgConnection,
    order: &Order,
    zone: Zone,
    shipping: Cents,
) -> Result<Order> {
    let order = sqlx::query_as(concat!(
        "update orders
         set shipping_zone = $2, shipping = $3, total = subtotal + $3, updated_at = now()
         where id = $1
         returning ",
        columns!(),
    ))
    .bind(order.id)
    .bind(zone)
    .bind(shipping)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

/// Moves a locked order to `paid` and stores the payment data.
pub async fn set_paid(
    conn: &mut PgConnection,
    order: &Order,
    receipt: &Receipt,
    outside_zone: bool,
) -> Result<Order> {
    legal(order, Status::Paid)?;
    let order = sqlx::query_as(concat!(
        "with event as (
             insert into order_events (order_id, kind, from_status, to_status, actor, note)
             values ($1, 'status', $2, 'paid', 'stripe', $11)
         )
         update orders
         set status = 'paid', paid_at = now(), processing_since = null, updated_at = now(),
             tax = $3, total = $4, email = $5, customer_name = $6, phone = $7,
             shipping_name = $8, shipping_address = $9, outside_zone = $10
         where id = $1
           and status = $2
         returning ",
        columns!(),
    ))
    .bind(order.id)
    .bind(order.status)
    .bind(receipt.tax)
    .bind(receipt.total)
    .bind(&receipt.email)
    .bind(&receipt.customer_name)
    .bind(&receipt.phone)
    .bind(&receipt.shipping_name)
    .bind(&receipt.shipping_address)
    .bind(outside_zone)
    .bind(&receipt.note)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

/// Stores the customer of a locked order that is not yet paid; values already stored are kept. `is_processing`: a
/// delayed payment is in progress.
pub async fn set_processing(
    conn: &mut PgConnection,
    id: OrderId,
    customer: &Receipt,
    is_processing: bool,
) -> Result<Order> {
    let order = sqlx::query_as(concat!(
        "update orders
         set processing_since = case when $7 then coalesce(processing_since, now()) end, updated_at = now(),
             email = coalesce(email, $2), customer_name = coalesce(customer_name, $3), phone = coalesce(phone, $4),
             shipping_name = coalesce(shipping_name, $5), shipping_address = coalesce(shipping_address, $6)
         where id = $1
         returning ",
        columns!(),
    ))
    .bind(id)
    .bind(&customer.email)
    .bind(&customer.customer_name)
    .bind(&customer.phone)
    .bind(&customer.shipping_name)
    .bind(&customer.shipping_address)
    .bind(is_processing)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

fn legal(order: &Order, next: Status) -> Result<()> {
    if order.status.may_become(next) {
        return Ok(());
    }
    let (from, to) = (order.status.as_str(), next.as_str());
    Err(anyhow::anyhow!("order {} may not go from {from} to {to}", order.id).into())
}

pub async fn set_refunded(
    conn: &mut PgConnection,
    order: &Order,
    refunded: Cents,
) -> Result<Order> {
    let order = sqlx::query_as(concat!(
        "update orders
         set refunded = $2, updated_at = now()
         where id = $1
         returning ",
        columns!(),
    ))
    .bind(order.id)
    .bind(refunded)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

/// Keeps that a locked order is to be shipped after all, because the refund of all of its money failed.
pub async fn set_refund_failed(conn: &mut PgConnection, id: OrderId) -> Result<Order> {
    let order = sqlx::query_as(concat!(
        "update orders
         set refund_failed_at = now(), updated_at = now()
         where id = $1
         returning ",
        columns!(),
    ))
    .bind(id)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

/// A return of pieces as it was asked for.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Restock {
    pub order_id: OrderId,
    #[sqlx(json)]
    pub pieces: Vec<Restocked>,
    pub reason: String,
}

/// The return of pieces with this id.
pub async fn find_restock(conn: &mut PgConnection, id: RestockId) -> Result<Option<Restock>> {
    let restock = sqlx::query_as("select order_id, pieces, reason from restocks where id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await?;
    Ok(restock)
}

/// Keeps a return of pieces. False where its id was used a moment ago.
pub async fn insert_restock(
    conn: &mut PgConnection,
    id: RestockId,
    restock: &Restock,
    actor: &str,
) -> Result<bool> {
    let done = sqlx::query(
        "insert into restocks (id, order_id, pieces, reason, actor)
         values ($1, $2, $3, $4, $5)
         on conflict (id) do nothing",
    )
    .bind(id)
    .bind(restock.order_id)
    .bind(Json(&restock.pieces))
    .bind(&restock.reason)
    .bind(actor)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Status of a refunded order before its refund.
pub async fn status_before_refund(conn: &mut PgConnection, id: OrderId) -> Result<Status> {
    let status = sqlx::query_scalar(
        "select from_status
         from order_events
         where order_id = $1
           and to_status = 'refunded'
         order by id desc
         limit 1",
    )
    .bind(id)
    .fetch_one(conn)
    .await?;
    Ok(status)
}

pub async fn set_dispute(conn: &mut PgConnection, id: OrderId, state: Option<&str>) -> Result<()> {
    sqlx::query("update orders set dispute = $2, updated_at = now() where id = $1")
        .bind(id)
        .bind(state)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn add_event(
    conn: &mut PgConnection,
    id: OrderId,
    kind: &str,
    actor: &str,
    note: &str,
) -> Result<()> {
    sqlx::query("insert into order_events (order_id, kind, actor, note) values ($1, $2, $3, $4)")
        .bind(id)
        .bind(kind)
        .bind(actor)
        .bind(note)
        .execute(conn)
        .await?;
    Ok(())
}

/// Restores an order's former number, unless another order has it by now. New orders get higher numbers.
pub async fn renumber(conn: &mut PgConnection, id: OrderId, number: i64) -> Result<Order> {
    // Moves the sequence only forward: other transactions may take numbers at the same time.
    sqlx::query("select setval('order_number', $1) from order_number where last_value < $1")
        .bind(number)
        .execute(&mut *conn)
        .await?;
    let order = sqlx::query_as(concat!(
        "update orders
         set number = case when exists (select from orders where number = $2) then number else $2 end
         where id = $1
         returning ",
        columns!()
    ))
    .bind(id)
    .bind(number)
    .fetch_one(conn)
    .await?;
    Ok(order)
}

/// Stores the shipment of an order with its images, and returns the time of shipping.
pub async fn insert_shipment(
    conn: &mut PgConnection,
    id: OrderId,
    shipment: &Shipment,
) -> Result<DateTime<Utc>> {
    let shipped_at = sqlx::query_scalar(
        "with image as (
             insert into shipment_images (order_id, position, image_id)
             select $1, image.position, image.id
             from unnest($5::text[]) with ordinality as image (id, position)
         )
         insert into shipments (order_id, carrier, tracking_number, tracking_url)
         values ($1, $2, $3, $4)
         returning shipped_at",
    )
    .bind(id)
    .bind(&shipment.carrier)
    .bind(&shipment.tracking_number)
    .bind(&shipment.tracking_url)
    .bind(&shipment.images)
    .fetch_one(conn)
    .await?;
    Ok(shipped_at)
}

/// The shipment of an order, if shipped.
pub async fn find_shipment(conn: &mut PgConnection, id: OrderId) -> Result<Option<Shipment>> {
    let shipment = sqlx::query_as(
        "select carrier, tracking_number, tracking_url, shipped_at,
                array(select image_id from shipment_images where order_id = $1 order by position) as images
         from shipments
         where order_id = $1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(shipment)
}
