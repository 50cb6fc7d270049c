//! The decoder: limits, the choice between streaming and waiting coefficients, scans to coefficients, strips to rows.
//!
//! Invariants: nothing is allocated that the caller's limits do not allow, and (unless lenient) that the input's length does not
//! justify; work is bounded by [`Limits::max_work`]; no input makes it panic.

use crate::{
    entropy::Source,
    error::{Error, ErrorKind},
    header::{Coding, ColourModel, Header, Scan, Stop, Tables, Walk, entropy_end},
    options::{Layout, Limits, Options, Outcome, Refinement},
    plane::{Geometry, Plane},
    rows,
    scan::{Member, Ready, members, read_alone, read_together, stream_strip},
};

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
    sums: Vec<u16>,
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
        // A block takes two bits at least (a DC and an end code), in a progressive picture one. Scans of one component leave out
        // the blocks that fill its last MCUs up.
        let coded: usize = if streaming { blocks } else { planes.iter().map(|plane| plane.own_wide * plane.own_high).sum() };
        let least_bits = if frame.coding == Coding::Sequential { 2 * coded } else { coded };
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
            let skipping = planes.iter().any(|plane| plane.side < 8).then_some(bytes.len() - scan.data_at);
            Mode::Streaming {
                source: Box::new(Source::new(bytes, scan.data_at, walk.tables.restart_interval)),
                ready: Box::new(Ready::new(&walk.tables, &scan, frame.coding, skipping)?),
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
                // The last code of data that are cut may be half a code, which is none at all.
                let cut = *end == self.bytes.len() && listing_fault.as_ref().is_some_and(|fault| fault.kind() == ErrorKind::Truncated);
                let read = self.read_scan(&scan, &walk.tables, end - scan.data_at);
                read.map_err(|fault| if cut { Error::truncated(self.bytes.len()) } else { fault })?;
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
        let skipping = (coding == Coding::Sequential && small).then_some(data_bytes);
        let ready = Ready::new(tables, scan, coding, skipping)?;
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
