//! A bar chart, drawn as an inline SVG.

/// The bars of a chart, with their heights and titles.
pub struct Chart {
    pub bars: Vec<Bar>,
    /// Width of the drawing; the page stretches it.
    pub width: i64,
}

/// A bar of the chart.
pub struct Bar {
    pub x: i64,
    pub y: i64,
    pub width: i64,
    pub height: i64,
    /// `24 Nov: $120.00, 3 orders`
    pub title: String,
}

/// Height of every chart's drawing.
pub const HEIGHT: i64 = 100;

/// Distance between the starts of two bars, in units of the drawing. [`GAP`] of them stay empty.
const STEP: i64 = 10;
const GAP: i64 = 2;

impl Chart {
    /// Scales the values so that the highest bar fills the chart. Every positive value stays visible.
    pub fn new(values: impl IntoIterator<Item = (i64, String)>) -> Chart {
        let values: Vec<(i64, String)> = values.into_iter().collect();
        let most = values.iter().map(|(value, _)| *value).max().unwrap_or(0);
        let bars: Vec<Bar> = (0..)
            .zip(values)
            .map(|(at, (value, title))| {
                let height = match i128::from(value.max(0)) * i128::from(HEIGHT) {
                    0 => 0,
                    scaled => i64::try_from(scaled / i128::from(most.max(1)))
                        .unwrap_or(HEIGHT)
                        .max(2),
                };
                Bar {
                    x: at * STEP + GAP / 2,
                    y: HEIGHT - height,
                    width: STEP - GAP,
                    height,
                    title,
                }
            })
            .collect();
        Chart {
            width: bars.len() as i64 * STEP,
            bars,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_values() {
        let heights = |values: &[i64]| -> Vec<i64> {
            let values = values.iter().map(|value| (*value, String::new()));
            Chart::new(values)
                .bars
                .iter()
                .map(|bar| bar.height)
                .collect()
        };
        assert_eq!(heights(&[0, 50, 100]), [0, 50, 100]);
        assert_eq!(heights(&[1, 100_000]), [2, 100]);
        assert_eq!(heights(&[0, 0]), [0, 0]);
        assert_eq!(heights(&[-5, i64::MAX]), [0, 100]);
        assert_eq!(heights(&[]), [] as [i64; 0]);
    }
}
