//! The page of one order, and the changes made there.

use askama::Template;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use sqlx::PgConnection;

use super::context::AdminContext;
use super::customer_form::customer_form;
use super::form::{Form, by_field, stale_form};
use super::image_form::ImageForm;
use super::refunds::{self, REFUND_PLANNED, RefundForm, read_pieces, read_refund};
use super::sent_emails;
use super::shipment_form::{self, IMAGES, shipment, to_confirm};
use super::sign_in::refused;
use crate::app::App;
use crate::custom_orders::{self, CustomOrder};
use crate::emails::{About, EmailRow};
use crate::error::{Error, Result};
use crate::fulfillment;
use crate::http::{Path, Query};
use crate::images::{self, ImageView};
use crate::orders::{self, NewRestock, Order, OrderLine, OrderView, Status};
use crate::payments::{self, PaymentView, RefundSubject, RefundView};
use crate::types::ids::{OrderId, ProductId, RestockId};
use crate::types::money::Cents;

#[derive(Template)]
#[template(path = "order.html", config = "src/admin/askama.toml")]
struct OrderPage<'a> {
    context: &'a AdminContext,
    view: OrderView,
    address: Vec<String>,
    /// Reasons not to ship now.
    warnings: Vec<String>,
    payments: Vec<PaymentView>,
    refunds: Vec<RefundView>,
    emails: Vec<EmailRow>,
    /// The shipment can be undone.
    may_unship: bool,
    /// Images of the shipment.
    images: Vec<ImageView>,
    refund_forms: Vec<RefundForm>,
    restock: Vec<RestockablePiece>,
    /// The form that puts pieces back without money, where there is one.
    restock_form: Option<RestockForm>,
    /// The form refunds all remaining money and restocks everything that was not shipped.
    is_whole: bool,
    /// The custom order that this order ships, if any.
    custom_order: Option<CustomOrder>,
    forms: Forms,
}

/// An order line whose pieces may be restocked.
struct RestockablePiece {
    field: String,
    name: String,
    most: i32,
    value: String,
}

/// The form that puts pieces back into stock without money.
struct RestockForm {
    /// Sent twice, it is one return.
    id: RestockId,
    pieces: Vec<RestockablePiece>,
}

impl RestockForm {
    /// None where nothing can come back, or the refund that it belongs to has a form of its own: nothing was refunded and
    /// nothing shipped.
    fn new(
        pieces: Vec<RestockablePiece>,
        view: &OrderView,
        refunds: &[RefundForm],
        form: &Form,
    ) -> Option<RestockForm> {
        let order = &view.order;
        let is_on_its_own = order.status != Status::Paid
            || order.refunded > Cents::ZERO
            || order.refund_failed_at.is_some()
            || refunds.iter().all(|form| !form.takes_pieces);
        let is_shown = !pieces.is_empty() && !order.is_manual() && is_on_its_own;
        is_shown.then(|| RestockForm {
            id: form
                .get("id")
                .parse()
                .map_or_else(|_| RestockId::new(), RestockId),
            pieces,
        })
    }
}

/// The forms of the page, as submitted.
#[derive(Default)]
struct Forms {
    ship: Form,
    correct_shipment: Form,
    correct_customer: Form,
    refund: Form,
    restock: Form,
    note: Form,
    /// Set to prefill the refund form with all remaining money.
    is_whole: bool,
}

impl OrderPage<'_> {
    fn is_to_pack(&self) -> bool {
        self.view.to_ship > 0 && !self.view.order.is_custom_order
    }

    /// Explains why a paid order cannot be shipped.
    fn why_not_shipped(&self) -> &'static str {
        let lines = &self.view.lines;
        let is_all_back = lines
            .iter()
            .all(|line| line.restocked == line.sold.quantity);
        match is_all_back {
            true => "Nothing is left to ship: all of its pieces went back into stock.",
            false => "Do not ship it: a refund of all of its money is under way.",
        }
    }

    /// Reports whether the page offers to refund everything and restock the pieces.
    fn may_put_all_back(&self) -> bool {
        !self.is_whole
            && self
                .view
                .lines
                .iter()
                .any(|line| line.sold.product_id.is_some() && line.to_ship > 0)
    }

    /// Reports whether this is a manual sale that can be undone.
    fn may_undo(&self) -> bool {
        self.view.order.is_manual() && self.view.order.status.may_become(Status::Refunded)
    }
}

