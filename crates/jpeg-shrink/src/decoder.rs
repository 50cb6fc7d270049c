//! The decoder: limits, the choice between streaming and waiting coefficients, scans to coefficients, strips to rows.
//!
//! Invariants: nothing is allocated that the caller's limits do not allow, and (unless lenient) that the input's length does not
//! justify; work is bounded by [`Limits::max_work`]; no input makes it panic.

use crate::{
    block::{self, Band},
    entropy::Source,
    error::{Error, ErrorKind},
    header::{Coding, ColourModel, Header, Scan, Stop, Tables, Walk, entropy_end},
    huffman::{Huffman, NoCode, Skip},
    plane::{Geometry, Plane, transform},
    rows,
};

/// Scans longer than this are worth a table that packs several symbols into an entry.
const PACK_FROM_BYTES: usize = 64 << 10;

/// How much smaller than the picture its pixels are wanted; sizes are rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scale {
    /// An eighth: the mean of each block.
    Eighth,
    /// A quarter.
    Quarter,
    /// A half.
    Half,
    /// As it is.
    Full,
}

impl Scale {
    /// Samples per side of a block: 1, 2, 4 or 8.
    #[must_use]
    pub fn eighths(self) -> u32 {
        match self {
            Self::Eighth => 1,
            Self::Quarter => 2,
            Self::Half => 4,
            Self::Full => 8,
        }
    }

    /// A length of `full_px` pixels at this scale, as the decoder rounds it.
    #[must_use]
    pub fn of(self, full_px: u32) -> u32 {
        (u64::from(full_px) * u64::from(self.eighths())).div_ceil(8) as u32
    }

    /// The smallest scale that leaves a resize from `source_px` to `target_px` at least a factor of `spare`. 2 is libvips' rule, and
    /// loses little that can be seen.
    #[must_use]
    pub fn leaving(source_px: u32, target_px: u32, spare: f64) -> Self {
        [Self::Eighth, Self::Quarter, Self::Half]
            .into_iter()
            .find(|scale| f64::from(source_px) * f64::from(scale.eighths()) / 8.0 >= f64::from(target_px) * spare)
            .unwrap_or(Self::Full)
    }
}

/// What the caller allows a picture to cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pixels of the whole picture, before shrinking.
    pub max_pixels: u64,
    /// Bytes the decoder may allocate: strips and waiting coefficients, not the caller's output.
    pub max_memory_bytes: u64,
    /// Scans that are looked at.
    pub max_scans: u32,
    /// Blocks visited plus bytes read, over all scans.
    pub max_work: u64,
}

impl Default for Limits {
    /// 268 million pixels, 512 MiB, 200 scans, 2^30 steps.
    fn default() -> Self {
        Self { max_pixels: 1 << 28, max_memory_bytes: 512 << 20, max_scans: 200, max_work: 1 << 30 }
    }
}

/// What to do with the low-order bits that a progressive picture's last AC scans add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refinement {
    /// Read them: the result is that of the whole file.
    #[default]
    Read,
    /// Leave them out: faster, for their scans are most of a file, at some loss of fine contrast.
    LeaveOut,
}

/// How to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The size wanted.
    pub scale: Scale,
    /// What it may cost.
    pub limits: Limits,
    /// Progressive pictures: whether all AC precision is read.
    pub refinement: Refinement,
    /// Whether to return what could be read of a broken picture.
    pub lenient: bool,
}

impl Options {
    /// Strict, with default limits.
    #[must_use]
    pub fn new(scale: Scale) -> Self {
        Self { scale, limits: Limits::default(), refinement: Refinement::Read, lenient: false }
    }
}

/// How pixels lie in the caller's buffer: tightly packed rows from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One byte a pixel.
    Grey8,
    /// Red, green, blue.
    Rgb8,
    /// Cyan, magenta, yellow, black as stored: where [`Header::adobe_transform`] is there, 255 is no ink.
    Cmyk8,
}

