//! Markers: the walk over a file's segments, the frame, the scans, the tables, and what a header says to the outside.
//!
//! Knows nothing of entropy-coded data but how to find its end. Sources: ITU-T T.81 annex B, JFIF 1.02, Adobe TN 5116 (APP14),
//! Exif 2.32, ICC.1 annex B.4, CIPA DC-007 (MPF). Invariant: every range handed out lies inside the input.

use crate::error::Error;
use std::ops::Range;

/// Metadata segments kept; a file with more keeps its first.
const MAX_SEGMENTS: usize = 4096;

/// How the picture is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// SOF0, or SOF1 with 8-bit samples: each block whole, in one scan.
    Sequential,
    /// SOF2: coefficients spread over scans.
    Progressive,
}

/// What the components mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourModel {
    /// One component.
    Grey,
    /// Luma and two colour differences (JFIF, full range).
    YCbCr,
    /// Red, green, blue, untransformed.
    Rgb,
    /// Four inks, untransformed.
    Cmyk,
    /// Three inks as luma and colour differences, black apart.
    Ycck,
}

/// One component of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// Identifier that scans name it by.
    pub id: u8,
    /// Horizontal sampling factor, 1 to 4.
    pub horizontal: u8,
    /// Vertical sampling factor, 1 to 4.
    pub vertical: u8,
    /// Number of its quantisation table, 0 to 3.
    pub quantisation: u8,
}

/// What a metadata segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentKind {
    /// APP1 with Exif: the range is the TIFF structure.
    Exif,
    /// APP1 with the main XMP packet.
    Xmp,
    /// APP1 with a part of extended XMP, beginning with its 32-byte GUID.
    XmpExtension,
    /// APP2 with a part of an ICC profile, `part` of `of`, from 1.
    Icc {
        /// Its place, from 1.
        part: u8,
        /// How many parts there are.
        of: u8,
    },
    /// APP2 with a multi-picture index: the range is the TIFF structure.
    Mpf,
    /// Any other application segment, from its first byte: `APPn`.
    Application(u8),
    /// COM.
    Comment,
}

/// Where a piece of metadata lies in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// What it holds.
    pub kind: SegmentKind,
    /// Its content, after marker, length and signature.
    pub range: Range<usize>,
}

/// What a file says of itself before its first scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Width in pixels, 1 to 65 535.
    pub width_px: u32,
    /// Height in pixels, 1 to 65 535; from the DNL segment where the frame leaves it open.
    pub height_px: u32,
    /// How it is coded.
    pub coding: Coding,
    /// What its components mean.
    pub colour: ColourModel,
    /// One, three or four components.
    pub components: Vec<Component>,
    /// MCUs between restart markers in the first scan; 0 for none.
    pub restart_interval_mcus: u32,
    /// The transform named by Adobe's APP14. Where it is there, four-component pictures are stored inverted: 255 is no ink.
    pub adobe_transform: Option<u8>,
    /// Metadata before the first scan, in file order.
    pub segments: Vec<Segment>,
}

impl Header {
    /// The first segment of this kind.
    fn first(&self, kind: SegmentKind) -> Option<Range<usize>> {
        self.segments.iter().find(|segment| segment.kind == kind).map(|segment| segment.range.clone())
    }

    /// Where the Exif TIFF structure lies.
    #[must_use]
    pub fn exif(&self) -> Option<Range<usize>> {
        self.first(SegmentKind::Exif)
    }

    /// Where the main XMP packet lies.
    #[must_use]
    pub fn xmp(&self) -> Option<Range<usize>> {
        self.first(SegmentKind::Xmp)
    }

    /// Where the multi-picture index lies.
    #[must_use]
    pub fn mpf(&self) -> Option<Range<usize>> {
        self.first(SegmentKind::Mpf)
    }

    /// The ICC profile, put together from its parts in `bytes`, the input this header was read from. `None` where there is none
    /// or parts are missing, repeated or do not agree on their number.
    #[must_use]
    pub fn icc_profile(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut parts: Vec<(u8, u8, Range<usize>)> = self
            .segments
            .iter()
            .filter_map(|segment| match segment.kind {
                SegmentKind::Icc { part, of } => Some((part, of, segment.range.clone())),
                _ => None,
            })
            .collect();
        parts.sort_by_key(|(part, ..)| *part);
        let count = parts.first()?.1;
        let whole = parts.len() == usize::from(count)
            && parts.iter().enumerate().all(|(index, (part, of, _))| usize::from(*part) == index + 1 && *of == count);
        if !whole {
            return None;
        }
        let mut profile = Vec::new();
        for (_, _, range) in parts {
            profile.extend_from_slice(bytes.get(range)?);
        }
        Some(profile)
    }
}

