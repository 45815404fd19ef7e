#!/usr/bin/env python3
"""Prints what is in a table by writer and how often an id is there twice, and who made its commits: ids.py TABLE"""

import collections
import json
import sys

import duckdb
from deltalake import DeltaTable

from leave import leave


def main(path):
    table = DeltaTable(path)
    events = table.to_pyarrow_dataset()
    query = "SELECT writer, count(*), count(DISTINCT id), min(id), max(id) FROM events GROUP BY writer"
    writers = {w: dict(zip(("rows", "distinct", "min", "max"), f)) for w, *f in duckdb.sql(query).fetchall()}
    engines = collections.Counter(c.get("engineInfo", "").split("/")[0].split(":")[0] for c in table.history())
    print(json.dumps({"version": table.version(), "writers": writers, "commits": engines}))


if __name__ == "__main__":
    main(*sys.argv[1:])
    leave()
