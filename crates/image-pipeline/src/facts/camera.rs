//! How a photo was taken, out of its Exif block: Exif 2.32's directories, a fixed list of tags, nothing else.
//!
//! Knows nothing of files. Where it was taken and serial numbers are not on the list, so they cannot get out; every string is cut, and freed
//! of what is no text; no allocation follows a number found in the block, and no entry is looked at twice.

use super::{MOST_CHARACTERS, clean};

/// What a camera wrote, as far as it is told; a member that is missing, broken or empty is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Camera {
    /// Who made it.
    pub make: Option<String>,
    /// Which one it is.
    pub model: Option<String>,
    /// The lens' name.
    pub lens: Option<String>,
    /// Its clock, `2026-05-04T12:31:07`, with the offset from UTC where it was told (`+02:00`).
    pub taken_at: Option<String>,
    /// Seconds, above 0.
    pub exposure_time_s: Option<f64>,
    /// Focal length through the aperture's diameter, above 0.
    pub f_number: Option<f64>,
    /// Sensitivity, above 0.
    pub iso: Option<u32>,
    /// Millimetres, above 0.
    pub focal_length_mm: Option<f64>,
    /// What wrote the file.
    pub software: Option<String>,
    /// Who took it.
    pub artist: Option<String>,
    /// Whose it is.
    pub copyright: Option<String>,
}

// Exif 2.32, tables 3, 4, 7 and 8; 0x9011 is of 2.31.
const MAKE: u16 = 0x010f;
const MODEL: u16 = 0x0110;
const SOFTWARE: u16 = 0x0131;
const DATE_TIME: u16 = 0x0132;
const ARTIST: u16 = 0x013b;
const COPYRIGHT: u16 = 0x8298;
const EXIF_DIRECTORY: u16 = 0x8769;
const EXPOSURE_TIME: u16 = 0x829a;
const F_NUMBER: u16 = 0x829d;
const ISO: u16 = 0x8827;
const TAKEN_AT: u16 = 0x9003;
const TAKEN_AT_OFFSET: u16 = 0x9011;
const FOCAL_LENGTH: u16 = 0x920a;
const LENS: u16 = 0xa434;

// TIFF 6.0 field types; 129 is UTF-8 of Exif 3.0.
const ASCII: u16 = 2;
const SHORT: u16 = 3;
const LONG: u16 = 4;
const RATIONAL: u16 = 5;
const UTF8: u16 = 129;

impl Camera {
    /// Of a block that starts with a TIFF header or with `Exif\0\0` before one; `None` if it says nothing of all this.
    pub(super) fn from_exif(block: &[u8]) -> Option<Self> {
        let tiff = Tiff::new(block.strip_prefix(b"Exif\0\0").unwrap_or(block))?;
        let mut camera = Self::default();
        let (mut exif, mut written_at, mut offset) = (None, None, None);
        for entry in tiff.directory(tiff.long(4)? as usize) {
            match entry.tag {
                MAKE => camera.make = tiff.text(entry),
                MODEL => camera.model = tiff.text(entry),
                SOFTWARE => camera.software = tiff.text(entry),
                ARTIST => camera.artist = tiff.text(entry),
                COPYRIGHT => camera.copyright = tiff.text(entry),
                DATE_TIME => written_at = tiff.text(entry),
                EXIF_DIRECTORY => exif = tiff.whole(entry),
                _ => {}
            }
        }
        for entry in exif.into_iter().flat_map(|at| tiff.directory(at as usize)) {
            match entry.tag {
                EXPOSURE_TIME => camera.exposure_time_s = tiff.rational(entry),
                F_NUMBER => camera.f_number = tiff.rational(entry),
                ISO => camera.iso = tiff.whole(entry).filter(|iso| *iso > 0),
                FOCAL_LENGTH => camera.focal_length_mm = tiff.rational(entry),
                LENS => camera.lens = tiff.text(entry),
                TAKEN_AT => camera.taken_at = tiff.text(entry),
                TAKEN_AT_OFFSET => offset = tiff.text(entry),
                _ => {}
            }
        }
        // Of a picture that was worked on, `DateTime` is when that was; it is better than nothing.
        let told = camera.taken_at.take().or(written_at);
        camera.taken_at = told.and_then(|text| time(&text, offset.as_deref()));
        (camera != Self::default()).then_some(camera)
    }
}

