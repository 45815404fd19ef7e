"""Real data as records, and what a table of them must hold; computed from the data alone, in no way that weir computes.

    records.py make CACHE DIR     unpack the data sets into DIR/NAME.ndjson and list them
    records.py compare DIR NAME=FILE...
                                  for each table DIR/tables/NAME, read by delta-rs, and the records of DIR/FILE.ndjson:
                                  count and hash of both, and where the types of the columns are not what one would write

A record is the set of its leaves: (path, value) without nulls and empty containers. A table's record has its leaves in
its columns and, for what fitted none, in the column _rescued; the paths are those of the record either way. So the
hashes are equal only if every value of every record is in the table once, under its name.

What one would write is told from all values of a field: whole numbers are a long, with others among them a double, true and
false a boolean, RFC 3339 times with a zone a timestamp, with other text among them a string. A field of several kinds,
such as text and numbers, or of numbers beyond 64 bits, is mixed: no type holds all of it. A field without any value is no column.
"""

import csv
import datetime
import decimal
import glob
import hashlib
import json
import os
import re
import sys

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def make(cache, out):
    vega = os.path.join(cache, "data/node/node_modules/vega-datasets/data")
    octokit = os.path.join(cache, "data/node/node_modules/@octokit/webhooks-examples/api.github.com/index.json")
    tables = os.path.join(cache, "data/python/resources/rdata/csv")
    sets = {}
    with open(octokit) as f:
        hooks = json.load(f)
    sets["github"] = [json.dumps({"event": h["name"], **e}) for h in hooks for e in h["examples"]]
    with open(os.path.join(vega, "flights-200k.json")) as f:
        sets["flights"] = [m.group() for m in re.finditer(r"\{[^{}]*\}", f.read())]  # numbers stay as they are written
    sets["birdstrikes"] = rows(os.path.join(vega, "birdstrikes.csv"))
    files = sorted(p for p in glob.glob(tables + "/*/*.csv") if not os.path.basename(p).startswith("._"))
    for path in files[:100]:
        name = "csv-" + re.sub("[^a-z0-9]+", "-", os.path.relpath(path, tables)[: -len(".csv")].lower())
        sets[name] = rows(path)
    for name, lines in sets.items():
        with open(os.path.join(out, name + ".ndjson"), "w") as f:
            f.writelines(line + "\n" for line in lines)
    print(json.dumps({"sets": sorted(sets), "events": len(hooks)}))


def rows(path):
    """The rows of a csv file as JSON objects; a cell that is a number stays written as it is."""
    with open(path, newline="", encoding="utf-8", errors="replace") as f:
        table = csv.reader(f)
        header = [name or "rownames" for name in next(table)]
        out = []
        for row in table:
            members = []
            for name, cell in zip(header, row):
                if cell in ("", "NA"):
                    value = "null"
                elif NUMBER.fullmatch(cell) or cell in ("true", "false"):
                    value = cell
                else:
                    value = json.dumps(cell)
                members.append(json.dumps(name) + ":" + value)
            out.append("{" + ",".join(members) + "}")
        return out


def quoted(name):
    if name and not re.search(r"[.\[\]`#$]", name):
        return name
    return "`" + name.replace("`", "``") + "`"


