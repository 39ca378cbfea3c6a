//! The pages for people: the hosted payment page, and a dashboard to act as Stripe, the bank and the shopkeeper.
use askama::Template;
use axum::Router;
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::Value;

use super::store::now;
use super::{Address, Buyer, Payment, Sandbox, money};

pub fn router(sandbox: Sandbox) -> Router {
    Router::new()
        .route("/", get(dashboard).post(act))
        .route("/pay/{session}", get(pay_page).post(pay))
        .with_state(sandbox)
}

/// The frame of every page.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">
<title>{{ title }}</title>
<link rel="icon" href="data:,">
<style>{{ style|safe }}</style>
</head>
<body>
<div class="flag">Spirit Beads — Stripe sandbox: no real money</div>
{{ body|safe }}
</body>
</html>
"#
)]
struct Frame<'a> {
    title: &'a str,
    style: &'static str,
    body: String,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<main class="pay">
<section class="card" aria-label="What you buy">
<h1>Your order</h1>
<p class="total">{% if options.len() < 2 %}{{ total }}{% else %}{{ subtotal }} <span class="soft">plus shipping</span>{% endif %}</p>
<ul class="lines">
{% for line in lines %}<li>
<span class="picture">{% if let Some(image) = line.image %}<span style="background-image:url('{{ image }}')"></span>{% endif %}</span>
<span class="name">{{ line.name }}<br><span class="soft">{{ line.quantity }} × {{ line.each }}</span></span>
<span class="money">{{ line.amount }}</span>
</li>
{% endfor %}</ul>
<dl>
<dt>Subtotal</dt><dd>{{ subtotal }}</dd>
{% if options.len() == 1 %}<dt>{{ options[0].name }}</dt><dd>{{ options[0].amount }}</dd>
{% endif %}{% if options.len() < 2 %}<dt class="sum">Total</dt><dd class="sum">{{ total }}</dd>{% endif %}
</dl>
</section>
<form class="card" method="post" action="{{ action }}" novalidate>
<h1>Contact and shipping</h1>
{% if let Some(alert) = alert %}<p class="alert" role="alert">{{ alert }}</p>{% endif %}
{% if options.len() > 1 %}<fieldset><legend>Shipping</legend>
{% for option in options %}<label class="choice"><input type="radio" name="shipping_option" value="{{ loop.index0 }}"{% if option.chosen %} checked{% endif %}><span>{{ option.name }}<br><span class="soft">total {{ option.total }}</span></span>{{ option.amount }}</label>
{% endfor %}</fieldset>{% endif %}
<div class="fields">
{% for field in fields %}<div class="field{% if field.half %} half{% endif %}">
<label for="{{ field.name }}">{{ field.label }}</label>
<input id="{{ field.name }}" name="{{ field.name }}" type="{{ field.kind }}" value="{{ field.value }}" autocomplete="{{ field.autocomplete }}"{% if let Some(error) = field.error %} aria-invalid="true" aria-describedby="{{ field.name }}-error"{% endif %}>
{% if let Some(error) = field.error %}<p class="error" id="{{ field.name }}-error">{{ error }}</p>{% endif %}
</div>
{% endfor %}{% if !countries.is_empty() %}<div class="field half">
<label for="country">Country</label>
<select id="country" name="country" autocomplete="country"{% if country_error.is_some() %} aria-invalid="true" aria-describedby="country-error"{% endif %}>
{% for country in countries %}<option value="{{ country.code }}"{% if country.chosen %} selected{% endif %}>{{ country.name }}</option>
{% endfor %}</select>
{% if let Some(error) = country_error %}<p class="error" id="country-error">{{ error }}</p>{% endif %}
</div>{% endif %}
</div>
<div class="buttons">
<button class="main" name="how" value="card">Pay{% if options.len() < 2 %} {{ total }}{% endif %}</button>
<button name="how" value="delayed">Pay by a delayed method</button>
<button name="how" value="declined">Card is declined</button>
</div>
{% if let Some(back) = back %}<a class="back" href="{{ back }}">← Go back</a>{% endif %}
</form>
</main>"#
)]
struct PayPage {
    lines: Vec<Line>,
    options: Vec<ShippingOption>,
    subtotal: String,
    total: String,
    action: String,
    alert: Option<&'static str>,
    fields: Vec<Field>,
    countries: Vec<Country>,
    country_error: Option<&'static str>,
    back: Option<String>,
}

