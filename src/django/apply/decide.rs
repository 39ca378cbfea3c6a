//! The decision about a row: insert it, follow it, or leave ours.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Applied, Count, Plan};
use crate::django::findings::{Finding, Findings, add};
use crate::django::hashes::RowKind;

/// Text about a row that changed in both shops.
pub(super) const CHANGED_IN_BOTH: &str = "it changed in both shops: ours stays";

/// A decision about a row.
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

/// Rows of one kind by what is to become of them, with their ids.
pub(super) struct Sorted<'a, T> {
    kind: RowKind,
    pub new: Vec<&'a T>,
    pub changed: Vec<&'a T>,
    /// Rows that changed in both shops.
    pub kept: Vec<(String, &'a T)>,
    /// Rows that the new shop has without an import.
    pub foreign: Vec<(String, &'a T)>,
    unchanged: usize,
}

/// Decides about all rows of a kind.
pub(super) fn sort<'a, T: Serialize>(
    plan: &Plan<'_>,
    kind: RowKind,
    rows: impl Iterator<Item = (String, &'a T)>,
    is_there: impl Fn(&T) -> bool,
) -> Sorted<'a, T> {
    let mut sorted = Sorted {
        kind,
        new: Vec::new(),
        changed: Vec::new(),
        kept: Vec::new(),
        foreign: Vec::new(),
        unchanged: 0,
    };
    for (id, row) in rows {
        match decide(plan, kind, &id, &wanted(row), is_there(row)) {
            Decision::Create => sorted.new.push(row),
            Decision::Follow => sorted.changed.push(row),
            Decision::Nothing => sorted.unchanged += 1,
            Decision::Keep => sorted.kept.push((id, row)),
            Decision::Foreign => sorted.foreign.push((id, row)),
        }
    }
    sorted
}

impl<T> Sorted<'_, T> {
    /// Counts the rows, and names those that stay as they are here, because they changed in both shops.
    pub fn name_kept(&self, applied: &mut Applied, findings: &mut Findings, text: &str) {
        let count = Count {
            created: self.new.len(),
            updated: self.changed.len(),
            unchanged: self.unchanged,
            kept: self.kept.len() + self.foreign.len(),
        };
        applied.counts.insert(self.kind, count);
        for (id, _) in &self.kept {
            add(&mut findings.conflicts, self.name(id), text);
        }
    }

    /// Names the rows that the new shop has without an import. They are not compared with the old shop's.
    pub fn name_foreign(&self, applied: &mut Applied, list: &mut Vec<Finding>, text: &str) {
        for (id, _) in &self.foreign {
            add(list, self.name(id), text);
            applied.keep_ours(self.kind, id);
        }
    }

    fn name(&self, id: &str) -> String {
        format!("{} {id}", self.kind.in_words())
    }
}
