"""Cases against the real binary: registration, the context a case works with, and one run of one case.

    @case("B12", "1 to 256 MiB of preamble", expected="400 after at most 64 KiB + one buffer", flags=["--max-file-bytes", "1GB"])
    def preamble(c):
        answer = c.post(...)
        c.check(answer.status == 400, f"answered {answer}")
        c.note("400 after 70 KiB")

Every case gets a server of its own on port 0 with its own data folder in a yard full of canaries; after it, the five
invariants of invariants.py are checked. A case that needs another start (a wrapper, a mount, a cgroup) says `start=False`
and calls `c.start(...)`. Python >= 3.9, standard library only.
"""
import json
import os
import pathlib
import shutil
import signal
import sys
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "measure"))
import common  # noqa: E402
from invariants import Vitals, check_all, tree  # noqa: E402
from measuring import Measuring  # noqa: E402
from service import Service  # noqa: E402
from wire import FORM, Wire, chunked, cut, file_part, form, head, repeated, text_part  # noqa: E402,F401

MIB = 1 << 20
CASES = []


class Skip(Exception):
    """This machine or this binary cannot run the case; the text says why."""


class Case:
    def __init__(self, ids, title, run, expected, flags, quick, start, waived, settle_s, rss_mib, log_kib, limit_s, env):
        self.ids, self.title, self.run, self.expected = ids, title, run, expected
        self.flags, self.quick, self.start, self.waived = list(flags), quick, start, dict(waived or {})
        self.settle_s, self.rss_mib, self.log_kib, self.limit_s, self.env = settle_s, rss_mib, log_kib, limit_s, dict(env or {})


def case(ids, title, *, expected, flags=(), quick=False, start=True, waived=None, settle_s=40, rss_mib=32, log_kib=256, limit_s=180, env=None):
    """Register a case. `ids` is "B12" or "B12 B13". `waived` is {invariant key: reason} (alive, back, strays, tables, log).
    `settle_s`: how long (ii) may take, drains of refused bodies last up to 30 s. `rss_mib`: growth (ii) allows. `log_kib`: (v)."""
    def register(run):
        CASES.append(Case(ids.split(), title, run, expected, flags, quick, start, waived, settle_s, rss_mib, log_kib, limit_s, env))
        return run
    return register


