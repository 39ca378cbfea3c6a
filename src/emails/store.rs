//! SQL of emails.

mod erasure;
mod withdrawal;

pub use erasure::erase;
use withdrawal::end_withdrawn;
pub use withdrawal::withdraw;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{Connection, PgConnection};
use utoipa::ToSchema;

use super::content::Subjects;
use super::message::{About, Email};
use crate::error::Result;
use crate::jobs::{self, Job};
use crate::types::ids::{CustomOrderId, CustomOrderKey, EmailId, OrderId, OrderKey};

/// Queues an email inside the caller's transaction. Safe to repeat: a second email with the same kind and `dedup_key`
/// (usually an order's id) is ignored, and `false` is returned. The recipient is an address or [`super::SHOP`].
pub async fn queue(
    conn: &mut PgConnection,
    email: &Email,
    dedup_key: &str,
    recipient: &str,
    about: About,
) -> Result<bool> {
    let id = EmailId::new();
    let new: Option<EmailId> = sqlx::query_scalar(
        "insert into emails (id, dedup_key, kind, recipient, order_id, custom_order_id, contents)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (dedup_key) do nothing
         returning id",
    )
    .bind(id)
    .bind(format!("{}:{dedup_key}", email.kind()))
    .bind(email.kind())
    .bind(recipient)
    .bind(about.order)
    .bind(about.custom_order)
    .bind(Json(email))
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(email) = new {
        jobs::enqueue(conn, &Job::SendEmail { email }).await?;
    }
    Ok(new.is_some())
}

/// All displayed columns of an email.
macro_rules! columns {
    () => {
        "id, kind, recipient, order_id, custom_order_id, state, attempts, resends, last_error, created_at, tried_at,
         sent_at, withdrawn_at"
    };
}

/// State of an email.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum EmailState {
    /// Waits for its job.
    Queued,
    /// An attempt is running, or ended without a result; it is retried then.
    Sending,
    Sent,
    /// Given up; only the owner sends it again.
    Failed,
}

impl EmailState {
    /// All states, the most urgent first.
    pub const ALL: [EmailState; 4] = [
        EmailState::Failed,
        EmailState::Queued,
        EmailState::Sending,
        EmailState::Sent,
    ];

    /// Legal transitions.
    pub fn may_become(self, next: EmailState) -> bool {
        use EmailState::*;
        matches!(
            (self, next),
            (Queued, Sending | Sent)
                | (Sending, Queued | Sent | Failed)
                | (Sent, Queued)
                | (Failed, Queued | Sent)
        )
    }

    /// Returns the name in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            EmailState::Queued => "queued",
            EmailState::Sending => "sending",
            EmailState::Sent => "sent",
            EmailState::Failed => "failed",
        }
    }

    /// Parses the name.
    pub fn parse(text: &str) -> Option<EmailState> {
        EmailState::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
    }

    /// Final unless the owner sends it again.
    pub fn is_over(self) -> bool {
        matches!(self, EmailState::Sent | EmailState::Failed)
    }
}

/// An email without its data.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct EmailRow {
    pub id: EmailId,
    /// Such as `order_confirmation`.
    pub kind: String,
    pub recipient: String,
    pub order_id: Option<OrderId>,
    pub custom_order_id: Option<CustomOrderId>,
    pub state: EmailState,
    /// Number of delivery attempts.
    pub attempts: i32,
    /// Number of times the owner sent it again.
    pub resends: i32,
    /// Last reply of the mail server, unless a plain acceptance.
    pub last_error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub tried_at: Option<DateTime<Utc>>,
    pub sent_at: Option<DateTime<Utc>>,
    /// Time since which it is not so any more: the shipment was undone, or made after all. It is not sent again.
    pub withdrawn_at: Option<DateTime<Utc>>,
}

impl EmailRow {
    /// Order and custom order that it is about.
    pub fn about(&self) -> About {
        About {
            order: self.order_id,
            custom_order: self.custom_order_id,
        }
    }

