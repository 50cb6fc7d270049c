"""The server as the cases start it: in a yard of its own, behind a wrapper or in a cgroup if need be.

Knows how the binary is started and ended, nothing of what is asked of it. Invariant: what is appended to the log of an
earlier start stays, so that everything a case provoked is judged.
"""
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time

import common


def known_flags(binary):
    """Every --flag of this binary."""
    text = subprocess.run([str(binary), "serve", "--help"], stdout=subprocess.PIPE, check=True).stdout.decode()
    return set(re.findall(r"^\s+(?:-\w, )?(--[a-z][a-z0-9-]*)", text, re.M))


class Service(common.Server):
    """A server in a yard: working folder, HOME and TMPDIR lie beside the data folder, so that strays are seen."""

    def __init__(self, binary, flags, yard, data_dir, prefix=(), env=None, before_exec=None):
        super().__init__(binary, *flags, data_dir=data_dir)
        self.yard, self.prefix, self.env, self.before_exec = yard, [str(p) for p in prefix], dict(env or {}), before_exec
        self.log_path = pathlib.Path(yard) / "server.log"

    def launch(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("PIXMILL_")}
        env.update(HOME=str(self.yard / "home"), TMPDIR=str(self.yard / "tmp"), **self.env)
        # Appended to: what an earlier start of the same case wrote is judged too.
        self.log_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [*self.prefix, self.binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", str(self.data_dir), *self.flags],
            stdout=self.log, stderr=subprocess.STDOUT, env=env, cwd=self.yard, preexec_fn=self.before_exec)
        self.pid = self.process.pid

    def start(self, timeout_s=30):
        self.launch()
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = re.search(rb"listening on http://([0-9.]+):(\d+)\s", self.log_path.read_bytes()[self.log_from:])
            if found:
                self.host, self.port = found[1].decode(), int(found[2])
                self.url = f"http://{self.host}:{self.port}"
                self.pid = self.own_pid()
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.002)
        self.kill()
        raise RuntimeError(f"the server did not start: {self.log_path.read_text(errors='replace')[-600:]}")

    def own_pid(self):
        """The server itself, should a wrapper (strace) be its parent."""
        line = [self.process.pid]
        for pid in line:
            try:
                if os.path.samefile(os.readlink(f"/proc/{pid}/exe"), self.binary):
                    return pid
                line += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except OSError:
                pass
        return self.process.pid

    def kill(self):
        if self.process and self.pid != self.process.pid and self.process.poll() is None:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        super().kill()
