//! Colors of beads in words.

use std::fmt;

use crate::color::Lab;
use crate::grid::percentile;

/// Share of the samples, from the darkest, that are thread and the shade between beads.
const THREAD: f32 = 0.30;

/// Least share of a color that is named.
const LEAST_SHARE: f32 = 0.10;

/// Most colors that are named.
const MOST_COLORS: usize = 4;

/// A family of colors, as a shop owner would call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Color {
    Black,
    Gray,
    White,
    Cream,
    Tan,
    Brown,
    Red,
    Orange,
    Yellow,
    Green,
    Turquoise,
    Sky,
    Blue,
    Purple,
    Pink,
}

impl Color {
    pub const ALL: [Color; 15] = [
        Color::Black,
        Color::Gray,
        Color::White,
        Color::Cream,
        Color::Tan,
        Color::Brown,
        Color::Red,
        Color::Orange,
        Color::Yellow,
        Color::Green,
        Color::Turquoise,
        Color::Sky,
        Color::Blue,
        Color::Purple,
        Color::Pink,
    ];

    /// The English word, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Color::Black => "black",
            Color::Gray => "gray",
            Color::White => "white",
            Color::Cream => "cream",
            Color::Tan => "tan",
            Color::Brown => "brown",
            Color::Red => "red",
            Color::Orange => "orange",
            Color::Yellow => "yellow",
            Color::Green => "green",
            Color::Turquoise => "turquoise",
            Color::Sky => "sky blue",
            Color::Blue => "blue",
            Color::Purple => "purple",
            Color::Pink => "pink",
        }
    }

    /// The color of that name.
    pub fn from_name(name: &str) -> Option<Color> {
        Color::ALL.into_iter().find(|color| color.name() == name)
    }

    /// The family of a bead's color in true light.
    fn of(bead: Lab) -> Color {
        let lightness = bead.l.max(0.05);
        // Shade and thread take chroma off as they take lightness off.
        let saturation = bead.chroma() / lightness;
        if saturation < if lightness > 0.5 { 0.04 } else { 0.065 } {
            return match lightness {
                l if l < 0.40 => Color::Black,
                l if l < 0.74 => Color::Gray,
                _ => Color::White,
            };
        }
        let hue = bead.b.atan2(bead.a).to_degrees().rem_euclid(360.0);
        match hue {
            h if h < 12.0 => Color::Pink,
            h if h < 37.0 => reddish(lightness, saturation),
            h if h < 70.0 => brownish(lightness, saturation, h),
            h if h < 112.0 => yellowish(lightness, saturation),
            h if h < 168.0 => Color::Green,
            h if h < 218.0 => Color::Turquoise,
            h if h < 290.0 && lightness > 0.62 => Color::Sky,
            h if h < 290.0 => Color::Blue,
            h if h < 335.0 => Color::Purple,
            _ => Color::Pink,
        }
    }
}

fn reddish(lightness: f32, saturation: f32) -> Color {
    match () {
        () if lightness > 0.66 && saturation < 0.15 => Color::Pink,
        () if lightness > 0.64 => Color::Orange,
        () if saturation < 0.14 => Color::Brown,
        () => Color::Red,
    }
}

fn brownish(lightness: f32, saturation: f32, hue: f32) -> Color {
    let dark = if hue < 50.0 { 0.46 } else { 0.54 };
    match () {
        () if saturation > 0.13 && lightness > dark => Color::Orange,
        () if lightness > 0.80 && saturation < 0.08 => Color::Cream,
        () if lightness < 0.56 => Color::Brown,
        () => Color::Tan,
    }
}

fn yellowish(lightness: f32, saturation: f32) -> Color {
    match () {
        () if saturation > 0.135 && lightness > 0.46 => Color::Yellow,
        () if lightness > 0.78 && saturation < 0.08 => Color::Cream,
        () if lightness < 0.52 => Color::Brown,
        () => Color::Tan,
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Colors of samples of beadwork in true light, the most common first.
pub(super) fn of(samples: &[Lab]) -> Vec<Color> {
    let mut shares = shares(samples);
    let share = |color| {
        shares
            .iter()
            .find(|(other, _)| *other == color)
            .map_or(0.0, |(_, share)| *share)
    };
    // The shaded sides of white beads are gray.
    if share(Color::White) > share(Color::Gray) {
        shares.retain(|(color, _)| *color != Color::Gray);
    }
    shares.truncate(MOST_COLORS);
    let named = shares.iter().filter(|(_, share)| *share >= LEAST_SHARE);
    let mut colors: Vec<Color> = named.map(|(color, _)| *color).collect();
    if colors.is_empty() {
        colors.extend(shares.first().map(|(color, _)| *color));
    }
    colors
}

/// Colors with their shares of the samples without thread, the largest first.
fn shares(samples: &[Lab]) -> Vec<(Color, f32)> {
    let total = samples.len().max(1) as f32;
    // Thread is seldom as dark as black beads are.
    let (black, others): (Vec<Lab>, Vec<Lab>) = samples
        .iter()
        .partition(|sample| Color::of(**sample) == Color::Black);
    let mut lightness: Vec<f32> = others.iter().map(|sample| sample.l).collect();
    let thread = percentile(&mut lightness, THREAD);
    let beads: Vec<Color> = others
        .iter()
        .filter(|sample| sample.l >= thread)
        .map(|sample| Color::of(*sample))
        .collect();
    let black = black.len() as f32 / total;
    let mut shares: Vec<(Color, f32)> = Color::ALL
        .into_iter()
        .map(|color| match color {
            Color::Black => (color, black),
            _ => {
                let count = beads.iter().filter(|bead| **bead == color).count();
                (
                    color,
                    count as f32 / beads.len().max(1) as f32 * (1.0 - black),
                )
            }
        })
        .collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::light;

    fn color(rgb: [u8; 3]) -> Color {
        Color::of(Lab::of(light(rgb)))
    }

    #[test]
    fn colors_have_the_names_that_people_give_them() {
        for (rgb, expected) in [
            ([22, 22, 24], Color::Black),
            ([140, 142, 145], Color::Gray),
            ([240, 240, 238], Color::White),
            ([240, 228, 200], Color::Cream),
            ([200, 165, 120], Color::Tan),
            ([100, 62, 38], Color::Brown),
            ([190, 25, 35], Color::Red),
            ([120, 20, 30], Color::Red),
            ([235, 120, 30], Color::Orange),
            ([240, 205, 50], Color::Yellow),
            ([205, 160, 60], Color::Yellow),
            ([40, 130, 60], Color::Green),
            ([150, 200, 60], Color::Green),
            ([40, 170, 165], Color::Turquoise),
            ([125, 190, 235], Color::Sky),
            ([35, 80, 180], Color::Blue),
            ([25, 35, 90], Color::Blue),
            ([110, 50, 150], Color::Purple),
            ([240, 160, 190], Color::Pink),
            ([200, 40, 130], Color::Pink),
        ] {
            assert_eq!(color(rgb), expected, "{rgb:?}");
        }
    }

    #[test]
    fn the_most_common_color_comes_first_and_thread_is_none() {
        let lab = |rgb| Lab::of(light(rgb));
        let mut samples = vec![lab([95, 84, 74]); 300];
        samples.extend(vec![lab([190, 25, 35]); 400]);
        samples.extend(vec![lab([240, 228, 200]); 250]);
        samples.extend(vec![lab([35, 80, 180]); 50]);
        assert_eq!(of(&samples), [Color::Red, Color::Cream]);
        assert_eq!(of(&[lab([240, 240, 238]); 10]), [Color::White]);
    }
}
