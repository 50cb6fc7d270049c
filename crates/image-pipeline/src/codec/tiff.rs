//! TIFF in (the `tiff` crate): strips or tiles of one row of them at a time, whatever their samples, to 8 bits.
//!
//! The library is told that all samples are grey, so that it hands them out as they are: it reads no palettes and few other kinds, and what they
//! mean is this file's business (revision 6.0, sections 4 to 6, 16, 18, 21). It is asked for one strip or tile at a time, whose sides are
//! checked first, and its panics are caught: it is known for some. Deeper samples become 8 bits by rounding; floating point counts 0 to 1 as the
//! range, as other readers do.

use super::{
    DECODE, Opened, Rows, caught, decoded_layout, disagreement,
    icc::{self, ToSrgb},
    inks::{self, Inks},
};
use crate::{
    error::{Error, ErrorKind},
    pixels::{Layout, SourcePlane},
    probe::{Format, Parts, Probe, Tiff},
};
use std::{
    io::{self, Cursor, ErrorKind as IoErrorKind, Read, Seek, SeekFrom},
    ops::Range,
    sync::Arc,
};
use tiff::{
    TiffError, TiffUnsupportedError,
    decoder::{Decoder, Limits},
    tags::Tag,
};

/// Rows given out at a time.
const STRIP_ROWS: u32 = 16;
/// Compression 7 (TIFF Technical Note 2).
const JPEG: u16 = 7;

/// The source as the library sees it: the number that says what samples mean is another.
struct Disguised<'s> {
    source: Cursor<&'s [u8]>,
    number_at: Range<u64>,
    big_endian: bool,
}

/// "Black is zero."
const GREY: u8 = 1;

impl Read for Disguised<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let from = self.source.position();
        let read = self.source.read(bytes)?;
        for (byte, at) in bytes[..read].iter_mut().zip(from..) {
            if self.number_at.contains(&at) {
                let is_low = if self.big_endian { at + 1 == self.number_at.end } else { at == self.number_at.start };
                *byte = if is_low { GREY } else { 0 };
            }
        }
        Ok(read)
    }
}

impl Seek for Disguised<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.source.seek(to)
    }
}

/// A picture being read by rows of strips or tiles.
pub(super) struct Strips<'s> {
    source: &'s [u8],
    decoder: Decoder<Disguised<'s>>,
    tiff: Arc<Tiff>,
    layout: Layout,
    width_px: u32,
    height_px: u32,
    /// Chunks of the row of them that `band` says, plane by plane.
    chunks: Vec<Chunk>,
    band: Option<u32>,
    /// Where strips or tiles of JPEG lie.
    places: Vec<u64>,
    /// Colours by their index.
    palette: Vec<[u8; 3]>,
    /// What makes inks colours.
    inks: Option<Inks>,
    rows: Vec<u8>,
    next_row: u32,
}

#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    stride: usize,
    width_px: u32,
}

/// Bytes held for a picture like this, rows given out among them: an upper bound.
pub(super) fn held_bytes(probe: &Probe, tiff: &Tiff) -> u64 {
    /// Windows and tables of the decompressors.
    const FIXED: u64 = 512 << 10;
    /// Of each strip or tile the place and the length: as read, as values, as kept.
    const PLACE_BYTES: u64 = 88;
    let planes = if tiff.is_planar { u64::from(tiff.samples) } else { 1 };
    let in_plane = if tiff.is_planar { 1 } else { u64::from(tiff.samples) };
    let row_bytes = |width: u32| (u64::from(width) * in_plane * u64::from(tiff.bits)).div_ceil(8);
    let height = tiff.chunk_height_px.min(probe.height_px);
    let chunk = row_bytes(tiff.chunk_width_px) * u64::from(tiff.chunk_height_px);
    let band = u64::from(height) * row_bytes(probe.width_px) * planes;
    // The strip or tile as a JPEG file, and as that decodes; zune-jpeg keeps coefficients of progressive ones.
    let jpeg = if tiff.compression == JPEG { chunk * 4 + tiff.table_bytes } else { row_bytes(tiff.chunk_width_px) };
    let rows = u64::from(probe.width_px) * decoded_layout(probe).channels() as u64 * u64::from(STRIP_ROWS.min(probe.height_px));
    let profile_bytes = tiff.icc.as_ref().map_or(0, |profile| profile.len() as u64);
    let profile = if tiff.photometric == super::INKS {
        inks::reading_bytes(profile_bytes) + u64::from(probe.width_px) * 7
    } else {
        icc::reading_bytes(profile_bytes)
    };
    FIXED + profile + u64::from(tiff.chunks) * planes * PLACE_BYTES + band + jpeg + rows
}