class Context(Measuring):
    """What a case works with."""

    def __init__(self, case_, binary, python, flags_known, brief=False):
        """`python` may have further packages (or be None); `brief` asks a case for fewer rounds."""
        self.case, self.binary, self.python, self.flags_known, self.brief = case_, binary, python, flags_known, brief
        self.yard = common.scratch("fault-" + case_.ids[0])
        self.failures, self.notes, self.server, self.before, self.usual_s = [], [], None, None, None
        self.top_names, self.canaries, self.services, self.cleanups, self.left_out = set(), {}, [], [], set()
        for name in ("home", "tmp", "neighbour/deep"):
            (self.yard / name).mkdir(parents=True)
        for name in ("canary.txt", "neighbour/deep/canary.png", "home/.profile", "tmp/canary"):
            (self.yard / name).write_text(f"canary {name}\n")
        self.data_dir = self.yard / "neighbour" / "data"

    # --- the server ---

    def start(self, flags=None, *, data_dir=None, prefix=(), env=None, before_exec=None, warm=True, timeout_s=30):
        """Start a (further) server; the last one is `c.server`. `warm` takes the measure of (i) and (ii)."""
        flags = self.usable(self.case.flags if flags is None else flags)
        self.data_dir = pathlib.Path(data_dir or self.data_dir)
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        self.server = Service(self.binary, flags, self.yard, self.data_dir, prefix, {**self.case.env, **(env or {})}, before_exec)
        self.services.append(self.server)
        self.canaries = tree(self.yard, but=self.inside())
        self.server.start(timeout_s)
        if warm:
            self.baseline()
        self.top_names |= {e.name for e in self.data_dir.iterdir()}
        return self.server

    def restart(self, warm=False, **how):
        """kill -9 and start again on the same folder."""
        self.server.kill()
        return self.start(how.pop("flags", None), warm=warm, **how)

    def usable(self, flags):
        """Flags this binary knows; the others are left out, and that is noted."""
        kept, flags = [], [str(f) for f in flags]
        while flags:
            taken = [flags.pop(0)]
            if flags and not flags[0].startswith("--"):
                taken.append(flags.pop(0))
            if taken[0] in self.flags_known:
                kept += taken
            else:
                self.left_out.add(taken[0])
        return kept

    def inside(self):
        """What (iii) does not look at: the data folder, which has checks of its own, and the log."""
        return {str(self.data_dir), str(self.yard / "server.log")} | {str(p) for p in getattr(self, "own_files", ())}

    def baseline(self):
        """Warm up, and remember what (i) and (ii) compare with."""
        took = []
        for _ in range(6):
            begun = time.monotonic()
            answer = self.upload()
            if answer.status == 503 and took:
                # A case with room for few jobs, on a machine that is busy with others.
                self.quiet()
                answer = self.upload()
            took.append(time.monotonic() - begun)
            if answer.status != 202:
                raise RuntimeError(f"the first upload was answered {answer} {answer.body[:200]!r}")
        self.usual_s = common.median(took)
        self.quiet()
        # Readers of the catalog are opened when they are first needed, and stay.
        image = answer.json()["images"][0]
        paths = [f"/v1/uploads/{answer.json()['id']}", image["url"][image["url"].index("/i/"):], "/readyz"] * 8
        readers = [threading.Thread(target=self.get, args=(path,)) for path in paths]
        for r in readers:
            r.start()
        for r in readers:
            r.join()
        time.sleep(0.1)
        self.before = Vitals(self.server.pid)

    def quiet(self, timeout_s=60):
        """Until no job waits or runs; False if that takes too long."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                stats = self.server.json("/v1/stats")
                if stats["queued_jobs"] + stats["running_jobs"] == 0:
                    return True
            except (OSError, SystemExit):
                pass
            time.sleep(0.05)
        return False

    # --- the wire ---

    @property
    def address(self):
        return self.server.host, self.server.port

    @property
    def host(self):
        return f"{self.server.host}:{self.server.port}"

    def wire(self, timeout_s=30, **how):
        """A connection of one's own."""
        return Wire(self.address, timeout_s, **how)

    def raw(self, pieces, timeout_s=30, is_head=False, pause_s=0, stubborn=False):
        """Send these bytes (or pieces of bytes) on a new connection, reading all the while unless stubborn: the Answer."""
        with self.wire(timeout_s) as w:
            return w.exchange([pieces] if isinstance(pieces, bytes) else pieces, is_head=is_head, pause_s=pause_s, stubborn=stubborn)

    def request(self, method, path, headers=(), body=b"", timeout_s=30, **how):
        """A well-formed request with Content-Length; headers are pairs."""
        headers = list(headers)
        if body or method in ("POST", "PUT"):
            headers.append(("Content-Length", str(len(body))))
        return self.raw([head(method, path, headers, self.host), *([body] if body else [])], timeout_s, is_head=method == "HEAD", **how)

    def get(self, path, headers=(), **how):
        return self.request("GET", path, headers, **how)

    def post(self, body, content_type=FORM, path="/v1/images", headers=(), length=None, te=False, timeout_s=60, **how):
        """POST a body: bytes or an iterable of pieces. `te` sends it chunked; `length` overrides what is declared;
        `pause_s` (between pieces) and `stubborn` go to `raw`."""
        pieces = [body] if isinstance(body, bytes) else body
        fields = [*headers] + ([("Content-Type", content_type)] if content_type is not None else [])
        if te or (length is None and not isinstance(body, bytes)):
            fields.append(("Transfer-Encoding", "chunked"))
            pieces = chunked(pieces)
        else:
            fields.append(("Content-Length", str(len(body) if length is None else length)))

        def message():
            yield head("POST", path, fields, self.host)
            yield from pieces
        return self.raw(message(), timeout_s, **how)

    def post_parts(self, parts, **how):
        """POST a form of these parts."""
        return self.post(form(parts), **how)

    def upload(self, image=None, filename="normal.png", **how):
        """A normal upload, a form of one unique small PNG: the Answer."""
        return self.post_parts([file_part(image or self.png(), filename)], **how)

    def upload_ok(self, image=None, **how):
        """The same, which must be taken in: the JSON of the 202."""
        answer = self.upload(image, **how)
        if answer.status != 202:
            raise AssertionError(f"a normal upload was answered {answer}: {answer.body[:200]!r}")
        return answer.json()

    def final(self, upload_id, timeout_s=60):
        """The JSON of an upload once it is done."""
        deadline = time.monotonic() + timeout_s
        while True:
            told = self.get(f"/v1/uploads/{upload_id}?wait=5").json()
            if told.get("status") != "processing" or time.monotonic() > deadline:
                return told

    # --- images ---

    @staticmethod
    def png(total_bytes=2000):
        """A valid PNG of exactly this size, unlike any other."""
        return b"".join(common.png_pieces(total_bytes, os.urandom(16)))

    @staticmethod
    def jpeg(width_px, height_px, total_bytes):
        """A valid JPEG of this size, unlike any other."""
        return common.tagged(common.synthetic_jpeg(width_px, height_px, total_bytes), os.urandom(16))

    # --- looking and telling ---

    now = staticmethod(time.monotonic)

    def log(self):
        return (self.yard / "server.log").read_text(errors="replace")

    def note(self, text):
        """What was got, for the table."""
        if text not in self.notes:
            self.notes.append(text)

    def check(self, holds, what):
        """Remember a failure and go on."""
        if not holds:
            self.failures.append(what)
        return bool(holds)

    def statuses(self, named, expected):
        """Check {name: Answer} against one status or a set of them; notes how they fell."""
        allowed = {expected} if isinstance(expected, int) else set(expected)
        got = {}
        for name, answer in named.items():
            got[str(answer)] = got.get(str(answer), 0) + 1
            self.check(answer.status in allowed, f"{name}: {answer}")
        self.note(", ".join(f"{n} x {text}" if n > 1 else text for text, n in sorted(got.items())))


