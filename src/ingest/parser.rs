//! `multipart/form-data` framing (RFC 2046, 5.1; RFC 7578) as a push parser: bytes in, events out. Pure: no I/O, no async, no clock.
//!
//! It must not know: files, fields, limits of a request. Invariants: what comes out does not depend on how the bytes were cut; data come
//! out as slices of what went in, without a copy; every byte is looked at a constant number of times; what is kept between two calls is
//! one part's head ([`MAX_HEAD_BYTES`]) and numbers. Line ends are CRLF and nothing else: where two readers could see two different forms,
//! this one refuses.

use std::{fmt, ops::Range};

use bytes::{Buf, Bytes};
use memchr::{memchr, memmem, memrchr};

use super::media_type::is_token_char;

/// Most bytes before the first boundary. RFC 2046 lets a preamble be; nobody sends one.
pub const MAX_PREAMBLE_BYTES: usize = 64 * 1024;
/// Most bytes of one part's headers, line ends included. One bound for all lines together: what clients send is below 1 KiB, and a file
/// name of 4096 bytes, three times over in `filename*`, fits.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Most headers of one part. Clients send two or three.
pub const MAX_HEADERS: usize = 16;
/// Most blanks between a boundary and its line end (RFC 2046 `transport-padding`, which no composer may write).
pub const MAX_PADDING_BYTES: usize = 1024;

/// What a body says next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A part begins.
    Part(PartHead),
    /// Some of the part's data, never empty. How much comes at once depends on how the body was cut, nothing else does.
    Data(Bytes),
    /// The part's data are whole.
    PartEnd,
    /// The final boundary. What follows it is looked at only for a line end.
    End,
}

/// The headers of one part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartHead {
    number: u64,
    text: Vec<u8>,
    fields: Vec<(Range<usize>, Range<usize>)>,
}

impl PartHead {
    /// The part's place in the body, from 1.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Names as sent and values without blanks around them, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (&self.text[name.clone()], &self.text[value.clone()]))
    }

    /// The values of one header; names are compared without regard to case.
    pub fn values(&self, wanted: &'static str) -> impl Iterator<Item = &[u8]> {
        self.fields().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes())).map(|(_, value)| value)
    }
}

/// Why a body is no form, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The part it was found in or after, from 1; 0 before the first.
    pub part: u64,
    /// What was found.
    pub flaw: Flaw,
}

/// What is wrong with a body's framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// No boundary in the first [`MAX_PREAMBLE_BYTES`].
    NoBoundary,
    /// A line begins with the boundary and goes on with this byte: whether it is one, readers disagree.
    AfterBoundary(u8),
    /// The same after the final boundary.
    AfterEnd(u8),
    /// More than [`MAX_PADDING_BYTES`] blanks after a boundary.
    Padding,
    /// Data that begin with the boundary right after the empty line: empty to some readers, content to others.
    DataAreBoundary,
    /// A line of the headers ends in LF alone.
    BareLineFeed,
    /// A CR in the headers that is not followed by LF.
    BareCarriageReturn,
    /// A header that goes on in the next line (RFC 9112, 5.2, lets servers refuse that; readers disagree).
    Folded,
    /// A line without a colon, or whose name is no token.
    NoHeader,
    /// A control character where none may be.
    Control(u8),
    /// More than [`MAX_HEADERS`].
    TooManyHeaders,
    /// Headers of more than [`MAX_HEAD_BYTES`].
    HeadTooLong,
    /// The body ends before its first boundary.
    EndsBeforeParts,
    /// The body ends at a boundary that is not the final one.
    EndsAtBoundary,
    /// The body ends in a part's headers.
    EndsInHead,
    /// The body ends in a part's data.
    EndsInData,
}

