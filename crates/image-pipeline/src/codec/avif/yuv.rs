//! Rows of luma and chroma to rows of red, green and blue. Knows nothing of files or of what the colours mean.
//!
//! Chroma of half the sides is brought to the picture's by weights of 3 and 1 (9, 3, 3, 1 in two directions), as if it lay in the middle of its
//! samples: what libavif's and libjpeg's readers do. Integers throughout: the same bytes everywhere.

use super::av1::{Pair, Row};
use crate::codec::cicp::Cicp;

/// Units of a chroma sample after it was brought to size.
const PARTS: i32 = 16;

/// How samples become colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Converter {
    kind: Kind,
    /// Largest sample of the result.
    last: i32,
    /// Bits behind the point of the weights.
    shift: u32,
    black: i32,
    grey: i32,
    luma: i32,
    red_of_red: i32,
    green_of_blue: i32,
    green_of_red: i32,
    blue_of_blue: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Planes are green, blue, red (H.273, equation 41 to 43).
    Identity,
    /// A weighted sum and differences.
    Weighted,
    /// YCgCo (H.273, equations 51 to 53).
    YCgCo,
}

impl Converter {
    /// From samples of `bits` to 0 to `2^out_bits - 1`; `None` for a matrix that is not read here.
    pub(super) fn new(cicp: Cicp, bits: u32, out_bits: u32) -> Option<Self> {
        let kind = match cicp.matrix {
            0 => Kind::Identity,
            8 => Kind::YCgCo,
            _ => Kind::Weighted,
        };
        let (kr, kb) = if kind == Kind::Weighted { cicp.luma_weights()? } else { (0.0, 0.0) };
        let kg = 1.0 - kr - kb;
        // H.273, equations 20 to 25: 219 and 224 steps of 8 bits in limited range.
        let depth = f64::from(1_u32 << (bits - 8));
        let (luma_range, chroma_range) = if cicp.full_range { (255.0, 255.0) } else { (219.0, 224.0) };
        let top = f64::from((1_u32 << bits) - 1);
        let (luma_range, chroma_range) = if cicp.full_range { (top, top) } else { (luma_range * depth, chroma_range * depth) };
        let last = (1_i32 << out_bits) - 1;
        let shift = 28 - out_bits;
        let unit = f64::from(last) * f64::from(1_u32 << shift);
        let weight = |factor: f64| (factor * unit / chroma_range / f64::from(PARTS)).round() as i32;
        let round = |factor: f64| factor.round() as i32;
        Some(Self {
            kind,
            last,
            shift,
            black: if cicp.full_range { 0 } else { 16 << (bits - 8) },
            grey: PARTS << (bits - 1),
            luma: round(unit / luma_range),
            red_of_red: weight(2.0 * (1.0 - kr)),
            green_of_blue: weight(2.0 * kb * (1.0 - kb) / kg),
            green_of_red: weight(2.0 * kr * (1.0 - kr) / kg),
            blue_of_blue: weight(2.0 * (1.0 - kb)),
        })
    }

    /// Whether its planes of chroma must have the picture's sides.
    pub(super) fn needs_whole_chroma(self) -> bool {
        self.kind == Kind::Identity
    }

    fn light(self, sample: i32) -> i32 {
        (sample - self.black) * self.luma + (1 << (self.shift - 1))
    }

    /// One pixel: luma, and both chroma in [`PARTS`].
    #[inline(always)]
    fn pixel(self, luma: i32, blue: i32, red: i32) -> [i32; 3] {
        match self.kind {
            Kind::Weighted => {
                let (light, blue, red) = (self.light(luma), blue - self.grey, red - self.grey);
                [
                    light + red * self.red_of_red,
                    light - blue * self.green_of_blue - red * self.green_of_red,
                    light + blue * self.blue_of_blue,
                ]
            }
            Kind::YCgCo => {
                // A half of chroma's range is one of light's; `blue` is Cg, `red` is Co.
                let unit = self.luma / PARTS;
                let (light, green, orange) = (self.light(luma), (blue - self.grey) * unit, (red - self.grey) * unit);
                [light - green + orange, light + green, light - green - orange]
            }
            Kind::Identity => [self.light(red / PARTS), self.light(luma), self.light(blue / PARTS)],
        }
        .map(|value| (value >> self.shift).clamp(0, self.last))
    }

    /// A row of colours: `put` is called with each pixel's place and its red, green and blue. Without chroma all are luma.
    #[inline(always)]
    pub(super) fn row(self, luma: Row<'_>, chroma: Option<(&[i32], &[i32])>, mut put: impl FnMut(usize, [i32; 3])) {
        #[inline(always)]
        fn each(luma: impl Iterator<Item = i32>, chroma: Option<(&[i32], &[i32])>, how: Converter, put: &mut impl FnMut(usize, [i32; 3])) {
            match chroma {
                Some((blue, red)) => {
                    for (at, ((luma, &blue), &red)) in luma.zip(blue).zip(red).enumerate() {
                        put(at, how.pixel(luma, blue, red));
                    }
                }
                None => {
                    for (at, luma) in luma.enumerate() {
                        put(at, [(how.light(luma) >> how.shift).clamp(0, how.last); 3]);
                    }
                }
            }
        }
        match luma {
            Row::Eight(luma) => each(luma.iter().map(|&sample| i32::from(sample)), chroma, self, &mut put),
            Row::Deep(luma) => each(luma.iter().map(|&sample| i32::from(sample)), chroma, self, &mut put),
        }
    }
}