impl Layout {
    /// Bytes of a pixel.
    #[must_use]
    pub fn channels(self) -> usize {
        match self {
            Self::Grey8 => 1,
            Self::Rgb8 => 3,
            Self::Cmyk8 => 4,
        }
    }
}

/// What [`Decoder::decode_into`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Rows written. A progressive picture has all its rows even where late scans are missing.
    pub rows: u32,
    /// What stopped a lenient decoder.
    pub fault: Option<Error>,
}

/// Huffman tables of a scan, ready, by number.
#[derive(Default)]
struct Ready {
    dc: [Option<Huffman>; 4],
    ac: [Option<(Huffman, Option<Skip>)>; 4],
}

impl Ready {
    fn new(tables: &Tables, scan: &Scan, coding: Coding, pack: Option<bool>) -> Result<Self, Error> {
        let mut ready = Self::default();
        let missing = || Error::malformed(scan.data_at, "scan uses a huffman table that is not there");
        for part in &scan.components {
            let needs_dc = scan.first == 0 && scan.high == 0;
            if needs_dc && ready.dc[part.dc_table].is_none() {
                ready.dc[part.dc_table] = Some(Huffman::new(tables.dc[part.dc_table].as_ref().ok_or_else(missing)?)?);
            }
            let needs_ac = coding == Coding::Sequential || scan.first > 0;
            if needs_ac && ready.ac[part.ac_table].is_none() {
                let table = Huffman::new(tables.ac[part.ac_table].as_ref().ok_or_else(missing)?)?;
                let skip = pack.map(|pack| Skip::new(&table, pack));
                ready.ac[part.ac_table] = Some((table, skip));
            }
        }
        Ok(ready)
    }
}

/// One block of an MCU.
struct Member {
    plane: usize,
    dc_table: usize,
    ac_table: usize,
    /// Place in the MCU, in blocks.
    across: usize,
    down: usize,
}

/// Where samples come from.
enum Mode<'a> {
    /// All of a block is in one scan: strips are decoded as they are asked for.
    Streaming { source: Box<Source<'a>>, ready: Box<Ready>, members: Vec<Member>, before: [i16; 4] },
    /// Coefficients were collected, or are about to be.
    Waiting { collected: bool },
}

/// Decodes one picture.
pub struct Decoder<'a> {
    bytes: &'a [u8],
    options: Options,
    header: Header,
    geometry: Geometry,
    planes: Vec<Plane>,
    mode: Mode<'a>,
    /// Strips there are; fewer once a lenient decoder met a fault.
    strips: usize,
    /// Turns made: strip `turns - 2` is shown, `turns - 1` filled.
    turns: usize,
    next_row: usize,
    fault: Option<Error>,
    scratch: Vec<Vec<u8>>,
    sums: Vec<i32>,
}

