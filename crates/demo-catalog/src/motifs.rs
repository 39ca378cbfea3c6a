//! Motifs: the color of each bead of a product.
//!
//! A motif is a function from a bead to the number of a color, 0 to 5. Most are a string of such
//! numbers, read at a place that follows from the bead's position.

/// The position of a bead: so many columns and rows from the middle of the piece.
#[derive(Clone, Copy)]
pub(crate) struct Bead {
    pub(crate) x: i32,
    pub(crate) y: i32,
    /// Makes the irregularities of one product differ from those of others.
    pub(crate) salt: u32,
}

impl Bead {
    fn noise(self) -> u32 {
        noise(self.salt, self.x, self.y)
    }

    /// Reports whether this is one of few beads, spread irregularly.
    fn is_sparse(self, one_in: u32) -> bool {
        self.noise().is_multiple_of(one_in)
    }

    /// Reads along a gradient: where two colors meet, their beads mingle.
    fn mingle(self, colors: &str, at: f32) -> usize {
        let shift = (self.noise() % 100) as f32 / 125.0 - 0.4;
        clip(colors, (at + shift).round() as i32)
    }

    /// A wave along `at`, up to `reach` to either side.
    fn sway(self, at: i32, rate: f32, reach: f32) -> i32 {
        ((at as f32 * rate + (self.salt % 7) as f32).sin() * reach).round() as i32
    }

    /// The distance from the middle of the nearer of two cells that are laid like bricks, and whether
    /// that is the second one.
    fn brick(self, width: i32, height: i32) -> (i32, i32, bool) {
        match (fold(self.x, width), fold(self.y, height)) {
            (dx, dy) if dx * height + dy * width > width * height => {
                (width - dx, height - dy, true)
            }
            (dx, dy) => (dx, dy, false),
        }
    }
}

/// Scrambles a position into a number that looks random but never changes.
pub(crate) fn noise(salt: u32, x: i32, y: i32) -> u32 {
    let mixed = salt ^ (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x2c1b_3c6d);
    (mixed ^ (mixed >> 12)).wrapping_mul(0x297a_2d39) >> 8
}

fn read(colors: &str, at: i32) -> usize {
    usize::from(colors.as_bytes()[at as usize] - b'0')
}

/// Reads the colors in a circle.
fn cycle(colors: &str, at: i32) -> usize {
    read(colors, at.rem_euclid(colors.len() as i32))
}

/// Reads the colors; beyond the ends, the first and the last go on.
fn clip(colors: &str, at: i32) -> usize {
    read(colors, at.clamp(0, colors.len() as i32 - 1))
}

/// Folds a line into a zigzag: 0 in the middle, `half` at the farthest, and back.
fn fold(at: i32, half: i32) -> i32 {
    ((at + half).rem_euclid(2 * half) - half).abs()
}

// Infinite Path

pub(crate) fn long_road_home(bead: Bead) -> usize {
    cycle("001122440335330", bead.y - bead.x.abs() + 1)
}

pub(crate) fn river_braid(Bead { x, y, .. }: Bead) -> usize {
    let (fx, fy) = (x as f32, y as f32);
    let swing = (fy * 0.36).sin() * 5.0;
    let strand = |center: f32, colors| clip(colors, ((fx - center).abs() + 0.2) as i32);
    let (one, two) = (strand(swing, "2119"), strand(-swing, "4339"));
    let (over, under) = if (fy * 0.36).cos() > 0.0 {
        (one, two)
    } else {
        (two, one)
    };
    let bank = if x.abs() == 8 && y % 2 == 0 { 5 } else { 0 };
    [over, under]
        .into_iter()
        .find(|&color| color != 9)
        .unwrap_or(bank)
}

pub(crate) fn tidewalk(bead: Bead) -> usize {
    cycle("0041122334003321", bead.y + bead.sway(bead.x, 0.55, 2.4))
}

pub(crate) fn turning_seasons(bead: Bead) -> usize {
    cycle("5310024413300221", fold(bead.x, 8) + fold(bead.y, 8))
}

pub(crate) fn stairs_to_morning(bead: Bead) -> usize {
    cycle("001122334455", bead.y + bead.x.div_euclid(3) * 3)
}

pub(crate) fn switchback(bead: Bead) -> usize {
    cycle("00110002203300", bead.y + fold(bead.x, 4))
}

// Ancestral Motifs

