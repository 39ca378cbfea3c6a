//! SQL of custom orders.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::{CustomOrder, NewCustomOrder, PendingAction, Quote, QuoteState, Status, TimelineEntry};
use crate::db;
use crate::error::Result;
use crate::orders::Zone;
use crate::stripe::NewPaymentLink;
use crate::types::ids::{CustomOrderId, ImageId, OrderId, QuoteId};
use crate::types::money::{Cents, Currency};

/// All columns of a custom order.
macro_rules! columns {
    () => {
        concat!(
            "id, number, status, name, email, description, colors, order_id, created_at, updated_at, ",
            crate::review_items::open_column!(
                "r.custom_order_id = custom_orders.id or r.order_id = custom_orders.order_id"
            )
        )
    };
}

/// All columns of a quote.
macro_rules! quote_columns {
    () => {
        "id, custom_order_id, state, currency, amount, shipping, shipping_zone, description, valid_days, valid_until, link_id,
         link_url, payment_in_progress, last_error, created_at, asked_at, pending_action, attempts"
    };
}

/// Inserts a custom order with its images and its first timeline entry in one round trip.
pub async fn insert(conn: &mut PgConnection, new: &NewCustomOrder) -> Result<CustomOrder> {
    let custom_order = sqlx::query_as(concat!(
        "with made as (
             insert into custom_orders (id, name, email, description, colors)
             values ($1, $2, $3, $4, $5)
             returning *
         ),
         image as (
             insert into custom_order_images (custom_order_id, position, image_id)
             select $1, image.position, image.id
             from unnest($6::text[]) with ordinality as image (id, position)
         ),
         event as (
             insert into custom_order_events (custom_order_id, kind, to_status, actor)
             values ($1, 'submitted', 'pending', 'customer')
         )
         select ",
        columns!(),
        "
         from made as custom_orders"
    ))
    .bind(CustomOrderId::new())
    .bind(&new.name)
    .bind(&new.email)
    .bind(&new.description)
    .bind(&new.colors)
    .bind(&new.images)
    .fetch_one(conn)
    .await?;
    Ok(custom_order)
}

/// Locks a custom order until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: CustomOrderId) -> Result<Option<CustomOrder>> {
    let custom_order = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from custom_orders
         where id = $1
         for update"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(custom_order)
}

pub async fn find(conn: &mut PgConnection, id: CustomOrderId) -> Result<Option<CustomOrder>> {
    let custom_order = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from custom_orders
         where id = $1"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(custom_order)
}

/// Finds a custom order's id from an id or a number such as `CO-1042`. An id is not looked up.
pub async fn find_id(conn: &mut PgConnection, text: &str) -> Result<Option<CustomOrderId>> {
    if let Ok(id) = text.parse() {
        return Ok(Some(CustomOrderId(id)));
    }
    let number = text
        .strip_prefix("CO-")
        .and_then(|number| number.parse::<i64>().ok());
    let Some(number) = number else {
        return Ok(None);
    };
    let id = sqlx::query_scalar("select id from custom_orders where number = $1")
        .bind(number)
        .fetch_optional(conn)
        .await?;
    Ok(id)
}

/// Finds the id of the custom order behind an order.
pub async fn find_id_by_order(
    conn: &mut PgConnection,
    order: OrderId,
) -> Result<Option<CustomOrderId>> {
    let id = sqlx::query_scalar("select id from custom_orders where order_id = $1")
        .bind(order)
        .fetch_optional(conn)
        .await?;
    Ok(id)
}

/// Finds the custom order behind an order.
pub async fn find_by_order(conn: &mut PgConnection, order: OrderId) -> Result<Option<CustomOrder>> {
    let custom_order = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from custom_orders
         where order_id = $1"
    ))
    .bind(order)
    .fetch_optional(conn)
    .await?;
    Ok(custom_order)
}

