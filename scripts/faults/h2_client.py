#!/usr/bin/env python3
"""HTTP/2 as a hostile client speaks it; run by cases_http2.py with a Python that has the h2 package. Prints one JSON object.

usage: h2_client.py MODE HOST PORT [NUMBER [PATH]]

Modes: rapid-reset, continuation, header-list, empty-data, pings, settings, window-updates, zero-window, uploads, stalled
"""
import json
import os
import pathlib
import select
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "measure"))
import common  # noqa: E402
import h2.config  # noqa: E402
import h2.connection  # noqa: E402
import h2.errors  # noqa: E402
import h2.events  # noqa: E402
import h2.settings  # noqa: E402
from hpack import Encoder  # noqa: E402
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame  # noqa: E402

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Flood:
    """A connection that writes frames of its own making and notes how the other end takes it."""

    def __init__(self, host, port):
        self.sock = socket.create_connection((host, port), 30)
        self.authority, self.encoder = f"{host}:{port}", Encoder()
        self.seen, self.sent_frames, self.closed, self.begun = b"", 0, None, time.monotonic()
        self.sock.sendall(PREFACE + SettingsFrame(0).serialize())

    def headers(self, method="GET", path="/healthz", more=()):
        fields = [(":method", method), (":scheme", "http"), (":authority", self.authority), (":path", path), *more]
        return self.encoder.encode(fields)

    def frames(self, frames, each=1):
        """Send frames (bytes, `each` of them in an item) until they or the connection end; reads, so that it is not us who block."""
        self.sock.setblocking(False)
        for item in frames:
            view = memoryview(item)
            while view and self.closed is None:
                readable, writable, _ = select.select([self.sock], [self.sock], [], 30)
                if not readable and not writable:
                    self.closed = "nothing moves for 30 s"
                if readable:
                    self.read()
                if writable and self.closed is None:
                    try:
                        view = view[self.sock.send(view):]
                    except BlockingIOError:
                        pass
                    except OSError as e:
                        self.closed = type(e).__name__
            if self.closed is not None:
                break
            self.sent_frames += each
        return self

    def read(self):
        try:
            piece = self.sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as e:
            self.closed = type(e).__name__
            return
        if not piece:
            self.closed = "closed"
        self.seen += piece
        if len(self.seen) > 1 << 22:  # acknowledgements without end, all of one size: the last ones are enough for what is asked
            self.seen = self.seen[-17 * 1000:] if self.seen[-17:][3] == 6 else self.seen[-9 * 1000:]

    def end(self, wait_s=5):
        """What the other end said in this time: GOAWAY's error or None, streams reset, answers begun, how it ended."""
        deadline = time.monotonic() + wait_s
        while self.closed is None and time.monotonic() < deadline:
            if select.select([self.sock], [], [], 0.2)[0]:
                self.read()
            if any(self.said().values()):
                deadline = min(deadline, time.monotonic() + 1)
        return {**self.said(), "closed": self.closed, "frames": self.sent_frames, "seconds": round(time.monotonic() - self.begun, 2)}

    def said(self):
        goaway, resets, headers, at = None, 0, 0, 0
        while at + 9 <= len(self.seen):
            length, kind = int.from_bytes(self.seen[at:at + 3], "big"), self.seen[at + 3]
            if kind == 7:
                code = int.from_bytes(self.seen[at + 13:at + 17], "big")
                goaway = h2.errors.ErrorCodes(code).name if code in set(h2.errors.ErrorCodes) else str(code)
            resets += kind == 3
            headers += kind == 1
            at += 9 + length
        return {"goaway": goaway, "resets": resets, "answers": headers}


