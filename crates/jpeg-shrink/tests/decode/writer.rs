//! A writer of JPEGs from coefficients, in every manner T.81 allows and encoders leave out: any sampling factors, scans of one
//! component, any order of bands and refinements, long and short codes, 16-bit quantisers, a late height, fill bytes.
//!
//! Written from T.81 (annexes A, C, F, G); shares no code with the decoder, and knows nothing of it. Whole numbers only, so that a
//! picture has the same bytes on every machine. Also used by the fuzz target `jpeg_twin`.

/// A block's coefficients in zigzag order.
pub(crate) type Block = [i16; 64];

/// One component.
pub(crate) struct Part {
    pub(crate) id: u8,
    pub(crate) h: usize,
    pub(crate) v: usize,
    /// Blocks across and down, whole MCUs.
    wide: usize,
    high: usize,
    /// Blocks that a scan of this component alone has.
    own: (usize, usize),
    blocks: Vec<Block>,
}

/// What is written, whatever the manner.
pub(crate) struct Picture {
    width: usize,
    height: usize,
    pub(crate) parts: Vec<Part>,
    /// One for the first component and one for the rest, in zigzag order.
    quantisers: [[u16; 64]; 2],
}

impl Picture {
    /// `block` is asked for component, column and row of every block.
    pub(crate) fn new(
        (width, height): (usize, usize),
        factors: &[(usize, usize)],
        quantisers: [[u16; 64]; 2],
        mut block: impl FnMut(usize, usize, usize) -> Block,
    ) -> Self {
        let largest = |of: fn(&(usize, usize)) -> usize| factors.iter().map(of).max().unwrap_or(1);
        let (across, down) = (8 * largest(|factor| factor.0), 8 * largest(|factor| factor.1));
        let mut parts = Vec::new();
        for (index, &(h, v)) in factors.iter().enumerate() {
            let (wide, high) = (width.div_ceil(across) * h, height.div_ceil(down) * v);
            let blocks = (0..wide * high).map(|at| block(index, at % wide, at / wide)).collect();
            let own = ((width * h).div_ceil(across), (height * v).div_ceil(down));
            parts.push(Part { id: index as u8 + 1, h, v, wide, high, own, blocks });
        }
        // The factors of a lone component mean nothing (A.2.2).
        assert!(parts.len() > 1 || factors == [(1, 1)]);
        Self { width, height, parts, quantisers }
    }
}

/// One scan: its components, its band, and bit positions before and now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) parts: Vec<usize>,
    pub(crate) first: usize,
    pub(crate) last: usize,
    pub(crate) high: u8,
    pub(crate) low: u8,
}

/// How long codes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codes {
    /// All alike.
    Flat,
    /// One bit for the commonest symbol, two for the next, ..., 16 for the many last.
    Steep,
}

/// The application segment that says what the components mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    None,
    Jfif,
    Adobe(u8),
}

/// How a picture is written.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    pub(crate) progressive: bool,
    pub(crate) scans: Vec<Scan>,
    pub(crate) restart: u16,
    pub(crate) codes: Codes,
    pub(crate) sign: Sign,
    /// Quantisers of 16 bits.
    pub(crate) wide: bool,
    /// The height behind the first scan.
    pub(crate) late: bool,
    /// Fill bytes before every marker.
    pub(crate) fill: bool,
}

impl Manner {
    /// Sequential, all in one scan.
    pub(crate) fn plain(parts: usize) -> Self {
        Self { scans: vec![whole((0..parts).collect())], ..Self::apart(parts) }
    }

    /// Sequential, a scan for each component.
    pub(crate) fn apart(parts: usize) -> Self {
        let scans = (0..parts).map(|part| whole(vec![part])).collect();
        let sign = if parts == 3 { Sign::Jfif } else { Sign::None };
        Self { progressive: false, scans, restart: 0, codes: Codes::Flat, sign, wide: false, late: false, fill: false }
    }

    /// Progressive, by [`script`].
    pub(crate) fn progressive(parts: usize, choice: u32) -> Self {
        Self { progressive: true, scans: script(parts, choice), ..Self::apart(parts) }
    }
}

fn whole(parts: Vec<usize>) -> Scan {
    Scan { parts, first: 0, last: 63, high: 0, low: 0 }
}

