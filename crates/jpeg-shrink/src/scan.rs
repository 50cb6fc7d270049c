//! Scans whose blocks must wait: which block comes next, and where its kept coefficients go. And what all scans share: tables, MCUs.
//!
//! Knows nothing of limits or output. A sequential scan of all components need not wait; that is `stream.rs`.

use crate::{
    band::Band,
    block::{self, Scratch},
    entropy::Source,
    error::Error,
    header::{Coding, Scan, Tables},
    huffman::{Huffman, NoCode, Skip},
    input::{Input, Pause},
    plane::{Geometry, Plane},
    simd::{self, Avx2},
    symbols::{self, Pairs, Reading, Symbols},
};

/// Scans longer than this are worth a table that packs several symbols into an entry.
const PACK_FROM_BYTES: usize = 64 << 10;

/// Huffman tables of a scan, ready, by number.
#[derive(Default)]
pub(crate) struct Ready {
    pub(crate) dc: [Option<Huffman>; 4],
    pub(crate) ac: [Option<AcTables>; 4],
}

impl Ready {
    /// `skipping` is the length in bytes of the scan's data where coefficients are to be skipped.
    pub(crate) fn new(tables: &Tables, scan: &Scan, coding: Coding, skipping: Option<usize>) -> Result<Self, Error> {
        let mut ready = Self::default();
        let missing = || Error::malformed(scan.data_at, "scan uses a huffman table that is not there");
        for part in &scan.components {
            let needs_dc = scan.first == 0 && scan.high == 0;
            if needs_dc && ready.dc[part.dc_table].is_none() {
                ready.dc[part.dc_table] = Some(Huffman::new(tables.dc[part.dc_table].as_ref().ok_or_else(missing)?)?);
            }
            let needs_ac = coding == Coding::Sequential || scan.first > 0;
            if needs_ac && ready.ac[part.ac_table].is_none() {
                let codes = Huffman::new(tables.ac[part.ac_table].as_ref().ok_or_else(missing)?)?;
                let small = skipping.map(|bytes| (Pairs::new(&codes), Skip::new(&codes, bytes >= PACK_FROM_BYTES)));
                ready.ac[part.ac_table] = Some(AcTables { symbols: Symbols::new(&codes, coding == Coding::Progressive), codes, small });
            }
        }
        Ok(ready)
    }
}

/// What AC coefficients are read with; pairs and the skip table only where some are not wanted.
pub(crate) struct AcTables {
    pub(crate) codes: Huffman,
    pub(crate) symbols: Symbols,
    pub(crate) small: Option<(Pairs, Skip)>,
}

impl AcTables {
    /// For [`symbols::sequential`], of a component with blocks of this side.
    #[inline(always)]
    pub(crate) fn reading(&self, side: usize) -> Reading<'_> {
        let small = self.small.as_ref().filter(|_| side < 8);
        Reading { ac: &self.codes, symbols: &self.symbols, small: small.map(|(pairs, skip)| (pairs, skip)) }
    }
}

/// One block of an MCU.
pub(crate) struct Member {
    pub(crate) plane: usize,
    pub(crate) dc_table: usize,
    pub(crate) ac_table: usize,
    /// Place in the MCU, in blocks.
    pub(crate) across: usize,
    pub(crate) down: usize,
}

/// The blocks of an MCU in order (T.81, A.2.3).
pub(crate) fn members(scan: &Scan, planes: &[Plane]) -> Vec<Member> {
    let mut members = Vec::new();
    for part in &scan.components {
        let plane = &planes[part.index];
        // A component alone has one block an MCU.
        let (horizontal, vertical) = if scan.components.len() == 1 { (1, 1) } else { (plane.horizontal, plane.vertical) };
        for down in 0..vertical {
            for across in 0..horizontal {
                members.push(Member { plane: part.index, dc_table: part.dc_table, ac_table: part.ac_table, across, down });
            }
        }
    }
    members
}

