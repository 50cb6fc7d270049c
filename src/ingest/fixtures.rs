//! Bodies and images for the tests of this room, made in code.

use std::{
    io::Cursor,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use image_pipeline::Limits;

use super::{BodyStream, IngestLimits};
use crate::store::StagingDir;

/// The bytes in pieces of `size`, always ready.
pub(super) fn chunked(bytes: &[u8], size: usize) -> BodyStream {
    let pieces: Vec<_> = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Box::pin(stream::iter(pieces))
}

/// The bytes in pieces of `size`, with a pending poll before each and before the end.
pub(super) fn chunked_with_pauses(bytes: &[u8], size: usize) -> BodyStream {
    cut_with_pauses(bytes, std::iter::repeat(size))
}

/// The bytes in pieces of the given sizes (zero counts as one), with a pending poll before each and before the end.
pub(super) fn cut_with_pauses(mut bytes: &[u8], sizes: impl IntoIterator<Item = usize>) -> BodyStream {
    let mut pieces = Vec::new();
    for size in sizes {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(size.clamp(1, bytes.len()));
        pieces.push(Bytes::copy_from_slice(piece));
        bytes = rest;
    }
    if !bytes.is_empty() {
        pieces.push(Bytes::copy_from_slice(bytes));
    }
    Box::pin(Pausing { pieces: pieces.into_iter(), paused: false })
}

struct Pausing {
    pieces: std::vec::IntoIter<Bytes>,
    paused: bool,
}

impl Stream for Pausing {
    type Item = Result<Bytes, super::BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.paused = !self.paused;
        if self.paused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.pieces.next().map(Ok))
    }
}

/// A body of parts `(headers, data)`, boundary `B`; headers without their last line end.
pub(super) fn multipart_body(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (headers, data) in parts {
        body.extend_from_slice(b"--B\r\n");
        body.extend_from_slice(headers.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(data);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--B--\r\n");
    body
}

/// The media type of [`multipart_body`].
pub(super) const MEDIA_TYPE: &[u8] = b"multipart/form-data; boundary=B";

/// A PNG of noise: about three bytes a pixel.
pub(super) fn noise_png(width_px: u32, height_px: u32) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let picture = image::RgbImage::from_fn(width_px, height_px, |_, _| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let [a, b, c, ..] = (state >> 24).to_le_bytes();
        image::Rgb([a, b, c])
    });
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, image::ImageFormat::Png).expect("a PNG is made");
    file.into_inner()
}

/// Limits wide enough for every fixture.
pub(super) fn wide_limits() -> IngestLimits {
    IngestLimits {
        max_file_bytes: 64 << 20,
        max_request_bytes: 256 << 20,
        max_files: 20,
        max_fields: 100,
        max_field_bytes: 64 << 10,
        max_refused_bytes: 64 << 20,
        image: Limits::default(),
    }
}

/// A staging folder that asserts to be empty when it goes.
pub(super) struct Stage {
    folder: tempfile::TempDir,
    pub(super) dir: StagingDir,
}

impl Stage {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (dir, _) = StagingDir::open(folder.path().join("staging")).expect("a staging folder");
        Self { folder, dir }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("staging")
    }

    pub(super) fn files(&self) -> usize {
        count_files(&self.path())
    }

    /// Waits (blocking work may still be ending) until nothing is left.
    pub(super) async fn becomes_empty(&self) -> bool {
        for _ in 0..500 {
            if self.files() == 0 {
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        false
    }
}

fn count_files(path: &Path) -> usize {
    std::fs::read_dir(path).expect("the folder").count()
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.files(), 0, "staged files are left");
        }
    }
}
