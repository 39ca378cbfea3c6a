//! Image intake: accepted formats, decoding and re-encoding. Works on bytes and pixels only, without I/O.

use std::borrow::Cow;
use std::io::Cursor;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, Limits};

use super::color::{self, Pixels};
use super::jpeg::Jpeg;
use super::refusal::{MAX_SIDE, Refusal};
use super::{png, renditions};
use crate::config::MediaLimits;
use crate::types::ids::ImageId;

/// Quality of stored images. Renditions are made from them.
const JPEG_QUALITY: u8 = 90;

/// Bytes at the head of a file that [`sniff`] reads.
pub(super) const HEAD_BYTES: usize = 64;

/// Memory of a decoder besides the image, in bytes.
const BESIDES: u64 = 16 << 20;

/// Largest side of the thumbnail from which a ThumbHash is computed.
const THUMB_SIDE: u32 = 100;

/// Format of a stored image: JPEG, or PNG for images with transparency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub(super) enum Format {
    Jpeg,
    Png,
}

impl Format {
    /// Returns the ending of file names.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Jpeg => "jpg",
            Format::Png => "png",
        }
    }

    /// Returns the media type.
    pub fn mime(self) -> &'static str {
        match self {
            Format::Jpeg => "image/jpeg",
            Format::Png => "image/png",
        }
    }
}

/// An image ready to be stored.
pub(super) struct Prepared {
    pub id: ImageId,
    pub content: Vec<u8>,
    pub format: Format,
    pub width: u32,
    pub height: u32,
    pub thumbhash: String,
}

/// Detects the format from the first bytes.
///
/// # Errors
/// Unsupported formats, by name, and files that are not images.
pub(super) fn sniff(head: &[u8]) -> Result<ImageFormat, Refusal> {
    match head {
        [0xff, 0xd8, 0xff, ..] => Ok(ImageFormat::Jpeg),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(ImageFormat::Png),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(ImageFormat::Gif),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Ok(ImageFormat::WebP),
        [_, _, _, _, b'f', b't', b'y', b'p', brands @ ..] => Err(sniff_iso_media(brands)),
        _ => Err(Refusal::NotAImage),
    }
}

/// Name of an ISO media file's format by its brands: the major brand, a version, and the compatible brands. The major
/// brand alone does not distinguish AVIF from HEIC. Source: <https://mp4ra.org/registered-types/brands>
fn sniff_iso_media(brands: &[u8]) -> Refusal {
    let brands = brands.as_chunks::<4>().0;
    let has = |names: &[&[u8; 4]]| brands.iter().any(|brand| names.contains(&brand));
    if has(&[b"avif", b"avis"]) {
        Refusal::Unsupported("AVIF")
    } else if has(&[
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs",
    ]) {
        Refusal::Unsupported("HEIC")
    } else if has(&[b"mif1", b"msf1", b"mif2", b"miaf"]) {
        Refusal::Unsupported("HEIF")
    } else {
        Refusal::NotAImage
    }
}

/// Memory that decoding the image takes, in pixels of four bytes. Decodes nothing.
///
/// # Errors
/// Files that are not supported images, and images with too many pixels.
pub(super) fn measure(content: &[u8], limits: &MediaLimits) -> Result<u64, Refusal> {
    if sniff(content)? == ImageFormat::Jpeg {
        let jpeg = open_jpeg(content, limits)?;
        let (width, height) = jpeg.dimensions();
        return Ok((u64::from(width) * u64::from(height)).max(jpeg.working_bytes() / 4));
    }
    let decoder = open(content, limits)?;
    let (width, height) = decoder.dimensions();
    Ok((u64::from(width) * u64::from(height)).max(decoder.total_bytes() / 4))
}

/// Decodes an image completely and encodes it again, upright and in sRGB: only pixels are kept of the uploaded file.
pub(super) fn prepare(content: &[u8], limits: &MediaLimits) -> Result<Prepared, Refusal> {
    let image = decode(content, limits)?;
    let written = match &image {
        DynamicImage::ImageRgba8(rgba) => {
            let mut written = Vec::new();
            PngEncoder::new_with_quality(
                &mut written,
                CompressionType::Default,
                FilterType::Adaptive,
            )
            .write_image(
                rgba,
                rgba.width(),
                rgba.height(),
                image::ExtendedColorType::Rgba8,
            )
            .map(|()| (written, Format::Png))
            .map_err(anyhow::Error::from)
        }
        opaque => renditions::jpeg(opaque, JPEG_QUALITY).map(|written| (written, Format::Jpeg)),
    };
    let (content, format) = written.map_err(refused)?;
    Ok(described(content, format, &image))
}

