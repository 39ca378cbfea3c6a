//! Carts and checkouts, up to the payment page.

mod currency;
mod oversell;
mod purchase;
mod sandbox;
mod shoppers;
