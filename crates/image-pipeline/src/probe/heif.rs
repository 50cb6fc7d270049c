//! Pictures in ISO base media files (HEIF, ISO/IEC 23008-12; AVIF): which item is shown, of what tiles, where their bytes lie, and what its
//! properties say.
//!
//! Works on the body of the `meta` box alone. Invariants: no allocation follows a number in the file that the bytes present do not bear
//! out; tiles are bounded by [`MAX_TILES`]; what cannot be told is `None` or an error, never a guess at another item.

use super::{Orientation, bmff::Fields, track::Sequence};
use crate::codec::Cicp;
use std::ops::Range;

/// Tiles of a grid at most: 256 by 256 is what the format can say; phones have some fifty.
const MAX_TILES: usize = 4096;
/// Items looked at.
const MAX_ITEMS: u32 = 16_384;

/// Why no picture was found in a `meta` box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Broken(&'static str),
    Unsupported(&'static str),
}

/// How the samples of an item are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Av1,
    Hevc,
}

/// A coded picture, of one tile or of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coded {
    pub(crate) coding: Coding,
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    pub(crate) columns: u32,
    pub(crate) tile_width_px: u32,
    pub(crate) tile_height_px: u32,
    /// Where each tile's bytes lie in the file, row by row.
    pub(crate) tiles: Vec<Vec<Range<u64>>>,
    /// 8, 10 or 12.
    pub(crate) bits: u8,
    pub(crate) monochrome: bool,
    /// Chroma of half the width, of half the height.
    pub(crate) subsampled: (bool, bool),
    /// It comes in several layers, each better than the one before.
    pub(crate) layered: bool,
    pub(crate) operating_point: u8,
}

/// What is shown of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heif {
    pub(crate) colour: Coded,
    pub(crate) alpha: Option<Coded>,
    /// Colours are multiplied by alpha.
    pub(crate) premultiplied: bool,
    /// The part that is shown: left, top, width, height, in pixels before turning.
    pub(crate) crop: [u32; 4],
    pub(crate) orientation: Orientation,
    /// The colour profile.
    pub(crate) icc: Option<Vec<u8>>,
    pub(crate) cicp: Option<Cicp>,
    /// The film beside the picture, of the same sides, where its tables can be used.
    pub(crate) sequence: Option<Sequence>,
}

/// Properties of an item that matter here.
#[derive(Clone, Copy, Default)]
struct Properties<'b> {
    size_px: Option<(u32, u32)>,
    config: Option<(Coding, Config)>,
    turn: u8,
    mirror: Option<u8>,
    /// The mirror comes before the turn.
    mirror_first: bool,
    aperture: Option<[u32; 8]>,
    icc: Option<&'b [u8]>,
    cicp: Option<Cicp>,
    auxiliary: Option<&'b [u8]>,
    layered: bool,
    operating_point: u8,
    unknown_essential: bool,
}

#[derive(Clone, Copy)]
struct Config {
    bits: u8,
    monochrome: bool,
    subsampled: (bool, bool),
}

/// The boxes of a `meta` box, unread.
#[derive(Default)]
pub(super) struct Meta<'b> {
    handler: Option<[u8; 4]>,
    primary: Option<Fields<'b>>,
    info: Option<Fields<'b>>,
    references: Option<Fields<'b>>,
    locations: Option<Fields<'b>>,
    properties: Option<Fields<'b>>,
}

impl<'b> Meta<'b> {
    /// Whether a box of this type is one that [`Meta::put`] keeps.
    pub(super) fn wants(kind: [u8; 4]) -> bool {
        matches!(&kind, b"hdlr" | b"pitm" | b"iinf" | b"iref" | b"iloc" | b"iprp")
    }

    /// Keeps the body of a box.
    pub(super) fn put(&mut self, kind: [u8; 4], body: Fields<'b>) {
        match &kind {
            b"hdlr" => self.handler = body.0.get(8..12).and_then(|kind| kind.try_into().ok()),
            b"pitm" => self.primary = Some(body),
            b"iinf" => self.info = Some(body),
            b"iref" => self.references = Some(body),
            b"iloc" => self.locations = Some(body),
            b"iprp" => self.properties = Some(body),
            _ => {}
        }
    }

