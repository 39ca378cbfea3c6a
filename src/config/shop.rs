//! Settings of the shop itself: name, money, shipping. The owner can change some of them while the shop runs.

use std::fmt;
use std::str::FromStr;

use super::reader::Reader;
use crate::types::money::{Cents, Currency};

/// The shop's name, money and shipping.
#[derive(Clone, Debug)]
pub struct ShopConfig {
    /// Name shown to customers.
    pub name: String,
    /// The owner's mailbox.
    pub email: String,
    /// Currency of products, shipping and custom orders.
    pub currency: Currency,
    /// Time zone of the owner's pages and of day boundaries.
    pub time_zone: chrono_tz::Tz,
    /// A file, or an `https` address.
    pub logo: Option<String>,
    pub color: Color,
    /// Default validity of quotes.
    pub quote_valid_days: i32,
    pub shipping_us: ShippingRate,
    pub shipping_north_america: ShippingRate,
    pub shipping_international: ShippingRate,
}

/// Price and delivery time of shipping into one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShippingRate {
    pub price: Cents,
    /// Minimum and maximum number of business days.
    pub days: (u32, u32),
}

/// A color, such as `#bd4d28`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color(pub [u8; 3]);

impl FromStr for Color {
    type Err = ();

    fn from_str(text: &str) -> Result<Color, ()> {
        let digits = text.strip_prefix('#').filter(|digits| {
            digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        });
        let value = u32::from_str_radix(digits.ok_or(())?, 16).map_err(drop)?;
        let [_, red, green, blue] = value.to_be_bytes();
        Ok(Color([red, green, blue]))
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl ShopConfig {
    pub(super) fn read(reader: &mut Reader<'_>, production: bool) -> ShopConfig {
        let email = reader.text("SHOP_EMAIL");
        reader.required("SHOP_EMAIL", production);
        let email = email.unwrap_or_else(|| "shop@localhost".to_owned());
        if email.parse::<lettre::Address>().is_err() {
            reader.field_error("SHOP_EMAIL", "must be an email address");
        }
        let currency = reader.parsed(
            "SHOP_CURRENCY",
            Currency::USD,
            "must be the code of a currency that Stripe charges, as usd",
        );
        let quote_valid_days =
            reader.parsed("QUOTE_VALID_DAYS", 14, "must be a whole number of days");
        if !(1..=365).contains(&quote_valid_days) {
            reader.field_error("QUOTE_VALID_DAYS", "must be from 1 to 365 days");
        }
        let mut shipping = |name, price, days| shipping(reader, name, price, days, currency);
        ShopConfig {
            shipping_us: shipping("SHIPPING_US", 500, (3, 5)),
            shipping_north_america: shipping("SHIPPING_NORTH_AMERICA", 1500, (5, 10)),
            shipping_international: shipping("SHIPPING_INTERNATIONAL", 2000, (10, 20)),
            name: reader
                .text("SHOP_NAME")
                .unwrap_or_else(|| "Spirit Beads".to_owned()),
            email,
            currency,
            time_zone: reader.parsed(
                "SHOP_TIME_ZONE",
                chrono_tz::UTC,
                "must be the name of a time zone, as America/Los_Angeles",
            ),
            logo: reader.text("SHOP_LOGO"),
            color: reader.parsed(
                "SHOP_COLOR",
                Color([0xbd, 0x4d, 0x28]),
                "must be a color, as #bd4d28",
            ),
            quote_valid_days,
        }
    }
}

fn shipping(
    reader: &mut Reader<'_>,
    name: &'static str,
    price: i64,
    days: (u32, u32),
    currency: Currency,
) -> ShippingRate {
    let default = ShippingRate {
        price: Cents(price),
        days,
    };
    let Some(text) = reader.text(name) else {
        return default;
    };
    let parts: Vec<Option<u32>> = text
        .split(',')
        .map(|part| part.trim().parse().ok())
        .collect();
    match parts[..] {
        [Some(price), Some(least), Some(most)] if 1 <= least && least <= most && most <= 365 => {
            if let Err(wrong) = currency.check_part(Cents(price.into())) {
                reader.field_error(name, &format!("has a price that {wrong} in {currency}"));
            }
            ShippingRate {
                price: Cents(i64::from(price)),
                days: (least, most),
            }
        }
        _ => {
            reader.field_error(name, "must be cents,least days,most days, as 500,3,5");
            default
        }
    }
}
