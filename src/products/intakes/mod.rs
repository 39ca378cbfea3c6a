//! Intakes: batches of photographs of a table, the pieces found in them, and the products made of those.
//!
//! A person uploads photographs of fronts and of backs. Jobs find the pieces ([`find_pieces`]), pair fronts with backs
//! ([`pair_pieces`]) and stage them as product images ([`stage_pieces`]). The person corrects what they did, and creates
//! the products, all or none. Jobs never overwrite a person's decision.

mod closeup;
mod corrections;
mod failures;
mod finding;
mod guesses;
mod items;
mod outline;
mod pairing;
mod photos;
mod products;
mod retention;
mod routes;
mod service;
mod staging;
mod store;
mod views;

pub use corrections::{Cut, PieceChange, change_piece, cut_piece, draw_piece, turn_over};
pub use finding::find_pieces;
pub use guesses::{PriceGuess, price_guesses};
pub use items::{ItemChange, PairChoice, change_items, set_pairs};
pub use pairing::pair_pieces;
pub use photos::{
    LIMITS, MOST_PHOTOS, NewPhoto, Photographs, add_photos, remove_photo, set_side, swap_sides,
};
pub use products::{
    ProductChoice, TakenBack, UnsurePiece, create_products, create_sure_products, take_back,
};
pub use retention::let_go;
pub(super) use routes::router;
pub use service::{IntakeChoice, create, discard, open};
pub use staging::stage_pieces;
pub use store::{IntakeEntry, details, list};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use table_photos::{Facing, Point, facing};
use utoipa::ToSchema;

use crate::types::ids::{ImageId, IntakeId, PhotoId, PieceId, ProductId};
use crate::types::money::Cents;

/// Status of an intake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum IntakeStatus {
    /// Photographs are added, and pieces corrected.
    Open,
    /// Its products are made.
    Done,
    /// Nothing becomes of it.
    Discarded,
}

impl IntakeStatus {
    /// All statuses.
    pub const ALL: [IntakeStatus; 3] = [
        IntakeStatus::Open,
        IntakeStatus::Done,
        IntakeStatus::Discarded,
    ];

    /// Reports whether an intake of this status may become one of the `next`. Taking products back opens it again, as long
    /// as its photographs are there.
    pub fn may_become(self, next: IntakeStatus) -> bool {
        matches!(
            (self, next),
            (
                IntakeStatus::Open,
                IntakeStatus::Done | IntakeStatus::Discarded
            ) | (IntakeStatus::Done, IntakeStatus::Open)
        )
    }
}

/// Side of a piece that a photograph shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Side {
    Front,
    Back,
}

impl Side {
    /// The other side.
    pub fn other(self) -> Side {
        match self {
            Side::Front => Side::Back,
            Side::Back => Side::Front,
        }
    }
}

/// Status of a photograph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum PhotoStatus {
    /// A job is about to search it.
    Waiting,
    /// Its pieces are known.
    Found,
    /// It has no pieces; its problem tells why.
    Failed,
}

/// State of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum PieceState {
    Used,
    /// A person left it out.
    LeftOut,
    /// The photograph's edge cuts it off.
    CutOff,
}

/// Outline of a piece in pixels of its photograph, as pairs of x and y.
pub type Outline = Vec<[f32; 2]>;

/// A batch of photographs.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Intake {
    pub id: IntakeId,
    /// 12 of “Batch 12”.
    pub number: i64,
    pub status: IntakeStatus,
    /// 1 Classic, 2 Mini; `None`: each as it was seen.
    pub lighter_type: Option<i16>,
    pub category_id: Option<i64>,
    /// With two decimals, such as `2.00`.
    pub weight_ounces: String,
    /// Pieces in stock of each product.
    pub pieces_each: i32,
    pub needs_pairing: bool,
    /// Incremented by what a person changes.
    pub version: i64,
    pub created_at: DateTime<Utc>,
    pub changed_at: DateTime<Utc>,
}

impl Intake {
    /// Reports whether it may still be changed.
    pub fn is_open(&self) -> bool {
        self.status == IntakeStatus::Open
    }
}

