//! The settings page, for owners.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

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

/// Fields of a shipping zone.
const RATE: [&str; 3] = ["price", "min_days", "max_days"];

#[derive(Template)]
#[template(path = "settings.html", config = "src/admin/askama.toml")]
struct SettingsPage<'a> {
    context: &'a AdminContext,
    form: Form,
    /// Values that apply where a field is empty.
    defaults: Form,
    currency: Currency,
}

impl SettingsPage<'_> {
    const ZONES: [(&'static str, &'static str); 3] = ZONES;
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
        let (version, choice) = settings::chosen(&mut *app.db.acquire().await?).await?;
        fields(version, &choice, app.config.shop.currency)
    };
    let given = Settings::from_config(&app.config);
    let page = context.show(&SettingsPage {
        context,
        form,
        defaults: fields(0, &given.into(), app.config.shop.currency),
        currency: app.config.shop.currency,
    })?;
    Ok(judged(page, verdict))
}

/// Creates the form of the current choice. Unset values are empty.
fn fields(version: i32, choice: &Choice, currency: Currency) -> Form {
    let mut form = Form::default();
    form.set("version", version.to_string());
    let number = |number: Option<i32>| number.map(|n| n.to_string()).unwrap_or_default();
    form.set("shop_name", choice.shop_name.clone().unwrap_or_default());
    form.set("quote_valid_days", number(choice.quote_valid_days));
    form.set("low_stock", number(choice.low_stock));
    let rates = [
        choice.shipping_us,
        choice.shipping_north_america,
        choice.shipping_international,
    ];
    for ((zone, _), rate) in ZONES.into_iter().zip(rates) {
        let Some(rate) = rate else { continue };
        form.set(&format!("{zone}.price"), rate.price.plain(currency.code()));
        form.set(&format!("{zone}.min_days"), rate.min_days.to_string());
        form.set(&format!("{zone}.max_days"), rate.max_days.to_string());
    }
    form
}

/// `POST /admin/settings`: saves the settings. Empty fields fall back to the server's configuration.
pub async fn change(State(app): State<App>, context: AdminContext, form: Form) -> Result<Response> {
    let currency = app.config.shop.currency;
    let changed = async {
        let version = form.get("version").parse().ok();
        let choice = read(&form, currency)?;
        let mut tx = app.db.begin().await?;
        settings::choose(&mut tx, &context.actor()?, choice, version, currency).await?;
        tx.commit().await?;
        Ok(())
    };
    match changed.await {
        Ok(()) => Ok(context.go_on(HERE, "The settings are saved and take effect now.")),
        Err(error) => page(&app, &context, form.refused(as_typed(error, currency))?).await,
    }
}

fn read(form: &Form, currency: Currency) -> Result<Choice> {
    let mut field_errors = Vec::new();
    let mut number = |field: &str| -> Option<i32> {
        let typed = form.get(field);
        let number = typed.parse().ok();
        if number.is_none() && !typed.is_empty() {
            field_errors.push(FieldError::new(field, "must be a whole number"));
        }
        number
    };
    let quote_valid_days = number("quote_valid_days");
    let low_stock = number("low_stock");
    let mut rate = |zone: &str| -> Option<Rate> {
        let names = RATE.map(|name| format!("{zone}.{name}"));
        let typed = names.each_ref().map(|name| form.get(name));
        if typed.iter().all(String::is_empty) {
            return None;
        }
        let [price, min_days, max_days] = &typed;
        let rate = (
            Cents::parse(price, currency.code()),
            min_days.parse().ok(),
            max_days.parse().ok(),
        );
        if let (Some(price), Some(min_days), Some(max_days)) = rate {
            return Some(Rate {
                price,
                min_days,
                max_days,
            });
        }
        let right = [rate.0.is_some(), rate.1.is_some(), rate.2.is_some()];
        let price = format!(
            "must be an amount in {}, as {}",
            currency.in_words(),
            currency.example()
        );
        let days = "must be a whole number of days";
        let sentences = [price.as_str(), days, days];
        for ((name, right), sentence) in names.into_iter().zip(right).zip(sentences) {
            if !right {
                field_errors.push(FieldError::new(name, sentence));
            }
        }
        None
    };
    let [us, north_america, international] = ZONES.map(|(zone, _)| rate(zone));
    if !field_errors.is_empty() {
        return Err(Error::Invalid(field_errors));
    }
    let name = form.get("shop_name");
    Ok(Choice {
        shop_name: (!name.is_empty()).then_some(name),
        quote_valid_days,
        low_stock,
        shipping_us: us,
        shipping_north_america: north_america,
        shipping_international: international,
    })
}

/// Rewrites errors about prices in the currency's notation: the API's messages are in cents.
fn as_typed(error: Error, currency: Currency) -> Error {
    match error {
        Error::Invalid(mut field_errors) => {
            let none = if currency == Currency::USD { "$0" } else { "0" };
            let most = Cents(*currency.charges().end()).in_currency(currency.code());
            for field_error in &mut field_errors {
                if field_error.field.ends_with(".price") {
                    field_error.message = format!("must be from {none} to {most}");
                }
            }
            Error::Invalid(field_errors)
        }
        other => other,
    }
}
