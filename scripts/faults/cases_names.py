"""File names, B31-B40: shown, never obeyed. A file lies under our id, its name is text, its content says what it is."""
import json
import os
import pathlib
import re
import urllib.parse

from harness import case, file_part, form, head
from wire import BOUNDARY


def named(c, disposition, content=None):
    """POST a part with this very Content-Disposition."""
    return c.post_parts([(b"Content-Disposition: form-data; " + (disposition if isinstance(disposition, bytes) else disposition.encode()) + b"\r\n", content or c.png())])


def shown_name(answer):
    return answer.json()["images"][0]["filename"]


TRAVERSAL = ("../../../canary.txt", "/etc/passwd", "..\\..\\canary.txt", "C:\\dir\\a.png", "\\\\unc\\share\\a.png", "/abs/a.png", ".", "..", "a/../../b.png", "....//a.png",
             "..%2f..%2fcanary.txt", "../../etc/passwd%00.png", "/tmp/canary", "home/.profile", "./a.png", "a.png/", "//a.png")


def check_names(c, names, quote=lambda n: n.replace('"', "%22")):
    got, shown = {}, {}
    for name in names:
        answer = got[name if len(name) < 40 else f"{name[:8]}… ({len(name)})"] = named(c, f'name="file"; filename="{quote(name)}"')
        if answer.status == 202:
            shown[name] = shown_name(answer) or ""
            c.check(not re.search(r"[/\\\x00-\x1f\x7f]", shown[name]) and shown[name] not in (".", ".."), f"{name!r} is shown as {shown[name]!r}")
            c.check(len(shown[name].encode()) <= 1024, f"a name of {len(name)} is shown in {len(shown[name])}")
    return got, shown


@case("B31", "13 traversals and 7 invalid names", expected="202 with a harmless display name, stored under our id only", quick=True)
def traversal(c):
    got, shown = check_names(c, TRAVERSAL)
    c.statuses(got, 202)
    c.note(f"such as {TRAVERSAL[0]} shown as {shown.get(TRAVERSAL[0])!r}")
    path = pathlib.Path(os.environ.get("PIXMILL_CORPUS", "/nonexistent")) / "mp-cases/cases.jsonl"
    told = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    cases = [t for t in told if "django" in t["suite"] and t.get("png_variant")]
    if not cases:
        c.note("mp-cases django-filenames left out: PIXMILL_CORPUS is not set")
        return
    for t in cases:
        answer = c.post((path.parent / t["png_variant"]["body"]).read_bytes(), t["content_type"], "/v1/images?unknown_fields=metadata")
        allowed = {"accept": {202}, "reject": {400, 413, 415}}.get(t["service"], {202, 400, 413, 415})
        c.check(answer.status in allowed, f"{t['id']}: {answer}")
    c.note(f"{len(cases)} of mp-cases django-filenames")


@case("B32", "names of hosts, devices, and every length", expected="202 with a harmless display name", quick=True)
def odd_names(c):
    got, _ = check_names(c, ("CON", "con.png", "NUL.png", "a.png;.html", "a.png ", "a.png.", " a.png", "a" * 255, "b" * 4096, "%00.png", "-rf", "$(id).png", "`id`.png", "a.png'"))
    c.statuses(got, 202)
    got, _ = check_names(c, ("c" * 65536,))
    c.statuses(got, 400)  # a part's headers are bounded (B17)
    c.statuses({"empty": named(c, 'name="file"; filename=""')}, {202, 400})


