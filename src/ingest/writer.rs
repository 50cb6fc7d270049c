//! One file on its way to the staging disk: counted, hashed, judged by its head, written in few large steps.
//!
//! It must not know multipart or requests. Invariants: two buffers of [`BUFFER_BYTES`] per file in flight, one filled while the other is
//! written; each full buffer is one short blocking call, in which it is hashed, too, and never two at a time; nothing touches the disk
//! before the head was judged; a file that fits the buffer costs one blocking call in all; the blocking call owns what it works on, so
//! that dropping the writer at any await leaves no file.

use std::io::{BufReader, Cursor, ErrorKind as IoKind, Seek, SeekFrom, Write};

use image_pipeline::{ErrorKind, Limits, Probe, probe};
use sha2::{Digest, Sha256};
use tempfile::TempPath;
use tokio::task::{JoinError, JoinHandle};

use super::{
    IngestError, IngestLimits,
    sniff::{head_bytes, judge_head, refusal_of},
};
use crate::{
    domain::{Code, Refusal, hex},
    store::{DiskFile, Staged, StagingDir},
};

/// Bytes gathered before the disk is touched.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// A file taken in: whole, hashed, an image by its bytes. Dropping it unlinks it.
#[derive(Debug)]
pub struct StagedFile {
    /// The bytes on the staging disk, not yet durable.
    pub staged: Staged,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// What its header says.
    pub probe: Probe,
    /// The client's name for it, fit for display.
    pub filename: Option<String>,
    /// What upload libraries sent along with it (`name`, `type`, `relativePath`, `_charset_`), in order.
    pub metadata: Vec<(String, String)>,
}

/// Why a file was not taken in.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The file is at fault; nothing of it is left.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Length of the beginning that was enough to tell: the same however the bytes were cut.
        at_bytes: u64,
    },
    /// The disk or the process is.
    Failed(IngestError),
}

impl From<WriteError> for IngestError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused { refusal, .. } => Self::Refused(refusal),
            WriteError::Failed(error) => error,
        }
    }
}

/// What blocking calls work on; moves there and back.
struct Work {
    staging: StagingDir,
    limits: Limits,
    /// What is to be written; emptied by that.
    buffer: Vec<u8>,
    hash: Sha256,
    /// Absent until the first buffer is full.
    disk: Option<(DiskFile, TempPath)>,
    written_bytes: u64,
}

/// Where the work is.
enum Place {
    Here(Box<Work>),
    /// Writing a full buffer.
    Away(JoinHandle<Result<Box<Work>, WriteError>>),
}

impl Place {
    /// The work, once it is back.
    async fn back(self) -> Result<Box<Work>, WriteError> {
        match self {
            Self::Here(work) => Ok(work),
            Self::Away(step) => step.await.map_err(|error| WriteError::Failed(lost(error)))?,
        }
    }
}

/// Takes a file's bytes one chunk after another.
pub(super) struct FileWriter {
    place: Place,
    /// What came in since the last full buffer; never grows past [`BUFFER_BYTES`].
    gathered: Vec<u8>,
    max_file_bytes: u64,
    received_bytes: u64,
    head_judged: bool,
}

impl FileWriter {
    /// A writer that has touched nothing yet.
    pub(super) fn new(limits: &IngestLimits, staging: &StagingDir) -> Self {
        let work = Box::new(Work {
            staging: staging.clone(),
            limits: limits.image,
            buffer: Vec::new(),
            hash: Sha256::new(),
            disk: None,
            written_bytes: 0,
        });
        Self {
            place: Place::Here(work),
            gathered: Vec::new(),
            max_file_bytes: limits.max_file_bytes,
            received_bytes: 0,
            head_judged: false,
        }
    }

