//! Emails: queued inside the change that causes them, turned into HTML and text, sent by a job.
//!
//! [`queue`] writes down what an email says. [`attempt`] and [`record`] send it; who is told of what went wrong is left
//! to `emails`. None has a `List-Unsubscribe`: each answers something that its reader did (RFC 2369 and 8058 are for
//! lists and bulk mail), and nobody should lose the receipts that they pay for by a click.
mod compose;
mod house;
mod images;
mod mailer;
mod message;
mod page;
pub mod samples;
mod service;
mod smtp;
mod store;

pub use compose::{Addressed, Composed, compose};
pub use house::{House, parse_address};
pub use images::{Image, ImageRef, Images};
pub use mailer::Mailer;
pub use message::{
    About, CustomOrderEmailData, DelayedPaymentEmailData, Email, Holds, LineEmailData,
    OrderEmailData, QuoteEmailData, Refusal, RefusalEmailData, ReviewItemEmailData,
    ShipmentEmailData,
};
pub use page::Subjects;
pub use service::{
    Attempt, SHOP, Trouble, TroubleKind, attempt, message_id, record, resend, show, sweep,
};
pub use store::{EmailRow, Filter, Source, count_failed, find, list, queue};
