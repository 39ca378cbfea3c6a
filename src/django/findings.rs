//! Findings of an import: what was mended, left out, kept or missing. They name rows by their ids and never contain a
//! customer's data.

use serde::Serialize;

/// A finding about one row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The row: `product odd-1`, `order 51bde378-…`, `custom order …`, `user 3`.
    pub row: String,
    pub text: String,
}

/// An image that did not come in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ImageFinding {
    /// The row that names the image.
    pub owner: String,
    /// Its name as written there, shortened.
    pub name: String,
    pub verdict: Verdict,
    pub why: String,
}

/// Judgement about an image that did not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// There is no such file.
    Missing,
    /// It is no image that the shop reads, or not one of the media folder.
    Refused,
    /// It is on another host, which the import does not ask.
    Elsewhere,
}

impl Verdict {
    /// The word in the report and on timelines.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Missing => "missing",
            Verdict::Refused => "refused",
            Verdict::Elsewhere => "elsewhere",
        }
    }
}

/// Everything that a person should know about an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Values that were changed so that they fit.
    pub mended: Vec<Finding>,
    /// Rows that did not come in.
    pub left_out: Vec<Finding>,
    /// Rows that a person must look at; each is a review item, too.
    pub to_review: Vec<Finding>,
    /// Peculiarities that need no action.
    pub noted: Vec<Finding>,
    /// Rows that changed in both shops: the new shop's version stays.
    pub conflicts: Vec<Finding>,
    /// Rows that the old shop has no more.
    pub gone: Vec<Finding>,
    pub images: Vec<ImageFinding>,
    /// Tables and columns that the import does not know.
    pub unknown: Vec<String>,
}

impl Findings {
    /// Returns true when nothing was mended, left out or missing.
    pub fn is_clean(&self) -> bool {
        self.count_strict() == 0
    }

    /// Number of findings that `--strict` refuses.
    pub fn count_strict(&self) -> usize {
        self.mended.len() + self.left_out.len() + self.conflicts.len() + self.images.len()
    }

    /// Sorts each list, so that equal imports have equal reports.
    pub fn sort(&mut self) {
        let lists = [
            &mut self.mended,
            &mut self.left_out,
            &mut self.to_review,
            &mut self.noted,
            &mut self.conflicts,
            &mut self.gone,
        ];
        lists.into_iter().for_each(|list| list.sort());
        self.images.sort();
        self.images.dedup();
    }
}

/// Adds a finding.
pub fn add(list: &mut Vec<Finding>, row: impl Into<String>, text: impl Into<String>) {
    list.push(Finding {
        row: row.into(),
        text: text.into(),
    });
}
