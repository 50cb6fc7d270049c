"""Loss of power, replayed: B100. The system calls of a real run are read from an strace; for moments along it the folder is built as a disk
could have it that kept only what was synced, and the server is started on that.

The model is the strict one: a file has the bytes of its last completed fsync or fdatasync, a name is there only if its folder was synced
after it was made (or its file, for the catalog's own files: as ext4 and xfs do). A commit in SQLite's log is in the file once that is synced.
"""
import hashlib
import json
import pathlib
import re
import shutil

from cases_disk import need_root
from harness import Skip, case, file_part

CALLS = "openat,write,pwrite64,writev,ftruncate,fdatasync,fsync,rename,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat"


def unescaped(text):
    return re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), text)


def calls_of(trace):
    """(name, raw arguments, result) of successful calls in the order of their ends."""
    open_ = {}
    for line in trace.split(b"\n"):
        thread, _, text = line.partition(b" ")
        text = text.lstrip()
        if text.endswith(b" <unfinished ...>"):
            open_[thread] = text[:-len(b" <unfinished ...>")]
            continue
        if text.startswith(b"<... "):
            text = open_.pop(thread, b"") + text.partition(b" resumed>")[2]
        found = re.match(rb"(\w+)\((.*)\)\s+= (\d+)", text, re.S)
        if found:
            yield found[1].decode(), found[2], int(found[3])


class Disk:
    """Files by inode, names by folder; what was synced apart from what was written."""

    def __init__(self, root):
        self.root, self.names, self.durable_names = str(root), {}, {}
        self.bytes, self.synced, self.next = {}, {}, 0

    def inode(self, path):
        if path not in self.names:
            self.names[path] = self.next
            self.bytes[self.next] = bytearray()
            self.next += 1
        return self.names[path]

    def mine(self, path):
        return path.startswith(self.root + "/")

    def apply(self, name, raw, result):
        strings = [unescaped(s).decode(errors="surrogateescape") for s in re.findall(rb'"((?:\\x[0-9a-f]{2})*)"', raw)]
        fd = re.match(rb"\d+<([^>]*)>", raw)
        path = unescaped(fd[1]).decode(errors="surrogateescape").removesuffix(" (deleted)") if fd else None
        if name == "openat" and self.mine(strings[0]) and b"O_CREAT" in raw:
            self.inode(strings[0])
            if b"O_TRUNC" in raw:
                self.bytes[self.names[strings[0]]] = bytearray()
        elif name in ("write", "pwrite64") and path and self.mine(path):
            content = self.bytes[self.inode(path)]
            data = unescaped(re.search(rb'"((?:\\x[0-9a-f]{2})*)"', raw)[1])[:result]
            at = int(raw.rsplit(b", ", 1)[1]) if name == "pwrite64" else len(content)
            content.extend(bytes(max(0, at - len(content))))
            content[at:at + len(data)] = data
        elif name == "ftruncate" and path and self.mine(path):
            content, size = self.bytes[self.inode(path)], int(raw.rsplit(b", ", 1)[1])
            del content[size:]
            content.extend(bytes(size - len(content)))
        elif name in ("rename", "renameat2") and self.mine(strings[0]):
            self.names[strings[1]] = self.names.pop(strings[0])
        elif name in ("link", "linkat") and self.mine(strings[0]):
            self.names[strings[1]] = self.names[strings[0]]
        elif name in ("unlink", "unlinkat") and self.mine(strings[0]):
            self.names.pop(strings[0], None)
        elif name in ("fsync", "fdatasync") and path and (self.mine(path) or path == self.root):
            if path in self.names:
                self.synced[self.names[path]] = bytes(self.bytes[self.names[path]])
                if "/catalog.db" in path:
                    self.durable_names[path] = self.names[path]
            else:  # a folder: its names as they are now
                below = {p: i for p, i in self.names.items() if p.rpartition("/")[0] == path}
                self.durable_names = {p: i for p, i in self.durable_names.items() if p.rpartition("/")[0] != path} | below

    def write(self, to):
        """The tree that a loss of power now could leave; shared memory of SQLite is never on a disk."""
        for path, inode in self.durable_names.items():
            if path.endswith("-shm") or inode not in self.synced and not path.endswith(".lock"):
                continue
            file = pathlib.Path(to) / path[len(self.root) + 1:]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.synced.get(inode, b""))


@case("B100", "loss of power at 40 moments of 12 uploads: the disk keeps only what was synced", start=False, limit_s=400,
      waived={"back": "many processes, each its own"}, expected="every 202 up to the moment is there with its sha256; the server starts")
def power_loss(c):
    need_root()
    if not shutil.which("strace"):
        raise Skip("strace is not installed")
    trace = c.yard / "tmp" / "trace"
    c.own_files = [trace]
    # Pieces of a file are at most 256 KiB; every byte is kept, as four characters.
    c.start(["--workers", "1", "--disk-reserve-bytes", "0"], warm=False, timeout_s=60,
            prefix=["strace", "-f", "-y", "-qq", "-xx", "-s", "300000", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", trace])
    root = c.server.data_dir.resolve()
    acknowledged = {}
    for n in range(12):
        images = [c.png(2000 + 30_000 * (n % 3)) for _ in range(1 + n % 2)]
        answer = c.post_parts([file_part(image) for image in images])
        told = answer.json()
        acknowledged[told["id"]] = [(t["id"], hashlib.sha256(i).hexdigest()) for t, i in zip(told["images"], images)]
    c.quiet()
    c.server.stop()
    calls = list(calls_of(trace.read_bytes()))
    trace.unlink()
    # A moment: a call, and which uploads had been answered before it.
    answered, moments = [], []
    for at, (name, raw, _) in enumerate(calls):
        if name == "writev" and b"\\x20\\x32\\x30\\x32\\x20" in raw:
            text = unescaped(raw)
            answered = answered + [u for u in acknowledged if u.encode() in text and u not in answered]
        moments.append((at, answered))
    c.check(len(answered) == len(acknowledged), f"the trace holds {len(answered)} of {len(acknowledged)} answers")
    first = next(at for at, who in moments if who)
    # Right after every answer, and evenly between.
    chosen = sorted({next(at for at, who in moments if u in who) for u in acknowledged} | set(range(first // 2, len(calls), max(1, len(calls) // 28))))
    disk, seen, lost = Disk(root), 0, 0
    for at, (name, raw, result) in enumerate(calls):
        disk.apply(name, raw, result)
        if at not in chosen:
            continue
        replayed = c.yard / "tmp" / "replayed"
        (replayed / "data").mkdir(parents=True)
        disk.write(replayed / "data")
        c.own_files = [replayed]
        c.start(["--workers", "1", "--disk-reserve-bytes", "0"], data_dir=replayed / "data", warm=False)
        seen += 1
        for upload in moments[at][1]:
            told = c.final(upload)
            if not c.check(told.get("status") == "completed", f"call {at}: upload {upload}: {json.dumps(told)[:160]}"):
                lost += 1
                continue
            for image, sha256 in acknowledged[upload]:
                got = c.get(f"/i/{image}")
                lost += not c.check(got.status == 200 and hashlib.sha256(got.body).hexdigest() == sha256, f"call {at}: image {image}: {got}")
        c.server.kill()
        shutil.rmtree(replayed)
        c.check(lost == 0 or len(c.failures) < 20, "and more")
    c.data_dir = root
    c.start(["--workers", "1", "--disk-reserve-bytes", "0"], data_dir=root)
    c.note(f"{seen} trees of {len(calls)} calls, {len(acknowledged)} uploads, {lost} lost")
