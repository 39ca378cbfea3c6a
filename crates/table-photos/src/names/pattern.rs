//! Patterns of beadwork in words.

use std::fmt;

use crate::color::Lab;
use crate::grid::Grid;

/// Share of all differences between beads that lie between lines, from which those lines are the pattern; and by how much
/// it exceeds that of other lines.
const LINED: f32 = 0.45;
const CLEARLY: f32 = 0.1;

/// Share of differences between rows from which a piece has bands, whatever is in them.
const BANDED: f32 = 0.85;

/// Differences between neighbors in a row, over those between any beads that are left once each row's mean is taken off:
/// below that, rows that differ are figures, which go on from bead to bead.
const EVEN: f32 = 0.39;

/// Most differences along a stripe over those between any beads, in beads of one color and in others: the light on a round
/// piece makes stripes of one color.
const STRAIGHT: (f32, f32) = (0.2, 0.3);

/// Differences between neighbors over those between beads three places apart, and over those between any beads, from which
/// colors change from bead to bead.
const ALTERNATING: f32 = 0.62;
const RESTLESS: f32 = 0.3;

/// Share of differences between columns up to which they are not the light on a round piece.
const LIT: f32 = 0.4;

/// Mean square of the differences to the mean color below which beads of one color differ, and below which there are none.
const PLAIN: f32 = 0.005;
const UNIFORM: f32 = 1e-4;

/// Most and least rows by which lines climb from column to column.
const CLIMB: (f32, f32) = (0.3, 3.6);
const CLIMBS: usize = 23;

/// A kind of beadwork.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// Rings around the piece, or colors that change from end to end.
    Bands,
    /// Lines along the piece.
    Stripes,
    /// Lines that climb around the piece.
    Spiral,
    /// Colors that change from bead to bead.
    Speckled,
    /// Diamonds, zigzags, patches, pictures.
    Figured,
}

impl Pattern {
    pub const ALL: [Pattern; 5] = [
        Pattern::Bands,
        Pattern::Stripes,
        Pattern::Spiral,
        Pattern::Speckled,
        Pattern::Figured,
    ];

    /// The English word, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Pattern::Bands => "bands",
            Pattern::Stripes => "stripes",
            Pattern::Spiral => "spiral",
            Pattern::Speckled => "speckled",
            Pattern::Figured => "figured",
        }
    }

    /// The pattern of that name.
    pub fn from_name(name: &str) -> Option<Pattern> {
        Pattern::ALL
            .into_iter()
            .find(|pattern| pattern.name() == name)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The pattern of a grid of beads, of which no side may be shorter than four places.
pub(super) fn of(beads: &Grid<Lab>) -> Pattern {
    let differences = Differences::of(beads);
    let rows = differences.between(beads.height, |_, y| y);
    let columns = differences.between(beads.width, |x, _| x);
    let spiral = differences.between_climbing_lines();
    let across = differences.at(1, 0);
    let along = differences.at(0, 1);
    let apart = differences.at(3, 0) + differences.at(0, 3);
    let straight = match differences.variance > PLAIN {
        true => STRAIGHT.1,
        false => STRAIGHT.0,
    };
    let is_alternating = across > RESTLESS && across + along > ALTERNATING * apart;
    match () {
        () if differences.variance < UNIFORM => Pattern::Figured,
        // A chessboard has climbing lines, too.
        () if is_alternating && across > 0.5 && along > 0.5 => Pattern::Speckled,
        () if spiral > LINED && spiral > rows.max(columns) + CLEARLY => Pattern::Spiral,
        () if columns > LINED && along < straight => Pattern::Stripes,
        () if rows > BANDED => Pattern::Bands,
        () if rows > LINED && across > EVEN * (1.0 - rows) && across < LIT => Pattern::Bands,
        () if is_alternating && columns < LIT && differences.variance > PLAIN => Pattern::Speckled,
        () => Pattern::Figured,
    }
}

/// Measures differences between beads.
struct Differences<'a> {
    beads: &'a Grid<Lab>,
    /// Mean square of the differences to the mean color. Two beads differ by twice as much.
    variance: f32,
}

