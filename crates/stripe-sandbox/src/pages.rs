//! The pages for people: their frame, the hosted payment page, and a payment link's, which leads to one.
use askama::Template;
use axum::Router;
use axum::extract::{Form, Path, State};
use axum::http::{Method, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::Value;

use super::store::now;
use super::{Address, Buyer, Payment, Sandbox, dashboard, links, money};

pub fn router(sandbox: Sandbox) -> Router {
    Router::new()
        .route("/", get(dashboard::dashboard).post(dashboard::act))
        .route("/pay/{session}", get(pay_page).post(pay))
        .route("/link/{link}", get(follow_link))
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
<span class="name">{{ line.name }}<br>{% if let Some(description) = line.description %}<span class="soft">{{ description }}</span><br>{% endif %}<span class="soft">{{ line.quantity }} × {{ line.each }}</span></span>
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
{% endfor %}{% if !countries.is_empty() %}<div class="field half country">
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
    description: Option<String>,
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

/// A look at a payment link's page opens a session, as at Stripe, where its payment page has the link's own address.
async fn follow_link(
    State(sandbox): State<Sandbox>,
    method: Method,
    Path(id): Path<String>,
) -> Shown {
    // Whoever looks at the head alone does not want to pay.
    if method == Method::HEAD {
        return Ok(StatusCode::OK.into_response());
    }
    let opened = sandbox.change(async |work| links::open(work, &id).await);
    match opened.await {
        Ok(session) => Ok(Redirect::to(&sandbox.pay_path(&session)).into_response()),
        Err(problem) if problem.status == 404 => gone(),
        Err(problem) if problem.status == 400 => {
            let notice = Notice {
                title: "This payment link is closed",
                text: &problem.message,
                link: None,
            };
            frame(StatusCode::GONE, notice.title, &notice)
        }
        Err(problem) => Err(problem.into()),
    }
}

async fn pay_page(State(sandbox): State<Sandbox>, Path(id): Path<String>) -> Shown {
    let Some(sale) = sandbox.sale(&id).await? else {
        return gone();
    };
    if !sale.payable() {
        return settled(&sale);
    }
    let mut typed = Typed::default();
    typed.email = text(&sale.session["customer_email"]).unwrap_or(typed.email);
    show(StatusCode::OK, &sandbox, &sale, &typed, None)
}

async fn pay(
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
    Form(typed): Form<Typed>,
) -> Shown {
    let Some(sale) = sandbox.sale(&id).await? else {
        return gone();
    };
    if sale.payable() && !typed.faults(&sale.session).is_empty() {
        let alert = "Please check the marked fields.";
        return show(
            StatusCode::UNPROCESSABLE_ENTITY,
            &sandbox,
            &sale,
            &typed,
            Some(alert),
        );
    }
    let outcome = sandbox.pay(&id, typed.payment()).await;
    let Some(sale) = sandbox.sale(&id).await? else {
        return gone();
    };
    let (status, alert) = match (sale.session["status"].as_str(), outcome) {
        // A second click finds it complete, and follows the first.
        (Some("complete"), _) => {
            let next = success(&sale.session).unwrap_or_else(|| sandbox.pay_path(&sale.session));
            return Ok(Redirect::to(&next).into_response());
        }
        _ if !sale.payable() => return settled(&sale),
        (_, Ok(())) => (
            StatusCode::PAYMENT_REQUIRED,
            "Your card was declined. Try another way to pay.",
        ),
        (_, Err(_)) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "This payment cannot be made as asked.",
        ),
    };
    show(status, &sandbox, &sale, &typed, Some(alert))
}

/// The form to pay with, with all that was typed; a page that alerts also marks what is wrong.
fn show(
    status: StatusCode,
    sandbox: &Sandbox,
    sale: &Sale,
    typed: &Typed,
    alert: Option<&'static str>,
) -> Shown {
    let Sale {
        session,
        lines,
        rates,
        ..
    } = sale;
    let faults = if alert.is_some() {
        typed.faults(session)
    } else {
        Vec::new()
    };
    let currency = session["currency"].as_str().unwrap_or_default();
    let amount = |value: &Value| money::format(value.as_i64().unwrap_or(0), currency);
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
            let total = money::format(subtotal + cost.as_i64().unwrap_or(0), currency);
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
                description: text(&line["description"]),
                image: text(&line["image"]).and_then(|address| picture(&address)),
                quantity: line["quantity"].as_i64().unwrap_or(1),
                each: amount(&line["each"]),
                amount: amount(&line["amount"]),
            })
            .collect(),
        options,
        subtotal: money::format(subtotal, currency),
        total: amount(&session["amount_total"]),
        action: sandbox.pay_path(session),
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
fn settled(sale: &Sale) -> Shown {
    let session = &sale.session;
    if session["status"] == "complete" {
        let text = if session["payment_status"] == "paid" {
            "This order is paid for. Nothing is charged twice."
        } else {
            "This order is placed; its payment is on the way."
        };
        let notice = Notice {
            title: "All done",
            text,
            link: success(session).map(|address| (address, "Back to the shop")),
        };
        return frame(StatusCode::OK, notice.title, &notice);
    }
    if sale.is_beaten() {
        let notice = Notice {
            title: "This is paid for already",
            text: "Another payment was made by the same link, which takes no more. Nothing was charged here.",
            link: None,
        };
        return frame(StatusCode::GONE, notice.title, &notice);
    }
    let link = match &sale.link {
        Some(link) => text(&link["url"]).map(|address| (address, "Open the link again")),
        None => text(&session["cancel_url"]).map(|address| (address, "Back to the shop")),
    };
    let notice = Notice {
        title: "This payment page has expired",
        text: "Nothing was charged. You can start again.",
        link,
    };
    frame(StatusCode::GONE, notice.title, &notice)
}