/// Reads the header of a JPEG: everything before its first scan (and, where the frame leaves the height open, the DNL segment
/// behind it).
///
/// # Errors
/// Malformed or truncated segments, and kinds of JPEG that are not decoded here.
pub fn probe(bytes: &[u8]) -> Result<Header, Error> {
    let mut walk = Walk::new(bytes)?;
    match walk.next_stop()? {
        Stop::Scan(_) => walk.header(),
        Stop::End { at } => Err(Error::malformed(at, "jpeg has no scan")),
    }
}

/// A Huffman table as written: how many codes of each length, and their symbols in order.
#[derive(Clone)]
pub(crate) struct HuffmanSpec {
    pub(crate) counts: [u8; 16],
    pub(crate) symbols: Vec<u8>,
    /// Where it was defined, for errors.
    pub(crate) at: usize,
}

/// The tables in force at a place in the file.
#[derive(Default)]
pub(crate) struct Tables {
    /// In zigzag order, as written.
    pub(crate) quantisation: [Option<[u16; 64]>; 4],
    pub(crate) dc: [Option<HuffmanSpec>; 4],
    pub(crate) ac: [Option<HuffmanSpec>; 4],
    pub(crate) restart_interval: u32,
}

/// A frame header (SOFn).
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) coding: Coding,
    pub(crate) width: u32,
    /// 0 while the DNL segment is awaited.
    pub(crate) height: u32,
    pub(crate) components: Vec<Component>,
    at: usize,
}

/// A component's part in a scan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScanComponent {
    /// Index into the frame's components.
    pub(crate) index: usize,
    pub(crate) dc_table: usize,
    pub(crate) ac_table: usize,
}

/// A scan header (SOS).
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    pub(crate) components: Vec<ScanComponent>,
    /// Spectral selection, zigzag indices `first..=last`.
    pub(crate) first: u8,
    pub(crate) last: u8,
    /// Successive approximation: bit position before (0 in a first scan) and now.
    pub(crate) high: u8,
    pub(crate) low: u8,
    /// Where its entropy-coded data begin.
    pub(crate) data_at: usize,
}

/// Where the walk pauses.
pub(crate) enum Stop {
    /// At entropy-coded data.
    Scan(Scan),
    /// At EOI.
    End { at: usize },
}