    /// Takes the next bytes; gives the writer back unless the file is refused.
    ///
    /// # Errors
    /// `Refused` when the file is too large, no image, or an image beyond the limits as far as its head tells; `Failed` when writing fails.
    ///
    /// # Cancel safety
    /// The file is gone when the future is dropped, also when its blocking call still runs: that call removes it at its end.
    pub(super) async fn feed(mut self, mut chunk: &[u8]) -> Result<Self, WriteError> {
        while !chunk.is_empty() {
            let goal = if self.head_judged { BUFFER_BYTES } else { head_bytes(&self.gathered) };
            let room = u64::try_from(goal - self.gathered.len()).unwrap_or(u64::MAX);
            let allowed = self.max_file_bytes - self.received_bytes;
            if allowed == 0 {
                let limit = self.max_file_bytes;
                let refusal = Refusal::over(Code::TooLarge, format!("file is larger than {limit} bytes"), limit, None);
                let work = self.place.back().await?;
                if work.disk.is_some() {
                    // Unlinking a large file takes a while: not on an async thread.
                    blocking(move || drop(work)).await.map_err(WriteError::Failed)?;
                }
                return Err(WriteError::Refused { refusal, at_bytes: limit });
            }
            let step = room.min(allowed).min(chunk.len() as u64);
            // No more than the chunk's length, so it fits a usize.
            let (now, later) = chunk.split_at(usize::try_from(step).unwrap_or(chunk.len()));
            gather(&mut self.gathered, now);
            self.received_bytes += step;
            chunk = later;
            if self.head_judged && self.gathered.len() == BUFFER_BYTES {
                self = self.send_off().await?;
            } else if !self.head_judged && self.gathered.len() >= head_bytes(&self.gathered) {
                self.judge()?;
            }
        }
        Ok(self)
    }

    /// The full buffer goes to the disk while the next one is gathered.
    async fn send_off(mut self) -> Result<Self, WriteError> {
        let mut work = self.place.back().await?;
        std::mem::swap(&mut work.buffer, &mut self.gathered);
        let (first, at_bytes) = (work.disk.is_none(), self.received_bytes);
        self.place = Place::Away(tokio::task::spawn_blocking(move || work.flush(at_bytes).map(|()| work)));
        if first {
            // The head may say that the image is beyond the limits: nothing more is taken in before that is known.
            self.place = Place::Here(self.place.back().await?);
        }
        Ok(self)
    }

    fn judge(&mut self) -> Result<(), WriteError> {
        self.head_judged = true;
        judge_head(&self.gathered).map(drop).map_err(|refusal| WriteError::Refused { refusal, at_bytes: self.received_bytes })
    }

    /// The end of the file: the rest is written, the whole is judged. `sha256` is what the client announced.
    ///
    /// # Errors
    /// As [`FileWriter::feed`], and when the file is empty or its digest another.
    ///
    /// # Cancel safety
    /// As [`FileWriter::feed`].
    pub(super) async fn finish(mut self, sha256: Option<[u8; 32]>) -> Result<StagedFile, WriteError> {
        let at_bytes = self.received_bytes;
        if at_bytes == 0 {
            return Err(WriteError::Refused { refusal: Refusal::new(Code::EmptyFile, "file has 0 bytes"), at_bytes });
        }
        if !self.head_judged {
            self.judge()?;
        }
        let mut work = self.place.back().await?;
        work.buffer = self.gathered;
        blocking(move || work.finish(sha256, at_bytes)).await.map_err(WriteError::Failed)?
    }
}

fn gather(buffer: &mut Vec<u8>, bytes: &[u8]) {
    let wanted = buffer.len() + bytes.len();
    if wanted > buffer.capacity() {
        // Doubling, but never past the constant: small files must not pay for a large buffer, nor large ones for a larger.
        let capacity = wanted.max(buffer.capacity() * 2).clamp(4096, BUFFER_BYTES.max(wanted));
        buffer.reserve_exact(capacity - buffer.len());
    }
    buffer.extend_from_slice(bytes);
}

impl Work {
    /// Blocking. Judges the head before the first write.
    fn flush(&mut self, at_bytes: u64) -> Result<(), WriteError> {
        if self.disk.is_none() {
            // A head may say that the image is beyond the limits. That it is broken is for the whole file to say.
            match probe(&mut Cursor::new(&self.buffer), &self.limits) {
                Err(error) if !matches!(error.kind(), ErrorKind::Truncated | ErrorKind::Malformed) => {
                    return Err(WriteError::Refused { refusal: refusal_of(&error), at_bytes });
                }
                _ => {}
            }
        }
        self.hash.update(&self.buffer);
        self.write()
    }

