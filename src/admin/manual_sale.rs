//! Manual sales, for example at a market stall: choose a piece and sell it with a second tap.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::context::AdminContext;
use super::form::{Form, stale_form};
use super::sign_in::refused;
use crate::app::App;
use crate::error::{Code, Error, FieldError, Result};
use crate::http::Query;
use crate::orders::{self, Line, Order, Sale};
use crate::products::{self, OnHand};
use crate::types::ids::{OrderId, ProductId};
use crate::types::money::Cents;

/// Number of pieces in the grid; the search finds the others.
const PIECES: i64 = 60;

const PATH: &str = "/admin/sell";

#[derive(Template)]
#[template(path = "manual_sale.html", config = "src/admin/askama.toml")]
struct ManualSalePage<'a> {
    context: &'a AdminContext,
    search: String,
    pieces: Vec<OnHand>,
    chosen: Option<OnHand>,
    /// Id of the new order: submitting the form twice creates one order.
    sale: OrderId,
    /// The sale that was just made.
    sold: Option<(Order, Vec<Line>)>,
    form: Form,
}

impl ManualSalePage<'_> {
    fn quantity(&self) -> String {
        match self.form.is_sent() {
            true => self.form.get("quantity"),
            false => "1".to_owned(),
        }
    }

    fn price(&self, piece: &OnHand) -> String {
        match self.form.is_sent() {
            true => self.form.get("price"),
            false => piece.price.plain(&piece.currency),
        }
    }
}

/// `GET /admin/sell`
pub async fn show(State(app): State<App>, context: AdminContext, query: Query) -> Result<Response> {
    let text = |name: &str| super::query_text(&query, name);
    let asked = SaleQuery {
        search: text("search"),
        piece: text("piece"),
        sold: text("sold"),
    };
    page(&app, &context, asked, Form::default()).await
}

#[derive(Default)]
struct SaleQuery {
    search: String,
    piece: String,
    sold: String,
}

async fn page(app: &App, context: &AdminContext, asked: SaleQuery, form: Form) -> Result<Response> {
    let mut conn = app.db.acquire().await?;
    let wanted = (!asked.search.is_empty()).then_some(asked.search.as_str());
    let pieces = products::on_hand(&mut conn, None, wanted, PIECES).await?;
    let chosen = match ProductId::parse(&asked.piece) {
        Some(id) => {
            let found = products::on_hand(&mut conn, Some(&id), None, 1).await?;
            found.into_iter().next()
        }
        None => None,
    };
    let mut sold = None;
    if !asked.sold.is_empty()
        && let Ok(id) = orders::resolve(&mut conn, &asked.sold).await
        && let Some(order) = orders::find(&mut conn, id).await?
        && order.is_manual()
        && order.status == orders::Status::Delivered
    {
        sold = Some((order, orders::lines(&mut conn, id).await?));
    }
    let faulty = form.has_errors();
    let sent: Option<OrderId> = form.get("sale").parse().ok().map(OrderId);
    let shown = context.show(&ManualSalePage {
        context,
        search: asked.search,
        pieces,
        chosen,
        sale: sent.unwrap_or_else(OrderId::new),
        sold,
        form,
    })?;
    Ok(if faulty {
        refused(shown, StatusCode::BAD_REQUEST, None)
    } else {
        shown
    })
}

/// `POST /admin/sell`
pub async fn submit(State(app): State<App>, context: AdminContext, form: Form) -> Result<Response> {
    match sell(&app, &context, &form).await {
        Ok((order, is_new)) => {
            let number = order.display_number();
            let said = match is_new {
                true => format!("Sold: {number}."),
                false => format!("{number} was sold already, once."),
            };
            Ok(context.go_on(&format!("{PATH}?sold={number}"), &said))
        }
        Err(error) => {
            let error = match error {
                // Somebody else bought the piece first: show it beside the quantity.
                Error::Conflict(Code::InsufficientInventory, why) => {
                    Error::invalid("quantity", why)
                }
                other => other,
            };
            let asked = SaleQuery {
                piece: form.get("piece"),
                ..SaleQuery::default()
            };
            page(&app, &context, asked, form.refused(error)?).await
        }
    }
}

async fn sell(app: &App, context: &AdminContext, form: &Form) -> Result<(Order, bool)> {
    let actor = context.actor()?;
    let id = form.get("sale").parse().map(OrderId);
    let id = id.map_err(|_| stale_form())?;
    let mut tx = app.db.begin().await?;
    let piece = ProductId::parse(&form.get("piece"));
    let piece = piece.ok_or_else(|| Error::invalid("piece", "is no product's id"))?;
    // After a double tap, the piece is gone but the sale exists.
    let is_new = orders::find(&mut tx, id).await?.is_none();
    let locked = products::lock(&mut tx, std::slice::from_ref(&piece)).await?;
    let locked = locked
        .get(&piece)
        .ok_or_else(|| Error::invalid("piece", "is not there any more"))?;
    let mut field_errors = Vec::new();
    let quantity = form.get("quantity").parse::<i32>().ok();
    let quantity = quantity.filter(|quantity| (1..=999).contains(quantity));
    if quantity.is_none() {
        let message = "must be a whole number from 1 to 999";
        field_errors.push(FieldError::new("quantity", message));
    }
    let price = Cents::parse(&form.get("price"), &locked.currency);
    let price = price.filter(|price| price.0 <= 99_999_999);
    if price.is_none() {
        let message = format!(
            "must be an amount such as {}",
            locked.price.plain(&locked.currency)
        );
        field_errors.push(FieldError::new("price", message));
    }
    let note = form.get("note");
    if note.chars().count() > 200 {
        field_errors.push(FieldError::new("note", "must have at most 200 characters"));
    }
    let (Some(quantity), Some(price), true) = (quantity, price, field_errors.is_empty()) else {
        return Err(Error::Invalid(field_errors));
    };
    let sale = Sale {
        id: Some(id),
        lines: vec![(piece, quantity, Some(price))],
        email: None,
        customer_name: None,
        note,
    };
    let order = orders::sell(&mut tx, &sale, app.config.shop.currency, &actor).await?;
    tx.commit().await?;
    Ok((order, is_new))
}