/// What a missing code means: the end of the data, or broken data.
#[cold]
#[inline(never)]
pub(crate) fn broken(source: &Source, input: Input<'_>) -> Error {
    source.finish(input).err().unwrap_or_else(|| Error::malformed(source.position(input), "entropy-coded data are broken"))
}

/// Where a scan is read from, and whether to go on.
pub(crate) type From<'s> = (&'s mut Source, Input<'s>, &'s dyn Fn() -> bool);

/// What it means that the caller does not want more.
#[cold]
fn given_up(source: &Source, input: Input<'_>) -> Pause {
    Error::interrupted(source.position(input)).into()
}

/// Reads a scan of one component into its coefficients.
pub(crate) fn read_alone(
    (source, input, keep_going): From<'_>,
    scan: &Scan,
    coding: Coding,
    dc: Option<&Huffman>,
    ac: Option<&AcTables>,
    plane: &mut Plane,
) -> Result<(), Pause> {
    simd::run(Alone { source, input, keep_going, scan, coding, dc, ac, plane })
}

/// What [`read_alone`] does.
struct Alone<'s> {
    source: &'s mut Source,
    input: Input<'s>,
    keep_going: &'s dyn Fn() -> bool,
    scan: &'s Scan,
    coding: Coding,
    dc: Option<&'s Huffman>,
    ac: Option<&'s AcTables>,
    plane: &'s mut Plane,
}

impl simd::Work for Alone<'_> {
    type Output = Result<(), Pause>;

    #[inline(always)]
    fn run(self, avx2: Option<Avx2>) -> Result<(), Pause> {
        let Self { source, input, keep_going, scan, coding, dc, ac, plane } = self;
        let count = plane.side * plane.side;
        let (wide, high, blocks_wide) = (plane.own_wide, plane.own_high, plane.blocks_wide);
        let low = u32::from(scan.low);
        let mut before = 0i16;
        let mut scratch: Scratch = [0; 256];
        let mut band = ac.filter(|_| scan.first > 0).map(|ac| Band {
            ac: &ac.codes,
            symbols: &ac.symbols,
            kept: &plane.kept,
            first: scan.first.into(),
            last: scan.last.into(),
            low,
            run: 0,
            avx2,
        });
        let restarts = source.restart_interval() != 0;
        for row in 0..high {
            if !keep_going() {
                return Err(given_up(source, input));
            }
            let start = row * blocks_wide;
            let mut across = 0;
            while across < wide {
                // Where blocks are counted to the next restart they must come one by one.
                if let (Some(band), false) = (&mut band, restarts)
                    && band.run > 0
                {
                    let masks = if scan.high > 0 { plane.masks.get(start + across..) } else { None };
                    across += band.pass(wide - across, masks);
                    if across == wide {
                        break;
                    }
                }
                let Some(block) = plane.coefficients.get_mut((start + across) * count..(start + across + 1) * count) else { break };
                if source.before_mcu(input)? {
                    before = 0;
                    if let Some(band) = &mut band {
                        band.run = 0;
                    }
                }
                let mut bits = source.bits;
                let window = &source.window;
                let done = match (coding, scan.first, scan.high, dc, ac, &mut band) {
                    (Coding::Sequential, _, _, Some(dc), Some(ac), _) => {
                        scratch[..64].fill(0);
                        let done =
                            symbols::sequential(dc, ac.reading(plane.side), &plane.kept, &mut bits, window, &mut before, &mut scratch);
                        block.copy_from_slice(&scratch[..count]);
                        done.map(drop)
                    }
                    (Coding::Progressive, 0, 0, Some(dc), ..) => {
                        block::dc_first(dc, &mut bits, window, &mut before, low).map(|value| block[0] = value)
                    }
                    (Coding::Progressive, 0, ..) => {
                        bits.refill(window);
                        block[0] |= (bits.take(1) << low) as i16;
                        Ok(())
                    }
                    (Coding::Progressive, _, 0, _, _, Some(band)) => {
                        band.first_pass(&mut bits, window, block, plane.masks.get_mut(start + across))
                    }
                    (Coding::Progressive, _, _, _, _, Some(band)) => match plane.masks.get_mut(start + across) {
                        Some(mask) => band.refine(&mut bits, window, block, mask),
                        None => Err(NoCode),
                    },
                    _ => Err(NoCode),
                };
                source.bits = bits;
                if let Err(NoCode) = done {
                    return Err(broken(source, input).into());
                }
                across += 1;
            }
        }
        Ok(())
    }
}

