//! Credit out of IPTC-IIM records, as Photoshop's image resources hold them. Broken records end the reading, never the work.

use super::credit::{Credit, text};

/// IIM 4.2, application record 2.
const RECORD: u8 = 2;
const BY_LINE: u8 = 80;
const CREDIT: u8 = 110;
const COPYRIGHT: u8 = 116;

/// Photoshop's resource of IIM records ("Adobe Photoshop File Formats Specification", image resource 1028).
const IIM_RESOURCE: u16 = 0x0404;

/// Reads records, with or without the resources around them.
pub(super) fn read(block: &[u8]) -> Credit {
    let records = if block.starts_with(b"8BIM") { resource(block).unwrap_or_default() } else { block };
    let mut credit = Credit::default();
    let mut rest = records;
    // A tag marker, record, data set, two bytes of length; extended lengths (above 32767) are no texts.
    while let Some((&[0x1c, record, set, high, low], body)) = rest.split_first_chunk::<5>() {
        let bytes = usize::from(u16::from_be_bytes([high, low]));
        let Some(value) = body.get(..bytes).filter(|_| high < 0x80) else { break };
        rest = &body[bytes..];
        if record != RECORD {
            continue;
        }
        match set {
            BY_LINE => {
                if let Some(name) = text(value) {
                    credit.artist = Some(credit.artist.take().map_or(name.clone(), |others| format!("{others}; {name}")));
                }
            }
            CREDIT => credit.credit = text(value).or(credit.credit),
            COPYRIGHT => credit.copyright = text(value).or(credit.copyright),
            _ => {}
        }
    }
    credit.artist = credit.artist.as_deref().and_then(super::credit::clean);
    credit
}

/// The body of the resource that holds IIM records.
fn resource(mut rest: &[u8]) -> Option<&[u8]> {
    // Signature, number, a name as Pascal has it, padded to an even length, and the length of the body, padded likewise.
    while let Some((b"8BIM", after)) = rest.split_first_chunk::<4>() {
        let (number, after) = after.split_first_chunk::<2>()?;
        let name_bytes = 1 + usize::from(*after.first()?);
        let (length, body) = after.get(name_bytes.next_multiple_of(2)..)?.split_first_chunk::<4>()?;
        let bytes = u32::from_be_bytes(*length) as usize;
        if u16::from_be_bytes(*number) == IIM_RESOURCE {
            return body.get(..bytes);
        }
        rest = body.get(bytes.checked_next_multiple_of(2)?..)?;
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::metadata) fn records(sets: &[(u8, &[u8])]) -> Vec<u8> {
        let record = |&(set, value): &(u8, &[u8])| [&[0x1c, 2, set][..], &(value.len() as u16).to_be_bytes(), value].concat();
        sets.iter().flat_map(record).collect()
    }

    pub(in crate::metadata) fn resources(records: &[u8]) -> Vec<u8> {
        let mut block = b"8BIM\x03\xed\0\0\0\0\0\x03abc\0".to_vec();
        block.extend(b"8BIM\x04\x04\x03iim");
        block.extend((records.len() as u32).to_be_bytes());
        block.extend(records);
        block
    }

    #[test]
    fn records_are_read_bare_and_among_resources() {
        let records = records(&[(80, b"Ann"), (5, b"a title"), (80, b"Bob"), (110, b"Agency"), (116, b"\xa9 2024 Ann")]);
        let wanted = Credit {
            copyright: Some("\u{a9} 2024 Ann".to_owned()),
            artist: Some("Ann; Bob".to_owned()),
            credit: Some("Agency".to_owned()),
        };
        assert_eq!(read(&records), wanted);
        let block = resources(&records);
        assert_eq!(read(&block), wanted);
        for end in 0..block.len() {
            let _ = read(&block[..end]);
            let _ = read(&records[..end.min(records.len())]);
        }
        assert_eq!(read(b"8BIM\x04\x04\0\0\xff\xff\xff\xff"), Credit::default());
    }
}
