//! Follows HTTP/1 requests on their way in, to refuse what the parser behind lets pass: two ways to tell a body's
//! length (RFC 9112, section 6.3), a transfer coding that is not plainly `chunked`, a missing or second `Host`.
//!
//! hyper drops a `Content-Length` that stands beside a `Transfer-Encoding` before anyone can see it, hence this second,
//! smaller look. Must not know what a request asks for. Invariant: the state is a constant few bytes, and where this and
//! the parser could disagree about the end of a message, nothing more is handed on.

/// Longest header value that is kept for judging; a longer one is none of the values that are allowed.
const KEPT_BYTES: usize = 40;
/// Longest name that matters: `transfer-encoding`.
const NAME_BYTES: usize = 17;

/// Why a request cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Index of the byte at which it showed.
    pub(super) at: usize,
    /// In a head, so that no request has begun; else in a body.
    pub(super) in_head: bool,
    /// For the client.
    pub(super) why: &'static str,
}

/// Where in a connection's requests we are.
#[derive(Debug)]
pub(super) struct Framing {
    at: At,
    head: Head,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the first byte of a request line; empty lines are skipped there.
    Start,
    RequestLine,
    Name,
    /// Value of a field; the kept bytes tell which when it matters.
    Value,
    Length(u64),
    Chunk(Chunk, u64),
}

/// The chunked coding (RFC 9112, section 7.1), read no more leniently than by the parser behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    FirstDigit,
    Digits,
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// Start of a trailer line or of the last, empty one.
    EndCr,
    Trailer,
    TrailerLf,
    EndLf,
}

/// What one head said so far.
#[derive(Debug, Default)]
struct Head {
    name: Kept<NAME_BYTES>,
    value: Kept<KEPT_BYTES>,
    /// The end of the request line.
    line: [u8; 8],
    hosts: u8,
    length: Option<u64>,
    chunked: bool,
    wrong: Option<&'static str>,
}

/// The beginning of a text, and how long all of it was.
#[derive(Debug)]
struct Kept<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Default for Kept<N> {
    fn default() -> Self {
        Self { bytes: [0; N], len: 0 }
    }
}

impl<const N: usize> Kept<N> {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    /// The whole text, if it was short enough to be kept.
    fn text(&self) -> Option<&[u8]> {
        self.bytes.get(..self.len)
    }
}

impl Framing {
    pub(super) fn new() -> Self {
        Self { at: At::Start, head: Head::default() }
    }

    /// Whether a head has begun and not ended.
    pub(super) fn is_in_head(&self) -> bool {
        matches!(self.at, At::RequestLine | At::Name | At::Value)
    }

    /// Whether everything that came belongs to complete requests.
    pub(super) fn is_between(&self) -> bool {
        self.at == At::Start
    }

