"""What `variants` and `all` share: results asked of every side in turns, their medians, and whether all sides made the same."""
import os
import pathlib
import shutil
import statistics

import jpeg_sides as common

WANTED = ("sharp", "pyvips", "pillow")
# How far a result's bytes may be from the median of all sides before it is said aloud.
BYTES_APART = 1.5


def opened(args, image_crate=False):
    """{name: Side}: ours, the peers that are there, and the plain `image` crate."""
    ours = common.built(args, "compare_side")
    found = common.sides(args, ours, WANTED, "make")
    if image_crate:
        found["image"] = common.Side("image", [ours, "image"])
    return found


def versions(found):
    return "; ".join(side.ask("version")[1] for name, side in found.items() if name != "ours")


def picture(data):
    """(width, height, kind) from the bytes of a JPEG, PNG, WebP, GIF or AVIF."""
    if data[:4] == b"GIF8":
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little"), "gif"
    if data[4:8] == b"ftyp":
        # The box of the sides; the largest is the picture's, where alpha or tiles have their own.
        at, sides = data.find(b"ispe"), []
        while at >= 0:
            sides.append((int.from_bytes(data[at + 8:at + 12], "big"), int.from_bytes(data[at + 12:at + 16], "big")))
            at = data.find(b"ispe", at + 4)
        return *max(sides), "avif"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"), "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        if data[12:16] == b"VP8 ":
            return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF, "webp lossy"
        if data[12:16] == b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, "webp lossless"
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1, "webp extended"
    if data[:2] != b"\xff\xd8":
        raise SystemExit(f"a result begins with {data[:16]!r}: no figure")
    at = 2
    while data[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + int.from_bytes(data[at + 2:at + 4], "big")
    height, width = (int.from_bytes(data[at + o:at + o + 2], "big") for o in (5, 7))
    sampling = [data[at + 11 + 3 * i] for i in range(data[at + 9])]
    kinds = {(0x22, 0x11, 0x11): "jpeg 4:2:0", (0x21, 0x11, 0x11): "jpeg 4:2:2", (0x11, 0x11, 0x11): "jpeg 4:4:4"}
    return width, height, "jpeg gray" if len(sampling) == 1 else kinds.get(tuple(sampling), f"jpeg {sampling}")


def checked(case, sides, tasks):
    """Says what differs among the results {label: [(width, height, kind, bytes)]}; a side that made another size is no figure."""
    notes = []
    for index, task in enumerate(tasks):
        widths, heights, sizes = zip(*((made[index][0], made[index][1], made[index][3]) for made in sides.values()))
        if max(widths) - min(widths) > 1 or max(heights) - min(heights) > 1:
            raise SystemExit(f"{case}, {task}: sides differ, {', '.join(f'{label} {made[index]}' for label, made in sides.items())}: no figure")
        middle = statistics.median(sizes)
        for label, made in sides.items():
            if not middle / BYTES_APART <= made[index][3] <= middle * BYTES_APART:
                notes.append(f"{case}, {task}: {label} writes {made[index][3]} bytes ({made[index][2]}), the median is {middle:.0f}")
    for note in notes:
        common.say(f"DIFFERS: {note}")
    return notes


def measure(args, found, cases):
    """`cases`: {case: (path, [task], [(label, side, how)])}. {case: {"sides": {label: {ms, cpu_ms, runs, cpu, made}}, "notes"}}.

    Round 0 warms up, writes the results and checks them, and is not counted; then the order of the sides turns by one each round.
    """
    got = {case: {"sides": {}, "notes": []} for case in cases}
    out = common.scratch().parent / f"make-{os.getpid()}"
    for case, (path, tasks, asked) in cases.items():
        for label, side, how in asked:
            out.mkdir(parents=True, exist_ok=True)
            found[side].ask("make", path, how, out, *tasks)
            files = [(out / f"{i}.{task.split(':')[1]}").read_bytes() for i, task in enumerate(tasks)]
            shutil.rmtree(out)
            got[case]["sides"][label] = {"runs": [], "cpu": [], "made": [(*picture(data), len(data)) for data in files]}
        got[case]["notes"] = checked(case, {label: one["made"] for label, one in got[case]["sides"].items()}, tasks)
    for r in range(args.rounds):
        for case, (path, tasks, asked) in cases.items():
            turn = r % len(asked)
            for label, side, how in asked[turn:] + asked[:turn]:
                before = found[side].cpu_ms()
                ms, *made = found[side].ask("make", path, how, "-", *tasks)
                one = got[case]["sides"][label]
                one["runs"].append(round(ms, 3))
                one["cpu"].append(round(found[side].cpu_ms() - before, 3))
            common.say(f"round {r + 1}/{args.rounds} {case if isinstance(case, str) else ' to '.join(case)}")
    for case in got.values():
        for one in case["sides"].values():
            one["ms"], one["cpu_ms"] = statistics.median(one["runs"]), statistics.median(one["cpu"])
    return got


def corpus_photo(name):
    """A large photo of PIXMILL_CORPUS, or None."""
    corpus = os.environ.get("PIXMILL_CORPUS")
    path = pathlib.Path(corpus) / "large-photos" / name if corpus else None
    if path and not path.is_file():
        raise SystemExit(f"{path} is not there")
    return path


def table(columns, rows):
    """A Markdown table."""
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print()
