//! AVIF in: tiles decoded a row of them at a time (`av1`), colours made row by row (`yuv`), high dynamic range bent to sRGB (`tone`).
//!
//! What is shown is what the probe read; nothing of the file's structure is read again. Transparency is a picture of its own, of lightness.
//! Film grain is left out; of a layered picture the last layer is read, of a sequence the still picture here and its film in `moving`. Unsafe code is
//! in `av1` alone.

mod av1;
mod moving;
pub(super) mod write;
mod yuv;

use super::{
    DECODE, Opened, Rows,
    cicp::Cicp,
    decoded_layout, disagreement,
    icc::{self, ToSrgb},
    tone::ToneMap,
};
use crate::{
    error::{Error, ErrorKind},
    pixels::{Layout, SourcePlane},
    probe::{Coded, Format, Heif, Parts, Probe},
};
pub(super) use moving::{Frames, frames_bytes};

use av1::{Bounds, Failure, Picture, Row};
use std::sync::Arc;
use yuv::Converter;

/// Rows given out at a time.
const STRIP_ROWS: u32 = 16;

/// A picture being made of its tiles.
pub(super) struct Strips<'s> {
    source: &'s [u8],
    heif: Arc<Heif>,
    layout: Layout,
    colour: Band,
    alpha: Option<Band>,
    converter: Converter,
    tone: Option<ToneMap>,
    /// What makes samples of alpha those of 8 bits, full range.
    opacity: Option<Converter>,
    chroma: [Vec<i32>; 2],
    line: Vec<u8>,
    rows: Vec<u8>,
    next_row: u32,
}

/// A row of decoded tiles.
struct Band {
    index: u32,
    tiles: Vec<Picture>,
}

impl Band {
    /// Decodes all tiles of a row of them.
    fn read(coded: &Coded, index: u32, source: &[u8]) -> Result<Self, Error> {
        let first = (index * coded.columns) as usize;
        let Some(places) = coded.tiles.get(first..first + coded.columns as usize) else { return Err(disagreement(Format::Avif)) };
        let bounds = Bounds {
            width_px: coded.tile_width_px,
            height_px: coded.tile_height_px,
            picture_bytes: picture_bytes(coded) * layers(coded),
            operating_point: coded.operating_point,
        };
        let mut joined = Vec::new();
        let mut tiles = Vec::with_capacity(places.len());
        for extents in places {
            let pieces = extents.iter().map(|place| {
                let (start, end) = (usize::try_from(place.start).ok()?, usize::try_from(place.end).ok()?);
                source.get(start..end)
            });
            let pieces: Option<Vec<&[u8]>> = pieces.collect();
            let pieces = pieces.ok_or_else(|| refused(ErrorKind::Truncated, "avif ends before its picture does"))?;
            let item = match pieces.as_slice() {
                &[whole] => whole,
                pieces => {
                    joined.clear();
                    pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
                    &joined
                }
            };
            let tile = av1::decode(item, bounds).map_err(failed)?;
            if (tile.width_px(), tile.height_px()) != (coded.tile_width_px, coded.tile_height_px) {
                return Err(disagreement(Format::Avif));
            }
            tiles.push(tile);
        }
        Ok(Self { index, tiles })
    }

    /// The band that holds row `y` of the picture.
    fn at(&mut self, coded: &Coded, y: u32, source: &[u8]) -> Result<(), Error> {
        let index = y / coded.tile_height_px;
        if index != self.index {
            // The old tiles first: both are not charged.
            self.tiles.clear();
            *self = Self::read(coded, index, source)?;
        }
        Ok(())
    }
}

fn refused(kind: ErrorKind, text: &'static str) -> Error {
    Error::new(kind, DECODE, text).in_format(Format::Avif)
}

fn failed(failure: Failure) -> Error {
    match failure {
        Failure::Broken => refused(ErrorKind::Malformed, "avif is broken"),
        Failure::TooLarge => refused(ErrorKind::LimitExceeded, "avif has larger or more pictures inside than it says"),
        Failure::Internal => refused(ErrorKind::Internal, "avif could not be read"),
    }
}

/// What makes the samples of a picture colours: to numbers, and bent where they are of high dynamic range, and to sRGB.
struct Colours {
    converter: Converter,
    tone: Option<ToneMap>,
    to_srgb: Option<ToSrgb>,
    matrix: u16,
}

