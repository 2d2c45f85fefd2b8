"""The request path beside analytics: latency while scans, flushes and compactions run; memory under load; start on many files."""

import shutil
import threading
from statistics import median

import bodies
import ledger_log
import ledger_queries
import tool
from load import Usage, paced, wrk
from process import Failed
from report import _given, _table, _triple, spread
from servers import ConstantUpstream, Gateway

RATE, CONNECTIONS = 1000, 16
P99_RATIO_GOAL = 1.5
FILES, FILES_SECONDS_GOAL = 10_000, 1


class Scans:
    """Scans of the whole month, one after the other, for as long as this is entered."""

    def __init__(self, gateway, at_once=2):
        self.gateway, self.ended, self.done, self.problem = gateway, threading.Event(), 0, None
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(at_once)]

    def _run(self, number):
        while not self.ended.is_set():
            sql = ledger_queries.QUERIES[number % 3][2]
            try:
                self.gateway.sql(sql, timeout=600)
            except (Failed, OSError) as problem:
                self.problem = problem
                return
            self.done += 1
            number += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()


def _body(bench):
    path = bench.place("body")
    path.write_bytes(bodies.request(1024))
    return path


def _upstream(bench):
    return ConstantUpstream(bench.load_core, str(bench.place("upstream")), bodies.completion(1024), "application/json")


# === latency beside scans ===


def busy(bench):
    data = ledger_queries.month(bench)
    body, runs = _body(bench), []
    count = RATE * (2 * bench.options.seconds + 1)
    upstream = _upstream(bench)
    with upstream.process:
        for number in range(2 * bench.options.pairs):
            scanning = number % 2 == 1
            config = "busy.yaml" if scanning else "gateway.yaml"
            environment = {"TOKIO_WORKER_THREADS": "2", "RUST_LOG": "info"}
            gateway = Gateway(None, bench.place("gateway"), upstream.port, bench.tools / "tollgate", config=config, data=data, environment=environment)
            with gateway.process:
                run = _busy_run(bench, gateway, upstream, body, count, scanning)
            log = gateway.process.log.read_text(errors="replace")
            run |= {"flushes": log.count("rows were flushed"), "compactions": log.count("compacted")}
            runs.append(run)
            bench.say(f"{'busy' if scanning else 'idle'}: median {run['p50_us']:.0f} us, p99 {run['p99_us']:.0f} us, {run['scans']} scans, {run['flushes']} flushes, {run['compactions']} compactions")
    ledger_queries.forget(bench, data)
    return {"rows": bench.options.rows, "runs": runs}


def _busy_run(bench, gateway, upstream, body, count, scanning):
    scans = Scans(gateway) if scanning else None
    if scans:
        scans.__enter__()
    try:
        usage = Usage([gateway, upstream])
        result = paced(bench.options.paced, bench.load_core, gateway, body, CONNECTIONS, count, RATE, skip=RATE)
        used = usage.seconds()
    finally:
        if scans:
            scans.__exit__()
    if scans and scans.problem:
        raise Failed(f"a scan failed: {scans.problem}")
    return {
        "busy": scanning, **result, "scans": scans.done if scans else 0, "gateway_percent": 100 * used["servers"][0] / used["wall"],
        "foreign_percent": used["foreign_percent"], "peak_bytes": gateway.process.peak_bytes(),
    }  # fmt: skip


def render_busy(result):
    rows = []
    for scanning in (False, True):
        runs = [run for run in result["runs"] if run["busy"] == scanning]
        fields = [_triple([run[field] for run in runs]) for field in ("p50_us", "p90_us", "p99_us", "p999_us", "gateway_percent", "scans", "flushes", "compactions")]
        rows.append(["busy" if scanning else "idle", *fields, _triple([run["peak_bytes"] / 1e6 for run in runs])])
    heads = ["", "median, us", "p90, us", "p99, us", "p99.9, us", "gateway, % of a core", "scans ended", "flushes", "compactions", "peak memory, MB"]
    pairs = list(zip(result["runs"][0::2], result["runs"][1::2], strict=True))
    ratios = spread([after["p99_us"] / before["p99_us"] for before, after in pairs])
    met = "met" if ratios["median"] <= P99_RATIO_GOAL else "missed"
    return [
        f"{RATE:,} requests/s over {CONNECTIONS} connections; {result['rows']:,} rows are scanned by two queries at a time.", "",
        _table(heads, rows), "",
        f"p99, busy / idle, pair by pair: {_given(ratios)}. Goal: at most {P99_RATIO_GOAL}, {met}.",
    ]  # fmt: skip


