//! The drawing: beadwork on a lighter or from near, made of six colors and a motif.

use crate::motifs::noise;

const WIDTH: usize = 480;
const HEIGHT: usize = 600;

// Each material's shades, dark to light: where they begin in an image's palette, and their number.
const BACKDROP: (usize, usize) = (0, 72);
const METAL: (usize, usize) = (72, 20);
const PLASTIC: (usize, usize) = (92, 16);
const GLASS: usize = 108;
/// The shades of each color of bead: those of the glass, then those of its glint, up to white.
const SHADES: (usize, usize) = (19, 5);

/// The part of an image that all products share: the setting, and columns of beads without color.
pub(crate) struct Scene {
    setting: Vec<u8>,
    columns: Vec<Column>,
    rows: usize,
    bordered: bool,
}

/// A column of beads: its position, and its bead in every color and in two slightly different cuts.
struct Column {
    left: usize,
    top: usize,
    width: usize,
    cuts: [Vec<Vec<u8>>; 2],
}

impl Scene {
    /// A lighter in its case, on a plain background. The case is `rows` beads tall.
    pub(crate) fn case(rows: usize) -> Self {
        // The case is round: its outer columns turn away from the viewer, so they are narrow and dark.
        // Each bead: its width, and the shadow over it.
        #[rustfmt::skip]
        const BEADS: [(usize, f32); 17] = [
            (8, 0.2), (10, 0.1), (11, 0.0), (12, 0.0), (13, 0.0), (13, 0.0), (13, 0.0), (13, 0.0), (13, 0.0),
            (13, 0.0), (13, 0.1), (13, 0.1), (13, 0.2), (12, 0.2), (11, 0.3), (10, 0.4), (8, 0.5),
        ];
        let wide: usize = BEADS.iter().map(|bead| bead.0).sum();
        let (tall, mut left) = (rows * 11, (WIDTH - wide) / 2);
        let top = 330 - tall / 2;
        let column = |(i, &(width, shadow)): (usize, &(usize, f32))| {
            // Seen from a little above, every row dips toward the viewer in the middle.
            let dip = 7.5 * (1.0 - ((i as f32 - 8.0) / 8.5).powi(2)).sqrt();
            left += width;
            Column {
                left: left - width,
                top: top + dip as usize,
                width,
                cuts: cuts(width, 11, shadow),
            }
        };
        let columns = BEADS.iter().enumerate().map(column).collect();
        Self {
            setting: setting(wide as f32, top as f32, tall as f32),
            columns,
            rows,
            bordered: true,
        }
    }

    /// The beadwork alone, filling the image, near enough to see the thread.
    pub(crate) fn close_up() -> Self {
        let column = |i: usize| Column {
            left: i * 32,
            top: 0,
            width: 32,
            cuts: cuts(32, 30, (i / 5) as f32 * 0.06),
        };
        Self {
            setting: vec![0; WIDTH * HEIGHT],
            columns: (0..15).map(column).collect(),
            rows: 20,
            bordered: false,
        }
    }

    /// Draws a product into the scene, as a PNG of 480 by 600.
    ///
    /// The motif gets columns and rows from the middle, and returns a bead's color (0 to 5).
    pub(crate) fn draw(&self, colors: &[u32; 6], motif: impl Fn(i32, i32) -> usize) -> Vec<u8> {
        let mut pixels = self.setting.clone();
        for (i, column) in self.columns.iter().enumerate() {
            let mut start = column.top * WIDTH + column.left;
            for row in 0..self.rows {
                let (x, y) = (
                    i as i32 - self.columns.len() as i32 / 2,
                    row as i32 - self.rows as i32 / 2,
                );
                let color = match row.min(self.rows - 1 - row) {
                    0 | 2 if self.bordered => 5,
                    1 if self.bordered => i % 2,
                    _ => motif(x, y),
                };
                let cut = usize::from(noise(0, x, y).is_multiple_of(6));
                for line in column.cuts[cut][color].chunks_exact(column.width) {
                    pixels[start..start + column.width].copy_from_slice(line);
                    start += WIDTH;
                }
            }
        }
        encode(&pixels, palette(colors))
    }
}

