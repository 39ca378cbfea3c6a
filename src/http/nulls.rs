//! Deserializers of optional fields that tell null from a field that is not given. They need `#[serde(default)]`.

use serde::{Deserialize, Deserializer};

/// Reads a field that is given: null is an error, unless `T` has one.
///
/// # Errors
/// As those of `T`.
pub fn given<'de, D, T>(input: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(input).map(Some)
}

/// Reads null, which removes a text, as an empty one.
///
/// # Errors
/// For anything but a text or null.
pub fn null_as_empty<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(input)?;
    Ok(Some(text.unwrap_or_default()))
}
