//! A sequential scan of all components, decoded strip by strip straight to samples.
//!
//! Knows nothing of limits or output. Invariant: a pause for want of input loses nothing; the strip goes on where it stopped.

use crate::{
    block::{self, Scratch},
    entropy::{Bits, Source, Window, word_at},
    huffman::{Huffman, NoCode},
    idct,
    input::{Input, Pause},
    lanes::{Ahead, Steps},
    plane::{Plane, transform},
    scan::{Member, Ready, broken},
    simd::{self, Avx2},
    symbols::{self, AT_ONCE, Pairs},
};

/// Scans longer than this are worth looking ahead in.
const LOOK_FROM_BYTES: usize = 128 << 10;

/// The scan, being read.
pub(crate) struct Stream {
    source: Source,
    ready: Ready,
    members: Vec<Member>,
    lookout: Option<Lookout>,
    /// DC of each component's last block.
    before: [i16; 4],
    /// MCUs of the strip that are done.
    column: usize,
}

impl Stream {
    pub(crate) fn new(source: Source, ready: Ready, members: Vec<Member>) -> Self {
        Self { source, ready, members, lookout: None, before: [0; 4], column: 0 }
    }

    /// Looks for blocks ahead of decoding where that pays: in a scan of `data_bytes` and `blocks` blocks, of which 1 or 2 by 2
    /// coefficients are wanted, and of none more than 4 by 4. (Where 4 by 4 are, looking costs more than stepping over the rest of each block.)
    pub(crate) fn look_ahead(&mut self, planes: &[Plane], data_bytes: usize, blocks: usize) {
        if data_bytes >= LOOK_FROM_BYTES
            && self.source.restart_interval() == 0
            && planes.iter().all(|plane| plane.side <= 4)
            && planes.iter().any(|plane| plane.side <= 2)
        {
            self.lookout = Lookout::new(&self.ready, &self.members, data_bytes, blocks);
        }
    }

    /// Leaves looking ahead, for tests that compare.
    #[cfg(test)]
    pub(crate) fn read_serially(&mut self) {
        self.lookout = None;
    }

    /// Offset of the first byte of the file that is still needed.
    pub(crate) fn needed_from(&self) -> usize {
        self.source.needed_from()
    }

    /// Strips at which a reader can begin, as `(strip, where its bytes begin, restarts before it)`, in order; none where restart markers
    /// are not what they should be.
    pub(crate) fn entries(&self, input: Input<'_>, mcus_wide: usize, mcus_high: usize) -> Vec<(usize, usize, usize)> {
        let first = (0, self.source.needed_from(), 0);
        let interval = self.source.restart_interval();
        if interval == 0 || !input.complete {
            return vec![first];
        }
        let mut entries = vec![first];
        let (mut at, mut restarts) = (first.1, 0);
        while let Some((marker, code)) = next_marker(input, at) {
            if code != 0xd0 + (restarts & 7) as u8 {
                break;
            }
            (at, restarts) = (marker + 2, restarts + 1);
            let mcus = restarts * interval;
            if mcus.is_multiple_of(mcus_wide) && mcus / mcus_wide < mcus_high {
                entries.push((mcus / mcus_wide, at, restarts));
            }
        }
        entries
    }

    /// Begins at an entry.
    pub(crate) fn enter(&mut self, at: usize, restarts: usize) {
        self.source = Source::new(at, self.source.restart_interval() as u32, (restarts & 7) as u8);
    }

    /// Decodes the next strip, or what is left of it.
    pub(crate) fn strip(&mut self, input: Input<'_>, planes: &mut [Plane], mcus_wide: usize) -> Result<(), Pause> {
        simd::run(Strip { stream: self, input, planes, mcus_wide })
    }

    #[inline(always)]
    fn strip_with(&mut self, input: Input<'_>, planes: &mut [Plane], mcus_wide: usize, avx2: Option<Avx2>) -> Result<(), Pause> {
        let mut kept: Scratch = [0; 256];
        while self.column < mcus_wide {
            if let Some(lookout) = &mut self.lookout {
                let starts = lookout.next(&mut self.source, input, mcus_wide - self.column)?;
                let known = starts.len() / self.members.len().max(1);
                if known > 0 {
                    let window = &self.source.window;
                    let (ready, members, before) = (&self.ready, &self.members, &mut self.before);
                    let done = known_mcus((window, starts), self.column, ready, members, before, planes, avx2);
                    self.column += known;
                    if lookout.ahead.is_empty() {
                        self.source.go_to(lookout.ahead.end());
                    }
                    done.map_err(|NoCode| broken(&self.source, input))?;
                    continue;
                }
            }
            self.mcu(input, planes, &mut kept, avx2)?;
            self.column += 1;
        }
        self.column = 0;
        // The last MCUs of the picture have no next one to notice that they were not there.
        self.source.finish(input)?;
        Ok(())
    }

