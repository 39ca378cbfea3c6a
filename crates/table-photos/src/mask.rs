//! Masks: opening and closing with disks, holes, connected regions.

use std::collections::VecDeque;

use crate::grid::Grid;

/// A grid of places that are in or out.
pub(crate) type Mask = Grid<bool>;

impl Mask {
    /// Takes in all places within `radius` of those that are in.
    pub fn dilated(&self, radius: f32) -> Mask {
        let reach = radius.floor() as isize;
        if reach < 1 {
            return self.clone();
        }
        let limit = radius * radius;
        let vertical = self.vertical_distances(reach as u8);
        let mut grown = self.clone();
        for (y, row) in grown.rows_mut() {
            let distances = vertical.row(y);
            // The next place that is near enough in its column: most windows have none.
            let mut next = vec![distances.len(); distances.len() + 1];
            for x in (0..distances.len()).rev() {
                next[x] = if distances[x] == u8::MAX {
                    next[x + 1]
                } else {
                    x
                };
            }
            for (x, value) in row.iter_mut().enumerate() {
                let to = (x + reach as usize + 1).min(distances.len());
                let from = next[x.saturating_sub(reach as usize)];
                *value = *value
                    || (from..to.max(from)).any(|at| {
                        let (dx, dy) = (at.abs_diff(x) as f32, f32::from(distances[at]));
                        distances[at] != u8::MAX && dx * dx + dy * dy <= limit
                    });
            }
        }
        grown
    }

    /// Leaves out all places within `radius` of those that are out. Outside of the grid nothing is out.
    pub fn eroded(&self, radius: f32) -> Mask {
        self.inverted().dilated(radius).inverted()
    }

    /// Removes what is thinner than a disk.
    pub fn opened(&self, radius: f32) -> Mask {
        self.eroded(radius).dilated(radius)
    }

    /// Fills what is thinner than a disk.
    pub fn closed(&self, radius: f32) -> Mask {
        self.dilated(radius).eroded(radius)
    }

    pub fn inverted(&self) -> Mask {
        self.map(|value| !value)
    }

    /// Fills everything that is not connected with the border.
    pub fn filled(&self) -> Mask {
        let mut outside = self.map(|_| false);
        let mut queue = VecDeque::new();
        for index in 0..self.values.len() {
            if self.is_border(index) && !self.values[index] {
                outside.values[index] = true;
                queue.push_back(index);
            }
        }
        while let Some(from) = queue.pop_front() {
            for next in self.neighbors(from) {
                if !self.values[next] && !outside.values[next] {
                    outside.values[next] = true;
                    queue.push_back(next);
                }
            }
        }
        outside.inverted()
    }

    /// Distance of each place to the next one in its column that is in; 255 beyond `reach`.
    fn vertical_distances(&self, reach: u8) -> Grid<u8> {
        let mut distances = self.map(|value| if value { 0 } else { u8::MAX });
        let width = self.width;
        let step = |distance: u8| match distance {
            distance if distance < reach => distance + 1,
            _ => u8::MAX,
        };
        for index in width..distances.values.len() {
            let above = step(distances.values[index - width]);
            distances.values[index] = distances.values[index].min(above);
        }
        for index in (0..distances.values.len().saturating_sub(width)).rev() {
            let below = step(distances.values[index + width]);
            distances.values[index] = distances.values[index].min(below);
        }
        distances
    }

    /// Connected regions, by their places in the grid, each in reading order of its first place.
    pub fn regions(&self) -> Vec<Vec<usize>> {
        let mut seen = self.map(|_| false);
        let mut regions = Vec::new();
        for start in 0..self.values.len() {
            if !self.values[start] || seen.values[start] {
                continue;
            }
            let mut region = vec![start];
            seen.values[start] = true;
            let mut at = 0;
            while at < region.len() {
                for next in self.neighbors(region[at]) {
                    if self.values[next] && !seen.values[next] {
                        seen.values[next] = true;
                        region.push(next);
                    }
                }
                at += 1;
            }
            regions.push(region);
        }
        regions
    }

    /// The largest of the connected regions alone.
    pub fn largest_region(&self) -> Mask {
        let mut largest = self.map(|_| false);
        let regions = self.regions();
        for &index in regions.iter().max_by_key(|r| r.len()).into_iter().flatten() {
            largest.values[index] = true;
        }
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        Grid::from_fn(rows[0].len(), rows.len(), |x, y| {
            rows[y].as_bytes()[x] == b'#'
        })
    }

    #[test]
    fn dilation_reaches_as_far_as_a_disk() {
        let point = mask(&[".....", ".....", "..#..", ".....", "....."]);
        let disk = mask(&["..#..", ".###.", "#####", ".###.", "..#.."]);
        assert_eq!(point.dilated(2.0), disk);
    }

    #[test]
    fn opening_removes_what_is_thin_and_closing_fills_it() {
        let spur = mask(&["......", ".###..", ".#####", ".###..", "......"]);
        let block = mask(&["......", "..##..", ".####.", "..##..", "......"]);
        assert_eq!(spur.opened(1.0), block);
        assert_eq!(spur.inverted().closed(1.0), block.inverted());
    }

    #[test]
    fn holes_are_filled_and_bays_are_not() {
        let ring = mask(&[".###.", ".#.#.", ".###.", ".#.#."]);
        let full = mask(&[".###.", ".###.", ".###.", ".#.#."]);
        assert_eq!(ring.filled(), full);
    }

    #[test]
    fn regions_touch_along_sides_and_not_at_corners() {
        let regions = mask(&["##..", "..#.", "..##"]).regions();
        let sizes: Vec<usize> = regions.iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 3]);
    }
}
