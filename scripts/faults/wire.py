"""Bytes to and from a server as a hostile client writes them: raw HTTP/1.1 exchanges, forms, chunked coding.

Knows HTTP and multipart syntax and how to break them; nothing of cases or of the service's insides.
"""
import json
import selectors
import socket
import struct
import time

BOUNDARY = "pixmill-fault-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


class Answer:
    """What came back: `status` is None when the connection ended without one, `error` says how (reset, closed, timeout)."""

    def __init__(self):
        self.status, self.headers, self.body = None, {}, b""
        self.interim, self.error, self.took_s, self.sent, self.closed = [], None, 0.0, 0, False
        self.rest = b""  # what followed the answer on the connection

    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The `code` of a problem, or None."""
        try:
            return self.json().get("code")
        except (ValueError, AttributeError):
            return None

    def __str__(self):
        if self.status is None:
            return f"no answer ({self.error})"
        return f"{self.status}{' ' + self.code if self.code else ''}"

    def feed(self, data, is_head=False, at_eof=False):
        """Parse `data` (all bytes so far); True when a whole final answer is there."""
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return False
            lines = data[:end].decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
            if 100 <= status < 200:
                if not self.interim or self.interim[-1] != (status, end):
                    self.interim.append((status, end))
                data = data[end + 4:]
                continue
            break
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers.setdefault(name.strip().lower(), value.strip())
        self.status, self.headers = status, headers
        rest = data[end + 4:]
        if is_head or status in (204, 304):
            self.rest = rest
            return True
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body, rest, whole = unchunk(rest)
            self.body, self.rest = body, rest
            return whole
        if "content-length" in headers:
            length = int(headers["content-length"])
            self.body, self.rest = rest[:length], rest[length:]
            return len(rest) >= length
        self.body = rest
        return at_eof


def unchunk(data):
    """(body, what follows, whether the last chunk came)."""
    body = b""
    while True:
        end = data.find(b"\r\n")
        if end < 0:
            return body, b"", False
        size = int(data[:end].split(b";")[0], 16)
        if size == 0:
            return body, data[end + 4:], len(data) >= end + 4
        body += data[end + 2:end + 2 + size]
        if len(data) < end + 4 + size:
            return body, b"", False
        data = data[end + 4 + size:]


class Wire:
    """One connection. Nothing is retried, nothing is hidden."""

    def __init__(self, address, timeout_s=30, receive_buffer=None):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout_s)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout_s, self.seen = timeout_s, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.sock.sendall(data)
        return self

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def answer(self, timeout_s=None, is_head=False):
        """Read until a whole answer, the end, or the time-out."""
        return self.exchange((), timeout_s, is_head)

    def exchange(self, pieces, timeout_s=None, is_head=False, pause_s=0, stubborn=False):
        """Write pieces and read at once; ends at a whole answer, at the end of the connection or after the time-out.
        `stubborn`: writes everything before it reads anything, as simple clients do."""
        a, begun = Answer(), time.monotonic()
        deadline = begun + (timeout_s or self.timeout_s)
        pieces, pending, not_before, data = iter(pieces), b"", 0, self.seen
        writing = True
        self.sock.setblocking(False)
        select = selectors.DefaultSelector()
        select.register(self.sock, selectors.EVENT_READ)
        try:
            while True:
                now = time.monotonic()
                if now > deadline:
                    a.error = "timeout"
                    break
                if writing and not pending and now >= not_before:
                    pending = next(pieces, None)
                    if pending is None:
                        writing, pending = False, b""
                    not_before = now + pause_s
                select.modify(self.sock, (0 if stubborn and writing else selectors.EVENT_READ) | (selectors.EVENT_WRITE if pending else 0))
                wait = min(deadline - now, max(0.0, not_before - now) if writing and not pending else 60)
                ready = select.select(max(0, wait))
                mask = ready[0][1] if ready else 0
                if mask & selectors.EVENT_READ:
                    try:
                        piece = self.sock.recv(1 << 18)
                    except BlockingIOError:
                        continue
                    except OSError as e:
                        a.error, a.closed = "reset" if isinstance(e, ConnectionResetError) else str(e), True
                        break
                    if not piece:
                        a.closed = True
                        if not a.feed(data, is_head, at_eof=True):
                            a.error = "closed"
                        break
                    data += piece
                    if a.feed(data, is_head):
                        break
                if mask & selectors.EVENT_WRITE and pending:
                    try:
                        n = self.sock.send(pending)
                        a.sent += n
                        pending = pending[n:]
                    except BlockingIOError:
                        pass
                    except OSError:
                        # The other end is closed for writing: what it said may still be read.
                        writing, pending = False, b""
        finally:
            select.close()
            self.sock.settimeout(self.timeout_s)
        if a.status is None and data:
            a.feed(data, is_head)
        self.seen = a.rest
        a.interim = [status for status, _ in a.interim]
        a.took_s = time.monotonic() - begun
        return a

    def closed_within(self, seconds):
        """Whether the other end closes the connection in this time; what it says before is dropped."""
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                self.sock.settimeout(left)
                if not self.sock.recv(1 << 16):
                    return True
        except socket.timeout:
            return False
        except OSError:
            return True
        return False

    def abort(self):
        """RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()


# --- requests and forms ------------------------------------------------------------------------------------------------

def head(method, path, headers, host="localhost"):
    """The head of a request; headers are (name, value) pairs, text or bytes, taken as they are."""
    lines = [f"{method} {path} HTTP/1.1".encode("latin-1"), b"Host: " + raw(host)]
    lines += [raw(n) + b": " + raw(v) for n, v in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def raw(text):
    return text if isinstance(text, bytes) else text.encode("utf-8")


def file_part(content, filename="cat.png", name="file", more=""):
    """(head, content) of a file part; `more` is further header lines."""
    return f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\n{more}', content


def text_part(name, value):
    return f'Content-Disposition: form-data; name="{name}"\r\n', raw(value)


def form(parts, boundary=BOUNDARY, end=True):
    """The bytes of a form; each part is (head lines, each ended by CRLF; content)."""
    mark = raw(boundary)
    body = b"".join(b"--" + mark + b"\r\n" + raw(h) + b"\r\n" + c + b"\r\n" for h, c in parts)
    return body + (b"--" + mark + b"--\r\n" if end else b"")


def chunked(pieces):
    """Pieces in chunked transfer coding, the last chunk included."""
    for p in pieces:
        if p:
            yield b"%x\r\n" % len(p) + p + b"\r\n"
    yield b"0\r\n\r\n"


def cut(data, size):
    """`data` in pieces of `size` bytes."""
    return (data[i:i + size] for i in range(0, len(data), size))


def repeated(block, total):
    """`total` bytes made of one block, without ever holding more than one."""
    while total > 0:
        yield block[:total]
        total -= len(block)