/// A photograph of a table.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Photo {
    pub id: PhotoId,
    pub intake_id: IntakeId,
    pub side: Side,
    /// Name of the file on the sender's machine.
    pub file_name: String,
    /// `None` for a file that was refused, and once the photograph was let go.
    pub image_id: Option<ImageId>,
    /// Size in pixels; 0 for a file that was refused.
    pub width: i32,
    pub height: i32,
    pub status: PhotoStatus,
    /// A sentence that tells why it has no pieces.
    pub problem: Option<String>,
    /// Sentences about its quality.
    pub remarks: Vec<String>,
}

/// A piece in a photograph.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Piece {
    pub id: PieceId,
    pub photo_id: PhotoId,
    /// 4 of “number 4”.
    pub number: i32,
    pub side: Side,
    pub state: PieceState,
    pub outline: Json<Outline>,
    /// Direction of the head, clockwise; 0 is up.
    pub head_degrees: f32,
    pub is_head_doubtful: bool,
    /// 1 Classic, 2 Mini; `None` where it cannot be told.
    pub lighter_type: Option<i16>,
    /// False while the outline of a drawn piece is to be looked for.
    pub is_searched: bool,
    /// A person drew it.
    pub is_drawn: bool,
    /// The same piece in another photograph, it seems.
    pub same_as: Option<PieceId>,
    /// The staged image, once it is made.
    pub image_id: Option<ImageId>,
    pub revision: i32,
    /// A sentence about the staged image.
    pub remark: Option<String>,
    /// A sentence that tells why it has no staged image.
    pub problem: Option<String>,
    pub colors: Vec<String>,
    pub pattern: Option<String>,
}

impl Piece {
    /// Reports whether it becomes a product, or a part of one.
    pub fn is_used(&self) -> bool {
        self.state == PieceState::Used
    }

    /// Reports whether its staged image is still to be made.
    pub fn is_waiting(&self) -> bool {
        self.is_used() && self.image_id.is_none() && self.problem.is_none()
    }
}

/// A front with all that its product is made of.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Item {
    /// The front.
    pub piece_id: PieceId,
    pub back_id: Option<PieceId>,
    pub is_paired_by_hand: bool,
    /// No other pair of either piece comes near.
    pub is_sure: bool,
    /// Empty until it is known.
    pub name: String,
    pub category_id: Option<i64>,
    pub price: Option<Cents>,
    /// The product that was made of it.
    pub product_id: Option<ProductId>,
    pub product_version: Option<i64>,
}

/// Certainty of an item's back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// No other back comes near.
    Sure,
    /// Another back may be the right one.
    Check,
    /// There is none.
    NoBack,
    /// A person decided.
    ByHand,
}

impl Item {
    /// The certainty of its back.
    pub fn pairing(&self) -> Pairing {
        match (self.is_paired_by_hand, self.back_id, self.is_sure) {
            (true, ..) => Pairing::ByHand,
            (_, None, _) => Pairing::NoBack,
            (_, Some(_), true) => Pairing::Sure,
            (_, Some(_), false) => Pairing::Check,
        }
    }
}

/// An intake with everything in it.
#[derive(Clone, Debug)]
pub struct IntakeDetails {
    pub intake: Intake,
    /// In the order of their arrival.
    pub photos: Vec<Photo>,
    /// By number.
    pub pieces: Vec<Piece>,
    /// With the items of fronts that were left out, or turned out to be backs.
    pub items: Vec<Item>,
}

impl IntakeDetails {
    /// Finds a piece.
    pub fn piece(&self, id: PieceId) -> Option<&Piece> {
        self.pieces.iter().find(|piece| piece.id == id)
    }

    /// Finds the item of a front.
    pub fn item(&self, front: PieceId) -> Option<&Item> {
        self.items.iter().find(|item| item.piece_id == front)
    }

    /// The fronts in use with their items, by number.
    pub fn fronts(&self) -> impl Iterator<Item = (&Piece, &Item)> {
        let fronts = self.pieces.iter();
        let fronts = fronts.filter(|piece| piece.is_used() && piece.side == Side::Front);
        fronts.filter_map(|piece| Some((piece, self.item(piece.id)?)))
    }

    /// The backs in use, by number.
    pub fn backs(&self) -> impl Iterator<Item = &Piece> {
        let backs = self.pieces.iter();
        backs.filter(|piece| piece.is_used() && piece.side == Side::Back)
    }

