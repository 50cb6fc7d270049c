//! The bits of a picture's data, lowest first (RFC 1951, 3.1.1), across the pieces it comes in.
//!
//! Knows nothing of codes. Small pieces are gathered, so that most of the data lies in one stretch of memory for those who look at many places
//! of it at once. Invariant: `held` counts bits that are there; what lies above them in `word` is either theirs too or zero, so a refill may
//! set it again.

use crate::chunks::Pieces;
use crate::fault::Fault;

/// Pieces smaller than this are put together until they are as much.
const GATHERED: usize = 64 << 10;

/// Some of the data in one stretch.
pub(crate) enum Whole<'s> {
    /// A piece as it lies in the file.
    Piece(&'s [u8]),
    Gathered(Vec<u8>),
}

impl Whole<'_> {
    #[inline(always)]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Piece(piece) => piece,
            Self::Gathered(pieces) => pieces,
        }
    }
}

pub(crate) struct Bits<'s> {
    pieces: Pieces<'s>,
    /// The last stretch of the data.
    pub(crate) whole: Whole<'s>,
    /// Its first byte that was not taken into `word`.
    pub(crate) at: usize,
    pub(crate) word: u64,
    pub(crate) held: u32,
    /// No piece follows.
    ended: bool,
}

impl<'s> Bits<'s> {
    pub(crate) fn new(pieces: Pieces<'s>) -> Self {
        Self { pieces, whole: Whole::Piece(&[]), at: 0, word: 0, held: 0, ended: false }
    }

    /// Takes in what fits, from the next pieces too; less than 56 bits are held only at the end of all.
    #[inline(never)]
    pub(crate) fn refill(&mut self) -> Result<(), Fault> {
        self.word &= (1 << self.held) - 1;
        while self.held < 56 {
            if let Some(&byte) = self.whole.bytes().get(self.at) {
                self.word |= u64::from(byte) << self.held;
                self.held += 8;
                self.at += 1;
            } else if !self.next()? {
                break;
            }
        }
        Ok(())
    }

    /// Goes on to the data behind `whole`; false where there is none.
    fn next(&mut self) -> Result<bool, Fault> {
        if self.ended {
            return Ok(false);
        }
        let Some(piece) = self.pieces.next()? else {
            self.ended = true;
            return Ok(false);
        };
        self.at = 0;
        if piece.len() >= GATHERED {
            self.whole = Whole::Piece(piece);
            return Ok(true);
        }
        let mut gathered = match std::mem::replace(&mut self.whole, Whole::Piece(&[])) {
            Whole::Gathered(bytes) => bytes,
            Whole::Piece(_) => Vec::new(),
        };
        gathered.clear();
        gathered.extend_from_slice(piece);
        while gathered.len() < GATHERED
            && let Some(piece) = self.pieces.next_below(GATHERED)?
        {
            gathered.extend_from_slice(piece);
        }
        self.whole = Whole::Gathered(gathered);
        Ok(true)
    }

    /// Passes over `count` bits, of at most 63.
    ///
    /// # Errors
    /// `Truncated` where so many are not there.
    pub(crate) fn pass(&mut self, count: u32) -> Result<(), Fault> {
        self.held = self.held.checked_sub(count).ok_or(Fault::Truncated)?;
        self.word >>= count;
        Ok(())
    }

    /// The value of the next `count` bits, at most 32.
    pub(crate) fn take(&mut self, count: u32) -> Result<u32, Fault> {
        if self.held < count {
            self.refill()?;
        }
        let value = (self.word & ((1 << count) - 1)) as u32;
        self.pass(count)?;
        Ok(value)
    }

    /// Passes over what is left of a byte.
    pub(crate) fn align(&mut self) -> Result<(), Fault> {
        self.pass(self.held % 8)
    }

    /// Copies bytes, behind [`align`](Self::align), to `out`; returns how many.
    ///
    /// # Errors
    /// `Truncated` where there is none.
    pub(crate) fn bytes(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        let mut copied = 0;
        while copied < out.len() {
            if self.held > 0 {
                out[copied] = self.word as u8;
                self.pass(8)?;
                copied += 1;
                continue;
            }
            // What was beyond the held bits would be taken for them.
            self.word = 0;
            let rest = &self.whole.bytes()[self.at..];
            let some = rest.len().min(out.len() - copied);
            out[copied..copied + some].copy_from_slice(&rest[..some]);
            (self.at, copied) = (self.at + some, copied + some);
            if some == 0 && !self.next()? {
                break;
            }
        }
        if copied == 0 && !out.is_empty() { Err(Fault::Truncated) } else { Ok(copied) }
    }

    /// Passes over all that is left, to the end of the file.
    pub(crate) fn finish(&mut self) -> Result<(), Fault> {
        self.pieces.finish()
    }
}