def in_batches(frame, count, batch=1000):
    return (frame * batch for _ in range(count // batch))


def flooded(mode, host, port, count):
    f = Flood(host, port)
    if mode == "rapid-reset":
        f.frames(HeadersFrame(2 * i + 1, f.headers(), flags=["END_HEADERS", "END_STREAM"]).serialize() + RstStreamFrame(2 * i + 1, error_code=8).serialize()
                 for i in range(count))
    elif mode == "continuation":
        block = b"\0\1a" + b"\x7f\x80\x80\1" + b"x" * 16000  # a literal header; it does not matter that it goes on and on
        f.frames([HeadersFrame(1, f.headers(), flags=["END_STREAM"]).serialize()])
        f.frames(ContinuationFrame(1, block).serialize() for _ in range(count))
    elif mode == "header-list":
        data = f.headers(more=[(f"x-{i}", "y" * 1000) for i in range(count)])
        pieces = [data[i:i + 16000] for i in range(0, len(data), 16000)]
        f.frames([HeadersFrame(1, pieces[0], flags=["END_STREAM"] + (["END_HEADERS"] if len(pieces) == 1 else [])).serialize()])
        f.frames(ContinuationFrame(1, p, flags=["END_HEADERS"] if p is pieces[-1] else []).serialize() for p in pieces[1:])
    elif mode == "empty-data":
        f.frames([HeadersFrame(1, f.headers("POST", "/v1/images", [("content-type", "multipart/form-data; boundary=B")]), flags=["END_HEADERS"]).serialize()])
        f.frames(in_batches(DataFrame(1, b"").serialize(), count), 1000)
    elif mode == "pings":
        f.frames(in_batches(PingFrame(0, b"x" * 8).serialize(), count), 1000)
    elif mode == "settings":
        f.frames(in_batches(SettingsFrame(0, {4: 65535}).serialize(), count), 1000)
    elif mode == "window-updates":
        f.frames([HeadersFrame(1, f.headers("POST", "/v1/images", [("content-type", "multipart/form-data; boundary=B")]), flags=["END_HEADERS"]).serialize()])
        f.frames(in_batches(WindowUpdateFrame(0, window_increment=1).serialize() + WindowUpdateFrame(1, window_increment=1).serialize(), count), 2000)
    return f.end(40 if mode == "header-list" else 5)


class Client:
    """A well-spoken client on h2."""

    def __init__(self, host, port, settings=None):
        self.sock, self.authority = socket.create_connection((host, port), 60), f"{host}:{port}"
        self.conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        if settings:
            self.conn.local_settings = h2.settings.Settings(client=True, initial_values=settings)
        self.conn.initiate_connection()
        self.sock.sendall(self.conn.data_to_send())

    def open(self, method, path, fields=(), end=False):
        stream = self.conn.get_next_available_stream_id()
        self.conn.send_headers(stream, [(":method", method), (":scheme", "http"), (":authority", self.authority), (":path", path), *fields], end_stream=end)
        return stream

    def pump(self, wait_s):
        """Send what is to be sent, read what is there; the events, or None at the end of the connection."""
        self.sock.sendall(self.conn.data_to_send())
        if not select.select([self.sock], [], [], wait_s)[0]:
            return []
        data = self.sock.recv(1 << 18)
        if not data:
            return None
        events = self.conn.receive_data(data)
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.sock.sendall(self.conn.data_to_send())
        return events


def uploads(host, port, count, stalled):
    """`count` uploads of 200 KB at once on one connection, in turns; or all of them half-sent and then silent."""
    c = Client(host, port)
    while c.conn.remote_settings.max_concurrent_streams > 1 << 20:
        c.pump(1)
    waiting, left, status, done_at = list(range(count)), {}, {}, {}
    begun, most, reset = time.monotonic(), 0, 0
    mark = b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n"
    while (waiting or left or len(done_at) < len(status)) and time.monotonic() - begun < 90:
        while waiting and c.conn.open_outbound_streams < c.conn.remote_settings.max_concurrent_streams:
            waiting.pop()
            stream = c.open("POST", "/v1/images", [("content-type", "multipart/form-data; boundary=B")])
            left[stream] = mark + b"".join(common.png_pieces(200_000, os.urandom(16))) + b"\r\n--B--\r\n"
            status[stream] = None
            most = max(most, c.conn.open_outbound_streams)
        moved = False
        for stream in list(left):  # in turns: each a frame at a time
            room = min(c.conn.local_flow_control_window(stream), c.conn.max_outbound_frame_size, len(left[stream]))
            if stalled and len(left[stream]) < 100_000:
                continue
            if room > 0:
                piece, left[stream] = left[stream][:room], left[stream][room:]
                c.conn.send_data(stream, piece, end_stream=not left[stream])
                moved = True
                if not left[stream]:
                    del left[stream]
        events = c.pump(0 if moved else 0.2)
        if events is None:
            break
        for event in events:
            if isinstance(event, h2.events.ResponseReceived):
                status[event.stream_id] = dict(event.headers)[":status"]
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                reset += isinstance(event, h2.events.StreamReset)
                done_at[event.stream_id] = time.monotonic() - begun
                left.pop(event.stream_id, None)
        if stalled and not moved and not events and time.monotonic() - begun > 5:
            break
    codes = {}
    for s in status.values():
        codes[str(s)] = codes.get(str(s), 0) + 1
    first = sorted(done_at.values())
    return {"codes": codes, "most_streams": most, "resets": reset, "seconds": round(time.monotonic() - begun, 2),
            "first_done_s": round(first[0], 2) if first else None, "last_done_s": round(first[-1], 2) if first else None}


def zero_window(host, port, seconds, path):
    """Ask for a file on 20 streams and never give it room; answers pings all the while."""
    c = Client(host, port, {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    begun, got, resets, ended = time.monotonic(), 0, 0, None
    for _ in range(20):
        c.open("GET", path, end=True)
    while ended is None and time.monotonic() - begun < seconds and resets < 20:
        try:
            events = c.pump(1)
        except OSError as e:
            ended = type(e).__name__
            break
        if events is None:
            ended = "closed"
        for event in events or ():
            got += len(event.data) if isinstance(event, h2.events.DataReceived) else 0
            resets += isinstance(event, h2.events.StreamReset)
            if isinstance(event, h2.events.ConnectionTerminated):
                ended = f"GOAWAY {event.error_code}"
    return {"ended": ended, "resets": resets, "bytes": got, "seconds": round(time.monotonic() - begun, 1)}


def main():
    if len(sys.argv) < 4:
        print(__doc__)
        raise SystemExit(0 if {"-h", "--help"} & set(sys.argv) else 2)
    mode, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    number = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    if mode in ("uploads", "stalled"):
        told = uploads(host, port, number, mode == "stalled")
    elif mode == "zero-window":
        told = zero_window(host, port, number, sys.argv[5])
    else:
        told = flooded(mode, host, port, number)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
