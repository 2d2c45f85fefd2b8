"""DuckDB as a process of its own: duck.py FOLDER THREADS, then a statement a line as JSON text; answers a line of JSON each.

It reads the files that the table's newest version consists of, as its log says, and nothing else.
"""

import json
import sys
import time
from pathlib import Path

import deltalake
import duckdb

folder, threads = Path(sys.argv[1]), int(sys.argv[2])
files = [str(folder / path) for path in deltalake.DeltaTable(str(folder)).file_uris()]
connection = duckdb.connect()
connection.execute(f"SET threads = {threads}")
connection.execute(f"CREATE VIEW usage AS SELECT * FROM read_parquet({files!r}, hive_partitioning = true)")
print(json.dumps({"files": len(files), "bytes": sum(Path(file).stat().st_size for file in files), "version": duckdb.__version__}), flush=True)
for line in sys.stdin:
    cpu, started = time.process_time(), time.monotonic()
    rows = connection.execute(json.loads(line)).fetchall()
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    peak = next(int(text.split()[1]) * 1024 for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM:"))
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "rows": [[None if cell is None else str(cell) for cell in row] for row in rows], "peak_bytes": peak}), flush=True)
