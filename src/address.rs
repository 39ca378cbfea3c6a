//! Postal addresses.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A postal address in Stripe's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Address {
    pub line1: Option<String>,
    pub line2: Option<String>,
    pub city: Option<String>,
    pub state: Option<String>,
    pub postal_code: Option<String>,
    /// ISO 3166, two letters.
    pub country: Option<String>,
}
