//! Shipments: contents, carrier and tracking.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::carriers::{self, tracking_page};
use super::{Order, Shipment, Status, store};
use crate::emails::ShipmentEmailData;
use crate::error::{Code, Error, FieldError, Result};
use crate::http::nulls;
use crate::images;
use crate::orders::disputes::{self, Dispute, DisputeState};
use crate::review_items::Kind;
use crate::types::ids::{ImageId, OrderId};

/// The shipment of an order, as entered by the owner.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewShipment {
    /// Carrier, such as `USPS`. Empty or not given: recognized from the tracking number.
    #[serde(default)]
    #[schema(
        required = false,
        max_length = 100,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"
    )]
    pub carrier: String,
    /// Up to 100 letters, digits, spaces and hyphens. Of a scanned barcode of USPS or FedEx, the number in it is kept.
    #[schema(max_length = 100, pattern = "^[A-Za-z0-9 -]*$")]
    pub tracking_number: Option<String>,
    /// Tracking page, an http or https address. Derived from the number for common carriers.
    #[schema(max_length = 2000, pattern = r"^(\s*|\s*https?://[^\s/].*)$")]
    pub tracking_url: Option<String>,
    /// Ids of uploaded images of the shipment or the finished piece: up to 10.
    #[serde(default)]
    #[schema(value_type = Vec<ImageId>, required = false, max_items = 10)]
    pub images: Vec<String>,
    /// Ships in spite of warnings: an open or lost dispute, a fraud warning, a review, or a failed refund in full.
    #[serde(default)]
    #[schema(required = false)]
    pub ship_anyway: bool,
}

/// Corrections of a shipment that was recorded wrongly. What is not given stays as it is.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShipmentCorrection {
    /// Carrier, such as `USPS`. Null or empty: recognized from the tracking number.
    #[serde(default, deserialize_with = "nulls::null_as_empty")]
    #[schema(max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    pub carrier: Option<String>,
    /// Up to 100 letters, digits, spaces and hyphens; null or empty for none.
    #[serde(default, deserialize_with = "nulls::null_as_empty")]
    #[schema(max_length = 100, pattern = "^[A-Za-z0-9 -]*$")]
    pub tracking_number: Option<String>,
    /// Tracking page, an http or https address. Null or empty, or not given with another carrier or number: derived from
    /// the number for common carriers.
    #[serde(default, deserialize_with = "nulls::null_as_empty")]
    #[schema(max_length = 2000, pattern = r"^(\s*|\s*https?://[^\s/].*)$")]
    pub tracking_url: Option<String>,
    /// Ids of all images after the correction: up to 10.
    #[serde(default, deserialize_with = "nulls::given")]
    #[schema(value_type = Vec<ImageId>, required = false, max_items = 10)]
    pub images: Option<Vec<String>>,
    /// Emails the customer the corrected tracking.
    #[serde(default)]
    #[schema(required = false)]
    pub send_email: bool,
}

impl ShipmentCorrection {
    /// The shipment as it should have been recorded.
    fn applied_to(&self, shipment: &Shipment) -> Result<Checked> {
        let images = shipment.images.iter().map(|image| image.0.clone());
        let carrier = self.carrier.as_ref().unwrap_or(&shipment.carrier);
        let number = self.tracking_number.as_ref();
        let corrected = NewShipment {
            carrier: carrier.clone(),
            tracking_number: number.or(shipment.tracking_number.as_ref()).cloned(),
            tracking_url: self.tracking_url.clone(),
            images: self.images.clone().unwrap_or_else(|| images.collect()),
            ship_anyway: false,
        };
        let mut checked = corrected.check()?;
        let is_same =
            checked.carrier == shipment.carrier && checked.number == shipment.tracking_number;
        if is_same && self.tracking_url.is_none() {
            checked.url.clone_from(&shipment.tracking_url);
        }
        Ok(checked)
    }
}

impl Shipment {
    /// The tracking page, unless it is the one that derives from the carrier and the number.
    pub fn own_tracking_page(&self) -> Option<&str> {
        let derived = tracking_page(&self.carrier, self.tracking_number.as_deref());
        self.tracking_url
            .as_deref()
            .filter(|page| derived.as_deref() != Some(*page))
    }