struct Line {
    name: String,
    image: Option<String>,
    quantity: i64,
    each: String,
    amount: String,
}

struct ShippingOption {
    name: String,
    amount: String,
    total: String,
    chosen: bool,
}

struct Field {
    name: &'static str,
    label: &'static str,
    kind: &'static str,
    autocomplete: &'static str,
    half: bool,
    value: String,
    error: Option<&'static str>,
}

struct Country {
    code: String,
    name: String,
    chosen: bool,
}

/// A page that says one thing.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<main><section class="card notice"><h1>{{ title }}</h1><p>{{ text }}</p>
{% if let Some((address, name)) = link %}<p><a href="{{ address }}">{{ name }}</a></p>{% endif %}</section></main>"#
)]
struct Notice<'a> {
    title: &'a str,
    text: &'a str,
    link: Option<(String, &'a str)>,
}

/// What the payment page's form holds; the default is the form as first shown.
#[derive(Deserialize)]
#[serde(default)]
struct Typed {
    email: String,
    name: String,
    line1: String,
    line2: String,
    city: String,
    state: String,
    postal_code: String,
    country: String,
    shipping_option: usize,
    how: String,
}

impl Default for Typed {
    fn default() -> Typed {
        let Buyer {
            email,
            name,
            address,
            shipping_option,
            ..
        } = Buyer::default();
        let Address {
            line1,
            line2,
            city,
            state,
            postal_code,
            country,
        } = address;
        let (line2, state) = (line2.unwrap_or_default(), state.unwrap_or_default());
        Typed {
            email,
            name,
            line1,
            line2,
            city,
            state,
            postal_code,
            country,
            shipping_option,
            how: String::new(),
        }
    }
}

impl Typed {
    /// What is wrong, by field.
    fn faults(&self, session: &Value) -> Vec<(&'static str, &'static str)> {
        let mut faults = Vec::new();
        let mut want = |right: bool, field, message| {
            if !right {
                faults.push((field, message));
            }
        };
        let email = self.email.trim();
        let at = email.split_once('@');
        let mailable = at.is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
            && !email.contains(char::is_whitespace);
        want(
            mailable,
            "email",
            "Enter an email address, such as jane@example.com.",
        );
        want(
            !self.name.trim().is_empty(),
            "name",
            "Enter your full name.",
        );
        if let Some(allowed) =
            session["shipping_address_collection"]["allowed_countries"].as_array()
        {
            want(
                !self.line1.trim().is_empty(),
                "line1",
                "Enter the street and number.",
            );
            want(!self.city.trim().is_empty(), "city", "Enter the city.");
            let state = !["US", "CA", "AU"].contains(&self.country.as_str())
                || !self.state.trim().is_empty();
            want(state, "state", "Enter the state or province.");
            want(
                !self.postal_code.trim().is_empty(),
                "postal_code",
                "Enter the ZIP or postal code.",
            );
            want(
                allowed.iter().any(|code| *code == self.country),
                "country",
                "Choose a country from the list.",
            );
        }
        faults
    }

    fn payment(&self) -> Payment {
        let clean = |text: &str| text.trim().replace('\0', "");
        let some = |text: &str| Some(clean(text)).filter(|text| !text.is_empty());
        let buyer = Buyer {
            email: clean(&self.email),
            name: clean(&self.name),
            phone: None,
            address: Address {
                line1: clean(&self.line1),
                line2: some(&self.line2),
                city: clean(&self.city),
                state: some(&self.state),
                postal_code: clean(&self.postal_code),
                country: clean(&self.country),
            },
            shipping_option: self.shipping_option,
        };
        match self.how.as_str() {
            "delayed" => Payment::Delayed(buyer),
            "declined" => Payment::Declined(buyer),
            _ => Payment::Card(buyer),
        }
    }
}

async fn pay_page(State(sandbox): State<Sandbox>, Path(id): Path<String>) -> Shown {
    let Some((session, lines, rates)) = sandbox.session(&id).await? else {
        return gone();
    };
    if session["status"] != "open" || overdue(&session) {
        return settled(&session);
    }
    let typed = Typed {
        email: text(&session["customer_email"]).unwrap_or_else(|| Typed::default().email),
        ..Typed::default()
    };
    show(
        &sandbox,
        StatusCode::OK,
        &session,
        &lines,
        &rates,
        &typed,
        &[],
        None,
    )
}

