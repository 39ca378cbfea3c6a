//! SQL of review items, and the email about each one.

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};

use super::{Kind, NewItem, ReviewItem, Subject};
use crate::emails::{self, About, Email, ReviewItemEmailData, SHOP};
use crate::error::{Error, Result};
use crate::types::ids::{CustomOrderId, OrderId, ReviewItemId};

/// All columns of an item, read from a row `r`.
macro_rules! columns {
    () => {
        "r.id, r.order_id, r.custom_order_id, r.kind, r.text, r.deadline, r.raised_at, r.resolved_at, r.resolved_by,
         r.resolution,
         (select 'SB-' || o.number from orders o where o.id = r.order_id) as order_number,
         (select 'CO-' || c.number from custom_orders c where c.id = r.custom_order_id) as custom_order_number"
    };
}

/// Raises an item and queues the email to the owner. Safe to repeat: the same cause raises once, and `None` is returned
/// after that.
///
/// The caller writes the timelines, as [`flag`](super::flag) does.
///
/// # Errors
/// Database errors only.
pub async fn raise(
    conn: &mut PgConnection,
    subject: Subject,
    new: &NewItem,
) -> Result<Option<ReviewItem>> {
    let item: Option<ReviewItem> = sqlx::query_as(concat!(
        "with r as (
             insert into review_items (id, custom_order_id, order_id, kind, cause, text, deadline)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (cause) do nothing
             returning *
         )
         select ",
        columns!(),
        "
         from r"
    ))
    .bind(ReviewItemId::new())
    .bind(subject.custom_order)
    .bind(subject.order)
    .bind(new.kind.as_str())
    .bind(&new.cause)
    .bind(&new.text)
    .bind(new.deadline)
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(item) = &item
        && item.kind.is_emailed()
    {
        email_owner(conn, item).await?;
    }
    Ok(item)
}

/// Queues the one email about an item.
async fn email_owner(conn: &mut PgConnection, item: &ReviewItem) -> Result<()> {
    let title = item.kind.title();
    let email = Email::ReviewItem {
        item: ReviewItemEmailData {
            headline: match item.about() {
                Some(number) => format!("{number}: {title}"),
                None => title.to_owned(),
            },
            about: item.about().map(str::to_owned),
            text: item.text.clone(),
            deadline: item.deadline,
            advice: item.kind.advice().to_owned(),
            page: item.page(),
        },
    };
    let about = About {
        order: item.order_id,
        custom_order: item.custom_order_id,
    };
    emails::queue(conn, &email, &item.id.to_string(), SHOP, about).await?;
    Ok(())
}

/// Records that a cause came and went before an item was raised; it raises none from now on. Safe to repeat.
pub async fn pass(
    conn: &mut PgConnection,
    subject: Subject,
    new: &NewItem,
    actor: &str,
    result: &str,
) -> Result<()> {
    sqlx::query(
        "insert into review_items (id, custom_order_id, order_id, kind, cause, text, resolved_at, resolved_by, resolution)
         values ($1, $2, $3, $4, $5, $6, now(), $7, $8)
         on conflict (cause) do nothing",
    )
    .bind(ReviewItemId::new())
    .bind(subject.custom_order)
    .bind(subject.order)
    .bind(new.kind.as_str())
    .bind(&new.cause)
    .bind(&new.text)
    .bind(actor)
    .bind(result)
    .execute(conn)
    .await?;
    Ok(())
}

/// Assigns a source's items without a subject to the subject found later. `stale` is removed from their texts: it said that
/// the subject is not known.
pub async fn assign(
    conn: &mut PgConnection,
    source: &str,
    subject: Subject,
    stale: &str,
) -> Result<()> {
    sqlx::query(
        "update review_items
         set custom_order_id = $2, order_id = $3, text = replace(text, $4, '')
         where (cause = $1 or (cause > $1 || ':' and cause < $1 || ';'))
           and custom_order_id is null
           and order_id is null",
    )
    .bind(source)
    .bind(subject.custom_order)
    .bind(subject.order)
    .bind(stale)
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves the deadline of a source's open items. [`close`] explains sources.
pub async fn move_deadline(
    conn: &mut PgConnection,
    source: &str,
    deadline: Option<DateTime<Utc>>,
) -> Result<()> {
    sqlx::query(
        "update review_items
         set deadline = $2
         where (cause = $1 or (cause > $1 || ':' and cause < $1 || ';'))
           and resolved_at is null
           and deadline is distinct from $2",
    )
    .bind(source)
    .bind(deadline)
    .execute(conn)
    .await?;
    Ok(())
}

/// Resolves the open items of a source whose cause is gone, with the outcome in words. The source `email:ID` stands for
/// the cause of that name and its numbered ones, such as `email:ID:2`. Returns the items; the caller writes their
/// timelines.
///
/// # Errors
/// Database errors only.
pub async fn close(
    conn: &mut PgConnection,
    source: &str,
    actor: &str,
    result: &str,
) -> Result<Vec<ReviewItem>> {
    let items = sqlx::query_as(concat!(
        "with r as (
             update review_items
             set resolved_at = now(), resolved_by = $2, resolution = $3
             where (cause = $1 or (cause > $1 || ':' and cause < $1 || ';'))
               and resolved_at is null
             returning *
         )
         select ",
        columns!(),
        "
         from r
         order by r.raised_at, r.id"
    ))
    .bind(source)
    .bind(actor)
    .bind(result)
    .fetch_all(conn)
    .await?;
    Ok(items)
}

