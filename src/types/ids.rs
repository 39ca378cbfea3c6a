//! Identifier types.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type, ToSchema)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Creates a new identifier; later ones sort after earlier ones (UUID version 7).
            #[allow(clippy::new_without_default)]
            pub fn new() -> $name {
                $name(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// Id of an order.
    OrderId
);
uuid_id!(
    /// Id of a custom order.
    CustomOrderId
);
uuid_id!(
    /// Id of a quote and of its payment link.
    QuoteId
);
uuid_id!(
    /// Id of an email, from queueing on.
    EmailId
);
uuid_id!(
    /// Id of an admin user.
    UserId
);
uuid_id!(
    /// Id of an admin session.
    SessionId
);
uuid_id!(
    /// Id of a review item.
    ReviewItemId
);
uuid_id!(
    /// Id of a refund made or planned by the shop.
    RefundId
);
uuid_id!(
    /// A return of an order's pieces into stock, without money.
    RestockId
);
uuid_id!(
    /// Id of an intake: a batch of photographs of a table.
    IntakeId
);
uuid_id!(
    /// Id of a photograph of a table.
    PhotoId
);
uuid_id!(
    /// Id of a piece in a photograph of a table.
    PieceId
);

/// The id of an order, or its number as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderKey {
    Id(OrderId),
    /// 1042 of `SB-1042`.
    Number(i64),
}

impl OrderKey {
    /// Parses a UUID or `SB-1042`.
    pub fn parse(text: &str) -> Option<OrderKey> {
        match text.parse() {
            Ok(id) => Some(OrderKey::Id(OrderId(id))),
            Err(_) => {
                let number = text.strip_prefix("SB-")?.parse().ok()?;
                Some(OrderKey::Number(number))
            }
        }
    }
}

/// A custom order's id or number, as people and programs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CustomOrderKey {
    Id(CustomOrderId),
    /// 1017 of `CO-1017`.
    Number(i64),
}

impl CustomOrderKey {
    /// Parses a UUID or `CO-1017`.
    pub fn parse(text: &str) -> Option<CustomOrderKey> {
        match text.parse() {
            Ok(id) => Some(CustomOrderKey::Id(CustomOrderId(id))),
            Err(_) => {
                let number = text.strip_prefix("CO-")?.parse().ok()?;
                Some(CustomOrderKey::Number(number))
            }
        }
    }
}

/// Id of an image: the SHA-256 of its content, 64 lower-case hexadecimal digits.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type, ToSchema,
)]
#[serde(transparent)]
#[sqlx(transparent)]
#[schema(pattern = "^[0-9a-f]{64}$")]
pub struct ImageId(pub String);

impl ImageId {
    /// Id of the image with this stored content.
    pub fn of(content: &[u8]) -> ImageId {
        let hash = Sha256::digest(content);
        ImageId(hex::encode(hash))
    }

    /// Parses an id. The image need not exist.
    pub fn parse(text: &str) -> Option<ImageId> {
        let possible = text.len() == 64
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        possible.then(|| ImageId(text.to_owned()))
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Id of a product: up to 100 characters, compared case-sensitively. The old service's ids are UUIDs; imported ones may
/// be any text.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type, ToSchema,
)]
#[serde(transparent)]
#[sqlx(transparent)]
#[schema(min_length = 1, max_length = 100, pattern = r"^[^\x00]*$")]
pub struct ProductId(pub String);

impl ProductId {
    /// The longest id, in characters.
    pub const MAX_CHARS: usize = 100;

    /// Parses an id. The product need not exist.
    pub fn parse(text: &str) -> Option<ProductId> {
        let possible =
            !text.is_empty() && !text.contains('\0') && text.chars().count() <= Self::MAX_CHARS;
        possible.then(|| ProductId(text.to_owned()))
    }
}

impl fmt::Display for ProductId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
