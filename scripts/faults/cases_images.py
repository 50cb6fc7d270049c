"""Image content, B75-B95 and B127: whatever the bytes are, a picture or a refusal with a stable code, in bounded time and memory."""
import hashlib
import os
import random
import time
import urllib.parse
import zlib

import common
import images
from harness import MIB, Skip, case, file_part, form, text_part

FILE_CODES = {"unsupported_format", "malformed_image", "too_many_pixels", "too_many_frames", "too_costly", "empty_file", "too_large"}
TASK_CODES = {"malformed_image", "truncated_image", "unsupported_format", "too_many_pixels", "limit_exceeded"}
ROOMY = {"rss_mib": 160}


def told(c, data, options="rs=fit:320:320"):
    """What becomes of a file: ("picture", task's JSON), ("refused", code) or ("failed", code), and the seconds that took."""
    begun = time.monotonic()
    answer = c.request("PUT", f"/v1/images/x?{options}", [("Prefer", "wait=30")], data, timeout_s=60)
    took = time.monotonic() - begun
    if answer.status in (400, 413, 415, 422):
        return "refused", answer.code, took
    if answer.status not in (200, 202):
        return "wrong", str(answer), took
    task = answer.json()["images"][0]["variants"][0]
    if task["status"] == "completed":
        return "picture", task, took
    return "failed" if task["status"] == "failed" else "wrong", (task["error"] or {}).get("code", task["status"]), took


def is_clean(kind, what):
    return kind == "picture" or (kind == "refused" and what in FILE_CODES) or (kind == "failed" and what in TASK_CODES)


def survey(c, files, options="rs=fit:320:320", limit_s=2.0):
    """Every file; {kind: count}. Checks that each ends well, and counts those that take longer than they should."""
    tally, slow, slowest = {"picture": 0, "refused": 0, "failed": 0}, [], (0, "")
    for name, data in files:
        kind, what, took = told(c, data, options)
        c.check(is_clean(kind, what), f"{name}: {kind} {what}")
        tally[kind] = tally.get(kind, 0) + 1
        slowest = max(slowest, (took, name))
        if took > limit_s:
            slow.append(f"{name} {took:.1f} s")
    c.check(sum(tally.values()) == len(files), f"{tally} of {len(files)}")
    c.note(f"{len(files)} files: " + ", ".join(f"{n} {kind}" for kind, n in tally.items()) + f"; slowest {slowest[0]:.2f} s ({slowest[1]})")
    if slow:
        c.note(f"longer than {limit_s:g} s: {', '.join(slow)}")
    return tally


def expect(c, named, allowed):
    """{name: bytes}: each comes to one of the allowed (kind, code) pairs; a picture's code is None."""
    for name, data in named.items():
        kind, what, took = told(c, data)
        got = (kind, None if kind == "picture" else what)
        c.check(got in allowed, f"{name}: {got}, {took:.2f} s")
        c.note(f"{name}: {kind if kind == 'picture' else what} in {took * 1000:.0f} ms")


TOO_MANY = {("refused", "too_many_pixels")}
BROKEN = {("refused", "malformed_image"), ("failed", "malformed_image"), ("failed", "truncated_image")}
UNREAD = {("refused", "unsupported_format"), ("failed", "unsupported_format")}


@case("B75", "heads that promise what no memory holds", expected="422 from the head, memory flat", quick=True)
def header_bombs(c):
    jpeg = c.jpeg(64, 64, 4000)
    named = {"JPEG 65535 x 65535": images.with_frame(jpeg, sides=(65535, 65535)), "PNG 4295 MP": images.png(65537, 65535, idat=b"\0" * 8),
             "GIF 65535 x 65535": images.gif(65535, 65535), "PNG of 2^31 - 1 columns": images.png(2**31 - 1, 1, idat=b"\0" * 8)}
    for name, data in images.corpus("crash-jpeg-decoder"):
        if name.endswith("max_size.jpg"):
            named[name.rsplit("/", 1)[1]] = data
    with c.cost("all of them", cpu_s=1, grow_mib=16):
        expect(c, named, TOO_MANY)


