//! Tokens to bytes: codes one behind the other, highest bit first, a zero byte behind every byte of ones (T.81, F.1.2.3).
//!
//! Knows nothing of what symbols mean. Bits are put together without a branch, into a buffer on the stack; what stuffing needs is looked for
//! eight bytes a time when they are moved on. Invariant: fewer than eight bits wait between calls.

use crate::token::{NOTHING, Table, Token};

/// Tokens of one turn, at most 27 bits each.
const TURN_TOKENS: usize = 1024;

/// Room for a turn: 27 bits a token, seven from before, and a whole word written at the last byte.
const TURN_BYTES: usize = 4096;

const _: () = assert!((TURN_TOKENS * 27).div_ceil(8) + 1 + 8 <= TURN_BYTES && TURN_BYTES.is_power_of_two());

/// What waits for its byte to be full.
pub(crate) struct Writer {
    /// From the highest bit down.
    waiting: u64,
    /// 0 to 7.
    bits: u32,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { waiting: 0, bits: 0 }
    }

    pub(crate) fn write(&mut self, tokens: &[Token], table: &Table, out: &mut Vec<u8>) {
        let mut turn = [0; TURN_BYTES];
        for tokens in tokens.chunks(TURN_TOKENS) {
            let bytes = self.turn(tokens, table, &mut turn);
            stuffed(&turn[..bytes], out);
        }
    }

    /// Gives the bytes that are full.
    fn turn(&mut self, tokens: &[Token], table: &Table, bytes: &mut [u8; TURN_BYTES]) -> usize {
        let coded = |token: Token| {
            let entry = table[(token & 1023) as usize];
            (u64::from(entry >> 5 | token >> 16), entry & 31)
        };
        let (mut waiting, mut bits, mut at) = (self.waiting, self.bits, 0);
        let (pairs, last) = tokens.as_chunks::<2>();
        let last = last.first().map(|token| [*token, NOTHING]);
        for [first, second] in pairs.iter().chain(&last) {
            let ((first, first_bits), (second, second_bits)) = (coded(*first), coded(*second));
            // At most 7 + 54, and never 0: a token that is not nothing has a bit.
            bits += first_bits + second_bits;
            waiting |= (first << second_bits | second) << ((64 - bits) % 64);
            // The mask changes nothing: a turn's tokens fill no more.
            let at_most = at % TURN_BYTES;
            if let Some(word) = bytes[at_most..].first_chunk_mut() {
                *word = waiting.to_be_bytes();
            }
            at += bits as usize / 8;
            waiting <<= bits & !7;
            bits %= 8;
        }
        (self.waiting, self.bits) = (waiting, bits);
        at
    }

    /// Fills the last byte up with ones.
    pub(crate) fn finish(self, out: &mut Vec<u8>) {
        if self.bits > 0 {
            stuffed(&[(self.waiting >> 56) as u8 | (0xff >> self.bits)], out);
        }
    }
}

/// Whether any of the eight bytes is all ones: its complement is zero, and of the lowest such the subtraction borrows.
fn any_ones(word: u64) -> bool {
    (!word).wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080 != 0
}

fn stuffed(bytes: &[u8], out: &mut Vec<u8>) {
    let mut start = 0;
    let (words, _) = bytes.as_chunks::<8>();
    let mut stuff = |range: std::ops::Range<usize>| {
        for at in range {
            if bytes[at] == 0xff {
                out.extend_from_slice(&bytes[start..=at]);
                out.push(0);
                start = at + 1;
            }
        }
    };
    for (index, word) in words.iter().enumerate() {
        if any_ones(u64::from_ne_bytes(*word)) {
            stuff(8 * index..8 * index + 8);
        }
    }
    stuff(8 * words.len()..bytes.len());
    out.extend_from_slice(&bytes[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::raw;
    use proptest::prelude::*;

    fn written(tokens: &[Token]) -> Vec<u8> {
        let mut table = [0; 1024];
        for bits in 1..=16u32 {
            table[(raw(0, bits) & 1023) as usize] = bits;
        }
        let (mut writer, mut out) = (Writer::new(), Vec::new());
        writer.write(tokens, &table, &mut out);
        writer.finish(&mut out);
        out
    }

    proptest! {
        /// A bit at a time, as one would say it.
        #[test]
        fn words_say_what_single_bits_do(pieces in proptest::collection::vec((any::<u16>(), 1u32..=16, any::<bool>()), 0..3000)) {
            let pieces: Vec<(u32, u32)> = pieces
                .into_iter()
                .map(|(value, count, ones)| (if ones { (1 << count) - 1 } else { u32::from(value) & ((1 << count) - 1) }, count))
                .collect();
            let tokens: Vec<Token> = pieces.iter().map(|&(value, count)| raw(value, count)).collect();
            let mut bits: Vec<u8> = pieces.iter().flat_map(|&(value, count)| (0..count).rev().map(move |at| (value >> at & 1) as u8)).collect();
            while !bits.len().is_multiple_of(8) {
                bits.push(1);
            }
            let mut expected = Vec::new();
            for byte in bits.chunks(8) {
                let byte = byte.iter().fold(0, |byte, bit| byte << 1 | bit);
                expected.push(byte);
                if byte == 0xff {
                    expected.push(0);
                }
            }
            prop_assert_eq!(written(&tokens), expected);
        }
    }
}
