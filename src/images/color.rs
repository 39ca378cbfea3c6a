//! Colors: pixels converted to sRGB by the color profile of their file.

use std::sync::Arc;

use image::{DynamicImage, RgbImage};
use moxcms::{
    ColorProfile, DataColorSpace, Layout, RenderingIntent, Transform8BitExecutor, TransformOptions,
};
use tracing::info;

/// Decoded pixels, in the colors of their file.
pub(super) enum Pixels {
    Light(DynamicImage),
    Inks(Inks),
}

/// An image in cyan, magenta, yellow and black.
pub(super) struct Inks {
    pub width: u32,
    pub height: u32,
    /// Four bytes a pixel; 255 is all of an ink.
    pub samples: Vec<u8>,
}

/// Converts pixels to sRGB: RGB or RGBA of eight bits. A profile that cannot be used, or is meant for other colors, is
/// treated as browsers do, as if it were not there; the log says so.
pub(super) fn in_srgb(pixels: Pixels, profile: Option<&[u8]>) -> DynamicImage {
    let profile = profile.and_then(|profile| {
        let profile = ColorProfile::new_from_slice(profile);
        profile
            .inspect_err(|_| info!("a color profile cannot be read"))
            .ok()
    });
    match pixels {
        Pixels::Light(image) => light_in_srgb(image, profile.as_ref()),
        Pixels::Inks(inks) => inks_in_srgb(&inks, profile.as_ref()).into(),
    }
}

/// The transform of a profile to sRGB, by the intents that browsers try.
fn transform(
    profile: &ColorProfile,
    from: Layout,
    to: Layout,
) -> Option<Arc<Transform8BitExecutor>> {
    let srgb = ColorProfile::new_srgb();
    let mut intents = [
        RenderingIntent::Perceptual,
        RenderingIntent::RelativeColorimetric,
    ]
    .into_iter();
    let transform = intents.find_map(|rendering_intent| {
        let options = TransformOptions {
            rendering_intent,
            ..TransformOptions::default()
        };
        profile.create_transform_8bit(from, &srgb, to, options).ok()
    });
    if transform.is_none() {
        info!("a color profile cannot be used");
    }
    transform
}

fn light_in_srgb(image: DynamicImage, profile: Option<&ColorProfile>) -> DynamicImage {
    let (is_gray, has_alpha) = (!image.color().has_color(), image.color().has_alpha());
    let plain = |image: DynamicImage| match has_alpha {
        true => DynamicImage::from(image.into_rgba8()),
        false => DynamicImage::from(image.into_rgb8()),
    };
    let Some(profile) = profile else {
        return plain(image);
    };
    let from = match (profile.color_space, has_alpha) {
        (DataColorSpace::Rgb, false) => Layout::Rgb,
        (DataColorSpace::Rgb, true) => Layout::Rgba,
        (DataColorSpace::Gray, false) if is_gray => Layout::Gray,
        (DataColorSpace::Gray, true) if is_gray => Layout::GrayAlpha,
        (space, _) => {
            info!(?space, is_gray, "a color profile does not fit its image");
            return plain(image);
        }
    };
    let to = if has_alpha { Layout::Rgba } else { Layout::Rgb };
    let Some(transform) = transform(profile, from, to) else {
        return plain(image);
    };
    // Gray samples, one or two a pixel, become three or four; the others are converted where they are.
    let source = match from {
        Layout::Gray => Some(image.to_luma8().into_raw()),
        Layout::GrayAlpha => Some(image.to_luma_alpha8().into_raw()),
        _ => None,
    };
    let mut converted = plain(image);
    let width = converted.width() as usize;
    let samples = match &mut converted {
        DynamicImage::ImageRgb8(rgb) => &mut **rgb,
        DynamicImage::ImageRgba8(rgba) => &mut **rgba,
        _ => return converted,
    };
    let mut row_before = vec![0; width * to.channels()];
    for (index, row) in samples.chunks_exact_mut(width * to.channels()).enumerate() {
        let before = match &source {
            Some(gray) => {
                let length = width * from.channels();
                &gray[index * length..][..length]
            }
            None => {
                row_before.copy_from_slice(row);
                &row_before
            }
        };
        if transform.transform(before, row).is_err() {
            info!("a color profile cannot be applied");
            break;
        }
    }
    converted
}

/// A press prints by its profile: without it, the colors are a guess.
fn inks_in_srgb(inks: &Inks, profile: Option<&ColorProfile>) -> RgbImage {
    let transform = profile.and_then(|profile| match profile.color_space {
        DataColorSpace::Cmyk => transform(profile, Layout::Rgba, Layout::Rgb),
        space => {
            info!(?space, "a color profile does not fit an image in four inks");
            None
        }
    });
    let mut image = RgbImage::new(inks.width, inks.height);
    let is_converted = transform.is_some_and(|transform| {
        let converted = transform.transform(&inks.samples, &mut image);
        converted
            .inspect_err(|_| info!("a color profile cannot be applied"))
            .is_ok()
    });
    if !is_converted {
        let samples = inks.samples.as_chunks::<4>().0;
        for (pixel, inks) in image.pixels_mut().zip(samples) {
            pixel.0 = light_of(*inks);
        }
    }
    image
}