/// Accepts a previously stored image with its bytes unchanged. Its hash must match, and the file must contain nothing
/// but pixels; otherwise `None` is returned, and the image must be uploaded like any other.
pub(super) fn recognize(id: &ImageId, content: &[u8], limits: &MediaLimits) -> Option<Prepared> {
    let format = match sniff(content) {
        Ok(ImageFormat::Jpeg) => Format::Jpeg,
        Ok(ImageFormat::Png) => Format::Png,
        _ => return None,
    };
    let is_bare = match format {
        Format::Jpeg => open_jpeg(content, limits).ok()?.is_bare,
        Format::Png => {
            let mut decoder = open(content, limits).ok()?;
            matches!(decoder.exif_metadata(), Ok(None))
                && matches!(decoder.xmp_metadata(), Ok(None))
                && matches!(decoder.iptc_metadata(), Ok(None))
                && matches!(decoder.icc_profile(), Ok(None))
        }
    };
    if !is_bare || ImageId::of(content) != *id {
        return None;
    }
    let image = decode(content, limits).ok()?;
    Some(described(content.to_vec(), format, &image))
}

fn described(content: Vec<u8>, format: Format, image: &DynamicImage) -> Prepared {
    Prepared {
        id: ImageId::of(&content),
        content,
        format,
        width: image.width(),
        height: image.height(),
        thumbhash: thumbhash(image),
    }
}

/// Decodes an image: upright, in sRGB, as RGB or, with transparency, RGBA. Only the first frame of several is used.
pub(super) fn decode(content: &[u8], limits: &MediaLimits) -> Result<DynamicImage, Refusal> {
    let (decoded, orientation, profile) = if sniff(content)? == ImageFormat::Jpeg {
        let jpeg = open_jpeg(content, limits)?;
        let profile = jpeg.profile().map(<[u8]>::to_vec);
        let orientation = jpeg.orientation();
        (jpeg.decode()?, orientation, profile)
    } else {
        let mut decoder = open(content, limits)?;
        let profile = decoder.icc_profile().ok().flatten();
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let decoded = DynamicImage::from_decoder(decoder).map_err(|_| Refusal::Damaged)?;
        (Pixels::Light(decoded), orientation, profile)
    };
    let mut image = color::in_srgb(decoded, profile.as_deref());
    image.apply_orientation(orientation);
    let is_opaque = match &image {
        DynamicImage::ImageRgba8(rgba) => rgba.pixels().all(|pixel| pixel.0[3] == 255),
        _ => false,
    };
    Ok(if is_opaque {
        image.into_rgb8().into()
    } else {
        image
    })
}

/// As [`decode`]. What is transparent becomes white.
pub(super) fn decode_opaque(
    content: &[u8],
    limits: &MediaLimits,
) -> Result<image::RgbImage, Refusal> {
    let mut image = decode(content, limits)?;
    if let DynamicImage::ImageRgba8(pixels) = &mut image {
        for pixel in pixels.pixels_mut() {
            let [red, green, blue, alpha] = pixel.0.map(u32::from);
            let over_white = |channel: u32| ((channel * alpha + 255 * (255 - alpha)) / 255) as u8;
            pixel.0 = [over_white(red), over_white(green), over_white(blue), 255];
        }
    }
    Ok(image.into_rgb8())
}

/// Encodes an image of the shop's own as it is stored.
pub(super) fn encode(image: image::RgbImage) -> Result<Prepared, Refusal> {
    let image = DynamicImage::from(image);
    let content = renditions::jpeg(&image, JPEG_QUALITY).map_err(refused)?;
    Ok(described(content, Format::Jpeg, &image))
}

/// Parses a JPEG and checks its size.
fn open_jpeg(content: &[u8], limits: &MediaLimits) -> Result<Jpeg, Refusal> {
    // The decoder of `image` leaves stripes where components come in separate scans, and panics on chroma finer than
    // luma.
    let jpeg = Jpeg::read(content)?;
    let (width, height) = jpeg.dimensions();
    check_size(width, height, jpeg.output_bytes(), limits)?;
    Ok(jpeg)
}

fn check_size(width: u32, height: u32, bytes: u64, limits: &MediaLimits) -> Result<(), Refusal> {
    let most = u64::from(limits.megapixels) * 1_000_000;
    let pixels = u64::from(width) * u64::from(height);
    if width > MAX_SIDE || height > MAX_SIDE || pixels > most || bytes > most * 4 {
        return Err(Refusal::TooManyPixels);
    }
    Ok(())
}

