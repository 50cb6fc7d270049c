//! Exif blocks: the few tags that may leave, read from a source's block and written into a new one. TIFF's structure is that of TIFF 6.0, tags
//! and their meanings those of Exif 2.32.
//!
//! Invariant: only tags of [`PICTURE`] and [`CAMERA`] ever leave, each no longer than [`MAX_TEXT_BYTES`] or [`MAX_CAMERA_BYTES`]; directories are
//! bounded, and what is broken is left out.

use super::credit::{Credit, text};
use crate::probe::Orientation;

/// Longest value kept of the first directory, and of the camera's.
const MAX_TEXT_BYTES: usize = 1024;
const MAX_CAMERA_BYTES: usize = 256;
/// Entries looked at in a directory.
const MAX_ENTRIES: u16 = 256;

const DESCRIPTION: u16 = 0x010e;
const MAKE: u16 = 0x010f;
const MODEL: u16 = 0x0110;
const ORIENTATION: u16 = 0x0112;
const SOFTWARE: u16 = 0x0131;
const DATE_TIME: u16 = 0x0132;
const ARTIST: u16 = 0x013b;
const COPYRIGHT: u16 = 0x8298;
const CAMERA_DIRECTORY: u16 = 0x8769;
const COLOUR_SPACE: u16 = 0xa001;

/// Kept of the first directory: what the picture is, its maker, resolution, times. Artist and copyright come from [`Credit`].
const PICTURE: &[u16] = &[DESCRIPTION, MAKE, MODEL, 0x011a, 0x011b, 0x0128, SOFTWARE, DATE_TIME];

/// Kept of the camera's directory: exposure, times, lens, scene. Not: makers' notes (0x927c), comments (0x9286), sizes and places in the
/// picture (0x9214, 0xa002, 0xa003, 0xa214), the owner's name and serial numbers (0xa430, 0xa431, 0xa435), identities (0xa420).
const CAMERA: &[u16] = &[
    0x829a, 0x829d, 0x8822, 0x8827, 0x8830, 0x8831, 0x8832, 0x8833, 0x9000, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9201, 0x9202, 0x9203,
    0x9204, 0x9205, 0x9206, 0x9207, 0x9208, 0x9209, 0x920a, 0x9290, 0x9291, 0x9292, 0xa20e, 0xa20f, 0xa210, 0xa215, 0xa217, 0xa300, 0xa301,
    0xa401, 0xa402, 0xa403, 0xa404, 0xa405, 0xa406, 0xa407, 0xa408, 0xa409, 0xa40a, 0xa40c, 0xa432, 0xa433, 0xa434,
];

/// TIFF 6.0's field types, and Exif 3.0's UTF-8.
const SHORT: u16 = 3;
const ASCII: u16 = 2;
const LONG: u16 = 4;

/// Bytes of one value of a type.
const fn value_bytes(kind: u16) -> Option<usize> {
    match kind {
        1 | ASCII | 6 | 7 | 129 => Some(1),
        SHORT | 8 => Some(2),
        LONG | 9 | 11 => Some(4),
        5 | 10 | 12 => Some(8),
        _ => None,
    }
}

/// A source's block.
pub(super) struct Source<'b> {
    tiff: &'b [u8],
    little_endian: bool,
}

/// One entry of a directory, its value in the block's byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u32,
    value: Vec<u8>,
}

impl<'b> Source<'b> {
    /// A block that begins with a TIFF header, or with `Exif\0\0` before one.
    pub(super) fn new(block: &'b [u8]) -> Option<Self> {
        let tiff = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
        let little_endian = match tiff.first_chunk::<4>()? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        Some(Self { tiff, little_endian })
    }

