//! Categories of the catalog.

mod input;
mod routes;
mod service;
mod store;

pub use input::CategoryInput;
pub(super) use input::NAME_CHARS;
pub(super) use input::fields as input_fields;
pub(super) use routes::router;
pub use service::{change, create, delete, order, shift};
pub(super) use store::hold;
pub use store::list;

use serde::Serialize;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use utoipa::ToSchema;

/// A category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, ToSchema)]
pub struct Category {
    pub id: i64,
    pub name: String,
    pub slug: String,
    pub description: String,
    /// Position set by the owner. All are 0 until the categories are ordered.
    pub position: i32,
}

/// A category with the number of products in it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct CountedCategory {
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub category: Category,
    /// Products on sale.
    #[serde(rename = "active_products")]
    pub active: i64,
    /// Products not on sale yet.
    #[serde(rename = "draft_products")]
    pub drafts: i64,
    #[serde(rename = "archived_products")]
    pub archived: i64,
}

/// Normalizes a name for comparison: case, accents and extra spaces are ignored.
pub fn name_key(name: &str) -> String {
    let chars = name.nfkd().filter(|c| !is_combining_mark(*c));
    let lower = chars.collect::<String>().to_lowercase();
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}
