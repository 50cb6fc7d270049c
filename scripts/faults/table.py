"""docs/FAULTS.md: the head, and a row for every case, be it one of these scripts or a test in Rust.

Knows nothing of how a case runs. A test that is named here and not found in the sources is an error: a row must not
promise a test that is gone.
"""
import hashlib
import json
import os
import platform
import re

HEAD = """# Faults and bad input

What a hostile client, a broken body, a slow link or a full limit does to the service: each row is a case that is run, with what
must come back and what came. The numbers are those of our checklist of faults, B1 to B132.

Most rows are driven from outside, against the real binary (Python, standard library; HTTP/2 needs the `h2` package, which the
script installs into a venv of its own below `target/`):

```
cargo build --release
scripts/faults/run                     # all of them
scripts/faults/run --case B12,B47      # some of them
scripts/faults/run --quick             # those for every change, under three minutes
scripts/faults/run --list              # what there is
scripts/faults/run --table             # all of them, and this file anew
```

What was seen of a binary is kept in `target/faults/results.json`, so `--case B47 --table` runs one and writes the table of all.

A case that this machine cannot run (no cgroup to make, a tool that is missing) is skipped, and says why. `KEEP_YARD=1` keeps the
folder of a case that failed, log included.

After **every** one of these cases five things are checked, whatever the client did:

1. **alive**: the process lives, and a normal upload is answered 202 in its usual time (the best of three at most twice what it took
   before, plus 50 ms);
2. **back**: descriptors, threads and resident memory are back where they were, within 40 s at most (a refused body is drained for up
   to 30 s): two descriptors and four threads more are chance, and 32 MiB are what the allocator keeps (a case that fills memory says
   its own number);
3. **no strays**: nothing is left in staging, and nothing changed or appeared outside of the data folder, which stands between canaries;
4. **tables agree**: every live blob row has its file with the right size, every file has its row, references and totals are what the
   rows say, no row refers to one that is not there;
5. **quiet log**: no ERROR for what a client caused, no panic, no raw control character, no more than 256 KiB (or what the case allows).
"""

# Cases that are held by tests in Rust: (case, what is done, what must come, test).
RUST = [
    ("B5", "every prefix of a form, by length and by a lost connection", "400 or nothing; nothing stored", "no_prefix_of_a_form_is_stored_or_acknowledged"),
    ("B5", "every prefix of a raw body", "nothing stored", "no_prefix_of_a_raw_body_is_stored"),
    ("B6", "only the last boundary, byte by byte, in the parser", "an empty form in every chunking", "only_the_final_boundary_is_an_empty_form_in_every_chunking"),
    ("B12 B13 B17", "endless preamble, headers, padding, in the parser", "refused within the framing budget", "framing_is_bounded_wherever_it_is_endless"),
    ("B15", "256 MiB of near-boundaries as data, in the parser", "constant memory", "field_data_pass_in_constant_memory"),
    ("B30", "every form of the corpus, stored and read back", "byte for byte", "accepted_files_come_back_byte_for_byte"),
    ("B30", "the corpus's own driver", "no case wrong", "the_corpus_driver_is_content"),
    ("B31 B33", "names of the corpus and of strangers", "only shown", "hostile_and_foreign_names_are_only_shown"),
    ("B41", "forms with a length and in chunks", "the same answers", "length_and_chunks_come_to_the_same"),
    ("B46", "paths, hosts and expectations that make no sense", "refused", "paths_hosts_and_expectations_that_make_no_sense"),
    ("B47", "a refusal from every place that refuses", "arrives", "refusals_arrive_wherever_they_are_made"),
    ("B48", "silent connections", "closed", "silent_connections_are_closed"),
    ("B49", "a body that stalls", "408, given up", "a_body_that_stalls_is_given_up"),
    ("B50", "slow readers", "memory flat", "slow_readers_do_not_fill_memory"),
    ("B58", "the same Idempotency-Key at once", "one upload", "the_same_key_at_once_makes_one_upload"),
    ("B61", "limits of the whole request, to the byte, in the parser", "fits or 413", "whole_request_is_counted_to_the_byte"),
    ("B66", "a full queue", "503 for uploads, nothing else", "a_full_queue_refuses_uploads_and_nothing_else"),
    ("B66", "more uploads at once than allowed", "503", "uploads_in_flight_are_bounded"),
    ("B69", "one client with many jobs, another with one, behind a proxy", "the one is done before most of the many", "one_clients_many_jobs_do_not_hold_up_anothers_one"),
    ("B71", "a job beyond the memory budget", "422 at the upload", "work_beyond_the_memory_budget_is_refused_at_once"),
    ("B90", "Exif orientation 1 to 8 of real photos", "as the upright one", "corpus_of_turned_photos_is_upright"),
    ("B104", "a full disk", "507 before the body is read", "a_full_disk_is_said_before_the_body_is_read"),
    ("B108", "two processes on one data folder", "the second refuses", "one_folder_serves_one_process"),
    ("B96 B109", "what a crash left, at the next start", "swept, and nothing else", "a_start_sweeps_what_a_crash_left_and_nothing_else"),
    ("B110", "SIGTERM with work running and an upload under way", "finished or given back", "sigterm_finishes_or_gives_back_what_runs"),
    ("B110", "an upload under way when the service stops", "finished", "an_upload_under_way_is_finished_when_the_service_stops"),
    ("B113", "headers of originals and variants", "as the contract says", "originals_and_variants_come_with_their_headers"),
    ("B114", "ranges", "206, 416", "ranges_select_bytes"),
    ("B116", "hostile ids and paths", "404", "hostile_ids_and_paths_are_not_found"),
    ("B118", "polling and waiting", "cheap, ends with the work", "polling_is_cheap_and_waiting_ends_with_the_work"),
]


