"""The machine's own limits, B64, B65, B70-B74: memory, slow disk, descriptors, threads, the clock. Each needs a right or a tool
that not every machine grants; without it the case is skipped and says so."""
import os
import pathlib
import shutil
import socket
import threading
import time

import common
from cases_size import CROWD, HEAVY, grey_png, upload_in_two
from harness import MIB, Skip, case, file_part

CGROUP = pathlib.Path("/sys/fs/cgroup")


def group(c, controller, limit_file_v1, limit_file_v2, limit):
    """A cgroup with this limit: (prefix for the start, function that puts a process in, folder). Removed at the end."""
    two = "memory" in (CGROUP / "cgroup.controllers").read_text() if (CGROUP / "cgroup.controllers").exists() else False
    at = (CGROUP if two else CGROUP / controller) / f"pixmill-fault-{os.getpid()}-{c.case.ids[0]}"
    try:
        at.mkdir()
        (at / (limit_file_v2 if two else limit_file_v1)).write_text(str(limit))
    except OSError as e:
        raise Skip(f"no cgroup can be made here ({e.strerror}: {at})") from None

    def remove():
        for _ in range(50):
            try:
                at.rmdir()
                return
            except OSError:
                time.sleep(0.1)
    c.cleanups.append(remove)
    prefix = []
    if not two and controller == "memory":
        # As a container sees it: its own group at the root of the hierarchy.
        if not shutil.which("unshare"):
            raise Skip("unshare is not installed")
        prefix = ["unshare", "-m", "sh", "-c", f'mount --bind {at} {CGROUP}/memory && exec "$@"', "sh"]
    return prefix, lambda: (at / "cgroup.procs").write_text(str(os.getpid())), at


@case("B64", "64 x 100 MB at once in a 512-MB cgroup", expected="all 202, no OOM; memory bounded by connections x buffer", start=False, flags=CROWD, limit_s=900, rss_mib=128)
def many_large(c):
    prefix, enter, at = group(c, "memory", "memory.limit_in_bytes", "memory.max", 512 * MIB)
    c.start(prefix=prefix, before_exec=enter)
    gate, answers = threading.Barrier(65), []

    def client():
        w, tail = upload_in_two(c, 100_000_000)
        gate.wait(600)
        answers.append(w.send(tail).answer(timeout_s=300))
        w.close()
    threads = [threading.Thread(target=client, daemon=True) for _ in range(64)]
    with c.cost("64 x 100 MB coming in", grow_mib=128) as cost:
        for t in threads:
            t.start()
        gate.wait(600)
    for t in threads:
        t.join(300)
    codes = sorted({str(a) for a in answers})
    c.check(len(answers) == 64 and codes == ["202"], f"{len(answers)} answers: {codes}")
    c.check(c.quiet(300), "the jobs do not end")
    c.note(f"{len(answers)} x {codes}, +{cost['grow_mib']:.0f} MiB while coming in, highest {c.server.memory()[1] / MIB:.0f} MiB")


def strace(c, *what):
    if not shutil.which("strace"):
        raise Skip("strace is not installed")
    return ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", *what]


@case("B65", "a disk slower than the network: 20 ms for each write", expected="TCP backpressure, memory flat", start=False, flags=CROWD, limit_s=240)
def slow_disk(c):
    c.start(prefix=strace(c, "-e", "trace=write,pwrite64", "-e", "inject=write,pwrite64:delay_enter=20000"))
    with c.cost("100 MB", grow_mib=32) as cost:
        begun = time.monotonic()
        w, tail = upload_in_two(c, 100 * MIB)
        took = time.monotonic() - begun
    answer = w.send(tail).answer(timeout_s=60)
    c.check(answer.status == 202, f"{answer}")
    c.check(took > 3, f"100 MB were taken in {took:.1f} s: the disk was not slow, this proves nothing")
    c.note(f"100 MB in {took:.1f} s, +{cost['grow_mib']:.0f} MiB")
    c.usual_s = 1.0  # warmed up under strace, and so it stays