/// The state in which a refunded custom order was before.
pub async fn status_before_refund(conn: &mut PgConnection, id: CustomOrderId) -> Result<Status> {
    let status = sqlx::query_scalar(
        "select from_status
         from custom_order_events
         where custom_order_id = $1
           and to_status = 'refunded'
         order by id desc
         limit 1",
    )
    .bind(id)
    .fetch_one(conn)
    .await?;
    Ok(status)
}

/// Custom orders that are refunded although their order is not any more: an earlier version left them so when a refund
/// failed.
pub async fn list_not_refunded(conn: &mut PgConnection) -> Result<Vec<CustomOrderId>> {
    let custom_orders = sqlx::query_scalar(
        "select c.id
         from custom_orders c
         join orders o on o.id = c.order_id
         where c.status = 'refunded'
           and o.status <> 'refunded'
         order by c.id
         limit 100",
    )
    .fetch_all(conn)
    .await?;
    Ok(custom_orders)
}

/// Custom orders whose order is refunded but that are not: a version without this status moved them on.
pub async fn list_refunded(conn: &mut PgConnection) -> Result<Vec<CustomOrderId>> {
    let custom_orders = sqlx::query_scalar(
        "select c.id
         from custom_orders c
         join orders o on o.id = c.order_id
         where o.status = 'refunded'
           and c.status <> 'refunded'
         order by c.id
         limit 100",
    )
    .fetch_all(conn)
    .await?;
    Ok(custom_orders)
}

/// Returns true when the customer had a quote that is no longer payable.
pub async fn has_closed_quote(
    conn: &mut PgConnection,
    custom_order: CustomOrderId,
) -> Result<bool> {
    let has = sqlx::query_scalar(
        "select exists (
             select from custom_order_quotes
             where custom_order_id = $1
               and state = 'closed')",
    )
    .bind(custom_order)
    .fetch_one(conn)
    .await?;
    Ok(has)
}

#[derive(Default)]
pub struct Filter {
    pub status: Option<Status>,
    /// A custom order number, or a part of name, email address or description.
    pub search: Option<String>,
    pub limit: i64,
    pub offset: i64,
}

/// Returns one page of custom orders, newest first, and the total count.
pub async fn list(conn: &mut PgConnection, filter: &Filter) -> Result<(Vec<CustomOrder>, i64)> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        custom_order: CustomOrder,
        all: i64,
    }
    let number = filter.search.as_deref().and_then(|text| {
        let text = text.trim().to_ascii_uppercase();
        text.trim_start_matches("CO-").parse::<i64>().ok()
    });
    let rows: Vec<Row> = sqlx::query_as(concat!(
        "select ",
        columns!(),
        ", count(*) over () as all
         from custom_orders
         where ($1::text is null or status = $1)
           and ($2::text is null
                or number = $3
                or search_fold(name) like search_fold($2)
                or search_fold(email) like search_fold($2)
                or search_fold(description) like search_fold($2))
         order by created_at desc, id desc
         limit $4
         offset $5"
    ))
    .bind(filter.status)
    .bind(filter.search.as_deref().map(db::like))
    .bind(number)
    .bind(filter.limit)
    .bind(filter.offset)
    .fetch_all(conn)
    .await?;
    let all = rows.first().map_or(0, |row| row.all);
    Ok((rows.into_iter().map(|row| row.custom_order).collect(), all))
}

/// Counts custom orders waiting for an answer, paid pieces not yet shipped, and custom orders with open review
/// items.
pub async fn count_to_do(conn: &mut PgConnection) -> Result<(i64, i64, i64)> {
    let counts = sqlx::query_as(
        "select (select count(*) from custom_orders where status = 'pending'),
                (select count(*) from custom_orders where status in ('paid', 'in_production')),
                (select count(*)
                 from custom_orders c
                 where exists (select from review_items r
                               where r.resolved_at is null
                                 and (r.custom_order_id = c.id or r.order_id = c.order_id)))",
    )
    .fetch_one(conn)
    .await?;
    Ok(counts)
}