def tests_in(repo):
    """Every test function's name and its file."""
    found = {}
    for root in ("src", "tests", "crates"):
        for path in sorted((repo / root).rglob("*.rs")):
            for attributes, name in re.findall(r"((?:#\[[^\]]*\]\s*)+)(?:pub )?(?:async )?fn (\w+)", path.read_text()):
                if "test" in attributes:
                    found.setdefault(name, path.relative_to(repo))
    return found


def check(repo):
    """The rows of RUST that name a test nobody finds."""
    there = tests_in(repo)
    return [f"{ids}: there is no test {name}" for ids, _, _, name in RUST if name not in there]


def number(ids):
    return [int(i.lstrip("B")) for i in ids.split()]


def cell(text):
    return str(text).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def remember(repo, binary, results):
    """Add these [(case, (result, failures, notes, seconds))] to what was seen of this very binary; all of it."""
    path = repo / "target/faults/results.json"
    of = hashlib.sha256(open(binary, "rb").read()).hexdigest()
    seen = json.loads(path.read_text()) if path.is_file() else {}
    if seen.get("binary") != of:
        seen = {"binary": of, "cases": {}}
    for case, (result, failures, notes, seconds) in results:
        seen["cases"][key(case)] = {"result": result, "failures": failures, "notes": notes, "seconds": round(seconds, 1)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(seen, indent=1))
    return seen["cases"]


def key(case):
    return f"{' '.join(case.ids)} {case.title}"


def write(repo, cases, seen):
    """Write docs/FAULTS.md: every case with what was last seen of it (a dict as `remember` gives it)."""
    there, rows, tally = tests_in(repo), [], {"ok": 0, "FAIL": 0, "skip": 0, "none": 0}
    for case in cases:
        of = seen.get(key(case), {"result": "none", "failures": [], "notes": []})
        tally[of["result"]] += 1
        got = {"ok": "", "FAIL": "**fails**: " + "; ".join(of["failures"][:3]) + ". ", "skip": "*skipped*: ", "none": "*not run*"}[of["result"]] + "; ".join(of["notes"])
        rows.append((number(" ".join(case.ids)), 0, " ".join(case.ids), case.title, case.expected, got or "as expected", f"`scripts/faults/run --case {case.ids[0]}`"))
    for ids, what, expected, name in RUST:
        rows.append((number(ids), 1, ids, what, expected, "as expected (the test asserts it)", f"`cargo test {name}` ({there[name]})"))
    text = [HEAD, f"Of the cases driven from outside, when last run: {tally['ok']} as expected, {tally['FAIL']} not, {tally['skip']} skipped, {tally['none']} not run; "
            f"{os.cpu_count()} cores, Linux {platform.release()}, {platform.machine()}.\n", "| case | what is done | expected | got | how to run |", "|---|---|---|---|---|"]
    text += ["| " + " | ".join(cell(c) for c in row[2:]) + " |" for row in sorted(rows, key=lambda r: r[:3])]
    (repo / "docs/FAULTS.md").write_text("\n".join(text) + "\n")
