//! The settings page, for owners.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono_tz::Tz;

use super::context::AdminContext;
use super::form::Form;
use super::sign_in::judged;
use crate::app::App;
use crate::error::{Error, FieldError, Result};
use crate::settings::{self, Choice, Rate, Settings};
use crate::types::money::{Cents, Currency};

const HERE: &str = "/admin/settings";

/// Shipping zones: field prefix and label.
const ZONES: [(&str, &str); 3] = [
    ("shipping_us", "USA"),
    ("shipping_north_america", "Canada and Mexico"),
    ("shipping_international", "Everywhere else"),
];

/// Time zones of the United States, as people there call them.
const US_TIME_ZONES: [(Tz, &str); 7] = [
    (Tz::America__New_York, "Eastern Time (New York)"),
    (Tz::America__Chicago, "Central Time (Chicago)"),
    (Tz::America__Denver, "Mountain Time (Denver)"),
    (Tz::America__Phoenix, "Arizona (Phoenix)"),
    (Tz::America__Los_Angeles, "Pacific Time (Los Angeles)"),
    (Tz::America__Anchorage, "Alaska (Anchorage)"),
    (Tz::Pacific__Honolulu, "Hawaii (Honolulu)"),
];

#[derive(Template)]
#[template(path = "settings.html", config = "src/admin/askama.toml")]
struct SettingsPage<'a> {
    context: &'a AdminContext,
    form: Form,
    /// Values that apply where a field is emptied.
    defaults: Form,
    currency: Currency,
}

impl SettingsPage<'_> {
    const ZONES: [(&'static str, &'static str); 3] = ZONES;
    const US_TIME_ZONES: [(Tz, &'static str); 7] = US_TIME_ZONES;

    /// Returns the names of the other time zones, by region and city. Old names are offered only where one is chosen.
    fn other_time_zones(&self) -> impl Iterator<Item = &'static str> {
        let chosen = self.form.get("time_zone");
        let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let is_old =
            |name: &str| !name.contains('/') || name.starts_with("Etc/") || name.starts_with("US/");
        let is_above = |name: &str| US_TIME_ZONES.iter().any(|(zone, _)| zone.name() == name);
        names.filter(move |name| {
            !is_above(name) && (!is_old(name) || *name == "UTC" || *name == chosen)
        })
    }

    /// Returns the default of a field with another value.
    fn default_of(&self, field: &str) -> Option<String> {
        let default = self.defaults.get(field);
        (self.form.get(field) != default).then_some(default)
    }
}

/// `GET /admin/settings`
pub async fn show(State(app): State<App>, context: AdminContext) -> Result<Response> {
    page(&app, &context, Form::default()).await
}

async fn page(app: &App, context: &AdminContext, sent: Form) -> Result<Response> {
    let verdict = sent.verdict();
    let form = if sent.is_sent() {
        sent
    } else {
        let mut conn = app.db.acquire().await?;
        fields(&settings::current(&mut conn, &app.config).await?)
    };
    let page = context.show(&SettingsPage {
        context,
        form,
        defaults: fields(&Settings::from_config(&app.config)),
        currency: app.config.shop.currency,
    })?;
    Ok(judged(page, verdict))
}

/// Creates the form with these values.
fn fields(settings: &Settings) -> Form {
    let mut form = Form::default();
    form.set("version", settings.version.to_string());
    form.set("shop_name", settings.shop_name.clone());
    form.set("time_zone", settings.time_zone.name());
    form.set("quote_valid_days", settings.quote_valid_days.to_string());
    form.set("low_stock", settings.low_stock.to_string());
    form.set("email_greeting", settings.voice.greeting.clone());
    form.set("email_closing", settings.voice.closing.clone());
    form.set("email_signature", settings.voice.signature.clone());
    form.set("care_advice", settings.voice.care.clone());
    form.set("piece_words", settings.piece_words.to_string());
    form.set("stage_background", settings.stage_background.to_string());
    for ((zone, _), rate) in ZONES.into_iter().zip(rates(settings)) {
        let price = rate.price.plain(settings.currency.code());
        form.set(&format!("{zone}.price"), price);
        form.set(&format!("{zone}.min_days"), rate.min_days.to_string());
        form.set(&format!("{zone}.max_days"), rate.max_days.to_string());
    }
    form
}

fn rates(settings: &Settings) -> [Rate; 3] {
    [
        settings.shipping_us,
        settings.shipping_north_america,
        settings.shipping_international,
    ]
}

