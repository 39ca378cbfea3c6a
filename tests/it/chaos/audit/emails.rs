//! Emails, and the mail server's own list of them.

use std::collections::{HashMap, HashSet};
use std::fmt;

use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::{Books, Email, Report};

/// Each email once per cause: caused where it should be, sent, and taken by the mail server no more often than it was
/// tried, under one Message-ID.
pub(super) async fn check_emails(
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
            ("you_sold", order.paid && bought || is_custom),
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
    // One for each time that the sum refunded has grown: no more than there were refunds.
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

/// Holds the mail server's emails against the shop's: each sent email at least once, and nothing else.
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
