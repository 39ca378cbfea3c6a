//! Custom orders whose customer's data is deleted.

use super::{CustomOrder, Status};
use crate::error::{Code, Error, Result};

impl CustomOrder {
    /// Nothing of it is to be done any more, so that the customer's data can be deleted.
    pub fn is_over(&self) -> bool {
        use Status::{Completed, Expired, Refunded, Rejected};
        let is_over = matches!(self.status, Rejected | Expired | Completed | Refunded);
        is_over && self.review_items.is_empty()
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
