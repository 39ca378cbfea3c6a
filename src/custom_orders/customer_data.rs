//! Deletion of a customer's data of their custom orders.

use sqlx::PgConnection;

use super::{CustomOrder, Status, store};
use crate::error::Result;
use crate::types::ids::CustomOrderId;

impl CustomOrder {
    /// Nothing of it is to be done any more, so that the customer's data can be deleted.
    pub fn is_over(&self) -> bool {
        use Status::{Completed, Expired, Refunded, Rejected, Shipped};
        let is_over = matches!(
            self.status,
            Rejected | Expired | Shipped | Completed | Refunded
        );
        is_over && self.review_items.is_empty()
    }
}

/// Locks all custom orders of a customer in id order.
///
/// # Errors
/// Database errors only.
pub async fn lock_of_customer(conn: &mut PgConnection, email: &str) -> Result<Vec<CustomOrder>> {
    store::lock_of_customer(conn, email).await
}

/// Deletes the customer's data of locked custom orders: name, email, the request with its images, and all that was written.
/// What was quoted and paid stays. Safe to repeat.
///
/// # Errors
/// Database errors only.
pub async fn erase_customer(conn: &mut PgConnection, ids: &[CustomOrderId]) -> Result<()> {
    store::erase_customer(conn, ids).await
}