    /// Reports whether the owner may send it again.
    pub fn may_resend(&self) -> bool {
        self.state.is_over() && self.withdrawn_at.is_none()
    }
}

/// Data for rendering an email.
#[derive(sqlx::FromRow)]
pub struct Source {
    pub dedup_key: String,
    pub contents: Value,
    #[sqlx(flatten)]
    pub row: EmailRow,
}

/// Filter and page of a list of emails.
#[derive(Default)]
pub struct EmailFilter {
    pub state: Option<EmailState>,
    pub kind: Option<String>,
    pub order: Option<OrderId>,
    pub custom_order: Option<CustomOrderId>,
    /// A part of the recipient's address.
    pub recipient: Option<String>,
    /// A part of the address or of the subject.
    pub search: Option<(String, Subjects)>,
    /// The shop's address, which stands for [`super::SHOP`].
    pub shop: String,
    pub limit: i64,
    pub offset: i64,
}

/// Condition of an [`EmailFilter`]. A separate count reads less than a window count over the page's query.
macro_rules! filter_condition {
    () => {
        "where ($1::text is null or state = $1)
           and ($2::text is null or kind = $2)
           and ($3::uuid is null or order_id = $3)
           and ($15::uuid is null or custom_order_id = $15)
           and ($4::text is null
                or position(lower($4) in lower(case when recipient = 'shop' then $5 else recipient end)) > 0)
           and ($8::text is null
                or kind = any($9)
                or position(search_fold($8) in search_fold(case when recipient = 'shop' then $5 else recipient end)) > 0
                or (kind = 'could_not_fulfill_notice'
                    and position(search_fold($8) in search_fold(
                        case when contents #>> '{refusal,amount}' = '0' then $13 else $10 end
                        || (contents #>> '{refusal,about}'))) > 0)
                or (kind = 'new_custom_order'
                    and position(search_fold($8) in search_fold($11 || (contents #>> '{custom_order,customer_name}'))) > 0)
                or (kind = 'review_item'
                    and position(search_fold($8) in search_fold($12 || (contents #>> '{item,headline}'))) > 0)
                or (kind = 'you_sold'
                    and position(search_fold($8) in search_fold(
                        $14 || (contents #>> '{order,lines,0,name}') || ' ' || (contents #>> '{order,number}'))) > 0))"
    };
}

/// Returns one page of emails, newest first, and the total count.
pub async fn list(conn: &mut PgConnection, filter: &EmailFilter) -> Result<(Vec<EmailRow>, i64)> {
    #[derive(sqlx::FromRow)]
    struct ListedEmail {
        #[sqlx(flatten)]
        email: EmailRow,
        all: i64,
    }
    // Behind a pooler, only a transaction keeps an unnamed statement and its values together.
    let mut tx = conn.begin().await?;
    let rows: Vec<ListedEmail> = sqlx::query_as(concat!(
        "select ",
        columns!(),
        ", (select count(*) from emails ",
        filter_condition!(),
        ") as all
         from emails ",
        filter_condition!(),
        "
         order by created_at desc, id desc
         limit $6
         offset $7"
    ))
    // Planned for these values, so that unused filters are optimized away.
    .persistent(false)
    .bind(filter.state)
    .bind(&filter.kind)
    .bind(filter.order)
    .bind(&filter.recipient)
    .bind(&filter.shop)
    .bind(filter.limit)
    .bind(filter.offset)
    .bind(filter.search.as_ref().map(|(word, _)| word))
    .bind(filter.search.as_ref().map(|(_, subjects)| &subjects.kinds))
    .bind(
        filter
            .search
            .as_ref()
            .map(|(_, subjects)| subjects.refunded),
    )
    .bind(
        filter
            .search
            .as_ref()
            .map(|(_, subjects)| subjects.new_custom_order),
    )
    .bind(
        filter
            .search
            .as_ref()
            .map(|(_, subjects)| subjects.please_review),
    )
    .bind(
        filter
            .search
            .as_ref()
            .map(|(_, subjects)| subjects.nothing_paid),
    )
    .bind(
        filter
            .search
            .as_ref()
            .map(|(_, subjects)| subjects.you_sold),
    )
    .bind(filter.custom_order)
    .fetch_all(&mut *tx)
    .await?;
    let all = rows.first().map_or(0, |row| row.all);
    Ok((rows.into_iter().map(|row| row.email).collect(), all))
}

/// Finds an order by its id or number (SB-1042). An id is not checked.
///
/// # Errors
/// Database errors only.
pub async fn find_order(conn: &mut PgConnection, text: &str) -> Result<Option<OrderId>> {
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

/// Finds a custom order by its id or number (CO-1042). An id is not checked.
///
/// # Errors
/// Database errors only.
pub async fn find_custom_order(
    conn: &mut PgConnection,
    text: &str,
) -> Result<Option<CustomOrderId>> {
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

/// Counts the emails that were given up.
pub async fn count_failed(conn: &mut PgConnection) -> Result<i64> {
    let count = sqlx::query_scalar("select count(*) from emails where state = 'failed'")
        .fetch_one(conn)
        .await?;
    Ok(count)
}

/// Finds an email with its data.
pub async fn find(conn: &mut PgConnection, id: EmailId) -> Result<Option<Source>> {
    let email = sqlx::query_as(concat!(
        "select dedup_key, contents, ",
        columns!(),
        "
         from emails
         where id = $1"
    ))
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(email)
}

/// A running attempt. Other workers leave the email alone until it ends or its lease expires.
#[derive(sqlx::FromRow)]
pub struct Begun {
    #[sqlx(flatten)]
    pub source: Source,
    /// Delivery was retried for longer than `patience`.
    pub overdue: bool,
}

/// Begins an attempt. Returns `None` when the email is sent or given up, or when another attempt began less than a
/// `lease` ago. Also returns `None` while an earlier email to the same customer is being sent or about to be; the
/// shop's own emails are not ordered.
pub async fn begin(
    conn: &mut PgConnection,
    id: EmailId,
    lease: Duration,
    patience: Duration,
) -> Result<Option<Begun>> {
    // Emails to one customer go one after another, because of two sent at once the later might arrive first.
    let begun = sqlx::query_as(concat!(
        "update emails
         set state = 'sending', attempts = attempts + 1, tried_at = now(), trying_since = coalesce(trying_since, now())
         where id = $1
           and (state = 'queued' or (state = 'sending' and tried_at < now() - make_interval(secs => $2)))
           and not exists (
               select from emails earlier
               where earlier.recipient = emails.recipient
                 and earlier.recipient <> 'shop'
                 and (earlier.created_at, earlier.id) < (emails.created_at, emails.id)
                 and (earlier.state = 'sending' and earlier.tried_at > now() - interval '1 minute'
                      or earlier.state = 'queued' and earlier.attempts = 0
                         and earlier.created_at > now() - interval '10 seconds'))
         returning dedup_key, contents, trying_since < now() - make_interval(secs => $3) as overdue, ",
        columns!(),
    ))
    .bind(id)
    .bind(lease.as_secs_f64())
    .bind(patience.as_secs_f64())
    .fetch_optional(conn)
    .await?;
    Ok(begun)
}

/// Returns true while the email waits to be sent.
pub async fn is_queued(conn: &mut PgConnection, id: EmailId) -> Result<bool> {
    let queued =
        sqlx::query_scalar("select exists (select from emails where id = $1 and state = 'queued')")
            .bind(id)
            .fetch_one(conn)
            .await?;
    Ok(queued)
}

/// The end of an attempt to send.
pub struct Ending<'a> {
    /// `sent`, `failed`, or `queued` for another attempt.
    pub state: EmailState,
    pub error: Option<&'a str>,
    /// Time until the next attempt.
    pub wait: Duration,
}

/// Effect of the end of an attempt.
pub enum Recorded {
    Ended,
    /// It was withdrawn meanwhile: there is no further attempt.
    Withdrawn,
    /// The attempt had lost its lease; its successor decides the outcome.
    TooLate,
}

/// Ends an attempt.
pub async fn end(
    conn: &mut PgConnection,
    id: EmailId,
    attempt: i32,
    ending: &Ending<'_>,
) -> Result<Recorded> {
    if ending.state != EmailState::Sent
        && let Some(was_sent) = lock_withdrawn(conn, id, attempt).await?
    {
        end_withdrawn(conn, id, was_sent).await?;
        return Ok(Recorded::Withdrawn);
    }
    let done = sqlx::query(
        "update emails
         set state = $3, last_error = $4, due_at = now() + make_interval(secs => $5),
             sent_at = case when $3 = 'sent' then now() else sent_at end
         where id = $1
           and attempts = $2
           and state = 'sending'",
    )
    .bind(id)
    .bind(attempt)
    .bind(ending.state)
    .bind(ending.error)
    .bind(ending.wait.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(match done.rows_affected() {
        0 => Recorded::TooLate,
        _ => Recorded::Ended,
    })
}

/// Locks the email of an attempt. Returns whether it was sent before, if it was withdrawn since the attempt began.
async fn lock_withdrawn(
    conn: &mut PgConnection,
    id: EmailId,
    attempt: i32,
) -> Result<Option<bool>> {
    let email: Option<(bool, bool)> = sqlx::query_as(
        "select withdrawn_at is not null, sent_at is not null
         from emails
         where id = $1
           and attempts = $2
           and state = 'sending'
         for update",
    )
    .bind(id)
    .bind(attempt)
    .fetch_optional(conn)
    .await?;
    Ok(email.and_then(|(is_withdrawn, was_sent)| is_withdrawn.then_some(was_sent)))
}

/// Queues an email again that was sent or given up, unless it is withdrawn. Returns false for other states.
pub async fn requeue(conn: &mut PgConnection, id: EmailId) -> Result<bool> {
    let done = sqlx::query(
        "update emails
         set state = 'queued', resends = resends + 1, trying_since = null, due_at = now(), last_error = null
         where id = $1
           and withdrawn_at is null
           and state in ('sent', 'failed')",
    )
    .bind(id)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Overdue emails without a running attempt, longest waiting first; at most a hundred.
pub async fn list_stranded(
    conn: &mut PgConnection,
    lease: Duration,
    grace: Duration,
) -> Result<Vec<EmailId>> {
    let emails = sqlx::query_scalar(
        "select id
         from emails
         where (state = 'queued' and due_at < now() - make_interval(secs => $2))
            or (state = 'sending' and tried_at < now() - make_interval(secs => $1))
         order by due_at
         limit 100",
    )
    .bind(lease.as_secs_f64())
    .bind(grace.as_secs_f64())
    .fetch_all(conn)
    .await?;
    Ok(emails)
}

#[cfg(test)]
mod tests {
    use super::EmailState;

    #[test]
    fn an_email_goes_along_the_drawn_arrows_only() {
        // From docs/guarantees.md: queued → sending → sent | failed | queued again; sent and failed → queued on purpose;
        // withdrawn after it was sent before: queued and failed → sent.
        let drawn = [
            (EmailState::Queued, EmailState::Sending),
            (EmailState::Sending, EmailState::Sent),
            (EmailState::Sending, EmailState::Failed),
            (EmailState::Sending, EmailState::Queued),
            (EmailState::Sent, EmailState::Queued),
            (EmailState::Failed, EmailState::Queued),
            (EmailState::Queued, EmailState::Sent),
            (EmailState::Failed, EmailState::Sent),
        ];
        for from in EmailState::ALL {
            for to in EmailState::ALL {
                assert_eq!(
                    from.may_become(to),
                    drawn.contains(&(from, to)),
                    "{from:?} → {to:?}"
                );
            }
            assert_eq!(EmailState::parse(from.as_str()), Some(from));
        }
    }
}