/// Exif's `2026:05:04 12:31:07` as `2026-05-04T12:31:07`, with the offset if it is one; `None` if it is no time.
fn time(text: &str, offset: Option<&str>) -> Option<String> {
    let (date, clock) = text.split_once(' ')?;
    let numbers = |text: &str, lengths: [usize; 3], ranges: [std::ops::RangeInclusive<u32>; 3]| {
        let parts: Vec<&str> = text.split(':').collect();
        parts.len() == 3
            && parts.iter().zip(lengths).zip(ranges).all(|((part, length), range)| {
                part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit()) && part.parse().is_ok_and(|n| range.contains(&n))
            })
    };
    // Years before cameras were, and 0000 of a clock that was never set, are no time.
    if !numbers(date, [4, 2, 2], [1800..=9999, 1..=12, 1..=31]) || !numbers(clock, [2, 2, 2], [0..=23, 0..=59, 0..=60]) {
        return None;
    }
    let is_offset = |text: &&str| {
        let bytes = text.as_bytes();
        matches!(bytes, [b'+' | b'-', h0, h1, b':', m0, m1] if [h0, h1, m0, m1].iter().all(|byte| byte.is_ascii_digit()))
    };
    Some(format!("{}T{clock}{}", date.replace(':', "-"), offset.filter(is_offset).unwrap_or_default()))
}

/// One field of a directory.
#[derive(Clone, Copy)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u32,
    /// Where its value, or the offset of that, stands.
    at: usize,
}

/// A block that starts with a TIFF header.
#[derive(Clone, Copy)]
struct Tiff<'b> {
    bytes: &'b [u8],
    is_little_endian: bool,
}

impl<'b> Tiff<'b> {
    fn new(bytes: &'b [u8]) -> Option<Self> {
        let is_little_endian = match bytes.first_chunk::<4>()? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        Some(Self { bytes, is_little_endian })
    }

