//! How calls fail, for the API document: what many of them have in common, said once. Named in the `responses` of an
//! operation, beside what it alone may answer.
#![allow(dead_code, reason = "read by the API document alone")]

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use super::ErrorBody;

/// A list that is asked for with a wrong parameter: as every failure, or for filters in the old service's form.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum ListError {
    Plain(ErrorBody),
    Filters(FilterError),
}

/// Each wrong filter is a key, with its sentences.
#[derive(Serialize, ToSchema)]
pub struct FilterError {
    /// `invalid_filter`
    code: String,
    #[serde(flatten)]
    filters: BTreeMap<String, Vec<String>>,
}

#[derive(IntoResponses)]
pub enum BadRequest {
    /// Not JSON, or not valid: each field error names its field or parameter.
    #[response(status = 400)]
    BadRequest(ErrorBody),
}

/// How every call with a token fails.
#[derive(IntoResponses)]
pub enum TokenFailures {
    /// No valid token.
    #[response(status = 401)]
    Unauthenticated(ErrorBody),
    /// The token lacks a scope that this needs.
    #[response(status = 403)]
    Forbidden(ErrorBody),
}

#[derive(IntoResponses)]
pub enum NotThere {
    /// There is no such thing, or not any more.
    #[response(status = 404)]
    NotFound(ErrorBody),
}

/// How a call with a body of JSON fails besides.
#[derive(IntoResponses)]
pub enum BodyFailures {
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is not JSON.
    #[response(status = 415)]
    UnsupportedMediaType(ErrorBody),
}
