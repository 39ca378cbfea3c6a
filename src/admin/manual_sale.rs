//! In-person sales, for example at a market stall: choose a piece and sell it with a second tap, or several pieces at once.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use sqlx::PgConnection;

use super::context::AdminContext;
use super::form::{Form, stale_form};
use super::sign_in::refused;
use crate::app::App;
use crate::error::{Code, Error, FieldError, Result};
use crate::http::Query;
use crate::mail;
use crate::orders::{self, Line, Order, PaymentMethod, Sale};
use crate::products::{self, OnHand};
use crate::types::ids::{OrderId, ProductId};
use crate::types::money::{Cents, Currency};

/// Number of pieces in the grid; the search finds the others.
const PIECES: i64 = 60;

/// Different pieces of one sale.
const MOST_LINES: usize = 50;

const PATH: &str = "/admin/sell";

#[derive(Template)]
#[template(path = "manual_sale.html", config = "src/admin/askama.toml")]
struct ManualSalePage<'a> {
    context: &'a AdminContext,
    search: String,
    /// Pieces to choose from: those in stock that are not chosen yet.
    pieces: Vec<OnHand>,
    chosen: Vec<Chosen>,
    /// A chosen piece is out of stock by now.
    is_one_gone: bool,
    payment_method: PaymentMethod,
    currency: Currency,
    /// Id of the new order: submitting the form twice creates one order.
    sale: OrderId,
    /// The sale that was just made.
    sold: Option<(Order, Vec<Line>)>,
    form: Form,
}

/// A chosen piece with its fields as typed.
struct Chosen {
    piece: OnHand,
    quantity: String,
    price: String,
    quantity_error: Option<String>,
    price_error: Option<String>,
}

impl Chosen {
    /// Link to the page with the other pieces of the sale.
    fn without(&self, all: &[Chosen]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for other in all.iter().filter(|other| other.piece.id != self.piece.id) {
            query.append_pair("piece", &other.piece.id.0);
        }
        format!("{PATH}?{}", query.finish())
    }
}

impl ManualSalePage<'_> {
    /// The rarer fields are shown from the start if one of them has a value or a fault.
    fn has_more(&self) -> bool {
        let fields = ["discount", "email", "customer_name", "note", "to_ship"];
        fields
            .iter()
            .any(|name| !self.form.get(name).is_empty() || self.form.field_error(name).is_some())
    }
}

/// `GET /admin/sell`
pub async fn show(State(app): State<App>, context: AdminContext, query: Query) -> Result<Response> {
    let pieces = query.0.iter().filter(|(name, _)| name == "piece");
    let asked = Asked {
        search: super::query_text(&query, "search"),
        pieces: pieces.map(|(_, id)| id.clone()).collect(),
        sold: super::query_text(&query, "sold"),
    };
    page(&app, &context, asked, Form::default()).await
}

#[derive(Default)]
struct Asked {
    search: String,
    pieces: Vec<String>,
    sold: String,
}

impl Asked {
    /// The pieces of a form, and the one that it adds.
    fn of(form: &Form) -> Asked {
        let pieces = form.all("piece").into_iter().chain(form.all("add"));
        Asked {
            pieces: pieces.map(str::to_owned).collect(),
            ..Asked::default()
        }
    }
}

