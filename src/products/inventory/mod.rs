//! Stock: pieces on hand, pieces held for pending orders, and the ledger that explains every change (P1, P5).
//!
//! All changes work on rows that the caller has locked with [`lock`], which locks in id order: two carts with the same
//! pieces wait for each other and never deadlock. CHECK constraints enforce the invariants in the database as well.

mod adjust;
mod input;
mod ledger;
mod levels;
mod reserve;
mod take;

pub use adjust::adjust;
pub(super) use adjust::adjust_many;
pub use input::StockInput;
pub(super) use ledger::movements;
pub use ledger::{Discrepancy, StockCause, check_ledger, latest_movements};
pub use levels::{OnHand, RunningOut, on_hand, running_out};
pub use reserve::{LockedProduct, lock, release, reserve};
pub(super) use take::restock;
pub use take::{take, take_held};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Reason for a change of `on_hand`. Only [`take()`] and [`take_held`] record sales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StockReason {
    Initial,
    Received,
    Made,
    Correction,
    Damaged,
    Lost,
    Returned,
    Sale,
    Import,
}

impl StockReason {
    /// Returns the reason as the ledger stores it.
    pub fn as_str(self) -> &'static str {
        match self {
            StockReason::Initial => "initial",
            StockReason::Received => "received",
            StockReason::Made => "made",
            StockReason::Correction => "correction",
            StockReason::Damaged => "damaged",
            StockReason::Lost => "lost",
            StockReason::Returned => "returned",
            StockReason::Sale => "sale",
            StockReason::Import => "import",
        }
    }
}
