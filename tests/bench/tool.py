"""The benches of usage-store as child processes: one measurement each, printed as a line of JSON."""

import json
import re
import subprocess
import tempfile
from pathlib import Path

from load import Usage
from process import Failed, pinned

RUN_SECONDS = 1800


def run(core, argv, seconds=RUN_SECONDS):
    """Runs a bench on one core, or on all of them if `core` is None; adds what other processes used meanwhile."""
    argv = list(map(str, argv)) if core is None else pinned(core, argv)
    usage = Usage([])
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f"{argv}: did not end within {seconds} s") from None
    if done.returncode:
        raise Failed(f"{argv} ended with {done.returncode}: {done.stdout}{done.stderr}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    used = usage.seconds()
    return {**found, "foreign_percent": used["foreign_percent"], "steal_percent": used["steal_percent"]}


def instructions(argv):
    """Instructions in user space and calls to the allocator, of the main thread and of all threads, as callgrind counts them."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        command = ["valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}", *map(str, argv)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS)
        if done.returncode:
            raise Failed(f"{command} ended with {done.returncode}: {done.stderr[-2000:]}")
        threads = [_parsed(path.read_text(errors="replace")) for path in sorted(Path(directory).glob("out-*"))]
    if not threads:
        raise Failed("callgrind wrote nothing")
    return {
        "main": threads[0]["instructions"], "main_allocations": threads[0]["allocations"],
        "all": sum(thread["instructions"] for thread in threads),
        "all_allocations": sum(thread["allocations"] for thread in threads),
    }  # fmt: skip


# What Rust code allocates with, as mimalloc's crate calls it; a realloc that moves calls mi_malloc inside and is not counted twice.
ALLOCATORS = re.compile(r"^mi_(malloc|zalloc|calloc|realloc|malloc_aligned|zalloc_aligned|realloc_aligned)$")


def _parsed(text):
    """The totals of one thread (callgrind's format: valgrind manual, "Callgrind Format Specification")."""
    names, total, allocations, called, caller = {}, 0, 0, None, None
    for line in text.splitlines():
        if line.startswith(("totals:", "summary:")):
            total = int(line.split()[1])
        elif line.startswith(("fn=", "cfn=")):
            kind, _, rest = line.partition("=")
            number, _, name = rest.partition(" ")
            name = names.setdefault(number, name) if name else names.get(number, "")
            if kind == "fn":
                caller = name
            else:
                called = name
        elif line.startswith("calls=") and called is not None:
            if ALLOCATORS.match(called) and not (caller or "").startswith("mi_"):
                allocations += int(line[6:].split()[0])
            called = None
    return {"instructions": total, "allocations": allocations}
