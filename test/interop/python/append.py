#!/usr/bin/env python3
"""Appends to a table with deltalake, as another writer beside weir: append.py TABLE COMMITS ROWS FIRST_ID SECONDS

Each of COMMITS commits has ROWS rows (id, writer); ids count from FIRST_ID. SECONDS is the pause between commits. Prints
{"commits": n, "rows": n}.
"""

import json
import sys
import time

import pyarrow as pa
from leave import leave
from deltalake import CommitProperties, write_deltalake

SCHEMA = pa.schema([("id", pa.int64()), ("writer", pa.string())])

# deltalake gives a commit up after 15 lost races by default; a writer beside it that never pauses wins more than that in a row.
PATIENT = CommitProperties(max_commit_retries=10_000)


def main(table, commits, rows, first, seconds):
    commits, rows, first = int(commits), int(rows), int(first)
    for i in range(commits):
        ids = range(first + i * rows, first + (i + 1) * rows)
        batch = pa.Table.from_pydict({"id": list(ids), "writer": ["deltalake"] * rows}, schema=SCHEMA)
        write_deltalake(table, batch, mode="append", commit_properties=PATIENT)
        time.sleep(float(seconds))
    print(json.dumps({"commits": commits, "rows": commits * rows}))


if __name__ == "__main__":
    main(*sys.argv[1:])
    leave()
