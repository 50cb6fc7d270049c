//! PNG in and out, row by row unless interlaced: headers, rare kinds and all writing by the `png` crate, rows of ordinary files by [`png_rows`]. 16 bits become 8 by rounding, palettes and grey become colour.
//!
//! Of what a file says of its colours the first counts that can be used: cICP, iCCP, sRGB, gAMA and cHRM (third edition, 4.3).
//!
//! Checksums are verified, of the pixels too, and the file must reach its IEND: a cut file is refused.

mod deep;
mod idat;
mod moving;
mod ordinary;
mod palette;

pub(crate) use deep::{channels as deep_channels, decode as decode_deep, encode as encode_deep, is_deep};
pub(super) use moving::{Frames, frames_bytes};

use super::{
    DECODE, ENCODE, Opened, Rows, disagreement,
    icc::{self, Said, ToSrgb},
    picture,
};
use crate::{
    error::{Error, ErrorKind},
    limits::Limits,
    metadata::Written,
    pixels::{Layout, Pixels, Shape, SourcePlane},
    probe::{Format, Probe},
    watch::{Watch, band_rows},
};
use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Encoder, Reader, Transformations};
use std::borrow::Cow;
use std::io::{Cursor, ErrorKind as IoErrorKind};

/// What a packed profile of so many bytes may unpack to: real ones hardly shrink to half, small ones to a third. Texts are not read at all.
pub(super) fn unpacked_bytes(probe: &Probe) -> u64 {
    const SMALL: u64 = icc::SMALL_BYTES as u64;
    match probe.profile_bytes {
        0 => 0,
        small if small <= SMALL / 5 => SMALL,
        large => (8 * large).min(icc::MAX_PROFILE_BYTES as u64),
    }
}

/// What is read of other metadata: blocks of Exif.
const OTHER_METADATA_BYTES: u64 = 1 << 20;

/// What a file says beside pixels and colours.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    /// The eXIf chunk.
    pub(crate) exif: Option<Vec<u8>>,
    /// The text `XML:com.adobe.xmp`.
    pub(crate) xmp: Option<String>,
    /// Blocks that ImageMagick writes as hexadecimal texts, `Raw profile type …`.
    pub(crate) raw_exif: Option<Vec<u8>>,
    pub(crate) raw_iptc: Option<Vec<u8>>,
}

/// Reads what stands before the pixels, no more than `most_bytes` of it in all.
pub(crate) fn texts(source: &[u8], most_bytes: usize) -> Texts {
    let mut options = DecodeOptions::default();
    options.set_ignore_iccp_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(source), options);
    decoder.set_limits(png::Limits { bytes: most_bytes + row_bytes(source) });
    let Ok(reader) = decoder.read_info() else { return Texts::default() };
    let info = reader.info();
    let mut texts = Texts { exif: info.exif_metadata.as_deref().map(<[u8]>::to_vec), ..Texts::default() };
    for chunk in &info.utf8_text {
        if chunk.keyword == "XML:com.adobe.xmp" && texts.xmp.is_none() {
            let mut chunk = chunk.clone();
            texts.xmp = chunk.decompress_text_with_limit(most_bytes).is_ok().then(|| chunk.get_text().ok()).flatten();
        }
    }
    let packed = info.compressed_latin1_text.iter().filter(|chunk| is_raw(&chunk.keyword)).filter_map(|chunk| {
        let mut chunk = chunk.clone();
        chunk.decompress_text_with_limit(most_bytes).ok()?;
        Some((chunk.keyword.clone(), chunk.get_text().ok()?))
    });
    let plain = info
        .uncompressed_latin1_text
        .iter()
        .filter(|chunk| is_raw(&chunk.keyword))
        .map(|chunk| (chunk.keyword.clone(), chunk.text.clone()));
    for (keyword, text) in packed.chain(plain) {
        match &keyword[RAW.len()..] {
            "exif" | "APP1" => {
                texts.raw_exif =
                    texts.raw_exif.or_else(|| unpacked(&text).filter(|block| block.starts_with(b"Exif") || !keyword.ends_with("APP1")))
            }
            "iptc" => texts.raw_iptc = texts.raw_iptc.or_else(|| unpacked(&text)),
            _ => {}
        }
    }
    texts
}

const RAW: &str = "Raw profile type ";

fn is_raw(keyword: &str) -> bool {
    keyword.starts_with(RAW)
}

