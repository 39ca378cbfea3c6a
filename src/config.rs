//! Settings, read once at startup. This is the only reader of the environment.
//!
//! `.env.example` lists each setting with its unit and default; a test compares the two.

mod env_file;
mod names;
mod proxies;
mod smtp;

pub use proxies::ClientAddress;
pub use smtp::{Security, SmtpServer};

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use axum::http::HeaderName;
use ipnet::IpNet;
use lettre::message::Mailbox;

use crate::error::FieldError;
use crate::types::money::{Cents, Currency};

/// Environment of the shop: `development` starts without configuration, `production` refuses to start when required
/// settings are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    Development,
    Production,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}

/// Minimum number of PostgreSQL connections, so that requests, webhooks, health and the worker have one each.
pub const FEWEST_DATABASE_CONNECTIONS: u32 = 8;

/// A text that must not reach a log: its `Debug` output hides it, and only [`Secret::reveal`] returns it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Price and delivery time of shipping into one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShippingRate {
    pub price: Cents,
    /// Minimum and maximum number of business days.
    pub days: (u32, u32),
}

/// A color, such as `#a23b2a`.
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

/// Image storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaStore {
    Folder(PathBuf),
    Bucket(BucketSettings),
}

/// An S3-compatible bucket and its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSettings {
    pub name: String,
    /// Prefix of all object names; may be empty.
    pub prefix: String,
    pub region: String,
    /// `None` means AWS.
    pub endpoint: Option<String>,
    pub access_key_id: Secret,
    pub secret_access_key: Secret,
}

/// Limits of uploaded images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaLimits {
    /// Largest file.
    pub file_bytes: u64,
    /// Number of files in one form.
    pub files: usize,
    /// Pixels of one image in millions. Concurrent decodes together stay within the same limit.
    pub megapixels: u32,
}

/// Limits of one client: an address, or an IPv6 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub checkouts_per_hour: u32,
    pub custom_orders_per_hour: u32,
    /// Unpaid pieces held by one client.
    pub held_pieces: u32,
    /// Pieces held in total for delayed payments.
    pub delayed_pieces: u32,
}

/// All settings. `Default` is a development shop without configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub environment: Environment,
    pub bind_addr: SocketAddr,
    /// `None` means the embedded PostgreSQL in `data_dir`.
    pub database_url: Option<Secret>,
    /// Address of PostgreSQL itself, when `database_url` leads through a pooler.
    pub database_direct_url: Option<Secret>,
    pub database_max_connections: u32,
    pub data_dir: PathBuf,
    /// `None` in development: a key is generated once and stored in the data folder.
    pub secret_key: Option<Secret>,
    /// Public address of this server for browsers and Stripe, without a trailing slash.
    pub public_url: String,
    pub frontend_url: String,
    /// Origins, `scheme://host[:port]`, that may call the API from a browser and be returned to after payment.
    pub cors_allowed_origins: Vec<String>,
    pub trusted_proxies: Vec<IpNet>,
    pub limits: Limits,
    pub country_header: HeaderName,
    /// `None` means the Stripe sandbox.
    pub stripe_secret_key: Option<Secret>,
    pub stripe_webhook_secrets: Vec<Secret>,
    pub stripe_api_url: Option<String>,
    /// Time-out of one attempt of a call.
    pub stripe_timeout: Duration,
    /// Days after which personal data is removed from the payload of a processed event.
    pub event_retention_days: i32,
    pub media_store: MediaStore,
    pub media_limits: MediaLimits,
    /// Name shown to customers.
    pub shop_name: String,
    /// Currency of products, shipping and custom orders.
    pub shop_currency: Currency,
    /// Time zone of the owner's pages and of day boundaries.
    pub shop_time_zone: chrono_tz::Tz,
    /// The owner's mailbox.
    pub shop_email: String,
    /// Default validity of quotes.
    pub quote_valid_days: i32,
    /// A file, or an `https` address.
    pub shop_logo: Option<String>,
    pub shop_color: Color,
    /// Sender of emails.
    pub mail_from: Mailbox,
    /// `None`: emails are written as files into `data_dir`.
    pub smtp: Option<SmtpServer>,
    /// Additional certificate authority (PEM) for the mail server.
    pub smtp_ca_file: Option<PathBuf>,
    /// Time-out of one step of the SMTP dialogue.
    pub smtp_timeout: Duration,
    pub shipping_us: ShippingRate,
    pub shipping_north_america: ShippingRate,
    pub shipping_international: ShippingRate,
    pub request_timeout: Duration,
    /// Time-out for idle connections, and for receiving the head of a request.
    pub keep_alive: Duration,
    pub max_connections: usize,
    /// Concurrent requests; webhooks and health checks are not counted.
    pub max_requests_in_flight: usize,
    /// Address for Prometheus. `None` means no metrics endpoint.
    pub metrics_addr: Option<SocketAddr>,
    pub log_format: LogFormat,
    pub log_filter: String,
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

    /// Returns true for a Stripe key that moves no real money.
    pub fn has_test_key(&self) -> bool {
        self.stripe_secret_key.as_ref().is_some_and(|key| {
            ["sk_test_", "rk_test_"]
                .iter()
                .any(|prefix| key.reveal().starts_with(prefix))
        })
    }

    /// Legal but probably unintended settings, for the log and the owner.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.is_production() && self.has_test_key() {
            warnings.push(
                "STRIPE_SECRET_KEY is a test key: checkouts take no real money, and every order is unpaid. Set the \
                 live key (sk_live_… or rk_live_…) before you sell."
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
            format!("{}{image}", self.public_url)
        } else {
            image.to_owned()
        };
        url::Url::parse(&absolute).ok().map(String::from)
    }

    /// Mode of the Stripe key in use: live, or test (like the sandbox). `None` when the key does not show it.
    pub fn is_live(&self) -> Option<bool> {
        match self.stripe_secret_key.as_ref().map(Secret::reveal) {
            None => Some(false),
            Some(key) if key.contains("_test_") => Some(false),
            Some(key) if key.contains("_live_") => Some(true),
            Some(_) => None,
        }
    }

    /// Warns about the consequences of missing proxy settings. Returns `None` when a proxy is configured.
    fn proxy_warning(&self) -> Option<&'static str> {
        self.trusted_proxies.is_empty().then_some(
            "TRUSTED_PROXIES names no proxy. Nobody's country is known: every shopper is charged the default zone's shipping \
             (USA) unless they choose another zone's on the payment page, and an order that goes outside the zone that was \
             paid is flagged before it ships. Behind a proxy nobody's address is known either: all \
             shoppers together count as one client for the limits.",
        )
    }

    /// Returns true when browsers reach the shop by HTTPS only.
    pub fn is_https(&self) -> bool {
        self.public_url.starts_with("https://")
    }

    /// Returns true for a peer whose headers about client address and country are trusted.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

