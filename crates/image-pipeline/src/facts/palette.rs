//! The main colours of a small picture: bins of 16 steps a channel, the fullest first, each joined by what looks nearly like it.

use crate::spec::Rgb;

/// One of the main colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Swatch {
    /// The mean of what it stands for.
    pub colour: Rgb,
    /// How much of what is not transparent it stands for, above 0 to 1.
    pub share: f64,
}

impl Swatch {
    /// Most colours of a palette.
    pub const MOST: usize = 6;
}

/// Colours nearer than this in Oklab (Ottosson, bottosson.github.io/posts/oklab) are one: some steps of a shade.
const NEAR: f64 = 0.1;

/// Colours that others are compared with, at most.
const MOST_JOINED: usize = 64;

#[derive(Clone, Copy, Default)]
struct Bin {
    sums: [u32; 3],
    weight: u32,
}

impl Bin {
    fn mean(self) -> [f64; 3] {
        self.sums.map(|sum| f64::from(sum) / f64::from(self.weight.max(1)))
    }

    fn add(&mut self, other: Self) {
        for (sum, more) in self.sums.iter_mut().zip(other.sums) {
            *sum += more;
        }
        self.weight += other.weight;
    }
}

/// The palette of at most 100 times 100 pixels, red, green, blue and alpha.
pub(super) fn palette(pixels: &[[u8; 4]]) -> Vec<Swatch> {
    let mut bins = vec![Bin::default(); 16 * 16 * 16];
    for &[r, g, b, alpha] in pixels {
        if alpha < 128 {
            continue;
        }
        let at = usize::from(r >> 4) << 8 | usize::from(g >> 4) << 4 | usize::from(b >> 4);
        bins[at].add(Bin { sums: [r, g, b].map(u32::from), weight: 1 });
    }
    let mut full: Vec<Bin> = bins.into_iter().filter(|bin| bin.weight > 0).collect();
    let all: u32 = full.iter().map(|bin| bin.weight).sum();
    // Stable, so that equal ones stay in the order of their colours.
    full.sort_by_key(|bin| std::cmp::Reverse(bin.weight));
    let mut joined: Vec<([f64; 3], Bin)> = Vec::new();
    for bin in full {
        let lab = oklab(bin.mean());
        let distance = |other: &[f64; 3]| lab.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        let is_room = joined.len() < MOST_JOINED;
        let nearest = joined.iter_mut().min_by(|(a, _), (b, _)| distance(a).total_cmp(&distance(b)));
        match nearest {
            // Late ones are small: once there are enough, each joins what it is nearest to only if that is near.
            Some((lab, into)) if distance(lab) < NEAR * NEAR => into.add(bin),
            _ if is_room => joined.push((lab, bin)),
            _ => {}
        }
    }
    joined.sort_by_key(|(_, bin)| std::cmp::Reverse(bin.weight));
    let swatch = |(_, bin): ([f64; 3], Bin)| Swatch {
        colour: Rgb(bin.mean().map(|value| value.round() as u8)),
        share: f64::from(bin.weight) / f64::from(all.max(1)),
    };
    joined.into_iter().take(Swatch::MOST).map(swatch).collect()
}

/// Oklab of sRGB values of 0 to 255.
fn oklab(rgb: [f64; 3]) -> [f64; 3] {
    let [r, g, b] = rgb.map(|value| {
        let value = value / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    let l = (0.412_221_470_8 * r + 0.536_332_536_3 * g + 0.051_445_992_9 * b).cbrt();
    let m = (0.211_903_498_2 * r + 0.680_699_545_1 * g + 0.107_396_956_6 * b).cbrt();
    let s = (0.088_302_461_9 * r + 0.281_718_837_6 * g + 0.629_978_700_5 * b).cbrt();
    [
        0.210_454_255_3 * l + 0.793_617_785_0 * m - 0.004_072_046_8 * s,
        1.977_998_495_1 * l - 2.428_592_205_0 * m + 0.450_593_709_9 * s,
        0.025_904_037_1 * l + 0.782_771_766_2 * m - 0.808_675_766_0 * s,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_by_their_share_and_near_ones_are_one() {
        let mut pixels = vec![[250, 10, 10, 255]; 500];
        pixels.extend([[240, 14, 12, 255]; 100]);
        pixels.extend([[10, 10, 250, 255]; 300]);
        pixels.extend([[10, 250, 10, 255]; 100]);
        pixels.extend([[9, 9, 9, 20]; 400]);
        let found = palette(&pixels);
        let shares: Vec<f64> = found.iter().map(|swatch| swatch.share).collect();
        assert_eq!(shares, [0.6, 0.3, 0.1]);
        assert_eq!(found[0].colour, Rgb([248, 11, 10]));
        assert_eq!((found[1].colour, found[2].colour), (Rgb([10, 10, 250]), Rgb([10, 250, 10])));
        assert!(palette(&[[1, 2, 3, 0]; 9]).is_empty());
    }

    #[test]
    fn many_colours_are_six_and_never_more_than_all() {
        let noise: Vec<[u8; 4]> = (0..2304_u32).map(|at| [(at * 97) as u8, ((at * 57) >> 3) as u8, ((at * 211) >> 5) as u8, 255]).collect();
        let found = palette(&noise);
        assert_eq!(found.len(), Swatch::MOST);
        assert!(found.iter().map(|swatch| swatch.share).sum::<f64>() <= 1.0);
        assert!(found.is_sorted_by(|a, b| a.share >= b.share));
        assert_eq!(found, palette(&noise));
    }
}
