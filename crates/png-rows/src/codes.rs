//! Prefix codes (RFC 1951, 3.2): from the lengths of their words to tables that a few bits are looked up in.
//!
//! Knows nothing of where bits come from. Invariant: a table is only made of lengths that leave no two words alike; what no word begins with
//! is an entry that says so.

use crate::fault::Fault;

/// Bits that literals and lengths are looked up with at once; with 12 two literals would fit a look more often, by a fourteenth, and tables take twice as long to make.
pub(crate) const SYMBOL_BITS: u32 = 11;
pub(crate) const DISTANCE_BITS: u32 = 9;

/// The longest word.
const MOST_BITS: usize = 15;

/// What was found. Bits 0 to 5 say how many bits it takes up, with those of values behind words; bit 6 that it is literals and nothing else;
/// 8 to 11 how many bits the words alone have; 13 and 14 how many literals it has. The upper half is a value: two literals; a literal, if there
/// is one, and a length less 3; the base of a distance.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Entry(pub(crate) u32);

const ONLY_LITERALS: u32 = 1 << 6;
const LITERALS_AT: u32 = 13;
/// Words longer than the look: the value is a place in the second table.
const LONG: u32 = 1 << 12;
/// What must be looked at closely: long words, the end of a block, what is no word.
const SPECIAL: u32 = 1 << 15;

const END: Entry = Entry(SPECIAL | 256 << 16);
pub(crate) const NOTHING: Entry = Entry(SPECIAL | 0xFFFF << 16);

/// The shortest copy.
const LEAST_LENGTH: u16 = 3;

impl Entry {
    fn literal(byte: u8) -> Self {
        Self(ONLY_LITERALS | 1 << LITERALS_AT | u32::from(byte) << 16)
    }

    fn with_length(base: u16, more_bits: u8) -> Self {
        Self(u32::from(base - LEAST_LENGTH) << 24 | u32::from(more_bits))
    }

    fn with_base(base: u16, more_bits: u8) -> Self {
        Self(u32::from(base) << 16 | u32::from(more_bits))
    }

    /// Of a word of so many bits.
    fn of_word(self, bits: u32) -> Self {
        Self(self.0 + bits + (bits << 8))
    }

    /// All bits that it takes up.
    #[inline(always)]
    pub(crate) fn bits(self) -> u32 {
        self.0 & 0x3F
    }

    #[inline(always)]
    pub(crate) fn is_only_literals(self) -> bool {
        self.0 & ONLY_LITERALS != 0
    }

    /// How many literals it has, 0 to 2.
    #[inline(always)]
    pub(crate) fn literals(self) -> usize {
        (self.0 >> LITERALS_AT & 3) as usize
    }

    #[inline(always)]
    pub(crate) fn is_special(self) -> bool {
        self.0 & SPECIAL != 0
    }

    #[inline(always)]
    fn is_long(self) -> bool {
        self.0 & LONG != 0
    }

    #[inline(always)]
    pub(crate) fn is_end(self) -> bool {
        self.0 >> 16 == 256
    }

    #[inline(always)]
    pub(crate) fn high(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The value behind the words, of bits that begin with them.
    #[inline(always)]
    fn behind(self, word: u64) -> usize {
        ((word & ((1 << self.bits()) - 1)) >> (self.0 >> 8 & 0xF)) as usize
    }

    #[inline(always)]
    pub(crate) fn length(self, word: u64) -> usize {
        (self.0 >> 24) as usize + usize::from(LEAST_LENGTH) + self.behind(word)
    }

    #[inline(always)]
    pub(crate) fn distance(self, word: u64) -> usize {
        usize::from(self.high()) + self.behind(word)
    }

    fn word_bits(self) -> u32 {
        self.0 >> 8 & 0xF
    }

    /// A literal and what is right behind it, a literal or a length: in one look.
    fn and(self, next: Self) -> Self {
        let bits = (self.bits() + next.bits()) | (self.word_bits() + next.word_bits()) << 8;
        let only = next.0 & ONLY_LITERALS;
        let value = if only == 0 { next.0 & 0xFF00_0000 } else { (next.0 & 0xFF_0000) << 8 };
        Self(only | (1 + next.literals() as u32) << LITERALS_AT | value | self.0 & 0xFF_0000 | bits)
    }
}

/// Fewer words than there can be: which are let pass.
#[derive(Clone, Copy)]
enum Few {
    Refused,
    /// A single word, of one bit.
    One,
    OneOrNone,
}

/// A table for looks of `BITS` bits, of which there are `SIZE` values.
pub(crate) struct Table<const BITS: u32, const SIZE: usize> {
    first: Box<[Entry; SIZE]>,
    /// The same without pairs, where there are some.
    single: Box<[Entry; SIZE]>,
    second: Vec<Entry>,
    /// How many bits the second look has.
    second_bits: u32,
}

impl<const BITS: u32, const SIZE: usize> Table<BITS, SIZE> {
    fn new() -> Self {
        const { assert!(SIZE == 1 << BITS) };
        Self { first: Box::new([NOTHING; SIZE]), single: Box::new([NOTHING; SIZE]), second: Vec::new(), second_bits: 0 }
    }

