//! Shared error responses of the API document. Operations name them in `responses`, beside their own.
#![allow(dead_code, reason = "used only by the API document")]

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use super::ErrorBody;

/// An error in a list's parameters: the common format or, for filters, the old service's format.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum ListError {
    Plain(ErrorBody),
    Filters(FilterError),
}

/// A map from each faulty filter to its sentences.
#[derive(Serialize, ToSchema)]
pub struct FilterError {
    /// `invalid_filter`
    code: String,
    #[serde(flatten)]
    filters: BTreeMap<String, Vec<String>>,
}

/// Error of every call with parameters or a body.
#[derive(IntoResponses)]
pub enum BadRequest {
    /// Malformed JSON or invalid values: each entry names its field or parameter.
    #[response(status = 400)]
    BadRequest(ErrorBody),
}

/// Errors of every call with a token.
#[derive(IntoResponses)]
pub enum TokenFailures {
    /// No valid token.
    #[response(status = 401)]
    Unauthenticated(ErrorBody),
    /// The token lacks a required scope.
    #[response(status = 403)]
    Forbidden(ErrorBody),
}

/// Error of every call for one object.
#[derive(IntoResponses)]
pub enum NotThere {
    /// Missing or deleted.
    #[response(status = 404)]
    NotFound(ErrorBody),
}

/// Errors of calls with a JSON body.
#[derive(IntoResponses)]
pub enum BodyFailures {
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is not JSON.
    #[response(status = 415)]
    UnsupportedMediaType(ErrorBody),
}
