//! Schemas shared by many text fields of the API document. Only the document uses them; the code that reads a field
//! validates it.
#![allow(dead_code, reason = "read by the API document alone")]

use utoipa::ToSchema;

/// 1 to 100 characters on one line. Surrounding whitespace is removed.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 100,
    pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
)]
pub struct ShortLine(String);

/// 1 to 2000 characters on one or more lines. Surrounding whitespace is removed.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 2000,
    pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x08\x0b-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
)]
pub struct Prose(String);

/// A day such as 2026-11-24. Empty means that it is not given.
#[derive(ToSchema)]
#[schema(pattern = "^((19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]))?$")]
pub struct Day(String);

/// Header with a version, as in the `ETag`, or `*` for any.
#[derive(ToSchema)]
#[schema(pattern = r#"^(\*|[0-9]{1,18}|"[0-9]{1,18}")$"#)]
pub struct IfMatch(String);
