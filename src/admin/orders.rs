//! The list of orders.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::NaiveDate;

use super::context::AdminContext;
use crate::app::App;
use crate::error::Result;
use crate::http::Query;
use crate::orders::{self, Line, ListedOrder, Order, OrderTab, Status, TimelineEntry};

const PAGE: i64 = 30;

#[derive(Template)]
#[template(path = "orders.html", config = "src/admin/askama.toml")]
struct OrdersPage<'a> {
    context: &'a AdminContext,
    tab: OrderTab,
    tabs: Vec<Tab>,
    search: String,
    orders: Vec<ListedOrder>,
    newer: Option<String>,
    older: Option<String>,
    /// Default date range of the export.
    export: (NaiveDate, NaiveDate),
}

/// A tab of the list and its number of waiting orders.
struct Tab {
    tab: OrderTab,
    word: &'static str,
    name: &'static str,
    waiting: i64,
}

/// URL value and label of a tab.
fn words(tab: OrderTab) -> (&'static str, &'static str) {
    match tab {
        OrderTab::ToPack => ("to-pack", "To pack"),
        OrderTab::Review => ("review", "To review"),
        OrderTab::Shipped => ("shipped", "Shipped"),
        OrderTab::Delivered => ("delivered", "Delivered"),
        OrderTab::Refunded => ("refunded", "Refunded"),
        OrderTab::Unpaid => ("unpaid", "Being paid"),
        OrderTab::Closed => ("closed", "Not paid"),
        OrderTab::All => ("all", "All"),
    }
}

/// Label and badge color of a status.
pub fn status(status: &Status) -> (&'static str, &'static str) {
    match status {
        Status::Pending => ("Being paid", "quiet"),
        Status::Paid => ("Paid", "good"),
        Status::Shipped => ("Shipped", "good"),
        Status::Delivered => ("Delivered", "good"),
        Status::Refunded => ("Refunded", "quiet"),
        Status::Expired => ("Ran out", "quiet"),
        Status::Cancelled => ("Cancelled", "quiet"),
        Status::Failed => ("Failed", "quiet"),
    }
}

/// Badge of an order: its status, or that it is waiting to be packed.
pub fn badge(order: &Order, is_to_pack: bool) -> (&'static str, &'static str) {
    match is_to_pack {
        true => ("To pack", "due"),
        false => status(&order.status),
    }
}

/// Label of a timeline entry.
pub fn happened(entry: &TimelineEntry) -> &str {
    match (entry.kind.as_str(), entry.to_status) {
        ("placed", _) => "Placed",
        (_, Some(moved)) => status(&moved).0,
        ("payment", _) => "Payment",
        ("refund", _) => "Refund",
        ("restock", _) => "Back in stock",
        ("dispute", _) => "Dispute",
        ("shipment", _) => "Shipment corrected",
        ("customer", _) => "Customer corrected",
        ("note", _) => "Note",
        (kind, _) => kind,
    }
}

/// Pieces of an order on one line: `Sunrise, 2 × Turtle`.
pub(super) fn bought(lines: &[Line]) -> String {
    let pieces = lines.iter().map(|line| match line.quantity {
        1 => line.name.clone(),
        quantity => format!("{quantity} × {}", line.name),
    });
    pieces.collect::<Vec<_>>().join(", ")
}

/// Customer and place of an order on one line: `Ann Lee · Portland, OR`.
pub(super) fn recipient(order: &Order) -> String {
    let names = [&order.customer_name, &order.shipping_name, &order.email];
    let name = names.into_iter().flatten().next().cloned();
    let place = order.address().and_then(|address| address.place());
    let parts: Vec<String> = name.into_iter().chain(place).collect();
    match parts.is_empty() {
        true => "—".to_owned(),
        false => parts.join(" · "),
    }
}

/// Lines whose images a row shows: up to four, or three and the number of the others.
pub(super) fn thumbnails(lines: &[Line]) -> &[Line] {
    match lines.len() {
        ..=4 => lines,
        _ => &lines[..3],
    }
}

/// `GET /admin/orders`
pub async fn list(State(app): State<App>, context: AdminContext, query: Query) -> Result<Response> {
    let search = super::query_text(&query, "search");
    let asked = query.get("tab").unwrap_or_default();
    let tab = OrderTab::ALL
        .into_iter()
        .find(|tab| words(*tab).0 == asked)
        // A search covers all orders: the status of the match is usually unknown.
        .unwrap_or(if search.is_empty() {
            OrderTab::ToPack
        } else {
            OrderTab::All
        });
    let page = super::page_number(&query);
    let mut conn = app.db.acquire().await?;
    let (to_pack, to_review) = orders::count_to_do(&mut conn).await?;
    let wanted = (!search.is_empty()).then_some(search.as_str());
    let mut found = orders::browse(&mut conn, tab, wanted, PAGE + 1, (page - 1) * PAGE).await?;
    let more = found.len() as i64 > PAGE;
    found.truncate(usize::try_from(PAGE).expect("a small number"));
    let link = |page: i64| {
        let pairs = [
            ("tab", words(tab).0),
            ("search", &search),
            ("page", &page.to_string()),
        ];
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty()))
            .finish();
        format!("/admin/orders?{query}")
    };
    let counted = |tab| Tab {
        tab,
        word: words(tab).0,
        name: words(tab).1,
        waiting: match tab {
            OrderTab::ToPack => to_pack,
            OrderTab::Review => to_review,
            _ => 0,
        },
    };
    let page = OrdersPage {
        context: &context,
        tab,
        tabs: OrderTab::ALL.map(counted).into(),
        newer: (page > 1).then(|| link(page - 1)),
        older: more.then(|| link(page + 1)),
        orders: found,
        search,
        export: orders::usual_days(context.time_zone),
    };
    context.show(&page)
}