/// A line with the name, one with the number of bytes, then those in hexadecimal.
fn unpacked(text: &str) -> Option<Vec<u8>> {
    let (_, after) = text.trim_start().split_once('\n')?;
    let (count, digits) = after.trim_start().split_once('\n')?;
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let bytes: Option<Vec<u8>> = digits.as_chunks::<2>().0.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes.filter(|bytes| count.trim().parse() == Ok(bytes.len()))
}

/// Bytes of the row that the library makes room for, at most: of four samples of 16 bits.
fn row_bytes(source: &[u8]) -> usize {
    source.get(16..20).map_or(0, |width| u32::from_be_bytes([width[0], width[1], width[2], width[3]]) as usize * 8)
}

/// The profile in a file's iCCP chunk.
pub(super) fn profile(probe: &Probe, source: &[u8]) -> Option<Vec<u8>> {
    let mut options = DecodeOptions::default();
    options.set_ignore_text_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(source), options);
    decoder.set_limits(png::Limits { bytes: (OTHER_METADATA_BYTES + unpacked_bytes(probe)) as usize + row_bytes(source) });
    decoder.read_info().ok()?.info().icc_profile.as_deref().map(<[u8]>::to_vec)
}

/// Rows given out at a time.
const STRIP_ROWS: u32 = 16;

/// A picture being decoded by rows.
pub(super) enum Strips<'s> {
    Ordinary(Box<ordinary::Ordinary<'s>>),
    Other(Box<Other<'s>>),
}

impl Strips<'_> {
    /// The next rows; `false` at the end, where the file was found whole.
    pub(super) fn next(&mut self, take: &mut dyn FnMut(usize, Rows<'_>)) -> Result<bool, Error> {
        match self {
            Self::Ordinary(rows) => rows.next(take),
            Self::Other(rows) => rows.next(take),
        }
    }
}

/// Rows by the library.
pub(in crate::codec) struct Other<'s> {
    reader: Reader<Cursor<&'s [u8]>>,
    samples: Samples,
    rows: Vec<u8>,
    /// A row of 16-bit samples while it becomes 8.
    eight: Vec<u8>,
    stride: usize,
    height_px: u32,
    next_row: u32,
}

/// How the library's rows lie.
#[derive(Clone, Copy)]
struct Samples {
    colour: ColorType,
    depth: BitDepth,
}

/// The library, with the header read.
fn library<'s>(probe: &Probe, source: &'s [u8], limits: &Limits) -> Result<Reader<Cursor<&'s [u8]>>, Error> {
    let mut options = DecodeOptions::default();
    options.set_ignore_adler32(false);
    options.set_ignore_text_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(source), options);
    // One row of 16-bit colour, window and metadata; the picture itself lies in our buffer.
    let row_bytes = u64::from(probe.width_px) * 16;
    let allowed = (OTHER_METADATA_BYTES + unpacked_bytes(probe) + row_bytes).min(limits.max_memory_bytes);
    decoder.set_limits(png::Limits { bytes: usize::try_from(allowed).unwrap_or(usize::MAX) });
    decoder.set_transformations(Transformations::EXPAND);
    let reader = decoder.read_info().map_err(refused)?;
    if (reader.info().width, reader.info().height) != (probe.width_px, probe.height_px) {
        return Err(disagreement(Format::Png));
    }
    Ok(reader)
}

/// Opens the default image; an interlaced one is decoded at once.
pub(super) fn open<'s>(probe: &Probe, source: &'s [u8], limits: &Limits) -> Result<Opened<'s>, Error> {
    let mut reader = library(probe, source, limits)?;
    let (colour, depth) = reader.output_color_type();
    let samples = Samples { colour, depth };
    let layout = match colour {
        ColorType::Rgb | ColorType::Grayscale => Layout::Rgb8,
        ColorType::Rgba | ColorType::GrayscaleAlpha => Layout::Rgba8,
        // EXPAND leaves no palette.
        ColorType::Indexed => return Err(Error::new(ErrorKind::Internal, DECODE, "palette was not resolved").in_format(Format::Png)),
    };
    if layout != super::decoded_layout(probe) {
        return Err(disagreement(Format::Png));
    }
    let is_grey = matches!(reader.info().color_type, ColorType::Grayscale | ColorType::GrayscaleAlpha);
    let to_srgb = if probe.needs_profile { to_srgb(probe, reader.info().icc_profile.as_deref(), is_grey) } else { None };
    if reader.info().interlaced {
        return whole(&mut reader, probe, samples, layout).map(|pixels| Opened::whole(pixels, to_srgb));
    }
    let stride = probe.width_px as usize * layout.channels();
    let rows = Vec::with_capacity(stride * STRIP_ROWS.min(probe.height_px) as usize);
    let (width_px, height_px) = (probe.width_px, probe.height_px);
    let strips = match ordinary::Ordinary::open(reader.info(), source)? {
        Some(rows) => Strips::Ordinary(Box::new(rows)),
        None => Strips::Other(Box::new(Other { reader, samples, rows, eight: Vec::new(), stride, height_px, next_row: 0 })),
    };
    let plane = SourcePlane { width_px, height_px, share: (1.0, 1.0) };
    Ok(Opened { to_srgb, planes: vec![plane], strips: super::Strips::Png(Box::new(strips)) })
}

