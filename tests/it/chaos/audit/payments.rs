//! Payments, delayed ones, and disputes.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;

use super::{Books, Charge, Dispute, Order, Payment, Report};

/// P2: each successful payment is one paid order or refunded in full; each paid order has one payment, over its sum.
pub(super) fn check_payments(books: &Books, report: &mut Report) {
    let orders: HashMap<&str, &Order> = books.orders.iter().map(|o| (o.id.as_str(), o)).collect();
    let payments: HashMap<&str, &Payment> =
        books.payments.iter().map(|p| (p.id.as_str(), p)).collect();
    let charges: HashMap<&str, &Charge> = books
        .charges
        .iter()
        .map(|c| (c.payment.as_str(), c))
        .collect();
    let failed: HashSet<&str> = books
        .refunds
        .iter()
        .filter(|refund| refund.state == "failed")
        .map(|refund| refund.payment_id.as_str())
        .collect();
    let mut paid_by: HashMap<&str, Vec<&str>> = HashMap::new();
    for charge in &books.charges {
        let Charge {
            payment,
            amount,
            refunded,
            ..
        } = charge;
        let known = payments.get(payment.as_str());
        let settles = known
            .filter(|known| known.outcome.as_deref() == Some("settled"))
            .and_then(|known| orders.get(known.order_id.as_deref()?))
            .filter(|order| order.paid);
        match settles {
            Some(order) => {
                paid_by.entry(&order.id).or_default().push(payment);
                if (order.total, &order.currency) != (*amount, &charge.currency) {
                    let where_ = format!(
                        "SB-{}: {} asked, {payment} paid {amount}",
                        order.number, order.total
                    );
                    report.broken("P2", "amount differs", where_);
                }
            }
            None if refunded == amount || charge.charged_back => {}
            // We sent it back, and that failed.
            None if failed.contains(payment.as_str()) => {}
            None => {
                let where_ = format!("{payment}: {amount} paid, {refunded} refunded");
                report.broken("P2", "payment without order", where_);
            }
        }
        if let Some(known) = known
            && known.outcome.is_some()
            && (known.amount, &known.currency) != (*amount, &charge.currency)
        {
            let where_ = format!(
                "{payment}: {amount} at Stripe, {} in our book",
                known.amount
            );
            report.broken("P2", "amount differs", where_);
        }
    }
    for order in books
        .orders
        .iter()
        .filter(|o| o.paid && o.channel != "manual")
    {
        match paid_by
            .get(order.id.as_str())
            .map_or(&[][..], Vec::as_slice)
        {
            [] => report.broken(
                "P2",
                "paid order without payment",
                format!("SB-{}", order.number),
            ),
            [_] => {}
            many => {
                let where_ = format!("SB-{}: {}", order.number, many.join(", "));
                report.broken("P2", "order paid twice", where_);
            }
        }
    }
    for payment in &books.payments {
        if payment.outcome.is_some() && !charges.contains_key(payment.id.as_str()) {
            report.broken("P2", "payment unknown to Stripe", &payment.id);
        }
    }
    for request in &books.requests {
        let paid = matches!(
            request.status.as_str(),
            "paid" | "in_production" | "shipped" | "completed" | "refunded"
        );
        let order = request.order_id.as_deref().and_then(|id| orders.get(id));
        // Both are refunded, or neither is: a bank may send a refund back.
        let differs = order
            .is_some_and(|order| (order.status == "refunded") != (request.status == "refunded"));
        if paid != order.is_some_and(|order| order.paid && order.channel == "custom_order")
            || differs
        {
            report.broken(
                "P2",
                "request and order differ",
                format!("CO-{}", request.number),
            );
        }
    }
    let custom_orders: HashSet<&str> = books
        .requests
        .iter()
        .filter_map(|r| r.order_id.as_deref())
        .collect();
    for order in books
        .orders
        .iter()
        .filter(|order| order.channel == "custom_order")
    {
        if !custom_orders.contains(order.id.as_str()) {
            report.broken(
                "P2",
                "request and order differ",
                format!("SB-{}", order.number),
            );
        }
    }
}

/// P10: of a delayed payment that was decided nothing waits, and the customer of one that failed was told.
pub(super) async fn check_delayed(
    shop: &mut PgConnection,
    stripe: &mut PgConnection,
    report: &mut Report,
) -> sqlx::Result<()> {
    let waiting: Vec<i64> =
        sqlx::query_scalar("select number from orders where processing_since is not null")
            .fetch_all(&mut *shop)
            .await?;
    for number in waiting {
        report.broken("P4", "delayed payment undecided", format!("SB-{number}"));
    }
    let failed: Vec<String> = sqlx::query_scalar(
        "select distinct data #>> '{data,object,client_reference_id}'
         from stripe_sandbox.objects
         where object = 'event' and data ->> 'type' = 'checkout.session.async_payment_failed'
           and data #>> '{data,object,client_reference_id}' is not null",
    )
    .fetch_all(stripe)
    .await?;
    let told: Vec<String> = sqlx::query_scalar(
        "select order_id::text from emails where kind = 'payment_failed' and order_id is not null",
    )
    .fetch_all(shop)
    .await?;
    let told: HashSet<String> = told.into_iter().collect();
    for order in failed {
        if !told.contains(&order) {
            report.broken(
                "emails",
                "email missing",
                format!("payment_failed of {order}"),
            );
        }
    }
    Ok(())
}

/// P3: each dispute is here by its own id, as it stands at Stripe.
pub(super) fn check_disputes(books: &Books, report: &mut Report) {
    let ours: HashMap<&str, &Dispute> = books.disputes.iter().map(|d| (d.id.as_str(), d)).collect();
    let theirs: HashSet<&str> = books
        .stripe_disputes
        .iter()
        .map(|dispute| dispute.id.as_str())
        .collect();
    for dispute in &books.stripe_disputes {
        if ours.get(dispute.id.as_str()) != Some(&dispute) {
            let here = ours.get(dispute.id.as_str());
            let where_ = format!("{dispute:?} at Stripe, {here:?} here");
            report.broken("P3", "dispute differs", where_);
        }
    }
    for dispute in &books.disputes {
        if !theirs.contains(dispute.id.as_str()) {
            report.broken(
                "P3",
                "dispute differs",
                format!("{dispute:?} is here alone"),
            );
        }
    }
}
