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
    /// The parts of color profiles in the order of the file, each with its number and how many there should be.
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
                if let Some([number, of, part @ ..]) = after(b"ICC_PROFILE\0")
                    && !part.is_empty()
                {
                    self.profile.push((*number, *of, part));
                }
            }
            _ => {}
        }
    }

    /// Orientation of the image, by the first block of EXIF, as in browsers.
    pub fn orientation(&self) -> Orientation {
        self.exif
            .and_then(Orientation::from_exif_chunk)
            .unwrap_or(Orientation::NoTransforms)
    }

    /// Color space of components with these ids, by the rules of libjpeg, which all browsers use.
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

    /// The first color profile, put together. None where a part is missing, or there twice before all others are.
    pub fn profile(&self) -> Option<Vec<u8>> {
        let (_, count, _) = *self.profile.first()?;
        // Parts behind the last one that is needed belong to a second profile, which browsers do not read.
        let mut parts = self.profile.get(..usize::from(count))?.to_vec();
        parts.sort_by_key(|(number, ..)| *number);
        let mut expected = (1..=count).zip(&parts);
        let is_whole =
            count > 0 && expected.all(|(at, (number, of, _))| (at, count) == (*number, *of));
        let parts: Vec<&[u8]> = parts.iter().map(|(_, _, part)| *part).collect();
        is_whole.then(|| parts.concat())
    }
}

#[cfg(test)]
mod tests {
    use image::metadata::Orientation;

    use super::super::samples::{exif, one_color, profile_part, segment};
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

    #[test]
    fn of_two_profiles_the_first_counts_and_of_one_every_part() {
        let profile = |parts: &[(u8, u8, &[u8])]| {
            let parts = parts
                .iter()
                .map(|(number, of, part)| profile_part(*number, *of, part));
            let file = one_color(&[90], &parts.collect::<Vec<_>>().concat(), &[]);
            let jpeg = Jpeg::read(&file).expect("an image");
            jpeg.profile().map(<[u8]>::to_vec)
        };
        let whole = Some(b"first".to_vec());
        for parts in [
            &[(1, 1, &b"first"[..])][..],
            &[(1, 1, b"first"), (1, 1, b"first")],
            &[(1, 1, b"first"), (1, 1, b"second")],
            &[(1, 1, b"first"), (2, 2, b"second")],
            &[(2, 2, b"st"), (1, 2, b"fir"), (1, 2, b"sec")],
            &[(1, 2, b""), (1, 2, b"fir"), (2, 2, b"st")],
        ] {
            assert_eq!(profile(parts), whole, "{parts:?}");
        }
        for parts in [
            &[][..],
            &[(1, 2, &b"fir"[..])],
            &[(1, 2, b"fir"), (1, 2, b"fir"), (2, 2, b"st")],
            &[(1, 2, b"fir"), (2, 3, b"st"), (2, 2, b"st")],
            &[(0, 1, b"first"), (1, 1, b"first")],
            &[(1, 0, b"first"), (1, 1, b"first")],
        ] {
            assert_eq!(profile(parts), None, "{parts:?}");
        }
    }

    #[test]
    fn a_profile_behind_the_pixels_is_none() {
        let part = profile_part(1, 1, b"first");
        let file = one_color(&[90, 128, 128], &[], &part);
        assert_eq!(Jpeg::read(&file).expect("an image").profile(), None);
    }
}
