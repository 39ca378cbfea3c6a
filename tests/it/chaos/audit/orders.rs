//! Sales, and the moves of orders and custom orders.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::{Books, Move, Order, Report};

/// The arrows of docs/guarantees.md, that of late money (an order whose hold is gone becomes paid where its pieces are
/// there), and those back from `refunded`, where a bank sends the refund back.
const ORDER_MOVES: [(&str, &str); 16] = [
    ("pending", "paid"),
    ("pending", "expired"),
    ("pending", "cancelled"),
    ("pending", "failed"),
    ("expired", "paid"),
    ("cancelled", "paid"),
    ("failed", "paid"),
    ("paid", "shipped"),
    ("paid", "refunded"),
    ("shipped", "paid"),
    ("shipped", "delivered"),
    ("shipped", "refunded"),
    ("delivered", "refunded"),
    ("refunded", "paid"),
    ("refunded", "shipped"),
    ("refunded", "delivered"),
];

const REQUEST_MOVES: [(&str, &str); 18] = [
    ("pending", "approved"),
    ("pending", "rejected"),
    ("approved", "pending"),
    ("approved", "expired"),
    ("approved", "paid"),
    ("expired", "approved"),
    ("paid", "in_production"),
    ("in_production", "shipped"),
    ("shipped", "in_production"),
    ("shipped", "completed"),
    ("paid", "refunded"),
    ("in_production", "refunded"),
    ("shipped", "refunded"),
    ("completed", "refunded"),
    ("refunded", "paid"),
    ("refunded", "in_production"),
    ("refunded", "shipped"),
    ("refunded", "completed"),
];

/// P1, P3, P5: a paid order took each of its pieces once, and an order that was not paid took none.
pub(super) async fn check_sales(
    shop: &mut PgConnection,
    books: &Books,
    report: &mut Report,
) -> sqlx::Result<()> {
    type Pieces = HashMap<(String, String), i64>;
    let lines: Vec<(String, String, i64)> = sqlx::query_as(
        "select order_id::text, product_id, sum(quantity)::bigint
         from order_lines
         where product_id is not null
         group by 1, 2",
    )
    .fetch_all(&mut *shop)
    .await?;
    let lines: Pieces = lines.into_iter().map(|(o, p, n)| ((o, p), n)).collect();
    let movements: Vec<(String, String, String, i64)> = sqlx::query_as(
        "select order_id::text, product_id, reason, sum(delta)::bigint
         from stock_movements
         where order_id is not null
         group by 1, 2, 3",
    )
    .fetch_all(&mut *shop)
    .await?;
    let (mut taken, mut returned) = (Pieces::new(), Pieces::new());
    for (order, product, reason, delta) in movements {
        let into = if reason == "sale" {
            &mut taken
        } else {
            &mut returned
        };
        *into.entry((order, product)).or_default() += delta;
    }
    let orders: HashMap<&str, &Order> = books.orders.iter().map(|o| (o.id.as_str(), o)).collect();
    for ((order, product), quantity) in &lines {
        let known = orders[order.as_str()];
        let key = (order.clone(), product.clone());
        let taken = -taken.remove(&key).unwrap_or(0);
        let where_ = format!(
            "SB-{}: {product}, {quantity} bought, {taken} taken",
            known.number
        );
        match (known.paid, taken) {
            (true, taken) if taken > *quantity => {
                report.broken("P3", "took effect twice", where_);
            }
            (true, taken) if taken < *quantity => report.broken("P5", "sale without stock", where_),
            (false, 1..) => report.broken("P5", "stock taken unpaid", where_),
            _ => {}
        }
        if returned.get(&key).is_some_and(|back| back > quantity) {
            report.broken(
                "P5",
                "more came back than was sold",
                format!("SB-{}: {product}", known.number),
            );
        }
    }
    for ((order, product), _) in taken {
        report.broken(
            "P5",
            "sale without a line",
            format!("order {order}: {product}"),
        );
    }
    Ok(())
}

/// P6: statuses moved along the arrows, from where they were to where they are; P3: and were paid once.
pub(super) async fn check_moves(
    shop: &mut PgConnection,
    books: &Books,
    report: &mut Report,
) -> sqlx::Result<()> {
    let of_orders: Vec<Move> = sqlx::query_as(
        "select order_id::text as owner, from_status, to_status
         from order_events
         where to_status is not null
         order by id",
    )
    .fetch_all(&mut *shop)
    .await?;
    let of_requests: Vec<Move> = sqlx::query_as(
        "select custom_order_id::text as owner, from_status, to_status
         from custom_order_events
         where to_status is not null
         order by id",
    )
    .fetch_all(&mut *shop)
    .await?;
    let orders = books.orders.iter().map(|order| {
        let first = if order.channel == "manual" {
            "delivered"
        } else {
            "pending"
        };
        (
            &order.id,
            format!("SB-{}", order.number),
            &order.status,
            first,
        )
    });
    follow(&of_orders, &ORDER_MOVES, orders, report);
    let requests = books.requests.iter().map(|request| {
        (
            &request.id,
            format!("CO-{}", request.number),
            &request.status,
            "pending",
        )
    });
    follow(&of_requests, &REQUEST_MOVES, requests, report);
    Ok(())
}

fn follow<'a>(
    moves: &[Move],
    arrows: &[(&str, &str)],
    owners: impl Iterator<Item = (&'a String, String, &'a String, &'static str)>,
    report: &mut Report,
) {
    let mut by_owner: HashMap<&str, Vec<&Move>> = HashMap::new();
    for step in moves {
        by_owner.entry(&step.owner).or_default().push(step);
    }
    for (id, name, status, first) in owners {
        let steps = by_owner.remove(id.as_str()).unwrap_or_default();
        let mut now: Option<&str> = None;
        let mut payments = 0;
        for step in steps {
            let (from, to) = (
                step.from_status.as_deref(),
                step.to_status.as_deref().unwrap_or_default(),
            );
            let where_ = format!("{name}: {} to {to}", from.unwrap_or("nothing"));
            match (now, from) {
                (None, None) if to == first => {}
                (Some(now), Some(from)) if now == from => {
                    // Paid once more, after the bank sent a refund back or a shipment was undone, is no second payment.
                    payments += u32::from(to == "paid" && !["refunded", "shipped"].contains(&from));
                    if !arrows.contains(&(from, to)) {
                        report.broken("P6", "illegal move", where_);
                    }
                }
                _ => {
                    payments += u32::from(to == "paid");
                    report.broken("P6", "timeline broken", where_);
                }
            }
            now = Some(to);
        }
        if now != Some(status.as_str()) {
            let where_ = format!(
                "{name} is {status}, its timeline ends at {}",
                now.unwrap_or("nothing")
            );
            report.broken("P6", "timeline broken", where_);
        }
        if payments > 1 {
            report.broken(
                "P3",
                "took effect twice",
                format!("{name} became paid {payments} times"),
            );
        }
    }
}
