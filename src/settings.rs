//! Settings that can be changed at run time. Settings that the owner has not chosen fall back to the environment.
//!
//! They are stored in the database and read when needed, so that all processes of the shop agree.

use std::fmt;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use table_photos::StageOptions;
use table_photos::names::WordLists;
use utoipa::ToSchema;

use crate::audit::{self, Actor};
use crate::config::{Config, ShippingRate};
use crate::db;
use crate::error::{Code, Error, FieldError, Result};
use crate::http::texts::ShortLine;
use crate::mail::Voice;
use crate::types::money::{Cents, Currency};

/// Default for the number of pieces at which a product counts as running out.
const LOW_STOCK: i32 = 2;

const NO_TIME_ZONE: &str = "must be the name of a time zone, as America/Los_Angeles";

/// Effective settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Incremented by each change.
    pub version: i32,
    /// Currency of all prices, from the environment.
    pub currency: Currency,
    /// Name shown to customers.
    pub shop_name: String,
    /// Time zone in which people read times, and in which days begin.
    pub time_zone: Tz,
    /// Default validity of a quote.
    pub quote_valid_days: i32,
    /// A product counts as running out at this number of pieces.
    pub low_stock: i32,
    pub shipping_us: Rate,
    pub shipping_north_america: Rate,
    pub shipping_international: Rate,
    /// The owner's own words in emails to customers.
    pub voice: Voice,
    /// Words for the names of photographed pieces.
    pub piece_words: WordLists,
    /// Background of the staged images of photographed pieces.
    pub stage_background: HexColor,
}

/// A color in sRGB, written as `#F4F1ED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HexColor(pub [u8; 3]);

impl fmt::Display for HexColor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02X}{green:02X}{blue:02X}")
    }
}

impl HexColor {
    /// Reads a color. `None`: it is none.
    pub fn parse(text: &str) -> Option<HexColor> {
        let digits = text.strip_prefix('#')?;
        if digits.len() != 6 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let [_, red, green, blue] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
        Some(HexColor([red, green, blue]))
    }
}

/// Shipping price and delivery time of one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// In the smallest unit of the shop's currency.
    #[schema(value_type = i64, minimum = 0, maximum = 99_999_999)]
    pub price: Cents,
    /// Minimum number of business days.
    #[schema(minimum = 1, maximum = 365)]
    pub min_days: u32,
    /// Maximum number of business days.
    #[schema(minimum = 1, maximum = 365)]
    pub max_days: u32,
}

/// The owner's choices. `None` falls back to the environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Choice {
    #[schema(value_type = Option<ShortLine>)]
    pub shop_name: Option<String>,
    /// Name in the IANA time zone database: `America/New_York`.
    pub time_zone: Option<String>,
    #[schema(minimum = 1, maximum = 365)]
    pub quote_valid_days: Option<i32>,
    #[schema(minimum = 0, maximum = 1000)]
    pub low_stock: Option<i32>,
    pub shipping_us: Option<Rate>,
    pub shipping_north_america: Option<Rate>,
    pub shipping_international: Option<Rate>,
    /// First line of emails to customers, in which `{name}` stands for the customer's name: `Hello {name},`.
    #[schema(min_length = 1, max_length = 100)]
    pub email_greeting: Option<String>,
    /// Words before the signature in emails to customers.
    #[schema(max_length = 500)]
    pub email_closing: Option<String>,
    /// Signature in emails to customers.
    #[schema(max_length = 200)]
    pub email_signature: Option<String>,
    /// Advice on the care of a piece: in emails about shipped pieces, and in receipts of sales in person.
    #[schema(max_length = 2000)]
    pub care_advice: Option<String>,
    /// Words from which the names of photographed pieces are made, a line for each color and each pattern:
    /// `red: Ember, Rowan, Poppy`.
    #[schema(max_length = 20_000)]
    pub piece_words: Option<String>,
    /// Background of the staged images of photographed pieces: `#F4F1ED`.
    #[schema(pattern = "^#[0-9A-Fa-f]{6}$")]
    pub stage_background: Option<String>,
}

#[derive(sqlx::FromRow)]
struct SettingsRow {
    version: i32,
    shop_name: Option<String>,
    time_zone: Option<String>,
    quote_valid_days: Option<i32>,
    low_stock: Option<i32>,
    shipping_us: Option<Vec<i64>>,
    shipping_north_america: Option<Vec<i64>>,
    shipping_international: Option<Vec<i64>>,
    email_greeting: Option<String>,
    email_closing: Option<String>,
    email_signature: Option<String>,
    care_advice: Option<String>,
    piece_words: Option<String>,
    stage_background: Option<String>,
}

