//! The API's most recent requests, for tests that check what their code sent.

use std::collections::VecDeque;

use serde::Serialize;

/// Requests kept; older ones are dropped.
const CAPACITY: usize = 1000;

/// A request to the API as it arrived.
#[derive(Clone, Debug, Serialize)]
pub struct Request {
    /// HTTP method.
    pub method: String,
    /// Template of the operation: `POST /v1/products/{id}`. An unknown operation is named by its path.
    pub operation: String,
    /// Path with its ids.
    pub path: String,
    /// Form or query parameters, decoded, in the order sent.
    pub params: Vec<(String, String)>,
    /// Header `Idempotency-Key` of a `POST`.
    pub idempotency_key: Option<String>,
    /// Header `Stripe-Version`.
    pub stripe_version: Option<String>,
    /// Status of the answer. None while there is no answer, or if a fault withheld it.
    pub status: Option<u16>,
}

/// Bounded log. Numbers of requests count from one and outlive their entries.
#[derive(Default)]
pub(crate) struct RequestLog {
    added: usize,
    requests: VecDeque<Request>,
}

impl RequestLog {
    /// Adds a request and returns its number.
    pub fn add(&mut self, request: Request) -> usize {
        self.requests.push_back(request);
        if self.requests.len() > CAPACITY {
            self.requests.pop_front();
        }
        self.added += 1;
        self.added
    }

    /// Records the status of a request's answer, unless the request was dropped from the log meanwhile.
    pub fn set_status(&mut self, number: usize, status: u16) {
        let dropped = self.added - self.requests.len();
        let index = number.checked_sub(dropped + 1);
        if let Some(request) = index.and_then(|index| self.requests.get_mut(index)) {
            request.status = Some(status);
        }
    }

    /// All requests still kept, oldest first.
    pub fn to_vec(&self) -> Vec<Request> {
        self.requests.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: usize) -> Request {
        Request {
            method: "GET".to_owned(),
            operation: String::new(),
            path: path.to_string(),
            params: Vec::new(),
            idempotency_key: None,
            stripe_version: None,
            status: None,
        }
    }

    #[test]
    fn a_status_finds_its_request_though_older_ones_were_dropped() {
        let mut log = RequestLog::default();
        let numbers: Vec<usize> = (1..=CAPACITY + 2).map(|n| log.add(request(n))).collect();
        for number in numbers {
            log.set_status(number, 200);
        }
        let kept = log.to_vec();
        assert_eq!((kept.len(), kept[0].path.as_str()), (CAPACITY, "3"));
        assert!(kept.iter().all(|request| request.status == Some(200)));
    }
}
