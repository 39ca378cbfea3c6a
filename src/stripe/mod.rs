//! Client of the Stripe API. Requests use async-stripe's types; responses are read by our own code, field by field, so
//! that a new version of Stripe's API is never an error.

mod account;
mod catalog;
mod checkout;
mod client;
mod events;
mod lenient;
mod links;
mod payment_link;
mod refund;
mod session;
mod signature;

pub use account::AccountId;
pub use catalog::{Price, ProductParams};
pub use client::{KEY_LIFETIME, Result, Stripe, StripeError, is_id};
pub use events::EventPage;
pub use lenient::read_json;
pub use payment_link::{NewPaymentLink, OldPaymentLink, PaymentLink};
pub use refund::{Refund, RefundRequest, RefundStatus};
pub use session::{
    COUNTRIES, NewSession, PaymentStatus, Session, SessionLine, SessionPiece, SessionStatus,
    ShippingOption, amount,
};
pub use signature::{SignatureError, verify};