    /// Blocking. The buffer goes to the disk as it is.
    fn write(&mut self) -> Result<(), WriteError> {
        let failed = |error| WriteError::Failed(failure(error));
        let (file, _) = match &mut self.disk {
            Some(disk) => disk,
            None => self.disk.insert(self.staging.create().map_err(failed)?),
        };
        file.write_all(&self.buffer).map_err(failed)?;
        self.written_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Blocking. A file that never filled the buffer is judged in memory and written only when it is good.
    fn finish(mut self, sha256: Option<[u8; 32]>, at_bytes: u64) -> Result<StagedFile, WriteError> {
        let refused = |refusal| WriteError::Refused { refusal, at_bytes };
        let failed = |error| WriteError::Failed(failure(error));
        self.hash.update(&self.buffer);
        let found: [u8; 32] = self.hash.finalize_reset().into();
        if sha256.is_some_and(|wanted| wanted != found) {
            return Err(refused(Refusal::new(Code::DigestMismatch, format!("file has sha-256 {}, another was announced", hex(&found)))));
        }
        let in_memory = match self.disk {
            None => Some(probe(&mut Cursor::new(&self.buffer), &self.limits).map_err(|error| refused(refusal_of(&error)))?),
            Some(_) => None,
        };
        self.write()?;
        let Some((mut file, path)) = self.disk.take() else {
            return Err(failed(std::io::Error::other("a written file is open")));
        };
        let probe = match in_memory {
            Some(probe) => probe,
            None => {
                file.seek(SeekFrom::Start(0)).map_err(failed)?;
                probe(&mut BufReader::new(&mut file), &self.limits).map_err(|error| refused(refusal_of(&error)))?
            }
        };
        let staged = self.staging.staged(path, self.written_bytes);
        Ok(StagedFile { staged, sha256: found, probe, filename: None, metadata: Vec::new() })
    }
}

fn failure(error: std::io::Error) -> IngestError {
    match error.kind() {
        IoKind::StorageFull | IoKind::QuotaExceeded => IngestError::Full(error),
        _ => IngestError::Io(error),
    }
}

/// Runs a short blocking step on tokio's blocking threads. Dropped, the step runs on and its outcome is dropped where it ends.
async fn blocking<T: Send + 'static>(step: impl FnOnce() -> T + Send + 'static) -> Result<T, IngestError> {
    tokio::task::spawn_blocking(step).await.map_err(lost)
}

