"""Makes seed/*.parquet: the encodings, codecs and page versions that weir's writer does not use, by pyarrow.

usage: seed.py DIR
Each file codec-* and encoding-* has the same 60 rows; rows.jsonl has them in the canonical form of verify.py.
types.parquet and int96.parquet have types that weir never writes; types.jsonl and int96.jsonl their rows.
"""

import json
import struct
import sys

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 60
columns = {
    "i32": pa.array([None if i % 7 == 0 else (i * 7919) % 1000 - 500 for i in range(ROWS)], pa.int32()),
    "i64": pa.array([1_700_000_000_000 + i * i for i in range(ROWS)], pa.int64()),
    "f32": pa.array([i / 3 for i in range(ROWS)], pa.float32()),
    "f64": pa.array([None if i % 5 == 0 else i / 7 for i in range(ROWS)], pa.float64()),
    "flag": pa.array([None if i % 9 == 0 else i % 3 == 0 for i in range(ROWS)], pa.bool_()),
    "text": pa.array([None if i % 11 == 0 else f"prefix-{i // 10}-日本{i}" for i in range(ROWS)], pa.string()),
    "dec": pa.array([None if i % 4 == 0 else i * 10**20 for i in range(ROWS)], pa.decimal128(25, 0)),
    "list": pa.array([None if i % 6 == 0 else list(range(i % 4)) for i in range(ROWS)], pa.list_(pa.int64())),
}
table = pa.table(columns)


def write(name, **options):
    pq.write_table(table, f"{sys.argv[1]}/{name}.parquet", row_group_size=40, data_page_size=100, write_batch_size=10,
                   **options)


for codec in ("none", "snappy", "gzip", "brotli", "lz4", "zstd"):
    write(f"codec-{codec}", compression=codec)
    write(f"codec-{codec}-v2", compression=codec, data_page_version="2.0")
delta = {"i32": "DELTA_BINARY_PACKED", "i64": "DELTA_BINARY_PACKED", "f32": "BYTE_STREAM_SPLIT", "f64": "BYTE_STREAM_SPLIT",
         "flag": "RLE", "text": "DELTA_BYTE_ARRAY", "dec": "BYTE_STREAM_SPLIT", "list.list.element": "DELTA_BINARY_PACKED"}
write("encoding-delta", use_dictionary=False, column_encoding=delta, compression="none")
write("encoding-delta-v2", use_dictionary=False, column_encoding=delta, data_page_version="2.0")
write("encoding-lengths", use_dictionary=False, compression="none",
      column_encoding={"text": "DELTA_LENGTH_BYTE_ARRAY", "i32": "BYTE_STREAM_SPLIT", "i64": "BYTE_STREAM_SPLIT",
                       "dec": "DELTA_BYTE_ARRAY"})
write("encoding-plain", use_dictionary=False, compression="none")


def canonical(x):
    if isinstance(x, bytes):
        return x.hex()
    if isinstance(x, float):
        return struct.pack(">d", x).hex()
    return x if x is None or isinstance(x, (bool, int, str, list)) else format(x, "f")


def expect(name, rows):
    with open(f"{sys.argv[1]}/{name}.jsonl", "w", encoding="utf-8") as f:
        for row in rows:
            f.write(json.dumps({k: canonical(v) for k, v in row.items()}, ensure_ascii=False) + "\n")


expect("rows", table.to_pylist())

# Microseconds before and after 1970, in every unit that a file may have.
micros = [0, -1, 1_700_000_000_123_456, -86_400_000_001, None]
ms = [None if m is None else m // 1000 for m in micros]
ns = [None if m is None else m * 1000 + 999 for m in micros]
others = {
    "ms": (pa.array(ms, pa.timestamp("ms", "UTC")), [None if m is None else m * 1000 for m in ms]),
    "ns": (pa.array(ns, pa.timestamp("ns", "UTC")), micros),
    "ntz": (pa.array(micros, pa.timestamp("us")), micros),
    "u8": (pa.array([0, 255, 1, 2, None], pa.uint8()), [0, 255, 1, 2, None]),
    "u16": (pa.array([0, 65535, 1, 2, None], pa.uint16()), [0, 65535, 1, 2, None]),
    "u32": (pa.array([0, 4294967295, 1, 2, None], pa.uint32()), [0, 4294967295, 1, 2, None]),
    "i8": (pa.array([-128, 127, 1, 2, None], pa.int8()), [-128, 127, 1, 2, None]),
    "i16": (pa.array([-32768, 32767, 1, 2, None], pa.int16()), [-32768, 32767, 1, 2, None]),
    "fixed": (pa.array([b"abc", b"def", b"\0\1\2", None, b"xyz"], pa.binary(3)), [b"abc", b"def", b"\0\1\2", None, b"xyz"]),
}
pq.write_table(pa.table({k: v[0] for k, v in others.items()}), f"{sys.argv[1]}/types.parquet")
expect("types", [dict(zip(others, row)) for row in zip(*(v[1] for v in others.values()))])
pq.write_table(pa.table({"at": pa.array(ns, pa.timestamp("ns"))}), f"{sys.argv[1]}/int96.parquet",
               use_deprecated_int96_timestamps=True)
expect("int96", [{"at": m} for m in micros])
