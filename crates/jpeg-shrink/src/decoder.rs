//! The decoder of a file that is there, whole or in parts that others decode.
//!
//! Knows nothing of how; that is `picture.rs`.

use crate::{
    error::{Error, ErrorKind},
    header::Header,
    input::Input,
    options::{Layout, Options, Outcome},
    picture::Picture,
    strip::Strip,
};

/// Decodes one picture, or a part of it.
pub struct Decoder<'a> {
    input: Input<'a>,
    picture: Picture,
    options: Options,
}

impl<'a> Decoder<'a> {
    /// Reads the header and checks the limits.
    ///
    /// # Errors
    /// As [`probe`](crate::probe); a limit exceeded; a file too short for its blocks (unless lenient).
    pub fn new(bytes: &'a [u8], options: Options) -> Result<Self, Error> {
        let input = Input::whole(bytes);
        Ok(Self { input, picture: Picture::new(input, options)?, options })
    }

    /// The picture in up to `parts` parts, from the top, to be decoded at the same time by threads of the caller's; each gives the rows
    /// of its part alone. One part where that cannot be: only files with restart markers at the beginnings of rows of MCUs (the
    /// restart interval and the number of MCUs in a row divide each other, or nearly so) can be entered anywhere but at their start.
    ///
    /// Each part keeps within the limits by itself. To be called before rows are read; afterwards the decoder is returned as it is.
    ///
    /// ```
    /// # fn decode(jpeg: &[u8]) -> Result<Vec<u8>, jpeg_shrink::Error> {
    /// use jpeg_shrink::{Decoder, Options, Scale};
    ///
    /// let decoder = Decoder::new(jpeg, Options::new(Scale::Full))?;
    /// let mut pixels = vec![0; decoder.output_bytes()];
    /// let mut rest = pixels.as_mut_slice();
    /// std::thread::scope(|scope| {
    ///     let mut threads = Vec::new();
    ///     for mut part in decoder.split(4) {
    ///         let (mine, others) = rest.split_at_mut(part.output_bytes());
    ///         rest = others;
    ///         threads.push(scope.spawn(move || part.decode_into(mine)));
    ///     }
    ///     threads.into_iter().try_for_each(|thread| thread.join().expect("decoding does not panic").map(drop))
    /// })?;
    /// # Ok(pixels)
    /// # }
    /// ```
    #[must_use]
    pub fn split(self, parts: usize) -> Vec<Self> {
        if parts < 2 || !self.picture.is_unread() {
            return vec![self];
        }
        let entries = self.picture.entries(self.input);
        let strips = self.picture.geometry.mcus_high;
        // The parts begin at entries, as evenly as those lie.
        let mut starts: Vec<usize> = Vec::new();
        for part in 0..parts {
            let wanted = part * strips / parts;
            let start = entries.iter().map(|entry| entry.0).take_while(|&strip| strip <= wanted).last().unwrap_or(0);
            if starts.last().is_none_or(|&last| last < start) {
                starts.push(start);
            }
        }
        if starts.len() < 2 {
            return vec![self];
        }
        let mut split = Vec::with_capacity(starts.len());
        for (index, &start) in starts.iter().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(strips);
            // Upsampling looks at the row above, so that decoding of rows begins a strip earlier.
            let above = entries.iter().rfind(|entry| entry.0 < start.max(1));
            let own = entries.iter().find(|entry| entry.0 == start);
            let (Some(&above), Some(&own), Ok(mut part)) = (above, own, Self::new(self.input.bytes, self.options)) else {
                return vec![self];
            };
            part.picture.limit(above, own, start..end);
            split.push(part);
        }
        split
    }

    /// What the file says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.picture.header
    }

    /// Width of the result.
    #[must_use]
    pub fn width_px(&self) -> u32 {
        self.picture.geometry.width as u32
    }

    /// Height of the result, of all parts together.
    #[must_use]
    pub fn height_px(&self) -> u32 {
        self.picture.geometry.height as u32
    }

    /// How its pixels lie.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.picture.layout()
    }

    /// Bytes of a row of the result.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.picture.row_bytes()
    }

    /// Bytes of the result: of the whole, or of this part.
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        self.row_bytes() * self.picture.row_count()
    }

    /// The next rows, as many as `out` holds whole; returns how many, 0 at the end. `out` needs `row_bytes` for each.
    ///
    /// # Errors
    /// Broken input; a lenient decoder ends instead, and tells why in [`Self::fault`]. A buffer for less than a row.
    pub fn read_rows(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        self.read_rows_while(out, &|| true)
    }

    /// The same as long as `keep_going` says so, as [`Self::read_strip_while`].
    ///
    /// # Errors
    /// As [`Self::read_rows`], and [`ErrorKind::Interrupted`], also of a lenient decoder.
    pub fn read_rows_while(&mut self, out: &mut [u8], keep_going: &dyn Fn() -> bool) -> Result<usize, Error> {
        self.picture.read_rows(self.input, out, keep_going)
    }

    /// Width and height of each component's plane at the scale chosen, in samples, in the header's order; of all parts together. A
    /// component's own sampling factors and [`Options::chroma`] decide.
    #[must_use]
    pub fn plane_sides(&self) -> Vec<(u32, u32)> {
        self.picture.plane_sides()
    }

    /// The next strip of all components' planes, as stored: no upsampling, no colour. `None` at the end; a part gives its own strips
    /// alone. The strip lies in the decoder and is gone with the next call.
    ///
    /// Not to be mixed with [`Self::read_rows`]: what was decoded for rows does not come again.
    ///
    /// # Errors
    /// Broken input; a lenient decoder ends instead, and tells why in [`Self::fault`].
    pub fn read_strip(&mut self) -> Result<Option<Strip<'_>>, Error> {
        self.read_strip_while(&|| true)
    }

    /// The same as long as `keep_going` says so. It is asked once a row of blocks, where scans are read whose blocks must wait: in the first call
    /// for a file of several scans, which takes most of the time. All other calls are short, and it is not asked. What it says changes no
    /// sample; a decoder that was interrupted gives nothing more.
    ///
    /// # Errors
    /// As [`Self::read_strip`], and [`ErrorKind::Interrupted`], also of a lenient decoder.
    pub fn read_strip_while(&mut self, keep_going: &dyn Fn() -> bool) -> Result<Option<Strip<'_>>, Error> {
        Ok(self.picture.make_strip(self.input, keep_going)?.then(|| self.picture.strip()))
    }

    /// All rows that are left; `out` needs [`Self::output_bytes`]. Rows that could not be read are left as they were.
    ///
    /// # Errors
    /// As [`Self::read_rows`].
    pub fn decode_into(&mut self, out: &mut [u8]) -> Result<Outcome, Error> {
        if out.len() < self.output_bytes() {
            let text = format!("buffer has {} bytes, the picture needs {}", out.len(), self.output_bytes());
            return Err(Error::new(ErrorKind::BufferTooSmall, 0, text));
        }
        let rows = self.read_rows(out)?;
        Ok(Outcome { rows: rows as u32, fault: self.fault().cloned() })
    }

    /// What stopped a lenient decoder.
    #[must_use]
    pub fn fault(&self) -> Option<&Error> {
        self.picture.fault()
    }
}
