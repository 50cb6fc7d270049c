"""What must hold after every case, whatever the client did: the five invariants.

(i) the process lives and a normal upload is answered 202 in its usual time; (ii) descriptors, threads and resident memory
are back where they were; (iii) nothing is left in staging and nothing lies outside of the data folder; (iv) the catalog and
the disk agree; (v) the log has no ERROR for what a client caused, no panic, and a bounded size.
Knows the data folder's shape and the catalog's tables, which it opens read-only.
"""
import hashlib
import os
import pathlib
import re
import sqlite3
import time
import uuid

MIB = 1 << 20
NAMES = {"alive": "(i) alive", "back": "(ii) back to before", "strays": "(iii) no strays", "tables": "(iv) tables agree", "log": "(v) quiet log"}


class Vitals:
    """Descriptors, threads and resident bytes of a process."""

    def __init__(self, pid):
        proc = pathlib.Path(f"/proc/{pid}")
        status = (proc / "status").read_text()
        self.fds = len(os.listdir(proc / "fd"))
        self.threads = int(re.search(r"Threads:\s+(\d+)", status)[1])
        self.rss = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024

    def __str__(self):
        return f"{self.fds} fds, {self.threads} threads, {self.rss / MIB:.0f} MiB"


def tree(folder, but=()):
    """{path: sha256 or kind} of everything below a folder, but not below the folders in `but`."""
    found = {}
    for at, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if os.path.join(at, f) not in but]
        for name in folders:
            found[os.path.join(at, name)] = "folder"
        for name in files:
            path = os.path.join(at, name)
            if path not in but:
                found[path] = os.readlink(path) if os.path.islink(path) else hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    return found


def check_alive(c):
    """(i): the best of three uploads is no slower than twice the usual plus 50 ms."""
    if c.server.process.poll() is not None:
        yield f"the process ended with {c.server.process.returncode}"
        return
    took = []
    for _ in range(3):
        begun = time.monotonic()
        try:
            answer = c.upload()
        except OSError as e:
            yield f"a normal upload failed: {e}"
            return
        if answer.status != 202:
            yield f"a normal upload was answered {answer}"
            return
        took.append(time.monotonic() - begun)
    usual = c.usual_s or 0.05
    if min(took) > 2 * usual + 0.05:
        yield f"a normal upload takes {min(took) * 1000:.0f} ms, before it took {usual * 1000:.0f} ms"


def check_back(c):
    """(ii): within `settle_s` descriptors and threads are back (two and four more are chance), memory within its allowance."""
    if c.before is None:
        return
    deadline = time.monotonic() + c.case.settle_s
    while True:
        now = Vitals(c.server.pid)
        wrong = []
        if now.fds > c.before.fds + 2:
            wrong.append(f"{now.fds} descriptors, before {c.before.fds}")
        if now.threads > c.before.threads + 4:
            wrong.append(f"{now.threads} threads, before {c.before.threads}")
        if now.rss > c.before.rss + c.case.rss_mib * MIB:
            wrong.append(f"{now.rss / MIB:.0f} MiB resident, before {c.before.rss / MIB:.0f}")
        if not wrong or time.monotonic() > deadline:
            yield from wrong
            return
        time.sleep(0.25)


def check_strays(c):
    """(iii): nothing staged, nothing half-stored, canaries untouched, no new names beside or atop the data folder."""
    deadline = time.monotonic() + 10
    while (left := c.server.staged()) and time.monotonic() < deadline:
        time.sleep(0.1)
    if left:
        yield f"{len(left)} files are still staged, {sum(left)} bytes"
    incoming = list((c.server.data_dir / "blobs/incoming").glob("*"))
    if incoming:
        yield f"{len(incoming)} unfinished files in blobs/incoming"
    now = tree(c.yard, but=c.inside())
    for path in sorted(set(now) | set(c.canaries)):
        if now.get(path) != c.canaries.get(path):
            yield f"outside of the data folder: {os.path.relpath(path, c.yard)} {'changed' if path in c.canaries else 'appeared'}"
    for entry in c.server.data_dir.iterdir():
        known = entry.name in ("staging", "blobs", "lost+found") or entry.name.startswith("catalog.db") or entry.name in c.top_names
        if not known:
            yield f"unknown name in the data folder: {entry.name}"


