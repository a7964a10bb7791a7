"""pandas as people write it: read, check, look up, append to a table.

load.py CSV FOLDER_WITH_REFERENCES DATABASE
"""

import json
import resource
import sys
import time
from pathlib import Path

import duckdb
import pandas as pd

csv, references, database = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
started, cpu = time.perf_counter(), time.process_time()

orders = pd.read_csv(csv, parse_dates=["ordered_on", "placed_at"])
read = time.perf_counter()

good = (
    orders["order_id"].ge(0)
    & orders["ordered_on"].notna()
    & orders["placed_at"].notna()
    & orders["customer"].str.fullmatch(r"C[0-9]{7}")
    & orders["product"].str.fullmatch(r"P-[0-9]{5}")
    & orders["store"].str.fullmatch(r"S[0-9]{3}")
    & orders["quantity"].between(1, 99)
    & orders["unit_price"].ge(0)
    & orders["discount"].between(0, 1)
    & orders["status"].isin(["placed", "paid", "shipped", "returned"])
)
rejected = orders[~good]
orders = orders[good]
checked = time.perf_counter()

orders["order_year"] = orders["ordered_on"].dt.year
customers = pd.read_csv(references / "customers.csv")[["customer", "region"]]
products = pd.read_csv(references / "products.csv")[["product", "category"]]
stores = pd.read_csv(references / "stores.csv")[["store", "city"]]
orders = orders.merge(customers, on="customer", how="left", validate="many_to_one")
orders = orders.merge(products, on="product", how="left", validate="many_to_one")
orders = orders.merge(stores, on="store", how="left", validate="many_to_one")
merged = time.perf_counter()

con = duckdb.connect(database)
con.register("frame", orders)
con.execute("CREATE TABLE IF NOT EXISTS orders AS SELECT * FROM frame LIMIT 0")
con.execute("INSERT INTO orders SELECT * FROM frame")
con.close()
done, cpu = time.perf_counter(), time.process_time() - cpu

peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
steps = {"read": read - started, "check": checked - read, "look up": merged - checked, "write": done - merged}
told = {"seconds": done - started, "cpu": cpu, "peak_mb": peak, "steps": steps, "rejected": len(rejected)}
json.dump(told, sys.stdout)
