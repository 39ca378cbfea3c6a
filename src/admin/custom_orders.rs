//! A custom order: its page, the quote, and the shipment.

use askama::Template;
use axum::extract::{Request, State};
use axum::response::Response;

use super::context::AdminContext;
use super::customer_form::customer_form;
use super::form::{Form, by_field};
use super::image_form::ImageForm;
use super::refunds::{self, REFUND_PLANNED, RefundForm, read_refund};
use super::sent_emails;
use super::shipment_form::{self, IMAGES, shipment, to_confirm};
use super::sign_in::judged;
use crate::app::App;
use crate::custom_orders::{
    self, CustomOrder, CustomOrderTimelineEntry, CustomOrderView, Moves, NewQuote, Quote,
    QuoteState, Status, Terms,
};
use crate::emails::{self, About, EmailRow};
use crate::error::{Error, FieldError, Result};
use crate::http::Path;
use crate::orders::{self, Zone};
use crate::payments::{self, PaymentView, RefundSubject, RefundView};
use crate::settings::{self, Settings};
use crate::types::money::Cents;

/// Path of the list.
pub(super) const ROOT: &str = "/admin/custom-orders";

/// Zones of a quote, with their names for people.
const ZONES: [(Zone, &str, &str); 3] = [
    (Zone::Us, "us", "United States"),
    (Zone::NorthAmerica, "north_america", "Canada and Mexico"),
    (Zone::International, "international", "Elsewhere"),
];

#[derive(Template)]
#[template(path = "custom_order.html", config = "src/admin/askama.toml")]
struct CustomOrderPage<'a> {
    context: &'a AdminContext,
    settings: Settings,
    view: CustomOrderView,
    moves: Moves,
    /// Reasons not to ship now.
    warnings: Vec<String>,
    /// Carrier of the shop's last shipment.
    last_carrier: Option<String>,
    /// The shipment can be undone.
    may_unship: bool,
    /// Name of the form that was refused; the other forms are empty.
    which: &'static str,
    form: Form,
    quote: Form,
    emails: Vec<EmailRow>,
    payments: Vec<PaymentView>,
    refunds: Vec<RefundView>,
    refund_forms: Vec<RefundForm>,
}

impl CustomOrderPage<'_> {
    fn currency(&self) -> &str {
        currency(&self.payments)
    }

    /// Returns a form of the page: with the submitted values if it was refused, otherwise as it first appears.
    fn form(&self, which: &str) -> Form {
        match which {
            "quote" => self.quote.clone(),
            _ if which == self.which => self.form.clone(),
            "customer" => {
                let custom_order = &self.view.custom_order;
                let (name, email) = (&custom_order.name, &custom_order.email);
                customer_form(Some(name), Some(email), self.view.order.as_ref())
            }
            "shipment" => self
                .view
                .shipment
                .as_ref()
                .map(shipment_form::correction)
                .unwrap_or_default(),
            "ship" => shipment_form::prefilled(self.last_carrier.as_deref()),
            _ => Form::default(),
        }
    }

    /// Returns the zones, each with its shipping price.
    fn zones(&self) -> Vec<(&'static str, &'static str, String)> {
        ZONES
            .map(|(zone, word, name)| {
                let price = zone.rate(&self.settings).price;
                (word, name, price.in_currency(self.settings.currency.code()))
            })
            .into()
    }
}

#[derive(Template)]
#[template(path = "custom_order_approve.html", config = "src/admin/askama.toml")]
struct ApprovePage<'a> {
    context: &'a AdminContext,
    view: CustomOrderView,
    draft: Quote,
    replaces: bool,
    subject: String,
    /// Fingerprint of the draft that the owner sees. It changes with the draft.
    seen: String,
}

