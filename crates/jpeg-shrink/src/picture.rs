//! Limits, the choice between streaming and waiting coefficients, scans to coefficients, strips to rows.
//!
//! The input comes with each call, so that decoders of a slice and of pieces share this. Invariants: nothing is allocated that the
//! caller's limits do not allow, and (unless lenient, or while more may come) that the input's length does not justify; work is
//! bounded by [`Limits::max_work`]; no input makes it panic.

use std::ops::Range;

use crate::{
    entropy::Source,
    error::{Error, ErrorKind},
    header::{Coding, ColourModel, Header, Scan, Stop, Tables, Walk, entropy_end},
    input::{Input, Pause},
    options::{Layout, Limits, Options, Refinement},
    plane::{Geometry, Plane},
    rows,
    scan::{Ready, members, read_alone, read_together},
    stream::Stream,
    strip::Strip,
};

/// Where samples come from.
enum Mode {
    /// All of a block is in one scan: strips are decoded as they are asked for.
    Streaming(Box<Stream>),
    /// Coefficients were collected, or are about to be.
    Waiting { collected: bool },
}

/// A strip at which a reader can begin, where its bytes do, and the restarts before it.
pub(crate) type Entry = (usize, usize, usize);

/// One picture, or some strips of it, being decoded.
pub(crate) struct Picture {
    options: Options,
    pub(crate) header: Header,
    pub(crate) geometry: Geometry,
    planes: Vec<Plane>,
    mode: Mode,
    /// The strip that is decoded first.
    first_strip: usize,
    /// Where a part that is read by strips begins: it has no use for the strip above its own.
    own_entry: Option<Entry>,
    /// Strips there are; fewer once a lenient decoder met a fault.
    strips: usize,
    /// Turns made: strip `first_strip + turns - 2` is shown, the one behind it filled.
    turns: usize,
    /// Whether a turn was made for a strip that is not yet filled.
    turned: bool,
    /// Its rows, of the whole picture's.
    rows: Range<usize>,
    next_row: usize,
    fault: Option<Error>,
    scratch: Vec<Vec<u8>>,
    sums: Vec<u16>,
}

impl Picture {
    /// Reads the header and checks the limits. The input must begin where the file does.
    pub(crate) fn new(input: Input<'_>, options: Options) -> Result<Self, Error> {
        let bytes = input.bytes;
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
        let mut planes: Vec<Plane> = {
            let plane = |component| Plane::new(component, &geometry, options.chroma, options.corners);
            frame.components.iter().map(plane).collect()
        };
        let streaming = frame.coding == Coding::Sequential && scan.components.len() == planes.len();
        let blocks: usize = planes.iter().map(Plane::blocks).sum();
        // A block takes two bits at least (a DC and an end code), in a progressive picture one. Scans of one component leave out
        // the blocks that fill its last MCUs up.
        let coded: usize = if streaming { blocks } else { planes.iter().map(|plane| plane.own_wide * plane.own_high).sum() };
        let least_bits = if frame.coding == Coding::Sequential { 2 * coded } else { coded };
        if input.complete && !options.lenient && least_bits > 8 * (bytes.len() - scan.data_at.min(bytes.len())) {
            return Err(Error::truncated(bytes.len()));
        }
        let mut memory: usize = planes.iter().map(Plane::strip_bytes).sum::<usize>() + (640 << 10);
        if !streaming {
            memory += planes.iter().map(|plane| plane.blocks() * 2 * plane.side * plane.side).sum::<usize>();
        }
        check_memory(memory, &options.limits)?;
        let mode = if streaming {
            check_work(blocks + (bytes.len() - scan.data_at), 0, &options.limits)?;
            for part in &scan.components {
                latch(&mut planes[part.index], frame.components[part.index].quantisation, &walk.tables, scan.data_at)?;
            }
            // How much comes is not known while more may come: as much as a block takes in photos, then.
            let data_bytes = if input.complete { bytes.len() - scan.data_at } else { blocks.saturating_mul(6) };
            let skipping = planes.iter().any(|plane| plane.side < 8).then_some(data_bytes);
            let source = Source::new(scan.data_at, walk.tables.restart_interval, 0);
            let ready = Ready::new(&walk.tables, &scan, frame.coding, skipping)?;
            let mut stream = Stream::new(source, ready, members(&scan, &planes));
            stream.look_ahead(&planes, data_bytes, blocks);
            Mode::Streaming(Box::new(stream))
        } else {
            Mode::Waiting { collected: false }
        };
        for plane in &mut planes {
            plane.allocate_strips();
        }
        let scratch = planes.iter().map(|_| vec![0; geometry.width]).collect();
        Ok(Self {
            options,
            header,
            geometry,
            planes,
            mode,
            first_strip: 0,
            own_entry: None,
            strips: geometry.mcus_high,
            turns: 0,
            turned: false,
            rows: 0..geometry.height,
            next_row: 0,
            fault: None,
            scratch,
            sums: Vec::new(),
        })
    }

