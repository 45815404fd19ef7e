"""The canonical text of a row, the same in Python and in Java (TableRows.java), and the hash of a set of rows.

A row is an object with its members in the order of their names' UTF-8 bytes; a null member is left out, a null element
of an array stays. A string is JSON with the short escapes and no others that are not needed; a long is its decimal
digits; a double is `f` and the 16 hexadecimal digits of its IEEE 754 bits; a timestamp is `t` and its microseconds
since 1970-01-01T00:00:00Z; a date is `D` and its days since then. So -0.0, NaN, the last digit and a column of a
neighbouring type all tell.

The hash is SHA-256 over all rows in the order of their bytes, each followed by a newline.
"""

import datetime
import hashlib
import json
import struct

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MICROSECOND = datetime.timedelta(microseconds=1)


def text(value):
    """Encodes a value; the type of a number is that of the Python value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return "f" + struct.pack(">d", value).hex()
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            raise ValueError(f"timestamp without a zone: {value}")
        return f"t{(value - EPOCH) // MICROSECOND}"
    if isinstance(value, datetime.date):
        return f"D{(value - EPOCH.date()).days}"
    if isinstance(value, list):
        return "[" + ",".join(text(v) for v in value) + "]"
    if isinstance(value, dict):
        members = sorted(((k.encode(), k, v) for k, v in value.items() if v is not None))
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{text(v)}" for _, k, v in members) + "}"
    raise TypeError(f"no canonical text for {type(value).__name__}")


def digest(rows):
    """Returns the number of rows (dicts), their hash, and the first and last of them in order, for a look at a difference."""
    lines = sorted(text(row).encode() for row in rows)
    h = hashlib.sha256()
    for line in lines:
        h.update(line)
        h.update(b"\n")
    return {"rows": len(lines), "sha256": h.hexdigest()}, lines