fn gone() -> Shown {
    let notice = Notice {
        title: "There is no such page",
        text: "The sandbox knows no such Checkout Session or payment link.",
        link: None,
    };
    frame(StatusCode::NOT_FOUND, notice.title, &notice)
}

/// Where the shopper goes after paying, if the shop said where.
fn success(session: &Value) -> Option<String> {
    let id = session["id"].as_str().unwrap_or_default();
    let address = text(&session["success_url"])?.replace("{CHECKOUT_SESSION_ID}", id);
    Some(url::Url::parse(&address).map_or(address, String::from))
}

/// A picture's address as it may stand in CSS between single quotes: there, unlike an `img`, a broken one shows nothing.
fn picture(address: &str) -> Option<String> {
    let url = url::Url::parse(address).ok()?;
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

/// A session, its lines as the page shows them, its shipping rates, and the payment link that it was opened by.
#[derive(sqlx::FromRow)]
struct Sale {
    session: Value,
    lines: Vec<Value>,
    rates: Vec<Value>,
    link: Option<Value>,
}

impl Sale {
    fn payable(&self) -> bool {
        self.session["status"] == "open"
            && self.session["expires_at"]
                .as_i64()
                .is_none_or(|time| time > now())
            && !self.is_beaten()
    }

    /// Whether others have paid as often as the link allows.
    fn is_beaten(&self) -> bool {
        self.session["status"] == "open" && self.link.as_ref().is_some_and(links::is_used_up)
    }
}

impl Sandbox {
    async fn sale(&self, id: &str) -> sqlx::Result<Option<Sale>> {
        let found = sqlx::query_as(
            "select session.data as session,
                    array(select jsonb_build_object(
                                     'name', line -> 'description',
                                     'description', product.data -> 'description',
                                     'quantity', line -> 'quantity',
                                     'each', line -> 'price' -> 'unit_amount',
                                     'amount', line -> 'amount_total',
                                     'image', product.data -> 'images' -> 0)
                          from jsonb_array_elements(session.private -> 'lines') with ordinality as lines (line, place)
                          left join stripe_sandbox.objects product on product.id = line -> 'price' ->> 'product'
                          order by place) as lines,
                    array(select rate.data
                          from jsonb_array_elements(session.data -> 'shipping_options') with ordinality as options (option, place)
                          join stripe_sandbox.objects rate on rate.id = option ->> 'shipping_rate'
                          order by place) as rates,
                    link.data as link
             from stripe_sandbox.objects session
             left join stripe_sandbox.objects link on link.id = session.data ->> 'payment_link'
             where session.id = $1 and session.object = 'checkout.session'",
        );
        found
            .bind(id.replace('\0', ""))
            .fetch_optional(&self.inner.db)
            .await
    }

    fn pay_path(&self, session: &Value) -> String {
        let id = session["id"].as_str().unwrap_or_default();
        format!("{}/pay/{id}", self.base())
    }

    /// The path of the pages, without the host, so that they work by any of its names.
    pub(super) fn base(&self) -> String {
        let url = url::Url::parse(&self.inner.settings.pages_url);
        url.map(|url| url.path().trim_end_matches('/').to_owned())
            .unwrap_or_default()
    }
}

pub fn text(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

pub type Shown = Result<Response, Broken>;

pub fn frame(status: StatusCode, title: &str, page: &impl Template) -> Shown {
    let page = Frame {
        title,
        style: include_str!("style.css"),
        body: page.render()?,
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// A page that could not be made; the log says why.
pub struct Broken;

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
