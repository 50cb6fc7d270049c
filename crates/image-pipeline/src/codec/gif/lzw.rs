//! LZW as GIF has it (GIF89a specification, appendix F): data sub-blocks to indices, and indices to codes. Knows nothing of frames or colours.
//!
//! Every string of the table is a stretch of what was written already, so the table holds places, not letters, and a code is one copy.
//! Invariant: nothing is written outside of `out`, no stretch reaches behind what was written, and each code read takes bits of the source.

use crate::{
    codec::ENCODE,
    error::{Error, ErrorKind},
    probe::Format,
    watch::Watch,
};

/// Bytes that `out` must be longer than the picture, so that copies may go in steps.
pub(super) const SLACK: usize = STEP;
/// Bytes copied at a time.
const STEP: usize = 16;
/// Codes there are: 12 bits.
const CODES: usize = 4096;

/// Why a picture is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The source ends.
    Truncated,
    /// The data end before the picture is full, or hold a code that means nothing.
    Malformed,
}

/// Where a string lies in what was written.
#[derive(Clone, Copy, Default)]
struct Stretch {
    start: u32,
    length: u32,
}

/// Indices packed between two looks at the watch: several milliseconds.
const PACKED_A_LOOK: usize = 1 << 18;

/// Indices to what `gif` writes as a frame packed before: bits of an index, and codes.
///
/// # Errors
/// `Internal`; as [`Watch::check`].
pub(super) fn pack(indices: Vec<u8>, watch: Watch<'_>) -> Result<Vec<u8>, Error> {
    let broken = || Error::new(ErrorKind::Internal, ENCODE, "gif could not be packed").in_format(Format::Gif);
    let largest = indices.iter().copied().max().unwrap_or(0);
    // Two bits at least: one has no room for the codes that mean something else.
    let bits = (u32::from(largest) + 1).max(4).next_power_of_two().trailing_zeros() as u8;
    let mut packed = vec![bits];
    let mut encoder = weezl::encode::Encoder::new(weezl::BitOrder::Lsb, bits);
    let mut codes = [0; 1 << 12];
    for band in indices.chunks(PACKED_A_LOOK) {
        watch.check(ENCODE)?;
        let mut left = band;
        while !left.is_empty() {
            let made = encoder.encode_bytes(left, &mut codes);
            if made.status.is_err() || made.consumed_in + made.consumed_out == 0 {
                return Err(broken());
            }
            packed.extend_from_slice(&codes[..made.consumed_out]);
            left = &left[made.consumed_in..];
        }
    }
    encoder.finish();
    loop {
        let made = encoder.encode_bytes(&[], &mut codes);
        packed.extend_from_slice(&codes[..made.consumed_out]);
        match made.status {
            Ok(weezl::LzwStatus::Done) => return Ok(packed),
            Ok(_) if made.consumed_out > 0 => {}
            _ => return Err(broken()),
        }
    }
}

/// The table, kept from frame to frame.
pub(super) struct Decoder {
    strings: Box<[Stretch; CODES]>,
}

/// The bits of a chain of sub-blocks.
struct Bits<'s> {
    source: &'s [u8],
    /// The next byte not taken in.
    at: usize,
    /// Bytes left in this sub-block.
    left: usize,
    word: u64,
    /// Valid bits in `word`, low ones first.
    count: u32,
    /// The terminator was read.
    ended: bool,
}

impl Bits<'_> {
    /// Takes in what fits; less at the end.
    #[inline]
    fn fill(&mut self) {
        if self.left >= 8
            && let Some(bytes) = self.source.get(self.at..).and_then(|rest| rest.first_chunk::<8>())
        {
            // Bits above the valid ones are those of the same bytes, which come again.
            self.word |= u64::from_le_bytes(*bytes) << self.count;
            let taken = (63 - self.count) as usize / 8;
            self.at += taken;
            self.left -= taken;
            self.count += taken as u32 * 8;
            return;
        }
        while self.count <= 56 && !self.ended {
            if self.left == 0 {
                match self.source.get(self.at) {
                    Some(&size) if size > 0 => self.left = usize::from(size),
                    found => {
                        self.ended = true;
                        // Where there is no terminator, `at` stays behind the end.
                        self.at += usize::from(found.is_none());
                    }
                }
                self.at += 1;
                continue;
            }
            let Some(&byte) = self.source.get(self.at) else {
                self.ended = true;
                self.at += 2;
                return;
            };
            self.word |= u64::from(byte) << self.count;
            self.count += 8;
            self.at += 1;
            self.left -= 1;
        }
    }
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { strings: Box::new([Stretch::default(); CODES]) }
    }

    /// Decodes the sub-blocks that begin at `source[at]` to `pixels` indices, which are the first of `out`, [`SLACK`] bytes longer. Returns
    /// where the terminator of the chain is behind. What is over is left out.
    pub(super) fn decode(&mut self, source: &[u8], at: usize, code_bits: u8, pixels: usize, out: &mut [u8]) -> Result<usize, Fault> {
        if !(1..=8).contains(&code_bits) || out.len() < pixels + SLACK {
            return Err(Fault::Malformed);
        }
        let mut bits = Bits { source, at, left: 0, word: 0, count: 0, ended: false };
        let written = self.strings(&mut bits, u32::from(code_bits), pixels, out)?;
        let end = behind(source, bits.at, if bits.ended { None } else { Some(bits.left) })?;
        if written < pixels { Err(Fault::Malformed) } else { Ok(end) }
    }

    fn strings(&mut self, bits: &mut Bits<'_>, code_bits: u32, pixels: usize, out: &mut [u8]) -> Result<usize, Fault> {
        let clear = 1_usize << code_bits;
        let (mut size, mut next) = (code_bits + 1, clear + 2);
        let mut before: Option<Stretch> = None;
        let mut written = 0;
        while written < pixels {
            if bits.count < size {
                bits.fill();
                if bits.count < size {
                    break;
                }
            }
            let code = (bits.word & ((1 << size) - 1)) as usize;
            bits.word >>= size;
            bits.count -= size;
            if code == clear {
                (size, next, before) = (code_bits + 1, clear + 2, None);
                continue;
            }
            if code == clear + 1 {
                break;
            }
            if let Some(before) = before
                && next < CODES
            {
                // It and the byte behind it, which is the first of what comes now.
                self.strings[next] = Stretch { start: before.start, length: before.length + 1 };
                next += 1;
            }
            let length = if code < clear {
                out[written] = code as u8;
                1
            } else if code < next {
                let Stretch { start, length } = self.strings[code];
                copy(out, start as usize, written, (length as usize).min(pixels - written));
                length
            } else {
                return Err(Fault::Malformed);
            };
            before = Some(Stretch { start: written as u32, length });
            written += length as usize;
            if next == 1 << size && size < 12 {
                size += 1;
            }
        }
        Ok(written.min(pixels))
    }
}

