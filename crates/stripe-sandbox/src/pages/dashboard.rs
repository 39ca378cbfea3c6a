//! The dashboard: payments, links and events, with buttons to act on them as Stripe, a bank or the merchant.

use askama::Template;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use serde::Deserialize;
use serde_json::Value;

use super::{PageResult, text};
use crate::objects::payment_links;
use crate::types::NewDispute;
use crate::{Error, Sandbox, money};

#[derive(Template)]
#[template(path = "dashboard.html")]
struct Dashboard {
    home: String,
    alert: Option<String>,
    sessions: Vec<SessionRow>,
    links: Vec<LinkRow>,
    events: Vec<EventRow>,
}

struct SessionRow {
    id: String,
    intent: Option<String>,
    link: Option<String>,
    /// CSS class.
    state: &'static str,
    label: &'static str,
    what: String,
    amount: String,
    time: String,
    reference: Option<String>,
    email: Option<String>,
    page: Option<String>,
    refunds: Vec<String>,
    actions: Vec<Action>,
}

/// A button.
struct Action {
    act: &'static str,
    label: String,
    /// The object to act on.
    id: String,
    /// True if the button has an input for an amount.
    amount: bool,
}

struct LinkRow {
    id: String,
    state: &'static str,
    label: &'static str,
    what: String,
    amount: String,
    time: String,
    notes: Vec<String>,
    page: String,
    active: bool,
}

struct EventRow {
    id: String,
    kind: String,
    time: String,
    state: &'static str,
    label: String,
}

/// A pressed button.
#[derive(Deserialize)]
pub struct Act {
    act: String,
    id: String,
    #[serde(default)]
    amount: String,
}

/// Shows the dashboard.
pub async fn show(State(sandbox): State<Sandbox>) -> PageResult {
    let page = sandbox.dashboard(None).await?;
    sandbox.page(StatusCode::OK, "Stripe sandbox", &page)
}

/// Does what a button says, and shows the dashboard again.
pub async fn act(State(sandbox): State<Sandbox>, Form(act): Form<Act>) -> PageResult {
    match sandbox.act(&act).await {
        Ok(()) => Ok(Redirect::to(&sandbox.home()).into_response()),
        Err(error) => {
            let page = sandbox.dashboard(Some(error.to_string())).await?;
            sandbox.page(StatusCode::CONFLICT, "Stripe sandbox", &page)
        }
    }
}

impl Sandbox {
    /// The dashboard's path.
    fn home(&self) -> String {
        Some(self.base_path())
            .filter(|path| !path.is_empty())
            .unwrap_or_else(|| "/".to_owned())
    }

    /// Does what a button says. The match names every button that `actions` and the templates make.
    async fn act(&self, Act { act, id, amount }: &Act) -> Result<(), Error> {
        match act.as_str() {
            "expire" => self.expire(id).await,
            "deactivate_link" => self.deactivate_link(id).await,
            "settle_paid" => self.settle_delayed(id, true).await,
            "settle_failed" => self.settle_delayed(id, false).await,
            "refund" => self.refund(id, None).await.map(drop),
            "refund_part" => {
                let amount = self.amount_in_currency_of(id, amount).await?;
                self.refund(id, Some(amount)).await.map(drop)
            }
            "fail_refund" => self.fail_refund(id).await,
            "dispute" => self.dispute(id).await.map(drop),
            "inquiry" => {
                let inquiry = NewDispute {
                    is_inquiry: true,
                    reason: "unrecognized".to_owned(),
                };
                self.dispute_as(id, &inquiry).await.map(drop)
            }
            "escalate" => self.escalate_dispute(id).await,
            "dispute_answered" => self.answer_dispute(id).await,
            "inquiry_closed" | "dispute_won" => self.close_dispute(id, true).await,
            "dispute_lost" => self.close_dispute(id, false).await,
            "warn_of_fraud" => self.warn_of_fraud(id).await.map(drop),
            "review" => self.open_review(id).await.map(drop),
            "review_approved" => self.approve_review(id).await,
            "send_again" => self.send_again(id).await,
            _ => Err(refused("There is no such button.")),
        }
    }

    /// Reads an amount typed beside a payment.
    async fn amount_in_currency_of(&self, intent: &str, typed: &str) -> Result<i64, Error> {
        let currency: Option<String> = sqlx::query_scalar(
            "select data ->> 'currency' from stripe_sandbox.objects where id = $1 and object = 'payment_intent'",
        )
        .bind(intent.replace('\0', ""))
        .fetch_optional(&self.inner.db)
        .await?;
        money::parse(typed, &currency.unwrap_or_default())
            .ok_or_else(|| refused("Enter an amount such as 10.00."))
    }

    async fn dashboard(&self, alert: Option<String>) -> sqlx::Result<Dashboard> {
        Ok(Dashboard {
            home: self.home(),
            alert,
            sessions: self.session_rows().await?,
            links: self.link_rows().await?,
            events: self.event_rows().await?,
        })
    }

