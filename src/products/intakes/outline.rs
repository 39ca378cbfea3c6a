//! Outlines that people draw, and cuts through outlines.

use super::Outline;
use super::finding::bounds;

/// Least width and height of a drawn piece in pixels of the photograph.
const LEAST: f32 = 16.0;

/// Most points of a drawn outline.
const MOST_POINTS: usize = 500;

/// Least share of a piece that a cut parts from it.
const LEAST_SHARE: f32 = 0.1;

/// Checks an outline that a person drew.
///
/// # Errors
/// A sentence.
pub(super) fn check(outline: &Outline, width: i32, height: i32) -> Result<(), String> {
    if !(3..=MOST_POINTS).contains(&outline.len()) {
        return Err(format!("Must have 3 to {MOST_POINTS} points."));
    }
    let is_inside =
        |[x, y]: &[f32; 2]| (0.0..=width as f32).contains(x) && (0.0..=height as f32).contains(y);
    if !outline.iter().all(is_inside) {
        return Err("Must lie within the photograph.".to_owned());
    }
    let (least, most) = bounds(outline);
    if most[0] - least[0] < LEAST || most[1] - least[1] < LEAST || area(outline) < LEAST * LEAST {
        return Err("Is too small to be a piece.".to_owned());
    }
    Ok(())
}

/// Area in square pixels.
pub(super) fn area(outline: &Outline) -> f32 {
    (edges(outline)
        .map(|([ax, ay], [bx, by])| ax * by - bx * ay)
        .sum::<f32>()
        / 2.0)
        .abs()
}

/// Parts an outline along the line through two points. `None`: the line does not go through it, or both points are one.
pub(super) fn cut(outline: &Outline, from: [f32; 2], to: [f32; 2]) -> Option<[Outline; 2]> {
    if from == to {
        return None;
    }
    let along = [to[0] - from[0], to[1] - from[1]];
    let side = |[x, y]: [f32; 2]| along[0] * (y - from[1]) - along[1] * (x - from[0]);
    let parts = [1.0, -1.0].map(|sign| {
        let mut part = Outline::new();
        for (a, b) in edges(outline) {
            let (at_a, at_b) = (sign * side(a), sign * side(b));
            if at_a >= 0.0 {
                part.push(a);
            }
            if (at_a > 0.0 && at_b < 0.0) || (at_a < 0.0 && at_b > 0.0) {
                let share = at_a / (at_a - at_b);
                part.push([a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])]);
            }
        }
        part
    });
    let least = LEAST_SHARE * area(outline);
    let is_part = |part: &Outline| part.len() >= 3 && area(part) >= least.max(LEAST * LEAST);
    parts.iter().all(is_part).then_some(parts)
}

/// Direction of the longer axis in degrees clockwise from up: of its two ends the one nearer to `head`.
pub(super) fn axis_near(outline: &Outline, head: f32) -> f32 {
    let count = outline.len().max(1) as f32;
    let middle = [0, 1].map(|axis| outline.iter().map(|point| point[axis]).sum::<f32>() / count);
    // Second moments of the border, each edge by its length.
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (a, b) in edges(outline) {
        let length = (b[0] - a[0]).hypot(b[1] - a[1]);
        let x = (a[0] + b[0]) / 2.0 - middle[0];
        let y = (a[1] + b[1]) / 2.0 - middle[1];
        xx += length * x * x;
        xy += length * x * y;
        yy += length * y * y;
    }
    let angle = 0.5 * (2.0 * xy).atan2(xx - yy);
    let up = angle.to_degrees() + 90.0;
    match turned(up - head).abs() <= 90.0 {
        true => turned(up),
        false => turned(up + 180.0),
    }
}

/// The same direction, from −180 to 180 degrees.
pub(super) fn turned(degrees: f32) -> f32 {
    let whole = degrees.rem_euclid(360.0);
    match whole > 180.0 {
        true => whole - 360.0,
        false => whole,
    }
}

fn edges(outline: &Outline) -> impl Iterator<Item = ([f32; 2], [f32; 2])> {
    let next = outline.iter().cycle().skip(1);
    outline.iter().copied().zip(next.copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn box_of(x: f32, y: f32, width: f32, height: f32) -> Outline {
        vec![
            [x, y],
            [x + width, y],
            [x + width, y + height],
            [x, y + height],
        ]
    }

    #[test]
    fn a_cut_parts_an_outline_and_loses_nothing() {
        let both = box_of(0.0, 0.0, 200.0, 100.0);
        let [left, right] = cut(&both, [120.0, -5.0], [120.0, 300.0]).expect("two parts");
        assert!((area(&left) + area(&right) - 20_000.0).abs() < 1.0);
        assert!((area(&left) - 12_000.0).abs() < 1.0 || (area(&right) - 12_000.0).abs() < 1.0);
        for (from, to) in [
            ([300.0, 0.0], [300.0, 9.0]),
            ([199.0, 0.0], [199.0, 9.0]),
            ([5.0, 5.0], [5.0, 5.0]),
        ] {
            assert!(cut(&both, from, to).is_none(), "{from:?}");
        }
    }

    #[test]
    fn a_part_lies_along_its_own_axis_and_keeps_its_head() {
        let lying = box_of(0.0, 0.0, 300.0, 100.0);
        assert!((axis_near(&lying, 80.0) - 90.0).abs() < 0.1);
        assert!((axis_near(&lying, -100.0) + 90.0).abs() < 0.1);
        let standing = box_of(0.0, 0.0, 100.0, 300.0);
        assert!(axis_near(&standing, 20.0).abs() < 0.1);
        assert!((axis_near(&standing, 170.0).abs() - 180.0).abs() < 0.1);
        assert!((turned(370.0) - 10.0).abs() < 0.01 && (turned(-190.0) - 170.0).abs() < 0.01);
    }

    #[test]
    fn a_drawing_is_checked_against_the_photograph() {
        assert!(check(&box_of(0.0, 0.0, 100.0, 300.0), 100, 300).is_ok());
        for outline in [
            box_of(0.0, 0.0, 101.0, 300.0),
            box_of(0.0, 0.0, f32::NAN, 30.0),
            box_of(5.0, 5.0, 3.0, 90.0),
            vec![[0.0, 0.0], [90.0, 90.0]],
            vec![[0.0, 0.0], [90.0, 90.0], [50.0, 50.0]],
        ] {
            assert!(check(&outline, 100, 300).is_err(), "{outline:?}");
        }
    }
}
