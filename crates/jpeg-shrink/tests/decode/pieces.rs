//! Input in pieces, and pictures in parts: the same rows as from one slice by one thread.

use crate::{
    agreement::{SCALES, decode},
    pictures::{self, Manner},
};
use jpeg_encoder::{ColorType, SamplingFactor};
use jpeg_shrink::{Decoder, Error, ErrorKind, Limits, Options, PushDecoder, Scale};
use std::thread;

/// What comes of `bytes` in pieces of the lengths that `lengths` gives, and the most rows that were there before the end was told.
fn pushed(bytes: &[u8], options: Options, mut length: impl FnMut() -> usize) -> Result<(Vec<u8>, usize), Error> {
    let mut decoder = PushDecoder::new(options);
    let (mut pixels, mut early) = (Vec::new(), 0);
    let mut drain = |decoder: &mut PushDecoder| -> Result<usize, Error> {
        let row_bytes = decoder.row_bytes();
        let mut rows = vec![0; 3 * row_bytes];
        let mut total = 0;
        if row_bytes == 0 {
            return Ok(0);
        }
        loop {
            let count = decoder.read_rows(&mut rows)?;
            pixels.extend_from_slice(&rows[..count * row_bytes]);
            total += count;
            if count == 0 {
                break;
            }
        }
        Ok(total)
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(length().clamp(1, rest.len()));
        rest = behind;
        decoder.push(piece)?;
        early += drain(&mut decoder)?;
    }
    decoder.finish()?;
    drain(&mut decoder)?;
    assert!(decoder.is_done());
    assert!(decoder.push(b"more").is_err());
    Ok((pixels, early))
}

/// Lengths from 1 to `most`, some of each order of magnitude.
fn lengths(most: usize) -> impl FnMut() -> usize {
    let mut state = 0x9e37_79b9_u32;
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        1 + (state as usize >> 8) % (most >> (state % 12)).max(1)
    }
}

#[test]
fn pieces_of_any_length_give_the_same_rows() {
    let mut pictures = pictures::all();
    pictures
        .retain(|(name, _)| name.contains("97x75") || name.contains("large") || name.starts_with("progressive") || name.contains("Cmyk"));
    let large = Manner { quality: 100, ..Manner::plain(SamplingFactor::F_2_2) };
    pictures.push(("several windows".to_owned(), pictures::jpeg(1200, 900, ColorType::Rgb, large)));
    assert_eq!(pictures.len(), 8 * 6 + 6 + 4 + 4 + 1);
    for (name, bytes) in pictures {
        for scale in SCALES {
            let (want, ..) = decode(&bytes, Options::new(scale));
            for most in [97, 5000, 400_000] {
                let (got, early) = pushed(&bytes, Options::new(scale), lengths(most)).unwrap();
                assert!(got == want, "{name} {scale:?} in pieces of up to {most}");
                if name == "several windows" && most < 400_000 {
                    let row_bytes = want.len() / 900usize.div_ceil(8 / scale.eighths() as usize);
                    assert!(early * row_bytes > want.len() / 2, "{name} {scale:?}: {early} rows before the end");
                }
            }
        }
    }
}

#[test]
fn what_was_cut_ends_as_it_does_in_one_slice() {
    let manner = Manner { quality: 95, ..Manner::plain(SamplingFactor::F_2_1) };
    for restart in [0, 11] {
        let bytes = pictures::jpeg(700, 500, ColorType::Rgb, Manner { restart, ..manner });
        for cut in [3, 300, 5000, bytes.len() / 2, bytes.len() - 3] {
            for scale in SCALES {
                let strict = pushed(&bytes[..cut], Options::new(scale), lengths(3000));
                assert_eq!(strict.err().map(|error| error.kind()), Some(ErrorKind::Truncated), "{cut} {scale:?}");
                let lenient = Options { lenient: true, ..Options::new(scale) };
                let want = Decoder::new(&bytes[..cut], lenient).and_then(|mut decoder| {
                    let mut pixels = vec![0; decoder.output_bytes()];
                    let rows = decoder.decode_into(&mut pixels)?.rows as usize;
                    pixels.truncate(rows * decoder.row_bytes());
                    Ok(pixels)
                });
                let got = pushed(&bytes[..cut], lenient, lengths(3000)).map(|(pixels, _)| pixels);
                assert_eq!(got, want, "{cut} {scale:?}");
            }
        }
    }
}

