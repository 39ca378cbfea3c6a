//! Ships several orders at once: one carrier, a tracking number for each.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::context::AdminContext;
use super::form::Form;
use super::shipment_form::{prefilled, shipment};
use super::sign_in::refused;
use crate::app::App;
use crate::error::{Code, Error, FieldError, Result};
use crate::fulfillment;
use crate::http::Query;
use crate::orders::{self, Order, OrderView};

#[derive(Template)]
#[template(path = "ship_many.html", config = "src/admin/askama.toml")]
struct ShipPage<'a> {
    context: &'a AdminContext,
    orders: Vec<Order>,
    form: Form,
}

/// Label of an order's tracking number: `SB-1042, Ann Lee: tracking number`.
fn label(order: &Order) -> String {
    let mut names = [&order.customer_name, &order.shipping_name].into_iter();
    let name = names.find_map(|name| name.as_deref());
    let of = name.map(|name| format!(", {name}")).unwrap_or_default();
    format!("{}{of}: tracking number", order.display_number())
}

/// `GET /admin/orders/ship?order=SB-1042&order=SB-1043`
pub async fn show(State(app): State<App>, context: AdminContext, query: Query) -> Result<Response> {
    let chosen = query.0.iter().filter(|(name, _)| name == "order");
    let chosen: Vec<&str> = chosen.map(|(_, number)| number.as_str()).collect();
    let last = orders::last_carrier(&mut *app.db.acquire().await?).await?;
    page(&app, &context, &chosen, prefilled(last.as_deref())).await
}

async fn page(app: &App, context: &AdminContext, chosen: &[&str], form: Form) -> Result<Response> {
    let mut conn = app.db.acquire().await?;
    let mut found: Vec<Order> = Vec::new();
    for number in chosen.iter().take(fulfillment::MOST) {
        let Ok(id) = orders::resolve(&mut conn, number).await else {
            continue;
        };
        if found.iter().any(|order| order.id == id) {
            continue;
        }
        found.extend(orders::find(&mut conn, id).await?);
    }
    let faulty = form.has_errors();
    let shown = context.show_with_camera(&ShipPage {
        context,
        orders: found,
        form,
    })?;
    Ok(if faulty {
        refused(shown, StatusCode::BAD_REQUEST, None)
    } else {
        shown
    })
}

/// `POST /admin/orders/ship`: ships each order in its own transaction. Orders that could not be shipped are shown
/// again.
pub async fn submit(State(app): State<App>, context: AdminContext, form: Form) -> Result<Response> {
    let mut chosen = form.all("order");
    chosen.sort_unstable();
    chosen.dedup();
    chosen.truncate(fulfillment::MOST);
    let shipments = chosen.iter().map(|number| {
        let tracking = form.get(&format!("tracking.{number}"));
        let shipment = shipment(&form, &tracking, Vec::new());
        ((*number).to_owned(), shipment)
    });
    let outcomes = fulfillment::ship_many(&app, &context.actor()?, shipments.collect()).await;
    let done = Done::new(chosen, outcomes);
    if done.left.is_empty() {
        let said = match &done.shipped[..] {
            [] => "No order was chosen.".to_owned(),
            shipped => format!("{}.", are_shipped(shipped)),
        };
        return Ok(context.go_on("/admin/orders", &said));
    }
    let faulty = form.clone().refused(Error::Invalid(done.field_errors))?;
    let said = match &done.shipped[..] {
        [] => None,
        shipped => Some(format!("{}; the others are below.", are_shipped(shipped))),
    };
    let mut context = context.clone();
    context.said.clone_from(&said);
    match page(&app, &context, &done.left, faulty).await {
        Ok(page) => Ok(refused(page, done.status, None)),
        // The database may be unreachable by now, so the error itself must list what was shipped.
        Err(_) if done.status.is_server_error() => {
            let shipped = said.unwrap_or_else(|| "None of the orders is shipped.".to_owned());
            let left = done.left.join(", ");
            let why = format!(
                "{shipped} Not shipped: {left}. The shop failed: try them again in a moment."
            );
            Err(Error::Refused(done.status, Code::NotAllShipped, why))
        }
        Err(error) => Err(error),
    }
}

fn are_shipped(numbers: &[&str]) -> String {
    match numbers {
        [one] => format!("{one} is shipped"),
        many => format!("{} orders are shipped: {}", many.len(), many.join(", ")),
    }
}

/// Outcome of shipping several orders.
struct Done<'a> {
    shipped: Vec<&'a str>,
    left: Vec<&'a str>,
    /// Errors of the remaining orders, by the field that shows them.
    field_errors: Vec<FieldError>,
    /// Status of the most serious error.
    status: StatusCode,
}

impl<'a> Done<'a> {
    fn new(chosen: Vec<&'a str>, outcomes: Vec<Result<OrderView>>) -> Done<'a> {
        let mut done = Done {
            shipped: Vec::new(),
            left: Vec::new(),
            field_errors: Vec::new(),
            status: StatusCode::BAD_REQUEST,
        };
        for (number, outcome) in chosen.into_iter().zip(outcomes) {
            match outcome {
                Ok(_) => done.shipped.push(number),
                // The form lists existing orders only.
                Err(Error::NotFound(_)) => {}
                Err(error) => done.refuse(number, error),
            }
        }
        done
    }

    fn refuse(&mut self, number: &'a str, error: Error) {
        self.left.push(number);
        self.status = self.status.max(error.status());
        let tracking = format!("tracking.{number}");
        match error {
            Error::Invalid(field_errors) => {
                self.field_errors
                    .extend(field_errors.into_iter().map(|mut field_error| {
                        if field_error.field != "carrier" {
                            field_error.field.clone_from(&tracking);
                        }
                        field_error
                    }))
            }
            Error::Conflict(_, why) => self.field_errors.push(FieldError::new(tracking, why)),
            Error::Unavailable(Code::NotTried, _) => {
                self.field_errors
                    .push(FieldError::new(tracking, "Not tried yet: ship it again."));
            }
            _ => {
                let why = "Not shipped: something went wrong on our side. Try again in a moment.";
                self.field_errors.push(FieldError::new(tracking, why));
            }
        }
    }
}
