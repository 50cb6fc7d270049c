//! A picture made up so that it compresses like a photo: overlapping discs of all sizes, their number falling with the cube of their
//! radius ("dead leaves", whose spectrum and edges are those of photographs: Lee, Mumford and Huang, IJCV 2001), each lit from a side and
//! textured, softened as by a lens, with a sensor's noise over it. Only additions, products and roots, so the same on every machine.

/// Smallest and largest radius, the latter as a share of the width.
const LEAST_RADIUS_PX: f32 = 5.0;
const MOST_RADIUS: f32 = 0.2;
/// How often the discs cover the picture.
const LAYERS: f32 = 5.0;
/// Sides of the texture's cells, coarse to fine, as powers of two.
const OCTAVES: [u32; 3] = [6, 4, 2];

/// xorshift32 (Marsaglia 2003).
struct Chance(u32);

impl Chance {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// From 0 up to 1.
    fn share(&mut self) -> f32 {
        (self.next() >> 8) as f32 / (1 << 24) as f32
    }
}

/// RGB rows, top-left origin, tightly packed.
pub(crate) fn photo(width_px: usize, height_px: usize, seed: u32) -> Vec<u8> {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9) | 1);
    // Colour and strength of the texture, each in one byte.
    let mut canvas = vec![[90_u8, 100, 110, 8]; width_px * height_px];
    let enough = LAYERS * (width_px * height_px) as f32;
    let mut covered = 0.0;
    while covered < enough {
        let radius = (LEAST_RADIUS_PX / chance.share().max(1e-6).sqrt()).min(MOST_RADIUS * width_px as f32);
        covered += 3.0 * radius * radius;
        disc(&mut canvas, (width_px, height_px), radius, &mut chance);
    }
    let textured = textured(&canvas, width_px, seed);
    noisy(&softened(&textured, width_px, height_px), &mut chance)
}

fn disc(canvas: &mut [[u8; 4]], (width_px, height_px): (usize, usize), radius: f32, chance: &mut Chance) {
    let (centre_x, centre_y) = (chance.share() * width_px as f32, chance.share() * height_px as f32);
    let light = 30.0 + 190.0 * chance.share();
    // Tints of the world are mostly muted.
    let tint = [0; 3].map(|_| light + 36.0 * (chance.share() - 0.5));
    let (slope_x, slope_y) = (40.0 * (chance.share() - 0.5) / radius, 40.0 * (chance.share() - 0.5) / radius);
    // Smooth things and rough ones, more of the former.
    let texture = (4.0 + 60.0 * chance.share() * chance.share() * chance.share()) as u8;
    let from_y = (centre_y - radius).max(0.0) as usize;
    let to_y = ((centre_y + radius) as usize).min(height_px - 1);
    for y in from_y..=to_y {
        let off_y = y as f32 - centre_y;
        let half = (radius * radius - off_y * off_y).max(0.0).sqrt();
        let from_x = (centre_x - half).max(0.0) as usize;
        let to_x = ((centre_x + half) as usize).min(width_px - 1);
        if from_x > to_x {
            continue;
        }
        for (step, pixel) in canvas[y * width_px + from_x..=y * width_px + to_x].iter_mut().enumerate() {
            let shade = slope_x * ((from_x + step) as f32 - centre_x) + slope_y * off_y;
            let [r, g, b] = tint.map(|channel| (channel + shade) as u8);
            *pixel = [r, g, b, texture];
        }
    }
}

/// Value noise: a lattice of hashes, smoothly between them.
fn lattice(x: u32, y: u32, seed: u32) -> f32 {
    let mut hash = x.wrapping_mul(0x85eb_ca6b) ^ y.wrapping_mul(0xc2b2_ae35) ^ seed;
    hash = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
    hash = (hash ^ (hash >> 12)).wrapping_mul(0x297a_2d39);
    ((hash ^ (hash >> 15)) >> 16) as f32 / 65_536.0 - 0.5
}

fn textured(canvas: &[[u8; 4]], width_px: usize, seed: u32) -> Vec<u8> {
    let smooth = |share: f32| share * share * (3.0 - 2.0 * share);
    let mut pixels = Vec::with_capacity(3 * canvas.len());
    for (y, row) in canvas.chunks_exact(width_px).enumerate() {
        let y = y as u32;
        for (x, &[r, g, b, strength]) in row.iter().enumerate() {
            let x = x as u32;
            let mut sum = 0.0;
            for octave in OCTAVES {
                let (cell_x, cell_y) = (x >> octave, y >> octave);
                let share = |at: u32| smooth((at & ((1 << octave) - 1)) as f32 / (1 << octave) as f32);
                let (right, down) = (share(x), share(y));
                let between = |y: u32| {
                    let left = lattice(cell_x, y, seed ^ octave);
                    left + right * (lattice(cell_x + 1, y, seed ^ octave) - left)
                };
                let top = between(cell_y);
                sum += top + down * (between(cell_y + 1) - top);
            }
            let change = sum * f32::from(strength);
            pixels.extend([r, g, b].map(|channel| (f32::from(channel) + change) as u8));
        }
    }
    pixels
}

/// Each pixel by 1 2 1 across and down.
fn softened(pixels: &[u8], width_px: usize, height_px: usize) -> Vec<u8> {
    let row_bytes = 3 * width_px;
    let row = |y: usize| &pixels[y * row_bytes..(y + 1) * row_bytes];
    let mut down = vec![0_u16; row_bytes];
    let mut soft = Vec::with_capacity(pixels.len());
    for y in 0..height_px {
        let (above, here, below) = (row(y.saturating_sub(1)), row(y), row((y + 1).min(height_px - 1)));
        for (sum, ((&above, &here), &below)) in down.iter_mut().zip(above.iter().zip(here).zip(below)) {
            *sum = u16::from(above) + 2 * u16::from(here) + u16::from(below);
        }
        soft.extend((0..row_bytes).map(|at| {
            let (left, right) = (if at < 3 { at } else { at - 3 }, if at + 3 < row_bytes { at + 3 } else { at });
            ((down[left] + 2 * down[at] + down[right] + 8) / 16) as u8
        }));
    }
    soft
}

/// A few steps of brightness, and a little of it in each colour alone.
fn noisy(pixels: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut noisy = Vec::with_capacity(pixels.len());
    for pixel in pixels.as_chunks::<3>().0 {
        let drawn = chance.next();
        let light = (drawn & 7) as i32 + (drawn >> 3 & 7) as i32 - 7;
        for (channel, shift) in pixel.iter().zip([6, 9, 12]) {
            let own = (drawn >> shift & 3) as i32 - (drawn >> (shift + 9) & 3) as i32;
            noisy.push((i32::from(*channel) + (light + own) / 2).clamp(0, 255) as u8);
        }
    }
    noisy
}
