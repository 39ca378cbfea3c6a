//! Changes of a product's images. Each is written to the audit log.

use sqlx::PgConnection;

use super::ImageMove;
use crate::audit::Actor;
use crate::error::{Error, Result};
use crate::products::Product;
use crate::products::fields::Parsed;
use crate::products::input::{MAX_IMAGES, ProductInput};
use crate::products::service::{apply, locked, record_change};
use crate::types::ids::ImageId;

/// Appends images to a product. Images that it already has are skipped.
///
/// # Errors
/// A field error of `image` if the product would have too many; 404.
pub async fn add_images(
    conn: &mut PgConnection,
    actor: &Actor,
    id: &str,
    added: &[ImageId],
) -> Result<Product> {
    let before = locked(conn, id, None).await?;
    let mut ids: Vec<ImageId> = before.images.iter().map(|image| image.id.clone()).collect();
    for image in added {
        if !ids.contains(image) {
            ids.push(image.clone());
        }
    }
    arrange(conn, actor, before, ids).await
}

/// Moves or removes an image of a product, or puts it back. Images that the product does not have are not moved.
///
/// # Errors
/// 404; a field error if an image to be put back does not exist any more, or the product would have too many.
pub async fn move_images(
    conn: &mut PgConnection,
    actor: &Actor,
    id: &str,
    asked: &ImageMove,
) -> Result<Product> {
    let before = locked(conn, id, None).await?;
    let mut ids: Vec<ImageId> = before.images.iter().map(|image| image.id.clone()).collect();
    let place = |id: &ImageId| ids.iter().position(|other| other == id);
    match asked {
        ImageMove::Up(id) => {
            if let Some(at) = place(id).filter(|at| *at > 0) {
                ids.swap(at - 1, at);
            }
        }
        ImageMove::Down(id) => {
            if let Some(at) = place(id).filter(|at| at + 1 < ids.len()) {
                ids.swap(at, at + 1);
            }
        }
        ImageMove::Remove(id) => ids.retain(|other| other != id),
        ImageMove::PutBack(id, at) => {
            if place(id).is_none() {
                ids.insert(ids.len().min(*at), id.clone());
            }
        }
        ImageMove::Order(order) => {
            let last = order.len();
            ids.sort_by_key(|id| order.iter().position(|other| other == id).unwrap_or(last));
        }
    }
    arrange(conn, actor, before, ids).await
}

async fn arrange(
    conn: &mut PgConnection,
    actor: &Actor,
    before: Product,
    ids: Vec<ImageId>,
) -> Result<Product> {
    if ids.len() > MAX_IMAGES {
        let sentence = format!("A product has up to {MAX_IMAGES} images. Remove some first.");
        return Err(Error::invalid("image", sentence));
    }
    let input = ProductInput {
        images: Some(ids),
        ..ProductInput::default()
    };
    let after = apply(conn, actor, &before, Parsed::from(input)).await?;
    record_change(conn, actor, "product.images", &before, &after).await?;
    Ok(after)
}