impl<'a> Differences<'a> {
    fn of(beads: &'a Grid<Lab>) -> Differences<'a> {
        let count = beads.values.len() as f32;
        let sum = beads
            .values
            .iter()
            .fold(Lab::default(), |sum, bead| sum.plus(*bead));
        let mean = sum.scaled(1.0 / count);
        let squares = beads.values.iter().map(|bead| squared(*bead, mean));
        Differences {
            variance: (squares.sum::<f32>() / count).max(1e-6),
            beads,
        }
    }

    /// Mean square of the differences between beads that are some places apart, over that of any two.
    fn at(&self, right: usize, down: usize) -> f32 {
        let (width, height) = (self.beads.width - right, self.beads.height - down);
        let mut sum = 0.0;
        for y in 0..height {
            for x in 0..width {
                sum += squared(self.beads.at(x, y), self.beads.at(x + right, y + down));
            }
        }
        sum / (width * height) as f32 / (2.0 * self.variance)
    }

    /// Share of the variance that lies between lines. `line` tells the one on which a place lies.
    fn between(&self, lines: usize, line: impl Fn(usize, usize) -> usize) -> f32 {
        let mut means = vec![(Lab::default(), 0.0_f32); lines];
        let places =
            || (0..self.beads.height).flat_map(|y| (0..self.beads.width).map(move |x| (x, y)));
        for (x, y) in places() {
            let (sum, count) = &mut means[line(x, y)];
            *sum = sum.plus(self.beads.at(x, y));
            *count += 1.0;
        }
        let used = means.iter().filter(|(_, count)| *count > 0.0).count();
        let within: f32 = places()
            .map(|(x, y)| {
                let (sum, count) = means[line(x, y)];
                squared(self.beads.at(x, y), sum.scaled(1.0 / count))
            })
            .sum();
        // A mean of few beads is near each of them: lines of noise would differ, too.
        let free = self.beads.values.len().saturating_sub(used).max(1);
        1.0 - within / free as f32 / self.variance
    }

    /// The largest share that lies between lines that climb, to either side.
    fn between_climbing_lines(&self) -> f32 {
        let last = self.beads.width - 1;
        let climbs = (0..CLIMBS)
            .map(|step| CLIMB.0 + (CLIMB.1 - CLIMB.0) * step as f32 / (CLIMBS - 1) as f32);
        let shares = climbs.flat_map(|climb| {
            let rise = move |columns: usize| (climb * columns as f32) as usize;
            let lines = self.beads.height + rise(last);
            [
                self.between(lines, |x, y| y + rise(x)),
                self.between(lines, |x, y| y + rise(last - x)),
            ]
        });
        shares.fold(0.0, f32::max)
    }
}

fn squared(one: Lab, other: Lab) -> f32 {
    one.distance(other, 1.0).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: Lab = Lab {
        l: 0.5,
        a: 0.2,
        b: 0.1,
    };
    const CREAM: Lab = Lab {
        l: 0.9,
        a: 0.0,
        b: 0.04,
    };

    fn drawn(is_red: impl Fn(usize, usize) -> bool) -> Pattern {
        of(&Grid::from_fn(24, 48, |x, y| match is_red(x, y) {
            true => RED,
            false => CREAM,
        }))
    }

    #[test]
    fn patterns_are_told_by_their_lines() {
        assert_eq!(drawn(|_, y| y % 12 < 5), Pattern::Bands);
        assert_eq!(drawn(|x, _| x % 8 < 3), Pattern::Stripes);
        assert_eq!(drawn(|x, y| (x + y) % 12 < 6), Pattern::Spiral);
        assert_eq!(drawn(|x, y| (2 * x + 96 - y) % 16 < 6), Pattern::Spiral);
        assert_eq!(drawn(|x, y| (x + y) % 2 == 0), Pattern::Speckled);
        let zigzag = |x: usize, y: usize| (y + x.abs_diff(12)) % 12 < 6;
        assert_eq!(drawn(zigzag), Pattern::Figured);
        let diamond = |x: usize, y: usize| x.abs_diff(12) + y.abs_diff(24) < 10;
        assert_eq!(drawn(diamond), Pattern::Figured);
    }

    #[test]
    fn a_piece_of_one_color_has_no_lines() {
        assert_eq!(drawn(|_, _| true), Pattern::Figured);
    }
}