    /// How its pixels lie.
    pub(crate) fn layout(&self) -> Layout {
        match self.header.colour {
            ColourModel::Grey => Layout::Grey8,
            ColourModel::YCbCr | ColourModel::Rgb => Layout::Rgb8,
            ColourModel::Cmyk | ColourModel::Ycck => Layout::Cmyk8,
        }
    }

    /// Bytes of a row of the result.
    pub(crate) fn row_bytes(&self) -> usize {
        self.geometry.width * self.layout().channels()
    }

    /// Rows of the result: of the whole, or of this part.
    pub(crate) fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// What stopped a lenient decoder.
    pub(crate) fn fault(&self) -> Option<&Error> {
        self.fault.as_ref()
    }

    /// Whether nothing was decoded yet.
    pub(crate) fn is_unread(&self) -> bool {
        self.turns == 0 && !self.turned && self.fault.is_none()
    }

    /// Whether no row comes any more.
    pub(crate) fn is_done(&self) -> bool {
        self.next_row >= self.rows.end || self.next_row / self.geometry.strip_rows() >= self.strips
    }

    /// Whether strips are decoded as their bytes come.
    pub(crate) fn is_streaming(&self) -> bool {
        matches!(self.mode, Mode::Streaming(_))
    }

    /// Strips at which a reader can begin; none but the first where restart markers do not stand at the beginnings of strips.
    pub(crate) fn entries(&self, input: Input<'_>) -> Vec<Entry> {
        match &self.mode {
            Mode::Streaming(stream) => stream.entries(input, self.geometry.mcus_wide, self.geometry.mcus_high),
            Mode::Waiting { .. } => Vec::new(),
        }
    }

    /// Makes an unread picture one of some strips: decoding of rows begins at the entry `above` (upsampling looks at the row above),
    /// that of strips at their `own`; both come from those of `strips`.
    pub(crate) fn limit(&mut self, above: Entry, own: Entry, strips: Range<usize>) {
        self.enter(above);
        self.own_entry = Some(own);
        let strip_rows = self.geometry.strip_rows();
        self.rows = (strips.start * strip_rows).min(self.geometry.height)..(strips.end * strip_rows).min(self.geometry.height);
        self.next_row = self.rows.start;
    }

    fn enter(&mut self, (strip, at, restarts): Entry) {
        if let Mode::Streaming(stream) = &mut self.mode {
            stream.enter(at, restarts);
        }
        self.first_strip = strip;
    }

    /// Width and height of each component's plane, of all parts together.
    pub(crate) fn plane_sides(&self) -> Vec<(u32, u32)> {
        self.planes.iter().map(|plane| (plane.real_width as u32, plane.real_height as u32)).collect()
    }

    /// Offset of the first byte of the file that is still needed.
    pub(crate) fn needed_from(&self) -> usize {
        match &self.mode {
            Mode::Streaming(stream) => stream.needed_from(),
            Mode::Waiting { .. } => 0,
        }
    }