/// Opens a decoder of a PNG, GIF or WebP, which has read only the header.
fn open<'a>(
    content: &'a [u8],
    limits: &MediaLimits,
) -> Result<Box<dyn ImageDecoder + 'a>, Refusal> {
    let format = sniff(content)?;
    let content = match format {
        ImageFormat::Png => png::with_end(content),
        _ => Cow::Borrowed(content),
    };
    let mut reader = ImageReader::with_format(Cursor::new(content), format);
    reader.limits(room(0));
    let mut decoder = reader.into_decoder().map_err(|_| Refusal::Damaged)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(Refusal::Damaged);
    }
    check_size(width, height, decoder.total_bytes(), limits)?;
    let room = room(decoder.total_bytes());
    decoder.set_limits(room).map_err(|_| Refusal::Damaged)?;
    Ok(Box::new(decoder))
}

/// Allocation limit of a decoder: the image, perhaps twice, and a reserve for its metadata.
fn room(image_bytes: u64) -> Limits {
    let mut room = Limits::no_limits();
    // Limited, because a profile may unpack to a thousand times its size.
    room.max_alloc = Some(image_bytes * 2 + BESIDES);
    room
}

fn thumbhash(image: &DynamicImage) -> String {
    let small = image.thumbnail(THUMB_SIDE, THUMB_SIDE).into_rgba8();
    let (width, height) = (small.width() as usize, small.height() as usize);
    BASE64_STANDARD.encode(thumbhash::rgba_to_thumb_hash(width, height, &small))
}

/// Rejects an image that cannot be encoded: a decoded image normally can, so this one must be odd.
fn refused(error: anyhow::Error) -> Refusal {
    tracing::warn!(error = format!("{error:#}"), "an image cannot be written");
    Refusal::Damaged
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: MediaLimits = MediaLimits {
        file_bytes: 7 << 20,
        files: 10,
        megapixels: 50,
    };

    fn written(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).expect("an image");
        bytes.into_inner()
    }

    fn samples() -> Vec<Vec<u8>> {
        let rgb = image::RgbImage::from_fn(24, 18, |x, y| {
            image::Rgb([(x * 10) as u8, (y * 13) as u8, (x * y) as u8])
        });
        let colour = DynamicImage::from(rgb);
        let mut clear = colour.to_rgba8();
        clear[(3, 3)].0[3] = 100;
        let clear = DynamicImage::from(clear);
        vec![
            written(&colour, ImageFormat::Jpeg),
            written(&colour.to_luma8().into(), ImageFormat::Jpeg),
            written(&colour, ImageFormat::Png),
            written(&clear, ImageFormat::Png),
            written(&colour.to_rgb16().into(), ImageFormat::Png),
            written(&colour, ImageFormat::WebP),
            written(&clear, ImageFormat::WebP),
            written(&colour, ImageFormat::Gif),
        ]
    }

    #[test]
    fn ten_thousand_flipped_bytes_panic_nowhere() {
        let samples = samples();
        let mut state = 1_u64;
        let mut below = |bound: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % bound
        };
        let mut taken = 0;
        for round in 0..10_000 {
            let mut bytes = samples[round % samples.len()].clone();
            for _ in 0..=below(3) {
                let at = below(bytes.len());
                bytes[at] ^= 1 << below(8);
            }
            if measure(&bytes, &LIMITS).is_ok_and(|pixels| pixels < 10_000) {
                taken += usize::from(prepare(&bytes, &LIMITS).is_ok());
            }
        }
        assert!((1_000..9_000).contains(&taken), "{taken}");
    }

    #[test]
    fn what_we_kept_is_recognized_and_nothing_else_is() {
        for sample in samples() {
            let kept = prepare(&sample, &LIMITS).expect("an image");
            let again = recognize(&kept.id, &kept.content, &LIMITS).expect("the same");
            assert_eq!(
                (again.id, again.content),
                (kept.id.clone(), kept.content.clone())
            );
            assert_eq!((again.width, again.height), (kept.width, kept.height));
            let longer = [&kept.content[..], b"x"].concat();
            assert!(recognize(&kept.id, &longer, &LIMITS).is_none());
        }
    }

    #[test]
    fn refusals_name_the_limits() {
        assert_eq!(
            Refusal::TooLarge.sentence(&LIMITS),
            "This file is larger than 7 MB."
        );
        assert!(
            Refusal::Unsupported("HEIC")
                .sentence(&LIMITS)
                .contains("HEIC")
        );
        assert!(
            Refusal::TooManyPixels
                .sentence(&LIMITS)
                .contains("50 megapixels")
        );
    }
}