/// Label and badge color of a state.
pub(super) fn status(status: &Status) -> (&'static str, &'static str) {
    match status {
        Status::Pending => ("To answer", "due"),
        Status::Approved => ("Quoted", "quiet"),
        Status::Rejected => ("Declined", "quiet"),
        Status::Expired => ("Lapsed", "quiet"),
        Status::Paid => ("To make", "due"),
        Status::InProduction => ("Being made", "due"),
        Status::Shipped => ("Shipped", "good"),
        Status::Completed => ("Completed", "good"),
        Status::Refunded => ("Refunded", "quiet"),
    }
}

/// Label and badge color of a quote's state.
fn quote_state(state: &QuoteState) -> (&'static str, &'static str) {
    match state {
        QuoteState::Draft => ("draft", "due"),
        QuoteState::Asking => ("asking Stripe…", "due"),
        QuoteState::Refused => ("refused by Stripe", "bad"),
        QuoteState::Live => ("can be paid", "good"),
        QuoteState::Closing => ("closing at Stripe…", "due"),
        QuoteState::Closed => ("closed", "quiet"),
        QuoteState::Paid => ("paid", "good"),
    }
}

/// Label of a timeline entry.
fn happened(entry: &CustomOrderTimelineEntry) -> &str {
    match (entry.kind.as_str(), entry.to_status) {
        ("submitted", _) => "Asked for",
        (_, Some(moved)) => status(&moved).0,
        ("quote", _) => "Quote",
        ("payment", _) => "Payment",
        ("shipment", _) => "Shipment corrected",
        ("customer", _) => "Customer corrected",
        ("note", _) => "Note",
        ("message", _) => "Message to the customer",
        (kind, _) => kind,
    }
}

pub(super) fn path_of(custom_order: &CustomOrder) -> String {
    format!("{ROOT}/{}", custom_order.display_number())
}

/// `GET /admin/custom-orders/{id}`: accepts an id, or a number such as `CO-1042`.
pub async fn show(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    detail(&app, &context, &id, "", Form::default()).await
}

/// Shows the page with a correction of the customer's data that was refused.
pub async fn show_customer(
    app: &App,
    context: &AdminContext,
    id: &str,
    form: Form,
) -> Result<Response> {
    detail(app, context, id, "customer", form).await
}

/// Shows the page with a correction of the shipment that was refused.
pub async fn show_correction(
    app: &App,
    context: &AdminContext,
    id: &str,
    form: Form,
) -> Result<Response> {
    detail(app, context, id, "shipment", form).await
}

/// Renders the page of a custom order, with the form that was refused if there is one.
async fn detail(
    app: &App,
    context: &AdminContext,
    id: &str,
    which: &'static str,
    form: Form,
) -> Result<Response> {
    let mut conn = app.db.acquire().await?;
    let id = custom_orders::resolve(&mut conn, id).await?;
    let view = custom_orders::view(&mut conn, id).await?;
    let (warnings, may_unship) = match &view.order {
        Some(order) => (
            orders::shipping_warnings(&mut conn, order).await?,
            orders::may_unship(&mut conn, order).await?,
        ),
        None => (Vec::new(), false),
    };
    let settings = settings::current(&mut conn, &app.config).await?;
    let quote = match which {
        "quote" => form.clone(),
        _ => suggested(&settings, &view),
    };
    let (payments, refunds) =
        payments::of_subject(&mut conn, RefundSubject::CustomOrder(id)).await?;
    let sent = match which {
        "refund" => form.clone(),
        _ => Form::default(),
    };
    let verdict = form.verdict();
    let about = About {
        custom_order: Some(id),
        order: None,
    };
    let page = context.show_with_camera(&CustomOrderPage {
        emails: sent_emails::about(&mut conn, app, about).await?,
        last_carrier: orders::last_carrier(&mut conn).await?,
        refund_forms: refunds::forms(&payments, &sent),
        payments,
        refunds,
        context,
        settings,
        moves: view.moves(),
        warnings,
        may_unship,
        view,
        which,
        form,
        quote,
    })?;
    Ok(judged(page, verdict))
}

