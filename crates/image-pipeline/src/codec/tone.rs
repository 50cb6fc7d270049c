//! High dynamic range to sRGB, pixel by pixel: light as PQ or HLG encode it, to sRGB's primaries, its highlights bent below white.
//!
//! Knows nothing of files or planes. White is BT.2408's reference white of 203 cd/m². What is darker than [`KNEE`] of it stays as it is;
//! what is brighter bends towards 1 by an extended Reinhard curve (Reinhard et al. 2002, equation 4), which reaches 1 at [`PEAK_NITS`]. The largest
//! of the three decides, and all are scaled alike, so that hues stay.

use super::cicp::{Cicp, Transfer};

/// BT.2408-7, 2.1.
const WHITE_NITS: f32 = 203.0;
/// What becomes white. Photos and films are graded to about this.
const PEAK_NITS: f32 = 1000.0;
/// From here on, as a share of white, light is bent.
const KNEE: f32 = 0.6;
/// Steps of the table that encodes light.
const STEPS: usize = 1 << 14;

/// A conversion of samples of some bits.
pub(super) struct ToneMap {
    /// Light of a sample as a share of white; of HLG, of the scene.
    light: Vec<f32>,
    is_hlg: bool,
    matrix: [[f32; 3]; 3],
    encoded: Vec<u8>,
}

impl ToneMap {
    /// Bytes it holds.
    pub(super) const fn bytes(bits: u32) -> u64 {
        (4 << bits) + STEPS as u64 + 1
    }

    /// For samples of full range, 0 to `2^bits - 1`; `None` where there is nothing to bend.
    pub(super) fn new(cicp: Cicp, bits: u32) -> Option<Self> {
        let transfer = cicp.transfer();
        let last = (1_u32 << bits) - 1;
        let sample = |at: u32| at as f32 / last as f32;
        let light = match transfer {
            Transfer::Pq => (0..=last).map(|at| pq_nits(sample(at)) / WHITE_NITS).collect(),
            Transfer::Hlg => (0..=last).map(|at| hlg_scene(sample(at))).collect(),
            Transfer::Srgb | Transfer::Gamma => return None,
        };
        let encoded = (0..=STEPS).map(|at| (encode(at as f32 / STEPS as f32) * 255.0).round() as u8).collect();
        Some(Self { light, is_hlg: transfer == Transfer::Hlg, matrix: cicp.to_srgb_primaries(), encoded })
    }

    /// Red, green and blue as stored to sRGB's. What is above the range counts as its end.
    #[inline]
    pub(super) fn map(&self, rgb: [u16; 3]) -> [u8; 3] {
        let last = self.light.len() - 1;
        let mut light = rgb.map(|sample| self.light[usize::from(sample).min(last)]);
        if self.is_hlg {
            // BT.2100, table 5: the system's gamma for a screen of 1000 cd/m² is 1.2, applied to the luminance.
            let [r, g, b] = light;
            let scale = (0.2627 * r + 0.6780 * g + 0.0593 * b).max(1e-6).powf(0.2) * (PEAK_NITS / WHITE_NITS);
            light = light.map(|value| value * scale);
        }
        let [r, g, b] = light;
        let light = self.matrix.map(|row| (row[0] * r + row[1] * g + row[2] * b).max(0.0));
        let largest = light[0].max(light[1]).max(light[2]);
        let scale = if largest > KNEE { bend(largest) / largest } else { 1.0 };
        light.map(|value| self.encoded[((value * scale).clamp(0.0, 1.0) * STEPS as f32 + 0.5) as usize])
    }
}

fn bend(light: f32) -> f32 {
    const PEAK: f32 = (PEAK_NITS / WHITE_NITS - KNEE) / (1.0 - KNEE);
    let over = (light - KNEE) / (1.0 - KNEE);
    let bent = (over * (1.0 + over / (PEAK * PEAK)) / (1.0 + over)).min(1.0);
    KNEE + (1.0 - KNEE) * bent
}

/// SMPTE ST 2084, 5.1.
fn pq_nits(sample: f32) -> f32 {
    let (m1, m2) = (2610.0 / 16384.0, 2523.0 / 4096.0 * 128.0);
    let (c1, c2, c3) = (3424.0 / 4096.0, 2413.0 / 4096.0 * 32.0, 2392.0 / 4096.0 * 32.0);
    let power = f64::from(sample).powf(1.0 / m2);
    (((power - c1).max(0.0) / (c2 - c3 * power)).powf(1.0 / m1) * 10_000.0) as f32
}

/// BT.2100, table 5: the inverse of the camera's curve, 0 to 1.
fn hlg_scene(sample: f32) -> f32 {
    let (a, b, c) = (0.178_832_77, 0.284_668_92, 0.559_910_73);
    let sample = f64::from(sample);
    let light = if sample <= 0.5 { sample * sample / 3.0 } else { (((sample - c) / a).exp() + b) / 12.0 };
    light as f32
}

/// IEC 61966-2-1.
fn encode(light: f32) -> f32 {
    if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(transfer: u16, primaries: u16) -> ToneMap {
        ToneMap::new(Cicp { primaries, transfer, matrix: 0, full_range: true }, 10).unwrap()
    }

    #[test]
    fn curves_meet_their_standards() {
        // ST 2084: half of the range is 92.2 cd/m²; BT.2408: 58 % is 203, 75 % is 1000.
        assert!((pq_nits(0.5) - 92.2).abs() < 0.2 && (pq_nits(1.0) - 10_000.0).abs() < 1.0 && pq_nits(0.0) == 0.0);
        assert!((pq_nits(0.5807) - 203.0).abs() < 1.0, "{}", pq_nits(0.5807));
        // BT.2100: 0.5 is a twelfth, 1 is all.
        assert!((hlg_scene(0.5) - 1.0 / 12.0).abs() < 1e-4 && (hlg_scene(1.0) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn greys_stay_grey_and_grow_to_white() {
        for (transfer, primaries) in [(16, 9), (16, 12), (16, 1), (18, 9)] {
            let map = map(transfer, primaries);
            let mut last = 0;
            for sample in 0..1024 {
                let [r, g, b] = map.map([sample; 3]);
                assert!(r.abs_diff(g) <= 1 && g.abs_diff(b) <= 1 && g >= last, "{transfer} {primaries} {sample}: {r} {g} {b}");
                last = g;
            }
            assert_eq!((map.map([0; 3]), last), ([0; 3], 255));
        }
    }

    #[test]
    fn what_is_below_the_knee_is_not_changed() {
        // 40 cd/m² of 203: 0.197 of white is 0.481 on sRGB's curve.
        let sample = (0..1024).find(|&at| pq_nits(f32::from(at) / 1023.0) >= 40.0).unwrap();
        let [r, ..] = map(16, 1).map([sample; 3]);
        assert!(r.abs_diff(123) <= 1, "{r}");
    }

    #[test]
    fn others_need_no_map() {
        assert!(ToneMap::new(Cicp::SRGB, 10).is_none());
    }
}
