//! Lists of objects, a page at a time.

use serde_json::{Map, Value, json};
use sqlx::AssertSqlSafe;

use super::Transaction;
use crate::error::{ApiError, ApiResult};

/// Parameters of a list that are not fields of its objects.
const CONTROLS: [&str; 8] = [
    "limit",
    "starting_after",
    "ending_before",
    "expand",
    "created",
    "type",
    "types",
    "delivery_success",
];

impl Transaction<'_> {
    /// Returns a page of objects, newest first, by Stripe's list parameters. Any other parameter filters by the field
    /// of its name.
    pub async fn list(&mut self, kind: &str, url: &str, params: &Value) -> ApiResult<Value> {
        let limit = limit(params)?;
        let (from, until) = created_between(&params["created"]);
        let after = self.cursor(kind, params, "starting_after").await?;
        let before = self.cursor(kind, params, "ending_before").await?;
        // The index serves either direction. Sorting all objects for each page would make a long list quadratic.
        let direction = if before.is_some() { "asc" } else { "desc" };
        let sql = format!(
            "select data
             from stripe_sandbox.objects
             where object = $1
               and data @> $2
               and (cardinality($3::text[]) = 0 or data ->> 'type' like any ($3))
               and created between $4 and $5
               and seq < coalesce($6, 9223372036854775807)
               and seq > coalesce($7, 0)
             order by seq {direction}
             limit $8"
        );
        let mut data: Vec<Value> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(kind)
            .bind(Value::Object(field_filter(params)))
            .bind(type_patterns(params))
            .bind(from)
            .bind(until)
            .bind(after)
            .bind(before)
            // One more than is asked for tells whether there is another page.
            .bind(limit + 1)
            .fetch_all(&mut *self.conn)
            .await?;
        let has_more = data.len() as i64 > limit;
        data.truncate(limit as usize);
        if before.is_some() {
            data.reverse();
        }
        Ok(json!({"object": "list", "url": url, "has_more": has_more, "data": data}))
    }

    /// The place in the list of the object that a parameter names.
    async fn cursor(&mut self, kind: &str, params: &Value, name: &str) -> ApiResult<Option<i64>> {
        let Some(id) = params[name].as_str() else {
            return Ok(None);
        };
        let seq: Option<i64> = sqlx::query_scalar(
            "select seq from stripe_sandbox.objects where id = $1 and object = $2",
        )
        .bind(id)
        .bind(kind)
        .fetch_optional(&mut *self.conn)
        .await?;
        match seq {
            Some(seq) => Ok(Some(seq)),
            None => Err(ApiError::missing(400, kind, id, name)),
        }
    }
}

fn limit(params: &Value) -> ApiResult<i64> {
    let limit = params["limit"].as_i64().unwrap_or(10);
    let bound = match limit {
        ..1 => "greater than or equal to 1",
        1..=100 => return Ok(limit),
        _ => "less than or equal to 100",
    };
    let message = format!("This value must be {bound} (it currently is '{limit}').");
    Err(ApiError::invalid(message, "limit").code("parameter_invalid_integer"))
}

fn field_filter(params: &Value) -> Map<String, Value> {
    let mut filter = params.as_object().cloned().unwrap_or_default();
    filter.retain(|key, _| !CONTROLS.contains(&key.as_str()));
    filter
}

/// Event types as patterns for `like`: `charge.*` becomes `charge.%`.
fn type_patterns(params: &Value) -> Vec<String> {
    params["types"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(params.get("type"))
        .filter_map(Value::as_str)
        .map(|kind| {
            kind.replace('\\', r"\\")
                .replace('%', r"\%")
                .replace('_', r"\_")
                .replace('*', "%")
        })
        .collect()
}

/// The first and the last second of parameter `created`: a time, or bounds.
fn created_between(created: &Value) -> (i64, i64) {
    let exact = created.as_i64();
    let bound = |key: &str| created[key].as_i64();
    let from = [
        bound("gte").or(exact),
        bound("gt").map(|time| time.saturating_add(1)),
    ];
    let until = [
        bound("lte").or(exact),
        bound("lt").map(|time| time.saturating_sub(1)),
    ];
    (
        from.into_iter().flatten().max().unwrap_or(i64::MIN),
        until.into_iter().flatten().min().unwrap_or(i64::MAX),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn created_is_a_time_or_bounds() {
        for (created, expected) in [
            (Value::Null, (i64::MIN, i64::MAX)),
            (json!(5), (5, 5)),
            (json!({"gt": 5, "lte": 9}), (6, 9)),
            (json!({"gte": 5, "gt": 5, "lt": 9}), (6, 8)),
        ] {
            assert_eq!(created_between(&created), expected, "{created}");
        }
    }
}
