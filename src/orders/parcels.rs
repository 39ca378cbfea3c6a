//! Parcels: what was sent, by whom it is carried, and where to follow it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{Order, Status, store};
use crate::email::ParcelFacts;
use crate::error::{Error, Fault, Result};
use crate::ids::{OrderId, PictureId};

/// The parcel of an order, as the shopkeeper describes it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewParcel {
    /// Who carries it, as `USPS`: 1 to 100 characters.
    pub carrier: String,
    /// Up to 100 letters, digits, spaces and hyphens.
    pub tracking_number: Option<String>,
    /// Where to follow it; known for the usual carriers.
    pub tracking_url: Option<String>,
    /// Ids of kept pictures, of the parcel or the finished piece: up to 10.
    #[serde(default)]
    pub pictures: Vec<String>,
}

/// A parcel on its way.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow, ToSchema)]
pub struct Parcel {
    pub carrier: String,
    pub tracking_number: Option<String>,
    pub tracking_url: Option<String>,
    pub shipped_at: DateTime<Utc>,
    #[serde(skip)]
    pub pictures: Vec<PictureId>,
}

impl Parcel {
    /// The parcel as letters show it.
    pub fn facts(&self) -> ParcelFacts {
        ParcelFacts {
            carrier: Some(self.carrier.clone()),
            tracking_number: self.tracking_number.clone(),
            tracking_url: self.tracking_url.clone(),
            shipped_at: self.shipped_at,
            photographs: self.pictures.clone(),
        }
    }
}

/// Pages on which the usual carriers show a parcel; its number comes at the end.
const TRACKING_PAGES: [(&str, &str); 8] = [
    (
        "usps",
        "https://tools.usps.com/go/TrackConfirmAction?tLabels=",
    ),
    ("ups", "https://www.ups.com/track?tracknum="),
    ("fedex", "https://www.fedex.com/fedextrack/?trknbr="),
    ("dhl", "https://www.dhl.com/en/express/tracking.html?AWB="),
    (
        "canada post",
        "https://www.canadapost-postescanada.ca/track-reperage/en#/search?searchFor=",
    ),
    (
        "royal mail",
        "https://www.royalmail.com/track-your-item#/tracking-results/",
    ),
    (
        "australia post",
        "https://auspost.com.au/mypost/track/#/details/",
    ),
    (
        "purolator",
        "https://www.purolator.com/en/shipping/tracker?pin=",
    ),
];

/// A parcel whose every field was looked at.
struct Checked {
    carrier: String,
    number: Option<String>,
    url: Option<String>,
    pictures: Vec<PictureId>,
}

impl NewParcel {
    /// Checks what was sent; a tracking page is found for a carrier that we know.
    fn check(&self) -> Result<Checked> {
        let mut faults = Vec::new();
        let carrier = self.carrier.trim().to_owned();
        if carrier.is_empty()
            || carrier.chars().count() > 100
            || carrier.chars().any(char::is_control)
        {
            faults.push(Fault::new(
                "carrier",
                "must have 1 to 100 characters, on one line",
            ));
        }
        let given = |text: &Option<String>| {
            text.as_deref()
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let number = given(&self.tracking_number);
        let is_plain = |number: &str| {
            number.len() <= 100
                && number
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b' ' || b == b'-')
        };
        if number.as_deref().is_some_and(|number| !is_plain(number)) {
            faults.push(Fault::new(
                "tracking_number",
                "must have at most 100 letters, digits, spaces and hyphens",
            ));
        }
        let url = given(&self.tracking_url);
        let is_address = |text: &str| {
            text.len() <= 2000
                && url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        };
        if url.as_deref().is_some_and(|url| !is_address(url)) {
            faults.push(Fault::new(
                "tracking_url",
                "must be an http or https address",
            ));
        }
        let url = url.or_else(|| {
            let known = carrier.to_lowercase();
            let page = TRACKING_PAGES.iter().find(|(name, _)| *name == known)?.1;
            let digits: String = number.as_deref()?.split_whitespace().collect();
            Some(format!("{page}{digits}"))
        });
        if self.pictures.len() > 10 {
            faults.push(Fault::new("pictures", "must have at most 10 pictures"));
        }
        let mut pictures = Vec::new();
        for (at, id) in self.pictures.iter().enumerate() {
            match PictureId::parse(id) {
                Some(id) => pictures.push(id),
                None => faults.push(Fault::new(format!("pictures[{at}]"), "is no picture's id")),
            }
        }
        if faults.is_empty() {
            Ok(Checked {
                carrier,
                number,
                url,
                pictures,
            })
        } else {
            Err(Error::Invalid(faults))
        }
    }
}

