//! Checkout in three steps without network inside a transaction (P4): reserve and commit, call Stripe, record.
//!
//! [`settle_unheard`](super::settle_unheard) recovers from a crash after any step: the whole request is stored, so repeating it under the same
//! key reveals its outcome.

use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};
use sqlx::PgConnection;
use tracing::{info, warn};

use super::checkout_end::{end_superseded, give_up, unavailable};
use super::states::CheckoutState;
use super::{HOLD_MARGIN, SESSION_LIFETIME, store};
use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::http::idempotency::{Key, Known};
use crate::http::rate_limit::{self, Client};
use crate::jobs::{self, Job};
use crate::orders::{self, Cart, CheckoutTerms, PlacedOrder, Placement, Status, Zone};
use crate::settings::{self, Settings};
use crate::stripe::{NewSession, Session, SessionLine, ShippingOption, StripeError};
use crate::types::ids::OrderId;

/// Interval at which a repeated request checks whether the first one was answered.
const REPEAT_PAUSE: Duration = Duration::from_millis(50);

/// Answer to a checkout: status, JSON, and the order for the shopper's cookie.
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub order: Option<OrderId>,
}

/// A checkout request.
pub struct Request {
    pub cart: Cart,
    /// `None` when the shopper's country is unknown.
    pub zone: Option<Zone>,
    /// Allowed origin to return to.
    pub return_origin: String,
    pub key: Option<Key>,
    pub client: Client,
    /// The pending order in the shopper's cookie.
    pub supersedes: Option<OrderId>,
}

/// Holds the pieces, creates a payment page for them, and returns its address.
///
/// # Errors
/// `Cart` with every faulty line; 429 for a client with too many unpaid pieces; 400 `payment_setup_error` when Stripe
/// refuses; 503 `payment_unavailable` when it cannot be reached. Nothing is held in these cases.
pub async fn check_out(app: &App, request: Request) -> Result<Answer> {
    if let Some(answer) = first_answer(app, &request).await? {
        return Ok(answer);
    }
    let answer = carry_out(app, &request).await;
    app.metrics.checked_out(answer.as_ref().err());
    answer
}

/// Answer of the first attempt under a request's key, if any.
async fn first_answer(app: &App, request: &Request) -> Result<Option<Answer>> {
    match &request.key {
        Some(key) => repeat(app, key).await,
        None => Ok(None),
    }
}

async fn carry_out(app: &App, request: &Request) -> Result<Answer> {
    check_size(app, request)?;
    let mut is_by_amounts = false;
    loop {
        let former = match request.supersedes {
            Some(order) => Some(newest(app, order).await?),
            None => None,
        };
        let replaces = match former {
            Some(order) if check_cart(app, request, order).await? => {
                end_superseded(app, order).await?
            }
            Some(_) => match first_answer(app, request).await? {
                Some(answer) => return Ok(answer),
                None => continue,
            },
            None => None,
        };
        match place_and_ask(app, request, former, replaces).await {
            Ok(answer) => return Ok(answer),
            // Stripe refused the stored prices, so they may be wrong. Retry once with amounts instead.
            Err(Setback::Prices(_)) if !is_by_amounts => is_by_amounts = true,
            Err(Setback::Overtaken) => {}
            Err(Setback::Prices(error) | Setback::Failed(error)) => return Err(error),
        }
    }
}

/// Follows replacements to the order that currently holds a shopper's pieces, because another tab may have replaced the
/// order in the cookie.
async fn newest(app: &App, order: OrderId) -> Result<OrderId> {
    let limit = app.config.stripe.timeout * 3 / 2;
    loop {
        let mut conn = app.db.acquire().await?;
        let last = store::last_replacement(&mut conn, order).await?;
        if last == order || !store::is_being_asked(&mut conn, last, limit).await? {
            return Ok(last);
        }
        // Its payment page is being created: wait, so that its tab gets an answer.
        drop(conn);
        tokio::time::sleep(REPEAT_PAUSE).await;
    }
}

/// Checks a cart before ending the former payment page. Returns false when the caller must start over: the first
/// attempt under this key has placed its order in the meantime, whose hold must stay; or another tab has replaced the
/// former order, whose successor holds the pieces.
///
/// # Errors
/// As [`check_out`], for carts and limits. The former order stays.
async fn check_cart(app: &App, request: &Request, former: OrderId) -> Result<bool> {
    let mut tx = app.db.begin().await?;
    if let Some(key) = &request.key {
        let known = key.claim(&mut tx).await?;
        if !is_free(&mut tx, &known).await? {
            return Ok(false);
        }
    }
    let error = match too_much_held(app, &mut tx, request, Some(former)).await? {
        Some(error) => error,
        None => {
            let currency = app.config.shop.currency;
            let field_errors =
                orders::check(&mut tx, &request.cart, currency, Some(former)).await?;
            if field_errors.is_empty() {
                return Ok(true);
            }
            Error::Cart(field_errors)
        }
    };
    // Read last, so that a successor that interfered above is seen here.
    if store::is_replaced(&mut tx, former).await? {
        return Ok(false);
    }
    keep_refusal(&mut tx, request, &error).await?;
    tx.commit().await?;
    Err(error)
}

