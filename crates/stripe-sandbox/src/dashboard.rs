//! The dashboard: act as Stripe, the bank or the shopkeeper on any payment, and see what became of each event.
use askama::Template;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use serde::Deserialize;
use serde_json::Value;

use super::pages::{Shown, frame, text};
use super::{NewDispute, Sandbox, links, money};

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<main class="wide">
{% if let Some(alert) = alert %}<p class="alert" role="alert">{{ alert }}</p>{% endif %}
<section class="card"><h1>Checkout sessions and payments</h1>
{% if sales.is_empty() %}<p class="soft">None yet. Check out in the shop, and the session appears here.</p>{% endif %}
{% for sale in sales %}<div class="row">
<div class="head"><span class="state {{ sale.state }}">{{ sale.label }}</span><span class="name">{{ sale.what }}</span><span class="money">{{ sale.amount }}</span></div>
<div class="soft">{{ sale.time }}{% if let Some(reference) = sale.reference %} · order {{ reference }}{% endif %}{% if let Some(email) = sale.email %} · {{ email }}{% endif %}</div>
<code>{{ sale.session }}{% if let Some(intent) = sale.intent %} {{ intent }}{% endif %}{% if let Some(link) = sale.link %} {{ link }}{% endif %}</code>
{% for refund in sale.refunds %}<div class="soft">{{ refund }}</div>{% endfor %}
<div class="actions">
{% if let Some(page) = sale.page %}<a href="{{ page }}">Payment page</a>{% endif %}
{% for action in sale.actions %}<form method="post" action="{{ home }}"><input type="hidden" name="act" value="{{ action.act }}"><input type="hidden" name="id" value="{{ action.id }}">{% if action.amount %}<input name="amount" inputmode="decimal" placeholder="10.00" aria-label="Amount to refund">{% endif %}<button>{{ action.label }}</button></form>
{% endfor %}</div>
</div>
{% endfor %}</section>
<section class="card"><h1>Payment links</h1>
{% if links.is_empty() %}<p class="soft">None yet. Approve a custom order in the shop, and its link appears here.</p>{% endif %}
{% for link in links %}<div class="row">
<div class="head"><span class="state {{ link.state }}">{{ link.label }}</span><span class="name">{{ link.what }}</span><span class="money">{{ link.amount }}</span></div>
<div class="soft">{{ link.time }}{% if let Some(taken) = link.taken %} · {{ taken }}{% endif %}{% if let Some(request) = link.request %} · request {{ request }}{% endif %}</div>
<code>{{ link.id }}</code>
<div class="actions">
<a href="{{ link.page }}">Link's page</a>
{% if link.active %}<form method="post" action="{{ home }}"><input type="hidden" name="act" value="deactivate_link"><input type="hidden" name="id" value="{{ link.id }}"><button>Deactivate</button></form>
{% endif %}</div>
</div>
{% endfor %}</section>
<section class="card"><h1>Events</h1>
{% if events.is_empty() %}<p class="soft">None yet.</p>{% endif %}
{% for event in events %}<div class="row event">
<div><div class="head"><span class="state {{ event.state }}">{{ event.label }}</span><strong class="name">{{ event.kind }}</strong></div>
<div class="soft">{{ event.time }} · <code>{{ event.id }}</code></div></div>
<form class="again" method="post" action="{{ home }}"><input type="hidden" name="act" value="send_again"><input type="hidden" name="id" value="{{ event.id }}"><button>Send again</button></form>
</div>
{% endfor %}</section>
</main>"#
)]
struct Dashboard {
    home: String,
    alert: Option<String>,
    sales: Vec<Row>,
    links: Vec<LinkRow>,
    events: Vec<Sent>,
}

