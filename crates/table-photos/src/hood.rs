//! The hood: a gray head on a gray board, which neither color nor texture tells from a shadow.
//!
//! It is where the body says that it must be: beyond one end, with sides along the axis. Means of lightness along a side
//! show its edge even where the board's texture is stronger than the edge.

use crate::evidence::bend;
use crate::figure::{Figure, Scene};
use crate::shape::Point;
use crate::upright::find_head;

/// Widths of hood and wheel together, in widths of the body.
const WIDTHS: std::ops::Range<f32> = 0.35..0.92;

/// Heights of the head beyond the body, in widths of the body.
const HEIGHTS: std::ops::Range<f32> = 0.3..0.75;

/// Rows beyond the body from which they are a head and not a tab alone, in widths of the body.
const HEAD_ROWS: f32 = 0.44;

/// Rows that show the hood's sides: above the tab and below the top, in widths of the body beyond it.
const SIDE_ROWS: std::ops::Range<f32> = 0.24..0.46;

/// Share of a hood that is in the piece already, from which nothing is missing.
const COMPLETE: f32 = 0.75;

/// Length over width of the body up to which a piece has no head yet, and either end may have it.
const HEADLESS: f32 = 2.3;

/// Pixels by which a bend is seen before its edge.
const BEND_REACH: usize = 1;

/// An end of the body, beyond which a head may be.
struct End {
    /// First row of the body.
    row: usize,
    is_top: bool,
}

impl End {
    /// The row at a distance beyond the body, if it is in the frame.
    fn beyond(&self, distance: usize, height: usize) -> Option<usize> {
        match self.is_top {
            true => self.row.checked_sub(distance + 1),
            false => Some(self.row + distance + 1).filter(|&y| y < height),
        }
    }
}

/// Columns from left to right, and rows beyond the end.
struct Hood {
    columns: std::ops::Range<usize>,
    height: usize,
    /// Sum of the bends at its edges.
    clearness: f32,
}

/// Adds a hood that is missing in the piece.
pub(crate) fn take(figure: &mut Figure, scene: &Scene<'_>) {
    let (left, right) = figure.body_sides();
    let body = right - left;
    let rows = figure.rows();
    let is_body = |row: &&(usize, (usize, usize))| (row.1.1 - row.1.0) as f32 > 0.8 * body;
    let (Some(top), Some(bottom)) = (rows.iter().find(is_body), rows.iter().rev().find(is_body))
    else {
        return;
    };
    let ends = [(top.0, true), (bottom.0, false)].map(|(row, is_top)| End { row, is_top });
    let has_head = rows.len() as f32 > HEADLESS * body;
    let head = find_head(figure, &scene.copy.lab);
    let best = ends
        .iter()
        .filter(|end| !has_head && head.is_doubtful || end.is_top == head.is_up)
        .filter_map(|end| Some((end, fit(figure, scene, end, (left, body))?)))
        .max_by(|a, b| a.1.clearness.total_cmp(&b.1.clearness));
    if let Some((end, hood)) = best {
        add(figure, end, &hood, body);
    }
}

