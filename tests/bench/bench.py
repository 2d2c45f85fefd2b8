"""Runs the benchmarks; run.sh calls it. `--help` lists the options."""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report
from process import Failed, cores
from scenarios import SCENARIOS, Bench

SUBJECTS = ("direct", "nginx", "tollgate")


def arguments():
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="tests/bench/run.sh", description="Measures the request path against nginx.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"{', '.join(names)}; all of them unless named")
    parser.add_argument("--seconds", type=int, default=10, help="length of a run (10)")
    parser.add_argument("--warm-up", type=int, default=2, help="seconds before it that do not count (2)")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each subject, taken in turn (3)")
    parser.add_argument("--subjects", default=",".join(SUBJECTS), help="some of direct,nginx,tollgate (all)")
    parser.add_argument("--out", help="file for the results as JSON (in a new temporary folder)")
    parser.add_argument("--work", default="/var/tmp", help="folder on a disk, for the ledger (/var/tmp)")
    parser.add_argument("--simulator", help="command of another build of the simulator, to which its address is appended")
    parser.add_argument("--tollgate", help=argparse.SUPPRESS)
    parser.add_argument("--paced", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.scenarios:
        if name not in names:
            parser.error(f"there is no scenario {name}; there are {', '.join(names)}")
    options.subjects = options.subjects.split(",")
    if not options.subjects or not set(options.subjects) <= set(SUBJECTS):
        parser.error(f"--subjects takes some of {','.join(SUBJECTS)}")
    if min(options.seconds, options.warm_up, options.pairs) < 1:
        parser.error("--seconds, --warm-up and --pairs are at least 1")
    return options


def machine():
    def first(text, start):
        return next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(start)), "unknown")

    def version(*argv):
        done = subprocess.run(argv, capture_output=True, text=True)
        lines = (done.stdout + done.stderr).strip().splitlines()
        return lines[0] if lines else "unknown"

    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": first(Path("/proc/cpuinfo").read_text(), "model name"),
        "cores": os.cpu_count(),
        "memory": first(Path("/proc/meminfo").read_text(), "MemTotal"),
        "kernel": platform.release(),
        "nginx": version("/usr/sbin/nginx", "-v"),
        "wrk": version("wrk", "-v"),
        "load_average": os.getloadavg(),
    }


def on_disk(directory):
    kind = subprocess.run(["stat", "-f", "-c", "%T", directory], capture_output=True, text=True).stdout.strip()
    if kind in ("tmpfs", "ramfs"):
        raise Failed(f"{directory} is memory, not a disk: choose another with --work")


def run(options, directory):
    proxy_core, load_core = cores()
    bench = Bench(options, directory, proxy_core, load_core)
    results = {"machine": machine(), "seconds": options.seconds, "pairs": options.pairs, "scenarios": {}}
    chosen = [scenario for scenario in SCENARIOS if not options.scenarios or scenario.name in options.scenarios]
    for scenario in chosen:
        print(f"{scenario.name}: {scenario.question}", flush=True)
        measure = getattr(bench, type(scenario).__name__.lower())
        results["scenarios"][scenario.name] = report.summarize(measure(scenario))
    print()
    for scenario in chosen:
        print(report.render(scenario.name, scenario.question, results["scenarios"][scenario.name]))
    return results


def main():
    # Ended by a signal, it ends its servers too; also where it was started with SIGINT ignored, as in the background of a script.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended by a signal"))
    signal.signal(signal.SIGINT, lambda *_: sys.exit("bench: interrupted"))
    options = arguments()
    directory = None
    try:
        on_disk(options.work)
        directory = tempfile.mkdtemp(prefix="tollgate-bench-", dir=options.work)
        results = run(options, directory)
    except (Failed, OSError) as problem:
        logs = f"\nlogs: {directory}" if directory else ""
        directory = None
        sys.exit(f"bench: {problem}{logs}")
    finally:
        if directory:
            shutil.rmtree(directory)
    out = Path(options.out or Path(tempfile.mkdtemp(prefix="tollgate-bench-results-")) / "results.json")
    out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"results: {out}")


if __name__ == "__main__":
    main()