/// One of many scan scripts: DC together or apart; 0 to 2 refinements of DC and of AC; AC in two bands, refined in them or as one,
/// component by component or step by step.
pub(crate) fn script(parts: usize, choice: u32) -> Vec<Scan> {
    let bits = |from: u32, count: u32| choice >> from & ((1 << count) - 1);
    let (dc_low, ac_low) = ((bits(0, 2) % 3) as u8, (bits(2, 2) % 3) as u8);
    let (apart, bands_again, by_part) = (bits(4, 1) == 1, bits(5, 1) == 1, bits(6, 1) == 1);
    let split = 1 + bits(7, 6) as usize % 63;
    let scan = |parts: &[usize], first, last, high, low| Scan { parts: parts.to_vec(), first, last, high, low };
    let all: Vec<usize> = (0..parts).collect();
    let groups: Vec<&[usize]> = if apart { all.chunks(1).collect() } else { vec![&all] };
    let mut scans = Vec::new();
    for low in (0..=dc_low).rev() {
        let high = if low == dc_low { 0 } else { low + 1 };
        scans.extend(groups.iter().map(|group| scan(group, 0, 0, high, low)));
    }
    let steps = |part: usize, low: u8| {
        let high = if low == ac_low { 0 } else { low + 1 };
        let two = split < 63 && (high == 0 || bands_again);
        let bands = if two { vec![(1, split), (split + 1, 63)] } else { vec![(1, 63)] };
        bands.into_iter().map(|(first, last)| scan(&[part], first, last, high, low)).collect::<Vec<_>>()
    };
    if by_part {
        scans.extend((0..parts).flat_map(|part| (0..=ac_low).rev().flat_map(move |low| steps(part, low))));
    } else {
        scans.extend((0..=ac_low).rev().flat_map(|low| (0..parts).flat_map(move |part| steps(part, low))));
    }
    scans
}

/// What goes into a scan, before codes are known. Tables are named `4 * class + number`.
enum Token {
    Code(usize, u8),
    Bits(u32, u32),
    Restart,
}

/// Bits of a value's size and of the value (F.1.2.1).
fn sized(value: i32) -> (u32, u32) {
    let size = 32 - value.unsigned_abs().leading_zeros();
    (size, if value < 0 { (value - 1) as u32 & ((1 << size) - 1) } else { value as u32 })
}

#[derive(Default)]
struct Pen {
    tokens: Vec<Token>,
    before: [i32; 4],
    /// Blocks that ended in a run, and the correction bits that follow its code.
    run: u32,
    held: Vec<u32>,
}

impl Pen {
    fn value(&mut self, table: usize, zeros: usize, value: i32) {
        let (size, bits) = sized(value);
        self.tokens.push(Token::Code(table, (zeros as u8) << 4 | size as u8));
        self.tokens.push(Token::Bits(bits, size));
    }

    fn difference(&mut self, part: usize, dc: i32) {
        let before = std::mem::replace(&mut self.before[part], dc);
        self.value(part.min(1), 0, dc - before);
    }

    fn end_run(&mut self, table: usize) {
        if self.run > 0 {
            let exponent = self.run.ilog2();
            self.tokens.push(Token::Code(table, (exponent as u8) << 4));
            self.tokens.push(Token::Bits(self.run - (1 << exponent), exponent));
            self.run = 0;
        }
        self.tokens.extend(self.held.drain(..).map(|bit| Token::Bits(bit, 1)));
    }

    /// F.1.2.2, and G.1.2.2 where runs of blocks are allowed.
    fn band(&mut self, table: usize, block: &Block, scan: &Scan, runs: bool) {
        let mut zeros = 0;
        for &coefficient in &block[scan.first.max(1)..=scan.last] {
            // Towards zero, unlike DC (G.1.2.1).
            let value = i32::from(coefficient) / (1 << scan.low);
            if value == 0 {
                zeros += 1;
                continue;
            }
            self.end_run(table);
            while zeros > 15 {
                self.tokens.push(Token::Code(table, 0xf0));
                zeros -= 16;
            }
            self.value(table, zeros, value);
            zeros = 0;
        }
        if zeros > 0 && runs {
            self.run += 1;
            if self.run == 0x7fff {
                self.end_run(table);
            }
        } else if zeros > 0 {
            self.tokens.push(Token::Code(table, 0));
        }
    }

