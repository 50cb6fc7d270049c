//! Boxes of the ISO base media file format (ISO/IEC 14496-12, clause 4): their heads, and the fields of small ones.
//!
//! Knows nothing of what they mean. Reading past an end is `None`, never a panic.

/// The next fields of a box's body, big-endian.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'b>(pub(super) &'b [u8]);

impl<'b> Fields<'b> {
    pub(super) fn take(&mut self, bytes: usize) -> Option<&'b [u8]> {
        let (head, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// 16 or 32 bits.
    pub(super) fn id(&mut self, wide: bool) -> Option<u32> {
        if wide { self.u32() } else { self.u16().map(u32::from) }
    }

    /// A number of 0, 4 or 8 bytes; other widths do not exist.
    pub(super) fn sized(&mut self, bytes: u8) -> Option<u64> {
        match bytes {
            0 => Some(0),
            4 => self.u32().map(u64::from),
            8 => self.u64(),
            _ => None,
        }
    }

    /// Version and flags of a full box.
    pub(super) fn version(&mut self) -> Option<(u8, u32)> {
        let word = self.u32()?;
        Some(((word >> 24) as u8, word & 0x00ff_ffff))
    }

    /// The next box within this one: its type and body. A size of 0 reaches to the end.
    pub(super) fn child(&mut self) -> Option<([u8; 4], Fields<'b>)> {
        let head = BoxHead::read(self)?;
        let bytes = match head.body_bytes {
            Some(bytes) => usize::try_from(bytes).ok()?,
            None => self.0.len(),
        };
        Some((head.kind, Self(self.take(bytes)?)))
    }
}

/// The head of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BoxHead {
    pub(super) kind: [u8; 4],
    /// `None`: to the end of the file.
    pub(super) body_bytes: Option<u64>,
}

impl BoxHead {
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (size, kind) = (fields.u32()?, fields.array()?);
        let large = if size == 1 { Some(fields.u64()?) } else { None };
        Self::of(size, kind, large)
    }

    /// From the three numbers of a head; `None` where it says that it is smaller than itself.
    pub(super) fn of(size: u32, kind: [u8; 4], large: Option<u64>) -> Option<Self> {
        let body_bytes = match (size, large) {
            (0, _) => None,
            (1, large) => Some(large?.checked_sub(16)?),
            (size, _) => Some(u64::from(size).checked_sub(8)?),
        };
        Some(Self { kind, body_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_three_kinds() {
        let mut fields = Fields(b"\0\0\0\x0aabcdxy\0\0\0\x01efgh\0\0\0\0\0\0\0\x11z\0\0\0\0ijklrest");
        assert!(matches!(fields.child(), Some(([b'a', ..], Fields(b"xy")))));
        assert!(matches!(fields.child(), Some(([b'e', ..], Fields(b"z")))));
        assert!(matches!(fields.child(), Some(([b'i', ..], Fields(b"rest")))));
        assert!(fields.child().is_none());
        for broken in [&b"\0\0\0\x07abcd"[..], b"\0\0\0\x09abcd", b"\0\0\0\x01abcd\0\0\0\0\0\0\0\x0f", b"\0\0\0"] {
            assert!(Fields(broken).child().is_none(), "{broken:?}");
        }
    }
}
