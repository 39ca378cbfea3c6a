//! Intakes in JSON.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{
    IntakeDetails, IntakeEntry, IntakeStatus, Outline, Pairing, PhotoStatus, PieceState, Side,
};
use crate::error::Result;
use crate::images::{self, ImageView};
use crate::types::ids::{ImageId, IntakeId, PhotoId, PieceId, ProductId};
use crate::types::money::Cents;

/// A batch of photographs of a table, with everything in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct IntakeView {
    pub id: IntakeId,
    /// 12 of “Batch 12”.
    pub number: i64,
    pub status: IntakeStatus,
    /// Jobs are at work on it.
    pub is_working: bool,
    /// Incremented by what a person changes.
    pub version: i64,
    /// 1 Classic BIC, 2 Mini BIC; null: each as it was seen.
    pub lighter_type: Option<i16>,
    pub category: Option<i64>,
    pub weight_ounces: String,
    /// Pieces in stock of each product.
    pub inventory_count: i32,
    pub created_at: DateTime<Utc>,
    pub photos: Vec<PhotoView>,
    pub pieces: Vec<PieceView>,
    /// The fronts in use, with all that their products are made of.
    pub items: Vec<ItemView>,
    /// Sentences about the whole.
    pub remarks: Vec<String>,
}

/// A photograph of a table.
#[derive(Debug, Serialize, ToSchema)]
pub struct PhotoView {
    pub id: PhotoId,
    pub side: Side,
    pub file_name: String,
    pub status: PhotoStatus,
    /// A sentence that tells why it has no pieces.
    pub problem: Option<String>,
    /// Sentences about its quality.
    pub remarks: Vec<String>,
    /// Null for a file that was refused, and once the photograph was let go.
    pub image: Option<ImageView>,
}

/// A piece in a photograph.
#[derive(Debug, Serialize, ToSchema)]
pub struct PieceView {
    pub id: PieceId,
    pub photo: PhotoId,
    /// 4 of “number 4”.
    pub number: i32,
    pub side: Side,
    pub state: PieceState,
    /// Points in pixels of the photograph, as pairs of x and y.
    #[schema(value_type = Vec<Vec<f32>>)]
    pub outline: Outline,
    /// Direction of the head, clockwise; 0 is up.
    pub head_degrees: f32,
    /// The other end may be the head.
    pub is_head_doubtful: bool,
    /// 1 Classic BIC, 2 Mini BIC; null where it cannot be told.
    pub lighter_type: Option<i16>,
    /// The same piece in another photograph, it seems.
    pub same_as: Option<PieceId>,
    /// The staged image; null until it is made.
    pub image: Option<ImageView>,
    /// A sentence about the staged image, or one that tells why there is none.
    pub remark: Option<String>,
}

/// A front with all that its product is made of.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemView {
    /// Id of the front.
    pub front: PieceId,
    pub back: Option<PieceId>,
    pub pairing: Pairing,
    pub name: String,
    pub category: Option<i64>,
    pub lighter_type: Option<i16>,
    /// In the currency's smallest unit.
    pub price: Option<Cents>,
    pub product_id: Option<ProductId>,
}

/// A batch in the list.
#[derive(Debug, Serialize, ToSchema)]
pub struct IntakeEntryView {
    pub id: IntakeId,
    pub number: i64,
    pub status: IntakeStatus,
    pub created_at: DateTime<Utc>,
    /// Number of photographs.
    pub photos: i64,
    /// Number of fronts in use.
    pub fronts: i64,
    /// Number of products made of it.
    pub products: i64,
}

/// A page of batches, latest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct IntakePage {
    pub count: i64,
    pub results: Vec<IntakeEntryView>,
}

/// The result of taking products back.
#[derive(Debug, Serialize, ToSchema)]
pub struct TakenBackView {
    /// Number of products that are gone.
    pub removed: usize,
    /// Products that stay.
    pub kept: Vec<KeptProduct>,
    pub intake: IntakeView,
}

/// A product that is not taken back.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeptProduct {
    pub name: String,
    /// The reason, as `was edited`.
    pub why: String,
}

impl IntakeEntryView {
    pub(super) fn new(entry: &IntakeEntry) -> IntakeEntryView {
        IntakeEntryView {
            id: entry.intake.id,
            number: entry.intake.number,
            status: entry.intake.status,
            created_at: entry.intake.created_at,
            photos: entry.photos,
            fronts: entry.fronts,
            products: entry.products,
        }
    }
}

impl IntakeView {
    /// Reads an intake with its images.
    ///
    /// # Errors
    /// 404.
    pub(super) async fn read(conn: &mut PgConnection, id: IntakeId) -> Result<IntakeView> {
        let details = super::details(conn, id).await?;
        let of_photos = details.photos.iter().map(|photo| photo.image_id.clone());
        let of_pieces = details.pieces.iter().map(|piece| piece.image_id.clone());
        let ids: Vec<ImageId> = of_photos.chain(of_pieces).flatten().collect();
        let images = images::find_views(conn, &ids).await?;
        Ok(IntakeView::new(&details, &images))
    }

    fn new(details: &IntakeDetails, images: &BTreeMap<ImageId, ImageView>) -> IntakeView {
        let image = |id: &Option<ImageId>| images.get(id.as_ref()?).cloned();
        let intake = &details.intake;
        let photos = details.photos.iter().map(|photo| PhotoView {
            id: photo.id,
            side: photo.side,
            file_name: photo.file_name.clone(),
            status: photo.status,
            problem: photo.problem.clone(),
            remarks: photo.remarks.clone(),
            image: image(&photo.image_id),
        });
        let pieces = details.pieces.iter().map(|piece| PieceView {
            id: piece.id,
            photo: piece.photo_id,
            number: piece.number,
            side: piece.side,
            state: piece.state,
            outline: piece.outline.0.clone(),
            head_degrees: piece.head_degrees,
            is_head_doubtful: piece.is_head_doubtful,
            lighter_type: piece.lighter_type,
            same_as: piece.same_as,
            image: image(&piece.image_id),
            remark: piece.problem.clone().or_else(|| piece.remark.clone()),
        });
        let items = details.fronts().map(|(front, item)| ItemView {
            front: front.id,
            back: item.back_id,
            pairing: item.pairing(),
            name: item.name.clone(),
            category: item.category_id,
            lighter_type: front.lighter_type,
            price: item.price,
            product_id: item.product_id.clone(),
        });
        IntakeView {
            id: intake.id,
            number: intake.number,
            status: intake.status,
            is_working: details.is_working(),
            version: intake.version,
            lighter_type: intake.lighter_type,
            category: intake.category_id,
            weight_ounces: intake.weight_ounces.clone(),
            inventory_count: intake.pieces_each,
            created_at: intake.created_at,
            photos: photos.collect(),
            pieces: pieces.collect(),
            items: items.collect(),
            remarks: details.remarks(),
        }
    }
}