/// Prefills the quote form from the draft, or else from the last quote.
fn suggested(settings: &Settings, view: &CustomOrderView) -> Form {
    let mut form = Form::default();
    let before = view.draft().or(view.quotes.last());
    let days = before.map_or(settings.quote_valid_days, |quote| quote.valid_days);
    form.set("valid_days", days.to_string());
    form.set(
        "zone",
        zone_word(before.map_or(Zone::Us, |quote| quote.shipping_zone)),
    );
    if let Some(quote) = before {
        form.set("amount", quote.amount.plain(&quote.currency));
        form.set("description", quote.description.clone());
        if quote.shipping != quote.shipping_zone.rate(settings).price {
            form.set("shipping", quote.shipping.plain(&quote.currency));
        }
    }
    form
}

fn zone_word(zone: Zone) -> &'static str {
    let found = ZONES.iter().find(|(each, _, _)| *each == zone);
    found.map_or("us", |(_, word, _)| word)
}

/// Shows a refused form again, with its errors beside the fields.
pub(super) async fn or_again(
    app: &App,
    context: &AdminContext,
    id: &str,
    which: &'static str,
    form: Form,
    done: Result<Response>,
) -> Result<Response> {
    match done {
        Err(error @ Error::Invalid(_)) => {
            detail(app, context, id, which, form.refused(error)?).await
        }
        other => other,
    }
}

/// Parses the quote form.
fn terms(settings: &Settings, form: &Form) -> Result<Terms> {
    let mut field_errors = Vec::new();
    let currency = settings.currency;
    let mut money = |name: &'static str| {
        let typed = form.get(name);
        let amount = Cents::parse(&typed, currency.code());
        if amount.is_none() {
            let example = currency.example();
            let message = format!("must be an amount in {}, as {example}", currency.in_words());
            field_errors.push(FieldError::new(name, message));
        }
        amount.map_or(0, |amount| amount.0)
    };
    let amount = money("amount");
    let shipping = (!form.get("shipping").is_empty()).then(|| money("shipping"));
    let asked = form.get("zone");
    let zone = ZONES.iter().find(|(_, word, _)| *word == asked);
    if zone.is_none() {
        field_errors.push(FieldError::new(
            "zone",
            "must be one of the zones in the list",
        ));
    }
    let valid_days = form.get("valid_days").parse().ok();
    if valid_days.is_none() {
        field_errors.push(FieldError::new("valid_days", "must be from 1 to 365 days"));
    }
    let new = NewQuote {
        amount,
        description: form.get("description"),
        shipping_zone: zone.map(|(zone, _, _)| *zone),
        shipping,
        valid_days,
    };
    match new.check(settings) {
        Ok(terms) if field_errors.is_empty() => Ok(terms),
        Ok(_) => Err(Error::Invalid(field_errors)),
        Err(Error::Invalid(more)) => {
            for mut field_error in more {
                // Our own error for the amount comes first. The API's messages are in cents, which the form does not
                // use.
                match field_error.field.as_str() {
                    "amount" => {
                        field_error.message =
                            format!("must be from {}", currency.charges_in_words());
                    }
                    "shipping" => {
                        let most = Cents(*currency.charges().end()).in_currency(currency.code());
                        field_error.message =
                            format!("must be at most {most} together with the price");
                    }
                    _ => {}
                }
                if field_errors
                    .iter()
                    .all(|known| known.field != field_error.field)
                {
                    field_errors.push(field_error);
                }
            }
            Err(Error::Invalid(field_errors))
        }
        Err(other) => Err(other),
    }
}

/// Currency in which a custom order is paid.
fn currency(payments: &[PaymentView]) -> &str {
    payments
        .first()
        .map_or("usd", |payment| payment.currency.as_str())
}

