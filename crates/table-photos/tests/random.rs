//! Random images, the same each time: none panics, and pieces are found wherever they lie.

use image::{Rgb, RgbImage};
use table_photos::names::describe;
use table_photos::{Look, Point, StageOptions, Stager, Table, pair};

/// Images of each kind that are tried.
const ROUNDS: u64 = 30;

/// A generator of numbers, seeded (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `least` up to, but without, `bound`.
    fn within(&mut self, least: u32, bound: u32) -> u32 {
        least + (self.next() % u64::from(bound - least)) as u32
    }

    fn color(&mut self) -> Rgb<u8> {
        Rgb([0; 3].map(|_: u8| self.within(0, 256) as u8))
    }
}

/// Does all that can be done with a photograph. What comes of it does not matter here.
fn use_all(photo: &RgbImage) {
    let Ok(table) = Table::find(photo) else {
        return;
    };
    assert!(table.remarks().iter().all(|remark| remark.ends_with('.')));
    let looks: Vec<&Look> = table.pieces.iter().map(|piece| &piece.look).collect();
    pair(&looks, &looks);
    let stager = Stager::new(photo, &table, StageOptions::default());
    for piece in table.pieces.iter().take(2) {
        stager.stage(piece);
        describe(&piece.look);
    }
}

/// Sides from one pixel to a few hundred, often far from square.
fn sides(dice: &mut Dice) -> (u32, u32) {
    let side = |dice: &mut Dice| match dice.within(0, 4) {
        0 => dice.within(1, 20),
        1 => dice.within(16, 60),
        _ => dice.within(60, 500),
    };
    (side(dice), side(dice))
}

#[test]
fn no_noise_no_gradient_and_no_rectangles_end_in_a_panic() {
    for round in 0..ROUNDS {
        let mut dice = Dice(round);
        let (width, height) = sides(&mut dice);
        let mut noise = RgbImage::new(width, height);
        for pixel in noise.pixels_mut() {
            *pixel = dice.color();
        }
        use_all(&noise);
        let (from, to) = (dice.color(), dice.color());
        use_all(&RgbImage::from_fn(width, height, |x, y| {
            let share = (x + y) as f32 / (width + height) as f32;
            let mixed = |channel: usize| {
                let (from, to) = (f32::from(from[channel]), f32::from(to[channel]));
                (from + (to - from) * share) as u8
            };
            Rgb([mixed(0), mixed(1), mixed(2)])
        }));
        use_all(&rectangles(&mut dice, width, height));
    }
}

#[test]
fn the_most_extreme_shapes_are_read_to_their_end() {
    for (width, height) in [
        (1, 1),
        (1, 5000),
        (5000, 1),
        (16, 9000),
        (9000, 17),
        (15, 400),
    ] {
        let mut dice = Dice(u64::from(width));
        use_all(&RgbImage::new(width, height));
        use_all(&rectangles(&mut dice, width, height));
    }
}

/// Rectangles of any size on a plain board, some with beads, some across the border.
fn rectangles(dice: &mut Dice, width: u32, height: u32) -> RgbImage {
    let mut image = RgbImage::from_pixel(width, height, dice.color());
    for _ in 0..dice.within(1, 14) {
        let (left, top) = (dice.within(0, width), dice.within(0, height));
        let (right, bottom) = (
            left + dice.within(1, width / 3 + 2),
            top + dice.within(1, height / 2 + 2),
        );
        let (color, thread) = (dice.color(), dice.color());
        let bead = dice.within(2, 9);
        for y in top..bottom.min(height) {
            for x in left..right.min(width) {
                let is_thread = x % bead == 0 || y % bead == 0;
                image.put_pixel(x, y, if is_thread { thread } else { color });
            }
        }
    }
    image
}

/// A piece at its place: the middle of its body's box, and the direction of its head.
struct Drawn {
    x: f32,
    y: f32,
    head_degrees: f32,
}

/// Width of a drawn body in pixels; it is 2.1 times as long, and its head 0.6 times as high.
const BODY: f32 = 92.0;

