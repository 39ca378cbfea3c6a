//! One binary for all tests over HTTP: a file per domain.

mod access;
mod api_document;
mod bad_input;
mod catalogue;
mod catalogue_file;
mod catalogue_search;
mod catalogue_writes;
mod events;
mod faults;
mod media;
mod media_hostile;
mod media_products;
mod media_store;
mod oversell;
mod process;
mod purchase;
mod reconcile;
mod sandbox;
mod settlement;
mod shoppers;
mod stripe_requests;
mod stripe_sync;
mod support;
mod webhook;
