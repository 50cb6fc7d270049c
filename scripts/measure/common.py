"""What the measuring scripts share: starting and stopping a server, making valid images of any size, figures.

Knows the HTTP contract and nothing of the service's insides, but for the folder name `staging` and what Linux
tells in /proc. Everything it writes lies under target/measure, on the same disk as the build: /tmp may be memory,
where a sync costs nothing. Python >= 3.9, standard library only.
"""
import argparse
import atexit
import http.client
import json
import math
import os
import pathlib
import platform
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib

REPO = pathlib.Path(__file__).resolve().parents[2]
MIB = 1 << 20
TWO_THUMBS = ("small=rs:fit:320:320/f:jpg/q:80", "large=rs:fit:1280:1280/f:jpg/q:80")


def arguments(doc):
    """The parser every script starts from."""
    ap = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--binary", default=os.environ.get("PIXMILL_BINARY", REPO / "target/release/pixmill"),
                    help="the server to measure (default: target/release/pixmill, or PIXMILL_BINARY)")
    ap.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    return ap


def scratch(prefix):
    """A fresh folder on the build's disk; the caller removes it."""
    root = REPO / "target/measure"
    root.mkdir(parents=True, exist_ok=True)
    return pathlib.Path(tempfile.mkdtemp(prefix=prefix + "-", dir=root))


def remove_at_exit(path):
    """Remove a folder when the script ends, not before: ext4 passes over inodes that were freed within the last minutes
    one by one, so thousands of files removed between two rounds make every new file of the next round dear."""
    atexit.register(shutil.rmtree, path, ignore_errors=True)


class Server:
    """A server process on a port of its own choosing, with its own data folder; `with Server(args) as s:`."""

    def __init__(self, binary, *flags, data_dir=None):
        if not os.access(binary, os.X_OK):
            raise SystemExit(f"{binary} is not there: build it first (cargo build --release)")
        self.binary, self.flags = str(binary), [str(f) for f in flags]
        self.owned = data_dir is None
        self.data_dir = pathlib.Path(data_dir) if data_dir else scratch("data")
        self.log_path = pathlib.Path(str(self.data_dir) + ".log")
        self.process = None

    def launch(self):
        """Start the process and return at once."""
        # Settings of the caller's shell must not leak into what is measured.
        env = {k: v for k, v in os.environ.items() if not k.startswith("PIXMILL_")}
        # Standard output goes to a file: a pipe that nobody reads would stop the server.
        self.log = open(self.log_path, "wb")
        self.process = subprocess.Popen(
            [self.binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", str(self.data_dir), *self.flags],
            stdout=self.log, stderr=subprocess.STDOUT, env=env)
        self.pid = self.process.pid

    def start(self, timeout_s=30):
        """Start, wait for the line that names the address, return self."""
        self.launch()
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = re.search(rb"pixmill listening on http://([0-9.]+):(\d+)\s", self.log_path.read_bytes())
            if found:
                self.host, self.port = found[1].decode(), int(found[2])
                self.url = f"http://{self.host}:{self.port}"
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.002)
        self.kill()
        raise SystemExit(f"the server did not start:\n{self.log_path.read_text(errors='replace')[-2000:]}")

    def kill(self):
        """SIGKILL, as a crash would be."""
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()
            self.log.close()

    def stop(self):
        """SIGTERM; the exit code (SIGKILL after 30 s)."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        self.log.close()
        return self.process.returncode

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        # What waits in the queue is of no interest any more, so no grace is given.
        self.kill()
        if self.owned:
            remove_at_exit(self.data_dir)
            self.log_path.unlink()

    def call(self, method, path, body=None, headers=(), timeout_s=60):
        """One request on a connection of its own: (status, headers, body)."""
        c = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        try:
            c.request(method, path, body, dict(headers))
            r = c.getresponse()
            return r.status, r.headers, r.read()
        finally:
            c.close()

    def json(self, path):
        """The JSON of a GET that must succeed."""
        status, _, body = self.call("GET", path)
        if status != 200:
            raise SystemExit(f"GET {path}: {status} {body[:300]!r}")
        return json.loads(body)

    def wait_idle(self, timeout_s=300):
        """Until no job waits or runs, so that one round's work does not weigh on the next."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            stats = self.json("/v1/stats")
            if stats["queued_jobs"] + stats["running_jobs"] == 0:
                return
            time.sleep(0.02)
        raise SystemExit(f"jobs still open after {timeout_s} s")

    def memory(self):
        """(resident bytes now, highest since the last `reset_peak`)."""
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return tuple(int(re.search(rf"{k}:\s+(\d+)", text)[1]) * 1024 for k in ("VmRSS", "VmHWM"))

    def reset_peak(self):
        """Set the kernel's high-water mark back to what is resident now (proc(5), clear_refs)."""
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def staged(self):
        """Bytes of each file being staged, whether it has a name in the folder or only a descriptor."""
        found = {}
        for entry in (self.data_dir / "staging").glob("**/*"):
            try:
                s = entry.stat()
                if entry.is_file():
                    found[s.st_ino] = s.st_size
            except OSError:
                pass  # renamed away meanwhile
        for fd in pathlib.Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                if "/staging/" in os.readlink(fd):
                    s = fd.stat()
                    found[s.st_ino] = s.st_size
            except OSError:
                pass
        return list(found.values())