/// The conversion that the file's colours ask for.
fn to_srgb(probe: &Probe, profile: Option<&[u8]>, is_grey: bool) -> Option<ToSrgb> {
    let by_profile = || profile.map_or(Said::Nothing, |profile| icc::read(profile, is_grey));
    let by_numbers = || probe.described.otherwise(is_grey);
    probe.described.by_code_points(is_grey).or(by_profile).or(by_numbers).conversion()
}

fn whole(reader: &mut Reader<Cursor<&[u8]>>, probe: &Probe, samples: Samples, layout: Layout) -> Result<Pixels, Error> {
    let too_large = || Error::new(ErrorKind::LimitExceeded, DECODE, "image does not fit the memory of this machine").in_format(Format::Png);
    let mut bytes = vec![0; reader.output_buffer_size().ok_or_else(too_large)?];
    let frame = reader.next_frame(&mut bytes).map_err(refused)?;
    if (frame.width, frame.height) != (probe.width_px, probe.height_px) {
        return Err(disagreement(Format::Png));
    }
    reader.finish().map_err(refused)?;
    if samples.depth == BitDepth::Sixteen {
        let mut eight = Vec::new();
        round_to_eight(&bytes, &mut eight);
        bytes = eight;
    }
    let bytes = match samples.colour {
        ColorType::Grayscale | ColorType::GrayscaleAlpha => {
            let mut spread = Vec::with_capacity(bytes.len() / samples.colour.samples() * layout.channels());
            spread_grey(samples.colour, &bytes, &mut spread);
            spread
        }
        _ => bytes,
    };
    picture(probe, layout, bytes)
}

/// Grey, or grey and alpha, to colour.
fn spread_grey(colour: ColorType, bytes: &[u8], out: &mut Vec<u8>) {
    if colour == ColorType::Grayscale {
        out.extend(bytes.iter().flat_map(|&grey| [grey; 3]));
    } else {
        out.extend(bytes.as_chunks::<2>().0.iter().flat_map(|&[grey, alpha]| [grey, grey, grey, alpha]));
    }
}

impl Other<'_> {
    fn next(&mut self, take: &mut dyn FnMut(usize, Rows<'_>)) -> Result<bool, Error> {
        self.rows.clear();
        let first_row = self.next_row;
        let Samples { colour, depth } = self.samples;
        while self.next_row < self.height_px && self.next_row < first_row + STRIP_ROWS {
            let Some(row) = self.reader.next_row().map_err(refused)? else { return Err(disagreement(Format::Png)) };
            let from = self.rows.len();
            match (depth, colour) {
                (BitDepth::Sixteen, _) => {
                    round_to_eight(row.data(), &mut self.eight);
                    match colour {
                        ColorType::Grayscale | ColorType::GrayscaleAlpha => spread_grey(colour, &self.eight, &mut self.rows),
                        _ => self.rows.extend_from_slice(&self.eight),
                    }
                }
                (_, ColorType::Grayscale | ColorType::GrayscaleAlpha) => spread_grey(colour, row.data(), &mut self.rows),
                _ => self.rows.extend_from_slice(row.data()),
            }
            if self.rows.len() - from != self.stride {
                return Err(disagreement(Format::Png));
            }
            self.next_row += 1;
        }
        if self.next_row == first_row {
            self.reader.finish().map_err(refused)?;
            return Ok(false);
        }
        take(0, Rows { bytes: &self.rows, stride: self.stride, first_row });
        Ok(true)
    }
}

