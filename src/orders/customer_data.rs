//! Notes about customers, and orders whose customer's data is deleted.

use sqlx::PgConnection;

use super::{Order, Status, store};
use crate::error::{Code, Error, Result};

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

impl Order {
    /// Nothing of it is to be done any more, so that the customer's data can be deleted.
    pub fn is_over(&self) -> bool {
        let is_open = matches!(
            self.status,
            Status::Pending | Status::Paid | Status::Shipped
        );
        !is_open && self.review_items.is_empty()
    }

    /// Checks that the customer's data was not deleted, before a change that needs or adds some.
    ///
    /// # Errors
    /// 409 `customer_erased`.
    pub fn check_customer_known(&self) -> Result<()> {
        match self.erased_at {
            None => Ok(()),
            Some(_) => Err(Error::Conflict(
                Code::CustomerErased,
                format!(
                    "The customer's data of {} was deleted.",
                    self.display_number()
                ),
            )),
        }
    }
}
