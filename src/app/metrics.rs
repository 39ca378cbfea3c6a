//! Prometheus metrics of this process since its start. Figures from the database are read on request: see
//! [`crate::system::health`].
//!
//! Labels have few values, all fixed in the code: a route's template, a status class, an error code.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use axum::response::Response;
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::error::Error;

pub use prometheus_text::CONTENT_TYPE;

/// Prefix of all names, except for the standard process metrics.
const PREFIX: &str = "shop";

/// Upper bounds of the duration histograms, in seconds.
const BUCKETS: [f64; 12] = [
    0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: Cow<'static, str>,
    /// Status class, such as `2xx`.
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    status: u16,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CartReason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckoutOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobDone {
    job: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventTaken {
    source: &'static str,
    effect: &'static str,
}

/// Gauges by label, if any.
type Gauges = Family<Vec<(String, String)>, Gauge<f64, AtomicU64>>;

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// Counters of one process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Counters>);

struct Counters {
    registry: Registry,
    requests: Durations<Answered>,
    errors: Family<Refused, Counter>,
    cart_lines: Family<CartReason, Counter>,
    checkouts: Family<CheckoutOutcome, Counter>,
    shed: Counter,
    limited: Counter,
    in_flight: Gauge,
    connections: Gauge,
    jobs: Durations<JobDone>,
    events: Family<EventTaken, Counter>,
}

fn durations() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix(PREFIX);
        let requests = Durations::new_with_constructor(durations as fn() -> Histogram);
        let jobs = Durations::new_with_constructor(durations as fn() -> Histogram);
        let mut counters = Counters {
            registry: Registry::default(),
            requests,
            errors: Family::default(),
            cart_lines: Family::default(),
            checkouts: Family::default(),
            shed: Counter::default(),
            limited: Counter::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            jobs,
            events: Family::default(),
        };
        registry.register(
            "http_request_duration_seconds",
            "Time from the head of a request to the head of its response",
            counters.requests.clone(),
        );
        registry.register(
            "http_errors",
            "Error responses by error code",
            counters.errors.clone(),
        );
        registry.register(
            "http_requests_shed",
            "Requests rejected with 503 because too many were in flight",
            counters.shed.clone(),
        );
        registry.register(
            "http_requests_rate_limited",
            "Requests rejected with 429",
            counters.limited.clone(),
        );
        registry.register(
            "http_requests_in_flight",
            "Requests being processed, not counting those whose body is still arriving",
            counters.in_flight.clone(),
        );
        registry.register(
            "http_connections",
            "Open connections",
            counters.connections.clone(),
        );
        registry.register(
            "checkouts",
            "Checkouts by outcome: opened, or an error code",
            counters.checkouts.clone(),
        );
        registry.register(
            "cart_lines_refused",
            "Cart lines that could not be bought; insufficient_inventory is an attempt to oversell",
            counters.cart_lines.clone(),
        );
        registry.register(
            "job_duration_seconds",
            "Run time of background jobs by outcome",
            counters.jobs.clone(),
        );
        registry.register(
            "stripe_events_received",
            "Stripe's events, by the way they came and what they did",
            counters.events.clone(),
        );
        registry.register(
            "build",
            "Version of this binary",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        counters.registry = registry;
        Metrics(Arc::new(counters))
    }
}

/// Increments a gauge while it exists.
pub struct Held(Gauge);

impl Held {
    fn new(gauge: &Gauge) -> Held {
        gauge.inc();
        Held(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Records a response, and the error that it reports, if any.
    pub fn answered(&self, method: &Method, route: &str, response: &Response, took: Duration) {
        let counters = &self.0;
        let status = response.status();
        let answered = Answered {
            method: known(method),
            route: Cow::Owned(route.to_owned()),
            status: class(status),
        };
        counters
            .requests
            .get_or_create(&answered)
            .observe(took.as_secs_f64());
        if status == StatusCode::TOO_MANY_REQUESTS {
            counters.limited.inc();
        }
        let Some(error) = response.extensions().get::<Arc<Error>>() else {
            return;
        };
        if let Error::Cart(lines) = &**error {
            for line in lines {
                let reason = CartReason {
                    reason: line.error.text(),
                };
                counters.cart_lines.get_or_create(&reason).inc();
            }
        }
        let refused = Refused {
            status: status.as_u16(),
            code: error.code().text(),
        };
        counters.errors.get_or_create(&refused).inc();
    }

    /// Records a response to a `GET` from memory.
    pub fn remembered(&self, route: &'static str, status: StatusCode, took: Duration) {
        let answered = Answered {
            method: "GET",
            route: Cow::Borrowed(route),
            status: class(status),
        };
        let requests = self.0.requests.get_or_create(&answered);
        requests.observe(took.as_secs_f64());
    }

    /// Records the outcome of a checkout.
    pub fn checked_out(&self, error: Option<&Error>) {
        let outcome = error.map_or("opened", |error| error.code().text());
        self.0
            .checkouts
            .get_or_create(&CheckoutOutcome { outcome })
            .inc();
    }

    /// Records a request rejected by load shedding.
    pub fn shed(&self) {
        self.0.shed.inc();
    }

    /// Counts a request as in flight until [`Metrics::ended`].
    pub fn begun(&self) {
        self.0.in_flight.inc();
    }

    /// Ends a request in flight. Call it once for each [`Metrics::begun`].
    pub fn ended(&self) {
        self.0.in_flight.dec();
    }

    /// Counts a connection while the returned value exists.
    pub fn connection(&self) -> Held {
        Held::new(&self.0.connections)
    }

    /// Returns the number of open connections.
    pub fn connections(&self) -> usize {
        usize::try_from(self.0.connections.get()).unwrap_or(0)
    }

    /// Records the outcome of a background job.
    pub fn job(&self, job: &'static str, succeeded: bool, took: Duration) {
        let outcome = if succeeded { "done" } else { "failed" };
        let done = JobDone { job, outcome };
        self.0.jobs.get_or_create(&done).observe(took.as_secs_f64());
    }

    /// Records a received Stripe event.
    pub fn event(&self, source: &'static str, effect: &'static str) {
        let taken = EventTaken { source, effect };
        self.0.events.get_or_create(&taken).inc();
    }

    /// Encodes all metrics of this process and the given figures in the Prometheus text format.
    pub fn encode(&self, figures: &[Figure]) -> String {
        let mut text = String::new();
        let mut registry = Registry::with_prefix(PREFIX);
        let mut families: Vec<(&'static str, Gauges)> = Vec::new();
        for figure in figures {
            let at = families.iter().position(|(name, _)| *name == figure.name);
            let at = at.unwrap_or_else(|| {
                let family = Family::default();
                registry.register(figure.name, figure.help, family.clone());
                families.push((figure.name, family));
                families.len() - 1
            });
            let labels = figure
                .label
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            families[at].1.get_or_create(&labels).set(figure.value);
        }
        for registry in [&self.0.registry, &registry, &process()] {
            prometheus_text::encode(&mut text, registry).expect("writing to a string");
        }
        text
    }
}

/// A figure that is read on request.
#[derive(Clone, Debug)]
pub struct Figure {
    pub name: &'static str,
    pub help: &'static str,
    pub label: Option<(&'static str, String)>,
    pub value: f64,
}

fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

/// Returns the standard process metrics of Prometheus.
fn process() -> Registry {
    let mut registry = Registry::default();
    if let Some(bytes) = resident_memory() {
        registry.register(
            "process_resident_memory_bytes",
            "Resident memory size in bytes",
            ConstGauge::new(bytes),
        );
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        registry.register(
            "process_open_fds",
            "Number of open file descriptors",
            ConstGauge::new(files.count() as u64),
        );
    }
    registry
}

/// Reads the resident memory from `/proc` (Linux only).
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
