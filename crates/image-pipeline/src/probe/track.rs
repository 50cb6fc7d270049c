//! Tracks of a film of pictures (ISO/IEC 14496-12, clause 8): where its samples lie, how long each stays, how often all are played.
//!
//! Tables are expanded only for as many samples as the caller allowed. Knows nothing of what samples hold.

use super::bmff::Fields;
use std::{num::NonZeroU32, ops::Range};

/// A film: samples of colours, of transparency where there is a track of it, and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// Where each sample's bytes lie in the file.
    pub(crate) colour: Vec<Range<u64>>,
    /// As many.
    pub(crate) alpha: Option<Vec<Range<u64>>>,
    /// As many; rounded so that their sum is right.
    pub(crate) delays_ms: Vec<u32>,
    /// How often it is played; `None`: for ever.
    pub(crate) plays: Option<NonZeroU32>,
}

fn find<'b>(mut within: Fields<'b>, kind: [u8; 4]) -> Option<Fields<'b>> {
    while let Some((found, body)) = within.child() {
        if found == kind {
            return Some(body);
        }
    }
    None
}

/// A full box's body behind version and flags, and the version.
fn full<'b>(within: Fields<'b>, kind: [u8; 4]) -> Option<(u8, Fields<'b>)> {
    let mut found = find(within, kind)?;
    let (version, _) = found.version()?;
    Some((version, found))
}

#[derive(Clone, Copy)]
struct Track<'b> {
    track: Fields<'b>,
    media: Fields<'b>,
    table: Fields<'b>,
}

/// The tracks with this handler.
fn tracks<'b>(mut movie: Fields<'b>, handler: [u8; 4]) -> impl Iterator<Item = Track<'b>> {
    std::iter::from_fn(move || movie.child()).filter_map(move |(kind, track)| {
        let media = find(track, *b"mdia").filter(|_| kind == *b"trak")?;
        let is_wanted = find(media, *b"hdlr")?.0.get(8..12) == Some(&handler);
        let table = find(find(media, *b"minf")?, *b"stbl").filter(|_| is_wanted)?;
        Some(Track { track, media, table })
    })
}

/// Samples of the first track of pictures; `None` where there is none.
pub(super) fn samples(movie: Fields<'_>) -> Option<u32> {
    tracks(movie, *b"pict").next()?.count()
}

/// The film that the first track of pictures is, of so many samples of these sides; `None` where its tables are broken or say otherwise.
pub(super) fn sequence(movie: Fields<'_>, count: u32, sides_px: (u32, u32)) -> Option<Sequence> {
    let pictures = tracks(movie, *b"pict").next()?;
    if pictures.sides_px()? != sides_px || count == 0 {
        return None;
    }
    let own_id = pictures.id()?;
    let alpha = match tracks(movie, *b"auxv").find(|track| track.belongs_to(own_id) && track.is_alpha()) {
        Some(alpha) if alpha.count() == Some(count) && alpha.sides_px() == Some(sides_px) => Some(alpha.places(count)?),
        Some(_) => return None,
        None => None,
    };
    Some(Sequence { colour: pictures.places(count)?, alpha, delays_ms: pictures.delays_ms(count)?, plays: pictures.plays() })
}

