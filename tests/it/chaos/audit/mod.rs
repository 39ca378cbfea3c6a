//! The auditor: compares the shop's books with Stripe's and with what the mail server got. It shares no code with the
//! shop: plain SQL over connections of its own, and its own reading of docs/guarantees.md.
//!
//! It looks at a shop that has settled: nothing is due, nobody is paying.

mod emails;
mod orders;
mod payments;
mod refunds;
mod review_items;
mod stock;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sqlx::PgConnection;

use emails::check_emails;
use orders::{check_moves, check_sales};
use payments::{check_delayed, check_disputes, check_payments};
use refunds::{check_refund_reports, check_refunds};
use review_items::{check_events, check_items, check_leftovers};
use stock::{check_shipping, check_stock};

/// A promise that was broken, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// `P1` to `P6`, as docs/guarantees.md numbers them; `P4` for what hangs.
    pub promise: &'static str,
    pub what: &'static str,
    pub where_: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.promise, self.what, self.where_)
    }
}

/// Counts of the auditor.
pub type Figures = BTreeMap<&'static str, i64>;

/// Findings.
#[derive(Default)]
pub struct Report {
    pub figures: Figures,
    pub violations: Vec<Violation>,
}

impl Report {
    fn broken(&mut self, promise: &'static str, what: &'static str, where_: impl fmt::Display) {
        self.violations.push(Violation {
            promise,
            what,
            where_: where_.to_string(),
        });
    }

    /// Names, without repeats, of what is wrong.
    pub fn names(&self) -> BTreeSet<&'static str> {
        self.violations.iter().map(|found| found.what).collect()
    }
}

#[derive(sqlx::FromRow)]
struct Order {
    id: String,
    number: i64,
    status: String,
    channel: String,
    currency: String,
    total: i64,
    refunded: i64,
    email: Option<String>,
    paid: bool,
    needs_a_hand: bool,
}