    /// G.1.2.3.
    fn refinement(&mut self, table: usize, block: &Block, scan: &Scan) {
        let size = |at: usize| u32::from(block[at].unsigned_abs()) >> scan.low;
        let end = (scan.first..=scan.last).rev().find(|&at| size(at) == 1).unwrap_or(0);
        let (mut zeros, mut corrections) = (0, Vec::new());
        for (at, &coefficient) in block.iter().enumerate().take(scan.last + 1).skip(scan.first) {
            if size(at) == 0 {
                zeros += 1;
                continue;
            }
            while zeros > 15 && at <= end {
                self.end_run(table);
                self.tokens.push(Token::Code(table, 0xf0));
                self.tokens.extend(corrections.drain(..).map(|bit| Token::Bits(bit, 1)));
                zeros -= 16;
            }
            if size(at) > 1 {
                corrections.push(size(at) & 1);
                continue;
            }
            self.end_run(table);
            self.tokens.push(Token::Code(table, (zeros as u8) << 4 | 1));
            self.tokens.push(Token::Bits(u32::from(coefficient > 0), 1));
            self.tokens.extend(corrections.drain(..).map(|bit| Token::Bits(bit, 1)));
            zeros = 0;
        }
        if zeros > 0 || !corrections.is_empty() {
            self.run += 1;
            self.held.append(&mut corrections);
            if self.run == 0x7fff {
                self.end_run(table);
            }
        }
    }
}

/// The blocks of each MCU in order (A.2.3), as component and block.
fn mcus(picture: &Picture, scan: &Scan) -> Vec<Vec<(usize, usize)>> {
    let mut all = Vec::new();
    if let [part] = scan.parts[..] {
        let of = &picture.parts[part];
        all.extend((0..of.own.1).flat_map(|row| (0..of.own.0).map(move |column| vec![(part, row * of.wide + column)])));
        return all;
    }
    let (across, down) = (picture.parts[0].wide / picture.parts[0].h, picture.parts[0].high / picture.parts[0].v);
    for row in 0..down {
        for column in 0..across {
            let blocks = scan.parts.iter().flat_map(|&part| {
                let of = &picture.parts[part];
                (0..of.v).flat_map(move |y| (0..of.h).map(move |x| (part, (row * of.v + y) * of.wide + column * of.h + x)))
            });
            all.push(blocks.collect());
        }
    }
    all
}

fn tokens(picture: &Picture, manner: &Manner, scan: &Scan) -> Vec<Token> {
    let mut pen = Pen::default();
    let ac_table = |part: usize| 4 + part.min(1);
    for (number, mcu) in mcus(picture, scan).iter().enumerate() {
        if manner.restart > 0 && number > 0 && number.is_multiple_of(manner.restart.into()) {
            pen.end_run(ac_table(scan.parts[0]));
            pen.tokens.push(Token::Restart);
            pen.before = [0; 4];
        }
        for &(part, at) in mcu {
            let block = &picture.parts[part].blocks[at];
            if scan.first == 0 && scan.high == 0 {
                pen.difference(part, i32::from(block[0]) >> scan.low);
            } else if scan.first == 0 {
                pen.tokens.push(Token::Bits((i32::from(block[0]) >> scan.low) as u32 & 1, 1));
            }
            match (manner.progressive, scan.first, scan.high) {
                (false, ..) => pen.band(ac_table(part), block, scan, false),
                (true, 0, _) => {}
                (true, _, 0) => pen.band(ac_table(part), block, scan, true),
                _ => pen.refinement(ac_table(part), block, scan),
            }
        }
    }
    pen.end_run(ac_table(scan.parts[0]));
    pen.tokens
}

/// A table's code lengths and symbols, the shortest first.
fn table(tokens: &[Token], name: usize, codes: Codes) -> Vec<(u32, u8)> {
    let mut counts = [0u32; 256];
    for token in tokens {
        if let Token::Code(table, symbol) = token
            && *table == name
        {
            counts[usize::from(*symbol)] += 1;
        }
    }
    let mut symbols: Vec<u8> = (0..=255).filter(|&symbol| counts[usize::from(symbol)] > 0).collect();
    symbols.sort_by_key(|&symbol| std::cmp::Reverse(counts[usize::from(symbol)]));
    let flat = (symbols.len() + 1).next_power_of_two().trailing_zeros();
    let length = |rank: usize| match codes {
        Codes::Flat => flat,
        Codes::Steep if rank < 8 => rank as u32 + 1,
        Codes::Steep => 16,
    };
    symbols.into_iter().enumerate().map(|(rank, symbol)| (length(rank), symbol)).collect()
}

/// Puts bits into bytes, most significant first, with stuffing.
struct Ink<'a> {
    out: &'a mut Vec<u8>,
    held: u32,
    count: u32,
}

impl Ink<'_> {
    fn bits(&mut self, value: u32, count: u32) {
        for at in (0..count).rev() {
            self.held = self.held << 1 | value >> at & 1;
            self.count += 1;
            if self.count == 8 {
                self.out.push(self.held as u8);
                if self.held as u8 == 0xff {
                    self.out.push(0);
                }
                self.count = 0;
            }
        }
    }

    fn pad(&mut self) {
        self.bits(0x7f, (8 - self.count) % 8);
    }
}

