"""Serving and polling, B113-B118: what was stored comes back harmless, paths lead nowhere else, polls cost little."""
import os
import re
import time
import urllib.parse
import uuid

import common
from harness import case, head, text_part, file_part

TYPES = {"image/png", "image/jpeg", "image/webp", "image/gif", "image/avif", "image/tiff", "image/bmp"}


def stored(c, image, **how):
    """(path of the original, path of its variant, the upload) once the work is done."""
    told = c.final(c.upload_ok(image, **how)["id"])
    paths = [urllib.parse.urlsplit(u).path for u in (told["images"][0]["url"], told["images"][0]["variants"][0]["url"])]
    return (*paths, told)


@case("B113", "headers of every stored file", expected="nosniff, CSP sandbox, a type of our list, our name in Content-Disposition; no HTML or SVG inline", quick=True)
def headers(c):
    html = c.png(4000)[:-12] + common.chunk(b"tEXt", b"x\0<html><script>alert(1)</script>") + common.png_end()
    for name, image in (("page.html", html), ("a.svg", c.png(3000)), ("a.jpg", c.jpeg(64, 64, 4000)), ("no extension", c.png(3000))):
        for path in stored(c, image, filename=name)[:2]:
            for method in ("GET", "HEAD"):
                got = c.request(method, path)
                h = got.headers
                c.check(got.status == 200, f"{name}: {method} {got}")
                c.check(h.get("x-content-type-options") == "nosniff", f"{name}: X-Content-Type-Options {h.get('x-content-type-options')}")
                c.check("default-src 'none'" in h.get("content-security-policy", "") and "sandbox" in h.get("content-security-policy", ""), f"{name}: CSP {h.get('content-security-policy')}")
                c.check(h.get("content-type") in TYPES, f"{name}: Content-Type {h.get('content-type')}")
                said = h.get("content-disposition", "")
                c.check(said and not re.search(r"\.(html|svg)\b", said), f"{name}: Content-Disposition {said!r}")
    c.note("four names, originals and variants, GET and HEAD")
    odd = c.get("/v1/nowhere")
    c.check(odd.headers.get("x-content-type-options") == "nosniff" and odd.headers.get("content-type", "").startswith("application/problem+json"), "an error without nosniff")


@case("B114", "ranges, If-Range, HEAD", expected="206, 206, 416 with Content-Range; HEAD as GET", quick=True)
def ranges(c):
    image = c.png(700_000)
    path, _, _ = stored(c, image)
    whole, n = c.get(path), 700_000
    c.check(whole.status == 200 and whole.body == image, f"whole: {whole}, {len(whole.body)} bytes")
    for text, a, b in (("bytes=0-0", 0, 1), ("bytes=-5", n - 5, n), ("bytes=10-19", 10, 20), (f"bytes={n - 1}-", n - 1, n), ("bytes=0-99999999", 0, n), ("bytes=-99999999", 0, n),
                       ("bytes=262143-262145", 262143, 262146)):
        got = c.get(path, [("Range", text)])
        c.check(got.status == 206 and got.body == image[a:b] and got.headers.get("content-range") == f"bytes {a}-{b - 1}/{n}", f"{text}: {got} {got.headers.get('content-range')}")
    for text in (f"bytes={n}-", "bytes=-0", f"bytes={n + 5}-{n + 9}"):
        got = c.get(path, [("Range", text)])
        c.check(got.status == 416 and got.headers.get("content-range") == f"bytes */{n}", f"{text}: {got} {got.headers.get('content-range')}")
    tag = whole.headers["etag"]
    for value, expected in ((tag, 206), ('"other"', 200), ("W/" + tag, 200)):
        got = c.get(path, [("Range", "bytes=0-9"), ("If-Range", value)])
        c.check(got.status == expected, f"If-Range {value}: {got}")
    for fields in ([], [("If-None-Match", tag)]):
        get, asked = c.get(path, fields), c.request("HEAD", path, fields)
        # What each answer says of itself: when, which, how long it took.
        own = ("date", "x-request-id", "server-timing")
        same = {k: v for k, v in get.headers.items() if k not in own} == {k: v for k, v in asked.headers.items() if k not in own}
        c.check(get.status == asked.status and same, f"HEAD {asked} {asked.headers} differs from GET {get} {get.headers}")
    c.note("7 x 206, 3 x 416, If-Range 206/200/200, HEAD as GET")


@case("B115", "10 000 ranges, overlapping; a 64-KB header", expected="200 or 416 (431 for the header) in < 5 ms", quick=True)
def many_ranges(c):
    path, _, _ = stored(c, c.png(100_000))
    for name, text, allowed in (("10 000 x 0-", "bytes=" + "0-," * 10_000 + "0-", (200, 416)), ("overlapping", "bytes=" + ",".join(f"{i}-{i + 500}" for i in range(3000)), (200, 416)),
                                ("64 KB of digits", "bytes=" + "9" * 64_000 + "-", (200, 416, 431)), ("100 KB", "bytes=" + "0-1," * 25_000, (200, 416, 431)), ("nonsense", "bytes=x-y", (200, 416))):
        got = [c.get(path, [("Range", text)]) for _ in range(7)]
        took = min(a.took_s for a in got) * 1000
        c.check(got[0].status in allowed, f"{name}: {got[0]}")
        c.check(took < 5, f"{name}: {took:.1f} ms")
        c.note(f"{name}: {got[0].status} in {took:.1f} ms")