/// Merges the settings of a file and of the environment.
fn combine(
    file: &[env_file::Entry],
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

/// Minimum length in characters; Stripe's secrets are longer.
const MIN_WEBHOOK_SECRET: usize = 20;
const MIN_STRIPE_KEY: usize = 20;

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
    let bind_addr = reader.parsed(
        "BIND_ADDR",
        SocketAddr::from(([127, 0, 0, 1], 8000)),
        "must be an address and a port, as 127.0.0.1:8000",
    );
    let database_url = reader.text("DATABASE_URL").map(Secret::new);
    let database_direct_url = reader.text("DATABASE_DIRECT_URL").map(Secret::new);
    let data_dir = PathBuf::from(reader.text("DATA_DIR").unwrap_or_else(|| "data".to_owned()));
    let secret_key = reader.text("SECRET_KEY");
    let public_url = reader.url("PUBLIC_URL");
    let frontend_url = reader.url("FRONTEND_URL");
    let origins = reader.list("CORS_ALLOWED_ORIGINS");
    let stripe_key = reader.text("STRIPE_SECRET_KEY");
    let webhook_secrets = reader.list("STRIPE_WEBHOOK_SECRET");
    let stripe_api_url = reader.url("STRIPE_API_URL");
    let shop_name = reader
        .text("SHOP_NAME")
        .unwrap_or_else(|| "Spirit Beads".to_owned());
    let shop_email = reader.text("SHOP_EMAIL");
    let mail_from = reader.text("MAIL_FROM");
    let smtp = reader.smtp("SMTP_URL", production);

    if production {
        for (name, missing) in [
            ("DATABASE_URL", database_url.is_none()),
            ("SECRET_KEY", secret_key.is_none()),
            ("PUBLIC_URL", public_url.is_none()),
            ("FRONTEND_URL", frontend_url.is_none()),
            ("STRIPE_SECRET_KEY", stripe_key.is_none()),
            ("STRIPE_WEBHOOK_SECRET", webhook_secrets.is_empty()),
            ("SMTP_URL", !reader.given("SMTP_URL")),
            ("MAIL_FROM", mail_from.is_none()),
            ("SHOP_EMAIL", shop_email.is_none()),
        ] {
            if missing {
                reader.field_error(name, "is required in production");
            }
        }
        for (name, address) in [("PUBLIC_URL", &public_url), ("FRONTEND_URL", &frontend_url)] {
            if address
                .as_deref()
                .is_some_and(|url| !url.starts_with("https://"))
            {
                reader.field_error(name, "must begin with https:// in production");
            }
        }
        if stripe_key
            .as_deref()
            .is_some_and(|key| !["sk_", "rk_"].iter().any(|p| key.starts_with(p)))
        {
            reader.field_error(
                "STRIPE_SECRET_KEY",
                "is not a Stripe secret key (sk_… or rk_…)",
            );
        } else if stripe_key
            .as_deref()
            .is_some_and(|key| key.len() < MIN_STRIPE_KEY)
        {
            reader.field_error(
                "STRIPE_SECRET_KEY",
                &format!("is too short: Stripe's keys have at least {MIN_STRIPE_KEY} characters"),
            );
        }
        if stripe_api_url
            .as_deref()
            .is_some_and(|url| !url.starts_with("https://"))
        {
            reader.field_error("STRIPE_API_URL", "must begin with https:// in production");
        }
    }
    if secret_key.as_deref().is_some_and(weak) {
        reader.field_error(
            "SECRET_KEY",
            "is weak: use at least 32 random characters, as from `openssl rand -hex 32`",
        );
    }
    if webhook_secrets
        .iter()
        .any(|secret| !secret.starts_with("whsec_"))
    {
        reader.field_error(
            "STRIPE_WEBHOOK_SECRET",
            "must be a comma list of Stripe signing secrets (whsec_…)",
        );
    } else if webhook_secrets
        .iter()
        .any(|secret| secret.len() < MIN_WEBHOOK_SECRET)
    {
        reader.field_error(
            "STRIPE_WEBHOOK_SECRET",
            &format!(
                "is too short: a signing secret has at least {MIN_WEBHOOK_SECRET} characters, whsec_ included. Copy it \
                 from Stripe's dashboard (Developers > Webhooks)"
            ),
        );
    }
    if stripe_key.is_some() && webhook_secrets.is_empty() && !production {
        reader.field_error(
            "STRIPE_WEBHOOK_SECRET",
            "is required with STRIPE_SECRET_KEY",
        );
    }

    let mut cors_allowed_origins = Vec::new();
    for origin in origins {
        match origin_of(&origin) {
            Some(parsed) if parsed == origin => cors_allowed_origins.push(parsed),
            _ => reader.field_error(
                "CORS_ALLOWED_ORIGINS",
                "must be a comma list of origins, as https://shop.example",
            ),
        }
    }
    let public_url = public_url.unwrap_or_else(|| format!("http://{bind_addr}"));
    let frontend_url = frontend_url.unwrap_or_else(|| "http://localhost:8080".to_owned());
    // The storefront's origin and our own are always allowed; in development also those of common dev servers.
    let mut own = vec![origin_of(&frontend_url), origin_of(&public_url)];
    if !production {
        own.extend(
            [
                "http://localhost:8080",
                "http://127.0.0.1:8080",
                "http://localhost:8000",
                "http://127.0.0.1:8000",
            ]
            .map(|origin| Some(origin.to_owned())),
        );
    }
    for origin in own.into_iter().flatten() {
        if !cors_allowed_origins.contains(&origin) {
            cors_allowed_origins.push(origin);
        }
    }

    let mut trusted_proxies = Vec::new();
    for entry in reader.list("TRUSTED_PROXIES") {
        match IpNet::from_str(&entry).or_else(|_| IpAddr::from_str(&entry).map(IpNet::from)) {
            Ok(net) if production && is_nearly_everybody(&net) => reader.field_error(
                "TRUSTED_PROXIES",
                &format!(
                    "{entry} trusts nearly every address, so any visitor could claim to be any other: name the \
                     addresses of your proxies"
                ),
            ),
            Ok(net) => trusted_proxies.push(net),
            Err(_) => reader.field_error(
                "TRUSTED_PROXIES",
                "must be a comma list of addresses or networks, as 10.0.0.0/8",
            ),
        }
    }
    // Not in production: trusting a local proxy that passes on what clients send is worse than trusting none.
    if !reader.is_named("TRUSTED_PROXIES") && !production {
        trusted_proxies = vec![
            IpNet::from_str("127.0.0.0/8").expect("a valid network"),
            IpNet::from_str("::1/128").expect("a valid network"),
        ];
    }

    let shop_email = shop_email.unwrap_or_else(|| "shop@localhost".to_owned());
    if shop_email.parse::<lettre::Address>().is_err() {
        reader.field_error("SHOP_EMAIL", "must be an email address");
    }
    let mail_from = match mail_from.map(|text| text.parse()) {
        Some(Ok(from)) => from,
        Some(Err(_)) => {
            reader.field_error(
                "MAIL_FROM",
                "must be an email address, as Spirit Beads <shop@example.com>",
            );
            no_reply()
        }
        None => no_reply(),
    };
    let media_store = reader.media_store(&data_dir);
    let shop_currency = reader.parsed(
        "SHOP_CURRENCY",
        Currency::USD,
        "must be the code of a currency that Stripe charges, as usd",
    );
    let mut shipping = |name, price, days| reader.shipping(name, price, days, shop_currency);
    let shipping_us = shipping("SHIPPING_US", 500, (3, 5));
    let shipping_north_america = shipping("SHIPPING_NORTH_AMERICA", 1500, (5, 10));
    let shipping_international = shipping("SHIPPING_INTERNATIONAL", 2000, (10, 20));
    let config = Config {
        environment,
        bind_addr,
        database_url,
        database_direct_url,
        database_max_connections: reader.parsed(
            "DATABASE_MAX_CONNECTIONS",
            20,
            "must be a whole number",
        ),
        data_dir,
        secret_key: secret_key.map(Secret::new),
        public_url,
        frontend_url,
        cors_allowed_origins,
        trusted_proxies,
        limits: Limits {
            checkouts_per_hour: reader.counted("LIMIT_CHECKOUTS_PER_HOUR", 60, 1_000_000) as u32,
            custom_orders_per_hour: reader.counted("LIMIT_CUSTOM_ORDERS_PER_HOUR", 20, 1_000_000)
                as u32,
            held_pieces: reader.counted("LIMIT_HELD_PIECES", 10, 1_000_000) as u32,
            delayed_pieces: reader.counted("LIMIT_DELAYED_PIECES", 20, 1_000_000) as u32,
        },
        country_header: reader.parsed(
            "COUNTRY_HEADER",
            HeaderName::from_static("cf-ipcountry"),
            "must be the name of an HTTP header",
        ),
        stripe_secret_key: stripe_key.map(Secret::new),
        stripe_webhook_secrets: webhook_secrets.into_iter().map(Secret::new).collect(),
        stripe_api_url,
        stripe_timeout: reader.seconds("STRIPE_TIMEOUT_SECONDS", 8),
        event_retention_days: reader.counted("STRIPE_EVENT_RETENTION_DAYS", 90, 3650) as i32,
        quote_valid_days: reader.parsed("QUOTE_VALID_DAYS", 14, "must be a whole number of days"),
        shop_name,
        shop_currency,
        shop_time_zone: reader.parsed(
            "SHOP_TIME_ZONE",
            chrono_tz::UTC,
            "must be the name of a time zone, as America/Los_Angeles",
        ),
        shop_email,
        shop_logo: reader.text("SHOP_LOGO"),
        shop_color: reader.parsed(
            "SHOP_COLOR",
            Color([0xa2, 0x3b, 0x2a]),
            "must be a color, as #a23b2a",
        ),
        mail_from,
        smtp,
        smtp_ca_file: reader.text("SMTP_CA_FILE").map(PathBuf::from),
        smtp_timeout: reader.seconds("SMTP_TIMEOUT_SECONDS", 30),
        media_store,
        media_limits: MediaLimits {
            file_bytes: reader.counted("UPLOAD_MAX_FILE_BYTES", 7 * 1024 * 1024, 1 << 30),
            files: reader.counted("UPLOAD_MAX_FILES", 10, 100) as usize,
            megapixels: reader.counted("UPLOAD_MAX_MEGAPIXELS", 50, 250) as u32,
        },
        shipping_us,
        shipping_north_america,
        shipping_international,
        keep_alive: Duration::from_secs(reader.counted("KEEP_ALIVE_SECONDS", 75, 3600)),
        max_connections: reader.counted("MAX_CONNECTIONS", 16_384, 1_000_000) as usize,
        max_requests_in_flight: reader.counted("MAX_REQUESTS_IN_FLIGHT", 512, 100_000) as usize,
        metrics_addr: reader.address("METRICS_ADDR"),
        request_timeout: reader.seconds("REQUEST_TIMEOUT_SECONDS", 30),
        log_format: match reader.text("LOG_FORMAT").as_deref() {
            None if production => LogFormat::Json,
            None | Some("human") => LogFormat::Human,
            Some("json") => LogFormat::Json,
            Some(_) => {
                reader.field_error("LOG_FORMAT", "must be human or json");
                LogFormat::Human
            }
        },
        log_filter: reader
            .text("LOG_FILTER")
            .unwrap_or_else(|| "info".to_owned()),
        unknown_settings: Vec::new(),
    };
    if !(1..=365).contains(&config.quote_valid_days) {
        reader.field_error("QUOTE_VALID_DAYS", "must be from 1 to 365 days");
    }
    if config.database_max_connections < FEWEST_DATABASE_CONNECTIONS {
        reader.field_error(
            "DATABASE_MAX_CONNECTIONS",
            "must be at least 8: requests, webhooks, health and the worker have some each",
        );
    }
    if config.database_direct_url.is_some() && config.database_url.is_none() {
        reader.field_error(
            "DATABASE_DIRECT_URL",
            "requires DATABASE_URL, the address of the pooler",
        );
    }
    if reader.field_errors.is_empty() {
        Ok(config)
    } else {
        Err(std::mem::take(&mut reader.field_errors))
    }
}