async fn page(app: &App, context: &AdminContext, asked: Asked, form: Form) -> Result<Response> {
    let mut conn = app.db.acquire().await?;
    let wanted = (!asked.search.is_empty()).then_some(asked.search.as_str());
    let mut pieces = products::on_hand(&mut conn, None, wanted, PIECES).await?;
    let chosen = choose(&mut conn, &asked.pieces, &form).await?;
    pieces.retain(|piece| chosen.iter().all(|line| line.piece.id != piece.id));
    let mut sold = None;
    if !asked.sold.is_empty()
        && let Ok(id) = orders::resolve(&mut conn, &asked.sold).await
        && let Some(order) = orders::find(&mut conn, id).await?
        && order.was_handed_over()
    {
        sold = Some((order, orders::lines(&mut conn, id).await?));
    }
    let typed = PaymentMethod::ALL
        .into_iter()
        .find(|method| form.has("payment_method", method.as_str()));
    let payment_method = match typed {
        Some(method) => method,
        None => orders::last_payment_method(&mut conn).await?,
    };
    let faulty = form.has_errors();
    let sent: Option<OrderId> = form.get("sale").parse().ok().map(OrderId);
    let shown = context.show(&ManualSalePage {
        context,
        search: asked.search,
        pieces,
        is_one_gone: chosen.len() < asked.pieces.len(),
        chosen,
        payment_method,
        currency: app.config.shop.currency,
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

/// Loads the chosen pieces that are in stock. Their fields are as typed, or one piece at its price.
async fn choose(conn: &mut PgConnection, ids: &[String], form: &Form) -> Result<Vec<Chosen>> {
    let (quantities, prices) = (form.all("quantity"), form.all("price"));
    let ids = ids.iter().take(MOST_LINES);
    let ids: Vec<Option<ProductId>> = ids.map(|id| ProductId::parse(id)).collect();
    let known: Vec<ProductId> = ids.iter().flatten().cloned().collect();
    let pieces = products::on_hand(conn, Some(&known), None, MOST_LINES as i64).await?;
    let mut chosen: Vec<Chosen> = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        let found = pieces.iter().find(|piece| Some(&piece.id) == id.as_ref());
        let Some(piece) = found.cloned() else {
            continue;
        };
        let error = |field: &str| {
            let error = form.field_error(&format!("lines[{at}].{field}"));
            error.map(str::to_owned)
        };
        chosen.push(Chosen {
            quantity: quantities
                .get(at)
                .map_or("1", |typed| typed.trim())
                .to_owned(),
            price: match prices.get(at) {
                Some(typed) => typed.trim().to_owned(),
                None => piece.price.plain(&piece.currency),
            },
            quantity_error: error("quantity"),
            price_error: error("unit_price"),
            piece,
        });
    }
    Ok(chosen)
}

/// `POST /admin/sell`: sells the pieces, or shows the page again with one more.
pub async fn submit(State(app): State<App>, context: AdminContext, form: Form) -> Result<Response> {
    if !form.get("add").is_empty() {
        return page(&app, &context, Asked::of(&form), form).await;
    }
    match sell(&app, &context, &form).await {
        Ok((order, is_new)) => {
            let number = order.display_number();
            let said = match is_new {
                true => format!("Sold: {number}."),
                false => format!("{number} was sold already, once."),
            };
            Ok(match order.was_handed_over() {
                true => context.go_on(&format!("{PATH}?sold={number}"), &said),
                false => context.go_on(
                    &format!("/admin/orders/{number}"),
                    &format!("{said} Add the address to ship it to."),
                ),
            })
        }
        Err(error) => {
            let error = match error {
                // Somebody else bought a piece first.
                Error::Conflict(Code::InsufficientInventory, why) => Error::invalid("lines", why),
                other => other,
            };
            page(&app, &context, Asked::of(&form), form.refused(error)?).await
        }
    }
}

async fn sell(app: &App, context: &AdminContext, form: &Form) -> Result<(Order, bool)> {
    let actor = context.actor()?;
    let id = form.get("sale").parse().map(OrderId);
    let id = id.map_err(|_| stale_form())?;
    let currency = app.config.shop.currency;
    let sale = read(form, id, currency)?;
    let mut tx = app.db.begin().await?;
    // After a double tap, the pieces are gone but the sale exists.
    let is_new = orders::find(&mut tx, id).await?.is_none();
    let order = orders::sell(&mut tx, app, &sale, &actor).await?;
    tx.commit().await?;
    Ok((order, is_new))
}

/// Reads a sale from its form.
fn read(form: &Form, id: OrderId, currency: Currency) -> Result<Sale> {
    let mut field_errors = Vec::new();
    let lines = read_lines(form, currency, &mut field_errors);
    let subtotal = lines
        .iter()
        .try_fold(Cents::ZERO, |sum, (_, quantity, price)| {
            sum.plus(price.unwrap_or_default().times(*quantity)?)
        });
    let discount = discount(
        &form.get("discount"),
        subtotal.unwrap_or_default(),
        currency,
    );
    if discount.is_none() {
        let message = "must be an amount such as 5.00, or a part such as 10%";
        field_errors.push(FieldError::new("discount", message));
    }
    let mut text = |name: &'static str, most: usize| {
        let text = form.get(name);
        if text.chars().count() > most {
            let message = format!("must have at most {most} characters");
            field_errors.push(FieldError::new(name, message));
        }
        Some(text).filter(|text| !text.is_empty())
    };
    let (email, customer_name) = (text("email", 254), text("customer_name", 200));
    let note = text("note", 200).unwrap_or_default();
    if email
        .as_deref()
        .is_some_and(|email| mail::parse_address(email).is_none())
    {
        field_errors.push(FieldError::new("email", "is no email address"));
    }
    let payment_method = PaymentMethod::ALL
        .into_iter()
        .find(|method| form.has("payment_method", method.as_str()));
    let (Some(discount), true) = (discount, field_errors.is_empty()) else {
        return Err(Error::Invalid(field_errors));
    };
    Ok(Sale {
        id: Some(id),
        lines,
        discount,
        payment_method,
        is_to_ship: form.has("to_ship", "true"),
        wants_receipt: email.is_some(),
        email,
        customer_name,
        note,
    })
}

/// Reads the pieces, their quantities and prices. Faults are named as in the API: `lines[0].quantity`.
fn read_lines(
    form: &Form,
    currency: Currency,
    field_errors: &mut Vec<FieldError>,
) -> Vec<(ProductId, i32, Option<Cents>)> {
    let (ids, quantities, prices) = (form.all("piece"), form.all("quantity"), form.all("price"));
    if ids.is_empty() || ids.len() > MOST_LINES {
        let message = format!("must have 1 to {MOST_LINES} pieces");
        field_errors.push(FieldError::new("lines", message));
    }
    let mut lines = Vec::new();
    for (at, id) in ids.into_iter().take(MOST_LINES).enumerate() {
        let mut error = |field: &str, message: String| {
            field_errors.push(FieldError::new(format!("lines[{at}].{field}"), message));
        };
        let quantity = quantities.get(at).and_then(|text| text.trim().parse().ok());
        let quantity = quantity.filter(|quantity| (1..=999).contains(quantity));
        if quantity.is_none() {
            error(
                "quantity",
                "must be a whole number from 1 to 999".to_owned(),
            );
        }
        let price = prices
            .get(at)
            .and_then(|text| Cents::parse(text, currency.code()));
        let price = price.filter(|price| price.0 <= 99_999_999);
        if price.is_none() {
            let example = Cents(4700).plain(currency.code());
            error("unit_price", format!("must be an amount such as {example}"));
        }
        match (ProductId::parse(id), quantity, price) {
            (Some(id), Some(quantity), Some(price)) => lines.push((id, quantity, Some(price))),
            (None, ..) => error("product_id", "is no product's id".to_owned()),
            _ => {}
        }
    }
    lines
}

/// Parses a discount: an amount, or a percentage of the subtotal. `None` if it is neither.
fn discount(text: &str, subtotal: Cents, currency: Currency) -> Option<Cents> {
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent = percent.trim().parse().ok()?;
            subtotal.percent(percent, currency.code())
        }
        None if text.is_empty() => Some(Cents::ZERO),
        None => Cents::parse(text, currency.code()),
    }
}