    /// What the first look finds.
    #[inline(always)]
    pub(crate) fn look(&self, word: u64) -> Entry {
        self.first[word as usize & (SIZE - 1)]
    }

    /// The next word alone, with no regard to what is behind it.
    pub(crate) fn look_for_one(&self, word: u64) -> Entry {
        self.resolve(self.single[word as usize & (SIZE - 1)], word)
    }

    /// What `entry`, which the first look found for the same bits, comes to.
    #[inline(always)]
    pub(crate) fn resolve(&self, entry: Entry, word: u64) -> Entry {
        if !entry.is_long() {
            return entry;
        }
        let at = usize::from(entry.high()) + (word >> BITS & ((1 << self.second_bits) - 1)) as usize;
        self.second.get(at).copied().unwrap_or(NOTHING)
    }

    /// Made for words of `lengths` bits, one for each of `symbols`.
    ///
    /// # Errors
    /// Where words are more than there can be, or fewer, but for `allowed`.
    fn make(&mut self, lengths: &[u8], allowed: Few, symbols: impl Fn(usize) -> Entry) -> Result<(), Fault> {
        let mut counts = [0_usize; MOST_BITS + 1];
        lengths.iter().for_each(|&length| counts[usize::from(length)] += 1);
        counts[0] = 0;
        let longest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        let mut free = 1_usize;
        for &count in &counts[1..] {
            free = (2 * free).checked_sub(count).ok_or(Fault::Malformed("its data has more code words than there can be"))?;
        }
        let is_allowed = match allowed {
            Few::Refused => false,
            Few::One => longest == 1,
            Few::OneOrNone => longest <= 1,
        };
        if free > 0 && !is_allowed {
            return Err(Fault::Malformed("its data has a code with words missing"));
        }
        self.second.clear();
        self.second_bits = (longest as u32).saturating_sub(BITS);
        if free > 0 {
            self.first.fill(NOTHING);
        }
        let mut next = [0_u32; MOST_BITS + 2];
        for bits in 1..=MOST_BITS {
            next[bits + 1] = (next[bits] + counts[bits] as u32) << 1;
        }
        // Long words share entries of the first table: none of this code has been written yet.
        let mut begun = None;
        let mut order: [u16; 320] = [0; 320];
        let mut places = [0_usize; MOST_BITS + 1];
        for bits in 1..MOST_BITS {
            places[bits + 1] = places[bits] + counts[bits];
        }
        for (symbol, &length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            order[places[usize::from(length)]] = symbol as u16;
            places[usize::from(length)] += 1;
        }
        for &symbol in &order[..counts.iter().sum()] {
            let bits = u32::from(lengths[usize::from(symbol)]);
            let word = next[bits as usize];
            next[bits as usize] += 1;
            let word = (word.reverse_bits() >> (32 - bits)) as usize;
            let entry = symbols(usize::from(symbol)).of_word(bits);
            if bits <= BITS {
                self.first[word..].iter_mut().step_by(1 << bits).for_each(|slot| *slot = entry);
                continue;
            }
            let start = word & (SIZE - 1);
            if begun != Some(start) {
                begun = Some(start);
                self.first[start] = Entry(SPECIAL | LONG | (self.second.len() as u32) << 16);
                self.second.resize(self.second.len() + (1 << self.second_bits), NOTHING);
            }
            let from = usize::from(self.first[start].high()) + (word >> BITS);
            let to = usize::from(self.first[start].high()) + (1 << self.second_bits);
            self.second[from..to].iter_mut().step_by(1 << (bits - BITS)).for_each(|slot| *slot = entry);
        }
        Ok(())
    }
}

pub(crate) type Symbols = Table<SYMBOL_BITS, { 1 << SYMBOL_BITS }>;
pub(crate) type Distances = Table<DISTANCE_BITS, { 1 << DISTANCE_BITS }>;

/// The codes of one block.
pub(crate) struct Codes {
    pub(crate) symbols: Symbols,
    pub(crate) distances: Distances,
}

/// Base and bits behind the word for the lengths 257 to 285 (3.2.5).
const LENGTHS: [(u16, u8); 29] = {
    let mut lengths = [(0, 0); 29];
    let (mut at, mut base) = (0, 3);
    while at < 28 {
        let bits = if at < 8 { 0 } else { (at as u8 - 4) / 4 };
        lengths[at] = (base, bits);
        base += 1 << bits;
        at += 1;
    }
    lengths[28] = (258, 0);
    lengths
};

const DISTANCES: [(u16, u8); 30] = {
    let mut distances = [(0, 0); 30];
    let (mut at, mut base) = (0, 1_u16);
    while at < 30 {
        let bits = if at < 4 { 0 } else { (at as u8 - 2) / 2 };
        distances[at] = (base, bits);
        base = base.wrapping_add(1 << bits);
        at += 1;
    }
    distances
};

/// Where the lengths of the code for lengths stand (3.2.7).
pub(crate) const LENGTHS_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

impl Codes {
    pub(crate) fn new() -> Self {
        Self { symbols: Symbols::new(), distances: Distances::new() }
    }

