//! Review items, events, and leftovers.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;

use super::{Books, Item, Report, Warning};

/// The events of Stripe's that change something here.
const EVENTS: [&str; 18] = [
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "charge.refunded",
    "charge.refund.updated",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "radar.early_fraud_warning.created",
    "radar.early_fraud_warning.updated",
    "review.opened",
    "review.closed",
];

/// P10: what needs a person is a review item, open until it is resolved or its cause is gone, and emailed once.
pub(super) async fn check_items(
    shop: &mut PgConnection,
    books: &Books,
    report: &mut Report,
) -> sqlx::Result<()> {
    let about = |source: &str| {
        let below = format!("{source}:");
        let items = books.items.iter();
        items
            .filter(|item| item.cause == source || item.cause.starts_with(&below))
            .collect::<Vec<&Item>>()
    };
    for dispute in &books.stripe_disputes {
        let source = format!("payment:{}:dispute:{}:lost", dispute.payment, dispute.id);
        if dispute.state == "lost" && about(&source).is_empty() {
            report.broken("P10", "lost dispute unsaid", &source);
        }
    }
    let mut check = |source: String, matters: bool, unsaid: &'static str| {
        let items = about(&source);
        let is_said = items.iter().any(|item| item.open || item.by_hand);
        if matters && !is_said {
            report.broken("P10", unsaid, &source);
        }
        // One that was lost unheard of stays until somebody has seen it.
        let outlives = |item: &&Item| item.open && !item.cause.ends_with(":lost");
        if !matters && items.into_iter().any(|item| outlives(&item)) {
            report.broken("P10", "review item outlives its cause", &source);
        }
    };
    for dispute in &books.stripe_disputes {
        let source = format!("payment:{}:dispute:{}", dispute.payment, dispute.id);
        check(source, dispute.is_open(), "dispute unsaid");
    }
    for warning in &books.warnings {
        let Warning { id, payment, .. } = warning;
        match warning.object.as_str() {
            "review" => check(
                format!("payment:{payment}:review:{id}"),
                warning.matters,
                "review unsaid",
            ),
            _ if warning.matters => check(
                format!("payment:{payment}:fraud_warning:{id}"),
                true,
                "fraud warning unsaid",
            ),
            _ => {}
        }
    }
    // What another email or the report of an import tells, or cannot be emailed.
    let quiet = [
        "other",
        "payment_refused",
        "shop_email_undelivered",
        "takeover",
    ];
    let emailed: HashSet<&str> = books
        .emails
        .iter()
        .map(|email| email.dedup_key.as_str())
        .collect();
    for item in &books.items {
        let cause = format!("review_item:{}", item.id);
        let is_loud = !item.passed && !quiet.contains(&item.kind.as_str());
        if is_loud && !emailed.contains(cause.as_str()) {
            report.broken("P10", "review item not emailed", &item.cause);
        }
    }
    let nowhere: Vec<String> = sqlx::query_scalar(
        "select id::text from orders
         where paid_at is not null and channel <> 'manual' and coalesce(shipping_address ->> 'line1', '') = ''",
    )
    .fetch_all(shop)
    .await?;
    for order in nowhere {
        let is_said = books.items.iter().any(|item| {
            item.kind == "address_missing" && item.order_id.as_deref() == Some(order.as_str())
        });
        if !is_said {
            report.broken("P10", "missing address unsaid", order);
        }
    }
    Ok(())
}

/// P3: each event that we told Stripe we have is kept, once; each that changes something here was processed, however it came;
/// none is unknown to Stripe.
pub(super) async fn check_events(
    shop: &mut PgConnection,
    stripe: &mut PgConnection,
    report: &mut Report,
) -> sqlx::Result<()> {
    let at_stripe: Vec<(String, String, bool)> = sqlx::query_as(
        "select o.id, o.data ->> 'type', d.delivered is not null
         from stripe_sandbox.objects o
         join stripe_sandbox.deliveries d on d.event = o.id
         where o.object = 'event'
         order by o.seq",
    )
    .fetch_all(stripe)
    .await?;
    let ours: Vec<(String, String)> = sqlx::query_as("select id, status from stripe_events")
        .fetch_all(shop)
        .await?;
    let mut kept: HashMap<&str, Vec<&str>> = HashMap::new();
    for (id, status) in &ours {
        kept.entry(id).or_default().push(status);
    }
    for (id, kind, acknowledged) in &at_stripe {
        let matters = EVENTS.contains(&kind.as_str());
        let kept = kept.remove(id.as_str()).unwrap_or_default();
        let where_ = format!("{kind} {id}");
        match kept[..] {
            ["processed"] => {}
            ["ignored"] if !matters => {}
            [] if !matters && !acknowledged => {}
            [] | ["ignored"] => report.broken("P3", "event lost", where_),
            [status] => report.broken("P3", "event not processed", format!("{where_} is {status}")),
            _ => report.broken("P3", "event kept twice", where_),
        }
    }
    for id in kept.keys() {
        report.broken("P3", "event unknown to Stripe", id);
    }
    Ok(())
}

/// Nothing hangs: no pending order, no job that waits, is stuck or dead, no quote on its way, no link that could still
/// be paid though its quote is closed.
pub(super) async fn check_leftovers(
    shop: &mut PgConnection,
    stripe: &mut PgConnection,
    report: &mut Report,
) -> sqlx::Result<()> {
    let pending: Vec<i64> =
        sqlx::query_scalar("select number from orders where status = 'pending'")
            .fetch_all(&mut *shop)
            .await?;
    for number in pending {
        report.broken("P2", "order still pending", format!("SB-{number}"));
    }
    let jobs: Vec<(String, i32, i32, bool, Option<String>)> = sqlx::query_as(
        "select payload::text, attempts::int, max_attempts::int, locked_at is not null, last_error
         from graphile_worker._private_jobs",
    )
    .fetch_all(&mut *shop)
    .await?;
    for (payload, attempts, most, locked, error) in jobs {
        let what = match (attempts >= most, locked) {
            (true, _) => "job dead",
            (_, true) => "job stuck",
            _ => "job left",
        };
        let error = error.unwrap_or_default();
        report.broken(
            "P4",
            what,
            format!("{payload} after {attempts} attempts {error}"),
        );
    }
    let hanging: Vec<(String, String)> = sqlx::query_as(
        "select id::text, state from custom_order_quotes where state in ('asking', 'closing')
         union all
         select order_id::text, state from checkouts where state in ('asking', 'open', 'unknown', 'processing')
         union all
         select id, 'out of sync: ' || stripe_status || coalesce(' ' || stripe_error, '')
         from products
         where is_active and stripe_status <> 'synced'",
    )
    .fetch_all(&mut *shop)
    .await?;
    for (id, state) in hanging {
        report.broken("P4", "still on its way", format!("{id} is {state}"));
    }
    let links: Vec<(String, String)> =
        sqlx::query_as("select link_id, state from custom_order_quotes where link_id is not null")
            .fetch_all(shop)
            .await?;
    let links: HashMap<String, String> = links.into_iter().collect();
    let active: Vec<String> = sqlx::query_scalar(
        "select id from stripe_sandbox.objects where object = 'payment_link' and data -> 'active' = 'true'",
    )
    .fetch_all(stripe)
    .await?;
    for link in active {
        match links.get(&link).map(String::as_str) {
            Some("live") => {}
            state => {
                let where_ = format!("{link} of a quote that is {}", state.unwrap_or("unknown"));
                report.broken("P2", "link left open", where_);
            }
        }
    }
    Ok(())
}
