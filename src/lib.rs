//! Spirit Beads: the back end of a small shop that sells one-of-a-kind beaded lighter cases.
//!
//! A module imports only from modules below it:
//!
//! - [`cli`]: the subcommands
//! - [`startup`]: opening a shop (database, secrets, Stripe or its sandbox) and closing it
//! - [`server`]: the routers joined, middleware, listening, stopping gracefully
//! - [`admin`]: the owner's admin: its pages
//! - [`worker`]: every background job and what it does, on one screen; the clock's jobs
//! - [`reports`]: what needs a hand, and how the shop does
//! - [`system`]: what operators see and do over HTTP: events, jobs, holds, audit log
//! - [`fulfillment`]: shipping what was bought or made, by the order's door
//! - [`health`]: how the shop itself is: database, migrations, workers
//! - [`emails`]: emails as the owner sees them; sending one, and telling of those that did not arrive
//! - [`payments`]: money coming in: checkout sessions, Stripe's events, refunds
//! - [`reviews`]: raising and resolving review items where they belong: timelines, audit log, HTTP
//! - [`custom_orders`]: pieces made to order, from request over quote to shipment
//! - [`images`]: uploading images over HTTP
//! - [`orders`]: what was bought, for how much, and where it went
//! - [`disputes`]: disputes by Stripe's id: what a bank asks back, until when it can be answered
//! - [`review_items`]: what a person must look at, each in a row of its own
//! - [`products`]: what is for sale, at what price, how many are left
//! - [`idempotency`]: the first answer, given again
//! - [`auth`]: who may come in: users of the admin and their sessions, programs and their tokens
//! - [`rate_limit`]: how much one client may ask for
//! - [`settings`]: settings that may change while the shop runs
//! - [`audit`]: who changed what
//! - [`submissions`]: forms that were sent, and take effect once
//! - [`app`]: the pool and the outside services, handed to handlers and jobs
//! - [`metrics`]: what this process has done, counted for Prometheus
//! - [`email`]: emails: what they say, how they look, how they are sent
//! - [`media`]: images: the one way in, the store, the way out
//! - [`extract`]: Json, Query and Path that fail as our `Error`; bodies as they arrive
//! - [`jobs`]: the outbox
//! - [`stripe`]: everything we ask of Stripe
//! - [`db`]: pools and migrations
//! - [`config`]: every setting, read once at start
//! - [`error`]: what can go wrong, and the one JSON shape of a failure
//! - [`calendar`]: days as the shop counts them
//! - [`unicode`]: text in one form
//! - [`address`], [`ids`], [`money`]: values that cannot be confused

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
