//! Grids of values: pixels of the working copy, cells of the board, masks.

/// A rectangle of values, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grid<T> {
    pub width: usize,
    pub height: usize,
    pub values: Vec<T>,
}

impl<T: Copy> Grid<T> {
    pub fn new(width: usize, height: usize, value: T) -> Grid<T> {
        Grid {
            width,
            height,
            values: vec![value; width * height],
        }
    }

    pub fn from_fn(width: usize, height: usize, value: impl Fn(usize, usize) -> T) -> Grid<T> {
        let value = &value;
        Grid {
            width,
            height,
            values: (0..height)
                .flat_map(|y| (0..width).map(move |x| value(x, y)))
                .collect(),
        }
    }

    pub fn map<U: Copy>(&self, change: impl Fn(T) -> U) -> Grid<U> {
        Grid {
            width: self.width,
            height: self.height,
            values: self.values.iter().map(|&value| change(value)).collect(),
        }
    }

    pub fn at(&self, x: usize, y: usize) -> T {
        self.values[y * self.width + x]
    }

    pub fn at_mut(&mut self, x: usize, y: usize) -> &mut T {
        &mut self.values[y * self.width + x]
    }

    /// The value of the nearest place inside. The grid must not be empty.
    pub fn nearest(&self, x: isize, y: isize) -> T {
        let clamp = |value: isize, length: usize| (value.max(0) as usize).min(length - 1);
        self.at(clamp(x, self.width), clamp(y, self.height))
    }

    pub fn row(&self, y: usize) -> &[T] {
        &self.values[y * self.width..][..self.width]
    }

    pub fn rows_mut(&mut self) -> impl Iterator<Item = (usize, &mut [T])> {
        self.values.chunks_mut(self.width.max(1)).enumerate()
    }

    /// The places up, left, right and down of a place, as far as they are inside.
    pub fn neighbors(&self, index: usize) -> impl Iterator<Item = usize> + use<T> {
        let (width, height) = (self.width, self.height);
        let (x, y) = (index % width, index / width);
        [
            (y > 0).then(|| index - width),
            (x > 0).then(|| index - 1),
            (x + 1 < width).then(|| index + 1),
            (y + 1 < height).then(|| index + width),
        ]
        .into_iter()
        .flatten()
    }

    pub fn is_border(&self, index: usize) -> bool {
        let (x, y) = (index % self.width, index / self.width);
        x == 0 || y == 0 || x + 1 == self.width || y + 1 == self.height
    }
}

impl Grid<f32> {
    /// The value at a point, linear between the centers of the places around it. Centers are at halves.
    pub fn between(&self, x: f32, y: f32) -> f32 {
        let (x, y) = (x - 0.5, y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let (fx, fy) = (x - left, y - top);
        let (left, top) = (left as isize, top as isize);
        let mix = |from: f32, to: f32, share: f32| from + (to - from) * share;
        mix(
            mix(self.nearest(left, top), self.nearest(left + 1, top), fx),
            mix(
                self.nearest(left, top + 1),
                self.nearest(left + 1, top + 1),
                fx,
            ),
            fy,
        )
    }

    /// Means over squares of `2 * radius + 1`, cut at the border.
    pub fn box_mean(&self, radius: usize) -> Grid<f32> {
        self.rows_mean(radius)
            .transposed()
            .rows_mean(radius)
            .transposed()
    }

    fn rows_mean(&self, radius: usize) -> Grid<f32> {
        let mut means = self.clone();
        let mut sums = vec![0.0_f64; self.width + 1];
        for (y, row) in means.rows_mut() {
            for (x, &value) in self.row(y).iter().enumerate() {
                sums[x + 1] = sums[x] + f64::from(value);
            }
            for (x, mean) in row.iter_mut().enumerate() {
                let (from, to) = (
                    x.saturating_sub(radius),
                    (x + radius + 1).min(sums.len() - 1),
                );
                *mean = ((sums[to] - sums[from]) / (to - from) as f64) as f32;
            }
        }
        means
    }

    /// Smallest values in squares of `2 * radius + 1`.
    pub fn box_min(&self, radius: usize) -> Grid<f32> {
        self.rows_min(radius)
            .transposed()
            .rows_min(radius)
            .transposed()
    }

    fn rows_min(&self, radius: usize) -> Grid<f32> {
        let mut least = self.clone();
        for (y, row) in least.rows_mut() {
            let values = self.row(y);
            for (x, value) in row.iter_mut().enumerate() {
                let window = &values[x.saturating_sub(radius)..(x + radius + 1).min(values.len())];
                *value = window.iter().copied().fold(f32::INFINITY, f32::min);
            }
        }
        least
    }

    fn transposed(&self) -> Grid<f32> {
        Grid::from_fn(self.height, self.width, |x, y| self.at(y, x))
    }
}

/// The value below which `share` of the values are; 0 without values. Reorders them.
pub(crate) fn percentile(values: &mut [f32], share: f32) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let at = ((values.len() - 1) as f32 * share).round() as usize;
    let (_, value, _) = values.select_nth_unstable_by(at, f32::total_cmp);
    *value
}

pub(crate) fn median(values: &mut [f32]) -> f32 {
    percentile(values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_minima_are_those_of_the_squares_that_are_inside() {
        let grid = Grid::from_fn(4, 3, |x, y| (x + 10 * y) as f32);
        let means = grid.box_mean(1);
        assert_eq!((means.at(0, 0), means.at(1, 1)), (5.5, 11.0));
        let least = grid.box_min(1);
        assert_eq!((least.at(0, 0), least.at(3, 2)), (0.0, 12.0));
    }

    #[test]
    fn a_point_between_centers_has_a_value_between() {
        let grid = Grid::from_fn(3, 3, |x, y| (x + 10 * y) as f32);
        assert_eq!(grid.between(1.5, 1.5), 11.0);
        assert_eq!(grid.between(2.0, 1.5), 11.5);
        assert_eq!(grid.between(-5.0, 9.0), 20.0);
    }

    #[test]
    fn percentiles_are_values_of_the_list() {
        let mut values = [3.0, 1.0, 2.0, 5.0, 4.0];
        assert_eq!(median(&mut values), 3.0);
        assert_eq!(percentile(&mut values, 1.0), 5.0);
        assert_eq!(percentile(&mut [], 0.5), 0.0);
    }
}