/// Draws a glass bead in every color, with a `shadow` (0 to 1) over it: a good cut and a worse one.
fn cuts(width: usize, height: usize, shadow: f32) -> [Vec<Vec<u8>>; 2] {
    [0.0, 0.07].map(|flaw| {
        let shade = |i: usize| {
            let corners = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)];
            let lights = corners.map(|(dx, dy)| {
                let u = (((i % width) as f32 + dx) / width as f32 * 2.0 - 1.0) * (1.07 + flaw);
                let v = (((i / width) as f32 + dy) / height as f32 * 2.0 - 1.0) * 1.07;
                if u.powi(4) + v.abs().powi(3) > 1.0 {
                    return 0.0;
                }
                // A bead is a short tube across the thread. Its ends and its lower side turn away from the
                // light, but some light passes through the glass and leaves at the foot.
                let facing = (1.0 - 0.75 * v * v - 0.2 * u.powi(4)).max(0.0).sqrt();
                let through = 0.2 * (-((v - 0.62) / 0.25).powi(2) - (u / 0.7).powi(2)).exp();
                let body = 0.18 + 0.72 * facing - 0.26 * v - 0.06 * u + through - flaw;
                let glint = (-((u + 0.18) / 0.42).powi(2) - ((v + 0.45) / 0.2).powi(2)).exp();
                let body = body.clamp(0.2, 1.0).powi(2) * (1.0 - shadow) * SHADES.0 as f32;
                body + ((SHADES.0 + SHADES.1) as f32 - body) * glint * (0.95 - 0.8 * shadow)
            });
            (lights.iter().sum::<f32>() / 4.0) as usize
        };
        let shades: Vec<usize> = (0..width * height).map(shade).collect();
        let position = |color, shade| (GLASS + color * (SHADES.0 + SHADES.1) + shade) as u8;
        (0..6)
            .map(|color| shades.iter().map(|&shade| position(color, shade)).collect())
            .collect()
    })
}

/// Draws the background, the lighter's shadow on it, and the part of the lighter above its case.
fn setting(wide: f32, top: f32, tall: f32) -> Vec<u8> {
    let left = (WIDTH as f32 - wide) / 2.0;
    let (right, bottom) = (left + wide, top + tall);
    let across = |from: f32, to: f32| (left + from * wide, left + to * wide);
    let (body, hood, button) = (across(0.03, 0.97), across(0.06, 0.66), across(0.7, 0.97));
    let wheel = (across(0.56, 0.8), (top - 66.0, top - 66.0 + 0.24 * wide));
    let draw = |i: usize| {
        let (x, y) = ((i % WIDTH) as f32 + 0.5, (i / WIDTH) as f32 + 0.5);
        let glow = ((x - 190.0) / 460.0).powi(2) + ((y - 220.0) / 520.0).powi(2);
        let cast = outside(
            x,
            y,
            (left + 34.0, right + 26.0),
            (top - 10.0, bottom + 8.0),
            30.0,
        );
        let foot = ((x - 246.0) / (wide * 0.58)).powi(2) + ((y - bottom - 6.0) / 15.0).powi(2);
        let light = 1.0
            - 0.42 * glow.min(1.2)
            - 0.3 * (0.5 - cast / 68.0).clamp(0.0, 1.0).powi(2)
            - 0.5 * (1.0 - foot).max(0.0);
        let shade = |(from, count): (usize, usize), light: f32| {
            from as f32 + light.clamp(0.0, 0.99) * count as f32
        };
        let mut pixel = shade(BACKDROP, light);

        let sheen = |(from, to): (f32, f32)| {
            let at = (x - from) / (to - from);
            0.26 + 0.62 * (-((at - 0.28) / 0.16).powi(2)).exp()
                + 0.3 * (-((at - 0.86) / 0.09).powi(2)).exp()
        };
        let mut paint = |columns, rows, radius, material, light| {
            let distance = outside(x, y, columns, rows, radius);
            if distance < -1.2 {
                pixel = shade(material, light);
            } else if distance < 0.6 {
                // The palette has no blends of two materials, so an outline is a dark line that fades into
                // the background.
                let behind = if pixel < BACKDROP.1 as f32 {
                    pixel
                } else {
                    0.0
                };
                pixel = (behind * (distance + 1.2) / 1.8).max(8.0);
            }
        };
        let knurl = if (y as i32 / 3) % 2 == 0 { 0.3 } else { 0.1 };
        let turn = ((y - wheel.1.0) / (0.24 * wide) * 2.0 - 0.8).powi(2);
        paint(
            button,
            (top - 38.0, top + 6.0),
            9.0,
            PLASTIC,
            0.5 * sheen(button),
        );
        paint(
            wheel.0,
            wheel.1,
            0.115 * wide,
            METAL,
            knurl + 0.35 - 0.35 * turn,
        );
        paint(hood, (top - 60.0, top + 10.0), 13.0, METAL, sheen(hood));
        for hole in [0.22, 0.36, 0.5] {
            paint(
                across(hole - 0.035, hole + 0.035),
                (top - 44.0, top - 30.0),
                7.0,
                METAL,
                0.0,
            );
        }
        let lip = if y < top - 12.0 { 0.15 } else { 0.0 };
        paint(
            body,
            (top - 16.0, top + 20.0),
            5.0,
            PLASTIC,
            0.8 * sheen(body) + lip,
        );
        pixel as u8
    };
    (0..WIDTH * HEIGHT).map(draw).collect()
}

