//! Progress of an import.

/// A part of the import that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Images,
    Rows,
    Stripe,
}

/// Receives how much of a step is done, and how much there is.
pub type Progress<'a> = dyn Fn(Step, u64, u64) + Send + Sync + 'a;