/// Stores a cart error as the answer for its key.
async fn keep_refusal(conn: &mut PgConnection, request: &Request, error: &Error) -> Result<()> {
    // The client's hold limit is not stored, because the client may hold less in a moment.
    if let (Some(key), Error::Cart(_)) = (&request.key, error) {
        let answer = (error.status().as_u16(), &error.body());
        key.keep(conn, None, Some(answer)).await?;
    }
    Ok(())
}

/// Reasons why a checkout failed.
enum Setback {
    /// Final.
    Failed(Error),
    /// Stripe refused a request with stored prices.
    Prices(Error),
    /// Another tab of the same shopper was faster; its order must be replaced instead.
    Overtaken,
}

impl<E: Into<Error>> From<E> for Setback {
    fn from(error: E) -> Setback {
        Setback::Failed(error.into())
    }
}

/// Runs the three steps.
async fn place_and_ask(
    app: &App,
    request: &Request,
    former: Option<OrderId>,
    replaces: Option<OrderId>,
) -> std::result::Result<Answer, Setback> {
    let mut tx = loop {
        let mut tx = app.db.begin().await?;
        let Some(key) = &request.key else { break tx };
        // The second of two concurrent requests under one key waits here for the first to commit.
        let known = key.claim(&mut tx).await?;
        if is_free(&mut tx, &known).await? {
            break tx;
        }
        tx.commit().await?;
        if let Some(answer) = repeat(app, key).await? {
            return Ok(answer);
        }
    };
    request.client.serialize_for_client(&mut tx).await?;
    if let Some(former) = former {
        orders::lock(&mut tx, former).await?;
        if store::is_replaced(&mut tx, former).await? {
            return Err(Setback::Overtaken);
        }
    }
    let settings = settings::current(&mut tx, &app.config).await?;
    let zone = request.zone.unwrap_or(Zone::DEFAULT);
    let terms = CheckoutTerms {
        currency: app.config.shop.currency,
        zone,
        shipping: zone.rate(&settings).price,
    };
    // The session of the replaced order is over, so its pieces are free even if this checkout fails.
    let placed = match too_much_held(app, &mut tx, request, replaces).await? {
        Some(error) => {
            if let Some(old) = replaces {
                let note = "replaced by a new checkout";
                orders::release(&mut tx, old, Status::Cancelled, "shopper", note).await?;
            }
            Err(error)
        }
        None => match orders::place(&mut tx, &request.cart, terms, replaces).await? {
            Placement::Placed(placed) => Ok(placed),
            Placement::Unavailable(line_errors) => Err(Error::Cart(line_errors)),
        },
    };
    if let Some(old) = replaces {
        store::set_checkout_state(&mut tx, old, CheckoutState::Expired, None).await?;
    }
    let placed = match placed {
        Ok(placed) => placed,
        Err(error) => {
            keep_refusal(&mut tx, request, &error).await?;
            tx.commit().await?;
            return Err(error.into());
        }
    };
    let order = placed.order.id;
    let session = new_session(app, &placed, request, &settings);
    store::insert_checkout(
        &mut tx,
        &session,
        &request.return_origin,
        session.expires_at + HOLD_MARGIN,
        request.client.hash(),
    )
    .await?;
    if let Some(former) = former {
        store::set_replaced(&mut tx, former, order).await?;
    }
    if let Some(key) = &request.key {
        key.keep(&mut tx, Some(order), None).await?;
    }
    tx.commit().await?;
    info!(%order, "checkout placed");
    ask(app, &session, request.key.as_ref())
        .await
        .map_err(|error| match error {
            Error::Refused(_, Code::PaymentSetupError, _) if session.names_prices() => {
                Setback::Prices(error)
            }
            error => Setback::Failed(error),
        })
}

/// Number of pieces in a cart.
fn pieces(cart: &Cart) -> i64 {
    cart.quantities().values().copied().map(i64::from).sum()
}

