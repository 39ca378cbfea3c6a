//! One binary for all tests over HTTP: a file per domain.

mod access;
mod bad_input;
mod events;
mod faults;
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
