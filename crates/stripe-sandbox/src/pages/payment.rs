//! The hosted payment page, and the page of a payment link, which opens a session and leads there.

use askama::Template;
use axum::extract::{Form, Path, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect};
use serde_json::Value;

use super::payment_form::{Field, FieldErrors, PaymentForm};
use super::{Notice, PageResult, countries, text};
use crate::objects::payment_links;
use crate::store::now;
use crate::{Sandbox, money};

#[derive(Template)]
#[template(path = "payment.html")]
struct PaymentPage {
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
    /// The session's total with this option.
    total: String,
    chosen: bool,
}

struct Country {
    code: &'static str,
    name: &'static str,
    chosen: bool,
}

/// Opens a session for a visitor of a payment link, as Stripe does: its page keeps the link's address until it is paid.
pub async fn follow_link(
    State(sandbox): State<Sandbox>,
    method: Method,
    Path(id): Path<String>,
) -> PageResult {
    // Link checkers and mail scanners ask for the head alone. They are not about to pay, and open no session.
    if method == Method::HEAD {
        return Ok(StatusCode::OK.into_response());
    }
    let opened = sandbox.change(async |tx| payment_links::open(tx, &id).await);
    match opened.await {
        Ok(session) => Ok(Redirect::to(&sandbox.payment_path(&session)).into_response()),
        Err(error) if error.status == 404 => missing(&sandbox),
        Err(error) if error.status == 400 => sandbox.notice(
            StatusCode::GONE,
            &Notice {
                title: "This payment link is closed",
                text: &error.message,
                link: None,
            },
        ),
        Err(error) => Err(error.into()),
    }
}

/// Shows a session's payment page.
pub async fn show(State(sandbox): State<Sandbox>, Path(id): Path<String>) -> PageResult {
    let Some(view) = sandbox.session_view(&id).await? else {
        return missing(&sandbox);
    };
    if !view.is_payable() {
        return show_ended(&sandbox, &view);
    }
    let mut form = PaymentForm::default();
    form.email = text(&view.session["customer_email"]).unwrap_or(form.email);
    let page = view.page(&sandbox, &form, None);
    sandbox.payment_page(StatusCode::OK, &page)
}

/// Pays a session, and sends the customer back to the merchant.
pub async fn pay(
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
    Form(form): Form<PaymentForm>,
) -> PageResult {
    let Some(view) = sandbox.session_view(&id).await? else {
        return missing(&sandbox);
    };
    if view.is_payable() && !form.errors(&view.session).is_empty() {
        let page = view.page(&sandbox, &form, Some("Please check the marked fields."));
        return sandbox.payment_page(StatusCode::UNPROCESSABLE_ENTITY, &page);
    }
    let outcome = sandbox.pay(&id, form.payment()).await;
    let Some(view) = sandbox.session_view(&id).await? else {
        return missing(&sandbox);
    };
    // A second click is refused because the first has completed the session. It follows the first all the same.
    if view.session["status"] == "complete" {
        let next = return_url(&view.session).unwrap_or_else(|| sandbox.payment_path(&view.session));
        return Ok(Redirect::to(&next).into_response());
    }
    if !view.is_payable() {
        return show_ended(&sandbox, &view);
    }
    let (status, alert) = match outcome {
        Ok(()) => (
            StatusCode::PAYMENT_REQUIRED,
            "Your card was declined, and nothing was charged. Try another way to pay.",
        ),
        Err(_) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "This payment cannot be made as asked.",
        ),
    };
    let page = view.page(&sandbox, &form, Some(alert));
    sandbox.payment_page(status, &page)
}

/// Shows why a session cannot be paid any more.
fn show_ended(sandbox: &Sandbox, view: &SessionView) -> PageResult {
    let session = &view.session;
    let (status, notice) = if session["status"] == "complete" {
        let text = match session["payment_status"] == "paid" {
            true => "This order is paid for. Nothing is charged twice.",
            false => "This order is placed; its payment is on the way.",
        };
        let link = return_url(session).map(|address| (address, "Back to the shop"));
        let title = "All done";
        (StatusCode::OK, Notice { title, text, link })
    } else if view.lost_link() {
        let notice = Notice {
            title: "This is paid for already",
            text: "Another payment was made by the same link, which takes no more. Nothing was charged here.",
            link: None,
        };
        (StatusCode::GONE, notice)
    } else {
        let link = match &view.link {
            Some(link) => text(&link["url"]).map(|address| (address, "Open the link again")),
            None => text(&session["cancel_url"]).map(|address| (address, "Back to the shop")),
        };
        let notice = Notice {
            title: "This payment page has expired",
            text: "Nothing was charged. You can start again.",
            link,
        };
        (StatusCode::GONE, notice)
    };
    sandbox.notice(status, &notice)
}

