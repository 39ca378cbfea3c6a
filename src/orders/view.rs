//! An order with everything shown beside it.

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::disputes::{self, Dispute};
use super::{Order, OrderLine, Shipment, TimelineEntry, store};
use crate::auth::{Admin, Scope};
use crate::error::{Error, Result};
use crate::types::ids::OrderId;

/// An order with its lines and timeline. A token that may change orders but lacks `orders:read` gets it without
/// customer, shipment and timeline.
#[derive(Serialize, ToSchema)]
pub struct OrderView {
    #[serde(flatten)]
    pub order: Order,
    pub lines: Vec<OrderLine>,
    /// Pieces still to ship, over all lines.
    pub to_ship: i32,
    /// Disputes of all its payments, oldest first.
    pub disputes: Vec<Dispute>,
    /// `None` until the order is shipped.
    pub shipment: Option<Shipment>,
    pub timeline: Vec<TimelineEntry>,
}

impl OrderView {
    /// Withholds the customer's data from a token without `orders:read`: name, email, phone, address, tracking, and the
    /// timeline, whose notes concern people.
    pub fn shown_to(mut self, admin: &Admin) -> OrderView {
        if admin.may(Scope::OrdersRead).is_ok() {
            return self;
        }
        self.order.withhold_customer();
        self.shipment = None;
        self.timeline.clear();
        self
    }
}

/// Resolves an order's id or number (`SB-1042`).
///
/// # Errors
/// 404 when there is no such order.
pub async fn resolve(conn: &mut PgConnection, id: &str) -> Result<OrderId> {
    store::find_id(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))
}

/// Loads an order with everything shown beside it.
///
/// # Errors
/// 404 when there is no such order.
pub async fn view(conn: &mut PgConnection, id: OrderId) -> Result<OrderView> {
    let order = store::find(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    let lines = store::order_lines(conn, id).await?;
    Ok(OrderView {
        order,
        to_ship: lines.iter().map(|line| line.to_ship).sum(),
        lines,
        disputes: disputes::list_of_order(conn, id).await?,
        shipment: store::find_shipment(conn, id).await?,
        timeline: store::timeline(conn, id).await?,
    })
}