/// Reads an interleaved scan into its components' coefficients: sequential blocks, or DC alone.
pub(crate) fn read_together(
    (source, input, keep_going): From<'_>,
    scan: &Scan,
    coding: Coding,
    ready: &Ready,
    members: &[Member],
    planes: &mut [Plane],
    geometry: &Geometry,
) -> Result<(), Pause> {
    if coding == Coding::Progressive {
        return simd::run(Means { source, input, keep_going, scan, ready, members, planes, geometry });
    }
    let mut before = [0i16; 4];
    let mut scratch: Scratch = [0; 256];
    for row in 0..geometry.mcus_high {
        if !keep_going() {
            return Err(given_up(source, input));
        }
        for column in 0..geometry.mcus_wide {
            if source.before_mcu(input)? {
                before = [0; 4];
            }
            let mut bits = source.bits;
            for member in members {
                let plane = &mut planes[member.plane];
                let count = plane.side * plane.side;
                let place = (row * plane.vertical + member.down) * plane.blocks_wide + column * plane.horizontal + member.across;
                let block = &mut plane.coefficients[place * count..][..count];
                let before = &mut before[member.plane & 3];
                let window = &source.window;
                let done = match (&ready.dc[member.dc_table & 3], &ready.ac[member.ac_table & 3]) {
                    (Some(dc), Some(ac)) => {
                        scratch[..64].fill(0);
                        symbols::sequential(dc, ac.reading(plane.side), &plane.kept, &mut bits, window, before, &mut scratch).map(drop)
                    }
                    _ => Err(NoCode),
                };
                block.copy_from_slice(&scratch[..count]);
                if let Err(NoCode) = done {
                    source.bits = bits;
                    return Err(broken(source, input).into());
                }
            }
            source.bits = bits;
        }
    }
    Ok(())
}

/// An interleaved DC scan of a progressive picture.
struct Means<'s> {
    source: &'s mut Source,
    input: Input<'s>,
    keep_going: &'s dyn Fn() -> bool,
    scan: &'s Scan,
    ready: &'s Ready,
    members: &'s [Member],
    planes: &'s mut [Plane],
    geometry: &'s Geometry,
}

impl simd::Work for Means<'_> {
    type Output = Result<(), Pause>;

    #[inline(always)]
    fn run(self, _avx2: Option<Avx2>) -> Result<(), Pause> {
        let Self { source, input, keep_going, scan, ready, members, planes, geometry } = self;
        let low = u32::from(scan.low);
        let mut before = [0i16; 4];
        for row in 0..geometry.mcus_high {
            if !keep_going() {
                return Err(given_up(source, input));
            }
            for column in 0..geometry.mcus_wide {
                if source.before_mcu(input)? {
                    before = [0; 4];
                }
                let mut bits = source.bits;
                if scan.high > 0 {
                    // A bit for each of ten blocks at most.
                    bits.refill(&source.window);
                }
                for member in members {
                    let plane = &mut planes[member.plane];
                    let place = (row * plane.vertical + member.down) * plane.blocks_wide + column * plane.horizontal + member.across;
                    let value = &mut plane.coefficients[place * plane.side * plane.side];
                    if scan.high > 0 {
                        *value |= (bits.take(1) << low) as i16;
                        continue;
                    }
                    let dc = ready.dc[member.dc_table & 3].as_ref();
                    let before = &mut before[member.plane & 3];
                    match dc.ok_or(NoCode).and_then(|dc| block::dc_first(dc, &mut bits, &source.window, before, low)) {
                        Ok(dc) => *value = dc,
                        Err(NoCode) => {
                            source.bits = bits;
                            return Err(broken(source, input).into());
                        }
                    }
                }
                source.bits = bits;
            }
        }
        Ok(())
    }
}
