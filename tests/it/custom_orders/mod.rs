//! Custom orders, from the request to the shipment.

mod lifecycle;
pub mod payment_links;
mod requests;
