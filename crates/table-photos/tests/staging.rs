//! Staged images: upright, of the right size, on the background, in the colors of the piece.

use image::{Rgb, RgbImage};
use table_photos::{STAGE, Size, StageOptions, Stager, Table};

const BOARD: Rgb<u8> = Rgb([60, 115, 190]);

/// A photograph of one piece with its head down: a body of one color with dark thread, a gray hood, a red tab.
fn photograph(body: Rgb<u8>) -> RgbImage {
    RgbImage::from_fn(900, 1000, |x, y| {
        let (x, y) = (x as i32 - 350, y as i32 - 200);
        let is_across = (0..200).contains(&x);
        match () {
            () if is_across && (0..420).contains(&y) && (x % 5 == 0 || y % 5 == 0) => {
                Rgb([40, 38, 36])
            }
            () if is_across && (0..420).contains(&y) => body,
            () if (100..200).contains(&x) && (420..540).contains(&y) => Rgb([168, 170, 172]),
            () if (0..100).contains(&x) && (420..460).contains(&y) => Rgb([200, 20, 30]),
            () => BOARD,
        }
    })
}

fn is_near(one: Rgb<u8>, other: [u8; 3], most: u8) -> bool {
    one.0.iter().zip(other).all(|(a, b)| a.abs_diff(b) <= most)
}

#[test]
fn a_piece_is_staged_upright_in_the_middle() {
    let photo = photograph(Rgb([230, 190, 40]));
    let mut table = Table::find(&photo).expect("one piece");
    assert_eq!(table.pieces.len(), 1);
    assert!(
        table.pieces[0].head_degrees.abs() > 175.0,
        "{}",
        table.pieces[0].head_degrees
    );
    let background = StageOptions::default().background;
    for (size, top, bottom) in [(Size::Classic, 210, 1290), (Size::Mini, 318, 1182)] {
        table.pieces[0].size = Some(size);
        let stager = Stager::new(&photo, &table, StageOptions::default());
        let image = stager.stage(&table.pieces[0]).image;
        assert_eq!(image.dimensions(), STAGE);
        let differs = |y: u32, most: u8| {
            (0..STAGE.0).any(|x| !is_near(*image.get_pixel(x, y), background, most))
        };
        // Below the foot lies the shadow, which is lighter than the beads.
        let mut rows = 0..STAGE.1;
        let first = rows.find(|&y| differs(y, 20)).expect("a piece");
        let last = rows.rfind(|&y| differs(y, 90)).expect("a piece");
        assert!(
            first.abs_diff(top) < 12 && last.abs_diff(bottom) < 12,
            "{first} to {last}"
        );
    }
}

#[test]
fn no_blue_of_the_board_is_left_along_the_edge() {
    let photo = photograph(Rgb([230, 190, 40]));
    let table = Table::find(&photo).expect("one piece");
    let stager = Stager::new(&photo, &table, StageOptions::default());
    let image = stager.stage(&table.pieces[0]).image;
    let is_blue = |pixel: &&Rgb<u8>| {
        let [red, green, blue] = pixel.0.map(i32::from);
        blue > red + 25 && blue > green + 10
    };
    assert_eq!(image.pixels().filter(is_blue).count(), 0);
}

#[test]
fn a_cast_is_taken_off_by_the_metal_of_the_head() {
    let cast = |photo: &RgbImage| {
        let mut warm = photo.clone();
        for pixel in warm.pixels_mut() {
            pixel.0[2] = (f32::from(pixel.0[2]) * 0.9) as u8;
        }
        warm
    };
    let blue_of = |photo: &RgbImage| {
        let table = Table::find(photo).expect("one piece");
        let stager = Stager::new(photo, &table, StageOptions::default());
        let image = stager.stage(&table.pieces[0]).image;
        let body = (700..900).flat_map(|y| (560..640).map(move |x| (x, y)));
        let sum: u32 = body
            .map(|(x, y)| u32::from(image.get_pixel(x, y).0[2]))
            .sum();
        sum as f32 / 16_000.0
    };
    let photo = photograph(Rgb([150, 150, 150]));
    let (plain, warm) = (blue_of(&photo), blue_of(&cast(&photo)));
    assert!((plain - warm).abs() < 0.06 * plain, "{plain} and {warm}");
}

#[test]
fn the_background_is_a_setting_and_the_shadow_darkens_it() {
    let photo = photograph(Rgb([230, 190, 40]));
    let table = Table::find(&photo).expect("one piece");
    let white = StageOptions {
        background: [255; 3],
    };
    let image = Stager::new(&photo, &table, white)
        .stage(&table.pieces[0])
        .image;
    assert_eq!(image.get_pixel(2, 2).0, [255; 3]);
    let below = image.get_pixel(600, 1298).0;
    assert!(below[0] < 245 && below[0] == below[1], "{below:?}");
}

#[test]
fn a_small_photograph_is_said_to_be_too_small() {
    let photo = photograph(Rgb([230, 190, 40]));
    let small = image::imageops::thumbnail(&photo, 300, 333);
    let enlarged = |photo: &RgbImage| {
        let table = Table::find(photo).expect("one piece");
        let staged = Stager::new(photo, &table, StageOptions::default()).stage(&table.pieces[0]);
        staged.remark()
    };
    assert_eq!(enlarged(&photo), None);
    assert!(enlarged(&small).is_some_and(|remark| remark.contains("too small")));
}