    fn short(self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.is_little_endian { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn long(self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.is_little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// The entries of a directory as far as they are there.
    fn directory(self, at: usize) -> impl Iterator<Item = Entry> + use<'b> {
        let entries = usize::from(self.short(at).unwrap_or_default());
        (0..entries).map_while(move |entry| {
            let at = at.checked_add(2 + entry * 12)?;
            Some(Entry { tag: self.short(at)?, kind: self.short(at + 2)?, count: self.long(at + 4)?, at: at + 8 })
        })
    }

    /// `bytes` of its value.
    fn value(self, entry: Entry, bytes: usize) -> Option<&'b [u8]> {
        let at = if bytes <= 4 { entry.at } else { self.long(entry.at)? as usize };
        self.bytes.get(at..at.checked_add(bytes)?)
    }

    fn text(self, entry: Entry) -> Option<String> {
        let bytes = self.value(entry, entry.count as usize).filter(|_| matches!(entry.kind, ASCII | UTF8))?;
        // A copyright holds two, the photographer's first; what lies behind the first NUL of others is rubbish.
        let first = bytes.split(|byte| *byte == 0).find(|part| part.iter().any(|byte| !byte.is_ascii_whitespace()))?;
        // Four bytes a character at the most.
        let text = String::from_utf8_lossy(&first[..first.len().min(4 * MOST_CHARACTERS)]);
        Some(clean(&text)).filter(|text| !text.is_empty())
    }

    fn whole(self, entry: Entry) -> Option<u32> {
        match (entry.kind, entry.count) {
            (SHORT, 1..) => self.short(entry.at).map(u32::from),
            (LONG, 1..) => self.long(entry.at),
            _ => None,
        }
    }

    fn rational(self, entry: Entry) -> Option<f64> {
        if entry.kind != RATIONAL || entry.count == 0 {
            return None;
        }
        let at = self.long(entry.at)? as usize;
        let (over, under) = (self.long(at)?, self.long(at.checked_add(4)?)?);
        (over > 0 && under > 0).then(|| f64::from(over) / f64::from(under))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value as it is written.
    #[derive(Clone, Copy)]
    enum Value<'v> {
        Text(&'v [u8]),
        Short(u16),
        Long(u32),
        Rational(u32, u32),
    }

    /// A block of two directories, values behind them.
    fn block(is_little_endian: bool, first: &[(u16, Value<'_>)], exif: &[(u16, Value<'_>)]) -> Vec<u8> {
        let short = |value: u16| if is_little_endian { value.to_le_bytes() } else { value.to_be_bytes() };
        let long = |value: u32| if is_little_endian { value.to_le_bytes() } else { value.to_be_bytes() };
        let size = |entries: usize| 2 + 12 * entries + 4;
        let exif_at = 8 + size(first.len() + 1);
        let mut values_at = exif_at + size(exif.len());
        let mut bytes = if is_little_endian { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        bytes.extend(long(8));
        let mut behind = Vec::new();
        let pointer = [(EXIF_DIRECTORY, Value::Long(exif_at as u32))];
        for entries in [[first, &pointer].concat(), exif.to_vec()] {
            bytes.extend(short(entries.len() as u16));
            for (tag, value) in entries {
                let (kind, count, value) = match value {
                    Value::Text(text) => (ASCII, text.len() as u32, text.to_vec()),
                    Value::Short(value) => (SHORT, 1, short(value).to_vec()),
                    Value::Long(value) => (LONG, 1, long(value).to_vec()),
                    Value::Rational(over, under) => (RATIONAL, 1, [long(over), long(under)].concat()),
                };
                bytes.extend([short(tag), short(kind)].concat());
                bytes.extend(long(count));
                if value.len() <= 4 {
                    bytes.extend([&value[..], &[0; 4][value.len()..]].concat());
                } else {
                    bytes.extend(long(values_at as u32));
                    values_at += value.len();
                    behind.extend(value);
                }
            }
            bytes.extend([0; 4]);
        }
        bytes.extend(behind);
        bytes
    }

    const FIRST: &[(u16, Value<'_>)] = &[
        (MAKE, Value::Text(b"Acme\0")),
        (MODEL, Value::Text(b"A\x1b[31m-1  \0rubbish")),
        (COPYRIGHT, Value::Text(b" \0Ed \xe2\x80\xae\xc3\xa4\0")),
        (DATE_TIME, Value::Text(b"2026:01:01 00:00:00\0")),
    ];
    const EXIF: &[(u16, Value<'_>)] = &[
        (EXPOSURE_TIME, Value::Rational(1, 250)),
        (F_NUMBER, Value::Rational(28, 10)),
        (ISO, Value::Short(400)),
        (FOCAL_LENGTH, Value::Rational(35, 0)),
        (TAKEN_AT, Value::Text(b"2025:12:31 23:59:58\0")),
        (TAKEN_AT_OFFSET, Value::Text(b"+01:00\0")),
        // Serial numbers of body and lens.
        (0xa431, Value::Text(b"SERIAL-1\0")),
        (0xa435, Value::Text(b"SERIAL-2\0")),
    ];

    #[test]
    fn tells_what_is_on_the_list_in_both_byte_orders() {
        for is_little_endian in [true, false] {
            let plain = block(is_little_endian, FIRST, EXIF);
            let camera = Camera::from_exif(&plain).unwrap();
            let want = Camera {
                make: Some("Acme".into()),
                model: Some("A[31m-1".into()),
                copyright: Some("Ed ä".into()),
                taken_at: Some("2025-12-31T23:59:58+01:00".into()),
                exposure_time_s: Some(0.004),
                f_number: Some(2.8),
                iso: Some(400),
                ..Camera::default()
            };
            assert_eq!(camera, want);
            assert_eq!(Camera::from_exif(&[b"Exif\0\0", &plain[..]].concat()), Some(want));
            assert!(!format!("{camera:?}").contains("SERIAL"));
        }
    }

    #[test]
    fn broken_blocks_say_less_and_never_fail() {
        let good = block(true, FIRST, EXIF);
        for end in 0..good.len() {
            let _ = Camera::from_exif(&good[..end]);
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = Camera::from_exif(&bad);
            }
        }
        assert_eq!(Camera::from_exif(b""), None);
        assert_eq!(Camera::from_exif(&block(true, &[(0x0112, Value::Short(6))], &[])), None);
        // A directory that leads to itself is read once.
        assert_eq!(Camera::from_exif(&block(true, &[(EXIF_DIRECTORY, Value::Long(8))], &[])), None);
        let long = [b'x'; 4000];
        let camera = Camera::from_exif(&block(true, &[(MAKE, Value::Text(&long))], &[])).unwrap();
        assert_eq!(camera.make.unwrap().len(), MOST_CHARACTERS);
    }

    #[test]
    fn only_times_are_times() {
        assert_eq!(time("2026:02:03 04:05:06", Some("nonsense")).as_deref(), Some("2026-02-03T04:05:06"));
        assert_eq!(time("2026:02:03 04:05:06", Some("-03:30")).as_deref(), Some("2026-02-03T04:05:06-03:30"));
        for text in [
            "",
            "    :  :     :  :  ",
            "0000:00:00 00:00:00",
            "2026:13:01 00:00:00",
            "2026-01-01 00:00:00",
            "2026:01:01 24:00:00",
            "2026:01:01",
        ] {
            assert_eq!(time(text, None), None, "{text}");
        }
    }
}