    /// The next rows, as many as `out` holds whole; fewer where the input is not complete.
    pub(crate) fn read_rows(&mut self, input: Input<'_>, out: &mut [u8], keep_going: &dyn Fn() -> bool) -> Result<usize, Error> {
        let row_bytes = self.row_bytes();
        if out.len() < row_bytes {
            let text = format!("buffer has {} bytes, a row needs {row_bytes}", out.len());
            return Err(Error::new(ErrorKind::BufferTooSmall, 0, text));
        }
        if let Some(fault) = self.fault.as_ref().filter(|fault| self.ends_with(fault)) {
            return Err(fault.clone());
        }
        let mut rows = 0;
        for line in out.chunks_exact_mut(row_bytes) {
            match self.make_row(input, keep_going) {
                Ok(true) => {}
                Ok(false) | Err(Pause::Starved) => break,
                Err(Pause::Fault(fault)) => return Err(fault),
            }
            self.write_row(line);
            self.next_row += 1;
            rows += 1;
        }
        Ok(rows)
    }

    /// Decodes the next strip, for [`Self::strip`]; `false` where there is none, or none yet.
    pub(crate) fn make_strip(&mut self, input: Input<'_>, keep_going: &dyn Fn() -> bool) -> Result<bool, Error> {
        if let Some(fault) = self.fault.as_ref().filter(|fault| self.ends_with(fault)) {
            return Err(fault.clone());
        }
        if self.is_done() {
            return Ok(false);
        }
        if let (true, Some(own)) = (self.is_unread(), self.own_entry.take()) {
            self.enter(own);
        }
        match self.fill_next(input, keep_going) {
            Ok(()) => {}
            Err(Pause::Starved) => return Ok(false),
            Err(Pause::Fault(fault)) => return Err(fault),
        }
        self.next_row = ((self.first_strip + self.turns) * self.geometry.strip_rows()).min(self.rows.end);
        Ok(self.first_strip + self.turns <= self.strips)
    }

