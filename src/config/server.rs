//! Settings of the server: addresses, origins, proxies, time-outs, limits.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use axum::http::HeaderName;
use ipnet::IpNet;

use super::Secret;
use super::reader::{Reader, origin_of};

/// Addresses, origins, proxies and time-outs.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub bind_addr: SocketAddr,
    /// `None` in development: a key is generated once and stored in the data folder.
    pub secret_key: Option<Secret>,
    /// Public address of this server for browsers and Stripe, without a trailing slash.
    pub public_url: String,
    pub frontend_url: String,
    /// Origins, `scheme://host[:port]`, that may call the API from a browser and be returned to after payment.
    pub cors_allowed_origins: Vec<String>,
    pub trusted_proxies: Vec<IpNet>,
    pub country_header: HeaderName,
    pub limits: Limits,
    pub request_timeout: Duration,
    /// Time-out for idle connections, and for receiving the head of a request.
    pub keep_alive: Duration,
    pub max_connections: usize,
    /// Concurrent requests; webhooks and health checks are not counted.
    pub max_requests_in_flight: usize,
    /// Bytes of catalog responses kept in memory; 0 keeps none.
    pub catalog_memory: usize,
    /// Address for Prometheus. `None` means no metrics endpoint.
    pub metrics_addr: Option<SocketAddr>,
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

impl ServerConfig {
    pub(super) fn read(reader: &mut Reader<'_>, production: bool) -> ServerConfig {
        let bind_addr = reader.parsed(
            "BIND_ADDR",
            SocketAddr::from(([127, 0, 0, 1], 8000)),
            "must be an address and a port, as 127.0.0.1:8000",
        );
        let secret_key = reader.text("SECRET_KEY");
        reader.required("SECRET_KEY", production);
        if secret_key.as_deref().is_some_and(is_weak) {
            reader.field_error(
                "SECRET_KEY",
                "is weak: use at least 32 random characters, as from `openssl rand -hex 32`",
            );
        }
        let public_url = own_url(reader, "PUBLIC_URL", production)
            .unwrap_or_else(|| format!("http://{bind_addr}"));
        let frontend_url = own_url(reader, "FRONTEND_URL", production)
            // The start page stands in for a storefront.
            .unwrap_or_else(|| public_url.clone());
        ServerConfig {
            bind_addr,
            secret_key: secret_key.map(Secret::new),
            cors_allowed_origins: origins(reader, production, &frontend_url, &public_url),
            public_url,
            frontend_url,
            trusted_proxies: trusted_proxies(reader, production),
            country_header: reader.parsed(
                "COUNTRY_HEADER",
                HeaderName::from_static("cf-ipcountry"),
                "must be the name of an HTTP header",
            ),
            limits: Limits {
                checkouts_per_hour: reader.counted("LIMIT_CHECKOUTS_PER_HOUR", 60, 1_000_000)
                    as u32,
                custom_orders_per_hour: reader.counted(
                    "LIMIT_CUSTOM_ORDERS_PER_HOUR",
                    20,
                    1_000_000,
                ) as u32,
                held_pieces: reader.counted("LIMIT_HELD_PIECES", 10, 1_000_000) as u32,
                delayed_pieces: reader.counted("LIMIT_DELAYED_PIECES", 20, 1_000_000) as u32,
            },
            request_timeout: reader.seconds("REQUEST_TIMEOUT_SECONDS", 30),
            keep_alive: Duration::from_secs(reader.counted("KEEP_ALIVE_SECONDS", 75, 3600)),
            max_connections: reader.counted("MAX_CONNECTIONS", 16_384, 1_000_000) as usize,
            max_requests_in_flight: reader.counted("MAX_REQUESTS_IN_FLIGHT", 512, 100_000) as usize,
            catalog_memory: catalog_memory(reader),
            metrics_addr: reader.address("METRICS_ADDR"),
        }
    }
}

/// Reads the memory for responses of the catalog.
fn catalog_memory(reader: &mut Reader<'_>) -> usize {
    let name = "CATALOG_MEMORY_MB";
    let megabytes: usize = reader.parsed(name, 16, "must be a whole number");
    if megabytes > 4096 {
        reader.field_error(name, "must be from 0 to 4096");
    }
    megabytes << 20
}

/// Reads an address of ours, which production requires, with HTTPS.
fn own_url(reader: &mut Reader<'_>, name: &'static str, production: bool) -> Option<String> {
    let url = reader.url(name);
    reader.required(name, production);
    if production
        && url
            .as_deref()
            .is_some_and(|url| !url.starts_with("https://"))
    {
        reader.field_error(name, "must begin with https:// in production");
    }
    url
}

/// Reads the allowed origins. The storefront's and our own are always allowed; in development also those of common dev
/// servers.
fn origins(
    reader: &mut Reader<'_>,
    production: bool,
    frontend_url: &str,
    public_url: &str,
) -> Vec<String> {
    let mut allowed = Vec::new();
    for origin in reader.list("CORS_ALLOWED_ORIGINS") {
        match origin_of(&origin) {
            Some(parsed) if parsed == origin => allowed.push(parsed),
            _ => reader.field_error(
                "CORS_ALLOWED_ORIGINS",
                "must be a comma list of origins, as https://shop.example",
            ),
        }
    }
    let mut own = vec![origin_of(frontend_url), origin_of(public_url)];
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
        if !allowed.contains(&origin) {
            allowed.push(origin);
        }
    }
    allowed
}

fn trusted_proxies(reader: &mut Reader<'_>, production: bool) -> Vec<IpNet> {
    let mut trusted = Vec::new();
    for entry in reader.list("TRUSTED_PROXIES") {
        match IpNet::from_str(&entry).or_else(|_| IpAddr::from_str(&entry).map(IpNet::from)) {
            Ok(net) if production && is_nearly_everybody(&net) => reader.field_error(
                "TRUSTED_PROXIES",
                &format!(
                    "{entry} trusts nearly every address, so any visitor could claim to be any other: name the \
                     addresses of your proxies"
                ),
            ),
            Ok(net) => trusted.push(net),
            Err(_) => reader.field_error(
                "TRUSTED_PROXIES",
                "must be a comma list of addresses or networks, as 10.0.0.0/8",
            ),
        }
    }
    // Not in production: trusting a local proxy that passes on what clients send is worse than trusting none.
    if !reader.is_named("TRUSTED_PROXIES") && !production {
        trusted = vec![
            IpNet::from_str("127.0.0.0/8").expect("a valid network"),
            IpNet::from_str("::1/128").expect("a valid network"),
        ];
    }
    trusted
}

/// Returns true for a network wider than any private one, because it would include strangers.
fn is_nearly_everybody(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.prefix_len() < 8,
        // fc00::/7 is the widest private network.
        IpNet::V6(net) => net.prefix_len() < 7,
    }
}

/// Returns true for a guessable key: few characters, or few different ones.
fn is_weak(key: &str) -> bool {
    key.len() < 32 || key.chars().collect::<BTreeSet<_>>().len() < 8
}