/// Images sent with a custom order, in order.
pub async fn images(conn: &mut PgConnection, id: CustomOrderId) -> Result<Vec<ImageId>> {
    let images = sqlx::query_scalar(
        "select image_id
         from custom_order_images
         where custom_order_id = $1
         order by position",
    )
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(images)
}

pub async fn timeline(conn: &mut PgConnection, id: CustomOrderId) -> Result<Vec<TimelineEntry>> {
    let entries = sqlx::query_as(
        "select kind, from_status, to_status, actor, note, created_at
         from custom_order_events
         where custom_order_id = $1
         order by id",
    )
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(entries)
}

/// Moves a locked custom order to another status, and writes the move to its timeline. An illegal move is a bug.
pub async fn set_status(
    conn: &mut PgConnection,
    custom_order: &CustomOrder,
    next: Status,
    order: Option<OrderId>,
    actor: &str,
    note: &str,
) -> Result<CustomOrder> {
    if !custom_order.status.may_become(next) {
        let (from, to) = (custom_order.status.as_str(), next.as_str());
        return Err(anyhow::anyhow!(
            "custom order {} may not go from {from} to {to}",
            custom_order.id
        )
        .into());
    }
    let custom_order = sqlx::query_as(concat!(
        "with event as (
             insert into custom_order_events (custom_order_id, kind, from_status, to_status, actor, note)
             values ($1, 'status', $2, $3, $4, $5)
         )
         update custom_orders
         set status = $3, order_id = coalesce($6, order_id), updated_at = now()
         where id = $1
           and status = $2
         returning ",
        columns!(),
    ))
    .bind(custom_order.id)
    .bind(custom_order.status)
    .bind(next)
    .bind(actor)
    .bind(note)
    .bind(order)
    .fetch_one(conn)
    .await?;
    Ok(custom_order)
}

pub async fn add_event(
    conn: &mut PgConnection,
    id: CustomOrderId,
    kind: &str,
    actor: &str,
    note: &str,
) -> Result<()> {
    sqlx::query(
        "insert into custom_order_events (custom_order_id, kind, actor, note) values ($1, $2, $3, $4)",
    )
    .bind(id)
    .bind(kind)
    .bind(actor)
    .bind(note)
    .execute(conn)
    .await?;
    Ok(())
}

/// Terms of a quote, as set by the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub currency: String,
    pub amount: Cents,
    pub shipping: Cents,
    pub shipping_zone: Zone,
    pub description: String,
    pub valid_days: i32,
}

/// Saves the draft of a custom order's next quote, replacing an earlier draft. The caller has locked the custom order.
pub async fn save_draft(
    conn: &mut PgConnection,
    custom_order: CustomOrderId,
    terms: &Terms,
    actor: &str,
) -> Result<Quote> {
    let quote = sqlx::query_as(concat!(
        "insert into custom_order_quotes (id, custom_order_id, currency, amount, shipping, shipping_zone, description,
                                          valid_days, actor)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (custom_order_id) where state = 'draft' do update
         set currency = excluded.currency, amount = excluded.amount, shipping = excluded.shipping,
             shipping_zone = excluded.shipping_zone, description = excluded.description, valid_days = excluded.valid_days,
             actor = excluded.actor, updated_at = now()
         returning ",
        quote_columns!(),
    ))
    .bind(QuoteId::new())
    .bind(custom_order)
    .bind(&terms.currency)
    .bind(terms.amount)
    .bind(terms.shipping)
    .bind(terms.shipping_zone)
    .bind(&terms.description)
    .bind(terms.valid_days)
    .bind(actor)
    .fetch_one(conn)
    .await?;
    Ok(quote)
}

/// All quotes of a custom order, oldest first.
pub async fn quotes(conn: &mut PgConnection, custom_order: CustomOrderId) -> Result<Vec<Quote>> {
    let quotes = sqlx::query_as(concat!(
        "select ",
        quote_columns!(),
        "
         from custom_order_quotes
         where custom_order_id = $1
         order by created_at, id"
    ))
    .bind(custom_order)
    .fetch_all(conn)
    .await?;
    Ok(quotes)
}