macro_rules! read {
    ($and_lock:literal) => {
        concat!(
            "select version, shop_name, time_zone, quote_valid_days, low_stock, shipping_us, shipping_north_america,
                    shipping_international, email_greeting, email_closing, email_signature, care_advice,
                    piece_words, stage_background
             from settings ",
            $and_lock
        )
    };
}

impl From<ShippingRate> for Rate {
    fn from(rate: ShippingRate) -> Rate {
        Rate {
            price: rate.price,
            min_days: rate.days.0,
            max_days: rate.days.1,
        }
    }
}

impl Rate {
    fn read(row: Option<Vec<i64>>) -> Option<Rate> {
        let [price, min_days, max_days] = row?.try_into().ok()?;
        Some(Rate {
            price: Cents(price),
            min_days: min_days.try_into().ok()?,
            max_days: max_days.try_into().ok()?,
        })
    }

    fn row(self) -> [i64; 3] {
        [
            self.price.0,
            i64::from(self.min_days),
            i64::from(self.max_days),
        ]
    }
}

impl From<SettingsRow> for Choice {
    fn from(row: SettingsRow) -> Choice {
        Choice {
            shop_name: row.shop_name,
            time_zone: row.time_zone,
            quote_valid_days: row.quote_valid_days,
            low_stock: row.low_stock,
            shipping_us: Rate::read(row.shipping_us),
            shipping_north_america: Rate::read(row.shipping_north_america),
            shipping_international: Rate::read(row.shipping_international),
            email_greeting: row.email_greeting,
            email_closing: row.email_closing,
            email_signature: row.email_signature,
            care_advice: row.care_advice,
            piece_words: row.piece_words,
            stage_background: row.stage_background,
        }
    }
}

impl Choice {
    /// Without surrounding whitespace in its texts, whose line ends are those of Unix. A text without words is no choice,
    /// except for the name and the greeting, which must have some.
    pub fn trimmed(self) -> Choice {
        let tidy = |text: String| text.replace("\r\n", "\n").trim().to_owned();
        let words = |text: Option<String>| text.map(tidy).filter(|text| !text.is_empty());
        Choice {
            shop_name: self.shop_name.map(tidy),
            email_greeting: self.email_greeting.map(tidy),
            email_closing: words(self.email_closing),
            email_signature: words(self.email_signature),
            care_advice: words(self.care_advice),
            piece_words: words(self.piece_words),
            stage_background: words(self.stage_background).map(|color| color.to_uppercase()),
            ..self
        }
    }
}

impl Settings {
    /// Returns the defaults from the environment.
    pub fn from_config(config: &Config) -> Settings {
        Settings {
            version: 0,
            currency: config.shop.currency,
            shop_name: config.shop.name.clone(),
            time_zone: config.shop.time_zone,
            quote_valid_days: config.shop.quote_valid_days,
            low_stock: LOW_STOCK,
            shipping_us: config.shop.shipping_us.into(),
            shipping_north_america: config.shop.shipping_north_america.into(),
            shipping_international: config.shop.shipping_international.into(),
            voice: Voice::default(),
            piece_words: WordLists::default(),
            stage_background: HexColor(StageOptions::default().background),
        }
    }

    /// Overrides the defaults with the owner's choices.
    pub fn with(self, version: i32, choice: Choice) -> Settings {
        let time_zone = choice.time_zone.and_then(|name| name.parse().ok());
        Settings {
            version,
            currency: self.currency,
            shop_name: choice.shop_name.unwrap_or(self.shop_name),
            time_zone: time_zone.unwrap_or(self.time_zone),
            quote_valid_days: choice.quote_valid_days.unwrap_or(self.quote_valid_days),
            low_stock: choice.low_stock.unwrap_or(self.low_stock),
            shipping_us: choice.shipping_us.unwrap_or(self.shipping_us),
            shipping_north_america: choice
                .shipping_north_america
                .unwrap_or(self.shipping_north_america),
            shipping_international: choice
                .shipping_international
                .unwrap_or(self.shipping_international),
            voice: Voice {
                greeting: choice.email_greeting.unwrap_or(self.voice.greeting),
                closing: choice.email_closing.unwrap_or(self.voice.closing),
                signature: choice.email_signature.unwrap_or(self.voice.signature),
                care: choice.care_advice.unwrap_or(self.voice.care),
            },
            piece_words: choice
                .piece_words
                .and_then(|text| WordLists::from_text(&text).ok())
                .unwrap_or(self.piece_words),
            stage_background: choice
                .stage_background
                .and_then(|text| HexColor::parse(&text))
                .unwrap_or(self.stage_background),
        }
    }
}