/// Brings a row of chroma to `width` samples, in [`PARTS`]: of the row that covers the pixels, and the next one on their side, which is the
/// same where rows are not halved.
pub(super) fn widen(rows: Pair<'_>, halved: bool, width: usize, out: &mut Vec<i32>) {
    #[inline(always)]
    fn spread(near: impl Iterator<Item = i32>, far: impl Iterator<Item = i32>, halved: bool, width: usize, out: &mut Vec<i32>) {
        out.clear();
        let quarters = near.zip(far).map(|(near, far)| 3 * near + far);
        if !halved {
            out.extend(quarters.take(width).map(|value| 4 * value));
            return;
        }
        // Left to right: each sample lies between its two pixels, and its neighbours lend them a quarter.
        let mut quarters = quarters.peekable();
        let mut before = quarters.peek().copied().unwrap_or(0);
        while let Some(value) = quarters.next() {
            let after = quarters.peek().copied().unwrap_or(value);
            out.extend([3 * value + before, 3 * value + after]);
            before = value;
        }
        out.truncate(width);
    }
    match rows {
        Pair::Eight(near, far) => {
            spread(near.iter().map(|&sample| i32::from(sample)), far.iter().map(|&sample| i32::from(sample)), halved, width, out);
        }
        Pair::Deep(near, far) => {
            spread(near.iter().map(|&sample| i32::from(sample)), far.iter().map(|&sample| i32::from(sample)), halved, width, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cicp(matrix: u16, full_range: bool) -> Cicp {
        Cicp { primaries: 1, transfer: 13, matrix, full_range }
    }

    fn pixel(converter: Converter, luma: u16, blue: u16, red: u16) -> [i32; 3] {
        let mut found = [0; 3];
        let (blue, red) = ([i32::from(blue) * PARTS], [i32::from(red) * PARTS]);
        converter.row(Row::Deep(&[luma]), Some((&blue, &red)), |_, rgb| found = rgb);
        found
    }

    /// H.273 in floating point.
    fn twin(cicp: Cicp, bits: u32, out_bits: u32, [y, cb, cr]: [u16; 3]) -> [i32; 3] {
        let (kr, kb) = cicp.luma_weights().unwrap();
        let top = f64::from((1_u32 << bits) - 1);
        let depth = f64::from(1_u32 << (bits - 8));
        let grey = f64::from(1_u32 << (bits - 1));
        let (light, blue, red) = if cicp.full_range {
            (f64::from(y) / top, (f64::from(cb) - grey) / top, (f64::from(cr) - grey) / top)
        } else {
            ((f64::from(y) / depth - 16.0) / 219.0, (f64::from(cb) - grey) / depth / 224.0, (f64::from(cr) - grey) / depth / 224.0)
        };
        let (r, b) = (light + 2.0 * (1.0 - kr) * red, light + 2.0 * (1.0 - kb) * blue);
        let g = (light - kr * r - kb * b) / (1.0 - kr - kb);
        let last = f64::from((1_u32 << out_bits) - 1);
        [r, g, b].map(|value| (value * last).round().clamp(0.0, last) as i32)
    }

    #[test]
    fn integers_agree_with_the_standards_equations() {
        for bits in [8, 10, 12] {
            for out_bits in [8, bits] {
                for matrix in [1, 2, 5, 6, 9, 12] {
                    for full_range in [false, true] {
                        let cicp = cicp(matrix, full_range);
                        let converter = Converter::new(cicp, bits, out_bits).unwrap();
                        let steps: Vec<u16> = (0..9).map(|at| (at * ((1_u32 << bits) - 1) / 8) as u16).collect();
                        for &y in &steps {
                            for &cb in &steps {
                                for &cr in &steps {
                                    let (found, wanted) = (pixel(converter, y, cb, cr), twin(cicp, bits, out_bits, [y, cb, cr]));
                                    let off = found.iter().zip(&wanted).map(|(a, b)| a.abs_diff(*b)).max();
                                    assert!(off <= Some(1), "{bits} {out_bits} {matrix} {full_range} {y} {cb} {cr}: {found:?} {wanted:?}");
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn planes_of_colours_are_taken_as_they_are() {
        let identity = Converter::new(cicp(0, true), 8, 8).unwrap();
        assert_eq!(pixel(identity, 20, 30, 10), [10, 20, 30]);
        assert!(identity.needs_whole_chroma());
        let ycgco = Converter::new(cicp(8, true), 8, 8).unwrap();
        assert_eq!(pixel(ycgco, 128, 128, 128), [128; 3]);
        // Cg of 64 above its middle: green up, the others down.
        let [r, g, b] = pixel(ycgco, 128, 192, 128);
        assert!(g.abs_diff(192) <= 1 && r.abs_diff(64) <= 1 && b.abs_diff(64) <= 1, "{r} {g} {b}");
        for matrix in [10, 11, 14, 16, 17] {
            assert!(Converter::new(cicp(matrix, true), 8, 8).is_none(), "{matrix}");
        }
    }

    #[test]
    fn chroma_is_weighted_between_its_neighbours() {
        let mut out = Vec::new();
        widen(Pair::Eight(&[10, 20, 30], &[10, 20, 30]), true, 5, &mut out);
        assert_eq!(out, [160, 200, 280, 360, 440]);
        widen(Pair::Eight(&[0, 0], &[16, 32]), false, 2, &mut out);
        assert_eq!(out, [64, 128]);
        widen(Pair::Deep(&[1000], &[1000]), true, 1, &mut out);
        assert_eq!(out, [16_000]);
    }
}
