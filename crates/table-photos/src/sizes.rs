//! Models of lighters: the Classic, and the Mini, which is shorter.

/// A model of lighter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Size {
    /// About 80 mm with its head.
    Classic,
    /// About 62 mm with its head.
    Mini,
}

/// Length and width of a body, without the head, and the length of the whole piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Build {
    pub length: f32,
    pub body_aspect: f32,
}

/// Least gap between the lengths of two models, and the least and largest ratio of their means.
const GAP: f32 = 0.08;
const RATIOS: std::ops::Range<f32> = 1.16..1.57;

/// Body lengths over widths between which the model is unknown.
const UNKNOWN: std::ops::Range<f32> = 1.77..1.96;

/// Tells the models of all pieces of a photograph. If two groups of lengths are there, by group; otherwise all are alike.
pub(crate) fn tell_sizes(builds: &[Build]) -> Vec<Option<Size>> {
    let mut lengths: Vec<f32> = builds.iter().map(|build| build.length).collect();
    lengths.sort_by(f32::total_cmp);
    let split = (1..lengths.len())
        .filter(|&at| lengths[at] / lengths[at - 1] > 1.0 + GAP)
        .max_by(|&a, &b| {
            let gap = |at: usize| lengths[at] / lengths[at - 1];
            gap(a).total_cmp(&gap(b))
        });
    if let Some(at) = split {
        let border = (lengths[at] * lengths[at - 1]).sqrt();
        let (long, short): (Vec<&Build>, Vec<&Build>) =
            builds.iter().partition(|build| build.length > border);
        let ratio = mean(&long, |b| b.length) / mean(&short, |b| b.length);
        let aspects = mean(&long, |b| b.body_aspect) / mean(&short, |b| b.body_aspect);
        if RATIOS.contains(&ratio) && aspects > 1.06 {
            let size = |build: &Build| match build.length > border {
                true => Some(Size::Classic),
                false => Some(Size::Mini),
            };
            return builds.iter().map(size).collect();
        }
    }
    let mut aspects: Vec<f32> = builds.iter().map(|build| build.body_aspect).collect();
    let aspect = crate::grid::median(&mut aspects);
    let size = match aspect {
        aspect if UNKNOWN.contains(&aspect) => None,
        aspect if aspect < UNKNOWN.start => Some(Size::Mini),
        _ => Some(Size::Classic),
    };
    vec![size; builds.len()]
}

fn mean(builds: &[&Build], value: impl Fn(&Build) -> f32) -> f32 {
    builds.iter().map(|build| value(build)).sum::<f32>() / builds.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builds(list: &[(f32, f32)]) -> Vec<Build> {
        list.iter()
            .map(|&(length, body_aspect)| Build {
                length,
                body_aspect,
            })
            .collect()
    }

    #[test]
    fn two_groups_of_lengths_are_two_models() {
        let mixed = builds(&[(300.0, 2.0), (240.0, 1.68), (305.0, 2.02), (236.0, 1.66)]);
        let sizes = tell_sizes(&mixed);
        let (classic, mini) = (Some(Size::Classic), Some(Size::Mini));
        assert_eq!(sizes, [classic, mini, classic, mini]);
    }

    #[test]
    fn pieces_alike_are_told_by_their_proportions() {
        assert_eq!(tell_sizes(&builds(&[(250.0, 1.66)])), [Some(Size::Mini)]);
        assert_eq!(tell_sizes(&builds(&[(250.0, 2.03)])), [Some(Size::Classic)]);
        assert_eq!(tell_sizes(&builds(&[(250.0, 1.85)])), [None]);
        assert_eq!(tell_sizes(&[]), []);
    }
}