    /// The picture that is shown. `data_at` is where the body of `idat` lies in the file; `read` gives some bytes of the file.
    pub(super) fn picture<E: From<Fault>>(
        &self,
        data_at: Option<u64>,
        read: &mut dyn FnMut(Range<u64>) -> Result<Vec<u8>, E>,
    ) -> Result<Heif, E> {
        let broken = |text| Fault::Broken(text);
        if self.handler != Some(*b"pict") {
            return Err(Fault::Unsupported("file holds no pictures").into());
        }
        let items = Items {
            kinds: kinds(self.info).ok_or(broken("its list of items is broken"))?,
            references: references(self.references).ok_or(broken("its references are broken"))?,
            locations: locations(self.locations, data_at).ok_or(broken("its places of items are broken"))?,
            properties: properties(self.properties).ok_or(broken("its properties are broken"))?,
        };
        let primary = self.primary.and_then(primary).ok_or(broken("it says no picture to be shown"))?;
        let own = items.properties_of(primary);
        let colour = items.coded(primary, read)?;
        let alpha_item = items.auxiliary(primary, ALPHA);
        let alpha = alpha_item.map(|item| items.coded(item, read)).transpose()?;
        if alpha.as_ref().is_some_and(|alpha| (alpha.width_px, alpha.height_px) != (colour.width_px, colour.height_px)) {
            return Err(Fault::Unsupported("its transparency has another size than its colours").into());
        }
        let premultiplied = alpha_item.is_some_and(|alpha| items.refers(primary, *b"prem").contains(&alpha));
        let crop = match own.aperture {
            Some(aperture) => crop(aperture, colour.width_px, colour.height_px).ok_or(broken("its clean aperture lies outside"))?,
            None => [0, 0, colour.width_px, colour.height_px],
        };
        Ok(Heif {
            orientation: orientation(&own),
            crop,
            premultiplied,
            alpha,
            colour,
            icc: own.icc.map(<[u8]>::to_vec),
            cicp: own.cicp,
            sequence: None,
        })
    }
}