    /// Carrier and tracking number.
    fn in_words(&self) -> String {
        match &self.tracking_number {
            Some(number) => format!("{} {number}", self.carrier),
            None => self.carrier.clone(),
        }
    }

    /// Facts for the audit log.
    pub fn audit_facts(&self) -> Value {
        json!({
            "carrier": self.carrier,
            "tracking_number": self.tracking_number,
            "tracking_url": self.tracking_url,
            "images": self.images,
        })
    }

    /// Says how another shipment differs from this one, for the timeline: `carrier USPS → UPS`. Empty where it does not.
    fn changes_to(&self, after: &Shipment) -> String {
        let mut changes = Vec::new();
        let mut changed = |what: &str, was: Option<&str>, is: Option<&str>, missing: &str| {
            if was != is {
                let (was, is) = (was.unwrap_or(missing), is.unwrap_or(missing));
                changes.push(format!("{what} {was} → {is}"));
            }
        };
        changed("carrier", Some(&self.carrier), Some(&after.carrier), "");
        let numbers = [self, after].map(|shipment| shipment.tracking_number.as_deref());
        changed("tracking number", numbers[0], numbers[1], "none");
        let pages = [self, after].map(Shipment::own_tracking_page);
        changed("tracking page", pages[0], pages[1], "the usual one");
        match (self.images.len(), after.images.len()) {
            (was, is) if was != is => changes.push(format!("photos {was} → {is}")),
            _ if self.images != after.images => changes.push("other photos".to_owned()),
            _ => {}
        }
        changes.join(", ")
    }

    /// Data of the shipment for emails.
    pub fn email_data(&self) -> ShipmentEmailData {
        ShipmentEmailData {
            carrier: Some(self.carrier.clone()),
            tracking_number: self.tracking_number.clone(),
            tracking_url: self.tracking_url.clone(),
            shipped_at: self.shipped_at,
            images: self.images.clone(),
        }
    }
}

/// A shipment with validated fields.
struct Checked {
    carrier: String,
    number: Option<String>,
    url: Option<String>,
    images: Vec<ImageId>,
}

impl NewShipment {
    /// Facts for the audit log.
    pub fn audit_facts(&self) -> Value {
        let (carrier, number) = self.resolve();
        json!({
            "carrier": carrier,
            "tracking_number": Some(number).filter(|number| !number.is_empty()),
            "images": self.images.len(),
        })
    }

    /// Carrier and tracking number: the carrier that was named, or the one that the number tells. Either may be empty.
    fn resolve(&self) -> (String, String) {
        let number = self.tracking_number.as_deref().unwrap_or_default().trim();
        let number = carriers::tracking_number(number);
        let carrier = match self.carrier.trim() {
            "" => carriers::recognize(&number).unwrap_or_default(),
            named => named,
        };
        (carrier.to_owned(), number)
    }

