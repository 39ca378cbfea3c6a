//! Letters: queued inside the change that causes them, turned into HTML and text, sent by a job.
mod letter;
mod store;

pub use letter::{
    About, Letter, LineFacts, OrderFacts, ParcelFacts, QuoteFacts, Refusal, RefusalFacts,
    RequestFacts,
};
pub use store::queue;
