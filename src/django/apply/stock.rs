//! Stock, which follows the old shop's counts by their differences, in the ledger.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::{Applied, Plan};
use crate::django::findings::{Findings, add};
use crate::django::hashes::RowKind;
use crate::error::Result;
use crate::review_items::{self, Kind, NewItem, Subject};

/// Note of the first movement of each product.
const OPENING: &str = "Opening balance from the old shop";

const LATER: &str = "Difference in the old shop since the last import";

#[derive(Serialize)]
struct Difference<'a> {
    id: &'a str,
    /// Difference in the old shop.
    delta: i64,
    /// Pieces of sales that both shops took from their stock.
    counted_twice: i64,
    note: &'static str,
}

/// A product whose stock or holds were written.
#[derive(sqlx::FromRow)]
struct Followed {
    id: String,
    /// Pieces that could not be taken, because orders hold them, or because there were none.
    short: i64,
}

/// Writes the differences and their ledger, and the holds of pending orders. Returns the products that were written.
const FOLLOW: &str =
    "with held as (
             select l.product_id, sum(l.quantity)::integer as pieces
             from order_lines l
             join orders o on o.id = l.order_id
             where o.status = 'pending'
               and l.product_id is not null
             group by l.product_id
         ),
         change as (
             select p.id, p.on_hand, coalesce(h.pieces, 0) as reserved, coalesce(r.delta, 0) as delta,
                    coalesce(r.counted_twice, 0)::integer as counted_twice, coalesce(r.note, '') as note,
                    greatest(p.on_hand + coalesce(r.delta, 0) + coalesce(r.counted_twice, 0),
                             coalesce(h.pieces, 0), 0)::integer as wanted
             from products p
             left join held h on h.product_id = p.id
             left join jsonb_to_recordset($1) as r (id text, delta bigint, counted_twice bigint, note text)
                    on r.id = p.id
             where r.id is not null
                or p.reserved <> coalesce(h.pieces, 0)
         ),
         moved as (
             insert into stock_movements (product_id, delta, reason, note, actor)
             select id, wanted - on_hand - counted_twice, 'import', note, 'import'
             from change
             where wanted <> on_hand + counted_twice
             union all
             select id, counted_twice, 'correction', 'A sale that both shops counted', 'import'
             from change
             where counted_twice <> 0
         )
         update products p
         set on_hand = change.wanted, reserved = change.reserved
         from change
         where p.id = change.id
         returning p.id, change.wanted - (change.on_hand + change.delta + change.counted_twice) as short";

/// Brings stock and holds in line. `both_took` has the pieces of sales that both shops counted.
pub(super) async fn follow(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    both_took: &HashMap<String, i64>,
    applied: &mut Applied,
    findings: &mut Findings,
) -> Result<()> {
    let differences = differences(plan, both_took);
    let followed: Vec<Followed> = sqlx::query_as(FOLLOW)
        .bind(Json(&differences))
        .fetch_all(&mut *conn)
        .await?;
    for product in followed.into_iter().filter(|product| product.short > 0) {
        let text = format!(
            "{} of {} pieces that left the old shop could not be taken from the stock: both shops may have sold them.",
            product.short, product.id
        );
        let cause = format!(
            "takeover:product:{}:{}",
            product.id,
            plan.read_at.timestamp()
        );
        let item = NewItem::new(Kind::Takeover, cause, &text);
        review_items::flag(conn, Subject::default(), "import", &item).await?;
        add(
            &mut findings.to_review,
            format!("product {}", product.id),
            text,
        );
        applied.odd_stock.insert(product.id);
    }
    Ok(())
}

/// The differences of all products since their last import, by product.
fn differences<'a>(plan: &Plan<'a>, both_took: &HashMap<String, i64>) -> Vec<Difference<'a>> {
    let mut differences = BTreeMap::new();
    for product in &plan.target.products {
        let before = plan.known.row(RowKind::Product, &product.id);
        let is_foreign = before.is_none() && plan.known.products.contains_key(&product.id);
        if is_foreign {
            continue;
        }
        let stock = before.and_then(|row| row.stock).unwrap_or(0);
        let counted_twice = both_took.get(&product.id).copied().unwrap_or(0);
        let delta = i64::from(product.stock) - i64::from(stock);
        if delta != 0 || counted_twice != 0 {
            let id = product.id.as_str();
            let difference = Difference {
                id,
                delta,
                counted_twice,
                note: if before.is_none() { OPENING } else { LATER },
            };
            differences.insert(id, difference);
        }
    }
    differences.into_values().collect()
}