const ALPHA: [&[u8]; 2] = [b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"];

struct Reference {
    kind: [u8; 4],
    from: u32,
    to: Vec<u32>,
}

/// Each list in the order of ids.
struct Items<'b> {
    kinds: Vec<(u32, [u8; 4])>,
    references: Vec<Reference>,
    locations: Vec<(u32, Vec<Range<u64>>)>,
    properties: Vec<(u32, Properties<'b>)>,
}

/// In the order of ids; of two of one id the first stays first.
fn ordered<T>(mut all: Vec<(u32, T)>) -> Vec<(u32, T)> {
    all.sort_by_key(|(id, _)| *id);
    all
}

fn of_item<T>(all: &[(u32, T)], item: u32) -> Option<&T> {
    all.get(all.partition_point(|(id, _)| *id < item)).filter(|(id, _)| *id == item).map(|(_, found)| found)
}

impl<'b> Items<'b> {
    fn properties_of(&self, item: u32) -> Properties<'b> {
        of_item(&self.properties, item).copied().unwrap_or_default()
    }

    fn refers(&self, item: u32, kind: [u8; 4]) -> &[u32] {
        self.references.iter().find(|found| found.from == item && found.kind == kind).map_or(&[], |found| &found.to)
    }

    /// The first item that says it is something of `item`'s, of these types.
    fn auxiliary(&self, item: u32, types: [&[u8]; 2]) -> Option<u32> {
        let all = self.references.iter().filter(|found| found.kind == *b"auxl" && found.to.contains(&item));
        all.map(|found| found.from).find(|&from| self.properties_of(from).auxiliary.is_some_and(|kind| types.contains(&kind)))
    }

    fn location(&self, item: u32) -> Result<&Vec<Range<u64>>, Fault> {
        of_item(&self.locations, item).ok_or(Fault::Broken("an item of it has no place"))
    }

    fn coded<E: From<Fault>>(&self, item: u32, read: &mut dyn FnMut(Range<u64>) -> Result<Vec<u8>, E>) -> Result<Coded, E> {
        let kind = of_item(&self.kinds, item);
        let own = self.properties_of(item);
        if own.unknown_essential {
            return Err(Fault::Unsupported("it has a property that is not read here").into());
        }
        match kind {
            Some(b"av01" | b"hvc1") => {
                let size = own.size_px.ok_or(Fault::Broken("it does not say its size"))?;
                Ok(one(&own, size, (1, size), vec![self.location(item)?.clone()])?)
            }
            Some(b"grid") => {
                let tiles = self.refers(item, *b"dimg");
                let first = tiles.first().map(|&tile| self.properties_of(tile)).ok_or(Fault::Broken("its grid has no tiles"))?;
                let tile_px = first.size_px.ok_or(Fault::Broken("its tiles do not say their size"))?;
                let mut bytes = Vec::new();
                for extent in self.location(item)? {
                    // ImageGrid (ISO/IEC 23008-12, 6.6.2.3.2) has at most 12 bytes.
                    bytes.extend(read(extent.start..extent.end.min(extent.start.saturating_add(12)))?);
                }
                let (rows, columns, size) = grid(&bytes).ok_or(Fault::Broken("its grid is broken"))?;
                let covers = |count: u32, tile: u32, side: u32| u64::from(count) * u64::from(tile) >= u64::from(side);
                if tiles.len() > MAX_TILES || tiles.len() as u64 != u64::from(rows) * u64::from(columns) {
                    return Err(Fault::Broken("its grid has another number of tiles than it says").into());
                }
                if !covers(columns, tile_px.0, size.0) || !covers(rows, tile_px.1, size.1) {
                    return Err(Fault::Broken("its tiles do not cover it").into());
                }
                let alike = |&tile: &u32| {
                    let other = self.properties_of(tile);
                    let is_picture = matches!(of_item(&self.kinds, tile), Some(b"av01" | b"hvc1"));
                    is_picture && other.size_px == first.size_px && !other.unknown_essential
                };
                if !tiles.iter().all(alike) {
                    return Err(Fault::Unsupported("its tiles are not alike").into());
                }
                let places = tiles.iter().map(|&tile| self.location(tile).cloned()).collect::<Result<_, Fault>>()?;
                Ok(one(&first, size, (columns, tile_px), places)?)
            }
            Some(_) => Err(Fault::Unsupported("its picture is of a kind that is not read here").into()),
            None => Err(Fault::Broken("its picture is not among its items").into()),
        }
    }
}

fn one(
    of: &Properties<'_>,
    (width_px, height_px): (u32, u32),
    (columns, (tile_width_px, tile_height_px)): (u32, (u32, u32)),
    tiles: Vec<Vec<Range<u64>>>,
) -> Result<Coded, Fault> {
    let (coding, Config { bits, monochrome, subsampled }) = of.config.ok_or(Fault::Broken("it does not say how it is coded"))?;
    let (layered, operating_point) = (of.layered, of.operating_point);
    let none = tile_width_px == 0 || tile_height_px == 0;
    if none {
        return Err(Fault::Broken("its tiles have no pixels"));
    }
    Ok(Coded {
        coding,
        width_px,
        height_px,
        columns,
        tile_width_px,
        tile_height_px,
        tiles,
        bits,
        monochrome,
        subsampled,
        layered,
        operating_point,
    })
}

fn primary(mut fields: Fields<'_>) -> Option<u32> {
    let (version, _) = fields.version()?;
    fields.id(version > 0)
}

