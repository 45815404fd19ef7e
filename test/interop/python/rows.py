#!/usr/bin/env python3
"""Prints the number of rows, their hash (canon.py) and the schema of a table or of the events that should be in it.

    rows.py expect SCHEMA NDJSON...       what the events say, read with the standard library alone
    rows.py deltalake TABLE...            what deltalake reads
    rows.py duckdb TABLE...               what DuckDB reads from the files that deltalake lists
    rows.py write SCHEMA NDJSON TABLE PARTITION   a table of the events, written by deltalake, to test the readers with

SCHEMA is a JSON object of column → type as in interop.schema.json. Columns whose name starts with _weir_ are left out.
Each table gives one line, a JSON object. With WEIR_DUMP=FILE the canonical rows are written there, for diff.
"""

import datetime
import json
import os
import sys

import canon
from leave import leave

SYSTEM = "_weir_"


def parse(value, kind):
    """Turns a JSON value into the Python value of a column type."""
    if value is None:
        return None
    if isinstance(kind, list):
        return [parse(v, kind[0]) for v in value]
    if isinstance(kind, dict):
        unknown = value.keys() - kind.keys()
        if unknown:
            raise ValueError(f"columns that the schema lacks: {sorted(unknown)}")
        return {k: parse(v, kind[k]) for k, v in value.items()}
    return SCALARS[kind](value)


def exactly(want):
    def check(value):
        if type(value) is not want:
            raise ValueError(f"{value!r} is not a {want.__name__}")
        return value

    return check


SCALARS = {
    "long": exactly(int),
    "double": float,
    "string": exactly(str),
    "boolean": exactly(bool),
    "timestamp": datetime.datetime.fromisoformat,
}


def events(schema, paths):
    for path in paths:
        with open(path, encoding="utf-8") as f:
            for line in f:
                yield parse(json.loads(line), schema)


def notation(kind):
    """Turns a type of a Delta schemaString into the notation of interop.schema.json."""
    if isinstance(kind, str):
        return kind
    if kind["type"] == "array":
        return [notation(kind["elementType"])]
    if kind["type"] == "struct":
        return {f["name"]: notation(f["type"]) for f in kind["fields"] if not f["name"].startswith(SYSTEM)}
    return {"map": [notation(kind["keyType"]), notation(kind["valueType"])]}


def without_system(rows):
    for row in rows:
        yield {k: v for k, v in row.items() if not k.startswith(SYSTEM)}


def deltalake(path):
    from deltalake import DeltaTable

    table = DeltaTable(path)
    rows = (row for batch in table.to_pyarrow_dataset().to_batches() for row in batch.to_pylist())
    return table, rows


def duckdb(path):
    import duckdb as engine
    from deltalake import DeltaTable

    table = DeltaTable(path)
    connection = engine.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("events", table.to_pyarrow_dataset())
    rows = (row for batch in connection.sql("SELECT * FROM events").to_arrow_reader() for row in batch.to_pylist())
    return table, rows


def arrow(kind):
    import pyarrow as pa

    if isinstance(kind, list):
        return pa.list_(arrow(kind[0]))
    if isinstance(kind, dict):
        return pa.struct([(k, arrow(v)) for k, v in kind.items()])
    return {
        "long": pa.int64(),
        "double": pa.float64(),
        "string": pa.string(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", "UTC"),
    }[kind]


def write(schema, ndjson, target, partition):
    import pyarrow as pa
    from deltalake import write_deltalake

    rows = pa.Table.from_pylist(list(events(schema, [ndjson])), schema=pa.schema(list(arrow(schema))))
    write_deltalake(target, rows, partition_by=[partition])


def report(rows, schema, **more):
    result, lines = canon.digest(rows)
    if dump := os.environ.get("WEIR_DUMP"):
        with open(dump, "wb") as f:
            f.writelines(line + b"\n" for line in lines)
    print(json.dumps(result | more | {"schema": schema}), flush=True)


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def main(mode, *args):
    if mode == "expect":
        schema = load(args[0])
        report(events(schema, args[1:]), schema)
    elif mode == "write":
        write(load(args[0]), *args[1:])
    else:
        for path in args:
            table, rows = {"deltalake": deltalake, "duckdb": duckdb}[mode](path)
            protocol = table.protocol()
            report(
                without_system(rows),
                notation(json.loads(table.schema().to_json())),
                version=table.version(),
                partitions=table.metadata().partition_columns,
                protocol=[protocol.min_reader_version, protocol.min_writer_version],
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
    leave()
