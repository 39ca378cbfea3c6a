//! Input of categories. All fields are checked, and all errors are reported together.

use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::products::fields::{FieldReader, Parsed, Write, line, slug, text, whole_schema};

/// Longest name in characters.
pub(in crate::products) const NAME_CHARS: usize = 100;

/// The fields of a category. PATCH changes the given fields; POST and PUT require the name.
#[derive(Clone, Debug, Default, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CategoryInput {
    /// 1 to 100 characters.
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 100,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
    )]
    pub name: Option<String>,
    /// Like a product's slug, but not digits only. Made from the name when absent; PUT keeps the current slug.
    #[schema(
        nullable = false,
        max_length = 200,
        pattern = "^([0-9]+-)*[0-9]*[a-z][a-z0-9]*(-[a-z0-9]+)*$"
    )]
    pub slug: Option<String>,
    /// Up to 10,000 characters.
    #[schema(nullable = false, max_length = 10_000, pattern = r"^[^\x00]*$")]
    pub description: Option<String>,
    /// In file rows only. Over HTTP, categories are moved.
    #[schema(ignore)]
    pub position: Option<i32>,
}

whole_schema!(
    "Schema of a category for POST and PUT.",
    WholeCategory,
    CategoryInput,
    ["name"]
);

impl CategoryInput {
    /// Parses a category.
    pub fn parse(body: Map<String, Value>, write: Write) -> Parsed<CategoryInput> {
        let mut body = FieldReader::new("", body);
        let value = fields(&mut body, write);
        Parsed {
            value,
            field_errors: body.finish(&["id", "position"]),
        }
    }
}

/// Parses the fields common to all ways of writing a category, with defaults unless it is a patch.
pub fn fields(fields: &mut FieldReader, write: Write) -> CategoryInput {
    if write != Write::Patch {
        fields.require(&["name"]);
    }
    let default = (write != Write::Patch).then(String::new);
    CategoryInput {
        name: fields.read("name", |value| line(value, 1..=NAME_CHARS)),
        slug: fields.read("slug", |value| {
            let slug = slug(value, "")?;
            if slug.bytes().all(|b| b.is_ascii_digit()) {
                return Err("Must not be a number, which would name a category's id.".to_owned());
            }
            Ok(slug)
        }),
        description: fields
            .read("description", |value| text(value, 0..=10_000))
            .or(default),
        position: None,
    }
}
