//! Scans that get finer (T.81, G): first the means, then frequencies by bands, luma's last bit at the end.
//!
//! All coefficients are kept, two bytes a sample, and each scan is a walk over some. Knows nothing of samples. Invariant: together the
//! scans say what a baseline scan would: pixels are the same.

use crate::{
    error::Error,
    frame::Frame,
    marker,
    simd::{self, Avx2, Work},
    token::{AC, DC, Sink, raw, sized, token},
    transform::at_least,
    walk::{Take, Walk},
};

/// Longest run of blocks without further values: what 11 bits after its symbol can say, fewer than T.81's 14, so that tokens stay short.
const MAX_RUN: u32 = (2 << crate::token::MAX_EXTRA_BITS) - 1;

/// Blocks of a scan between two looks at whether to go on: a millisecond at most.
const BLOCKS_A_LOOK: usize = 8192;

/// Coefficients of a component's blocks, lowest frequencies first, block rows from the top.
type Blocks = Vec<[i16; 64]>;

/// What a scan sends.
struct Scan {
    /// The component; none: the means of all.
    component: Option<usize>,
    /// First and last coefficient.
    band: [u8; 2],
    /// The bit sent before, where there is one; and the lowest sent now.
    high: u8,
    low: u8,
}

const MEANS: Scan = Scan { component: None, band: [0, 0], high: 0, low: 0 };

const fn ac(component: usize, first: u8, last: u8, high: u8, low: u8) -> Scan {
    Scan { component: Some(component), band: [first, last], high, low }
}

/// Shapes, colour, detail, and luma's last bit. libjpeg's script has ten scans for this, with two bits of luma and one of everything else
/// apart; it takes more time on both sides, and up to quality 80 gives larger files.
const COLOUR: &[Scan] = &[MEANS, ac(0, 1, 5, 0, 1), ac(2, 1, 63, 0, 0), ac(1, 1, 63, 0, 0), ac(0, 6, 63, 0, 1), ac(0, 1, 63, 1, 0)];

const GREY: &[Scan] = &[MEANS, ac(0, 1, 5, 0, 1), ac(0, 6, 63, 0, 1), ac(0, 1, 63, 1, 0)];

/// Bytes of all coefficients.
pub(crate) fn working_bytes(frame: &Frame) -> usize {
    frame.blocks() * size_of::<[i16; 64]>()
}

/// Writes all scans.
pub(crate) fn write(walk: &Walk<'_>, sink: &mut Sink<'_>) -> Result<(), Error> {
    let frame = walk.frame;
    let mut kept = Kept { blocks: [const { Vec::new() }; 3], wide: [0; 3] };
    for (index, component) in frame.components().iter().enumerate() {
        kept.wide[index] = component.blocks_wide;
        kept.blocks[index] = vec![[0; 64]; component.blocks_wide * component.blocks_high];
    }
    walk.run(&mut kept)?;
    let blocks = &kept.blocks;
    for scan in if frame.sampling.is_some() { COLOUR } else { GREY } {
        match scan.component {
            None => interleaved(frame, blocks, sink)?,
            Some(component) => {
                let class = frame.components()[component].class;
                simd::run(Band { blocks: &blocks[component], scan, class, sink })?;
                let [code] = sink.codes([AC[class]]);
                marker::table(sink.out, marker::AC_TABLE | class as u8, &code);
                marker::scan(sink.out, &[(component, class)], scan.band, scan.high << 4 | scan.low);
                if sink.wants_again() {
                    simd::run(Band { blocks: &blocks[component], scan, class, sink })?;
                }
            }
        }
        sink.finish()?;
    }
    Ok(())
}

struct Kept {
    blocks: [Blocks; 3],
    wide: [usize; 3],
}

impl Take for Kept {
    #[inline(always)]
    fn block(&mut self, component: usize, column: usize, row: usize, values: &[i16; 64], _mask: u64) {
        self.blocks[component][row * self.wide[component] + column] = *values;
    }

    #[inline(always)]
    fn padding(&mut self, _component: usize) {}
}

/// A scan of all components' DC, as baseline has it.
fn interleaved(frame: &Frame, blocks: &[Blocks; 3], sink: &mut Sink<'_>) -> Result<(), Error> {
    means(frame, blocks, sink)?;
    for (number, code) in sink.codes(DC).iter().enumerate().take(1 + usize::from(frame.sampling.is_some())) {
        marker::table(sink.out, marker::DC_TABLE | number as u8, code);
    }
    let components: Vec<_> = frame.components().iter().map(|component| component.class).enumerate().collect();
    marker::scan(sink.out, &components, MEANS.band, 0);
    if sink.wants_again() {
        means(frame, blocks, sink)?;
    }
    Ok(())
}

fn means(frame: &Frame, blocks: &[Blocks; 3], sink: &mut Sink<'_>) -> Result<(), Error> {
    let mut before = [0; 3];
    for (mcu_row, mcu_column) in (0..frame.mcus_high).flat_map(|row| (0..frame.mcus_wide).map(move |column| (row, column))) {
        if mcu_column == 0 {
            sink.check()?;
        }
        for (index, component) in frame.components().iter().enumerate() {
            let factor = component.factor;
            for (y, x) in (0..factor).flat_map(|y| (0..factor).map(move |x| (y, x))) {
                let (row, column) = (mcu_row * factor + y, mcu_column * factor + x);
                // Padding is as the block before.
                let inside = row < component.blocks_high && column < component.blocks_wide;
                let mean = if inside { i32::from(blocks[index][row * component.blocks_wide + column][0]) } else { before[index] };
                let (size, extra) = sized(mean - before[index]);
                sink.push(token(DC[component.class] | size, extra));
                before[index] = mean;
            }
        }
    }
    Ok(())
}

