//! The images in emails: where they come from, and how they are made small.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, Rgb, RgbImage};

use crate::ids::ImageId;
use crate::media;

/// An image's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub bytes: Vec<u8>,
    /// As `image/jpeg`.
    pub mime: String,
}

/// An image that an email shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageRef<'a> {
    /// `/media/…`, as products have them.
    Path(&'a str),
    /// One that a visitor or the owner sent in.
    Kept(&'a ImageId),
}

/// Where the images of emails come from.
pub trait Images: Sync {
    /// The image in about this width (pixels), or larger. None: there is none, and the email goes without.
    ///
    /// # Errors
    /// When the store cannot be asked now: the email waits for it.
    fn read(
        &self,
        image: ImageRef<'_>,
        width: u32,
    ) -> impl Future<Output = anyhow::Result<Option<Image>>> + Send;
}

/// A square of the image's middle, as a JPEG, which every mail program shows. None for what cannot be decoded.
pub async fn square(image: Image, side: u32) -> Option<Image> {
    tokio::task::spawn_blocking(move || {
        let small = media::decode(&image.bytes)?.resize_to_fill(side, side, FilterType::Triangle);
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 85)
            .encode_image(&on_white(&small))
            .ok()?;
        let mime = "image/jpeg".to_owned();
        Some(Image { bytes, mime })
    })
    .await
    .ok()?
}

/// JPEG knows no transparency.
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
