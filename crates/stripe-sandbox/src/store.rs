//! The sandbox's objects and events in PostgreSQL, and the one shape of a failure.
use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, PgConnection};

/// The API version whose shapes the sandbox speaks.
pub const API_VERSION: &str = "2026-09-30.endive";

/// What the API answers instead of an object.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    pub status: u16,
    pub kind: &'static str,
    pub code: Option<String>,
    pub message: String,
    pub param: Option<String>,
    /// Whether it is kept under the idempotency key: true once Stripe had begun to act.
    pub kept: bool,
}

pub type Result<T, E = Problem> = std::result::Result<T, E>;

impl Problem {
    /// A parameter that cannot be; nothing was begun.
    pub fn invalid(message: String, param: &str) -> Problem {
        Problem {
            status: 400,
            kind: "invalid_request_error",
            code: None,
            message,
            param: Some(param.to_owned()),
            kept: false,
        }
    }

    /// A parameter that must be there and is not.
    pub fn absent(param: &str) -> Problem {
        Problem::invalid(format!("Missing required param: {param}."), param)
            .code("parameter_missing")
    }

    /// A request that is well formed, but not for things as they stand.
    pub fn refused(message: impl Into<String>) -> Problem {
        Problem {
            status: 400,
            kind: "invalid_request_error",
            code: None,
            message: message.into(),
            param: None,
            kept: true,
        }
    }

    /// No such object; 404 if the path names it, 400 if a parameter does.
    pub fn missing(status: u16, kind: &str, id: &str, param: &str) -> Problem {
        let refused = Problem::refused(format!("No such {kind}: '{id}'")).code("resource_missing");
        Problem {
            status,
            param: Some(param.to_owned()),
            ..refused
        }
    }

    pub fn code(self, code: &str) -> Problem {
        Problem {
            code: Some(code.to_owned()),
            ..self
        }
    }

    pub fn param(self, param: &str) -> Problem {
        Problem {
            param: Some(param.to_owned()),
            ..self
        }
    }

    pub fn body(&self, request: &str) -> Value {
        let mut error = json!({
            "type": self.kind,
            "message": self.message,
            "request_log_url": format!("https://dashboard.stripe.com/test/logs/{request}"),
        });
        for (key, value) in [("code", &self.code), ("param", &self.param)] {
            if let Some(value) = value {
                error[key] = json!(value);
            }
        }
        if self.kind == "card_error" {
            error["decline_code"] = json!("generic_decline");
        }
        json!({ "error": error })
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Problem {
        tracing::error!(%error, "the Stripe sandbox's database failed");
        let message = "An error occurred with our connection to the database.".to_owned();
        Problem {
            status: 500,
            kind: "api_error",
            code: None,
            message,
            param: None,
            kept: false,
        }
    }
}

/// One transaction's worth of change, and the request that asked for it.
pub struct Work<'a> {
    pub conn: &'a mut PgConnection,
    /// What its events say of their cause: `{"id", "idempotency_key"}`, both null if it was the shopper.
    pub request: Value,
    pub pages_url: &'a str,
}

