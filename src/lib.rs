//! Spirit Beads: the back end of a small shop that sells one-of-a-kind beaded lighter cases.
//!
//! A module imports only from modules below it:
//!
//! - [`cli`]: the subcommands
//! - [`server`]: startup and shutdown, routers joined, middleware, listeners
//! - [`admin`]: the admin's pages, and the figures of its dashboard
//! - [`worker`]: every background job and the cron schedule, on one screen
//! - [`system`]: API for operators: events, jobs, holds, audit log, health; backup and restore
//! - [`django`]: takeover of the Django shop that this one replaces
//! - [`fulfillment`]: shipping and delivery of orders, custom orders included
//! - [`payments`]: payments: checkout sessions, Stripe's events, refunds
//! - [`custom_orders`]: pieces made on request, from the request through the quote to the shipment
//! - [`orders`]: orders: lines, prices, shipping and status; disputes of their payments
//! - [`products`]: catalog, prices and stock
//! - [`review_items`]: review items: each thing that a person must look at
//! - [`emails`]: emails: content, rendering, delivery, listing
//! - [`images`]: images: uploads, renditions, delivery
//! - [`auth`]: authentication: admin users and their sessions, API tokens
//! - [`settings`]: settings that can change while the shop runs
//! - [`http`]: extractors that fail with our `Error`, request bodies, idempotency keys, rate limits
//! - [`audit`]: the audit log, and admin forms that take effect once
//! - [`app`]: [`app::App`]: the pool, the outside services and metrics, for handlers and jobs
//! - [`mail`]: mail: delivery by SMTP or into a folder, sender and branding
//! - [`storage`]: object storage: a folder or a bucket; room for uploads and decoding
//! - [`jobs`]: the job queue
//! - [`stripe`]: client of the Stripe API
//! - [`db`]: connection pools, startup checks, migrations
//! - [`config`]: settings, read once at startup
//! - [`error`]: the error type and its JSON representation
//! - [`types`]: ids, money, addresses, calendar days, normalized text

pub mod admin;
pub mod app;
pub mod audit;
pub mod auth;
pub mod cli;
pub mod config;
pub mod custom_orders;
pub mod db;
pub mod django;
pub mod emails;
pub mod error;
pub mod fulfillment;
pub mod http;
pub mod images;
pub mod jobs;
pub mod mail;
pub mod orders;
pub mod payments;
pub mod products;
pub mod review_items;
pub mod server;
pub mod settings;
pub mod storage;
pub mod stripe;
pub mod system;
pub mod types;
pub mod worker;
