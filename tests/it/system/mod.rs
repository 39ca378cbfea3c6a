//! The server: rules that all routes keep, the queue, the database, health.

pub mod access;
mod api_document;
pub mod bad_input;
mod database_checks;
mod database_outages;
mod health;
mod hostile_connections;
mod jobs;
mod migrations;
mod poolers;
mod rate_limits;
mod snapshots;
mod start_page;
mod texts;
