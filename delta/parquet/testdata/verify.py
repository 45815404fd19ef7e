"""Checks Parquet files and a Delta table that foreign_test.go wrote, with pyarrow, DuckDB and deltalake.

usage: verify.py DIR, or verify.py golden DIR
DIR/wild.parquet   rows of every type, nested and extreme; DIR/wild.jsonl has the same rows in a canonical form
DIR/large.parquet  columns of several pages, with DIR/large.jsonl
DIR/table          a Delta table of several files whose statistics must prune no row that a filter wants
With "golden", DIR/*.jsonl hold the rows of files of other writers as weir reads them; the first line names the file.
"""

import glob
import json
import math
import struct
import os
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, QueryBuilder


def canonical(s):
    """The form of foreign_test.go's canonical: what JSON cannot say exactly is spelt as text or as bits."""
    if not s.is_valid:
        return None
    t = s.type
    if pa.types.is_struct(t):
        return {f.name: canonical(s[f.name]) for f in t}
    if pa.types.is_map(t):
        return [[canonical(e["key"]), canonical(e["value"])] for e in s.values]
    if pa.types.is_list(t):
        return [canonical(e) for e in s.values]
    if pa.types.is_floating(t):
        x = s.as_py()
        return "nan" if math.isnan(x) else struct.pack(">d", x).hex()
    if pa.types.is_timestamp(t):
        return {"ms": s.value * 1000, "us": s.value, "ns": s.value // 1000}[t.unit]
    if pa.types.is_date32(t):
        return s.value
    if pa.types.is_decimal(t):
        return format(s.as_py(), "f")
    if pa.types.is_binary(t):
        return s.as_py().hex()
    return s.as_py()


def leaves(column, path):
    """Yields (path, values) of the leaves that are below no list, null where any parent is."""
    if pa.types.is_struct(column.type):
        for i, f in enumerate(column.type):
            child = pa.chunked_array([c.flatten()[i] for c in column.chunks], type=f.type)
            yield from leaves(child, path + [f.name])
    elif not pa.types.is_nested(column.type):
        yield path, column


def order(s):
    return s.value if pa.types.is_timestamp(s.type) or pa.types.is_date32(s.type) else s.as_py()


def check_large(path, expected):
    rows = [json.loads(line) for line in open(expected, encoding="utf-8")]
    want = [tuple(row[name] for name in ("id", "url", "seq", "day", "noise", "at")) for row in rows]
    table = pq.read_table(path, page_checksum_verification=True)
    got = [table.column(n) for n in ("id", "url", "seq")] + [table.column("day").cast(pa.int32()), table.column("noise"), table.column("at").cast(pa.int64())]
    assert list(zip(*(c.to_pylist() for c in got))) == want
    query = f"select id, url, seq, day - date '1970-01-01', noise, epoch_us(\"at\") from read_parquet('{path}', file_row_number = true) order by file_row_number"
    assert duckdb.sql(query).fetchall() == want
    print("large:", len(want), "rows")


def check_wild(path, expected):
    f = pq.ParquetFile(path, page_checksum_verification=True)
    table = f.read()
    rows = [json.loads(line) for line in open(expected, encoding="utf-8")]
    assert table.num_rows == len(rows), (table.num_rows, len(rows))
    for i, want in enumerate(rows):
        got = {name: canonical(table.column(name)[i]) for name in table.column_names}
        assert got == want, f"row {i}: got {got}, want {want}"
    bounded = 0
    for g in range(f.num_row_groups):
        group, meta = f.read_row_group(g), f.metadata.row_group(g)
        columns = {meta.column(c).path_in_schema: meta.column(c) for c in range(meta.num_columns)}
        for name in group.column_names:
            for path_, values in leaves(group.column(name), [name]):
                st = columns[".".join(path_)].statistics
                assert st.null_count == values.null_count, (path_, st.null_count, values.null_count)
                if not st.has_min_max:
                    continue
                bounded += 1
                raw = [order(v) for v in values if v.is_valid]
                time = pa.types.is_timestamp(values.type) or pa.types.is_date32(values.type)
                lo, hi = (st.min_raw, st.max_raw) if time else (st.min, st.max)
                assert all(lo <= v <= hi for v in raw), (path_, lo, hi, min(raw), max(raw))
    assert bounded > 20, bounded
    read, _ = duckdb.sql(f"select count(*), bit_xor(hash(t)) from read_parquet('{path}') t").fetchall()[0]
    assert read == len(rows), read  # the hash makes DuckDB read every column
    for name in table.column_names:
        got = duckdb.sql(f"select count(*) from read_parquet('{path}') where \"{name}\" is null").fetchall()[0][0]
        assert got == table.column(name).null_count, (name, got, table.column(name).null_count)
    ints = [v for v in table.column("l").to_pylist() if v is not None]
    for v in sorted(set(ints))[:20]:
        got = duckdb.sql(f"select count(*) from read_parquet('{path}') where l = {v}").fetchall()[0][0]
        assert got == ints.count(v), (v, got, ints.count(v))
    print("wild:", table.num_rows, "rows,", f.num_row_groups, "row groups,", bounded, "bounds")


def literal(v):
    if isinstance(v, str):
        return "'" + v.replace("'", "''") + "'"
    return str(v)


def check_table(path):
    dt = DeltaTable(path)
    table = dt.to_pyarrow_table()
    adds = dt.get_add_actions(flatten=True)
    assert sum(adds.column("num_records").to_pylist()) == table.num_rows
    tried = 0
    for name in ("id", "name", "amount", "price", "day", "at", "nested.deep"):
        top, *rest = name.split(".")
        column = table.column(top)
        for r in rest:
            column = pa.chunked_array([c.field(r) for c in column.chunks])
        values = [v for v in column.to_pylist() if v is not None and v == v]
        sql = "".join(f"[{literal(p)}]" if i else f'"{p}"' for i, p in enumerate(name.split(".")))
        for v in values[:: max(1, len(values) // 7)]:
            for op, test in (("=", lambda a: a == v), (">=", lambda a: a >= v), ("<=", lambda a: a <= v)):
                want = sum(1 for a in values if test(a))
                text = v.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if name == "at" else v
                typed = {"day": f"date '{v}'", "at": f"timestamp '{text}'", "price": f"cast('{v}' as decimal(12,3))"}
                query = f"select count(*) c from t where {sql} {op} {typed.get(name, literal(v))}"
                got = pa.table(QueryBuilder().register("t", dt).execute(query).read_all()).column("c")[0].as_py()
                if op == ">=" and name == "amount":  # NaN sorts above all numbers there
                    want += sum(1 for a in column.to_pylist() if a is not None and a != a)
                assert got == want, (query, got, want)
                if not rest:
                    got = len(dt.to_pyarrow_table(filters=[(name, "==" if op == "=" else op, v)]))
                    if op != ">=" or name != "amount":
                        assert got == want, ("dataset", name, op, v, got, want)
                tried += 1
    print("table:", table.num_rows, "rows in", len(dt.file_uris()), "files,", tried, "filters")


def check_golden(directory):
    files = rows = 0
    for name in sorted(glob.glob(directory + "/*.jsonl")):
        with open(name, encoding="utf-8") as f:
            path = json.loads(f.readline())
            want = [json.loads(line) for line in f]
        table = pq.ParquetFile(path, coerce_int96_timestamp_unit="us").read()
        assert table.num_rows == len(want), (path, table.num_rows, len(want))
        for i, row in enumerate(want):
            got = {c: canonical(table.column(c)[i]) for c in table.column_names}
            assert got == row, f"{path} row {i}: pyarrow has {got}, weir {row}"
        files, rows = files + 1, rows + len(want)
    assert files > 0
    print("golden:", rows, "rows in", files, "files")


if sys.argv[1] == "golden":
    check_golden(sys.argv[2])
else:
    check_wild(sys.argv[1] + "/wild.parquet", sys.argv[1] + "/wild.jsonl")
    check_large(sys.argv[1] + "/large.parquet", sys.argv[1] + "/large.jsonl")
    check_table(sys.argv[1] + "/table")
sys.stdout.flush()
os._exit(0)  # the interpreter's own way out sometimes aborts in a thread of pyarrow
