"""Ratios and tables: from the data of scenarios.py to what is printed, as Markdown."""

from statistics import median

# Beyond this share of a core, someone else's work is in the figures.
FOREIGN_PERCENT_MAX = 10
# Below this share of its core a proxy was waiting for the client or the upstream, and its throughput is theirs.
SATURATED_PERCENT = 90


def spread(values):
    return {"min": min(values), "median": median(values), "max": max(values)}


def of(result, subject, field):
    return [run[field] for run in result["runs"] if run["subject"] == subject]


def pairs(result, field, first="tollgate", second="nginx"):
    """The values of neighbouring runs."""
    return list(zip(of(result, first, field), of(result, second, field), strict=False))


def summarize(result):
    """Adds `summary` to a scenario's data, where its subjects allow it."""
    subjects = {run["subject"] for run in result["runs"]}
    summary = {}
    if result["kind"] == "throughput" and {"tollgate", "nginx"} <= subjects:
        summary["ratio"] = spread([ours / theirs for ours, theirs in pairs(result, "requests_per_second")])
        summary["cpu_ratio"] = spread([theirs / ours for ours, theirs in pairs(result, "proxy_us_per_request")])
        if result["goal"]:
            summary["goal_met"] = summary["ratio"]["median"] >= result["goal"]
    if result["kind"] == "beside":
        summary["ratio"] = spread([on / off for on, off in pairs(result, "requests_per_second", "with", "without")])
        summary["cpu_ratio"] = spread([off / on for on, off in pairs(result, "proxy_us_per_request", "with", "without")])
        summary["goal_met"] = summary["ratio"]["median"] >= result["goal"]
    if result["kind"] == "lag":
        summary["lag_max_us"] = spread(of(result, "tollgate", "lag_max_us"))
        summary["goal_met"] = summary["lag_max_us"]["max"] < result["goal_us"]
    if result["kind"] == "latency":
        for proxy in sorted(subjects & {"tollgate", "nginx"}):
            for field in ("p50_us", "p99_us"):
                differences = [through - direct for through, direct in pairs(result, field, proxy, "direct")]
                if differences:
                    summary[f"{proxy}_added_{field}"] = spread(differences)
        if "tollgate_added_p50_us" in summary:
            summary["goal_met"] = summary["tollgate_added_p50_us"]["median"] < result["goal_us"]
    result["summary"] = summary
    return result


def _triple(values, digits=0):
    found = spread(values)
    return " / ".join(f"{found[name]:,.{digits}f}" for name in ("min", "median", "max"))


def _given(found, digits=2):
    return " / ".join(f"{found[name]:,.{digits}f}" for name in ("min", "median", "max"))


def _table(heads, rows):
    rows = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)


def _subjects(result):
    return list(dict.fromkeys(run["subject"] for run in result["runs"]))


def render(name, question, result):
    lines = [f"### {name}: {question}", ""]
    lines += {"throughput": _throughput, "latency": _latency, "idle": _idle, "beside": _beside, "lag": _lag}[result["kind"]](result)
    foreign = max((run.get("foreign_percent", 0) for run in result["runs"]), default=0)
    if foreign > FOREIGN_PERCENT_MAX:
        lines += ["", f"Not to be trusted: other processes used up to {foreign:.0f} % of a core meanwhile."]
    return "\n".join(lines) + "\n"


def _goal(result, text):
    met = result["summary"].get("goal_met")
    return "" if met is None else f" Goal: {text}, {'met' if met else 'missed'}."


def _throughput(result):
    lines = _speeds(result)
    summary = result["summary"]
    if "ratio" in summary:
        goal = _goal(result, f"at least {result['goal']:.2f}") if result["goal"] else ""
        lines += ["", f"Throughput, tollgate / nginx, pair by pair: {_given(summary['ratio'])}.{goal}"]
        lines.append(f"The same by CPU time a request: {_given(summary['cpu_ratio'])}.")
        for subject in ("nginx", "tollgate"):
            share = median(of(result, subject, "proxy_percent"))
            if share < SATURATED_PERCENT:
                lines.append(f"{subject} used {share:.0f} % of its core only: it waited for client and upstream, or for processes of others.")
    return lines + _ledger(result)


