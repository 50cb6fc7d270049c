"""What `jpeg`, `jpeg-quality`, `variants` and `all` share: the sides as processes that take orders in turns, the photos, the example built.

Every side is a process started once and waiting while it is not its turn, all on one core, so that nobody pays for a start and
nobody works beside another.
"""
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parents[1]
CORPUS_PHOTOS = ("kleiber-6028x3391-baseline.jpg", "samsung-s7-edge-4032x3024.jpg", "craft-beer.jpg", "Elephants_5640x3172.jpg")
# Names of the two made up, and which kind each is.
MADE = {"made-baseline": ("1", "baseline"), "made-progressive": ("2", "progressive")}
MADE_SIDES_PX = ("6000", "4000")


def say(text):
    print(text, file=sys.stderr, flush=True)


class Side:
    """One process that takes orders."""

    def __init__(self, name, argv, env=None):
        self.name = name
        self.process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                                        env={**os.environ, "VIPS_CONCURRENCY": "1", "UV_THREADPOOL_SIZE": "1", **(env or {})})

    def ask(self, *order):
        """What is behind `ok`; the first field in milliseconds."""
        self.process.stdin.write("\t".join(str(field) for field in order) + "\n")
        answer = self.process.stdout.readline().rstrip("\n").split("\t")
        if answer[0] != "ok":
            raise SystemExit(f"{self.name}: {' '.join(map(str, order))}: {' '.join(answer[1:]) or 'gone'}: no figure")
        return [float(answer[1]) / 1e6, *answer[2:]]

    def cpu_ms(self):
        """Time its threads have had on a core so far, those that have ended included (what /proc/PID/task does not tell)."""
        # The clock of a process: what clock_getcpuclockid(3) makes of its id on Linux.
        return time.clock_gettime(~self.process.pid << 3 | 2) * 1e3

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


def arguments(ap):
    ap.add_argument("--peers", default=REPO / "target/compare", help="where scripts/compare/install put them (default: target/compare)")
    ap.add_argument("--ours", help="our side, the built example (default: it is built, in release)")
    ap.add_argument("--core", type=int, default=os.cpu_count() - 1, help="the one core all run on (default: the last)")
    ap.add_argument("--json", action="store_true", help="every figure, and no table")


def built(args, example="jpeg_side"):
    """Path of our side. One that was named may be any of the examples: the others are looked for beside it."""
    if args.ours:
        return pathlib.Path(args.ours).resolve().with_name(example)
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "-p", "image-pipeline", "--example", example], cwd=REPO, check=True)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target")) / "release/examples" / example


def sides(args, ours, wanted, programs="jpeg"):
    """{name: Side} of ours and those wanted that are there; the others are named. `programs` is how the peers' files begin. From here
    on this process has one core, too."""
    os.sched_setaffinity(0, {args.core})
    peers = pathlib.Path(args.peers).resolve()
    python = peers / "venv/bin/python"
    found = {"ours": Side("ours", [ours])}
    for name in wanted:
        if name == "sharp":
            if (peers / "node_modules/sharp").is_dir():
                found[name] = Side(name, ["node", HERE / f"{programs}_sharp.mjs", peers])
        elif os.access(python, os.X_OK) and subprocess.run([python, "-c", f"import {'PIL' if name == 'pillow' else name}"], stderr=subprocess.DEVNULL).returncode == 0:
            found[name] = Side(name, [python, "-B", HERE / f"{programs}_peer.py", name])
        if name not in found:
            say(f"LEFT OUT, not there: {name} (scripts/compare/install)")
    return found


def photos(args, found):
    """{name: path}: the corpus's four, and two made up here, written by Pillow (libjpeg-turbo's tables and scans)."""
    got = {}
    corpus = os.environ.get("PIXMILL_CORPUS")
    for name in CORPUS_PHOTOS if corpus else ():
        path = pathlib.Path(corpus) / "large-photos" / name
        if not path.is_file():
            raise SystemExit(f"{path} is not there")
        got[path.stem.split("-6028")[0].split("-edge")[0].split("_")[0]] = path
    if not corpus:
        say("LEFT OUT: the photos, PIXMILL_CORPUS names no folder")
    if "pillow" not in found:
        say("LEFT OUT: the photos made up, Pillow writes them")
        return got
    folder = scratch()
    for name, (seed, kind) in MADE.items():
        path = folder / f"{name}.jpg"
        if not path.is_file():
            say(f"making {path}")
            made = folder / f"{name}.ppm"
            found["ours"].ask("photo", seed, *MADE_SIDES_PX, made)
            found["pillow"].ask("save", made, path, kind)
            made.unlink()
        got[name] = path
    return got


def scratch():
    folder = REPO / "target/compare/jpeg"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def without_profile(path, folder):
    """A copy without its colour profile (APP2 ICC), so that nobody converts by it; the path itself where there is none."""
    data = path.read_bytes()
    kept, at = [data[:2]], 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        length = 2 + int.from_bytes(data[at + 2:at + 4], "big")
        if not (data[at + 1] == 0xE2 and data[at + 4:at + 15] == b"ICC_PROFILE"):
            kept.append(data[at:at + length])
        at += length
    kept.append(data[at:])
    bare = b"".join(kept)
    if len(bare) == len(data):
        return path
    copy = folder / f"{path.stem}-bare.jpg"
    copy.write_bytes(bare)
    return copy


def is_progressive(path):
    """Whether its frame is SOF2."""
    data, at = path.read_bytes(), 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] in (0xC0, 0xC1, 0xC2):
            return data[at + 1] == 0xC2
        at += 2 + int.from_bytes(data[at + 2:at + 4], "big")
    raise SystemExit(f"{path} has no frame this script knows")
