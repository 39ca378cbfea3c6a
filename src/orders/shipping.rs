//! Shipping zones and what sending a parcel into them costs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::settings::{Rate, Settings};

/// A shipping zone: one price each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Zone {
    Us,
    NorthAmerica,
    International,
}

impl Zone {
    /// The zone of a country (ISO 3166, two letters, any case). Nothing for what is no country's code, such as
    /// Cloudflare's `XX` (unknown) and `T1` (Tor).
    pub fn of_country(code: &str) -> Option<Zone> {
        let code = code.trim().to_ascii_uppercase();
        match code.as_str() {
            "US" => Some(Zone::Us),
            "CA" | "MX" => Some(Zone::NorthAmerica),
            "XX" => None,
            _ if code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase()) => {
                Some(Zone::International)
            }
            _ => None,
        }
    }

    /// What the shopper reads on the payment page.
    pub fn title(self) -> &'static str {
        match self {
            Zone::Us => "USA Shipping",
            Zone::NorthAmerica => "North America Shipping",
            Zone::International => "International Shipping",
        }
    }

    pub fn rate(self, settings: &Settings) -> Rate {
        match self {
            Zone::Us => settings.shipping_us,
            Zone::NorthAmerica => settings.shipping_north_america,
            Zone::International => settings.shipping_international,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_fall_into_three_zones() {
        assert_eq!(Zone::of_country("us"), Some(Zone::Us));
        assert_eq!(Zone::of_country("MX"), Some(Zone::NorthAmerica));
        assert_eq!(Zone::of_country(" DE "), Some(Zone::International));
        for odd in ["", "XX", "T1", "USA", "D", "日本"] {
            assert_eq!(Zone::of_country(odd), None, "{odd}");
        }
    }
}
