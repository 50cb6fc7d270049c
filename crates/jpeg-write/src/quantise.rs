//! Quantisation: annex K's tables scaled to a quality, and division by multiplying.
//!
//! Knows nothing of transforms but that theirs come eight times too large. Invariant: a [`Quantiser`] gives the quotient rounded to the
//! nearest, halves away from zero, for every value a transform can give.

/// T.81, K.1, in rows of rising frequency.
#[rustfmt::skip]
const LUMA: [u16; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
];

/// T.81, K.2.
#[rustfmt::skip]
const CHROMA: [u16; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
];

/// Index into rows of the `n`th value in order of rising frequency (T.81, figure A.6).
pub(crate) const NATURAL: [u8; 64] = {
    let mut order = [0; 64];
    let (mut at, mut diagonal) = (0, 0);
    while diagonal < 15 {
        let mut step = 0;
        while step <= diagonal {
            // Diagonals run up from the left where their number is even, else down.
            let (row, column) = if diagonal % 2 == 0 { (diagonal - step, step) } else { (step, diagonal - step) };
            if row < 8 && column < 8 {
                order[at] = (8 * row + column) as u8;
                at += 1;
            }
            step += 1;
        }
        diagonal += 1;
    }
    order
};

/// The table of a quality, in rows: libjpeg's scaling, with divisors 1 to 255 as baseline wants them.
fn table(base: &[u16; 64], quality: u8) -> [u8; 64] {
    let quality = u32::from(quality.clamp(1, 100));
    let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    base.map(|value| ((u32::from(value) * percent + 50) / 100).clamp(1, 255) as u8)
}

/// Divides by a table. In rows, as transforms give them; three numbers for each divisor `d`, which is eight times the table's:
/// `n / d` is `(n + d / 2) * factor >> 16 + shift`, and a shift by lanes is a multiplication by `2^(16 - shift)`.
///
/// Exact: `factor * d - 2^(16 + shift)` is less than `d`, and `n + d / 2` less than 2^14, so the product is too large by less than
/// `2^14 * d`; that is less than `2^(16 + shift)`, one quotient's worth divided by `d`, because factors are at least 2^15.
pub(crate) struct Quantiser {
    /// As DQT writes it, but in rows.
    pub(crate) table: [u8; 64],
    pub(crate) half: [u16; 64],
    pub(crate) factor: [u16; 64],
    pub(crate) scale: [u16; 64],
}

impl Quantiser {
    /// Luma's and chroma's.
    pub(crate) fn pair(quality: u8) -> [Self; 2] {
        [Self::new(table(&LUMA, quality)), Self::new(table(&CHROMA, quality))]
    }

    fn new(table: [u8; 64]) -> Self {
        let mut quantiser = Self { table, half: [0; 64], factor: [0; 64], scale: [0; 64] };
        for (index, &step) in table.iter().enumerate() {
            let divisor = 8 * u32::from(step.max(1));
            // Largest shift whose factor fits 16 bits: 2 to 10.
            let mut shift = 2;
            while (1u32 << (17 + shift)).div_ceil(divisor) <= 0xffff {
                shift += 1;
            }
            quantiser.half[index] = (divisor / 2) as u16;
            quantiser.factor[index] = (1u32 << (16 + shift)).div_ceil(divisor) as u16;
            quantiser.scale[index] = 1 << (16 - shift);
        }
        quantiser
    }

    /// The plain twin of what vectors do.
    #[inline(always)]
    pub(crate) fn quantise(&self, index: usize, value: i16) -> i16 {
        let high = |a: u16, b: u16| ((u32::from(a) * u32::from(b)) >> 16) as u16;
        let quotient = high(high(value.unsigned_abs().wrapping_add(self.half[index]), self.factor[index]), self.scale[index]) as i16;
        if value < 0 { -quotient } else { quotient }
    }
}

#[cfg(test)]
mod tests {
    use super::{NATURAL, Quantiser, table};

    #[test]
    fn multiplying_divides_exactly() {
        for step in 1..=255u8 {
            let quantiser = Quantiser::new([step; 64]);
            let divisor = 8 * i32::from(step);
            for value in -16383 + divisor / 2..=16383 - divisor / 2 {
                let expected = (value.abs() + divisor / 2) / divisor * value.signum();
                assert_eq!(i32::from(quantiser.quantise(5, value as i16)), expected, "{value} / {divisor}");
            }
        }
    }

    #[test]
    fn order_and_tables_are_the_standards() {
        assert_eq!(NATURAL[..16], [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5]);
        assert_eq!(NATURAL[49..], [59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63]);
        let mut sorted = NATURAL;
        sorted.sort_unstable();
        assert!(sorted.iter().enumerate().all(|(at, index)| at == usize::from(*index)));
        assert_eq!(table(&super::LUMA, 50)[..4], [16, 11, 10, 16]);
        assert_eq!(table(&super::LUMA, 80)[..4], [6, 4, 4, 6]);
        assert_eq!(table(&super::CHROMA, 10)[..4], [85, 90, 120, 235]);
        assert_eq!(table(&super::CHROMA, 100), [1; 64]);
        assert_eq!(table(&super::LUMA, 1), [255; 64]);
    }
}