impl From<Settings> for Choice {
    fn from(settings: Settings) -> Choice {
        Choice {
            shop_name: Some(settings.shop_name),
            time_zone: Some(settings.time_zone.name().to_owned()),
            quote_valid_days: Some(settings.quote_valid_days),
            low_stock: Some(settings.low_stock),
            shipping_us: Some(settings.shipping_us),
            shipping_north_america: Some(settings.shipping_north_america),
            shipping_international: Some(settings.shipping_international),
            email_greeting: Some(settings.voice.greeting),
            email_closing: Some(settings.voice.closing),
            email_signature: Some(settings.voice.signature),
            care_advice: Some(settings.voice.care),
            piece_words: Some(settings.piece_words.to_string()),
            stage_background: Some(settings.stage_background.to_string()),
        }
    }
}

/// Returns the effective settings.
///
/// # Errors
/// Database errors only.
pub async fn current(conn: &mut PgConnection, config: &Config) -> Result<Settings> {
    let (version, choice) = chosen(conn).await?;
    Ok(Settings::from_config(config).with(version, choice))
}

/// Returns the shop's time zone.
///
/// # Errors
/// Database errors only.
pub async fn time_zone(conn: &mut PgConnection, config: &Config) -> Result<Tz> {
    Ok(current(conn, config).await?.time_zone)
}

/// Describes shipping prices that the owner set in a currency other than `currency`.
///
/// # Errors
/// Database errors only.
pub async fn foreign_shipping(
    conn: &mut PgConnection,
    currency: Currency,
) -> Result<Option<String>> {
    let code: Option<String> = sqlx::query_scalar(
        "select coalesce(shipping_currency, 'usd')
         from settings
         where coalesce(shipping_us, shipping_north_america, shipping_international) is not null
           and coalesce(shipping_currency, 'usd') <> $1",
    )
    .bind(currency.code())
    .fetch_optional(conn)
    .await?;
    Ok(code.map(|code| format!("shipping prices in {code} (under Settings)")))
}

/// Returns the owner's choices and their version.
///
/// # Errors
/// Database errors only.
pub async fn chosen(conn: &mut PgConnection) -> Result<(i32, Choice)> {
    let row: SettingsRow = sqlx::query_as(read!("")).fetch_one(conn).await?;
    Ok((row.version, row.into()))
}

/// Replaces all choices, inside the caller's transaction. Writes to the audit log if anything changed. Safe to repeat.
///
/// # Errors
/// Field errors; 409 `version_conflict` if `version` is given and outdated.
pub async fn choose(
    conn: &mut PgConnection,
    actor: &Actor,
    choice: Choice,
    version: Option<i32>,
    currency: Currency,
) -> Result<()> {
    let choice = choice.trimmed();
    let row: SettingsRow = sqlx::query_as(read!("for update"))
        .fetch_one(&mut *conn)
        .await?;
    let is_of_another = version.is_some_and(|version| version != row.version);
    let before = Choice::from(row);
    let mut field_errors = field_errors(&choice, currency);
    if let Some(name) = &choice.time_zone
        && before.time_zone != choice.time_zone
        && field_errors.iter().all(|error| error.field != "time_zone")
        && !db::knows_time_zone(conn, name).await?
    {
        field_errors.push(FieldError::new("time_zone", NO_TIME_ZONE));
    }
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    if before == choice {
        return Ok(());
    }
    if is_of_another {
        return Err(Error::Conflict(
            Code::VersionConflict,
            "Somebody has changed the settings in the meantime.".to_owned(),
        ));
    }
    sqlx::query(
        "update settings
         set version = version + 1, shop_name = $1, time_zone = $2, quote_valid_days = $3, low_stock = $4, shipping_us = $5,
             shipping_north_america = $6, shipping_international = $7, shipping_currency = $8, email_greeting = $9,
             email_closing = $10, email_signature = $11, care_advice = $12, piece_words = $13, stage_background = $14",
    )
    .bind(&choice.shop_name)
    .bind(&choice.time_zone)
    .bind(choice.quote_valid_days)
    .bind(choice.low_stock)
    .bind(choice.shipping_us.map(Rate::row))
    .bind(choice.shipping_north_america.map(Rate::row))
    .bind(choice.shipping_international.map(Rate::row))
    .bind(currency.code())
    .bind(&choice.email_greeting)
    .bind(&choice.email_closing)
    .bind(&choice.email_signature)
    .bind(&choice.care_advice)
    .bind(&choice.piece_words)
    .bind(&choice.stage_background)
    .execute(&mut *conn)
    .await?;
    let (was, is) = difference(&before, &choice)?;
    audit::record(conn, actor, "settings.change", "settings", was, is).await
}

