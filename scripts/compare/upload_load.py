"""The client side of `uploads`: what is sent, by forked senders on raw sockets, and what it cost the server.

Small bodies are made before the clock starts; large files go out by sendfile from the page cache, so that a sender
costs a small part of what any of the servers does (its CPU is told with each figure). Linux only, standard library only.
"""
import ctypes
import hashlib
import json
import multiprocessing
import os
import pathlib
import platform
import re
import subprocess
import sys
import time
import urllib.request

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / "scripts/measure"), str(REPO / "scripts/compare")]
import common  # noqa: E402
from drain import tree, usage  # noqa: E402

CORES = len(os.sched_getaffinity(0))
PATH = "/v1/images"  # the peers answer there, too: every server gets the same bytes
VERSIONS = """
import importlib.metadata as m, platform
names = "aiohttp fastapi starlette uvicorn uvloop httptools python-multipart streaming-form-data sanic".split()
print("Python " + platform.python_version(), *(n + " " + m.version(n) for n in names), sep=", ")
"""
TAG_AT = len(common.png_head())
BEFORE, AFTER = common.multipart_around("photo.png", content_type="image/png")


def head(body_bytes):
    return (f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {common.MULTIPART}\r\n"
            f"Content-Length: {body_bytes}\r\n\r\n").encode()


def small_png(size, number):
    """A valid PNG of `size` bytes, another for each number; most of it noise, as a photo's bytes are."""
    start = common.png_head() + common.chunk(common.PRIVATE, number.to_bytes(16, "big"))
    rest = size - len(start) - len(common.png_end()) - 12
    return start + common.chunk(common.PRIVATE, os.urandom(rest)) + common.png_end()


def message(file):
    """The bytes of a whole request."""
    return head(len(BEFORE) + len(file) + len(AFTER)) + BEFORE + file + AFTER


class Small:
    """`count` files of `size` bytes, all in memory, shared out to `connections` keep-alive connections."""

    def __init__(self, count, size, connections):
        self.count, self.size, self.repeats, self.kept, self.sha256 = count, size, 1, True, None
        messages = [message(small_png(size, n)) for n in range(count)]
        self.shares = [messages[i::connections] for i in range(connections)]
        self.title = f"{count} files of {size // 1000} KB, {connections} connections"

    def renew(self):
        """Each server starts on an empty folder and gets this load once: the bytes are new to it."""

    def send(self, connection, message):
        return connection.roundtrip(message)


class Large:
    """`count` files of `size` bytes on disk; `connections` = 1 sends them one after another, else all at once."""

    def __init__(self, folder, name, count, size, connections, repeats, title):
        self.count, self.size, self.repeats, self.kept, self.title = count, size, repeats, False, title
        self.paths = [folder / f"{name}{i}" for i in range(count)]
        for path in self.paths:
            with open(path, "wb") as out:
                for piece in common.png_pieces(size, os.urandom(16)):
                    out.write(piece)
        self.shares = [self.paths[i::connections] for i in range(connections)]
        self.sha256 = sha256(self.paths[0]) if count == repeats == 1 else None

    def renew(self):
        """Other bytes in every file, where a server gets them more than once: a content seen before would spare ours the writing."""
        for path in self.paths if self.repeats > 1 else ():
            with open(path, "r+b") as out:
                out.seek(TAG_AT)
                out.write(common.chunk(common.PRIVATE, os.urandom(16)))

    def send(self, connection, path):
        if connection.sock is None:
            connection.open()
        connection.sock.sendall(head(len(BEFORE) + self.size + len(AFTER)) + BEFORE)
        with open(path, "rb") as source:
            at = 0
            while at < self.size:
                at += os.sendfile(connection.sock.fileno(), source.fileno(), at, self.size - at)
        return connection.roundtrip(AFTER)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as source:
        while piece := source.read(common.MIB):
            digest.update(piece)
    return digest.hexdigest()


def sender(load, share, port, start_at, results):
    """One connection; tells (end, own CPU seconds, what went wrong)."""
    wrong, own = None, time.process_time()
    try:
        connection = common.Connection("127.0.0.1", port, None).open()  # no timeout: each would cost a poll per call
        time.sleep(max(0, start_at - time.monotonic()))
        for item in share:
            status, body = load.send(connection, item)
            if status != 202:
                raise ConnectionError(f"answered {status} {body[:200]!r}")
    except OSError as error:
        wrong = str(error)
    results.put((time.monotonic(), time.process_time() - own, wrong))


