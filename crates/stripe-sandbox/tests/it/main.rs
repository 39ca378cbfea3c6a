//! The sandbox keeps Stripe's rules, or tests against it would prove nothing.

mod api;
mod control;
mod lists;
mod pages;
mod payment_links;
mod payments;
mod support;
mod webhooks;
