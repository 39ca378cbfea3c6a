//! Emails: queued inside the change that causes them, turned into HTML and text, sent by a job.
//!
//! [`queue`] writes down what an email says. [`attempt`] and [`record`] send it; who is told of what went wrong is left
//! to `emails`. None has a `List-Unsubscribe`: each answers something that its reader did (RFC 2369 and 8058 are for
//! lists and bulk mail), and nobody should lose the receipts that they pay for by a click.
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