/// Pieces in rows, each turned by some degrees, every other one by half a turn more, on a board of a random color.
fn scene(seed: u64) -> (RgbImage, Vec<Drawn>) {
    let mut dice = Dice(seed);
    let board = [
        [60, 115, 190],
        [205, 205, 200],
        [52, 120, 92],
        [120, 84, 60],
    ][seed as usize % 4];
    let mut photo = RgbImage::new(1300, 1000);
    for (x, y, pixel) in photo.enumerate_pixels_mut() {
        let light = 1.0 - 0.15 * (x + y) as f32 / 2300.0;
        let grain = dice.within(0, 7) as f32 - 3.0;
        *pixel =
            Rgb(board
                .map(|channel: u8| (f32::from(channel) * light + grain).clamp(0.0, 255.0) as u8));
    }
    let mut drawn = Vec::new();
    for place in 0..10 {
        let (column, row) = (place % 5, place / 5);
        let piece = Drawn {
            x: 140.0 + 255.0 * column as f32 + dice.within(0, 40) as f32 - 20.0,
            y: 260.0 + 470.0 * row as f32 + dice.within(0, 50) as f32 - 25.0,
            head_degrees: dice.within(0, 24) as f32 - 12.0 + 180.0 * (dice.within(0, 2) as f32),
        };
        draw(&mut photo, &piece, &mut dice);
        drawn.push(piece);
    }
    (photo, drawn)
}

fn draw(photo: &mut RgbImage, piece: &Drawn, dice: &mut Dice) {
    // Red, yellow, white, black and violet are none of the boards.
    let beads = [
        [190, 30, 40],
        [235, 195, 50],
        [240, 240, 236],
        [26, 26, 30],
        [120, 50, 150],
    ];
    let (one, other) = (
        beads[dice.within(0, 2) as usize],
        beads[dice.within(2, 5) as usize],
    );
    let band = dice.within(10, 40);
    let (sin, cos) = piece.head_degrees.to_radians().sin_cos();
    let reach = 2.0 * BODY;
    for dy in -(reach as i32)..reach as i32 {
        for dx in -(reach as i32)..reach as i32 {
            let (dx, dy) = (dx as f32, dy as f32);
            // In the piece's own frame: from its left side, and from its collar down.
            let across = dx * cos + dy * sin + BODY / 2.0;
            let down = -dx * sin + dy * cos + BODY * 1.05;
            let is_body = (0.0..BODY).contains(&across) && (0.0..BODY * 2.1).contains(&down);
            let is_hood = (0.0..BODY * 0.5).contains(&across) && (-BODY * 0.6..0.0).contains(&down);
            let is_tab =
                (BODY * 0.5..BODY * 0.95).contains(&across) && (-BODY * 0.25..0.0).contains(&down);
            let color = match () {
                () if is_hood && across % 9.0 < 2.0 => [120, 122, 126],
                () if is_hood => [172, 174, 178],
                () if is_tab => [205, 20, 30],
                () if is_body && (across % 5.0 < 1.0 || down % 5.0 < 1.0) => [48, 42, 38],
                () if is_body && (down as u32 / band).is_multiple_of(2) => one,
                () if is_body => other,
                () => continue,
            };
            let (x, y) = ((piece.x + dx) as u32, (piece.y + dy) as u32);
            if let Some(pixel) = photo.get_pixel_mut_checked(x, y) {
                *pixel = Rgb(color);
            }
        }
    }
}

#[test]
fn pieces_of_random_scenes_are_found_and_upright() {
    let (mut found, mut upright, mut claimed, mut total) = (0, 0, 0, 0);
    for seed in 0..12 {
        let (photo, drawn) = scene(seed);
        let table = Table::find(&photo).unwrap_or_else(|problem| panic!("scene {seed}: {problem}"));
        let whole: Vec<_> = table.pieces.iter().filter(|piece| piece.is_whole).collect();
        claimed += whole.len();
        total += drawn.len();
        for truth in &drawn {
            let piece = whole.iter().find(|piece| {
                let middle = |place: &dyn Fn(&Point) -> f32| {
                    let places = || piece.outline.iter().map(place);
                    (places().fold(f32::INFINITY, f32::min) + places().fold(0.0, f32::max)) / 2.0
                };
                let (x, y) = (middle(&|point| point.x), middle(&|point| point.y));
                (x - truth.x).hypot(y - truth.y) < BODY * 0.6
            });
            if let Some(piece) = piece {
                found += 1;
                let turn = (piece.head_degrees - truth.head_degrees).rem_euclid(360.0);
                upright += usize::from(turn.min(360.0 - turn) < 6.0);
            }
        }
    }
    println!("{found} of {total} found, {claimed} claimed, {upright} upright");
    assert!(found * 100 >= total * 97, "{found} of {total} found");
    assert!(claimed <= found, "{} false", claimed - found);
    assert!(upright * 100 >= found * 97, "{upright} of {found} upright");
}