#[derive(sqlx::FromRow)]
struct Move {
    owner: String,
    from_status: Option<String>,
    to_status: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Payment {
    id: String,
    order_id: Option<String>,
    custom_order_id: Option<String>,
    outcome: Option<String>,
    amount: i64,
    currency: String,
    refunded: i64,
}

#[derive(sqlx::FromRow)]
struct Refund {
    id: String,
    payment_id: String,
    amount: i64,
    state: String,
    stripe_refund_id: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Email {
    dedup_key: String,
    kind: String,
    state: String,
    attempts: i32,
    resends: i32,
    order_id: Option<String>,
    custom_order_id: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Request {
    id: String,
    number: i64,
    status: String,
    order_id: Option<String>,
    needs_a_hand: bool,
}

/// A payment that succeeded at Stripe.
#[derive(sqlx::FromRow)]
struct Charge {
    payment: String,
    amount: i64,
    currency: String,
    refunded: i64,
    /// The shopper's bank has asked about it, or disputed it.
    disputed: bool,
    /// The shopper's bank has taken the money back.
    charged_back: bool,
}

/// A dispute as somebody has it.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
struct Dispute {
    id: String,
    payment: String,
    state: String,
}

impl Dispute {
    fn is_open(&self) -> bool {
        !["won", "lost", "prevented", "warning_closed"].contains(&self.state.as_str())
    }
}

/// Something at Stripe that the owner must be told of.
#[derive(sqlx::FromRow)]
struct Warning {
    id: String,
    payment: String,
    object: String,
    /// A review that is open yet, or a warning that could be acted on.
    matters: bool,
}

/// A review item.
#[derive(sqlx::FromRow)]
struct Item {
    id: String,
    order_id: Option<String>,
    kind: String,
    cause: String,
    open: bool,
    /// It was over before anybody could be told.
    passed: bool,
    /// A person has resolved it.
    by_hand: bool,
}

#[derive(sqlx::FromRow)]
struct StripeRefund {
    id: String,
    payment: String,
    amount: i64,
    status: String,
    ours: Option<String>,
}

/// All that the auditor reads, at once.
struct Books {
    orders: Vec<Order>,
    payments: Vec<Payment>,
    refunds: Vec<Refund>,
    emails: Vec<Email>,
    requests: Vec<Request>,
    charges: Vec<Charge>,
    stripe_refunds: Vec<StripeRefund>,
    disputes: Vec<Dispute>,
    stripe_disputes: Vec<Dispute>,
    warnings: Vec<Warning>,
    items: Vec<Item>,
}

/// Audits a settled shop. `mailbox` has the Message-ID of each email that the mail server took, as often as it did.
pub async fn audit(
    shop: &mut PgConnection,
    stripe: &mut PgConnection,
    mailbox: &[String],
) -> sqlx::Result<Report> {
    let mut report = Report::default();
    let books = Books {
        orders: sqlx::query_as(
            "select id::text, number, status, channel, currency, total, refunded, email, paid_at is not null as paid,
                    exists (select from review_items r where r.order_id = orders.id) as needs_a_hand
             from orders
             order by number",
        )
        .fetch_all(&mut *shop)
        .await?,
        payments: sqlx::query_as(
            "select id, order_id::text, custom_order_id::text, outcome, amount, currency, refunded from payments",
        )
        .fetch_all(&mut *shop)
        .await?,
        refunds: sqlx::query_as(
            "select id::text, payment_id, amount, state, stripe_refund_id from refunds",
        )
        .fetch_all(&mut *shop)
        .await?,
        emails: sqlx::query_as(
            "select dedup_key, kind, state, attempts, resends, order_id::text, custom_order_id::text from emails",
        )
        .fetch_all(&mut *shop)
        .await?,
        requests: sqlx::query_as(
            "select id::text, number, status, order_id::text,
                    exists (select from review_items r where r.custom_order_id = custom_orders.id) as needs_a_hand
             from custom_orders",
        )
            .fetch_all(&mut *shop)
            .await?,
        charges: sqlx::query_as(
            "select data ->> 'payment_intent' as payment, (data ->> 'amount')::bigint as amount,
                    data ->> 'currency' as currency, (data ->> 'amount_refunded')::bigint as refunded,
                    exists (select from stripe_sandbox.objects dispute
                            where dispute.object = 'dispute' and dispute.data ->> 'charge' = charge.id) as disputed,
                    exists (select from stripe_sandbox.objects dispute
                            where dispute.object = 'dispute' and dispute.data ->> 'charge' = charge.id
                              and dispute.data ->> 'status' in ('needs_response', 'under_review', 'lost')) as charged_back
             from stripe_sandbox.objects charge
             where object = 'charge' and data ->> 'status' = 'succeeded'",
        )
        .fetch_all(&mut *stripe)
        .await?,
        stripe_refunds: sqlx::query_as(
            "select id, data ->> 'payment_intent' as payment, (data ->> 'amount')::bigint as amount,
                    data ->> 'status' as status, data #>> '{metadata,refund_id}' as ours
             from stripe_sandbox.objects
             where object = 'refund'",
        )
        .fetch_all(&mut *stripe)
        .await?,
        disputes: sqlx::query_as(
            "select id, payment_id as payment, state from disputes",
        )
        .fetch_all(&mut *shop)
        .await?,
        stripe_disputes: sqlx::query_as(
            "select dispute.id, charge.data ->> 'payment_intent' as payment, dispute.data ->> 'status' as state
             from stripe_sandbox.objects dispute
             join stripe_sandbox.objects charge on charge.id = dispute.data ->> 'charge'
             where dispute.object = 'dispute'",
        )
        .fetch_all(&mut *stripe)
        .await?,
        warnings: sqlx::query_as(
            "select id, object, data ->> 'payment_intent' as payment,
                    coalesce(data ->> 'open', data ->> 'actionable') = 'true' as matters
             from stripe_sandbox.objects
             where object in ('review', 'radar.early_fraud_warning')",
        )
        .fetch_all(&mut *stripe)
        .await?,
        items: sqlx::query_as(
            "select id::text, order_id::text, kind, cause, resolved_at is null as open,
                    resolved_at is not null and resolved_at = raised_at as passed,
                    coalesce(resolved_by like 'user:%' or resolved_by like 'token:%', false) as by_hand
             from review_items",
        )
        .fetch_all(&mut *shop)
        .await?,
    };
    check_stock(shop, &mut report).await?;
    check_sales(shop, &books, &mut report).await?;
    check_shipping(shop, &books, &mut report).await?;
    check_payments(&books, &mut report);
    check_refunds(&books, &mut report);
    check_refund_reports(shop, &books, &mut report).await?;
    check_delayed(shop, stripe, &mut report).await?;
    check_disputes(&books, &mut report);
    check_items(shop, &books, &mut report).await?;
    check_events(shop, stripe, &mut report).await?;
    check_moves(shop, &books, &mut report).await?;
    check_emails(shop, &books, mailbox, &mut report).await?;
    check_leftovers(shop, stripe, &mut report).await?;
    count(shop, stripe, &books, mailbox, &mut report).await?;
    report.violations.sort();
    Ok(report)
}

async fn count(
    shop: &mut PgConnection,
    stripe: &mut PgConnection,
    books: &Books,
    mailbox: &[String],
    report: &mut Report,
) -> sqlx::Result<()> {
    let events: Vec<(String, i64, i64)> = sqlx::query_as(
        "select source, count(*), sum(attempts)::bigint from stripe_events group by source",
    )
    .fetch_all(shop)
    .await?;
    let sessions: Vec<(String, i64)> = sqlx::query_as(
        "select data ->> 'status', count(*) from stripe_sandbox.objects where object = 'checkout.session' group by 1",
    )
    .fetch_all(stripe)
    .await?;
    let figures = &mut report.figures;
    let orders =
        |which: &dyn Fn(&Order) -> bool| books.orders.iter().filter(|o| which(o)).count() as i64;
    let payments = |outcome: &str| {
        let which = |p: &&Payment| p.outcome.as_deref() == Some(outcome);
        books.payments.iter().filter(which).count() as i64
    };
    figures.insert("orders", orders(&|_| true));
    figures.insert("orders paid", orders(&|order| order.paid));
    figures.insert("orders by hand", orders(&|order| order.channel == "manual"));
    figures.insert(
        "orders of custom orders",
        orders(&|order| order.channel == "custom_order"),
    );
    figures.insert(
        "orders refunded in full",
        orders(&|order| order.status == "refunded"),
    );
    figures.insert("orders expired", orders(&|order| order.status == "expired"));
    figures.insert(
        "orders cancelled",
        orders(&|order| order.status == "cancelled"),
    );
    figures.insert("orders failed", orders(&|order| order.status == "failed"));
    figures.insert("requests for a piece", books.requests.len() as i64);
    figures.insert("payments at Stripe", books.charges.len() as i64);
    figures.insert("payments that settled an order", payments("settled"));
    figures.insert("payments refunded in full", payments("refused"));
    let for_requests = books
        .payments
        .iter()
        .filter(|p| p.custom_order_id.is_some());
    figures.insert("of these for requests", for_requests.count() as i64);
    figures.insert("refunds at Stripe", books.stripe_refunds.len() as i64);
    let sent_back = books.stripe_refunds.iter().filter(|r| r.status == "failed");
    figures.insert("of these sent back by a bank", sent_back.count() as i64);
    let disputed = books.charges.iter().filter(|charge| charge.disputed);
    figures.insert("payments disputed", disputed.count() as i64);
    figures.insert("disputes", books.stripe_disputes.len() as i64);
    figures.insert("fraud warnings and reviews", books.warnings.len() as i64);
    figures.insert("review items", books.items.len() as i64);
    figures.insert("emails", books.emails.len() as i64);
    figures.insert("emails taken by the mail server", mailbox.len() as i64);
    for (source, events, attempts) in events {
        let (name, tries) = match source.as_str() {
            "webhook" => ("events by webhook", "tries of these"),
            _ => ("events by reconciliation", "tries of those"),
        };
        figures.insert(name, events);
        figures.insert(tries, attempts);
    }
    for (status, sessions) in sessions {
        let name = match status.as_str() {
            "complete" => "sessions complete",
            "expired" => "sessions expired",
            _ => "sessions open",
        };
        figures.insert(name, sessions);
    }
    Ok(())
}
