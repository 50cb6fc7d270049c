//! Huffman codes for counted symbols: lengths by package-merge, codes in T.81's canonical order.
//!
//! Knows nothing of what symbols mean. Invariant: no code is longer than 16 bits, and none is all ones (T.81, C and K.2).

/// Longest code.
const MAX_BITS: usize = 16;

/// A table as DHT writes it.
pub(crate) struct Code {
    /// How many codes there are of 1 to 16 bits.
    pub(crate) lengths: [u8; MAX_BITS],
    /// The symbols, shortest code first.
    pub(crate) symbols: Vec<u8>,
}

impl Code {
    /// The best code of at most 16 bits for symbols that occur `counts` times. Those that never do get none; where none does,
    /// symbol 0 gets one, for a table must not be empty.
    ///
    /// Package-merge (Larmore and Hirschberg, 1990), by levels: a level is the merger of the leaves, lightest first, with the pairs
    /// of the level before. Of the sixteenth, the lightest `2 * leaves - 2` are taken; what of them is a pair takes two of the
    /// level below, and so on. How often a leaf is taken is its length, hence never above 16. A leaf of no weight is added: nothing
    /// is lighter, so no code is longer than its own, and as last of the longest it takes the code of all ones for itself.
    pub(crate) fn best(counts: &[u32; 256]) -> Self {
        let mut leaves: Vec<(u64, u16)> = Vec::with_capacity(257);
        leaves.push((0, 256));
        leaves.extend(counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(symbol, count)| (u64::from(*count), symbol as u16)));
        if leaves.len() == 1 {
            leaves.push((1, 0));
        }
        leaves.sort_unstable();

        // Of each level only weights and what is a leaf need be known.
        let mut is_leaf: Vec<Vec<bool>> = Vec::with_capacity(MAX_BITS);
        let mut weights: Vec<u64> = Vec::new();
        for _ in 0..MAX_BITS {
            let mut pairs = weights.chunks_exact(2).map(|pair| pair[0] + pair[1]).peekable();
            let mut merged = Vec::with_capacity(2 * leaves.len());
            let mut kinds = Vec::with_capacity(2 * leaves.len());
            for &(weight, _) in &leaves {
                while let Some(pair) = pairs.next_if(|pair| *pair < weight) {
                    merged.push(pair);
                    kinds.push(false);
                }
                merged.push(weight);
                kinds.push(true);
            }
            for pair in pairs {
                merged.push(pair);
                kinds.push(false);
            }
            weights = merged;
            is_leaf.push(kinds);
        }

        // Leaves are taken lightest first, so that a level's count says which; each level they are in lengthens their code by a bit.
        let mut bits = vec![0usize; leaves.len()];
        let mut taken = 2 * leaves.len() - 2;
        for kinds in is_leaf.iter().rev() {
            let leaves_taken = kinds.iter().take(taken).filter(|leaf| **leaf).count();
            for bits in &mut bits[..leaves_taken] {
                *bits += 1;
            }
            taken = 2 * (taken.min(kinds.len()) - leaves_taken);
        }

        // Heaviest last, so backwards; the added leaf, first of all, is left out.
        let mut lengths = [0; MAX_BITS];
        let mut symbols = Vec::with_capacity(leaves.len() - 1);
        for (&(_, symbol), &bits) in leaves.iter().zip(&bits).skip(1).rev() {
            lengths[bits - 1] += 1;
            symbols.push(symbol as u8);
        }
        Self { lengths, symbols }
    }

    /// Each symbol with its code and the code's length (T.81, C.2).
    pub(crate) fn codes(&self) -> impl Iterator<Item = (u8, u32, u32)> {
        let mut code = 0;
        let mut symbols = self.symbols.iter();
        self.lengths.iter().zip(1u32..).flat_map(move |(&count, bits)| {
            let first = code;
            code = (code + u32::from(count)) << 1;
            let of_length: Vec<_> =
                symbols.by_ref().take(usize::from(count)).zip(first..).map(|(&symbol, code)| (symbol, code, bits)).collect();
            of_length
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Code;
    use proptest::prelude::*;

    /// Bits that `counts` take with the best code of any length: the sum of all that Huffman's algorithm joins. `None` where that code
    /// is longer than 16 bits. The extra leaf of no weight is counted in.
    fn unlimited(counts: &[u32; 256]) -> Option<u64> {
        let mut nodes: Vec<(u64, u32)> = counts.iter().filter(|count| **count > 0).map(|count| (u64::from(*count), 0)).collect();
        nodes.push((0, 0));
        let mut total = 0;
        while nodes.len() > 1 {
            nodes.sort_unstable_by(|a, b| b.cmp(a));
            let (first, second) = (nodes.pop().unwrap(), nodes.pop().unwrap());
            nodes.push((first.0 + second.0, first.1.max(second.1) + 1));
            total += first.0 + second.0;
        }
        (nodes[0].1 <= 16).then_some(total)
    }

    fn check(counts: &[u32; 256]) -> u64 {
        let code = Code::best(counts);
        let mut seen = [false; 256];
        let mut total = 0;
        let mut space = 0u64;
        let mut last = (0, 0);
        for (symbol, code, bits) in code.codes() {
            assert!((1..=16).contains(&bits));
            assert!(code < (1 << bits) - 1, "code of {symbol} is all ones");
            assert!(last.1 == 0 || code > last.0 << (bits - last.1), "codes are not prefix-free");
            last = (code, bits);
            assert!(!std::mem::replace(&mut seen[usize::from(symbol)], true));
            total += u64::from(counts[usize::from(symbol)]) * u64::from(bits);
            space += 1 << (16 - bits);
        }
        assert!(space < 1 << 16, "room is left for the code of all ones");
        for (symbol, count) in counts.iter().enumerate() {
            assert!(seen[symbol] || *count == 0, "symbol {symbol} has no code");
        }
        total
    }

    #[test]
    fn extremes() {
        assert_eq!(check(&[0; 256]), 0);
        assert_eq!(check(&[u32::MAX; 256]), u64::from(u32::MAX) * (255 * 8 + 9));
        let mut counts = [0; 256];
        counts[17] = 5;
        assert_eq!(check(&counts), 5);
        // Fibonacci's numbers make the deepest of trees.
        let (mut a, mut b) = (1u32, 1u32);
        for count in &mut counts[..45] {
            *count = a;
            (a, b) = (b, a + b);
        }
        assert_eq!(unlimited(&counts), None);
        check(&counts);
    }

    proptest! {
        #[test]
        fn lengths_are_bounded_and_best(seed in proptest::collection::vec((0usize..256, 0u32..32, any::<u32>()), 0..300)) {
            let mut counts = [0u32; 256];
            for (symbol, shift, value) in seed {
                counts[symbol] = value >> shift;
            }
            let total = check(&counts);
            if let Some(best) = unlimited(&counts).filter(|_| counts.iter().any(|count| *count > 0)) {
                prop_assert_eq!(total, best);
            }
        }
    }
}