#[test]
fn what_is_held_is_limited() {
    let limits = Limits { max_memory_bytes: 1 << 20, ..Limits::default() };
    let options = Options { limits, ..Options::new(Scale::Eighth) };
    let manner = Manner { quality: 100, ..Manner::plain(SamplingFactor::F_1_1) };
    // Streamed: longer than the limit, and all well.
    let bytes = pictures::jpeg(1400, 1100, ColorType::Rgb, manner);
    assert!(bytes.len() > 1 << 20);
    assert!(pushed(&bytes, options, || 10_000).is_ok());
    // Held: refused as soon as it is too long.
    let bytes = pictures::jpeg(1400, 1100, ColorType::Rgb, Manner { progressive: true, ..manner });
    assert!(bytes.len() > 1 << 20);
    assert_eq!(pushed(&bytes, options, || 10_000).err().map(|error| error.kind()), Some(ErrorKind::LimitExceeded));
    // No header ever.
    let endless = [&[0xff, 0xd8][..], &[0xff; 2 << 20]].concat();
    assert_eq!(pushed(&endless, options, || 10_000).err().map(|error| error.kind()), Some(ErrorKind::LimitExceeded));
}

#[test]
fn parts_give_the_same_rows() {
    let mut split = 0;
    for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_2, SamplingFactor::F_2_1, SamplingFactor::F_1_2] {
        // 66 or 33 MCUs in a row.
        for restart in [1, 3, 7, 11, 33, 66, 132] {
            let bytes = pictures::jpeg(523, 389, ColorType::Rgb, Manner { restart, ..Manner::plain(sampling) });
            for scale in SCALES {
                let (want, ..) = decode(&bytes, Options::new(scale));
                for parts in [1, 2, 3, 8, 100] {
                    let mut got = vec![0; want.len()];
                    let decoders = Decoder::new(&bytes, Options::new(scale)).unwrap().split(parts);
                    assert!(decoders.len() <= parts);
                    split += usize::from(decoders.len() == parts && parts > 1);
                    let left = thread::scope(|scope| {
                        let mut rest = got.as_mut_slice();
                        for mut decoder in decoders {
                            let (mine, others) = rest.split_at_mut(decoder.output_bytes());
                            rest = others;
                            scope.spawn(move || decoder.decode_into(mine).unwrap());
                        }
                        rest.len()
                    });
                    assert!(left == 0 && got == want, "{sampling:?} {restart} {scale:?} in {parts}");
                }
            }
        }
    }
    assert!(split > 200, "{split} were split into as many parts as asked for");
}

#[test]
fn what_cannot_be_entered_stays_whole() {
    let plain = Manner::plain(SamplingFactor::F_2_2);
    for manner in [plain, Manner { progressive: true, restart: 4, ..plain }] {
        let bytes = pictures::jpeg(523, 389, ColorType::Rgb, manner);
        assert_eq!(Decoder::new(&bytes, Options::new(Scale::Half)).unwrap().split(4).len(), 1, "{manner:?}");
    }
    // A marker of another number than is due ends the entries, and is an error where it stands.
    let mut bytes = pictures::jpeg(523, 389, ColorType::Rgb, Manner { restart: 33, ..plain });
    let at = bytes.windows(2).rposition(|pair| pair == [0xff, 0xd2]).unwrap();
    bytes[at + 1] = 0xd5;
    let mut parts = Decoder::new(&bytes, Options::new(Scale::Half)).unwrap().split(2);
    let mut last = parts.pop().unwrap();
    let mut pixels = vec![0; last.output_bytes()];
    assert_eq!(last.decode_into(&mut pixels).err().map(|error| error.kind()), Some(ErrorKind::Malformed));
}
