//! The real binary as a child: started on a folder, killed or asked to end, its lines kept.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};

use super::DEADLINE;

/// A command for the binary with none of our environment's settings, in a folder without a configuration file.
pub(crate) fn pixmill(folder: &Path) -> Command {
    started_by(&[], folder)
}

/// The same, started by another program, which is given as a command line.
fn started_by(program: &[&str], folder: &Path) -> Command {
    let pixmill = env!("CARGO_BIN_EXE_pixmill");
    let mut command = match program {
        [] => Command::new(pixmill),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(pixmill);
            command
        }
    };
    command.current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PIXMILL_") {
            command.env_remove(name);
        }
    }
    command
}

/// The service as its own process. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    /// The service is a child of the child.
    is_traced: bool,
    pub(crate) address: SocketAddr,
    log: PathBuf,
}

impl Process {
    /// Starts `serve` on `folder/data` and waits for the line that says the address.
    pub(crate) fn start(folder: &Path, more: &[&str]) -> Self {
        Self::start_by(&[], folder, more)
    }

    /// The same, under a tracer such as `strace -f`.
    pub(crate) fn start_by(tracer: &[&str], folder: &Path, more: &[&str]) -> Self {
        let log = folder.join("log.jsonl");
        let errors = std::fs::File::options().create(true).append(true).open(&log).expect("a log file");
        let mut child = started_by(tracer, folder)
            .args(["--listen", "127.0.0.1:0", "--data-dir", "data", "--workers", "2", "--memory-budget", "256MiB"])
            .args(["--disk-reserve-bytes", "0", "--log-format", "json"])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (first, line) = mpsc::channel();
        // Reads on to the end, so that the child never waits for its reader.
        std::thread::spawn(move || {
            let _ = first.send(lines.next());
            lines.for_each(drop);
        });
        let line = line.recv_timeout(DEADLINE).expect("a line in time").and_then(Result::ok);
        let Some(line) = line else { panic!("ended before it served: {}", std::fs::read_to_string(&log).unwrap_or_default()) };
        let (_, address) = line
            .strip_prefix("pixmill listening on ")
            .and_then(|url| url.split_once("://"))
            .unwrap_or_else(|| panic!("the first line says the address: {line}"));
        let address = address.parse().expect("an address");
        Self { child, is_traced: !tracer.is_empty(), address, log }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.traced().unwrap_or_else(|| Pid::from_child(&self.child))
    }

    /// The service, where a tracer stands between.
    fn traced(&self) -> Option<Pid> {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok().filter(|_| self.is_traced)?;
        children.split_whitespace().next()?.parse().ok().and_then(Pid::from_raw)
    }

    /// `kill -9`, and gone when this returns.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a process of ours");
        self.child.wait().expect("ends");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a process of ours");
    }

    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a process of ours") {
                return status;
            }
            assert!(Instant::now() < end, "does not end");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Its resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).expect("a process of ours");
        let pages: u64 = statm.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
        pages * rustix::param::page_size() as u64
    }

    /// The most memory it was resident with so far, in bytes.
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process of ours");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// Its log lines so far, of this and earlier processes on the folder.
    pub(crate) fn log(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&self.log).expect("a log");
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("a log line is no JSON ({e}): {line}"))).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(traced) = self.traced() {
            let _ = kill_process(traced, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