/// `POST /admin/custom-orders/{id}/refund`: refunds any payment that has money left.
pub async fn refund(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let refunding = async {
        let mut tx = app.db.begin().await?;
        let subject = RefundSubject::CustomOrder(custom_orders::resolve(&mut tx, &id).await?);
        let (payments, _) = payments::of_subject(&mut tx, subject).await?;
        let new = read_refund(&form, currency(&payments))?;
        payments::refund(&mut tx, &context.actor()?, subject, &new).await?;
        tx.commit().await?;
        Ok(context.go_on(&format!("{ROOT}/{id}"), REFUND_PLANNED))
    };
    let done = refunding.await;
    or_again(&app, &context, &id, "refund", form, done).await
}

/// `POST /admin/custom-orders/{id}/quote`: saves the draft and goes on to the preview of the email.
pub async fn quote(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let saving = async {
        let settings = settings::current(&mut *app.db.acquire().await?, &app.config).await?;
        let terms = terms(&settings, &form)?;
        let mut tx = app.db.begin().await?;
        let custom_order = custom_orders::resolve(&mut tx, &id).await?;
        custom_orders::quote(&mut tx, &context.actor()?, custom_order, &terms).await?;
        tx.commit().await?;
        let said = "The quote is saved. The customer has not seen it yet.";
        Ok(context.go_on(&format!("{ROOT}/{id}/approve"), said))
    };
    let saved = saving.await;
    or_again(&app, &context, &id, "quote", form, saved).await
}

/// `POST /admin/custom-orders/{id}/quote/discard`: deletes the draft.
pub async fn discard_quote(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let id = custom_orders::resolve(&mut tx, &id).await?;
    let custom_order = custom_orders::discard_draft(&mut tx, &context.actor()?, id).await?;
    tx.commit().await?;
    Ok(context.go_on(&path_of(&custom_order), "The draft is thrown away."))
}

/// `GET /admin/custom-orders/{id}/approve`: previews the email to the customer, with the button that sends it.
pub async fn show_approve(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    let mut conn = app.db.acquire().await?;
    let id = custom_orders::resolve(&mut conn, &id).await?;
    let view = custom_orders::view(&mut conn, id).await?;
    let moves = view.moves();
    let draft = view.draft().cloned().filter(|_| moves.approve);
    let email = custom_orders::preview(&mut conn, &app, id).await?;
    drop(conn);
    let (Some(draft), Some(email)) = (draft, email) else {
        let said = "There is no quote to send: save a quote first.";
        return Ok(context.go_on(&path_of(&view.custom_order), said));
    };
    let (subject, _) = emails::draw(&app, &email).await?;
    context.show(&ApprovePage {
        context: &context,
        view,
        replaces: moves.replaces,
        subject,
        seen: custom_orders::fingerprint(&draft),
        draft,
    })
}

/// `GET /admin/custom-orders/{id}/email`: the email of the draft, to be shown in a frame.
pub async fn email(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    let mut conn = app.db.acquire().await?;
    let id = custom_orders::resolve(&mut conn, &id).await?;
    let email = custom_orders::preview(&mut conn, &app, id).await?;
    drop(conn);
    let email = email.ok_or(Error::NotFound("Email"))?;
    let (_, page) = emails::draw(&app, &email).await?;
    Ok(context.show_email(page))
}

/// `POST /admin/custom-orders/{id}/approve`: sends the quote that was previewed. It replaces the customer's current
/// quote, if there is one.
pub async fn approve(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let (actor, seen) = (context.actor()?, form.get("seen"));
    let mut tx = app.db.begin().await?;
    let id = custom_orders::resolve(&mut tx, &id).await?;
    let custom_order = custom_orders::approve_as_seen(&mut tx, &app, &actor, id, &seen).await?;
    tx.commit().await?;
    let said = "The email is sent as soon as Stripe has created the payment link.";
    Ok(context.go_on(&path_of(&custom_order), said))
}