struct Row {
    session: String,
    intent: Option<String>,
    link: Option<String>,
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

struct Action {
    act: &'static str,
    label: String,
    id: String,
    amount: bool,
}

struct LinkRow {
    id: String,
    state: &'static str,
    label: &'static str,
    what: String,
    amount: String,
    time: String,
    taken: Option<String>,
    request: Option<String>,
    page: String,
    active: bool,
}

struct Sent {
    id: String,
    kind: String,
    time: String,
    state: &'static str,
    label: String,
}

/// A button of the dashboard.
#[derive(Deserialize)]
pub struct Act {
    act: String,
    id: String,
    #[serde(default)]
    amount: String,
}

pub async fn dashboard(State(sandbox): State<Sandbox>) -> Shown {
    let page = sandbox.dashboard(None).await?;
    frame(StatusCode::OK, "Stripe sandbox", &page)
}

pub async fn act(
    State(sandbox): State<Sandbox>,
    Form(Act { act, id, amount }): Form<Act>,
) -> Shown {
    let done = match (act.as_str(), cents(&amount)) {
        ("expire", _) => sandbox.expire(&id).await,
        ("deactivate_link", _) => sandbox.deactivate_link(&id).await,
        ("settle_paid", _) => sandbox.settle_delayed(&id, true).await,
        ("settle_failed", _) => sandbox.settle_delayed(&id, false).await,
        ("refund", _) => sandbox.refund(&id, None).await.map(drop),
        ("refund_part", Some(amount)) => sandbox.refund(&id, Some(amount)).await.map(drop),
        ("fail_refund", _) => sandbox.fail_refund(&id).await,
        ("dispute", _) => sandbox.dispute(&id).await.map(drop),
        ("inquiry", _) => {
            let how = NewDispute {
                is_inquiry: true,
                reason: "unrecognized".to_owned(),
            };
            sandbox.dispute_as(&id, &how).await.map(drop)
        }
        ("escalate", _) => sandbox.escalate_dispute(&id).await,
        ("dispute_answered", _) => sandbox.answer_dispute(&id).await,
        ("inquiry_closed", _) => sandbox.close_dispute(&id, true).await,
        ("warn_of_fraud", _) => sandbox.warn_of_fraud(&id).await.map(drop),
        ("review", _) => sandbox.open_review(&id).await.map(drop),
        ("review_approved", _) => sandbox.approve_review(&id).await,
        ("dispute_won", _) => sandbox.close_dispute(&id, true).await,
        ("dispute_lost", _) => sandbox.close_dispute(&id, false).await,
        ("send_again", _) => sandbox.send_again(&id).await,
        _ => Err(anyhow::anyhow!("Enter an amount such as 10.00.")),
    };
    match done {
        Ok(()) => Ok(Redirect::to(&sandbox.home()).into_response()),
        Err(error) => {
            let page = sandbox.dashboard(Some(error.to_string())).await?;
            frame(StatusCode::CONFLICT, "Stripe sandbox", &page)
        }
    }
}

/// An amount typed by hand, in hundredths: `10`, `10.5`, `$10.50`.
fn cents(typed: &str) -> Option<i64> {
    let typed = typed.trim().trim_start_matches('$');
    let (whole, part) = typed.split_once('.').unwrap_or((typed, ""));
    if part.len() > 2
        || ![whole, part]
            .iter()
            .all(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return None;
    }
    whole
        .parse::<i64>()
        .ok()?
        .checked_mul(100)?
        .checked_add(format!("{part:0<2}").parse().ok()?)
}

impl Sandbox {
    fn home(&self) -> String {
        Some(self.base())
            .filter(|base| !base.is_empty())
            .unwrap_or_else(|| "/".into())
    }

