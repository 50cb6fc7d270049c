"""What a case measures while it goes on: CPU, memory, and how long others wait meanwhile.

A mixin of the context: needs `server`, `check`, `note`, `host` and `address`. Knows no case.
"""
import contextlib
import multiprocessing
import os
import pathlib
import queue
import signal
import time

import common
from invariants import Vitals

MIB = 1 << 20
# Times that cases allow are meant for a machine that does nothing else; PIXMILL_FAULTS_SLACK=3 allows three times as much.
SLACK = float(os.environ.get("PIXMILL_FAULTS_SLACK", "1"))


class Measuring:
    """Figures of the server's process, and latencies seen by a process of its own."""

    def vitals(self):
        return Vitals(self.server.pid)

    def cpu_s(self):
        """CPU seconds the server has used."""
        fields = pathlib.Path(f"/proc/{self.server.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @contextlib.contextmanager
    def cost(self, what, cpu_s=None, grow_mib=None):
        """Check what the server spends on the block: CPU seconds and growth of resident memory. Yields a dict of both."""
        spent, cpu, rss = {}, self.cpu_s(), self.server.memory()[0]
        self.server.reset_peak()
        yield spent
        spent["cpu_s"], spent["grow_mib"] = self.cpu_s() - cpu, max(0, self.server.memory()[1] - rss) / MIB
        if cpu_s is not None:
            cpu_s *= SLACK
            self.check(spent["cpu_s"] <= cpu_s, f"{what}: {spent['cpu_s']:.2f} s of CPU, allowed {cpu_s}")
        if grow_mib is not None:
            self.check(spent["grow_mib"] <= grow_mib, f"{what}: memory grew by {spent['grow_mib']:.0f} MiB, allowed {grow_mib}")

    @contextlib.contextmanager
    def probe(self, path="/healthz", message=None, every_s=0.02):
        """A process of its own asks for this all the while, on one connection; yields a list that holds the latencies in ms
        afterwards (an answer other than 200 and 202, or none, counts as infinite)."""
        took, stop = [], multiprocessing.get_context("fork").Event()
        results = multiprocessing.get_context("fork").Queue()
        child = multiprocessing.get_context("fork").Process(
            target=_probe, args=(self.address, message or common.request("GET", path, self.host), every_s, stop, results), daemon=True)
        child.start()
        try:
            yield took
        finally:
            stop.set()
            with contextlib.suppress(queue.Empty):
                took += results.get(timeout=90)
            child.join(5)
            child.kill()

    def check_quick(self, what, took_ms, limit_ms, q=0.99):
        """Check a quantile of what `probe` measured."""
        if self.check(took_ms, f"{what}: nothing was measured"):
            at = common.quantile(took_ms, q)
            limit_ms *= SLACK
            self.check(at < limit_ms, f"{what}: {at:.0f} ms at {q:.0%}, allowed {limit_ms}")
            self.note(f"{what}: {common.median(took_ms):.1f} ms, {at:.1f} ms at {q:.0%}, {len(took_ms)} times")


def _probe(address, message, every_s, stop, results):
    """The process behind `Context.probe`."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    took, connection = [], common.Connection(*address, timeout_s=20)
    while not stop.is_set():
        begun = time.monotonic()
        try:
            status, _ = connection.roundtrip(message)
            took.append((time.monotonic() - begun) * 1000 if status in (200, 202) else float("inf"))
        except OSError:
            took.append(float("inf"))
            connection.close()
        stop.wait(every_s)
    results.put(took)