/// Item ids and types (`iinf`, `infe` of version 2 and more).
fn kinds(fields: Option<Fields<'_>>) -> Option<Vec<(u32, [u8; 4])>> {
    let mut fields = fields?;
    let (version, _) = fields.version()?;
    let count = fields.id(version > 0)?;
    let mut kinds = Vec::new();
    for _ in 0..count.min(MAX_ITEMS) {
        let Some((kind, mut entry)) = fields.child() else { break };
        let (version, _) = entry.version()?;
        if kind != *b"infe" || version < 2 {
            continue;
        }
        let item = entry.id(version > 2)?;
        entry.u16()?;
        kinds.push((item, entry.take(4)?.try_into().ok()?));
    }
    Some(ordered(kinds))
}

fn references(fields: Option<Fields<'_>>) -> Option<Vec<Reference>> {
    let Some(mut fields) = fields else { return Some(Vec::new()) };
    let (version, _) = fields.version()?;
    let wide = version > 0;
    let mut all = Vec::new();
    while let Some((kind, mut entry)) = fields.child() {
        let from = entry.id(wide)?;
        let count = entry.u16()?;
        let to = (0..count).map(|_| entry.id(wide)).collect::<Option<Vec<u32>>>()?;
        all.push(Reference { kind, from, to });
    }
    Some(all)
}

/// Where items lie (`iloc`). Those built of other items, and extents of the rest of a file, are left out.
fn locations(fields: Option<Fields<'_>>, data_at: Option<u64>) -> Option<Vec<(u32, Vec<Range<u64>>)>> {
    let mut fields = fields?;
    let (version, _) = fields.version()?;
    let sizes = fields.u16()?;
    let nibble = |at: u16| ((sizes >> at) & 15) as u8;
    let (offset_bytes, length_bytes, base_bytes) = (nibble(12), nibble(8), nibble(4));
    let index_bytes = if version > 0 { nibble(0) } else { 0 };
    let count = fields.id(version > 1)?;
    let mut all = Vec::new();
    for _ in 0..count.min(MAX_ITEMS) {
        let item = fields.id(version > 1)?;
        let method = if version > 0 { fields.u16()? & 15 } else { 0 };
        fields.u16()?;
        let base = fields.sized(base_bytes)?;
        let extents = fields.u16()?;
        let mut places = Vec::new();
        let mut usable = method <= 1;
        for _ in 0..extents {
            fields.sized(index_bytes)?;
            let (offset, length) = (fields.sized(offset_bytes)?, fields.sized(length_bytes)?);
            let within = if method == 1 { data_at } else { Some(0) };
            match within.and_then(|at| at.checked_add(base)?.checked_add(offset)) {
                Some(start) if length > 0 => places.push(start..start.checked_add(length)?),
                _ => usable = false,
            }
        }
        if usable && !places.is_empty() {
            all.push((item, places));
        }
    }
    Some(ordered(all))
}

/// Rows, columns and size of a grid.
fn grid(bytes: &[u8]) -> Option<(u32, u32, (u32, u32))> {
    let mut fields = Fields(bytes);
    let (version, flags) = (fields.u8()?, fields.u8()?);
    if version != 0 {
        return None;
    }
    let (rows, columns) = (u32::from(fields.u8()?) + 1, u32::from(fields.u8()?) + 1);
    let wide = flags & 1 == 1;
    let size = (fields.id(wide)?, fields.id(wide)?);
    Some((rows, columns, size))
}

/// Properties of each item (`ipco`, `ipma`).
fn properties(fields: Option<Fields<'_>>) -> Option<Vec<(u32, Properties<'_>)>> {
    let mut fields = fields?;
    let mut defined = Vec::new();
    let mut all = Vec::new();
    while let Some((kind, mut body)) = fields.child() {
        match &kind {
            b"ipco" => {
                while let Some(property) = body.child() {
                    defined.push(property);
                }
            }
            b"ipma" => {
                let (version, flags) = body.version()?;
                let count = body.u32()?;
                for _ in 0..count.min(MAX_ITEMS) {
                    let item = body.id(version > 0)?;
                    let associations = body.u8()?;
                    let mut found = Properties::default();
                    for _ in 0..associations {
                        let (essential, index) = if flags & 1 == 1 {
                            let word = body.u16()?;
                            (word >> 15 == 1, usize::from(word & 0x7fff))
                        } else {
                            let byte = body.u8()?;
                            (byte >> 7 == 1, usize::from(byte & 0x7f))
                        };
                        if index > 0 {
                            let (kind, property) = *defined.get(index - 1)?;
                            found.add(kind, property, essential)?;
                        }
                    }
                    all.push((item, found));
                }
            }
            _ => {}
        }
    }
    Some(ordered(all))
}