@case("B76", "a JPEG of 280 MP: refused, or within memory and time where it is allowed", expected="422; 268 MiB at the most with --max-pixels 300M",
      flags=["--max-pixels", "300000000"], limit_s=300, **ROOMY)
def giant(c):
    data = c.jpeg(17000, 16500, 6_000_000)
    with c.cost("280 MP to 320", grow_mib=268) as cost:
        kind, what, took = told(c, data)
    c.check(kind == "picture", f"{kind} {what}")
    c.note(f"{kind} in {took:.2f} s, +{cost['grow_mib']:.0f} MiB")
    c.restart(flags=["--max-pixels", "50000000"], warm=True)
    expect(c, {"at 50 MP": c.jpeg(17000, 16500, 6_000_000)}, TOO_MANY)


@case("B77", "an AVIF that says 17000 x 17000", expected="422, or 415 where AVIF is not read", quick=True)
def avif_bomb(c):
    files = [data for name, data in images.corpus("img-avif") if name.endswith(".avif") and len(data) < 200_000]
    if not files:
        raise Skip("PIXMILL_CORPUS is not set")
    side = (17000).to_bytes(4, "big")
    bombs = {}
    for index, data in enumerate(files[:5]):
        at = data.find(b"ispe")
        if at > 0:
            bombs[f"AVIF {index + 1}"] = data[:at + 8] + side + side + data[at + 16:]
    expect(c, bombs, TOO_MANY | BROKEN | UNREAD)


@case("B78", "10 000 x 10 000 PNG of zeros at limits of 99, 100 and 101 MP", expected="422, 202, 202", start=False, limit_s=300, **ROOMY)
def to_the_pixel(c):
    for limit, kind in ((99_999_999, "refused"), (100_000_000, "picture"), (101_000_000, "picture")):
        c.start(["--max-pixels", str(limit)], warm=limit == 101_000_000)
        got = told(c, images.png(10_000, 10_000))
        c.check(got[0] == kind and (kind == "picture" or got[1] == "too_many_pixels"), f"at {limit}: {got}")
        c.note(f"at {limit}: {got[0]} in {got[2]:.2f} s")
        if limit != 101_000_000:
            c.server.kill()


@case("B79", "a progressive JPEG of 20 scans, and of 1000", expected="a picture or a refusal, bounded by the job's deadline", quick=True, **ROOMY)
def scans(c):
    files = {name.rsplit("/", 1)[1]: data for name, data in images.corpus("img-polyglot") if name.endswith("20scans.jpg")}
    if not files:
        raise Skip("PIXMILL_CORPUS is not set")
    (_, data), = files.items()
    found = images.segments(data)
    sos = [data[first:end] for marker, first, end in found if marker == 0xDA]
    last = found[-1][2]
    named = {"20 scans": data, "1000 scans": data[:last] + sos[-1] * 1000 + b"\xff\xd9", "1000 first scans": data[:last] + sos[0] * 1000 + b"\xff\xd9"}
    with c.cost("all of them", cpu_s=20):
        for name, one in named.items():
            kind, what, took = told(c, one)
            c.check(is_clean(kind, what) or what == "timeout", f"{name}: {kind} {what}")
            c.note(f"{name}: {kind if kind == 'picture' else what} in {took:.2f} s")


@case("B80", "PNG: packed profiles and texts that swell, a million chunks, pixels that do not end, wrong checksums", expected="a picture or a clean failure, memory flat",
      quick=True, limit_s=240)