    /// One MCU, by the serial reader; `kept` is room for a block.
    #[inline(always)]
    fn mcu(&mut self, input: Input<'_>, planes: &mut [Plane], kept: &mut Scratch, avx2: Option<Avx2>) -> Result<(), Pause> {
        if self.source.before_mcu(input)? {
            self.before = [0; 4];
        }
        let mut bits = self.source.bits;
        let window = &self.source.window;
        for member in &self.members {
            let (Some(dc), Some(ac), Some(plane)) =
                (&self.ready.dc[member.dc_table & 3], &self.ready.ac[member.ac_table & 3], planes.get_mut(member.plane))
            else {
                continue;
            };
            let Some(quantisers) = &plane.quantisers else { continue };
            let before = &mut self.before[member.plane & 3];
            let x = (self.column * plane.horizontal + member.across) * plane.side;
            let out = &mut plane.filling[member.down * plane.side * plane.stride + x..];
            let done = if let (1, Some((_, skip))) = (plane.side, &ac.small) {
                let done = block::dc_only(dc, &ac.codes, skip, &mut bits, window, before);
                transform(1, std::slice::from_ref(before), quantisers, out, plane.stride, false, avx2);
                done
            } else {
                let count = plane.side * plane.side;
                kept[..64].fill(0);
                let done = symbols::sequential(dc, ac.reading(plane.side), &plane.kept, &mut bits, window, before, kept);
                transform(plane.side, &kept[..count], quantisers, out, plane.stride, done == Ok(0), avx2);
                done.map(drop)
            };
            if let Err(NoCode) = done {
                self.source.bits = bits;
                return Err(broken(&self.source, input).into());
            }
        }
        self.source.bits = bits;
        Ok(())
    }
}

/// The first marker in entropy-coded data from `at` on that is no stuffing: its offset and code.
fn next_marker(input: Input<'_>, mut at: usize) -> Option<(usize, u8)> {
    loop {
        at += input.after(at).iter().position(|&byte| byte == 0xff)?;
        match input.after(at) {
            [_, 0xff, ..] => at += 1,
            [_, 0, ..] => at += 2,
            [_, code, ..] => return Some((at, *code)),
            _ => return None,
        }
    }
}

/// Where the next blocks begin.
struct Lookout {
    steps: Steps,
    ahead: Ahead,
    /// What a block takes, roughly.
    block_bits: u32,
}

impl Lookout {
    fn new(ready: &Ready, members: &[Member], data_bytes: usize, blocks: usize) -> Option<Self> {
        let mut codes = Vec::with_capacity(members.len());
        for member in members {
            codes.push((ready.dc[member.dc_table & 3].as_ref()?, &ready.ac[member.ac_table & 3].as_ref()?.codes));
        }
        let steps = Steps::new(&codes)?;
        let ahead = Ahead::new(&steps);
        Some(Self { steps, ahead, block_bits: (8 * data_bytes / blocks.max(1)).min(1 << 11) as u32 })
    }

    /// Where the next blocks begin, of `most` MCUs at most; none where the serial reader has to go on.
    fn next(&mut self, source: &mut Source, input: Input<'_>, most: usize) -> Result<&[u32], Pause> {
        if self.ahead.is_empty() && self.ahead.pays() {
            let (from, limit) = source.look_ahead(input).ok_or(Pause::Starved)?;
            self.ahead.look(&self.steps, &source.window, from, limit, self.block_bits);
        }
        Ok(self.ahead.take(most))
    }
}

/// What [`Stream::strip`] does.
struct Strip<'s> {
    stream: &'s mut Stream,
    input: Input<'s>,
    planes: &'s mut [Plane],
    mcus_wide: usize,
}

impl simd::Work for Strip<'_> {
    type Output = Result<(), Pause>;

    #[inline(always)]
    fn run(self, avx2: Option<Avx2>) -> Self::Output {
        self.stream.strip_with(self.input, self.planes, self.mcus_wide, avx2)
    }
}

/// Decodes MCUs from `mcu` on whose blocks begin at `starts`, component by component.
#[inline(always)]
fn known_mcus(
    (window, starts): (&Window, &[u32]),
    mcu: usize,
    ready: &Ready,
    members: &[Member],
    before: &mut [i16; 4],
    planes: &mut [Plane],
    avx2: Option<Avx2>,
) -> Result<(), NoCode> {
    for (index, plane) in planes.iter_mut().enumerate() {
        let mut own = members.iter().enumerate().filter(|(_, member)| member.plane == index).peekable();
        let Some((from, member)) = own.peek().map(|(from, member)| (*from, *member)) else { continue };
        let count = own.count();
        let (Some(dc), Some(ac)) = (&ready.dc[member.dc_table & 3], &ready.ac[member.ac_table & 3]) else { return Err(NoCode) };
        let part = Part { window, starts, mcu, from, count, step: members.len() };
        let before = &mut before[index & 3];
        match plane.side {
            1 => match plane.horizontal {
                1 => part.means::<1>(dc, before, plane)?,
                2 => part.means::<2>(dc, before, plane)?,
                3 => part.means::<3>(dc, before, plane)?,
                _ => part.means::<4>(dc, before, plane)?,
            },
            side => {
                let Some((pairs, _)) = &ac.small else { return Err(NoCode) };
                match side {
                    2 => part.blocks::<2>(dc, (&ac.codes, pairs), before, plane, avx2)?,
                    _ => part.blocks::<4>(dc, (&ac.codes, pairs), before, plane, avx2)?,
                }
            }
        }
    }
    Ok(())
}