impl Colours {
    /// By what the file says, or else the bitstream of its first picture.
    fn of(heif: &Heif, first: &Picture) -> Result<Self, Error> {
        let Some(signalled) = first.signalled() else { return Err(disagreement(Format::Avif)) };
        let said = Cicp {
            primaries: signalled.primaries,
            transfer: signalled.transfer,
            matrix: signalled.matrix,
            full_range: signalled.full_range,
        };
        let cicp = heif.cicp.unwrap_or(said);
        let bits = first.bits();
        if bits != u32::from(heif.colour.bits) {
            return Err(disagreement(Format::Avif));
        }
        // Where there is a profile and no code points, the profile counts.
        let tone = if heif.icc.is_some() && heif.cicp.is_none() { None } else { ToneMap::new(cicp, bits) };
        let out_bits = if tone.is_some() { bits } else { 8 };
        let converter = Converter::new(cicp, bits, out_bits).ok_or_else(|| unread(cicp.matrix))?;
        let to_srgb = match (&tone, &heif.icc) {
            (Some(_), _) => None,
            (None, Some(profile)) => ToSrgb::from_profile(profile),
            (None, None) => ToSrgb::from_cicp(cicp),
        };
        Ok(Self { converter, tone, to_srgb, matrix: cicp.matrix })
    }

    /// Whether this picture's chroma can be read so.
    fn check(&self, picture: &Picture) -> Result<(), Error> {
        let (_, halved) = picture.sampling();
        if self.converter.needs_whole_chroma() && halved != (false, false) { Err(unread(self.matrix)) } else { Ok(()) }
    }
}

fn unread(matrix: u16) -> Error {
    let text = format!("avif has matrix coefficients {matrix}, which are not read");
    Error::new(ErrorKind::Unsupported, DECODE, text).in_format(Format::Avif)
}

/// What makes samples of alpha those of 8 bits, full range: lightness alone, so any matrix will do.
fn opacity(picture: Option<&Picture>) -> Option<Converter> {
    let (bits, full_range) = picture.map_or((8, true), |picture| (picture.bits(), picture.signalled().is_none_or(|said| said.full_range)));
    Converter::new(Cicp { matrix: 1, full_range, ..Cicp::SRGB }, bits, 8)
}

/// Pictures a decoder keeps at a time: a layered one makes each from those before.
fn layers(coded: &Coded) -> u64 {
    if coded.layered { 3 } else { 1 }
}

fn picture_bytes(coded: &Coded) -> u64 {
    av1::picture_bytes(coded.tile_width_px, coded.tile_height_px, !coded.monochrome, coded.subsampled, coded.bits > 8)
}

/// Tables and contexts of a decoder, whatever the size.
const FIXED_BYTES: u64 = 1 << 20;

/// What a decoder keeps beside pictures.
fn working_bytes(coded: &Coded) -> u64 {
    /// Of a block of 8 by 8 pixels: modes, filters' levels, coefficients.
    const BLOCK_BYTES: u64 = 46;
    u64::from(coded.tile_width_px).div_ceil(8) * u64::from(coded.tile_height_px).div_ceil(8) * BLOCK_BYTES
}

/// Bytes held for these items while they are decoded, rows given out not among them: an upper bound.
pub(super) fn held_bytes(heif: &Heif) -> u64 {
    let of = |coded: &Coded| {
        let pictures = picture_bytes(coded) * (u64::from(coded.columns) + layers(coded) - 1);
        let item = coded.tiles.iter().map(|extents| extents.iter().map(|place| place.end - place.start).sum()).max().unwrap_or(0_u64);
        // The item joined where it lies in pieces, and the decoder's copy.
        (pictures, working_bytes(coded) + item * 2)
    };
    let (colour, working) = of(&heif.colour);
    let (alpha, alpha_working) = heif.alpha.as_ref().map_or((0, 0), of);
    let tone = heif.cicp.filter(|cicp| cicp.is_hdr()).map_or(0, |_| ToneMap::bytes(u32::from(heif.colour.bits)));
    let profile = icc::reading_bytes(heif.icc.as_ref().map_or(4096, |profile| profile.len() as u64));
    FIXED_BYTES
        + profile
        + colour
        + alpha
        + working.max(alpha_working)
        + tone
        + u64::from(heif.colour.width_px) * (12 + u64::from(STRIP_ROWS) * 4)
}

/// Opens the picture: its first row of tiles is decoded here.
pub(super) fn open<'s>(probe: &Probe, source: &'s [u8]) -> Result<Opened<'s>, Error> {
    let Parts::Heif(heif) = probe.parts.clone() else { return Err(refused(ErrorKind::Internal, "avif was not probed")) };
    let [_, top, width_px, height_px] = heif.crop;
    let first = top / heif.colour.tile_height_px;
    let colour = Band::read(&heif.colour, first, source)?;
    let Some(shown) = colour.tiles.first() else { return Err(disagreement(Format::Avif)) };
    let colours = Colours::of(&heif, shown)?;
    colour.tiles.iter().try_for_each(|tile| colours.check(tile))?;
    let Colours { converter, tone, to_srgb, .. } = colours;
    let mut alpha = None;
    if let Some(coded) = &heif.alpha {
        alpha = Some(Band::read(coded, top / coded.tile_height_px, source)?);
    }
    let opacity = alpha.as_ref().and_then(|band| opacity(band.tiles.first()));
    let plane = SourcePlane { width_px, height_px, share: (1.0, 1.0) };
    let strips = Strips {
        source,
        layout: decoded_layout(probe),
        colour,
        alpha,
        converter,
        tone,
        opacity,
        chroma: [Vec::new(), Vec::new()],
        line: Vec::new(),
        rows: Vec::new(),
        next_row: 0,
        heif,
    };
    Ok(Opened { to_srgb, planes: vec![plane], strips: super::Strips::Avif(Box::new(strips)) })
}