def run(load, server):
    """Send a load once; its figures. Stops everything when one answer is not 202 or one file is not there whole."""
    load.renew()
    os.sync()  # what was written before must not be this server's to write
    before = sizes(server.root).count(load.size)
    for pid in tree(server.pid):
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")  # high-water marks back to what is resident (proc(5))
    fork = multiprocessing.get_context("fork")
    results, start_at = fork.Queue(), time.monotonic() + 0.1
    senders = [fork.Process(target=sender, args=(load, share, server.port, start_at, results), daemon=True) for share in load.shares]
    cpu_before = usage(server.pid)[0]
    for s in senders:
        s.start()
    told = [results.get(timeout=300) for _ in senders]
    cpu, peak = usage(server.pid)
    for s in senders:
        s.join()
    for _, _, wrong in told:
        if wrong:
            raise SystemExit(f"{server.name}, {load.title}: {wrong}: no figure\n{server.log_tail()}")
    server.settle()
    there = sizes(server.root)
    if there.count(load.size) - before != load.count:
        raise SystemExit(f"{server.name}, {load.title}: {there.count(load.size) - before} files of {load.size} bytes are there, wanted {load.count}")
    arrived = [f for f in files(server.root) if f.stat().st_size == load.size]
    if load.sha256 and load.sha256 not in [sha256(f) for f in arrived]:
        raise SystemExit(f"{server.name}, {load.title}: the file that arrived is another: no figure")
    if not load.kept:
        for path in arrived:
            path.unlink()  # few inodes, and pages that need not be written any more
    return {"wall_s": max(t[0] for t in told) - start_at, "cpu_s": cpu - cpu_before, "peak_mib": peak / common.MIB,
            "client_cpu_s": sum(t[1] for t in told), "bytes": load.count * load.size, "requests": load.count}


def files(root):
    return [p for p in pathlib.Path(root).glob("**/*") if p.is_file()]


def sizes(root):
    return [p.stat().st_size for p in files(root)]


def create_us(root, count=200):
    """Microseconds to create an empty file now: ext4 passes over recently freed inodes one by one, which falls on whoever comes then."""
    folder = root / "probe"
    folder.mkdir()
    start = time.monotonic()
    for n in range(count):
        os.close(os.open(folder / str(n), os.O_CREAT | os.O_WRONLY))
    return (time.monotonic() - start) / count * 1e6


class Held:
    """Our image threads brought to a stop (ptrace(2)), each with a job in its hands: the server takes uploads in and nothing else.

    No setting does this: every upload has a job. Needs to be the server's parent, or root. `release` after the server was killed.
    """

    SEIZE, INTERRUPT, WAIT_ALL = 0x4206, 0x4207, 0x40000000

    def __init__(self, server):
        ptrace = ctypes.CDLL(None, use_errno=True).ptrace
        ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self.threads, self.ptrace = [], ptrace
        for task in pathlib.Path(f"/proc/{server.pid}/task").iterdir():
            if (task / "comm").read_text().startswith("pixmill-work"):
                self.threads.append(int(task.name))

    def take(self, server):
        """Stop the threads, then send an image for each: no other job is begun while their cores are taken."""
        for tid in self.threads:
            if self.ptrace(self.SEIZE, tid, None, None) or self.ptrace(self.INTERRUPT, tid, None, None):
                raise SystemExit(f"cannot hold the image threads: {os.strerror(ctypes.get_errno())}")
        connection = common.Connection("127.0.0.1", server.port)
        for n, _ in enumerate(self.threads):
            connection.roundtrip(message(small_png(19_999, n)))
        connection.close()
        deadline = time.monotonic() + 10
        while stats(server.port)["running_jobs"] != len(self.threads) or not self.threads:
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(self.threads)} image threads held, but {stats(server.port)['running_jobs']} jobs in their hands")
            time.sleep(0.02)

    def release(self):
        """A killed thread stays until its tracer has seen its end."""
        for tid in self.threads:
            try:
                while os.WIFSTOPPED(os.waitpid(tid, self.WAIT_ALL)[1]):
                    pass
            except ChildProcessError:
                pass


def stats(port):
    return json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/stats"))


def disk_of(path):
    """File system and device under a path, such as `ext4 on vda (rotational 0; rw)`."""
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in open("/proc/self/mountinfo"):
        found = re.match(r"\d+ \d+ (\S+) \S+ (\S+) .* - (\S+) (\S+) (\S+)", line)
        if found and found[1] == number:
            name = os.path.basename(os.path.realpath(f"/sys/dev/block/{number}"))
            turns = pathlib.Path(f"/sys/block/{name}/queue/rotational")
            kind = turns.read_text().strip() if turns.exists() else "unknown"
            return f"{found[3]} on {name or found[4]} (rotational {kind}; {found[5]})"
    return "unknown"


def machine(args, folder):
    """What the figures were taken on and with."""
    def said(*command):
        try:
            return subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return "not there"
    peers = pathlib.Path(args.peers).resolve()
    busboy = peers / "node_modules/busboy/package.json"
    cpu = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {"processor": f"{cpu[0] if cpu else platform.machine()}, {CORES} cores", "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
            "kernel": platform.release(), "disk": disk_of(folder), "ours": said(args.binary, "--version"),
            "python_peers": said(peers / "venv/bin/python", "-c", VERSIONS),
            "node_peer": f"Node {said('node', '--version')}, busboy {json.loads(busboy.read_text())['version'] if busboy.exists() else 'not there'}"}
