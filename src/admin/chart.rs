//! A bar chart, drawn as an inline SVG.

/// The bars of a chart and its scale.
pub struct Chart {
    pub bars: Vec<Bar>,
    /// Lines across the chart: the highest value, and half of it.
    pub lines: Vec<Line>,
}

/// A bar of the chart.
pub struct Bar {
    pub x: f64,
    pub y: i64,
    pub width: f64,
    pub height: i64,
    /// Left edge and width of the column that is tapped.
    pub slot: (f64, f64),
    /// `Nov 24: $120.00, 3 orders`
    pub title: String,
    /// Horizontal place of the title, and which part of it is there: `start`, `middle` or `end`.
    pub title_at: (f64, &'static str),
}

/// A line of the scale.
pub struct Line {
    pub y: i64,
    /// `$200`
    pub label: String,
}

/// Size of every chart's drawing. The titles of the bars are above [`TOP`], and the bars below.
pub const WIDTH: i64 = 720;
pub const HEIGHT: i64 = 220;
const TOP: i64 = 40;

/// Share of a column that stays empty beside its bar.
const GAP: f64 = 0.2;

impl Chart {
    /// Scales the values to a round number above the highest one. Every positive value stays visible.
    pub fn new(
        values: impl IntoIterator<Item = (i64, String)>,
        label: impl Fn(i64) -> String,
    ) -> Chart {
        let values: Vec<(i64, String)> = values.into_iter().collect();
        let most = values.iter().map(|(value, _)| *value).max().unwrap_or(0);
        let scale = round_above(most.max(1));
        let column = WIDTH as f64 / values.len().max(1) as f64;
        let bars = (0..).zip(values).map(|(at, (value, title))| {
            let height = scaled(value, scale);
            let left = f64::from(at) * column;
            Bar {
                x: left + column * GAP / 2.0,
                y: HEIGHT - height,
                width: column * (1.0 - GAP),
                height,
                slot: (left, column),
                title,
                title_at: title_at(left + column / 2.0),
            }
        });
        Chart {
            bars: bars.collect(),
            lines: match most > 0 {
                true => [scale, scale / 2]
                    .map(|value| line(value, scale, &label))
                    .into(),
                false => Vec::new(),
            },
        }
    }
}

fn line(value: i64, scale: i64, label: &impl Fn(i64) -> String) -> Line {
    Line {
        y: HEIGHT - scaled(value, scale),
        label: label(value),
    }
}

/// Height of a value. What is sold is seen.
fn scaled(value: i64, scale: i64) -> i64 {
    match i128::from(value.max(0)) * i128::from(HEIGHT - TOP) {
        0 => 0,
        high => i64::try_from(high / i128::from(scale))
            .unwrap_or(HEIGHT - TOP)
            .clamp(3, HEIGHT - TOP),
    }
}

/// The title of a bar near an edge begins or ends there.
fn title_at(middle: f64) -> (f64, &'static str) {
    let width = WIDTH as f64;
    match middle / width {
        ..0.25 => (0.0, "start"),
        0.75.. => (width, "end"),
        _ => (middle, "middle"),
    }
}

/// The least of 1, 2, 4, 5 or 10 times a power of ten that is at least this.
fn round_above(value: i64) -> i64 {
    let powers = std::iter::successors(Some(1_i64), |power| power.checked_mul(10));
    let mut steps = powers.flat_map(|power| [1, 2, 4, 5].map(|step| power.saturating_mul(step)));
    steps.find(|step| *step >= value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_values() {
        let heights = |values: &[i64]| -> Vec<i64> {
            let values = values.iter().map(|value| (*value, String::new()));
            let chart = Chart::new(values, |value| value.to_string());
            chart.bars.iter().map(|bar| bar.height).collect()
        };
        assert_eq!(heights(&[0, 50, 100]), [0, 90, 180]);
        assert_eq!(heights(&[1, 100_000]), [3, 180]);
        assert_eq!(heights(&[0, 0]), [0, 0]);
        assert_eq!(heights(&[-5, i64::MAX]), [0, 180]);
        assert_eq!(heights(&[]), [] as [i64; 0]);
    }

    #[test]
    fn the_scale_is_round_and_above_every_value() {
        for (most, labels) in [
            (0, vec![]),
            (4700, vec!["5000", "2500"]),
            (5001, vec!["10000", "5000"]),
            (20_000, vec!["20000", "10000"]),
        ] {
            let chart = Chart::new([(most, String::new())], |value| value.to_string());
            let found: Vec<&str> = chart.lines.iter().map(|line| line.label.as_str()).collect();
            assert_eq!(found, labels);
            assert!(chart.bars[0].y >= TOP);
        }
    }
}
