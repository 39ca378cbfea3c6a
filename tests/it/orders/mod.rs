//! Orders after the payment: shipping, review items, and customers' data.

mod days;
mod privacy;
mod review_items;
mod to_ship;
