"""HTTP/2 with prior knowledge under floods, B51-B54. The frames are written by h2_client.py, which needs the h2 package:
taken from --python, from this Python, or from a venv that is made below target/faults."""
import json
import os
import subprocess
import sys
import venv

import common
from harness import HERE, MIB, Skip, case

CROWD = ["--max-uploads-per-client", "256"]


def python_with_h2(c):
    """A Python that has h2, found or made once."""
    made = common.REPO / "target/faults/venv/bin/python"
    for python in filter(None, (c.python, sys.executable, made)):
        if os.access(python, os.X_OK) and subprocess.run([python, "-c", "import h2"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return python
    try:
        venv.create(made.parents[1], with_pip=True)
        subprocess.run([made, "-m", "pip", "install", "--quiet", "h2"], check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as e:
        raise Skip(f"the Python package h2 is not there and cannot be installed ({type(e).__name__}); name a Python that has it with --python") from None
    return made


def drive(c, mode, *arguments, timeout_s=170):
    """One run of h2_client.py: what it tells."""
    line = [str(python_with_h2(c)), "-B", str(HERE / "h2_client.py"), mode, c.server.host, str(c.server.port), *map(str, arguments)]
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout_s, check=False)
    if done.returncode:
        raise AssertionError(f"{mode}: {done.stderr.decode(errors='replace')[-300:]}")
    return json.loads(done.stdout)


def ended(told):
    return told["goaway"] or told["closed"]


@case("B51", "rapid reset: 10 000 x HEADERS and RST_STREAM", expected="GOAWAY ENHANCE_YOUR_CALM, CPU bounded", quick=True)
def rapid_reset(c):
    with c.probe() as took, c.cost("rapid reset", cpu_s=1, grow_mib=16) as cost:
        told = drive(c, "rapid-reset", 10_000)
    c.check(told["goaway"] == "ENHANCE_YOUR_CALM", f"GOAWAY {told['goaway']}, {told['closed']}")
    c.check_quick("/healthz meanwhile", took, 100)
    c.note(f"GOAWAY {told['goaway']} after {told['frames']} resets, {cost['cpu_s']:.2f} s CPU")


@case("B52", "CONTINUATION without end; a header list above 16 KB", expected="connection error; 431 or stream error", quick=True)
def continuation(c):
    with c.cost("CONTINUATION flood", cpu_s=1, grow_mib=8):
        told = drive(c, "continuation", 4000)
    c.check(ended(told) and told["frames"] < 200, f"{told}")
    c.note(f"CONTINUATION: {ended(told)} after {told['frames']} frames of 16 KB")
    with c.cost("header list", cpu_s=1, grow_mib=8):
        told = drive(c, "header-list", 40)
    c.check(ended(told) or told["resets"] or told["answers"], f"40 KB of headers: {told}")
    c.note(f"40 KB of headers: {ended(told) or ('reset' if told['resets'] else 'answered')}")


@case("B53", "a million empty DATA, PING, SETTINGS, WINDOW_UPDATE; a window of zero", expected="bounded memory and CPU; empty DATA and zero window: closed", flags=["--write-timeout", "5s", *CROWD],
      limit_s=600)
def floods(c):
    for mode in ("empty-data", "pings", "settings", "window-updates"):
        with c.probe() as took, c.cost(mode, cpu_s=10, grow_mib=16) as cost:
            told = drive(c, mode, 1_000_000)
        c.check_quick(f"/healthz beside {mode}", took, 100)
        c.note(f"{mode}: {ended(told) or 'taken'} after {told['frames']} frames, {cost['cpu_s']:.1f} s CPU, +{cost['grow_mib']:.0f} MiB")
        if mode == "empty-data":
            c.check(ended(told) or told["resets"], "a million empty DATA frames on an upload are taken")
    path = c.upload_ok(c.png(20 * MIB))["images"][0]["url"].partition("//")[2].partition("/")[2]
    c.quiet()
    with c.cost("zero window", grow_mib=32):
        told = drive(c, "zero-window", 90, f"/{path}")
    c.check(told["ended"] or told["resets"] == 20, f"a window of zero is still served after {told['seconds']} s")
    c.note(f"zero window: {told['ended'] or 'streams reset'} after {told['seconds']} s")


@case("B54", "200 uploads at once on one connection, then half of each", expected="all 202, fair; unread data bounded by the connection's window", flags=CROWD, quick=True)
def many_streams(c):
    with c.cost("200 uploads", grow_mib=200) as cost:  # 1 MB a stream
        told = drive(c, "uploads", 200)
    c.check(told["codes"] == {"202": 200}, f"{told}")
    c.note(f"200 uploads, {told['most_streams']} at once, {told['codes']} in {told['seconds']} s, +{cost['grow_mib']:.0f} MiB")
    c.quiet()
    with c.cost("stalled uploads", grow_mib=200) as cost:
        told = drive(c, "stalled", 200)
    c.note(f"half of each and silence: +{cost['grow_mib']:.0f} MiB")