    fn short(&self, at: usize) -> Option<u16> {
        let bytes = *self.tiff.get(at..)?.first_chunk::<2>()?;
        Some(if self.little_endian { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn long(&self, at: usize) -> Option<u32> {
        let bytes = *self.tiff.get(at..)?.first_chunk::<4>()?;
        Some(if self.little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// The place of a tag's entry in the directory that begins at `directory`.
    fn find(&self, directory: usize, tag: u16) -> Option<usize> {
        let entries = self.short(directory)?.min(MAX_ENTRIES);
        (0..usize::from(entries)).map(|entry| directory.saturating_add(2 + entry * 12)).find(|&at| self.short(at) == Some(tag))
    }

    fn entry(&self, directory: usize, tag: u16, most_bytes: usize) -> Option<Entry> {
        let at = self.find(directory, tag)?;
        let (kind, count) = (self.short(at + 2)?, self.long(at + 4)?);
        let bytes = value_bytes(kind)?.checked_mul(count as usize).filter(|bytes| (1..=most_bytes).contains(bytes))?;
        let from = if bytes <= 4 { at + 8 } else { self.long(at + 8)? as usize };
        let value = self.tiff.get(from..from.checked_add(bytes)?)?.to_vec();
        Some(Entry { tag, kind, count, value })
    }

    fn entries(&self, directory: usize, tags: &[u16], most_bytes: usize) -> Vec<Entry> {
        tags.iter().filter_map(|&tag| self.entry(directory, tag, most_bytes)).collect()
    }

    fn first_directory(&self) -> Option<usize> {
        Some(self.long(4)? as usize)
    }

    fn camera_directory(&self) -> Option<usize> {
        let at = self.find(self.first_directory()?, CAMERA_DIRECTORY)?;
        Some(self.long(at + 8)? as usize)
    }
}

/// Copyright and artist of a source's block.
pub(super) fn read_credit(source: &Source<'_>) -> Credit {
    let read = |tag| {
        source.first_directory().and_then(|directory| source.entry(directory, tag, MAX_TEXT_BYTES)).and_then(|entry| text(&entry.value))
    };
    // Exif 2.32, 4.6.5: the photographer's copyright, NUL, the editor's; both are kept.
    Credit { copyright: read(COPYRIGHT), artist: read(ARTIST), credit: None }
}

/// A block that says no more than who made the picture and who owns it.
pub(super) fn credit(credit: &Credit) -> Option<Vec<u8>> {
    let entries = credit_entries(credit);
    (!entries.is_empty()).then(|| write(entries, Vec::new(), true))
}

/// A block of all that may leave. `orientation` is what is still to be done; `own_colours` says that colours are not sRGB.
pub(super) fn all(source: Option<&Source<'_>>, credit: &Credit, orientation: Orientation, own_colours: bool) -> Option<Vec<u8>> {
    let little_endian = source.is_none_or(|source| source.little_endian);
    let short = |tag, value: u16| {
        let value = if little_endian { value.to_le_bytes() } else { value.to_be_bytes() };
        Entry { tag, kind: SHORT, count: 1, value: value.to_vec() }
    };
    let mut picture =
        source.and_then(|source| Some(source.entries(source.first_directory()?, PICTURE, MAX_TEXT_BYTES))).unwrap_or_default();
    let mut camera =
        source.and_then(|source| Some(source.entries(source.camera_directory()?, CAMERA, MAX_CAMERA_BYTES))).unwrap_or_default();
    picture.extend(credit_entries(credit));
    if picture.is_empty() && camera.is_empty() && orientation == Orientation::Upright {
        return None;
    }
    picture.push(short(ORIENTATION, u16::from(orientation.exif())));
    if !camera.is_empty() {
        // Exif 2.32, 4.6.5: 1 is sRGB, 0xffff anything else.
        camera.push(short(COLOUR_SPACE, if own_colours { u16::MAX } else { 1 }));
    }
    Some(write(picture, camera, little_endian))
}

fn credit_entries(credit: &Credit) -> Vec<Entry> {
    let entry = |tag, text: &Option<String>| {
        let value = [text.as_ref()?.as_bytes(), &[0]].concat();
        Some(Entry { tag, kind: ASCII, count: value.len() as u32, value })
    };
    [entry(ARTIST, &credit.artist), entry(COPYRIGHT, &credit.copyright)].into_iter().flatten().collect()
}

/// A TIFF stream of a directory and, where it has entries, the camera's.
fn write(mut picture: Vec<Entry>, camera: Vec<Entry>, little_endian: bool) -> Vec<u8> {
    let long = |value: u32| if little_endian { value.to_le_bytes() } else { value.to_be_bytes() };
    let has_camera = !camera.is_empty();
    if has_camera {
        // Overwritten below, when it is known where it lies.
        picture.push(Entry { tag: CAMERA_DIRECTORY, kind: LONG, count: 1, value: vec![0; 4] });
    }
    let header = if little_endian { *b"II*\0" } else { *b"MM\0*" };
    let mut out = [header, long(8)].concat();
    let pointer = directory(&mut out, picture, little_endian);
    if let Some(at) = pointer.filter(|_| has_camera) {
        let start = long(out.len() as u32);
        out[at..at + 4].copy_from_slice(&start);
        directory(&mut out, camera, little_endian);
    }
    out
}

/// Appends a directory and its values; says where the pointer to the camera's directory lies, if it has one.
fn directory(out: &mut Vec<u8>, mut entries: Vec<Entry>, little_endian: bool) -> Option<usize> {
    let short = |value: u16| if little_endian { value.to_le_bytes() } else { value.to_be_bytes() };
    let long = |value: u32| if little_endian { value.to_le_bytes() } else { value.to_be_bytes() };
    entries.sort_by_key(|entry| entry.tag);
    let mut place = out.len() + 2 + 12 * entries.len() + 4;
    let mut values = Vec::new();
    let mut pointer = None;
    out.extend(short(entries.len() as u16));
    for Entry { tag, kind, count, value } in &entries {
        out.extend(short(*tag));
        out.extend(short(*kind));
        out.extend(long(*count));
        if *tag == CAMERA_DIRECTORY {
            pointer = Some(out.len());
        }
        if value.len() <= 4 {
            out.extend(value);
            out.resize(out.len() + 4 - value.len(), 0);
        } else {
            out.extend(long(place as u32));
            values.extend(value);
            // TIFF 6.0: values begin at even places.
            values.resize(values.len().next_multiple_of(2), 0);
            place += value.len().next_multiple_of(2);
        }
    }
    out.extend([0; 4]);
    out.extend(values);
    pointer
}
