//! Images in emails: where they come from, and how they are scaled down.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, Rgb, RgbImage};

use crate::app::App;
use crate::images;
use crate::mail::ImageFile;
use crate::types::ids::ImageId;

/// A reference to an image in an email.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageRef<'a> {
    /// A product image, `/media/…`.
    Path(&'a str),
    /// An uploaded image of a customer or the owner.
    Kept(&'a ImageId),
}

/// Source of the images in emails.
pub trait Images: Sync {
    /// Reads an image at about this width (pixels) or more. Returns `None` for a missing image; the email is sent
    /// without it.
    ///
    /// # Errors
    /// When the image store is unavailable; the email waits for it.
    fn read(
        &self,
        image: ImageRef<'_>,
        width: u32,
    ) -> impl Future<Output = anyhow::Result<Option<ImageFile>>> + Send;
}

/// The images of this shop.
pub struct ShopImages<'a>(pub &'a App);

impl Images for ShopImages<'_> {
    async fn read(&self, image: ImageRef<'_>, width: u32) -> anyhow::Result<Option<ImageFile>> {
        let App { storage, db, .. } = self.0;
        let found = match image {
            ImageRef::Path(path) => images::read_address(storage, db, path, width).await?,
            ImageRef::Kept(id) => images::read(storage, db, id, width).await?,
        };
        Ok(found.map(|(bytes, mime)| ImageFile {
            bytes: bytes.into(),
            mime: mime.to_owned(),
        }))
    }
}

/// Crops the middle of an image to a square JPEG, which every mail program shows. Returns `None` for an image that
/// cannot be decoded.
pub async fn square(image: ImageFile, side: u32) -> Option<ImageFile> {
    tokio::task::spawn_blocking(move || {
        let small = images::decode(&image.bytes)?.resize_to_fill(side, side, FilterType::Triangle);
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 85)
            .encode_image(&on_white(&small))
            .ok()?;
        let mime = "image/jpeg".to_owned();
        Some(ImageFile { bytes, mime })
    })
    .await
    .ok()?
}

/// Renders an image on white, because JPEG has no transparency.
fn on_white(image: &DynamicImage) -> RgbImage {
    let image = image.to_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [red, green, blue, alpha] = image.get_pixel(x, y).0.map(u32::from);
        let mix = |part: u32| {
            let mixed = (part * alpha + 255 * (255 - alpha)) / 255;
            u8::try_from(mixed).unwrap_or(u8::MAX)
        };
        Rgb([red, green, blue].map(mix))
    })
}
