"""HTTP/1.1 as hostile clients and broken networks speak it, B41-B47: lengths, codings, expectations, refusals that arrive."""
import hashlib

from harness import FORM, MIB, case, file_part, form, head, repeated
from wire import chunked


def message(c, body, fields, method="POST", path="/v1/images"):
    """A form under these very header fields."""
    return head(method, path, [("Content-Type", FORM), *fields], c.host) + body


@case("B41", "no Content-Length, chunked coding", expected="the same answers as with a length", quick=True)
def chunked_coding(c):
    image = c.png()
    bodies = {"form": form([file_part(image)]), "broken": form([file_part(image)], end=False), "no image": form([file_part(b"text")]), "empty": b""}
    for name, body in bodies.items():
        answers = [c.post(body), c.post(body, te=True), c.post([body[i:i + 100] for i in range(0, len(body), 100)], te=True)]
        said = {(str(a), a.json()["images"][0]["sha256"] if a.status == 202 else None) for a in answers}
        c.check(len(said) == 1, f"{name}: {said}")
        c.note(f"{name}: {answers[0]}")
    put = c.raw([head("PUT", "/v1/images/a.png", [("Transfer-Encoding", "chunked")], c.host), *chunked([image])])
    c.check(put.status == 202 and put.json()["images"][0]["sha256"] == hashlib.sha256(image).hexdigest(), f"PUT: {put}")


@case("B42", "Content-Length negative, no number, 2^63, two of them", expected="400 (2^63 is a number: 400 or 413)", quick=True)
def bad_lengths(c):
    body = form([file_part(c.png())])
    n = len(body)
    wrong = {v: [("Content-Length", v)] for v in ("-1", "abc", "1e3", "0x10", f"+{n}", f"{n}, {n + 1}", "18446744073709551616", "9" * 40, "", f"{n} {n}")}
    wrong["two, different"] = [("Content-Length", str(n)), ("Content-Length", str(n + 1))]
    got = {k: c.raw(message(c, body, f)) for k, f in wrong.items()}
    c.statuses(got, 400)
    c.statuses({"2^63": c.raw(message(c, body, [("Content-Length", str(1 << 63))]))}, {400, 413})


