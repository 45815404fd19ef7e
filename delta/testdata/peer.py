"""The other side of the interop tests: PyPI deltalake on the same table. Usage: peer.py COMMAND TABLE [ARGS]"""

import datetime
import decimal
import json
import os
import struct
import sys

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, QueryBuilder, write_deltalake

EPOCH = datetime.date(1970, 1, 1)
EPOCH_TIME = datetime.datetime(1970, 1, 1)


def plain(v):
    """A value in the form in which the Go side prints it."""
    if isinstance(v, datetime.datetime):
        return (v.replace(tzinfo=None) - EPOCH_TIME) // datetime.timedelta(microseconds=1)
    if isinstance(v, datetime.date):
        return (v - EPOCH).days
    if isinstance(v, decimal.Decimal):
        return format(v, "f")
    if isinstance(v, bytes):
        return v.hex()
    if isinstance(v, float):
        return "NaN" if v != v else struct.unpack("<q", struct.pack("<d", v))[0]
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items()}
    if isinstance(v, (list, tuple)):
        return [plain(x) for x in v]
    return v


def rows(path, version=None):
    table = DeltaTable(path, version=int(version) if version else None)
    if not table.schema().fields:  # it panics
        return
    result = QueryBuilder().register("t", table).execute("select * from t").read_all()
    for row in pa.table(result).to_pylist():
        print(json.dumps(plain(row), sort_keys=True, ensure_ascii=False))


def serve():
    """Does what each line of stdin says, a JSON object, and answers with a line: what then is in the table."""
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = step(**command)
        except Exception as err:  # the other side decides what it means
            answer = {"error": f"{type(err).__name__}: {err}"}
        print(json.dumps(answer, ensure_ascii=False), flush=True)


def step(path, op, **args):
    if op == "append":
        columns = {name: pa.array(values, getattr(pa, kind)()) for name, (kind, values) in args["columns"].items()}
        write_deltalake(path, pa.table(columns), mode="append", schema_mode="merge", partition_by=args["partition_by"] or None)
    elif op == "delete":
        DeltaTable(path).delete(args["where"])
    elif op == "compact":
        DeltaTable(path).optimize.compact()
    elif op == "zorder":
        DeltaTable(path).optimize.z_order(["id"])
    elif op == "merge":
        merge(path, args["columns"])
    elif op == "checkpoint":
        DeltaTable(path).create_checkpoint()
    elif op == "restore":
        DeltaTable(path).restore(args["version"])
    elif op == "vacuum":
        DeltaTable(path).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    table = DeltaTable(path)
    result = pa.table(QueryBuilder().register("t", table).execute("select * from t").read_all())
    return {
        "version": table.version(),
        "schema": [field.name for field in table.schema().fields],
        "rows": [plain(row) for row in result.to_pylist()],
    }


def merge(path, columns):
    """Merges changes, one for each key, as weir does with a sequence and without tombstones."""
    source = pa.table({name: pa.array(values, getattr(pa, kind)()) for name, (kind, values) in columns.items()})
    newer = "s.seq >= t.seq or t.seq is null"
    row = {name: f"s.{name}" for name in columns if name != "op"}
    (
        DeltaTable(path)
        .merge(source, "s.id = t.id", source_alias="s", target_alias="t")
        .when_matched_delete(f"s.op = 'd' and ({newer})")
        .when_matched_update(row, f"s.op <> 'd' and ({newer})")
        .when_not_matched_insert(row, "s.op <> 'd'")
        .execute()
    )


def changes(path, first):
    table = pa.table(DeltaTable(path).load_cdf(starting_version=int(first)).read_all())
    for row in table.to_pylist():
        del row["_commit_timestamp"]
        print(json.dumps(plain(row), sort_keys=True, ensure_ascii=False))


def info(path):
    table = DeltaTable(path)
    print(json.dumps({
        "version": table.version(),
        "files": sorted(table.file_uris()),
        "partitions": table.metadata().partition_columns,
        "schema": json.loads(table.schema().to_json()),
        "txn": table.transaction_version("app"),
    }))


def append(path, first, count):
    """Appends count rows, one a commit, and prints each id. deltalake gives a commit up after 15 lost races by default, which a
    writer without a pause beside it reaches: it gets as many attempts as the races need."""
    patient = CommitProperties(max_commit_retries=10_000)
    for i in range(int(first), int(first) + int(count)):
        write_deltalake(path, pa.table({"id": pa.array([i], pa.int64())}), mode="append", commit_properties=patient)
        print(i, flush=True)


def make(path):
    """A partitioned table of several commits with a delete and a checkpoint."""
    def batch(n):
        return pa.table({
            "id": pa.array([n, n + 1, None], pa.int64()),
            "day": pa.array([EPOCH, datetime.date(2024, 2, 29), None], pa.date32()),
            "p": pa.array(["a b/%", "é=:", None], pa.string()),
            "at": pa.array([datetime.datetime(2024, 1, 1, 0, 0, 0, 1), None, None], pa.timestamp("us", "UTC")),
            "price": pa.array([decimal.Decimal("1.50"), decimal.Decimal("-0.01"), None], pa.decimal128(20, 2)),
            "nested": pa.array([{"x": 1, "l": ["a", None]}, {"x": None, "l": []}, None],
                               pa.struct([("x", pa.int32()), ("l", pa.list_(pa.string()))])),
        })
    for n in range(0, 30, 10):
        write_deltalake(path, batch(n), mode="append", partition_by=["day", "p"])
    DeltaTable(path).delete("id = 10")
    DeltaTable(path).create_checkpoint()
    write_deltalake(path, batch(100), mode="append")


def constrained(path):
    write_deltalake(path, pa.table({"id": pa.array([1, 2], pa.int64()), "p": pa.array(["x", "y"], pa.string())}))
    DeltaTable(path).alter.add_constraint({"sensible": "id > 0 AND p IN ('x', 'y')"})


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    sys.stdout.flush()
    os._exit(0)  # the interpreter's own way out sometimes aborts in a thread of pyarrow
