"""A million real flights as events, and whether a Delta table holds exactly them.

    flights.py make PARQUET OUT ROWS              the first ROWS rows of a Parquet file as gzipped NDJSON, numbered
    flights.py put URI ENDPOINT                   the standard input into an object of an S3 server
    flights.py compare NDJSON TABLE ENDPOINT      what deltalake reads from a table in an S3 server, against the events

The events are rows of flights-3m.parquet in the npm package vega-datasets; see docs/data.md. compare prints one JSON
object: rows and distinct events in the table, events that are missing, and rows that are no event.
"""

import datetime
import hashlib
import hmac
import json
import os
import sys
import urllib.request

import duckdb

EVENT = "row, strftime(date, '%Y-%m-%dT%H:%M:%SZ') AS date, delay, distance, origin, destination"


def make(parquet, out, rows):
    source = f"(SELECT file_row_number + 1 AS row, * FROM read_parquet('{parquet}', file_row_number = true) LIMIT {int(rows)})"
    duckdb.sql(f"COPY (SELECT {EVENT} FROM {source}) TO '{out}.new' (FORMAT json, COMPRESSION gzip)")
    os.rename(out + ".new", out)


def put(uri, endpoint):
    """One signed PUT (AWS Signature Version 4); the clients at hand send it in chunks, which the S3 server refuses."""
    body, path = sys.stdin.buffer.read(), "/" + uri.removeprefix("s3://")
    hashed, now = hashlib.sha256(body).hexdigest(), datetime.datetime.now(datetime.timezone.utc)
    day, at = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": endpoint, "x-amz-content-sha256": hashed, "x-amz-date": at}
    names = ";".join(headers)
    canonical = "\n".join(["PUT", path, "", *(f"{k}:{v}" for k, v in headers.items()), "", names, hashed])
    scope = f"{day}/us-east-1/s3/aws4_request"
    signed = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in scope.split("/") + [signed]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    urllib.request.urlopen(urllib.request.Request(f"http://{endpoint}{path}", data=body, headers=headers, method="PUT")).read()


def compare(ndjson, uri, endpoint):
    import deltalake

    table = deltalake.DeltaTable(
        uri,
        storage_options={
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
        },
    )
    landed = table.to_pyarrow_table(columns=["row", "date", "delay", "distance", "origin", "destination"])
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    db.register("landed", landed)
    db.execute(
        f"""CREATE TABLE want AS SELECT * FROM read_json('{ndjson}', format = 'newline_delimited', compression = 'gzip',
            columns = {{row: 'BIGINT', date: 'VARCHAR', delay: 'BIGINT', distance: 'BIGINT', origin: 'VARCHAR',
                        destination: 'VARCHAR'}})"""
    )
    db.execute(f"CREATE TABLE got AS SELECT {EVENT} FROM landed")
    one = lambda query: db.execute(query).fetchall()[0][0]
    print(
        json.dumps(
            {
                "events": one("SELECT count(*) FROM want"),
                "rows": one("SELECT count(*) FROM got"),
                "distinct": one("SELECT count(DISTINCT row) FROM got"),
                "missing": one("SELECT count(*) FROM (SELECT * FROM want EXCEPT SELECT * FROM got)"),
                "foreign": one("SELECT count(*) FROM (SELECT * FROM got EXCEPT SELECT * FROM want)"),
                "version": table.version(),
                "files": len(table.file_uris()),
            }
        )
    )


if __name__ == "__main__":
    {"make": make, "put": put, "compare": compare}[sys.argv[1]](*sys.argv[2:])
    sys.stdout.flush()
    os._exit(0)  # the interpreter's own way out sometimes aborts in a thread of the reader
