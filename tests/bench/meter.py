"""Counts what a meter does with a frame: runs the benchmark `meter` of tollgate-codec under callgrind and prints a table as Markdown.

Every figure is the difference between streams of two lengths, so that neither the start of the program nor the first and last frames of a stream
are in it. Instructions and allocations are the same in every run; nanoseconds are CPU time of the process, and the best of several runs.
"""

import json
import os
import re
import subprocess
import sys

FRAMES = (16, 144)
# Few streams for callgrind, which is slow and exact; many for the clock.
STREAMS = 10
STREAMS_TIMED = 4000
TIMED_RUNS = 7


def binary():
    """Where cargo says that the benchmark is."""
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "meter":
            return message["executable"]
    raise SystemExit("cargo did not say where the benchmark `meter` is")


def told(output):
    return [int(number) for number in output.split()]


def counted(program, name, what, frames):
    """Instructions of all streams."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, name, what, str(frames), str(STREAMS)]
    run = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not found:
        raise SystemExit(f"{' '.join(command)} failed:\n{run.stderr}")
    return int(found[1]), told(run.stdout)


def timed(program, name, what, frames):
    """The least CPU time of all streams, in nanoseconds."""
    times = []
    for _ in range(TIMED_RUNS):
        process = subprocess.Popen([program, name, what, str(frames), str(STREAMS_TIMED)], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{program} {name} failed")
        times.append((usage.ru_utime + usage.ru_stime) * 1e9)
    return min(times)


def measured(program, name, what):
    """Of the frames between the two lengths: instructions, nanoseconds, bytes, frames, allocations."""
    (few, (few_bytes, few_frames, few_allocated)), (many, (many_bytes, many_frames, many_allocated)) = (
        counted(program, name, what, frames) for frames in FRAMES
    )
    few_ns, many_ns = (timed(program, name, what, frames) for frames in FRAMES)
    return (
        (many - few) / STREAMS,
        (many_ns - few_ns) / STREAMS_TIMED,
        many_bytes - few_bytes,
        many_frames - few_frames,
        (many_allocated - few_allocated) / STREAMS,
    )


def main():
    names = sys.argv[1:]
    program = binary()
    names = names or subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    print("| format | bytes a frame | instructions a frame | instructions a KB | memchr alone | beyond memchr | ratio | ns a KB beyond memchr | allocations a frame |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        instructions, ns, size, frames, allocated = measured(program, name, "meter")
        plain, plain_ns, *_ = measured(program, name, "memchr")
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
