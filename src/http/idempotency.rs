//! `Idempotency-Key`: stores the first response to a request for a day and returns it to every retry of the same
//! client.
//!
//! Source: <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>

use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::audit::Actor;
use crate::error::{Code, Error, Result};
use crate::types::ids::OrderId;

/// Schema of the header: 1 to 255 printable ASCII characters.
#[derive(ToSchema)]
#[schema(max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$")]
#[allow(dead_code, reason = "read by the API document alone")]
pub struct IdempotencyKey(String);

/// The client that a key belongs to. The same text from another client is a different key.
#[derive(Clone, Debug)]
pub struct Owner(String);

impl Owner {
    /// A shopper whose cookie names this order.
    pub fn shopper(order: OrderId) -> Owner {
        Owner(format!("order:{order}"))
    }

    /// A shopper without a cookie, identified by the hash of the IP address.
    pub fn address(client: &str) -> Owner {
        Owner(format!("address:{client}"))
    }

    /// A user or a token, by its id: a name may be another's after it was revoked.
    pub fn actor(actor: &Actor) -> Owner {
        Owner(match (actor.token, actor.user) {
            (Some(token), _) => format!("token {token}"),
            (None, Some(user)) => format!("user {user}"),
            (None, None) => actor.name.clone(),
        })
    }

    /// Prefixes a key with its owner, for storage.
    fn own(&self, key: &str) -> String {
        format!("{} {key}", self.0)
    }
}

/// A request's key, bound to its client and to the content of the request.
pub struct Key {
    scope: &'static str,
    /// Key as sent by the client.
    sent: String,
    /// Key as stored.
    key: String,
    fingerprint: Vec<u8>,
}

/// Stored state of a key.
#[derive(Debug)]
pub enum Known {
    /// First request with this key. The row is locked until the transaction ends.
    New,
    /// The request was answered before: return the same response.
    Answered {
        order: Option<OrderId>,
        status: u16,
        answer: Value,
    },
    /// The request placed this order before, but its response was not stored.
    Begun(OrderId),
}

/// Fingerprint, order, status and answer.
type StoredKey = (Vec<u8>, Option<OrderId>, Option<i32>, Option<Value>);

impl Key {
    /// Reads the request's key, if it has one.
    ///
    /// # Errors
    /// 400 naming the header if the key is empty, longer than 255 characters, or not printable ASCII.
    pub fn read(
        headers: &HeaderMap,
        scope: &'static str,
        owner: &Owner,
        asked: &[u8],
    ) -> Result<Option<Key>> {
        let Some(value) = headers.get("idempotency-key") else {
            return Ok(None);
        };
        let key = value.to_str().unwrap_or_default();
        if key.is_empty() || key.len() > 255 {
            return Err(Error::invalid(
                "Idempotency-Key",
                "must have 1 to 255 plain characters",
            ));
        }
        Ok(Some(Key {
            scope,
            sent: key.to_owned(),
            key: owner.own(key),
            fingerprint: Sha256::digest(asked).to_vec(),
        }))
    }

    /// Claims the key, or returns its stored state. Of two simultaneous requests, the second waits for the first.
    ///
    /// # Errors
    /// 422 `idempotency_key_reused` if the key was used for a different request.
    pub async fn claim(&self, conn: &mut PgConnection) -> Result<Known> {
        // Loops only if the purge deletes the row between the two statements.
        let known = loop {
            let done = sqlx::query(
                "insert into idempotency_keys (scope, key, fingerprint)
                 values ($1, $2, $3)
                 on conflict do nothing",
            )
            .bind(self.scope)
            .bind(&self.key)
            .bind(&self.fingerprint)
            .execute(&mut *conn)
            .await?;
            if done.rows_affected() == 1 {
                return Ok(Known::New);
            }
            let known: Option<StoredKey> = sqlx::query_as(
                "select fingerprint, order_id, status, answer
                 from idempotency_keys
                 where scope = $1
                   and key = $2
                 for update",
            )
            .bind(self.scope)
            .bind(&self.key)
            .fetch_optional(&mut *conn)
            .await?;
            if let Some(known) = known {
                break known;
            }
        };
        let (fingerprint, order, status, answer) = known;
        if fingerprint != self.fingerprint {
            return Err(Error::refused(
                Code::IdempotencyKeyReused,
                "This Idempotency-Key was used for another request.".to_owned(),
            ));
        }
        Ok(match (status, answer, order) {
            (Some(status), Some(answer), order) => {
                let status = u16::try_from(status).map_err(anyhow::Error::from)?;
                Known::Answered {
                    order,
                    status,
                    answer,
                }
            }
            (_, _, Some(order)) => Known::Begun(order),
            _ => Known::New,
        })
    }

