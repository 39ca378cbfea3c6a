//! Failures of the routes, for the OpenAPI document.

use crate::error::ErrorBody;

/// Failures of a change.
#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "read by the OpenAPI document alone")]
pub(super) enum ChangeFailures {
    /// The body is not JSON, or a field is invalid; each error names its field.
    #[response(status = 400)]
    BadRequest(ErrorBody),
    /// The token is missing or invalid.
    #[response(status = 401)]
    Unauthenticated(ErrorBody),
    /// The token lacks the scope.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The batch, the photograph or the piece does not exist.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The path does not support this method.
    #[response(status = 405)]
    MethodNotAllowed(ErrorBody),
    /// `intake_is_closed`, `intake_is_busy`, `piece_has_a_product`, `nothing_to_take_back`,
    /// `photos_are_gone` or `version_conflict`.
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is not `application/json`.
    #[response(status = 415)]
    UnsupportedMediaType(ErrorBody),
}

/// Failures of an upload of photographs.
#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "read by the OpenAPI document alone")]
pub(super) enum PhotoFailures {
    /// The form is malformed, or has no or too many photographs.
    #[response(status = 400)]
    BadRequest(ErrorBody),
    /// The token is missing or invalid.
    #[response(status = 401)]
    Unauthenticated(ErrorBody),
    /// The token lacks the scope.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// The batch does not exist.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The path does not support this method.
    #[response(status = 405)]
    MethodNotAllowed(ErrorBody),
    /// The body stopped arriving.
    #[response(status = 408)]
    TimedOut(ErrorBody),
    /// `intake_is_closed`.
    #[response(status = 409)]
    Conflict(ErrorBody),
    /// The files exceed the total limit.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The body is not `multipart/form-data`.
    #[response(status = 415)]
    UnsupportedMediaType(ErrorBody),
    /// `media_unavailable`: the photographs cannot be stored at the moment.
    #[response(status = 503)]
    Unavailable(ErrorBody),
}
