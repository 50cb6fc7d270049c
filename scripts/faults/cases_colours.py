"""How pictures look in the end, B90, B93 and B94: upright, in sRGB, without halos. Results are PNGs, whose pixels are looked at here."""
import os
import urllib.parse
import zlib

import common
import images
from cases_images import told
from harness import Skip, case

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def result(c, data, options="f=png"):
    """(task, width, height, rows of pixels) of a PNG variant, or None and a failed check."""
    kind, task, _ = told(c, data, options)
    if not c.check(kind == "picture", f"{options}: {kind} {task}"):
        return None
    return (task, *images.pixels(c.get(urllib.parse.urlsplit(task["url"]).path).body))


def rows_of(pixels):
    return b"".join(b"\0" + b"".join(bytes(pixel) for pixel in row) for row in pixels)


# What the stored picture shows for each orientation, from the picture as it should be seen (Exif 2.32, tag 0x0112).
STORED = {1: lambda p: p, 2: lambda p: [row[::-1] for row in p], 3: lambda p: [row[::-1] for row in p[::-1]], 4: lambda p: p[::-1],
          5: lambda p: [list(column) for column in zip(*p)], 6: lambda p: [list(column) for column in zip(*p)][::-1],
          7: lambda p: [list(column)[::-1] for column in zip(*p)][::-1], 8: lambda p: [list(column)[::-1] for column in zip(*p)]}