/// Returns what is wrong with a choice, field by field.
pub fn field_errors(choice: &Choice, currency: Currency) -> Vec<FieldError> {
    let mut field_errors = Vec::new();
    if let Some(name) = &choice.shop_name {
        let name = name.trim();
        if !(1..=100).contains(&name.chars().count()) || name.contains(char::is_control) {
            field_errors.push(FieldError::new(
                "shop_name",
                "must have 1 to 100 characters",
            ));
        }
    }
    for (field, text, most) in [
        ("email_greeting", &choice.email_greeting, 100),
        ("email_closing", &choice.email_closing, 500),
        ("email_signature", &choice.email_signature, 200),
        ("care_advice", &choice.care_advice, 2000),
        ("piece_words", &choice.piece_words, 20_000),
    ] {
        let Some(text) = text else { continue };
        let is_line = field == "email_greeting";
        let is_control = |c: char| c.is_control() && (is_line || c != '\n');
        if text.chars().count() > most || text.contains(is_control) {
            let wrong = format!("must have at most {most} characters, without control characters");
            field_errors.push(FieldError::new(field, wrong));
        } else if is_line && text.is_empty() {
            field_errors.push(FieldError::new(field, "must have 1 to 100 characters"));
        }
    }
    if let Some(Err(problem)) = choice.piece_words.as_deref().map(WordLists::from_text) {
        let problem = problem.to_string();
        let wrong = format!("cannot be read: {}", problem.trim_end_matches('.'));
        field_errors.push(FieldError::new("piece_words", wrong));
    }
    let color = choice.stage_background.as_deref();
    if color.is_some_and(|color| HexColor::parse(color).is_none()) {
        let wrong = "must be a color, as #F4F1ED";
        field_errors.push(FieldError::new("stage_background", wrong));
    }
    // PostgreSQL takes names in any case; here they are as the database of time zones has them.
    let is_zone = |name: &String| name.parse::<Tz>().is_ok_and(|zone| zone.name() == name);
    if choice.time_zone.as_ref().is_some_and(|name| !is_zone(name)) {
        field_errors.push(FieldError::new("time_zone", NO_TIME_ZONE));
    }
    if choice
        .quote_valid_days
        .is_some_and(|days| !(1..=365).contains(&days))
    {
        field_errors.push(FieldError::new(
            "quote_valid_days",
            "must be from 1 to 365 days",
        ));
    }
    if choice
        .low_stock
        .is_some_and(|line| !(0..=1000).contains(&line))
    {
        field_errors.push(FieldError::new(
            "low_stock",
            "must be from 0 to 1000 pieces",
        ));
    }
    for (zone, rate) in [
        ("shipping_us", choice.shipping_us),
        ("shipping_north_america", choice.shipping_north_america),
        ("shipping_international", choice.shipping_international),
    ] {
        let Some(rate) = rate else { continue };
        if let Err(wrong) = currency.check_part(rate.price) {
            field_errors.push(FieldError::new(format!("{zone}.price"), wrong));
        }
        if !(1..=365).contains(&rate.min_days) {
            let field = format!("{zone}.min_days");
            field_errors.push(FieldError::new(
                field,
                "must be from 1 to 365 business days",
            ));
        }
        if !(rate.min_days..=365).contains(&rate.max_days) {
            let field = format!("{zone}.max_days");
            field_errors.push(FieldError::new(
                field,
                "must be at least the minimum, and at most 365",
            ));
        }
    }
    field_errors
}

/// Returns the fields that differ, before and after.
fn difference(before: &Choice, after: &Choice) -> Result<(Value, Value)> {
    let fields = |choice: &Choice| {
        let value = serde_json::to_value(choice).map_err(anyhow::Error::from)?;
        match value {
            Value::Object(fields) => Ok(fields),
            _ => Err(anyhow::anyhow!("settings are an object")),
        }
    };
    let (was, is) = (fields(before)?, fields(after)?);
    let only = |of: &Map<String, Value>, others: &Map<String, Value>| {
        let differing = of
            .iter()
            .filter(|(name, value)| others.get(*name) != Some(value));
        Value::Object(
            differing
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    };
    Ok((only(&was, &is), only(&is, &was)))
}
