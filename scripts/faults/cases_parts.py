"""The parts of a form, B17-B29: their headers, their number, what they are called and what they claim to be."""
import base64
import hashlib
import threading
import time

from harness import MIB, case, cut, file_part, form, text_part
from cases_multipart import FRAMING_MOST, endless, paced

DISPOSITION = 'Content-Disposition: form-data; name="file"; filename="a.png"\r\n'


@case("B17", "a part header of 64 KiB and of 10 MiB", expected="400, memory flat", quick=True, flags=["--max-file-bytes", "1GB"])
def long_header(c):
    opening = form([(DISPOSITION + "X: ", b"")], end=False)[:-4]
    name = form([('Content-Disposition: form-data; name="', b"")], end=False)[:-4]
    for what, before in (("header", opening), ("name", name)):
        whole = before + b"x" * 65536 + b"\r\n\r\n" + c.png() + b"\r\n--pixmill-fault-boundary--\r\n"
        c.check(c.post(whole).status == 400, f"{what} of 64 KiB was not refused")
        endless(c, what, before, b"x", (10,))


@case("B18", "33 and 1000 headers in a part", expected="400", quick=True)
def many_headers(c):
    more = {n: "".join(f"X-{i}: y\r\n" for i in range(n)) for n in (33, 1000)}
    c.statuses({n: c.post_parts([(DISPOSITION + text, c.png())]) for n, text in more.items()}, 400)


