//! Pictures by chance for the [`writer`](crate::writer): whole numbers only, so that they are the same on every machine.

use crate::writer::Picture;

/// Whole numbers by chance, the same everywhere.
struct Chance(u64);

impl Chance {
    /// 0 up to `below`, without.
    fn below(&mut self, below: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 32) as u32) % below
    }
}

/// A picture of slopes, waves and noise by chance; `busy` of 8 coefficients are not zero. Samples stay within range, or hardly leave
/// it, so that no decoder's arithmetic overflows.
pub(crate) fn by_chance(size: (usize, usize), factors: &[(usize, usize)], quantisers: [[u16; 64]; 2], busy: u32, seed: u64) -> Picture {
    let mut chance = Chance(seed | 1);
    for _ in 0..8 {
        chance.below(2);
    }
    Picture::new(size, factors, quantisers, |part, x, y| {
        let quantisers = &quantisers[part.min(1)];
        let mut block = [0; 64];
        for (at, (value, &quantiser)) in block.iter_mut().zip(quantisers).enumerate() {
            let reach = if at == 0 { 200 } else { 1 + 260 / (at as i32 + 1) };
            if at == 0 || chance.below(8) < busy {
                *value = ((chance.below(2 * reach as u32 + 1) as i32 - reach) / i32::from(quantiser)) as i16;
            }
        }
        let slope = (37 * x as i32 + 23 * y as i32 + 301 * part as i32) % 1200 - 600;
        block[0] += (slope / i32::from(quantisers[0])) as i16;
        block
    })
}
