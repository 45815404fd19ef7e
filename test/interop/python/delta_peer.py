"""deltalake that does to tables what each line of stdin says, a JSON object, and answers with a line: the version, schema
and rows of the table then, or an error. The commands and the form of rows are those of ../java/SparkPeer.java."""

import datetime
import decimal
import json
import os
import struct
import sys

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Schema, write_deltalake

EPOCH = datetime.date(1970, 1, 1)
EPOCH_TIME = datetime.datetime(1970, 1, 1)

# deltalake gives a commit up after 15 lost races by default; beside writers without a pause it needs more.
PATIENT = CommitProperties(max_commit_retries=10_000)


def plain(v, t):
    """A value of an arrow type in the form of the answers."""
    if v is None:
        return None
    if pa.types.is_struct(t):
        return {t.field(i).name: plain(v[t.field(i).name], t.field(i).type) for i in range(t.num_fields)}
    if pa.types.is_map(t):
        return {"$map": [[plain(k, t.key_type), plain(x, t.item_type)] for k, x in v]}
    if pa.types.is_list(t) or pa.types.is_large_list(t) or pa.types.is_list_view(t):
        return [plain(x, t.value_type) for x in v]
    if pa.types.is_floating(t):
        return "NaN" if v != v else struct.unpack("<q", struct.pack("<d", v))[0]
    if pa.types.is_decimal(t):
        return format(v, "f")
    if isinstance(v, bytes):
        return v.hex()
    return v


# Times beyond those of Python's datetime come out of arrow as integers.
def flat(t):
    """The type with dates and times as integers."""
    if pa.types.is_timestamp(t):
        return pa.int64()
    if pa.types.is_date(t):
        return pa.int32()
    if pa.types.is_struct(t):
        return pa.struct([pa.field(t.field(i).name, flat(t.field(i).type)) for i in range(t.num_fields)])
    if pa.types.is_map(t):
        return pa.map_(flat(t.key_type), flat(t.item_type))
    if pa.types.is_list(t) or pa.types.is_large_list(t) or pa.types.is_list_view(t):
        return pa.list_(flat(t.value_type))
    if pa.types.is_string_view(t) or pa.types.is_large_string(t):
        return pa.string()
    if pa.types.is_binary_view(t) or pa.types.is_large_binary(t):
        return pa.binary()
    return t


def value(v, t):
    """The other way round: a value of the commands for pa.array."""
    if v is None:
        return None
    if pa.types.is_struct(t):
        return {t.field(i).name: value(v.get(t.field(i).name), t.field(i).type) for i in range(t.num_fields)}
    if pa.types.is_map(t):
        return [(value(k, t.key_type), value(x, t.item_type)) for k, x in v["$map"]]
    if pa.types.is_list(t):
        return [value(x, t.value_type) for x in v]
    if pa.types.is_floating(t):
        return float("nan") if v == "NaN" else struct.unpack("<d", struct.pack("<q", v))[0]
    if pa.types.is_decimal(t):
        return decimal.Decimal(v)
    if pa.types.is_binary(t):
        return bytes.fromhex(v)
    return v


def arrow(command):
    schema = pa.schema(Schema.from_json(command["schema"]).to_arrow())
    columns = []
    for f in schema:
        t = flat(f.type)
        columns.append(pa.array([value(r.get(f.name), t) for r in command["rows"]], t).cast(f.type))
    return pa.table(columns, schema=schema)


def state(table):
    answer = {"version": table.version(), "schema": table.schema().to_json(), "rows": []}
    if not table.schema().fields:  # it panics
        return answer
    result = pa.table(QueryBuilder().register("t", table).execute("select * from t").read_all())
    result = result.cast(pa.schema([pa.field(f.name, flat(f.type)) for f in result.schema]))
    for row in result.to_pylist():
        answer["rows"].append({f.name: plain(row[f.name], f.type) for f in result.schema})
    return answer


def merge(path, command):
    """Upserts by id; a row with op = 'd' deletes. The columns are those of the source but op."""
    source = arrow(command)
    row = {f"`{name}`": f"s.`{name}`" for name in source.column_names if name != "op"}
    (
        DeltaTable(path)
        .merge(source, "s.id = t.id", source_alias="s", target_alias="t", merge_schema=True)
        .when_matched_delete("s.op = 'd'")
        .when_matched_update(row)
        .when_not_matched_insert(row, "s.op <> 'd'")
        .execute()
    )


def run(command):
    op, path = command["op"], command["path"]
    if op == "append":
        write_deltalake(path, arrow(command), mode="append", schema_mode="merge", commit_properties=PATIENT,
                        partition_by=command.get("partitionBy") or None, configuration=command.get("configuration"))
    elif op == "delete":
        DeltaTable(path).delete(command["where"])
    elif op == "update":
        column, _, expression = command["set"].partition(" = ")
        DeltaTable(path).update(updates={column: expression}, predicate=command["where"])
    elif op == "merge":
        merge(path, command)
    elif op == "compact":
        DeltaTable(path).optimize.compact()
    elif op == "zorder":
        DeltaTable(path).optimize.z_order([name.strip() for name in command["by"].split(",")])
    elif op == "checkpoint":
        DeltaTable(path).create_checkpoint()
    elif op == "restore":
        DeltaTable(path).restore(command["version"])
    elif op == "vacuum":
        DeltaTable(path).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    elif op == "constrain":
        DeltaTable(path).alter.add_constraint(command["constraints"])
    elif op == "properties":
        DeltaTable(path).alter.set_table_properties(command["properties"], raise_if_not_exists=False)
    elif op != "look":
        raise ValueError(f"no such operation: {command}")
    return state(DeltaTable(path, version=command.get("at")))


def main():
    print("{}", flush=True)  # ready
    for line in sys.stdin:
        try:
            answer = run(json.loads(line))
        except BaseException as err:  # a panic of Rust is one; the other side decides what it means
            answer = {"error": f"{type(err).__name__}: {err}"[:2000]}
        print(json.dumps(answer, ensure_ascii=False), flush=True)
    sys.stdout.flush()
    os._exit(0)  # the interpreter's own way out sometimes aborts in a thread of pyarrow


if __name__ == "__main__":
    main()
