"""DuckDB alone: one statement, nothing validated, nothing looked up.

load.py CSV DATABASE
"""

import json
import resource
import sys
import time

import duckdb

csv, database = sys.argv[1:]
con = duckdb.connect(database)
# A first read of anything loads what DuckDB loads late.
con.execute("SELECT 1").fetchall()
started, cpu = time.perf_counter(), time.process_time()
con.execute("CREATE TABLE orders AS SELECT * FROM read_csv(?)", [csv])
seconds = time.perf_counter() - started
cpu = time.process_time() - cpu
con.close()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
json.dump({"seconds": seconds, "cpu": cpu, "peak_mb": peak}, sys.stdout)