def check_tables(c):
    """(iv): rows and files agree, references and totals are what the rows say."""
    catalog = c.server.data_dir / "catalog.db"
    wrong, deadline = [], time.monotonic() + 10
    while True:
        try:
            wrong = list(table_faults(catalog, c.server.data_dir / "blobs"))
        except sqlite3.Error as e:
            wrong = [f"the catalog cannot be read: {e}"]
        # Results are stored and dead files removed behind the answers: what agrees only a moment later agrees.
        if not wrong or time.monotonic() > deadline:
            yield from wrong[:5]
            return
        time.sleep(0.2)


def table_faults(catalog, blobs):
    """Every disagreement between catalog.db and the blob folder."""
    db = sqlite3.connect(f"file:{catalog}?mode=ro", uri=True, timeout=5)
    try:
        files = {}
        for path in blobs.glob("[0-9a-f][0-9a-f]/*"):
            try:
                files[path.name] = path.stat().st_size
            except FileNotFoundError:
                pass
        db.execute("BEGIN")
        rows = {str(uuid.UUID(bytes=i)): (n, state, refs) for i, n, state, refs in db.execute("SELECT id, bytes, state, refs FROM blobs")}
        for name, (size, state, _) in rows.items():
            if state == "live" and name not in files:
                yield f"blob {name} has a row and no file"
            elif state == "live" and files[name] != size:
                yield f"blob {name} has {files[name]} bytes, its row says {size}"
        for name in files:
            if name not in rows:
                yield f"file {name} has no row"
        used = db.execute("SELECT id, refs, (SELECT count(*) FROM images WHERE blob = blobs.id) + (SELECT count(*) FROM variants WHERE result = blobs.id) "
                          "FROM blobs WHERE state = 'live'")
        yield from (f"blob {uuid.UUID(bytes=i)} has {refs} references, {n} rows refer to it" for i, refs, n in used if refs != n)
        broken = len(db.execute("PRAGMA foreign_key_check").fetchall())
        if broken:
            yield f"{broken} rows refer to rows that are not there"
        told = db.execute("SELECT queued_jobs, running_jobs, pending_tasks FROM totals").fetchone()
        true = db.execute("SELECT (SELECT count(*) FROM jobs WHERE state = 'queued'), (SELECT count(*) FROM jobs WHERE state = 'running'), "
                          "(SELECT count(*) FROM tasks WHERE state = 'pending')").fetchone()
        if told != true:
            yield f"totals say {told} queued, running, pending; the rows {true}"
    finally:
        db.close()


def check_log(c):
    """(v): no ERROR line, no panic, no raw control characters, no more bytes than the case allows."""
    text = c.log()
    errors = [line for line in text.splitlines() if re.search(r"^\S*\s*ERROR\b", line) or '"level":"ERROR"' in line]
    if errors:
        yield f"{len(errors)} ERROR lines, the first: {errors[0][:200]}"
    if "panicked at" in text:
        yield f"a panic: {text[text.index('panicked at'):][:160]!r}"
    odd = re.search(r"[\x00-\x08\x0b-\x1f\x7f]", re.sub(r"\x1b\[[0-9;]*m", "", text))
    if odd:
        yield f"a raw control character in the log: {odd[0]!r}"
    if len(text) > c.case.log_kib * 1024:
        yield f"{len(text) / 1024:.0f} KiB of log, allowed {c.case.log_kib}"


CHECKS = {"alive": check_alive, "back": check_back, "strays": check_strays, "tables": check_tables, "log": check_log}


def check_all(c):
    """The broken invariants as texts; those a case waives with its reason are left out."""
    wrong = []
    for key, check in CHECKS.items():
        if key in c.case.waived:
            continue
        if key != "log" and c.server.process.poll() is not None and key != "alive":
            continue  # said by (i) already
        wrong += [f"{NAMES[key]}: {text}" for text in check(c)]
        if key == "alive" and c.server.process.poll() is None:
            c.quiet()
    return wrong