@case("B33", "NUL, newline, ESC, RTL override, emoji, broken UTF-8, latin-1", expected="stored as data; JSON and log escape them", quick=True)
def odd_bytes(c):
    names = {"RTL": "a\u202egnp.exe", "emoji": "\U0001f600.png", "latin-1": "s\xf8n.png".encode("latin-1"), "broken UTF-8": b"a\xff\xfe\xc3(.png", "overlong": b"\xc0\xae\xc0\xae/a.png",
             "Polish": "słońce.png", "Chinese": "照片.png", "BOM": "\ufeffa.png", "line separator": "a\u2028ERROR b.png", "C1": "a\x9b31mb.png"}
    got = {n: named(c, b'name="file"; filename="' + (v if isinstance(v, bytes) else v.encode()) + b'"') for n, v in names.items()}
    c.statuses(got, 202)
    for n, v in (("emoji", "\U0001f600.png"), ("Polish", "słońce.png"), ("Chinese", "照片.png")):
        c.check(got[n].status == 202 and shown_name(got[n]) == v, f"{n} is shown as {shown_name(got[n])!r}")
    # Percent-coded controls of filename* are data like any other once decoded.
    starred = {n: named(c, f"name=\"file\"; filename*=UTF-8''a{v}b.png") for n, v in (("NUL", "%00"), ("newline", "%0D%0AERROR%20forged"), ("ESC", "%1B%5B31m"))}
    for name, answer in starred.items():
        c.check(answer.status in (202, 400), f"filename* with {name}: {answer}")
        c.check(not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", answer.body), f"filename* with {name}: a raw control in the JSON")
    c.check("\nERROR forged" not in c.log() and "forged" not in [line[:6] for line in c.log().splitlines()], "a file name split a log line")


@case("B34", "the name in Content-Disposition of a download", expected="RFC 6266 and 8187; no header injection, no reflected download", quick=True)
def downloads(c):
    for name in ('a"b.png', "słońce.png", "a%0d%0aSet-Cookie: x=1.png", "run.bat", "a;b.png", "\U0001f600.png", "x.html"):
        answer = named(c, f"name=\"file\"; filename*=UTF-8''{urllib.parse.quote(name)}")
        if not c.check(answer.status == 202, f"{name!r}: {answer}"):
            continue
        path = urllib.parse.urlsplit(answer.json()["images"][0]["url"]).path
        got = c.get(path)
        said = got.headers.get("content-disposition", "")
        c.check(got.status == 200 and got.headers.get("content-type") == "image/png", f"{name!r}: {got} {got.headers.get('content-type')}")
        c.check("set-cookie" not in got.headers and all(32 <= ord(ch) < 127 for ch in said), f"{name!r}: {said!r}")
        c.check(re.fullmatch(r'(inline|attachment)(; filename="([^"\\]|\\.)*")?(; filename\*=UTF-8\'\'[A-Za-z0-9%!#$&+.^_`|~-]*)?', said), f"{name!r}: {said!r}")
        c.check(not re.search(r"\.(bat|html|exe|cmd)(\"|$|;)", said), f"{name!r} comes back as a program or page: {said}")
    c.note(f"such as {said}")


@case("B35", "filename* alone, beside and before filename", expected="a file, 202", quick=True)
def starred(c):
    forms = {"only": "name=\"file\"; filename*=UTF-8''%e2%82%ac.png", "both": "name=\"file\"; filename=\"e.png\"; filename*=UTF-8''%e2%82%ac.png",
             "before": "name=\"file\"; filename*=UTF-8''%e2%82%ac.png; filename=\"e.png\"", "other field": "name=\"x\"; filename*=UTF-8''%e2%82%ac.png"}
    got = {n: named(c, d) for n, d in forms.items()}
    c.statuses(got, 202)
    names = {shown_name(a) for a in got.values() if a.status == 202}
    c.check(names == {"\u20ac.png"}, f"shown as {names}")


@case("B36", "a name inside of a quoted file name", expected="the field is the one after it, else 400", quick=True)
def injected(c):
    file_first = named(c, 'filename="x; name=evil"; name="file"')
    c.check(file_first.status == 202 and shown_name(file_first) == "x; name=evil", f"{file_first}")
    # `evil` would be a text field nobody knows: taken as such, the request had no file.
    escaped = named(c, 'filename="x\\"; name=evil; y=\\""; name="file"')
    c.statuses({"plain": file_first, "escaped": escaped}, {202, 400})
    tail = named(c, 'name="file"; filename="C:\\dir\\"')
    c.check(tail.status in (202, 400), f"a name that ends in a backslash: {tail}")
    c.note(f"ending in a backslash: {tail}")


@case("B37", "no file name on a file field", expected="a file, 202", quick=True)
def no_filename(c):
    c.statuses({f: named(c, f'name="{f}"') for f in ("file", "files", "files[]", "image", "images", "images[]")}, 202)


@case("B38", "names and types that lie", expected="decided by content", quick=True)
def lies(c):
    def send(content, filename, declared):
        return c.post_parts([file_part(content, filename, more=f"Content-Type: {declared}\r\n" if declared else "")])
    html = b"<!doctype html><script>alert(1)</script>" + b" " * 600
    got = {n: send(c.png(), n, t) for n, t in (("a.jpg", "image/jpeg"), ("a.html", "text/html"), ("a", None), ("a.svg", "image/svg+xml"), ("a.php", "application/x-php"))}
    c.statuses(got, 202)
    c.check({a.json()["images"][0]["format"] for a in got.values() if a.status == 202} == {"png"}, "a name decided over the content")
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>'
    c.statuses({"html as png": send(html, "a.png", "image/png"), "svg as jpeg": send(svg, "a.jpg", "image/jpeg"), "text": send(b"text", "a.webp", "image/webp")}, 415)
    jpeg = c.jpeg(64, 64, 4000)
    taken = c.request("PUT", "/v1/images/x.svg", [("Content-Type", "image/svg+xml")], jpeg)
    c.check(taken.status == 202 and taken.json()["images"][0]["format"] == "jpeg", f"a JPEG sent as SVG: {taken}")


@case("B39", "the same file name twice in a request", expected="two ids", quick=True)
def same_names(c):
    answer = c.post_parts([file_part(c.png(), "same.png"), file_part(c.png(), "same.png")])
    ids = {i["id"] for i in answer.json().get("images", [])} if answer.status == 202 else set()
    c.check(len(ids) == 2, f"{answer}, ids {ids}")
    c.note(f"{answer}, {len(ids)} ids")


@case("B40", "unquoted names (.NET), spaces around =", expected="202", quick=True)
def unquoted(c):
    forms = {"unquoted": "name=file; filename=a.png", ".NET": "name=file; filename=a.png; filename*=utf-8''a.png", "spaces": 'name= "file"; filename= "a.png"',
             "no spaces": 'name="file";filename="a.png"', "trailing ;": 'name="file"; filename="a.png";'}
    c.statuses({n: named(c, d) for n, d in forms.items()}, 202)
    body = form([("content-disposition: form-data; name=file; filename=a.png\r\n", c.png())])
    quoted = c.raw([head("POST", "/v1/images", [("Content-Type", f'Multipart/Form-Data; Boundary="{BOUNDARY}"'), ("Content-Length", str(len(body)))], c.host), body])
    c.check(quoted.status == 202, f"quoted boundary, odd case: {quoted}")