    /// The latest sessions with all that their rows show, in one query: the page is reloaded after each button.
    async fn session_rows(&self) -> sqlx::Result<Vec<SessionRow>> {
        let sessions: Vec<SessionSummary> = sqlx::query_as(
            "select session.data as session,
                    coalesce(session.private -> 'lines', '[]') as lines,
                    intent.data as intent,
                    charge.data as charge,
                    array(select refund.data
                          from stripe_sandbox.objects refund
                          where refund.object = 'refund' and refund.data @> jsonb_build_object('charge', charge.id)
                          order by refund.seq) as refunds,
                    (select dispute.data ->> 'status'
                     from stripe_sandbox.objects dispute
                     where dispute.object = 'dispute' and dispute.data @> jsonb_build_object('charge', charge.id)
                     order by dispute.seq desc
                     limit 1) as dispute,
                    exists (select from stripe_sandbox.objects review
                            where review.object = 'review'
                              and review.data @> jsonb_build_object('charge', charge.id, 'open', true)) as is_reviewed
             from stripe_sandbox.objects session
             left join stripe_sandbox.objects intent on intent.id = session.data ->> 'payment_intent'
             left join stripe_sandbox.objects charge on charge.id = intent.data ->> 'latest_charge'
             where session.object = 'checkout.session'
             order by session.seq desc
             limit 30",
        )
        .fetch_all(&self.inner.db)
        .await?;
        Ok(sessions.iter().map(SessionSummary::row).collect())
    }

    /// The latest payment links.
    async fn link_rows(&self) -> sqlx::Result<Vec<LinkRow>> {
        // Payment links have no `created` of their own.
        let links: Vec<(Value, Value)> = sqlx::query_as(
            "select data || jsonb_build_object('created', created), coalesce(private -> 'lines', '[]')
             from stripe_sandbox.objects
             where object = 'payment_link'
             order by seq desc
             limit 30",
        )
        .fetch_all(&self.inner.db)
        .await?;
        let rows = links.iter().map(|(link, lines)| link_row(link, lines));
        Ok(rows.collect())
    }

    /// The latest events, and how their deliveries went.
    async fn event_rows(&self) -> sqlx::Result<Vec<EventRow>> {
        let events: Vec<(Value, i32, bool, Option<String>)> = sqlx::query_as(
            "select event.data, delivery.attempts, delivery.delivered is not null, delivery.answer
             from stripe_sandbox.objects event
             join stripe_sandbox.deliveries delivery on delivery.event = event.id
             where event.object = 'event'
             order by event.seq desc
             limit 40",
        )
        .fetch_all(&self.inner.db)
        .await?;
        let rows = events
            .into_iter()
            .map(|(event, attempts, is_delivered, answer)| {
                let (state, label) = match (attempts, is_delivered) {
                    (_, true) => ("sent", "delivered".to_owned()),
                    (0, false) => ("waiting", "waiting".to_owned()),
                    (attempts, false) => {
                        let answer = answer.unwrap_or_default();
                        ("failed", format!("{answer} ({attempts}×)"))
                    }
                };
                EventRow {
                    id: text(&event["id"]).unwrap_or_default(),
                    kind: text(&event["type"]).unwrap_or_default(),
                    time: time(&event),
                    state,
                    label,
                }
            });
        Ok(rows.collect())
    }
}

fn refused(message: &str) -> Error {
    Error::Refused {
        code: None,
        message: message.to_owned(),
    }
}

/// A session, its payment, and what became of that.
#[derive(sqlx::FromRow)]
struct SessionSummary {
    session: Value,
    lines: Value,
    intent: Option<Value>,
    charge: Option<Value>,
    refunds: Vec<Value>,
    /// Status of the latest dispute.
    dispute: Option<String>,
    is_reviewed: bool,
}

impl SessionSummary {
    fn row(&self) -> SessionRow {
        let session = &self.session;
        let (state, label) = self.state();
        let refunds = self.refunds.iter().map(|refund| {
            let status = refund["status"].as_str().unwrap_or_default();
            format!(
                "Refund of {}: {status} · {}",
                self.amount(&refund["amount"]),
                time(refund)
            )
        });
        SessionRow {
            id: text(&session["id"]).unwrap_or_default(),
            intent: text(&session["payment_intent"]),
            link: text(&session["payment_link"]),
            state,
            label,
            what: names(&self.lines),
            amount: self.amount(&session["amount_total"]),
            time: time(session),
            reference: text(&session["client_reference_id"]),
            email: text(&session["customer_details"]["email"]),
            page: text(&session["url"]),
            refunds: refunds.collect(),
            actions: self.actions(state),
        }
    }

