//! The sandbox's own interface over HTTP, for programs in other processes: [`Sandbox`]'s methods under `/_sandbox/`, with
//! the secret key and JSON bodies.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Sandbox;
use crate::error::Error;
use crate::fault::Fault;
use crate::types::{NewDispute, Payment};

/// A `POST`, by the last part of its path.
#[derive(Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
enum Command {
    Faults {
        operation: String,
        fault: Fault,
        #[serde(default = "once")]
        times: u32,
    },
    OpenLink {
        link: String,
    },
    Pay {
        session: String,
        #[serde(flatten)]
        payment: Payment,
    },
    Settle {
        session: String,
        succeeds: bool,
    },
    Expire {
        session: String,
    },
    Refund {
        payment_intent: String,
        amount: Option<i64>,
    },
    FailRefund {
        refund: String,
    },
    Dispute {
        payment_intent: String,
        #[serde(flatten)]
        dispute: NewDispute,
    },
    EscalateDispute {
        payment_intent: String,
    },
    AnswerDispute {
        payment_intent: String,
    },
    WarnOfFraud {
        payment_intent: String,
    },
    OpenReview {
        payment_intent: String,
    },
    ApproveReview {
        payment_intent: String,
    },
    CloseDispute {
        payment_intent: String,
        won: bool,
    },
    Deliver {},
}

fn once() -> u32 {
    1
}

/// `GET /_sandbox/{events,requests}`, `DELETE /_sandbox/faults`, and `POST /_sandbox/{command}`.
pub async fn serve(
    State(sandbox): State<Sandbox>,
    method: Method,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !sandbox.is_authorized(&headers) {
        return failure(
            StatusCode::UNAUTHORIZED,
            "The sandbox's interface needs its secret key.",
        );
    }
    let outcome = match (method.as_str(), name.as_str()) {
        ("GET", "events") => sandbox.events().await.map(Value::from),
        ("GET", "requests") => Ok(json!(sandbox.requests())),
        ("DELETE", "faults") => {
            sandbox.clear_faults();
            Ok(json!({}))
        }
        ("POST", _) => match command(name, &body) {
            Ok(command) => sandbox.perform(command).await,
            Err(error) => return failure(StatusCode::BAD_REQUEST, &error.to_string()),
        },
        _ => return failure(StatusCode::NOT_FOUND, "There is no such command."),
    };
    match outcome {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => {
            if let Error::Database(error) = &error {
                tracing::error!(%error, "the Stripe sandbox's database failed");
            }
            failure(StatusCode::CONFLICT, &error.to_string())
        }
    }
}

/// An error in the shape of the API's.
fn failure(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"error": {"message": message}}))).into_response()
}

/// Reads a command from the path and the body, which may be empty for one without fields.
fn command(name: String, body: &[u8]) -> serde_json::Result<Command> {
    let mut fields: Value = match body {
        [] => json!({}),
        body => serde_json::from_slice(body)?,
    };
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("command".to_owned(), Value::String(name));
    }
    serde_json::from_value(fields)
}

impl Sandbox {
    /// Runs a command; answers the id of the object that it made, if any.
    async fn perform(&self, command: Command) -> Result<Value, Error> {
        let id = match command {
            Command::Faults {
                operation,
                fault,
                times,
            } => {
                self.fail_next(&operation, fault, times);
                None
            }
            Command::OpenLink { link } => Some(self.open_link(&link).await?),
            Command::Pay { session, payment } => {
                self.pay(&session, payment).await?;
                None
            }
            Command::Settle { session, succeeds } => {
                self.settle_delayed(&session, succeeds).await?;
                None
            }
            Command::Expire { session } => {
                self.expire(&session).await?;
                None
            }
            Command::Refund {
                payment_intent,
                amount,
            } => Some(self.refund(&payment_intent, amount).await?),
            Command::FailRefund { refund } => {
                self.fail_refund(&refund).await?;
                None
            }
            Command::Dispute {
                payment_intent,
                dispute,
            } => Some(self.dispute_as(&payment_intent, &dispute).await?),
            Command::EscalateDispute { payment_intent } => {
                self.escalate_dispute(&payment_intent).await?;
                None
            }
            Command::AnswerDispute { payment_intent } => {
                self.answer_dispute(&payment_intent).await?;
                None
            }
            Command::WarnOfFraud { payment_intent } => {
                Some(self.warn_of_fraud(&payment_intent).await?)
            }
            Command::OpenReview { payment_intent } => {
                Some(self.open_review(&payment_intent).await?)
            }
            Command::ApproveReview { payment_intent } => {
                self.approve_review(&payment_intent).await?;
                None
            }
            Command::CloseDispute {
                payment_intent,
                won,
            } => {
                self.close_dispute(&payment_intent, won).await?;
                None
            }
            Command::Deliver {} => return Ok(json!({"delivered": self.deliver_due().await?})),
        };
        Ok(id.map_or(json!({}), |id| json!({ "id": id })))
    }
}