/// A scan of one component's band.
struct Band<'a, 'o> {
    blocks: &'a [[i16; 64]],
    scan: &'a Scan,
    class: usize,
    sink: &'a mut Sink<'o>,
}

impl Work for Band<'_, '_> {
    type Output = Result<(), Error>;

    #[inline(always)]
    fn run(self, avx2: Option<Avx2>) -> Result<(), Error> {
        let [first, last] = self.scan.band;
        let band = (u64::MAX >> (63 - last)) & (u64::MAX << first);
        let low = u32::from(self.scan.low);
        let mut run = Run { blocks: 0, corrections: Corrections::NONE, ac: AC[self.class], sink: self.sink };
        for some in self.blocks.chunks(BLOCKS_A_LOOK) {
            run.sink.check()?;
            for values in some {
                let there = at_least(avx2, values, 1 << low) & band;
                if there == 0 {
                    run.lengthen();
                } else if self.scan.high == 0 {
                    first_bits(&mut run, values, there, self.scan);
                } else {
                    let known = at_least(avx2, values, 2 << low) & band;
                    further_bits(&mut run, values, there, known, self.scan);
                }
            }
        }
        run.end();
        Ok(())
    }
}

/// A block of a band's first scan (T.81, G.1.2.2). `there` has a bit for each value that is not zero.
#[inline(always)]
fn first_bits(run: &mut Run<'_, '_>, values: &[i16; 64], there: u64, scan: &Scan) {
    run.end();
    let [first, last] = scan.band.map(u32::from);
    let mut left = there;
    let mut next = first;
    while left != 0 {
        let at = left.trailing_zeros();
        left &= left - 1;
        let mut zeros = at - next;
        next = at + 1;
        while zeros > 15 {
            run.sink.push(token(run.ac | 0xf0, 0));
            zeros -= 16;
        }
        let value = i32::from(values[at as usize % 64]);
        let (size, extra) = sized((value.abs() >> scan.low) * value.signum());
        run.sink.push(token(run.ac | zeros << 4 | size, extra));
    }
    if next <= last {
        run.lengthen();
    }
}

/// A block of one that adds a bit (T.81, G.1.2.3). `known` has a bit for each value that was not zero before: what it gets is a
/// correction, and follows the symbol that passes it.
#[inline(always)]
fn further_bits(run: &mut Run<'_, '_>, values: &[i16; 64], there: u64, known: u64, scan: &Scan) {
    let [first, last] = scan.band.map(u32::from);
    let fresh = there & !known;
    let mut left = there;
    let mut next = first;
    let mut zeros = 0;
    let (mut bits, mut count) = (0u64, 0);
    while left != 0 {
        let at = left.trailing_zeros();
        zeros += at - next;
        next = at + 1;
        // Runs end before a new value only; behind the last one the block's end says all.
        while zeros > 15 && fresh >> at != 0 {
            run.symbol(run.ac | 0xf0, 0, bits, count);
            (bits, count) = (0, 0);
            zeros -= 16;
        }
        left &= left - 1;
        let value = i32::from(values[at as usize % 64]);
        if known >> at & 1 == 1 {
            bits = bits << 1 | u64::from((value.unsigned_abs() >> scan.low) & 1);
            count += 1;
        } else {
            run.symbol(run.ac | zeros << 4 | 1, u32::from(value > 0), bits, count);
            (bits, count) = (0, 0);
            zeros = 0;
        }
    }
    if zeros > 0 || next <= last || count > 0 {
        run.corrections.add(bits, count);
        run.lengthen();
    }
}

/// Blocks without further values, told together, and the corrections in them.
struct Run<'a, 'o> {
    blocks: u32,
    corrections: Corrections,
    ac: u32,
    sink: &'a mut Sink<'o>,
}

impl Run<'_, '_> {
    #[inline(always)]
    fn lengthen(&mut self) {
        self.blocks += 1;
        if self.blocks == MAX_RUN || self.corrections.count > Corrections::ROOM - 63 {
            self.end();
        }
    }

    /// Ends the run where there is one.
    #[inline(always)]
    fn end(&mut self) {
        if self.blocks > 0 {
            let size = self.blocks.ilog2();
            self.sink.push(token(self.ac | size << 4, self.blocks - (1 << size)));
            self.corrections.send(self.sink);
            self.blocks = 0;
        }
    }

    /// A symbol and the corrections it passed.
    #[inline(always)]
    fn symbol(&mut self, place: u32, extra: u32, bits: u64, count: u32) {
        self.end();
        self.sink.push(token(place, extra));
        let mut left = count;
        while left > 0 {
            let now = left.min(16);
            left -= now;
            self.sink.push(raw((bits >> left) as u32 & ((1 << now) - 1), now));
        }
    }
}

/// Bits that wait for a run of blocks to end, sixteen a word.
struct Corrections {
    words: [u16; Self::ROOM / 16],
    count: usize,
}

impl Corrections {
    const ROOM: usize = 1024;
    const NONE: Self = Self { words: [0; Self::ROOM / 16], count: 0 };

    /// Adds the lowest `count` of `bits`, at most 63; there must be room.
    #[inline(always)]
    fn add(&mut self, bits: u64, count: u32) {
        for at in (0..count).rev() {
            let word = &mut self.words[self.count / 16 % (Self::ROOM / 16)];
            *word = *word << 1 | (bits >> at & 1) as u16;
            self.count += 1;
        }
    }

    fn send(&mut self, sink: &mut Sink<'_>) {
        for (index, word) in self.words.iter().enumerate().take(self.count.div_ceil(16)) {
            let count = (self.count - 16 * index).min(16) as u32;
            sink.push(raw(u32::from(*word) & ((1 << count) - 1), count));
        }
        self.count = 0;
    }
}