@case("B70", "a sync of 50 ms, one runtime thread", expected="latency of reads flat", start=False, flags=CROWD, limit_s=240)
def slow_sync(c):
    c.start(prefix=strace(c, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_exit=50000"), env={"TOKIO_WORKER_THREADS": "1"})
    stop = threading.Event()
    counted = [0]

    def upload():
        while not stop.is_set():
            counted[0] += c.upload().status == 202
    with c.probe("/v1/stats") as took:
        threads = [threading.Thread(target=upload) for _ in range(8)]
        for t in threads:
            t.start()
        time.sleep(10)
        stop.set()
        for t in threads:
            t.join()
    c.check(counted[0] > 20, f"{counted[0]} uploads only")
    c.check_quick("a read meanwhile", took, 50)
    c.note(f"{counted[0]} uploads in 10 s")


@case("B71", "8 x 50 MP in a 1-GB cgroup", expected="queued by the memory budget, not killed", start=False, flags=["--workers", "8"], limit_s=400, rss_mib=300)
def many_pixels(c):
    prefix, enter, at = group(c, "memory", "memory.limit_in_bytes", "memory.max", 1024 * MIB)
    c.start(prefix=prefix, before_exec=enter)
    image = grey_png(8200, 6100)
    ids = []
    for _ in range(8):
        tagged = image[:33] + common.chunk(common.PRIVATE, os.urandom(16)) + image[33:]
        answer = c.post_parts([*HEAVY[:2], file_part(tagged)])
        c.check(answer.status == 202, f"{answer}")
        ids += [answer.json()["id"]] if answer.status == 202 else []
    c.quiet(300)
    states = [c.final(i)["status"] for i in ids]
    c.check(states == ["completed"] * 8, f"{states}")
    c.note(f"{len(states)} x {sorted(set(states))}, highest {c.server.memory()[1] / MIB:.0f} MiB")


@case("B72", "64 descriptors, 200 connections", expected="accept pauses, no busy loop, recovers", start=False, flags=CROWD, quick=True, log_kib=512)
def few_descriptors(c):
    if not shutil.which("prlimit"):
        raise Skip("prlimit is not installed")
    c.start(prefix=["prlimit", "--nofile=64"])
    held = []
    try:
        for _ in range(200):
            # Not waited for: those above the kernel's backlog come to be only when there is room.
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(c.address)
            held.append(s)
        with c.cost("5 s with 200 connections", cpu_s=1):
            time.sleep(5)
        c.check(c.server.process.poll() is None, "the process ended")
    finally:
        for s in held:
            s.close()
    begun = time.monotonic()
    answer = c.upload(timeout_s=60)
    c.check(answer.status == 202 and time.monotonic() - begun < 5, f"afterwards: {answer} after {time.monotonic() - begun:.1f} s")
    c.note(f"served again after {time.monotonic() - begun:.1f} s")


@case("B73", "no more threads to be had", expected="the start fails cleanly, or 503; never a panic or an abort", start=False, waived={"log": "a start that fails says so as an ERROR; panics are judged by the case"})
def few_threads(c):
    seen = []
    for most in (2, 6, 12, 24):
        prefix, enter, at = group(c, "pids", "pids.max", "pids.max", most)
        try:
            c.start(before_exec=enter, warm=False, timeout_s=10)
            answers = {str(c.upload(timeout_s=20)) for _ in range(3)}
            c.check(all(a.split()[0] in ("202", "503") for a in answers), f"{most} threads: {answers}")
            seen.append(f"{most}: {'/'.join(sorted(answers))}")
            c.server.kill()
        except RuntimeError:
            code = c.server.process.returncode
            c.check(code is not None and 0 < code < 126 and code != 101, f"{most} threads: exit code {code}")
            seen.append(f"{most}: start refused, exit code {code}")
        except OSError as e:
            c.check(False, f"{most} threads: {e}")
        c.server.kill()
        c.cleanups.pop()()
    c.note("; ".join(seen))
    c.check("panicked" not in c.log(), f"a panic: {c.log()[c.log().find('panicked'):][:100]!r}")
    c.start()


@case("B74", "the clock jumps by an hour, both ways", expected="no negative durations, nothing deleted, ids go on", start=False, quick=True)
def clock_jumps(c):
    library = next(iter(sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
    if library is None:
        raise Skip("libfaketime is not installed (Debian: libfaketime)")
    clock = c.yard / "tmp" / "clock"
    clock.write_text("+0\n")
    c.own_files = [clock]
    c.start(env={"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    kept = [c.upload_ok(c.png(5000))]
    for jump in ("+3600", "-3600", "+0", "+86400", "+0"):
        clock.write_text(jump + "\n")
        told = c.final(c.upload_ok(c.png(5000))["id"], 20)
        kept.append(told)
        c.check(told["status"] == "completed", f"{jump} s: {told['status']}")
        c.check('":-' not in c.get(f"/v1/jobs/{told['images'][0]['job']}").body.decode(), f"{jump} s: a negative number in the job")
    c.check("-0." not in c.get("/metrics").body.decode() and c.get("/v1/stats").json()["uptime_s"] >= 0, "negative figures")
    for told in kept:
        path = told["images"][0]["url"]
        c.check(c.get(path[path.index("/i/"):]).status == 200, f"{path} is gone")
    c.check(len({t["id"] for t in kept}) == len(kept), "ids repeat")
    c.note(f"{len(kept)} uploads across five jumps, all completed and kept")
    clock.write_text("+0\n")
