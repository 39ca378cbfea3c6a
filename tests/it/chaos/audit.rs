//! The auditor: compares the shop's books with Stripe's and with what the mail server got. It shares no code with the
//! shop: plain SQL over connections of its own, and its own reading of docs/guarantees.md.
//!
//! It looks at a shop that has settled: nothing is due, nobody is paying.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use sha2::{Digest, Sha256};
use sqlx::PgConnection;

/// The arrows of docs/guarantees.md, that of late money (an order whose hold is gone becomes paid where its pieces are
/// there), and those back from `refunded`, where a bank sends the refund back.
const ORDER_MOVES: [(&str, &str); 15] = [
    ("pending", "paid"),
    ("pending", "expired"),
    ("pending", "cancelled"),
    ("pending", "failed"),
    ("expired", "paid"),
    ("cancelled", "paid"),
    ("failed", "paid"),
    ("paid", "shipped"),
    ("paid", "refunded"),
    ("shipped", "delivered"),
    ("shipped", "refunded"),
    ("delivered", "refunded"),
    ("refunded", "paid"),
    ("refunded", "shipped"),
    ("refunded", "delivered"),
];

const REQUEST_MOVES: [(&str, &str); 17] = [
    ("pending", "approved"),
    ("pending", "rejected"),
    ("approved", "pending"),
    ("approved", "expired"),
    ("approved", "paid"),
    ("expired", "approved"),
    ("paid", "in_production"),
    ("in_production", "shipped"),
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

/// What the auditor counted.
pub type Figures = BTreeMap<&'static str, i64>;

/// What was found.
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

/// P1, P5: never less than nothing, no hold without a pending order, and the ledger explains the stock.
async fn check_stock(shop: &mut PgConnection, report: &mut Report) -> sqlx::Result<()> {
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

/// P1, P3, P5: a paid order took each of its pieces once, and an order that was not paid took none.
async fn check_sales(
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

/// A line of an order, as the shop counts its pieces.
#[derive(sqlx::FromRow)]
struct Pieces {
    order_id: String,
    product_id: Option<String>,
    quantity: i64,
    restocked: i64,
    shipped: i64,
    returned: i64,
    /// What the ledger says came back of it.
    back: i64,
}

/// P1: a piece that went back into stock is not shipped, an order of which nothing is left is not, and one whose money was
/// given back in full is not shipped afterwards; P5: what came back is counted.
async fn check_shipping(
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

/// P2: each successful payment is one paid order or given back in full; each paid order has one payment, over its sum.
fn check_payments(books: &Books, report: &mut Report) {
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
                let where_ = format!("{payment}: {amount} paid, {refunded} given back");
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

/// P2, P4: what we gave back is what Stripe gave back, call by call and in sum; what a bank sent back is said.
fn check_refunds(books: &Books, report: &mut Report) {
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
                "{}: {} given back at Stripe, {} in the book of payments, {told} at the order",
                payment.id, charge.refunded, payment.refunded
            );
            report.broken("P2", "refund differs", where_);
        }
        if let Some(order) = order
            && (order.status == "refunded") != (order.refunded == order.total)
        {
            report.broken(
                "P6",
                "refunded is not given back",
                format!("SB-{}", order.number),
            );
        }
    }
}

/// P2: the shop knows each refund of its payments by Stripe's id, with its amount and state, and each is one line of a
/// timeline, unless it failed before anybody was told.
async fn check_refund_reports(
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

/// P10: of a delayed payment that was decided nothing waits, and the customer of one that failed was told.
async fn check_delayed(
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
fn check_disputes(books: &Books, report: &mut Report) {
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

/// P10: what needs a person is a review item, open until it is resolved or its cause is gone, and emailed once.
async fn check_items(
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
    // What another email tells, or cannot be emailed.
    let quiet = [
        "other",
        "payment_refused",
        "shop_email_undelivered",
        "email_copy_refused",
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
async fn check_events(
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

/// P6: statuses moved along the arrows, from where they were to where they are; P3: and were paid once.
async fn check_moves(
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
                    // Paid once more after the bank sent a refund back is no second payment.
                    payments += u32::from(to == "paid" && from != "refunded");
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

/// Each email once per cause: caused where it should be, sent, and taken by the mail server no more often than it was
/// tried, under one Message-ID.
async fn check_emails(
    shop: &mut PgConnection,
    books: &Books,
    mailbox: &[String],
    report: &mut Report,
) -> sqlx::Result<()> {
    let shipped: Vec<String> =
        sqlx::query_scalar("select order_id::text from order_events where to_status = 'shipped'")
            .fetch_all(&mut *shop)
            .await?;
    let shipped: HashSet<String> = shipped.into_iter().collect();
    let mut of_order: HashMap<(&str, &str), u32> = HashMap::new();
    let mut of_request: HashMap<(&str, &str), u32> = HashMap::new();
    let mut causes: HashSet<&str> = HashSet::new();
    for email in &books.emails {
        if let Some(order) = email.order_id.as_deref() {
            *of_order.entry((order, &email.kind)).or_default() += 1;
        }
        if let Some(request) = email.custom_order_id.as_deref() {
            *of_request.entry((request, &email.kind)).or_default() += 1;
        }
        if !causes.insert(&email.dedup_key) {
            report.broken("emails", "email twice", &email.dedup_key);
        }
        if email.state != "sent" {
            report.broken(
                "emails",
                "email not sent",
                format!("{} is {}", email.dedup_key, email.state),
            );
        }
    }
    let mut expect =
        |found: u32, wanted: bool, kind: &str, name: &dyn fmt::Display| match (found, wanted) {
            (0, true) => report.broken("emails", "email missing", format!("{kind} of {name}")),
            (1, false) => {
                report.broken("emails", "email without cause", format!("{kind} of {name}"))
            }
            (2.., _) => report.broken("emails", "email twice", format!("{kind} of {name}")),
            _ => {}
        };
    for order in &books.orders {
        let count = |kind: &str| {
            of_order
                .get(&(order.id.as_str(), kind))
                .copied()
                .unwrap_or(0)
        };
        let name = format!("SB-{}", order.number);
        let was_shipped = shipped.contains(&order.id) && order.email.is_some();
        let bought = order.channel == "storefront";
        let is_custom = order.channel == "custom_order";
        for (kind, wanted) in [
            ("order_confirmation", order.paid && bought),
            ("payment_received", is_custom),
            ("order_shipped", was_shipped && bought),
            ("custom_order_shipped", was_shipped && is_custom),
        ] {
            // By hand, shipments are told of where there is an address; the storm gives none.
            if order.channel != "manual" {
                expect(count(kind), wanted, kind, &name);
            }
        }
    }
    for request in &books.requests {
        let count = |kind: &str| {
            of_request
                .get(&(request.id.as_str(), kind))
                .copied()
                .unwrap_or(0)
        };
        let name = format!("CO-{}", request.number);
        expect(count("new_custom_order"), true, "new_custom_order", &name);
        expect(
            count("custom_order_received"),
            true,
            "custom_order_received",
            &name,
        );
        if count("custom_order_rejected") > 1 {
            expect(2, true, "custom_order_rejected", &name);
        }
    }
    let refused = books
        .payments
        .iter()
        .filter(|payment| payment.outcome.as_deref() == Some("refused"));
    for payment in refused {
        for kind in ["could_not_fulfill", "could_not_fulfill_notice"] {
            let cause = format!("{kind}:{}", payment.id);
            expect(
                u32::from(causes.contains(cause.as_str())),
                true,
                kind,
                &payment.id,
            );
        }
    }
    // One for each time that the sum given back has grown: no more than there were refunds.
    let mut refunds: HashMap<&str, u32> = HashMap::new();
    let mut failed: HashSet<&str> = HashSet::new();
    for refund in &books.stripe_refunds {
        if refund.status == "failed" {
            failed.insert(&refund.payment);
        }
        *refunds.entry(&refund.payment).or_default() += 1;
    }
    for payment in books
        .payments
        .iter()
        .filter(|p| p.outcome.as_deref() == Some("settled"))
    {
        let order = payment.order_id.as_deref().unwrap_or_default();
        let told = of_order
            .get(&(order, "order_refunded"))
            .copied()
            .unwrap_or(0);
        let made = refunds.get(payment.id.as_str()).copied().unwrap_or(0);
        // One that failed before its email was due needs none.
        let due = payment.refunded > 0 && !failed.contains(payment.id.as_str());
        if told > made {
            report.broken(
                "emails",
                "email twice",
                format!("order_refunded of {}", payment.id),
            );
        }
        if told == 0 && due {
            report.broken(
                "emails",
                "email missing",
                format!("order_refunded of {}", payment.id),
            );
        }
    }
    check_mailbox(&books.emails, mailbox, report);
    Ok(())
}

/// What the mail server took: each sent email at least once, and nothing else.
fn check_mailbox(emails: &[Email], mailbox: &[String], report: &mut Report) {
    let mut taken: HashMap<&str, u32> = HashMap::new();
    for id in mailbox {
        let id = id.trim_start_matches('<');
        *taken
            .entry(id.split('@').next().unwrap_or_default())
            .or_default() += 1;
    }
    let mut causes = HashSet::new();
    for email in emails
        .iter()
        .filter(|email| email.state == "sent" && email.resends == 0)
    {
        if !causes.insert(&email.dedup_key) {
            continue;
        }
        let hash: String = Sha256::digest(email.dedup_key.as_bytes())[..12]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let id = format!("{}.{hash}", email.kind);
        match taken.remove(id.as_str()) {
            None => report.broken("emails", "email never arrived", &email.dedup_key),
            Some(times) if i64::from(times) > i64::from(email.attempts) => {
                let where_ = format!(
                    "{}: {times} times in {} attempts",
                    email.dedup_key, email.attempts
                );
                report.broken("emails", "email sent twice at once", where_);
            }
            Some(times) => {
                *report
                    .figures
                    .entry("emails repeated under their Message-ID")
                    .or_default() += i64::from(times) - 1;
            }
        }
    }
    for id in taken.keys() {
        report.broken("emails", "email of unknown cause", id);
    }
}

/// Nothing hangs: no pending order, no job that waits, is stuck or dead, no quote on its way, no link that could still
/// be paid though its quote is closed.
async fn check_leftovers(
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
    figures.insert("payments given back in full", payments("refused"));
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
