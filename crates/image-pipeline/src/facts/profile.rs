//! The name a colour profile gives itself: ICC.1:2022, 7.2 and 9.2.41, and the text types of its versions 2 and 4. A profile that is broken
//! has none.

use super::clean;

/// Tags of a profile that are looked at: real ones have some tens.
const MOST_TAGS: usize = 100;

/// What `profile` says in its `desc` tag.
pub(super) fn name(profile: &[u8]) -> Option<String> {
    let long = |bytes: &[u8], at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?) as usize);
    let tags = long(profile, 128)?.min(MOST_TAGS);
    let entry = (0..tags).map(|tag| 132 + 12 * tag).find(|&at| profile.get(at..at + 4) == Some(b"desc"))?;
    let tag = profile.get(long(profile, entry + 4)?..)?;
    match tag.first_chunk()? {
        b"desc" => {
            let text = tag.get(12..)?.get(..long(tag, 8)?)?;
            Some(clean(&String::from_utf8_lossy(text.split(|byte| *byte == 0).next()?)))
        }
        b"mluc" => {
            // The first of its languages, in UTF-16.
            let text = tag.get(long(tag, 24)?..)?.get(..long(tag, 20)?.min(4096))?;
            let units: Vec<u16> = text.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            Some(clean(&String::from_utf16_lossy(&units)))
        }
        _ => None,
    }
    .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A profile of one tag.
    fn profile(tag: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes.extend(1_u32.to_be_bytes());
        bytes.extend([&b"desc"[..], &144_u32.to_be_bytes(), &(tag.len() as u32).to_be_bytes()].concat());
        bytes.extend(tag);
        bytes
    }

    #[test]
    fn both_kinds_of_text_are_read() {
        let old = [&b"desc\0\0\0\0"[..], &11_u32.to_be_bytes(), b"Display P3\0"].concat();
        assert_eq!(name(&profile(&old)).as_deref(), Some("Display P3"));
        let text: Vec<u8> = "Ä\u{202e}1".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let head =
            [&b"mluc\0\0\0\0"[..], &1_u32.to_be_bytes(), &12_u32.to_be_bytes(), b"enUS", &6_u32.to_be_bytes(), &28_u32.to_be_bytes()]
                .concat();
        let new = profile(&[head, text].concat());
        assert_eq!(name(&new).as_deref(), Some("Ä1"));
        for end in 0..new.len() {
            let _ = name(&new[..end]);
        }
        for at in 128..new.len() {
            let mut bad = new.clone();
            bad[at] = 0xff;
            let _ = name(&bad);
        }
        assert_eq!(name(&[0xff; 200]), None);
    }
}