impl Fault {
    /// The limit that was passed, if that is what happened.
    #[must_use]
    pub const fn limit(&self) -> Option<u64> {
        match self.flaw {
            Flaw::NoBoundary => Some(MAX_PREAMBLE_BYTES as u64),
            Flaw::Padding => Some(MAX_PADDING_BYTES as u64),
            Flaw::TooManyHeaders => Some(MAX_HEADERS as u64),
            Flaw::HeadTooLong => Some(MAX_HEAD_BYTES as u64),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = self.part;
        let place =
            |f: &mut fmt::Formatter<'_>| if part == 0 { f.write_str("before the first part") } else { write!(f, "after part {part}") };
        match self.flaw {
            Flaw::NoBoundary => write!(f, "no boundary in the first {MAX_PREAMBLE_BYTES} bytes of the body"),
            Flaw::AfterBoundary(byte) => {
                place(f)?;
                write!(f, ": a line begins with the boundary and goes on with byte 0x{byte:02x}, allowed is its end or --")
            }
            Flaw::AfterEnd(byte) => {
                place(f)?;
                write!(f, ": the final boundary is followed by byte 0x{byte:02x}, allowed is a line end")
            }
            Flaw::Padding => {
                place(f)?;
                write!(f, ": more than {MAX_PADDING_BYTES} blanks after a boundary")
            }
            Flaw::DataAreBoundary => write!(f, "part {part}: its data begin with the boundary, without a line end before it"),
            Flaw::BareLineFeed => write!(f, "part {part}: a header ends in a line feed without a carriage return"),
            Flaw::BareCarriageReturn => write!(f, "part {part}: its headers have a carriage return without a line feed"),
            Flaw::Folded => write!(f, "part {part}: a header goes on in a second line"),
            Flaw::NoHeader => write!(f, "part {part}: a line of its headers is not of the form name: value"),
            Flaw::Control(byte) => write!(f, "part {part}: its headers have the control character 0x{byte:02x}"),
            Flaw::TooManyHeaders => write!(f, "part {part}: more than {MAX_HEADERS} headers"),
            Flaw::HeadTooLong => write!(f, "part {part}: headers of more than {MAX_HEAD_BYTES} bytes"),
            Flaw::EndsBeforeParts => f.write_str("the body ends before its first boundary"),
            Flaw::EndsAtBoundary => {
                f.write_str("the body ends in a boundary ")?;
                place(f)
            }
            Flaw::EndsInHead => write!(f, "the body ends in the headers of part {part}"),
            Flaw::EndsInData => write!(f, "the body ends in the data of part {part}, before the final boundary"),
        }
    }
}

impl std::error::Error for Fault {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary; so many bytes passed over.
    Preamble(usize),
    /// Behind the boundary.
    Boundary,
    /// Behind the boundary and a dash.
    Dash,
    /// In the blanks behind the boundary, so many.
    Padding(usize),
    /// Behind the boundary and a CR.
    BoundaryCr,
    Head,
    Data,
    /// Behind the final boundary, with so many blanks.
    Closed(usize),
    ClosedCr,
    Epilogue,
    Failed(Fault),
}

/// What [`PushParser::scan`] found.
enum Scanned {
    Content(Bytes),
    Delimiter,
    /// All there is was used.
    Nothing,
}

/// Blanks in a header and behind a boundary: SP and HT.
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The parser of one body.
#[derive(Debug)]
pub struct PushParser {
    state: State,
    /// The part being read, from 1.
    part: u64,
    /// `CRLF "--" boundary`. Its CR is its only one, so a match that fails can only begin anew at the byte that failed it.
    delimiter: Bytes,
    finder: memmem::Finder<'static>,
    /// So many bytes of the delimiter end what was looked at. They are not given out before it is clear that they are data, and need
    /// not be kept: they are the delimiter's.
    matched: usize,
    /// So many of these were never sent: a body and a part's data begin as if behind a line end.
    imagined: usize,
    head: PartHead,
    /// Where the line being read begins in `head.text`.
    line: usize,
}

impl PushParser {
    /// A parser for bodies with this boundary (1 to 70 of RFC 2046's `bchars`, as [`super::boundary`] gives it).
    #[must_use]
    pub fn new(boundary: &str) -> Self {
        let delimiter = Bytes::from(format!("\r\n--{boundary}"));
        let finder = memmem::Finder::new(&delimiter).into_owned();
        Self { state: State::Preamble(0), part: 0, delimiter, finder, matched: 2, imagined: 2, head: PartHead::default(), line: 0 }
    }

