"""The parts of others in the benchmark: peer.py append|load|optimize ARGUMENTS. Prints a JSON object."""

import json
import os
import resource
import sys
import time


def cpu():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime


def append(path, source, codec, commits, who):
    import pyarrow.parquet as pq

    rows = pq.read_table(source)
    write = {"delta-rs": delta_rs, "pyarrow": pyarrow, "duckdb": duckdb}[who](path, rows, codec)
    write(0)
    begin, start = cpu(), time.monotonic()
    for i in range(int(commits)):
        write(i + 1)
    used, wall = cpu() - begin, time.monotonic() - start
    files = [os.path.join(path, f) for f in os.listdir(path) if f.endswith(".parquet")]
    size = sum(os.path.getsize(f) for f in files) * int(commits) // (int(commits) + 1)
    return {"Rows": rows.num_rows * int(commits), "Bytes": size, "CPU": used, "Wall": wall}


def delta_rs(path, rows, codec):
    from deltalake import WriterProperties, write_deltalake

    level = {"compression_level": 1} if codec == "zstd" else {}
    properties = WriterProperties(compression=codec.upper(), **level)
    return lambda i: write_deltalake(path, rows, mode="append", writer_properties=properties)


def pyarrow(path, rows, codec):
    import pyarrow.parquet as pq

    os.makedirs(path)
    return lambda i: pq.write_table(rows, os.path.join(path, f"{i}.parquet"), compression=codec)


def duckdb(path, rows, codec):
    import duckdb

    os.makedirs(path)
    con = duckdb.connect()
    con.register("source", rows)
    return lambda i: con.execute(f"COPY source TO '{path}/{i}.parquet' (FORMAT parquet, COMPRESSION {codec})")


def load(path):
    from deltalake import DeltaTable

    begin, start = cpu(), time.monotonic()
    table = DeltaTable(path)
    opened = time.monotonic() - start
    actions = table.get_add_actions()
    listed, used = time.monotonic() - start, cpu() - begin
    return {"Files": actions.num_rows, "Version": table.version(), "Open": opened, "List": listed, "CPU": used}


def optimize(path, how, target, columns):
    from deltalake import DeltaTable, QueryBuilder, WriterProperties

    table = DeltaTable(path)
    properties = WriterProperties(compression="ZSTD", compression_level=1)
    begin, start = cpu(), time.monotonic()
    if how == "zorder":
        result = table.optimize.z_order(columns.split(","), target_size=int(target), writer_properties=properties)
    else:
        result = table.optimize.compact(target_size=int(target), writer_properties=properties)
    used, wall = cpu() - begin, time.monotonic() - start
    added = result["filesAdded"]
    if isinstance(added, str):
        added = json.loads(added)
    query = "select count(*) as n, sum(seq) as s from t"
    row = QueryBuilder().register("t", table).execute(query).read_all()
    return {
        "FilesAdded": result["numFilesAdded"], "Removed": result["numFilesRemoved"], "Bytes": added["totalSize"],
        "CPU": used, "Wall": wall, "Rows": row["n"][0].as_py(), "Sum": row["s"][0].as_py(),
    }


print(json.dumps({"append": append, "load": load, "optimize": optimize}[sys.argv[1]](*sys.argv[2:])))
sys.stdout.flush()
os._exit(0)  # the interpreter's own way out sometimes aborts in a thread of pyarrow