    /// The strip that [`Self::make_strip`] decoded.
    pub(crate) fn strip(&self) -> Strip<'_> {
        Strip::new(&self.planes, (self.first_strip + self.turns).saturating_sub(1))
    }

    /// Whether nothing comes behind this fault.
    fn ends_with(&self, fault: &Error) -> bool {
        !self.options.lenient || fault.kind() == ErrorKind::Interrupted
    }

    /// Decodes the strip that comes next, if there is one, and counts it. A fault makes a lenient picture end before it.
    fn fill_next(&mut self, input: Input<'_>, keep_going: &dyn Fn() -> bool) -> Result<(), Pause> {
        let filling = self.first_strip + self.turns;
        if filling < self.strips {
            match self.fill_strip(input, filling, keep_going) {
                Ok(()) => {}
                Err(Pause::Starved) => return Err(Pause::Starved),
                Err(Pause::Fault(fault)) => {
                    self.fault = Some(fault.clone());
                    if self.ends_with(&fault) {
                        return Err(fault.into());
                    }
                    self.strips = filling;
                    for plane in &mut self.planes {
                        plane.real_height = plane.real_height.min(self.strips * plane.strip_rows);
                    }
                }
            }
        }
        self.turned = false;
        self.turns += 1;
        Ok(())
    }

    /// Sees to it that the strip of `next_row` is shown; `false` at the end.
    fn make_row(&mut self, input: Input<'_>, keep_going: &dyn Fn() -> bool) -> Result<bool, Pause> {
        let strip = self.next_row / self.geometry.strip_rows();
        if self.next_row >= self.rows.end {
            return Ok(false);
        }
        while strip < self.strips && self.first_strip + self.turns < strip + 2 {
            if !self.turned {
                for plane in &mut self.planes {
                    plane.turn();
                }
                self.turned = true;
            }
            self.fill_next(input, keep_going)?;
        }
        Ok(strip < self.strips)
    }

    fn write_row(&mut self, out: &mut [u8]) {
        let (y, width, shown) = (self.next_row, self.geometry.width, self.first_strip + self.turns - 2);
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

    fn fill_strip(&mut self, input: Input<'_>, strip: usize, keep_going: &dyn Fn() -> bool) -> Result<(), Pause> {
        if let Mode::Waiting { collected: false } = self.mode {
            if !input.complete {
                return Err(Pause::Starved);
            }
            self.mode = Mode::Waiting { collected: true };
            if let Err(fault) = self.collect(input.bytes, keep_going) {
                // A progressive picture can be shown with the scans that were whole.
                if self.ends_with(&fault) || self.planes.iter().any(|plane| plane.coefficients.is_empty()) {
                    return Err(fault.into());
                }
                self.fault = Some(fault);
            }
        }
        match &mut self.mode {
            Mode::Streaming(stream) => stream.strip(input, &mut self.planes, self.geometry.mcus_wide),
            Mode::Waiting { .. } => {
                for plane in &mut self.planes {
                    plane.transform_strip(strip);
                }
                Ok(())
            }
        }
    }

    /// Reads all scans that matter into the planes' coefficients.
    fn collect(&mut self, bytes: &[u8], keep_going: &dyn Fn() -> bool) -> Result<(), Error> {
        let (scans, listing_fault) = self.list_scans(bytes)?;
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
        let mut walk = Walk::new(bytes)?;
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
                // The last code of data that are cut may be half a code, which is none at all.
                let cut = *end == bytes.len() && listing_fault.as_ref().is_some_and(|fault| fault.kind() == ErrorKind::Truncated);
                let read = self.read_scan(bytes, &scan, &walk.tables, end - scan.data_at, keep_going);
                let is_wished = |fault: &Error| fault.kind() == ErrorKind::Interrupted;
                read.map_err(|fault| if cut && !is_wished(&fault) { Error::truncated(bytes.len()) } else { fault })?;
            }
            walk.resume(*end);
        }
        match listing_fault {
            Some(fault) => Err(fault),
            None => {
                let seen =
                    |index: usize| scans.iter().any(|(scan, _)| scan.first == 0 && scan.components.iter().any(|part| part.index == index));
                if (0..self.planes.len()).all(seen) { Ok(()) } else { Err(Error::malformed(bytes.len(), "a component has no scan")) }
            }
        }
    }

    /// All scans and where their data end. What is wrong behind the first is returned beside them for a lenient decoder to show
    /// what comes before.
    #[expect(clippy::type_complexity, reason = "a list and what cut it short")]
    fn list_scans(&self, bytes: &[u8]) -> Result<(Vec<(Scan, usize)>, Option<Error>), Error> {
        let mut walk = Walk::new(bytes)?;
        let mut scans = Vec::new();
        let fault = loop {
            match walk.next_stop() {
                Ok(Stop::Scan(scan)) => {
                    if scans.len() >= self.options.limits.max_scans as usize {
                        let text = format!("jpeg has more scans than the limit of {}", self.options.limits.max_scans);
                        break Some(Error::limit(scan.data_at, text));
                    }
                    let end = entropy_end(bytes, scan.data_at);
                    walk.resume(end.unwrap_or(bytes.len()));
                    scans.push((scan, end.unwrap_or(bytes.len())));
                    if end.is_none() {
                        break Some(Error::truncated(bytes.len()));
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
        let left_out = |scan: &Scan| {
            let is_lowest_of_luma = scan.low == 0 && scan.components[0].index == 0;
            let unwanted = match self.options.refinement {
                Refinement::Read => false,
                Refinement::LeaveOutLowest => is_lowest_of_luma,
                Refinement::LeaveOut => true,
            };
            unwanted && scan.high > 0 && scan.first > 0
        };
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

    fn read_scan(
        &mut self,
        bytes: &[u8],
        scan: &Scan,
        tables: &Tables,
        data_bytes: usize,
        keep_going: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let coding = self.header.coding;
        let small = scan.components.iter().any(|part| self.planes[part.index].side < 8);
        let skipping = (coding == Coding::Sequential && small).then_some(data_bytes);
        let ready = Ready::new(tables, scan, coding, skipping)?;
        let input = Input::whole(bytes);
        let mut source = Source::new(scan.data_at, tables.restart_interval, 0);
        let read = if let [part] = scan.components.as_slice() {
            let plane = &mut self.planes[part.index];
            let dc = ready.dc[part.dc_table].as_ref();
            let ac = ready.ac[part.ac_table].as_ref();
            read_alone((&mut source, input, keep_going), scan, coding, dc, ac, plane)
        } else {
            let members = members(scan, &self.planes);
            read_together((&mut source, input, keep_going), scan, coding, &ready, &members, &mut self.planes, &self.geometry)
        };
        match read {
            Ok(()) => source.finish(input),
            Err(Pause::Fault(fault)) => Err(fault),
            Err(Pause::Starved) => Err(Error::truncated(input.end())),
        }
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

#[cfg(test)]
mod tests;
