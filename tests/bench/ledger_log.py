"""The log: what a call costs, group commit against the disk, recovery."""

import json
import shutil
import time
import urllib.request
from pathlib import Path
from statistics import median

import tool
from process import Failed, Process
from report import _given, _table, _triple, spread

CALLERS = (1, 16, 256)
CALL_US_GOAL = 5
OPEN_SECONDS_GOAL = 2
# A flush of the default size.
FLUSH_ROWS = 262_144
ROWS_GOAL = 500_000
ROW_BYTES_GOAL = 90


# === calls ===


def calls(bench):
    """Admit and settle, durability process, one core."""
    runs = []
    for _ in range(bench.options.pairs):
        for callers in CALLERS:
            data = bench.place("calls")
            found = tool.run(bench.proxy_core, [bench.tools / "ledger", "calls", "--data", data, "--callers", callers, "--calls", bench.options.calls])
            shutil.rmtree(data)
            runs.append(found)
            bench.say(f"{callers} callers: {found['thread_us']:.2f} us of the thread a call, {found['process_us']:.2f} us of all, others {found['foreign_percent']:.0f} %")
    counts = {}
    for callers in CALLERS:
        few, many = (_instructions(bench, callers, count) for count in (10_000, 30_000))
        counts[callers] = {name: (many[name] - few[name]) / 20_000 for name in few}
        bench.say(f"{callers} callers: {counts[callers]['main']:,.0f} instructions of the thread a call")
    return {"runs": runs, "instructions": counts}


def _instructions(bench, callers, count):
    data = bench.place("callgrind")
    # No warm-up: what start and end take is the same in both and falls out of the difference.
    found = tool.instructions([bench.tools / "ledger", "calls", "--data", data, "--callers", callers, "--calls", count, "--warm-up", 0])
    shutil.rmtree(data)
    return found


def render_calls(result):
    rows = []
    for callers in CALLERS:
        runs = [run for run in result["runs"] if run["callers"] == callers]
        count = result["instructions"][callers]
        rows.append([
            callers,
            _triple([run["thread_us"] - run["making_us"] for run in runs], 2),
            _triple([run["process_us"] - run["making_us"] for run in runs], 2),
            _triple([run["calls_per_second"] for run in runs]),
            f"{count['main']:,.0f}", f"{count['main_allocations']:.1f}", f"{count['all']:,.0f}",
        ])  # fmt: skip
    best = spread([run["thread_us"] - run["making_us"] for run in result["runs"]])
    heads = ["callers at once", "request thread, us/call", "all threads, us/call", "calls/s", "instructions of the thread", "allocations of the thread", "instructions, all threads"]
    worst = max(spread([run["thread_us"] - run["making_us"] for run in result["runs"] if run["callers"] == callers])["median"] for callers in CALLERS)
    met = "met" if worst < CALL_US_GOAL else "missed"
    return [_table(heads, rows), "", f"Goal: under {CALL_US_GOAL} us of CPU a call on the request's thread, {met} (the highest median is {worst:.2f} us, the lowest run {best['min']:.2f} us)."]


# === group commit ===


def commits(bench):
    """Admit and settle, durability power, against the disk's own rate."""
    runs = []
    for _ in range(bench.options.pairs):
        for callers in (None, *CALLERS):
            data = bench.place("commits")
            what = ["disk"] if callers is None else ["commits", "--callers", callers]
            found = tool.run(None, [bench.tools / "ledger", *what, "--data", data, "--seconds", bench.options.seconds])
            shutil.rmtree(data)
            runs.append({"callers": callers, **found})
            bench.say(f"disk alone: {found['syncs_per_second']:,.0f} fdatasync/s" if callers is None else f"{callers} callers: {found['calls_per_second']:,.0f} calls/s")
    return {"runs": runs}


def render_commits(result):
    disk = [run["syncs_per_second"] for run in result["runs"] if run["callers"] is None]
    rows = []
    for callers in CALLERS:
        rates = [run["calls_per_second"] for run in result["runs"] if run["callers"] == callers]
        # A call is two entries, each of which waits for the disk.
        ratios = [2 * rate / sync for rate, sync in zip(rates, disk, strict=True)]
        rows.append([callers, _triple(rates), _triple([2 * rate for rate in rates]), _given(spread(ratios))])
    lines = [f"The disk alone, 8 KB appended and `fdatasync()`: {_triple(disk)} a second.", ""]
    return lines + [_table(["callers at once", "calls/s", "entries/s", "entries per fdatasync of the disk alone"], rows)]


# === Parquet ===


