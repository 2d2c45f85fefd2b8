"""Counts what a meter does with a frame: runs the benchmark `meter` of tollgate-codec under callgrind and prints a table as Markdown.

Every figure is a difference: between many streams and few, so that the start of the program is not in it, and between long ones and short ones, so that
the first frames and the making of the meter are not. Instructions and allocations are the same in every run; nanoseconds are CPU time of the process, and the best of several runs.
"""

import json
import os
import re
import subprocess
import sys

FRAMES = (16, 144)
# Few streams for callgrind, which is slow and exact; many for the clock.
STREAMS = (2, 12)
STREAMS_TIMED = (100, 2100)
TIMED_RUNS = 5


def binary():
    """Where cargo says that the benchmark is."""
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "meter":
            return message["executable"]
    raise SystemExit("cargo did not say where the benchmark `meter` is")


def counted(command):
    """Instructions, and what the benchmark itself says: bytes and frames of a stream, allocations of all."""
    run = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command], capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not found:
        raise SystemExit(f"{' '.join(command)} failed:\n{run.stderr}")
    size, frames, allocated = map(int, run.stdout.split())
    return int(found[1]), allocated, size, frames


def timed(command):
    """The least CPU time of several runs, in nanoseconds."""
    times = []
    for _ in range(TIMED_RUNS):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed")
        times.append((usage.ru_utime + usage.ru_stime) * 1e9)
    return min(times)


def stream(program, name, what, frames):
    """Instructions, allocations and nanoseconds of one stream, and its bytes and frames."""
    command = [program, name, what, str(frames)]
    few, many = (counted([*command, str(streams)]) for streams in STREAMS)
    few_ns, many_ns = (timed([*command, str(streams)]) for streams in STREAMS_TIMED)
    more = STREAMS[1] - STREAMS[0]
    ns = (many_ns - few_ns) / (STREAMS_TIMED[1] - STREAMS_TIMED[0])
    return ((many[0] - few[0]) / more, (many[1] - few[1]) / more, ns, many[2], many[3])


def measured(program, name, what):
    """The same of the frames between the two lengths."""
    few, many = (stream(program, name, what, frames) for frames in FRAMES)
    return [much - little for little, much in zip(few, many, strict=True)]


def main():
    names = sys.argv[1:]
    program = binary()
    names = names or subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    print("| format | bytes a frame | instructions a frame | instructions a KB | memchr alone | beyond memchr | ratio | ns a KB beyond memchr | allocations a frame |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        instructions, allocated, ns, size, frames = measured(program, name, "meter")
        plain, _, plain_ns, *_ = measured(program, name, "memchr")
        kb = size / 1024
        cells = [
            f"{size / frames:.0f}",
            f"{instructions / frames:.0f}",
            f"{instructions / kb:.0f}",
            f"{plain / kb:.0f}",
            f"{(instructions - plain) / kb:.0f}",
            f"{instructions / plain:.1f}",
            f"{(ns - plain_ns) / kb:.0f}",
            f"{allocated / frames:.2f}",
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


main()