/// Returns true for a network wider than any private one, because it would include strangers.
fn is_nearly_everybody(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.prefix_len() < 8,
        // fc00::/7 is the widest private network.
        IpNet::V6(net) => net.prefix_len() < 7,
    }
}

/// Sender of emails in development.
fn no_reply() -> Mailbox {
    let address = lettre::Address::new("shop", "localhost").expect("a valid address");
    Mailbox::new(None, address)
}

/// Returns true for a guessable key: few characters, or few different ones.
fn weak(key: &str) -> bool {
    key.len() < 32 || key.chars().collect::<BTreeSet<_>>().len() < 8
}

/// Origin (`scheme://host[:port]`) of an `http` or `https` address.
pub fn origin_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    if scheme != "http" && scheme != "https" {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let plain = !authority.is_empty()
        && authority
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    plain.then(|| format!("{scheme}://{}", authority.to_ascii_lowercase()))
}

/// Reads settings by name and collects the errors. An empty value counts as missing, except for lists whose default is not
/// empty.
struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    field_errors: Vec<FieldError>,
    names: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Reader<'a> {
        Reader {
            lookup,
            field_errors: Vec::new(),
            names: BTreeSet::new(),
        }
    }

    fn text(&mut self, name: &'static str) -> Option<String> {
        self.names.insert(name);
        let value = (self.lookup)(name)?.trim().to_owned();
        (!value.is_empty()).then_some(value)
    }

    /// Returns true for a setting that is there, also with an empty value.
    fn is_named(&self, name: &str) -> bool {
        (self.lookup)(name).is_some()
    }

    fn given(&mut self, name: &'static str) -> bool {
        self.text(name).is_some()
    }

    fn field_error(&mut self, name: &'static str, message: &str) {
        self.field_errors.push(FieldError::new(name, message));
    }

    fn list(&mut self, name: &'static str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn parsed<T: FromStr>(&mut self, name: &'static str, default: T, hint: &str) -> T {
        match self.text(name).map(|text| text.parse()) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                self.field_error(name, hint);
                default
            }
        }
    }

    fn address(&mut self, name: &'static str) -> Option<SocketAddr> {
        let address = self.text(name)?.parse().ok();
        if address.is_none() {
            self.field_error(name, "must be an address and a port, as 127.0.0.1:9090");
        }
        address
    }

    fn seconds(&mut self, name: &'static str, default: u64) -> Duration {
        let seconds = self.parsed(name, default, "must be a whole number of seconds");
        if seconds == 0 {
            self.field_error(name, "must be at least 1 second");
        }
        if seconds > 60 {
            self.field_error(name, "must be at most 60 seconds");
        }
        Duration::from_secs(seconds)
    }

    /// Reads a number from one to `most`.
    fn counted(&mut self, name: &'static str, default: u64, most: u64) -> u64 {
        let number = self.parsed(name, default, "must be a whole number");
        if !(1..=most).contains(&number) {
            self.field_error(name, &format!("must be from 1 to {most}"));
            return default;
        }
        number
    }

    /// Reads a folder, or `s3://bucket/prefix` with the usual AWS settings.
    fn media_store(&mut self, data_dir: &Path) -> MediaStore {
        let location = self.text("MEDIA_URL");
        let region = self.text("AWS_REGION");
        let endpoint = self.url("AWS_ENDPOINT_URL");
        let keys =
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name, self.text(name)));
        let folder = match location.as_deref() {
            None => return MediaStore::Folder(data_dir.join("media")),
            Some(location) => match location.split_once("://") {
                None => return MediaStore::Folder(PathBuf::from(location)),
                Some(("s3", bucket)) => bucket,
                Some(_) => {
                    self.field_error("MEDIA_URL", "must be a folder or s3://bucket");
                    return MediaStore::Folder(PathBuf::new());
                }
            },
        };
        let (name, prefix) = folder.split_once('/').unwrap_or((folder, ""));
        if name.is_empty() {
            self.field_error("MEDIA_URL", "must name a bucket, as s3://bucket/prefix");
        }
        let is_exposed = |endpoint: &str| {
            endpoint.starts_with("http://")
                && !url::Url::parse(endpoint).is_ok_and(|url| match url.host() {
                    Some(url::Host::Domain(name)) => name == "localhost",
                    Some(url::Host::Ipv4(address)) => address.is_loopback(),
                    Some(url::Host::Ipv6(address)) => address.is_loopback(),
                    None => false,
                })
        };
        if endpoint.as_deref().is_some_and(is_exposed) {
            self.field_error(
                "AWS_ENDPOINT_URL",
                "must begin with https://, except on this machine",
            );
        }
        let [access_key_id, secret_access_key] = keys.map(|(name, key)| {
            if key.is_none() {
                self.field_error(name, "is required with a bucket in MEDIA_URL");
            }
            Secret::new(key.unwrap_or_default())
        });
        MediaStore::Bucket(BucketSettings {
            name: name.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            region: region.unwrap_or_else(|| "us-east-1".to_owned()),
            endpoint,
            access_key_id,
            secret_access_key,
        })
    }

    fn url(&mut self, name: &'static str) -> Option<String> {
        let url = self.text(name)?.trim_end_matches('/').to_owned();
        if origin_of(&url).is_none() {
            self.field_error(name, "must be an http or https address");
        }
        Some(url)
    }

    fn smtp(&mut self, name: &'static str, production: bool) -> Option<SmtpServer> {
        let server = match self.text(name)?.parse::<SmtpServer>() {
            Ok(server) => server,
            Err(why) => {
                self.field_error(name, why);
                return None;
            }
        };
        if production && server.shows_password() {
            self.field_error(
                name,
                "would send the password unencrypted: use smtps:// or ?tls=required",
            );
        }
        Some(server)
    }

    fn shipping(
        &mut self,
        name: &'static str,
        price: i64,
        days: (u32, u32),
        currency: Currency,
    ) -> ShippingRate {
        let default = ShippingRate {
            price: Cents(price),
            days,
        };
        let Some(text) = self.text(name) else {
            return default;
        };
        let parts: Vec<Option<u32>> = text
            .split(',')
            .map(|part| part.trim().parse().ok())
            .collect();
        match parts[..] {
            [Some(price), Some(least), Some(most)]
                if 1 <= least && least <= most && most <= 365 =>
            {
                if let Err(wrong) = currency.check_part(Cents(price.into())) {
                    self.field_error(name, &format!("has a price that {wrong} in {currency}"));
                }
                ShippingRate {
                    price: Cents(i64::from(price)),
                    days: (least, most),
                }
            }
            _ => {
                self.field_error(name, "must be cents,least days,most days, as 500,3,5");
                default
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> Result<Config, Vec<FieldError>> {
        Config::read(|name| {
            let found = settings.iter().find(|(key, _)| *key == name)?;
            Some(found.1.to_owned())
        })
    }

    #[test]
    fn nothing_is_needed_in_development() {
        let config = config(&[]).expect("defaults suffice");
        assert_eq!(config.bind_addr.to_string(), "127.0.0.1:8000");
        assert_eq!(config.public_url, "http://127.0.0.1:8000");
        assert!(config.trusts("127.0.0.1".parse().expect("an address")));
        assert!(!config.trusts("10.0.0.1".parse().expect("an address")));
    }

    #[test]
    fn production_names_everything_missing_or_unsafe_at_once() {
        let field_errors = config(&[
            ("APP_ENV", "production"),
            ("SECRET_KEY", "short"),
            ("PUBLIC_URL", "http://shop.example"),
            ("STRIPE_API_URL", "http://127.0.0.1:1"),
        ])
        .expect_err("half configured");
        let names: BTreeSet<&str> = field_errors
            .iter()
            .map(|field_error| field_error.field.as_str())
            .collect();
        assert_eq!(
            names,
            BTreeSet::from([
                "DATABASE_URL",
                "FRONTEND_URL",
                "PUBLIC_URL",
                "SECRET_KEY",
                "STRIPE_API_URL",
                "STRIPE_SECRET_KEY",
                "STRIPE_WEBHOOK_SECRET",
                "SMTP_URL",
                "MAIL_FROM",
                "SHOP_EMAIL"
            ])
        );
    }

    #[test]
    fn a_full_production_configuration_is_accepted_and_its_secrets_are_not_shown() {
        let config = config(&[
            ("APP_ENV", "production"),
            ("DATABASE_URL", "postgres://shop:hunter2@db/shop"),
            ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
            ("PUBLIC_URL", "https://api.shop.example/"),
            ("FRONTEND_URL", "https://shop.example"),
            ("STRIPE_SECRET_KEY", "sk_live_0123456789abcdef"),
            (
                "STRIPE_WEBHOOK_SECRET",
                "whsec_0123456789abcdef,whsec_fedcba9876543210",
            ),
            ("SMTP_URL", "smtps://shop:hunter3@mail.example"),
            ("MAIL_FROM", "Beads & Co <shop@mail.example>"),
            ("SHOP_EMAIL", "me@mail.example"),
        ])
        .expect("complete");
        assert_eq!(config.public_url, "https://api.shop.example");
        assert_eq!(config.stripe_webhook_secrets.len(), 2);
        assert_eq!(
            config.cors_allowed_origins,
            ["https://shop.example", "https://api.shop.example"]
        );
        let shown = format!("{config:?}");
        for secret in ["hunter2", "hunter3", "0123456789abcdef", "fedcba"] {
            assert!(!shown.contains(secret), "{secret} is shown");
        }
    }

    #[test]
    fn settings_of_emails_that_cannot_work_are_named() {
        for (name, value) in [
            ("SHOP_EMAIL", "shop"),
            ("SHOP_EMAIL", "a@b.example, c@d.example"),
            ("MAIL_FROM", "Shop <shop@>"),
            ("MAIL_FROM", "Shop"),
            ("SHOP_COLOR", "red"),
            ("SHOP_COLOR", "#12345é"),
            ("SMTP_URL", "mail.example"),
            ("SMTP_URL", "smtp://mail.example?tls=maybe"),
            ("SMTP_TIMEOUT_SECONDS", "0"),
        ] {
            let field_errors = config(&[(name, value)]).expect_err(value);
            assert_eq!(field_errors[0].field, name, "{value}");
        }
        assert_eq!(
            Color::from_str("#A23b2a").map(|c| c.to_string()),
            Ok("#a23b2a".to_owned())
        );
    }

    #[test]
    fn production_does_not_send_a_password_readable() {
        for (url, safe) in [
            ("smtp://u:p@mail.example", false),
            ("smtp://u:p@mail.example?tls=opportunistic", false),
            ("smtp://u:p@mail.example?tls=required", true),
            ("smtps://u:p@mail.example", true),
            ("smtp://u:p@localhost", true),
            ("smtp://mail.example", true),
        ] {
            let field_errors =
                config(&[("APP_ENV", "production"), ("SMTP_URL", url)]).expect_err("half");
            let said = field_errors
                .iter()
                .any(|field_error| field_error.field == "SMTP_URL");
            assert_eq!(said, !safe, "{url}");
        }
    }

    #[test]
    fn the_example_file_lists_every_setting_and_no_other() {
        let none = |_: &str| None;
        let mut reader = Reader::new(&none);
        read(&mut reader).expect("defaults suffice");
        let example = include_str!("../.env.example");
        let listed: BTreeSet<&str> = example
            .lines()
            .filter_map(|line| line.trim_start_matches("# ").split_once('='))
            .map(|(name, _)| name)
            .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
            .collect();
        assert_eq!(listed, reader.names);
    }

    /// The example file with the settings of this line uncommented; all settings for `None`.
    fn uncommented(line: Option<usize>) -> String {
        let text = include_str!("../.env.example");
        let uncomment = |(at, text): (usize, &str)| match text.strip_prefix("# ") {
            Some(setting) if is_setting(text) && line.is_none_or(|line| line == at) => {
                format!("{setting}\n")
            }
            _ => format!("{text}\n"),
        };
        text.lines().enumerate().map(uncomment).collect()
    }

    fn is_setting(line: &str) -> bool {
        line.strip_prefix("# ")
            .and_then(|line| line.split_once('='))
            .is_some_and(|(name, _)| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
            })
    }

    #[test]
    fn the_example_file_works_as_it_stands_with_each_line_uncommented() {
        let example = include_str!("../.env.example");
        let lines = example.lines().enumerate();
        let settings: Vec<usize> = lines
            .filter(|(_, line)| is_setting(line))
            .map(|(at, _)| at)
            .collect();
        assert!(settings.len() > 40, "{}", settings.len());
        for line in settings.iter().copied().map(Some).chain([None]) {
            let text = uncommented(line);
            let file = env_file::parse(text.as_bytes())
                .unwrap_or_else(|field_errors| panic!("{field_errors:?}"));
            assert_eq!(file.len(), line.map_or(settings.len(), |_| 1));
            for entry in &file {
                let written = format!("{}={}", entry.name, entry.value);
                assert!(text.lines().any(|line| line == written), "{written}");
            }
            let config = combine(&file, &[])
                .unwrap_or_else(|field_errors| panic!("{line:?}: {field_errors:?}"));
            assert_eq!(config.unknown_settings, []);
        }
        let file = env_file::parse(uncommented(None).as_bytes()).expect("readable");
        let config = combine(&file, &[]).expect("valid");
        assert_eq!(config.shop_name, "Spirit Beads");
        assert_eq!(config.mail_from.name.as_deref(), Some("Spirit Beads"));
        assert_eq!(config.shop_color.to_string(), "#a23b2a");
    }

    #[test]
    fn a_password_with_a_dollar_sign_reaches_the_mail_server_whole() {
        let file =
            env_file::parse(b"SMTP_URL=smtp://shop:pa$word1@mail.example\n").expect("readable");
        let smtp = combine(&file, &[]).expect("valid").smtp.expect("a server");
        let (user, password) = smtp.login.expect("a login");
        assert_eq!((user.as_str(), password.reveal()), ("shop", "pa$word1"));
    }

    #[test]
    fn production_refuses_names_that_nothing_reads() {
        let names = |environment: &str, given: &[(&str, &str)]| -> Vec<String> {
            let text = format!("APP_ENV={environment}\nSHOP_NAMES=Beads\nTZ=UTC\nFOO=1\n");
            let file = env_file::parse(text.as_bytes()).expect("readable");
            let given: Vec<(OsString, OsString)> = given
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect();
            match combine(&file, &given) {
                Ok(config) => config.unknown_settings,
                Err(field_errors) => field_errors,
            }
            .into_iter()
            .filter(|field_error| field_error.message.contains("is not a setting"))
            .map(|field_error| format!("{} {}", field_error.field, field_error.message))
            .collect()
        };
        let of_file = [
            "SHOP_NAMES is not a setting; did you mean SHOP_NAME? (line 2 of .env)",
            "FOO is not a setting (line 4 of .env)",
        ];
        assert_eq!(names("production", &[("HOME", "/root")]), of_file);
        // In development the start goes on, and reports them.
        assert_eq!(names("development", &[]), of_file);
        let given = [("STRIPE_SECRET", "x"), ("PGHOST", "db")];
        let told = names("production", &given);
        assert_eq!(told[2], "STRIPE_SECRET is not a setting");
        assert_eq!(told.len(), 3);
    }

    #[test]
    fn production_trusts_no_network_that_holds_strangers() {
        for (networks, is_refused) in [
            ("0.0.0.0/0", true),
            ("10.0.0.1, ::/0", true),
            ("0.0.0.0/1,128.0.0.0/1", true),
            ("2000::/3", true),
            ("10.0.0.0/8, 172.16.0.0/12, fc00::/7, ::1", false),
        ] {
            let settings = [("APP_ENV", "production"), ("TRUSTED_PROXIES", networks)];
            let field_errors = config(&settings).expect_err("half configured");
            let told = field_errors
                .iter()
                .any(|field_error| field_error.field == "TRUSTED_PROXIES");
            assert_eq!(told, is_refused, "{networks}");
        }
        assert!(config(&[("TRUSTED_PROXIES", "0.0.0.0/0")]).is_ok());
    }

    #[test]
    fn short_secrets_are_told_how_long_they_must_be() {
        for (name, value, told) in [
            (
                "STRIPE_WEBHOOK_SECRET",
                "whsec_short",
                "at least 20 characters",
            ),
            (
                "STRIPE_SECRET_KEY",
                "sk_live_short",
                "at least 20 characters",
            ),
            ("SECRET_KEY", "short", "at least 32"),
            ("STRIPE_WEBHOOK_SECRET", "secret", "whsec_…"),
        ] {
            let settings = [("APP_ENV", "production"), (name, value)];
            let field_errors = config(&settings).expect_err("half configured");
            let field_error = field_errors
                .iter()
                .find(|field_error| field_error.field == name);
            let message = &field_error.expect("a fault").message;
            assert!(message.contains(told), "{name}: {message}");
        }
    }

    #[test]
    fn origins_are_taken_apart_strictly() {
        assert_eq!(
            origin_of("https://Shop.example/path"),
            Some("https://shop.example".to_owned())
        );
        assert_eq!(
            origin_of("http://localhost:8080"),
            Some("http://localhost:8080".to_owned())
        );
        for bad in [
            "",
            "null",
            "javascript://x",
            "https://",
            "https://a@b",
            "https://a b",
            "ftp://x",
        ] {
            assert_eq!(origin_of(bad), None, "{bad}");
        }
    }
}