    /// Stores the order that the request placed, and the response once there is one.
    pub async fn keep(
        &self,
        conn: &mut PgConnection,
        order: Option<OrderId>,
        answer: Option<(u16, &Value)>,
    ) -> Result<()> {
        sqlx::query(
            "update idempotency_keys
             set order_id = $3, status = $4, answer = $5
             where scope = $1
               and key = $2",
        )
        .bind(self.scope)
        .bind(&self.key)
        .bind(order)
        .bind(answer.map(|(status, _)| i32::from(status)))
        .bind(answer.map(|(_, body)| body))
        .execute(conn)
        .await?;
        Ok(())
    }

    /// Stores a response whose cookie names its order. A retry with that cookie comes from the same client, so it must
    /// find the key.
    pub async fn keep_for_shopper(
        &self,
        conn: &mut PgConnection,
        order: OrderId,
        status: u16,
        body: &Value,
    ) -> Result<()> {
        self.keep(conn, Some(order), Some((status, body))).await?;
        sqlx::query(
            "insert into idempotency_keys (scope, key, fingerprint, order_id, status, answer)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (scope, key) do nothing",
        )
        .bind(self.scope)
        .bind(Owner::shopper(order).own(&self.sent))
        .bind(&self.fingerprint)
        .bind(order)
        .bind(i32::from(status))
        .bind(body)
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// Claims the key of a request, if it has one. Returns status and body of the response if there was one before.
///
/// # Errors
/// As [`Key::claim`].
pub async fn earlier_answer(
    conn: &mut PgConnection,
    key: Option<&Key>,
) -> Result<Option<(StatusCode, Value)>> {
    let Some(key) = key else { return Ok(None) };
    Ok(match key.claim(conn).await? {
        Known::Answered { status, answer, .. } => {
            let status = StatusCode::from_u16(status).map_err(anyhow::Error::from)?;
            Some((status, answer))
        }
        Known::New | Known::Begun(_) => None,
    })
}

/// Stores the response of a request that has a key.
pub async fn keep_answer(
    conn: &mut PgConnection,
    key: Option<&Key>,
    status: StatusCode,
    body: &impl Serialize,
) -> Result<()> {
    let Some(key) = key else { return Ok(()) };
    // By its text: a number of 32 bits as a value has digits that the first answer had not.
    let text = serde_json::to_string(body).map_err(anyhow::Error::from)?;
    let body: Value = serde_json::from_str(&text).map_err(anyhow::Error::from)?;
    key.keep(conn, None, Some((status.as_u16(), &body))).await
}

/// Replaces the stored answers that name these orders or custom orders, whose customer's data is deleted. A repeat of such a
/// request still has no effect. Safe to repeat.
///
/// # Errors
/// Database errors only.
pub async fn erase_answers(
    conn: &mut PgConnection,
    orders: &[OrderId],
    others: &[Uuid],
) -> Result<()> {
    sqlx::query(
        "update idempotency_keys
         set answer = jsonb_build_object('detail', 'Deleted with the data of the customer.')
         where answer is not null
           and (order_id = any($1)
                or exists (select from unnest($1 || $2) as id where strpos(answer::text, id::text) > 0))",
    )
    .bind(orders)
    .bind(others)
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes keys older than a day and returns their number.
pub async fn purge(conn: &mut PgConnection) -> Result<u64> {
    let done =
        sqlx::query("delete from idempotency_keys where created_at < now() - interval '1 day'")
            .execute(conn)
            .await?;
    Ok(done.rows_affected())
}
