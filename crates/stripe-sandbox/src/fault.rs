//! Injected failures of the API.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A way for the API to misbehave.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Answers 500 without acting, and keeps the answer under the idempotency key.
    ServerError,
    /// Answers 429 without acting, and keeps nothing.
    RateLimited,
    /// Answers 400 `invalid_request_error` without acting, and keeps nothing.
    Refused {
        /// Stripe's error code.
        code: String,
        /// Stripe's message.
        message: String,
        /// The parameter at fault.
        param: Option<String>,
    },
    /// Answers 402 `card_error` without acting, and keeps the answer.
    #[serde(rename = "card_error")]
    CardError402,
    /// Answers 401, as for a revoked key.
    Unauthorized,
    /// Answers 403, as for a restricted key without the permission.
    Forbidden,
    /// Answers 502 with an HTML page, as a proxy does, without acting.
    BadGateway,
    /// Acts and keeps the answer, but sends a 500.
    ActThenServerError,
    /// Acts and keeps the answer, then drops the connection.
    ActThenDrop,
    /// Drops the connection without acting.
    Drop,
    /// Never answers, and does not act.
    Hang,
    /// Acts and keeps the answer, but never sends it.
    ActThenHang,
    /// Waits this long before it acts; in JSON, milliseconds.
    Slow(#[serde(deserialize_with = "milliseconds")] Duration),
}

fn milliseconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_millis)
}

/// Faults still to come, in the order they were added.
#[derive(Default)]
pub(crate) struct PlannedFaults(Vec<PlannedFault>);

struct PlannedFault {
    /// A template such as `POST /v1/prices/{id}`, or `*` for any.
    operation: String,
    fault: Fault,
    times_left: u32,
}

impl PlannedFaults {
    /// Plans a fault behind those that are planned already.
    pub fn add(&mut self, operation: &str, fault: Fault, times: u32) {
        self.0.push(PlannedFault {
            operation: operation.to_owned(),
            fault,
            times_left: times,
        });
    }

    /// Cancels all faults.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Uses up one repetition of the first fault that is meant for an operation.
    pub fn next(&mut self, operation: &str) -> Option<Fault> {
        self.0.retain(|planned| planned.times_left > 0);
        let planned = self
            .0
            .iter_mut()
            .find(|planned| planned.operation == "*" || planned.operation == operation)?;
        planned.times_left -= 1;
        Some(planned.fault.clone())
    }
}