impl Work<'_> {
    /// Adds an object; false if there is one with its id.
    pub async fn insert(&mut self, object: &Value, private: Value) -> Result<bool> {
        let added = sqlx::query(
            "insert into stripe_sandbox.objects (id, object, created, data, private)
             values ($1, $2, $3, $4, $5)
             on conflict (id) do nothing",
        )
        .bind(object["id"].as_str())
        .bind(object["object"].as_str())
        // A payment link does not say when it was made.
        .bind(object["created"].as_i64().unwrap_or_else(now))
        .bind(object)
        .bind(private)
        .execute(&mut *self.conn)
        .await?;
        Ok(added.rows_affected() == 1)
    }

    pub async fn find(&mut self, kind: &str, id: &str) -> Result<Option<Value>> {
        let found = sqlx::query_scalar(
            "select data from stripe_sandbox.objects where id = $1 and object = $2",
        );
        Ok(found
            .bind(id.replace('\0', ""))
            .bind(kind)
            .fetch_optional(&mut *self.conn)
            .await?)
    }

    /// An object that nobody else changes until the transaction ends.
    pub async fn lock(&mut self, kind: &str, id: &str) -> Result<Option<Value>> {
        let found = sqlx::query_scalar(
            "select data from stripe_sandbox.objects where id = $1 and object = $2 for update",
        );
        Ok(found
            .bind(id.replace('\0', ""))
            .bind(kind)
            .fetch_optional(&mut *self.conn)
            .await?)
    }

    /// The first object of a kind that holds what is given.
    pub async fn holding(&mut self, kind: &str, content: Value) -> Result<Option<Value>> {
        let found = sqlx::query_scalar(
            "select data
             from stripe_sandbox.objects
             where object = $1 and data @> $2
             order by seq desc
             limit 1",
        );
        Ok(found
            .bind(kind)
            .bind(content)
            .fetch_optional(&mut *self.conn)
            .await?)
    }

    /// What Stripe keeps to itself of an object.
    pub async fn private(&mut self, id: &str) -> Result<Value> {
        let found = sqlx::query_scalar("select private from stripe_sandbox.objects where id = $1");
        Ok(found.bind(id).fetch_one(&mut *self.conn).await?)
    }

    pub async fn save(&mut self, object: &Value) -> Result<()> {
        let saved = sqlx::query("update stripe_sandbox.objects set data = $2 where id = $1");
        saved
            .bind(object["id"].as_str())
            .bind(object)
            .execute(&mut *self.conn)
            .await?;
        Ok(())
    }

    /// Records an event about an object as it is now, and its delivery.
    pub async fn emit(&mut self, kind: &str, object: &Value) -> Result<()> {
        let event = json!({
            "id": id("evt_", 24), "object": "event", "api_version": API_VERSION, "created": now(), "livemode": false,
            "pending_webhooks": 1, "request": self.request, "type": kind, "data": {"object": object},
        });
        self.insert(&event, json!({})).await?;
        let delivery = sqlx::query("insert into stripe_sandbox.deliveries (event) values ($1)");
        delivery
            .bind(event["id"].as_str())
            .execute(&mut *self.conn)
            .await?;
        Ok(())
    }

    /// A page of objects, newest first, by Stripe's list parameters; all others must be contained in the object.
    pub async fn list(&mut self, kind: &str, url: &str, p: &Value) -> Result<Value> {
        let limit = p["limit"].as_i64().unwrap_or(10);
        if !(1..=100).contains(&limit) {
            let bound = if limit < 1 {
                "greater than or equal to 1"
            } else {
                "less than or equal to 100"
            };
            let message = format!("This value must be {bound} (it currently is '{limit}').");
            return Err(Problem::invalid(message, "limit").code("parameter_invalid_integer"));
        }
        let mut filter = p.as_object().cloned().unwrap_or_default();
        filter.retain(|key, _| {
            ![
                "limit",
                "starting_after",
                "ending_before",
                "expand",
                "created",
                "type",
                "types",
                "delivery_success",
            ]
            .contains(&key.as_str())
        });
        let types: Vec<String> = p["types"]
            .as_array()
            .into_iter()
            .flatten()
            .chain(p.get("type"))
            .filter_map(Value::as_str)
            .map(|kind| {
                kind.replace('\\', r"\\")
                    .replace('%', r"\%")
                    .replace('_', r"\_")
                    .replace('*', "%")
            })
            .collect();
        let created = &p["created"];
        let bound = |key: &str| created[key].as_i64().or(created.as_i64());
        let from = bound("gte")
            .into_iter()
            .chain(created["gt"].as_i64().map(|time| time.saturating_add(1)))
            .max();
        let until = bound("lte")
            .into_iter()
            .chain(created["lt"].as_i64().map(|time| time.saturating_sub(1)))
            .min();
        let after = self.cursor(kind, p, "starting_after").await?;
        let before = self.cursor(kind, p, "ending_before").await?;
        // By the index in either direction: a reconciliation asks for one page after the other.
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
            .bind(Value::Object(filter))
            .bind(types)
            .bind(from.unwrap_or(i64::MIN))
            .bind(until.unwrap_or(i64::MAX))
            .bind(after)
            .bind(before)
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

    async fn cursor(&mut self, kind: &str, p: &Value, name: &str) -> Result<Option<i64>> {
        let Some(id) = p[name].as_str() else {
            return Ok(None);
        };
        let found = sqlx::query_scalar(
            "select seq from stripe_sandbox.objects where id = $1 and object = $2",
        );
        let found: Option<i64> = found
            .bind(id)
            .bind(kind)
            .fetch_optional(&mut *self.conn)
            .await?;
        Ok(Some(
            found.ok_or_else(|| Problem::missing(400, kind, id, name))?,
        ))
    }

    /// Puts objects in the place of their ids, along a path such as `data.payment_intent.latest_charge`.
    pub async fn expand(&mut self, value: &mut Value, path: &str) -> Result<()> {
        let (head, rest) = path.split_once('.').unwrap_or((path, ""));
        if head == "data" && value["object"] == "list" {
            for item in value["data"].as_array_mut().into_iter().flatten() {
                Box::pin(self.expand(item, rest)).await?;
            }
            return Ok(());
        }
        if head == "line_items" && value["object"] == "checkout.session" {
            let id = value["id"].as_str().unwrap_or_default().to_owned();
            let lines = self.private(&id).await?["lines"].take();
            value[head] = json!({"object": "list", "url": format!("/v1/checkout/sessions/{id}/line_items"), "has_more": false, "data": lines});
        } else if let Some(id) = value[head].as_str().map(str::to_owned) {
            let found = sqlx::query_scalar("select data from stripe_sandbox.objects where id = $1");
            let found: Option<Value> = found.bind(&id).fetch_optional(&mut *self.conn).await?;
            value[head] = found.ok_or_else(|| {
                Problem::invalid(
                    format!("This property cannot be expanded ({head})."),
                    "expand",
                )
            })?;
        }
        match value.get_mut(head) {
            Some(Value::Null) => Ok(()),
            Some(inner) if !rest.is_empty() => Box::pin(self.expand(inner, rest)).await,
            Some(_) => Ok(()),
            None => Err(Problem::invalid(
                format!("This property cannot be expanded ({head})."),
                "expand",
            )),
        }
    }
}

/// Lays new metadata over old: an empty value takes a key out, null takes all.
pub fn merge_metadata(object: &mut Value, given: &Value) -> Result<()> {
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
        return Err(Problem::invalid(
            "Metadata can have up to 50 keys.".into(),
            "metadata",
        ));
    }
    object["metadata"] = Value::Object(merged);
    Ok(())
}

/// The metadata of a new object.
pub fn metadata(given: &Value) -> Value {
    let given = given
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| *value != "");
    Value::Object(
        given
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}

/// Adds the fields that Stripe always names and the sandbox never fills, or not yet.
pub fn nulls(object: &mut Value, names: &[&str]) {
    for name in names {
        object[*name] = Value::Null;
    }
}

/// Unix seconds.
pub fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

/// An id like Stripe's: a prefix and letters and digits nobody can guess.
pub fn id(prefix: &str, length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let random = std::iter::repeat_with(uuid::Uuid::new_v4).flat_map(|id| {
        let mut bytes = id.into_bytes().to_vec();
        bytes.drain(6..9); // The version and the variant are no accident.
        bytes
    });
    let letters = random
        .filter(|byte| *byte < 248)
        .map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
    prefix.chars().chain(letters.take(length)).collect()
}
