"""What a start takes that has to learn what budgets have spent, out of a month of 100 million rows."""

import re
from decimal import Decimal
from statistics import median

import ledger_queries
from process import Failed
from report import _table, _triple
from servers import Gateway

GOAL_SECONDS = 5
LOADED = re.compile(r"budgets were loaded from the rows that there are budgets=(\d+) duration_ms=(\d+)")

# Name, what they are, and their specs. The month lies in a quarter, whichever day it is when this runs in it or soon after.
KINDS = [
    ("team", "one: money by team", ['{per: [team], limit: 1000000000 USD, window: {start: 2026-11-01, end: 2027-01-01}}']),
    (
        "ten", "ten: money, tokens and calls by team, service, model and key",
        [
            f"{{per: [{per}], limit: {limit}, window: {{start: 2026-11-01, end: 2027-01-01}}}}"
            for per in ("team", "service", "request_model", "key_id", "provider_name")
            for limit in ("1000000000 USD", "{tokens: 1000000000000000}")
        ],
    ),
    ("user", "one by user, which is not in the rollup: money", ['{per: [user_id], limit: 1000000000 USD, window: {start: 2026-11-01, end: 2027-01-01}}']),
]  # fmt: skip


def budgets(bench):
    data = ledger_queries.month(bench)
    with ledger_queries.start(bench, data).process:
        ledger_queries._caught_up(bench, data)
    runs = []
    for kind, _, specs in KINDS:
        texts = [f"apiVersion: tollgate/v1\nkind: Budget\nmetadata: {{name: b{number}}}\nspec: {spec}\n" for number, spec in enumerate(specs)]
        for _ in range(bench.options.pairs):
            gateway = Gateway(
                None, bench.place("gateway"), 9, bench.tools / "tollgate", config="warehouse.yaml", data=data, start_seconds=600,
                environment={"TOKIO_WORKER_THREADS": "2", "RUST_LOG": "info"}, configs={"budgets.yaml": "---\n".join(texts)},
            )  # fmt: skip
            with gateway.process:
                cpu = gateway.process.cpu_seconds()
                _is_the_sum(gateway, kind)
                peak = gateway.process.peak_bytes()
            found = LOADED.search(gateway.process.log.read_text(errors="replace"))
            if not found or int(found[1]) != len(specs):
                raise Failed(f"the log does not say that {len(specs)} budgets were loaded")
            runs.append({"kind": kind, "seconds": int(found[2]) / 1000, "cpu_seconds": cpu, "peak_bytes": peak})
            bench.say(f"{kind}: {runs[-1]['seconds']:.2f} s, {cpu:.2f} s of CPU until it was ready")
    ledger_queries.forget(bench, data)
    return {"rows": bench.options.rows, "runs": runs}


def _is_the_sum(gateway, kind):
    """What the counters of the first budget have spent together is the cost of all rows."""
    spent = gateway.sql("SELECT sum(spent) AS spent, count(*) AS counters FROM budgets WHERE name = 'b0'", timeout=600)[0]
    cost = gateway.sql("SELECT sum(cost) AS cost FROM usage_hourly WHERE currency = 'USD'", timeout=600)[0]["cost"]
    if Decimal(spent["spent"]) != Decimal(cost):
        raise Failed(f"{kind}: the counters say {spent}, the rows {cost}")


def render_budgets(result):
    rows = []
    for kind, what, _ in KINDS:
        runs = [run for run in result["runs"] if run["kind"] == kind]
        rows.append([what, _triple([run["seconds"] for run in runs], 2), _triple([run["cpu_seconds"] for run in runs], 2), f"{max(run['peak_bytes'] for run in runs) / 1e6:,.0f}"])
    took = median(run["seconds"] for run in result["runs"] if run["kind"] == "team")
    return [
        f"{result['rows']:,} rows. What the counters have spent is the cost of all rows, to the last digit.", "",
        _table(["budgets", "loading them, s", "the process until it is ready, s of CPU", "peak memory, MB"], rows), "",
        f"Goal: under {GOAL_SECONDS} s where the rollup answers, {'met' if took < GOAL_SECONDS else 'missed'}.",
    ]  # fmt: skip