def leaves(value, path, out):
    """Adds (path, canonical value) of every leaf of a JSON value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            leaves(inner, (path + "." if path else "") + quoted(name), out)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            leaves(inner, f"{path}[{i}]", out)
    elif value is not None:
        out.add((path, canonical(value)))


def canonical(value):
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, (int, decimal.Decimal)):
        exact = decimal.Decimal(value)
        return "n" + str(exact.normalize() if exact == exact.to_integral_value() else decimal.Decimal(repr(float(exact))).normalize())
    if isinstance(value, float):
        return canonical(decimal.Decimal(repr(value)))
    if isinstance(value, datetime.datetime):
        micros = (value - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(microseconds=1)
        return f"t{micros}"
    if m := INSTANT.fullmatch(value):
        zone = "+00:00" if m[4] in "Zz" else m[4]
        fraction = (m[3] or ".0")[1:7].ljust(6, "0")
        return canonical(datetime.datetime.fromisoformat(f"{m[1]}T{m[2]}.{fraction}{zone}").astimezone(datetime.timezone.utc))
    return "s" + value


def parse(text):
    return json.loads(text, parse_float=decimal.Decimal)


def digest(found):
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()


def compare(dir, *pairs):
    for pair in pairs:
        name, _, file = pair.partition("=")
        want, kinds = expect(os.path.join(dir, (file or name) + ".ndjson"))
        got, types = table(os.path.join(dir, "tables", name))
        print(json.dumps({"name": name, "want": want, "got": got, **judged(kinds, types)}))


def judged(kinds, types):
    """How the types of the columns differ from those that one would write for the fields."""
    wrong, mixed = [], []
    for path in sorted(kinds.keys() | types.keys()):
        has = types.get(path)
        one = written(kinds.get(path, set()), has)
        if one == "mixed":
            mixed.append(path)
        elif one not in ("object", "list", has) and not any(path.startswith((m + ".", m + "[")) for m in mixed):
            wrong.append(f"{path}: {one} would be written, the table has {has}")
    return {"wrong": wrong, "mixed": mixed}


def written(kinds, has):
    if "whole" in kinds and kinds <= {"whole", "long", "double"}:
        return "double" if kinds != {"whole", "long"} or has != "long" else "long"  # 1e+05 is either
    if len(kinds) < 2:
        return "mixed" if "wide" in kinds else next(iter(kinds), None)
    if kinds == {"long", "double"}:
        return "double"
    return "string" if kinds == {"string", "timestamp"} else "mixed"


def kind(value):
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "long" if -(2**63) <= value < 2**63 else "wide"
    if isinstance(value, decimal.Decimal):
        return "whole" if value == value.to_integral_value() else "double"
    return "timestamp" if INSTANT.fullmatch(value) else "string"


def note(value, path, kinds):
    """Adds to kinds, by path, of what kind the leaves of a value are. The elements of a list are one path."""
    if value in ({}, [], None):
        return
    if isinstance(value, dict):
        kinds.setdefault(path, set()).add("object")
        for name, inner in value.items():
            note(inner, (path + "." if path else "") + quoted(name), kinds)
    elif isinstance(value, list):
        kinds.setdefault(path, set()).add("list")
        for inner in value:
            note(inner, path + "[]", kinds)
    else:
        kinds.setdefault(path, set()).add(kind(value))


def expect(path):
    hashes, kinds = [], {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            found = set()
            record = parse(line)
            leaves(record, "", found)
            note(record, "", kinds)
            hashes.append(digest(found))
    return {"rows": len(hashes), "sha256": digest(hashes)}, kinds


def table(uri):
    import deltalake
    import pyarrow

    opened = deltalake.DeltaTable(uri)
    schema = json.loads(opened.schema().to_json())
    hashes, rescued = [], 0
    data = pyarrow.table(opened.to_pyarrow_table()) if not hasattr(opened, "to_pyarrow_dataset") else opened.to_pyarrow_dataset().to_table()
    for batch in data.to_batches(max_chunksize=2000):
        for row in batch.to_pylist():
            found = set()
            text = row.pop("_rescued", None)
            columns({f["name"]: f for f in schema["fields"]}, row, "", found)
            if text:
                rescued += 1
                for path, value in parse(text).items():
                    leaves(value, "" if path == "$" else path, found)
            hashes.append(digest(found))
    types = {}
    for f in schema["fields"]:
        if f["name"] != "_rescued":
            flat(f, "", types)
    shown = [f["name"] + ": " + f["type"] for f in schema["fields"] if isinstance(f["type"], str)]
    return {"rows": len(hashes), "sha256": digest(hashes), "rescued": rescued, "columns": shown, "leaves": len(types)}, types


def flat(field, path, types):
    """Adds the types of the leaf columns of a field by path."""
    path += ("." if path else "") + quoted((field.get("metadata") or {}).get("weir.source", field["name"]))
    t = field["type"]
    while isinstance(t, dict) and t["type"] == "array":
        path, t = path + "[]", t["elementType"]
    if isinstance(t, dict):
        for f in t["fields"]:
            flat(f, path, types)
    else:
        types[path] = t


def columns(fields, row, path, out):
    """Adds the leaves of a row, under the names that the fields have in records."""
    for name, value in row.items():
        f = fields[name]
        source = (f.get("metadata") or {}).get("weir.source", name)
        typed(f["type"], value, (path + "." if path else "") + quoted(source), out)


def typed(t, value, path, out):
    if value is None:
        return
    if isinstance(t, dict) and t["type"] == "struct":
        columns({f["name"]: f for f in t["fields"]}, value, path, out)
    elif isinstance(t, dict) and t["type"] == "array":
        for i, inner in enumerate(value):
            typed(t["elementType"], inner, f"{path}[{i}]", out)
    else:
        leaves(value, path, out)


if __name__ == "__main__":
    {"make": make, "compare": compare}[sys.argv[1]](*sys.argv[2:])
    sys.stdout.flush()
    os._exit(0)  # threads of the reader may abort the interpreter when it ends in the usual way