/// `POST /admin/custom-orders/{id}/withdraw`: withdraws the quote.
pub async fn withdraw(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let changing = async {
        let mut tx = app.db.begin().await?;
        let id = custom_orders::resolve(&mut tx, &id).await?;
        let custom_order =
            custom_orders::withdraw(&mut tx, &context.actor()?, id, &form.get("reason")).await?;
        tx.commit().await?;
        let said = "The quote is being withdrawn: its payment link is closed first.";
        Ok(context.go_on(&path_of(&custom_order), said))
    };
    let changed = changing.await;
    or_again(&app, &context, &id, "withdraw", form, changed).await
}

/// `POST /admin/custom-orders/{id}/reject`: rejects the custom order; the customer gets the reason by email.
pub async fn reject(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let changing = async {
        let mut tx = app.db.begin().await?;
        let id = custom_orders::resolve(&mut tx, &id).await?;
        let custom_order =
            custom_orders::reject(&mut tx, &app, &context.actor()?, id, &form.get("reason"))
                .await?;
        tx.commit().await?;
        let said = "The request is declined, and an email tells the customer why.";
        Ok(context.go_on(&path_of(&custom_order), said))
    };
    let changed = changing.await;
    or_again(&app, &context, &id, "reject", form, changed).await
}

/// `POST /admin/custom-orders/{id}/start`: marks the piece as being made.
pub async fn start(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let id = custom_orders::resolve(&mut tx, &id).await?;
    let custom_order = custom_orders::start_production(&mut tx, &context.actor()?, id).await?;
    tx.commit().await?;
    Ok(context.go_on(&path_of(&custom_order), "The piece is being made."))
}

/// `POST /admin/custom-orders/{id}/complete`: marks the piece as arrived.
pub async fn complete(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let id = custom_orders::resolve(&mut tx, &id).await?;
    let custom_order = custom_orders::complete(&mut tx, &context.actor()?, id).await?;
    tx.commit().await?;
    Ok(context.go_on(&path_of(&custom_order), "The custom order is completed."))
}

/// `POST /admin/custom-orders/{id}/note`: adds a note to the timeline.
pub async fn note(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let changing = async {
        let mut tx = app.db.begin().await?;
        let id = custom_orders::resolve(&mut tx, &id).await?;
        let custom_order =
            custom_orders::write_note(&mut tx, &context.actor()?, id, &form.get("text")).await?;
        tx.commit().await?;
        let said = "The note is saved.";
        Ok(context.go_on(&path_of(&custom_order), said))
    };
    let changed = changing.await;
    or_again(&app, &context, &id, "note", form, changed).await
}

/// `POST /admin/custom-orders/{id}/ship`: accepts an upload with the shipment's fields and images. If the form is
/// refused, its images are kept and come back as fields.
pub async fn ship(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response> {
    let mut sent = ImageForm::read(&app, request, IMAGES).await?;
    let images = sent.image_ids();
    let shipment = shipment(&sent.form, &sent.form.get("tracking_number"), images);
    let shipping = async {
        sent.check_files(IMAGES)?;
        let mut tx = app.db.begin().await?;
        let id = custom_orders::resolve(&mut tx, &id).await?;
        let actor = context.actor()?;
        let shipped = custom_orders::ship(&mut tx, &app, &actor, id, &shipment).await;
        let custom_order = shipped.map_err(to_confirm)?;
        tx.commit().await?;
        let said = "Shipped. An email with the photos is on its way to the customer.";
        Ok(context.go_on(&path_of(&custom_order), said))
    };
    match shipping.await {
        Err(Error::Invalid(field_errors)) => {
            // The form that is shown again refers to these images. If it is never sent, the sweep deletes them a day
            // later.
            for id in sent.images.ids() {
                sent.form.set("image", id.to_string());
            }
            sent.images.done();
            let form = sent.form.refused(by_field(Error::Invalid(field_errors)))?;
            detail(&app, &context, &id, "ship", form).await
        }
        Err(error) => {
            sent.images.discard().await;
            Err(error)
        }
        Ok(response) => {
            sent.images.done();
            Ok(response)
        }
    }
}