/// Bytes the decoder holds beside the source: rows; of an interlaced picture all of it.
pub(super) fn working_bytes(probe: &Probe) -> u64 {
    /// Inflate's window and tables, what was inflated ahead of a row, profiles.
    const FIXED: u64 = 512 << 10;
    let Shape { width_px, height_px, layout } =
        Shape { width_px: probe.width_px, height_px: probe.height_px, layout: super::decoded_layout(probe) };
    let row = u64::from(width_px) * 8;
    let profile = icc::reading_bytes(unpacked_bytes(probe));
    let given = profile + u64::from(width_px) * layout.channels() as u64 * u64::from(STRIP_ROWS.min(height_px));
    if !probe.progressive {
        // One or the other reads the rows.
        return (FIXED + row * 6).max(ordinary::held_bytes(probe)) + given;
    }
    // As the library gives it, then spread where that is grey.
    let keyed = u64::from(probe.has_alpha && probe.channels % 2 == 1);
    let whole = match (probe.bits, probe.channels) {
        (16, channels) => (u64::from(channels) + keyed) * 2,
        _ if probe.channels <= 2 => u64::from(probe.channels) + keyed,
        _ => 0,
    };
    FIXED + row * 6 + given + probe.pixels() * (whole + layout.channels() as u64)
}

/// Big-endian 16-bit samples to 8 bits, all that `eight` holds then: `round(v * 255 / 65535)`.
fn round_to_eight(bytes: &[u8], eight: &mut Vec<u8>) {
    eight.clear();
    // 32895 = 128 * 257 - 1: for each of the 65536 values the division's own result.
    eight.extend(bytes.as_chunks::<2>().0.iter().map(|sample| ((u32::from(u16::from_be_bytes(*sample)) * 255 + 32895) >> 16) as u8));
}

fn refused(error: DecodingError) -> Error {
    let (kind, text) = match &error {
        DecodingError::IoError(io) if io.kind() == IoErrorKind::UnexpectedEof => (ErrorKind::Truncated, "png ends before its picture does"),
        DecodingError::IoError(_) | DecodingError::Parameter(_) => (ErrorKind::Internal, "png could not be read"),
        DecodingError::Format(_) => (ErrorKind::Malformed, "png is broken"),
        DecodingError::LimitsExceeded => (ErrorKind::LimitExceeded, "png wants more memory than is allowed"),
    };
    Error::new(kind, DECODE, text).in_format(Format::Png).caused_by(error)
}

/// zlib's level for drawn pictures.
const DRAWN_LEVEL: u8 = 5;

/// With a palette of `colors`, where that is asked for, else 8-bit grey, RGB or RGBA. Photos by the crate's fast deflate, which for them is smaller than zlib's at a fraction of the time; drawn
/// pictures, whose repeats it does not look for, by zlib's. Filters are chosen row by row for both.
pub(super) fn encode(pixels: &Pixels, colors: Option<u16>, dither: u8, written: &Written, watch: Watch<'_>) -> Result<Vec<u8>, Error> {
    match colors {
        None => write(pixels, is_drawn(pixels, watch)?, written, watch),
        // Planes are refused there.
        Some(_) if pixels.layout.planes() > 1 => write(pixels, false, written, watch),
        Some(most) => palette::encode(pixels, most, dither, written, watch),
    }
}

fn unwritable(error: png::EncodingError) -> Error {
    Error::new(ErrorKind::Internal, ENCODE, "png could not be written").in_format(Format::Png).caused_by(error)
}

/// A writer of a picture of these sides with blocks beside it.
fn encoder<'w>(
    (width_px, height_px): (u32, u32),
    bytes: &'w mut Vec<u8>,
    written: &'w Written,
) -> Result<Encoder<'w, &'w mut Vec<u8>>, Error> {
    let mut info = png::Info::with_size(width_px, height_px);
    info.icc_profile = written.profile.as_deref().map(Cow::Borrowed);
    info.exif_metadata = written.exif.as_deref().map(Cow::Borrowed);
    let mut encoder = Encoder::with_info(bytes, info).map_err(unwritable)?;
    if let Some(packet) = &written.xmp {
        encoder.add_itxt_chunk("XML:com.adobe.xmp".to_owned(), packet.clone()).map_err(unwritable)?;
    }
    Ok(encoder)
}

