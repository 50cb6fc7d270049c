//! A disk that fails when told, and small disks of their own for tests that run as root.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use pixmill::store::{Disk, Faults, Step};
use tempfile::TempDir;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// With this number of `errno`.
    Errno(i32),
    /// A write takes one byte only.
    Short,
}

pub(crate) const ENOSPC: Fault = Fault::Errno(28);
pub(crate) const EDQUOT: Fault = Fault::Errno(122);
pub(crate) const EIO: Fault = Fault::Errno(5);
pub(crate) const EROFS: Fault = Fault::Errno(30);
pub(crate) const EINTR: Fault = Fault::Errno(4);

#[derive(Debug)]
struct Armed {
    step: Step,
    /// Calls of the kind to let pass.
    pass: usize,
    /// Calls to fail after that.
    times: usize,
    fault: Fault,
    /// How many have failed.
    failed: usize,
}

/// Fails the calls it is armed for and counts all.
#[derive(Debug, Default)]
pub(crate) struct Failing {
    armed: Mutex<Option<Armed>>,
    calls: Mutex<HashMap<Step, usize>>,
}

impl Failing {
    pub(crate) fn new() -> (Arc<Self>, Disk) {
        let failing = Arc::new(Self::default());
        (Arc::clone(&failing), Disk::with_faults(failing))
    }

    /// Lets the calls of a kind from the `first` (1 is the next) to the one before `first + times` fail.
    pub(crate) fn arm(&self, step: Step, first: usize, times: usize, fault: Fault) {
        *self.armed.lock().expect("no panic") = Some(Armed { step, pass: first - 1, times, fault, failed: 0 });
    }

    /// Ends it; says how many calls failed.
    pub(crate) fn disarm(&self) -> usize {
        self.armed.lock().expect("no panic").take().map_or(0, |armed| armed.failed)
    }

    /// How many have failed since it was armed.
    pub(crate) fn failed(&self) -> usize {
        self.armed.lock().expect("no panic").as_ref().map_or(0, |armed| armed.failed)
    }

    /// Calls of each kind so far.
    pub(crate) fn calls(&self) -> HashMap<Step, usize> {
        self.calls.lock().expect("no panic").clone()
    }
}

impl Faults for Failing {
    fn before(&self, step: Step, bytes: usize) -> io::Result<usize> {
        *self.calls.lock().expect("no panic").entry(step).or_default() += 1;
        let mut armed = self.armed.lock().expect("no panic");
        let Some(armed) = armed.as_mut().filter(|armed| armed.step == step) else { return Ok(bytes) };
        if armed.pass > 0 {
            armed.pass -= 1;
            return Ok(bytes);
        }
        if armed.failed >= armed.times {
            return Ok(bytes);
        }
        armed.failed += 1;
        match armed.fault {
            Fault::Errno(errno) => Err(io::Error::from_raw_os_error(errno)),
            Fault::Short => Ok(1),
        }
    }
}

/// A file system in memory, mounted on a folder; unmounted when dropped.
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one with these options on a fresh folder; says so and gives nothing where that is not allowed.
    pub(crate) fn mount(options: &str) -> Option<(Self, TempDir)> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path()).output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some((Self(folder.path().to_owned()), folder));
        }
        eprintln!("SKIPPED: mounting a tmpfs needs root: {mounted:?}");
        None
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}