    /// Validates the fields, and derives the tracking page for known carriers.
    fn check(&self) -> Result<Checked> {
        let mut field_errors = Vec::new();
        let (carrier, number) = self.resolve();
        let mut refuse = |why| field_errors.push(FieldError::new("carrier", why));
        match carrier.chars().count() {
            0 if number.is_empty() => refuse("is needed, or a tracking number that tells it"),
            0 => refuse("is needed, because the tracking number does not tell it"),
            count if count > 100 || carrier.chars().any(char::is_control) => {
                refuse("must have 1 to 100 characters, on one line");
            }
            _ => {}
        }
        let given = |text: &Option<String>| {
            text.as_deref()
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let number = (!number.is_empty()).then_some(number);
        // The number becomes a part of the carrier's address, where other characters would change its meaning.
        let is_plain = |number: &str| {
            number.len() <= 100
                && number
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b' ' || b == b'-')
        };
        if number.as_deref().is_some_and(|number| !is_plain(number)) {
            field_errors.push(FieldError::new(
                "tracking_number",
                "must have at most 100 letters, digits, spaces and hyphens",
            ));
        }
        let url = given(&self.tracking_url);
        // Stores the address in the parser's normalized form, without the characters that the parser skips.
        let address = |text: &str| {
            let url = url::Url::parse(text).ok().filter(|_| text.len() <= 2000)?;
            matches!(url.scheme(), "http" | "https").then(|| String::from(url))
        };
        let url = match &url {
            None => None,
            Some(text) => {
                let url = address(text);
                if url.is_none() {
                    field_errors.push(FieldError::new(
                        "tracking_url",
                        "must be an http or https address",
                    ));
                }
                url
            }
        };
        // An address given with the shipment wins over the one derived from the number.
        let url = url.or_else(|| tracking_page(&carrier, number.as_deref()));
        if self.images.len() > 10 {
            field_errors.push(FieldError::new("images", "must have at most 10 images"));
        }
        let mut images = Vec::new();
        for (at, id) in self.images.iter().enumerate() {
            match ImageId::parse(id) {
                Some(id) => images.push(id),
                None => {
                    field_errors.push(FieldError::new(format!("images[{at}]"), "is no image's id"))
                }
            }
        }
        if field_errors.is_empty() {
            Ok(Checked {
                carrier,
                number,
                url,
                images,
            })
        } else {
            Err(Error::Invalid(field_errors))
        }
    }
}

/// Reasons not to ship an order yet, as sentences: open and lost disputes, fraud warnings, payment reviews, and a failed
/// refund in full.
pub async fn shipping_warnings(conn: &mut PgConnection, order: &Order) -> Result<Vec<String>> {
    let disputes = disputes::list_of_order(conn, order.id).await?;
    let mut warnings: Vec<String> = disputes.iter().filter_map(warning_of).collect();
    if order.refund_failed_at.is_some() {
        let why = match order.is_custom_order {
            true => "a refund of all of its money failed, so work on the piece may have stopped",
            false => {
                "a refund of all of its money failed, so its pieces may be back in stock or sold to somebody else"
            }
        };
        warnings.push(why.to_owned());
    }
    let warned = [Kind::FraudWarning, Kind::PaymentReview];
    let items = order.review_items.iter();
    warnings.extend(
        items
            .filter(|item| warned.contains(&item.kind))
            .map(|item| item.text.trim_end_matches('.').to_owned()),
    );
    Ok(warnings)
}

/// The warning about a dispute, if it is open or lost.
fn warning_of(dispute: &Dispute) -> Option<String> {
    let (money, reason) = (dispute.money(), dispute.reason_in_words());
    match &dispute.state {
        DisputeState::Lost => Some(format!(
            "the dispute of {money} is lost, and the customer keeps the money"
        )),
        state if !state.is_open() => None,
        state if state.is_inquiry() => {
            Some(format!("the bank asks about {money}, because {reason}"))
        }
        _ => Some(format!("the bank disputes {money}, because {reason}")),
    }
}

/// Marks a locked order as shipped, and stores its shipment and the pieces in it. The caller queues the email, because
/// custom orders have a different one, and writes the audit entry.
///
/// # Errors
/// Field errors; 409 `not_shippable`, `refunded_in_full` or `nothing_to_ship`, as `check_shippable` says, or
/// `confirm_shipping` where something warns of its payment.
pub async fn ship(
    conn: &mut PgConnection,
    order: &Order,
    new: &NewShipment,
    actor: &str,
) -> Result<(Order, Shipment)> {
    let Checked {
        carrier,
        number,
        url,
        images,
    } = new.check()?;
    check_shippable(conn, order).await?;
    let warnings = shipping_warnings(conn, order).await?;
    if !warnings.is_empty() && !new.ship_anyway {
        return Err(Error::Conflict(
            Code::ConfirmShipping,
            format!(
                "{} should not be shipped: {}. To ship it anyway, confirm that.",
                order.display_number(),
                warnings.join("; ")
            ),
        ));
    }
    hold_images(conn, &images).await?;
    let shipment = Shipment {
        carrier,
        tracking_number: number,
        tracking_url: url,
        shipped_at: Utc::now(),
        images,
    };
    let shipped_at = store::insert_shipment(conn, order.id, &shipment).await?;
    let mut note = shipment.in_words();
    // The timeline keeps which warning was confirmed, and by whom.
    if !warnings.is_empty() {
        note = format!("{note}; confirmed although {}", warnings.join("; "));
    }
    let order = store::set_status(conn, order, Status::Shipped, actor, &note).await?;
    Ok((
        order,
        Shipment {
            shipped_at,
            ..shipment
        },
    ))
}