    /// The next event in `input`, which loses what was used of it; `None` when all was used and more is needed.
    ///
    /// # Errors
    /// The first fault, and the same again ever after.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Event>, Fault> {
        match self.step(input) {
            Ok(event) => Ok(event),
            Err(flaw) => {
                let fault = match self.state {
                    State::Failed(fault) => fault,
                    _ => Fault { part: self.part, flaw },
                };
                self.state = State::Failed(fault);
                Err(fault)
            }
        }
    }

    /// Says that no more bytes come.
    ///
    /// # Errors
    /// When the body was not whole: it is from its final boundary on, whatever of a line end and an epilogue follows.
    pub fn finish(&self) -> Result<(), Fault> {
        let flaw = match self.state {
            State::Closed(_) | State::ClosedCr | State::Epilogue => return Ok(()),
            State::Failed(fault) => return Err(fault),
            State::Preamble(_) => Flaw::EndsBeforeParts,
            State::Boundary | State::Dash | State::Padding(_) | State::BoundaryCr => Flaw::EndsAtBoundary,
            State::Head => Flaw::EndsInHead,
            State::Data => Flaw::EndsInData,
        };
        Err(Fault { part: self.part, flaw })
    }

    fn step(&mut self, input: &mut Bytes) -> Result<Option<Event>, Flaw> {
        while !input.is_empty() {
            match self.state {
                State::Preamble(before) => match self.scan(input) {
                    Scanned::Content(bytes) => {
                        let passed = before + bytes.len();
                        if passed > MAX_PREAMBLE_BYTES {
                            return Err(Flaw::NoBoundary);
                        }
                        self.state = State::Preamble(passed);
                    }
                    Scanned::Delimiter => self.state = State::Boundary,
                    Scanned::Nothing => {}
                },
                State::Head => {
                    if self.read_head(input)? {
                        self.state = State::Data;
                        (self.matched, self.imagined) = (2, 2);
                        return Ok(Some(Event::Part(std::mem::take(&mut self.head))));
                    }
                }
                State::Data => match self.scan(input) {
                    Scanned::Content(bytes) => return Ok(Some(Event::Data(bytes))),
                    Scanned::Delimiter if self.imagined > 0 => return Err(Flaw::DataAreBoundary),
                    Scanned::Delimiter => {
                        self.state = State::Boundary;
                        return Ok(Some(Event::PartEnd));
                    }
                    Scanned::Nothing => {}
                },
                State::Epilogue => input.clear(),
                State::Failed(fault) => return Err(fault.flaw),
                at_boundary => {
                    self.state = after_boundary(at_boundary, input.get_u8())?;
                    match self.state {
                        State::Head => {
                            self.part += 1;
                            self.head.number = self.part;
                            self.line = 0;
                        }
                        State::Closed(0) => return Ok(Some(Event::End)),
                        _ => {}
                    }
                }
            }
        }
        match self.state {
            State::Failed(fault) => Err(fault.flaw),
            _ => Ok(None),
        }
    }

    /// Takes content from `input`, or the delimiter when that comes next.
    fn scan(&mut self, input: &mut Bytes) -> Scanned {
        if self.matched > 0 {
            let wanted = &self.delimiter[self.matched..];
            let common = wanted.iter().zip(input.iter()).take_while(|(wanted, found)| wanted == found).count();
            input.advance(common);
            self.matched += common;
            if self.matched == self.delimiter.len() {
                self.matched = 0;
                return Scanned::Delimiter;
            }
            if input.is_empty() {
                return Scanned::Nothing;
            }
            let content = self.delimiter.slice(self.imagined..self.matched);
            (self.matched, self.imagined) = (0, 0);
            if !content.is_empty() {
                return Scanned::Content(content);
            }
        }
        match self.finder.find(input) {
            Some(0) => {
                input.advance(self.delimiter.len());
                Scanned::Delimiter
            }
            Some(at) => Scanned::Content(input.split_to(at)),
            None => {
                let tail_at = input.len().saturating_sub(self.delimiter.len() - 1);
                self.matched = memrchr(b'\r', &input[tail_at..])
                    .map(|at| &input[tail_at + at..])
                    .filter(|tail| self.delimiter.starts_with(tail))
                    .map_or(0, <[u8]>::len);
                let content = input.split_to(input.len() - self.matched);
                input.clear();
                if content.is_empty() { Scanned::Nothing } else { Scanned::Content(content) }
            }
        }
    }

