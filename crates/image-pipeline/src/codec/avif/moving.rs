//! Frames of an AVIF sequence, one by one: samples of its track of colours, and of that of transparency where there is one.
//!
//! Colours, crop and turn are the still picture's, which every such file has beside its film (the probe looks for no other). Held are the pictures that the
//! decoder needs for later ones, bounded by the format's eight, and one canvas.

use super::{Bounds, Colours, FIXED_BYTES, colour_row, failed, opacity, picture_bytes, refused, working_bytes};
use crate::{
    codec::{Plays, ToSrgb, disagreement, icc, picture_buffer, tone::ToneMap},
    error::{Error, ErrorKind},
    pixels::Layout,
    probe::{Coded, Format, Heif, Parts, Probe, Sequence},
};
use std::{ops::Range, sync::Arc};

/// Pictures a decoder holds of a film: eight that others are made from (AV1, 6.8.2), one being made, one given out, and one to spare.
const PICTURES: u64 = 11;

/// A film about to be read from its first sample.
pub(in crate::codec) struct Frames<'s> {
    source: &'s [u8],
    heif: Arc<Heif>,
    sequence: Sequence,
    at: usize,
    colour: super::av1::Film,
    alpha: Option<super::av1::Film>,
    colours: Colours,
    /// The first picture, which was looked at for its colours.
    first: Option<super::Picture>,
    chroma: [Vec<i32>; 2],
    line: Vec<u8>,
    /// RGBA of what is shown.
    rgba: Vec<u8>,
}

/// Bytes held while frames are read: an upper bound.
pub(in crate::codec) fn frames_bytes(probe: &Probe) -> u64 {
    let Parts::Heif(heif) = &probe.parts else { return 0 };
    let Some(sequence) = &heif.sequence else { return 0 };
    let longest = |places: &[Range<u64>]| places.iter().map(|place| place.end - place.start).max().unwrap_or(0);
    let of = |places: &[Range<u64>]| picture_bytes(&heif.colour) * PICTURES + working_bytes(&heif.colour) + longest(places) * 2;
    let tone = heif.cicp.filter(|cicp| cicp.is_hdr()).map_or(0, |_| ToneMap::bytes(u32::from(heif.colour.bits)));
    let profile = icc::reading_bytes(heif.icc.as_ref().map_or(4096, |profile| profile.len() as u64));
    FIXED_BYTES * 4
        + profile
        + tone
        + of(&sequence.colour)
        + sequence.alpha.as_deref().map_or(0, of)
        + u64::from(heif.colour.width_px) * 12
        + probe.pixels() * 4
        + sequence.colour.len() as u64 * 64
}

fn bounds(coded: &Coded) -> Bounds {
    Bounds { width_px: coded.width_px, height_px: coded.height_px, picture_bytes: picture_bytes(coded) * PICTURES, operating_point: 0 }
}

fn sample<'s>(source: &'s [u8], places: &[Range<u64>], at: usize) -> Result<&'s [u8], Error> {
    let place = places.get(at).ok_or_else(|| disagreement(Format::Avif))?;
    let range = usize::try_from(place.start).ok().zip(usize::try_from(place.end).ok());
    range
        .and_then(|(start, end)| source.get(start..end))
        .ok_or_else(|| refused(ErrorKind::Truncated, "avif ends before its last frame does"))
}

impl<'s> Frames<'s> {
    pub(in crate::codec) fn open(probe: &Probe, source: &'s [u8]) -> Result<(Self, Option<ToSrgb>), Error> {
        let Parts::Heif(heif) = probe.parts.clone() else { return Err(refused(ErrorKind::Internal, "avif was not probed")) };
        let Some(sequence) = heif.sequence.clone() else { return Err(refused(ErrorKind::Internal, "avif is no sequence")) };
        let mut colour = super::av1::Film::open(bounds(&heif.colour)).map_err(failed)?;
        let alpha = match &sequence.alpha {
            Some(_) => Some(super::av1::Film::open(bounds(&heif.colour)).map_err(failed)?),
            None => None,
        };
        let first = colour.next(sample(source, &sequence.colour, 0)?).map_err(failed)?;
        let mut colours = Colours::of(&heif, &first)?;
        let to_srgb = colours.to_srgb.take();
        let line = vec![255; heif.colour.width_px as usize * 4];
        let rgba = picture_buffer(probe, Layout::Rgba8)?;
        let frames = Self {
            source,
            heif,
            sequence,
            at: 0,
            colour,
            alpha,
            colours,
            first: Some(first),
            chroma: [Vec::new(), Vec::new()],
            line,
            rgba,
        };
        Ok((frames, to_srgb))
    }

    pub(in crate::codec) fn plays(&self) -> Plays {
        Plays(self.sequence.plays)
    }

    /// What is shown of the next frame, and how long it stays, in milliseconds; `None` behind the last.
    pub(in crate::codec) fn next(&mut self) -> Result<Option<(&[u8], u32)>, Error> {
        let Some(&delay_ms) = self.sequence.delays_ms.get(self.at) else { return Ok(None) };
        let picture = match self.first.take() {
            Some(first) => first,
            None => self.colour.next(sample(self.source, &self.sequence.colour, self.at)?).map_err(failed)?,
        };
        let coded = &self.heif.colour;
        let sides = (coded.width_px, coded.height_px);
        let is_as_said = |picture: &super::Picture| (picture.width_px(), picture.height_px()) == sides;
        if !is_as_said(&picture) || picture.bits() != u32::from(coded.bits) {
            return Err(disagreement(Format::Avif));
        }
        self.colours.check(&picture)?;
        let alpha = match (&mut self.alpha, &self.sequence.alpha) {
            (Some(film), Some(places)) => Some(film.next(sample(self.source, places, self.at)?).map_err(failed)?),
            _ => None,
        };
        if !alpha.as_ref().is_none_or(is_as_said) {
            return Err(disagreement(Format::Avif));
        }
        let opacity = alpha.as_ref().and_then(|alpha| opacity(Some(alpha)));
        let [left, top, width_px, height_px] = self.heif.crop;
        for (y, row) in (top..top + height_px).zip(self.rgba.chunks_exact_mut(width_px as usize * 4)) {
            self.line.fill(255);
            colour_row(&picture, y, self.colours.converter, self.colours.tone.as_ref(), &mut self.chroma, 4, &mut self.line)?;
            if let (Some(alpha), Some(opacity)) = (&alpha, opacity) {
                let pixels = self.line.as_chunks_mut::<4>().0;
                let samples = alpha.row(0, y).ok_or_else(|| disagreement(Format::Avif))?;
                opacity.row(samples, None, |at, [value, ..]| {
                    if let Some(pixel) = pixels.get_mut(at) {
                        pixel[3] = value as u8;
                    }
                });
                if self.heif.premultiplied {
                    pixels.iter_mut().for_each(crate::codec::straighten);
                }
            }
            let shown = self.line.get(left as usize * 4..(left + width_px) as usize * 4).ok_or_else(|| disagreement(Format::Avif))?;
            row.copy_from_slice(shown);
        }
        self.at += 1;
        Ok(Some((&self.rgba, delay_ms)))
    }
}

#[cfg(test)]
mod tests;
