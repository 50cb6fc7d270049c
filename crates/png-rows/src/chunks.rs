//! The chunks of a file (clause 5.3): a way to its picture's data, piece by piece, and to its end.
//!
//! Knows nothing of what a chunk holds. Invariant: bytes of a piece are only given out once its checksum was right.

use crate::fault::Fault;

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// Of length, type and checksum.
const FRAME_BYTES: usize = 12;

struct Chunk<'s> {
    kind: [u8; 4],
    body: &'s [u8],
    checksum: u32,
}

impl Chunk<'_> {
    fn is_whole(&self) -> bool {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.kind);
        hasher.update(self.body);
        hasher.finalize() == self.checksum
    }

    /// One that may not be passed over (clause 5.4).
    fn is_critical(&self) -> bool {
        self.kind[0] & 0x20 == 0
    }
}

/// The pieces of a picture's data.
pub(crate) struct Pieces<'s> {
    /// Behind the last chunk that was looked at.
    rest: &'s [u8],
}

impl<'s> Pieces<'s> {
    /// Of the file's default image; what stands before it is passed over unread.
    pub(crate) fn of(file: &'s [u8]) -> Result<Self, Fault> {
        let Some(mut rest) = file.strip_prefix(&SIGNATURE) else { return Err(Fault::Malformed("it does not begin as png files do")) };
        loop {
            let (chunk, behind) = chunk(rest)?;
            match &chunk.kind {
                b"IDAT" => return Ok(Self { rest }),
                b"IEND" => return Err(Fault::Malformed("it has no picture")),
                _ => rest = behind,
            }
        }
    }

    /// The next piece; `None` where chunks of another type follow.
    pub(crate) fn next(&mut self) -> Result<Option<&'s [u8]>, Fault> {
        let (chunk, behind) = chunk(self.rest)?;
        if chunk.kind != *b"IDAT" {
            return Ok(None);
        }
        if !chunk.is_whole() {
            return Err(Fault::Malformed("the checksum of its picture's data is wrong"));
        }
        self.rest = behind;
        Ok(Some(chunk.body))
    }

    /// As [`next`](Self::next), but `None`, and to be asked for again, where the piece has `most_bytes` or more.
    pub(crate) fn next_below(&mut self, most_bytes: usize) -> Result<Option<&'s [u8]>, Fault> {
        let (chunk, _) = chunk(self.rest)?;
        if chunk.body.len() < most_bytes { self.next() } else { Ok(None) }
    }

    /// Passes over what is left of the data, then over all other chunks to the file's end.
    pub(crate) fn finish(&mut self) -> Result<(), Fault> {
        while self.next()?.is_some() {}
        loop {
            let (chunk, behind) = chunk(self.rest)?;
            self.rest = behind;
            if chunk.is_critical() && !chunk.is_whole() {
                return Err(Fault::Malformed("the checksum of a chunk is wrong"));
            }
            match &chunk.kind {
                b"IEND" => return Ok(()),
                b"IHDR" | b"PLTE" | b"IDAT" => return Err(Fault::Malformed("a chunk stands where none of its kind may")),
                _ if chunk.is_critical() => return Err(Fault::Malformed("it has a chunk of an unknown kind that may not be passed over")),
                _ => {}
            }
        }
    }
}

/// The chunk that `rest` begins with, and what is behind it.
fn chunk(rest: &[u8]) -> Result<(Chunk<'_>, &[u8]), Fault> {
    let word = |at: usize| rest.get(at..at + 4).and_then(<[u8]>::first_chunk).map(|bytes| u32::from_be_bytes(*bytes));
    let length = word(0).ok_or(Fault::Truncated)?;
    if length > i32::MAX as u32 {
        return Err(Fault::Malformed("a chunk says it is longer than any may be"));
    }
    let end = length as usize + FRAME_BYTES - 4;
    let checksum = word(end).ok_or(Fault::Truncated)?;
    let kind = *rest[4..].first_chunk().expect("the checksum lies behind it");
    Ok((Chunk { kind, body: &rest[8..end], checksum }, &rest[end + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(kind);
        hasher.update(body);
        [&(body.len() as u32).to_be_bytes(), &kind[..], body, &hasher.finalize().to_be_bytes()].concat()
    }

    fn file(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        [SIGNATURE.to_vec(), chunks.iter().flat_map(|(kind, body)| framed(kind, body)).collect()].concat()
    }

    #[test]
    fn pieces_come_in_order_and_the_end_is_asked_for() {
        let whole =
            file(&[(b"IHDR", b"13"), (b"gAMA", b"1"), (b"IDAT", b"ab"), (b"IDAT", b""), (b"IDAT", b"c"), (b"tEXt", b"x"), (b"IEND", b"")]);
        let mut pieces = Pieces::of(&whole).unwrap();
        assert_eq!(
            [pieces.next(), pieces.next(), pieces.next(), pieces.next()],
            [Ok(Some(&b"ab"[..])), Ok(Some(b"")), Ok(Some(b"c")), Ok(None)]
        );
        assert_eq!(pieces.finish(), Ok(()));
        for cut in 8..whole.len() {
            let cut = Pieces::of(&whole[..cut]).and_then(|mut pieces| pieces.finish());
            assert_eq!(cut, Err(Fault::Truncated));
        }
    }

    #[test]
    fn what_may_not_stand_behind_the_data_is_refused() {
        let late: [(&[u8; 4], bool); 6] =
            [(b"IDAT", false), (b"IHDR", false), (b"PLTE", false), (b"ABCD", false), (b"zTXt", true), (b"abcd", true)];
        for (kind, allowed) in late {
            let file = file(&[(b"IDAT", b"ab"), (b"tIME", b""), (kind, b"x"), (b"IEND", b"")]);
            assert_eq!(Pieces::of(&file).unwrap().finish().is_ok(), allowed, "{}", kind.escape_ascii());
        }
    }

    #[test]
    fn checksums_of_data_and_end_are_verified() {
        for (kind, wrong) in [(b"IDAT", true), (b"IEND", true), (b"tEXt", false)] {
            let mut file = file(&[(b"IDAT", b"ab"), (b"tEXt", b"x"), (b"IEND", b"")]);
            let at = file.windows(4).position(|four| four == kind).unwrap();
            let body = u32::from_be_bytes(*file[at - 4..].first_chunk().unwrap()) as usize;
            file[at + 4 + body] ^= 1;
            assert_eq!(Pieces::of(&file).unwrap().finish().is_err(), wrong, "{}", kind.escape_ascii());
        }
    }
}