    /// Reads lines of a part's head; whether it is whole.
    fn read_head(&mut self, input: &mut Bytes) -> Result<bool, Flaw> {
        while !input.is_empty() {
            let feed = memchr(b'\n', input);
            let piece = feed.map_or(input.len(), |at| at + 1);
            if self.head.text.len() + piece > MAX_HEAD_BYTES {
                return Err(Flaw::HeadTooLong);
            }
            self.head.text.extend_from_slice(&input[..piece]);
            input.advance(piece);
            if feed.is_some() && self.end_line()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the line that has just ended for a header; whether it was the empty one after the last.
    fn end_line(&mut self) -> Result<bool, Flaw> {
        let start = self.line;
        let line = self.head.text[start..].strip_suffix(b"\r\n").ok_or(Flaw::BareLineFeed)?;
        if line.is_empty() {
            return Ok(true);
        }
        if memchr(b'\r', line).is_some() {
            return Err(Flaw::BareCarriageReturn);
        }
        if is_blank(line[0]) {
            return Err(Flaw::Folded);
        }
        if self.head.fields.len() == MAX_HEADERS {
            return Err(Flaw::TooManyHeaders);
        }
        let colon = memchr(b':', line).ok_or(Flaw::NoHeader)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !name.iter().all(|&b| is_token_char(b)) {
            return Err(Flaw::NoHeader);
        }
        // Browsers send a name's control characters raw, but for CR and LF, which they escape (HTML, "multipart/form-data encoding
        // algorithm"). So they may stand in this header, where its own parser lets them be data between quotes and nothing else.
        // NUL ends strings in too many readers to be anybody's name.
        let may_name = name.eq_ignore_ascii_case(b"content-disposition");
        if let Some(&control) = value.iter().find(|&&b| b == 0 || (!may_name && b.is_ascii_control() && b != b'\t')) {
            return Err(Flaw::Control(control));
        }
        let lead = value.iter().take_while(|&&b| is_blank(b)).count();
        let trail = value[lead..].iter().rev().take_while(|&&b| is_blank(b)).count();
        let value = start + colon + 1 + lead..start + line.len() - trail;
        self.head.fields.push((start..start + colon, value));
        self.line = self.head.text.len();
        Ok(false)
    }
}

/// The state after one more byte behind a boundary.
const fn after_boundary(state: State, byte: u8) -> Result<State, Flaw> {
    Ok(match (state, byte) {
        (State::Boundary, b'-') => State::Dash,
        (State::Dash, b'-') => State::Closed(0),
        (State::Boundary, b' ' | b'\t') => State::Padding(1),
        (State::Padding(MAX_PADDING_BYTES) | State::Closed(MAX_PADDING_BYTES), b' ' | b'\t') => return Err(Flaw::Padding),
        (State::Padding(blanks), b' ' | b'\t') => State::Padding(blanks + 1),
        (State::Boundary | State::Padding(_), b'\r') => State::BoundaryCr,
        (State::BoundaryCr, b'\n') => State::Head,
        (State::Closed(blanks), b' ' | b'\t') => State::Closed(blanks + 1),
        (State::Closed(_), b'\r') => State::ClosedCr,
        (State::ClosedCr, b'\n') => State::Epilogue,
        (State::Closed(_) | State::ClosedCr, _) => return Err(Flaw::AfterEnd(byte)),
        _ => return Err(Flaw::AfterBoundary(byte)),
    })
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
