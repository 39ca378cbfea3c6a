//! Metadata of a JPEG: orientation, color profile, and the meaning of its components.
//!
//! Which block counts follows Skia, by which Chromium reads metadata. Source:
//! <https://github.com/google/skia/blob/main/src/codec/SkJpegMetadataDecoderImpl.cpp>

use image::metadata::Orientation;
use jpeg_decoder::ColorTransform;

use super::marker;

/// Metadata from the application segments before the first scan.
#[derive(Default)]
pub(super) struct Metadata<'a> {
    is_jfif: bool,
    /// The transform that Adobe's segment names.
    adobe: Option<u8>,
    exif: Option<&'a [u8]>,
    /// The parts of a color profile with their numbers, and how many there should be.
    profile: Vec<(u8, u8, &'a [u8])>,
}

impl<'a> Metadata<'a> {
    /// Takes an application segment.
    pub fn take(&mut self, marker: u8, segment: &'a [u8]) {
        let after = |name: &[u8]| segment.strip_prefix(name);
        match marker {
            marker::APP0 if segment.starts_with(b"JFIF\0") => self.is_jfif = true,
            marker::APP14 if segment.starts_with(b"Adobe") && segment.len() >= 12 => {
                self.adobe = Some(segment[11]);
            }
            marker::APP1 => {
                // Any byte may stand behind the name, and a block with nothing in it is skipped.
                if let Some([_, exif @ ..]) = after(b"Exif\0")
                    && !exif.is_empty()
                {
                    // The first counts: what follows goes on with it, or was put behind it by another program.
                    self.exif.get_or_insert(exif);
                }
            }
            marker::APP2 => {
                if let Some([number, of, part @ ..]) = after(b"ICC_PROFILE\0") {
                    self.profile.push((*number, *of, part));
                }
            }
            _ => {}
        }
    }

    /// How the image is turned upright, by the first block of EXIF, as in browsers.
    pub fn orientation(&self) -> Orientation {
        self.exif
            .and_then(Orientation::from_exif_chunk)
            .unwrap_or(Orientation::NoTransforms)
    }

    /// What the components of these ids mean, by the rules of libjpeg, which all browsers use.
    pub fn color_transform(&self, ids: &[u8]) -> ColorTransform {
        match (ids.len(), self.adobe) {
            (1, _) => ColorTransform::Grayscale,
            (4, None | Some(0)) => ColorTransform::CMYK,
            (4, _) => ColorTransform::YCCK,
            _ if self.is_jfif => ColorTransform::YCbCr,
            (_, Some(0)) => ColorTransform::RGB,
            (_, None) if ids == b"RGB" => ColorTransform::RGB,
            _ => ColorTransform::YCbCr,
        }
    }

    /// The color profile, put together. None where a part is missing or there twice.
    pub fn profile(&mut self) -> Option<Vec<u8>> {
        self.profile.sort_by_key(|(number, ..)| *number);
        let count = self.profile.len();
        let mut parts = self.profile.iter().zip(1..);
        let is_whole = count > 0
            && parts.all(|((number, of, _), expected)| {
                usize::from(*number) == expected && usize::from(*of) == count
            });
        let parts = self.profile.iter().map(|(_, _, part)| *part);
        is_whole.then(|| parts.collect::<Vec<_>>().concat())
    }
}

#[cfg(test)]
mod tests {
    use image::metadata::Orientation;

    use super::super::samples::{exif, one_color, segment};
    use super::super::{Jpeg, marker};

    fn orientation(file: &[u8]) -> Orientation {
        Jpeg::read(file).expect("an image").orientation()
    }

    #[test]
    fn an_orientation_counts_before_the_first_scan_alone() {
        let (gray, turned) = ([90, 128, 128], exif([0, 0], 6));
        assert_eq!(
            orientation(&one_color(&gray, &turned, &[])),
            Orientation::Rotate90
        );
        let between = one_color(&gray, &[], &turned);
        assert_eq!(orientation(&between), Orientation::NoTransforms);
        let mut behind = one_color(&gray, &[], &[]);
        behind.splice(behind.len() - 2..behind.len() - 2, turned);
        assert_eq!(orientation(&behind), Orientation::NoTransforms);
        assert!(!Jpeg::read(&behind).expect("an image").is_bare);
    }

    #[test]
    fn an_empty_block_of_exif_hides_no_other_and_its_padding_may_be_any_byte() {
        let empty = segment(marker::APP1, b"Exif\0\0");
        for header in [
            [empty, exif([0, 0], 6)].concat(),
            exif([0, 0xff], 6),
            [exif([0, 1], 6), exif([0, 0], 3)].concat(),
        ] {
            let file = one_color(&[90], &header, &[]);
            assert_eq!(orientation(&file), Orientation::Rotate90, "{header:x?}");
        }
        let other_name = one_color(&[90], &exif([1, 0], 6), &[]);
        assert_eq!(orientation(&other_name), Orientation::NoTransforms);
    }
}