impl<'a> Decoder<'a> {
    /// Reads the header and checks the limits.
    ///
    /// # Errors
    /// As [`probe`](crate::probe); a limit exceeded; a file too short for its blocks (unless lenient).
    pub fn new(bytes: &'a [u8], options: Options) -> Result<Self, Error> {
        let mut walk = Walk::new(bytes)?;
        let scan = match walk.next_stop()? {
            Stop::Scan(scan) => scan,
            Stop::End { at } => return Err(Error::malformed(at, "jpeg has no scan")),
        };
        let header = walk.header()?;
        let frame = walk.frame.as_ref().ok_or_else(|| Error::malformed(scan.data_at, "jpeg has a scan before its frame"))?;
        let pixels = u64::from(header.width_px) * u64::from(header.height_px);
        if pixels > options.limits.max_pixels {
            return Err(Error::limit(0, format!("jpeg has {pixels} pixels, limit is {}", options.limits.max_pixels)));
        }
        let geometry = Geometry::new(frame, header.height_px, options.scale.eighths() as usize);
        let mut planes: Vec<Plane> = frame.components.iter().map(|component| Plane::new(component, &geometry)).collect();
        let streaming = frame.coding == Coding::Sequential && scan.components.len() == planes.len();
        let blocks: usize = planes.iter().map(Plane::blocks).sum();
        // A block takes two bits at least (a DC and an end code), in a progressive picture one.
        let least_bits = if frame.coding == Coding::Sequential { 2 * blocks } else { blocks };
        if !options.lenient && least_bits > 8 * (bytes.len() - scan.data_at.min(bytes.len())) {
            return Err(Error::truncated(bytes.len()));
        }
        let mut memory: usize = planes.iter().map(Plane::strip_bytes).sum::<usize>() + (256 << 10);
        if !streaming {
            memory += planes.iter().map(|plane| plane.blocks() * 2 * plane.side * plane.side).sum::<usize>();
        }
        check_memory(memory, &options.limits)?;
        let mode = if streaming {
            check_work(blocks + (bytes.len() - scan.data_at), 0, &options.limits)?;
            for part in &scan.components {
                latch(&mut planes[part.index], frame.components[part.index].quantisation, &walk.tables, scan.data_at)?;
            }
            let pack = planes.iter().any(|plane| plane.side < 8).then_some(bytes.len() - scan.data_at >= PACK_FROM_BYTES);
            Mode::Streaming {
                source: Box::new(Source::new(bytes, scan.data_at, walk.tables.restart_interval)),
                ready: Box::new(Ready::new(&walk.tables, &scan, frame.coding, pack)?),
                members: members(&scan, &planes),
                before: [0; 4],
            }
        } else {
            Mode::Waiting { collected: false }
        };
        for plane in &mut planes {
            plane.allocate_strips();
        }
        let scratch = planes.iter().map(|_| vec![0; geometry.width]).collect();
        Ok(Self {
            bytes,
            options,
            header,
            geometry,
            planes,
            mode,
            strips: geometry.mcus_high,
            turns: 0,
            next_row: 0,
            fault: None,
            scratch,
            sums: Vec::new(),
        })
    }

    /// What the file says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Width of the result.
    #[must_use]
    pub fn width_px(&self) -> u32 {
        self.geometry.width as u32
    }

    /// Height of the result.
    #[must_use]
    pub fn height_px(&self) -> u32 {
        self.geometry.height as u32
    }

    /// How its pixels lie.
    #[must_use]
    pub fn layout(&self) -> Layout {
        match self.header.colour {
            ColourModel::Grey => Layout::Grey8,
            ColourModel::YCbCr | ColourModel::Rgb => Layout::Rgb8,
            ColourModel::Cmyk | ColourModel::Ycck => Layout::Cmyk8,
        }
    }