# === memory ===


def memory(bench):
    """Resident memory at full speed, every limit at its default."""
    body, runs = _body(bench), []
    upstream = _upstream(bench)
    with upstream.process:
        for seconds in (bench.options.seconds, 6 * bench.options.seconds):
            gateway = Gateway(bench.proxy_core, bench.place("gateway"), upstream.port, bench.tools / "tollgate")
            with gateway.process:
                usage = Usage([gateway, upstream])
                start = gateway.process.resident_bytes()
                result = wrk(bench.load_core, gateway, body, None, 64, seconds, bench.directory)
                runs.append({
                    "seconds": seconds, "requests": result["requests"], "start_bytes": start, "end_bytes": gateway.process.resident_bytes(),
                    "peak_bytes": gateway.process.peak_bytes(), "foreign_percent": usage.seconds()["foreign_percent"],
                })  # fmt: skip
            gateway.forget()
            bench.say(f"{seconds} s: {runs[-1]['requests']:,} requests, peak {runs[-1]['peak_bytes'] / 1e6:.0f} MB")
    return {"runs": runs}


def render_memory(result):
    rows = [
        [run["seconds"], f"{run['requests']:,}", *(f"{run[field] / 1e6:,.0f}" for field in ("start_bytes", "peak_bytes", "end_bytes"))]
        for run in result["runs"]
    ]
    return [_table(["seconds at full speed", "requests", "at the start, MB", "peak, MB", "at the end, MB"], rows)]


# === start on many files ===


def files(bench):
    data = bench.place("files")
    made = tool.run(None, [bench.tools / "dataset", "files", "--data", data, "--files", FILES])
    runs = []
    for _ in range(bench.options.pairs):
        usage = Usage([])
        found = ledger_log.start_to_ready(bench, data)
        runs.append({**made, **found, "foreign_percent": max(0.0, usage.seconds()["foreign_percent"])})
        bench.say(f"{made['files']:,} files: start to ready {found['ready_seconds']:.2f} s")
    empty = [ledger_log.start_to_ready(bench, bench.place("empty")) for _ in range(bench.options.pairs)]
    log = sum(path.stat().st_size for path in (data / "usage" / "_delta_log").iterdir())
    shutil.rmtree(data)
    return {"runs": runs, "empty": empty, "log_bytes": log}


def render_files(result):
    of = lambda runs, field, by=1, digits=2: _triple([run[field] / by for run in runs], digits)  # noqa: E731
    rows = [
        ["an empty data directory", of(result["empty"], "ready_seconds"), of(result["empty"], "ready_cpu_seconds"), of(result["empty"], "ready_peak_bytes", 1e6, 0)],
        [f"a table of {result['runs'][0]['files']:,} files", of(result["runs"], "ready_seconds"), of(result["runs"], "ready_cpu_seconds"), of(result["runs"], "ready_peak_bytes", 1e6, 0)],
    ]
    seconds = median(run["ready_seconds"] for run in result["runs"])
    met = "met" if seconds < FILES_SECONDS_GOAL else "missed"
    return [
        f"{result['runs'][0]['commits']} commits; the table's log takes {result['log_bytes'] / 1e6:.1f} MB.", "",
        _table(["start on", "start of the process to `/ready`, s", "the same in CPU, s", "peak memory, MB"], rows), "",
        f"Goal: under {FILES_SECONDS_GOAL} s, {met}.",
    ]  # fmt: skip
