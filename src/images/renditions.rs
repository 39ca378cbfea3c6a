//! Renditions: an image in several widths, as JPEG and as WebP.

use anyhow::{Context, anyhow};
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ExtendedColorType, ImageBuffer, Rgb};

/// Widths in pixels, narrowest first.
pub(super) const WIDTHS: [u32; 4] = [320, 640, 1024, 1600];

const JPEG_QUALITY: u8 = 82;
const WEBP_QUALITY: f32 = 80.0;

/// Encoding of a rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Jpeg,
    Webp,
}

impl Encoding {
    /// Returns the ending of file names.
    pub fn extension(self) -> &'static str {
        match self {
            Encoding::Jpeg => "jpg",
            Encoding::Webp => "webp",
        }
    }

    /// Returns the media type.
    pub fn mime(self) -> &'static str {
        match self {
            Encoding::Jpeg => "image/jpeg",
            Encoding::Webp => "image/webp",
        }
    }
}

/// One rendition.
pub(super) struct Rendition {
    pub step: u32,
    pub kind: Encoding,
    pub content: Vec<u8>,
}

/// Steps of an image's renditions by their nominal width: all steps narrower than the image, and the next one, which
/// has the image's own width or, for a large image, 1600 px.
pub(super) fn steps(width: u32) -> impl Iterator<Item = u32> {
    let narrower = WIDTHS.iter().filter(|step| **step < width).count();
    WIDTHS.into_iter().take(narrower + 1)
}

/// The step delivered for a requested one, because a narrow image lacks the wider steps.
pub(super) fn step_for(width: u32, asked: u32) -> u32 {
    let steps = steps(width);
    steps
        .take_while(|step| *step <= asked)
        .last()
        .unwrap_or(WIDTHS[0])
}

/// Makes all renditions of an image, which intake has converted to RGB or RGBA.
pub(super) fn make(image: &DynamicImage) -> anyhow::Result<Vec<Rendition>> {
    let mut made = Vec::new();
    for step in steps(image.width()) {
        let resized = narrowed(image, step)?;
        for kind in [Encoding::Jpeg, Encoding::Webp] {
            made.push(Rendition {
                step,
                kind,
                content: match kind {
                    Encoding::Jpeg => jpeg(&resized, JPEG_QUALITY)?,
                    Encoding::Webp => webp(&resized)?,
                },
            });
        }
    }
    Ok(made)
}

/// Scales an image down to at most this width, keeping its proportions.
pub(super) fn narrowed(image: &DynamicImage, width: u32) -> anyhow::Result<DynamicImage> {
    let (from_width, from_height) = (image.width(), image.height());
    if from_width <= width {
        return Ok(image.clone());
    }
    let height = u64::from(from_height) * u64::from(width);
    let height = (height + u64::from(from_width) / 2) / u64::from(from_width);
    let mut resized = DynamicImage::new(width, (height as u32).max(1), image.color());
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
    Resizer::new()
        .resize(image, &mut resized, &options)
        .context("resizing an image")?;
    Ok(resized)
}

/// Encodes a JPEG; transparency becomes white.
pub(super) fn jpeg(image: &DynamicImage, quality: u8) -> anyhow::Result<Vec<u8>> {
    let flat;
    let rgb = match image {
        DynamicImage::ImageRgb8(rgb) => rgb,
        other => {
            flat = on_white(other);
            &flat
        }
    };
    let mut content = Vec::new();
    JpegEncoder::new_with_quality(&mut content, quality)
        .encode(rgb, rgb.width(), rgb.height(), ExtendedColorType::Rgb8)
        .context("encoding a JPEG")?;
    Ok(content)
}

fn on_white(image: &DynamicImage) -> ImageBuffer<Rgb<u8>, Vec<u8>> {
    let image = image.to_rgba8();
    let mut flat = ImageBuffer::new(image.width(), image.height());
    for (from, to) in image.pixels().zip(flat.pixels_mut()) {
        let [red, green, blue, alpha] = from.0;
        let over = |channel: u8| {
            let (channel, alpha) = (u32::from(channel), u32::from(alpha));
            ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        };
        *to = Rgb([over(red), over(green), over(blue)]);
    }
    flat
}

fn webp(image: &DynamicImage) -> anyhow::Result<Vec<u8>> {
    let rgba;
    let encoder = match image {
        DynamicImage::ImageRgb8(rgb) => webp::Encoder::from_rgb(rgb, rgb.width(), rgb.height()),
        other => {
            rgba = other.to_rgba8();
            webp::Encoder::from_rgba(&rgba, rgba.width(), rgba.height())
        }
    };
    let content = encoder
        .encode_simple(false, WEBP_QUALITY)
        .map_err(|error| anyhow!("encoding a WebP: {error:?}"))?;
    Ok(content.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_image_stands_for_the_wider_steps() {
        assert_eq!(step_for(4000, 1024), 1024);
        assert_eq!(step_for(480, 1600), 640);
        assert_eq!(step_for(320, 640), 320);
        assert_eq!(step_for(1, 320), 320);
    }

    #[test]
    fn what_is_transparent_becomes_white_in_a_jpeg() {
        let clear = DynamicImage::new(8, 8, image::ColorType::Rgba8);
        assert!(on_white(&clear).pixels().all(|pixel| pixel.0 == [255; 3]));
    }

    #[test]
    fn the_thinnest_image_keeps_a_pixel() {
        let thin = DynamicImage::new(4000, 1, image::ColorType::Rgb8);
        let narrow = narrowed(&thin, 320).expect("an image");
        assert_eq!((narrow.width(), narrow.height()), (320, 1));
    }
}
