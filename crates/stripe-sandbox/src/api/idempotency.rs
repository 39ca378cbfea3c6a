//! Idempotency keys: a repeat gets the first answer and changes nothing.
//!
//! Source: <https://docs.stripe.com/api/idempotent_requests>

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::operations::perform;
use super::parameters::Operation;
use super::{Answer, Call, injected_error};
use crate::Sandbox;
use crate::error::{ApiError, ApiResult};
use crate::fault::Fault;
use crate::store::Transaction;

/// The answer kept under a key, and the request that it was made for.
#[derive(sqlx::FromRow)]
struct KeptAnswer {
    request: String,
    operation: String,
    path: String,
    parameters: String,
    status: i16,
    body: Value,
}

impl Sandbox {
    /// Returns the answer kept under the call's idempotency key; or performs the operation and keeps its answer, both in
    /// one transaction.
    pub(super) async fn execute(
        &self,
        call: &Call,
        operation: &Operation,
        fault: Option<Fault>,
    ) -> ApiResult<Answer> {
        let mut tx = self.inner.db.begin().await?;
        if let Some(key) = &call.idempotency_key {
            lock_key(&mut tx, key).await?;
            if let Some(kept) = find(&mut tx, key).await? {
                // Explicitly: a transaction rolled back by being dropped may hold the key's lock beyond the answer, and
                // the caller's next request would get 409.
                tx.rollback().await?;
                return kept.replay(call, operation, key);
            }
        }
        if let Some(Fault::Slow(delay)) = fault {
            tokio::time::sleep(delay).await;
        }

        let outcome = match fault {
            Some(Fault::ServerError) => Err(injected_error()),
            Some(Fault::CardError402) => Err(ApiError {
                kind: "card_error",
                ..ApiError::refused("Your card was declined.")
                    .code("card_declined")
                    .status(402)
            }),
            _ => self.perform_in(&mut tx, call, operation).await,
        };
        let (status, body, is_kept) = match outcome {
            Ok(body) => (200, body, true),
            // A failure of our database is no answer of Stripe's, and must reach the log.
            Err(error) if error.source.is_some() => return Err(error),
            Err(error) => (error.status, error.body(&call.id), error.is_kept),
        };
        if let Some(key) = call.idempotency_key.as_ref().filter(|_| is_kept) {
            keep(&mut tx, key, call, operation, status, &body).await?;
        }
        tx.commit().await?;
        self.inner.delivery_due.notify_one();
        Ok(Answer {
            status,
            body,
            original_request: None,
        })
    }

    /// Performs an operation in a savepoint: when it fails, only its own changes are undone, and its error can be kept.
    async fn perform_in(
        &self,
        conn: &mut PgConnection,
        call: &Call,
        operation: &Operation,
    ) -> ApiResult<Value> {
        let mut savepoint = conn.begin().await?;
        let mut tx = Transaction {
            conn: &mut savepoint,
            request: json!({"id": call.id, "idempotency_key": call.idempotency_key}),
            settings: &self.inner.settings,
        };
        let outcome = perform(&mut tx, operation, &call.path, &call.params).await;
        match &outcome {
            Ok(_) => savepoint.commit().await?,
            Err(_) => savepoint.rollback().await?,
        }
        outcome
    }
}

impl KeptAnswer {
    /// Answers again, if the request is the same.
    fn replay(self, call: &Call, operation: &Operation, key: &str) -> ApiResult<Answer> {
        let reason = if self.operation != operation.template || self.path != call.path {
            format!(
                "Keys for idempotent requests can only be used for the same endpoint they were first used for ('{}' vs '{}').",
                call.path, self.path
            )
        } else if self.parameters != sorted(&call.params) {
            "Keys for idempotent requests can only be used with the same parameters they were first used with.".to_owned()
        } else {
            return Ok(Answer {
                status: self.status.unsigned_abs(),
                body: self.body,
                original_request: Some(self.request),
            });
        };
        let hint = format!(
            "Try using a key other than '{key}' if you meant to execute a different request."
        );
        Err(idempotency_error(400, format!("{reason} {hint}")))
    }
}

/// Keeps other requests from using a key until the transaction ends.
async fn lock_key(conn: &mut PgConnection, key: &str) -> ApiResult<()> {
    if key.is_empty() || key.len() > 255 {
        let message = "The idempotency key must have 1 to 255 characters.";
        return Err(idempotency_error(400, message.to_owned()));
    }
    let is_locked: bool = sqlx::query_scalar(
        "select pg_try_advisory_xact_lock(hashtextextended('stripe_sandbox ' || $1, 0))",
    )
    .bind(key)
    .fetch_one(conn)
    .await?;
    if !is_locked {
        let message = format!(
            "There is currently another in-progress request using this Idempotent Key (that probably means you \
             submitted twice, and the other request is still going through): {key}. Please try again later."
        );
        return Err(idempotency_error(409, message).code("idempotency_key_in_use"));
    }
    Ok(())
}

/// Finds the answer kept under a key. Stripe forgets it after a day, too.
async fn find(conn: &mut PgConnection, key: &str) -> ApiResult<Option<KeptAnswer>> {
    let kept = sqlx::query_as(
        "select request, operation, path, parameters, status, body
         from stripe_sandbox.idempotency_keys
         where key = $1 and created > now() - interval '24 hours'",
    )
    .bind(key)
    .fetch_optional(conn)
    .await?;
    Ok(kept)
}

/// Keeps an answer. An older one under the key is more than a day old, or `find` would have found it.
async fn keep(
    conn: &mut PgConnection,
    key: &str,
    call: &Call,
    operation: &Operation,
    status: u16,
    body: &Value,
) -> ApiResult<()> {
    sqlx::query(
        "insert into stripe_sandbox.idempotency_keys (key, request, operation, path, parameters, status, body)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (key) do update
         set request = excluded.request, operation = excluded.operation, path = excluded.path,
             parameters = excluded.parameters, status = excluded.status, body = excluded.body, created = now()",
    )
    .bind(key)
    .bind(&call.id)
    .bind(operation.template)
    .bind(&call.path)
    .bind(sorted(&call.params))
    .bind(status.cast_signed())
    .bind(body)
    .execute(conn)
    .await?;
    Ok(())
}

/// The parameters in one order: clients may send the same ones in another.
fn sorted(params: &[(String, String)]) -> String {
    let mut sorted = params.to_vec();
    sorted.sort();
    json!(sorted).to_string()
}

/// An error about the key itself, which is not kept under the key.
fn idempotency_error(status: u16, message: String) -> ApiError {
    ApiError {
        kind: "idempotency_error",
        is_kept: false,
        ..ApiError::refused(message).status(status)
    }
}
