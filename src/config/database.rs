//! Settings of the database.

use super::Secret;
use super::reader::Reader;

/// Minimum number of PostgreSQL connections, so that requests, webhooks, health and the worker have one each.
pub const FEWEST_DATABASE_CONNECTIONS: u32 = 8;

/// Connections to PostgreSQL.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// `None` means the embedded PostgreSQL in `DATA_DIR`.
    pub url: Option<Secret>,
    /// Address of PostgreSQL itself, when `url` leads through a pooler.
    pub direct_url: Option<Secret>,
    pub max_connections: u32,
    /// Address of the Django shop's database, for its import.
    pub django_url: Option<Secret>,
}

impl DatabaseConfig {
    pub(super) fn read(reader: &mut Reader<'_>, production: bool) -> DatabaseConfig {
        let config = DatabaseConfig {
            url: reader.text("DATABASE_URL").map(Secret::new),
            direct_url: reader.text("DATABASE_DIRECT_URL").map(Secret::new),
            django_url: reader.text("DJANGO_DATABASE_URL").map(Secret::new),
            max_connections: reader.parsed(
                "DATABASE_MAX_CONNECTIONS",
                20,
                "must be a whole number",
            ),
        };
        reader.required("DATABASE_URL", production);
        if config.max_connections < FEWEST_DATABASE_CONNECTIONS {
            reader.field_error(
                "DATABASE_MAX_CONNECTIONS",
                "must be at least 8: requests, webhooks, health and the worker have some each",
            );
        }
        if config.direct_url.is_some() && config.url.is_none() {
            reader.field_error(
                "DATABASE_DIRECT_URL",
                "requires DATABASE_URL, the address of the pooler",
            );
        }
        config
    }
}
