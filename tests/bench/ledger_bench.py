"""Runs the benchmarks of the ledger; ledger.sh calls it. `--help` lists the options."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import ledger_budgets
import ledger_busy
import ledger_log
import ledger_queries
from bench import machine, on_disk
from process import Failed, cores
from report import FOREIGN_PERCENT_MAX

# Name, question, measurement, table.
PARTS = {
    "calls": ("what admit and settle cost the request path", ledger_log.calls, ledger_log.render_calls),
    "commits": ("group commit in durability power, against the disk", ledger_log.commits, ledger_log.render_commits),
    "parquet": ("from the log to Parquet", ledger_log.parquet, ledger_log.render_parquet),
    "recovery": ("start after a crash with a long log", ledger_log.recovery, ledger_log.render_recovery),
    "rollup": ("the same sum out of hourly rollups", ledger_queries.rollup, ledger_queries.render_rollup),
    "queries": ("a month of rows, against DuckDB on the same files", ledger_queries.queries, ledger_queries.render_queries),
    "budgets": ("what budgets have spent, at a start", ledger_budgets.budgets, ledger_budgets.render_budgets),
    "hours": ("a report over a billion calls, out of hourly rollups", ledger_queries.hours, ledger_queries.render_hours),
    "busy": ("latency of calls while scans, flushes and compactions run", ledger_busy.busy, ledger_busy.render_busy),
    "memory": ("memory of the gateway under load", ledger_busy.memory, ledger_busy.render_memory),
    "files": ("start on a table of 10,000 files", ledger_busy.files, ledger_busy.render_files),
}


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/ledger.sh", description="Measures the ledger.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all of them unless named")
    parser.add_argument("--seconds", type=int, default=5, help="length of a run that has one (5)")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each subject, taken in turn (3)")
    parser.add_argument("--calls", type=int, default=500_000, help="calls of a run of part calls (500,000)")
    parser.add_argument("--rows", type=int, default=100_000_000, help="rows of the table that is queried (100,000,000)")
    parser.add_argument("--out", help="file for the results as JSON (in a new temporary folder)")
    parser.add_argument("--work", default="/var/tmp", help="folder on a disk, for the data (/var/tmp)")
    parser.add_argument("--keep", help="folder in which generated tables are kept and found again")
    parser.add_argument("--tools", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--paced", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.parts:
        if name not in PARTS:
            parser.error(f"there is no part {name}; there are {', '.join(PARTS)}")
    return options


class Bench:
    """One run: its options and its folder."""

    def __init__(self, options, directory):
        self.options, self.directory, self.tools = options, Path(directory), options.tools
        self.proxy_core, self.load_core = cores()
        self.count = 0

    def place(self, what):
        self.count += 1
        return self.directory / f"{self.count:03}-{what}"

    def say(self, text):
        print(f"  {text}", flush=True)


def run(options, directory):
    bench = Bench(options, directory)
    results = {"machine": machine(), "parts": {}}
    chosen = [name for name in PARTS if not options.parts or name in options.parts]
    rendered = []
    for name in chosen:
        question, measure, render = PARTS[name]
        print(f"{name}: {question}", flush=True)
        result = measure(bench)
        results["parts"][name] = result
        lines = [f"### {name}: {question}", "", "Figures are min / median / max of the runs.", "", *render(result)]
        foreign = max((found.get("foreign_percent", 0) for found in result["runs"]), default=0)
        if foreign > FOREIGN_PERCENT_MAX:
            lines += ["", f"Not to be trusted: other processes used up to {foreign:.0f} % of a core meanwhile."]
        rendered.append("\n".join(lines) + "\n")
    print()
    print("\n".join(rendered))
    return results


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended by a signal"))
    signal.signal(signal.SIGINT, lambda *_: sys.exit("bench: interrupted"))
    options = arguments()
    directory = None
    try:
        on_disk(options.work)
        directory = tempfile.mkdtemp(prefix="tollgate-bench-ledger-", dir=options.work)
        results = run(options, directory)
    except (Failed, OSError) as problem:
        sys.exit(f"bench: {problem}")
    finally:
        if directory:
            shutil.rmtree(directory)
    out = Path(options.out or Path(tempfile.mkdtemp(prefix="tollgate-bench-results-")) / "results.json")
    out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"results: {out}")


if __name__ == "__main__":
    main()
