//! Shipping zones and their prices.

use std::fmt::{self, Display};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Order, Status};
use crate::settings::{Rate, Settings};
use crate::stripe;
use crate::types::calendar;
use crate::types::money::Cents;

/// A shipping zone. Each has one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Zone {
    Us,
    NorthAmerica,
    International,
}

impl Zone {
    /// All zones, the nearest first.
    pub const ALL: [Zone; 3] = [Zone::Us, Zone::NorthAmerica, Zone::International];

    /// Zone for shoppers whose country is unknown.
    pub const DEFAULT: Zone = Zone::Us;

    /// Countries of the zone that the shop ships to (ISO 3166).
    pub fn countries(self) -> Vec<String> {
        stripe::COUNTRIES
            .into_iter()
            .filter(|code| Zone::of_country(code) == Some(self))
            .map(str::to_owned)
            .collect()
    }

    /// Zone of a country (ISO 3166, two letters, any case). `None` for anything else, such as Cloudflare's `XX`
    /// (unknown) and `T1` (Tor).
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

    /// Label of the shipping line on the payment page.
    pub fn title(self) -> &'static str {
        match self {
            Zone::Us => "USA Shipping",
            Zone::NorthAmerica => "North America Shipping",
            Zone::International => "International Shipping",
        }
    }

    /// Label where the shopper chooses between the zones.
    pub fn choice(self) -> &'static str {
        match self {
            Zone::Us => "USA Shipping",
            Zone::NorthAmerica => "North America Shipping (Canada, Mexico)",
            Zone::International => "International Shipping (all other countries)",
        }
    }

    /// Name of the zone in stored Stripe requests.
    pub fn code(self) -> &'static str {
        match self {
            Zone::Us => "us",
            Zone::NorthAmerica => "north_america",
            Zone::International => "international",
        }
    }

    /// Zone of a rate of the shop that this one replaced, in US cents. It had one rate for each zone, and charged that of the
    /// zone that a shopper's network address was in.
    pub fn of_former_rate(price: Cents) -> Option<Zone> {
        match price.0 {
            500 => Some(Zone::Us),
            1500 => Some(Zone::NorthAmerica),
            2000 => Some(Zone::International),
            _ => None,
        }
    }

    /// Zone of a [`code`](Zone::code).
    pub fn of_code(code: &str) -> Option<Zone> {
        Zone::ALL.into_iter().find(|zone| zone.code() == code)
    }

    /// Price and delivery time of the zone under these settings.
    pub fn rate(self, settings: &Settings) -> Rate {
        match self {
            Zone::Us => settings.shipping_us,
            Zone::NorthAmerica => settings.shipping_north_america,
            Zone::International => settings.shipping_international,
        }
    }
}

/// The days between which an order arrives, by the delivery time of its zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EstimatedDelivery {
    pub earliest: NaiveDate,
    pub latest: NaiveDate,
}

impl Display for EstimatedDelivery {
    /// `December 3 to December 8, 2026`
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.earliest != self.latest {
            write!(to, "{} to ", self.earliest.format("%B %-d"))?;
        }
        write!(to, "{}", self.latest.format("%B %-d, %Y"))
    }
}

/// Estimates when a paid order arrives. `None` for one that is shipped already, was not bought in the storefront, or has
/// no zone.
pub fn estimated_delivery(order: &Order, settings: &Settings) -> Option<EstimatedDelivery> {
    if order.status != Status::Paid || order.is_custom_order {
        return None;
    }
    let rate = order.shipping_zone?.rate(settings);
    let paid = calendar::day(order.paid_at?, settings.time_zone);
    Some(EstimatedDelivery {
        earliest: calendar::business_day_after(paid, rate.min_days),
        latest: calendar::business_day_after(paid, rate.max_days),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_that_we_send_to_is_in_one_zone() {
        let all: Vec<String> = Zone::ALL.into_iter().flat_map(Zone::countries).collect();
        let zones = Zone::ALL.map(|zone| zone.countries().len());
        assert_eq!(all.len(), stripe::COUNTRIES.len());
        assert_eq!(zones[..2], [1, 2]);
        for zone in Zone::ALL {
            assert_eq!(Zone::of_code(zone.code()), Some(zone));
        }
    }

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