/// The color of four inks, as browsers show them where no profile says it better.
fn light_of([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    [cyan, magenta, yellow].map(|ink| {
        let light = u16::from(255 - ink) * u16::from(255 - black);
        // At most 255 * 255 / 255.
        ((light + 127) / 255) as u8
    })
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use moxcms::{LutDataType, LutStore, LutType, LutWarehouse, Matrix3d};

    use super::super::jpeg::Jpeg;
    use super::super::jpeg::samples::{adobe, one_color, profile_part};
    use super::*;

    /// Red in Lab of sixteen bits, and the white of paper.
    const RED: [u16; 3] = [0x8a60, 0xd100, 0xc600];
    const PAPER: [u16; 3] = [0xff00, 0x8000, 0x8000];

    /// The profile of a press whose cyan is red, and whose other inks leave nothing.
    fn odd_press() -> ColorProfile {
        let ramp = |channels: usize| LutStore::Store16([0, u16::MAX].repeat(channels));
        // Two grid points an ink, the first of which varies least often.
        let corners = [PAPER.repeat(8), RED.repeat(8)].concat();
        let table = LutDataType {
            num_input_channels: 4,
            num_output_channels: 3,
            num_clut_grid_points: 2,
            matrix: Matrix3d::IDENTITY,
            num_input_table_entries: 2,
            num_output_table_entries: 2,
            input_table: ramp(4),
            clut_table: LutStore::Store16(corners),
            output_table: ramp(3),
            lut_type: LutType::Lut16,
        };
        let mut profile = ColorProfile::new_srgb();
        profile.color_space = DataColorSpace::Cmyk;
        profile.pcs = DataColorSpace::Lab;
        // Counted but not written where there are inks.
        profile.cicp = None;
        profile.lut_a_to_b_perceptual = Some(LutWarehouse::Lut(table));
        for curve in [
            &mut profile.red_trc,
            &mut profile.green_trc,
            &mut profile.blue_trc,
        ] {
            *curve = None;
        }
        profile
    }

    fn encoded(profile: &ColorProfile) -> Vec<u8> {
        profile.encode().expect("a profile")
    }

    /// The color of a JPEG with these samples and this profile.
    fn shown(components: &[u8], header: &[u8], profile: &[u8]) -> [u8; 3] {
        let header = [header, &profile_part(1, 1, profile)].concat();
        let file = one_color(components, &header, &[]);
        let jpeg = Jpeg::read(&file).expect("an image");
        let profile = jpeg.profile().map(<[u8]>::to_vec);
        let pixels = jpeg.decode().expect("an image");
        let Rgb(color) = *in_srgb(pixels, profile.as_deref())
            .into_rgb8()
            .get_pixel(4, 4);
        color
    }

    fn is_near(one: [u8; 3], other: [u8; 3]) -> bool {
        one.iter().zip(other).all(|(a, b)| a.abs_diff(b) <= 8)
    }

    #[test]
    fn four_inks_are_converted_by_their_profile() {
        let mut press = odd_press();
        // In a JPEG, 255 is none of an ink.
        let (cyan, magenta) = ([0, 255, 255, 255], [255, 0, 255, 255]);
        let expect = |profile: &[u8]| {
            let red = shown(&cyan, &[], profile);
            assert!(is_near(red, [254, 0, 0]), "{red:?}");
            let white = shown(&magenta, &[], profile);
            assert!(is_near(white, [255, 255, 255]), "{white:?}");
            // Green in luma and chroma, which is none of the red's ink.
            let no_cyan = shown(&[150, 44, 21, 255], &adobe(2), profile);
            assert!(is_near(no_cyan, [255, 255, 255]), "{no_cyan:?}");
        };
        expect(&encoded(&press));
        // A profile may have the table of one intent alone.
        press.lut_a_to_b_colorimetric = press.lut_a_to_b_perceptual.take();
        expect(&encoded(&press));
    }

    #[test]
    fn no_flipped_byte_of_a_profile_panics() {
        let profile = encoded(&odd_press());
        let mut taken = 0;
        for (at, flip) in (0..profile.len()).flat_map(|at| [(at, 1), (at, 0xff)]) {
            let mut flipped = profile.clone();
            flipped[at] ^= flip;
            let color = shown(&[0, 255, 255, 255], &[], &flipped);
            taken += usize::from(color != [0, 255, 255]);
        }
        assert!((100..profile.len() * 2).contains(&taken), "{taken}");
    }

    #[test]
    fn a_profile_for_other_colors_is_ignored() {
        let mut swapped = ColorProfile::new_srgb();
        std::mem::swap(&mut swapped.red_colorant, &mut swapped.green_colorant);
        let (rgb, press) = (encoded(&swapped), encoded(&odd_press()));
        let gray = encoded(&ColorProfile::new_gray_with_gamma(1.0));
        for (components, header, profile, color) in [
            (&[0, 255, 255, 255][..], vec![], &rgb, [0, 255, 255]),
            (&[0, 255, 255, 255], vec![], &gray, [0, 255, 255]),
            (
                &[0, 255, 255, 255],
                vec![],
                &b"no profile".to_vec(),
                [0, 255, 255],
            ),
            (&[200, 40, 40], adobe(0), &gray, [200, 40, 40]),
            (&[200, 40, 40], adobe(0), &press, [200, 40, 40]),
            (&[90], vec![], &press, [90, 90, 90]),
        ] {
            let shown = shown(components, &header, profile);
            assert!(is_near(shown, color), "{components:?}: {shown:?}");
        }
        // Those that fit are not.
        let shown_swapped = shown(&[200, 40, 40], &adobe(0), &rgb);
        assert!(shown_swapped[1] > 150, "{shown_swapped:?}");
        let lighter = shown(&[90], &[], &gray);
        assert!(lighter[0] > 140, "{lighter:?}");
    }
}
