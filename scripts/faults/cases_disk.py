"""The disk fails or fills up, the process is killed at the worst moment, bytes rot: B96-B98, B101-B109, B112.

Disks of a size are tmpfs mounts, calls that fail are injected by strace into the running server; both need root, and a
case that cannot have them says so. B99 (the order of a 202) and the n-th failing call of every kind are tests in Rust:
tests/it/strace_order.rs, tests/it/disk_faults.rs. B100 is in cases_replay.py.
"""
import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

from harness import HERE, MIB, Skip, case, file_part, form, text_part

FAILS = {"log": "the disk's failures are logged as errors, as they must be"}
KILLED = {"back": "several processes, each its own"}


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root: mounts and tracing")


def tmpfs(c, options, at=None):
    """Mount a tmpfs on the data folder (or another)."""
    need_root()
    at = pathlib.Path(at or c.data_dir)
    at.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at)], stderr=subprocess.PIPE)
    if done.returncode:
        raise Skip(f"a tmpfs cannot be mounted: {done.stderr.decode(errors='replace').strip()}")
    c.cleanups.append(lambda: subprocess.run(["umount", "-l", str(at)], stderr=subprocess.DEVNULL))
    return at


class Inject:
    """strace, attached to the server's threads, tampering with calls while the block runs. `only` limits it to calls on these paths."""

    def __init__(self, c, *specs, only=()):
        need_root()
        if not shutil.which("strace"):
            raise Skip("strace is not installed")
        calls = {spec.split(":")[0] for spec in specs}
        self.command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + ",".join(sorted(calls)), "-e", "signal=none"]
        for spec in specs:
            self.command += ["-e", f"inject={spec}"]
        for path in only:
            self.command += ["-P", str(path)]
        self.pid = c.server.pid
        self.server = c.server

    def __enter__(self):
        self.process = subprocess.Popen([*self.command, "-p", str(self.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 10
        while not self.attached():
            if self.server.process.poll() is not None:
                return self  # Killed by what was injected, before the last thread was seen to be traced.
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Skip(f"strace cannot attach: {self.process.stderr.read().decode(errors='replace')[:200]}")
            time.sleep(0.01)
        return self

    def attached(self):
        tasks = pathlib.Path(f"/proc/{self.pid}/task")
        try:
            return all(re.search(r"TracerPid:\s+(\d+)", (t / "status").read_text())[1] != "0" for t in tasks.iterdir())
        except OSError:
            return False

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()


def refused_well(c, what, answer, allowed=((507, "disk_full"), (503, "storage"))):
    """A refusal of our own shortage: status, code, Retry-After."""
    told = (answer.status, answer.code)
    c.check(told in allowed, f"{what}: {told}, allowed {allowed}")
    c.check("retry-after" in answer.headers, f"{what}: no Retry-After")


def sent(c, image):
    """Upload an image: (the answer, None or (id, sha256))."""
    answer = c.upload(image)
    if answer.status != 202:
        return answer, None
    told = answer.json()["images"][0]
    return answer, (told["id"], hashlib.sha256(image).hexdigest())


def all_served(c, acknowledged, what):
    for image, sha256 in acknowledged:
        got = c.get(f"/i/{image}")
        c.check(got.status == 200 and hashlib.sha256(got.body).hexdigest() == sha256, f"{what}: {image}: {got}")


def free_bytes(path):
    of = os.statvfs(path)
    return of.f_bavail * of.f_frsize


def fill(path, leave):
    """A file that leaves so many bytes free."""
    with open(path, "wb") as filler:
        left = max(0, free_bytes(os.path.dirname(path)) - leave)
        while left > 0:
            left -= filler.write(bytes(min(left, MIB)))
            filler.flush()


@case("B96", "kill -9 at random moments while clients upload, ten rounds (500 by hand: scripts/measure/kill9 --rounds 500)", start=False, limit_s=400,
      expected="every 202 is there with its sha256, its job ends, staging is empty")
def killed_at_random(c):
    script = HERE.parent / "measure" / "kill9"
    done = subprocess.run([sys.executable, str(script), "--binary", str(c.binary), "--rounds", "10"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors="replace")
    c.check(done.returncode == 0, f"kill9 ended with {done.returncode}: {text[-400:]}")
    acknowledged = re.search(r"images acknowledged\D*(\d+)", text)
    c.note(f"{acknowledged[1] if acknowledged else '?'} images acknowledged in 10 rounds, none lost")


@case("B97", "a job that is being worked on at every kill -9", flags=["--workers", "1"], waived={**KILLED, "log": "the job that is given up is an error"}, limit_s=300,
      expected="run again at each start, at most 3 counted crashes, then failed `internal`; no crash loop")
def poison(c):
    image = c.jpeg(5000, 4000, 4 * MIB)
    answer = c.post_parts([file_part(image), text_part("variant", "slow=w:4900/bl:60/f:png")])
    c.check(answer.status == 202, f"{answer}")
    upload = answer.json()["id"]
    for kills in range(1, 9):
        deadline = time.monotonic() + 30
        state = None
        while time.monotonic() < deadline and state not in ("running", "failed", "completed"):
            told = c.get(f"/v1/uploads/{upload}").json()
            state = told["images"][0].get("status") or told["images"][0]["variants"][0]["status"]
            time.sleep(0.01)
        if state != "running":
            break
        c.restart()
    told = c.final(upload)
    error = (told["images"][0]["variants"][0].get("error") or {}).get("code")
    c.check(told["status"] == "failed" and error == "internal", f"after {kills} kills: {told['status']} {error}")
    c.check(kills <= 5, f"{kills} kills until it was given up")
    c.note(f"failed `internal` after {kills - 1} kills")


@case("B98", "kill -9 between rename, row and answer", waived={**KILLED, "log": "none"}, expected="fully there, or swept; the same key finds the first upload")
def killed_between(c):
    wal = c.server.data_dir / "catalog.db-wal"
    kept = []
    for what, spec, only in (("at the file's sync", "fdatasync:signal=KILL", ()), ("at the rename", "renameat2:signal=KILL", ()),
                             ("at the row's write", "pwrite64:signal=KILL", (wal,)), ("at the row's sync", "fsync:signal=KILL", (wal,)),
                             ("at the answer", "writev:signal=KILL", ())):
        image = c.png(400_000)
        key = [("Idempotency-Key", f"kill {what}")]
        with Inject(c, spec, only=only):
            try:
                answer = c.post_parts([file_part(image)], headers=key)
                c.check(answer is None or answer.status != 202, f"{what}: answered {answer}: the kill came too late")
            except OSError:
                pass
            deadline = time.monotonic() + 5
            while c.server.process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            c.check(c.server.process.poll() is not None, f"{what}: it was not killed")
        c.restart()
        again = c.post_parts([file_part(image)], headers=key)
        c.check(again.status == 202, f"{what}: again: {again}")
        replayed = "idempotency-replayed" in again.headers
        kept.append(f"{what}: {'there' if replayed else 'gone'}")
        told = again.json()["images"][0]
        all_served(c, [(told["id"], hashlib.sha256(image).hexdigest())], what)
        if what == "at the answer":
            c.check(replayed, "committed, and yet the key did not find it")
    c.note("; ".join(kept))


@case("B101", "the end of the write-ahead log torn or garbled, 12 ways", waived={**KILLED}, limit_s=240,
      expected="starts; what is in the catalog is served; what lost its row is swept; takes uploads")
def torn_log(c):
    for cut in (1, 7, 24, 100, 255, 512):
        for garble in (False, True):
            acknowledged = [sent(c, c.png(3000))[1] for _ in range(3)]
            c.quiet()
            c.server.kill()
            wal = c.server.data_dir / "catalog.db-wal"
            size = wal.stat().st_size
            with open(wal, "r+b") as log:
                if garble:
                    log.seek(max(0, size - cut))
                    log.write(os.urandom(min(cut, size)))
                else:
                    log.truncate(max(0, size - cut))
            c.start(warm=False)
            # The last frames were of a job's end or of housekeeping, or of an upload that is now unknown: a 404, never a broken image.
            for image, sha256 in acknowledged:
                got = c.get(f"/i/{image}")
                good = got.status == 404 or (got.status == 200 and hashlib.sha256(got.body).hexdigest() == sha256)
                c.check(good, f"{cut} bytes {'garbled' if garble else 'cut'}: {image}: {got}")
            c.upload_ok()
    c.note("12 starts")


def until_untouched(c, call, error, only=(), most=12):
    """Let the n-th call fail, n = 1, 2, ... until three uploads go through; returns how many answers were refusals."""
    acknowledged, refusals = [], 0
    for n in range(1, most + 1):
        touched = False
        with Inject(c, f"{call}:error={error}:when={n}", only=only):
            for _ in range(3):
                answer, told = sent(c, c.png(300_000))
                if told:
                    acknowledged.append(told)
                else:
                    touched, refusals = True, refusals + 1
                    refused_well(c, f"{call} {error} {n}", answer)
                c.check(c.get("/healthz").status == 200, f"{call} {error} {n}: /healthz")
            c.quiet()
        if not touched:
            break
    # Without a restart all is well again.
    acknowledged.append(sent(c, c.png(300_000))[1])
    c.check(acknowledged[-1] is not None, f"{call} {error}: not well afterwards")
    all_served(c, [a for a in acknowledged if a], f"{call} {error}")
    return refusals


@case("B102", "the sync of a file, a folder or the catalog fails (EIO) at the n-th call", waived={**FAILS, **KILLED}, limit_s=400, log_kib=2048,
      expected="503 `storage`, that file dropped and never synced again, later uploads fine")
def sync_fails(c):
    wal = c.server.data_dir / "catalog.db-wal"
    got = {"file": until_untouched(c, "fdatasync", "EIO"), "folder or catalog": until_untouched(c, "fsync", "EIO"), "catalog": until_untouched(c, "fsync", "EIO", only=(wal,))}
    c.check(all(got.values()), f"some were never hit: {got}")
    c.note(", ".join(f"{what}: {n} refused" for what, n in got.items()))
    before = set(c.server.data_dir.glob("blobs/??/*"))
    c.restart()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and c.server.staged():
        time.sleep(0.1)
    c.note(f"{len(before)} blobs, none lost over a kill -9")


@case("B103", "rename and the catalog's writes fail (ENOSPC, EDQUOT, EIO, EROFS) at the n-th call", waived=FAILS, limit_s=600, log_kib=4096,
      expected="507 or 503 with a code, no 202 for a broken file, no leak, well again without a restart")
def calls_fail(c):
    catalog = (c.server.data_dir / "catalog.db-wal", c.server.data_dir / "catalog.db")
    got = {}
    for error in ("ENOSPC", "EDQUOT", "EIO", "EROFS"):
        got[f"rename {error}"] = until_untouched(c, "renameat2", error, most=6)
    for error in ("ENOSPC", "EIO"):
        got[f"catalog write {error}"] = until_untouched(c, "pwrite64", error, only=catalog, most=12)
    # strace counts by thread, and which thread renames is chance: by kind, not by error.
    for kind in ("rename", "catalog write"):
        c.check(sum(n for what, n in got.items() if what.startswith(kind)), f"never hit: {kind}")
    c.note(", ".join(f"{what}: {n} refused" for what, n in got.items()))


@case("B104", "100 MB into a disk of 64 MB, with and without a declared length", start=False, waived=FAILS, limit_s=240, rss_mib=96,
      expected="507; the space is back; small uploads, reads and polls go on")
def disk_full(c):
    data = tmpfs(c, "size=64m")
    c.start(["--disk-reserve-bytes", "4MiB"])
    first = c.upload_ok()
    big = form([file_part(c.png(100 * MIB))])
    begun = free_bytes(data)
    with c.probe("/i/" + first["images"][0]["id"]) as took:
        for what, how in (("declared", {}), ("chunked", {"te": True}), ("chunked again", {"te": True})):
            answer = c.post(big, timeout_s=120, **how)
            c.check((answer.status, answer.code) == (507, "disk_full"), f"{what}: {answer}")
            deadline = time.monotonic() + 10
            while free_bytes(data) < begun - 4 * MIB and time.monotonic() < deadline:
                time.sleep(0.05)
            c.check(free_bytes(data) >= begun - 4 * MIB, f"{what}: {free_bytes(data)} bytes free, before {begun}")
            time.sleep(1.1)  # the disk is looked at once a second
            small = c.upload()
            c.check(small.status == 202, f"after {what}: a small upload is answered {small}")
    c.check(took and max(took) < float("inf"), "a read failed meanwhile")
    c.note(f"507 three times, {len(took)} reads meanwhile, slowest {max(took):.0f} ms")


@case("B105", "the disk fills up while an image is worked on", start=False, waived=FAILS, limit_s=240, rss_mib=256,
      expected="tried again later, `storage` meanwhile, the original intact, completed once there is room")
def result_has_no_room(c):
    data = tmpfs(c, "size=64m")
    c.start(["--disk-reserve-bytes", "0", "--workers", "1"])
    image = c.jpeg(3000, 2000, 2 * MIB)
    answer = c.post_parts([file_part(image), text_part("variant", "slow=w:2900/bl:20/f:png")])
    c.check(answer.status == 202, f"{answer}")
    fill(str(data / "filler"), 0)
    told, deadline = answer.json(), time.monotonic() + 60
    while time.monotonic() < deadline and "attempt failed" not in c.log():
        time.sleep(0.05)
    c.check("attempt failed" in c.log() or "trying again" in c.log(), "no attempt failed: the disk was not full in time")
    got = c.get("/i/" + told["images"][0]["id"])
    c.check(got.status == 200 and got.body == image, f"the original: {got}")
    (data / "filler").unlink()
    final = c.final(told["id"], 120)
    c.check(final["status"] == "completed", f"{final['status']}")
    job = c.get("/v1/jobs/" + final["images"][0]["job"]).json()
    c.check(job["attempt"] >= 2, f"attempt {job['attempt']}")
    c.note(f"completed in attempt {job['attempt']}")


@case("B106", "no inodes, a disk that became read-only, a folder that may not be written", start=False, waived=FAILS, limit_s=240,
      expected="507; 503 `storage`; a clear error at the start")
def no_inodes(c):
    data = tmpfs(c, "size=64m,nr_inodes=900")
    c.start(["--disk-reserve-bytes", "1MiB"])
    many = data / "lost+found"
    many.mkdir()
    n = 0
    while os.statvfs(data).f_favail > 100:
        n += 1
        (many / str(n)).touch()
    time.sleep(1.1)
    refused_well(c, "no inodes", c.upload(), [(507, "disk_full")])
    shutil.rmtree(many)
    time.sleep(1.1)
    c.upload_ok()
    with Inject(c, "openat:error=EROFS"):
        refused_well(c, "read-only", c.upload(), [(503, "storage")])
        c.check(c.get("/healthz").status == 200, "/healthz on a read-only disk")
    c.upload_ok()
    # At the start: the disk read-only, and not ours.
    c.server.stop()
    subprocess.run(["mount", "-o", "remount,ro", str(data)], check=True)
    said = start_fails(c)
    c.check("Read-only file system" in said and str(data) in said, f"read-only: {said}")
    subprocess.run(["mount", "-o", "remount,rw", str(data)], check=True)
    if shutil.which("setpriv"):
        os.chmod(data, 0o755)
        said = start_fails(c, ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
        c.check("ermission denied" in said, f"not ours: {said}")
    c.start(["--disk-reserve-bytes", "1MiB"], warm=False)
    c.note("507 without inodes, 503 `storage` on EROFS, both told at the start")


def start_fails(c, prefix=()):
    """What a start says that must fail."""
    done = subprocess.run([*prefix, str(c.binary), "serve", "--listen", "127.0.0.1:0", "--data-dir", str(c.data_dir)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=30, cwd="/")
    said = done.stdout.decode(errors="replace").strip()
    c.check(done.returncode == 1 and "listening" not in said, f"it started, or ended with {done.returncode}: {said[-300:]}")
    return said


@case("B107", "staging on another file system than the blobs", start=False, expected="refused at the start, in clear words", quick=True)
def other_file_system(c):
    tmpfs(c, "size=16m", c.data_dir / "staging")
    said = start_fails(c)
    c.check("same file system" in said, said)
    c.note(said[-160:])


@case("B108 B109", "a second server on one folder; a lock left by kill -9", expected="the second refuses and the first goes on; a stale lock is no obstacle", quick=True,
      waived=KILLED)
def lock(c):
    said = start_fails(c)
    c.check("in use by another pixmill" in said, said)
    c.upload_ok()
    c.server.kill()
    c.check((c.server.data_dir / ".lock").exists(), "kill -9 leaves the lock's file")
    c.start(warm=False)
    c.upload_ok()
    c.note("refused; started again over a stale lock")


@case("B112", "one byte of a stored original changes on the disk", waived=FAILS, quick=True,
      expected="not served as good, not worked on, told by `pixmill scrub`; served again once mended")
def bit_rot(c):
    for size in (3000, 900_000):
        image = c.png(size)
        told = c.upload_ok(image)["images"][0]
        path = next(p for p in c.server.data_dir.glob("blobs/??/*") if p.stat().st_size == size and p.read_bytes() == image)
        damaged = bytearray(image)
        damaged[size // 2] ^= 4
        path.write_bytes(damaged)
        try:
            got = c.get("/i/" + told["id"])
            whole = got is not None and got.status == 200 and len(got.body) == size
        except (OSError, ValueError, AssertionError):
            whole = False
        c.check(not whole, f"{size} bytes: served whole, and damaged")
        scrub = subprocess.run([str(c.binary), "scrub", "--data-dir", str(c.server.data_dir)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said = scrub.stdout.decode()
        c.check(scrub.returncode == 1 and f"{path.name} damaged" in said, f"scrub: {scrub.returncode} {said[-200:]}")
        path.write_bytes(image)
        got = c.get("/i/" + told["id"])
        c.check(got.status == 200 and got.body == image, f"mended: {got}")
    c.note("500 before a byte, or broken off before the last piece; scrub names the file")
