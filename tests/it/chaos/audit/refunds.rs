//! Refunds, ours and Stripe's.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;

use super::{Books, Charge, Order, Refund, Report, Request, StripeRefund};

/// P2, P4: what we gave back is what Stripe gave back, call by call and in sum; what a bank sent back is said.
pub(super) fn check_refunds(books: &Books, report: &mut Report) {
    let requests: HashMap<&str, &Request> =
        books.requests.iter().map(|r| (r.id.as_str(), r)).collect();
    let orders: HashMap<&str, &Order> = books.orders.iter().map(|o| (o.id.as_str(), o)).collect();
    let ours: HashMap<&str, &Refund> = books.refunds.iter().map(|r| (r.id.as_str(), r)).collect();
    let at_stripe: HashMap<&str, &StripeRefund> = books
        .stripe_refunds
        .iter()
        .map(|r| (r.id.as_str(), r))
        .collect();
    let by_hand: HashSet<&str> = books
        .stripe_refunds
        .iter()
        .filter(|refund| refund.ours.is_none())
        .map(|refund| refund.payment.as_str())
        .collect();
    let sent_back: HashSet<&str> = books
        .stripe_refunds
        .iter()
        .filter(|refund| refund.status == "failed")
        .map(|refund| refund.payment.as_str())
        .collect();
    let disputed: HashSet<&str> = books
        .charges
        .iter()
        .filter(|charge| charge.disputed)
        .map(|charge| charge.payment.as_str())
        .collect();
    let mut sent: HashMap<&str, u32> = HashMap::new();
    for refund in &books.stripe_refunds {
        let Some(id) = &refund.ours else { continue };
        *sent.entry(id.as_str()).or_default() += 1;
        let fits = ours.get(id.as_str()).is_some_and(|known| {
            (known.payment_id.as_str(), known.amount) == (refund.payment.as_str(), refund.amount)
                && known.state == refund.status
                && known.stripe_refund_id.as_deref() == Some(&refund.id)
        });
        if !fits {
            report.broken(
                "P2",
                "refund differs",
                format!("{} at Stripe, {id} here", refund.id),
            );
        }
    }
    for (refund, times) in sent {
        if times > 1 {
            report.broken("P4", "refund sent twice", refund);
        }
    }
    for refund in &books.refunds {
        let Refund {
            id,
            state,
            payment_id,
            stripe_refund_id,
            ..
        } = refund;
        match state.as_str() {
            "succeeded" => {
                if let Some(known) = stripe_refund_id
                    && !at_stripe.contains_key(known.as_str())
                {
                    report.broken("P2", "refund unknown to Stripe", id);
                }
            }
            // Somebody gave money back by hand at the same moment, so Stripe refused the surplus; or a bank was in the way.
            "failed"
                if by_hand.contains(payment_id.as_str())
                    || sent_back.contains(payment_id.as_str())
                    || disputed.contains(payment_id.as_str()) => {}
            "failed" => report.broken("P2", "refund failed", id),
            _ => report.broken("P4", "refund hangs", format!("{id} is {state}")),
        }
    }
    // Money that is with us and should not be, or the other way round: a person has to look, so it is said.
    for payment in &books.payments {
        let in_trouble = sent_back.contains(payment.id.as_str())
            || books
                .refunds
                .iter()
                .any(|refund| refund.state == "failed" && refund.payment_id == payment.id);
        let order = payment.order_id.as_deref().and_then(|id| orders.get(id));
        let request = payment
            .custom_order_id
            .as_deref()
            .and_then(|id| requests.get(id));
        let is_said = order
            .map(|order| order.needs_a_hand)
            .or(request.map(|request| request.needs_a_hand));
        if in_trouble && is_said == Some(false) {
            report.broken("P2", "trouble unsaid", &payment.id);
        }
    }
    let charges: HashMap<&str, &Charge> = books
        .charges
        .iter()
        .map(|c| (c.payment.as_str(), c))
        .collect();
    for payment in &books.payments {
        let Some(charge) = charges.get(payment.id.as_str()) else {
            continue;
        };
        let order = payment.order_id.as_deref().and_then(|id| orders.get(id));
        let order = order.filter(|_| payment.outcome.as_deref() == Some("settled"));
        let told = order.map_or(charge.refunded, |order| order.refunded);
        // What the charge said before a bank sent some of it back is kept; the order is told what is left.
        let kept = match sent_back.contains(payment.id.as_str()) {
            true => charge.refunded,
            false => payment.refunded,
        };
        if kept != charge.refunded || told != charge.refunded {
            let where_ = format!(
                "{}: {} refunded at Stripe, {} in the book of payments, {told} at the order",
                payment.id, charge.refunded, payment.refunded
            );
            report.broken("P2", "refund differs", where_);
        }
        if let Some(order) = order
            && (order.status == "refunded") != (order.refunded == order.total)
        {
            report.broken(
                "P6",
                "refunded without a refund",
                format!("SB-{}", order.number),
            );
        }
    }
}

/// P2: the shop knows each refund of its payments by Stripe's id, with its amount and state, and each is one line of a
/// timeline, unless it failed before anybody was told.
pub(super) async fn check_refund_reports(
    shop: &mut PgConnection,
    books: &Books,
    report: &mut Report,
) -> sqlx::Result<()> {
    let known: Vec<(String, i64, String)> =
        sqlx::query_as("select id, amount, state from stripe_refunds")
            .fetch_all(&mut *shop)
            .await?;
    let known: HashMap<String, (i64, String)> = known
        .into_iter()
        .map(|(id, amount, state)| (id, (amount, state)))
        .collect();
    let lines: Vec<(String, i64)> = sqlx::query_as(
        "select owner, count(*)
         from (select order_id::text as owner, note from order_events where kind = 'refund'
               union all
               select custom_order_id::text, note from custom_order_events where kind = 'refund') entries
         where note like 'Refunded %'
         group by owner",
    )
    .fetch_all(&mut *shop)
    .await?;
    let lines: HashMap<String, i64> = lines.into_iter().collect();
    let owners: HashMap<&str, &str> = books
        .payments
        .iter()
        .filter(|payment| payment.outcome.is_some())
        .filter_map(|payment| {
            let owner = payment
                .order_id
                .as_deref()
                .or(payment.custom_order_id.as_deref());
            Some((payment.id.as_str(), owner?))
        })
        .collect();
    // By whom they are told of: all, and those that stand.
    let mut made: HashMap<&str, (i64, i64)> = HashMap::new();
    for refund in &books.stripe_refunds {
        let Some(owner) = owners.get(refund.payment.as_str()) else {
            continue;
        };
        let counts = made.entry(owner).or_default();
        counts.0 += 1;
        counts.1 += i64::from(refund.status != "failed");
        if known.get(&refund.id) != Some(&(refund.amount, refund.status.clone())) {
            report.broken("P2", "refund unknown by its id", &refund.id);
        }
    }
    for (owner, (all, standing)) in made {
        let told = lines.get(owner).copied().unwrap_or(0);
        if told < standing {
            report.broken("P6", "refund not on the timeline", owner);
        }
        if told > all {
            report.broken("P6", "refund twice on the timeline", owner);
        }
    }
    Ok(())
}