/// Opens the first page.
pub(super) fn open<'s>(probe: &Probe, source: &'s [u8]) -> Result<Opened<'s>, Error> {
    let Parts::Tiff(tiff) = &probe.parts else { return Err(disagreement(Format::Tiff)) };
    check_kind(tiff)?;
    let disguised = Disguised { source: Cursor::new(source), number_at: tiff.photometric_at.clone(), big_endian: tiff.big_endian };
    let decoder = guarded(|| {
        let mut limits = Limits::default();
        limits.ifd_value_size = 4 << 20;
        limits.intermediate_buffer_size = source.len();
        let mut decoder = Decoder::new(disguised)?.with_limits(limits);
        let sides = decoder.dimensions()?;
        Ok((decoder, sides))
    })?;
    let (mut decoder, sides) = decoder;
    let chunk_px = guarded(|| Ok(decoder.chunk_dimensions()))?;
    let wanted = (tiff.chunk_width_px, tiff.chunk_height_px);
    let alike = chunk_px == wanted || !tiff.is_tiled && chunk_px.1 >= probe.height_px;
    if sides != (probe.width_px, probe.height_px) || !alike {
        return Err(disagreement(Format::Tiff));
    }
    let places = if tiff.compression == JPEG {
        let tag = if tiff.is_tiled { Tag::TileOffsets } else { Tag::StripOffsets };
        guarded(|| decoder.get_tag_u64_vec(tag))?
    } else {
        Vec::new()
    };
    let to_srgb = tiff.icc.as_deref().filter(|_| probe.needs_profile).and_then(ToSrgb::from_profile);
    let plane = SourcePlane { width_px: probe.width_px, height_px: probe.height_px, share: (1.0, 1.0) };
    let strips = Strips {
        source,
        decoder,
        tiff: Arc::clone(tiff),
        layout: decoded_layout(probe),
        width_px: probe.width_px,
        height_px: probe.height_px,
        chunks: Vec::new(),
        band: None,
        places,
        palette: palette(tiff),
        inks: (tiff.photometric == super::INKS).then(|| Inks::new(tiff.icc.as_deref())),
        rows: Vec::new(),
        next_row: 0,
    };
    Ok(Opened { to_srgb, planes: vec![plane], strips: super::Strips::Tiff(Box::new(strips)) })
}

/// Refuses what would be read wrongly.
fn check_kind(tiff: &Tiff) -> Result<(), Error> {
    let unread = |text: String| Err(Error::new(ErrorKind::Unsupported, DECODE, text).in_format(Format::Tiff));
    let Tiff { photometric, bits, samples, sample_format, .. } = *tiff;
    let wanted = match photometric {
        0 | 1 | 3 => 1,
        2 | 6 => 3,
        5 => 4,
        _ => return unread(format!("tiff has samples of kind {photometric}, read are grey, palette, rgb, ycbcr and cmyk")),
    };
    if samples < wanted {
        return unread(format!("tiff has {samples} samples a pixel, its kind takes {wanted}"));
    }
    match (sample_format, bits) {
        (1, 1 | 2 | 4 | 8 | 16 | 32) | (3, 16 | 32 | 64) => {}
        _ => return unread(format!("tiff has samples of {bits} bits in format {sample_format}, which are not read")),
    }
    if photometric == 3 && (sample_format != 1 || bits > 8 || tiff.palette.len() < 3 << bits) {
        return unread(format!("tiff has a palette of {} values for {bits} bits", tiff.palette.len()));
    }
    if photometric == 6 && (tiff.is_planar || tiff.compression != JPEG && tiff.subsampling != (1, 1)) {
        return unread("tiff has chroma of another size outside a jpeg, which is not read".to_owned());
    }
    Ok(())
}

