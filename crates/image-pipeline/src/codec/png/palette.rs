//! PNG with a palette: 1, 2, 4 or 8 bits a pixel, whichever holds the colours; grey where that is what they are. Exact where the picture has
//! no more colours than allowed.

use super::{DRAWN_LEVEL, ENCODE, encoder, finish, idat};
use crate::codec::palette::{Counts, Exact, Palette, Spread, weighted};
use crate::error::Error;
use crate::metadata::Written;
use crate::pixels::{Layout, Pixels};
use crate::watch::{Watch, band_rows};
use png::{BitDepth, ColorType};

/// Most colours that are packed tighter as a palette than as grey of 8 bits.
const FEW: usize = 16;

/// The straight colours of a row.
fn row(pixels: &Pixels, y: usize) -> impl Iterator<Item = [u8; 4]> + '_ {
    let stride = pixels.stride();
    let (channels, row) = (pixels.layout.channels(), &pixels.bytes[y * stride..(y + 1) * stride]);
    row.chunks_exact(channels).map(|pixel| match *pixel {
        [r, g, b, alpha] => [r, g, b, alpha],
        [r, g, b] => [r, g, b, 255],
        _ => [pixel[0], pixel[0], pixel[0], 255],
    })
}

/// Writes `pixels` with `most` colours, 2 to 256; `dither`, of 255, is how much of an error is passed on.
pub(super) fn encode(pixels: &Pixels, most: u16, dither: u8, written: &Written, watch: Watch<'_>) -> Result<Vec<u8>, Error> {
    let (width, height) = (pixels.width_px as usize, pixels.height_px as usize);
    let rows_a_look = band_rows(pixels.stride());
    let look = |y: usize| if y.is_multiple_of(rows_a_look) { watch.check(ENCODE) } else { Ok(()) };
    // Whether all are so; those behind the first that is not are not looked at.
    let all = |is: &mut dyn FnMut([u8; 4]) -> bool| -> Result<bool, Error> {
        for y in 0..height {
            look(y)?;
            if !row(pixels, y).all(&mut *is) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let most = usize::from(most).clamp(2, 256);
    let mut exact = Exact::new(most);
    let is_exact = all(&mut |colour| exact.index(colour).is_some())?;
    let palette = if is_exact {
        exact.palette()
    } else {
        let is_opaque = pixels.layout != Layout::Rgba8 || all(&mut |colour| colour[3] == 255)?;
        let mut counts = Counts::new(pixels.shape().pixels(), is_opaque);
        for y in 0..height {
            look(y)?;
            row(pixels, y).for_each(|colour| counts.add(colour));
        }
        counts.palette(most)
    };
    let mut palette = palette.with_transparent_first();
    let colours: Vec<[u8; 4]> = palette.colours().collect();
    let is_grey = colours.len() > FEW && colours.iter().all(|&[r, g, b, alpha]| r == g && g == b && alpha == 255);
    let bits = match colours.len() {
        0..=2 => 1,
        3..=4 => 2,
        5..=16 => 4,
        _ => 8,
    };
    let mut packed = Vec::with_capacity((width * bits).div_ceil(8) * height);
    let (mut indices, mut wanted) = (vec![0; width], Vec::with_capacity(width));
    let mut spread = Spread::new(width, if is_exact { 0 } else { dither });
    for y in 0..height {
        look(y)?;
        wanted.clear();
        wanted.extend(row(pixels, y).map(|colour| if colour[3] == 0 { [0; 4] } else { weighted(colour) }));
        spread.row(&mut palette, &mut indices, |x| Some(wanted[x]));
        if is_grey {
            packed.extend(indices.iter().map(|&index| colours[usize::from(index)][0]));
        } else {
            packed.extend(indices.chunks(8 / bits).map(|some| {
                let byte = some.iter().fold(0_u16, |byte, &index| byte << bits | u16::from(index));
                (byte << (8 - bits * some.len())) as u8
            }));
        }
    }
    let row_bytes = (width * bits).div_ceil(8);
    // Neighbouring indices are no neighbouring colours.
    let rows = idat::Rows { bytes: &packed, row_bytes, pixel_bytes: 1, filtered: is_grey };
    let packed = rows.pack(Some(DRAWN_LEVEL), watch)?;
    write(pixels, &palette, &packed, bits, is_grey, written)
}

fn write(pixels: &Pixels, palette: &Palette, packed: &[u8], bits: usize, is_grey: bool, written: &Written) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut encoder = encoder((pixels.width_px, pixels.height_px), &mut bytes, written)?;
    encoder.set_depth(match bits {
        1 => BitDepth::One,
        2 => BitDepth::Two,
        4 => BitDepth::Four,
        _ => BitDepth::Eight,
    });
    if is_grey {
        encoder.set_color(ColorType::Grayscale);
    } else {
        encoder.set_color(ColorType::Indexed);
        encoder.set_palette(palette.colours().flat_map(|[r, g, b, _]| [r, g, b]).collect::<Vec<_>>());
        // Opaque colours stand behind those that are not.
        let alphas: Vec<u8> = palette.colours().map(|colour| colour[3]).take_while(|&alpha| alpha < 255).collect();
        if !alphas.is_empty() {
            encoder.set_trns(alphas);
        }
    }
    finish(encoder, packed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::samples::{noise, picture};

    fn kind(file: &[u8]) -> (ColorType, u8) {
        let reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        (reader.info().color_type, reader.info().bit_depth as u8)
    }

    #[test]
    fn few_colours_are_exact_and_packed_as_tight_as_they_can_be() {
        for (colours, bits) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (256, 8)] {
            for layout in [Layout::Rgb8, Layout::Rgba8] {
                let drawn = picture(37, 29, layout, |x, y, channel| {
                    let colour = (x + y * 37) * 7 % colours;
                    if channel == 3 { if colour == 0 { 90 } else { 255 } } else { (colour * (channel as u32 + 1)) as u8 }
                });
                let file = encode(&drawn, 256, 255, &Written::default(), Watch::NEVER).unwrap();
                assert_eq!(kind(&file), (ColorType::Indexed, bits), "{colours} {layout:?}");
                let read = image::load_from_memory(&file).unwrap();
                let read = if layout == Layout::Rgba8 { read.into_rgba8().into_raw() } else { read.into_rgb8().into_raw() };
                let far = read.iter().zip(&drawn.bytes).map(|(a, b)| a.abs_diff(*b)).max();
                // What is half transparent is kept as weighted with its alpha.
                assert!(far <= Some(if layout == Layout::Rgba8 { 2 } else { 0 }), "{colours} {layout:?}: {far:?}");
            }
        }
    }

    #[test]
    fn grey_is_written_as_grey_or_as_few() {
        let grey = picture(300, 20, Layout::Grey8, |x, _, _| x as u8);
        let file = encode(&grey, 256, 255, &Written::default(), Watch::NEVER).unwrap();
        assert_eq!(kind(&file), (ColorType::Grayscale, 8));
        assert_eq!(image::load_from_memory(&file).unwrap().into_luma8().into_raw(), grey.bytes);
        assert_eq!(kind(&encode(&grey, 4, 255, &Written::default(), Watch::NEVER).unwrap()), (ColorType::Indexed, 2));
    }

    #[test]
    fn many_colours_become_few_and_look_alike_from_afar() {
        let many = picture(160, 120, Layout::Rgb8, |x, y, channel| [x as u8, (y * 2) as u8, (200 - x) as u8][channel]);
        for (most, bound) in [(16, 9.0), (256, 2.0)] {
            let read = image::load_from_memory(&encode(&many, most, 255, &Written::default(), Watch::NEVER).unwrap()).unwrap().into_rgb8();
            let colours: std::collections::BTreeSet<_> = read.pixels().map(|pixel| pixel.0).collect();
            assert!(colours.len() <= usize::from(most), "{}", colours.len());
            let mut sum = 0.0;
            for (x, y) in (0..160).step_by(8).flat_map(|x| (0..120).step_by(8).map(move |y| (x, y))) {
                for channel in 0..3 {
                    let mean = |value: &dyn Fn(u32, u32) -> u8| -> f64 {
                        (0..64).map(|at| f64::from(value(x + at % 8, y + at / 8))).sum::<f64>() / 64.0
                    };
                    let found = mean(&|x, y| read.get_pixel(x, y).0[channel]);
                    let wanted = mean(&|x, y| many.bytes[(y as usize * 160 + x as usize) * 3 + channel]);
                    sum += (found - wanted).abs();
                }
            }
            let apart = sum / f64::from(20 * 15 * 3);
            assert!(apart < bound, "{most}: {apart}");
        }
    }

    #[test]
    fn soft_edges_keep_their_alpha() {
        let soft = picture(64, 64, Layout::Rgba8, |x, y, channel| [200, (x * 4) as u8, 30, (y * 4) as u8][channel]);
        let read = image::load_from_memory(&encode(&soft, 256, 0, &Written::default(), Watch::NEVER).unwrap()).unwrap().into_rgba8();
        let far: u32 = read.as_raw().chunks(4).zip(soft.bytes.chunks(4)).map(|(a, b)| u32::from(a[3].abs_diff(b[3]))).sum();
        assert!(far / 4096 <= 10, "{}", far / 4096);
        assert_eq!(
            encode(&noise(9, 9, Layout::Rgba8, 4), 16, 255, &Written::default(), Watch::NEVER).unwrap(),
            encode(&noise(9, 9, Layout::Rgba8, 4), 16, 255, &Written::default(), Watch::NEVER).unwrap()
        );
    }
}
