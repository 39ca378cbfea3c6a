//! Orders that an earlier import made and that changed in the old shop since. They move forward only.

use sqlx::PgConnection;

use super::parts::{
    Checkout, Event, Payment, Shipped, flag, lines, write_checkouts, write_events, write_lines,
    write_payments, write_shipments,
};
use super::{Applied, Plan};
use crate::django::findings::{Findings, add};
use crate::django::hashes::RowKind;
use crate::django::map::UNEXPLAINED;
use crate::django::target::{Move, NewLine, NewOrder, is_settled};
use crate::error::Result;
use crate::orders::Status;
use crate::types::ids::OrderId;

/// The statuses between two, without the first; none where no way leads forward.
fn way(from: Status, to: Status) -> Option<Vec<Status>> {
    use Status::{Cancelled, Delivered, Expired, Failed, Paid, Pending, Refunded, Shipped};
    if from == to {
        return Some(Vec::new());
    }
    let next: &[Status] = match from {
        Pending => &[Paid, Expired, Cancelled, Failed],
        Expired | Cancelled | Failed => &[Paid],
        Paid => &[Refunded, Shipped],
        Shipped => &[Delivered, Refunded],
        Delivered => &[Refunded],
        Refunded => &[],
    };
    // The last step first: an unpaid order that ended is not paid on its way to another end.
    let mut direct = next.iter().filter(|status| **status == to);
    if direct.next().is_some() {
        return Some(vec![to]);
    }
    let onward = next.iter().filter(|status| is_settled(**status));
    onward
        .filter_map(|status| {
            let mut rest = way(*status, to)?;
            rest.insert(0, *status);
            Some(rest)
        })
        .next()
}

/// The timeline's entries of a way, at the times of the old shop.
fn steps(plan: &Plan<'_>, order: &NewOrder, from: Status, way: &[Status]) -> Vec<Event> {
    let mut last = from;
    let mut steps = Vec::new();
    for status in way {
        let at = order.moves.iter().find(|step| step.to == status.as_str());
        let step = Move {
            from: Some(last.as_str()),
            to: status.as_str(),
            at: at.map_or(plan.read_at, |step| step.at),
            note: String::new(),
        };
        steps.push(Event::of(order.id, &step));
        last = *status;
    }
    steps
}

/// Makes our order, which is as the last import left it, what the old shop's is now.
pub(super) async fn follow(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    order: &NewOrder,
    ours: Status,
    applied: &mut Applied,
    findings: &mut Findings,
) -> Result<()> {
    let id = order.id.to_string();
    let Some(way) = way(ours, order.status) else {
        let text = format!(
            "it went back from {} to {} in the old shop: ours stays",
            ours.as_str(),
            order.status.as_str()
        );
        add(&mut findings.conflicts, format!("order {id}"), text);
        applied.count(RowKind::Order).kept += 1;
        applied.keep_ours(RowKind::Order, &id);
        return Ok(());
    };
    update(conn, order).await?;
    match is_settled(ours) {
        true => write_unexplained(conn, plan, order).await?,
        false => rewrite_lines(conn, order).await?,
    }
    write_parts(conn, plan, order, ours, &way).await?;
    applied.count(RowKind::Order).updated += 1;
    Ok(())
}

/// Writes all lines of an order that is unpaid here: the old shop may not have had all of them at the last import.
async fn rewrite_lines(conn: &mut PgConnection, order: &NewOrder) -> Result<()> {
    sqlx::query("delete from order_lines where order_id = $1")
        .bind(order.id)
        .execute(&mut *conn)
        .await?;
    write_lines(conn, &lines(order, 0).collect::<Vec<_>>()).await
}

/// Replaces the line for money that no line explains. The others stay, once they are in.
async fn write_unexplained(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    order: &NewOrder,
) -> Result<()> {
    let known = plan.known.orders.get(&order.id);
    let known = known.map_or(&[][..], |ours| ours.lines.as_slice());
    let is_explained = |line: &&NewLine| line.product_id.is_some() || line.name != UNEXPLAINED;
    let known = known.iter().filter(is_explained).count();
    sqlx::query("delete from order_lines where order_id = $1 and product_id is null and name = $2")
        .bind(order.id)
        .bind(UNEXPLAINED)
        .execute(&mut *conn)
        .await?;
    write_lines(conn, &lines(order, known).collect::<Vec<_>>()).await
}

/// Moves an order on that changed here, too, as far as the old shop's is ahead. What changed here stays.
pub(super) async fn move_forward(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    order: &NewOrder,
    ours: Status,
    applied: &mut Applied,
    findings: &mut Findings,
) -> Result<()> {
    let id = order.id.to_string();
    let row = format!("order {id}");
    applied.keep_ours(RowKind::Order, &id);
    let way = way(ours, order.status).filter(|way| !way.is_empty());
    let Some(way) = way else {
        applied.count(RowKind::Order).kept += 1;
        add(
            &mut findings.conflicts,
            row,
            "it changed in both shops: ours stays",
        );
        return Ok(());
    };
    match is_settled(ours) {
        true => set_status(conn, order).await?,
        false => settle(conn, order).await?,
    }
    write_parts(conn, plan, order, ours, &way).await?;
    applied.count(RowKind::Order).updated += 1;
    let text = format!(
        "it changed in both shops: it moved on to {}, and otherwise ours stays",
        order.status.as_str()
    );
    add(&mut findings.conflicts, row, text);
    Ok(())
}

