//! Texts as the API document describes them: what many fields have in common, said once. Nothing reads them but the
//! document; whoever reads such a field checks it.
#![allow(dead_code, reason = "read by the API document alone")]

use utoipa::ToSchema;

/// 1 to 100 characters on one line. Space around it is taken away.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 100,
    pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
)]
pub struct ShortLine(String);

/// 1 to 2000 characters on some lines. Space around it is taken away.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 2000,
    pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x08\x0b-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
)]
pub struct Prose(String);

/// A day such as 2026-11-24; empty as if it were not given.
#[derive(ToSchema)]
#[schema(pattern = "^((19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]))?$")]
pub struct Day(String);

/// The header: a version, as the `ETag` has it, or `*` for any.
#[derive(ToSchema)]
#[schema(pattern = r#"^(\*|[0-9]{1,18}|"[0-9]{1,18}")$"#)]
pub struct IfMatch(String);
