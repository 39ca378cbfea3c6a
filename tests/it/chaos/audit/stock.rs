//! Stock, shipments, and pieces after refunds.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;

use super::{Books, Order, Report};

/// P1, P5: never less than nothing, no hold without a pending order, and the ledger explains the stock.
pub(super) async fn check_stock(shop: &mut PgConnection, report: &mut Report) -> sqlx::Result<()> {
    #[derive(sqlx::FromRow)]
    struct Product {
        id: String,
        on_hand: i32,
        reserved: i32,
        explained: i64,
        sold: i64,
        supplied: i64,
    }
    let products: Vec<Product> = sqlx::query_as(
        "select p.id, p.on_hand, p.reserved,
                coalesce((select sum(m.delta) from stock_movements m where m.product_id = p.id), 0)::bigint as explained,
                coalesce((select sum(l.quantity) from order_lines l join orders o on o.id = l.order_id
                          where l.product_id = p.id and o.paid_at is not null), 0)::bigint as sold,
                coalesce((select sum(m.delta) from stock_movements m
                          where m.product_id = p.id and m.reason <> 'sale'), 0)::bigint as supplied
         from products p
         order by p.id",
    )
    .fetch_all(shop)
    .await?;
    for product in products {
        let Product {
            id,
            on_hand,
            reserved,
            explained,
            sold,
            supplied,
        } = product;
        if reserved < 0 || on_hand < reserved {
            report.broken(
                "P1",
                "oversold",
                format!("{id}: {on_hand} on hand, {reserved} reserved"),
            );
        }
        if reserved > 0 {
            report.broken("P1", "hold left", format!("{id}: {reserved} reserved"));
        }
        if explained != i64::from(on_hand) {
            let where_ = format!("{id}: {on_hand} on hand, the ledger says {explained}");
            report.broken("P5", "stock without ledger", where_);
        }
        if sold > supplied {
            let where_ = format!("{id}: {sold} sold of {supplied} there ever were");
            report.broken("P1", "piece sold twice", where_);
        }
    }
    Ok(())
}

/// A line of an order, as the shop counts its pieces.
#[derive(sqlx::FromRow)]
struct Pieces {
    order_id: String,
    product_id: Option<String>,
    quantity: i64,
    restocked: i64,
    shipped: i64,
    returned: i64,
    /// Quantity that came back of it, by the ledger.
    back: i64,
}

/// P1: a piece that went back into stock is not shipped, an order of which nothing is left is not, and one whose money was
/// refunded in full is not shipped afterwards; P5: what came back is counted.
pub(super) async fn check_shipping(
    shop: &mut PgConnection,
    books: &Books,
    report: &mut Report,
) -> sqlx::Result<()> {
    let lines: Vec<Pieces> = sqlx::query_as(
        "select l.order_id::text, l.product_id, l.quantity::bigint, l.restocked::bigint, l.shipped::bigint,
                l.returned::bigint,
                coalesce((select sum(m.delta) from stock_movements m
                          where m.order_id = l.order_id and m.product_id = l.product_id and m.reason <> 'sale'),
                         0)::bigint as back
         from order_lines l",
    )
    .fetch_all(&mut *shop)
    .await?;
    let shipments: Vec<String> = sqlx::query_scalar("select order_id::text from shipments")
        .fetch_all(&mut *shop)
        .await?;
    let orders: HashMap<&str, &Order> = books.orders.iter().map(|o| (o.id.as_str(), o)).collect();
    let mut shipped: HashMap<&str, i64> = HashMap::new();
    for line in &lines {
        *shipped.entry(&line.order_id).or_default() += line.shipped;
        let name = format!("SB-{}", orders[line.order_id.as_str()].number);
        if line.restocked + line.shipped > line.quantity {
            let Pieces {
                quantity,
                restocked,
                shipped,
                ..
            } = line;
            let where_ = format!("{name}: {quantity} sold, {restocked} back, {shipped} shipped");
            report.broken("P1", "restocked piece shipped", where_);
        }
        if line.restocked + line.returned != line.back {
            report.broken("P5", "return not counted", name);
        }
    }
    for order in &shipments {
        if shipped.get(order.as_str()) == Some(&0) {
            let name = format!("SB-{}", orders[order.as_str()].number);
            report.broken("P1", "shipped with nothing to ship", name);
        }
    }
    check_after_refunds(shop, books, &lines, report).await
}

/// The same by the log of who did what, whose entries have the order in which the order's row was locked: what was given
/// back before the shipment was not in it.
async fn check_after_refunds(
    shop: &mut PgConnection,
    books: &Books,
    lines: &[Pieces],
    report: &mut Report,
) -> sqlx::Result<()> {
    let log: Vec<(String, String, serde_json::Value)> = sqlx::query_as(
        "select action, object, coalesce(after, '{}')
         from audit_log
         where action in ('order.refund', 'order.restock', 'order.ship', 'custom_order.ship')
         order by id",
    )
    .fetch_all(shop)
    .await?;
    let requests = books.requests.iter();
    let by_request: HashMap<String, &str> = requests
        .filter_map(|r| {
            Some((
                format!("custom_order:CO-{}", r.number),
                r.order_id.as_deref()?,
            ))
        })
        .collect();
    let orders = books.orders.iter();
    let by_order: HashMap<String, &Order> = orders
        .map(|order| (format!("order:SB-{}", order.number), order))
        .collect();
    // A refund that failed is none, and the log does not tell which one that was.
    let payments = books.payments.iter().filter(|payment| {
        let mut ours = books.refunds.iter();
        let mut theirs = books.stripe_refunds.iter();
        ours.any(|refund| refund.state == "failed" && refund.payment_id == payment.id)
            || theirs.any(|refund| refund.status == "failed" && refund.payment == payment.id)
    });
    let failed: HashSet<&str> = payments.filter_map(|p| p.order_id.as_deref()).collect();
    let mut money: HashMap<&str, i64> = HashMap::new();
    let mut back: HashMap<(&str, &str), i64> = HashMap::new();
    for (action, object, after) in &log {
        let order = by_order.get(object).copied().or_else(|| {
            let id = by_request.get(object)?;
            books.orders.iter().find(|order| order.id == *id)
        });
        let Some(order) = order else { continue };
        if action == "order.refund" || action == "order.restock" {
            if action == "order.refund" {
                let amount = after["refund"].as_i64().unwrap_or(order.total);
                *money.entry(&order.id).or_default() += amount;
            }
            for piece in after["restock"].as_array().into_iter().flatten() {
                let product = piece["product"].as_str().unwrap_or_default();
                *back.entry((&order.id, product)).or_default() +=
                    piece["quantity"].as_i64().unwrap_or_default();
            }
            continue;
        }
        let name = format!("SB-{}", order.number);
        let given_back = money.get(order.id.as_str()).copied().unwrap_or(0);
        if order.total > 0 && given_back >= order.total && !failed.contains(order.id.as_str()) {
            report.broken("P1", "shipped after a refund in full", &name);
        }
        for line in lines.iter().filter(|line| line.order_id == order.id) {
            let product = line.product_id.as_deref().unwrap_or_default();
            let back = back
                .get(&(order.id.as_str(), product))
                .copied()
                .unwrap_or(0);
            if line.shipped > line.quantity - back {
                report.broken(
                    "P1",
                    "restocked piece shipped",
                    format!("{name}: {product}"),
                );
            }
        }
    }
    Ok(())
}
