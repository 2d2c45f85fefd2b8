"""Reads what the ledger left behind with software that knows nothing of it, and prints what it finds as JSON.

readers.py table DIR                 the Delta table: deltalake with pyarrow, DuckDB over its files, Polars
readers.py answers FILE...           answers of SQL over HTTP by their extension: json, ndjson, csv, arrow, parquet

Sums are exact decimals, printed as strings.
"""

import csv
import json
import sys
from decimal import Decimal, getcontext
from pathlib import Path

import deltalake
import duckdb
import polars
import pyarrow
import pyarrow.compute
import pyarrow.ipc
import pyarrow.parquet

getcontext().prec = 60
TEAMS = "SELECT team, count(*) AS calls, sum(cost) AS cost FROM usage GROUP BY team ORDER BY team"


def exact(value):
    return None if value is None else format(Decimal(value).quantize(Decimal("0.000000000001")), "f")


def summary(costs, ids):
    known = [Decimal(cost) for cost in costs if cost is not None]
    return {"calls": len(ids), "ids": len(set(ids)), "cost": exact(sum(known, Decimal(0)))}


def arrow_summary(table):
    return summary(table.column("cost").to_pylist(), table.column("call_id").to_pylist())


def table(folder):
    delta = deltalake.DeltaTable(folder)
    files = delta.file_uris()
    rows = delta.to_pyarrow_table(columns=["call_id", "cost", "team", "charges"])
    charges = [charge for line in rows.column("charges").to_pylist() for charge in line or []]
    usage = duckdb.read_parquet(files, hive_partitioning=True)
    duck = duckdb.sql("SELECT count(*), count(DISTINCT call_id), sum(cost) FROM usage").fetchall()[0]
    frame = polars.scan_delta(folder).select("call_id", "cost").collect()
    return {
        "deltalake": arrow_summary(rows),
        "deltalake_charges": exact(sum((c["amount"] for c in charges if c["amount"] is not None), Decimal(0))),
        "duckdb": {"calls": duck[0], "ids": duck[1], "cost": exact(duck[2])},
        "polars": summary(frame["cost"].to_list(), frame["call_id"].to_list()),
        "teams": [[team, calls, exact(cost)] for team, calls, cost in duckdb.sql(TEAMS).fetchall()],
        "files": len(files),
        "decimal": str(rows.schema.field("cost").type),
        "partitions": delta.metadata().partition_columns,
    }


def answer(path):
    path = Path(path)
    match path.suffix:
        case ".json":
            rows = json.loads(path.read_text())
        case ".ndjson":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
        case ".csv":
            with path.open(newline="") as file:
                rows = [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]
        case ".arrow":
            return arrow_summary(pyarrow.ipc.open_stream(path.read_bytes()).read_all())
        case ".parquet":
            return arrow_summary(pyarrow.parquet.read_table(path))
    return summary([row["cost"] for row in rows], [row["call_id"] for row in rows])


match sys.argv[1:]:
    case ["table", folder]:
        print(json.dumps(table(folder)))
    case ["answers", *paths]:
        print(json.dumps({Path(path).suffix[1:]: answer(path) for path in paths}))
    case _:
        sys.exit(__doc__)
