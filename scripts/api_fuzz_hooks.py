"""What schemathesis must be told about pixmill: real images for bodies, real ids for paths, and each exclusion with its reason.

Loaded by scripts/api-fuzz through SCHEMATHESIS_HOOKS; PIXMILL_FUZZ_URL names the server. Only cases that are meant to be valid
are touched: what is meant to be wrong goes out as it was made.
"""
import json
import os
import random
import struct
import sys
import urllib.request
import zlib

import schemathesis
from schemathesis.core.parameters import ParameterLocation
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.generation import GenerationMode
from schemathesis.transport.serialization import Binary

URL = os.environ["PIXMILL_FUZZ_URL"]
NIL = "00000000-0000-7000-8000-000000000000"

# Results of more than this many pixels a side would fill the time with work nobody looks at.
SIDE_PX = 200

# One of our own: hypothesis reseeds the common one before each case.
CHANCE = random.Random(1)


def png(width=24, height=16, seed=1):
    """A PNG of coloured noise, made here so that no binary lies in the repository."""
    chance = random.Random(seed)
    rows = b"".join(b"\0" + chance.randbytes(3 * width) for _ in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def jpeg(blocks=2):
    """A grey JPEG of `blocks` x `blocks` blocks: one table of each kind, every coefficient zero (ITU-T T.81, annex B)."""
    side = 8 * blocks

    def segment(marker, data):
        return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data

    one_code = bytes([1] + [0] * 15) + b"\0"  # a single code, 0, for the value 0
    bits = "00" * blocks * blocks
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return (b"\xff\xd8" + segment(0xDB, b"\0" + bytes([16] * 64))
            + segment(0xC0, struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\0")
            + segment(0xC4, b"\0" + one_code) + segment(0xC4, b"\x10" + one_code)
            + segment(0xDA, b"\x01\x01\0\0\x3f\0") + scan + b"\xff\xd9")


def upload():
    """One finished upload to ask about."""
    request = urllib.request.Request(f"{URL}/v1/images?variant=thumb%3Dw:16/f:webp", png(), {"Content-Type": "image/png", "Prefer": "wait=60"})
    with urllib.request.urlopen(request, timeout=90) as answer:
        return json.load(answer)


def batch():
    """A batch of no images: it ends at once."""
    body = json.dumps({"variants": {"wide": "w:16"}, "filter": {"min_width": 60_000}}).encode()
    request = urllib.request.Request(f"{URL}/v1/batches", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=90) as answer:
        return json.load(answer)["id"]


def ids_of(known):
    """Path parameters that name what this upload made."""
    image = known["images"][0]
    return {
        "/v1/batches/{id}": {"id": batch()},
        "/v1/uploads/{id}": {"id": known["id"]},
        "/v1/jobs/{id}": {"id": image["job"]},
        "/v1/images/{name}": {"name": image["id"]},
        "/v1/images/{name}/variants": {"name": image["id"]},
        "/v1/uploads/{id}/events": {"id": known["id"]},
        "/v1/jobs/{id}/retry": {"id": image["job"]},
        "/i/{image}": {"image": image["id"]},
        "/i/{image}/{variant}": {"image": image["id"], "variant": "thumb.webp"},
    }


IDS = ids_of(upload())


# Options with several arguments, and a text of the grammar for each.
SEVERAL = {
    "resize": "fit:64:64", "size": "64:64", "crop": "8:8", "gravity": "no", "flip": "1:0", "trim": "10", "zoom": "0.5", "extend": "1",
    "duotone": "102030:ffeedd", "border": "2:ff0000", "padding": "1:2:3:4", "watermark_text": "SGk:8",
}


def is_valid(case):
    return case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE


def tame(options):
    """Values that the schema allows and the service refuses by rules no schema can say."""
    # Several arguments in one text: their grammar is beyond a pattern; a valid one stands for it.
    for name, valid in SEVERAL.items():
        if name in options:
            options[name] = valid
    # Of a watermark somebody put there.
    options.pop("watermark", None)
    for name in ("width", "height", "min-width", "min-height"):
        if name in options:
            options[name] = min(int(options[name]), SIDE_PX)
    for name in ("fpx", "fpy", "dpr", "contrast", "saturation", "gamma", "hue", "blur", "sharpen", "dither"):
        if name in options:
            # The grammar has no exponents.
            options[name] = round(float(options[name]), 3)
    # What no quality can keep is refused by what the picture turns out to weigh.
    if "max_bytes" in options:
        options["max_bytes"] = max(int(options["max_bytes"]), 1 << 20)
    # A variant's options are a grammar of their own, and names differ within a request.
    if options.get("variant"):
        options["variant"] = [f"v{n}=w:{16 + n}" for n in range(min(len(options["variant"]), 4))]
    # Presets by the names the service has; one of each, for a preset names its variant.
    if options.get("preset"):
        options["preset"] = ["thumbnail", "filter"][: len(options["preset"])]
    if "process_type" in options:
        options["process_type"] = "thumbnail"
        options.pop("preset", None)


def tame_filter(path, body):
    """Which images or jobs are meant: words that exist, bounds in order, and something that is asked for."""
    for bounds in (body, body.get("filter")):
        if isinstance(bounds, dict):
            for least, most in (("since", "until"), ("min_width", "max_width"), ("min_height", "max_height")):
                if least in bounds:
                    bounds.pop(most, None)
    if path == "/v1/batches":
        body["preset"] = "thumbnail"
    # Everything is cancelled by a filter that says so, never by an empty one.
    if path == "/v1/jobs/cancel" and "since" not in body:
        body["until"] = "2026-11-20T08:00:00Z"


@schemathesis.hook
def before_call(context, case, kwargs):
    # As long as it is asked to take, which an answer may not: 10 s.
    seconds = str((case.query or {}).get("seconds", "")) if case.operation.path == "/debug/profile" else ""
    if case.operation.path == "/debug/profile" and (not seconds or seconds.isascii() and seconds.isdigit() and 1 <= int(seconds) <= 60):
        case.query = {**(case.query or {}), "seconds": 1}
    if is_valid(case):
        make_real(case)
        # schemathesis looks at a changed case again and takes bytes, which it cannot look into, for wrong.
        case._meta.clear_dirty(ParameterLocation.BODY)
        case._meta.update_validated_hash(ParameterLocation.BODY, case._hash_container(case.body))


def make_real(case):
    path = case.operation.path
    # Three ids of four are real, the rest stay as they were made. What is deleted is an upload of its own.
    if case.method.upper() == "DELETE" and CHANCE.random() < 0.5:
        case.path_parameters = ids_of(upload())[path]
    elif case.method.upper() not in ("PUT", "DELETE") and path in IDS and CHANCE.random() < 0.75:
        case.path_parameters = dict(IDS[path])
    if isinstance(case.query, dict) and (path == "/v1/explain" or case.body is not None and case.method.upper() in ("POST", "PUT")):
        tame(case.query)
    # A long wait for what never ends would only cost time.
    if isinstance(case.query, dict) and "wait" in case.query:
        case.query["wait"] = min(int(case.query["wait"]), 1)
    if isinstance(case.body, dict) and case.media_type == "multipart/form-data":
        tame(case.body)
        if "file" in case.body:
            case.body["file"] = [Binary(png()), Binary(jpeg())] if isinstance(case.body["file"], list) else Binary(png())
        # The same option in the form and in the query is one too many.
        if isinstance(case.query, dict):
            for name in list(case.query):
                if name in case.body:
                    del case.query[name]
            # A preset named by both its names is one too many, too.
            if "process_type" in case.query or "process_type" in case.body:
                case.query.pop("preset", None)
                case.body.pop("preset", None)
        if "/process" in path:
            one_variant(case)
    elif case.media_type == "application/json":
        if isinstance(case.body, dict):
            tame_filter(path, case.body)
        # Options are a grammar of their own here, too.
        if isinstance(case.body, dict) and isinstance(case.body.get("variants"), dict):
            case.body["variants"] = {f"v{n}": f"w:{16 + n}" for n in range(min(len(case.body["variants"]), 4))}
    elif case.method.upper() in ("POST", "PUT") and case.body is not None:
        case.body = Binary(CHANCE.choice((png, jpeg))())
        if "/process" in path:
            one_variant(case)
    headers = case.headers if case.headers is not None else {}
    for name in list(headers):
        # A digest that is right belongs to bytes that were replaced above; a key may be used once.
        if name.lower() in ("repr-digest", "idempotency-key"):
            del headers[name]
        # Only the tag of the moment matches, which no schema can know.
        elif name.lower() == "if-match":
            headers[name] = "*"
        # How long a file is, no schema can know either.
        elif name.lower() == "range":
            headers[name] = "bytes=0-9"


@schemathesis.hook
def after_call(context, case, response):
    # A list told it what we know, and it deleted that.
    if case.method.upper() == "DELETE" and response.status_code == 204 and case.path_parameters == IDS[case.operation.path]:
        IDS.update(ids_of(upload()))


@schemathesis.hook
def filter_failure(context, failure, case, response):
    # A valid id may be that of something deleted: 410 is to it what 404 is to an unknown one, and described.
    return not (isinstance(failure, RejectedPositiveData) and response.status_code == 410)


def one_variant(case):
    """`/v1/process` makes exactly one variant: bare options, and nothing beside them."""
    for options in (case.query, case.body):
        if isinstance(options, dict):
            options.pop("variant", None)
            options.pop("preset", None)