/// The walk over the markers; it pauses at every scan, and goes on behind it.
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    pub(crate) tables: Tables,
    pub(crate) frame: Option<Frame>,
    segments: Vec<Segment>,
    seen_scan: bool,
    has_jfif: bool,
    adobe_transform: Option<u8>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        match bytes {
            [0xff, 0xd8, ..] => Ok(Self {
                bytes,
                at: 2,
                tables: Tables::default(),
                frame: None,
                segments: Vec::new(),
                seen_scan: false,
                has_jfif: false,
                adobe_transform: None,
            }),
            [] | [0xff] => Err(Error::truncated(bytes.len())),
            _ => Err(Error::malformed(0, "jpeg does not begin with a start-of-image marker")),
        }
    }

    /// Goes on from `at`, behind the entropy-coded data the walk paused at.
    pub(crate) fn resume(&mut self, at: usize) {
        self.at = at.min(self.bytes.len());
    }

    /// Walks to the next scan or the end of the image.
    pub(crate) fn next_stop(&mut self) -> Result<Stop, Error> {
        loop {
            let (code, marker_at) = self.next_marker()?;
            match code {
                // TEM and stray restart markers and SOI carry nothing.
                0x01 | 0xd0..=0xd8 => {}
                0xd9 => return Ok(Stop::End { at: marker_at }),
                0xda => {
                    let (from, body) = self.segment()?;
                    let scan = self.scan(from, body)?;
                    self.seen_scan = true;
                    return Ok(Stop::Scan(scan));
                }
                0xc4 => self.huffman_tables()?,
                0xdb => self.quantisation_tables()?,
                0xdd => {
                    let (from, body) = self.segment()?;
                    let [high, low] = *body else { return Err(Error::malformed(from, "restart interval segment is not 4 bytes long")) };
                    self.tables.restart_interval = u32::from(u16::from_be_bytes([high, low]));
                }
                0xdc => {
                    let (from, body) = self.segment()?;
                    let [high, low] = *body else { return Err(Error::malformed(from, "number-of-lines segment is not 4 bytes long")) };
                    if let Some(frame) = &mut self.frame
                        && frame.height == 0
                    {
                        frame.height = u32::from(u16::from_be_bytes([high, low]));
                    }
                }
                0xc0..=0xc2 => {
                    let (from, body) = self.segment()?;
                    let frame = frame(code, from, body)?;
                    if self.frame.replace(frame).is_some() {
                        return Err(Error::malformed(marker_at, "jpeg has two frames"));
                    }
                }
                0xc3 | 0xc7 | 0xcb | 0xcf => return Err(Error::unsupported(marker_at, "jpeg is lossless")),
                0xc5 | 0xc6 | 0xde | 0xdf => return Err(Error::unsupported(marker_at, "jpeg is hierarchical")),
                0xc9 | 0xca | 0xcd | 0xce | 0xcc => return Err(Error::unsupported(marker_at, "jpeg has arithmetic coding")),
                0xe0..=0xef | 0xfe => {
                    let (from, body) = self.segment()?;
                    self.metadata(code, from, body);
                }
                // Reserved and extension markers have a length, and are stepped over.
                _ => {
                    self.segment()?;
                }
            }
        }
    }

    /// What the outside may know, after the first scan's header.
    pub(crate) fn header(&self) -> Result<Header, Error> {
        let frame = self.frame.as_ref().ok_or_else(|| Error::malformed(self.at, "jpeg has a scan before its frame"))?;
        let height = if frame.height == 0 { self.height_behind_scan(frame.at)? } else { frame.height };
        Ok(Header {
            width_px: frame.width,
            height_px: height,
            coding: frame.coding,
            colour: self.colour(&frame.components),
            components: frame.components.clone(),
            restart_interval_mcus: self.tables.restart_interval,
            adobe_transform: self.adobe_transform,
            segments: self.segments.clone(),
        })
    }

    /// The height of a frame that left it to a DNL segment, which follows the first scan (T.81, B.2.5).
    fn height_behind_scan(&self, frame_at: usize) -> Result<u32, Error> {
        let at = entropy_end(self.bytes, self.at).ok_or_else(|| Error::truncated(self.bytes.len()))?;
        match self.bytes.get(at..at + 6) {
            Some([0xff, 0xdc, 0, 4, high, low]) if (*high, *low) != (0, 0) => Ok(u32::from(u16::from_be_bytes([*high, *low]))),
            _ => Err(Error::malformed(frame_at, "jpeg has no height")),
        }
    }

    /// As libjpeg decides: JFIF means YCbCr, else Adobe's transform, else the component ids.
    fn colour(&self, components: &[Component]) -> ColourModel {
        match (components.len(), self.adobe_transform) {
            (1, _) => ColourModel::Grey,
            (4, None | Some(0)) => ColourModel::Cmyk,
            (4, _) => ColourModel::Ycck,
            (_, _) if self.has_jfif => ColourModel::YCbCr,
            (_, Some(0)) => ColourModel::Rgb,
            (_, None) if components.iter().map(|component| component.id).eq(*b"RGB") => ColourModel::Rgb,
            _ => ColourModel::YCbCr,
        }
    }

    /// The next marker's code, over stray bytes and fill bytes, and where it stands.
    fn next_marker(&mut self) -> Result<(u8, usize), Error> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(stray) = rest.iter().position(|&byte| byte == 0xff) else { return Err(Error::truncated(self.bytes.len())) };
            let marker_at = self.at + stray;
            let Some(fill) = rest[stray..].iter().position(|&byte| byte != 0xff) else { return Err(Error::truncated(self.bytes.len())) };
            let code = rest[stray + fill];
            self.at = marker_at + fill + 1;
            if code != 0 {
                return Ok((code, marker_at));
            }
        }
    }

    /// A segment's content behind its length, and where it begins.
    fn segment(&mut self) -> Result<(usize, &'a [u8]), Error> {
        let from = self.at;
        let length = match self.bytes.get(from..).unwrap_or_default() {
            [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return Err(Error::truncated(self.bytes.len())),
        };
        if length < 2 {
            return Err(Error::malformed(from, format!("segment has length {length}, at least 2 is needed")));
        }
        let body = self.bytes.get(from + 2..from + length).ok_or_else(|| Error::truncated(self.bytes.len()))?;
        self.at = from + length;
        Ok((from + 2, body))
    }

    fn quantisation_tables(&mut self) -> Result<(), Error> {
        let (from, body) = self.segment()?;
        let mut rest = body;
        while let [head, tail @ ..] = rest {
            let at = from + (body.len() - rest.len());
            let (wide, number) = (head >> 4, usize::from(head & 15));
            let (Some(slot), true) = (self.tables.quantisation.get_mut(number), wide <= 1) else {
                return Err(Error::malformed(at, "quantisation table has an impossible number"));
            };
            let bytes = if wide == 1 { 128 } else { 64 };
            let Some((values, behind)) = tail.split_at_checked(bytes) else {
                return Err(Error::malformed(at, "quantisation table is cut short by its segment"));
            };
            let mut table = [0u16; 64];
            for (index, value) in table.iter_mut().enumerate() {
                *value = if wide == 1 { u16::from_be_bytes([values[2 * index], values[2 * index + 1]]) } else { u16::from(values[index]) };
            }
            *slot = Some(table);
            rest = behind;
        }
        Ok(())
    }

    fn huffman_tables(&mut self) -> Result<(), Error> {
        let (from, body) = self.segment()?;
        let mut rest = body;
        while let [head, tail @ ..] = rest {
            let at = from + (body.len() - rest.len());
            let Some((counts, tail)) = tail.split_first_chunk::<16>() else {
                return Err(Error::malformed(at, "huffman table is cut short by its segment"));
            };
            let total: usize = counts.iter().map(|&count| usize::from(count)).sum();
            let (Some((symbols, behind)), true) = (tail.split_at_checked(total), total <= 256) else {
                return Err(Error::malformed(at, format!("huffman table has {total} codes, more than it may or its segment holds")));
            };
            let tables = if head >> 4 == 0 { &mut self.tables.dc } else { &mut self.tables.ac };
            let (Some(slot), true) = (tables.get_mut(usize::from(head & 15)), head >> 4 <= 1) else {
                return Err(Error::malformed(at, "huffman table has an impossible number"));
            };
            *slot = Some(HuffmanSpec { counts: *counts, symbols: symbols.to_vec(), at });
            rest = behind;
        }
        Ok(())
    }

    fn scan(&self, from: usize, body: &[u8]) -> Result<Scan, Error> {
        let frame = self.frame.as_ref().ok_or_else(|| Error::malformed(from, "jpeg has a scan before its frame"))?;
        let broken = || Error::malformed(from, "scan header is broken");
        let (&count, rest) = body.split_first().ok_or_else(broken)?;
        let count = usize::from(count);
        if !(1..=4).contains(&count) || rest.len() != 2 * count + 3 {
            return Err(broken());
        }
        let (named, band) = rest.split_at(2 * count);
        let (first, last, high, low) = (band[0], band[1], band[2] >> 4, band[2] & 15);
        let (first, last, high, low) = match frame.coding {
            // Sequential scans hold whole blocks whatever they say here; libjpeg goes on too.
            Coding::Sequential => (0, 63, 0, 0),
            Coding::Progressive => {
                let dc = first == 0 && last == 0;
                let ac = first >= 1 && first <= last && last <= 63 && count == 1;
                if !(dc || ac) || low > 13 || (high != 0 && high != low + 1) {
                    return Err(Error::malformed(from, "progressive scan has impossible parameters"));
                }
                (first, last, high, low)
            }
        };
        let needs_dc = first == 0 && high == 0;
        let needs_ac = last > 0;
        let mut components = Vec::with_capacity(count);
        for pair in named.chunks_exact(2) {
            let (index, _) = frame
                .components
                .iter()
                .enumerate()
                .find(|(_, component)| component.id == pair[0])
                .ok_or_else(|| Error::malformed(from, "scan names a component the frame does not have"))?;
            // What a scan does not read by may be any number; libjpeg does not look either.
            let dc_table = if needs_dc { usize::from(pair[1] >> 4) } else { 0 };
            let ac_table = if needs_ac { usize::from(pair[1] & 15) } else { 0 };
            if dc_table > 3 || ac_table > 3 || components.iter().any(|seen: &ScanComponent| seen.index == index) {
                return Err(broken());
            }
            components.push(ScanComponent { index, dc_table, ac_table });
        }
        if count > 1 {
            let blocks: u32 = components
                .iter()
                .map(|part| u32::from(frame.components[part.index].horizontal) * u32::from(frame.components[part.index].vertical))
                .sum();
            if blocks > 10 {
                return Err(Error::malformed(from, format!("interleaved scan has {blocks} blocks in an MCU, 10 are allowed")));
            }
        }
        Ok(Scan { components, first, last, high, low, data_at: self.at })
    }

    fn metadata(&mut self, code: u8, from: usize, body: &[u8]) {
        if self.seen_scan {
            return;
        }
        let segment = |kind, skip: usize| Segment { kind, range: from + skip..from + body.len() };
        let signed = |signature: &[u8]| body.starts_with(signature);
        let segment = match code {
            0xe0 if signed(b"JFIF\0") => {
                self.has_jfif = true;
                segment(SegmentKind::Application(0), 0)
            }
            0xe1 if signed(b"Exif\0") && body.len() >= 6 => segment(SegmentKind::Exif, 6),
            0xe1 if signed(b"http://ns.adobe.com/xap/1.0/\0") => segment(SegmentKind::Xmp, 29),
            0xe1 if signed(b"http://ns.adobe.com/xmp/extension/\0") => segment(SegmentKind::XmpExtension, 35),
            0xe2 if signed(b"ICC_PROFILE\0") && body.len() >= 14 => segment(SegmentKind::Icc { part: body[12], of: body[13] }, 14),
            0xe2 if signed(b"MPF\0") => segment(SegmentKind::Mpf, 4),
            0xee => {
                if let Some([b'A', b'd', b'o', b'b', b'e', .., transform]) = body.get(..12) {
                    self.adobe_transform = Some(*transform);
                }
                segment(SegmentKind::Application(14), 0)
            }
            0xfe => segment(SegmentKind::Comment, 0),
            _ => segment(SegmentKind::Application(code - 0xe0), 0),
        };
        if self.segments.len() < MAX_SEGMENTS {
            self.segments.push(segment);
        }
    }
}