/// Resolves one open item. Returns `None` when it was already resolved.
pub async fn resolve(
    conn: &mut PgConnection,
    actor: &str,
    id: ReviewItemId,
) -> Result<Option<ReviewItem>> {
    let item = sqlx::query_as(concat!(
        "with r as (
             update review_items
             set resolved_at = now(), resolved_by = $2
             where id = $1
               and resolved_at is null
             returning *
         )
         select ",
        columns!(),
        "
         from r"
    ))
    .bind(id)
    .bind(actor)
    .fetch_optional(conn)
    .await?;
    Ok(item)
}

/// Locks an item's custom order and order, as is due before the item itself.
pub async fn lock_subject(conn: &mut PgConnection, item: &ReviewItem) -> Result<()> {
    lock_custom_order(conn, item).await?;
    if let Some(order) = item.order_id {
        sqlx::query("select from orders where id = $1 for update")
            .bind(order)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Locks an item's custom order. The caller may change it afterwards: a shared lock could not be raised without a deadlock.
async fn lock_custom_order(conn: &mut PgConnection, item: &ReviewItem) -> Result<()> {
    if let Some(custom_order) = item.custom_order_id {
        sqlx::query("select from custom_orders where id = $1 for update")
            .bind(custom_order)
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Adds a note to the timelines of an item's order and custom order.
pub async fn note(
    conn: &mut PgConnection,
    item: &ReviewItem,
    actor: &str,
    text: &str,
) -> Result<()> {
    // Lock order: the custom order's row before the order's, which its entry locks by the foreign key.
    lock_custom_order(conn, item).await?;
    if let Some(custom_order) = item.custom_order_id {
        sqlx::query(
            "insert into custom_order_events (custom_order_id, kind, actor, note) values ($1, 'note', $2, $3)",
        )
        .bind(custom_order)
        .bind(actor)
        .bind(text)
        .execute(&mut *conn)
        .await?;
    }
    if let Some(order) = item.order_id {
        sqlx::query(
            "insert into order_events (order_id, kind, actor, note) values ($1, 'note', $2, $3)",
        )
        .bind(order)
        .bind(actor)
        .bind(text)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Loads one item.
///
/// # Errors
/// 404 when there is no such item.
pub async fn find(conn: &mut PgConnection, id: ReviewItemId) -> Result<ReviewItem> {
    let item: Option<ReviewItem> = sqlx::query_as(concat!(
        "select ",
        columns!(),
        "
         from review_items r
         where r.id = $1"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?;
    item.ok_or(Error::NotFound("ReviewItem"))
}

/// A selection of items.
#[derive(Clone, Debug, Default)]
pub struct ReviewItemFilter {
    /// Only open items, or only resolved ones.
    pub is_open: Option<bool>,
    pub kind: Option<Kind>,
    /// Excludes the items that belong to a custom order alone.
    pub without_custom_orders: bool,
    pub limit: i64,
    pub offset: i64,
}

/// Returns one page of items and the total count: soonest deadline first, then the newest.
pub async fn list(
    conn: &mut PgConnection,
    filter: &ReviewItemFilter,
) -> Result<(Vec<ReviewItem>, i64)> {
    #[derive(sqlx::FromRow)]
    struct ListedReviewItem {
        #[sqlx(flatten)]
        item: ReviewItem,
        all: i64,
    }
    // Behind a pooler, only a transaction keeps an unnamed statement and its values together.
    let mut tx = conn.begin().await?;
    let rows: Vec<ListedReviewItem> = sqlx::query_as(concat!(
        "select ",
        columns!(),
        ", count(*) over () as all
         from review_items r
         where ($1::boolean is null or (r.resolved_at is null) = $1)
           and ($2::text is null or r.kind = $2)
           and (not $3 or r.order_id is not null or r.custom_order_id is null)
         order by case when r.resolved_at is null then r.deadline end, r.raised_at desc, r.id desc
         limit $4
         offset $5"
    ))
    .persistent(false)
    .bind(filter.is_open)
    .bind(filter.kind.map(Kind::as_str))
    .bind(filter.without_custom_orders)
    .bind(filter.limit)
    .bind(filter.offset)
    .fetch_all(&mut *tx)
    .await?;
    let all = rows.first().map_or(0, |row| row.all);
    Ok((rows.into_iter().map(|row| row.item).collect(), all))
}

/// The most urgent open items.
pub async fn list_open(conn: &mut PgConnection, limit: i64) -> Result<Vec<ReviewItem>> {
    let filter = ReviewItemFilter {
        is_open: Some(true),
        limit,
        ..ReviewItemFilter::default()
    };
    Ok(list(conn, &filter).await?.0)
}

/// Counts the open items.
pub async fn count_open(conn: &mut PgConnection) -> Result<i64> {
    let count = sqlx::query_scalar("select count(*) from review_items where resolved_at is null")
        .fetch_one(conn)
        .await?;
    Ok(count)
}

/// Counts the orders, and the custom orders, with open items of their own.
pub async fn count_by_subject(conn: &mut PgConnection) -> Result<(i64, i64)> {
    let counts = sqlx::query_as(
        "select count(distinct order_id), count(distinct custom_order_id)
         from review_items
         where resolved_at is null",
    )
    .fetch_one(conn)
    .await?;
    Ok(counts)
}

/// Empties the texts of the items about these orders and custom orders, whose customer's data is deleted. Safe to repeat.
///
/// # Errors
/// Database errors only.
pub async fn erase_texts(
    conn: &mut PgConnection,
    orders: &[OrderId],
    custom_orders: &[CustomOrderId],
) -> Result<()> {
    sqlx::query(
        "update review_items
         set text = 'Deleted with the data of the customer.', resolution = null
         where order_id = any($1)
            or custom_order_id = any($2)",
    )
    .bind(orders)
    .bind(custom_orders)
    .execute(conn)
    .await?;
    Ok(())
}
