"""Queries over a month of 100 million rows: the gateway's SQL against DuckDB, on the same files."""

import json
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median

import deltalake
import tool
from load import Usage
from process import Failed, Process
from report import _given, _table, _triple, spread
from servers import Gateway

THREADS = 2
PEAK_BYTES_GOAL = 1 << 30
MONTH = "start_time >= '2026-11-01T00:00:00Z' AND start_time < '2026-12-01T00:00:00Z'"

# Name, what it asks, SQL for both, and what is written otherwise for DuckDB. Columns that are estimates are not compared.
QUERIES = [
    (
        "team-model", "sum by team and model for the month",
        f"SELECT team, response_model, sum(cost) AS cost, sum(input_tokens) AS input, sum(output_tokens) AS output, count(*) AS calls "
        f"FROM usage WHERE {MONTH} GROUP BY team, response_model ORDER BY team, response_model", {}, None,
    ),
    (
        "top-users", "the 20 users that cost most",
        "SELECT user_id, sum(cost) AS cost, count(*) AS calls FROM usage WHERE user_id IS NOT NULL GROUP BY user_id ORDER BY cost DESC, user_id LIMIT 20", {}, None,
    ),
    (
        "p99", "p99 of latency by hour and provider",
        "SELECT epoch AS hour, provider_name, count(*) AS calls, approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_us) AS p99 FROM "
        "(SELECT CAST(date_part('epoch', date_trunc('hour', start_time)) AS BIGINT) AS epoch, provider_name, duration_us FROM usage) "
        "GROUP BY epoch, provider_name ORDER BY epoch, provider_name",
        {
            "approx_percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_us)": "approx_quantile(duration_us, 0.99)",
            "CAST(date_part('epoch', date_trunc('hour', start_time)) AS BIGINT)": "epoch_us(start_time) // 3600000000 * 3600",
        }, "p99",
    ),
    (
        "filtered", "sum of what one team spent on long answers",
        "SELECT sum(cost) AS cost, count(*) AS calls FROM usage WHERE team = 'team-03' AND outcome = 'ok' AND output_tokens > 500", {}, None,
    ),
]  # fmt: skip


