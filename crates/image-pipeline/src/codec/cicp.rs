//! Colours said by code points (ITU-T H.273): primaries to matrices, curves to light, and what of it becomes sRGB.
//!
//! Knows nothing of files. What is unspecified or reserved is taken for sRGB, as browsers do. The curves of BT.709, BT.601 and BT.2020 are taken
//! for sRGB's, too: pictures marked so are made to be seen on such screens.

use super::{described::code_points, icc::ToSrgb};

/// Code points of a picture (H.273, tables 2 to 4); 2 is "unspecified".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cicp {
    pub(crate) primaries: u16,
    pub(crate) transfer: u16,
    pub(crate) matrix: u16,
    /// Samples use all values, not 16 to 235 (240) of 255.
    pub(crate) full_range: bool,
}

/// How light is encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Transfer {
    /// sRGB's curve, or one that is shown alike.
    Srgb,
    /// A power; 1 is linear.
    Gamma,
    /// Perceptual quantiser (SMPTE ST 2084): light up to 10 000 cd/m².
    Pq,
    /// Hybrid log-gamma (BT.2100).
    Hlg,
}

type Matrix = [[f64; 3]; 3];

/// Red, green, blue and white as x and y of CIE 1931.
type Places = [(f64, f64); 4];

const D65: (f64, f64) = (0.3127, 0.3290);
const BT_709: Places = [(0.640, 0.330), (0.300, 0.600), (0.150, 0.060), D65];

impl Cicp {
    /// sRGB.
    pub(crate) const SRGB: Self = Self { primaries: 1, transfer: 13, matrix: 0, full_range: true };

    pub(crate) fn transfer(self) -> Transfer {
        match self.transfer {
            4 | 5 | 8 => Transfer::Gamma,
            16 => Transfer::Pq,
            18 => Transfer::Hlg,
            _ => Transfer::Srgb,
        }
    }

    /// Whether its light passes what sRGB can say.
    pub(crate) fn is_hdr(self) -> bool {
        matches!(self.transfer(), Transfer::Pq | Transfer::Hlg)
    }