    /// Those of lengths that a block gives.
    pub(crate) fn make(&mut self, symbols: &[u8], distances: &[u8]) -> Result<(), Fault> {
        if symbols[256] == 0 {
            return Err(Fault::Malformed("its data has a block that cannot end"));
        }
        self.symbols.make(symbols, Few::One, |symbol| match symbol {
            0..256 => Entry::literal(symbol as u8),
            256 => END,
            _ => LENGTHS.get(symbol - 257).map_or(NOTHING, |&(base, bits)| Entry::with_length(base, bits)),
        })?;
        self.pair_literals();
        self.distances
            .make(distances, Few::OneOrNone, |symbol| DISTANCES.get(symbol).map_or(NOTHING, |&(base, bits)| Entry::with_base(base, bits)))
    }

    /// Those that need not be given (3.2.6).
    pub(crate) fn make_fixed(&mut self) -> Result<(), Fault> {
        let mut symbols = [8; 288];
        symbols[144..256].fill(9);
        symbols[256..280].fill(7);
        self.make(&symbols, &[5; 32])
    }

    /// Those for lengths, with the distances' table.
    pub(crate) fn make_lengths(&mut self, lengths: &[u8; 19]) -> Result<(), Fault> {
        self.distances.make(lengths, Few::Refused, |symbol| Entry::with_base(symbol as u16, 0))
    }

