//! Objects and events in PostgreSQL.
//!
//! An object is stored as the JSON it is answered with, so its fields are those of Stripe's documentation.

mod list;

use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use crate::Settings;
use crate::error::{ApiError, ApiResult};

/// The API version whose shapes the sandbox answers.
pub const API_VERSION: &str = "2026-09-30.endive";

/// One database transaction, and the request that it serves.
pub struct Transaction<'a> {
    pub conn: &'a mut PgConnection,
    /// The cause that events name: `{"id", "idempotency_key"}`, both null outside of the API.
    pub request: Value,
    pub settings: &'a Settings,
}

impl Transaction<'_> {
    /// Adds an object; returns false if its id is taken.
    pub async fn insert(&mut self, object: &Value) -> ApiResult<bool> {
        self.insert_with(object, json!({})).await
    }

    /// Adds an object with data that the API never answers.
    pub async fn insert_with(&mut self, object: &Value, private: Value) -> ApiResult<bool> {
        let added = sqlx::query(
            "insert into stripe_sandbox.objects (id, object, created, data, private)
             values ($1, $2, $3, $4, $5)
             on conflict (id) do nothing",
        )
        .bind(object["id"].as_str())
        .bind(object["object"].as_str())
        // Payment links have no `created`.
        .bind(object["created"].as_i64().unwrap_or_else(now))
        .bind(object)
        .bind(private)
        .execute(&mut *self.conn)
        .await?;
        Ok(added.rows_affected() == 1)
    }

    /// Finds an object by its kind and id.
    pub async fn find(&mut self, kind: &str, id: &str) -> ApiResult<Option<Value>> {
        let found = sqlx::query_scalar(
            "select data from stripe_sandbox.objects where id = $1 and object = $2",
        )
        // PostgreSQL takes no NUL in a text, and no id has one.
        .bind(id.replace('\0', ""))
        .bind(kind)
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(found)
    }

    /// Finds an object and keeps others from changing it until the transaction ends.
    pub async fn lock(&mut self, kind: &str, id: &str) -> ApiResult<Option<Value>> {
        let found = sqlx::query_scalar(
            "select data from stripe_sandbox.objects where id = $1 and object = $2 for update",
        )
        .bind(id.replace('\0', ""))
        .bind(kind)
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(found)
    }

    /// Finds the latest object of a kind that contains the given fields.
    pub async fn find_latest(&mut self, kind: &str, fields: Value) -> ApiResult<Option<Value>> {
        let found = sqlx::query_scalar(
            "select data
             from stripe_sandbox.objects
             where object = $1 and data @> $2
             order by seq desc
             limit 1",
        )
        .bind(kind)
        .bind(fields)
        .fetch_optional(&mut *self.conn)
        .await?;
        Ok(found)
    }

    /// Returns the data of an object that the API never answers.
    pub async fn private(&mut self, object: &Value) -> ApiResult<Value> {
        let found = sqlx::query_scalar("select private from stripe_sandbox.objects where id = $1")
            .bind(object["id"].as_str())
            .fetch_one(&mut *self.conn)
            .await?;
        Ok(found)
    }

    /// Stores the new state of an object, which the caller has locked.
    pub async fn save(&mut self, object: &Value) -> ApiResult<()> {
        sqlx::query("update stripe_sandbox.objects set data = $2 where id = $1")
            .bind(object["id"].as_str())
            .bind(object)
            .execute(&mut *self.conn)
            .await?;
        Ok(())
    }

    /// Records an event about an object in its present state, and queues the event's delivery. Call it after
    /// [`Transaction::save`]: an event keeps its copy of the object, whatever becomes of that.
    pub async fn emit(&mut self, kind: &str, object: &Value) -> ApiResult<()> {
        let event = json!({
            "id": id("evt_", 24), "object": "event", "api_version": API_VERSION, "created": now(), "livemode": false,
            "pending_webhooks": 1, "request": self.request, "type": kind, "data": {"object": object},
        });
        self.insert(&event).await?;
        sqlx::query("insert into stripe_sandbox.deliveries (event) values ($1)")
            .bind(event["id"].as_str())
            .execute(&mut *self.conn)
            .await?;
        Ok(())
    }

    /// Replaces ids by their objects along a path such as `data.payment_intent.latest_charge`.
    pub async fn expand(&mut self, value: &mut Value, path: &str) -> ApiResult<()> {
        let (head, rest) = path.split_once('.').unwrap_or((path, ""));
        if head == "data" && value["object"] == "list" {
            for item in value["data"].as_array_mut().into_iter().flatten() {
                Box::pin(self.expand(item, rest)).await?;
            }
            return Ok(());
        }
        let invalid = || {
            let message = format!("This property cannot be expanded ({head}).");
            ApiError::invalid(message, "expand")
        };
        if head == "line_items" && value["object"] == "checkout.session" {
            let lines = self.private(value).await?["lines"].take();
            let id = value["id"].as_str().unwrap_or_default();
            let url = format!("/v1/checkout/sessions/{id}/line_items");
            value[head] = json!({"object": "list", "url": url, "has_more": false, "data": lines});
        } else if let Some(id) = value[head].as_str() {
            let found: Option<Value> =
                sqlx::query_scalar("select data from stripe_sandbox.objects where id = $1")
                    .bind(id)
                    .fetch_optional(&mut *self.conn)
                    .await?;
            value[head] = found.ok_or_else(invalid)?;
        }
        match value.get_mut(head) {
            Some(Value::Null) => Ok(()),
            Some(inner) if !rest.is_empty() => Box::pin(self.expand(inner, rest)).await,
            Some(_) => Ok(()),
            None => Err(invalid()),
        }
    }
}

/// Merges new metadata into an object's: an empty value removes its key, null removes all.
pub fn merge_metadata(object: &mut Value, given: &Value) -> ApiResult<()> {
    let mut merged = match (given, object["metadata"].take()) {
        (Value::Null, _) => Map::new(),
        (_, Value::Object(old)) => old,
        _ => Map::new(),
    };
    for (key, value) in given.as_object().into_iter().flatten() {
        if value == "" {
            merged.remove(key);
        } else {
            merged.insert(key.clone(), value.clone());
        }
    }
    if merged.len() > 50 {
        return Err(ApiError::invalid(
            "Metadata can have up to 50 keys.",
            "metadata",
        ));
    }
    object["metadata"] = Value::Object(merged);
    Ok(())
}

/// The metadata of a new object: an empty value adds nothing.
pub fn metadata(given: &Value) -> Value {
    let pairs = given.as_object().into_iter().flatten();
    let pairs = pairs.filter(|(_, value)| *value != "");
    Value::Object(
        pairs
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}

/// Adds fields that Stripe always names, and that the sandbox fills later or never.
pub fn add_nulls(object: &mut Value, names: &[&str]) {
    for name in names {
        object[*name] = Value::Null;
    }
}

/// The value, or a default in place of null.
pub fn value_or(value: &Value, default: Value) -> Value {
    if value.is_null() {
        default
    } else {
        value.clone()
    }
}

/// Unix seconds.
pub fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

/// An id in Stripe's form: a prefix, then random letters and digits that nobody can guess.
pub fn id(prefix: &str, length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let random = std::iter::repeat_with(uuid::Uuid::new_v4).flat_map(|id| {
        let mut bytes = id.into_bytes().to_vec();
        bytes.drain(6..9); // The version and the variant are not random.
        bytes
    });
    // 248 is the largest multiple of 62 in a byte: beyond it the first characters would be likelier than the rest.
    let characters = random
        .filter(|byte| *byte < 248)
        .map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
    prefix.chars().chain(characters.take(length)).collect()
}
