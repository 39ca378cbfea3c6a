//! Stripe's API over HTTP: keys, idempotency, faults, the log; and the switches under `/_sandbox/`.
use std::future::pending;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Form, FromRequest, Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::any;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::Connection;

use super::store::{API_VERSION, Problem, Result, Work, id};
use super::{
    Fault, NewDispute, Payment, Request, Sandbox, catalog, checkout, links, params, payments,
};

pub fn router(sandbox: Sandbox) -> Router {
    Router::new()
        .route("/v1/{*path}", any(serve))
        .route("/_sandbox/{switch}", any(switch))
        .with_state(sandbox)
}

/// A request with all that decides its answer.
struct Call {
    request: String,
    operation: &'static str,
    schema: &'static Value,
    id: String,
    path: String,
    params: Vec<(String, String)>,
    key: Option<String>,
}

/// An answer, and the request that it was first given to if this is a repeat.
struct Answer {
    status: u16,
    body: Value,
    replayed: Option<String>,
}

async fn serve(
    State(sandbox): State<Sandbox>,
    method: Method,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = format!("/v1/{path}");
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let params = pairs(if method == Method::POST {
        body
    } else {
        query.unwrap_or_default().into()
    })
    .await;
    let found = params::operation(method.as_str(), &path);
    let operation = found.as_ref().map_or_else(
        || format!("{method} {path}"),
        |(template, ..)| (*template).to_owned(),
    );
    let key = text("idempotency-key").filter(|_| method == Method::POST);
    let number = sandbox.note(Request {
        method: method.to_string(),
        operation: operation.clone(),
        path: path.clone(),
        params: params.clone(),
        idempotency_key: key.clone(),
        stripe_version: text("stripe-version"),
        status: None,
    });
    let request = id("req_", 14);

    let fault = if sandbox.knows(&headers) {
        sandbox.next_fault(&operation)
    } else {
        Some(Fault::Unauthorized)
    };
    let refusal = match &fault {
        Some(Fault::Drop) => return dropped(),
        Some(Fault::Hang) => pending().await,
        Some(Fault::BadGateway) => {
            sandbox.note_status(number, Some(502));
            return (
                StatusCode::BAD_GATEWAY,
                Html("<html><body><h1>502 Bad Gateway</h1></body></html>"),
            )
                .into_response();
        }
        Some(Fault::RateLimited) => {
            let message = "Request rate limit exceeded. Learn more about rate limits at https://stripe.com/docs/rate-limits.";
            Some(Problem {
                status: 429,
                ..Problem::refused(message).code("rate_limit")
            })
        }
        Some(Fault::Unauthorized) => Some(unauthorized(&headers)),
        Some(Fault::Refused {
            code,
            message,
            param,
        }) => Some(Problem {
            param: param.clone(),
            ..Problem::refused(message).code(code)
        }),
        _ => None,
    };
    let outcome = match (refusal, found) {
        (Some(problem), _) => Err(problem),
        (None, None) => {
            let message = format!(
                "Unrecognized request URL ({method}: {path}). If you are trying to list objects, remove the trailing slash."
            );
            Err(Problem {
                status: 404,
                ..Problem::refused(message)
            })
        }
        (None, Some((operation, schema, id))) => {
            let call = Call {
                request: request.clone(),
                operation,
                schema,
                id,
                path,
                params,
                key: key.clone(),
            };
            let (sandbox, fault) = (sandbox.clone(), fault.clone());
            // A task of its own: Stripe goes on when its caller hangs up.
            tokio::spawn(async move { sandbox.execute(&call, fault).await })
                .await
                .unwrap_or_else(|_| Err(server_error()))
        }
    };
    let outcome = match fault {
        Some(Fault::ActThenDrop) => return dropped(),
        Some(Fault::ActThenHang) => pending().await,
        Some(Fault::ActThenServerError) => Err(server_error()),
        _ => outcome,
    };

    let answer = outcome.unwrap_or_else(|problem| Answer {
        status: problem.status,
        body: problem.body(&request),
        replayed: None,
    });
    sandbox.note_status(number, Some(answer.status));
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let version = text("stripe-version").unwrap_or_else(|| API_VERSION.to_owned());
    let mut response = (
        status,
        [("request-id", request), ("stripe-version", version)],
        Json(answer.body),
    )
        .into_response();
    let replayed = answer.replayed.map(|original| {
        [
            ("idempotent-replayed", Some("true".to_owned())),
            ("original-request", Some(original)),
        ]
    });
    for (name, value) in [("idempotency-key", key)]
        .into_iter()
        .chain(replayed.into_iter().flatten())
    {
        if let Some(value) = value.and_then(|value| value.parse().ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

impl Sandbox {
    /// Answers from what the idempotency key remembers, or acts and remembers, in one transaction.
    async fn execute(&self, call: &Call, fault: Option<Fault>) -> Result<Answer> {
        let mut tx = self.inner.db.begin().await?;
        let mut sorted = call.params.clone();
        sorted.sort();
        let sorted = json!(sorted).to_string();
        if let Some(key) = &call.key {
            if key.len() > 255 || key.is_empty() {
                return Err(idempotency(
                    400,
                    "The idempotency key must have 1 to 255 characters.".into(),
                ));
            }
            let lock = sqlx::query_scalar(
                "select pg_try_advisory_xact_lock(hashtextextended('stripe_sandbox ' || $1, 0))",
            );
            if !lock.bind(key).fetch_one(&mut *tx).await? {
                let message = format!(
                    "There is currently another in-progress request using this Idempotent Key (that probably means you \
                     submitted twice, and the other request is still going through): {key}. Please try again later."
                );
                return Err(idempotency(409, message).code("idempotency_key_in_use"));
            }
            let kept: Option<(String, String, String, String, i16, Value)> = sqlx::query_as(
                "select request, operation, path, parameters, status, body
                 from stripe_sandbox.idempotency_keys
                 where key = $1 and created > now() - interval '24 hours'",
            )
            .bind(key)
            .fetch_optional(&mut *tx)
            .await?;
            if let Some((request, operation, path, parameters, status, body)) = kept {
                // Left to be rolled back by itself, the key's lock might outlive the answer.
                tx.rollback().await?;
                let hint = format!(
                    "Try using a key other than '{key}' if you meant to execute a different request."
                );
                if operation != call.operation || path != call.path {
                    let what = format!(
                        "Keys for idempotent requests can only be used for the same endpoint they were first used for ('{}' vs '{path}').",
                        call.path
                    );
                    return Err(idempotency(400, format!("{what} {hint}")));
                }
                if parameters != sorted {
                    let what = "Keys for idempotent requests can only be used with the same parameters they were first used with.";
                    return Err(idempotency(400, format!("{what} {hint}")));
                }
                return Ok(Answer {
                    status: status.unsigned_abs(),
                    body,
                    replayed: Some(request),
                });
            }
        }
        if let Some(Fault::Slow(delay)) = fault {
            tokio::time::sleep(delay).await;
        }

        let outcome = match fault {
            Some(Fault::ServerError) => Err(server_error()),
            Some(Fault::CardError402) => {
                let refused = Problem::refused("Your card was declined.").code("card_declined");
                Err(Problem {
                    status: 402,
                    kind: "card_error",
                    ..refused
                })
            }
            _ => {
                let mut inner = tx.begin().await?;
                let request = json!({"id": call.request, "idempotency_key": call.key});
                let mut work = Work {
                    conn: &mut inner,
                    request,
                    pages_url: &self.inner.settings.pages_url,
                };
                let outcome = perform(&mut work, call).await;
                match &outcome {
                    Ok(_) => inner.commit().await?,
                    Err(_) => inner.rollback().await?,
                }
                outcome
            }
        };
        let (status, body, keep) = match outcome {
            Ok(body) => (200, body, true),
            Err(problem) => (problem.status, problem.body(&call.request), problem.kept),
        };
        if let Some(key) = call.key.as_ref().filter(|_| keep) {
            sqlx::query(
                "insert into stripe_sandbox.idempotency_keys (key, request, operation, path, parameters, status, body)
                 values ($1, $2, $3, $4, $5, $6, $7)
                 on conflict (key) do update
                 set request = excluded.request, operation = excluded.operation, path = excluded.path,
                     parameters = excluded.parameters, status = excluded.status, body = excluded.body, created = now()",
            )
            .bind(key)
            .bind(&call.request)
            .bind(call.operation)
            .bind(&call.path)
            .bind(sorted)
            .bind(status.cast_signed())
            .bind(&body)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        self.inner.news.notify_one();
        Ok(Answer {
            status,
            body,
            replayed: None,
        })
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let key = &self.inner.settings.secret_key;
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        given
            .strip_prefix("Bearer ")
            .is_some_and(|given| given.trim() == key)
            || given
                .strip_prefix("Basic ")
                .is_some_and(|given| given.trim() == base64(&format!("{key}:")))
    }
}

/// Every operation, on one screen. One more is a line here and one in `parameters.json`.
async fn perform(work: &mut Work<'_>, call: &Call) -> Result<Value> {
    let p = &params::check(call.schema, params::tree(&call.params)?, "")?;
    let id = call.id.as_str();
    let mut answer = match call.operation {
        "POST /v1/products" => catalog::create_product(work, p).await?,
        "POST /v1/products/{id}" => catalog::update_product(work, id, p).await?,
        "POST /v1/prices" => catalog::create_price(work, p).await?,
        "POST /v1/prices/{id}" => catalog::update_price(work, id, p).await?,
        "POST /v1/checkout/sessions" => checkout::create(work, p).await?,
        "POST /v1/checkout/sessions/{id}/expire" => checkout::expire(work, id).await?,
        "GET /v1/checkout/sessions/{id}/line_items" => checkout::line_items(work, id).await?,
        "POST /v1/payment_links" => links::create(work, p).await?,
        "POST /v1/payment_links/{id}" => links::update(work, id, p).await?,
        "POST /v1/refunds" => payments::refund(work, p).await?,
        read => {
            let (kind, param) = match read
                .trim_start_matches("GET /v1/")
                .trim_end_matches("/{id}")
            {
                "products" => ("product", "id"),
                "prices" => ("price", "price"),
                "checkout/sessions" => ("checkout.session", "session"),
                "payment_links" => ("payment_link", "payment_link"),
                "payment_intents" => ("payment_intent", "intent"),
                "charges" => ("charge", "charge"),
                "refunds" => ("refund", "refund"),
                _ => ("event", "id"),
            };
            if read.ends_with("{id}") {
                work.find(kind, id)
                    .await?
                    .ok_or_else(|| Problem::missing(404, kind, id, param))?
            } else {
                work.list(kind, &call.path, p).await?
            }
        }
    };
    for path in p["expand"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        work.expand(&mut answer, path).await?;
    }
    Ok(answer)
}

async fn pairs(form: Bytes) -> Vec<(String, String)> {
    let request = axum::http::Request::post("/")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    match Form::from_request(request.body(Body::from(form)).unwrap_or_default(), &()).await {
        Ok(Form(pairs)) => pairs,
        Err(_) => Vec::new(),
    }
}

/// A response that breaks before its first byte, so the caller sees the connection closed.
fn dropped() -> Response {
    let broken = std::io::Error::other("the sandbox drops this connection on purpose");
    Body::from_stream(stream::iter([Err::<Bytes, _>(broken)])).into_response()
}

fn server_error() -> Problem {
    let refused = Problem::refused("An unknown error occurred. (The sandbox was told to fail.)");
    Problem {
        status: 500,
        kind: "api_error",
        ..refused
    }
}

fn idempotency(status: u16, message: String) -> Problem {
    Problem {
        status,
        kind: "idempotency_error",
        kept: false,
        ..Problem::refused(message)
    }
}

fn unauthorized(headers: &HeaderMap) -> Problem {
    let message = if headers.contains_key(header::AUTHORIZATION) {
        "Invalid API Key provided: ****"
    } else {
        "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth."
    };
    Problem {
        status: 401,
        ..Problem::refused(message)
    }
}

fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(ALPHABET[(bits & 63) as usize]);
    text.as_bytes()
        .chunks(3)
        .flat_map(|chunk| {
            let bits = (0..3).fold(0, |bits, place| {
                bits << 8 | u32::from(*chunk.get(place).unwrap_or(&0))
            });
            let third = if chunk.len() > 1 {
                digit(bits >> 6)
            } else {
                '='
            };
            let fourth = if chunk.len() > 2 { digit(bits) } else { '=' };
            [digit(bits >> 18), digit(bits >> 12), third, fourth]
        })
        .collect()
}

/// What the switches take, each its own part of it.
#[derive(Deserialize)]
#[serde(tag = "switch", rename_all = "snake_case")]
enum Switch {
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
        how: Payment,
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
        how: NewDispute,
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

/// `POST /_sandbox/{pay, settle, …}` with a JSON body; `GET /_sandbox/{events, requests}`; `DELETE /_sandbox/faults`.
async fn switch(
    State(sandbox): State<Sandbox>,
    method: Method,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let wrong = |status: StatusCode, error: String| {
        (status, Json(json!({"error": {"message": error}}))).into_response()
    };
    if !sandbox.knows(&headers) {
        return wrong(
            StatusCode::UNAUTHORIZED,
            "The sandbox's switches want its secret key.".into(),
        );
    }
    let outcome = match (method.as_str(), name.as_str()) {
        ("GET", "events") => sandbox.events().await.map(Value::from),
        ("GET", "requests") => Ok(json!(sandbox.requests())),
        ("DELETE", "faults") => {
            sandbox.clear_faults();
            Ok(json!({}))
        }
        ("POST", _) => {
            let mut body: Value = if body.is_empty() {
                json!({})
            } else {
                serde_json::from_slice(&body).unwrap_or_default()
            };
            if let Some(body) = body.as_object_mut() {
                body.insert("switch".into(), json!(name));
            }
            match serde_json::from_value(body) {
                Ok(switch) => sandbox.turn(switch).await,
                Err(error) => return wrong(StatusCode::BAD_REQUEST, error.to_string()),
            }
        }
        _ => return wrong(StatusCode::NOT_FOUND, "There is no such switch.".into()),
    };
    outcome.map_or_else(
        |error| wrong(StatusCode::CONFLICT, error.to_string()),
        |answer| Json(answer).into_response(),
    )
}

impl Sandbox {
    async fn turn(&self, switch: Switch) -> anyhow::Result<Value> {
        match switch {
            Switch::Faults {
                operation,
                fault,
                times,
            } => self.fail_next(&operation, fault, times),
            Switch::OpenLink { link } => return Ok(json!({"id": self.open_link(&link).await?})),
            Switch::Pay { session, how } => self.pay(&session, how).await?,
            Switch::Settle { session, succeeds } => self.settle_delayed(&session, succeeds).await?,
            Switch::Expire { session } => self.expire(&session).await?,
            Switch::Refund {
                payment_intent,
                amount,
            } => return Ok(json!({"id": self.refund(&payment_intent, amount).await?})),
            Switch::FailRefund { refund } => self.fail_refund(&refund).await?,
            Switch::Dispute {
                payment_intent,
                how,
            } => return Ok(json!({"id": self.dispute_as(&payment_intent, &how).await?})),
            Switch::EscalateDispute { payment_intent } => {
                self.escalate_dispute(&payment_intent).await?;
            }
            Switch::AnswerDispute { payment_intent } => {
                self.answer_dispute(&payment_intent).await?;
            }
            Switch::WarnOfFraud { payment_intent } => {
                return Ok(json!({"id": self.warn_of_fraud(&payment_intent).await?}));
            }
            Switch::OpenReview { payment_intent } => {
                return Ok(json!({"id": self.open_review(&payment_intent).await?}));
            }
            Switch::ApproveReview { payment_intent } => {
                self.approve_review(&payment_intent).await?;
            }
            Switch::CloseDispute {
                payment_intent,
                won,
            } => self.close_dispute(&payment_intent, won).await?,
            Switch::Deliver {} => return Ok(json!({"delivered": self.deliver_due().await?})),
        }
        Ok(json!({}))
    }
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_pads_as_it_should() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("sk_test:", "c2tfdGVzdDo="),
        ];
        for (text, expected) in cases {
            assert_eq!(base64(text), expected);
        }
    }
}