    async fn dashboard(&self, alert: Option<String>) -> sqlx::Result<Dashboard> {
        type Found = (
            Value,
            Value,
            Option<Value>,
            Option<Value>,
            Value,
            Option<String>,
            bool,
        );
        let sales: Vec<Found> = sqlx::query_as(
            "select session.data,
                    session.private -> 'lines',
                    intent.data,
                    charge.data,
                    (select coalesce(jsonb_agg(refund.data order by refund.seq), '[]')
                     from stripe_sandbox.objects refund
                     where refund.object = 'refund' and refund.data @> jsonb_build_object('charge', charge.id)),
                    (select dispute.data ->> 'status'
                     from stripe_sandbox.objects dispute
                     where dispute.object = 'dispute' and dispute.data @> jsonb_build_object('charge', charge.id)
                     order by dispute.seq desc
                     limit 1),
                    exists (select from stripe_sandbox.objects review
                            where review.object = 'review'
                              and review.data @> jsonb_build_object('charge', charge.id, 'open', true))
             from stripe_sandbox.objects session
             left join stripe_sandbox.objects intent on intent.id = session.data ->> 'payment_intent'
             left join stripe_sandbox.objects charge on charge.id = intent.data ->> 'latest_charge'
             where session.object = 'checkout.session'
             order by session.seq desc
             limit 30",
        )
        .fetch_all(&self.inner.db)
        .await?;
        // A payment link itself does not say when it was made.
        let links: Vec<(Value, Value)> = sqlx::query_as(
            "select data || jsonb_build_object('created', created), private -> 'lines'
             from stripe_sandbox.objects
             where object = 'payment_link'
             order by seq desc
             limit 30",
        )
        .fetch_all(&self.inner.db)
        .await?;
        let events: Vec<(String, Value, i32, bool, Option<String>)> = sqlx::query_as(
            "select event.id, event.data, delivery.attempts, delivery.delivered is not null, delivery.answer
             from stripe_sandbox.objects event
             join stripe_sandbox.deliveries delivery on delivery.event = event.id
             where event.object = 'event'
             order by event.seq desc
             limit 40",
        )
        .fetch_all(&self.inner.db)
        .await?;
        let sales = sales.into_iter().map(
            |(session, lines, intent, charge, refunds, dispute, is_reviewed)| {
                let banks = Banks {
                    dispute: dispute.as_deref(),
                    is_reviewed,
                };
                sale(
                    &session,
                    &lines,
                    intent.as_ref(),
                    charge.as_ref(),
                    &refunds,
                    banks,
                )
            },
        );
        let links = links
            .into_iter()
            .map(|(link, lines)| link_row(&link, &lines));
        let events = events
            .into_iter()
            .map(|(id, event, attempts, delivered, answer)| {
                let answer = answer.unwrap_or_default();
                let (state, label) = match (attempts, delivered) {
                    (_, true) => ("sent", "delivered".to_owned()),
                    (0, false) => ("waiting", "waiting".to_owned()),
                    (attempts, false) => ("failed", format!("{answer} ({attempts}×)")),
                };
                Sent {
                    id,
                    kind: text(&event["type"]).unwrap_or_default(),
                    time: time(&event),
                    state,
                    label,
                }
            });
        Ok(Dashboard {
            home: self.home(),
            alert,
            sales: sales.collect(),
            links: links.collect(),
            events: events.collect(),
        })
    }
}

/// What banks and Stripe's reviewers say of a payment.
struct Banks<'a> {
    /// The state of its latest dispute.
    dispute: Option<&'a str>,
    is_reviewed: bool,
}

impl Banks<'_> {
    /// The buttons for what they may do next: each with its label.
    fn actions(&self) -> Vec<(&'static str, &'static str)> {
        let mut actions = match self.dispute {
            Some("needs_response") => vec![
                ("dispute_answered", "Answer the dispute"),
                ("dispute_won", "Dispute won"),
                ("dispute_lost", "Dispute lost"),
            ],
            Some("under_review") => vec![
                ("dispute_won", "Dispute won"),
                ("dispute_lost", "Dispute lost"),
            ],
            Some("warning_needs_response" | "warning_under_review") => vec![
                ("escalate", "Inquiry becomes a dispute"),
                ("inquiry_closed", "Inquiry closed"),
            ],
            _ => vec![("dispute", "Dispute"), ("inquiry", "Inquiry")],
        };
        actions.push(("warn_of_fraud", "Fraud warning"));
        actions.push(match self.is_reviewed {
            true => ("review_approved", "Approve the review"),
            false => ("review", "Review"),
        });
        actions
    }
}

