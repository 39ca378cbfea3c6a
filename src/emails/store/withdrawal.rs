//! SQL of emails that must not go out any more.

use sqlx::PgConnection;

use super::EmailState;
use crate::error::Result;
use crate::types::ids::{EmailId, OrderId};

/// Emails that were withdrawn.
#[derive(Default)]
pub struct Withdrawal {
    pub emails: Vec<EmailId>,
    /// The customer has one of them, or may have it: an attempt may fail after the email was taken.
    pub is_customer_told: bool,
}

/// Withdraws the emails of these kinds about a locked order, because what they say is not so any more: those that wait are
/// deleted, and the others are never sent again. Safe to repeat.
///
/// # Errors
/// Database errors only.
pub async fn withdraw(
    conn: &mut PgConnection,
    order: OrderId,
    kinds: &[&str],
) -> Result<Withdrawal> {
    // Locked first: a worker may be taking one of them from the queue.
    let emails: Vec<(EmailId, EmailState, i32, bool)> = sqlx::query_as(
        "select id, state, attempts, sent_at is not null
         from emails
         where order_id = $1
           and kind = any($2)
           and withdrawn_at is null
         order by id
         for update",
    )
    .bind(order)
    .bind(kinds)
    .fetch_all(&mut *conn)
    .await?;
    let mut withdrawal = Withdrawal::default();
    for (id, state, attempts, was_sent) in emails {
        withdrawal.emails.push(id);
        let may_have_arrived = match state {
            EmailState::Sending => true,
            EmailState::Queued => attempts > 0,
            // Given up, it was refused.
            EmailState::Sent | EmailState::Failed => false,
        };
        withdrawal.is_customer_told |= was_sent || may_have_arrived;
        match state {
            // Its attempt says how it ends.
            EmailState::Sending => {
                sqlx::query("update emails set withdrawn_at = now() where id = $1")
                    .bind(id)
                    .execute(&mut *conn)
                    .await?;
            }
            _ => end_withdrawn(conn, id, was_sent).await?,
        }
    }
    Ok(withdrawal)
}

/// Ends a locked email that is withdrawn. `was_sent`: its recipient has it.
pub async fn end_withdrawn(conn: &mut PgConnection, id: EmailId, was_sent: bool) -> Result<()> {
    let end = match was_sent {
        true => {
            "update emails
             set state = 'sent', withdrawn_at = coalesce(withdrawn_at, now())
             where id = $1"
        }
        false => "delete from emails where id = $1",
    };
    sqlx::query(end).bind(id).execute(conn).await?;
    Ok(())
}