pub(crate) fn grandmothers_window(bead: Bead) -> usize {
    clip(
        "3321104022",
        (fold(bead.x, 8) + 1) / 2 + (fold(bead.y, 10) + 1) / 2,
    )
}

pub(crate) fn lantern_star(Bead { x, y, .. }: Bead) -> usize {
    let (far, near) = (x.abs().max(fold(y, 11)), x.abs().min(fold(y, 11)));
    match (far + near * 2).min(3 * far - 2 * near) {
        point @ 0..=8 => clip("443332211", point),
        _ if matches!(far + near, 15 | 17) => 5,
        _ => 0,
    }
}

pub(crate) fn hourglass_song(Bead { x, y, .. }: Bead) -> usize {
    match fold(x, 6) - fold(y, 6) {
        0 => 4,
        ..0 => clip("32111222", fold(y, 6)),
        _ => clip("0003000", fold(x, 6)),
    }
}

pub(crate) fn seven_hills(Bead { x, y, .. }: Bead) -> usize {
    match y.rem_euclid(7) - fold(x + y.div_euclid(7) % 2 * 4, 4) {
        _ if y.rem_euclid(7) == 6 => 4,
        ..1 => 0,
        1 => 4,
        2 | 3 => cycle("132", y.div_euclid(7)),
        _ => 5,
    }
}

pub(crate) fn hearth_medallion(bead: Bead) -> usize {
    let (across, down) = (bead.x as f32, fold(bead.y, 9) as f32 * 0.9);
    let petals = (8.0 * down.atan2(across)).cos() * 0.9;
    let ring = across.hypot(down) * 1.15 - petals;
    clip("4332215110550", ring.round() as i32)
}

pub(crate) fn willow_basket(Bead { x, y, .. }: Bead) -> usize {
    match ((x + 2).div_euclid(4) + y.div_euclid(4)) % 2 {
        0 => cycle("0344", y),
        _ => cycle("0122", x + 2),
    }
}

// Northern Lights

/// Two curtains of light above a ridge, in the colors of green-curtain or of violet-hour.
pub(crate) fn aurora(bead: Bead) -> usize {
    let Bead { x, y, .. } = bead;
    let hem = |base: i32, rate| y - base - bead.sway(x, rate, 2.6) - bead.sway(x, rate * 2.3, 1.2);
    match (hem(-3, 0.5), hem(6, 0.34)) {
        _ if y >= 11 - bead.sway(x, 0.4, 1.6) => 4,
        (up @ -9..=0, _) => bead.mingle("53322110", up as f32 * -0.8),
        (_, up @ -8..=0) => bead.mingle("5332110", up as f32 * -0.8),
        _ if bead.is_sparse(19) => 5,
        _ => 0,
    }
}

pub(crate) fn field_of_stars(bead: Bead) -> usize {
    let Bead { x, y, salt } = bead;
    let cell = noise(salt, x.div_euclid(6), y.div_euclid(7));
    let dx = x.rem_euclid(6) - 2 - (cell / 8 % 2) as i32;
    let dy = y.rem_euclid(7) - 2 - (cell / 16 % 3) as i32;
    match (dx.abs() + dy.abs(), cell % 3) {
        (0, 1..) => 5,
        (1, 1..) => 4,
        (2, 1) if dx * dy == 0 => 3,
        _ if bead.is_sparse(21) => 5,
        _ => bead.mingle("00112", (y as f32 + 16.0) / 8.0),
    }
}

pub(crate) fn moon_over_the_ridge(bead: Bead) -> usize {
    let Bead { x, y, .. } = bead;
    let below = |base: i32, half, shift| y - base - fold(x + shift, half) * 3 / 4;
    match (below(-2, 9, 5), below(3, 7, -3), below(7, 5, 3)) {
        _ if (x - 2).pow(2) + (y + 7).pow(2) < 12 => 5,
        (_, _, 0..) => 4,
        (_, 0.., _) => 3,
        (0, _, _) => 5,
        (1.., _, _) => 2,
        _ if y < -4 && bead.is_sparse(24) => 5,
        _ => bead.mingle("0011", (y as f32 + 13.0) / 4.0),
    }
}

pub(crate) fn first_frost(bead: Bead) -> usize {
    match bead.brick(8, 8) {
        (dx, dy, _) if dx.min(dy) == 0 && dx + dy < 6 || dx * dy == 4 && dx != dy => 5,
        (dx, dy, _) if dx == dy && dx < 4 => 3,
        (1, 2, _) | (2, 1, _) => 2,
        _ if bead.is_sparse(17) => 2,
        _ => bead.mingle("401", (bead.y as f32 + 18.0) / 14.0),
    }
}