/// A frame header's content.
fn frame(code: u8, at: usize, body: &[u8]) -> Result<Frame, Error> {
    let [precision, high, low, wide_high, wide_low, count, rest @ ..] = body else {
        return Err(Error::malformed(at, "frame header is cut short"));
    };
    if *precision != 8 {
        return Err(Error::unsupported(at, format!("jpeg has {precision} bits a sample, only 8 are decoded")));
    }
    let width = u32::from(u16::from_be_bytes([*wide_high, *wide_low]));
    if width == 0 {
        return Err(Error::malformed(at, "jpeg has no width"));
    }
    if ![1, 3, 4].contains(count) {
        return Err(Error::unsupported(at, format!("jpeg has {count} components, only 1, 3 and 4 are decoded")));
    }
    if rest.len() != 3 * usize::from(*count) {
        return Err(Error::malformed(at, "frame header has another length than its components need"));
    }
    let mut components: Vec<Component> = Vec::with_capacity(usize::from(*count));
    for part in rest.chunks_exact(3) {
        let component = Component { id: part[0], horizontal: part[1] >> 4, vertical: part[1] & 15, quantisation: part[2] };
        if !(1..=4).contains(&component.horizontal) || !(1..=4).contains(&component.vertical) || component.quantisation > 3 {
            return Err(Error::malformed(at, "component has impossible sampling factors or table numbers"));
        }
        if components.iter().any(|seen| seen.id == component.id) {
            return Err(Error::malformed(at, "two components have the same id"));
        }
        components.push(component);
    }
    // The factors of a lone component mean nothing (T.81, A.2.2).
    if let [lone] = components.as_mut_slice() {
        (lone.horizontal, lone.vertical) = (1, 1);
    }
    Ok(Frame {
        coding: if code == 0xc2 { Coding::Progressive } else { Coding::Sequential },
        width,
        height: u32::from(u16::from_be_bytes([*high, *low])),
        components,
        at,
    })
}

/// Where entropy-coded data from `from` end: at the next marker that is neither stuffing nor a restart. `None` where none comes.
pub(crate) fn entropy_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        // Sixty-four bytes at a time while nothing is there but stuffing; this loop is made of vector compares.
        while let Some(chunk) = bytes.get(at..at + 65) {
            let found = chunk[..64].iter().zip(&chunk[1..]).fold(0u8, |found, (&a, &b)| found | (u8::from(a == 0xff) & u8::from(b != 0)));
            if found != 0 {
                break;
            }
            at += 64;
        }
        let end = (at + 64).min(bytes.len());
        while at < end {
            let pair = (bytes[at], *bytes.get(at + 1)?);
            match pair {
                (0xff, 0x00 | 0xd0..=0xd7) => at += 2,
                (0xff, 0xff) => at += 1,
                (0xff, _) => return Some(at),
                _ => at += 1,
            }
        }
        if at >= bytes.len() {
            return None;
        }
    }
}
