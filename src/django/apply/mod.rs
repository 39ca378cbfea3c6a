//! Writing: what is new is inserted, what changed in the old shop alone is followed, and what changed here stays.

mod catalog;
mod custom_orders;
mod decide;
mod follow;
mod orders;
mod parts;
mod rows;
mod stock;
mod users;

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use super::findings::{Findings, add};
use super::hashes::RowKind;
use super::known::Known;
use super::target::Target;

/// Rows of one kind by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    pub created: usize,
    pub updated: usize,
    pub unchanged: usize,
    /// Rows of the old shop that changed here, too: ours stays.
    pub kept: usize,
}

/// Result of the writing.
#[derive(Default)]
pub struct Applied {
    pub counts: BTreeMap<RowKind, Count>,
    /// Rows that the new shop has changed: they are not compared with the old shop's.
    pub ours: HashSet<(RowKind, String)>,
    /// Products whose stock could not follow, or followed otherwise than by the old shop's count.
    pub odd_stock: HashSet<String>,
}

impl Applied {
    fn count(&mut self, kind: RowKind) -> &mut Count {
        self.counts.entry(kind).or_default()
    }

    fn keep_ours(&mut self, kind: RowKind, id: &str) {
        self.ours.insert((kind, id.to_owned()));
    }
}

/// All that the writing reads.
pub struct Plan<'a> {
    pub target: &'a Target,
    pub known: &'a Known,
    /// Time of the snapshot.
    pub read_at: DateTime<Utc>,
    /// Nothing of new products is told to Stripe until the final import.
    pub is_paused: bool,
}

/// Writes all rows in the caller's transaction.
///
/// # Errors
/// A sentence about a row that cannot be written; database errors.
pub async fn apply(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    findings: &mut Findings,
) -> anyhow::Result<Applied> {
    let mut applied = Applied::default();
    for (kind, rows) in &plan.known.rows {
        let touched = rows.iter().filter(|(_, row)| !row.is_untouched);
        applied
            .ours
            .extend(touched.map(|(id, _)| (*kind, id.clone())));
    }
    catalog::write_categories(conn, plan, &mut applied, findings).await?;
    users::write(conn, plan, &mut applied, findings).await?;
    catalog::remove_products(conn, plan, findings).await?;
    catalog::write_products(conn, plan, &mut applied, findings).await?;
    let both_took = orders::write(conn, plan, &mut applied, findings).await?;
    custom_orders::write(conn, plan, &mut applied, findings).await?;
    stock::follow(conn, plan, &both_took, &mut applied, findings).await?;
    rows::record_all(conn, plan, &applied).await?;
    name_gone(plan, findings);
    Ok(applied)
}

/// Names the rows, other than products, that the old shop has no more.
fn name_gone(plan: &Plan<'_>, findings: &mut Findings) {
    let target = plan.target;
    let there = |kind: RowKind| -> HashSet<String> {
        match kind {
            RowKind::Category => ids(&target.categories, |row| row.id),
            RowKind::User => ids(&target.users, |row| row.old_id),
            RowKind::Order => ids(&target.orders, |row| row.id),
            RowKind::CustomOrder => ids(&target.custom_orders, |row| row.id),
            RowKind::Product => ids(&target.products, |row| row.id.clone()),
        }
    };
    for (kind, rows) in &plan.known.rows {
        if *kind == RowKind::Product {
            continue;
        }
        let there = there(*kind);
        for id in rows.keys().filter(|id| !there.contains(*id)) {
            let row = format!("{} {id}", kind.in_words());
            let text = "the old shop has it no more: it stays here";
            add(&mut findings.gone, row, text);
        }
    }
}

fn ids<T, I: ToString>(rows: &[T], id: impl Fn(&T) -> I) -> HashSet<String> {
    rows.iter().map(|row| id(row).to_string()).collect()
}