    /// Bytes of a row of the result.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.geometry.width * self.layout().channels()
    }

    /// Bytes of the whole result.
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        self.row_bytes() * self.geometry.height
    }

    /// The next rows, as many as `out` holds whole; returns how many, 0 at the end. `out` needs `row_bytes` for each.
    ///
    /// # Errors
    /// Broken input; a lenient decoder ends instead, and tells why in [`Self::fault`]. A buffer for less than a row.
    pub fn read_rows(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let row_bytes = self.row_bytes();
        if out.len() < row_bytes {
            let text = format!("buffer has {} bytes, a row needs {row_bytes}", out.len());
            return Err(Error::new(ErrorKind::BufferTooSmall, 0, text));
        }
        if let (Some(fault), false) = (&self.fault, self.options.lenient) {
            return Err(fault.clone());
        }
        let mut rows = 0;
        for line in out.chunks_exact_mut(row_bytes) {
            if !self.make_row()? {
                break;
            }
            self.write_row(line);
            self.next_row += 1;
            rows += 1;
        }
        Ok(rows)
    }

    /// The whole result (what is left of it); `out` needs [`Self::output_bytes`]. Rows that could not be read are left as they were.
    ///
    /// # Errors
    /// As [`Self::read_rows`].
    pub fn decode_into(&mut self, out: &mut [u8]) -> Result<Outcome, Error> {
        if out.len() < self.output_bytes() {
            let text = format!("buffer has {} bytes, the picture needs {}", out.len(), self.output_bytes());
            return Err(Error::new(ErrorKind::BufferTooSmall, 0, text));
        }
        let rows = self.read_rows(out)?;
        Ok(Outcome { rows: rows as u32, fault: self.fault.clone() })
    }

    /// What stopped a lenient decoder.
    #[must_use]
    pub fn fault(&self) -> Option<&Error> {
        self.fault.as_ref()
    }

    /// Sees to it that the strip of `next_row` is shown; `false` at the end.
    fn make_row(&mut self) -> Result<bool, Error> {
        let strip = self.next_row / self.geometry.strip_rows();
        if self.next_row >= self.geometry.height {
            return Ok(false);
        }
        while strip < self.strips && self.turns < strip + 2 {
            for plane in &mut self.planes {
                plane.turn();
            }
            if self.turns < self.strips
                && let Err(fault) = self.fill_strip(self.turns)
            {
                self.fault = Some(fault.clone());
                if !self.options.lenient {
                    return Err(fault);
                }
                self.strips = self.turns;
                for plane in &mut self.planes {
                    plane.real_height = plane.real_height.min(self.strips * plane.strip_rows);
                }
            }
            self.turns += 1;
        }
        Ok(strip < self.strips)
    }

    fn write_row(&mut self, out: &mut [u8]) {
        let (y, width, shown) = (self.next_row, self.geometry.width, self.turns - 2);
        for (plane, scratch) in self.planes.iter().zip(&mut self.scratch) {
            if plane.upsampling != rows::Upsampling::None {
                let (near, far) = plane.upsampling.source_rows(y);
                plane.upsampling.apply(plane.row(near, shown), plane.row(far, shown), y, scratch, &mut self.sums);
            }
        }
        let row = |index: usize| -> &[u8] {
            let plane = &self.planes[index];
            if plane.upsampling == rows::Upsampling::None { &plane.row(y, shown)[..width] } else { &self.scratch[index] }
        };
        match self.header.colour {
            ColourModel::Grey => out.copy_from_slice(row(0)),
            ColourModel::YCbCr => rows::ycbcr(row(0), row(1), row(2), out),
            ColourModel::Rgb => rows::interleave(&[row(0), row(1), row(2)], out),
            ColourModel::Cmyk => rows::interleave(&[row(0), row(1), row(2), row(3)], out),
            ColourModel::Ycck => rows::ycck([row(0), row(1), row(2), row(3)], out),
        }
    }

    fn fill_strip(&mut self, strip: usize) -> Result<(), Error> {
        if let Mode::Waiting { collected: false } = self.mode {
            self.mode = Mode::Waiting { collected: true };
            if let Err(fault) = self.collect() {
                // A progressive picture can be shown with the scans that were whole.
                if !self.options.lenient || self.planes.iter().any(|plane| plane.coefficients.is_empty()) {
                    return Err(fault);
                }
                self.fault = Some(fault);
            }
        }
        match &mut self.mode {
            Mode::Streaming { source, ready, members, before } => {
                stream_strip(source, ready, members, before, &mut self.planes, self.geometry.mcus_wide)
            }
            Mode::Waiting { .. } => {
                for plane in &mut self.planes {
                    plane.transform_strip(strip);
                }
                Ok(())
            }
        }
    }

    /// Reads all scans that matter into the planes' coefficients.
    fn collect(&mut self) -> Result<(), Error> {
        let (scans, listing_fault) = self.list_scans()?;
        let wanted = self.wanted(&scans);
        let mut memory: usize = planes_bytes(&self.planes);
        for (index, plane) in self.planes.iter().enumerate() {
            let masked = scans
                .iter()
                .zip(&wanted)
                .any(|((scan, _), &wanted)| wanted && scan.high > 0 && scan.first > 0 && scan.components[0].index == index);
            memory += if masked { 8 * plane.blocks() } else { 0 };
        }
        check_memory(memory, &self.options.limits)?;
        for plane in &mut self.planes {
            plane.coefficients = vec![0; plane.blocks() * plane.side * plane.side];
        }
        for (scan, _) in scans.iter().zip(&wanted).filter(|(_, wanted)| **wanted).map(|(scan, _)| scan) {
            if scan.high > 0 && scan.first > 0 {
                let plane = &mut self.planes[scan.components[0].index];
                plane.masks = vec![0; plane.blocks()];
            }
        }
        let mut walk = Walk::new(self.bytes)?;
        let mut work = 0;
        for ((listed, end), wanted) in scans.iter().zip(wanted) {
            let Stop::Scan(scan) = walk.next_stop()? else { break };
            debug_assert_eq!(listed.data_at, scan.data_at, "both walks see the same scans");
            for part in &scan.components {
                let quantisation = self.header.components[part.index].quantisation;
                if wanted && self.planes[part.index].quantisers.is_none() {
                    latch(&mut self.planes[part.index], quantisation, &walk.tables, scan.data_at)?;
                }
            }
            if wanted {
                let visited: usize = scan.components.iter().map(|part| self.planes[part.index].blocks()).sum();
                work = check_work(visited + (end - scan.data_at), work, &self.options.limits)?;
                self.read_scan(&scan, &walk.tables, end - scan.data_at)?;
            }
            walk.resume(*end);
        }
        match listing_fault {
            Some(fault) => Err(fault),
            None => {
                let seen =
                    |index: usize| scans.iter().any(|(scan, _)| scan.first == 0 && scan.components.iter().any(|part| part.index == index));
                if (0..self.planes.len()).all(seen) { Ok(()) } else { Err(Error::malformed(self.bytes.len(), "a component has no scan")) }
            }
        }
    }

    /// All scans and where their data end. What is wrong behind the first is returned beside them for a lenient decoder to show
    /// what comes before.
    #[expect(clippy::type_complexity, reason = "a list and what cut it short")]
    fn list_scans(&self) -> Result<(Vec<(Scan, usize)>, Option<Error>), Error> {
        let mut walk = Walk::new(self.bytes)?;
        let mut scans = Vec::new();
        let fault = loop {
            match walk.next_stop() {
                Ok(Stop::Scan(scan)) => {
                    if scans.len() >= self.options.limits.max_scans as usize {
                        let text = format!("jpeg has more scans than the limit of {}", self.options.limits.max_scans);
                        break Some(Error::limit(scan.data_at, text));
                    }
                    let end = entropy_end(self.bytes, scan.data_at);
                    walk.resume(end.unwrap_or(self.bytes.len()));
                    scans.push((scan, end.unwrap_or(self.bytes.len())));
                    if end.is_none() {
                        break Some(Error::truncated(self.bytes.len()));
                    }
                }
                Ok(Stop::End { .. }) => break None,
                Err(fault) => break Some(fault),
            }
        };
        match fault {
            Some(fault) if !self.options.lenient || scans.is_empty() => Err(fault),
            fault => Ok((scans, fault)),
        }
    }

    /// Which scans touch kept coefficients, or tell what a refinement of them needs to be read.
    fn wanted(&self, scans: &[(Scan, usize)]) -> Vec<bool> {
        let left_out = |scan: &Scan| scan.high > 0 && scan.first > 0 && self.options.refinement == Refinement::LeaveOut;
        let mut reach: Vec<u32> = self.planes.iter().map(|plane| plane.kept.last).collect();
        for (index, reach) in reach.iter_mut().enumerate() {
            loop {
                // The bits of a refinement can only be told apart by who knows which coefficients of its band are not zero.
                let further = scans
                    .iter()
                    .map(|(scan, _)| scan)
                    .filter(|scan| scan.high > 0 && scan.first > 0 && scan.components[0].index == index && !left_out(scan))
                    .filter(|scan| u32::from(scan.first) <= *reach)
                    .map(|scan| u32::from(scan.last))
                    .max()
                    .unwrap_or(0);
                if further <= *reach {
                    break;
                }
                *reach = further;
            }
        }
        scans
            .iter()
            .map(|(scan, _)| scan.first == 0 || u32::from(scan.first) <= reach[scan.components[0].index] && !left_out(scan))
            .collect()
    }

    fn read_scan(&mut self, scan: &Scan, tables: &Tables, data_bytes: usize) -> Result<(), Error> {
        let coding = self.header.coding;
        let small = scan.components.iter().any(|part| self.planes[part.index].side < 8);
        let pack = (coding == Coding::Sequential && small).then_some(data_bytes >= PACK_FROM_BYTES);
        let ready = Ready::new(tables, scan, coding, pack)?;
        let mut source = Source::new(self.bytes, scan.data_at, tables.restart_interval);
        if let [part] = scan.components.as_slice() {
            let plane = &mut self.planes[part.index];
            let dc = ready.dc[part.dc_table].as_ref();
            let ac = ready.ac[part.ac_table].as_ref();
            read_alone(&mut source, scan, coding, dc, ac, plane)?;
        } else {
            let members = members(scan, &self.planes);
            read_together(&mut source, scan, coding, &ready, &members, &mut self.planes, &self.geometry)?;
        }
        source.finish()?;
        Ok(())
    }
}

