"""dlt by its fastest documented way for CSV: DuckDB's reader, Arrow between the steps, Parquet into DuckDB.

load.py FOLDER_OR_BUCKET GLOB DATABASE PIPELINES_FOLDER [S3_ENDPOINT]
"""

import json
import resource
import sys
import time

import dlt
import duckdb  # noqa: F401  the destination imports it late; a process that loads often has it already
import pyarrow as pa  # noqa: F401
from dlt.sources.filesystem import filesystem, read_csv_duckdb

folder, glob, database, pipelines, *endpoint = sys.argv[1:]
how = {}
if endpoint:
    from dlt.sources.credentials import AwsCredentials

    how["credentials"] = AwsCredentials(
        aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106  the stand-in takes any
        region_name="us-east-1",
        endpoint_url=endpoint[0],
    )

started, cpu = time.perf_counter(), time.process_time()
files = filesystem(bucket_url=folder, file_glob=glob, **how)
# Its default of 5,000 rows a chunk is slower for large files, and no faster for small ones.
orders = (files | read_csv_duckdb(chunk_size=100_000, use_pyarrow=True)).with_name("orders")
pipeline = dlt.pipeline(
    "bench",
    destination=dlt.destinations.duckdb(database),
    dataset_name="bench",
    pipelines_dir=pipelines,
)
pipeline.run(orders, write_disposition="append", loader_file_format="parquet")
seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
steps = {}
for trace in pipeline.last_trace.steps:
    if trace.finished_at is not None:
        steps[trace.step] = (trace.finished_at - trace.started_at).total_seconds()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
sys.stdout.write("\n" + json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": peak, "steps": steps}) + "\n")
