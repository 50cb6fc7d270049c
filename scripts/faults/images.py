"""Pictures for the cases: small ones and hostile ones made in code, and the files of PIXMILL_CORPUS. Knows no server and no case."""
import os
import pathlib
import struct
import zlib

import common

# What a corpus holds beside pictures.
NO_PICTURES = (".md", ".txt", ".py", ".json", ".md5", ".markdown")


def png(width_px, height_px, colour=2, bits=8, rows=None, before=(), idat=None):
    """A PNG of these sides; `before` are chunks before its pixels, `rows` its bytes (zeros if none), `idat` its packed bytes."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    stride = 1 + (width_px * samples * bits + 7) // 8
    if idat is None:
        packer = zlib.compressobj(1)
        if rows is None:
            idat = b"".join(packer.compress(bytes(stride * min(256, height_px - y))) for y in range(0, height_px, 256)) + packer.flush()
        else:
            idat = packer.compress(rows) + packer.flush()
    header = struct.pack(">IIBBBBB", width_px, height_px, bits, colour, 0, 0, 0)
    unique = common.chunk(common.PRIVATE, os.urandom(16))
    return b"\x89PNG\r\n\x1a\n" + common.chunk(b"IHDR", header) + unique + b"".join(before) + common.chunk(b"IDAT", idat) + common.png_end()


def gif(width_px, height_px, frames=1, frame_px=(1, 1)):
    """A GIF of so many frames of one colour."""
    head = b"GIF89a" + struct.pack("<HHBBB", width_px, height_px, 0x80, 0, 0) + bytes(3) + b"\xff" * 3
    image = b"\x21\xf9\x04\0\x05\0\0\0" + b"\x2c" + struct.pack("<HHHHB", 0, 0, *frame_px, 0) + b"\x02\x02\x44\x01\0"
    return head + b"\x21\xfe\x10" + os.urandom(8).hex().encode() + b"\0" + image * frames + b"\x3b"


def segments(jpeg):
    """[(marker, first byte, end)] of a JPEG up to its end; a scan's coded bytes belong to its SOS."""
    at, found = 2, []
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker, end = jpeg[at + 1], at + 2 + int.from_bytes(jpeg[at + 2:at + 4], "big")
        if marker == 0xDA:
            while end + 1 < len(jpeg) and not (jpeg[end] == 0xFF and jpeg[end + 1] not in (0, *range(0xD0, 0xD8))):
                end += 1
        found.append((marker, at, end))
        at = end
        if jpeg[at:at + 2] == b"\xff\xd9":
            break
    return found


def with_frame(jpeg, marker=None, precision=None, sides=None):
    """The JPEG with another SOF marker, precision or size (width, height)."""
    out = bytearray(jpeg)
    at = next(first for kind, first, _ in segments(jpeg) if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC))
    if marker is not None:
        out[at + 1] = marker
    if precision is not None:
        out[at + 4] = precision
    if sides is not None:
        out[at + 5:at + 9] = struct.pack(">HH", sides[1], sides[0])
    return bytes(out)


def with_segment(jpeg, marker, payload):
    """The JPEG with a further segment right after SOI."""
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def exif(entries, gps=(), thumbnail=b""):
    """An Exif payload: `entries` and `gps` are (tag, type, count, four bytes or more); strings longer than four bytes are put behind."""
    def directory(at, entries, next_at=0):
        body, behind, after = struct.pack(">H", len(entries)), b"", at + 2 + 12 * len(entries) + 4
        for tag, kind, count, value in entries:
            if len(value) > 4:
                body += struct.pack(">HHII", tag, kind, count, after + len(behind))
                behind += value
            else:
                body += struct.pack(">HHI", tag, kind, count) + value.ljust(4, b"\0")
        return body + struct.pack(">I", next_at) + behind

    first = directory(8, [*entries, (0x8825, 4, 1, bytes(4))])
    gps_at = 8 + len(first)
    place = directory(gps_at, list(gps))
    second_at = gps_at + len(place)
    thumbs = directory(second_at, [(0x0201, 4, 1, struct.pack(">I", second_at + 2 + 24 + 4)), (0x0202, 4, 1, struct.pack(">I", len(thumbnail)))])
    first = directory(8, [*entries, (0x8825, 4, 1, struct.pack(">I", gps_at))], second_at if thumbnail else 0)
    return b"Exif\0\0MM\0*" + struct.pack(">I", 8) + first + place + (thumbs + thumbnail if thumbnail else b"")


def corpus(*folders, most_bytes=None):
    """[(name, bytes)] of the corpus' pictures, all of them or those of some folders; nothing where there is no corpus."""
    root = os.environ.get("PIXMILL_CORPUS")
    if not root:
        return []
    root, found = pathlib.Path(root), []
    for folder in sorted(folders or (f.name for f in root.iterdir() if f.is_dir() and f.name != "mp-cases")):
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and path.suffix.lower() not in NO_PICTURES and (most_bytes is None or path.stat().st_size <= most_bytes):
                found.append((str(path.relative_to(root)), path.read_bytes()))
    return found


def pixels(data):
    """(width, height, rows of tuples) of a PNG of 8 bits a channel, not interlaced."""
    at, packed, palette, alphas = 8, b"", b"", b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        at += 12 + length
        if kind == b"IHDR":
            width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
        packed += body if kind == b"IDAT" else b""
        palette, alphas = (body if kind == b"PLTE" else palette), (body if kind == b"tRNS" else alphas)
    if bits != 8 or interlaced or palette or alphas:
        raise ValueError(f"a PNG of {bits} bits, colour type {colour}")
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    stride, flat, rows, before = width * channels, zlib.decompress(packed), [], bytes(width * channels)
    for y in range(height):
        how, line = flat[y * (stride + 1)], bytearray(flat[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for x in range(stride):
            left, up, corner = (line[x - channels] if x >= channels else 0), before[x], (before[x - channels] if x >= channels else 0)
            nearest = min((left, up, corner), key=lambda value: (abs(left + up - corner - value), (left, up, corner).index(value)))
            line[x] = (line[x] + (0, left, up, (left + up) // 2, nearest)[how]) & 255
        before = bytes(line)
        grey = channels < 3
        rows.append([(line[x], line[x], line[x], *line[x + 1:x + channels]) if grey else tuple(line[x:x + channels]) for x in range(0, stride, channels)])
    return width, height, rows