    /// Table 2.
    fn places(self) -> Places {
        const C: (f64, f64) = (0.310, 0.316);
        match self.primaries {
            4 => [(0.67, 0.33), (0.21, 0.71), (0.14, 0.08), C],
            5 => [(0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65],
            6 | 7 => [(0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65],
            8 => [(0.681, 0.319), (0.243, 0.692), (0.145, 0.049), C],
            9 => [(0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65],
            11 => [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)],
            12 => [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65],
            22 => [(0.630, 0.340), (0.295, 0.605), (0.155, 0.077), D65],
            _ => BT_709,
        }
    }

    /// Weights of red and blue in luma: of table 4, or what the primaries make them (code point 12); `None` where luma is no such sum.
    pub(crate) fn luma_weights(self) -> Option<(f64, f64)> {
        match self.matrix {
            1 => Some((0.2126, 0.0722)),
            4 => Some((0.30, 0.11)),
            // What is unspecified is BT.601, as in JFIF.
            2 | 3 | 5 | 6 => Some((0.299, 0.114)),
            7 => Some((0.212, 0.087)),
            9 => Some((0.2627, 0.0593)),
            12 => {
                let luma = to_xyz(self.places())[1];
                Some((luma[0], luma[2]))
            }
            _ => None,
        }
    }

    /// Linear light of these primaries to that of sRGB's.
    pub(crate) fn to_srgb_primaries(self) -> [[f32; 3]; 3] {
        product(inverse(to_xyz(BT_709)), to_xyz(self.places())).map(|row| row.map(|value| value as f32))
    }
}

impl ToSrgb {
    /// The conversion of samples of these colours; `None` if they are sRGB to within one step of 255, or brighter than that can say.
    pub(crate) fn from_cicp(cicp: Cicp) -> Option<Self> {
        let (primaries, transfer) = (u8::try_from(cicp.primaries).ok()?, u8::try_from(cicp.transfer).ok()?);
        code_points(primaries, transfer, false).conversion()
    }
}

/// Light of primaries to CIE XYZ, white at Y = 1 (SMPTE RP 177).
fn to_xyz([red, green, blue, white]: Places) -> Matrix {
    let column = |(x, y): (f64, f64)| [x / y, 1.0, (1.0 - x - y) / y];
    let (r, g, b, w) = (column(red), column(green), column(blue), column(white));
    let unscaled = [0, 1, 2].map(|row| [r[row], g[row], b[row]]);
    let scale = inverse(unscaled).map(|row| row[0] * w[0] + row[1] * w[1] + row[2] * w[2]);
    unscaled.map(|row| [row[0] * scale[0], row[1] * scale[1], row[2] * scale[2]])
}

fn product(a: Matrix, b: Matrix) -> Matrix {
    a.map(|row| [0, 1, 2].map(|column| (0..3).map(|at| row[at] * b[at][column]).sum()))
}

fn inverse(m: Matrix) -> Matrix {
    let minor = |row: usize, column: usize| {
        let (r, c) = ([(row + 1) % 3, (row + 2) % 3], [(column + 1) % 3, (column + 2) % 3]);
        m[r[0]][c[0]] * m[r[1]][c[1]] - m[r[0]][c[1]] * m[r[1]][c[0]]
    };
    let determinant: f64 = (0..3).map(|column| m[0][column] * minor(0, column)).sum();
    [0, 1, 2].map(|row| [0, 1, 2].map(|column| minor(column, row) / determinant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::{Layout, Pixels};
    use moxcms::ColorProfile;

    fn cicp(primaries: u16, transfer: u16) -> Cicp {
        Cicp { primaries, transfer, matrix: 0, full_range: true }
    }

    #[test]
    fn weights_of_luma_follow_from_primaries() {
        for (primaries, red, blue) in [(1, 0.2126, 0.0722), (9, 0.2627, 0.0593)] {
            let (r, b) = Cicp { matrix: 12, ..cicp(primaries, 1) }.luma_weights().unwrap();
            assert!((r - red).abs() < 2e-4 && (b - blue).abs() < 2e-4, "{primaries}: {r} {b}");
        }
        assert_eq!(Cicp { matrix: 10, ..cicp(9, 14) }.luma_weights(), None);
    }

    #[test]
    fn white_stays_white() {
        for primaries in [1, 4, 5, 6, 9, 11, 12, 22] {
            let matrix = cicp(primaries, 13).to_srgb_primaries();
            let sums = matrix.map(|row| row.iter().sum::<f32>());
            // Those of other whites are not adapted here.
            if ![4, 8, 11].contains(&primaries) {
                assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-4), "{primaries}: {sums:?}");
            }
        }
    }

    #[test]
    fn what_is_srgb_already_needs_no_conversion() {
        for (primaries, transfer) in [(1, 13), (2, 2), (1, 1), (0, 0), (1, 6), (12, 16), (9, 18)] {
            assert!(ToSrgb::from_cicp(cicp(primaries, transfer)).is_none(), "{primaries} {transfer}");
        }
    }

    #[test]
    fn display_p3_is_as_its_profile_says() {
        let by_profile = ToSrgb::from_profile(&ColorProfile::new_display_p3().encode().unwrap()).unwrap();
        let by_code = ToSrgb::from_cicp(cicp(12, 13)).unwrap();
        let samples: Vec<u8> = (0..=255).flat_map(|at: u8| [at, at.wrapping_mul(7), 255 - at]).collect();
        let mut pictures = [(); 2].map(|()| Pixels::new(256, 1, Layout::Rgb8, samples.clone()).unwrap());
        by_profile.apply(&mut pictures[0], crate::watch::Watch::NEVER).unwrap();
        by_code.apply(&mut pictures[1], crate::watch::Watch::NEVER).unwrap();
        let worst = pictures[0].bytes.iter().zip(&pictures[1].bytes).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(1), "{worst:?}");
    }

    #[test]
    fn linear_light_gets_brighter() {
        let mut pixels = Pixels::new(1, 1, Layout::Rgb8, vec![55, 55, 55]).unwrap();
        ToSrgb::from_cicp(cicp(1, 8)).unwrap().apply(&mut pixels, crate::watch::Watch::NEVER).unwrap();
        // 55 / 255 of the light is 0.5016 on sRGB's curve.
        assert!(pixels.bytes.iter().all(|&value| value.abs_diff(128) <= 1), "{:?}", pixels.bytes);
    }
}