fn planes_bytes(planes: &[Plane]) -> usize {
    planes.iter().map(|plane| plane.strip_bytes() + plane.blocks() * 2 * plane.side * plane.side).sum()
}

fn check_memory(bytes: usize, limits: &Limits) -> Result<(), Error> {
    if bytes as u64 > limits.max_memory_bytes {
        return Err(Error::limit(0, format!("jpeg needs {bytes} bytes to decode, limit is {}", limits.max_memory_bytes)));
    }
    Ok(())
}

/// Adds `more` to the work done.
fn check_work(more: usize, done: u64, limits: &Limits) -> Result<u64, Error> {
    let work = done + more as u64;
    if work > limits.max_work {
        return Err(Error::limit(0, format!("jpeg needs {work} steps or more to decode, limit is {}", limits.max_work)));
    }
    Ok(work)
}

/// Takes the quantisation table in force at a component's first scan.
fn latch(plane: &mut Plane, number: u8, tables: &Tables, at: usize) -> Result<(), Error> {
    let table = tables.quantisation[usize::from(number & 3)]
        .as_ref()
        .ok_or_else(|| Error::malformed(at, "component uses a quantisation table that is not there"))?;
    plane.quantisers = Some(plane.kept.pick(table));
    Ok(())
}

/// The blocks of an MCU in order (T.81, A.2.3).
fn members(scan: &Scan, planes: &[Plane]) -> Vec<Member> {
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
fn broken(source: &Source<'_>) -> Error {
    source.finish().err().unwrap_or_else(|| Error::malformed(source.position(), "entropy-coded data are broken"))
}

/// Decodes one strip of an interleaved sequential scan straight to samples.
fn stream_strip(
    source: &mut Source<'_>,
    ready: &Ready,
    members: &[Member],
    before: &mut [i16; 4],
    planes: &mut [Plane],
    mcus_wide: usize,
) -> Result<(), Error> {
    let mut kept = [0i16; 64];
    for mcu in 0..mcus_wide {
        if source.before_mcu()? {
            *before = [0; 4];
        }
        let mut bits = source.bits;
        for member in members {
            let (Some(dc), Some((ac, skip)), Some(plane)) =
                (&ready.dc[member.dc_table & 3], &ready.ac[member.ac_table & 3], planes.get_mut(member.plane))
            else {
                continue;
            };
            let Some(quantisers) = &plane.quantisers else { continue };
            let before = &mut before[member.plane & 3];
            let x = (mcu * plane.horizontal + member.across) * plane.side;
            let out = &mut plane.filling[member.down * plane.side * plane.stride + x..];
            let done = if let (1, Some(skip)) = (plane.side, skip) {
                let done = block::dc_only(dc, ac, skip, &mut bits, &source.window, before);
                transform(1, std::slice::from_ref(before), quantisers, out, plane.stride);
                done
            } else {
                let skip = if plane.side < 8 { skip.as_ref() } else { None };
                let block = &mut kept[..plane.side * plane.side];
                block.fill(0);
                let done = block::sequential((dc, ac, skip), &plane.kept, &mut bits, &source.window, before, block);
                transform(plane.side, block, quantisers, out, plane.stride);
                done
            };
            if let Err(NoCode) = done {
                source.bits = bits;
                return Err(broken(source));
            }
        }
        source.bits = bits;
    }
    // The last MCUs of the picture have no next one to notice that they were not there.
    source.finish().map(drop)
}

/// Reads a scan of one component into its coefficients.
fn read_alone(
    source: &mut Source<'_>,
    scan: &Scan,
    coding: Coding,
    dc: Option<&Huffman>,
    ac: Option<&(Huffman, Option<Skip>)>,
    plane: &mut Plane,
) -> Result<(), Error> {
    let count = plane.side * plane.side;
    let (wide, high, blocks_wide) = (plane.own_wide, plane.own_high, plane.blocks_wide);
    let low = u32::from(scan.low);
    let mut before = 0i16;
    let mut band = ac.map(|(ac, _)| Band { ac, kept: &plane.kept, first: scan.first.into(), last: scan.last.into(), low, run: 0 });
    for row in 0..high {
        let start = row * blocks_wide;
        for (across, block) in plane.coefficients[start * count..].chunks_exact_mut(count).take(wide).enumerate() {
            if source.before_mcu()? {
                before = 0;
                if let Some(band) = &mut band {
                    band.run = 0;
                }
            }
            let mut bits = source.bits;
            let window = &source.window;
            let done = match (coding, scan.first, scan.high, dc, ac, &mut band) {
                (Coding::Sequential, _, _, Some(dc), Some((ac, skip)), _) => {
                    block.fill(0);
                    let skip = if plane.side < 8 { skip.as_ref() } else { None };
                    block::sequential((dc, ac, skip), &plane.kept, &mut bits, window, &mut before, block)
                }
                (Coding::Progressive, 0, 0, Some(dc), ..) => {
                    block::dc_first(dc, &mut bits, window, &mut before, low).map(|value| block[0] = value)
                }
                (Coding::Progressive, 0, _, ..) => {
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
                return Err(broken(source));
            }
        }
    }
    Ok(())
}

/// Reads an interleaved scan into its components' coefficients: sequential blocks, or DC alone.
fn read_together(
    source: &mut Source<'_>,
    scan: &Scan,
    coding: Coding,
    ready: &Ready,
    members: &[Member],
    planes: &mut [Plane],
    geometry: &Geometry,
) -> Result<(), Error> {
    let low = u32::from(scan.low);
    let mut before = [0i16; 4];
    for row in 0..geometry.mcus_high {
        for column in 0..geometry.mcus_wide {
            if source.before_mcu()? {
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
                let done = match (coding, scan.high, &ready.dc[member.dc_table & 3], &ready.ac[member.ac_table & 3]) {
                    (Coding::Sequential, _, Some(dc), Some((ac, skip))) => {
                        block.fill(0);
                        let skip = if plane.side < 8 { skip.as_ref() } else { None };
                        block::sequential((dc, ac, skip), &plane.kept, &mut bits, window, before, block)
                    }
                    (Coding::Progressive, 0, Some(dc), _) => {
                        block::dc_first(dc, &mut bits, window, before, low).map(|value| block[0] = value)
                    }
                    (Coding::Progressive, 1.., ..) => {
                        bits.refill(window);
                        block[0] |= (bits.take(1) << low) as i16;
                        Ok(())
                    }
                    _ => Err(NoCode),
                };
                if let Err(NoCode) = done {
                    source.bits = bits;
                    return Err(broken(source));
                }
            }
            source.bits = bits;
        }
    }
    Ok(())
}