class Duck:
    """DuckDB in a process of its own."""

    def __init__(self, table):
        argv = [sys.executable, "-B", Path(__file__).parent / "duck.py", table, THREADS]
        self.child = subprocess.Popen(list(map(str, argv)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self._line()

    def _line(self):
        line = self.child.stdout.readline()
        if not line:
            raise Failed("DuckDB's process ended")
        return json.loads(line)

    def query(self, sql):
        self.child.stdin.write(json.dumps(sql) + "\n")
        self.child.stdin.flush()
        return self._line()

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def month(bench):
    """The table; made once per run, or found where --keep says."""
    rows = bench.options.rows
    data = Path(bench.options.keep) / f"month-{rows}" if bench.options.keep else bench.place("month")
    if not (data / "complete").exists():
        shutil.rmtree(data, ignore_errors=True)
        data.parent.mkdir(parents=True, exist_ok=True)
        made = tool.run(None, [bench.tools / "dataset", "month", "--data", data, "--rows", rows], seconds=7200)
        (data / "complete").write_text(json.dumps(made))
        bench.say(f"{made['rows']:,} rows were made in {made['seconds']:.0f} s")
    return data


def forget(bench, data):
    if not bench.options.keep:
        shutil.rmtree(data)


def start(bench, data):
    """The gateway on the table, on both cores."""
    return Gateway(None, bench.place("gateway"), 9, bench.tools / "tollgate", config="warehouse.yaml", data=data, environment={"TOKIO_WORKER_THREADS": "2"})


def queries(bench):
    data = month(bench)
    # Adding up by the hour would run beside the queries: it is done before, by another process.
    with start(bench, data).process:
        _caught_up(bench, data)
    gateway, duck = start(bench, data), Duck(data / "usage")
    runs = []
    try:
        with gateway.process:
            for name, _, sql, otherwise, estimate in QUERIES:
                theirs_sql = sql
                for ours, theirs in otherwise.items():
                    theirs_sql = theirs_sql.replace(ours, theirs)
                # Once each, so that the files are in the page cache; not counted.
                for number in range(bench.options.pairs + 1):
                    usage = Usage([gateway])
                    ours, ours_took = _ours(gateway, sql)
                    theirs = duck.query(theirs_sql)
                    used = usage.seconds()
                    _same(name, ours, theirs["rows"], estimate)
                    if number:
                        run = {
                            "query": name, **ours_took, "duck_seconds": theirs["seconds"], "duck_cpu_seconds": theirs["cpu_seconds"],
                            "rows": len(ours), "foreign_percent": max(0.0, used["foreign_percent"] - 100 * theirs["cpu_seconds"] / used["wall"]),
                        }  # fmt: skip
                        runs.append(run)
                        bench.say(f"{name}: {run['seconds']:.2f} s ({run['cpu_seconds']:.2f} s CPU), DuckDB {run['duck_seconds']:.2f} s ({run['duck_cpu_seconds']:.2f} s CPU)")
                bench.say(f"peak memory so far: {gateway.process.peak_bytes() / 1e6:,.0f} MB, DuckDB {theirs['peak_bytes'] / 1e6:,.0f} MB")
            peak = gateway.process.peak_bytes()
    finally:
        duck.close()
    forget(bench, data)
    return {
        "rows": bench.options.rows, "bytes": duck.about["bytes"], "runs": runs, "duckdb": duck.about,
        "peak_bytes": peak, "duck_peak_bytes": theirs["peak_bytes"],
    }  # fmt: skip


def _ours(gateway, sql):
    cpu, started = gateway.process.cpu_seconds(), time.monotonic()
    rows = gateway.sql(sql, timeout=600)
    return rows, {"seconds": time.monotonic() - started, "cpu_seconds": gateway.process.cpu_seconds() - cpu}


def _same(name, ours, theirs, estimate):
    """Exactly the same rows; the estimate of a percentile within a tenth."""
    if len(ours) != len(theirs):
        raise Failed(f"{name}: {len(ours)} rows, DuckDB has {len(theirs)}")
    for our, their in zip(ours, theirs, strict=True):
        for (column, cell), other in zip(our.items(), their, strict=True):
            if column == estimate:
                same = abs(float(cell) - float(other)) <= 0.1 * float(other)
            elif cell is None or other is None or column in ("team", "response_model", "user_id", "provider_name"):
                same = cell == other
            else:
                same = Decimal(str(cell)) == Decimal(other)
            if not same:
                raise Failed(f"{name}: {our}, DuckDB has {their}")


# === rollup ===

HOURLY = (
    "SELECT team, response_model, sum(cost) AS cost, sum(input_tokens) AS input, sum(output_tokens) AS output, sum(calls) AS calls "
    "FROM usage_hourly WHERE hour >= '2026-11-01T00:00:00Z' AND hour < '2026-12-01T00:00:00Z' GROUP BY team, response_model ORDER BY team, response_model"
)
CATCH_UP_SECONDS = 3600
# Whose rows the month has.
GATEWAYS = ("gw-1", "gw-2")


def rollup(bench):
    """The sum by team and model out of `usage_hourly`, against DuckDB over the raw rows."""
    data = month(bench)
    gateway, duck = start(bench, data), Duck(data / "usage")
    runs = []
    try:
        with gateway.process:
            waited = _caught_up(bench, data)
            sums = gateway.sql("SELECT count(*) AS row_count, sum(calls) AS calls FROM usage_hourly", timeout=600)[0]
            for number in range(bench.options.pairs + 1):
                ours, ours_took = _ours(gateway, HOURLY)
                raw, raw_took = _ours(gateway, QUERIES[0][2])
                theirs = duck.query(QUERIES[0][2])
                _same("rollup", ours, theirs["rows"], None)
                if number:
                    runs.append({
                        **ours_took, "raw_seconds": raw_took["seconds"], "raw_cpu_seconds": raw_took["cpu_seconds"],
                        "duck_seconds": theirs["seconds"], "duck_cpu_seconds": theirs["cpu_seconds"], "rows": len(ours), "foreign_percent": 0,
                    })  # fmt: skip
                    bench.say(f"rollup {ours_took['seconds']:.3f} s, raw rows {raw_took['seconds']:.2f} s, DuckDB on raw rows {theirs['seconds']:.2f} s")
    finally:
        duck.close()
    forget(bench, data)
    return {"rows": bench.options.rows, "hours": int(sums["row_count"]), "waited": waited, "runs": runs}


def _caught_up(bench, data):
    """Waits until the keeper of the rollup has added up everything, and has put the parts of each day that is over together."""
    started = time.monotonic()
    usage = deltalake.DeltaTable(str(data / "usage"))
    over = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    while True:
        time.sleep(2)
        if (data / "usage-hourly" / "_delta_log").exists():
            rolled = deltalake.DeltaTable(str(data / "usage-hourly"))
            whole = all(rolled.transaction_version(name) == usage.transaction_version(name) for name in GATEWAYS)
            days = [uri.rpartition("start_date=")[2][:10] for uri in rolled.file_uris()]
            settled = [day for day in days if day < over]
            if whole and len(settled) == len(set(settled)):
                break
        if time.monotonic() - started > CATCH_UP_SECONDS:
            raise Failed("the rollup does not catch up")
    waited = time.monotonic() - started
    bench.say(f"the rollup has caught up after {waited:.0f} s, in {rolled.version()} versions")
    return waited


# === rollups of years ===

CALLS_A_DAY = 3_333_334
SPANS_DAYS = (30, 90, 300)
SUMS = "SELECT team, response_model, sum(cost) AS cost, sum(input_tokens) AS input, sum(output_tokens) AS output, sum(calls) AS calls FROM {} GROUP BY team, response_model ORDER BY team, response_model"


def hours(bench):
    """The sum by team and model over all of `usage_hourly` as of up to a billion calls, against DuckDB on the rollup's files."""
    runs = []
    for days in SPANS_DAYS:
        data = bench.place("hours")
        made = tool.run(None, [bench.tools / "dataset", "hours", "--data", data, "--rows", CALLS_A_DAY * days, "--days", days], seconds=3600)
        gateway, duck = start(bench, data), Duck(data / "usage-hourly")
        try:
            with gateway.process:
                gateway.process.until("the rollup is read", 60, lambda: _calls(gateway) == made["calls"])
                for number in range(bench.options.pairs + 1):
                    usage = Usage([gateway])
                    ours, ours_took = _ours(gateway, SUMS.format("usage_hourly"))
                    theirs = duck.query(SUMS.format("usage"))
                    used = usage.seconds()
                    _same("hours", ours, theirs["rows"], None)
                    if number:
                        runs.append({
                            **made, **ours_took, "days": days, "bytes": duck.about["bytes"], "duck_seconds": theirs["seconds"], "duck_cpu_seconds": theirs["cpu_seconds"],
                            "peak_bytes": gateway.process.peak_bytes(), "foreign_percent": max(0.0, used["foreign_percent"] - 100 * theirs["cpu_seconds"] / used["wall"]),
                        })  # fmt: skip
                bench.say(f"{made['calls']:,} calls in {days} days: {runs[-1]['seconds']:.3f} s, DuckDB {runs[-1]['duck_seconds']:.3f} s")
        finally:
            duck.close()
        shutil.rmtree(data)
    return {"runs": runs}


def _calls(gateway):
    return int(gateway.sql("SELECT sum(calls) AS calls FROM usage_hourly", timeout=600)[0]["calls"] or 0)


def render_hours(result):
    rows = []
    for days in SPANS_DAYS:
        runs = [run for run in result["runs"] if run["days"] == days]
        one = runs[0]
        rows.append([
            f"{one['calls']:,}", days, f"{one['rows_a_day'] * days:,}", f"{one['bytes'] / 1e6:,.0f}", _triple([run["seconds"] for run in runs], 3),
            _triple([run["cpu_seconds"] for run in runs], 3), _triple([run["duck_seconds"] for run in runs], 3), f"{max(run['peak_bytes'] for run in runs) / 1e6:,.0f}",
        ])  # fmt: skip
    heads = ["calls", "days", "rows of the rollup", "MB", "gateway, s", "gateway, CPU s", "DuckDB on the rollup's files, s", "peak memory of the gateway, MB"]
    return ["Rollups are generated: all days have the sums of one day of synthetic traffic. The sums are the same in both, to the last digit.", "", _table(heads, rows)]


def render_rollup(result):
    def of(field, digits=3):
        return _triple([run[field] for run in result["runs"]], digits)

    against = {name: spread([run[f"{name}_seconds"] / run["seconds"] for run in result["runs"]]) for name in ("raw", "duck")}
    rows = [
        ["`usage_hourly`", of("seconds"), of("cpu_seconds"), ""],
        ["raw rows", of("raw_seconds", 2), of("raw_cpu_seconds", 2), _given(against["raw"], 0)],
        ["DuckDB on raw rows", of("duck_seconds", 2), of("duck_cpu_seconds", 2), _given(against["duck"], 0)],
    ]
    met = "met" if against["duck"]["median"] >= 50 else "missed"
    return [
        f"{result['rows']:,} calls are {result['hours']:,} rows of `usage_hourly`. The sums are the same to the last digit.", "",
        _table(["sum by team and model for the month over", "s", "CPU s", "times slower than the rollup"], rows), "",
        f"Goal: 50 times faster than DuckDB on raw rows, {met}.",
    ]  # fmt: skip


def render_queries(result):
    rows = []
    for name, question, *_ in QUERIES:
        runs = [run for run in result["runs"] if run["query"] == name]
        ratios = spread([run["duck_seconds"] / run["seconds"] for run in runs])
        cpu = spread([run["duck_cpu_seconds"] / max(run["cpu_seconds"], 0.01) for run in runs])
        rows.append([
            question, _triple([run["seconds"] for run in runs], 2), _triple([run["duck_seconds"] for run in runs], 2), _given(ratios),
            f"{median(run['cpu_seconds'] for run in runs):.2f}", f"{median(run['duck_cpu_seconds'] for run in runs):.2f}", _given(cpu),
        ])  # fmt: skip
    heads = ["query", "gateway, s", "DuckDB, s", "speed, gateway / DuckDB", "gateway, CPU s", "DuckDB, CPU s", "the same by CPU"]
    met = "met" if result["peak_bytes"] <= PEAK_BYTES_GOAL else "missed"
    return [
        f"{result['rows']:,} rows in {result['duckdb']['files']} files of {result['bytes'] / 1e9:.2f} GB ({result['bytes'] / result['rows']:.1f} bytes a row), "
        f"{THREADS} threads each, DuckDB {result['duckdb']['version']}. Every sum and count is the same in both, to the last digit.", "",
        _table(heads, rows), "",
        f"Peak memory of the gateway's process over all of them: {result['peak_bytes'] / 1e6:,.0f} MB (goal: 1 GB, {met}); of DuckDB's {result['duck_peak_bytes'] / 1e6:,.0f} MB.",
    ]  # fmt: skip