impl Strips<'_> {
    /// The next rows; `false` at the end.
    pub(super) fn next(&mut self, take: &mut dyn FnMut(usize, Rows<'_>)) -> Result<bool, Error> {
        let [left, top, width_px, height_px] = self.heif.crop;
        let channels = self.layout.channels();
        let first_row = self.next_row;
        self.rows.clear();
        while self.next_row < height_px && self.next_row < first_row + STRIP_ROWS {
            self.make_line(top + self.next_row)?;
            let (start, bytes) = (left as usize * channels, width_px as usize * channels);
            let shown = self.line.get(start..start + bytes).ok_or_else(|| disagreement(Format::Avif))?;
            self.rows.extend_from_slice(shown);
            self.next_row += 1;
        }
        if self.next_row == first_row {
            return Ok(false);
        }
        take(0, Rows { bytes: &self.rows, stride: width_px as usize * channels, first_row });
        Ok(true)
    }

    /// Row `y` of the picture before it is cut, into `line`.
    fn make_line(&mut self, y: u32) -> Result<(), Error> {
        let Self { heif, colour, alpha, .. } = self;
        colour.at(&heif.colour, y, self.source)?;
        let channels = self.layout.channels();
        self.line.resize(heif.colour.width_px as usize * channels, 255);
        let within = y % heif.colour.tile_height_px;
        let mut rest = self.line.as_mut_slice();
        for tile in &colour.tiles {
            let bytes = (tile.width_px() as usize * channels).min(rest.len());
            let part;
            (part, rest) = rest.split_at_mut(bytes);
            colour_row(tile, within, self.converter, self.tone.as_ref(), &mut self.chroma, channels, part)?;
        }
        if let (Some(band), Some(coded), Some(opacity)) = (alpha, &heif.alpha, self.opacity) {
            band.at(coded, y, self.source)?;
            let mut rest = self.line.as_chunks_mut::<4>().0;
            for tile in &band.tiles {
                let part;
                (part, rest) = rest.split_at_mut((tile.width_px() as usize).min(rest.len()));
                let row = tile.row(0, y % coded.tile_height_px).ok_or_else(|| disagreement(Format::Avif))?;
                opacity.row(row, None, |at, [value, ..]| {
                    if let Some(pixel) = part.get_mut(at) {
                        pixel[3] = value as u8;
                    }
                });
            }
            if heif.premultiplied {
                self.line.as_chunks_mut::<4>().0.iter_mut().for_each(super::straighten);
            }
        }
        Ok(())
    }
}

/// Colours of a row of a tile, as many as `part` holds.
fn colour_row(
    tile: &Picture,
    y: u32,
    converter: Converter,
    tone: Option<&ToneMap>,
    [blue, red]: &mut [Vec<i32>; 2],
    channels: usize,
    part: &mut [u8],
) -> Result<(), Error> {
    let missing = || disagreement(Format::Avif);
    let luma = tile.row(0, y).ok_or_else(missing)?;
    let (has_chroma, (halved, rows_halved)) = tile.sampling();
    let width = tile.width_px() as usize;
    let chroma = if has_chroma {
        let (near, far) = if rows_halved {
            let (near, last) = (y / 2, tile.height_px().div_ceil(2) - 1);
            (near, if y.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(last) })
        } else {
            (y, y)
        };
        for (index, out) in [(1, &mut *blue), (2, &mut *red)] {
            yuv::widen(tile.rows(index, near, far).ok_or_else(missing)?, halved, width, out);
        }
        Some((blue.as_slice(), red.as_slice()))
    } else {
        None
    };
    match (channels, tone) {
        (3, None) => plain::<3>(converter, luma, chroma, part),
        (_, None) => plain::<4>(converter, luma, chroma, part),
        (channels, Some(tone)) => converter.row(luma, chroma, |at, rgb| {
            if let Some(pixel) = part.get_mut(at * channels..at * channels + 3) {
                pixel.copy_from_slice(&tone.map(rgb.map(|value| value as u16)));
            }
        }),
    }
    Ok(())
}

fn plain<const C: usize>(converter: Converter, luma: Row<'_>, chroma: Option<(&[i32], &[i32])>, part: &mut [u8]) {
    let pixels = part.as_chunks_mut::<C>().0;
    converter.row(luma, chroma, |at, [r, g, b]| {
        if let Some(pixel) = pixels.get_mut(at) {
            (pixel[0], pixel[1], pixel[2]) = (r as u8, g as u8, b as u8);
        }
    });
}

#[cfg(test)]
mod tests;
