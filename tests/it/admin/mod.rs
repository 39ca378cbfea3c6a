//! The admin: signing in, its pages and forms, and the API with the same changes.

mod api;
mod custom_orders;
mod every_form;
pub mod orders;
mod pages;
mod products;
mod repeated_forms;
mod settings;
mod sign_in;
mod system;
mod tokens;
mod users;

pub use sign_in::{
    Browser, OWNER, PASSWORD, STAFF, audited, code, set_up_second_factor, signed_in, staffed,
    staffed_with, token_on,
};
