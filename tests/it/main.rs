//! One binary for all tests of the shop: a folder per subject (docs/testing.md).

mod admin;
mod browser;
mod catalog;
mod chaos;
mod checkout;
mod custom_orders;
mod django;
mod docs;
mod emails;
mod fuzz;
mod images;
mod orders;
mod payments;
mod process;
mod support;
mod system;