fn fit(figure: &Figure, scene: &Scene<'_>, end: &End, (left, body): (f32, f32)) -> Option<Hood> {
    let (width, height) = (figure.mask.width, figure.mask.height);
    let lightness = |x: usize, distance: usize| -> Option<f32> {
        let y = end.beyond(distance, height)?;
        let place = Point::new(x as f32 + 0.5, y as f32 + 0.5);
        let is_free = !figure.foreign.at(x, y);
        is_free.then(|| scene.copy.lightness_at(figure.frame.outer(place)))
    };
    let mean = |values: &mut dyn Iterator<Item = Option<f32>>| {
        let known: Vec<f32> = values.flatten().collect();
        (!known.is_empty()).then(|| known.iter().sum::<f32>() / known.len() as f32)
    };
    let slack = 0.02 * body;
    let first = (left - slack).max(0.0) as usize;
    let last = ((left + body + slack) as usize).min(width);
    let side_rows = (SIDE_ROWS.start * body) as usize..(SIDE_ROWS.end * body) as usize;
    let columns: Vec<Option<f32>> = (first..last)
        .map(|x| mean(&mut side_rows.clone().map(|row| lightness(x, row))))
        .collect();
    let columns = without_gaps(&columns)?;
    let edges = |profile: &[f32]| {
        let bends: Vec<f32> = (0..profile.len()).map(|at| bend(profile, at)).collect();
        let is_edge = |&bend: &f32| bend > scene.evidence.edge;
        let first = bends.iter().position(is_edge)?;
        let last = bends.iter().rposition(is_edge)?;
        let clearest = |from: usize, to: usize| bends[from..to].iter().copied().fold(0.0, f32::max);
        let clearness = clearest(first, (first + 5).min(bends.len()))
            .min(clearest(last.saturating_sub(4), last + 1));
        Some((
            first + BEND_REACH,
            last.saturating_sub(BEND_REACH),
            clearness,
        ))
    };
    let is_hood = |&(from, to, _): &(usize, usize, f32)| {
        WIDTHS.contains(&((to + 1).saturating_sub(from) as f32 / body))
    };
    let (from, to, sides) = edges(&columns)
        .filter(is_hood)
        .or_else(|| inner_edges(&columns, scene.evidence.edge, is_hood))?;
    let hood = (first + from)..(first + to + 1);
    let inset = hood.len() / 8;
    let rows: Vec<f32> = (0..(HEIGHTS.end * body) as usize + 4)
        .map_while(|row| {
            mean(&mut (hood.start + inset..hood.end - inset).map(|x| lightness(x, row)))
        })
        .collect();
    if rows.len() < 8 {
        return None;
    }
    let (_, top, clearness) = edges(&rows)?;
    HEIGHTS.contains(&(top as f32 / body)).then_some(Hood {
        columns: hood,
        height: top,
        clearness: sides + clearness,
    })
}

/// The clearest two edges of a profile that may be those of a hood: beside it lie the shadows of neighbors.
fn inner_edges(
    profile: &[f32],
    least: f32,
    is_hood: impl Fn(&(usize, usize, f32)) -> bool,
) -> Option<(usize, usize, f32)> {
    let bends: Vec<f32> = (0..profile.len()).map(|at| bend(profile, at)).collect();
    let is_edge = |&at: &usize| {
        let around = &bends[at.saturating_sub(2)..(at + 3).min(bends.len())];
        bends[at] > least && around.iter().all(|&other| other <= bends[at])
    };
    let places: Vec<usize> = (0..bends.len()).filter(is_edge).collect();
    let pairs = places
        .iter()
        .flat_map(|&from| places.iter().map(move |&to| (from, to)));
    pairs
        .map(|(from, to)| (from, to, bends[from].min(bends[to])))
        .filter(is_hood)
        .max_by(|a, b| a.2.total_cmp(&b.2))
}

/// A profile in which places without a value, those of other pieces, have that of the one before, or of the first one.
fn without_gaps(profile: &[Option<f32>]) -> Option<Vec<f32>> {
    let mut last = profile.iter().flatten().next().copied()?;
    let filled = profile.iter().map(|value| {
        last = value.unwrap_or(last);
        last
    });
    Some(filled.collect())
}

/// Rows beyond the end in which the piece is already.
fn rows_beyond(figure: &Figure, end: &End) -> usize {
    let rows = figure.rows();
    let beyond = rows.iter().filter(|row| match end.is_top {
        true => row.0 < end.row,
        false => row.0 > end.row,
    });
    beyond.count()
}

fn add(figure: &mut Figure, end: &End, hood: &Hood, body: f32) {
    let places = |height: usize| -> Vec<(usize, usize)> {
        (0..height)
            .filter_map(|row| end.beyond(row, figure.mask.height))
            .flat_map(|y| hood.columns.clone().map(move |x| (x, y)))
            .filter(|&(x, y)| !figure.foreign.at(x, y))
            .collect()
    };
    let is_complete = |places: &[(usize, usize)]| {
        let known = places.iter().filter(|&&(x, y)| figure.mask.at(x, y));
        known.count() as f32 > COMPLETE * places.len() as f32
    };
    // A head that is there is as high as it is: what lies beyond it is none of it.
    let rows = rows_beyond(figure, end);
    let has_head = rows as f32 > HEAD_ROWS * body
        || rows as f32 > HEIGHTS.start * body && is_complete(&places(rows));
    let places = places(match has_head {
        true => hood.height.min(rows + 2),
        false => hood.height,
    });
    if is_complete(&places) {
        return;
    }
    for (x, y) in places {
        *figure.mask.at_mut(x, y) = true;
        *figure.kept.at_mut(x, y) = true;
    }
}