@case("B116", "traversal in paths, ids of a megabyte, a planted symlink", expected="404 (a head above the limit: 431 or 414)", quick=True)
def traversal(c):
    path, _, told = stored(c, c.png())
    image = told["images"][0]["id"]
    outside = c.yard / "canary.txt"
    planted = str(uuid.uuid4())
    for folder in (c.server.data_dir / "blobs", c.server.data_dir / "blobs" / planted[-2:]):
        os.symlink(outside, folder / planted)
        c.cleanups.append((folder / planted).unlink)
    paths = [f"/i/{p}" for p in ("../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e%2fcatalog.db", "%00", f"{image}%00", f"{image}/../../x", f"{image}%2f..%2f..%2fcatalog.db",
                                 image.upper() + "x", planted, f"{image}/..%5c..%5ccatalog.db", "%c0%ae%c0%ae/", "//etc/passwd", "~root", ".", "..")]
    paths += ["/images/../../etc/passwd", "/../../../etc/passwd", "/v1/uploads/../../catalog.db", "/v1/images/%2e%2e/%2e%2e/catalog.db", "//" + image, "/catalog.db", "/staging/", "/blobs/"]
    got = {}
    for p in paths:
        answer = got[p] = c.get(p)
        c.check(b"canary" not in answer.body and b"root:" not in answer.body and b"SQLite" not in answer.body, f"{p} leads outside")
    c.statuses(got, {404, 400})
    c.statuses({"id of 1 MB": c.get("/i/" + "a" * 1_000_000), "id of 60 KB": c.get("/v1/uploads/" + "b" * 60_000)}, {404, 414, 431})
    for folder in (c.server.data_dir / "blobs", c.server.data_dir / "blobs" / planted[-2:]):
        (folder / planted).unlink()
    c.cleanups.clear()


@case("B117", "unknown and malformed ids", expected="the same 404 in the same time; 74 random bits in an id", quick=True)
def oracle(c):
    told = c.upload_ok()
    c.quiet()
    near = told["id"][:-1] + ("0" if told["id"][-1] != "0" else "1")
    for prefix in ("/v1/uploads/", "/i/", "/v1/jobs/"):
        took, bodies = {}, {}
        connection = common.Connection(*c.address)
        for _ in range(60):
            for name, value in (("unknown", str(uuid.uuid4())), ("near a real one", near), ("malformed", "nonsense")):
                begun = time.monotonic()
                status, body = connection.roundtrip(head("GET", prefix + value, [], c.host))
                took.setdefault(name, []).append(time.monotonic() - begun)
                bodies.setdefault(name, set()).add((status, re.sub(rb'"instance":"[^"]*"', b"", body)))
        connection.close()
        c.check(bodies["unknown"] == bodies["near a real one"] and {s for s, _ in bodies["malformed"]} == {404}, f"{prefix}: answers differ")
        medians = {k: common.median(v) * 1000 for k, v in took.items()}
        c.check(medians["near a real one"] < 2 * medians["unknown"] + 0.3, f"{prefix}: {medians}")
    ids = [uuid.UUID(c.upload_ok()["id"]) for _ in range(20)]
    c.check(all(i.version == 7 and i.variant == uuid.RFC_4122 for i in ids), "ids are no UUIDv7")
    tails = [i.int & ((1 << 62) - 1) for i in ids]
    varying = 0
    for bit in range(62):
        varying += len({t >> bit & 1 for t in tails}) == 2
    c.check(varying == 62, f"only {varying} of the last 62 bits vary in 20 ids")
    c.note(f"404 alike; {medians['unknown']:.2f} ms unknown, {medians['near a real one']:.2f} ms near")


@case("B118", "1000 polls a second on one upload; long polls that hang up", expected="304 by ETag, cheap; a long poll ends with its client", quick=True)
def polls(c):
    upload = c.upload_ok()["id"]
    c.final(upload)
    path = f"/v1/uploads/{upload}"
    tag = c.get(path).headers.get("etag")
    c.check(tag, "no ETag")
    connection, message, codes = common.Connection(*c.address), head("GET", path, [("If-None-Match", tag or "x")], c.host), {}
    with c.cost("2000 polls", cpu_s=2, grow_mib=8) as cost:
        begun = time.monotonic()
        for _ in range(2000):
            status, _ = connection.roundtrip(message)
            codes[status] = codes.get(status, 0) + 1
        took = time.monotonic() - begun
    connection.close()
    c.check(codes == {304: 2000}, f"{codes}")
    c.note(f"2000 x 304 in {took:.1f} s, {cost['cpu_s'] * 1e6 / 2000:.0f} us of CPU each")
    # A job that takes a while, fifty who wait for it, all gone before it ends.
    slow = c.post_parts([text_part("variant", "v=w:2000/bl:20/f:webp"), file_part(c.jpeg(2000, 1500, 900_000))]).json()["id"]
    waiting = [c.wire(5) for _ in range(50)]
    for w in waiting:
        w.send(head("GET", f"/v1/uploads/{slow}?wait=30", [], c.host))
    time.sleep(0.1)
    fds = c.vitals().fds
    for w in waiting:
        w.close()
    deadline = time.monotonic() + 3
    while c.vitals().fds > fds - 45 and time.monotonic() < deadline and fds > c.before.fds + 40:
        time.sleep(0.05)
    c.check(c.vitals().fds <= c.before.fds + 6, f"{c.vitals().fds} descriptors after 50 long polls hung up, before {c.before.fds}")
