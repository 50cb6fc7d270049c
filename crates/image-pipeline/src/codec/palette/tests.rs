//! Palettes against a slow search, and against another quantiser.

use super::*;
use crate::pixels::{Layout, Pixels};
use crate::stage::samples::{noise, picture};
use proptest::prelude::*;

fn colours_of(pixels: &Pixels) -> Vec<[u8; 4]> {
    match pixels.layout {
        Layout::Rgba8 => pixels.bytes.as_chunks::<4>().0.to_vec(),
        _ => pixels.bytes.as_chunks::<3>().0.iter().map(|&[r, g, b]| [r, g, b, 255]).collect(),
    }
}

fn palette_of(colours: &[[u8; 4]], most: usize) -> Palette {
    let mut counts = Counts::new(colours.len() as u64, colours.iter().all(|colour| colour[3] == 255));
    colours.iter().for_each(|&colour| counts.add(colour));
    counts.palette(most)
}

/// Mean squared distance of colours from what they become without spreading.
fn error(palette: &mut Palette, colours: &[[u8; 4]]) -> f64 {
    let sum: u64 = colours
        .iter()
        .map(|&colour| {
            let index = palette.nearest(weighted(colour));
            palette.distance(index, weighted(colour))
        })
        .sum();
    sum as f64 / colours.len() as f64
}

#[test]
fn weighting_keeps_what_can_be_seen() {
    for alpha in 1..=255_u8 {
        for value in 0..=255_u8 {
            let [back, .., kept] = straight(weighted([value, 0, 0, alpha]));
            assert_eq!(kept, alpha);
            assert!(u32::from(back.abs_diff(value)) * u32::from(alpha) <= 255, "{value} at {alpha}: {back}");
        }
    }
    assert_eq!(straight(weighted([9, 9, 9, 0])), [0; 4]);
}

#[test]
fn exact_colours_keep_their_order_up_to_the_bound() {
    let mut exact = Exact::new(3);
    let seen: Vec<_> =
        [[0, 0, 0, 1], [1, 1, 1, 255], [9, 9, 9, 0], [5, 5, 5, 0], [1, 1, 1, 255]].map(|colour| exact.index(colour)).to_vec();
    assert_eq!(seen, [Some(0), Some(1), Some(2), Some(2), Some(1)]);
    assert_eq!(exact.index([7, 7, 7, 255]), None);
    assert_eq!(exact.palette().colours().collect::<Vec<_>>(), [[0, 0, 0, 1], [1, 1, 1, 255], [0; 4]]);
    let mut all = Exact::new(256);
    for value in 0..=255_u8 {
        assert_eq!(all.index([value, value / 2, 7, 255]), Some(value));
    }
    assert_eq!((all.index([0, 0, 8, 255]), all.index([128, 64, 7, 255])), (None, Some(128)));
}

#[test]
fn few_colours_stay_as_they_are() {
    let wanted = [[0, 0, 0, 255], [255, 255, 255, 255], [200, 30, 60, 255], [10, 200, 60, 255]];
    let colours: Vec<_> = (0..4000).map(|at| wanted[at * at % 4]).chain(wanted).collect();
    let palette = palette_of(&colours, 16);
    let mut found: Vec<_> = palette.colours().collect();
    found.sort_unstable();
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}

/// As good as Wu's cut in Oklab by an independent quantiser, measured by the eye's weights that ours is not made for.
#[test]
fn no_worse_than_another_quantiser() {
    let pictures = [
        picture(160, 120, Layout::Rgb8, |x, y, channel| [(x + y / 2) as u8, (y * 2) as u8, (255 - x) as u8][channel]),
        noise(120, 90, Layout::Rgb8, 3),
        picture(160, 120, Layout::Rgb8, |x, y, channel| ((x * x + y * (channel as u32 + 1)) / 97 * 11 % 251) as u8),
    ];
    for (which, pixels) in pictures.iter().enumerate() {
        let colours = colours_of(pixels);
        for most in [8, 64, 256_u16] {
            let ours = error(&mut palette_of(&colours, usize::from(most)), &colours);
            let srgb: Vec<quantette::deps::palette::Srgb<u8>> =
                colours.iter().map(|&[r, g, b, _]| quantette::deps::palette::Srgb::new(r, g, b)).collect();
            let other =
                quantette::Pipeline::new().palette_size(most.try_into().unwrap()).input_slice(&srgb).unwrap().output_srgb8_palette();
            let other: Vec<[u8; 4]> = other.into_vec().iter().map(|colour| [colour.red, colour.green, colour.blue, 255]).collect();
            let other = error(&mut Palette::of(other), &colours);
            println!("picture {which}, {most} colours: {ours:.1}, another quantiser's {other:.1}");
            assert!(ours <= other * 1.05 + 2.0, "picture {which}, {most} colours: {ours}, another quantiser's {other}");
        }
    }
}

#[test]
fn spreading_keeps_the_mean() {
    let mut palette = Palette::of(vec![[0, 0, 0, 255], [255; 4]]);
    for level in [0, 1, 40, 128, 200, 255_u8] {
        let mut spread = Spread::new(64, 255);
        let mut indices = vec![0; 64];
        let mut lit = 0_u32;
        for _ in 0..64 {
            spread.row(&mut palette, &mut indices, |_| Some([level, level, level, 255]));
            lit += indices.iter().map(|&index| u32::from(index)).sum::<u32>();
        }
        let found = f64::from(lit) * 255.0 / 4096.0;
        assert!((found - f64::from(level)).abs() < 4.0, "{level}: {found}");
    }
}

#[test]
fn without_spreading_each_becomes_its_nearest_and_gaps_stay() {
    let mut palette = Palette::of(vec![[0, 0, 0, 255], [255; 4]]);
    let mut indices = vec![7; 4];
    Spread::new(4, 0).row(&mut palette, &mut indices, |x| (x != 2).then_some([100 + 30 * x as u8, 110, 110, 255]));
    assert_eq!(indices, [0, 0, 7, 1]);
}

proptest! {
    #[test]
    fn the_nearest_is_the_nearest(colours in proptest::collection::vec(any::<[u8; 4]>(), 1..256), asked in proptest::collection::vec(any::<[u8; 4]>(), 1..300)) {
        let colours: Vec<_> = colours.into_iter().map(weighted).collect();
        let mut palette = Palette::of(colours.clone());
        for colour in asked {
            // As coarse as it is asked.
            let coarse = colour.map(|value| (value & 0xfc) | value >> 6);
            let found = palette.nearest(colour);
            let least = (0..colours.len()).map(|index| palette.distance(index as u8, coarse)).min();
            prop_assert_eq!(Some(palette.distance(found, coarse)), least);
        }
    }

    #[test]
    fn any_colours_make_a_palette(colours in proptest::collection::vec(any::<[u8; 4]>(), 0..600), most in 1_usize..=256) {
        let mut palette = palette_of(&colours, most);
        prop_assert!((1..=most).contains(&palette.len()));
        for colour in colours {
            prop_assert!(usize::from(palette.nearest(weighted(colour))) < palette.len());
        }
    }
}
