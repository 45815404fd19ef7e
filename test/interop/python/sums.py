#!/usr/bin/env python3
"""Prints the number of rows of a table and the sum of their ids, as deltalake reads them: sums.py TABLE"""

import json
import sys

import pyarrow.compute as pc
from deltalake import DeltaTable

from leave import leave


def main(path):
    rows = ids = 0
    for batch in DeltaTable(path).to_pyarrow_dataset().to_batches(columns=["id"]):
        rows += batch.num_rows
        ids += pc.sum(batch.column("id")).as_py() or 0
    print(json.dumps({"rows": rows, "ids": ids}))


if __name__ == "__main__":
    main(*sys.argv[1:])
    leave()