    /// Goes on with the next bytes. Nothing may be fed after a fault.
    ///
    /// # Errors
    /// The first fault; a head's shows at its last byte.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut i = 0;
        while i < bytes.len() {
            match &mut self.at {
                At::Length(left) | At::Chunk(Chunk::Data, left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - i);
                    *left -= here as u64;
                    i += here;
                    if *left == 0 {
                        self.at = if matches!(self.at, At::Length(_)) { At::Start } else { At::Chunk(Chunk::DataCr, 0) };
                    }
                }
                At::Chunk(..) => {
                    self.chunk(bytes[i]).map_err(|why| Fault { at: i, in_head: false, why })?;
                    i += 1;
                }
                At::Start | At::RequestLine | At::Name | At::Value => {
                    self.head(bytes[i]).map_err(|why| Fault { at: i, in_head: true, why })?;
                    i += 1;
                }
            }
        }
        Ok(())
    }

    fn head(&mut self, byte: u8) -> Result<(), &'static str> {
        match (self.at, byte) {
            (At::Start, b'\r' | b'\n') => {}
            (At::Start, _) => {
                self.head = Head::default();
                self.at = At::RequestLine;
            }
            (At::RequestLine, b'\n') => self.at = At::Name,
            (At::RequestLine, b'\r') => {}
            (At::RequestLine, _) => {
                self.head.line.rotate_left(1);
                self.head.line[7] = byte;
            }
            (At::Name, b'\n') => return self.head_ends(),
            // A carriage return is no part of a name; before anything but a line's end the parser refuses it.
            (At::Name, b'\r') => {}
            (At::Name, b':') => self.at = At::Value,
            (At::Name, _) => self.head.name.push(byte.to_ascii_lowercase()),
            (At::Value, b'\n') => {
                self.head.field();
                self.at = At::Name;
            }
            (At::Value, b'\r') => {}
            // Space around the value does not belong to it; that behind it is cut off when the line ends.
            (At::Value, b' ' | b'\t') if self.head.value.len == 0 => {}
            (At::Value, _) => self.head.value.push(byte),
            (At::Length(_) | At::Chunk(..), _) => {}
        }
        Ok(())
    }

    fn head_ends(&mut self) -> Result<(), &'static str> {
        let head = &self.head;
        if let Some(why) = head.wrong {
            return Err(why);
        }
        if head.chunked && head.length.is_some() {
            return Err("the request has both Content-Length and Transfer-Encoding");
        }
        if &head.line == b"HTTP/1.1" && head.hosts == 0 {
            return Err("the request has no Host");
        }
        self.at = match head.length {
            _ if head.chunked => At::Chunk(Chunk::FirstDigit, 0),
            Some(bytes) if bytes > 0 => At::Length(bytes),
            _ => At::Start,
        };
        Ok(())
    }

    fn chunk(&mut self, byte: u8) -> Result<(), &'static str> {
        let At::Chunk(state, size) = self.at else { return Ok(()) };
        let digit = char::from(byte).to_digit(16).map(u64::from);
        let next = match (state, byte) {
            (Chunk::FirstDigit | Chunk::Digits, _) if digit.is_some() => {
                let larger = size.checked_mul(16).and_then(|s| s.checked_add(digit?)).ok_or("a chunk's size is too large")?;
                self.at = At::Chunk(Chunk::Digits, larger);
                return Ok(());
            }
            (Chunk::Digits | Chunk::Space, b' ' | b'\t') => Chunk::Space,
            (Chunk::Digits | Chunk::Space, b';') => Chunk::Extension,
            (Chunk::Digits | Chunk::Space | Chunk::Extension, b'\r') => Chunk::SizeLf,
            (Chunk::Extension, b'\n') => return Err("a chunk's extension has a bare line end"),
            (Chunk::Extension, _) => Chunk::Extension,
            (Chunk::SizeLf, b'\n') if size == 0 => Chunk::EndCr,
            (Chunk::SizeLf, b'\n') => Chunk::Data,
            (Chunk::DataCr, b'\r') => Chunk::DataLf,
            (Chunk::DataLf, b'\n') => Chunk::FirstDigit,
            (Chunk::EndCr, b'\r') => Chunk::EndLf,
            (Chunk::EndCr, _) => Chunk::Trailer,
            (Chunk::Trailer, b'\r') => Chunk::TrailerLf,
            (Chunk::Trailer, _) => Chunk::Trailer,
            (Chunk::TrailerLf, b'\n') => Chunk::EndCr,
            (Chunk::EndLf, b'\n') => {
                self.at = At::Start;
                return Ok(());
            }
            _ => return Err("the chunked coding is broken"),
        };
        self.at = At::Chunk(next, if next == Chunk::FirstDigit { 0 } else { size });
        Ok(())
    }
}

