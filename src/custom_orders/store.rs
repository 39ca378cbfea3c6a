//! SQL of custom orders.

mod customer_data;
mod quotes;

pub use customer_data::{erase_customer, lock_of_customer};
pub use quotes::{
    CopiedQuote, delete_draft, find_copied, find_current, find_custom_order_of_quote, find_draft,
    find_quote, find_quote_of_link, find_stripe_request, foreign_quotes, has_closed_quote,
    list_copied_quotes, list_hanging, list_lapsed, quotes, record_failure, save_draft, set_asking,
    set_copied_link, set_live, set_payment_in_progress, set_quote_state,
};

use sqlx::PgConnection;

use super::{CustomOrder, CustomOrderTimelineEntry, NewCustomOrder, Status};
use crate::db;
use crate::error::Result;
use crate::orders::FoundCustomer;
use crate::types::ids::{CustomOrderId, CustomOrderKey, ImageId, OrderId};

/// All columns of a custom order.
macro_rules! columns {
    () => {
        concat!(
            "id, number, status, name, email, description, colors, order_id, created_at, updated_at, erased_at, ",
            crate::review_items::open_column!(
                "r.custom_order_id = custom_orders.id or r.order_id = custom_orders.order_id"
            )
        )
    };
}

use columns;

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

/// Reads a custom order without a lock. A change needs [`lock`].
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
    let number = match CustomOrderKey::parse(text) {
        None => return Ok(None),
        Some(CustomOrderKey::Id(id)) => return Ok(Some(id)),
        Some(CustomOrderKey::Number(number)) => number,
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

/// The reason for which a custom order was rejected, if one was given.
pub async fn rejection_reason(
    conn: &mut PgConnection,
    id: CustomOrderId,
) -> Result<Option<String>> {
    let reason = sqlx::query_scalar(
        "select note
         from custom_order_events
         where custom_order_id = $1
           and to_status = 'rejected'
           and note <> ''
         order by id desc
         limit 1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(reason)
}

/// Filter and page of a list of custom orders. `None` does not filter.
#[derive(Default)]
pub struct CustomOrderFilter {
    pub status: Option<Status>,
    /// A custom order number, or a part of name, email address or description.
    pub search: Option<String>,
    pub limit: i64,
    pub offset: i64,
}

/// Returns one page of custom orders, newest first, and the total count.
pub async fn list(
    conn: &mut PgConnection,
    filter: &CustomOrderFilter,
) -> Result<(Vec<CustomOrder>, i64)> {
    #[derive(sqlx::FromRow)]
    struct ListedCustomOrder {
        #[sqlx(flatten)]
        custom_order: CustomOrder,
        all: i64,
    }
    let number = filter.search.as_deref().and_then(|text| {
        let text = text.trim().to_ascii_uppercase();
        text.trim_start_matches("CO-").parse::<i64>().ok()
    });
    let rows: Vec<ListedCustomOrder> = sqlx::query_as(concat!(
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

/// Finds the customers of the latest 200 custom orders with a part of their name or email address.
///
/// # Errors
/// Database errors only.
pub async fn search_customers(conn: &mut PgConnection, search: &str) -> Result<Vec<FoundCustomer>> {
    let found = sqlx::query_as(
        "select email, name, 'CO-' || number as key, created_at
         from custom_orders
         where erased_at is null
           and (search_fold(name) like search_fold($1) or search_fold(email) like search_fold($1))
         order by created_at desc
         limit 200",
    )
    .bind(db::like(search))
    .fetch_all(conn)
    .await?;
    Ok(found)
}

/// Lists the custom orders under an email address, and those whose order was paid under it, newest first.
///
/// # Errors
/// Database errors only.
pub async fn list_by_email(
    conn: &mut PgConnection,
    email: &str,
    limit: i64,
) -> Result<Vec<CustomOrder>> {
    let custom_orders = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from custom_orders
         where lower(email) = lower($1)
            or order_id in (select o.id from orders o where lower(o.email) = lower($1))
         order by created_at desc, id desc
         limit $2"
    ))
    .bind(email)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(custom_orders)
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

/// Timeline of a custom order, oldest first; empty if it does not exist.
pub async fn timeline(
    conn: &mut PgConnection,
    id: CustomOrderId,
) -> Result<Vec<CustomOrderTimelineEntry>> {
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

/// Moves a locked custom order to another status, with its order, and writes the move to its timeline. An illegal move
/// is a bug.
pub async fn set_status(
    conn: &mut PgConnection,
    custom_order: &CustomOrder,
    next: Status,
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
         set status = $3, order_id = $6, updated_at = now()
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
    .bind(custom_order.order_id)
    .fetch_one(conn)
    .await?;
    Ok(custom_order)
}

/// Counts the timeline entries of a kind.
pub async fn count_timeline_entries(
    conn: &mut PgConnection,
    id: CustomOrderId,
    kind: &str,
) -> Result<i64> {
    let count = sqlx::query_scalar(
        "select count(*) from custom_order_events where custom_order_id = $1 and kind = $2",
    )
    .bind(id)
    .bind(kind)
    .fetch_one(conn)
    .await?;
    Ok(count)
}

/// Stores the corrected name and email of a locked custom order.
pub async fn set_customer(
    conn: &mut PgConnection,
    id: CustomOrderId,
    name: &str,
    email: &str,
) -> Result<CustomOrder> {
    let custom_order = sqlx::query_as(concat!(
        "update custom_orders
         set name = $2, email = $3, updated_at = now()
         where id = $1
         returning ",
        columns!(),
    ))
    .bind(id)
    .bind(name)
    .bind(email)
    .fetch_one(conn)
    .await?;
    Ok(custom_order)
}

/// Adds a timeline entry that changes no status.
pub async fn add_timeline_entry(
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