    /// One look finds two literals, or a literal and a length, where both words are short enough.
    fn pair_literals(&mut self) {
        let Symbols { first, single, .. } = &mut self.symbols;
        single.copy_from_slice(&first[..]);
        for (at, slot) in first.iter_mut().enumerate().filter(|(_, slot)| slot.is_only_literals()) {
            let next = single[at >> slot.bits()];
            if !next.is_special() && slot.bits() + next.word_bits() <= SYMBOL_BITS {
                *slot = slot.and(next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_those_of_the_standard() {
        assert_eq!((LENGTHS[7], LENGTHS[8], LENGTHS[27], LENGTHS[28]), ((10, 0), (11, 1), (227, 5), (258, 0)));
        assert_eq!((DISTANCES[3], DISTANCES[4], DISTANCES[29]), ((4, 0), (5, 1), (24577, 13)));
    }

    /// Each word of the fixed code alone and behind each other is found, and takes up its bits.
    #[test]
    fn words_are_found_alone_and_in_pairs() {
        let mut codes = Codes::new();
        let mut lengths = [0_u8; 286];
        lengths[b'a' as usize] = 1;
        for (at, length) in (b'b'..=b'n').zip(2..) {
            lengths[usize::from(at)] = length;
        }
        (lengths[256], lengths[285]) = (15, 15);
        codes.make(&lengths, &[]).unwrap();
        let word = |symbol: usize| -> (u64, u32) {
            let bits = u32::from(lengths[symbol]);
            let code = lengths.iter().enumerate().filter(|(other, length)| **length > 0 && (u32::from(**length), *other) < (bits, symbol));
            let code: u32 = code.map(|(_, length)| 1 << (bits - u32::from(*length))).sum();
            (u64::from(code.reverse_bits() >> (32 - bits)), bits)
        };
        let literals: Vec<usize> = (usize::from(b'a')..=usize::from(b'n')).collect();
        for &one in &literals {
            for &two in &literals {
                let ((first, bits), (second, more)) = (word(one), word(two));
                let bits_of_both = first | second << bits;
                let entry = codes.symbols.resolve(codes.symbols.look(bits_of_both), bits_of_both);
                if bits + more <= SYMBOL_BITS {
                    assert_eq!((entry.literals(), entry.bits(), entry.high()), (2, bits + more, (one | two << 8) as u16), "{one} {two}");
                } else {
                    assert_eq!((entry.literals(), entry.bits(), entry.high()), (1, bits, one as u16), "{one} {two}");
                }
            }
        }
        // A length behind a literal, and alone, with bits of its value behind it.
        lengths[usize::from(b'c')] = 0;
        lengths[265] = 3;
        codes.make(&lengths, &[]).unwrap();
        let word = |symbol: usize| word_of(&lengths, symbol);
        let ((first, bits), (second, more)) = (word(usize::from(b'a')), word(265));
        let both = first | second << bits | 1 << (bits + more);
        let entry = codes.symbols.look(both);
        assert_eq!((entry.literals(), entry.is_only_literals(), entry.high() as u8, entry.length(both)), (1, false, b'a', 12));
        assert_eq!(entry.bits(), bits + more + 1);
        assert_eq!(codes.symbols.look_for_one(both).bits(), bits);
        assert_eq!(codes.symbols.look(both >> bits).length(both >> bits), 12);
        let (end, _) = word(256);
        let entry = codes.symbols.resolve(codes.symbols.look(end), end);
        assert!(entry.is_special() && entry.is_end() && entry.bits() == 15);
        let (longest, _) = word(285);
        let entry = codes.symbols.resolve(codes.symbols.look(longest), longest);
        assert_eq!((entry.is_special(), entry.length(longest), entry.bits()), (false, 258, 15));
        assert_eq!(codes.distances.look(0), NOTHING);
    }

    #[test]
    fn codes_with_too_many_words_or_too_few_are_refused() {
        let mut codes = Codes::new();
        let with = |lengths: &[(usize, u8)]| {
            let mut all = [0_u8; 286];
            lengths.iter().for_each(|&(symbol, length)| all[symbol] = length);
            all
        };
        assert!(codes.make(&with(&[(256, 1)]), &[]).is_ok());
        assert!(codes.make(&with(&[(0, 1), (256, 1)]), &[1]).is_ok());
        assert!(codes.make(&with(&[(0, 1), (256, 1)]), &[2]).is_err());
        assert!(codes.make(&with(&[(0, 1), (256, 2)]), &[]).is_err());
        assert!(codes.make(&with(&[(0, 1), (1, 1), (256, 1)]), &[]).is_err());
        assert!(codes.make(&with(&[(0, 1), (1, 1)]), &[]).is_err());
        assert!(codes.make_fixed().is_ok());
    }

    /// A symbol's word, first bit lowest, and its bits.
    fn word_of(lengths: &[u8], symbol: usize) -> (u64, u32) {
        let bits = u32::from(lengths[symbol]);
        let before = lengths.iter().enumerate().filter(|(other, length)| **length > 0 && (u32::from(**length), *other) < (bits, symbol));
        let code: u32 = before.map(|(_, length)| 1 << (bits - u32::from(*length))).sum();
        (u64::from(code.reverse_bits() >> (32 - bits)), bits)
    }
}