class Timeout(Exception):
    pass


def run_case(case_, binary, python, flags_known, brief=False):
    """Run one case and judge it: (result, failures, notes, seconds); result is ok, FAIL or skip."""
    begun = time.monotonic()
    c = Context(case_, binary, python, flags_known, brief)

    def alarm(*_):
        raise Timeout(f"not done after {case_.limit_s} s")
    signal.signal(signal.SIGALRM, alarm)
    signal.alarm(case_.limit_s)
    skipped = None
    try:
        try:
            if case_.start:
                c.start()
            case_.run(c)
        except Skip as reason:
            skipped = str(reason)
        except AssertionError as e:
            c.failures.append(str(e) or traceback.format_exc(limit=-1))
        except Exception as e:  # a case that breaks is a failed case, never a silent one
            c.failures.append(f"{type(e).__name__}: {e} ({traceback.extract_tb(e.__traceback__)[-1].name})")
        signal.alarm(240)
        if skipped is None and c.server is not None:
            try:
                c.failures += check_all(c)
            except Exception as e:
                c.failures.append(f"the invariants could not be checked: {type(e).__name__}: {e}")
    finally:
        signal.alarm(0)
        for service in c.services:
            service.kill()
        for undo in reversed(c.cleanups):
            undo()
        if c.failures and os.environ.get("KEEP_YARD"):
            print(f"kept: {c.yard}", file=sys.stderr)
        else:
            shutil.rmtree(c.yard, ignore_errors=True)
    if skipped is not None:
        return "skip", [], [skipped], time.monotonic() - begun
    if c.left_out:
        c.note(f"left out, unknown to this binary: {', '.join(sorted(c.left_out))}")
    return ("FAIL" if c.failures else "ok"), c.failures, c.notes, time.monotonic() - begun
