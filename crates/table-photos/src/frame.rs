//! Frames: a piece's own coordinates, across its axis and along it.

use crate::shape::{Point, Rectangle};

/// A turned coordinate system. Its y axis points from the head to the foot once the head is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// The point that is (0, 0).
    pub origin: Point,
    /// Unit vector of y.
    pub down: Point,
}

impl Frame {
    /// The frame of a rectangle: its corner is the origin, with a margin all around.
    pub fn around(rectangle: &Rectangle, margin: f32) -> Frame {
        let down = rectangle.axis;
        let frame = Frame {
            origin: rectangle.center,
            down,
        };
        let corner = Point::new(
            -rectangle.width / 2.0 - margin,
            -rectangle.length / 2.0 - margin,
        );
        Frame {
            origin: frame.outer(corner),
            down,
        }
    }

    fn right(&self) -> Point {
        Point::new(self.down.y, -self.down.x)
    }

    /// A point of the frame in the coordinates of the copy.
    pub fn outer(&self, point: Point) -> Point {
        self.origin
            .plus(self.right(), point.x)
            .plus(self.down, point.y)
    }

    /// A point of the copy in the frame's coordinates.
    pub fn inner(&self, point: Point) -> Point {
        let from_origin = point.minus(self.origin);
        Point::new(from_origin.dot(self.right()), from_origin.dot(self.down))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_comes_back_from_the_frame() {
        let frame = Frame {
            origin: Point::new(5.0, 7.0),
            down: Point::new(0.6, 0.8),
        };
        let point = Point::new(20.0, 3.0);
        let back = frame.outer(frame.inner(point));
        assert!(back.minus(point).length() < 1e-4);
    }

    #[test]
    fn an_upright_frame_is_the_copy_itself() {
        let frame = Frame {
            origin: Point::default(),
            down: Point::new(0.0, 1.0),
        };
        assert_eq!(frame.outer(Point::new(2.0, 3.0)), Point::new(2.0, 3.0));
    }
}
