"""Multipart framing as a whole, B1-B16 and B30: what is broken is refused, what is whole is kept to the byte, and both cost
linear time and constant memory."""
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys

import common
from harness import MIB, case, cut, file_part, form, repeated, text_part
from wire import BOUNDARY

# What may arrive before framing without an end is refused: 64 KiB, the server's read buffer, and what is under way.
FRAMING_MOST = (64 + 64 + 2 * 16) * 1024


def boxed(*blocks):
    """A PNG that holds these bytes in private chunks, which every reader must step over and a store must keep."""
    tag = common.chunk(common.PRIVATE, os.urandom(16))
    return common.png_head() + tag + b"".join(common.chunk(common.PRIVATE, b) for b in blocks) + common.png_end()


def paced(c, before, block, total):
    """POST `before` and then `total` bytes of `block`, 16 KiB every 10 ms, so that what was sent when the answer came says
    how much the server took."""
    return c.post([before, *repeated((block * (16384 // len(block) + 1))[:16384], total)], pause_s=0.01, timeout_s=30)


@case("B1", "POST without Content-Type", expected="415", quick=True)
def no_content_type(c):
    c.statuses({"a file": c.post(c.png(), content_type=None), "nothing": c.post(b"", content_type=None)}, 415)
    put = c.request("PUT", "/v1/images/x.png", [], c.png())
    c.check(put.status == 202, f"PUT takes any type or none: {put}")


@case("B2", "multipart/form-data without boundary", expected="400", quick=True)
def no_boundary(c):
    c.statuses({t: c.post(form([file_part(c.png())]), content_type=t) for t in ("multipart/form-data", "multipart/form-data; charset=utf-8")}, 400)


@case("B3", "multipart/mixed, JSON, urlencoded", expected="415", quick=True)
def wrong_type(c):
    body = form([file_part(c.png())])
    types = (f"multipart/mixed; boundary={BOUNDARY}", "application/json", "application/x-www-form-urlencoded", "text/plain", "garbage", "a/b/c")
    c.statuses({t: c.post(body, content_type=t) for t in types}, 415)


@case("B4", "empty body with a boundary", expected="400", quick=True)
def empty_body(c):
    c.statuses({"length 0": c.post(b""), "chunked": c.post([])}, 400)


@case("B5", "a form cut at each byte", expected="400 for every cut before the last --, nothing stored", quick=True, log_kib=512)
def every_cut(c):
    whole = form([text_part("variant", "a=w:8"), file_part(b"", "empty.bin"), file_part(c.png(800))])
    uploads = c.server.json("/v1/stats")["uploads"]
    end = len(whole) - 2  # the CRLF after the last -- is no part of the framing (RFC 2046, 5.1.1)
    for n in range(end):
        answer = c.post(whole[:n])
        c.check(answer.status == 400, f"cut at {n} of {len(whole)}: {answer}")
    for n in (end, end + 1, end + 2):
        c.check(c.post(whole[:n]).status == 202, f"whole but for its last line end ({n} bytes) was refused")
    stored = c.server.json("/v1/stats")["uploads"] - uploads
    c.check(stored == 3, f"{stored} uploads stored, 3 were whole")
    c.note(f"400 for all {end} cuts, {stored - 3} of them stored")


@case("B6", "only the last boundary, in every chunking", expected="400 no_file", quick=True)
def only_the_end(c):
    got = {}
    for boundary in ("B", BOUNDARY):
        body = f"--{boundary}--".encode()
        for size in (1, 2, 7, len(body)):
            for pause in (0, 0.003):
                got[f"{body!r} in {size}s"] = c.post([*cut(body, size)], f"multipart/form-data; boundary={boundary}", pause_s=pause)
    c.statuses(got, 400)
    c.check({a.code for a in got.values()} == {"no_file"}, f"codes {sorted({str(a.code) for a in got.values()})}")


@case("B7", "first boundary wrong", expected="400", quick=True)
def wrong_first(c):
    right = form([file_part(c.png())])
    bodies = {"another": right.replace(BOUNDARY.encode(), b"other", 1), "shorter": right[:8] + right[9:], "one dash": right[1:], "no dashes": right[2:]}
    c.statuses({n: c.post(b) for n, b in bodies.items()}, 400)


@case("B8", "boundaries of every length and kind", expected="202 where RFC 2046 allows them, else 400", quick=True)
def boundary_kinds(c):
    def send(boundary, said=None):
        return c.post(form([file_part(c.png())], boundary), f"multipart/form-data; boundary={boundary if said is None else said}")
    legal = {"1": "a", "70": "b" * 70, "quoted": ("x y", '"x y"'), "all kinds": ("'()+_,-./:=?", "\"'()+_,-./:=?\""), "dashes": "-" * 60 + "7"}
    c.statuses({n: send(*(b if isinstance(b, tuple) else (b,))) for n, b in legal.items()}, 202)
    wrong = {"0": "", "quoted 0": ("", '""'), "71": "b" * 71, "256": "b" * 256, "4000": "b" * 4000, "trailing space": ("x ", '"x "')}
    c.statuses({n: send(*(b if isinstance(b, tuple) else (b,))) for n, b in wrong.items()}, 400)
    # Unquoted, these are no token (RFC 9110, 5.6.2): strict and lenient readers are both right.
    c.statuses({b: send(b) for b in ("a=b", "a:b", "a/b", "(a)", "a?b")}, {202, 400})


@case("B9", "50 MB of near-boundaries", expected="at most twice the CPU of plain bytes; boundaries above 70: 400", limit_s=240)
def near_boundaries(c):
    boundary = "n" * 70
    for length in (8191, 8192, 8193, 65535):
        answer = c.post(form([file_part(c.png())], "n" * length), f"multipart/form-data; boundary={'n' * length}")
        c.check(answer.status in (400, 431), f"boundary of {length}: {answer}")
    near = b"\r\n--" + b"n" * 69
    spent = {}
    for name, block in (("plain", bytes(range(64)) * 2), ("near", near)):
        blocks = [(block * (MIB // len(block) + 1))[:MIB]] * 50
        body = form([file_part(boxed(*blocks))], boundary)
        for _ in range(2):  # the second, once everything is warm, counts
            with c.cost(name) as cost:
                answer = c.post(body, f"multipart/form-data; boundary={boundary}")
        c.check(answer.status == 202, f"{name}: {answer}")
        c.quiet()
        spent[name] = cost["cpu_s"]
    c.check(spent["near"] <= 2 * spent["plain"] + 0.02, f"near-boundaries cost {spent['near']:.2f} s of CPU, plain bytes {spent['plain']:.2f} s")
    c.note(f"CPU {spent['near']:.2f} s, plain bytes {spent['plain']:.2f} s")


@case("B10", "Content-Type with 100 000 parameters or 64 KB of escapes", expected="400 or 431 in < 50 ms", quick=True)
def long_content_type(c):
    for name, value in (("parameters", "multipart/form-data" + "; a=b" * 100_000), ("escapes", 'multipart/form-data; x="' + '\\"' * 32_000 + '"'),
                        ("escapes in the boundary", 'multipart/form-data; boundary="' + '\\"' * 30_000 + '"')):
        got = [c.post(b"", value) for _ in range(3)]
        took = min(a.took_s for a in got) * 1000
        c.check(all(a.status in (400, 431) for a in got), f"{name}: {got[0]}")
        c.check(took < 50, f"{name}: {took:.0f} ms")
        c.note(f"{name}: {got[0]} in {took:.0f} ms")


@case("B11", "two boundaries, boundary*", expected="400", quick=True)
def two_boundaries(c):
    body = form([file_part(c.png())])
    types = (f"multipart/form-data; boundary=other; boundary={BOUNDARY}", f"multipart/form-data; boundary={BOUNDARY}; boundary=other",
             f"multipart/form-data; boundary={BOUNDARY}; Boundary={BOUNDARY}", f"multipart/form-data; boundary*=utf-8''{BOUNDARY}",
             f"multipart/form-data; boundary={BOUNDARY}; boundary*=utf-8''other")
    c.statuses({t[21:]: c.post(body, content_type=t) for t in types}, 400)


def endless(c, what, before, block, sizes_mib):
    """Framing that never ends: refused early, and flat when the client will not stop."""
    answer = paced(c, before, block, 4 * MIB)
    c.check(answer.status == 400, f"{what}: {answer}")
    c.check(answer.sent <= FRAMING_MOST + len(before), f"{what}: {answer.sent} bytes were sent when the answer came")
    c.note(f"{what}: {answer} after {answer.sent // 1024} KiB")
    for mib in sizes_mib:
        for size in (1460, 65536):
            with c.cost(f"{what}, {mib} MiB in writes of {size}", cpu_s=0.5 + mib / 100, grow_mib=16):
                unit = (block * (size // len(block) + 1))[:size]
                answer = c.post([before, *repeated(unit, mib * MIB)], stubborn=True, length=len(before) + mib * MIB)
            c.check(answer.status == 400, f"{what}, {mib} MiB in writes of {size}: {answer}")


@case("B12", "1, 16, 64, 256 MiB of preamble", expected="400 after at most 64 KiB + one buffer; CPU and memory flat", quick=True,
      flags=["--max-file-bytes", "1GB"])
def preamble(c):
    endless(c, "preamble", b"", b"x", (1, 16, 64, 256))


@case("B13", "preamble of line ends only", expected="400 after at most 64 KiB + one buffer", flags=["--max-file-bytes", "1GB"])
def line_ends(c):
    endless(c, "line ends", b"", b"\r\n", (1, 16))
    answer = c.post(b"\r\n" * 100_000 + form([file_part(c.png())]))
    c.check(answer.status == 400, f"100 000 line ends before a right form: {answer}")


@case("B14", "100 MB of epilogue", expected="202 or 413, memory flat, the answer arrives", quick=True)
def epilogue(c):
    got = {}
    for name, limit in (("within the limit", 0), ("chunked", 1)):
        with c.cost(name, grow_mib=16):
            body = form([file_part(c.png())])
            pieces = [body, *repeated(b"e" * 65536, 100 * MIB)]
            got[name] = c.post(pieces, stubborn=True, length=None if limit else len(body) + 100 * MIB)
    c.statuses(got, {202, 413})


@case("B15", "data of CR, LF, and beginnings of boundaries", expected="linear time, every byte kept", flags=["--max-file-bytes", "1GB"], limit_s=400)
def hard_data(c):
    for name, block in (("CR", b"\r"), ("LF", b"\n"), ("CRLF--", b"\r\n--"), ("CRLF--boundary but its end", b"\r\n--" + BOUNDARY.encode()[:-1])):
        image = boxed(*[(block * (MIB // len(block) + 1))[:MIB]] * 64)
        with c.cost(f"64 MB of {name}", cpu_s=3) as cost:
            answer = c.post_parts([file_part(image)])
        kept = answer.status == 202 and answer.json()["images"][0]["sha256"] == hashlib.sha256(image).hexdigest()
        c.check(kept, f"64 MB of {name}: {answer}{'' if answer.status != 202 else ', other bytes'}")
        c.note(f"64 MB of {name}: {answer}, {cost['cpu_s']:.1f} s CPU")
        c.quiet()
    for name, first in (("CR", b"\r"), ("LF", b"\n")):
        before = form([file_part(first)], end=False)[:-2]
        after = f"\r\n--{BOUNDARY}--\r\n".encode()
        with c.cost(f"512 MB after {name}", cpu_s=8, grow_mib=16) as cost:
            answer = c.post([before, *repeated(b"x" * 65536, 512 * MIB), after], length=len(before) + 512 * MIB + len(after), stubborn=True)
        c.check(answer.status in (413, 415), f"512 MB after {name}: {answer}")
        c.note(f"512 MB after {name}: {answer}, {cost['cpu_s']:.1f} s CPU")


@case("B16", "lookalikes of the boundary inside of data", expected="bytes kept, or 400; never a shortened file", quick=True)
def lookalikes(c):
    mark = BOUNDARY.encode()
    texts = {"longer": b"\r\n--" + mark + b"x", "LF only": b"\n--" + mark + b"--\r\n", "no line before": b"--" + mark + b"\r\n", "one dash": b"\r\n-" + mark,
             "shorter": b"\r\n--" + mark[:-1] + b"\r\n", "CR only": b"\r--" + mark + b"\r", "nested": b"\r\n--\r\n--" + mark[:5] + b"\r\n--" + mark[:-1],
             "spaces inside": b"\r\n-- " + mark, "end of another": b"\r\n--" + mark + b"-x"}
    got = {}
    for name, text in texts.items():
        image = boxed(text)
        for size in (1, 4096):
            answer = got[f"{name}/{size}"] = c.post([*cut(form([file_part(image)]), size)])
            if answer.status == 202:
                same = answer.json()["images"][0]["sha256"] == hashlib.sha256(image).hexdigest()
                c.check(same, f"{name} in pieces of {size}: taken in with other bytes")
    c.statuses(got, {202, 400})


@case("B30", "every chunking gives the same answer", expected="same status, same sha256; with PIXMILL_CORPUS all of mp-cases", limit_s=1500, log_kib=8192)
def chunkings(c):
    images = [c.png(700), c.png(5000)]
    parts = [text_part("variant", "a=w:8"), file_part(images[0], "a.png"), file_part(b"no image", "b.txt"), file_part(images[1], "c.png"), text_part("priority", "low")]
    body, seen, rng = form(parts), {}, random.Random(1)
    ways = {str(n): [*cut(body, n)] for n in (1, 2, 7, 13, 4096)}
    ways["whole"] = [body]
    for i in range(10):
        marks = sorted({0, len(body), *(rng.randrange(len(body)) for _ in range(40))})
        ways[f"random {i}"] = [body[a:b] for a, b in zip(marks, marks[1:])]
    for name, pieces in ways.items():
        for pause in (0, 0.0005):
            for te in (False, True):
                length = None if te else len(body)
                answer = c.post(pieces, te=te, length=length, pause_s=pause)
                told = answer.json() if answer.status == 202 else {}
                seen.setdefault((str(answer), tuple(i["sha256"] for i in told.get("images", [])), len(told.get("rejected", []))), name)
    right = ("202", tuple(hashlib.sha256(i).hexdigest() for i in images), 1)
    c.check(set(seen) == {right}, f"answers differ: {seen}")
    c.note(f"{len(ways) * 4} ways to send one form, {len(seen)} answer")
    runner = pathlib.Path(os.environ.get("PIXMILL_CORPUS", ".")) / "run_mp_cases.py"
    if not runner.is_file():
        c.note("mp-cases left out: PIXMILL_CORPUS names no folder with run_mp_cases.py")
        return
    for what, query in (("--png", "?unknown_fields=metadata"), ("--accept-4xx", "")):
        for coding in ([], ["--te"]):
            out = c.yard / "tmp" / "out.json"
            subprocess.run([sys.executable, "-B", str(runner), f"{c.server.url}/v1/images{query}", "--chunk", "whole,1,2,7,13,4096", what, *coding, "--json", str(out)],
                           stdout=subprocess.DEVNULL, check=False)
            told = json.loads(out.read_text())
            out.unlink()
            wrong = [f"{t['id']} {t['why']}" for t in told if t["why"]]
            least = 80 if what == "--png" else 180
            c.check(len(told) >= least and not wrong, f"mp-cases {what} {' '.join(coding)}: {len(wrong)} of {len(told)} wrong, such as {wrong[:3]}")
            c.note(f"mp-cases {' '.join([what, *coding])}: {len(told)} cases, {len(wrong)} wrong")
