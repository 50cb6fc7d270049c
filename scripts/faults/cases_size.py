"""Limits, size and backpressure, B61-B63 and B66-B69: what is too much is said early, what waits is bounded, what was
acknowledged is done exactly once."""
import multiprocessing
import os
import re
import sqlite3
import struct
import threading
import time
import zlib

import common
from harness import FORM, MIB, Skip, case, file_part, form, head, text_part
from wire import BOUNDARY, chunked

CROWD = ["--max-connections-per-client", "4096", "--max-uploads-per-client", "256"]
HEAVY = [text_part("variant", f"v{i}=w:{1500 + i}/bl:6/f:webp") for i in range(4)]


def grey_png(width_px, height_px):
    """A valid 8-bit PNG of one grey, unlike any other: some tens of KB, however many pixels."""
    rows = (b"\0" + b"\x80" * width_px) * 64
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(rows[:(width_px + 1) * min(64, height_px - y)]) for y in range(0, height_px, 64)) + packer.flush()
    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + common.chunk(b"IHDR", header) + common.chunk(common.PRIVATE, os.urandom(16)) + common.chunk(b"IDAT", data) + common.png_end())


@case("B61", "a file and a request of limit -1, 0, +1 byte", expected="202, 202, 413", quick=True, flags=["--max-file-bytes", "100000", "--max-request-bytes", "180000"])
def limits(c):
    for size, expected in ((99_999, 202), (100_000, 202), (100_001, 413)):
        image = c.png(size)
        got = {f"form, {size}": c.upload(image), f"form, chunked, {size}": c.upload(image, te=True), f"raw, {size}": c.request("PUT", "/v1/images/a.png", [], image),
               f"raw, chunked, {size}": c.post([image], "image/png", te=True)}
        c.statuses(got, expected)
    bare = len(form([file_part(b""), file_part(b"")]))
    for total, expected in ((179_999, 202), (180_000, 202), (180_001, 413)):
        body = form([file_part(c.png(90_000)), file_part(c.png(total - bare - 90_000))])
        assert len(body) == total
        c.statuses({f"request of {total}": c.post(body), f"request of {total}, chunked": c.post(body, te=True)}, expected)


@case("B62", "5 GB in chunks through a 10-MB limit", expected="413 after at most the limit and one buffer on disk", quick=True, flags=["--max-file-bytes", "10MB"])
def far_too_large(c):
    most, stop = [0], threading.Event()

    def watch():
        while not stop.is_set():
            most[0] = max([most[0], *c.server.staged()])
            time.sleep(0.001)
    watcher = threading.Thread(target=watch)
    watcher.start()
    block = common.chunk(common.PRIVATE, bytes(MIB))
    try:
        for what, before, content_type in (("raw", b"", "image/png"), ("form", form([file_part(b"")], end=False)[:-2], FORM)):
            def pieces(before=before):
                yield before + common.png_head()
                for _ in range(5000):
                    yield block
            with c.cost(what, grow_mib=16):
                answer = c.post(pieces(), content_type, te=True)
            c.check(answer.status == 413, f"{what}: {answer}")
            c.note(f"{what}: {answer} after {answer.sent / MIB:.0f} MiB")
    finally:
        stop.set()
        watcher.join()
    c.check(0 < most[0] <= 10_000_000 + (256 << 10), f"{most[0]} bytes were staged")
    c.note(f"{most[0]} bytes on disk")


def upload_in_two(c, total_bytes, progress=lambda sent: None):
    """Send a large PNG but for its last bytes; the connection and the tail."""
    before, after = form([file_part(b"", "large.png")], end=False)[:-2], f"\r\n--{BOUNDARY}--\r\n".encode()
    pieces = common.png_pieces(total_bytes, os.urandom(16))
    length = len(before) + total_bytes + len(after)
    w, sent = c.wire(120), 0
    w.send(head("POST", "/v1/images", [("Content-Type", FORM), ("Content-Length", str(length))], c.host) + before)
    tail = pieces.pop() + after
    for piece in pieces:
        view = memoryview(piece)
        for at in range(0, len(view), MIB):
            w.send(view[at:at + MIB])
            sent += len(view[at:at + MIB])
            progress(sent)
    return w, tail


