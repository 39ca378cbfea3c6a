//! Scores the finder against photographs with known pieces, and fails below the targets.
//!
//! The rules: a piece is found from an intersection over union of [`FOUND`], and only if it is called whole; whatever is
//! called whole and is none, or is cut off, is false. `tests/data` has the public photograph of a table, whose truth was
//! drawn by hand, and ten drawn scenes, each of two photographs or more. The groups have the targets of the README.

mod names;
mod support;

use std::collections::BTreeMap;

use support::Scores;
use table_photos::Facing;

/// Least recall, precision, mean intersection over union and share of right pairs; largest share upside down.
type Targets = (f64, f64, f64, f64, f64);

const TARGETS: [(&str, Targets); 3] = [
    ("public", (1.0, 1.0, 0.92, 0.0, 0.0)),
    ("plain", (0.99, 0.99, 0.95, 0.95, 0.005)),
    ("hard", (0.90, 0.95, 0.90, 0.90, 0.02)),
];

#[test]
fn photographs_are_scored_above_the_targets() {
    let mut groups: BTreeMap<&str, Scores> = BTreeMap::new();
    let scenes = support::scenes();
    assert_eq!(scenes.len(), 11, "scenes in tests/data");
    for scene in &scenes {
        let scores = support::score(scene);
        println!("{}: {scores}", scene.name);
        groups.entry(scene.group()).or_default().add(&scores);
    }
    let mut missed = Vec::new();
    for (group, (recall, precision, overlap, pairs, upside_down)) in TARGETS {
        let scores = &groups[group];
        println!("{group}: {scores}");
        for (what, value, target) in [
            ("recall", scores.recall(), recall),
            ("precision", scores.precision(), precision),
            ("overlap", scores.mean_overlap(), overlap),
            ("pairs", scores.paired_share(), pairs),
            (
                "upright",
                1.0 - scores.upside_down_share(),
                1.0 - upside_down,
            ),
        ] {
            if value < target {
                missed.push(format!("{group}: {what} {value:.4} < {target}"));
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn the_same_piece_in_two_photographs_of_a_side_is_noticed() {
    let scenes = support::scenes();
    let scene = scenes
        .iter()
        .find(|scene| scene.name == "s208-overlap")
        .expect("the scene");
    let scores = support::score(scene);
    assert_eq!(
        (
            scores.duplicates,
            scores.duplicates_said,
            scores.duplicates_false
        ),
        (2, 2, 0)
    );
}

#[test]
fn photographs_tell_fronts_from_backs() {
    for scene in &support::scenes() {
        for (side, seen) in support::sides(scene) {
            let expected = match side.as_str() {
                "front" => Facing::Front,
                _ => Facing::Back,
            };
            assert_eq!(seen, Some(expected), "{}: {side}", scene.name);
        }
    }
}
