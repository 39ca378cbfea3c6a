//! Orders after the payment: shipping, review items, and customers' data.

mod carriers;
mod corrections;
mod customers;
mod days;
mod figures;
mod privacy;
mod review_items;
mod snapshots;
mod status_page;
mod to_ship;
