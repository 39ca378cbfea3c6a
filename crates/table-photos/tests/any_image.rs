//! Any image gets pieces or a sentence, never a panic.

use image::{Rgb, RgbImage};
use table_photos::{MOST_PIECES, Problem, Table};

/// A small generator of numbers, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }
}

fn noise(width: u32, height: u32) -> RgbImage {
    let mut dice = Dice(7);
    let mut image = RgbImage::new(width, height);
    for pixel in image.pixels_mut() {
        *pixel = Rgb([0; 3].map(|_: u8| dice.below(256) as u8));
    }
    image
}

/// A piece as children draw it: a striped body with a hood and a tab.
fn draw_piece(image: &mut RgbImage, left: u32, top: u32, width: u32, stripe: Rgb<u8>) {
    let length = width * 27 / 10;
    let head = width * 6 / 10;
    for y in 0..length {
        for x in 0..width {
            let is_hood = y < head && x < width / 2;
            let is_tab = y >= head * 2 / 3 && y < head && x >= width / 2;
            let color = match () {
                () if is_hood => Rgb([170, 172, 176]),
                () if is_tab => Rgb([200, 20, 30]),
                () if y < head => continue,
                // Beads with dark thread between them.
                () if x % 5 == 0 || y % 6 == 0 => Rgb([30, 26, 24]),
                () if (x / 5 + y / 6) % 7 < 3 => stripe,
                () => Rgb([240, 200, 60]),
            };
            if let Some(pixel) = image.get_pixel_mut_checked(left + x, top + y) {
                *pixel = color;
            }
        }
    }
}

fn table(width: u32, height: u32, pieces: &[(u32, u32)], piece_width: u32) -> RgbImage {
    let mut image = RgbImage::from_pixel(width, height, Rgb([60, 115, 190]));
    for &(left, top) in pieces {
        draw_piece(&mut image, left, top, piece_width, Rgb([190, 40, 60]));
    }
    image
}

fn plaid(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let band = |at: u32| (at % 90 < 45, at % 90 < 6);
        match (band(x), band(y)) {
            ((_, true), _) | (_, (_, true)) => Rgb([230, 225, 210]),
            ((true, _), (true, _)) => Rgb([150, 20, 30]),
            ((false, _), (false, _)) => Rgb([20, 60, 40]),
            _ => Rgb([85, 40, 35]),
        }
    })
}

fn problem(image: &RgbImage) -> Option<Problem> {
    Table::find(image).err()
}

#[test]
fn empty_and_tiny_images_have_no_board() {
    for (width, height) in [(0, 0), (0, 9), (1, 1), (2, 1), (15, 4000), (9000, 1)] {
        let image = RgbImage::new(width, height);
        assert_eq!(
            problem(&image),
            Some(Problem::NoBoard),
            "{width} x {height}"
        );
    }
}

#[test]
fn a_blank_board_has_no_pieces() {
    for color in [[0; 3], [255; 3], [60, 115, 190], [128; 3]] {
        let image = RgbImage::from_pixel(640, 480, Rgb(color));
        assert_eq!(problem(&image), Some(Problem::NoPieces), "{color:?}");
    }
}

#[test]
fn noise_and_plaid_get_a_sentence() {
    for image in [noise(640, 480), noise(37, 1000), plaid(1200, 900)] {
        let problem = problem(&image).expect("no pieces there");
        assert!(problem.to_string().ends_with('.'), "{problem}");
    }
}

#[test]
fn pieces_on_a_plaid_cloth_are_not_told_from_it() {
    let mut image = plaid(1200, 900);
    for left in [100, 400, 700] {
        draw_piece(&mut image, left, 200, 110, Rgb([40, 90, 200]));
    }
    match Table::find(&image) {
        Ok(table) => assert!(!table.remarks().is_empty()),
        Err(problem) => assert!(
            [Problem::Patterned, Problem::NoBoard].contains(&problem),
            "{problem}"
        ),
    }
}

#[test]
fn a_face_is_no_piece() {
    let image = RgbImage::from_fn(600, 800, |x, y| {
        let inside = |cx: f32, cy: f32, rx: f32, ry: f32| {
            ((x as f32 - cx) / rx).powi(2) + ((y as f32 - cy) / ry).powi(2) < 1.0
        };
        match () {
            () if inside(240.0, 330.0, 24.0, 12.0) || inside(360.0, 330.0, 24.0, 12.0) => {
                Rgb([40, 30, 30])
            }
            () if inside(300.0, 480.0, 60.0, 18.0) => Rgb([170, 60, 70]),
            () if inside(300.0, 380.0, 150.0, 200.0) => Rgb([224, 180, 150]),
            () if inside(300.0, 340.0, 190.0, 240.0) => Rgb([60, 40, 30]),
            () if y > 620 => Rgb([40, 60, 90]),
            () => Rgb([200, 205, 210]),
        }
    });
    assert!(problem(&image).is_some());
}

#[test]
fn drawn_pieces_are_found_upright_and_in_reading_order() {
    let image = table(
        1000,
        800,
        &[(700, 60), (100, 80), (400, 70), (120, 440)],
        100,
    );
    let table = Table::find(&image).expect("four pieces");
    let corners: Vec<(i32, i32)> = table
        .pieces
        .iter()
        .map(|piece| {
            let least = |value: fn(&table_photos::Point) -> f32| {
                piece
                    .outline
                    .iter()
                    .map(value)
                    .fold(f32::INFINITY, f32::min)
            };
            (
                (least(|p| p.x) / 20.0).round() as i32,
                (least(|p| p.y) / 20.0).round() as i32,
            )
        })
        .collect();
    assert_eq!(corners, [(5, 4), (20, 4), (35, 3), (6, 22)]);
    for piece in &table.pieces {
        assert!(
            piece.is_whole && piece.head_degrees.abs() < 2.0,
            "{}",
            piece.head_degrees
        );
    }
}

#[test]
fn a_piece_at_the_edge_is_cut_off_and_said_so() {
    let image = table(1000, 800, &[(100, 80), (400, 620), (700, 90)], 100);
    let table = Table::find(&image).expect("three pieces");
    let whole = table.pieces.iter().filter(|piece| piece.is_whole).count();
    assert_eq!((whole, table.pieces.len()), (2, 3));
    assert!(table.remarks()[0].starts_with("1 piece is cut off by the edge"));
}

#[test]
fn three_hundred_pieces_are_too_many() {
    let places: Vec<(u32, u32)> = (0..300)
        .map(|index| (10 + index % 25 * 60, 10 + index / 25 * 120))
        .collect();
    let image = table(1520, 1460, &places, 38);
    assert_eq!(problem(&image), Some(Problem::TooManyPieces));
    assert!(
        Problem::TooManyPieces
            .to_string()
            .contains(&MOST_PIECES.to_string())
    );
}

#[test]
fn fifty_megapixels_are_found_as_well() {
    let image = table(
        8200,
        6100,
        &[(800, 600), (2600, 700), (5200, 800), (3000, 3600)],
        800,
    );
    let table = Table::find(&image).expect("four pieces");
    assert_eq!(table.pieces.len(), 4);
    assert!(
        (table.pieces[0].height - 2160.0).abs() < 60.0,
        "{}",
        table.pieces[0].height
    );
}

#[test]
fn the_same_photograph_has_the_same_pieces_each_time() {
    let image = table(1000, 800, &[(100, 80), (400, 70), (700, 60)], 100);
    let find = || Table::find(&image).expect("three pieces").pieces;
    assert_eq!(find(), find());
}