async fn pay(
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
    Form(typed): Form<Typed>,
) -> Shown {
    let Some((session, lines, rates)) = sandbox.session(&id).await? else {
        return gone();
    };
    let faults = typed.faults(&session);
    if session["status"] == "open" && !overdue(&session) && !faults.is_empty() {
        return show(
            &sandbox,
            StatusCode::UNPROCESSABLE_ENTITY,
            &session,
            &lines,
            &rates,
            &typed,
            &faults,
            Some("Please check the marked fields."),
        );
    }
    let outcome = sandbox.pay(&id, typed.payment()).await;
    let Some((session, ..)) = sandbox.session(&id).await? else {
        return gone();
    };
    match (session["status"].as_str(), outcome) {
        // A second click finds it complete, and follows the first.
        (Some("complete"), _) => Ok(Redirect::to(&success(&session)).into_response()),
        (Some("open"), Ok(())) => {
            let alert = Some("Your card was declined. Try another way to pay.");
            show(
                &sandbox,
                StatusCode::PAYMENT_REQUIRED,
                &session,
                &lines,
                &rates,
                &typed,
                &[],
                alert,
            )
        }
        (Some("open"), Err(_)) => {
            let alert = Some("This payment cannot be made as asked. Please try again.");
            show(
                &sandbox,
                StatusCode::UNPROCESSABLE_ENTITY,
                &session,
                &lines,
                &rates,
                &typed,
                &[],
                alert,
            )
        }
        _ => settled(&session),
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "a page of many parts, called from one place"
)]
fn show(
    sandbox: &Sandbox,
    status: StatusCode,
    session: &Value,
    lines: &[Value],
    rates: &[Value],
    typed: &Typed,
    faults: &[(&'static str, &'static str)],
    alert: Option<&'static str>,
) -> Shown {
    let currency = session["currency"].as_str().unwrap_or_default();
    let amount = |value: &Value| money(value.as_i64().unwrap_or(0), currency);
    let subtotal = session["amount_subtotal"].as_i64().unwrap_or(0);
    let fault = |name: &str| {
        faults
            .iter()
            .find(|(field, _)| *field == name)
            .map(|(_, message)| *message)
    };
    let mut fields = Vec::new();
    let mut field = |name, label, kind, autocomplete, half, value: &str| {
        fields.push(Field {
            name,
            label,
            kind,
            autocomplete,
            half,
            value: value.to_owned(),
            error: fault(name),
        });
    };
    let countries = session["shipping_address_collection"]["allowed_countries"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    field("email", "Email", "email", "email", false, &typed.email);
    field("name", "Full name", "text", "name", false, &typed.name);
    if !countries.is_empty() {
        field(
            "line1",
            "Address line 1",
            "text",
            "address-line1",
            false,
            &typed.line1,
        );
        field(
            "line2",
            "Address line 2 (optional)",
            "text",
            "address-line2",
            false,
            &typed.line2,
        );
        field("city", "City", "text", "address-level2", true, &typed.city);
        field(
            "state",
            "State",
            "text",
            "address-level1",
            true,
            &typed.state,
        );
        field(
            "postal_code",
            "ZIP",
            "text",
            "postal-code",
            true,
            &typed.postal_code,
        );
    }
    let options: Vec<ShippingOption> = rates
        .iter()
        .enumerate()
        .map(|(index, rate)| {
            let cost = &rate["fixed_amount"]["amount"];
            let total = money(subtotal + cost.as_i64().unwrap_or(0), currency);
            let name = text(&rate["display_name"]).unwrap_or_default();
            ShippingOption {
                name,
                amount: amount(cost),
                total,
                chosen: index == typed.shipping_option,
            }
        })
        .collect();
    let page = PayPage {
        lines: lines
            .iter()
            .map(|line| Line {
                name: text(&line["name"]).unwrap_or_default(),
                image: text(&line["image"]).and_then(|address| picture(&address)),
                quantity: line["quantity"].as_i64().unwrap_or(1),
                each: amount(&line["each"]),
                amount: amount(&line["amount"]),
            })
            .collect(),
        options,
        subtotal: money(subtotal, currency),
        total: amount(&session["amount_total"]),
        action: format!(
            "{}/pay/{}",
            sandbox.base(),
            session["id"].as_str().unwrap_or_default()
        ),
        alert,
        fields,
        countries: countries
            .iter()
            .filter_map(Value::as_str)
            .map(|code| Country {
                code: code.to_owned(),
                name: country_name(code),
                chosen: code == typed.country,
            })
            .collect(),
        country_error: fault("country"),
        back: text(&session["cancel_url"]),
    };
    frame(status, "Pay — Spirit Beads sandbox", &page)
}

/// The page of a session that can no longer be paid.
fn settled(session: &Value) -> Shown {
    if session["status"] == "complete" {
        let text = "This order is paid for. Nothing is charged twice.";
        let text = if session["payment_status"] == "paid" {
            text
        } else {
            "This order is placed; its payment is on the way."
        };
        let notice = Notice {
            title: "All done",
            text,
            link: Some((success(session), "Back to the shop")),
        };
        return frame(StatusCode::OK, notice.title, &notice);
    }
    let link = text(&session["cancel_url"]).map(|address| (address, "Back to the shop"));
    let notice = Notice {
        title: "This payment page has expired",
        text: "Nothing was charged. You can start again from the shop.",
        link,
    };
    frame(StatusCode::GONE, notice.title, &notice)
}

fn gone() -> Shown {
    let notice = Notice {
        title: "There is no such page",
        text: "The sandbox does not know this Checkout Session.",
        link: None,
    };
    frame(StatusCode::NOT_FOUND, notice.title, &notice)
}

fn overdue(session: &Value) -> bool {
    session["expires_at"]
        .as_i64()
        .is_some_and(|time| time <= now())
}

/// Where the shopper goes after paying.
fn success(session: &Value) -> String {
    let id = session["id"].as_str().unwrap_or_default();
    let address = session["success_url"]
        .as_str()
        .unwrap_or_default()
        .replace("{CHECKOUT_SESSION_ID}", id);
    reqwest::Url::parse(&address).map_or(address, String::from)
}

/// A picture's address as it may stand in CSS between single quotes: there, unlike an `img`, a broken one shows nothing.
fn picture(address: &str) -> Option<String> {
    let url = reqwest::Url::parse(address).ok()?;
    Some(url.as_str().replace('\'', "%27").replace('\\', "%5C"))
}

fn country_name(code: &str) -> String {
    const NAMES: [(&str, &str); 20] = [
        ("US", "United States"),
        ("CA", "Canada"),
        ("GB", "United Kingdom"),
        ("IE", "Ireland"),
        ("AU", "Australia"),
        ("NZ", "New Zealand"),
        ("DE", "Germany"),
        ("FR", "France"),
        ("ES", "Spain"),
        ("IT", "Italy"),
        ("NL", "Netherlands"),
        ("BE", "Belgium"),
        ("AT", "Austria"),
        ("CH", "Switzerland"),
        ("SE", "Sweden"),
        ("NO", "Norway"),
        ("DK", "Denmark"),
        ("FI", "Finland"),
        ("MX", "Mexico"),
        ("JP", "Japan"),
    ];
    NAMES
        .iter()
        .find(|(known, _)| *known == code)
        .map_or(code, |(_, name)| name)
        .to_owned()
}

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
<code>{{ sale.session }}{% if let Some(intent) = sale.intent %} {{ intent }}{% endif %}</code>
{% for refund in sale.refunds %}<div class="soft">{{ refund }}</div>{% endfor %}
<div class="actions">
{% if let Some(page) = sale.page %}<a href="{{ page }}">Payment page</a>{% endif %}
{% for action in sale.actions %}<form method="post" action="{{ base }}"><input type="hidden" name="act" value="{{ action.act }}"><input type="hidden" name="id" value="{{ action.id }}">{% if action.amount %}<input name="amount" inputmode="decimal" placeholder="10.00" aria-label="Amount to refund">{% endif %}<button>{{ action.label }}</button></form>
{% endfor %}</div>
</div>
{% endfor %}</section>
<section class="card"><h1>Events</h1>
{% if events.is_empty() %}<p class="soft">None yet.</p>{% endif %}
{% for event in events %}<div class="row event">
<div><div class="head"><span class="state {{ event.state }}">{{ event.label }}</span><strong class="name">{{ event.kind }}</strong></div>
<div class="soft">{{ event.time }} · <code>{{ event.id }}</code></div></div>
<form class="again" method="post" action="{{ base }}"><input type="hidden" name="act" value="send_again"><input type="hidden" name="id" value="{{ event.id }}"><button>Send again</button></form>
</div>
{% endfor %}</section>
</main>"#
)]
struct Dashboard {
    base: String,
    alert: Option<String>,
    sales: Vec<Sale>,
    events: Vec<Sent>,
}