pub(crate) fn spruce_line(bead: Bead) -> usize {
    let Bead { x, y, .. } = bead;
    for (down, side, leaf) in [(y + 10, x.abs(), 3), (y + 5, fold(x + 8, 8), 4)] {
        let reach = down / 6 + down % 6 / 2;
        if (0..24).contains(&down) && side <= reach {
            let has_snow = down == 0 || down % 6 == 5 && side == reach;
            return if has_snow { 5 } else { leaf };
        }
    }
    if y > 9 + x.abs() % 3 {
        bead.mingle("25", (y % 2) as f32)
    } else {
        bead.mingle("00112", (y as f32 + 16.0) / 6.0)
    }
}

// Quiet Meadow

pub(crate) fn sunrise(bead: Bead) -> usize {
    let Bead { x, y, .. } = bead;
    let (fx, up) = (x as f32, 4.0 - y as f32);
    match fx.hypot(up) {
        _ if up < 0.0 => cycle("44144004", y - 4 + bead.sway(x, 0.5, 1.0)),
        far @ 0.0..8.9 => clip("5551123", (far * 0.7) as i32),
        far if (up.atan2(fx) * 12.0).cos() > 0.0 => bead.mingle("321100", (far - 9.0) / 3.0),
        _ => 0,
    }
}

pub(crate) fn wildflower_rows(Bead { x, y, .. }: Bead) -> usize {
    let (band, down) = (y.div_euclid(9), y.rem_euclid(9) - 3);
    let petal = cycle("235", band + 4);
    match (down, fold(x + band.rem_euclid(2) * 3, 3)) {
        (-3 | 5, _) => 4,
        (4, _) => cycle("14", x),
        (0, 0) if petal == 5 => 2,
        (0, 0) => 5,
        (-1..=1, 0) | (0, 1) => petal,
        (2, 0) | (3, 0..=1) => 1,
        _ => 0,
    }
}

pub(crate) fn climbing_vine(bead: Bead) -> usize {
    let Bead { x, y, .. } = bead;
    let direction = if y.div_euclid(7) % 2 == 0 { 1 } else { -1 };
    let side = (x - bead.sway(y, 0.3, 2.0)) * direction;
    match (side, y.rem_euclid(7)) {
        (0, _) | (1, 5) | (2, 4) | (3, 3) => 1,
        (1, 4) | (2, 2..=3) | (3, 1..=2 | 4) | (4, 1..=3) | (5, 1..=2) => 2,
        (-1, 5) => 1,
        (-3, 4) => 5,
        (-4 | -2, 4) | (-3, 3 | 5) => 3,
        (-6, 1) => 4,
        _ => 0,
    }
}

pub(crate) fn poppy_field(bead: Bead) -> usize {
    match bead.brick(4, 5) {
        (0, 0, _) => 4,
        (0..=1, 0..=1, _) => 2,
        (2, 0, _) | (0, 2, _) => 3,
        (0, _, _) => 5,
        _ => bead.mingle("001", (bead.y as f32 + 14.0) / 14.0),
    }
}

pub(crate) fn tall_grass(bead: Bead) -> usize {
    let Bead { x, y, salt } = bead;
    let top = (noise(salt, x, 99) % 15) as i32 - 9 + fold(x, 3);
    match y - top {
        -2..=0 if !noise(salt, x, 7).is_multiple_of(3) => 5,
        ..=0 => bead.mingle("001", (y as f32 + 14.0) / 9.0),
        down => clip("22334", down / 4 + x.rem_euclid(2) * 2),
    }
}

pub(crate) fn honeycomb(bead: Bead) -> usize {
    let Bead { x, y, salt } = bead;
    match bead.brick(4, 6) {
        (dx, dy, _) if dx > 3 || dx + 2 * dy > 7 => 0,
        (_, 0, _) if !bead.is_sparse(3) => 3,
        (_, _, second) => {
            let (x, y) = if second { (x, y) } else { (x + 4, y + 6) };
            let column = x.div_euclid(8) * 2 + i32::from(second);
            let cell = noise(salt, column, y.div_euclid(12));
            [1, 2, 1, 4][cell as usize % 4]
        }
    }
}
