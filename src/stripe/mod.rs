//! Everything we ask of Stripe, in our own words.
#[derive(Clone)]
pub struct Stripe;
