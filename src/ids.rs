//! Identifiers that cannot be taken for one another.

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
            /// A new identifier; later ones sort after earlier ones (UUID version 7).
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
    /// An order.
    OrderId
);
uuid_id!(
    /// A piece that somebody asked us to make.
    CustomOrderId
);
uuid_id!(
    /// A price named for a custom order, and the payment link made of it.
    QuoteId
);
uuid_id!(
    /// An email, from the moment it is queued.
    EmailId
);
uuid_id!(
    /// Somebody who may sign in to the admin.
    UserId
);
uuid_id!(
    /// A browser that is signed in to the admin.
    SessionId
);
uuid_id!(
    /// Something that a person must look at.
    ReviewItemId
);
uuid_id!(
    /// A refund that we asked of Stripe, or mean to.
    RefundId
);

/// An image that we keep: the SHA-256 of its content, 64 lower-case hexadecimal digits.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type, ToSchema,
)]
#[serde(transparent)]
#[sqlx(transparent)]
#[schema(pattern = "^[0-9a-f]{64}$")]
pub struct ImageId(pub String);

impl ImageId {
    /// The id of the image that is kept as these bytes.
    pub fn of(content: &[u8]) -> ImageId {
        let hash = Sha256::digest(content);
        ImageId(hex::encode(hash))
    }

    /// The id, if the text can be one; whether we keep such an image is another question.
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

/// A product: up to 100 characters, compared case-sensitively. The old service's are UUIDs, imported ones may be any text.
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

    /// The id, if the text can be one; whether there is such a product is another question.
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