impl<'b> Properties<'b> {
    fn add(&mut self, kind: [u8; 4], mut body: Fields<'b>, essential: bool) -> Option<()> {
        match &kind {
            b"ispe" => {
                body.version()?;
                self.size_px = Some((body.u32()?, body.u32()?));
            }
            b"av1C" => {
                body.u16()?;
                // AV1 in ISOBMFF, 2.3.3: tier, high bit depth, 12 bits, monochrome, both subsamplings.
                let packed = body.u8()?;
                let bit = |at: u8| packed >> at & 1 == 1;
                let bits = [8, 10, 12][if bit(6) { 1 + usize::from(bit(5)) } else { 0 }];
                self.config = Some((Coding::Av1, Config { bits, monochrome: bit(4), subsampled: (bit(3), bit(2)) }));
            }
            b"hvcC" => {
                // ISO/IEC 14496-15, 8.3.3.1: chroma format and depth lie behind 16 bytes.
                body.take(16)?;
                let (chroma, depth) = (body.u8()? & 3, body.u8()? & 7);
                let config = Config { bits: 8 + depth, monochrome: chroma == 0, subsampled: (matches!(chroma, 1 | 2), chroma == 1) };
                self.config = Some((Coding::Hevc, config));
            }
            b"irot" => {
                self.turn = body.u8()? & 3;
                self.mirror_first = self.mirror.is_some();
            }
            b"imir" => self.mirror = Some(body.u8()? & 1),
            b"clap" => {
                let mut numbers = [0; 8];
                for number in &mut numbers {
                    *number = body.u32()?;
                }
                self.aperture = Some(numbers);
            }
            b"colr" => match body.take(4)? {
                b"nclx" => {
                    let (primaries, transfer, matrix) = (body.u16()?, body.u16()?, body.u16()?);
                    self.cicp = Some(Cicp { primaries, transfer, matrix, full_range: body.u8()? >> 7 == 1 });
                }
                b"prof" | b"rICC" => self.icc = Some(body.0),
                _ => {}
            },
            b"auxC" => {
                body.version()?;
                let end = body.0.iter().position(|&byte| byte == 0).unwrap_or(body.0.len());
                self.auxiliary = Some(&body.0[..end]);
            }
            b"a1op" => self.operating_point = body.u8()? & 31,
            b"a1lx" => self.layered = true,
            // Of a layered picture the best is shown: 0xffff says just that.
            b"lsel" => self.unknown_essential |= body.u16()? != 0xffff,
            b"pixi" | b"pasp" | b"clli" | b"mdcv" | b"cclv" | b"amve" | b"reve" | b"ndwt" => {}
            _ => self.unknown_essential |= essential,
        }
        Some(())
    }
}

/// What brings the stored picture upright: `irot` turns by quarters against the clock, `imir` mirrors top to bottom (0) or left to right (1).
fn orientation(of: &Properties<'_>) -> Orientation {
    use Orientation::{FlipHorizontal, FlipVertical, Rotate90, Rotate180, Rotate270, Transpose, Transverse, Upright};
    // A mirror before a turn is one behind the opposite turn.
    let turn = if of.mirror_first { (4 - of.turn) % 4 } else { of.turn };
    let [plain, vertical, horizontal] = [
        [Upright, FlipVertical, FlipHorizontal],
        [Rotate270, Transpose, Transverse],
        [Rotate180, FlipHorizontal, FlipVertical],
        [Rotate90, Transverse, Transpose],
    ][usize::from(turn)];
    match of.mirror {
        None => plain,
        Some(0) => vertical,
        Some(_) => horizontal,
    }
}

