//! The audit log page, for owners.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::context::AdminContext;
use crate::app::App;
use crate::audit::{self, Entry};
use crate::error::Result;
use crate::http::Query;

const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "audit_log.html", config = "src/admin/askama.toml")]
struct AuditPage<'a> {
    context: &'a AdminContext,
    search: String,
    entries: Vec<Entry>,
    /// Link to the next page of older entries.
    older: Option<String>,
}

/// A field of an audit entry, before and after the change.
struct Change {
    field: String,
    before: Option<String>,
    after: Option<String>,
}

impl AuditPage<'_> {
    /// Returns the fields that differ; for a created or deleted object, all fields.
    fn changes(&self, entry: &Entry) -> Vec<Change> {
        let fields = |snapshot: &Option<Value>| match snapshot {
            Some(Value::Object(fields)) => fields.keys().cloned().collect(),
            _ => BTreeSet::new(),
        };
        let value = |snapshot: &Option<Value>, field: &str| {
            let value = snapshot.as_ref()?.get(field)?;
            Some(words(value))
        };
        fields(&entry.before)
            .union(&fields(&entry.after))
            .map(|field| Change {
                before: value(&entry.before, field),
                after: value(&entry.after, field),
                field: field.replace('_', " "),
            })
            .filter(|change| change.before != change.after)
            .collect()
    }
}

/// Formats a JSON value for people.
fn words(value: &Value) -> String {
    match value {
        Value::Null => "—".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(words).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// `GET /admin/audit`
pub async fn list(State(app): State<App>, context: AdminContext, query: Query) -> Result<Response> {
    let search = super::query_text(&query, "search");
    let before = query.get("before").and_then(|id| id.parse().ok());
    let wanted = (!search.is_empty()).then_some(search.as_str());
    let mut conn = app.db.acquire().await?;
    let mut entries = audit::list(&mut conn, wanted, before, PAGE as i64 + 1, 0).await?;
    let more = entries.len() > PAGE;
    entries.truncate(PAGE);
    let older = entries.last().filter(|_| more).map(|last| {
        let pairs = [
            ("search", search.as_str()),
            ("before", &last.id.to_string()),
        ];
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        format!("/admin/audit?{query}")
    });
    context.show(&AuditPage {
        context: &context,
        search,
        entries,
        older,
    })
}
