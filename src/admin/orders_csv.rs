//! CSV export of orders for bookkeeping.

use axum::extract::State;
use axum::response::Response;

use super::context::AdminContext;
use crate::app::App;
use crate::error::Result;
use crate::http::Query;
use crate::orders;

/// `GET /admin/orders.csv?from=2026-11-01&to=2026-11-30`: includes both days, in the shop's time zone. With
/// `rows=lines`, each order line has its own row.
pub async fn download(
    State(app): State<App>,
    _context: AdminContext,
    query: Query,
) -> Result<Response> {
    orders::export(app, &query).await
}

/// `GET /admin/orders/labels.csv?site=pirate-ship`: the orders to be packed, for a site that sells shipping labels.
pub async fn download_labels(
    State(app): State<App>,
    _context: AdminContext,
    query: Query,
) -> Result<Response> {
    orders::labels(app, &query).await
}