/// The clean aperture (ISO/IEC 14496-12, 12.1.4) as left, top, width and height; `None` where it is not whole pixels within the picture.
fn crop([wn, wd, hn, hd, xn, xd, yn, yd]: [u32; 8], width_px: u32, height_px: u32) -> Option<[u32; 4]> {
    // Of a side: its length, and how far its middle lies from the picture's, as fractions.
    let side = |n: u32, d: u32, off_n: u32, off_d: u32, whole_px: u32| -> Option<(u32, u32)> {
        if d == 0 || off_d == 0 || !n.is_multiple_of(d) {
            return None;
        }
        let length_px = i64::from(n / d);
        // left = (whole - 1) / 2 + off - (length - 1) / 2, in halves over `off_d`.
        let off = i64::from(off_n.cast_signed());
        let d = i64::from(off_d);
        let halves = (i64::from(whole_px) - length_px).checked_mul(d)?.checked_add(2 * off)?;
        let (start, rest) = (halves.div_euclid(2 * d), halves.rem_euclid(2 * d));
        let fits = rest == 0 && length_px > 0 && start >= 0 && start + length_px <= i64::from(whole_px);
        fits.then_some((u32::try_from(start).ok()?, u32::try_from(length_px).ok()?))
    };
    let (left, width) = side(wn, wd, xn, xd, width_px)?;
    let (top, height) = side(hn, hd, yn, yd, height_px)?;
    Some([left, top, width, height])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_and_mirrors_are_exif_orientations() {
        // As HEIF's readers map them: angle, axis, number.
        let known =
            [(0, None, 1), (0, Some(1), 2), (2, None, 3), (0, Some(0), 4), (1, Some(0), 5), (3, None, 6), (3, Some(0), 7), (1, None, 8)];
        for (turn, mirror, number) in known {
            let found = orientation(&Properties { turn, mirror, ..Properties::default() });
            assert_eq!(found.exif(), number, "{turn} {mirror:?}");
        }
        // Mirrored left to right, then a quarter against the clock: rows and columns change places.
        let first = Properties { turn: 1, mirror: Some(1), mirror_first: true, ..Properties::default() };
        assert_eq!(orientation(&first), Orientation::Transpose);
    }

    #[test]
    fn apertures_are_whole_pixels() {
        assert_eq!(crop([6, 1, 4, 1, 0, 1, 0, 1], 10, 8), Some([2, 2, 6, 4]));
        // Shifted by -1 and 1/2.
        assert_eq!(crop([6, 1, 5, 1, u32::MAX, 1, 1, 2], 10, 8), Some([1, 2, 6, 5]));
        for broken in [
            [6, 0, 4, 1, 0, 1, 0, 1],
            [11, 1, 4, 1, 0, 1, 0, 1],
            [6, 1, 5, 1, 0, 1, 0, 1],
            [7, 2, 4, 1, 0, 1, 0, 1],
            [0, 1, 4, 1, 0, 1, 0, 1],
        ] {
            assert_eq!(crop(broken, 10, 8), None, "{broken:?}");
        }
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "one place is a list of one")]
    fn places_of_items_of_all_versions() {
        let place = |version: u8, body: &[u8]| locations(Some(Fields(&[&[version, 0, 0, 0], body].concat())), Some(100));
        let zero = place(0, b"\x44\0\0\x01\0\x07\0\0\0\x01\0\0\0\x20\0\0\0\x05").unwrap();
        assert_eq!(zero, [(7, vec![32..37])]);
        let one = place(1, b"\x44\0\0\x01\0\x07\0\x01\0\0\0\x01\0\0\0\x20\0\0\0\x05").unwrap();
        assert_eq!(one, [(7, vec![132..137])]);
        let two = place(2, b"\x44\x40\0\0\0\x01\0\0\0\x07\0\0\0\0\0\0\x01\0\0\x02\0\0\0\x01\0\0\0\x02\0\0\0\x05\0\0\0\x03").unwrap();
        assert_eq!(two, [(7, vec![257..259, 261..264])]);
        assert!(place(0, b"\x44\0\xff\xff").is_none());
    }
}