@case("B63", "a 1-GB upload", expected="memory grows by less than 32 MiB; the staged file grows while the client sends", flags=["--max-file-bytes", "2GB"], limit_s=300)
def large_upload(c):
    behind, grown = [0], []

    def watch(sent):
        if sent >= (len(grown) + 1) * 32 * MIB:
            staged = sum(c.server.staged())
            behind[0] = max(behind[0], sent - staged)
            grown.append(staged)
    with c.cost("1 GB coming in", grow_mib=32) as cost:
        w, tail = upload_in_two(c, 1024 * MIB, watch)
        time.sleep(1)
    answer = w.send(tail).answer(timeout_s=60)
    c.check(answer.status == 202, f"{answer}")
    c.check(behind[0] <= 64 * MIB and len(set(grown)) > 20, f"the staged file is up to {behind[0] / MIB:.0f} MiB behind, seen at {len(set(grown))} sizes")
    c.note(f"{answer}, +{cost['grow_mib']:.0f} MiB, staged file at most {behind[0] / MIB:.0f} MiB behind")
    c.quiet()


@case("B66", "queue full", expected="503 with Retry-After before the body is read; nothing stored; recovers", flags=["--workers", "1", "--max-queued-jobs", "3", *CROWD])
def queue_full(c):
    refused, taken = None, 0
    for _ in range(12):
        answer = c.post_parts([*HEAVY, file_part(grey_png(3000, 3000))])
        if answer.status != 202:
            refused = answer
            break
        taken += 1
    if not c.check(refused is not None, f"{taken} uploads were taken with a limit of 3 waiting jobs"):
        return
    c.check(refused.status in (503, 429) and refused.headers.get("retry-after", "").isdigit(), f"{refused}, Retry-After {refused.headers.get('retry-after')}")
    before = c.server.json("/v1/stats")["uploads"]
    with c.wire(10) as w:
        w.send(head("POST", "/v1/images", [("Content-Type", FORM), ("Content-Length", "100000"), ("Expect", "100-continue")], c.host))
        early = w.answer()
    if c.server.json("/v1/stats")["queued_jobs"] >= 3:
        c.check(early.status == 503 and not early.interim, f"with Expect: {early}, interim {early.interim}")
        c.note(f"{early} before the body")
    c.check(c.server.json("/v1/stats")["uploads"] == before, "a refused upload was counted")
    c.check(c.get("/healthz").status == 200 and c.get("/v1/stats").status == 200, "reads are refused too")
    c.check(c.quiet(120), "the queue does not drain")
    c.check(c.upload().status == 202, "no recovery")
    c.note(f"{taken} taken, then {refused}, Retry-After {refused.headers.get('retry-after')}")


def burst(address, host, count, results):
    """A process that uploads small unique images on one connection; tells (codes, ids)."""
    connection, codes, ids = common.Connection(*address, timeout_s=60), {}, []
    for _ in range(count):
        body = form([text_part("variant", "t=w:16/f:png"), file_part(b"".join(common.png_pieces(900, os.urandom(16))))])
        try:
            code, told = connection.roundtrip(head("POST", "/v1/images", [("Content-Type", FORM), ("Content-Length", str(len(body)))], host) + body)
            ids += re.findall(rb'"id":"([0-9a-f-]{36})","status"', told)[:1] if code == 202 else []
        except OSError:
            code = 0
            connection.close()
        codes[code] = codes.get(code, 0) + 1
    results.put((codes, ids))


