//! Emails: queued in the transaction that causes them, rendered as HTML and plain text, sent by a job.
//!
//! [`queue`] stores an email's data. [`attempt`] and [`record`] send it; `emails` reports failures. No email has a
//! `List-Unsubscribe` header: each one answers an action of its reader (RFC 2369 and 8058 are for lists and bulk mail),
//! and one click should not cost a customer the receipts of later purchases.
mod branding;
mod content;
mod images;
mod mailer;
mod message;
pub mod preview;
mod render;
mod service;
mod smtp;
mod store;

pub use branding::{Branding, parse_address};
pub use content::Subjects;
pub use images::{Image, ImageRef, Images};
pub use mailer::Mailer;
pub use message::{
    About, CustomOrderEmailData, DelayedPaymentEmailData, Email, Holds, LineEmailData,
    OrderEmailData, QuoteEmailData, Refusal, RefusalEmailData, ReviewItemEmailData,
    ShipmentEmailData,
};
pub use render::{Addressed, Composed, render};
pub use service::{
    Attempt, SHOP, Trouble, TroubleKind, attempt, message_id, record, resend, show, sweep,
};
pub use store::{EmailRow, Filter, Source, State, count_failed, find, list, queue};
