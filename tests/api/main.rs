//! One binary for all tests over HTTP: a file per domain.

mod access;
mod bad_input;
mod purchase;
mod stripe_requests;
mod support;
mod webhook;