/// A blocking step that panicked, or was never begun.
fn lost(error: JoinError) -> IngestError {
    IngestError::Io(std::io::Error::other(error))
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Context};

    use super::*;
    use crate::ingest::fixtures::{Stage, noise_png, wide_limits};

    fn refused(result: Result<impl Sized, WriteError>) -> (Code, u64) {
        match result {
            Err(WriteError::Refused { refusal, at_bytes }) => (refusal.code, at_bytes),
            Err(WriteError::Failed(error)) => panic!("{error:?}"),
            Ok(_) => panic!("taken in"),
        }
    }

    async fn write_all(limits: &IngestLimits, stage: &Stage, bytes: &[u8], step: usize) -> Result<StagedFile, WriteError> {
        let mut writer = FileWriter::new(limits, &stage.dir);
        for chunk in bytes.chunks(step) {
            writer = writer.feed(chunk).await?;
        }
        writer.finish(None).await
    }

    #[tokio::test]
    async fn what_is_staged_is_what_was_sent() {
        let stage = Stage::new();
        for side in [8, 290, 300, 500] {
            let image = noise_png(side, side);
            for step in [13, 4096, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, image.len()] {
                let file = write_all(&wide_limits(), &stage, &image, step).await.expect("an image");
                assert_eq!(file.sha256, <[u8; 32]>::from(Sha256::digest(&image)));
                assert_eq!((file.probe.width_px, file.probe.height_px, file.staged.bytes), (side, side, image.len() as u64));
                assert!(std::fs::read(&file.staged.path).expect("the file") == image);
                assert_eq!(stage.files(), 1);
            }
        }
    }

    #[tokio::test]
    async fn a_file_of_just_one_buffer_is_whole() {
        let stage = Stage::new();
        let mut image = noise_png(100, 100);
        image.resize(BUFFER_BYTES, 0); // bytes after the image's end are the file's own
        let file = write_all(&wide_limits(), &stage, &image, 1000).await.expect("an image");
        assert_eq!(std::fs::read(&file.staged.path).expect("the file"), image);
    }

    #[tokio::test]
    async fn the_size_limit_is_exact() {
        let stage = Stage::new();
        for image in [noise_png(20, 20), noise_png(400, 400)] {
            let bytes = image.len() as u64;
            for (max_file_bytes, fits) in [(bytes - 1, false), (bytes, true), (bytes + 1, true)] {
                let limits = IngestLimits { max_file_bytes, ..wide_limits() };
                for step in [1000, image.len()] {
                    let result = write_all(&limits, &stage, &image, step).await;
                    if fits {
                        result.expect("fits");
                    } else {
                        assert_eq!(refused(result), (Code::TooLarge, bytes - 1));
                        assert_eq!(stage.files(), 0);
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_image_never_reaches_the_disk() {
        let stage = Stage::new();
        let text = b"plain text ".repeat(100_000);
        for step in [1, 64, 4096, text.len()] {
            assert_eq!(
                refused(write_all(&wide_limits(), &stage, &text, step).await),
                (Code::UnsupportedFormat, crate::ingest::sniff::HEAD_BYTES as u64)
            );
        }
        assert_eq!(refused(write_all(&wide_limits(), &stage, b"short", 2).await), (Code::UnsupportedFormat, 5));
        assert_eq!(refused(write_all(&wide_limits(), &stage, b"", 1).await), (Code::EmptyFile, 0));
    }

    #[tokio::test]
    async fn too_many_pixels_are_refused_by_the_head() {
        let stage = Stage::new();
        let mut limits = wide_limits();
        limits.image.max_pixels = 99;
        for side in [10, 600] {
            let image = noise_png(side, side);
            let at = (image.len() as u64).min(BUFFER_BYTES as u64);
            assert_eq!(refused(write_all(&limits, &stage, &image, 5000).await), (Code::TooManyPixels, at));
        }
    }

    #[tokio::test]
    async fn images_cut_in_their_head_are_malformed() {
        let stage = Stage::new();
        assert_eq!(refused(write_all(&wide_limits(), &stage, &noise_png(8, 8)[..26], 26).await).0, Code::MalformedImage);
    }

    #[tokio::test]
    async fn the_digest_is_checked() {
        let stage = Stage::new();
        for image in [noise_png(20, 20), noise_png(400, 400)] {
            let digest = <[u8; 32]>::from(Sha256::digest(&image));
            let writer = FileWriter::new(&wide_limits(), &stage.dir).feed(&image).await.expect("an image");
            assert_eq!(refused(writer.finish(Some([0; 32])).await).0, Code::DigestMismatch);
            let writer = FileWriter::new(&wide_limits(), &stage.dir).feed(&image).await.expect("an image");
            writer.finish(Some(digest)).await.expect("the digest is right");
        }
    }

    #[tokio::test]
    async fn dropped_in_mid_write_it_leaves_nothing() {
        let stage = Stage::new();
        let image = noise_png(600, 600);
        for polls in 0..3 {
            let writer = FileWriter::new(&wide_limits(), &stage.dir);
            {
                let mut future = pin!(writer.feed(&image));
                for _ in 0..polls {
                    let mut cx = Context::from_waker(std::task::Waker::noop());
                    if future.as_mut().poll(&mut cx).is_ready() {
                        break;
                    }
                }
            }
            let writer = FileWriter::new(&wide_limits(), &stage.dir).feed(&image).await.expect("an image");
            assert!(stage.files() >= 1);
            {
                let mut future = pin!(writer.finish(None));
                for _ in 0..polls {
                    let mut cx = Context::from_waker(std::task::Waker::noop());
                    if future.as_mut().poll(&mut cx).is_ready() {
                        break;
                    }
                }
            }
            assert!(stage.becomes_empty().await, "after {polls} polls");
        }
    }

    #[tokio::test]
    async fn the_buffer_is_bounded() {
        let stage = Stage::new();
        let mut writer = FileWriter::new(&wide_limits(), &stage.dir);
        for chunk in noise_png(700, 700).chunks(100_000) {
            writer = writer.feed(chunk).await.expect("an image");
            assert!(writer.gathered.capacity() <= BUFFER_BYTES, "{}", writer.gathered.capacity());
        }
        // The last full buffer may be on its way still.
        drop(writer);
        assert!(stage.becomes_empty().await);
    }

    #[tokio::test]
    async fn a_broken_disk_is_not_the_clients_fault() {
        let stage = Stage::new();
        std::fs::remove_dir(stage.path()).expect("empty");
        let result = write_all(&wide_limits(), &stage, &noise_png(8, 8), 100).await;
        assert!(matches!(result, Err(WriteError::Failed(IngestError::Io(_)))), "{result:?}");
        std::fs::create_dir(stage.path()).expect("made again");
        assert!(matches!(failure(IoKind::StorageFull.into()), IngestError::Full(_)));
        assert!(matches!(failure(IoKind::QuotaExceeded.into()), IngestError::Full(_)));
    }
}