/// Calls the library; a panic of its is an error like others.
fn guarded<T>(call: impl FnOnce() -> Result<T, TiffError>) -> Result<T, Error> {
    // Every caller gives up on an error.
    caught(Format::Tiff, || call().map_err(refused))
}

fn refused(error: TiffError) -> Error {
    let (kind, text) = match &error {
        TiffError::IoError(io) if io.kind() == IoErrorKind::UnexpectedEof => {
            (ErrorKind::Truncated, "tiff ends before its picture does".to_owned())
        }
        TiffError::LimitsExceeded => (ErrorKind::LimitExceeded, "tiff wants more memory than is allowed".to_owned()),
        TiffError::UnsupportedError(TiffUnsupportedError::UnsupportedCompressionMethod(method)) => {
            (ErrorKind::Unsupported, format!("tiff is compressed by method {}, which is not read", method.to_u16()))
        }
        TiffError::UnsupportedError(_) => (ErrorKind::Unsupported, "tiff is of a kind that is not supported".to_owned()),
        _ => (ErrorKind::Malformed, "tiff is broken".to_owned()),
    };
    Error::new(kind, DECODE, text).in_format(Format::Tiff).caused_by(error)
}

impl Strips<'_> {
    /// The next rows; `false` at the end.
    pub(super) fn next(&mut self, take: &mut dyn FnMut(usize, Rows<'_>)) -> Result<bool, Error> {
        let first_row = self.next_row;
        if first_row == self.height_px {
            return Ok(false);
        }
        let band = first_row / self.tiff.chunk_height_px;
        if self.band != Some(band) {
            self.read_band(band)?;
        }
        let top = band * self.tiff.chunk_height_px;
        let end = self.height_px.min(first_row + STRIP_ROWS).min(top.saturating_add(self.tiff.chunk_height_px));
        let stride = self.width_px as usize * self.layout.channels();
        let mut rows = std::mem::take(&mut self.rows);
        rows.clear();
        rows.resize(stride * (end - first_row) as usize, 255);
        for (y, row) in (first_row - top..end - top).zip(rows.chunks_exact_mut(stride)) {
            self.fill_row(y, row);
        }
        self.rows = rows;
        self.next_row = end;
        take(0, Rows { bytes: &self.rows, stride, first_row });
        Ok(true)
    }

    /// Reads a row of strips or tiles, of all planes.
    fn read_band(&mut self, band: u32) -> Result<(), Error> {
        let tiff = Arc::clone(&self.tiff);
        let across = self.width_px.div_ceil(tiff.chunk_width_px);
        let planes = if tiff.is_planar { u32::from(tiff.samples) } else { 1 };
        self.chunks.resize_with((across * planes) as usize, Chunk::default);
        for plane in 0..planes {
            for column in 0..across {
                let index = plane * tiff.chunks + band * across + column;
                let (decoder, chunk) = (&mut self.decoder, &mut self.chunks[(plane * across + column) as usize]);
                if tiff.compression == JPEG {
                    check_jpeg(self.source, self.places.get(index as usize).copied(), &tiff)?;
                }
                guarded(|| {
                    let (width_px, _) = decoder.chunk_data_dimensions(index);
                    let layout = decoder.image_chunk_buffer_layout(index)?;
                    chunk.bytes.clear();
                    chunk.bytes.resize(layout.len, 0);
                    (chunk.stride, chunk.width_px) = (layout.row_stride.map_or(0, usize::from), width_px);
                    decoder.read_chunk_bytes(index, &mut chunk.bytes)
                })?;
            }
        }
        self.band = Some(band);
        Ok(())
    }
}