/// The page of an unknown session or link.
fn missing(sandbox: &Sandbox) -> PageResult {
    sandbox.notice(
        StatusCode::NOT_FOUND,
        &Notice {
            title: "There is no such page",
            text: "The sandbox knows no such Checkout Session or payment link.",
            link: None,
        },
    )
}

/// The address to which the customer returns after paying, if the merchant named one.
fn return_url(session: &Value) -> Option<String> {
    let id = session["id"].as_str().unwrap_or_default();
    let address = text(&session["success_url"])?.replace("{CHECKOUT_SESSION_ID}", id);
    Some(url::Url::parse(&address).map_or(address, String::from))
}

/// A session and the other objects that its page shows.
#[derive(sqlx::FromRow)]
struct SessionView {
    session: Value,
    /// Line items with the fields of [`Line`], amounts as numbers.
    lines: Vec<Value>,
    rates: Vec<Value>,
    /// The payment link that the session was opened by.
    link: Option<Value>,
}

impl SessionView {
    fn is_payable(&self) -> bool {
        let expires_at = self.session["expires_at"].as_i64();
        self.session["status"] == "open"
            && expires_at.is_none_or(|time| time > now())
            && !self.lost_link()
    }

    /// Returns true if other customers have taken all payments of the link.
    fn lost_link(&self) -> bool {
        self.session["status"] == "open"
            && self.link.as_ref().is_some_and(payment_links::is_used_up)
    }

    /// The page with a form. An alert goes with the errors of its fields.
    fn page(
        &self,
        sandbox: &Sandbox,
        form: &PaymentForm,
        alert: Option<&'static str>,
    ) -> PaymentPage {
        let session = &self.session;
        let errors = match alert {
            Some(_) => form.errors(session),
            None => FieldErrors::default(),
        };
        let countries = session["shipping_address_collection"]["allowed_countries"].as_array();
        let codes: Vec<&str> = countries
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let countries = countries::named(&codes).into_iter();
        PaymentPage {
            lines: self.lines.iter().map(|line| self.line(line)).collect(),
            options: self.options(form.shipping_option),
            subtotal: self.amount(&session["amount_subtotal"]),
            total: self.amount(&session["amount_total"]),
            action: sandbox.payment_path(session),
            alert,
            fields: form.fields(!codes.is_empty(), &errors),
            countries: countries
                .map(|(code, name)| Country {
                    code,
                    name,
                    chosen: code == form.country,
                })
                .collect(),
            country_error: errors.get("country"),
            back: text(&session["cancel_url"]),
        }
    }

    fn line(&self, line: &Value) -> Line {
        Line {
            name: text(&line["name"]).unwrap_or_default(),
            description: text(&line["description"]),
            image: text(&line["image"]).and_then(|address| css_url(&address)),
            quantity: line["quantity"].as_i64().unwrap_or(1),
            each: self.amount(&line["each"]),
            amount: self.amount(&line["amount"]),
        }
    }

    /// The shipping options, each with the total it leads to.
    fn options(&self, chosen: usize) -> Vec<ShippingOption> {
        let subtotal = self.session["amount_subtotal"].as_i64().unwrap_or(0);
        let options = self.rates.iter().enumerate().map(|(index, rate)| {
            let cost = rate["fixed_amount"]["amount"].as_i64().unwrap_or(0);
            ShippingOption {
                name: text(&rate["display_name"]).unwrap_or_default(),
                amount: money::format(cost, self.currency()),
                total: money::format(subtotal + cost, self.currency()),
                chosen: index == chosen,
            }
        });
        options.collect()
    }

    fn currency(&self) -> &str {
        self.session["currency"].as_str().unwrap_or_default()
    }

    fn amount(&self, value: &Value) -> String {
        money::format(value.as_i64().unwrap_or(0), self.currency())
    }
}

impl Sandbox {
    fn payment_page(&self, status: StatusCode, page: &PaymentPage) -> PageResult {
        let title = format!("Pay — {} sandbox", self.inner.settings.business_name);
        self.page(status, &title, page)
    }

    /// The path of a session's page.
    fn payment_path(&self, session: &Value) -> String {
        let id = session["id"].as_str().unwrap_or_default();
        format!("{}/pay/{id}", self.base_path())
    }

    /// Loads a session and the other objects of its page in one query, so that they fit together.
    async fn session_view(&self, id: &str) -> sqlx::Result<Option<SessionView>> {
        sqlx::query_as(
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
        )
        .bind(id.replace('\0', ""))
        .fetch_optional(&self.inner.db)
        .await
    }
}

/// An image's address for CSS, between single quotes. A background, unlike an `img`, shows nothing where it is broken.
fn css_url(address: &str) -> Option<String> {
    let url = url::Url::parse(address).ok()?;
    Some(url.as_str().replace('\'', "%27").replace('\\', "%5C"))
}