fn mark(out: &mut Vec<u8>, code: u8, fill: bool) {
    out.extend_from_slice(if fill { &[0xff; 3] } else { &[0xff] });
    out.push(code);
}

pub(crate) fn segment(out: &mut Vec<u8>, code: u8, body: &[u8], fill: bool) {
    mark(out, code, fill);
    out.extend_from_slice(&(body.len() as u16 + 2).to_be_bytes());
    out.extend_from_slice(body);
}

fn write_scan(out: &mut Vec<u8>, picture: &Picture, manner: &Manner, scan: &Scan) {
    let tokens = tokens(picture, manner, scan);
    let mut codes = vec![[(0u32, 0u32); 256]; 8];
    for (name, codes) in codes.iter_mut().enumerate() {
        let table = table(&tokens, name, manner.codes);
        if table.is_empty() {
            continue;
        }
        let mut body = vec![((name as u8 / 4) << 4) | (name as u8 % 4)];
        body.extend((1..=16).map(|length| table.iter().filter(|entry| entry.0 == length).count() as u8));
        body.extend(table.iter().map(|entry| entry.1));
        segment(out, 0xc4, &body, manner.fill);
        let (mut code, mut before) = (0, table[0].0);
        for (length, symbol) in table {
            code <<= length - before;
            before = length;
            codes[usize::from(symbol)] = (code, length);
            code += 1;
        }
    }
    let mut body = vec![scan.parts.len() as u8];
    for &part in &scan.parts {
        body.extend([picture.parts[part].id, part.min(1) as u8 * 0x11]);
    }
    body.extend([scan.first as u8, scan.last as u8, scan.high << 4 | scan.low]);
    segment(out, 0xda, &body, manner.fill);
    let mut ink = Ink { out, held: 0, count: 0 };
    let mut restarts = 0;
    for token in tokens {
        match token {
            Token::Code(table, symbol) => {
                let (code, length) = codes[table][usize::from(symbol)];
                ink.bits(code, length);
            }
            Token::Bits(bits, count) => ink.bits(bits, count),
            Token::Restart => {
                ink.pad();
                mark(ink.out, 0xd0 + restarts % 8, manner.fill);
                restarts = restarts.wrapping_add(1);
            }
        }
    }
    ink.pad();
}

/// The file.
pub(crate) fn jpeg(picture: &Picture, manner: &Manner) -> Vec<u8> {
    let mut out = vec![0xff, 0xd8];
    match manner.sign {
        Sign::None => {}
        Sign::Jfif => segment(&mut out, 0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0", manner.fill),
        Sign::Adobe(transform) => segment(&mut out, 0xee, &[&b"Adobe\0\x64\0\0\0\0"[..], &[transform]].concat(), manner.fill),
    }
    for (number, table) in picture.quantisers.iter().enumerate() {
        let mut body = vec![u8::from(manner.wide) << 4 | number as u8];
        body.extend(
            table.iter().flat_map(|value| value.to_be_bytes()).skip(usize::from(!manner.wide)).step_by(2 - usize::from(manner.wide)),
        );
        segment(&mut out, 0xdb, &body, manner.fill);
    }
    let height = (picture.height as u16).to_be_bytes();
    let mut body = vec![8];
    body.extend(if manner.late { [0, 0] } else { height });
    body.extend((picture.width as u16).to_be_bytes());
    body.push(picture.parts.len() as u8);
    for (index, part) in picture.parts.iter().enumerate() {
        body.extend([part.id, (part.h << 4 | part.v) as u8, index.min(1) as u8]);
    }
    segment(&mut out, if manner.progressive { 0xc2 } else { 0xc0 }, &body, manner.fill);
    if manner.restart > 0 {
        segment(&mut out, 0xdd, &manner.restart.to_be_bytes(), manner.fill);
    }
    for (number, scan) in manner.scans.iter().enumerate() {
        write_scan(&mut out, picture, manner, scan);
        if number == 0 && manner.late {
            segment(&mut out, 0xdc, &height, manner.fill);
        }
    }
    mark(&mut out, 0xd9, manner.fill);
    out
}

/// Quantisers that grow from `least` by `step`.
pub(crate) fn quantisers(least: u16, step: u16) -> [[u16; 64]; 2] {
    let grown = |least: u16| std::array::from_fn(|at| least + at as u16 * step);
    [grown(least), grown(least + 1)]
}