    /// CSS class and label.
    fn state(&self) -> (&'static str, &'static str) {
        let intent = self.intent.as_ref();
        match (
            self.session["status"].as_str(),
            self.dispute.as_deref(),
            intent.and_then(|intent| intent["status"].as_str()),
        ) {
            (Some("open"), ..) => ("open", "open"),
            (Some("expired"), ..) => ("expired", "expired"),
            (_, Some("needs_response" | "under_review"), _) => ("disputed", "disputed"),
            (_, Some("lost"), _) => ("disputed", "dispute lost"),
            (.., Some("processing")) => ("waiting", "payment on the way"),
            (.., Some("succeeded")) if self.left() == 0 => ("refunded", "refunded"),
            (.., Some("succeeded")) if self.refunded() > 0 => ("paid", "partly refunded"),
            (.., Some("succeeded")) => ("paid", "paid"),
            _ => ("failed", "payment failed"),
        }
    }

    /// Buttons for whatever may happen next.
    fn actions(&self, state: &str) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut add = |act, label: &str, id: &Value| {
            actions.push(Action {
                act,
                label: label.to_owned(),
                id: text(id).unwrap_or_default(),
                amount: act == "refund_part",
            });
        };
        let (session, intent) = (&self.session["id"], &self.session["payment_intent"]);
        match state {
            "open" => add("expire", "Expire", session),
            "waiting" => {
                add("settle_paid", "Payment succeeded", session);
                add("settle_failed", "Payment failed", session);
            }
            "paid" => {
                let left = money::format(self.left(), self.currency());
                add("refund", &format!("Refund {left}"), intent);
                add("refund_part", "Refund part", intent);
            }
            _ => {}
        }
        if self.charge.is_some() {
            for (act, label) in self.dispute_actions() {
                add(act, label, intent);
            }
            add("warn_of_fraud", "Fraud warning", intent);
            match self.is_reviewed {
                true => add("review_approved", "Approve the review", intent),
                false => add("review", "Review", intent),
            }
        }
        for refund in &self.refunds {
            if refund["status"] == "succeeded" {
                let label = format!("Refund of {} fails", self.amount(&refund["amount"]));
                add("fail_refund", &label, &refund["id"]);
            }
        }
        actions
    }

    /// Buttons of the bank, by the state of its dispute.
    fn dispute_actions(&self) -> &'static [(&'static str, &'static str)] {
        match self.dispute.as_deref() {
            Some("needs_response") => &[
                ("dispute_answered", "Answer the dispute"),
                ("dispute_won", "Dispute won"),
                ("dispute_lost", "Dispute lost"),
            ],
            Some("under_review") => &[
                ("dispute_won", "Dispute won"),
                ("dispute_lost", "Dispute lost"),
            ],
            Some("warning_needs_response" | "warning_under_review") => &[
                ("escalate", "Inquiry becomes a dispute"),
                ("inquiry_closed", "Inquiry closed"),
            ],
            _ => &[("dispute", "Dispute"), ("inquiry", "Inquiry")],
        }
    }

    fn refunded(&self) -> i64 {
        let charge = self.charge.as_ref();
        charge.map_or(0, |charge| charge["amount_refunded"].as_i64().unwrap_or(0))
    }

    /// The part of the charge that is not refunded.
    fn left(&self) -> i64 {
        let charge = self.charge.as_ref();
        charge.map_or(0, |charge| charge["amount"].as_i64().unwrap_or(0)) - self.refunded()
    }

    fn currency(&self) -> &str {
        self.session["currency"].as_str().unwrap_or_default()
    }

    fn amount(&self, value: &Value) -> String {
        money::format(value.as_i64().unwrap_or(0), self.currency())
    }
}

/// Summarizes a payment link.
fn link_row(link: &Value, lines: &Value) -> LinkRow {
    let amounts = lines.as_array().into_iter().flatten();
    let amount = amounts
        .filter_map(|line| line["amount_total"].as_i64())
        .sum();
    let (state, label) = if payment_links::is_used_up(link) {
        ("paid", "used up")
    } else if link["active"] == true {
        ("open", "open")
    } else {
        ("closed", "closed")
    };
    let completed = &link["restrictions"]["completed_sessions"];
    let limit = completed["limit"].as_i64();
    let payments = limit.map(|limit| format!("{} of {limit} payments", completed["count"]));
    let metadata = link["metadata"].as_object().into_iter().flatten();
    let metadata = metadata.map(|(key, value)| {
        let value = value.as_str().unwrap_or_default();
        format!("{key} {value}")
    });
    LinkRow {
        id: text(&link["id"]).unwrap_or_default(),
        state,
        label,
        what: names(lines),
        amount: money::format(amount, link["currency"].as_str().unwrap_or_default()),
        time: time(link),
        notes: payments.into_iter().chain(metadata).collect(),
        page: text(&link["url"]).unwrap_or_default(),
        active: link["active"] == true,
    }
}

/// Names of the line items.
fn names(lines: &Value) -> String {
    let lines = lines.as_array().into_iter().flatten();
    let names: Vec<&str> = lines
        .filter_map(|line| line["description"].as_str())
        .collect();
    names.join(", ")
}

/// The time of an object's creation.
fn time(object: &Value) -> String {
    let time = chrono::DateTime::from_timestamp(object["created"].as_i64().unwrap_or(0), 0)
        .unwrap_or_default();
    time.format("%b %-d, %H:%M:%S UTC").to_string()
}