/// One component's share of some MCUs.
struct Part<'a> {
    window: &'a Window,
    starts: &'a [u32],
    /// The first MCU's place in the strip.
    mcu: usize,
    /// Its first block in an MCU, how many it has there, and how many an MCU has in all.
    from: usize,
    count: usize,
    step: usize,
}

impl Part<'_> {
    /// Where its blocks begin, MCU by MCU, with the MCU's place in the strip.
    #[inline(always)]
    fn mcus(&self) -> impl Iterator<Item = (usize, &[u32])> {
        let own = self.from..self.from + self.count;
        (self.mcu..).zip(self.starts.chunks_exact(self.step).map(move |starts| &starts[own.clone()]))
    }

    /// Blocks of which only the mean is wanted, `WIDE` side by side in an MCU.
    #[inline(always)]
    fn means<const WIDE: usize>(&self, dc: &Huffman, before: &mut i16, plane: &mut Plane) -> Result<(), NoCode> {
        let Some(&[quantiser, ..]) = plane.quantisers.as_ref() else { return Err(NoCode) };
        let (mut mean, stride) = (*before, plane.stride);
        for (mcu, starts) in self.mcus() {
            for (index, &start) in starts.iter().enumerate() {
                let (difference, _) = block::dc_difference(dc, word_at(self.window, start))?;
                mean = mean.wrapping_add(difference as i16);
                plane.filling[index / WIDE * stride + mcu * WIDE + index % WIDE] = idct::one(mean, quantiser);
            }
        }
        *before = mean;
        Ok(())
    }

    /// Blocks of which `SIDE` by `SIDE` coefficients are wanted.
    #[inline(always)]
    fn blocks<const SIDE: usize>(
        &self,
        dc: &Huffman,
        codes: (&Huffman, &Pairs),
        before: &mut i16,
        plane: &mut Plane,
        avx2: Option<Avx2>,
    ) -> Result<(), NoCode> {
        let Some(quantisers) = plane.quantisers else { return Err(NoCode) };
        let quantisers = &quantisers;
        let (wide, stride) = (plane.horizontal, plane.stride);
        let mut kept: [Scratch; AT_ONCE] = [[0; 256]; AT_ONCE];
        // Where blocks begin, and where their samples go.
        let mut waiting = [(0, 0); AT_ONCE];
        let mut count = 0;
        for (mcu, starts) in self.mcus() {
            let (mut across, mut place) = (0, mcu * wide * SIDE);
            for &start in starts {
                waiting[count] = (start, place + across * SIDE);
                (across, count) = (across + 1, count + 1);
                if across == wide {
                    (across, place) = (0, place + SIDE * stride);
                }
                if SIDE != 2 || count == AT_ONCE {
                    self.waiting::<SIDE>(&waiting[..count], dc, codes, before, plane, quantisers, &mut kept, avx2)?;
                    count = 0;
                }
            }
        }
        self.waiting::<SIDE>(&waiting[..count], dc, codes, before, plane, quantisers, &mut kept, avx2)
    }

    /// Some blocks, all at once where they are as many as that.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "a part of the loop above")]
    fn waiting<const SIDE: usize>(
        &self,
        waiting: &[(u32, usize)],
        dc: &Huffman,
        codes: (&Huffman, &Pairs),
        before: &mut i16,
        plane: &mut Plane,
        quantisers: &[u16; 64],
        kept: &mut [Scratch; AT_ONCE],
        avx2: Option<Avx2>,
    ) -> Result<(), NoCode> {
        for block in &mut kept[..waiting.len()] {
            block[..SIDE * SIDE].fill(0);
        }
        if let &[(one, _), (two, _), (three, _), (four, _)] = waiting {
            symbols::few(dc, codes, &plane.kept, [one, two, three, four], self.window, before, kept)?;
        } else {
            for (&(start, _), block) in waiting.iter().zip(kept.iter_mut()) {
                let mut bits = Bits::starting(self.window, start);
                symbols::leading(dc, codes, &plane.kept, &mut bits, self.window, before, block)?;
            }
        }
        for (&(_, place), block) in waiting.iter().zip(kept) {
            transform(SIDE, &block[..SIDE * SIDE], quantisers, &mut plane.filling[place..], plane.stride, false, avx2);
        }
        Ok(())
    }
}