@case("B19", "4000 parts with 8 KB of escape-heavy header each", expected="400 or 413 early, linear", quick=True)
def heavy_headers(c):
    for slash in ("a\\", '\\"', "\\\\"):
        part = (f'Content-Disposition: form-data; name="{slash * (8000 // len(slash))}"\r\n', b"v")
        body = form([part] * 4000)
        with c.cost(f"{len(body) // MIB} MiB", cpu_s=1, grow_mib=16):
            answer = c.post(body)
        c.check(answer.status in (400, 413), f"{slash!r}: {answer}")
        c.check(answer.sent < len(body) // 2, f"{slash!r}: the answer came after {answer.sent} of {len(body)} bytes")
        c.note(f"{answer} after {answer.sent // 1024} KiB")


@case("B20", "1001 and 110 000 tiny fields", expected="413 after the limit in < 100 ms", quick=True)
def many_fields(c):
    for count in (1001, 110_000):
        body = form([text_part("metadata[a]", "v")] * count)
        got = [c.post(body) for _ in range(3)]
        took = min(a.took_s for a in got) * 1000
        c.check(all(a.status == 413 for a in got), f"{count} fields: {got[0]}")
        c.check(took < 100, f"{count} fields: {took:.0f} ms")
        c.note(f"{count} fields: {got[0]} in {took:.0f} ms")


@case("B21", "1000 one-byte files; as many images as allowed", expected="413 at max-files; descriptors flat, none kept for a part")
def many_files(c):
    most, stop, receiving = {True: 0, False: 0}, threading.Event(), [True]

    def watch():
        while not stop.is_set():
            most[receiving[0]] = max(most[receiving[0]], c.vitals().fds - c.before.fds)
            time.sleep(0.002)

    def slowly(body):
        receiving[0] = True
        yield from cut(body[:-8], 4000)
        receiving[0] = False  # from the last bytes on everything is stored, several files at once
        yield body[-8:]
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        tiny = c.post_parts([file_part(b"x", f"{i}.png") for i in range(1000)])
        images = c.post(slowly(form([file_part(c.png(), f"{i}.png") for i in range(100)])), pause_s=0.005)
        more = c.post(slowly(form([file_part(c.png(), f"{i}.png") for i in range(101)])), pause_s=0.005)
    finally:
        stop.set()
        watcher.join()
    c.check(tiny.status == 413 and tiny.code == "too_many_files", f"1000 one-byte files: {tiny}")
    c.check(images.status == 202 and len(images.json()["images"]) == 100, f"100 images: {images}")
    c.check(more.status == 413, f"101 images: {more}")
    # The catalog opens its 3 connections for reading when they are first needed, up to 3 files each (file, log, index): 9 that
    # stay, beside the few of the request itself.
    c.check(most[True] <= 12, f"{most[True]} descriptors more while the files of one request came in")
    c.note(f"{tiny}; 100 images: {images}; 101: {more}; {most[True]} descriptors more while receiving, {most[False]} while storing")


@case("B22", "a text field of 100 MB", expected="413 after at most 64 KiB", quick=True, flags=["--max-file-bytes", "1GB"])
def long_field(c):
    before = form([text_part("variant", "")], end=False)[:-2]
    answer = paced(c, before, b"v", 4 * MIB)
    c.check(answer.status == 413, f"{answer}")
    c.check(answer.sent <= FRAMING_MOST + len(before), f"the answer came after {answer.sent} bytes")
    with c.cost("100 MB of text", cpu_s=1, grow_mib=16):
        again = c.post([before, *[b"v" * MIB] * 100], length=len(before) + 100 * MIB, stubborn=True)
    c.check(again.status == 413, f"100 MB at once: {again}")
    c.note(f"{answer} after {answer.sent // 1024} KiB")


@case("B23", "unknown, late, repeated and upload libraries' text fields", expected="400 bad_option; late ones count; repeated 400; libraries' kept", quick=True)
def text_fields(c):
    image = file_part(c.png())
    bad = {"unknown": [("colour", "red")], "misspelt": [("widht", "10")], "unknown, after": [], "w twice": [("w", "10"), ("w", "20")],
           "priority twice": [("priority", "low"), ("priority", "high")]}
    got = {n: c.post_parts([text_part(*f) for f in fields] + [image]) for n, fields in bad.items() if fields}
    got["unknown, after"] = c.post_parts([image, text_part("colour", "red")])
    c.statuses(got, 400)
    c.check({got[n].code for n in ("unknown", "misspelt", "unknown, after")} == {"bad_option"}, "an unknown field is not bad_option")
    late = c.post_parts([image, text_part("variant", "late=w:9")])
    names = [v["name"] for v in late.json()["images"][0]["variants"]] if late.status == 202 else late
    c.check(names == ["late"], f"a field after the file: {names}")
    libraries = [text_part(n, "v") for n in ("name", "type", "relativePath", "_charset_")]
    kept = c.post_parts([*libraries, image])
    c.check(kept.status == 202, f"fields of upload libraries: {kept}")


@case("B24", "multipart/mixed nested in a part", expected="400 or 415", quick=True)
def nested(c):
    inner = form([("Content-Disposition: file; filename=\"a.png\"\r\n", c.png())], "inner")
    heads = {"no file name": 'Content-Disposition: form-data; name="file"\r\nContent-Type: multipart/mixed; boundary=inner\r\n',
             "file name": DISPOSITION + "Content-Type: multipart/mixed; boundary=inner\r\n"}
    c.statuses({n: c.post_parts([(h, inner)]) for n, h in heads.items()}, {400, 415})


@case("B25", "part without Content-Disposition, with attachment, with an empty one", expected="400", quick=True)
def no_disposition(c):
    heads = {"none": "Content-Type: image/png\r\n", "no header": "", "attachment": 'Content-Disposition: attachment; name="file"; filename="a.png"\r\n',
             "empty": "Content-Disposition:\r\n", "no type": 'Content-Disposition: name="file"\r\n', "twice": DISPOSITION * 2}
    c.statuses({n: c.post_parts([(h, c.png())]) for n, h in heads.items()}, 400)


@case("B26", "name missing, twice, in upper case", expected="400; Name= is read as name (RFC 2045) or 400", quick=True)
def odd_names(c):
    heads = {"missing": 'Content-Disposition: form-data; filename="a.png"\r\n', "twice": 'Content-Disposition: form-data; name="file"; name="other"; filename="a.png"\r\n',
             "twice the same": 'Content-Disposition: form-data; name="file"; name="file"; filename="a.png"\r\n', "nothing": "Content-Disposition: form-data\r\n",
             "two file names": 'Content-Disposition: form-data; name="file"; filename="a.png"; filename="b.png"\r\n'}
    c.statuses({n: c.post_parts([(h, c.png())]) for n, h in heads.items()}, 400)
    upper = c.post_parts([('Content-Disposition: form-data; Name="file"; FileName="a.png"\r\n', c.png())])
    read = upper.status == 202 and upper.json()["images"][0]["filename"] == "a.png"
    c.check(upper.status == 400 or read, f"Name= and FileName=: {upper}")
    c.note(f"Name=, FileName=: {upper}")


@case("B27", "empty field name", expected="400", quick=True)
def empty_name(c):
    heads = {"file": 'Content-Disposition: form-data; name=""; filename="a.png"\r\n', "text": 'Content-Disposition: form-data; name=""\r\n'}
    c.statuses({n: c.post_parts([(h, c.png())]) for n, h in heads.items()}, 400)


@case("B28", "folded headers, bare CR or LF, NUL, ESC in part headers", expected="400, no header injection", quick=True)
def broken_headers(c):
    heads = {"folded": DISPOSITION + "X: a\r\n b\r\n", "CR in header": DISPOSITION + "X: a\rY: b\r\n", "LF as line end": DISPOSITION[:-2] + "\n",
             "LF inside": DISPOSITION + "X: a\nY: b\r\n", "NUL": DISPOSITION + "X: a\0b\r\n", "space before colon": "Content-Disposition : form-data; name=\"file\"; filename=\"a\"\r\n",
             "no colon": DISPOSITION + "nonsense\r\n", "NUL in file name": DISPOSITION.replace("a.png", "a\0b.png"), "CR in file name": DISPOSITION.replace("a.png", "a\rb.png"),
             "ESC in a header": DISPOSITION + "X: \x1b[31m\r\n", "empty header name": DISPOSITION + ": x\r\n"}
    c.statuses({n: c.post_parts([(h, c.png())]) for n, h in heads.items()}, 400)
    # Browsers write ESC into file names as it is (the WPT suite): data, if it is taken, and never raw in the log.
    esc = c.post_parts([(DISPOSITION.replace("a.png", "a\x1bb.png"), c.png())])
    c.check(esc.status in (202, 400) and b"\x1b" not in esc.body, f"ESC in a file name: {esc}")
    c.note(f"ESC in a file name: {esc}")


@case("B29", "Content-Transfer-Encoding: base64", expected="415 (raw bytes are no image) or 400; never decoded", quick=True)
def transfer_encoding(c):
    image = c.png()
    coded = file_part(base64.b64encode(image), more="Content-Transfer-Encoding: base64\r\n")
    c.statuses({"base64": c.post_parts([coded])}, {400, 415})
    plain = c.post_parts([file_part(image, more="Content-Transfer-Encoding: binary\r\n")])
    same = plain.status == 202 and plain.json()["images"][0]["sha256"] == hashlib.sha256(image).hexdigest()
    c.check(same or plain.status == 400, f"binary: {plain}")