@case("B90", "Exif orientations 1 to 8, 0, 9, none, rubbish", expected="upright to the last pixel, sides told as shown, no tag in the result", quick=True)
def orientations(c):
    seen = [[(RED, GREEN, BLUE)[(x // 10 + y // 7) % 3] for x in range(40)] for y in range(28)]
    for orientation in range(10):
        stored = STORED.get(orientation, STORED[1])(seen)
        block = images.exif([(0x0112, 3, 1, orientation.to_bytes(2, "big"))])[6:]
        data = images.png(len(stored[0]), len(stored), rows=rows_of(stored), before=[common.chunk(b"eXIf", block)])
        found = result(c, data)
        if found:
            task, width, height, pixels = found
            c.check((width, height) == (40, 28) == (task["result"]["width"], task["result"]["height"]), f"{orientation}: {width} x {height}")
            c.check([[pixel[:3] for pixel in row] for row in pixels] == seen, f"{orientation}: not upright")
        jpeg = images.with_segment(c.jpeg(120, 80, 8000), 0xE1, images.exif([(0x0112, 3, 1, orientation.to_bytes(2, "big"))]))
        kind, task, _ = told(c, jpeg, "f=jpg")
        sides = (80, 120) if 5 <= orientation <= 8 else (120, 80)
        if c.check(kind == "picture", f"JPEG {orientation}: {kind} {task}"):
            c.check((task["result"]["width"], task["result"]["height"]) == sides, f"JPEG {orientation}: {task['result']}")
            c.check(b"Exif" not in c.get(urllib.parse.urlsplit(task["url"]).path).body, f"JPEG {orientation}: the tag is in the result")
    rubbish = images.png(40, 28, rows=rows_of(seen), before=[common.chunk(b"eXIf", os.urandom(60))])
    c.check((result(c, rubbish) or [0])[1:] == (40, 28, [[pixel for pixel in row] for row in seen]), "rubbish: not as stored")
    c.note("10 PNGs upright to the last pixel, 10 JPEGs of the right sides, none with the tag")


# Stored, and as sRGB: by the matrices of CSS Color 4 for Display P3, greys by the curves of Adobe RGB (2.19921875) and ProPhoto (1.8).
WANTED = {"DisplayP3-v4.icc": ((200, 100, 50), (215, 93, 31)), "AdobeCompat-v4.icc": ((128, 128, 128), (129, 129, 129)), "sRGB-v4.icc": ((200, 100, 50), (200, 100, 50)),
          "ProPhoto-v4.icc": ((128, 128, 128), (146, 146, 146))}


@case("B93", "colour profiles: Display P3, Adobe, ProPhoto, sRGB, and broken ones", expected="sRGB; by scripts/compare/colours a mean dE2000 below 3 to libvips", quick=True)
def profiles(c):
    root = os.environ.get("PIXMILL_CORPUS")
    if not root:
        raise Skip("PIXMILL_CORPUS is not set")
    profile = {name: data for name, data in ((n.rsplit("/", 1)[1], d) for n, d in images.corpus("img-icc"))}

    def shown(stored, icc):
        packed = common.chunk(b"iCCP", b"x\0\0" + zlib.compress(icc))
        found = result(c, images.png(8, 8, rows=rows_of([[stored] * 8] * 8), before=[packed]))
        return found[3][4][4][:3] if found else None
    for name, (stored, wanted) in WANTED.items():
        got = shown(stored, profile[name])
        c.check(got and all(abs(a - b) <= 1 for a, b in zip(got, wanted)), f"{name}: {stored} became {got}, wanted {wanted}")
        c.note(f"{name}: {stored} became {got}")
    whole = profile["DisplayP3-v4.icc"]
    for name, icc in {"rubbish": os.urandom(400), "cut": whole[:100], "empty": b"", "grey": profile["sGrey-v4.icc"]}.items():
        got = shown((200, 100, 50), icc)
        c.check(got == (200, 100, 50), f"a profile that is {name}: became {got}, wanted as stored")


@case("B94", "16 bits, 1, 2 and 4 bits, palettes, grey with alpha, edges of what is transparent", expected="the right values; no halo", quick=True)
def depths(c):
    for bits in (1, 2, 4):
        stride, full = (8 * bits + 7) // 8, (1 << bits) - 1
        bit_rows = b"".join(b"\0" + b"\xff" * (stride // 2 or 1) + b"\0" * (stride - (stride // 2 or 1)) for _ in range(8))
        found = result(c, images.png(8, 8, colour=0, bits=bits, rows=bit_rows))
        first = found and found[3][0]
        c.check(bool(first) and first[0][:3] == WHITE and (stride == 1 or first[7][:3] == (0, 0, 0)), f"{bits} bits: {first} of {full}")
    deep = b"".join(b"\0" + (0x8080).to_bytes(2, "big") * 3 * 8 for _ in range(8))
    found = result(c, images.png(8, 8, bits=16, rows=deep))
    c.check(bool(found) and found[3][0][0][:3] == (128, 128, 128), f"16 bits: {found and found[3][0][0]}")
    palette = [common.chunk(b"PLTE", bytes((9, 8, 7, 90, 80, 70))), common.chunk(b"tRNS", bytes((40,)))]
    found = result(c, images.png(8, 8, colour=3, bits=8, rows=(b"\0" + b"\0\1" * 4) * 8, before=palette))
    c.check(bool(found) and found[3][0][:2] == [(9, 8, 7, 40), (90, 80, 70, 255)], f"palette: {found and found[3][0][:2]}")
    # A white square on what is transparent and, unseen, black, green, red: whatever is left to see when it is made small is white.
    for unseen in ((0, 0, 0), GREEN, RED):
        square = [[(*WHITE, 255) if 20 <= x < 77 and 20 <= y < 77 else (*unseen, 0) for x in range(97)] for y in range(97)]
        for options in ("f=png&w=31", "f=png&w=60&bl=1.5", "f=png&w=45&rot=90"):
            found = result(c, images.png(97, 97, colour=6, rows=rows_of(square)), options)
            edge = [pixel for row in (found[3] if found else []) for pixel in row if 8 < pixel[3] < 250]
            worst = min((min(pixel[:3]) for pixel in edge), default=255)
            c.check(bool(found) and edge and worst >= 250, f"over {unseen}, {options}: {len(edge)} pixels of the edge, the darkest {worst}")
    c.note("9 squares over black, green and red that cannot be seen: edges stay white")
