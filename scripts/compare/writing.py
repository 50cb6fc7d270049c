"""What `animated`, `colours`, `metadata` and `upright` share: our side writing one variant of a file, Pillow's or pyvips' Python, the corpus."""
import argparse
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


class Side:
    """`compare_side`, which is started once and takes orders."""

    def __init__(self, program):
        self.process = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def write(self, path, out, options):
        """["ok", nanoseconds, bytes], or what went wrong."""
        self.process.stdin.write(f"write\t{path}\t{out}\t{options}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n").split("\t")


def arguments(doc):
    ap = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--side", type=pathlib.Path, default=ROOT / "target/release/examples/compare_side", help="our program")
    ap.add_argument("--peers", type=pathlib.Path, default=ROOT / "target/compare", help="where scripts/compare/install put them")
    ap.add_argument("--only", default="", help="part of a source's name")
    return ap


def started(ap):
    """(arguments, our side), in the Python that has the peers: this process becomes that one where it is another."""
    args = ap.parse_args()
    python = args.peers / "venv/bin/python"
    if pathlib.Path(sys.prefix).resolve() != (args.peers / "venv").resolve():
        if not python.is_file():
            sys.exit("the peers are not installed: scripts/compare/install")
        os.execv(python, [str(python), *sys.argv])
    if not args.side.is_file():
        sys.exit(f"{args.side} is not built: cargo build --release -p image-pipeline --example compare_side")
    return args, Side(args.side)


def scratch(name):
    folder = ROOT / "target/compare" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def corpus():
    """The folder of PIXMILL_CORPUS, or None and a word about it."""
    found = os.environ.get("PIXMILL_CORPUS")
    if not found:
        print("PIXMILL_CORPUS is not set: only what is made here is looked at", file=sys.stderr)
    return pathlib.Path(found) if found else None
