//! Emails: queued in the transaction that causes them, rendered as HTML and plain text, sent by a job.
//!
//! [`queue`] stores an email's data. [`attempt`] and [`record`] send it; the worker reports failures. No email has a
//! `List-Unsubscribe` header: each one answers an action of its reader (RFC 2369 and 8058 are for lists and bulk mail),
//! and one click should not cost a customer the receipts of later purchases.

mod content;
mod delivery;
mod images;
mod message;
mod preview;
mod render;
mod routes;
mod samples;
mod store;

pub use content::Subjects;
pub use delivery::{
    DeliveryAttempt, SHOP, Trouble, TroubleKind, attempt, message_id, record, send_again, show,
    sweep,
};
pub use images::{ImageRef, Images};
pub use message::{
    About, CustomOrderEmailData, DelayedPaymentEmailData, Email, Holds, LineEmailData,
    OrderEmailData, PaymentRefusal, QuoteEmailData, RefusalEmailData, ReviewItemEmailData,
    ShipmentEmailData,
};
pub use preview::write_samples;
pub use render::{Addressed, Composed, render};
pub use routes::{
    EmailSample, EmailView, browse, draw, draw_sample, list_samples, router, subjects, view,
};
pub use samples::emails as samples;
pub use store::{
    EmailFilter, EmailRow, EmailState, Source, count_failed, erase, find, list, queue, withdraw,
};
