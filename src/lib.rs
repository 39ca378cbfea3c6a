//! Spirit Beads: the back end of a small shop that sells one-of-a-kind pieces.
#![forbid(unsafe_code)]

pub mod products;
pub mod auth;
pub mod extract;
pub mod app;
pub mod jobs;
pub mod stripe;
pub mod db;
pub mod config;
pub mod error;
pub mod ids;
pub mod money;