def parquet(bench):
    """What a flush does, on one core."""
    runs = []
    for _ in range(bench.options.pairs):
        found = tool.run(bench.proxy_core, [bench.tools / "ledger", "parquet", "--data", bench.place("parquet"), "--calls", FLUSH_ROWS])
        runs.append(found)
        bench.say(f"{found['rows_per_second']:,.0f} rows/s, {found['bytes_per_row']:.1f} bytes a row")
    return {"runs": runs}


def render_parquet(result):
    def of(field, digits=0):
        return _triple([run[field] for run in result["runs"]], digits)

    heads = ["step", "rows/s of CPU time"]
    rows = [
        ["records to columns, 512 at a time", of("columns_per_second")],
        ["sorting", of("sorting_per_second")],
        ["gathering and encoding", of("encoding_per_second")],
        ["all of it", of("rows_per_second")],
    ]
    rate, size = (median(run[field] for run in result["runs"]) for field in ("rows_per_second", "bytes_per_row"))
    return [
        f"{FLUSH_ROWS:,} rows of synthetic traffic, a flush of the default size.", "",
        _table(heads, rows), "",
        f"Goal: over {ROWS_GOAL:,} rows/s, {'met' if rate > ROWS_GOAL else 'missed'}. {size:.1f} bytes a row; goal: under {ROW_BYTES_GOAL}, {'met' if size < ROW_BYTES_GOAL else 'missed'}.",
    ]  # fmt: skip


# === recovery ===


def recovery(bench):
    """Opening a log of 1,000,000 entries, and the same twice as long."""
    runs = []
    for count in (500_000, 1_000_000):
        data = Path(bench.place("recovery"))
        logged = tool.run(None, [bench.tools / "ledger", "log", "--data", data, "--calls", count])
        for _ in range(bench.options.pairs):
            opened = tool.run(None, [bench.tools / "ledger", "open", "--data", data])
            ready = start_to_ready(bench, data)
            runs.append({**logged, **opened, **ready})
            bench.say(f"{logged['entries']:,} entries: open {opened['seconds']:.2f} s, start to ready {ready['ready_seconds']:.2f} s")
        shutil.rmtree(data)
    return {"runs": runs}


def start_to_ready(bench, data, config="gateway.yaml"):
    """Seconds from the start of the gateway's process until /ready says 200; then it is killed."""
    addresses = Path(data) / "addresses.json"
    addresses.unlink(missing_ok=True)
    environment = {"BENCH_UPSTREAM": "http://127.0.0.1:9", "BENCH_KEY": "sk-tollgate-bench-0123456789", "BENCH_PROVIDER_KEY": "sk-none"}
    here = Path(__file__).parent
    started = time.monotonic()
    argv = [bench.tools / "tollgate", "serve", "--config", here / config, "--data", data]
    process = Process("gateway", None, argv, str(data) + ".log", environment=environment)
    try:
        while True:
            if process.child.poll() is not None or time.monotonic() - started > 120:
                raise Failed(f"the gateway did not become ready:\n{process.tail()}")
            try:
                admin = json.loads(addresses.read_text())["admin"]
                with urllib.request.urlopen(f"http://{admin}/ready", timeout=5) as answer:
                    if answer.status == 200:
                        break
            except (OSError, ValueError):
                pass
            time.sleep(0.002)
        seconds = time.monotonic() - started
        peak, cpu = process.peak_bytes(), process.cpu_seconds()
    finally:
        process.kill()
    return {"ready_seconds": seconds, "ready_cpu_seconds": cpu, "ready_peak_bytes": peak}


def render_recovery(result):
    rows = []
    for entries in dict.fromkeys(run["entries"] for run in result["runs"]):
        runs = [run for run in result["runs"] if run["entries"] == entries]
        rows.append([
            f"{entries:,}", f"{runs[0]['log_bytes'] / 1e6:,.0f}", _triple([run["seconds"] for run in runs], 2),
            _triple([run["ready_seconds"] for run in runs], 2), _triple([run["ready_cpu_seconds"] for run in runs], 2), _triple([run["ready_peak_bytes"] / 1e6 for run in runs]),
        ])  # fmt: skip
    million = [run["ready_seconds"] for run in result["runs"] if run["entries"] == 1_000_000]
    met = "met" if spread(million)["median"] < OPEN_SECONDS_GOAL else "missed"
    heads = ["entries", "log, MB", "`Store::open`, s", "start of the process to `/ready`, s", "the same in CPU, s", "peak memory of the gateway, MB"]
    return [_table(heads, rows), "", f"Goal: 1,000,000 entries under {OPEN_SECONDS_GOAL} s, {met}."]