/// Refuses a JPEG within that is larger than the strip or tile it fills: it would be decoded whole.
fn check_jpeg(source: &[u8], place: Option<u64>, tiff: &Tiff) -> Result<(), Error> {
    let at = place.and_then(|at| usize::try_from(at).ok());
    let Some(mut rest) = at.and_then(|at| source.get(at..)).and_then(|rest| rest.strip_prefix(&[0xff, 0xd8])) else {
        return Err(Error::new(ErrorKind::Malformed, DECODE, "tiff has a jpeg that does not begin as one").in_format(Format::Tiff));
    };
    // ITU-T T.81, B.2.2: depth, height and width follow a frame's marker and length.
    while let [0xff, marker, high, low, body @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            let [_, h1, h0, w1, w0, ..] = body else { break };
            let (width, height) = (u32::from(u16::from_be_bytes([*w1, *w0])), u32::from(u16::from_be_bytes([*h1, *h0])));
            // Sides may be rounded up to blocks of 16.
            let fits = |side: u32, of: u32| side <= of.next_multiple_of(16);
            if fits(width, tiff.chunk_width_px) && fits(height, tiff.chunk_height_px) {
                return Ok(());
            }
            return Err(disagreement(Format::Tiff));
        }
        rest = rest.get(2 + length.max(2)..).unwrap_or_default();
    }
    Err(Error::new(ErrorKind::Malformed, DECODE, "tiff has a jpeg without a frame").in_format(Format::Tiff))
}

impl Strips<'_> {
    /// Row `y` of the band.
    fn fill_row(&self, y: u32, row: &mut [u8]) {
        let Tiff { is_planar, samples, bits, photometric, extra, .. } = *self.tiff;
        let planes = if is_planar { usize::from(samples) } else { 1 };
        let across = self.chunks.len() / planes;
        let channels = self.layout.channels();
        // As they are wanted already.
        let is_plain = bits == 8 && !is_planar && photometric == 2 && usize::from(samples) == channels && extra != Some(1);
        let mut rest = row;
        for (column, chunk) in self.chunks[..across].iter().enumerate() {
            let bytes = (chunk.width_px as usize * channels).min(rest.len());
            let part;
            (part, rest) = rest.split_at_mut(bytes);
            let rows: Vec<&[u8]> = (0..planes)
                .map(|plane| {
                    let chunk = &self.chunks[plane * across + column];
                    chunk.bytes.get(y as usize * chunk.stride..).unwrap_or_default()
                })
                .collect();
            match rows[0].get(..bytes).filter(|_| is_plain) {
                Some(stored) => part.copy_from_slice(stored),
                None => {
                    for (x, pixel) in part.chunks_exact_mut(channels).enumerate() {
                        put(&self.tiff, &self.palette, &rows, x, pixel);
                    }
                    if let Some(inks) = &self.inks {
                        self.colour(inks, &rows, part);
                    }
                }
            }
        }
    }
}

impl Strips<'_> {
    /// Colours of inks, in place of those of pixels.
    fn colour(&self, inks: &Inks, rows: &[&[u8]], part: &mut [u8]) {
        let channels = self.layout.channels();
        let width = part.len() / channels;
        let stored: Vec<u8> = (0..width).flat_map(|x| [0, 1, 2, 3].map(|ink| sample(&self.tiff, rows, x, ink).min(255) as u8)).collect();
        let mut rgb = vec![0; width * 3];
        inks.to_srgb(&stored, &mut rgb);
        for (pixel, rgb) in part.chunks_exact_mut(channels).zip(rgb.as_chunks::<3>().0) {
            pixel[..3].copy_from_slice(rgb);
        }
    }
}

