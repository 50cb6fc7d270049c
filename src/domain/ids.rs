//! Identifiers as newtypes: one kind of id can never be passed for another.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use super::Timestamp;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID made by an `IdSource` or read back from the catalog.
            #[must_use]
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// The UUID inside.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            /// Reads the hyphenated form only (36 characters): an id has one spelling in URLs.
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                let id = Uuid::try_parse(text)?;
                let mut spelling = Uuid::encode_buffer();
                if *id.as_hyphenated().encode_lower(&mut spelling) == *text {
                    Ok(Self(id))
                } else {
                    // Any malformed text yields the crate's own error value.
                    Err(Uuid::try_parse("").err().unwrap_or_else(|| unreachable!("an empty text is no UUID")))
                }
            }
        }
    };
}

id!(
    /// One client request or transfer.
    UploadId
);
id!(
    /// A complete stored original, as one upload knows it.
    ImageId
);
id!(
    /// The durable unit of work: all variants wanted of one image.
    JobId
);
id!(
    /// One variant inside a job.
    TaskId
);
id!(
    /// Further work at all stored images that match a filter.
    BatchId
);
id!(
    /// Stored bytes; also their key in a `BlobStore`.
    BlobId
);
id!(
    /// A worker's hold on a job; a late worker's token no longer matches and its result is refused.
    LeaseToken
);

impl BlobId {
    /// The time its id carries: the first 48 bits, milliseconds (RFC 9562, section 5.7).
    #[must_use]
    pub fn made_at(self) -> Timestamp {
        let [a, b, c, d, e, f, ..] = *self.0.as_bytes();
        Timestamp::from_millis(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

/// The name of a variant: `[a-z0-9_-]{1,64}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariantName(String);

impl VariantName {
    /// Longest name in bytes.
    pub const MAX_BYTES: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VariantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for VariantName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if !text.is_empty() && text.len() <= Self::MAX_BYTES && text.bytes().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("variant name {text:?} must be 1 to 64 characters of a-z, 0-9, '_' and '-'"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_spelling() {
        let text = "0198c0de-0000-7000-8000-00000000abcd";
        assert_eq!(text.parse::<ImageId>().expect("valid").to_string(), text);
        for bad in
            ["", "0198C0DE-0000-7000-8000-00000000ABCD", "0198c0de00007000800000000000abcd", "{0198c0de-0000-7000-8000-00000000abcd}"]
        {
            assert!(bad.parse::<ImageId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn variant_names_are_limited() {
        assert!("thumb_2-x".parse::<VariantName>().is_ok());
        for bad in ["", "Thumb", "a/b", "a.b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<VariantName>().is_err(), "{bad}");
        }
    }
}
