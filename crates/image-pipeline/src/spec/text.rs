//! Text inside of an option: base64 for URLs (RFC 4648, section 5) or percent-encoding, for it may hold colons and slashes. Knows nothing of what
//! it is for.

use super::options::MAX_TEXT_CHARS;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The text that `written` stands for: percent-encoded if there is a `%` in it, else base64. `None` if it is neither, not UTF-8, empty, too long,
/// or has control characters in it.
pub(super) fn decode(written: &str) -> Option<String> {
    let bytes = if written.contains('%') { percent_decoded(written)? } else { base64_decoded(written)? };
    String::from_utf8(bytes).ok().filter(|text| is_allowed(text))
}

/// Whether a text may be written on a picture.
pub(super) fn is_allowed(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= MAX_TEXT_CHARS && !text.chars().any(is_invisible)
}

/// Control characters, and those that turn the direction of what follows (Unicode's bidirectional controls).
fn is_invisible(char: char) -> bool {
    char.is_control() || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Base64 for URLs without padding.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len().div_ceil(3) * 4);
    for group in text.as_bytes().chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        out.extend((0..=group.len()).map(|at| char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize])));
    }
    out
}

fn base64_decoded(written: &str) -> Option<Vec<u8>> {
    let digits = written.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        if group.len() == 1 {
            return None;
        }
        let mut bits = 0_u32;
        for digit in group {
            bits = bits << 6 | ALPHABET.iter().position(|known| known == digit)? as u32;
        }
        bits <<= 6 * (4 - group.len());
        out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(out)
}

fn percent_decoded(written: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(written.len());
    let mut rest = written.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else { return None };
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        out.push((digit(high)? * 16 + digit(low)?) as u8);
        rest = after;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_texts() {
        for (written, text) in
            [("SGVsbG8", "Hello"), ("SGVsbG8=", "Hello"), ("wqkgMjAyNg", "© 2026"), ("%C2%A9 2026", "© 2026"), ("a%3Ab%2fc", "a:b/c")]
        {
            assert_eq!(decode(written).as_deref(), Some(text), "{written}");
        }
        for bad in ["", "A", "Hello!", "%", "%4", "%zz", "%00", "%0A", "%FF", "%E2%80%AEabc", "%20", "=="] {
            assert_eq!(decode(bad), None, "{bad}");
        }
        assert_eq!(decode(&encode(&"x".repeat(MAX_TEXT_CHARS + 1))), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(text in "[^\\p{C}]{1,40}") {
            prop_assume!(is_allowed(&text));
            prop_assert_eq!(decode(&encode(&text)), Some(text));
        }
    }
}
