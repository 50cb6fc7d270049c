//! BlurHash: some cosine components of a picture's light as short text. After the algorithm's published description
//! (github.com/woltapp/blurhash, Algorithm.md). Knows no transparency: that is white.

use super::cosines;
use crate::stage::mix;

const DIGITS: &[u8; 83] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~";

/// The hash of rows of pixels (red, green, blue, alpha): 28 characters.
pub(super) fn blurhash(pixels: &[[u8; 4]], width: usize, height: usize) -> String {
    let (across, down) = if width >= height { (4, 3) } else { (3, 4) };
    let light: Vec<f64> = (0..=255).map(|value| linear(f64::from(value) / 255.0)).collect();
    let channel = |index: usize| {
        let plane: Vec<f64> = pixels.iter().map(|pixel| light[usize::from(mix(pixel[index], 255, pixel[3]))]).collect();
        cosines::means(&plane, width, (across, down), 0.0)
    };
    let [red, green, blue] = [0, 1, 2].map(channel);
    // Every component but the mean counts twice.
    let of = |at: usize| [red[at], green[at], blue[at]].map(|value| if at == 0 { value } else { 2.0 * value });
    let most = (1..across * down).flat_map(of).fold(0.0, |most: f64, value| most.max(value.abs()));
    let most_step = (most * 166.0 - 0.5).floor().clamp(0.0, 82.0);
    let scale = (most_step + 1.0) / 166.0;
    let mut text = String::with_capacity(28);
    digits(&mut text, (across - 1 + (down - 1) * 9) as u32, 1);
    digits(&mut text, most_step as u32, 1);
    digits(&mut text, of(0).iter().fold(0, |all, &value| all << 8 | (encoded(value) * 255.0 + 0.5) as u32), 4);
    for at in 1..across * down {
        let step = |value: f64| ((value / scale).abs().sqrt().copysign(value) * 9.0 + 9.5).floor().clamp(0.0, 18.0) as u32;
        digits(&mut text, of(at).iter().fold(0, |all, &value| all * 19 + step(value)), 2);
    }
    text
}

/// `value` in base 83, the highest of `count` digits first.
fn digits(text: &mut String, value: u32, count: u32) {
    for place in (0..count).rev() {
        text.push(char::from(DIGITS[(value / 83_u32.pow(place) % 83) as usize]));
    }
}

/// IEC 61966-2-1, 0 to 1.
fn linear(value: f64) -> f64 {
    if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

/// Its inverse, of what is held to 0 to 1.
fn encoded(value: f64) -> f64 {
    let value = value.clamp(0.0, 1.0);
    if value <= 0.003_130_8 { value * 12.92 } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pixels::Layout, stage::samples::noise};

    fn hash_of_noise(width: u32, height: u32, seed: u64) -> String {
        let pixels = noise(width, height, Layout::Rgb8, seed);
        let pixels: Vec<[u8; 4]> = pixels.bytes.as_chunks::<3>().0.iter().map(|&[r, g, b]| [r, g, b, 255]).collect();
        blurhash(&pixels, width as usize, height as usize)
    }

    fn number(text: &str) -> u32 {
        text.bytes().fold(0, |all, digit| all * 83 + DIGITS.iter().position(|known| *known == digit).unwrap() as u32)
    }

    #[test]
    fn components_are_those_of_another_implementation() {
        // As `blurhash` 0.2.3 of crates.io gives them; its mean colour is rounded upwards.
        for (width, height, seed, want) in [
            (12, 9, 1, "LHH_M*?wRU?J-@o#s6B~xZbnq]tP"),
            (9, 12, 2, "TMGvFc%qiJ%{c6NbR}ngMy}]#7TQ"),
            (20, 20, 3, "L8HenF?Gvy.l%1tv,;ECXHtjcAyk"),
        ] {
            let got = hash_of_noise(width, height, seed);
            assert_eq!((&got[..2], &got[6..]), (&want[..2], &want[6..]));
            let [got, want] = [got, want.to_owned()].map(|text| number(&text[2..6]).to_be_bytes());
            assert!(got.iter().zip(want).all(|(got, want)| got.abs_diff(want) <= 1), "{got:?} {want:?}");
        }
    }

    #[test]
    fn a_mean_is_the_colour_itself_and_white_under_what_is_clear() {
        for colour in [[200, 10, 30], [0, 0, 0], [255, 255, 255], [1, 2, 3]] {
            let [r, g, b] = colour;
            let hash = blurhash(&[[r, g, b, 255]; 12], 4, 3);
            assert_eq!(number(&hash[2..6]).to_be_bytes()[1..], colour);
            let clear = blurhash(&[[r, g, b, 0]; 12], 4, 3);
            assert_eq!(number(&clear[2..6]), 0xff_ffff);
        }
    }
}
