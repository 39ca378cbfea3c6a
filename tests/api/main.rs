//! One binary for all tests over HTTP: a file per domain.

mod access;
mod api_document;
mod bad_input;
mod catalogue;
mod catalogue_file;
mod catalogue_search;
mod catalogue_writes;
mod commissions;
mod custom_requests;
mod desk;
mod desk_commissions;
mod desk_machine;
mod desk_orders;
mod desk_pages;
mod desk_products;
mod events;
mod faults;
mod letters;
mod media;
mod media_hostile;
mod media_products;
mod media_store;
mod oversell;
mod payment_links;
mod process;
mod purchase;
mod reconcile;
mod sandbox;
mod settlement;
mod shoppers;
#[path = "../storm/mod.rs"]
mod storm;
mod stripe_requests;
mod stripe_sync;
mod support;
mod webhook;