/// `GET /admin/orders/{id}`: accepts an id, or a number such as `SB-1042`. With `?refund=whole`, the refund form is
/// prefilled with all remaining pieces and money.
pub async fn show(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response> {
    let id = orders::resolve(&mut *app.db.acquire().await?, &id).await?;
    let forms = Forms {
        is_whole: query.get("refund") == Some("whole"),
        ..Forms::default()
    };
    page(&app, &context, id, forms).await
}

/// Shows the page with a correction of the shipment that was refused.
pub async fn show_correction(
    app: &App,
    context: &AdminContext,
    id: &str,
    form: Form,
) -> Result<Response> {
    let id = orders::resolve(&mut *app.db.acquire().await?, id).await?;
    let forms = Forms {
        correct_shipment: form,
        ..Forms::default()
    };
    page(app, context, id, forms).await
}

/// Shows the page with a correction of the customer's data that was refused.
pub async fn show_customer(
    app: &App,
    context: &AdminContext,
    id: &str,
    form: Form,
) -> Result<Response> {
    let id = orders::resolve(&mut *app.db.acquire().await?, id).await?;
    let forms = Forms {
        correct_customer: form,
        ..Forms::default()
    };
    page(app, context, id, forms).await
}

async fn page(
    app: &App,
    context: &AdminContext,
    id: OrderId,
    mut forms: Forms,
) -> Result<Response> {
    let mut conn = app.db.acquire().await?;
    let view = orders::view(&mut conn, id).await?;
    let (payments, refunds) = payments::of_subject(&mut conn, RefundSubject::Order(id)).await?;
    let emails = sent_emails::about(&mut conn, app, About::order(id)).await?;
    let images = match &view.shipment {
        Some(shipment) => images::list_views(&mut conn, &shipment.images).await?,
        None => Vec::new(),
    };
    let may_unship = orders::may_unship(&mut conn, &view.order).await?;
    let refund_forms = refunds::forms(&payments, &forms.refund);
    let custom_order = custom_orders::find_by_order(&mut conn, id).await?;
    let warnings = orders::shipping_warnings(&mut conn, &view.order).await?;
    let is_whole = match forms.refund.is_sent() {
        true => forms.refund.has("whole", "yes"),
        false => forms.is_whole && refund_forms.iter().any(|form| form.takes_pieces),
    };
    let returnable = orders::not_returned(&mut conn, id).await?;
    let restock = restock_fields(returnable.clone(), &view, &forms.refund, is_whole);
    let alone = restock_fields(returnable, &view, &forms.restock, false);
    let restock_form = RestockForm::new(alone, &view, &refund_forms, &forms.restock);
    if let (Some(shipment), false) = (&view.shipment, forms.correct_shipment.is_sent()) {
        forms.correct_shipment = shipment_form::correction(shipment);
    }
    if !forms.ship.is_sent() {
        forms.ship = shipment_form::prefilled(orders::last_carrier(&mut conn).await?.as_deref());
    }
    if !forms.correct_customer.is_sent() {
        let order = &view.order;
        let (name, email) = (order.customer_name.as_deref(), order.email.as_deref());
        forms.correct_customer = customer_form(name, email, Some(order));
    }
    let sent = [
        &forms.correct_customer,
        &forms.ship,
        &forms.correct_shipment,
        &forms.refund,
        &forms.restock,
        &forms.note,
    ];
    let faulty = sent.into_iter().any(Form::has_errors);
    let shown = context.show_with_camera(&OrderPage {
        context,
        address: view.order.label(),
        warnings,
        view,
        payments,
        refunds,
        emails,
        may_unship,
        images,
        refund_forms,
        restock,
        restock_form,
        is_whole,
        custom_order,
        forms,
    })?;
    Ok(if faulty {
        refused(shown, StatusCode::BAD_REQUEST, None)
    } else {
        shown
    })
}

/// Returns the lines that may be restocked, with the prefilled quantities. They are 0 by default, because a partial
/// refund usually returns no pieces. A full refund restocks the pieces that were not shipped.
fn restock_fields(
    returnable: Vec<(ProductId, i32)>,
    view: &OrderView,
    form: &Form,
    is_whole: bool,
) -> Vec<RestockablePiece> {
    let fields = returnable.into_iter().map(|(product, most)| {
        let field = format!("restock.{}", product.0);
        let mut lines = view.lines.iter();
        let line = lines.find(|line| line.sold.product_id.as_ref() == Some(&product));
        let usual = line.filter(|_| is_whole).map_or(0, |line| line.to_ship);
        RestockablePiece {
            value: match form.is_sent() {
                true => form.get(&field),
                false => usual.to_string(),
            },
            name: line.map_or_else(|| product.0.clone(), |line| line.sold.name.clone()),
            most,
            field,
        }
    });
    fields.collect()
}

/// Finds the order with this id or number.
async fn find(conn: &mut PgConnection, id: &str) -> Result<Order> {
    let id = orders::resolve(conn, id).await?;
    let order = orders::find(conn, id).await?;
    order.ok_or(Error::NotFound("Order"))
}

fn path(order: &Order) -> String {
    format!("/admin/orders/{}", order.display_number())
}

/// `POST /admin/orders/{id}/ship`: accepts an upload, or a plain form without images.
pub async fn ship(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response> {
    let sent = ImageForm::read(&app, request, IMAGES).await?;
    let shipping = async {
        sent.check_files(IMAGES)?;
        let number = sent.form.get("tracking_number");
        let shipment = shipment(&sent.form, &number, sent.image_ids());
        let mut tx = app.db.begin().await?;
        let id = orders::resolve(&mut tx, &id).await?;
        let order = fulfillment::ship(&mut tx, &app, &context.actor()?, id, &shipment).await?;
        tx.commit().await?;
        Ok(order)
    };
    match shipping.await {
        Ok(order) => {
            sent.images.done();
            let said = match &order.email {
                Some(email) => format!(
                    "{} is shipped; an email goes to {email}.",
                    order.display_number()
                ),
                None => format!("{} is shipped.", order.display_number()),
            };
            Ok(context.go_on(&path(&order), &said))
        }
        Err(error) => {
            sent.images.discard().await;
            let error = to_confirm(error);
            let forms = Forms {
                ship: sent.form.refused(by_field(error))?,
                ..Forms::default()
            };
            let id = orders::resolve(&mut *app.db.acquire().await?, &id).await?;
            page(&app, &context, id, forms).await
        }
    }
}

/// `POST /admin/orders/{id}/deliver`
pub async fn deliver(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let id = orders::resolve(&mut tx, &id).await?;
    let order = fulfillment::deliver(&mut tx, &context.actor()?, id).await?;
    tx.commit().await?;
    let said = format!("{} is delivered.", order.display_number());
    Ok(context.go_on(&path(&order), &said))
}

/// `POST /admin/orders/{id}/note`
pub async fn note(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let id = orders::resolve(&mut tx, &id).await?;
    let text = form.get("text");
    let order = match orders::write_note(&mut tx, &context.actor()?, id, &text).await {
        Ok(order) => order,
        Err(error) => {
            drop(tx);
            let forms = Forms {
                note: form.refused(error)?,
                ..Forms::default()
            };
            return page(&app, &context, id, forms).await;
        }
    };
    tx.commit().await?;
    Ok(context.go_on(&path(&order), "The note is saved."))
}

/// `POST /admin/orders/{id}/undo`: undoes a manual sale. Redirects to the sell page if the form asks for it.
pub async fn undo(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let mut tx = app.db.begin().await?;
    let id = orders::resolve(&mut tx, &id).await?;
    let order = orders::undo_sale(&mut tx, &context.actor()?, id).await?;
    tx.commit().await?;
    let said = format!(
        "{} is undone, and its pieces are in stock again.",
        order.display_number()
    );
    match form.get("back").as_str() {
        "sell" => Ok(context.go_on("/admin/sell", &said)),
        _ => Ok(context.go_on(&path(&order), &said)),
    }
}

/// `POST /admin/orders/{id}/refund`
pub async fn refund(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let actor = context.actor()?;
    let mut tx = app.db.begin().await?;
    let order = find(&mut tx, &id).await?;
    let refunding = async {
        let new = read_refund(&form, &order.currency)?;
        payments::refund(&mut tx, &actor, RefundSubject::Order(order.id), &new).await?;
        check_is_as_seen(&mut tx, &form, order.id, &new.restock).await
    };
    if let Err(error) = refunding.await {
        drop(tx);
        let forms = Forms {
            refund: form.refused(by_field(error))?,
            ..Forms::default()
        };
        return page(&app, &context, order.id, forms).await;
    }
    tx.commit().await?;
    Ok(context.go_on(&path(&order), REFUND_PLANNED))
}

/// `POST /admin/orders/{id}/restock`: pieces back into stock, without money.
pub async fn restock(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response> {
    let actor = context.actor()?;
    let mut tx = app.db.begin().await?;
    let order = find(&mut tx, &id).await?;
    let restocking = async {
        let new = read_restock(&form)?;
        if new.pieces.is_empty() {
            return Ok("No piece was chosen, so nothing was put back.");
        }
        orders::restock(&mut tx, &actor, order.id, &new).await?;
        check_is_as_seen(&mut tx, &form, order.id, &new.pieces).await?;
        Ok("The pieces are back in stock.")
    };
    match restocking.await {
        Ok(said) => {
            tx.commit().await?;
            Ok(context.go_on(&path(&order), said))
        }
        Err(error) => {
            drop(tx);
            let forms = Forms {
                restock: form.refused(by_field(error))?,
                ..Forms::default()
            };
            page(&app, &context, order.id, forms).await
        }
    }
}

/// Refuses pieces from a form that shows the order as it no longer is: one that was shipped meanwhile has its pieces in the
/// mail, and they must not be on sale. Called once the pieces are back and the order is locked: a shipment that was under way
/// when the form came has ended by then. The caller rolls back.
async fn check_is_as_seen(
    conn: &mut PgConnection,
    form: &Form,
    order: OrderId,
    pieces: &[(ProductId, i32)],
) -> Result<()> {
    let seen = form.get("status");
    if pieces.is_empty() || seen.is_empty() {
        return Ok(());
    }
    let order = orders::find(conn, order).await?;
    let now = order.ok_or(Error::NotFound("Order"))?.status.as_str();
    if seen == now {
        return Ok(());
    }
    Err(Error::invalid(
        "restock",
        format!(
            "would put pieces back of an order that is {now} by now. Check that they are here, and send the form again"
        ),
    ))
}

/// The return of pieces that a form asks for.
fn read_restock(form: &Form) -> Result<NewRestock> {
    let id = form.get("id").parse().map(RestockId);
    let id = id.map_err(|_| stale_form())?;
    let mut field_errors = Vec::new();
    let pieces = read_pieces(form, &mut field_errors);
    match field_errors.is_empty() {
        true => Ok(NewRestock {
            id,
            pieces,
            reason: form.get("reason"),
        }),
        false => Err(Error::Invalid(field_errors)),
    }
}

#[derive(Template)]
#[template(path = "packing_slip.html", config = "src/admin/askama.toml")]
struct PackingSlipPage<'a> {
    context: &'a AdminContext,
    view: OrderView,
    address: Vec<String>,
}

impl PackingSlipPage<'_> {
    /// Returns the lines that go, or went, into the box.
    fn packed(&self) -> Vec<&OrderLine> {
        let lines = self.view.lines.iter();
        lines.filter(|line| line.packed() > 0).collect()
    }
}

/// `GET /admin/orders/{id}/packing-slip`
pub async fn packing_slip(
    State(app): State<App>,
    context: AdminContext,
    Path(id): Path<String>,
) -> Result<Response> {
    let mut conn = app.db.acquire().await?;
    let id = orders::resolve(&mut conn, &id).await?;
    let view = orders::view(&mut conn, id).await?;
    context.show(&PackingSlipPage {
        context: &context,
        address: view.order.label(),
        view,
    })
}
