"""The deltalake side of the tests of tables in S3: peer.py append|rows|count URI [ARGUMENTS]. How S3 is reached the environment says."""

import json
import os
import sys

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

OPTIONS = {
    "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
    "AWS_REGION": os.environ["AWS_REGION"],
    "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
    "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
    "AWS_ALLOW_HTTP": "true",
    "aws_conditional_put": "etag",
}


def append(uri, first, count):
    """Appends a row in each of count commits: the numbers from first on. deltalake gives up after 15 versions that others
    are faster with, and has committed nothing then."""
    for n in range(int(first), int(first) + int(count)):
        for attempt in range(10):
            try:
                write_deltalake(uri, pa.table({"n": pa.array([n], pa.int64())}), mode="append", storage_options=OPTIONS)
                break
            except CommitFailedError:
                if attempt == 9:
                    raise


def rows(uri, column):
    """Prints the version, and the values of a column, sorted."""
    table = DeltaTable(uri, storage_options=OPTIONS)
    values = sorted(table.to_pyarrow_table(columns=[column])[column].to_pylist())
    print(json.dumps({"version": table.version(), "values": values}))


if __name__ == "__main__":
    {"append": append, "rows": rows}[sys.argv[1]](*sys.argv[2:])
    sys.stdout.flush()
    os._exit(0)  # threads of the libraries sometimes abort the interpreter's own way out, after all was done