fn sale(
    session: &Value,
    lines: &Value,
    intent: Option<&Value>,
    charge: Option<&Value>,
    refunds: &Value,
    banks: Banks<'_>,
) -> Row {
    let currency = session["currency"].as_str().unwrap_or_default();
    let id = text(&session["id"]).unwrap_or_default();
    let paid_with = text(&session["payment_intent"]);
    let refunds = refunds.as_array().map_or(&[][..], Vec::as_slice);
    let refunded = charge.map_or(0, |charge| charge["amount_refunded"].as_i64().unwrap_or(0));
    let rest = charge.map_or(0, |charge| charge["amount"].as_i64().unwrap_or(0)) - refunded;
    let (state, label) = match (
        session["status"].as_str(),
        banks.dispute,
        intent.and_then(|intent| intent["status"].as_str()),
    ) {
        (Some("open"), ..) => ("open", "open"),
        (Some("expired"), ..) => ("expired", "expired"),
        (_, Some("needs_response" | "under_review"), _) => ("disputed", "disputed"),
        (_, Some("lost"), _) => ("disputed", "dispute lost"),
        (.., Some("processing")) => ("waiting", "payment on the way"),
        (.., Some("succeeded")) if rest == 0 => ("refunded", "refunded"),
        (.., Some("succeeded")) if refunded > 0 => ("paid", "partly refunded"),
        (.., Some("succeeded")) => ("paid", "paid"),
        _ => ("failed", "payment failed"),
    };
    let mut actions = Vec::new();
    let mut action = |act, label: &str, id: &str| {
        actions.push(Action {
            act,
            label: label.to_owned(),
            id: id.to_owned(),
            amount: act == "refund_part",
        });
    };
    match (state, &paid_with) {
        ("open", _) => action("expire", "Expire", &id),
        ("waiting", _) => {
            action("settle_paid", "Payment succeeded", &id);
            action("settle_failed", "Payment failed", &id);
        }
        ("paid", Some(intent)) => {
            action(
                "refund",
                &format!("Refund {}", money::format(rest, currency)),
                intent,
            );
            action("refund_part", "Refund part", intent);
        }
        _ => {}
    }
    if let (Some(_), Some(intent)) = (charge, &paid_with) {
        for (act, label) in banks.actions() {
            action(act, label, intent);
        }
    }
    for refund in refunds
        .iter()
        .filter(|refund| refund["status"] == "succeeded")
    {
        let amount = money::format(refund["amount"].as_i64().unwrap_or(0), currency);
        action(
            "fail_refund",
            &format!("Refund of {amount} fails"),
            refund["id"].as_str().unwrap_or_default(),
        );
    }
    Row {
        page: text(&session["url"]),
        intent: paid_with,
        state,
        label,
        link: text(&session["payment_link"]),
        what: names(lines),
        amount: money::format(session["amount_total"].as_i64().unwrap_or(0), currency),
        time: time(session),
        reference: text(&session["client_reference_id"]),
        email: text(&session["customer_details"]["email"]),
        refunds: refunds
            .iter()
            .map(|refund| {
                let amount = money::format(refund["amount"].as_i64().unwrap_or(0), currency);
                format!(
                    "Refund of {amount}: {} · {}",
                    refund["status"].as_str().unwrap_or_default(),
                    time(refund)
                )
            })
            .collect(),
        actions,
        session: id,
    }
}

fn link_row(link: &Value, lines: &Value) -> LinkRow {
    let amounts = lines.as_array().into_iter().flatten();
    let amount = amounts
        .filter_map(|line| line["amount_total"].as_i64())
        .sum();
    let (state, label) = if links::is_used_up(link) {
        ("paid", "used up")
    } else if link["active"] == true {
        ("open", "open")
    } else {
        ("closed", "closed")
    };
    let completed = &link["restrictions"]["completed_sessions"];
    LinkRow {
        id: text(&link["id"]).unwrap_or_default(),
        state,
        label,
        what: names(lines),
        amount: money::format(amount, link["currency"].as_str().unwrap_or_default()),
        time: time(link),
        taken: completed["limit"]
            .as_i64()
            .map(|limit| format!("{} of {limit} payments", completed["count"])),
        request: text(&link["metadata"]["custom_request_id"]),
        page: text(&link["url"]).unwrap_or_default(),
        active: link["active"] == true,
    }
}

fn names(lines: &Value) -> String {
    let lines = lines.as_array().into_iter().flatten();
    let names: Vec<&str> = lines
        .filter_map(|line| line["description"].as_str())
        .collect();
    names.join(", ")
}

fn time(object: &Value) -> String {
    let time = chrono::DateTime::from_timestamp(object["created"].as_i64().unwrap_or(0), 0)
        .unwrap_or_default();
    time.format("%b %-d, %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::cents;

    #[test]
    fn an_amount_typed_by_hand_is_exact_or_nothing() {
        for (typed, expected) in [
            ("10", 1000),
            ("10.5", 1050),
            (" $10.05 ", 1005),
            ("0.5", 50),
        ] {
            assert_eq!(cents(typed), Some(expected), "{typed}");
        }
        for typed in [
            "",
            "x",
            "-1",
            "1.234",
            "1,5",
            "+1",
            "1.-2",
            "99999999999999999999",
        ] {
            assert_eq!(cents(typed), None, "{typed}");
        }
    }
}