impl Track<'_> {
    fn count(&self) -> Option<u32> {
        let (_, mut sizes) = full(self.table, *b"stsz")?;
        sizes.take(4)?;
        sizes.u32()
    }

    /// `tkhd`: behind two times.
    fn id(&self) -> Option<u32> {
        let (version, mut header) = full(self.track, *b"tkhd")?;
        header.take(if version == 1 { 16 } else { 8 })?;
        header.u32()
    }

    /// Whether it is about the track of this number (`tref`, `auxl`).
    fn belongs_to(&self, id: u32) -> bool {
        let mut ids = find(self.track, *b"tref").and_then(|references| find(references, *b"auxl")).unwrap_or(Fields(&[]));
        std::iter::from_fn(|| ids.u32()).any(|other| other == id)
    }

    /// Its first kind of sample (`stsd`), where that is AV1.
    fn entry(&self) -> Option<Fields<'_>> {
        let (_, mut entries) = full(self.table, *b"stsd")?;
        entries.u32()?;
        entries.child().filter(|(kind, _)| kind == b"av01").map(|(_, entry)| entry)
    }

    /// Sides in pixels (12.1.3): behind the entry's head of 24 bytes.
    fn sides_px(&self) -> Option<(u32, u32)> {
        let mut entry = self.entry()?;
        entry.take(24)?;
        Some((u32::from(entry.u16()?), u32::from(entry.u16()?)))
    }

    /// Whether it says that it is transparency (`auxi`, ISO/IEC 23008-12, 7.5.3.3); others are depth, for one.
    fn is_alpha(&self) -> bool {
        const NAMES: [&[u8]; 2] = [b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"];
        let kind = self.entry().and_then(|mut entry| {
            entry.take(78)?;
            full(entry, *b"auxi")
        });
        kind.is_some_and(|(_, name)| name.0.split(|&byte| byte == 0).next().is_some_and(|name| NAMES.contains(&name)))
    }

    /// `stsz`, `stsc`, `stco` or `co64`.
    fn places(&self, count: u32) -> Option<Vec<Range<u64>>> {
        let (_, mut sizes) = full(self.table, *b"stsz")?;
        let of_all = sizes.u32()?;
        sizes.u32()?;
        let (_, mut runs) = full(self.table, *b"stsc")?;
        let mut left_runs = runs.u32()?;
        let mut run = || {
            left_runs = left_runs.checked_sub(1)?;
            let found = (runs.u32()?, runs.u32()?);
            runs.u32()?;
            Some(found)
        };
        let (wide, (_, mut chunks)) = match full(self.table, *b"stco") {
            Some(found) => (false, found),
            None => (true, full(self.table, *b"co64")?),
        };
        chunks.u32()?;
        let (mut number, (first, mut of_chunk)) = (1, run()?);
        let mut next = run();
        if first != 1 {
            return None;
        }
        let mut places = Vec::new();
        while (places.len() as u64) < u64::from(count) {
            if let Some((first, samples)) = next
                && first == number
            {
                (of_chunk, next) = (samples, run());
            }
            let mut at = if wide { chunks.u64()? } else { u64::from(chunks.u32()?) };
            for _ in 0..of_chunk.min(count - places.len() as u32) {
                let bytes = if of_all > 0 { of_all } else { sizes.u32()? };
                let end = at.checked_add(u64::from(bytes))?;
                places.push(at..end);
                at = end;
            }
            number += 1;
        }
        Some(places)
    }

    /// `mdhd` and `stts`.
    fn delays_ms(&self, count: u32) -> Option<Vec<u32>> {
        let (version, mut header) = full(self.media, *b"mdhd")?;
        header.take(if version == 1 { 16 } else { 8 })?;
        let ticks_per_s = u64::from(header.u32().filter(|ticks| *ticks > 0)?);
        let (_, mut runs) = full(self.table, *b"stts")?;
        let (mut delays, mut ticks, mut shown_ms) = (Vec::new(), 0_u64, 0_u64);
        for _ in 0..runs.u32()? {
            let (samples, stays) = (runs.u32()?, runs.u32()?);
            for _ in 0..samples.min(count - delays.len() as u32) {
                ticks += u64::from(stays);
                let until_ms = (ticks * 1000 + ticks_per_s / 2) / ticks_per_s;
                delays.push(u32::try_from(until_ms - shown_ms).unwrap_or(u32::MAX));
                shown_ms = until_ms;
            }
        }
        (delays.len() == count as usize).then_some(delays)
    }

    /// What its edit list says (ISO/IEC 23000-22, 9.6.1, as libavif reads it): repeated without end where the track's length is not known, else as
    /// often as it fits; once where it does not say that it is repeated. Without a list it is played for ever, as browsers have it.
    fn plays(&self) -> Option<NonZeroU32> {
        const UNKNOWN: [u64; 2] = [u32::MAX as u64, u64::MAX];
        let mut list = find(self.track, *b"edts").and_then(|edits| find(edits, *b"elst"))?;
        let (version, flags) = list.version()?;
        let once = NonZeroU32::new(1);
        if flags & 1 == 0 {
            return once;
        }
        list.u32()?;
        let length = if version == 1 { list.u64()? } else { u64::from(list.u32()?) };
        let (version, mut header) = full(self.track, *b"tkhd")?;
        header.take(if version == 1 { 24 } else { 16 })?;
        let all = if version == 1 { header.u64()? } else { u64::from(header.u32()?) };
        if UNKNOWN.contains(&all) || length == 0 {
            return None;
        }
        NonZeroU32::new(u32::try_from(all.div_ceil(length)).unwrap_or(u32::MAX)).or(once)
    }
}
