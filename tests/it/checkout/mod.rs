//! Carts and checkouts, up to the payment page.

mod currency;
mod keys;
mod oversell;
mod purchase;
mod sandbox;
mod shipping;
mod shoppers;
mod snapshots;
mod way_back;

use std::time::Duration;

use crate::support::Shop;

const CREATE: &str = "POST /v1/checkout/sessions";

const MINUTE: Duration = Duration::from_secs(60);

/// The path of the cancel address that Stripe was given for a session.
async fn way_back(shop: &Shop, session: &str) -> String {
    let session = shop.session(session).await;
    let address = session["cancel_url"].as_str().expect("an address");
    let path = address
        .strip_prefix(&shop.address)
        .expect("our own address");
    path.to_owned()
}