/// Colours of a palette in 8 bits. Some are written in 8 bits in fields of 16: all of them are small then.
fn palette(tiff: &Tiff) -> Vec<[u8; 3]> {
    let of = tiff.palette.len() / 3;
    let eight = tiff.palette.iter().all(|&value| value < 256);
    let byte = |value: u16| if eight { value as u8 } else { ((u32::from(value) + 128) / 257) as u8 };
    (0..of).map(|index| [0, 1, 2].map(|plane| byte(tiff.palette[plane * of + index]))).collect()
}

/// Sample `index` of pixel `x`, as stored, or scaled to 0 to 255 unless it is of a palette.
#[inline]
fn sample(tiff: &Tiff, rows: &[&[u8]], x: usize, index: usize) -> u32 {
    let (row, at) = if tiff.is_planar { (rows[index], x) } else { (rows[0], x * usize::from(tiff.samples) + index) };
    let word = |bytes: usize| row.get(at * bytes..(at + 1) * bytes);
    let shares = |share: f64| (share.clamp(0.0, 1.0) * 255.0).round() as u32;
    match (tiff.bits, tiff.sample_format) {
        (8, _) => row.get(at).copied().map_or(0, u32::from),
        (bits @ (1 | 2 | 4), _) => {
            let (bits, first) = (u32::from(bits), at * usize::from(bits));
            let byte = row.get(first / 8).copied().map_or(0, u32::from);
            let value = byte >> (8 - bits - (first % 8) as u32) & ((1 << bits) - 1);
            if tiff.photometric == 3 { value } else { value * 255 / ((1 << bits) - 1) }
        }
        (16, 3) => word(2).and_then(|word| word.try_into().ok()).map_or(0, |word| shares(half_to_f64(u16::from_ne_bytes(word)))),
        (32, 3) => word(4).and_then(|word| word.try_into().ok()).map_or(0, |word| shares(f64::from(f32::from_ne_bytes(word)))),
        (64, _) => word(8).and_then(|word| word.try_into().ok()).map_or(0, |word| shares(f64::from_ne_bytes(word))),
        (16, _) => word(2).and_then(|word| word.try_into().ok()).map_or(0, |word| (u32::from(u16::from_ne_bytes(word)) + 128) / 257),
        _ => word(4)
            .and_then(|word| word.try_into().ok())
            .map_or(0, |word| shares(f64::from(u32::from_ne_bytes(word)) / f64::from(u32::MAX))),
    }
}

/// IEEE 754 binary16. What is no number counts as 0.
fn half_to_f64(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if bits & 1023 == 0 => f64::INFINITY,
        31 => 0.0,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

#[inline]
fn put(tiff: &Tiff, palette: &[[u8; 3]], rows: &[&[u8]], x: usize, pixel: &mut [u8]) {
    let at = |index: usize| sample(tiff, rows, x, index);
    let (rgb, used) = match tiff.photometric {
        0 => ([255 - at(0).min(255); 3], 1),
        2 => ([at(0), at(1), at(2)], 3),
        3 => (palette.get(at(0) as usize).map_or([0; 3], |rgb| rgb.map(u32::from)), 1),
        // Coloured row by row.
        super::INKS => ([0; 3], 4),
        6 => {
            // JFIF's equations, in 16 bits behind the point.
            let (luma, blue, red) = ((at(0) << 16).cast_signed() + 32_768, at(1).cast_signed() - 128, at(2).cast_signed() - 128);
            let clamp = |value: i32| (value >> 16).clamp(0, 255).cast_unsigned();
            ([clamp(luma + 91_881 * red), clamp(luma - 22_554 * blue - 46_802 * red), clamp(luma + 116_130 * blue)], 3)
        }
        _ => ([at(0).min(255); 3], 1),
    };
    for (value, found) in pixel.iter_mut().zip(rgb) {
        *value = found.min(255) as u8;
    }
    if let [r, g, b, opacity] = pixel {
        let alpha = at(used).min(255);
        *opacity = alpha as u8;
        // 1: colours are multiplied by it.
        if tiff.extra == Some(1) && alpha > 0 {
            for value in [r, g, b] {
                *value = ((u32::from(*value) * 255 + alpha / 2) / alpha).min(255) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests;