@case("B67", "10 000 small uploads at once", expected="every 202 processed exactly once; polls < 50 ms all the while", flags=CROWD, limit_s=600, log_kib=16384, rss_mib=64)
def burst_of_uploads(c):
    fork, watched = multiprocessing.get_context("fork"), c.upload_ok()["id"]
    results = fork.Queue()
    c.quiet()
    before = c.server.json("/v1/stats")
    senders = [fork.Process(target=burst, args=(c.address, c.host, 625, results), daemon=True) for _ in range(16)]
    with c.probe(f"/v1/uploads/{watched}") as took:
        for s in senders:
            s.start()
        told = [results.get(timeout=500) for _ in senders]
        c.check(c.quiet(120), "jobs are open two minutes later")
    codes, ids = {}, [i for _, some in told for i in some]
    for some, _ in told:
        for code, n in some.items():
            codes[code] = codes.get(code, 0) + n
    c.check(codes == {202: 10_000} and len(set(ids)) == 10_000, f"answers {codes}, {len(set(ids))} ids")
    after = c.server.json("/v1/stats")
    done = {k: after[k] - before[k] for k in ("uploads", "completed_tasks", "failed_tasks")}
    c.check(done == {"uploads": codes.get(202), "completed_tasks": codes.get(202), "failed_tasks": 0}, f"{done}")
    db = sqlite3.connect(f"file:{c.server.data_dir / 'catalog.db'}?mode=ro", uri=True, timeout=10)
    jobs = dict(db.execute("SELECT state || ' ' || attempt, count(*) FROM jobs GROUP BY 1"))
    db.close()
    c.check(set(jobs) == {"completed 1"}, f"jobs by state and attempt: {jobs}")
    # A probe shares two cores with sixteen senders: its own wait for a core is in these figures.
    c.check_quick("a poll", took, 50)
    c.note(f"{codes.get(202)} x 202, jobs {jobs}")


@case("B68", "the pool saturated by 50-MP images", expected="/healthz, reads and small uploads unaffected", quick=True, flags=CROWD, rss_mib=200, limit_s=240)
def saturated(c):
    small = c.upload_ok()["images"][0]["url"]
    path = small[small.index("/i/"):]
    c.quiet()
    image = grey_png(8200, 6100)

    def keep_waiting():
        """Three heavy jobs waiting or at work, however fast this machine ends them."""
        stats = c.server.json("/v1/stats")
        for _ in range(3 - stats["queued_jobs"] - stats["running_jobs"]):
            tagged = image[:33] + common.chunk(common.PRIVATE, os.urandom(16)) + image[33:]
            answer = c.post_parts([*HEAVY, file_part(tagged)])
            c.check(answer.status == 202, f"50 MP: {answer}")

    with c.probe() as health, c.probe(path) as reads:
        latencies, busy = [], 0
        for _ in range(10):
            keep_waiting()
            busy += c.server.json("/v1/stats")["running_jobs"] > 0
            begun = time.monotonic()
            answer = c.upload()
            latencies.append((time.monotonic() - begun) * 1000)
            c.check(answer.status == 202, f"a small upload: {answer}")
            time.sleep(0.1)
    c.check(busy > 5, f"the pool was at work for {busy} of 10 looks only")
    c.check_quick("/healthz", health, 100)
    c.check_quick("a read", reads, 100)
    c.check_quick("an upload", latencies, max(250, 4000 * c.usual_s), 0.9)
    c.quiet(180)


@case("B69", "one client with 1000 jobs, another with one", expected="the second one's wait is bounded", quick=True)
def fair_queue(c):
    raise Skip("clients are told apart by address, and this driver has one; the test in Rust is many behind a proxy")


@case("B41", "1 MB in one-byte chunks", expected="202; four times the chunks cost at most six times the CPU", quick=True)
def tiny_chunks(c):
    spent = []
    for size in (MIB // 4, MIB):
        body = form([file_part(c.png(size))])
        text = b"".join(chunked(body[i:i + 1] for i in range(len(body))))
        with c.cost(f"{size >> 10} KiB in one-byte chunks", grow_mib=16) as cost:
            answer = c.raw([head("POST", "/v1/images", [("Content-Type", FORM), ("Transfer-Encoding", "chunked")], c.host), text])
        c.check(answer.status == 202, f"{answer}")
        spent.append(cost["cpu_s"])
    c.check(spent[1] <= 6 * max(spent[0], 0.2), f"{spent[0]:.2f} s of CPU for a quarter, {spent[1]:.2f} for the whole")
    c.note(f"{answer}, {spent[0]:.2f} s CPU for a quarter of it, {spent[1]:.2f} for all")