impl Head {
    /// Judges the field that has just ended.
    fn field(&mut self) {
        let (name, value) = (std::mem::take(&mut self.name), std::mem::take(&mut self.value));
        let text = value.text().map(<[u8]>::trim_ascii_end);
        match name.text() {
            Some(b"host") => {
                self.hosts = self.hosts.saturating_add(1);
                if self.hosts > 1 {
                    self.wrong = Some("the request has more than one Host");
                }
            }
            Some(b"content-length") => {
                let number = text.filter(|text| !text.is_empty() && text.iter().all(u8::is_ascii_digit));
                let bytes = number.and_then(|text| std::str::from_utf8(text).ok()?.parse::<i64>().ok()).map(i64::unsigned_abs);
                match (bytes, self.length) {
                    (None, _) => self.wrong = Some("Content-Length is no number of bytes"),
                    (Some(bytes), Some(before)) if bytes != before => self.wrong = Some("the request has two different Content-Lengths"),
                    (Some(bytes), _) => self.length = Some(bytes),
                }
            }
            Some(b"transfer-encoding") => {
                if self.chunked || !text.is_some_and(|text| text.eq_ignore_ascii_case(b"chunked")) {
                    self.wrong = Some("Transfer-Encoding is not chunked alone, which is all that is understood");
                }
                self.chunked = true;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same verdict whole and byte by byte; the index is of the whole.
    fn verdict(text: &str) -> Result<Framing, Fault> {
        let mut whole = Framing::new();
        let result = whole.feed(text.as_bytes());
        let mut bytewise = Framing::new();
        let mut pieces = Ok(());
        for (i, byte) in text.bytes().enumerate() {
            if let Err(fault) = bytewise.feed(&[byte]) {
                pieces = Err(Fault { at: i, ..fault });
                break;
            }
        }
        assert_eq!(result, pieces, "{text:?}");
        result.map(|()| whole)
    }

    #[test]
    fn good_requests_pass_and_end_where_they_end() {
        for text in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nhost:x\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET http://elsewhere/ HTTP/1.1\nHost: x\n\n",
            "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length:  5 \r\n\r\nhello",
            "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\nhello",
            "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0a ;x=y\r\n0123456789\r\n0\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n",
        ] {
            let twice = format!("{text}{text}");
            assert!(verdict(&twice).is_ok_and(|framing| framing.is_between()), "{text:?}");
        }
        let half = verdict("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel").expect("no fault");
        assert!(!half.is_between() && !half.is_in_head());
        assert!(verdict("GET / HTTP/1.1\r\nHo").is_ok_and(|framing| framing.is_in_head()));
    }

    #[test]
    fn heads_that_can_be_read_two_ways_are_faults_at_their_last_byte() {
        for (fields, hint) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "both"),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "both"),
            ("Transfer-Encoding: chunked\r\ncontent-length: -5\r\n", "number"),
            ("Content-Length: -1\r\n", "number"),
            ("Content-Length: +1\r\n", "number"),
            ("Content-Length: 0x5\r\n", "number"),
            ("Content-Length: \r\n", "number"),
            ("Content-Length: 5, 5\r\n", "number"),
            ("Content-Length: 9223372036854775808\r\n", "number"),
            ("Content-Length: 00000000000000000000000000000000000000000000000005\r\n", "number"),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", "different"),
            ("Transfer-Encoding: xchunked\r\n", "chunked alone"),
            ("Transfer-Encoding: chunked, chunked\r\n", "chunked alone"),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "chunked alone"),
            ("Transfer-Encoding: gzip, chunked\r\n", "chunked alone"),
            ("Transfer-Encoding: chunked\x0b\r\n", "chunked alone"),
            ("Transfer-Encoding:\r\n", "chunked alone"),
            ("Host: y\r\n", "more than one Host"),
        ] {
            let text = format!("PUT / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
            let fault = verdict(&text).expect_err(fields);
            assert!(fault.in_head && fault.at == text.len() - 1 && fault.why.contains(hint), "{fields:?}: {fault:?}");
        }
        assert!(verdict("GET / HTTP/1.1\r\n\r\n").is_err_and(|fault| fault.why.contains("no Host")));
    }

    #[test]
    fn broken_chunks_are_faults_where_they_break() {
        for body in [
            "g\r\n",
            "-1\r\n",
            "\r\n",
            "11111111111111111\r\n",
            "1\n",
            "1\r\nxy",
            "1\r\nx\n",
            "1;a\nb",
            "1 2\r\n",
            "0\r\nX: y\r\r",
            "0\r\n\rX",
        ] {
            let head = "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
            let fault = verdict(&format!("{head}{body}")).expect_err(body);
            assert!(!fault.in_head && fault.at >= head.len(), "{body:?}: {fault:?}");
        }
    }
}
