//! ThumbHash: a picture's cosine components in few bits, with its sides' ratio and its alpha. After the published description and its
//! reference (evanw.github.io/thumbhash).

use super::cosines;

/// The hash of rows of pixels (red, green, blue, alpha), not all sides longer than 100: 5 to 25 bytes.
pub(super) fn thumbhash(pixels: &[[u8; 4]], width: usize, height: usize) -> Vec<u8> {
    let share = |value: u8| f64::from(value) / 255.0;
    let opacity: f64 = pixels.iter().map(|pixel| share(pixel[3])).sum();
    let mean = [0, 1, 2].map(|index| {
        let sum: f64 = pixels.iter().map(|pixel| share(pixel[index]) * share(pixel[3])).sum();
        if opacity > 0.0 { sum / opacity } else { 0.0 }
    });
    let has_alpha = pixels.iter().any(|pixel| pixel[3] < 255);
    // Over the mean colour, lightness and two differences of colours.
    let mut planes = [const { Vec::new() }; 4];
    for pixel in pixels {
        let alpha = share(pixel[3]);
        let [r, g, b] = [0, 1, 2].map(|index| mean[index] * (1.0 - alpha) + share(pixel[index]) * alpha);
        for (plane, value) in planes.iter_mut().zip([(r + g + b) / 3.0, (r + g) / 2.0 - b, r - g, alpha]) {
            plane.push(value);
        }
    }
    let longest = width.max(height) as f64;
    let most = if has_alpha { 5.0 } else { 7.0 };
    let count = |side: usize| ((most * side as f64 / longest).round() as usize).max(1);
    let (across, down) = (count(width), count(height));
    let light = Channel::of(&planes[0], width, (across.max(3), down.max(3)));
    let warm = Channel::of(&planes[1], width, (3, 3));
    let red = Channel::of(&planes[2], width, (3, 3));
    let alpha = has_alpha.then(|| Channel::of(&planes[3], width, (5, 5)));

    let bits = |value: f64, most: f64| (value * most).round().clamp(0.0, most) as u32;
    let signed = |value: f64| (31.5 + 31.5 * value).round().clamp(0.0, 63.0) as u32;
    let is_landscape = width > height;
    let head = bits(light.mean, 63.0)
        | signed(warm.mean) << 6
        | signed(red.mean) << 12
        | bits(light.scale, 31.0) << 18
        | u32::from(has_alpha) << 23;
    let tail = (if is_landscape { down } else { across }) as u32
        | bits(warm.scale, 63.0) << 3
        | bits(red.scale, 63.0) << 9
        | u32::from(is_landscape) << 15;
    let mut hash = head.to_le_bytes()[..3].to_vec();
    hash.extend(&tail.to_le_bytes()[..2]);
    if let Some(alpha) = &alpha {
        hash.push((bits(alpha.mean, 15.0) | bits(alpha.scale, 15.0) << 4) as u8);
    }
    let all: Vec<u8> =
        [Some(&light), Some(&warm), Some(&red), alpha.as_ref()].into_iter().flatten().flat_map(|channel| channel.steps()).collect();
    hash.extend(all.chunks(2).map(|pair| pair[0] | pair.get(1).copied().unwrap_or(0) << 4));
    hash
}

/// The components of a plane whose frequencies lie below a diagonal.
struct Channel {
    mean: f64,
    /// Without the mean.
    others: Vec<f64>,
    scale: f64,
}

impl Channel {
    fn of(plane: &[f64], width: usize, (across, down): (usize, usize)) -> Self {
        let means = cosines::means(plane, width, (across, down), 0.5);
        let below = |&(cy, cx): &(usize, usize)| cx * down < across * (down - cy);
        let places = (0..down).flat_map(|cy| (0..across).map(move |cx| (cy, cx)));
        let kept: Vec<f64> = places.filter(below).map(|(cy, cx)| means[cy * across + cx]).collect();
        let others = kept[1..].to_vec();
        let scale = others.iter().fold(0.0, |scale: f64, value| scale.max(value.abs()));
        // What is left of sums that cancel out is no component.
        let scale = if scale < 1e-9 { 0.0 } else { scale };
        Self { mean: kept[0], others, scale }
    }

    /// The components in 4 bits each.
    fn steps(&self) -> impl Iterator<Item = u8> {
        let step = |value: f64| if self.scale > 0.0 { (15.0 * (0.5 + 0.5 / self.scale * value)).round() } else { 0.0 };
        self.others.iter().map(move |&value| step(value).clamp(0.0, 15.0) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pixels::Layout, stage::samples::noise};

    #[test]
    fn hashes_are_those_of_the_reference() {
        // As `thumbhash` 0.1.0 of crates.io, by the author of the format, gives them.
        let clear: [(u32, u32, u64, &[u8]); 2] = [
            (12, 9, 1, &[159, 7, 130, 20, 132, 8, 91, 117, 215, 43, 159, 85, 182, 175, 149, 251, 121, 118, 135, 6, 55, 36, 180, 107, 6]),
            (9, 12, 2, &[96, 24, 130, 12, 2, 7, 17, 180, 104, 183, 134, 191, 109, 159, 236, 146, 20, 159, 152, 156, 122, 86, 212, 177, 0]),
        ];
        for (width, height, seed, want) in clear {
            let pixels = noise(width, height, Layout::Rgba8, seed);
            assert_eq!(thumbhash(pixels.bytes.as_chunks().0, width as usize, height as usize), want);
        }
        let opaque: [(u32, u32, u64, &[u8]); 3] = [
            (12, 9, 1, &[159, 39, 2, 13, 130, 109, 125, 150, 166, 85, 198, 109, 210, 250, 109, 159, 0, 128, 8, 9, 100]),
            (9, 12, 2, &[222, 231, 5, 21, 4, 52, 148, 121, 134, 90, 70, 218, 101, 146, 5, 53, 159, 174, 78, 15, 180]),
            (20, 20, 3, &[31, 8, 2, 15, 2, 100, 92, 239, 130, 74, 107, 212, 217, 219, 186, 81, 73, 40, 120, 175, 238, 254, 56, 6]),
        ];
        for (width, height, seed, want) in opaque {
            let pixels = noise(width, height, Layout::Rgb8, seed);
            let pixels: Vec<[u8; 4]> = pixels.bytes.as_chunks::<3>().0.iter().map(|&[r, g, b]| [r, g, b, 255]).collect();
            assert_eq!(thumbhash(&pixels, width as usize, height as usize), want);
        }
    }

    #[test]
    fn a_flat_picture_has_no_components_and_a_clear_one_no_opacity() {
        let flat = thumbhash(&[[200, 10, 30, 255]; 48 * 36], 48, 36);
        assert!(flat[5..].iter().all(|byte| *byte == 0), "{flat:?}");
        let clear = thumbhash(&[[200, 10, 30, 0]; 9], 3, 3);
        assert_eq!((clear[2] >> 7, clear[5]), (1, 0));
    }
}
