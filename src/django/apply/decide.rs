//! The decision about a row: insert it, follow it, or leave ours.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Plan;
use crate::django::hashes::RowKind;

/// What to do with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Create,
    /// The old shop's row is as it was.
    Nothing,
    /// The old shop's row changed, and ours is as the import left it.
    Follow,
    /// Both changed.
    Keep,
    /// The new shop has a row of this id that no import made.
    Foreign,
}

/// Hash of what a row is to become.
pub(super) fn wanted(row: &impl Serialize) -> String {
    let json = serde_json::to_vec(row).expect("a row is plain data");
    hex::encode(Sha256::digest(json))
}

/// Decides about a row of which the new shop has one, or has none.
pub(super) fn decide(
    plan: &Plan<'_>,
    kind: RowKind,
    id: &str,
    wanted: &str,
    is_there: bool,
) -> Decision {
    match plan.known.row(kind, id) {
        None if is_there => Decision::Foreign,
        None => Decision::Create,
        Some(row) if row.wanted == wanted => Decision::Nothing,
        Some(row) if row.is_untouched => Decision::Follow,
        Some(_) => Decision::Keep,
    }
}