def _beside(result):
    lines = _speeds(result)
    summary = result["summary"]
    goal = _goal(result, f"at least {result['goal']:.2f}")
    lines += ["", f"Throughput, with / without, pair by pair: {_given(summary['ratio'], 3)}.{goal}"]
    lines.append(f"The same by CPU time of the whole process a request: {_given(summary['cpu_ratio'], 3)}.")
    return lines + _exports(result) + _ledger(result)


def _lag(result):
    heads = ["calls/s", "samples", "lag, median, s", "lag, at most, s", "rows, at most", "calls: median, us", "p99, us"]
    rows = [
        [
            f"{result['rate']:,}", run["samples"], f"{run['lag_median_us'] / 1e6:.2f}", f"{run['lag_max_us'] / 1e6:.2f}", f"{run['lag_rows_max']:,}",
            f"{run['p50_us']:,.0f}", f"{run['p99_us']:,.0f}",
        ]
        for run in result["runs"]
    ]  # fmt: skip
    return [_table(heads, rows), "", _goal(result, f"under {result['goal_us'] / 1e6:.0f} s").strip()] + _exports(result) + _ledger(result)


def _exports(result):
    runs = [run["exports"] for run in result["runs"] if "exports" in run]
    return ["", f"Delivered: {sum(run['delivered'] for run in runs):,} rows in all, every one of the ledger's, none twice by the exporter's count."] if runs else []


def _speeds(result):
    rows = []
    for subject in _subjects(result):
        rows.append([
            {"direct": "upstream, direct"}.get(subject, subject),
            _triple(of(result, subject, "requests_per_second")),
            _triple([value / 1000 for value in of(result, subject, "p50_us")], 2),
            _triple([value / 1000 for value in of(result, subject, "p99_us")], 2),
            "" if subject == "direct" else _triple(of(result, subject, "proxy_percent")),
            "" if subject == "direct" else _triple(of(result, subject, "proxy_us_per_request"), 1),
            _triple(of(result, subject, "upstream_percent")),
        ])  # fmt: skip
    heads = ["", "requests/s", "median, ms", "p99, ms", "proxy's core, %", "proxy's CPU, us/request", "upstream, % of its core"]
    lines = [f"Upstream: {result['upstream']}; {result['connections']} connections. Figures are min / median / max of the runs.", ""]
    return [*lines, _table(heads, rows)]


def _latency(result):
    rows = []
    for subject in _subjects(result):
        fields = ("p50_us", "p90_us", "p99_us", "p999_us")
        rows.append([subject, *(_triple(of(result, subject, field)) for field in fields), sum(of(result, subject, "late"))])
    heads = ["", "median, us", "p90, us", "p99, us", "p99.9, us", "sent late"]
    lines = [f"Upstream: {result['upstream']}; {result['rate']:,} requests/s. Figures are min / median / max of the runs.", ""]
    lines.append(_table(heads, rows))
    summary = result["summary"]
    for proxy in ("nginx", "tollgate"):
        if f"{proxy}_added_p50_us" in summary:
            added = f"{proxy} adds, round by round: median {_given(summary[f'{proxy}_added_p50_us'], 0)} us, "
            added += f"p99 {_given(summary[f'{proxy}_added_p99_us'], 0)} us."
            lines += ["", added + (_goal(result, f"median under {result['goal_us']} us") if proxy == "tollgate" else "")]
    return lines + _ledger(result)


def _idle(result):
    rows = []
    for run in result["runs"]:
        memory = [f"{run[field] / 1e6:.1f}" for field in ("before_bytes", "held_bytes", "after_bytes")]
        rows.append([run["subject"], f"{run['streams']:,}", *memory, f"{run['bytes_per_stream']:,.0f}"])
    lines = [_table(["", "streams", "before, MB", "with them, MB", "after, MB", "bytes a stream"], rows)]
    for run in result["runs"]:
        if "rows" in run:
            lines += ["", f"Ledger: {run['streams']:,} streams and the first one left {run['rows']['aborted']:,} rows."]
    return lines


def _ledger(result):
    rows = []
    for run in result["runs"]:
        if "ledger" in run:
            found = run["ledger"]
            cut = found["row_count"] - found["answered"]
            rows.append([f"{found['answered']:,}", f"{found['row_count']:,}", cut, found["in_flight_max"], f"{found['priced']:,}", found["cost"]])
    heads = ["answered, by the client's count", "rows", "difference", "in flight, at most", "ok and priced", "sum(cost)"]
    return ["", "Ledger, run by run:", "", _table(heads, rows)] if rows else []