/// Payment, checkout, shipment, timeline and review items of an order that moved.
async fn write_parts(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    order: &NewOrder,
    from: Status,
    way: &[Status],
) -> Result<()> {
    let payment = Payment::of(order).filter(|_| is_settled(order.status));
    write_payments(conn, payment.as_slice()).await?;
    write_checkouts(conn, Checkout::of(order).as_slice()).await?;
    let mut events = steps(plan, order, from, way);
    // Of a customer whose data was deleted here, nothing comes back.
    if !is_erased(conn, order).await? {
        write_shipments(conn, Shipped::of(order).as_slice()).await?;
        let notes = order.notes.iter();
        events.extend(notes.map(|note| Event::note(order.id, note, plan.read_at)));
    }
    write_events(conn, &events).await?;
    flag(conn, OrderId(order.id), &order.reviews).await
}

async fn is_erased(conn: &mut PgConnection, order: &NewOrder) -> Result<bool> {
    let sql = "select erased_at is not null from orders where id = $1";
    let is_erased = sqlx::query_scalar(sql).bind(order.id);
    Ok(is_erased.fetch_one(conn).await?)
}

async fn update(conn: &mut PgConnection, order: &NewOrder) -> Result<()> {
    super::rows::write(
        conn,
        "update orders o
         set status = r.status, channel = r.channel, is_custom_order = r.is_custom_order, currency = r.currency,
             subtotal = r.subtotal, shipping = r.shipping, tax = 0, total = r.total,
             refunded = r.refunded, email = r.email, customer_name = r.customer_name,
             shipping_name = r.shipping_name, shipping_address = r.shipping_address,
             shipping_zone = r.shipping_zone, outside_zone = r.outside_zone, paid_at = r.paid_at,
             created_at = r.created_at,
             -- Once the payment is adopted, it is recorded.
             payment_unrecorded = r.payment_unrecorded
                                  and not exists (select from payments p
                                                  where p.order_id = o.id and p.outcome = 'settled'),
             updated_at = now()
         from jsonb_to_recordset($1)
              as r (id uuid, status text, channel text, is_custom_order boolean, currency text, subtotal bigint,
                    shipping bigint, total bigint, refunded bigint, email text, customer_name text, shipping_name text,
                    shipping_address jsonb, shipping_zone text, outside_zone boolean, created_at timestamptz,
                    paid_at timestamptz, payment_unrecorded boolean)
         where o.id = r.id",
        std::slice::from_ref(order),
    )
    .await?;
    Ok(())
}

/// Settles an order that is unpaid here. What somebody wrote into it stays.
async fn settle(conn: &mut PgConnection, order: &NewOrder) -> Result<()> {
    super::rows::write(
        conn,
        "update orders o
         set status = r.status, subtotal = r.subtotal, shipping = r.shipping, tax = 0, total = r.total,
             refunded = r.refunded, paid_at = r.paid_at, payment_unrecorded = r.payment_unrecorded,
             email = coalesce(o.email, r.email), customer_name = coalesce(o.customer_name, r.customer_name),
             shipping_name = coalesce(o.shipping_name, r.shipping_name),
             shipping_address = coalesce(o.shipping_address, r.shipping_address),
             shipping_zone = coalesce(o.shipping_zone, r.shipping_zone), outside_zone = r.outside_zone,
             processing_since = null, updated_at = now()
         from jsonb_to_recordset($1)
              as r (id uuid, status text, subtotal bigint, shipping bigint, total bigint, refunded bigint, email text,
                    customer_name text, shipping_name text, shipping_address jsonb, shipping_zone text,
                    outside_zone boolean, paid_at timestamptz, payment_unrecorded boolean)
         where o.id = r.id",
        std::slice::from_ref(order),
    )
    .await?;
    Ok(())
}

async fn set_status(conn: &mut PgConnection, order: &NewOrder) -> Result<()> {
    sqlx::query(
        "update orders
         set status = $2, refunded = case when $2 = 'refunded' then total else refunded end, updated_at = now()
         where id = $1",
    )
    .bind(order.id)
    .bind(order.status)
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_move_forward_along_legal_transitions_only() {
        for from in Status::ALL {
            for to in Status::ALL {
                let mut at = from;
                for step in way(from, to).unwrap_or_default() {
                    assert!(at.may_become(step), "{from:?} → {to:?}: {at:?} → {step:?}");
                    at = step;
                }
            }
        }
        use Status::{Delivered, Expired, Paid, Pending, Refunded, Shipped};
        assert_eq!(way(Pending, Shipped), Some(vec![Paid, Shipped]));
        assert_eq!(
            way(Expired, Delivered),
            Some(vec![Paid, Shipped, Delivered])
        );
        assert_eq!(way(Paid, Refunded), Some(vec![Refunded]));
        for (from, to) in [
            (Paid, Pending),
            (Shipped, Paid),
            (Refunded, Paid),
            (Expired, Pending),
        ] {
            assert_eq!(way(from, to), None, "{from:?} → {to:?}");
        }
    }
}
