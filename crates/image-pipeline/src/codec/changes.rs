//! What differs between two pictures of the same sides: the least rectangle that holds it. Knows nothing of files.

/// A part of a picture, in pixels; none of it where a side is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Rect {
    pub(super) const NONE: Self = Self { left: 0, top: 0, width: 0, height: 0 };

    pub(super) fn is_empty(self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// The least that holds both.
    pub(super) fn with(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        let (left, top) = (self.left.min(other.left), self.top.min(other.top));
        let right = (self.left + self.width).max(other.left + other.width);
        let bottom = (self.top + self.height).max(other.top + other.height);
        Self { left, top, width: right - left, height: bottom - top }
    }

    /// It in pieces of so many rows, from the top.
    pub(super) fn bands(self, rows: usize) -> impl Iterator<Item = Self> {
        (0..self.height).step_by(rows).map(move |first| Self { top: self.top + first, height: rows.min(self.height - first), ..self })
    }

    /// Its rows as ranges of the pixels of a picture of this width.
    pub(super) fn rows(self, picture_width: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        (self.top..self.top + self.height).map(move |y| y * picture_width + self.left..y * picture_width + self.left + self.width)
    }
}

/// The least rectangle outside of which no pixel of the two `differs`; both have rows of `width`.
pub(super) fn changed(before: &[[u8; 4]], after: &[[u8; 4]], width: usize, differs: impl Fn([u8; 4], [u8; 4]) -> bool) -> Rect {
    let (mut top, mut bottom, mut left, mut right) = (None, 0, width, 0);
    for (y, (before, after)) in before.chunks_exact(width).zip(after.chunks_exact(width)).enumerate() {
        if before == after {
            continue;
        }
        let is_changed = |x: &usize| differs(before[*x], after[*x]);
        let Some(first) = (0..width).find(is_changed) else { continue };
        let last = (first..width).rev().find(is_changed).unwrap_or(first);
        top.get_or_insert(y);
        bottom = y + 1;
        left = left.min(first);
        right = right.max(last + 1);
    }
    top.map_or(Rect::NONE, |top| Rect { left, top, width: right - left, height: bottom - top })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn holds_all_that_differs_and_no_more(
            width in 1_usize..12, height in 1_usize..9, spots in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let before = vec![[1, 2, 3, 255]; width * height];
            let mut after = before.clone();
            let spots: Vec<usize> = spots.iter().map(|spot| spot.index(width * height)).collect();
            for &spot in &spots {
                after[spot][1] = 9;
            }
            let found = changed(&before, &after, width, |a, b| a != b);
            let wanted = spots.iter().map(|spot| Rect { left: spot % width, top: spot / width, width: 1, height: 1 }).fold(Rect::NONE, Rect::with);
            prop_assert_eq!(found, wanted);
            prop_assert_eq!(changed(&before, &after, width, |_, _| false), Rect::NONE);
            let inside: Vec<usize> = found.rows(width).flatten().collect();
            prop_assert!(spots.iter().all(|spot| inside.contains(spot)));
            let in_pieces: Vec<usize> = found.bands(2).flat_map(|piece| piece.rows(width).flatten()).collect();
            prop_assert_eq!(inside, in_pieces);
        }
    }
}
