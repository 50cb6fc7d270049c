//! How far the catalog has come, noted in a file of its own beside it: a copy from before, put in its place, has not come as far.
//!
//! The catalog's age is a number in it that grows with every upload and every completed task, which are all that bring new blobs. Invariant: the mark is
//! written after the commit that it counts, never before, so it is never ahead of the catalog that wrote it, wherever that is killed. It is not
//! synced, but for the first time: after a loss of power it may be behind, and an older catalog that is not behind even that is taken for the newest.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{super::Totals, totals::Delta};

/// What its name ends with, behind the catalog's own.
const SUFFIX: &str = "-mark";

/// Where the mark of a catalog is.
pub(super) fn path_of(catalog: &Path) -> PathBuf {
    let mut path = catalog.as_os_str().to_owned();
    path.push(SUFFIX);
    path.into()
}

/// What stands at `path`; `None`: nothing that could be read.
pub(super) fn read(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim_end().parse().ok()
}

/// How far a catalog with these totals has come.
pub(super) const fn age(totals: &Totals) -> u64 {
    totals.uploads + totals.completed_tasks
}

/// A mark that is kept up.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    age: u64,
}

impl Mark {
    /// Writes the age of today, durably, and keeps it up from here on.
    pub(super) fn begin(path: &Path, age: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o640).open(path)?;
        let mark = Self { file, age };
        mark.write()?;
        mark.file.sync_all()?;
        Ok(mark)
    }

    /// Counts what was committed.
    pub(super) fn add(&mut self, delta: &Delta) {
        let more = u64::try_from(delta.uploads + delta.completed_tasks).unwrap_or(0);
        if more > 0 {
            self.age += more;
            // One that is behind is no harm: an older catalog is not recognised, then, unless it is older than that.
            drop(self.write());
        }
    }

    /// As long each time, in one call: what is read is one number or the other. It goes to the system's memory, not to the disk.
    fn write(&self) -> io::Result<()> {
        self.file.write_all_at(format!("{:020}\n", self.age).as_bytes(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = path_of(&folder.path().join("catalog.db"));
        assert_eq!((path.file_name().and_then(|name| name.to_str()), read(&path)), (Some("catalog.db-mark"), None));
        let mut mark = Mark::begin(&path, 998).expect("writes");
        assert_eq!(read(&path), Some(998));
        mark.add(&Delta { uploads: 1, completed_tasks: 2, running_jobs: -1, ..Delta::default() });
        assert_eq!(read(&path), Some(1001));
        mark.add(&Delta { failed_tasks: 7, queued_jobs: -3, ..Delta::default() });
        assert_eq!((read(&path), Mark::begin(&path, 5).map(|_| read(&path)).expect("writes")), (Some(1001), Some(5)));
        for broken in ["", "12x", "-3"] {
            fs::write(&path, broken).expect("writes");
            assert_eq!(read(&path), None, "{broken:?}");
        }
    }
}