class Connection:
    """A keep-alive HTTP/1.1 connection that costs the client as little as Python allows."""

    def __init__(self, host, port, timeout_s=60):
        self.address, self.timeout_s = (host, port), timeout_s
        self.sock = None

    def open(self):
        """Connect now, so that the first request does not pay for it."""
        self.sock = socket.create_connection(self.address, self.timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def roundtrip(self, message):
        """Send the bytes of one whole request; (status, body) of its answer."""
        if self.sock is None:
            self.open()
        self.sock.sendall(message)
        data = b""
        while True:
            piece = self.sock.recv(65536)
            if not piece:
                raise ConnectionError("the server closed the connection before it had answered")
            data += piece
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                break
        head = data[:end].lower()
        length = re.search(rb"content-length: *(\d+)", head)
        want = end + 4 + (int(length[1]) if length else 0)
        while len(data) < want:
            piece = self.sock.recv(65536)
            if not piece:
                raise ConnectionError("the answer broke off")
            data += piece
        if b"connection: close" in head:
            self.close()
        return int(head[9:12]), data[end + 4:]

    def close(self):
        if self.sock:
            self.sock.close()
            self.sock = None


def request(method, path, host, body=b"", content_type=None):
    """The bytes of a request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n"
    if content_type:
        head += f"Content-Type: {content_type}\r\n"
    if body or method != "GET":
        head += f"Content-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


BOUNDARY = "------------------------pixmillmeasure01"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


def multipart_around(filename, fields=(), content_type="application/octet-stream"):
    """(before, after) of a one-file form as curl -F writes it; `fields` are (name, value)."""
    text = "".join(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields)
    file_head = (f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
                 f"Content-Type: {content_type}\r\n\r\n")
    return (text + file_head).encode(), f"\r\n--{BOUNDARY}--\r\n".encode()


# --- images ---------------------------------------------------------------------------------------------------------

def chunk(kind, data):
    """A PNG chunk (PNG, third edition, 5.3)."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


PRIVATE = b"pmFl"  # ancillary, private, safe to copy: every reader must step over it


def png_head(width_px=64, height_px=64, seed=1):
    """Signature, IHDR and IDAT of a small RGB8 picture; `png_end()` or private chunks may follow."""
    rng = random.Random(seed)
    stride = bytes(range(0, 240, 5)) * (width_px * 3 // 48 + 2)
    rows = b"".join(b"\0" + stride[rng.randrange(40):][:width_px * 3] for _ in range(height_px))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 1)))


def png_end():
    """IEND."""
    return chunk(b"IEND", b"")


def png_pieces(total_bytes, tag):
    """A valid PNG of exactly `total_bytes` as a list of pieces; `tag` (16 bytes) makes it unlike any other.

    One random 16 MiB chunk is repeated, so a gigabyte costs neither time nor memory to make.
    """
    head = png_head() + chunk(PRIVATE, tag)
    left = total_bytes - len(head) - len(png_end())
    pieces = [head]
    # Made only for those who need it: it costs a tenth of a second.
    block = chunk(PRIVATE, random.Random(7).randbytes(16 * MIB)) if left > 16 * MIB else bytes(16 * MIB)
    # The last filler takes the rest and must have room for its own 12 bytes of framing.
    while left >= len(block) + 12:
        pieces.append(block)
        left -= len(block)
    pieces.append(chunk(PRIVATE, os.urandom(left - 12)))
    pieces.append(png_end())
    return pieces