/// Rejects a cart larger than its client's limit, before anything is changed.
///
/// # Errors
/// 400 `too_many_pieces`.
fn check_size(app: &App, request: &Request) -> Result<()> {
    let most = i64::from(app.config.server.limits.held_pieces);
    if request.client.hash().is_none() || pieces(&request.cart) <= most {
        return Ok(());
    }
    Err(Error::refused(
        Code::TooManyPieces,
        format!("At most {most} pieces can be bought at a time. For more, please write to us."),
    ))
}

/// Limits unpaid holds, so that nobody can empty the shop without paying. Counts what this client holds (except for the
/// replaced order) and this cart. Returns the error above the limit: 429 with the time until the first of those holds
/// expires.
async fn too_much_held(
    app: &App,
    conn: &mut PgConnection,
    request: &Request,
    replaces: Option<OrderId>,
) -> Result<Option<Error>> {
    let Some(hash) = request.client.hash() else {
        return Ok(None);
    };
    let pieces = pieces(&request.cart);
    let (held, seconds) = store::held_by(conn, hash, replaces).await?;
    if held + pieces <= i64::from(app.config.server.limits.held_pieces) {
        return Ok(None);
    }
    warn!(held, pieces, "a client would hold too many unpaid pieces");
    let wait = Duration::from_secs_f64(seconds.ceil().max(1.0));
    Ok(Some(Error::TooMany(
        None,
        wait,
        format!(
            "{held} pieces are held for you already that are not paid. Pay for them, go back from their payment page, \
             or try again in {}.",
            rate_limit::in_words(wait)
        ),
    )))
}

/// Runs the second and third step.
async fn ask(app: &App, new: &NewSession, key: Option<&Key>) -> Result<Answer> {
    let order = new.order;
    match app.stripe.create_session(new).await {
        Ok(Session {
            id, url: Some(url), ..
        }) => {
            let body = json!({ "checkout_url": url });
            let mut tx = app.db.begin().await?;
            let released = orders::lock(&mut tx, order)
                .await?
                .is_none_or(|order| order.status.is_released());
            store::record_session(&mut tx, order, &id, Some(&url)).await?;
            if released {
                // Another attempt, or the sweep, gave up in the meantime, so no pieces are held for a payment.
                store::set_checkout_state(&mut tx, order, CheckoutState::Unknown, None).await?;
                jobs::enqueue(&mut tx, &Job::SettleCheckout { order }).await?;
                tx.commit().await?;
                return Err(unavailable(StripeError::Unknown(format!(
                    "the answer of session {id} came too late"
                ))));
            }
            if let Some(key) = key {
                key.keep_for_shopper(&mut tx, order, 200, &body).await?;
            }
            tx.commit().await?;
            Ok(Answer {
                status: 200,
                body,
                order: Some(order),
            })
        }
        // The session was over before its answer arrived, so it cannot be paid.
        Ok(session) => {
            give_up(app, order, CheckoutState::Expired, "the session is over").await?;
            Err(unavailable(StripeError::Unknown(format!(
                "session {} is {}",
                session.id, session.status
            ))))
        }
        // 402 says nothing about the request: it was valid, and failed all the same.
        Err(error @ (StripeError::Unavailable(_) | StripeError::Refused { status: 402, .. })) => {
            give_up(app, order, CheckoutState::Refused, &error.to_string()).await?;
            Err(unavailable(error))
        }
        Err(error @ StripeError::Refused { .. }) => {
            warn!(%order, %error, "Stripe refused a checkout");
            give_up(app, order, CheckoutState::Refused, &error.to_string()).await?;
            Err(Error::refused(
                Code::PaymentSetupError,
                "The payment could not be set up. Nothing was charged; please contact the shop.",
            ))
        }
        // A session may exist. Its address was lost, so nobody can pay it and the pieces can be released; a job finds
        // the session and expires it.
        Err(error @ (StripeError::Unknown(_) | StripeError::Failed(_))) => {
            give_up(app, order, CheckoutState::Unknown, &error.to_string()).await?;
            Err(unavailable(error))
        }
    }
}

/// Returns true when the request of a claimed key must be carried out (again), because no earlier attempt has a result.
async fn is_free(conn: &mut PgConnection, known: &Known) -> Result<bool> {
    match known {
        Known::New => Ok(true),
        // An order without a hold cannot be paid any more.
        Known::Answered {
            order: Some(order), ..
        } => Ok(orders::find(conn, *order)
            .await?
            .is_none_or(|order| order.status.is_released())),
        Known::Answered { order: None, .. } => Ok(false),
        // Read without a lock: writers take the order lock before the key lock, and a released order never becomes
        // pending again.
        Known::Begun(order) => Ok(orders::find(conn, *order)
            .await?
            .is_none_or(|order| order.status != Status::Pending)),
    }
}

