"""Slow clients and clients that go away, B48-B50 and B55-B60: each has a time it may take, and leaves nothing behind."""
import csv
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

from harness import MIB, Skip, case, file_part, form, head, text_part
from wire import FORM

CROWD = ["--max-connections-per-client", "4096", "--max-uploads-per-client", "256"]


def slowhttptest(c, *arguments):
    """Run slowhttptest and give the rows of its CSV as dicts of numbers: Seconds, Closed, Pending, Connected, Service Available."""
    if not shutil.which("slowhttptest"):
        raise Skip("slowhttptest is not installed (Debian: slowhttptest)")
    out = c.yard / "tmp" / "slow"
    begun = time.monotonic()
    subprocess.run(["slowhttptest", *map(str, arguments), "-g", "-o", str(out), "-v", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    # It ends as soon as no connection is left, and writes a row every few seconds only: the last one may be from before.
    most_s = arguments[arguments.index("-l") + 1]
    ended_s = time.monotonic() - begun
    rows = [{k: int(v) for k, v in row.items()} for row in csv.DictReader(open(f"{out}.csv", encoding="ascii"))]
    for name in (f"{out}.csv", f"{out}.html"):
        os.unlink(name)
    if ended_s < most_s - 1 and rows[-1]["Connected"]:
        rows.append({**rows[-1], "Seconds": round(ended_s), "Connected": 0, "Closed": rows[-1]["Closed"] + rows[-1]["Connected"]})
    return rows


def staged_gone(c, what, within_s):
    deadline = time.monotonic() + within_s
    while c.server.staged() and time.monotonic() < deadline:
        time.sleep(0.02)
    c.check(not c.server.staged(), f"{what}: staged files after {within_s} s")


def half(c, total=4 * MIB, sent=MIB, fields=()):
    """A connection that has sent part of a good upload, which lies in staging."""
    image = c.png(total)
    body = form([file_part(image)])
    w = c.wire(60)
    w.send(head("POST", "/v1/images", [("Content-Type", FORM), ("Content-Length", str(len(body))), *fields], c.host) + body[:sent])
    return w, body[sent:]


def until_staged(c):
    deadline = time.monotonic() + 5
    while not c.server.staged() and time.monotonic() < deadline:
        time.sleep(0.005)
    c.check(c.server.staged(), "nothing is staged while an upload is under way: the case proves nothing")


@case("B48", "slow heads: slowhttptest -H, 1000 connections", expected="closed within 30 s; others served in < 100 ms", flags=CROWD, limit_s=240)
def slow_heads(c):
    with c.probe() as took:
        rows = slowhttptest(c, "-H", "-c", 1000, "-r", 500, "-i", 10, "-x", 1, "-l", 45, "-p", 5, "-u", c.server.url + "/v1/images", "-t", "POST")
    most = max(r["Connected"] for r in rows)
    late = [r for r in rows if r["Seconds"] >= 36]
    c.check(most > 500, f"only {most} connections came about")
    c.check(all(r["Connected"] == 0 for r in late), f"{late[-1]['Connected'] if late else '?'} connections are open after 36 s (they took some 3 s to make)")
    c.check(all(r["Service Available"] for r in rows), "slowhttptest found the service unavailable")
    c.check_quick("/healthz meanwhile", took, 100)
    begun, w = time.monotonic(), c.wire(60)
    w.send(b"POST /v1/ima")
    c.check(w.closed_within(32), "half a request line: open after 32 s")
    c.note(f"{most} connections, closed; half a line closed after {time.monotonic() - begun:.0f} s")


@case("B49", "slow bodies: slowhttptest -B, and a byte every 9 s", expected="408 or close by idle time-out and by minimum rate; staged file gone", flags=CROWD, limit_s=240)
def slow_bodies(c):
    dribbler, rest = half(c)
    until_staged(c)
    begun, answer = time.monotonic(), None
    with c.probe() as took:
        try:
            for i in range(10):
                answer = dribbler.exchange([rest[i:i + 1]], timeout_s=9)
                if answer.status or answer.closed:
                    break
        finally:
            dribbler.close()
    after = time.monotonic() - begun
    c.check(answer is not None and (answer.status == 408 or answer.closed), f"a byte every 9 s goes on after {after:.0f} s")
    c.note(f"a byte every 9 s: {answer} after {after:.0f} s")
    staged_gone(c, "a byte every 9 s", 2)
    with c.probe() as more:
        rows = slowhttptest(c, "-B", "-c", 200, "-r", 200, "-i", 9, "-x", 8, "-s", 1_000_000, "-l", 60, "-p", 5, "-u", c.server.url + "/v1/images", "-f", FORM)
    c.check(rows[-1]["Connected"] == 0, f"slowhttptest -B: {rows[-1]['Connected']} connections open after {rows[-1]['Seconds']} s")
    c.check_quick("/healthz meanwhile", took + more, 100)
    silent, _ = half(c)
    begun = time.monotonic()
    answer = silent.answer(timeout_s=45)
    c.check(answer.status == 408, f"a body that stops: {answer} after {time.monotonic() - begun:.0f} s")
    c.note(f"a body that stops: {answer} after {time.monotonic() - begun:.0f} s")


@case("B50", "slow readers of a result: slowhttptest -X", expected="write time-out; the others are not blocked", flags=[*CROWD, "--write-timeout", "5s"], limit_s=240)
def slow_readers(c):
    url = c.upload_ok(c.png(20 * MIB))["images"][0]["url"]
    path = url[url.index("/i/"):]
    c.quiet()
    with c.cost("slow readers", grow_mib=200):
        w = c.wire(60, receive_buffer=4096)
        w.send(head("GET", path, [], c.host))
        # Its own count goes by what it has read of its buffers; the server's descriptors say who is still served.
        still = []
        sampling = threading.Timer(30, lambda: still.append(c.vitals().fds - c.before.fds))
        sampling.start()
        with c.probe() as took:
            rows = slowhttptest(c, "-X", "-c", 200, "-r", 200, "-w", 512, "-y", 1024, "-n", 5, "-z", 32, "-k", 1, "-l", 40, "-p", 5, "-u", url)
            uploads = [c.upload() for _ in range(20)]
    c.check(all(a.status == 202 for a in uploads), "an upload beside slow readers was refused")
    sampling.join()
    c.check(still and still[0] <= 20, f"{still} descriptors more than before after 30 s of 200 slow readers")
    c.check_quick("/healthz meanwhile", took, 100)
    # A client that never read: what is in the buffers comes, then the end.
    got, begun = 0, time.monotonic()
    w.sock.settimeout(10)
    try:
        while piece := w.sock.recv(1 << 16):
            got += len(piece)
    except OSError:
        pass
    c.check(got < 20 * MIB, "a client that reads nothing for 40 s still gets everything")
    c.note(f"{max(r['Connected'] for r in rows)} slow readers, {still[0] if still else '?'} descriptors more than before after 30 s")


@case("B55 B56", "FIN and RST in mid-upload", expected="staged file gone within 1 s, no line above debug", quick=True)
def gone_in_the_middle(c):
    for what in ("FIN", "half-close", "RST"):
        lines = len(c.log().splitlines())
        w, _ = half(c)
        until_staged(c)
        if what == "RST":
            w.abort()
        elif what == "FIN":
            w.close()
        else:
            w.half_close()
        staged_gone(c, what, 1)
        w.close()
        time.sleep(0.1)
        new = c.log().splitlines()[lines:]
        c.check(not new, f"{what}: logged {new[:2]}")
    c.note("gone within 1 s, nothing logged")


@case("B57", "10 000 x connect, send half, go away", expected="descriptors, staged files, memory flat", quick=True, flags=CROWD, limit_s=300)
def many_aborts(c):
    body = form([file_part(c.png(60_000))])
    whole = head("POST", "/v1/images", [("Content-Type", FORM), ("Content-Length", str(len(body)))], c.host) + body
    begun, times = time.monotonic(), 1000 if c.brief else 10_000
    for i in range(times):
        s = socket.create_connection(c.address, 30)
        s.sendall(whole[:(20, 200, len(whole) // 2, len(whole) - 1)[i % 4]])
        if i % 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    staged_gone(c, f"{times} aborts", 5)
    c.note(f"{times} in {time.monotonic() - begun:.0f} s")


@case("B58", "gone between the last byte and the 202, then again", expected="with Idempotency-Key one upload; without, one blob", quick=True)
def lost_answers(c):
    for key in (True, False):
        before = c.server.json("/v1/stats")["uploads"]
        for i in range(20):
            image = c.png()
            body = form([file_part(image)])
            fields = [("Idempotency-Key", f"lost-{i}")] if key else []
            w = c.wire()
            w.send(head("POST", "/v1/images", [("Content-Type", FORM), ("Content-Length", str(len(body))), *fields], c.host) + body)
            w.abort() if i % 2 else w.close()
            again = c.post(body, headers=fields)
            c.check(again.status == 202, f"the retry was answered {again}")
        uploads = c.server.json("/v1/stats")["uploads"] - before
        c.check(uploads == 20 if key else 20 <= uploads <= 40, f"{uploads} uploads of 20 {'keys' if key else 'files sent twice'}")
        c.note(f"{'with' if key else 'without'} key: {uploads} uploads of 20 sent twice")


@case("B59", "an error in part 2 after part 1 is whole", expected="broken framing: nothing stored; a bad file: reported beside the good one", quick=True)
def second_part(c):
    before = c.server.json("/v1/stats")["uploads"]
    good = file_part(c.png(100_000), "good.png")
    broken = {"no end": form([good, file_part(c.png())], end=False), "header": form([good, ("nonsense\r\n", b"x")]), "unknown field": form([good, text_part("colour", "red")])}
    c.statuses({k: c.post(b) for k, b in broken.items()}, 400)
    w = c.wire()
    whole = form([good, file_part(c.png(50_000))])
    w.send(head("POST", "/v1/images", [("Content-Type", FORM), ("Content-Length", str(len(whole)))], c.host) + whole[:130_000])
    w.abort()
    staged_gone(c, "gone in part 2", 1)
    c.check(c.server.json("/v1/stats")["uploads"] == before, "something was stored")
    mixed = c.post_parts([good, file_part(b"no image", "bad.png")])
    told = mixed.json()
    c.check(mixed.status == 202 and len(told["images"]) == 1 and len(told["rejected"]) == 1, f"a good and a bad file: {mixed}")


@case("B60", "the client stops without a word (SIGSTOP)", expected="the idle time-out frees everything", flags=["--body-idle-timeout", "3s"])
def stopped_clients(c):
    children = []
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            try:
                w, rest = half(c)
                while True:
                    w.send(rest[:1000])
                    time.sleep(0.05)
            finally:
                os._exit(0)
        children.append(pid)
    try:
        until_staged(c)
        time.sleep(1)
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        staged_gone(c, "stopped clients", 8)
        c.note("20 stopped clients: staged files gone")
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
