//! The decoder of a file that comes in pieces.
//!
//! Where all of a block is in one scan (nearly every photo that is not progressive), rows come as soon as their bytes are there, and
//! bytes that were read are let go: what is held is the header, or at most twice what is not yet read of the last piece, and a window of 128 KiB. All other files are
//! held until their end, within [`Limits::max_memory_bytes`](crate::Limits::max_memory_bytes).

use crate::{
    error::{Error, ErrorKind},
    header::Header,
    input::Input,
    options::{Layout, Options},
    picture::Picture,
    strip::Strip,
};

/// Bytes that were read are let go when they are as many as this, and half of what is held.
const LET_GO_BYTES: usize = 64 << 10;

/// Decodes one picture whose bytes come in pieces.
///
/// ```
/// use jpeg_shrink::{Error, Options, PushDecoder, Scale};
///
/// /// The rows of a picture, from pieces as they come.
/// fn rows(pieces: impl Iterator<Item = Vec<u8>>) -> Result<Vec<Vec<u8>>, Error> {
///     let mut decoder = PushDecoder::new(Options::new(Scale::Eighth));
///     let mut rows = Vec::new();
///     let mut drain = |decoder: &mut PushDecoder| -> Result<(), Error> {
///         let mut row = vec![0; decoder.row_bytes()];
///         while !row.is_empty() && decoder.read_rows(&mut row)? == 1 {
///             rows.push(row.clone());
///         }
///         Ok(())
///     };
///     for piece in pieces {
///         decoder.push(&piece)?;
///         drain(&mut decoder)?;
///     }
///     decoder.finish()?;
///     drain(&mut decoder)?;
///     Ok(rows)
/// }
/// assert!(rows([b"not".to_vec(), b"a jpeg".to_vec()].into_iter()).is_err());
/// ```
pub struct PushDecoder {
    options: Options,
    held: Vec<u8>,
    /// Offset in the file of the first byte held.
    base: usize,
    complete: bool,
    /// Bytes with which the header is looked at again.
    look_again_at: usize,
    picture: Option<Picture>,
}

impl PushDecoder {
    /// A decoder that has seen nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, held: Vec::new(), base: 0, complete: false, look_again_at: 0, picture: None }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// A broken header; a limit exceeded; bytes behind [`Self::finish`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let end = self.base + self.held.len();
        if self.complete {
            return Err(Error::malformed(end, "bytes came after the end was told"));
        }
        if (end + bytes.len()) as u64 > self.options.limits.max_work {
            return Err(Error::limit(end, format!("jpeg is longer than the {} steps that are allowed", self.options.limits.max_work)));
        }
        let streaming = self.picture.as_ref().is_some_and(Picture::is_streaming);
        if !streaming && (self.held.len() + bytes.len()) as u64 > self.options.limits.max_memory_bytes {
            let text = format!("jpeg must be held whole, limit is {} bytes", self.options.limits.max_memory_bytes);
            return Err(Error::limit(end, text));
        }
        self.held.extend_from_slice(bytes);
        self.begin()
    }

    /// Says that no more bytes come.
    ///
    /// # Errors
    /// A header that is not whole.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.complete = true;
        self.begin()
    }

    /// Reads the header, once it is there.
    fn begin(&mut self) -> Result<(), Error> {
        if self.picture.is_some() || !self.complete && self.held.len() < self.look_again_at {
            return Ok(());
        }
        match Picture::new(self.input(), self.options) {
            Ok(picture) => self.picture = Some(picture),
            Err(fault) if fault.kind() == ErrorKind::Truncated && !self.complete => {
                // Not with every piece: many small ones would make that quadratic.
                self.look_again_at = self.held.len() + self.held.len() / 4 + 256;
            }
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    fn input(&self) -> Input<'_> {
        Input { bytes: &self.held, base: self.base, complete: self.complete }
    }

    /// What the file says of itself, once that is known.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.picture.as_ref().map(|picture| &picture.header)
    }

    /// Width and height of the result, once they are known.
    #[must_use]
    pub fn size_px(&self) -> Option<(u32, u32)> {
        self.picture.as_ref().map(|picture| (picture.geometry.width as u32, picture.geometry.height as u32))
    }

    /// How its pixels lie, once that is known.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        self.picture.as_ref().map(Picture::layout)
    }

    /// Bytes of a row of the result; 0 until they are known.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.picture.as_ref().map_or(0, Picture::row_bytes)
    }

    /// The rows that can be had now, as many as `out` holds whole; 0 where more input is needed, or at the end ([`Self::is_done`]).
    ///
    /// # Errors
    /// As [`Decoder::read_rows`](crate::Decoder::read_rows).
    pub fn read_rows(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let input = Input { bytes: &self.held, base: self.base, complete: self.complete };
        let Some(picture) = &mut self.picture else { return Ok(0) };
        let rows = picture.read_rows(input, out, &|| true)?;
        self.let_go();
        Ok(rows)
    }

    /// Width and height of each component's plane, once they are known; none before. As
    /// [`Decoder::plane_sides`](crate::Decoder::plane_sides).
    #[must_use]
    pub fn plane_sides(&self) -> Vec<(u32, u32)> {
        self.picture.as_ref().map(Picture::plane_sides).unwrap_or_default()
    }

    /// The next strip of all components' planes; `None` where more input is needed, or at the end ([`Self::is_done`]). As
    /// [`Decoder::read_strip`](crate::Decoder::read_strip).
    ///
    /// # Errors
    /// As there.
    pub fn read_strip(&mut self) -> Result<Option<Strip<'_>>, Error> {
        let input = Input { bytes: &self.held, base: self.base, complete: self.complete };
        let Some(picture) = &mut self.picture else { return Ok(None) };
        let made = picture.make_strip(input, &|| true)?;
        self.let_go();
        Ok(self.picture.as_ref().filter(|_| made).map(Picture::strip))
    }

    /// Lets go of bytes that were read.
    fn let_go(&mut self) {
        let Some(picture) = &self.picture else { return };
        let read = picture.needed_from().saturating_sub(self.base).min(self.held.len());
        // What is kept moves to the front: only when it is no more than what goes, or a long piece would be moved again and again.
        if read >= LET_GO_BYTES && 2 * read >= self.held.len() || read == self.held.len() {
            self.held.drain(..read);
            self.base += read;
        }
    }

    /// Whether all rows were read, or a lenient decoder has no more.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.picture.as_ref().is_some_and(Picture::is_done)
    }

    /// What stopped a lenient decoder.
    #[must_use]
    pub fn fault(&self) -> Option<&Error> {
        self.picture.as_ref().and_then(Picture::fault)
    }
}
