//! Several orders shipped at once: one carrier, a tracking number each.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::desk::Desk;
use super::form::Form;
use super::order::{self, CARRIERS};
use super::sign_in::refused;
use crate::app::App;
use crate::error::{Error, Fault, Result};
use crate::extract::Query;
use crate::orders::{self, Order};
use crate::parcels;

#[derive(Template)]
#[template(path = "ship_many.html", config = "src/admin/askama.toml")]
struct ShipPage<'a> {
    desk: &'a Desk,
    orders: Vec<Order>,
    form: Form,
}

impl ShipPage<'_> {
    const CARRIERS: [&'static str; 8] = CARRIERS;
}

/// `GET /admin/orders/ship?order=SB-1042&order=SB-1043`
pub async fn show(State(app): State<App>, desk: Desk, query: Query) -> Result<Response> {
    let chosen = query.0.iter().filter(|(name, _)| name == "order");
    let chosen: Vec<&str> = chosen.map(|(_, number)| number.as_str()).collect();
    page(&app, &desk, &chosen, Form::default()).await
}

async fn page(app: &App, desk: &Desk, chosen: &[&str], form: Form) -> Result<Response> {
    let mut conn = app.db.acquire().await?;
    let mut found: Vec<Order> = Vec::new();
    for number in chosen.iter().take(parcels::MOST) {
        let Ok(id) = orders::resolve(&mut conn, number).await else {
            continue;
        };
        if found.iter().any(|order| order.id == id) {
            continue;
        }
        found.extend(orders::find(&mut conn, id).await?);
    }
    let faulty = form.is_faulty();
    let shown = desk.show(&ShipPage {
        desk,
        orders: found,
        form,
    })?;
    Ok(if faulty {
        refused(shown, StatusCode::BAD_REQUEST, None)
    } else {
        shown
    })
}

/// `POST /admin/orders/ship`: each order is a change of its own; those that could not be shipped are shown again.
pub async fn submit(State(app): State<App>, desk: Desk, form: Form) -> Result<Response> {
    let mut chosen = form.all("order");
    chosen.sort_unstable();
    chosen.dedup();
    chosen.truncate(parcels::MOST);
    let parcels = chosen.iter().map(|number| {
        let tracking = form.get(&format!("tracking.{number}"));
        let parcel = order::parcel(&form, &tracking, Vec::new());
        ((*number).to_owned(), parcel)
    });
    let outcomes = parcels::ship_many(&app, &desk.actor()?, parcels.collect()).await?;
    let mut shipped = 0;
    let mut left = Vec::new();
    let mut faults: Vec<Fault> = Vec::new();
    for (number, outcome) in chosen.into_iter().zip(outcomes) {
        let told = match outcome {
            Ok(_) => {
                shipped += 1;
                continue;
            }
            Err(Error::Invalid(told)) => told,
            Err(Error::Conflict(_, why)) => vec![Fault::new("order", why)],
            Err(_) => continue,
        };
        for fault in told {
            let field = match fault.field.as_str() {
                "carrier" => "carrier".to_owned(),
                _ => format!("tracking.{number}"),
            };
            faults.push(Fault::new(field, fault.message));
        }
        left.push(number);
    }
    if left.is_empty() {
        let said = match shipped {
            0 => "No order was chosen.".to_owned(),
            1 => "1 order is shipped.".to_owned(),
            many => format!("{many} orders are shipped."),
        };
        return Ok(desk.go_on("/admin/orders", &said));
    }
    let faulty = form.clone().refused(Error::Invalid(faults))?;
    let mut desk = desk.clone();
    if shipped > 0 {
        desk.said = Some(match shipped {
            1 => "1 order is shipped; the others are below.".to_owned(),
            many => format!("{many} orders are shipped; the others are below."),
        });
    }
    page(&app, &desk, &left, faulty).await
}
