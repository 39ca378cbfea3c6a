//! A custom order with everything shown beside it, and the board.

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{CustomOrder, CustomOrderTimelineEntry, Quote, QuoteState, Status, store};
use crate::error::{Error, Result};
use crate::images::{self, ImageView};
use crate::orders::disputes::{self, Dispute};
use crate::orders::{self, Order, Shipment};
use crate::types::ids::CustomOrderId;

/// A custom order with everything shown beside it.
#[derive(Serialize, ToSchema)]
pub struct CustomOrderView {
    #[serde(flatten)]
    pub custom_order: CustomOrder,
    /// The customer's images.
    pub images: Vec<ImageView>,
    /// Oldest first. The current one is `asking`, `live`, `closing` or `paid`.
    pub quotes: Vec<Quote>,
    pub order: Option<Order>,
    /// Disputes of all its payments, oldest first.
    pub disputes: Vec<Dispute>,
    pub shipment: Option<Shipment>,
    /// Images of the shipment: the finished piece.
    pub shipment_images: Vec<ImageView>,
    pub timeline: Vec<CustomOrderTimelineEntry>,
}

impl CustomOrderView {
    /// Returns the current quote: being asked for, payable, or paid.
    pub fn current(&self) -> Option<&Quote> {
        let counts = |quote: &&Quote| quote.state.is_open() || quote.state == QuoteState::Paid;
        self.quotes.iter().find(counts)
    }

    /// Returns the draft, which the customer has not received.
    pub fn draft(&self) -> Option<&Quote> {
        let mut quotes = self.quotes.iter();
        quotes.find(|quote| quote.state == QuoteState::Draft)
    }

    /// Lists the allowed actions. Each action checks again under the custom order's lock.
    pub fn moves(&self) -> Moves {
        let status = self.custom_order.status;
        let current = self.current();
        let is_in = |state| current.is_some_and(|quote| quote.state == state);
        let is_replaceable = current.is_some_and(|quote| quote.is_replaceable(status));
        let is_open = matches!(status, Status::Pending | Status::Expired) && current.is_none();
        let quote = is_open || is_replaceable;
        let order = self.order.as_ref().map(|order| order.status);
        Moves {
            waits: is_in(QuoteState::Asking) || is_in(QuoteState::Closing),
            quote,
            approve: quote && self.draft().is_some(),
            replaces: is_replaceable,
            withdraw: is_replaceable,
            reject: status == Status::Pending && current.is_none(),
            start: status == Status::Paid,
            ship: matches!(status, Status::Paid | Status::InProduction)
                && order == Some(orders::Status::Paid),
            complete: status == Status::Shipped,
        }
    }
}

/// Actions that a custom order allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moves {
    /// No action for a moment: a job is calling Stripe.
    pub waits: bool,
    pub quote: bool,
    /// There is a draft to send.
    pub approve: bool,
    /// Sending the draft replaces the customer's current quote.
    pub replaces: bool,
    pub withdraw: bool,
    pub reject: bool,
    pub start: bool,
    pub ship: bool,
    pub complete: bool,
}

/// Resolves a custom order's id or number (`CO-1042`).
///
/// # Errors
/// 404 when there is no such custom order.
pub async fn resolve(conn: &mut PgConnection, id: &str) -> Result<CustomOrderId> {
    store::find_id(conn, id)
        .await?
        .ok_or(Error::NotFound("CustomOrder"))
}

/// Loads a custom order with everything shown beside it.
///
/// # Errors
/// 404 when there is no such custom order.
pub async fn view(conn: &mut PgConnection, id: CustomOrderId) -> Result<CustomOrderView> {
    let custom_order = store::find(conn, id)
        .await?
        .ok_or(Error::NotFound("CustomOrder"))?;
    let (order, shipment) = match custom_order.order_id {
        Some(order) => (
            orders::find(conn, order).await?,
            orders::find_shipment(conn, order).await?,
        ),
        None => (None, None),
    };
    let images = store::images(conn, id).await?;
    let shipment_images = shipment
        .as_ref()
        .map(|shipment| shipment.images.clone())
        .unwrap_or_default();
    Ok(CustomOrderView {
        images: images::list_views(conn, &images).await?,
        quotes: store::quotes(conn, id).await?,
        disputes: disputes::list_of_custom_order(conn, id).await?,
        shipment_images: images::list_views(conn, &shipment_images).await?,
        timeline: store::timeline(conn, id).await?,
        custom_order,
        order,
        shipment,
    })
}

/// The custom orders in one status.
#[derive(Serialize, ToSchema)]
pub struct Column {
    pub status: Status,
    /// Number of custom orders in this status.
    pub count: i64,
    /// The newest of them.
    #[serde(rename = "results")]
    pub cards: Vec<CustomOrder>,
}

/// Columns of the board.
const COLUMNS: [Status; 5] = [
    Status::Pending,
    Status::Approved,
    Status::Paid,
    Status::InProduction,
    Status::Shipped,
];

/// Cards in a column of the board.
const CARDS: i64 = 12;

/// Loads the board's columns: for each status that is not final, the number of custom orders and the newest of them.
pub async fn columns(conn: &mut PgConnection) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    for status in COLUMNS {
        let filter = store::CustomOrderFilter {
            status: Some(status),
            search: None,
            limit: CARDS,
            offset: 0,
        };
        let (cards, count) = store::list(conn, &filter).await?;
        columns.push(Column {
            status,
            count,
            cards,
        });
    }
    Ok(columns)
}
