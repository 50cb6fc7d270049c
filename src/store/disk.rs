//! The calls to the disk that can fail, each behind one door, so that a test can let any of them fail, the n-th time or always.
//!
//! Knows nothing of blobs. In the service the door is open: a [`Disk`] by default calls the system and nothing else. Invariant: every call of
//! this room by which bytes could be lost, or taken for stored when they are not, goes through here.

use std::{
    fmt::Debug,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use tempfile::TempPath;

use super::Free;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Making an empty file.
    Create,
    /// Writing a piece of a file.
    Write,
    /// Making a file's bytes durable.
    SyncFile,
    /// Giving a file its final name.
    Rename,
    /// Making the names in a folder durable.
    SyncFolder,
    /// Opening or reading a file.
    Read,
    /// Removing a name.
    Delete,
    /// Asking how much room there is.
    Free,
}

impl Step {
    /// Every kind.
    pub const ALL: &[Self] =
        &[Self::Create, Self::Write, Self::SyncFile, Self::Rename, Self::SyncFolder, Self::Read, Self::Delete, Self::Free];
}

/// Decides what fails.
pub trait Faults: Debug + Send + Sync + 'static {
    /// Asked before each call, which touches `bytes` bytes (0 where that means nothing). An error is the call's outcome, and it is not
    /// made; a number below `bytes` lets a write take only so many.
    ///
    /// # Errors
    /// What the call is to fail with.
    fn before(&self, step: Step, bytes: usize) -> io::Result<usize>;
}

/// The disk, as it is or with faults. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Disk(Option<Arc<dyn Faults>>);

impl Disk {
    /// A disk that fails as it is told.
    #[must_use]
    pub fn with_faults(faults: Arc<dyn Faults>) -> Self {
        Self(Some(faults))
    }

    fn before(&self, step: Step, bytes: usize) -> io::Result<usize> {
        self.0.as_ref().map_or(Ok(bytes), |faults| faults.before(step, bytes))
    }

    /// A fresh file in `folder`, readable by this user only (0600).
    pub(super) fn create(&self, prefix: &str, folder: &Path) -> io::Result<(DiskFile, TempPath)> {
        self.before(Step::Create, 0)?;
        let (file, path) = tempfile::Builder::new().prefix(prefix).tempfile_in(folder)?.into_parts();
        Ok((DiskFile { file, disk: self.clone() }, path))
    }

    /// Asks for a file's bytes to be written now, and does not wait: what its sync waits for is under way then. A hint, which makes nothing durable
    /// and may be ignored; what it could fail with the sync tells.
    #[allow(unsafe_code)]
    pub(super) fn start_writing(&self, file: &File) {
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd as _;
            // SAFETY: the descriptor is open for as long as `file` is borrowed, and the call touches no memory of ours (sync_file_range(2)).
            unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = file;
    }

    pub(super) fn sync_file(&self, file: &File) -> io::Result<()> {
        self.before(Step::SyncFile, 0)?;
        file.sync_data()
    }

    /// Gives the file its final name, which must be free. On an error the file is gone.
    pub(super) fn rename(&self, from: TempPath, to: &Path) -> io::Result<()> {
        self.before(Step::Rename, 0)?;
        from.persist_noclobber(to).map_err(|failed| failed.error)
    }

    pub(super) fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.before(Step::SyncFolder, 0)?;
        File::open(folder)?.sync_all()
    }

    pub(super) fn open(&self, path: &Path) -> io::Result<DiskFile> {
        self.before(Step::Read, 0)?;
        Ok(DiskFile { file: File::open(path)?, disk: self.clone() })
    }

    pub(super) fn read(&self, path: &Path) -> io::Result<Bytes> {
        self.before(Step::Read, 0)?;
        fs::read(path).map(Bytes::from)
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        self.before(Step::Delete, 0)?;
        fs::remove_file(path)
    }

    pub(super) fn free(&self, path: &Path) -> io::Result<Free> {
        self.before(Step::Free, 0)?;
        let of = rustix::fs::statvfs(path).map_err(io::Error::from)?;
        // A file system that makes inodes as it needs them says that it has none in all.
        let files = (of.f_files > 0).then_some(of.f_favail);
        Ok(Free { bytes: of.f_bavail.saturating_mul(of.f_frsize), files })
    }
}

/// An open file whose calls go through the door.
#[derive(Debug)]
pub struct DiskFile {
    pub(super) file: File,
    disk: Disk,
}

impl DiskFile {
    /// Fills the buffer from `offset` on.
    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        self.disk.before(Step::Read, buffer.len())?;
        self.file.read_exact_at(buffer, offset)
    }
}

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let some = self.disk.before(Step::Write, bytes.len())?.min(bytes.len());
        self.file.write(&bytes[..some])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for DiskFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.before(Step::Read, buffer.len())?;
        self.file.read(buffer)
    }
}

impl Seek for DiskFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