/// Marks a paid order as shipped and keeps its parcel. Letters are the caller's: a commission has another one.
///
/// # Errors
/// Faults; 404; 409 `not_shippable` for an order that is not paid, or shipped already.
pub async fn ship(
    conn: &mut PgConnection,
    id: OrderId,
    new: &NewParcel,
    actor: &str,
) -> Result<(Order, Parcel)> {
    let Checked {
        carrier,
        number,
        url,
        pictures,
    } = new.check()?;
    let order = store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    if order.status != Status::Paid {
        return Err(Error::Conflict(
            "not_shippable",
            format!(
                "{} is {}: only a paid order can be shipped.",
                order.display_number(),
                order.status.as_str()
            ),
        ));
    }
    let shipped_at: DateTime<Utc> = sqlx::query_scalar(
        "insert into parcels (order_id, carrier, tracking_number, tracking_url)
         values ($1, $2, $3, $4)
         returning shipped_at",
    )
    .bind(id)
    .bind(&carrier)
    .bind(&number)
    .bind(&url)
    .fetch_one(&mut *conn)
    .await?;
    keep_pictures(conn, id, &pictures).await?;
    let note = match &number {
        Some(number) => format!("{carrier} {number}"),
        None => carrier.clone(),
    };
    let order = store::set_status(conn, &order, Status::Shipped, actor, &note).await?;
    let parcel = Parcel {
        carrier,
        tracking_number: number,
        tracking_url: url,
        shipped_at,
        pictures,
    };
    Ok((order, parcel))
}

/// # Errors
/// A fault naming the picture that we do not keep.
async fn keep_pictures(conn: &mut PgConnection, id: OrderId, pictures: &[PictureId]) -> Result<()> {
    let kept: Vec<PictureId> = sqlx::query_scalar(
        "select id
         from pictures
         where id = any($1)
         for key share",
    )
    .bind(pictures)
    .fetch_all(&mut *conn)
    .await?;
    if let Some(at) = pictures.iter().position(|picture| !kept.contains(picture)) {
        return Err(Error::invalid(
            format!("pictures[{at}]"),
            "there is no such picture",
        ));
    }
    sqlx::query(
        "insert into parcel_pictures (order_id, position, picture_id)
         select $1, picture.position, picture.id
         from unnest($2::text[]) with ordinality as picture (id, position)",
    )
    .bind(id)
    .bind(pictures)
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks a shipped order as delivered. Safe to repeat.
///
/// # Errors
/// 404; 409 `not_deliverable` for an order that was not shipped.
pub async fn deliver(conn: &mut PgConnection, id: OrderId, actor: &str) -> Result<Order> {
    let order = store::lock(conn, id)
        .await?
        .ok_or(Error::NotFound("Order"))?;
    match order.status {
        Status::Delivered => Ok(order),
        Status::Shipped => store::set_status(conn, &order, Status::Delivered, actor, "").await,
        other => Err(Error::Conflict(
            "not_deliverable",
            format!(
                "{} is {}: only a shipped order can be delivered.",
                order.display_number(),
                other.as_str()
            ),
        )),
    }
}

/// The parcel of an order, once it is shipped.
pub async fn find_parcel(conn: &mut PgConnection, id: OrderId) -> Result<Option<Parcel>> {
    let parcel = sqlx::query_as(
        "select carrier, tracking_number, tracking_url, shipped_at,
                array(select picture_id from parcel_pictures where order_id = $1 order by position) as pictures
         from parcels
         where order_id = $1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(parcel)
}
