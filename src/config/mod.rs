//! Settings, read once at startup. This is the only reader of the environment.
//!
//! `.env.example` lists each setting with its unit and default; a test compares the two.

mod database;
mod env_file;
mod log;
mod mail;
mod names;
mod proxies;
mod reader;
mod secret;
mod server;
mod shop;
mod smtp;
mod storage;
mod stripe;
#[cfg(test)]
mod tests;

pub use database::{DatabaseConfig, FEWEST_DATABASE_CONNECTIONS};
pub use log::{LogConfig, LogFormat};
pub use mail::MailConfig;
pub use proxies::ClientAddress;
pub use reader::origin_of;
pub use secret::Secret;
pub use server::{Limits, ServerConfig};
pub use shop::{Color, ShippingRate, ShopConfig};
pub use smtp::{Security, SmtpServer};
pub use storage::{BucketSettings, MediaLimits, MediaStore, StorageConfig};
pub use stripe::StripeConfig;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::error::FieldError;
use reader::Reader;

/// Environment of the shop: `development` starts without configuration, `production` refuses to start when required
/// settings are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    Development,
    Production,
}

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    pub environment: Environment,
    pub data_dir: PathBuf,
    pub server: ServerConfig,
    pub database: DatabaseConfig,
    pub stripe: StripeConfig,
    pub mail: MailConfig,
    pub storage: StorageConfig,
    pub shop: ShopConfig,
    pub log: LogConfig,
    /// Names that resemble settings but are none; in production they abort the start.
    pub unknown_settings: Vec<FieldError>,
}

impl Config {
    /// Reads `.env` in the working directory, if it exists, and the environment, which takes precedence.
    ///
    /// # Errors
    /// Every missing, unreadable or unsafe setting at once; in production also every unknown one.
    pub fn from_environment() -> Result<Config, Vec<FieldError>> {
        let environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        let file = env_file::load(Path::new(".env"))?;
        combine(&file, &environment)
    }

    /// Reads the settings from any source by name.
    ///
    /// # Errors
    /// As [`Config::from_environment`].
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Config, Vec<FieldError>> {
        read(&mut Reader::new(&lookup))
    }

    pub fn is_production(&self) -> bool {
        self.environment == Environment::Production
    }

    /// Legal but probably unintended settings, for the log and the owner.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.is_production() && self.stripe.has_test_key() {
            warnings.push(
                "STRIPE_SECRET_KEY is a test key: checkouts take no real money, and every order is unpaid. Set the \
                 live key (sk_live_… or rk_live_…) before you sell."
                    .to_owned(),
            );
        }
        if self.stripe.rehearsal {
            warnings.push(
                "STRIPE_REHEARSAL is set: nothing of the catalog is told to Stripe. Take it out before you sell."
                    .to_owned(),
            );
        }
        warnings.extend(self.proxy_warning().map(str::to_owned));
        for field_error in &self.unknown_settings {
            warnings.push(format!("{} {}", field_error.field, field_error.message));
        }
        warnings
    }

    /// Absolute URL of an image: our own addresses are completed, others are kept, and both are normalized. Returns
    /// `None` for anything that is not an address.
    pub fn image_url(&self, image: &str) -> Option<String> {
        let absolute = if image.starts_with('/') {
            format!("{}{image}", self.server.public_url)
        } else {
            image.to_owned()
        };
        url::Url::parse(&absolute).ok().map(String::from)
    }

    /// Warns about the consequences of missing proxy settings. Returns `None` when a proxy is configured.
    fn proxy_warning(&self) -> Option<&'static str> {
        self.server.trusted_proxies.is_empty().then_some(
            "TRUSTED_PROXIES names no proxy. Nobody's country is known: every shopper is charged the default zone's shipping \
             (USA) unless they choose another zone's on the payment page, and an order that goes outside the zone that was \
             paid is flagged before it ships. Behind a proxy nobody's address is known either: all \
             shoppers together count as one client for the limits.",
        )
    }

    /// Returns true when browsers reach the shop by HTTPS only.
    pub fn is_https(&self) -> bool {
        self.server.public_url.starts_with("https://")
    }

    /// Returns true for a peer whose headers about client address and country are trusted.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.server
            .trusted_proxies
            .iter()
            .any(|net| net.contains(&peer))
    }
}

/// Merges the settings of a file and of the environment.
fn combine(
    file: &[env_file::FileEntry],
    environment: &[(OsString, OsString)],
) -> Result<Config, Vec<FieldError>> {
    let given = |name: &str| environment.iter().find(|(known, _)| known == name);
    let written = |name: &str| file.iter().find(|entry| entry.name == name);
    let lookup = |name: &str| match given(name) {
        Some((_, value)) => value.to_str().map(str::to_owned),
        None => written(name).map(|entry| entry.value.clone()),
    };
    let mut reader = Reader::new(&lookup);
    let result = read(&mut reader);
    let names = environment.iter().filter_map(|(name, _)| name.to_str());
    let unknown = names::unknown(&reader.names, file, names);
    let mut field_errors = Vec::new();
    for name in &reader.names {
        if given(name).is_some_and(|(_, value)| value.to_str().is_none()) {
            field_errors.push(FieldError::new(*name, "is not UTF-8 text"));
        }
    }
    let is_production = lookup("APP_ENV").is_some_and(|text| text.trim() == "production");
    if is_production {
        field_errors.extend(unknown.iter().cloned());
    }
    let mut config = match result {
        Ok(config) if field_errors.is_empty() => config,
        Ok(_) => return Err(field_errors),
        Err(more) => {
            field_errors.extend(more.into_iter().map(|mut field_error| {
                let place =
                    written(&field_error.field).filter(|_| given(&field_error.field).is_none());
                if let Some(entry) = place {
                    field_error.message += &format!(" (line {} of .env)", entry.line);
                }
                field_error
            }));
            return Err(field_errors);
        }
    };
    config.unknown_settings = unknown;
    Ok(config)
}

fn read(reader: &mut Reader<'_>) -> Result<Config, Vec<FieldError>> {
    let environment = match reader.text("APP_ENV").as_deref() {
        None | Some("development") => Environment::Development,
        Some("production") => Environment::Production,
        Some(_) => {
            reader.field_error("APP_ENV", "must be development or production");
            Environment::Development
        }
    };
    let production = environment == Environment::Production;
    let data_dir = PathBuf::from(reader.text("DATA_DIR").unwrap_or_else(|| "data".to_owned()));
    let config = Config {
        environment,
        server: ServerConfig::read(reader, production),
        database: DatabaseConfig::read(reader, production),
        stripe: StripeConfig::read(reader, production),
        mail: MailConfig::read(reader, production),
        storage: StorageConfig::read(reader, &data_dir),
        shop: ShopConfig::read(reader, production),
        log: LogConfig::read(reader, production),
        data_dir,
        unknown_settings: Vec::new(),
    };
    match reader.field_errors.is_empty() {
        true => Ok(config),
        false => Err(std::mem::take(&mut reader.field_errors)),
    }
}