def synthetic_jpeg(width_px, height_px, total_bytes, seed=1):
    """A valid baseline 4:2:0 JPEG of exactly `total_bytes` that costs a decoder what a photo of this weight costs.

    No photo of the wanted size need be shipped: coefficients are drawn at random and written with Huffman tables of
    our own (ITU-T T.81 annexes C and F). The first segment is a comment of 16 bytes at `TAG_AT`, for `tagged`.
    """
    rng = random.Random(seed)
    # Code lengths 1, 3, 3, 3, 4; the all-ones code stays unused as T.81 demands.
    codes = ("0", "100", "101", "110", "1110")
    dc = dict(zip((0, 1, 2, 3, 4), codes))
    ac = dict(zip((0x00, 0x01, 0x02, 0x11, 0x21), codes))
    table = bytes([1, 0, 3, 1] + [0] * 12)

    def bits(value):
        size = abs(value).bit_length()
        return size, format(value if value > 0 else value + (1 << size) - 1, f"0{size}b") if size else ""

    def block(diff, budget_bits):
        size, extra = bits(diff)
        text, at = dc[size] + extra, 1
        budget_bits -= len(text) + 1
        # Chance rounds, so that a budget of less than one coefficient still becomes one in some blocks.
        while at < 61 and budget_bits > rng.random() * 4.4:
            symbol = rng.choice((0x01, 0x01, 0x01, 0x02, 0x11, 0x21))
            _, extra = bits(rng.choice((-1, 1)) * ((symbol & 15) + (symbol & 15 == 2 and rng.randrange(2))))
            text += ac[symbol] + extra
            budget_bits -= len(ac[symbol] + extra)
            at += (symbol >> 4) + 1
        return text + ac[0]

    mcus_wide, mcus_high = -(-width_px // 16), -(-height_px // 16)
    mcus = mcus_wide * mcus_high
    head = b"\xff\xd8" + b"\xff\xfe\0\x12" + bytes(16)
    head += b"\xff\xdb\0\x43\0" + bytes([12] + [10] * 63)
    head += b"\xff\xc0\0\x11\x08" + struct.pack(">HH", height_px, width_px) + b"\x03\x01\x22\0\x02\x11\0\x03\x11\0"
    head += b"\xff\xc4" + struct.pack(">H", 19 + 5) + b"\0" + table + bytes(dc)
    head += b"\xff\xc4" + struct.pack(">H", 19 + 5) + b"\x10" + table + bytes(ac)
    scan = b"\xff\xda\0\x0c\x03\x01\0\x02\0\x03\0\0\x3f\0"
    fixed = len(head) + len(scan) + 2
    per_block = (total_bytes * 0.985 - fixed) * 8 / mcus / 6
    if per_block < 2.5:
        raise SystemExit(f"{total_bytes} bytes are too few for {width_px}x{height_px} pixels")
    pool = []
    for _ in range(600):
        a, b = rng.randrange(-7, 8), rng.randrange(-7, 8)
        # The differences of one unit add up to nothing, so brightness does not drift; chroma lives in its AC terms.
        diffs = (a, b, -a, -b, 0, 0) if per_block > 6 else (0,) * 6
        pool.append("".join(block(d, per_block) for d in diffs))
    text = "".join(rng.choices(pool, k=mcus))
    text += "1" * (-len(text) % 8)
    data = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    rest = total_bytes - fixed - len(data)
    if rest < 4:
        # Stuffed bytes and chance took more than the margin: another draw, never a wrong size.
        return synthetic_jpeg(width_px, height_px, total_bytes, seed + 1) if seed < 50 else _too_tight(total_bytes)
    comments = b""
    while rest:
        size = min(rest, 65537)
        # What is left must be nothing or hold a whole comment: marker and length are 4 bytes.
        size -= 4 if 0 < rest - size < 4 else 0
        comments += b"\xff\xfe" + struct.pack(">H", size - 2) + bytes(size - 4)
        rest -= size
    return head + comments + scan + data + b"\xff\xd9"


def _too_tight(total_bytes):
    raise SystemExit(f"no JPEG of {total_bytes} bytes came out in fifty tries")


TAG_AT = 6


def tagged(jpeg, tag):
    """The same JPEG with other bytes in its first comment: another file for every cache and every hash."""
    return jpeg[:TAG_AT] + tag + jpeg[TAG_AT + 16:]


def with_comment(jpeg):
    """Any JPEG with room for `tagged` right after its SOI."""
    return jpeg[:2] + b"\xff\xfe\0\x12" + bytes(16) + jpeg[2:]


def corpus_photo(name):
    """The bytes of a photo in PIXMILL_CORPUS/large-photos, or None."""
    root = os.environ.get("PIXMILL_CORPUS")
    path = pathlib.Path(root) / "large-photos" / name if root else None
    return path.read_bytes() if path and path.is_file() else None


# --- figures --------------------------------------------------------------------------------------------------------

def quantile(values, q):
    """The smallest value that at least q of all are not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def median(values):
    """Of an even number the lower one."""
    return quantile(values, 0.5)


def report(args, name, rows, verdicts):
    """Print figures. `rows`: {label: text or number}; `verdicts`: [(what, value, limit, unit, "max" or "min")]."""
    judged = [{"what": w, "value": round(v, 3), "limit": round(limit, 3), "unit": unit, "bound": bound,
               "ok": v <= limit if bound == "max" else v >= limit} for w, v, limit, unit, bound in verdicts]
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "machine": platform.machine()}
    if args.json:
        print(json.dumps({"name": name, "figures": rows, "targets": judged, "machine": machine}))
        return
    print(f"{name}: {machine['cores']} cores, kernel {machine['kernel']}")
    width = max(map(len, rows), default=0)
    for label, value in rows.items():
        print(f"  {label:<{width}}  {value}")
    for j in judged:
        sign = "<=" if j["bound"] == "max" else ">="
        print(f"  {'ok   ' if j['ok'] else 'SHORT'} {j['what']}: {j['value']} {j['unit']} (target {sign} {j['limit']} {j['unit']})")


def say(text):
    """Progress, on standard error so that --json stays clean."""
    print(text, file=sys.stderr, flush=True)
