//! `Repr-Digest` (RFC 9530): the SHA-256 a client announces for a file. Pure: text in, bytes out.
//!
//! Invariant: an announced SHA-256 is either understood or refused, never ignored; other algorithms are ignored, as the RFC asks.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::domain::{Code, Refusal};

/// RFC 8941 asks parsers to accept missing padding.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// The SHA-256 in a `Repr-Digest` field value, `None` when only other algorithms are there.
///
/// # Errors
/// `bad_request` when the field has a `sha-256` that is no byte sequence of 32 bytes.
pub fn sha256_of_repr_digest(value: &[u8]) -> Result<Option<[u8; 32]>, Refusal> {
    let malformed = || Refusal::new(Code::BadRequest, "repr-digest is malformed, expected sha-256=:<base64 of 32 bytes>:");
    let mut found = None;
    // A dictionary (RFC 8941): members parted by commas; byte sequences contain none.
    for member in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
        let (key, sequence) = match member.iter().position(|&b| b == b'=') {
            Some(at) => (&member[..at], Some(&member[at + 1..])),
            None => (member, None),
        };
        let key = key.split(|&b| b == b';').next().unwrap_or_default();
        if !key.eq_ignore_ascii_case(b"sha-256") {
            continue;
        }
        let inner = sequence.and_then(|text| text.strip_prefix(b":")).ok_or_else(malformed)?;
        let end = inner.iter().position(|&b| b == b':').ok_or_else(malformed)?;
        let after = inner[end + 1..].trim_ascii();
        if !(after.is_empty() || after.starts_with(b";")) || end > 64 {
            return Err(malformed());
        }
        let bytes = BASE64.decode(&inner[..end]).map_err(|_| malformed())?;
        found = Some(<[u8; 32]>::try_from(bytes).map_err(|_| malformed())?); // of equal keys the last counts
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sha256_is_found_and_others_are_ignored() {
        let text = BASE64.encode([7; 32]);
        let digest = Ok(Some([7; 32]));
        assert_eq!(sha256_of_repr_digest(format!("sha-256=:{text}:").as_bytes()), digest);
        assert_eq!(sha256_of_repr_digest(format!("md5=:AAAA:, SHA-256=:{}:;p=1 ", text.trim_end_matches('=')).as_bytes()), digest);
        assert_eq!(sha256_of_repr_digest(b"sha-512=:YQ==:, unixsum=1"), Ok(None));
        assert_eq!(sha256_of_repr_digest(b""), Ok(None));
    }

    #[test]
    fn malformed_sha256_is_refused() {
        for bad in ["sha-256", "sha-256=", "sha-256=::", "sha-256=:YQ==:", "sha-256=YQ==", "sha-256=:!:", "sha-256=:YQ==", "sha-256;a=:b:"]
        {
            let refusal = sha256_of_repr_digest(bad.as_bytes()).expect_err(bad);
            assert_eq!(refusal.code, Code::BadRequest);
        }
        let text = BASE64.encode([7; 32]);
        assert!(sha256_of_repr_digest(format!("sha-256=:{text}:x").as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = sha256_of_repr_digest(&value);
        }
    }
}
