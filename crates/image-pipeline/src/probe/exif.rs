//! The orientation tag out of an Exif block. Knows TIFF's first directory only; broken metadata means upright, never an error.

use super::Orientation;

/// As much of a block as is looked at: the first directory of every camera lies in the first kilobytes (a JPEG segment ends at 64 KiB).
pub(super) const MAX_READ_BYTES: u64 = 64 * 1024;

/// Exif 2.32, 4.6.4 A: orientation of the image in terms of rows and columns.
const TAG_ORIENTATION: u16 = 0x0112;
/// TIFF 6.0 field types.
const TYPE_SHORT: u16 = 3;
const TYPE_LONG: u16 = 4;

/// Reads the orientation of a block that starts with a TIFF header or with `Exif\0\0` before one.
pub(super) fn orientation(block: &[u8]) -> Orientation {
    let tiff = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    find(tiff).unwrap_or_default()
}

fn find(tiff: &[u8]) -> Option<Orientation> {
    let little_endian = match tiff.first_chunk::<4>()? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| -> Option<u16> {
        let bytes = *tiff.get(at..)?.first_chunk::<2>()?;
        Some(if little_endian { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| -> Option<u32> {
        let bytes = *tiff.get(at..)?.first_chunk::<4>()?;
        Some(if little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = long(4)? as usize;
    let entries = usize::from(short(directory)?);
    for entry in 0..entries {
        let at = directory.checked_add(2 + entry * 12)?;
        if short(at)? != TAG_ORIENTATION {
            continue;
        }
        let number = match short(at + 2)? {
            TYPE_SHORT => u32::from(short(at + 8)?),
            TYPE_LONG => long(at + 8)?,
            _ => return None,
        };
        return Orientation::from_exif(number);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(little_endian: bool, entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let short = |value: u16| if little_endian { value.to_le_bytes() } else { value.to_be_bytes() };
        let long = |value: u32| if little_endian { value.to_le_bytes() } else { value.to_be_bytes() };
        let mut bytes = if little_endian { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        bytes.extend(long(8));
        bytes.extend(short(entries.len() as u16));
        for &(tag, kind, value) in entries {
            bytes.extend(short(tag));
            bytes.extend(short(kind));
            bytes.extend(long(1));
            if kind == TYPE_SHORT {
                bytes.extend(short(value as u16));
                bytes.extend([0, 0]);
            } else {
                bytes.extend(long(value));
            }
        }
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn reads_both_byte_orders_both_types_and_the_prefix() {
        for little_endian in [true, false] {
            for kind in [TYPE_SHORT, TYPE_LONG] {
                for wanted in Orientation::ALL {
                    let plain = block(little_endian, &[(0x010f, TYPE_LONG, 7), (TAG_ORIENTATION, kind, u32::from(wanted.exif()))]);
                    assert_eq!(orientation(&plain), wanted);
                    assert_eq!(orientation(&[b"Exif\0\0", &plain[..]].concat()), wanted);
                }
            }
        }
    }

    #[test]
    fn broken_metadata_is_upright() {
        let good = block(true, &[(TAG_ORIENTATION, TYPE_SHORT, 6)]);
        for end in 0..good.len() - 6 {
            assert_eq!(orientation(&good[..end]), Orientation::Upright, "cut at {end}");
        }
        for number in [0, 9, 255, 65535] {
            assert_eq!(orientation(&block(true, &[(TAG_ORIENTATION, TYPE_SHORT, number)])), Orientation::Upright);
        }
        let mut far = good.clone();
        far[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(orientation(&far), Orientation::Upright);
        assert_eq!(orientation(&block(true, &[(TAG_ORIENTATION, 2, 6)])), Orientation::Upright);
    }
}