/// Checks that a locked order has something to ship. Refunds take the same lock.
///
/// # Errors
/// 409 `not_shippable` for an order that is not paid, or shipped already; `refunded_in_full` when a full refund is made
/// or planned; `nothing_to_ship` when all its pieces are back in stock.
pub async fn check_shippable(conn: &mut PgConnection, order: &Order) -> Result<()> {
    let number = order.display_number();
    let refused = |code, why| Err(Error::Conflict(code, why));
    if order.status != Status::Paid {
        let why = format!(
            "{number} is {}: only a paid order can be shipped.",
            order.status.as_str()
        );
        return refused(Code::NotShippable, why);
    }
    if store::is_refunded_in_full(conn, order.id).await? {
        let why = format!("{number} cannot be shipped: a refund of all of its money is under way.");
        return refused(Code::RefundedInFull, why);
    }
    let lines = store::order_lines(conn, order.id).await?;
    if lines.iter().all(|line| line.to_ship == 0) {
        let why =
            format!("Nothing of {number} is left to ship: all of its pieces went back into stock.");
        return refused(Code::NothingToShip, why);
    }
    Ok(())
}

/// Keeps the images of a shipment from deletion until the transaction ends.
async fn hold_images(conn: &mut PgConnection, images: &[ImageId]) -> Result<()> {
    // Held until the commit: a sweep that ran now would delete an image that nothing refers to yet.
    let kept = images::hold(conn, images).await?;
    if let Some(at) = images.iter().position(|id| !kept.contains_key(id)) {
        return Err(Error::invalid(
            format!("images[{at}]"),
            "there is no such image",
        ));
    }
    Ok(())
}

/// Corrects the shipment of a locked order, and returns it as it was and as it is now. One that is right already stays as
/// it is. The caller queues the email and writes the audit entry.
///
/// # Errors
/// Field errors; 409 `not_shipped`.
pub async fn correct_shipment(
    conn: &mut PgConnection,
    order: &Order,
    correction: &ShipmentCorrection,
    actor: &str,
) -> Result<CorrectedShipment> {
    let Some(before) = store::find_shipment(conn, order.id).await? else {
        let why = format!("{} is not shipped.", order.display_number());
        return Err(Error::Conflict(Code::NotShipped, why));
    };
    let checked = correction.applied_to(&before)?;
    let after = Shipment {
        carrier: checked.carrier,
        tracking_number: checked.number,
        tracking_url: checked.url,
        shipped_at: before.shipped_at,
        images: checked.images,
    };
    let changes = before.changes_to(&after);
    if after != before {
        hold_images(conn, &after.images).await?;
        store::replace_shipment(conn, order.id, &after).await?;
        store::add_timeline_entry(conn, order.id, CORRECTED, actor, &changes).await?;
    }
    let count = store::count_since_shipped(conn, order.id, CORRECTED).await?;
    let cause = shipment_cause(conn, order.id).await?;
    Ok(CorrectedShipment {
        cause: (count > 0).then(|| format!("{cause}:{count}")),
        before,
        after,
        changes,
    })
}

/// Kind of the timeline entry of a corrected shipment.
const CORRECTED: &str = "shipment";

/// A shipment before and after its correction.
pub struct CorrectedShipment {
    pub before: Shipment,
    pub after: Shipment,
    /// Changed fields, old → new, for the timeline.
    pub changes: String,
    /// Cause of the email about its latest correction. None if it was never corrected.
    pub cause: Option<String>,
}