/// Copies a stretch that may reach one byte into its own copy.
#[inline]
fn copy(out: &mut [u8], from: usize, to: usize, length: usize) {
    if to - from >= STEP {
        let mut done = 0;
        while done < length {
            out.copy_within(from + done..from + done + STEP, to + done);
            done += STEP;
        }
    } else {
        for at in 0..length {
            out[to + at] = out[from + at];
        }
    }
}

/// Where the chain of sub-blocks ends whose next byte is `at`, `left` of the current one's to come; `None`: its terminator was read.
fn behind(source: &[u8], mut at: usize, left: Option<usize>) -> Result<usize, Fault> {
    if let Some(left) = left {
        at += left;
        loop {
            let size = usize::from(*source.get(at).ok_or(Fault::Truncated)?);
            at += 1 + size;
            if size == 0 {
                break;
            }
        }
    }
    if at > source.len() { Err(Fault::Truncated) } else { Ok(at) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the gif crate's writer makes of indices: least code size, then LZW; here in sub-blocks.
    fn packed(indices: &[u8]) -> (u8, Vec<u8>) {
        let mut frame = ::gif::Frame { buffer: indices.to_vec().into(), ..::gif::Frame::default() };
        frame.make_lzw_pre_encoded();
        let mut blocks = Vec::new();
        for block in frame.buffer[1..].chunks(255) {
            blocks.push(block.len() as u8);
            blocks.extend(block);
        }
        blocks.push(0);
        (frame.buffer[0], blocks)
    }

    fn unpacked(code_bits: u8, blocks: &[u8], pixels: usize) -> Result<(usize, Vec<u8>), Fault> {
        let mut out = vec![0; pixels + SLACK];
        let end = Decoder::new().decode(blocks, 0, code_bits, pixels, &mut out)?;
        out.truncate(pixels);
        Ok((end, out))
    }

    proptest! {
        #[test]
        fn what_another_writer_packs_is_read(
            colours in 1_u16..=256, runs in proptest::collection::vec((any::<u8>(), 1_usize..200), 1..400), behind in 0_usize..9,
        ) {
            let indices: Vec<u8> =
                runs.iter().flat_map(|&(index, length)| std::iter::repeat_n((u16::from(index) % colours) as u8, length)).collect();
            let (code_bits, mut blocks) = packed(&indices);
            let whole = blocks.len();
            blocks.resize(whole + behind, 7);
            prop_assert_eq!(unpacked(code_bits, &blocks, indices.len()), Ok((whole, indices.clone())));
            // More than the picture takes is left out, less is an error.
            prop_assert_eq!(unpacked(code_bits, &blocks, indices.len() - 1), Ok((whole, indices[..indices.len() - 1].to_vec())));
            prop_assert_eq!(unpacked(code_bits, &blocks[..whole], indices.len() + 1), Err(Fault::Malformed));
        }

        #[test]
        fn noise_is_read_and_never_panics(noise in proptest::collection::vec(any::<u8>(), 1..9000), pixels in 0_usize..5000, code_bits in 0_u8..12) {
            let (bits, blocks) = packed(&noise);
            prop_assert_eq!(unpacked(bits, &blocks, noise.len()), Ok((blocks.len(), noise.clone())));
            let _ = unpacked(code_bits, &noise, pixels);
        }
    }

    #[test]
    fn every_cut_is_truncated_or_malformed() {
        let indices: Vec<u8> = (0..3000_u32).map(|at| (at * at / 77) as u8).collect();
        let (code_bits, blocks) = packed(&indices);
        for end in 0..blocks.len() {
            assert_eq!(unpacked(code_bits, &blocks[..end], indices.len()), Err(Fault::Truncated), "cut at {end}");
        }
    }
}
