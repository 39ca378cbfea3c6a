//! SQL of quotes and their payment links.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::custom_orders::new_quote::Terms;
use crate::custom_orders::{PendingAction, Quote, QuoteState, Status};
use crate::error::Result;
use crate::stripe::NewPaymentLink;
use crate::types::ids::{CustomOrderId, QuoteId};
use crate::types::money::Currency;

/// All columns of a quote.
macro_rules! quote_columns {
    () => {
        "id, custom_order_id, state, currency, amount, shipping, shipping_zone, description, valid_days, valid_until, link_id,
         link_url, payment_in_progress, last_error, created_at, asked_at, pending_action, attempts, is_copied"
    };
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

/// The latest quote of a custom order whose link the shop that this one replaced made.
pub async fn find_copied(
    conn: &mut PgConnection,
    custom_order: CustomOrderId,
) -> Result<Option<QuoteId>> {
    let quote = sqlx::query_scalar(
        "select id
         from custom_order_quotes
         where custom_order_id = $1
           and is_copied
         order by created_at desc, id desc
         limit 1",
    )
    .bind(custom_order)
    .fetch_optional(conn)
    .await?;
    Ok(quote)
}

/// Reads a quote in any state, without a lock.
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
/// the zone may have changed since.
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

/// A quote that was copied from another shop, with the status of its custom order.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct CopiedQuote {
    pub id: QuoteId,
    pub custom_order_id: CustomOrderId,
    pub state: QuoteState,
    pub status: Status,
    pub link_url: Option<String>,
}

/// All copied quotes, the oldest first.
pub async fn list_copied_quotes(conn: &mut PgConnection) -> Result<Vec<CopiedQuote>> {
    let quotes = sqlx::query_as(
        "select q.id, q.custom_order_id, q.state, c.status, q.link_url
         from custom_order_quotes q
         join custom_orders c on c.id = q.custom_order_id
         where q.is_copied
         order by q.created_at, q.id",
    )
    .fetch_all(conn)
    .await?;
    Ok(quotes)
}

/// Records the id of a copied quote's link. Returns false where it is known, or is another quote's.
pub async fn set_copied_link(conn: &mut PgConnection, id: QuoteId, link: &str) -> Result<bool> {
    let done = sqlx::query(
        "update custom_order_quotes
         set link_id = $2, updated_at = now()
         where id = $1
           and link_id is null
           and not exists (select from custom_order_quotes other where other.link_id = $2)",
    )
    .bind(id)
    .bind(link)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
