"""Reads what the ledger left behind with software that knows nothing of it, and prints what it finds as JSON.

readers.py table DIR                 the Delta table in a directory: deltalake, pyarrow, DuckDB, Polars by its log and by its files
readers.py bucket URL ENDPOINT       the Delta table in an S3-compatible store: deltalake, pyarrow, Polars
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
import pyarrow.dataset
import pyarrow.fs
import pyarrow.ipc
import pyarrow.parquet

getcontext().prec = 60
COLUMNS = ["call_id", "cost", "team", "charges", "tags"]
TEAMS = "SELECT team, count(*) AS calls, sum(cost) AS cost FROM usage GROUP BY team ORDER BY team"


def exact(value):
    return None if value is None else format(Decimal(value).quantize(Decimal("0.000000000001")), "f")


def summary(costs, ids):
    known = [Decimal(cost) for cost in costs if cost is not None]
    return {"calls": len(ids), "ids": len(set(ids)), "cost": exact(sum(known, Decimal(0)))}


def arrow_summary(table):
    return summary(table.column("cost").to_pylist(), table.column("call_id").to_pylist())


def whole(calls, ids, cost, lines, amounts, unequal, tagged, decimal):
    """What every engine is asked: rows, exact sums, the bill line by line, tags, and the type of money."""
    sums = {"calls": calls, "ids": ids, "cost": exact(cost)}
    return sums | {"lines": lines, "amounts": exact(amounts), "unequal": unequal, "tagged": tagged, "decimal": decimal}


def by_arrow(table):
    """pyarrow: sums in its own kernels, nested values in Python."""
    compute = pyarrow.compute
    lines = compute.list_flatten(table.column("charges"))
    amounts = compute.struct_field(lines, "amount")
    unequal = 0
    for cost, charges in zip(table.column("cost").to_pylist(), table.column("charges").to_pylist()):
        known = [line["amount"] for line in charges or [] if line["amount"] is not None]
        unequal += sum(known, Decimal(0)) != (cost or Decimal(0))
    tagged = sum(dict(tags or []).get("env") == "test" for tags in table.column("tags").to_pylist())
    ids = compute.count_distinct(table.column("call_id")).as_py()
    cost, amount = compute.sum(table.column("cost")).as_py(), compute.sum(amounts).as_py()
    kind = table.schema.field("cost").type
    return whole(len(table), ids, cost, len(lines), amount, unequal, tagged, f"{kind.precision},{kind.scale}")


def by_duckdb(files):
    database = duckdb.connect()
    database.read_parquet(files, hive_partitioning=True).create_view("usage")

    def one(query):
        return database.sql(query).fetchall()[0]

    calls, ids, cost = one("SELECT count(*), count(DISTINCT call_id), sum(cost) FROM usage")
    lines, amounts = one("SELECT count(*), sum(line.amount) FROM (SELECT unnest(charges) AS line FROM usage)")
    per_call = "SELECT call_id, sum(line.amount) AS amount FROM (SELECT call_id, unnest(charges) AS line FROM usage) GROUP BY call_id"
    (unequal,) = one(
        f"SELECT count(*) FROM usage LEFT JOIN ({per_call}) AS bill USING (call_id) WHERE coalesce(cost, 0) <> coalesce(bill.amount, 0)"
    )
    (tagged,) = one("SELECT count(*) FROM usage WHERE tags['env'] = 'test'")
    (decimal,) = one("SELECT typeof(cost) FROM usage LIMIT 1")
    return whole(calls, ids, cost, lines, amounts, unequal, tagged, decimal.removeprefix("DECIMAL(").removesuffix(")"))


def by_polars(lazy):
    frame = lazy.select(COLUMNS).collect()
    lines = frame.select("call_id", "charges").explode("charges").drop_nulls("charges").unnest("charges")
    bill = lines.group_by("call_id").agg(polars.col("amount").sum())
    joined = frame.join(bill, on="call_id", how="left").select(polars.col("cost").fill_null(0), polars.col("amount").fill_null(0))
    unequal = joined.filter(polars.col("cost") != polars.col("amount")).height
    tagged = frame.filter(polars.col("tags").map.get("env") == "test").height
    kind = frame.schema["cost"]
    cost, amounts = frame["cost"].sum(), lines["amount"].sum()
    ids = frame["call_id"].n_unique()
    return whole(frame.height, ids, cost, lines.height, amounts, unequal, tagged, f"{kind.precision},{kind.scale}")


def table(folder):
    delta = deltalake.DeltaTable(folder)
    files = delta.file_uris()
    protocol = delta.protocol()
    dataset = pyarrow.dataset.dataset(files, partitioning="hive")
    engines = {
        "deltalake": by_arrow(delta.to_pyarrow_table(columns=COLUMNS)),
        "pyarrow": by_arrow(dataset.to_table(columns=COLUMNS)),
        "duckdb": by_duckdb(files),
        "polars": by_polars(polars.scan_delta(folder)),
        "polars_files": by_polars(polars.scan_parquet(files, hive_partitioning=True)),
    }
    usage = duckdb.read_parquet(files, hive_partitioning=True)
    return {
        "engines": engines,
        "teams": [[team, calls, exact(cost)] for team, calls, cost in duckdb.sql(TEAMS).fetchall()],
        "files": len(files),
        "partitions": delta.metadata().partition_columns,
        "protocol": [protocol.min_reader_version, protocol.min_writer_version, protocol.reader_features or []],
    }


def bucket(url, endpoint):
    key = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "aws_region": "us-east-1"}
    options = key | {"aws_endpoint_url": endpoint, "aws_allow_http": "true"}
    delta = deltalake.DeltaTable(url, storage_options=options)
    store = pyarrow.fs.S3FileSystem(access_key="test", secret_key="test", region="us-east-1", endpoint_override=endpoint)
    files = [uri.removeprefix("s3://") for uri in delta.file_uris()]
    dataset = pyarrow.dataset.dataset(files, filesystem=store, partitioning="hive")
    frame = polars.scan_delta(url, storage_options=options).select("call_id", "cost").collect()
    return {
        "deltalake": arrow_summary(delta.to_pyarrow_table(columns=["call_id", "cost"])),
        "pyarrow": arrow_summary(dataset.to_table(columns=["call_id", "cost"])),
        "polars": summary(frame["cost"].to_list(), frame["call_id"].to_list()),
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
    case ["bucket", url, endpoint]:
        print(json.dumps(bucket(url, endpoint)))
    case ["answers", *paths]:
        print(json.dumps({Path(path).suffix[1:]: answer(path) for path in paths}))
    case _:
        sys.exit(__doc__)
