//! What the shop knows about a customer beside their orders: a note, and the deletion of their data.

use sqlx::PgConnection;

use super::{Order, Status, store};
use crate::error::{Error, Result};
use crate::types::ids::OrderId;

/// Returns the owner's note about the customer with this email address.
///
/// # Errors
/// Database errors only.
pub async fn customer_note(conn: &mut PgConnection, email: &str) -> Result<Option<String>> {
    store::customer_note(conn, email).await
}

/// Replaces the owner's note about the customer with this email address; an empty text deletes it. Safe to repeat.
///
/// # Errors
/// A field error of `text`.
pub async fn write_customer_note(conn: &mut PgConnection, email: &str, text: &str) -> Result<()> {
    let text = text.trim();
    if text.chars().count() > 2000 || text.contains('\0') {
        return Err(Error::invalid("text", "must have at most 2000 characters"));
    }
    store::set_customer_note(conn, email, text).await
}

/// Locks all orders of a customer, and those of these custom orders, in id order.
///
/// # Errors
/// Database errors only.
pub async fn lock_of_customer(
    conn: &mut PgConnection,
    email: &str,
    of_custom_orders: &[OrderId],
) -> Result<Vec<Order>> {
    store::lock_of_customer(conn, email, of_custom_orders).await
}

impl Order {
    /// Nothing of it is to be done any more, so that the customer's data can be deleted.
    pub fn is_over(&self) -> bool {
        !matches!(self.status, Status::Pending | Status::Paid) && self.review_items.is_empty()
    }
}

/// Deletes the customer's data of locked orders, and the note about them: name, addresses, phone, tracking, photographs of
/// shipments, and notes of the timeline. Amounts, pieces and dates stay, and of the address the state and the country. What
/// Stripe reports later does not bring anything back. Safe to repeat.
///
/// # Errors
/// Database errors only.
pub async fn erase_customer(conn: &mut PgConnection, email: &str, ids: &[OrderId]) -> Result<()> {
    store::set_customer_note(conn, email, "").await?;
    store::erase_customer(conn, ids).await
}