/// The draft of a custom order's next quote.
pub async fn find_draft(
    conn: &mut PgConnection,
    custom_order: CustomOrderId,
) -> Result<Option<Quote>> {
    let quote = sqlx::query_as(concat!(
        "select ",
        quote_columns!(),
        "
         from custom_order_quotes
         where custom_order_id = $1
           and state = 'draft'"
    ))
    .bind(custom_order)
    .fetch_optional(conn)
    .await?;
    Ok(quote)
}

/// Deletes the draft of a custom order's next quote. Returns false when there is none.
pub async fn delete_draft(conn: &mut PgConnection, custom_order: CustomOrderId) -> Result<bool> {
    let done = sqlx::query(
        "delete from custom_order_quotes where custom_order_id = $1 and state = 'draft'",
    )
    .bind(custom_order)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The current quote of a custom order: being requested, payable, or paid. There is at most one.
pub async fn find_current(
    conn: &mut PgConnection,
    custom_order: CustomOrderId,
) -> Result<Option<Quote>> {
    let quote = sqlx::query_as(concat!(
        "select ",
        quote_columns!(),
        "
         from custom_order_quotes
         where custom_order_id = $1
           and state in ('asking', 'live', 'closing', 'paid')"
    ))
    .bind(custom_order)
    .fetch_optional(conn)
    .await?;
    Ok(quote)
}

pub async fn find_quote(conn: &mut PgConnection, id: QuoteId) -> Result<Option<Quote>> {
    let quote = sqlx::query_as(concat!(
        "select ",
        quote_columns!(),
        "
         from custom_order_quotes
         where id = $1"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(quote)
}

/// The custom order of a quote.
pub async fn find_custom_order_of_quote(
    conn: &mut PgConnection,
    id: QuoteId,
) -> Result<Option<CustomOrderId>> {
    let custom_order =
        sqlx::query_scalar("select custom_order_id from custom_order_quotes where id = $1")
            .bind(id)
            .fetch_optional(conn)
            .await?;
    Ok(custom_order)
}

/// Finds the quote of a payment link.
pub async fn find_quote_of_link(conn: &mut PgConnection, link: &str) -> Result<Option<QuoteId>> {
    let quote = sqlx::query_scalar("select id from custom_order_quotes where link_id = $1")
        .bind(link)
        .fetch_optional(conn)
        .await?;
    Ok(quote)
}

/// The stored request for a quote's payment link.
pub async fn find_stripe_request(
    conn: &mut PgConnection,
    id: QuoteId,
) -> Result<Option<NewPaymentLink>> {
    let call: Option<Option<Json<NewPaymentLink>>> =
        sqlx::query_scalar("select stripe_request from custom_order_quotes where id = $1")
            .bind(id)
            .fetch_optional(conn)
            .await?;
    Ok(call.flatten().map(|Json(call)| call))
}

/// Moves a draft to `asking`, and stores the complete request about to be made.
pub async fn set_asking(conn: &mut PgConnection, call: &NewPaymentLink) -> Result<()> {
    sqlx::query(
        "update custom_order_quotes
         set state = 'asking', stripe_request = $2, asked_at = now(), last_error = null, updated_at = now()
         where id = $1
           and state = 'draft'",
    )
    .bind(call.quote)
    .bind(Json(call))
    .execute(conn)
    .await?;
    Ok(())
}

/// Records a failed attempt to reach Stripe, while its outcome matters. With `call`, the next attempt uses that
/// request.
pub async fn record_failure(
    conn: &mut PgConnection,
    id: QuoteId,
    error: &str,
    call: Option<&NewPaymentLink>,
) -> Result<()> {
    sqlx::query(
        "update custom_order_quotes
         set last_error = $2, stripe_request = coalesce($3, stripe_request), updated_at = now(),
             attempts = case when $3 is null then attempts + 1 else 0 end,
             asked_at = case when $3 is null then asked_at else now() end
         where id = $1
           and state in ('asking', 'closing')",
    )
    .bind(id)
    .bind(error)
    .bind(call.map(Json))
    .execute(conn)
    .await?;
    Ok(())
}

/// Records the link of a quote in `asking`; its validity starts now.
pub async fn set_live(
    conn: &mut PgConnection,
    id: QuoteId,
    link: &str,
    url: &str,
    valid_until: DateTime<Utc>,
) -> Result<Option<Quote>> {
    let quote = sqlx::query_as(concat!(
        "update custom_order_quotes
         set state = 'live', link_id = $2, link_url = $3, last_error = null, updated_at = now(),
             valid_until = $4
         where id = $1
           and state = 'asking'
         returning ",
        quote_columns!(),
    ))
    .bind(id)
    .bind(link)
    .bind(url)
    .bind(valid_until)
    .fetch_optional(conn)
    .await?;
    Ok(quote)
}

/// Moves a quote to another state, and stores the action planned for the closing of its link.
pub async fn set_quote_state(
    conn: &mut PgConnection,
    id: QuoteId,
    state: QuoteState,
    pending_action: Option<&PendingAction>,
    error: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "update custom_order_quotes
         set state = $2, pending_action = $3, last_error = $4, payment_in_progress = payment_in_progress and $2 = 'live', updated_at = now()
         where id = $1",
    )
    .bind(id)
    .bind(state)
    .bind(pending_action.map(Json))
    .bind(error)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records whether a delayed payment is in progress.
pub async fn set_payment_in_progress(
    conn: &mut PgConnection,
    id: QuoteId,
    payment_in_progress: bool,
) -> Result<()> {
    sqlx::query(
        "update custom_order_quotes set payment_in_progress = $2, updated_at = now() where id = $1",
    )
    .bind(id)
    .bind(payment_in_progress)
    .execute(conn)
    .await?;
    Ok(())
}

/// Quotes past their last day in the shop's time zone, without a payment in progress. The day counts, not the hour:
/// quotes of earlier versions end at any hour, and the zone may have changed since.
pub async fn list_lapsed(
    conn: &mut PgConnection,
    zone: Tz,
) -> Result<Vec<(CustomOrderId, QuoteId)>> {
    let quotes = sqlx::query_as(
        "select custom_order_id, id
         from custom_order_quotes
         where state = 'live'
           and not payment_in_progress
           and valid_until < now()
           and (date_trunc('day', valid_until at time zone $1) + interval '1 day') at time zone $1 <= now()
         order by valid_until
         limit 100",
    )
    .bind(zone.name())
    .fetch_all(conn)
    .await?;
    Ok(quotes)
}

/// Quotes whose link has been in creation or closing for longer than this without news.
pub async fn list_hanging(
    conn: &mut PgConnection,
    longer_than: Duration,
) -> Result<Vec<(QuoteId, QuoteState)>> {
    let quotes = sqlx::query_as(
        "select id, state
         from custom_order_quotes
         where state in ('asking', 'closing')
           and updated_at < now() - make_interval(secs => $1)
         order by updated_at
         limit 100",
    )
    .bind(longer_than.as_secs_f64())
    .fetch_all(conn)
    .await?;
    Ok(quotes)
}

/// Describes, for each other currency, the quotes that can still be approved or paid.
pub async fn foreign_quotes(conn: &mut PgConnection, currency: Currency) -> Result<Vec<String>> {
    let found: Vec<(String, i64)> = sqlx::query_as(
        "select currency, count(*)
         from custom_order_quotes
         where state in ('draft', 'asking', 'live', 'closing')
           and currency <> $1
         group by currency
         order by currency",
    )
    .bind(currency.code())
    .fetch_all(conn)
    .await?;
    let words = |(code, count)| match count {
        1 => format!("1 open quote in {code}"),
        _ => format!("{count} open quotes in {code}"),
    };
    Ok(found.into_iter().map(words).collect())
}
