//! Settings of the log.

use super::reader::Reader;

/// Format and filter of the log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    pub format: LogFormat,
    /// Directives of `tracing`, as `info,sqlx=warn`.
    pub filter: String,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}

impl LogConfig {
    pub(super) fn read(reader: &mut Reader<'_>, production: bool) -> LogConfig {
        LogConfig {
            format: match reader.text("LOG_FORMAT").as_deref() {
                None if production => LogFormat::Json,
                None | Some("human") => LogFormat::Human,
                Some("json") => LogFormat::Json,
                Some(_) => {
                    reader.field_error("LOG_FORMAT", "must be human or json");
                    LogFormat::Human
                }
            },
            filter: reader
                .text("LOG_FILTER")
                .unwrap_or_else(|| "info".to_owned()),
        }
    }
}