def png_bombs(c):
    swollen = zlib.compress(bytes(200 * MIB), 9)
    row = b"\0" + bytes(8 * 3)
    flipped = bytearray(images.png(64, 64))
    flipped[29] ^= 1
    named = {"iCCP of 200 MiB": images.png(8, 8, before=[common.chunk(b"iCCP", b"x\0\0" + swollen)]),
             "zTXt of 200 MiB": images.png(8, 8, before=[common.chunk(b"zTXt", b"x\0\0" + swollen)]),
             "iTXt of 200 MiB": images.png(8, 8, before=[common.chunk(b"iTXt", b"x\0\1\0\0\0" + swollen)]),
             "tEXt of 20 MB": images.png(8, 8, before=[common.chunk(b"tEXt", b"x\0" + b"y" * 20_000_000)]),
             "a million chunks": images.png(8, 8, before=[common.chunk(common.PRIVATE, b"") * 1_000_000]),
             "IDAT of 200 MiB for 8 x 8": images.png(8, 8, idat=zlib.compress(row * 8 + bytes(200 * MIB), 9)),
             "IHDR with a wrong checksum": bytes(flipped), "IDAT with a wrong checksum": (lambda p: p[:-20] + bytes([p[-20] ^ 1]) + p[-19:])(images.png(64, 64))}
    with c.cost("all of them", cpu_s=20, grow_mib=96):
        for name, data in named.items():
            kind, what, took = told(c, data)
            c.check(is_clean(kind, what), f"{name}: {kind} {what}")
            c.check(kind != "picture" or "checksum" not in name, f"{name} became a picture")
            c.note(f"{name}: {kind if kind == 'picture' else what} in {took * 1000:.0f} ms")
    bad = [(name, data) for name, data in images.corpus("img-pngsuite") if name.rsplit("/", 1)[1].startswith("x") and name.endswith(".png")]
    if bad:
        tally = survey(c, bad)
        c.check(tally["picture"] == 0 and len(bad) == 14, f"of {len(bad)} broken ones of PngSuite: {tally}")


@case("B81", "10 000 frames; frames as large as the canvas", expected="frames up to the limits, 422 beyond", quick=True, **ROOMY)
def frames(c):
    expect(c, {"GIF of 10 000 frames": images.gif(4, 4, 10_000)}, {("refused", "too_many_frames")})
    expect(c, {"GIF of 900 frames": images.gif(64, 64, 900)}, {("picture", None)})
    told_of = common.chunk(b"acTL", (10_000).to_bytes(4, "big") + bytes(4))
    expect(c, {"APNG that says 10 000": images.png(8, 8, before=[told_of])}, {("refused", "too_many_frames"), ("picture", None)} | BROKEN)
    kind, what, took = told(c, images.gif(4000, 4000, 500, (1, 1)))
    c.check(kind != "wrong", f"500 frames of 16 MP: {kind} {what}")
    c.note(f"GIF of 500 frames of 16 MP: {kind if kind == 'picture' else what} in {took:.2f} s")


@case("B82", "TIFF: a thousand directories, one that leads to itself, counts beyond the file", expected="415, a failure or a refusal; 2 s, memory flat", quick=True)
def tiffs(c):
    def tiff(directories, entry, leads):
        body, size = b"", 2 + 12 * len(entry) + 4
        for index in range(directories):
            at = 8 + (index + 1) * size
            fields = b"".join(tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + count.to_bytes(4, "little") + value.to_bytes(4, "little") for tag, kind, count, value in entry)
            body += len(entry).to_bytes(2, "little") + fields + (leads if leads is not None else at if index + 1 < directories else 0).to_bytes(4, "little")
        return b"II*\0" + (8).to_bytes(4, "little") + body + os.urandom(64)
    plain = [(256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 4), (279, 4, 1, 16)]
    named = {"1000 directories": tiff(1000, plain, None), "a directory that leads to itself": tiff(1, plain, 8),
             "a count of 2^32 - 1": tiff(1, [*plain[:5], (273, 4, 2**32 - 1, 8), *plain[6:]], None), "a strip of 4 GB": tiff(1, [*plain[:8], (279, 4, 1, 2**32 - 1)], None),
             "65535 x 65535": tiff(1, [(256, 4, 1, 65535), (257, 4, 1, 65535), *plain[2:]], None)}
    with c.cost("all of them", cpu_s=5, grow_mib=64):
        for name, data in named.items():
            kind, what, took = told(c, data)
            c.check(is_clean(kind, what), f"{name}: {kind} {what}")
            c.note(f"{name}: {kind if kind == 'picture' else what} in {took * 1000:.0f} ms")


@case("B83 B84", "every file of the corpus, photos and wreckage of ten years of decoders", expected="a picture or a clean refusal with a stable code; 2 s; the process lives",
      quick=True, limit_s=900, log_kib=4096, rss_mib=256)