fn write(pixels: &Pixels, as_drawn: bool, written: &Written, watch: Watch<'_>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut encoder = encoder((pixels.width_px, pixels.height_px), &mut bytes, written)?;
    encoder.set_color(match pixels.layout {
        Layout::Rgb8 => ColorType::Rgb,
        Layout::Rgba8 => ColorType::Rgba,
        Layout::Grey8 => ColorType::Grayscale,
        Layout::Ycc444 | Layout::Ycc420 => {
            return Err(Error::new(ErrorKind::Internal, ENCODE, "png is not written from planes").in_format(Format::Png));
        }
    });
    encoder.set_depth(BitDepth::Eight);
    let pixel_bytes = pixels.layout.channels();
    let rows = idat::Rows { bytes: &pixels.bytes, row_bytes: pixels.stride(), pixel_bytes, filtered: true };
    finish(encoder, &rows.pack(as_drawn.then_some(DRAWN_LEVEL), watch)?)?;
    Ok(bytes)
}

/// Writes what stands before and behind the pixels, and them.
fn finish(encoder: Encoder<'_, &mut Vec<u8>>, packed: &[u8]) -> Result<(), Error> {
    let write = || {
        let mut writer = encoder.write_header()?;
        for part in packed.chunks(idat::MOST_CHUNK_BYTES) {
            writer.write_chunk(png::chunk::IDAT, part)?;
        }
        writer.finish()
    };
    write().map_err(unwritable)
}

/// Whether at least a third of the pixels are the same as their left neighbour: an eighth at most are in photos that fill their frame, two
/// fifths and more in charts, pages and flat shapes.
fn is_drawn(pixels: &Pixels, watch: Watch<'_>) -> Result<bool, Error> {
    fn same<const C: usize>(rows: &[u8], stride: usize) -> usize {
        let rows = rows.chunks_exact(stride);
        rows.map(|row| row.as_chunks::<C>().0.windows(2).filter(|pair| pair[0] == pair[1]).count()).sum()
    }
    let (stride, mut all) = (pixels.stride(), 0);
    for rows in pixels.bytes.chunks(stride * band_rows(stride)) {
        watch.check(ENCODE)?;
        all += match pixels.layout {
            Layout::Rgba8 => same::<4>(rows, stride),
            Layout::Rgb8 => same::<3>(rows, stride),
            Layout::Grey8 | Layout::Ycc444 | Layout::Ycc420 => same::<1>(rows, stride),
        };
    }
    Ok(3 * all as u64 >= pixels.shape().pixels())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_drawn(pixels: &Pixels) -> bool {
        super::is_drawn(pixels, Watch::NEVER).unwrap()
    }

    use crate::stage::samples::{noise, picture};

    #[test]
    fn drawn_pictures_are_told_from_photos_and_packed_tighter() {
        for layout in [Layout::Grey8, Layout::Rgb8, Layout::Rgba8] {
            assert!(!is_drawn(&noise(64, 64, layout, 1)), "{layout:?}");
            let drawn = picture(300, 200, layout, |x, y, channel| {
                if channel == 3 {
                    255
                } else if (x / 30 + y / 20) % 2 == 0 {
                    250
                } else {
                    20
                }
            });
            assert!(is_drawn(&drawn), "{layout:?}");
            let (tight, fast) = (
                encode(&drawn, None, 0, &Written::default(), Watch::NEVER).unwrap().len(),
                write(&drawn, false, &Written::default(), Watch::NEVER).unwrap().len(),
            );
            assert!(2 * tight < fast, "{layout:?}: {tight}, fast {fast}");
        }
    }

    #[test]
    fn grey_reads_back_as_it_was() {
        for drawn in [false, true] {
            let grey = picture(50, 40, Layout::Grey8, |x, y, _| if drawn { u8::from(x > y) * 200 } else { (x * 5 + y * y) as u8 });
            assert_eq!(is_drawn(&grey), drawn);
            let read = image::load_from_memory(&encode(&grey, None, 0, &Written::default(), Watch::NEVER).unwrap()).unwrap();
            assert_eq!((read.color(), read.into_luma8().into_raw()), (image::ColorType::L8, grey.bytes));
        }
    }

    #[test]
    fn sixteen_bits_round_to_the_nearest_of_eight() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_be_bytes).collect();
        let mut eight = Vec::new();
        round_to_eight(&bytes, &mut eight);
        for (sample, &byte) in eight.iter().enumerate() {
            assert_eq!(byte, (sample as f64 * 255.0 / 65535.0).round() as u8, "{sample}");
        }
    }
}
