//! P8: bad input gets a clear 4xx that names the field, nothing is half done, and no request of any shape gets a 5xx.

mod carts;
mod oddities;
mod records;
mod requests;

use crate::support::{Answer, Shop};

const CHECKOUT: &str = "/api/payments/create-checkout-session/";

const WEBHOOK: &str = "/api/payments/webhook/";

const SALES: &str = "/api/admin/orders/";

const PRODUCTS: &str = "/api/products/";

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// Nothing is ordered, nothing held, nothing taken.
async fn assert_untouched(shop: &Shop) {
    assert_eq!(shop.statuses().await, [""; 0]);
    let odd: i64 = sqlx::query_scalar("select count(*) from products where reserved <> 0")
        .fetch_one(&shop.db)
        .await
        .expect("the products");
    assert_eq!(odd, 0, "products with a hold");
    shop.audit().await;
}

/// A failure tells itself as JSON: a sentence for people, a word for programs. A customer whose link is damaged gets a page.
fn assert_told(answer: &Answer, what: &str) {
    assert!(answer.status < 500, "{what}: {answer:?}");
    let is_page = ["GET /api/custom-orders/", "GET /api/orders/"];
    let is_page = is_page.iter().any(|path| what.starts_with(path));
    let is_link = is_page && what.contains("text/html");
    if is_link && answer.header("content-type").starts_with("text/html") {
        assert_eq!(answer.status, 404, "{what}: {answer:?}");
        assert!(answer.text.contains("<h1>"), "{what}: {answer:?}");
        return;
    }
    if answer.status >= 400 && answer.header("content-encoding").is_empty() {
        assert!(answer.json["code"].is_string(), "{what}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/json", "{what}");
    }
}

/// The types that we act on, and one that nobody knows.
pub const EVENTS: [&str; 19] = [
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
    "a.type.of.next.year",
];
