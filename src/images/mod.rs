//! Images: intake, storage, and delivery to browsers and emails.
//!
//! An uploaded image is detected by its content, decoded completely, rotated upright, converted to sRGB and encoded
//! again. Only its pixels are kept, so neither metadata nor hidden content survives. The result is stored once under
//! the hash of its content; a job makes the renditions. Reference `images (id)` with a foreign key to keep an image.
//! Unreferenced images are deleted one day after their last upload.
mod archive;
mod backup;
mod batch;
mod color;
mod intake;
mod jpeg;
mod png;
mod refusal;
mod renditions;
mod routes;
mod serve;
mod service;
mod store;
mod upload;

pub use archive::{Archive, is_litter};
pub use backup::{Original, originals, protect, restored, storage_key_of};
pub use batch::Batch;
pub use refusal::{Refusal, UploadError};
pub use routes::{KeptImage, router};
pub use serve::serve;
pub use service::{
    ImageSweep, Judged, Kept, discard, encode, judge, keep, keep_judged, read, read_address,
    remove, render, sweep, work_on,
};
pub use store::{find, find_views, hold, list_views};
pub use upload::{
    FormLimits, Incoming, ReceivedFile, Upload, UploadedForm, read_form, read_form_within,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::MediaLimits;
use crate::types::ids::ImageId;
use renditions::{Encoding, WIDTHS};

/// Decodes any stored file, upright and in sRGB. Files of an older shop may exceed today's limits. Returns `None` for
/// files that cannot be decoded.
pub fn decode(content: &[u8]) -> Option<image::DynamicImage> {
    let limits = MediaLimits {
        file_bytes: u64::MAX,
        files: 1,
        megapixels: 144,
    };
    intake::decode(content, &limits).ok()
}

/// Decodes a file within limits of its own, upright and in sRGB. What is transparent becomes white.
///
/// # Errors
/// Files that are not supported images, or too large.
pub fn decode_opaque(content: &[u8], limits: &MediaLimits) -> Result<image::RgbImage, Refusal> {
    intake::decode_opaque(content, limits)
}

/// Metadata of an image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, sqlx::FromRow)]
pub struct Image {
    pub id: ImageId,
    pub width: i32,
    pub height: i32,
    pub thumbhash: String,
}

/// An image in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImageView {
    /// A JPEG for a card of 384 px on a high-density screen: at most 1024 px wide.
    pub url: String,
    /// Original size in pixels; the renditions are smaller.
    pub width: i32,
    pub height: i32,
    /// WebP in several widths, in the format of HTML's `srcset`.
    pub srcset: String,
    /// A blurred placeholder: a ThumbHash, base64.
    pub thumbhash: String,
}

/// Width of the rendition used where a single address is needed: 384 px at more than twice the density.
pub const CARD_WIDTH: u32 = 1024;

impl Image {
    /// The image with addresses that begin with `base`, which is empty for relative ones.
    pub fn view(&self, base: &str) -> ImageView {
        let own = self.width.unsigned_abs();
        let sources: Vec<String> = renditions::steps(own)
            .map(|step| {
                let path = address(&self.id, step, Encoding::Webp);
                format!("{base}{path} {}w", step.min(own))
            })
            .collect();
        ImageView {
            url: format!("{base}{}", url(&self.id, CARD_WIDTH)),
            width: self.width,
            height: self.height,
            srcset: sources.join(", "),
            thumbhash: self.thumbhash.clone(),
        }
    }
}

/// Stable address, `/media/…`, of an image as a JPEG of this width: the next larger step, at most 1600 px. A narrower
/// image is delivered in its own width.
pub fn url(id: &ImageId, width: u32) -> String {
    let step = WIDTHS.into_iter().find(|step| *step >= width);
    address(id, step.unwrap_or(WIDTHS[WIDTHS.len() - 1]), Encoding::Jpeg)
}

fn address(id: &ImageId, step: u32, kind: Encoding) -> String {
    format!("/media/images/{id}/{step}.{}", kind.extension())
}

/// Image id in one of our addresses, without scheme and host. `None` for other addresses.
pub fn id_of(address: &str) -> Option<ImageId> {
    let (id, _) = address.strip_prefix("/media/images/")?.split_once('/')?;
    ImageId::parse(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: i32) -> Image {
        Image {
            id: ImageId("ab".repeat(32)),
            width,
            height: 600,
            thumbhash: "x".to_owned(),
        }
    }

    #[test]
    fn an_image_is_never_said_to_be_wider_than_it_is() {
        let id = "ab".repeat(32);
        let at = |step: u32| format!("http://shop/media/images/{id}/{step}.webp");
        for (width, steps) in [
            (
                4000,
                vec![(320, 320), (640, 640), (1024, 1024), (1600, 1600)],
            ),
            (
                1600,
                vec![(320, 320), (640, 640), (1024, 1024), (1600, 1600)],
            ),
            (480, vec![(320, 320), (640, 480)]),
            (320, vec![(320, 320)]),
            (1, vec![(320, 1)]),
        ] {
            let expected: Vec<String> = steps
                .into_iter()
                .map(|(step, shown)| format!("{} {shown}w", at(step)))
                .collect();
            assert_eq!(
                image(width).view("http://shop").srcset,
                expected.join(", "),
                "{width}"
            );
        }
    }

    #[test]
    fn an_address_leads_back_to_its_image() {
        let id = ImageId("ab".repeat(32));
        assert_eq!(id_of(&url(&id, 700)), Some(id.clone()));
        assert!(url(&id, 700).ends_with("/1024.jpg") && url(&id, 9999).ends_with("/1600.jpg"));
        for other in [
            "/media/images/ab/1024.jpg",
            "/media/a.png",
            "/media/images/",
            "",
        ] {
            assert_eq!(id_of(other), None, "{other}");
        }
    }
}