def whole_corpus(c):
    files = images.corpus()
    if not files:
        raise Skip("PIXMILL_CORPUS is not set")
    c.check(len(files) >= 1200, f"{len(files)} files")
    tally = survey(c, files)
    c.check(tally["picture"] >= 490, f"{tally['picture']} pictures")
    c.note(f"highest memory {c.server.memory()[1] / MIB:.0f} MiB")


@case("B85", "files cut short", expected="failed, or refused: never a picture", quick=True)
def cut_short(c):
    photo = common.corpus_photo("craft-beer.jpg") or c.jpeg(800, 600, 90_000)
    files = {"JPEG": c.jpeg(800, 600, 90_000), "progressive JPEG": photo, "PNG": images.png(300, 300, rows=os.urandom(300 * 901)), "GIF": images.gif(300, 300)}
    for name, data in files.items():
        for share in (0.3, 0.6, 0.95):
            kind, what, _ = told(c, data[:int(len(data) * share)])
            c.check(kind in ("failed", "refused") and what in ("truncated_image", "malformed_image"), f"{name} cut at {share}: {kind} {what}")
    c.note("JPEG, progressive JPEG, PNG, GIF at 30, 60 and 95 %: none became a picture")


@case("B86", "bits flipped in twelve files, over and over (1000 each by hand)", expected="as B84: no 5xx, no restart", limit_s=900, log_kib=8192, rss_mib=256)
def bit_flips(c):
    files = [(name, data) for name, data in images.corpus(most_bytes=60_000) if name.endswith((".jpg", ".png", ".gif", ".webp", ".avif"))]
    if not files:
        raise Skip("PIXMILL_CORPUS is not set")
    chance = random.Random(86)
    rounds = 10 if c.brief else int(os.environ.get("PIXMILL_FLIPS", "60"))
    flipped = []
    for name, data in chance.sample(files, 12):
        for _ in range(rounds):
            out = bytearray(data)
            for _ in range(max(1, int(len(data) * 8 * 10 ** chance.uniform(-4, -2)))):
                at = chance.randrange(len(out) * 8)
                out[at // 8] ^= 1 << at % 8
            flipped.append((name, bytes(out)))
    survey(c, flipped)


@case("B87", "pictures of one pixel, of one row, of one column", expected="a picture, no side 0; or 400 where a side would pass the limit", quick=True)
def thin(c):
    tally = {}
    for width, height in ((1, 1), (1, 65535), (65535, 1), (2, 100_000), (100_000, 2)):
        for options in ("w=320", "h=3", "rs=fill:20:20", "f=jpg&w=7", "f=webp&h=9&bl=1"):
            kind, task, _ = told(c, images.png(width, height), options)
            tally[kind] = tally.get(kind, 0) + 1
            if kind == "refused" and task == "bad_option" and max(width, height) > 16384 and "fill" not in options:
                continue
            if not c.check(kind == "picture", f"{width} x {height}, {options}: {kind} {task}"):
                continue
            c.check(task["result"]["width"] >= 1 and task["result"]["height"] >= 1, f"{width} x {height}, {options}: {task['result']}")
    c.note(", ".join(f"{n} {kind}" for kind, n in tally.items()))


@case("B88", "kinds that are real and not read: arithmetic, lossless and 12-bit JPEG, PSD, JPEG 2000, PDF", expected="415 or failed `unsupported_format`, never 5xx", quick=True)
def unread(c):
    jpeg = c.jpeg(64, 64, 4000)
    named = {"arithmetic": images.with_frame(jpeg, marker=0xC9), "lossless": images.with_frame(jpeg, marker=0xC3), "12 bits": images.with_frame(jpeg, marker=0xC1, precision=12),
             "hierarchical": images.with_frame(jpeg, marker=0xC5), "PSD": b"8BPS\0\1" + bytes(6) + b"\0\3" + bytes(4000), "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(4000),
             "PDF": b"%PDF-1.7\n" + bytes(4000), "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n" + bytes(4000)}
    expect(c, named, UNREAD)


@case("B89", "SVG, HTML, XML, scripts and polyglots", expected="415 unless SVG is on; what is an image by its bytes is one", quick=True)
def active(c):
    html = b"<!doctype html><script>alert(1)</script>" + b" " * 200
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1:1/"/><script>1</script></svg>' + b" " * 200
    expect(c, {"HTML": html, "SVG": svg, "XML": b'<?xml version="1.0"?>' + svg, "script": b"#!/bin/sh\necho\n" + b"#" * 200, "gzip": zlib.compress(svg)}, UNREAD)
    jpeg = c.jpeg(64, 64, 4000)
    kind, task, _ = told(c, images.with_segment(jpeg, 0xFE, b"--><script>alert(1)</script>") + html)
    c.check(kind == "picture", f"a JPEG with a page behind it: {kind} {task}")
    result = c.get(urllib.parse.urlsplit(task["url"]).path)
    c.check(b"script" not in result.body, "the page is in the result")
    drawn = images.corpus("img-svg")
    if drawn:
        survey(c, drawn)


@case("B91", "Exif blocks of rubbish, of loops, of other lengths than they say", expected="the picture is made all the same", quick=True)
def broken_exif(c):
    jpeg = c.jpeg(200, 100, 8000)
    good = images.exif([(0x0112, 3, 1, b"\0\6"), (0x010F, 2, 5, b"Acme\0")])
    chance = random.Random(91)
    blocks = {"rubbish": b"Exif\0\0" + os.urandom(500), "empty": b"Exif\0\0", "to itself": b"Exif\0\0MM\0*\0\0\0\x08\0\1\x87\x69\0\4\0\0\0\1\0\0\0\x08\0\0\0\x08",
              "beyond": b"Exif\0\0II*\0\xff\xff\xff\xff", "65535 entries": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(200)}
    for index in range(60):
        out = bytearray(good)
        for _ in range(4):
            out[chance.randrange(6, len(out))] = chance.randrange(256)
        blocks[f"mutated {index}"] = bytes(out)
    for name, block in blocks.items():
        kind, what, _ = told(c, images.with_segment(jpeg, 0xE1, block))
        c.check(kind == "picture", f"{name}: {kind} {what}")
    c.note(f"{len(blocks)} blocks, {len(blocks)} pictures")


SECRETS = {"maker": b"Acme Secret Works", "serial": b"SN-0012345-SECRET", "owner": b"Jane Q. Doe SECRET", "thumbnail": b"THUMBNAIL-SECRET" * 8, "comment": b"a SECRET comment",
           "xmp": b"<x:xmpmeta>SECRET</x:xmpmeta>"}


@case("B92", "place, serial numbers, thumbnail, comments of a photo", expected="in no result, and the image's JSON tells neither place nor serial numbers", quick=True)
def privacy(c):
    degrees = b"".join(n.to_bytes(4, "big") + (1).to_bytes(4, "big") for n in (48, 51, 29))
    block = images.exif([(0x010F, 2, 18, SECRETS["maker"] + b"\0"), (0xA431, 2, 18, SECRETS["serial"] + b"\0"), (0xA430, 2, 19, SECRETS["owner"] + b"\0")],
                        [(1, 2, 2, b"N\0"), (2, 5, 3, degrees), (3, 2, 2, b"E\0"), (4, 5, 3, degrees)], SECRETS["thumbnail"])
    jpeg = images.with_segment(images.with_segment(images.with_segment(c.jpeg(400, 300, 20_000), 0xFE, SECRETS["comment"]), 0xE1,
                                                   b"http://ns.adobe.com/xap/1.0/\0" + SECRETS["xmp"]), 0xE1, block)
    text = common.chunk(b"tEXt", b"Comment\0" + SECRETS["comment"]) + common.chunk(b"eXIf", block[6:])
    for name, data in (("JPEG", jpeg), ("PNG", images.png(300, 200, before=[text]))):
        parts = [text_part("variant", f"v{i}={o}") for i, o in enumerate(("w:100/f:jpg", "w:100/f:png", "w:100/f:webp", "f:auto", "rot:90"))]
        upload = c.final(c.post(form([*parts, file_part(data)])).json()["id"])
        image = upload["images"][0]
        for task in image["variants"]:
            got = c.get(urllib.parse.urlsplit(task["url"]).path)
            c.check(got.status == 200, f"{name}, {task['options']}: {got}")
            leaks = [what for what, secret in SECRETS.items() if secret in got.body] + [m.decode() for m in (b"Exif", b"eXIf", b"xmp", b"GPS") if m in got.body]
            c.check(not leaks, f"{name}, {task['options']}: {leaks}")
        about = c.get(f"/v1/images/{image['id']}").body
        c.check(b"SN-0012345" not in about and b"48" not in about.split(b'"exif"')[-1].split(b"}")[0], f"{name}: the JSON tells too much: {about[-400:]!r}")
    c.note("10 results of a JPEG and a PNG, none with a trace")


@case("B95", "the same bytes twice, results kept and made anew", expected="the same results, to the byte; one blob", quick=True, **ROOMY)
def twice(c):
    # What is made beside a variant decides how much of a JPEG is read, so it is the same request that is repeated.
    wanted = ("w:300", "w:300/f:webp", "rs:fill:200:200/f:png", "f:auto/bl:2", "gray:1/q:90")
    data = c.jpeg(900, 700, 90_000)
    body = form([*(text_part("variant", f"v{i}={options}") for i, options in enumerate(wanted)), file_part(data)])

    def etags(upload):
        return [task["result"]["etag"] for task in upload["images"][0]["variants"]]
    first = c.final(c.post(body).json()["id"])
    kept = c.final(c.post(body).json()["id"])
    c.check(kept["images"][0]["duplicate"] and etags(kept) == etags(first), "kept ones differ")
    for upload in (first, kept):
        c.check(c.request("DELETE", f"/v1/uploads/{upload['id']}").status == 204, "not deleted")
    anew = c.final(c.post(body).json()["id"])
    c.check(not anew["images"][0]["duplicate"] and etags(anew) == etags(first), "those made anew differ")
    for options in wanted:
        query = options.replace(":", "=", 1) if "/" not in options else f"variant={urllib.parse.quote('a=' + options, safe='')}"
        one, other = (c.post(data, "image/jpeg", f"/v1/process?{query}") for _ in range(2))
        c.check(one.status == 200 and hashlib.sha256(one.body).digest() == hashlib.sha256(other.body).digest(), f"{options}: {one}, {len(one.body)} and {len(other.body)} bytes")
    c.note(f"{len(wanted)} variants, four times: the same bytes")


BAD_OPTIONS = ("w=100000", "w=-1", "w=2147483648", "w=1e9", "w=nan", "h=99999999999999999999", "bl=1e9", "bl=-1", "bl=nan", "bl=inf", "sh=-0.1", "pix=1000000", "q=0", "q=101", "q=80.5",
               "c=-5:10", "c=nan:1", "g=fp:2:2", "rot=45", "br=256", "co=1e30", "sa=-1", "effort=10", "f=exe", "bg=zzzzzz", "rs=fit:1:2:3:4:5", "pr=nosuch")


@case("B127", "options beyond all bounds, and a thousand of them", expected="400 or 422, and no work is done", quick=True)
def option_bombs(c):
    data, before = c.jpeg(64, 64, 4000), c.server.json("/v1/stats")["total_tasks"]
    with c.cost("all of them", cpu_s=2, grow_mib=32):
        for option in BAD_OPTIONS:
            answer = c.request("PUT", f"/v1/images/x?{option}", [], data)
            c.check(answer.status in (400, 422) and answer.code == "bad_option", f"{option}: {answer}")
        chained = "/-/".join(["w:10/bl:1"] * 1000)
        for name, path in (("1000 passes", f"/v1/images/x?variant=a={urllib.parse.quote(chained, safe='')}"), ("1000 options", "/v1/images/x?" + "&".join(["w=10"] * 1000)),
                           ("100 000 x 100 000", "/v1/images/x?variant=" + urllib.parse.quote("a=rs:force:100000:100000:1", safe=""))):
            answer = c.request("PUT", path, [], data)
            c.check(answer.status in (400, 413, 422), f"{name}: {answer}")
            c.note(f"{name}: {answer}")
    c.check(c.server.json("/v1/stats")["total_tasks"] == before, "work was done")
    c.note(f"{len(BAD_OPTIONS)} x 400 bad_option")
