//! SQL of letters, and nothing else.

use sqlx::PgConnection;
use sqlx::types::Json;

use super::letter::{About, Letter};
use crate::error::Result;
use crate::ids::LetterId;
use crate::jobs::{self, Job};

impl Letter {
    /// The kind's stable name, as in the database and in causes.
    pub fn kind(&self) -> &'static str {
        match self {
            Letter::OrderConfirmation { .. } => "order_confirmation",
            Letter::OrderShipped { .. } => "order_shipped",
            Letter::OrderRefunded { .. } => "order_refunded",
            Letter::CouldNotFulfil { .. } => "could_not_fulfil",
            Letter::CouldNotFulfilNotice { .. } => "could_not_fulfil_notice",
            Letter::NewRequest { .. } => "new_request",
            Letter::RequestApproved { .. } => "request_approved",
            Letter::PaymentReceived { .. } => "payment_received",
            Letter::RequestRejected { .. } => "request_rejected",
            Letter::CustomShipped { .. } => "custom_shipped",
        }
    }
}

/// Queues a letter inside the caller's transaction. Safe to repeat: there is at most one letter per kind and `cause`
/// (what happened, as an order's id), and the first one stands.
pub async fn queue(
    conn: &mut PgConnection,
    letter: &Letter,
    cause: &str,
    recipient: &str,
    copy_to: Option<&str>,
    about: About,
) -> Result<()> {
    let id = LetterId::new();
    let new: Option<LetterId> = sqlx::query_scalar(
        "insert into letters (id, cause, kind, recipient, copy_to, order_id, request_id, contents)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (cause) do nothing
         returning id",
    )
    .bind(id)
    .bind(format!("{}:{cause}", letter.kind()))
    .bind(letter.kind())
    .bind(recipient)
    .bind(copy_to)
    .bind(about.order)
    .bind(about.request)
    .bind(Json(letter))
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(letter) = new {
        jobs::enqueue(conn, &Job::SendLetter { letter }).await?;
    }
    Ok(())
}