/// Days after the shipment in which it can be undone. Later, the package is with the carrier for sure.
const UNSHIP_DAYS: i64 = 7;

/// Reports whether an order may be marked as not shipped.
///
/// # Errors
/// Database errors only.
pub async fn may_unship(conn: &mut PgConnection, order: &Order) -> Result<bool> {
    match check_unshippable(conn, order).await {
        Ok(_) => Ok(true),
        Err(Error::Conflict(..)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Checks that a shipment may be undone, and returns it.
async fn check_unshippable(conn: &mut PgConnection, order: &Order) -> Result<Shipment> {
    let refused = |code, why: &str| {
        let why = format!("{} {why}.", order.display_number());
        Err(Error::Conflict(code, why))
    };
    let shipment = store::find_shipment(conn, order.id).await?;
    let Some(shipment) = shipment.filter(|_| order.status == Status::Shipped) else {
        let status = order.status.as_str();
        let why = format!("is {status}: only the shipping of a shipped order can be undone");
        return refused(Code::NotUnshippable, &why);
    };
    if Utc::now() - shipment.shipped_at > TimeDelta::days(UNSHIP_DAYS) {
        let why = format!("was shipped more than {UNSHIP_DAYS} days ago");
        return refused(Code::NotUnshippable, &why);
    }
    if store::is_refunded_in_full(conn, order.id).await? {
        let why = "stays shipped: a refund of all of its money is under way";
        return refused(Code::RefundedInFull, why);
    }
    Ok(shipment)
}

/// Marks a locked order that was shipped by mistake as paid, and removes its shipment. Its pieces are to be shipped again,
/// except those that went back into stock. Returns the shipment that it had. The caller queues the email and writes the
/// audit entry. Not safe to repeat without `shipped_at`, for it would undo a later shipment; with it, a repeat is refused.
///
/// # Errors
/// 409 `not_unshippable` unless it was shipped a few days ago, `refunded_in_full`, or `shipment_differs` where it was
/// shipped at another time than `shipped_at`.
pub async fn unship(
    conn: &mut PgConnection,
    order: &Order,
    shipped_at: Option<DateTime<Utc>>,
    actor: &str,
) -> Result<(Order, Shipment)> {
    let shipment = check_unshippable(conn, order).await?;
    if shipped_at.is_some_and(|known| known != shipment.shipped_at) {
        let why = format!("{} was shipped again since.", order.display_number());
        return Err(Error::Conflict(Code::ShipmentDiffers, why));
    }
    store::delete_shipment(conn, order.id).await?;
    let note = format!("it was not shipped: {} is removed", shipment.in_words());
    let order = store::set_status(conn, order, Status::Paid, actor, &note).await?;
    Ok((order, shipment))
}

/// Cause of the emails about the latest shipment of an order. One that is shipped again, because the first shipment was a
/// mistake, has another.
///
/// # Errors
/// Database errors only.
pub async fn shipment_cause(conn: &mut PgConnection, id: OrderId) -> Result<String> {
    Ok(match store::count_shipments(conn, id).await? {
        0 | 1 => id.to_string(),
        count => format!("{id}:{count}"),
    })
}

/// Reports whether an order is paid and has pieces to ship.
///
/// # Errors
/// Database errors only.
pub async fn is_shippable(conn: &mut PgConnection, order: &Order) -> Result<bool> {
    match check_shippable(conn, order).await {
        Ok(()) => Ok(true),
        Err(Error::Conflict(..)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Marks a locked order that was shipped as delivered. Safe to repeat. The caller writes the audit entry.
///
/// # Errors
/// 409 `not_deliverable` for an order that was not shipped.
pub async fn deliver(conn: &mut PgConnection, order: &Order, actor: &str) -> Result<Order> {
    match order.status {
        Status::Delivered => Ok(order.clone()),
        Status::Shipped => store::set_status(conn, order, Status::Delivered, actor, "").await,
        other => Err(Error::Conflict(
            Code::NotDeliverable,
            format!(
                "{} is {}: only a shipped order can be delivered.",
                order.display_number(),
                other.as_str()
            ),
        )),
    }
}
