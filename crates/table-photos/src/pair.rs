//! Pairing: which back belongs to which front, and which pieces are the same one photographed twice.

mod gaps;

use pathfinding::matrix::Matrix;
use pathfinding::prelude::kuhn_munkres_min;

use crate::look::Look;
use gaps::{Features, GAPS, gaps};

/// Weights of the gaps, in their order: from a logistic regression on drawn pairs.
const WEIGHTS: [f32; GAPS] = [1.0, 1.85, 1.35, 1.42, 0.98, 1.14, 1.54, 1.36];

/// Margin below all other costs of both pieces from which a pair is sure.
const SURE_MARGIN: f32 = 0.2;

/// Cost above which a pair that is not sure is none.
const NO_PARTNER: f32 = 2.0;

/// Distances of beadwork and of colors below which two pieces of one side are the same one.
const SAME_BEADS: f32 = 0.085;
const SAME_COLORS: f32 = 0.14;

/// Steps per unit of cost in the assignment, which counts in integers.
const COST_STEPS: f32 = 1_000_000.0;

/// A front with its back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Index of the front.
    pub front: usize,
    /// Index of the back.
    pub back: usize,
    /// True if no other pair of either piece comes near.
    pub is_sure: bool,
    /// Difference in look; 0 is none.
    pub cost: f32,
}

/// Pairs fronts with backs, the surest pairs first. Pieces without a partner are left out.
pub fn pair(fronts: &[&Look], backs: &[&Look]) -> Vec<Pair> {
    let costs = costs(fronts, backs);
    let mut pairs: Vec<Pair> = assign(&costs, backs.len())
        .into_iter()
        .map(|(front, back)| {
            let cost = costs[front][back];
            let in_row = costs[front].iter().enumerate();
            let others_of_front = in_row.filter(|&(at, _)| at != back).map(|(_, cost)| *cost);
            let in_column = costs.iter().enumerate().filter(|&(at, _)| at != front);
            let others_of_back = in_column.map(|(_, row)| row[back]);
            let nearest = others_of_front
                .chain(others_of_back)
                .fold(f32::INFINITY, f32::min);
            Pair {
                front,
                back,
                is_sure: nearest - cost > SURE_MARGIN && cost <= NO_PARTNER,
                cost,
            }
        })
        .filter(|pair| pair.is_sure || pair.cost <= NO_PARTNER)
        .collect();
    pairs.sort_by(|a, b| b.is_sure.cmp(&a.is_sure).then(a.cost.total_cmp(&b.cost)));
    pairs
}

/// Finds pieces that are in two photographs of the same side. Each photograph is a list of looks; the result has
/// pairs of photograph and piece.
pub fn duplicates(photos: &[Vec<&Look>]) -> Vec<[(usize, usize); 2]> {
    let mut found = Vec::new();
    for (first, one) in photos.iter().enumerate() {
        for (second, other) in photos.iter().enumerate().skip(first + 1) {
            for (index, look) in one.iter().enumerate() {
                for (at, candidate) in other.iter().enumerate() {
                    let (look, candidate) = Features::of_both(look, candidate);
                    let is_same = gaps::beads(&look, &candidate) < SAME_BEADS
                        && gaps::colors(&look, &candidate) < SAME_COLORS;
                    if is_same {
                        found.push([(first, index), (second, at)]);
                    }
                }
            }
        }
    }
    found
}

/// Costs of all pairs, by front and back.
fn costs(fronts: &[&Look], backs: &[&Look]) -> Vec<Vec<f32>> {
    let cost = |front: &Look, back: &Look| {
        let (front, back) = Features::of_both(front, back);
        gaps(&front, &back)
            .iter()
            .zip(WEIGHTS)
            .map(|(gap, weight)| gap * weight)
            .sum()
    };
    fronts
        .iter()
        .map(|front| backs.iter().map(|back| cost(front, back)).collect())
        .collect()
}

/// The assignment with the least sum of costs.
fn assign(costs: &[Vec<f32>], backs: usize) -> Vec<(usize, usize)> {
    if costs.is_empty() || backs == 0 {
        return Vec::new();
    }
    let steps = |front: usize, back: usize| (costs[front][back] * COST_STEPS) as i64;
    // The algorithm needs at least as many columns as rows.
    if costs.len() <= backs {
        let matrix = Matrix::from_fn(costs.len(), backs, |(front, back)| steps(front, back));
        let (_, columns) = kuhn_munkres_min(&matrix);
        columns.into_iter().enumerate().collect()
    } else {
        let matrix = Matrix::from_fn(backs, costs.len(), |(back, front)| steps(front, back));
        let (_, columns) = kuhn_munkres_min(&matrix);
        columns
            .into_iter()
            .enumerate()
            .map(|(back, front)| (front, back))
            .collect()
    }
}