@case("B43", "Content-Length and Transfer-Encoding, odd codings", expected="400, connection closed", quick=True)
def smuggling(c):
    body = form([file_part(c.png())])
    coded = b"".join(chunked([body]))
    n = ("Content-Length", str(len(coded)))
    wrong = {"both": [n, ("Transfer-Encoding", "chunked")], "both, other order": [("Transfer-Encoding", "chunked"), n], "length 0 and chunked": [("Content-Length", "0"), ("Transfer-Encoding", "chunked")]}
    for v in ("xchunked", "chunked, chunked", "chunked\x0b", "\x0bchunked", "chunked, identity", "identity", "gzip", "chunked;q=1", '"chunked"'):
        wrong[repr(v)] = [("Transfer-Encoding", v)]
    wrong["twice"] = [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")]
    wrong["space before the colon"] = [("Transfer-Encoding ", "chunked")]
    got = {}
    for name, fields in wrong.items():
        with c.wire(10) as w:
            got[name] = w.exchange([message(c, coded, fields) + b"GET /healthz HTTP/1.1\r\nHost: " + c.host.encode() + b"\r\n\r\n"])
            c.check(b"HTTP/1.1 200" not in got[name].rest, f"{name}: what follows was answered as a request")
            c.check(got[name].closed or w.closed_within(12), f"{name}: the connection stays open after {got[name]}")
    # 501 is what RFC 9112, 6.1 suggests for a coding that is not known.
    c.statuses(got, {400, 501})
    c.check(all(got[k].status == 400 for k in ("both", "both, other order", "length 0 and chunked")), "Content-Length beside Transfer-Encoding is not 400")


@case("B44", "bad chunk sizes and chunk ends", expected="400, nothing stored", quick=True)
def bad_chunks(c):
    body = form([file_part(c.png())])
    size = b"%x" % len(body)
    wrong = {"g": b"g\r\n" + body + b"\r\n0\r\n\r\n", "17 digits": b"1" * 17 + b"\r\n" + body, "no CRLF after the data": size + b"\r\n" + body + b"0\r\n\r\n",
             "64 KB of extension": size + b";" + b"ext" * 22_000 + b"\r\n" + body + b"\r\n0\r\n\r\n", "negative": b"-1\r\n" + body, "0x": b"0x" + size + b"\r\n" + body + b"\r\n0\r\n\r\n",
             "empty size": b"\r\n" + body + b"\r\n0\r\n\r\n", "space in the size": b"1 1\r\n" + body, "in the second chunk": b"%x\r\n" % 100 + body[:100] + b"\r\nzz\r\n" + body[100:]}
    uploads = c.server.json("/v1/stats")["uploads"]
    c.statuses({k: c.raw(message(c, b, [("Transfer-Encoding", "chunked")]), timeout_s=15) for k, b in wrong.items()}, 400)
    c.check(c.server.json("/v1/stats")["uploads"] == uploads, "an upload was stored")


@case("B45", "body longer than Content-Length", expected="the first answered as itself; what follows is a request of its own: 400", quick=True)
def longer_body(c):
    image = c.png()
    body = form([file_part(image)])
    for what, extra, second in (("garbage", b"\0\1garbage\r\n\r\n", 400), ("more form", form([file_part(c.png())]), 400), ("half a line", b"XX", None),
                                ("a request", b"GET /nowhere HTTP/1.1\r\nHost: " + c.host.encode() + b"\r\n\r\n", 404)):
        with c.wire(5) as w:
            first = w.exchange([message(c, body, [("Content-Length", str(len(body)))]) + extra])
            same = first.status == 202 and first.json()["images"][0]["sha256"] == hashlib.sha256(image).hexdigest() and len(first.json()["images"]) == 1
            c.check(same, f"{what}: the first was answered {first}")
            then = w.answer(timeout_s=5) if second else None
            c.check(then is None or then.status == second, f"{what}: the second was answered {then}")
    c.note("202, then 400")


@case("B46", "Expect: 100-continue, Expect: x", expected="too large by its head: 413 without 100; wanted: 100, then 202; x: 417", quick=True, flags=["--max-file-bytes", "1MB"])
def expectations(c):
    def ask(length, more=(), content_type=FORM, path="/v1/images"):
        w = c.wire(10)
        w.send(head("POST", path, [("Content-Type", content_type), ("Content-Length", str(length)), ("Expect", "100-continue"), *more], c.host))
        return w
    body = form([file_part(c.png())])
    with ask(len(body)) as w:
        w.sock.settimeout(5)
        first = w.sock.recv(4096)
        c.check(first.startswith(b"HTTP/1.1 100"), f"a wanted body: {first[:40]!r}")
        answer = w.send(body).answer()
        c.check(answer.status == 202, f"after the 100: {answer}")
    refused = {"too large": ask(100 * MIB), "wrong type": ask(100, content_type="text/plain"), "no boundary": ask(100, content_type="multipart/form-data"),
               "nowhere": ask(100, path="/v1/nowhere")}
    for name, expected in (("too large", 413), ("wrong type", 415), ("no boundary", 400), ("nowhere", 404)):
        with refused[name] as w:
            answer = w.answer(timeout_s=8)
            c.check(answer.status == expected and not answer.interim, f"{name}: {answer}, interim {answer.interim}")
            c.note(f"{name}: {answer} without 100")
    other = c.raw(message(c, body, [("Content-Length", str(len(body))), ("Expect", "x")]))
    c.check(other.status == 417, f"Expect: x: {other}")
    old = c.raw(message(c, body, [("Content-Length", str(len(body))), ("Expect", "100-Continue")]))
    c.check(old.status == 202, f"the body comes without waiting, odd case: {old}")


@case("B47", "a refusal to a client that writes 500 MB and does not read", expected="at least 99 of 100 see the status; drained by time", quick=True,
      flags=["--max-file-bytes", "10MB", "--max-connections-per-client", "1000"], limit_s=900, log_kib=512)
def refusals_arrive(c):
    def tries(what, expected, times, send):
        seen = [send() for _ in range(times)]
        right = sum(a.status in expected for a in seen)
        others = sorted({str(a) for a in seen if a.status not in expected})
        c.check(right >= times * 0.99, f"{what}: {right} of {times} saw {sorted(expected)}, others {others}")
        c.note(f"{what}: {right} of {times}")

    def writing(fields, path="/v1/images", total=500 * MIB, te=False, block=b"x" * 262144):
        def pieces():
            yield head("POST", path, [*fields, ("Transfer-Encoding", "chunked") if te else ("Content-Length", str(total))], c.host)
            yield from (chunked(repeated(block, total)) if te else repeated(block, total))
        return c.raw(pieces(), timeout_s=60, stubborn=True)
    form_field = [("Content-Type", FORM)]
    tries("413 by length", {413}, 20 if c.brief else 100, lambda: writing(form_field))
    if c.brief:
        return
    tries("400 no framing, chunked", {400}, 100, lambda: writing(form_field, te=True))
    tries("413 raw, chunked", {413, 415}, 20, lambda: writing([("Content-Type", "image/png")], te=True, block=c.png(262144)))
    tries("415", {415}, 20, lambda: writing([("Content-Type", "text/plain")], te=True))
    tries("404", {404}, 20, lambda: writing([], "/nowhere"))
    tries("405", {405}, 20, lambda: writing([], "/healthz"))
    for what, pause, most in (("silent", None, 12), ("a byte a second", 1.0, 40)):
        with c.wire(60) as w:
            w.send(head("POST", "/v1/images", [("Content-Type", "text/plain"), ("Content-Length", str(500 * MIB))], c.host) + b"x" * 1000)
            answer = w.answer(timeout_s=10)
            c.check(answer.status == 413, f"{what}: {answer}")
            begun, closed = c.now(), False
            while not closed and c.now() - begun < most + 5:
                closed = w.closed_within(pause or most)
                if pause and not closed:
                    try:
                        w.send(b"x")
                    except OSError:
                        closed = True
            c.check(closed and c.now() - begun <= most, f"a refused client, {what}: {'closed' if closed else 'open'} after {c.now() - begun:.0f} s")
            c.note(f"refused and then {what}: closed after {c.now() - begun:.0f} s")