/// The distance of a point from a rounded rectangle, negative inside it.
fn outside(
    x: f32,
    y: f32,
    (left, right): (f32, f32),
    (top, bottom): (f32, f32),
    radius: f32,
) -> f32 {
    let dx = (x - (left + right) / 2.0).abs() - (right - left) / 2.0 + radius;
    let dy = (y - (top + bottom) / 2.0).abs() - (bottom - top) / 2.0 + radius;
    dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - radius
}

/// The palette of an image, three bytes for each color, laid out as the constants above say.
fn palette(colors: &[u32; 6]) -> Vec<u8> {
    let rgb = |hex: u32| [(hex >> 16) as u8, (hex >> 8) as u8, hex as u8].map(f32::from);
    let mix =
        |from: [f32; 3], to: [f32; 3], t: f32| [0, 1, 2].map(|i| from[i] + (to[i] - from[i]) * t);
    let steps = |count: usize| (0..count).map(move |i| i as f32 / (count - 1) as f32);
    let (black, white, plastic) = ([16.0, 13.0, 12.0], [255.0; 3], rgb(colors[1]));
    let mut palette = Vec::new();
    // The steps shrink toward the light end, where the eye would see a band.
    palette.extend(steps(BACKDROP.1).map(|t| mix(rgb(0x2b2521), rgb(0xf6f1e9), t * (2.0 - t))));
    palette.extend(steps(METAL.1).map(|t| mix(rgb(0x22242a), rgb(0xf7f8fa), t.powf(1.2))));
    palette.extend(
        steps(PLASTIC.1).map(|t| mix(mix(black, plastic, 0.4), mix(plastic, white, 0.4), t)),
    );
    for color in colors.map(rgb) {
        palette.extend(steps(SHADES.0).map(|t| mix(black, color, 0.04 + 1.04 * t.sqrt())));
        palette.extend(
            steps(SHADES.1 + 2)
                .skip(1)
                .take(SHADES.1)
                .map(|t| mix(color, white, t)),
        );
    }
    palette
        .into_iter()
        .flatten()
        .map(|part| part.clamp(0.0, 255.0) as u8)
        .collect()
}

/// Encodes pixels that are positions in a palette. Full color would be three times the bytes to
/// compress.
fn encode(pixels: &[u8], palette: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, WIDTH as u32, HEIGHT as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(palette);
    encoder.set_filter(png::Filter::NoFilter);
    encoder.set_deflate_compression(png::DeflateCompression::Level(2));
    encoder
        .write_header()
        .and_then(|mut image| {
            image.write_image_data(pixels)?;
            image.finish()
        })
        .expect("memory takes every byte, and a scene has as many pixels as the header says");
    bytes
}