    /// The front that a back belongs to.
    pub fn front_of(&self, back: PieceId) -> Option<&Piece> {
        let mut fronts = self.fronts();
        fronts
            .find(|(_, item)| item.back_id == Some(back))
            .map(|(piece, _)| piece)
    }

    /// Counts the photographs that are still to be searched.
    pub fn waiting_photos(&self) -> usize {
        let waiting = self.photos.iter();
        waiting
            .filter(|photo| photo.status == PhotoStatus::Waiting)
            .count()
    }

    /// Counts the pieces whose staged images are still to be made.
    pub fn waiting_pieces(&self) -> usize {
        self.pieces
            .iter()
            .filter(|piece| piece.is_waiting())
            .count()
    }

    /// Reports whether its photographs were let go, and with them the staged images.
    pub fn is_let_go(&self) -> bool {
        let mut photos = self.photos.iter();
        photos.any(|photo| photo.status == PhotoStatus::Found && photo.image_id.is_none())
    }

    /// Reports whether a product of it is known, in the catalog or deleted since.
    pub fn has_products(&self) -> bool {
        self.items.iter().any(|item| item.product_id.is_some())
    }

    /// Reports whether jobs are at work on it.
    pub fn is_working(&self) -> bool {
        self.intake.is_open()
            && (self.waiting_photos() > 0 || self.intake.needs_pairing || self.waiting_pieces() > 0)
    }

    /// Reports whether the fronts seem to be the backs, and the other way round: a person is asked.
    pub fn looks_swapped(&self) -> bool {
        let seen = |side: Side| {
            let pieces = self.pieces.iter();
            let pieces = pieces.filter(|piece| piece.is_used() && piece.side == side);
            let pieces: Vec<(Vec<Point>, f32)> = pieces
                .map(|piece| (finding::points(&piece.outline), piece.head_degrees))
                .collect();
            facing(
                pieces
                    .iter()
                    .map(|(outline, head)| (outline.as_slice(), *head)),
            )
        };
        let is_settled = !self.intake.is_open() || self.has_products();
        if is_settled || self.waiting_photos() > 0 || self.intake.needs_pairing {
            return false;
        }
        let (fronts, backs) = (seen(Side::Front), seen(Side::Back));
        let is_one_wrong = fronts == Some(Facing::Back) || backs == Some(Facing::Front);
        is_one_wrong && fronts != Some(Facing::Front) && backs != Some(Facing::Back)
    }

    /// Sentences about the whole: sides that look swapped, and pieces without a partner.
    pub fn remarks(&self) -> Vec<String> {
        let swapped = self.looks_swapped();
        let swapped = swapped.then(|| "Fronts and backs look swapped.".to_owned());
        swapped.into_iter().chain(self.lone_pieces()).collect()
    }

    /// A sentence about the pieces without a partner.
    fn lone_pieces(&self) -> Option<String> {
        if self.waiting_photos() > 0 || self.intake.needs_pairing {
            return None;
        }
        let (fronts, backs) = (self.fronts().count(), self.backs().count());
        let lone_fronts = self
            .fronts()
            .filter(|(_, item)| item.back_id.is_none())
            .map(|(piece, _)| piece.number);
        let lone_backs = self
            .backs()
            .filter(|back| self.front_of(back.id).is_none())
            .map(|piece| piece.number);
        let lone: Vec<String> = lone_fronts
            .chain(lone_backs)
            .map(|number| number.to_string())
            .collect();
        if backs == 0 {
            return None;
        }
        let plural = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            many => format!("{many} {what}s"),
        };
        let (verb, numbers) = match &lone[..] {
            [one] => ("has", format!("number {one}")),
            [most @ .., last] => ("have", format!("numbers {} and {last}", most.join(", "))),
            [] => return None,
        };
        Some(format!(
            "{} and {}: {numbers} {verb} no partner.",
            plural(fronts, "front"),
            plural(backs, "back")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intake_goes_along_the_arrows_alone() {
        let drawn = [
            (IntakeStatus::Open, IntakeStatus::Done),
            (IntakeStatus::Open, IntakeStatus::Discarded),
            (IntakeStatus::Done, IntakeStatus::Open),
        ];
        for from in IntakeStatus::ALL {
            for to in IntakeStatus::ALL {
                assert_eq!(
                    from.may_become(to),
                    drawn.contains(&(from, to)),
                    "{from:?} {to:?}"
                );
            }
        }
    }
}
