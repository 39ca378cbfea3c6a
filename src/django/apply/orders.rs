//! Orders that are new, in bulk, and the decision about the others.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::PgConnection;

use super::decide::{Decision, decide, wanted};
use super::parts::{
    Checkout, Event, Payment, Shipped, flag, lines, write_checkouts, write_events, write_lines,
    write_payments, write_shipments,
};
use super::{Applied, Plan, follow, rows};
use crate::django::findings::{Findings, add};
use crate::django::hashes::RowKind;
use crate::django::target::{NewOrder, is_settled};
use crate::error::Result;
use crate::types::ids::OrderId;

/// Writes the orders. Returns the pieces of sales that both shops took from their stock, by product.
pub(super) async fn write(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    applied: &mut Applied,
    findings: &mut Findings,
) -> anyhow::Result<HashMap<String, i64>> {
    let mut new = Vec::new();
    let mut both_took = HashMap::new();
    for order in &plan.target.orders {
        let id = order.id.to_string();
        let ours = plan.known.orders.get(&order.id);
        count_both(plan, order, &mut both_took);
        let decision = decide(plan, RowKind::Order, &id, &wanted(order), ours.is_some());
        match (decision, ours) {
            (Decision::Create, _) => {
                applied.count(RowKind::Order).created += 1;
                new.push(order);
            }
            (Decision::Nothing, _) => applied.count(RowKind::Order).unchanged += 1,
            (Decision::Follow, Some(ours)) => {
                follow::follow(conn, plan, order, ours.status, applied, findings).await?;
            }
            (Decision::Keep, Some(ours)) => {
                follow::move_forward(conn, plan, order, ours.status, applied, findings).await?;
            }
            _ => {
                applied.count(RowKind::Order).kept += 1;
                let text = "the new shop has an order of this id that no import made: ours stays";
                add(&mut findings.conflicts, format!("order {id}"), text);
                applied.keep_ours(RowKind::Order, &id);
            }
        }
    }
    insert(conn, plan, &new).await?;
    Ok(both_took)
}

/// Counts the pieces of an order that was unpaid at the last import, and that both shops have settled since.
fn count_both(plan: &Plan<'_>, order: &NewOrder, both_took: &mut HashMap<String, i64>) {
    let before = plan.known.row(RowKind::Order, &order.id.to_string());
    let before = before.and_then(|row| row.status.0);
    let ours = plan.known.orders.get(&order.id);
    let was_unpaid = before.is_some_and(|status| !is_settled(status));
    let is_paid_here = ours.is_some_and(|ours| is_settled(ours.status));
    if was_unpaid && is_paid_here && is_settled(order.status) {
        for line in &order.lines {
            if let Some(product) = &line.product_id {
                *both_took.entry(product.clone()).or_default() += i64::from(line.quantity);
            }
        }
    }
}

/// An order with its number.
#[derive(Serialize)]
struct Numbered<'a> {
    number: i64,
    #[serde(flatten)]
    order: &'a NewOrder,
}

async fn insert(conn: &mut PgConnection, plan: &Plan<'_>, new: &[&NewOrder]) -> Result<()> {
    // Not from the sequence, which a dry run would use up. It follows before the commit.
    let last: i64 = sqlx::query_scalar("select greatest(max(number), 1000) from orders")
        .fetch_one(&mut *conn)
        .await?;
    let numbered: Vec<Numbered<'_>> = (last + 1..)
        .zip(new)
        .map(|(number, order)| Numbered { number, order })
        .collect();
    rows::write(
        conn,
        "insert into orders (id, number, status, channel, is_custom_order, currency, subtotal, shipping, total, refunded,
                             email, customer_name, shipping_name, shipping_address, shipping_zone, outside_zone,
                             created_at, paid_at, updated_at, payment_unrecorded)
         select id, number, status, channel, is_custom_order, currency, subtotal, shipping, total, refunded,
                email, customer_name, shipping_name, shipping_address, shipping_zone, outside_zone,
                created_at, paid_at, created_at, payment_unrecorded
         from jsonb_to_recordset($1)
              as r (id uuid, number bigint, status text, channel text, is_custom_order boolean, currency text,
                    subtotal bigint, shipping bigint, total bigint, refunded bigint, email text, customer_name text,
                    shipping_name text, shipping_address jsonb, shipping_zone text, outside_zone boolean,
                    created_at timestamptz, paid_at timestamptz, payment_unrecorded boolean)",
        &numbered,
    )
    .await?;
    let lines = new.iter().flat_map(|order| lines(order, 0));
    write_lines(conn, &lines.collect::<Vec<_>>()).await?;
    let payments: Vec<Payment<'_>> = new.iter().filter_map(|order| Payment::of(order)).collect();
    write_payments(conn, &payments).await?;
    let checkouts: Vec<Checkout<'_>> = new.iter().filter_map(|order| Checkout::of(order)).collect();
    write_checkouts(conn, &checkouts).await?;
    let shipments: Vec<Shipped<'_>> = new.iter().filter_map(|order| Shipped::of(order)).collect();
    write_shipments(conn, &shipments).await?;
    let events = new.iter().flat_map(|order| {
        let notes = order
            .notes
            .iter()
            .map(|note| Event::note(order.id, note, plan.read_at));
        let moves = order.moves.iter().map(|step| Event::of(order.id, step));
        moves.chain(notes)
    });
    write_events(conn, &events.collect::<Vec<_>>()).await?;
    for order in new {
        flag(conn, OrderId(order.id), &order.reviews).await?;
    }
    Ok(())
}
