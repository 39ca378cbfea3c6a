//! One binary for all tests over HTTP: a file per domain.

mod purchase;
mod support;