struct Sale {
    session: String,
    intent: Option<String>,
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

struct Sent {
    id: String,
    kind: String,
    time: String,
    state: &'static str,
    label: String,
}

/// A button of the dashboard.
#[derive(Deserialize)]
struct Act {
    act: String,
    id: String,
    #[serde(default)]
    amount: String,
}

async fn dashboard(State(sandbox): State<Sandbox>) -> Shown {
    let page = sandbox.dashboard(None).await?;
    frame(StatusCode::OK, "Stripe sandbox", &page)
}

async fn act(State(sandbox): State<Sandbox>, Form(Act { act, id, amount }): Form<Act>) -> Shown {
    let done = match (act.as_str(), cents(&amount)) {
        ("expire", _) => sandbox.expire(&id).await,
        ("settle_paid", _) => sandbox.settle_delayed(&id, true).await,
        ("settle_failed", _) => sandbox.settle_delayed(&id, false).await,
        ("refund", _) => sandbox.refund(&id, None).await.map(drop),
        ("refund_part", Some(amount)) => sandbox.refund(&id, Some(amount)).await.map(drop),
        ("fail_refund", _) => sandbox.fail_refund(&id).await,
        ("dispute", _) => sandbox.dispute(&id).await.map(drop),
        ("dispute_won", _) => sandbox.close_dispute(&id, true).await,
        ("dispute_lost", _) => sandbox.close_dispute(&id, false).await,
        ("send_again", _) => sandbox.send_again(&id).await,
        _ => Err(anyhow::anyhow!("Enter an amount such as 10.00.")),
    };
    match done {
        Ok(()) => Ok(Redirect::to(&sandbox.base()).into_response()),
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
    /// A session, its lines as the page shows them, and its shipping rates.
    async fn session(&self, id: &str) -> sqlx::Result<Option<(Value, Vec<Value>, Vec<Value>)>> {
        let found: Option<(Value, Value, Value)> = sqlx::query_as(
            "select session.data,
                    (select jsonb_agg(jsonb_build_object(
                                'name', line -> 'description',
                                'quantity', line -> 'quantity',
                                'each', line -> 'price' -> 'unit_amount',
                                'amount', line -> 'amount_total',
                                'image', product.data -> 'images' -> 0) order by place)
                     from jsonb_array_elements(session.private -> 'lines') with ordinality as lines (line, place)
                     left join stripe_sandbox.objects product on product.id = line -> 'price' ->> 'product'),
                    (select coalesce(jsonb_agg(rate.data order by place), '[]')
                     from jsonb_array_elements(session.data -> 'shipping_options') with ordinality as options (option, place)
                     join stripe_sandbox.objects rate on rate.id = option ->> 'shipping_rate')
             from stripe_sandbox.objects session
             where session.id = $1 and session.object = 'checkout.session'",
        )
        .bind(id.replace('\0', ""))
        .fetch_optional(&self.inner.db)
        .await?;
        let list = |value: Value| {
            if let Value::Array(list) = value {
                list
            } else {
                Vec::new()
            }
        };
        Ok(found.map(|(session, lines, rates)| (session, list(lines), list(rates))))
    }

    /// The path of the pages, without the host, so that they work by any of its names.
    fn base(&self) -> String {
        let path = reqwest::Url::parse(&self.inner.settings.pages_url)
            .map(|url| url.path().to_owned())
            .unwrap_or_default();
        if path.is_empty() {
            "/".into()
        } else {
            path.trim_end_matches('/').to_owned()
        }
    }

    async fn dashboard(&self, alert: Option<String>) -> sqlx::Result<Dashboard> {
        type Row = (
            Value,
            Value,
            Option<Value>,
            Option<Value>,
            Value,
            Option<String>,
        );
        let sales: Vec<Row> = sqlx::query_as(
            "select session.data,
                    session.private -> 'lines',
                    intent.data,
                    charge.data,
                    (select coalesce(jsonb_agg(refund.data order by refund.seq), '[]')
                     from stripe_sandbox.objects refund
                     where refund.object = 'refund' and refund.data @> jsonb_build_object('charge', charge.id)),
                    (select dispute.data ->> 'status'
                     from stripe_sandbox.objects dispute
                     where dispute.object = 'dispute' and dispute.data @> jsonb_build_object('charge', charge.id))
             from stripe_sandbox.objects session
             left join stripe_sandbox.objects intent on intent.id = session.data ->> 'payment_intent'
             left join stripe_sandbox.objects charge on charge.id = intent.data ->> 'latest_charge'
             where session.object = 'checkout.session'
             order by session.seq desc
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
        let sales = sales
            .into_iter()
            .map(|(session, lines, intent, charge, refunds, dispute)| {
                sale(
                    &session,
                    &lines,
                    intent.as_ref(),
                    charge.as_ref(),
                    &refunds,
                    dispute.as_deref(),
                )
            });
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
            base: self.base(),
            alert,
            sales: sales.collect(),
            events: events.collect(),
        })
    }
}

fn sale(
    session: &Value,
    lines: &Value,
    intent: Option<&Value>,
    charge: Option<&Value>,
    refunds: &Value,
    dispute: Option<&str>,
) -> Sale {
    let currency = session["currency"].as_str().unwrap_or_default();
    let id = text(&session["id"]).unwrap_or_default();
    let paid_with = text(&session["payment_intent"]);
    let refunds = refunds.as_array().map_or(&[][..], Vec::as_slice);
    let refunded = charge.map_or(0, |charge| charge["amount_refunded"].as_i64().unwrap_or(0));
    let rest = charge.map_or(0, |charge| charge["amount"].as_i64().unwrap_or(0)) - refunded;
    let (state, label) = match (
        session["status"].as_str(),
        dispute,
        intent.and_then(|intent| intent["status"].as_str()),
    ) {
        (Some("open"), ..) => ("open", "open"),
        (Some("expired"), ..) => ("expired", "expired"),
        (_, Some("needs_response"), _) => ("disputed", "disputed"),
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
                &format!("Refund {}", money(rest, currency)),
                intent,
            );
            action("refund_part", "Refund part", intent);
        }
        _ => {}
    }
    match (dispute, charge, &paid_with) {
        (None, Some(_), Some(intent)) => action("dispute", "Dispute", intent),
        (Some("needs_response"), _, Some(intent)) => {
            action("dispute_won", "Dispute won", intent);
            action("dispute_lost", "Dispute lost", intent);
        }
        _ => {}
    }
    for refund in refunds
        .iter()
        .filter(|refund| refund["status"] == "succeeded")
    {
        let amount = money(refund["amount"].as_i64().unwrap_or(0), currency);
        action(
            "fail_refund",
            &format!("Refund of {amount} fails"),
            refund["id"].as_str().unwrap_or_default(),
        );
    }
    let names = lines
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|line| line["description"].as_str());
    Sale {
        page: text(&session["url"]),
        intent: paid_with,
        state,
        label,
        what: names.collect::<Vec<_>>().join(", "),
        amount: money(session["amount_total"].as_i64().unwrap_or(0), currency),
        time: time(session),
        reference: text(&session["client_reference_id"]),
        email: text(&session["customer_details"]["email"]),
        refunds: refunds
            .iter()
            .map(|refund| {
                let amount = money(refund["amount"].as_i64().unwrap_or(0), currency);
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

fn text(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn time(object: &Value) -> String {
    let time = chrono::DateTime::from_timestamp(object["created"].as_i64().unwrap_or(0), 0)
        .unwrap_or_default();
    time.format("%b %-d, %H:%M:%S UTC").to_string()
}

type Shown = Result<Response, Broken>;

fn frame(status: StatusCode, title: &str, page: &impl Template) -> Shown {
    let page = Frame {
        title,
        style: include_str!("style.css"),
        body: page.render()?,
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// A page that could not be made; the log says why.
struct Broken;

impl<E: std::error::Error> From<E> for Broken {
    fn from(error: E) -> Broken {
        tracing::error!(%error, "a page of the Stripe sandbox could not be made");
        Broken
    }
}

impl IntoResponse for Broken {
    fn into_response(self) -> Response {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            "The sandbox could not make this page; its log says why.",
        )
            .into_response()
    }
}
