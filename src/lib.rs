//! Spirit Beads: the back end of a small shop that sells one-of-a-kind beaded lighter cases.
//!
//! A module imports only from modules below it:
//!
//! - [`cli`]: the subcommands
//! - [`startup`]: startup and shutdown: database, secrets, Stripe or its sandbox
//! - [`server`]: routers joined, middleware, listeners, graceful shutdown
//! - [`admin`]: the admin's pages
//! - [`worker`]: every background job and the cron schedule, on one screen
//! - [`reports`]: the dashboard: open tasks and sales figures
//! - [`system`]: API for operators: events, jobs, holds, audit log
//! - [`fulfillment`]: shipping and delivery of orders, custom orders included
//! - [`health`]: health checks: database, migrations, workers
//! - [`emails`]: emails for the owner: listing, resending, reports of failed deliveries
//! - [`payments`]: payments: checkout sessions, Stripe's events, refunds
//! - [`reviews`]: changes of review items with their timelines and audit entries, and their API
//! - [`custom_orders`]: pieces made on request, from the request through the quote to the shipment
//! - [`images`]: image uploads over HTTP
//! - [`orders`]: orders: lines, prices, shipping and status
//! - [`disputes`]: disputes by Stripe id: amount, deadline for evidence, outcome
//! - [`review_items`]: rows of review items: each thing that a person must look at
//! - [`products`]: catalog, prices and stock
//! - [`idempotency`]: idempotency keys: a repeated request gets the first answer
//! - [`auth`]: authentication: admin users and their sessions, API tokens
//! - [`rate_limit`]: rate limits per client
//! - [`settings`]: settings that can change while the shop runs
//! - [`audit`]: the audit log
//! - [`submissions`]: admin forms that take effect once
//! - [`app`]: [`app::App`]: the pool and the outside services, for handlers and jobs
//! - [`metrics`]: counters and gauges for Prometheus
//! - [`email`]: email messages: content, rendering, delivery
//! - [`media`]: images: intake, storage, delivery
//! - [`extract`]: request extractors that fail with our `Error`; request bodies
//! - [`jobs`]: the job queue
//! - [`stripe`]: client of the Stripe API
//! - [`db`]: connection pools, startup checks, migrations
//! - [`config`]: settings, read once at startup
//! - [`error`]: the error type and its JSON representation
//! - [`calendar`]: calendar days in the shop's time zone
//! - [`unicode`]: Unicode normalization
//! - [`address`], [`ids`], [`money`]: value types

pub mod address;
pub mod admin;
pub mod app;
pub mod audit;
pub mod auth;
pub mod calendar;
pub mod cli;
pub mod config;
pub mod custom_orders;
pub mod db;
pub mod disputes;
pub mod email;
pub mod emails;
pub mod error;
pub mod extract;
pub mod fulfillment;
pub mod health;
pub mod idempotency;
pub mod ids;
pub mod images;
pub mod jobs;
pub mod media;
pub mod metrics;
pub mod money;
pub mod orders;
pub mod payments;
pub mod products;
pub mod rate_limit;
pub mod reports;
pub mod review_items;
pub mod reviews;
pub mod server;
pub mod settings;
pub mod startup;
pub mod stripe;
pub mod submissions;
pub mod system;
pub mod unicode;
pub mod worker;