/// Answers a repeated request. Returns `None` when it must be carried out (again).
///
/// # Errors
/// 503 when the awaited first attempt failed: the caller may retry.
async fn repeat(app: &App, key: &Key) -> Result<Option<Answer>> {
    let mut waited = false;
    loop {
        let mut tx = app.db.begin().await?;
        let known = key.claim(&mut tx).await?;
        let free = is_free(&mut tx, &known).await?;
        tx.commit().await?;
        match known {
            Known::Answered {
                order,
                status,
                answer,
            } if !free => {
                return Ok(Some(Answer {
                    status,
                    body: answer,
                    order,
                }));
            }
            Known::Begun(order) if !free => {
                let mut conn = app.db.acquire().await?;
                let checkout = store::find_checkout(&mut conn, order).await?;
                // The first attempt still waits for Stripe, as far as known; this request returns its answer.
                let limit = app.config.stripe.timeout * 3 / 2;
                let waits = store::is_being_asked(&mut conn, order, limit).await?;
                drop(conn);
                match checkout {
                    Some(_) if waits => {
                        waited = true;
                        tokio::time::sleep(REPEAT_PAUSE).await;
                    }
                    // A repeat returns the session of the first attempt, whether or not it was recorded.
                    Some(store::Checkout {
                        request: Some(request),
                        ..
                    }) => {
                        return ask(app, &request.0, Some(key)).await.map(Some);
                    }
                    _ => return Ok(None),
                }
            }
            Known::Begun(_) if waited => {
                return Err(unavailable(StripeError::Unavailable(
                    "the first attempt under this key failed".to_owned(),
                )));
            }
            Known::Answered { .. } | Known::Begun(_) | Known::New => return Ok(None),
        }
    }
}

/// Shipping options of a checkout.
struct Shipping {
    first: ShippingOption,
    others: Vec<ShippingOption>,
    countries: Vec<String>,
}

/// Offers the rate and the countries of the shopper's zone only, so that the paid rate matches the shipment. When the
/// country is unknown, offers every zone's rate, the default first, and every country.
fn shipping(zone: Option<Zone>, settings: &Settings) -> Shipping {
    let option = |zone: Zone, name: &str| {
        let rate = zone.rate(settings);
        ShippingOption {
            zone: zone.code().to_owned(),
            name: name.to_owned(),
            price: rate.price,
            days: (rate.min_days, rate.max_days),
        }
    };
    match zone {
        Some(zone) => Shipping {
            first: option(zone, zone.title()),
            others: Vec::new(),
            countries: zone.countries(),
        },
        // Stripe's page ties no rate to a country, and offering the default zone alone would lose every sale abroad. A
        // shopper who chooses the rate of a zone that differs from the address is detected at payment: the order is
        // flagged before it ships.
        None => Shipping {
            first: option(Zone::DEFAULT, Zone::DEFAULT.choice()),
            others: Zone::ALL
                .into_iter()
                .filter(|zone| *zone != Zone::DEFAULT)
                .map(|zone| option(zone, zone.choice()))
                .collect(),
            countries: Zone::ALL.into_iter().flat_map(Zone::countries).collect(),
        },
    }
}

fn new_session(
    app: &App,
    placed: &PlacedOrder,
    request: &Request,
    settings: &Settings,
) -> NewSession {
    let Shipping {
        first,
        others,
        countries,
    } = shipping(request.zone, settings);
    let order = &placed.order;
    let public_url = &app.config.server.public_url;
    NewSession {
        order: order.id,
        order_number: order.display_number(),
        currency: order.currency.clone(),
        lines: placed
            .lines
            .iter()
            .map(|placed| SessionLine {
                product: placed.line.product_id.clone(),
                // A rehearsal's key does not know the price.
                price: placed
                    .stripe_price
                    .clone()
                    .filter(|_| !app.config.stripe.rehearsal),
                name: placed.line.name.clone(),
                image: placed
                    .line
                    .image
                    .as_deref()
                    .and_then(|image| app.config.image_url(image)),
                unit_amount: placed.line.unit_price,
                quantity: placed.line.quantity,
            })
            .collect(),
        shipping_name: first.name,
        shipping_price: first.price,
        shipping_days: first.days,
        other_shipping: others,
        countries,
        success_url: format!(
            "{}/success?session_id={{CHECKOUT_SESSION_ID}}",
            request.return_origin
        ),
        cancel_url: format!(
            "{public_url}/api/payments/cancel/{}/",
            app.signer.sign("cancel", &order.id.to_string())
        ),
        expires_at: Utc::now() + SESSION_LIFETIME,
    }
}