/// `POST /admin/settings`: saves the settings. What is empty, or as the server's configuration has it, follows that.
pub async fn change(State(app): State<App>, context: AdminContext, form: Form) -> Result<Response> {
    let currency = app.config.shop.currency;
    let changed = async {
        let version = form.get("version").parse().ok();
        let choice = read(&form, &Settings::from_config(&app.config))?;
        let mut tx = app.db.begin().await?;
        let chosen = settings::choose(&mut tx, &context.actor()?, choice, version, currency).await;
        chosen.map_err(|error| match error {
            Error::Invalid(field_errors) => Error::Invalid(as_typed(field_errors, currency)),
            other => other,
        })?;
        tx.commit().await?;
        Ok(())
    };
    match changed.await {
        Ok(()) => Ok(context.go_on(HERE, "The settings are saved and take effect now.")),
        Err(error) => page(&app, &context, form.refused(error)?).await,
    }
}

/// Reads the owner's choice. Errors of all fields are reported together, whether a value cannot be read or is out of range.
fn read(form: &Form, defaults: &Settings) -> Result<Choice> {
    let currency = defaults.currency;
    let mut field_errors = Vec::new();
    let price_sentence = format!(
        "must be an amount in {}, as {}",
        currency.in_words(),
        currency.example()
    );
    // What cannot be read counts as the default, so that the other fields are checked, too.
    let mut number = |field: &str, default: i32, sentence: &str| -> i32 {
        match form.get(field).as_str() {
            "" => default,
            typed => typed.parse().unwrap_or_else(|_| {
                field_errors.push(FieldError::new(field, sentence));
                default
            }),
        }
    };
    let days = "must be a whole number of days";
    let quote_valid_days = number(
        "quote_valid_days",
        defaults.quote_valid_days,
        "must be a whole number",
    );
    let low_stock = number("low_stock", defaults.low_stock, "must be a whole number");
    let mut spans = Vec::with_capacity(ZONES.len());
    for ((zone, _), rate) in ZONES.into_iter().zip(rates(defaults)) {
        let mut span = |name: &str, default: u32| {
            let default = i32::try_from(default).unwrap_or(i32::MAX);
            number(&format!("{zone}.{name}"), default, days)
        };
        spans.push((
            span("min_days", rate.min_days),
            span("max_days", rate.max_days),
        ));
    }
    let chosen = ZONES.into_iter().zip(rates(defaults)).zip(spans);
    let mut chosen = chosen.map(|(((zone, _), rate), (min_days, max_days))| {
        let field = format!("{zone}.price");
        let price = match form.get(&field).as_str() {
            "" => rate.price,
            typed => Cents::parse(typed, currency.code()).unwrap_or_else(|| {
                field_errors.push(FieldError::new(field, &price_sentence));
                rate.price
            }),
        };
        let chosen = Rate {
            price,
            // Negative numbers are out of range, as 0 is.
            min_days: min_days.try_into().unwrap_or(0),
            max_days: max_days.try_into().unwrap_or(0),
        };
        (chosen != rate).then_some(chosen)
    });
    let [us, north_america, international] = [(); 3].map(|()| chosen.next().flatten());
    drop(chosen);
    let name = form.get("shop_name");
    let zone = form.get("time_zone");
    let greeting = form.get("email_greeting");
    let words = |field: &str| Some(form.get(field));
    let piece_words = form.get("piece_words").replace("\r\n", "\n");
    let background = form.get("stage_background");
    let our_background = defaults.stage_background.to_string();
    let our_words = defaults.piece_words.to_string();
    let choice = Choice {
        shop_name: (!name.is_empty() && name != defaults.shop_name).then_some(name),
        time_zone: (!zone.is_empty() && zone != defaults.time_zone.name()).then_some(zone),
        quote_valid_days: (quote_valid_days != defaults.quote_valid_days)
            .then_some(quote_valid_days),
        low_stock: (low_stock != defaults.low_stock).then_some(low_stock),
        shipping_us: us,
        shipping_north_america: north_america,
        shipping_international: international,
        email_greeting: (!greeting.is_empty() && greeting != defaults.voice.greeting)
            .then_some(greeting),
        email_closing: words("email_closing"),
        email_signature: words("email_signature"),
        care_advice: words("care_advice"),
        piece_words: (piece_words != our_words.trim()).then_some(piece_words),
        stage_background: (!background.eq_ignore_ascii_case(&our_background)).then_some(background),
    }
    .trimmed();
    if field_errors.is_empty() {
        return Ok(choice);
    }
    let out_of_range = settings::field_errors(&choice, currency);
    field_errors.extend(as_typed(out_of_range, currency));
    Err(Error::Invalid(field_errors))
}

/// Rewrites errors about prices in the currency's notation: the API's messages are in cents.
fn as_typed(mut field_errors: Vec<FieldError>, currency: Currency) -> Vec<FieldError> {
    let none = if currency == Currency::USD { "$0" } else { "0" };
    let most = Cents(*currency.charges().end()).in_currency(currency.code());
    for field_error in &mut field_errors {
        if field_error.field.ends_with(".price") {
            field_error.message = format!("must be from {none} to {most}");
        }
    }
    field_errors
}
